//! How far a long piece of work is: on stderr, when it is a terminal or the work takes long.

use crate::clock;
use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

/// The progress of one piece of work.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    terminal: bool,
    started: Instant,
    pace: Pace,
}

/// When to speak.
#[derive(Default, Debug)]
pub(super) struct Pace {
    last: Option<Duration>,
}

impl Progress {
    /// Of `what`, e.g. `verifying`.
    pub(super) fn new(what: &'static str) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { what, terminal, started: clock::instant(), pace: Pace::default() }
    }

    /// `done` of `total` bytes are done.
    pub(super) fn at(&mut self, done: u64, total: u64) {
        if !self.pace.due(self.started.elapsed(), self.terminal) {
            return;
        }
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
        let text = format!("riacho: {} {percent} % ({} of {} MiB)", self.what, done >> 20, total >> 20);
        let mut stderr = io::stderr().lock();
        // On a terminal one line is written over and over.
        let _ = if self.terminal { write!(stderr, "\r{text}\x1b[K") } else { writeln!(stderr, "{text}") };
        let _ = stderr.flush();
    }

    /// The work is over; what follows begins on a line of its own.
    pub(super) fn done(self) {
        if self.terminal && self.pace.last.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Pace {
    /// Whether to speak when `elapsed` has gone since the start.
    pub(super) fn due(&mut self, elapsed: Duration, terminal: bool) -> bool {
        let pause = if terminal { TERMINAL_PAUSE } else { PAUSE };
        // A terminal gets its first line at once; a log file only if the work takes long.
        let due = match self.last {
            None => terminal || elapsed >= pause,
            Some(last) => elapsed.saturating_sub(last) >= pause,
        };
        if due {
            self.last = Some(elapsed);
        }
        due
    }
}

const TERMINAL_PAUSE: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_secs(10);
