//! What a source is doing: from the first connection over the copies of its tables to live changes, and what it does when
//! something fails.
//!
//! Pure: the driver says what happened and does what it is told. A source never gives up and never spins: what may pass by
//! itself is tried again after a growing, random time; what needs a person is tried seldom, or when it is asked to.

use crate::time::Millis;
use std::collections::BTreeMap;

/// What a source is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It reaches for its database.
    Connecting,
    /// It copies rows of at least one table.
    Snapshotting,
    /// Its tables are whole, but older than the database.
    CatchingUp,
    /// Changes come as they are made.
    Live,
    /// Something failed that may pass; it tries again then.
    BackingOff(Millis),
    /// Something needs a person; it looks again then.
    Broken(Millis),
    /// It was told to rest.
    Paused,
}

impl State {
    /// The word for it in `/sources`, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Snapshotting => "snapshotting",
            Self::CatchingUp => "catching_up",
            Self::Live => "live",
            Self::BackingOff(_) => "backing_off",
            Self::Broken(_) => "broken",
            Self::Paused => "paused",
        }
    }

    /// All words, in the order in which a source goes through them.
    pub const WORDS: [&str; 7] =
        ["connecting", "snapshotting", "catching_up", "live", "backing_off", "broken", "paused"];
}

/// Why a source cannot go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What is to be done about it.
    pub kind: FaultKind,
    /// What is wrong: a sentence without a stop, for people. It holds no secrets and no values of rows.
    pub message: String,
    /// What a person should do, if anything: a sentence without a stop, or SQL to run.
    pub remedy: Option<String>,
}

impl Fault {
    /// One that may pass by itself.
    pub fn passing(message: impl Into<String>) -> Self {
        Self { kind: FaultKind::Passing, message: message.into(), remedy: None }
    }

    /// One that passes once a person has done what `remedy` says.
    pub fn needs_person(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::evident(message).with_remedy(remedy)
    }

    /// One that needs a person, to whom the message says all.
    pub fn evident(message: impl Into<String>) -> Self {
        Self { kind: FaultKind::NeedsPerson, message: message.into(), remedy: None }
    }

    /// The same with what a person should do.
    #[must_use]
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// What is to be done about a fault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultKind {
    /// It may pass by itself.
    Passing,
    /// A person must do something.
    NeedsPerson,
}

/// One table of a source.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TableState {
    /// What it is called in the database.
    pub origin: String,
    /// Whether its rows are whole: those of one moment of the database, and all changes since.
    pub ready: bool,
    /// The copy that is being made.
    pub copy: Option<Copy>,
}

/// How far a copy is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Copy {
    /// Rows read.
    pub rows: u64,
    /// About how many there are, where the database knows.
    pub rows_expected: Option<u64>,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// The database answers.
    Connected,
    /// The tables it feeds: our name and the database's, and whether its rows are whole already.
    Tables(Vec<(String, String, bool)>),
    /// A copy of this table begins, with about so many rows.
    CopyBegan(String, Option<u64>),
    /// So many more rows of this table were copied.
    Copied(String, u64),
    /// The rows of this table are whole.
    Ready(String),
    /// Nothing is left to be read at this moment, or more than a little.
    Level(bool),
    /// It cannot go on with a copy until this has ended, a sentence without a stop; none: it does.
    Waits(Option<String>),
    /// It cannot go on.
    Failed(Fault),
    /// Rest, until `Resume`.
    Pause,
    /// Go on, at once.
    Resume,
    /// The time that was waited for has come.
    Tick,
}

/// What the driver is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// Connect, from the beginning.
    Connect,
    /// Let go of the database.
    Disconnect,
    /// Say `Tick` then.
    WakeAt(Millis),
}

/// One source.
#[derive(Clone, Debug)]
pub struct Machine {
    state: State,
    since: Millis,
    failures: u32,
    level: bool,
    tables: BTreeMap<String, TableState>,
    fault: Option<(Millis, Fault)>,
    waits: Option<String>,
}

impl Machine {
    /// A source that is about to connect.
    pub fn new(now: Millis) -> Self {
        let (tables, fault) = (BTreeMap::new(), None);
        Self { state: State::Connecting, since: now, failures: 0, level: false, tables, fault, waits: None }
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when.
    pub fn since(&self) -> Millis {
        self.since
    }

    /// Its tables by our names.
    pub fn tables(&self) -> &BTreeMap<String, TableState> {
        &self.tables
    }

    /// What it waits for in its database, if for anything: a sentence without a stop.
    pub fn waits(&self) -> Option<&str> {
        self.waits.as_deref()
    }

    /// The last fault and when it was, also after it has passed.
    pub fn last_fault(&self) -> Option<&(Millis, Fault)> {
        self.fault.as_ref()
    }

    /// Applies one input at time `now`; `chance` is a random number.
    pub fn handle(&mut self, now: Millis, chance: u64, input: Input) -> Option<Output> {
        match input {
            Input::Pause => {
                self.enter(now, State::Paused);
                return Some(Output::Disconnect);
            }
            Input::Resume => return self.connect(now),
            Input::Tick => {
                return match self.state {
                    State::BackingOff(until) | State::Broken(until) if now >= until => self.connect(now),
                    State::BackingOff(until) | State::Broken(until) => Some(Output::WakeAt(until)),
                    _ => None,
                };
            }
            Input::Failed(fault) => return self.fail(now, chance, fault),
            // What the connection that ended had still to say.
            _ if matches!(self.state, State::BackingOff(_) | State::Broken(_) | State::Paused) => {
                return None;
            }
            Input::Connected => {}
            Input::Tables(tables) => self.set_tables(tables),
            Input::CopyBegan(table, rows_expected) => {
                let state = self.tables.entry(table).or_default();
                state.copy = Some(Copy { rows: 0, rows_expected });
            }
            Input::Copied(table, rows) => {
                if let Some(copy) = self.tables.get_mut(&table).and_then(|state| state.copy.as_mut()) {
                    copy.rows += rows;
                }
            }
            Input::Ready(table) => {
                let state = self.tables.entry(table).or_default();
                (state.ready, state.copy) = (true, None);
            }
            Input::Level(level) => self.level = level,
            Input::Waits(waits) => self.waits = waits,
        }
        self.settle(now);
        None
    }

    fn set_tables(&mut self, tables: Vec<(String, String, bool)>) {
        let entry = |(name, origin, ready)| (name, TableState { origin, ready, copy: None });
        self.tables = tables.into_iter().map(entry).collect();
        self.level = false;
    }

    // The state that follows from what is known.
    fn settle(&mut self, now: Millis) {
        let copying = |table: &TableState| table.copy.is_some() || !table.ready;
        let state = if self.tables.values().any(copying) {
            State::Snapshotting
        } else if self.level {
            State::Live
        } else {
            State::CatchingUp
        };
        if state != self.state {
            self.enter(now, state);
        }
    }

    fn connect(&mut self, now: Millis) -> Option<Output> {
        self.level = false;
        self.enter(now, State::Connecting);
        Some(Output::Connect)
    }

    fn fail(&mut self, now: Millis, chance: u64, fault: Fault) -> Option<Output> {
        if self.state == State::Paused {
            return None;
        }
        // What worked for a while begins anew with short waits.
        let healthy = matches!(self.state, State::Live) && now.saturating_sub(self.since) >= HEALTHY_MS;
        self.failures = if healthy { 1 } else { self.failures.saturating_add(1) };
        for table in self.tables.values_mut() {
            table.copy = None;
        }
        let state = match fault.kind {
            FaultKind::Passing => {
                let most = (BACKOFF_FIRST_MS << self.failures.min(10)).min(BACKOFF_MAX_MS);
                // Full jitter: many sources of one database must not come back together.
                State::BackingOff(now + BACKOFF_MIN_MS + chance % (most - BACKOFF_MIN_MS))
            }
            FaultKind::NeedsPerson => State::Broken(now + BROKEN_MS + chance % BROKEN_SPREAD_MS),
        };
        self.fault = Some((now, fault));
        self.enter(now, state);
        match state {
            State::BackingOff(until) | State::Broken(until) => Some(Output::WakeAt(until)),
            _ => None,
        }
    }

    fn enter(&mut self, now: Millis, state: State) {
        (self.state, self.since) = (state, now);
        if matches!(state, State::Connecting | State::BackingOff(_) | State::Broken(_) | State::Paused) {
            self.waits = None;
        }
    }
}

// A connection that was live for so long was good.
const HEALTHY_MS: Millis = 10_000;
const BACKOFF_MIN_MS: Millis = 100;
const BACKOFF_FIRST_MS: Millis = 250;
const BACKOFF_MAX_MS: Millis = 30_000;
// Between two looks whether a person has done what was needed.
const BROKEN_MS: Millis = 30_000;
const BROKEN_SPREAD_MS: Millis = 10_000;
