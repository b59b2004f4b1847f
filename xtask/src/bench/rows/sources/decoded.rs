//! `pg_recvlogical` on a slot of its own: when each stamp comes out of it.

use super::realtime;
use crate::bench::{database::Postgres, machine::now};
use anyhow::{Context, Result, bail};
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read},
    path::PathBuf,
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{JoinHandle, sleep},
    time::Duration,
};

/// A running `pg_recvlogical` whose output is read as it comes.
pub(super) struct Decoded {
    child: Child,
    talk: PathBuf,
    seen: Arc<AtomicUsize>,
    reading: Option<JoinHandle<Vec<u64>>>,
}

impl Decoded {
    /// Makes a slot with `test_decoding` and follows it; the changes of before are not in it.
    pub(super) fn start(database: &Postgres, talk: PathBuf) -> Result<Self> {
        database.psql(&format!("SELECT pg_create_logical_replication_slot('{SLOT}', 'test_decoding')"))?;
        let mut command = database.tool("pg_recvlogical");
        command.args(["--slot", SLOT, "--start", "--no-loop", "-f", "-"]);
        let log = File::create(&talk).context("failed to create a log")?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().context("failed to start pg_recvlogical")?;
        let output = child.stdout.take().context("no output")?;
        let seen = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&seen);
        let reading = Some(std::thread::spawn(move || read(output, &counter)));
        let decoded = Self { child, talk, seen, reading };
        database
            .until(&format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{SLOT}'"))
            .with_context(|| decoded.last_words())?;
        Ok(decoded)
    }

    /// How many stamps came.
    pub(super) fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }

    /// Waits for so many stamps in all, but not longer than `patience`; how long that took.
    pub(super) fn wait(&mut self, stamps: usize, patience: Duration) -> Result<Duration> {
        let begin = now();
        while self.seen() < stamps && now() - begin < patience {
            if let Some(status) = self.child.try_wait()? {
                bail!("pg_recvlogical ended with {status}: {}", self.last_words());
            }
            sleep(Duration::from_millis(1));
        }
        Ok(now() - begin)
    }

    /// Ends it; for each stamp the nanoseconds from when it was made to when it was read.
    pub(super) fn finish(mut self) -> Result<Vec<u64>> {
        self.child.kill().ok();
        let times = self.reading.take().context("read twice")?.join();
        times.map_err(|_| anyhow::anyhow!("the thread that reads pg_recvlogical panicked"))
    }

    fn last_words(&self) -> String {
        fs::read_to_string(&self.talk).unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Decoded {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Until the end of `output`; what is written after the last line is cut by it.
fn read(output: impl Read, seen: &AtomicUsize) -> Vec<u64> {
    let mut lines = BufReader::with_capacity(READ_BYTES, output);
    let (mut times, mut line) = (Vec::new(), Vec::new());
    while times.len() < STAMPS_MAX && lines.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        let time = realtime();
        if let Some(made) = made(&line) {
            times.push(time.saturating_sub(made));
            seen.store(times.len(), Ordering::Relaxed);
        }
        line.clear();
    }
    times
}

/// When the stamp in a line of `test_decoding` was made, in nanoseconds since 1970.
pub(in crate::bench) fn made(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    let (_, stamp) = text.split_once("[text]:'T")?;
    u64::from_str_radix(stamp.get(..16)?, 16).ok()
}

const SLOT: &str = "reference";

const READ_BYTES: usize = 64 << 10;

/// More than any run writes.
const STAMPS_MAX: usize = 10_000_000;
