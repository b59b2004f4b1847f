//! What readers of databases write to: the log, and what is known of the source.

use super::{
    TableSettings,
    copy::{blocking, unread},
};
use crate::{
    clock,
    error::Error,
    log::{AppendError, Becomes, Log, Note, SourceChange, SourceWrite, Transaction, Unfit},
};
use riacho_core::{
    name::StreamName,
    source::machine::{Fault, Input, Machine, Output},
    time::Millis,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What a reader writes to. Cheap to clone.
#[derive(Clone)]
pub struct Sink {
    log: Log,
    source: Arc<str>,
    board: Arc<Board>,
}

/// What is known of a source: read by whoever asks, written by its task and its reader.
pub(crate) struct Board {
    machine: Mutex<Machine>,
    lag: Mutex<Lag>,
}

/// How far a source is behind its database; none where nobody can know.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Lag {
    /// Bytes of the database's own log that were not read yet.
    pub bytes: Option<u64>,
    /// Age of the newest change when it became visible here.
    pub millis: Option<Millis>,
    /// Changes taken since the server was started.
    pub changes: u64,
    /// Transactions taken since then.
    pub transactions: u64,
}

/// Why a write was not made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rejected {
    /// The source cannot go on.
    Fault(Fault),
    /// A row of this table was told in part, and the rest is not known.
    Unknown(StreamName),
}

impl From<Fault> for Rejected {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A table that a source feeds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableOf {
    /// What it is called in the database.
    pub origin: String,
    /// The stream of our table.
    pub stream: StreamName,
    /// Whether its rows are whole already.
    pub ready: bool,
}

/// Rows of a table that go, a part at a time: a table may have more keys than there is memory.
pub(super) struct Gone {
    table: StreamName,
    rows: crate::rows::Snapshot,
    after: Option<Box<str>>,
    done: bool,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self { machine: Mutex::new(Machine::new(clock::now())), lag: Mutex::default() }
    }

    pub(crate) fn handle(&self, input: Input) -> Option<Output> {
        let mut machine = self.machine();
        let before = machine.state().as_str();
        let output = machine.handle(clock::now(), getrandom::u64().unwrap_or(0), input);
        let after = machine.state().as_str();
        drop(machine);
        if before != after {
            tracing::debug!(before, after, "source changed its state");
        }
        output
    }

    pub(crate) fn machine(&self) -> MutexGuard<'_, Machine> {
        // A machine is whole after each input.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lag(&self) -> MutexGuard<'_, Lag> {
        self.lag.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    pub(crate) fn new(log: Log, source: Arc<str>, board: Arc<Board>) -> Self {
        Self { log, source, board }
    }

    /// The source's name.
    pub fn source(&self) -> &Arc<str> {
        &self.source
    }

    /// Our rows.
    pub fn rows(&self) -> &crate::rows::Rows {
        self.log.rows()
    }

    /// Bytes that a row may have.
    pub fn row_bytes_max(&self) -> usize {
        self.log.row_bytes_max()
    }

    /// Says what happened. For the reader: `Connected`, `CopyBegan`, `Copied`, `Level`.
    pub fn tell(&self, input: Input) {
        self.board.handle(input);
    }

    /// Says how much of the database's log was not read yet.
    pub fn lag_bytes(&self, bytes: u64) {
        self.board.lag().bytes = Some(bytes);
    }

    /// Says how old the newest change was when it became visible here.
    pub fn lag_millis(&self, millis: Millis) {
        self.board.lag().millis = Some(millis);
    }

    /// Takes over `tables`, which nobody else may write to from now on, and lets go of those it fed before and are not
    /// among them: their rows stay, and anybody may write to them.
    ///
    /// # Errors
    /// Where another source feeds one of them, or that cannot be noted.
    pub async fn feed(&self, tables: &[TableOf]) -> Result<(), Fault> {
        let names: Vec<StreamName> = tables.iter().map(|table| table.stream.clone()).collect();
        for table in tables {
            if let Err(other) = self.log.feed(&table.stream, &self.source, table.ready) {
                let table = table.stream.table().unwrap_or_default();
                return Err(Fault::needs_person(
                    format!("the table `{table}` is fed by the source `{other}` already"),
                    "give one of them another name with `as`",
                ));
            }
        }
        self.note_fed(&names).await?;
        self.log.feed_only(&self.source, &names);
        let name = |table: &TableOf| table.stream.table().unwrap_or_default().to_owned();
        let told = tables.iter().map(|table| (name(table), table.origin.clone(), table.ready)).collect();
        self.tell(Input::Tables(told));
        Ok(())
    }

    // Which tables are this source's is known after a restart too, before the database is reached.
    async fn note_fed(&self, tables: &[StreamName]) -> Result<(), Fault> {
        let name = |table: &StreamName| format!("{FED_NOTE}{}", table.table().unwrap_or_default());
        let fed: Vec<String> = tables.iter().map(name).collect();
        let known: Vec<String> = self.notes(FED_NOTE).into_iter().map(|(name, _)| name).collect();
        let gone = known.iter().filter(|name| !fed.contains(name)).map(|name| self.noted(name, Vec::new()));
        let new = fed.iter().filter(|name| !known.contains(name)).map(|name| self.noted(name, *b"1"));
        let notes: Vec<Note> = gone.chain(new).collect();
        if notes.is_empty() { Ok(()) } else { self.write(Vec::new(), notes).await }
    }

    /// Notes which tables will be fed, before the database is reached: nobody is to write to one of them, or to take one
    /// that was not copied yet for an empty one.
    pub(crate) fn expect(&self, tables: &[TableSettings]) {
        if tables.iter().any(TableSettings::is_pattern) {
            self.log.source_starts(&self.source);
        }
        let named = tables.iter().filter(|table| !table.is_pattern()).map(|table| {
            let origin = table.table.strip_prefix(PUBLIC).unwrap_or(&table.table);
            table.name.as_deref().unwrap_or(origin).to_owned()
        });
        let fed = self.notes(FED_NOTE).into_iter();
        let fed = fed.filter_map(|(name, _)| Some(name.strip_prefix(FED_NOTE)?.to_owned()));
        for name in named.chain(fed) {
            let Ok(stream) = StreamName::of_table(&name) else { continue };
            let note = self.note(&format!("{TABLE_NOTE}{name}"));
            let note = note.and_then(|note| serde_json::from_slice::<serde_json::Value>(&note).ok());
            let ready = note.is_some_and(|note| note.get("ready") != Some(&serde_json::Value::Bool(false)));
            // Where another source has it, this one will say so itself.
            let _ = self.log.feed(&stream, &self.source, ready);
        }
    }

    /// Says that the rows of a table are whole: those who wait for it are told them.
    pub fn ready(&self, table: &StreamName) {
        self.log.table_ready(table);
        self.tell(Input::Ready(table.table().unwrap_or_default().to_owned()));
    }

    /// What was noted under `name`, which is the source's own.
    pub fn note(&self, name: &str) -> Option<Box<[u8]>> {
        self.log.note(&self.note_name(name))
    }

    /// The note `name` with `value`, to be committed; empty, to be forgotten.
    pub fn noted(&self, name: &str, value: impl Into<Box<[u8]>>) -> Note {
        Note { name: self.note_name(name), value: value.into() }
    }

    /// All notes whose names begin with `prefix`.
    pub fn notes(&self, prefix: &str) -> Vec<(String, Box<[u8]>)> {
        let all = self.note_name(prefix);
        let short = self.note_name("").len();
        let notes = self.log.notes(&all).into_iter();
        notes.map(|(name, value)| (name.get(short..).unwrap_or_default().to_owned(), value)).collect()
    }

    fn note_name(&self, name: &str) -> Box<str> {
        format!("{}/{name}", self.source).into()
    }

    /// Commits transactions in their order, and what is noted of them with the last: when this returns they are durable and
    /// visible, and the database may be told. Waits while the disk is full.
    ///
    /// A transaction that no commit has room for is committed in parts, the last with its notes.
    ///
    /// # Errors
    /// Where the log takes nothing any more, or a row cannot be taken.
    pub async fn write(&self, transactions: Vec<Transaction>, notes: Vec<Note>) -> Result<(), Fault> {
        self.try_write(transactions, notes).await.map_err(|rejected| match rejected {
            Rejected::Fault(fault) => fault,
            Rejected::Unknown(table) => {
                let table = table.table().unwrap_or_default();
                Fault::passing(format!("a row of `{table}` was told in part, and the rest is not known"))
            }
        })
    }

    /// The same, where a row that is not known in full can be read anew.
    ///
    /// # Errors
    /// As [`Sink::write`].
    pub async fn try_write(&self, transactions: Vec<Transaction>, notes: Vec<Note>) -> Result<(), Rejected> {
        let changes: usize = transactions.iter().map(|transaction| transaction.changes.len()).sum();
        let count = transactions.len();
        self.commit(transactions, notes).await?;
        let mut lag = self.board.lag();
        lag.changes += changes as u64;
        lag.transactions += count as u64;
        Ok(())
    }

    /// Has all rows of a table go, with `notes`, in as many commits as it takes.
    ///
    /// # Errors
    /// As [`Sink::write`], or where our rows cannot be read.
    pub async fn empty(&self, table: &StreamName, notes: Vec<Note>) -> Result<(), Fault> {
        let mut gone = self.gone(table)?;
        while let Some(changes) = gone.part().await? {
            self.write(vec![Transaction { txid: None, changes }], Vec::new()).await?;
        }
        self.write(Vec::new(), notes).await
    }

    /// Changes for all rows that a table has now: that they are gone.
    ///
    /// # Errors
    /// Where our rows cannot be read.
    pub(super) fn gone(&self, table: &StreamName) -> Result<Gone, Fault> {
        let rows = self.rows().snapshot(table).map_err(|err| unread(&err))?;
        Ok(Gone { table: table.clone(), rows, after: None, done: false })
    }

    async fn commit(&self, transactions: Vec<Transaction>, notes: Vec<Note>) -> Result<(), Rejected> {
        let mut parts = vec![(transactions, notes)];
        let mut full = false;
        while let Some((transactions, notes)) = parts.pop() {
            let write = SourceWrite { source: Arc::clone(&self.source), transactions, notes };
            match self.log.write_source(write.clone()).await {
                Ok(_) if full => {
                    full = false;
                    self.tell(Input::Waits(None));
                }
                Ok(_) => {}
                Err(AppendError::TooLarge) => {
                    let Some((first, rest)) = halves(write.transactions) else {
                        return Err(Rejected::Fault(self.fault(&AppendError::TooLarge)));
                    };
                    parts.push((rest, write.notes));
                    parts.push((first, Vec::new()));
                }
                Err(AppendError::Full) => {
                    // The reader reads nothing meanwhile, so the database keeps what comes.
                    full = true;
                    self.tell(Input::Waits(Some(NO_ROOM.to_owned())));
                    tokio::time::sleep(FULL_PAUSE).await;
                    parts.push((write.transactions, write.notes));
                }
                Err(AppendError::Unfit(unfit)) if matches!(*unfit, Unfit::Unknown { .. }) => {
                    return Err(Rejected::Unknown(unfit.table().clone()));
                }
                Err(err) => return Err(Rejected::Fault(self.fault(&err))),
            }
        }
        Ok(())
    }

    fn fault(&self, err: &AppendError) -> Fault {
        match err {
            AppendError::Unfit(unfit) => match &**unfit {
                Unfit::RowTooLarge { .. } | Unfit::Unknown { .. } => Fault::evident(unfit.to_string()),
                Unfit::Key { .. } => {
                    Fault::needs_person(unfit.to_string(), "leave the table out, or give it a shorter key")
                }
            },
            AppendError::TooManyStreams | AppendError::NotConfigured(_) | AppendError::TooLarge => {
                Fault::evident(err.to_string())
            }
            _ => Fault::passing(err.to_string()),
        }
    }
}

impl Gone {
    /// The next of them, of about [`GONE_BYTES_MAX`]; none after the last.
    ///
    /// # Errors
    /// Where our rows cannot be read.
    pub(super) async fn part(&mut self) -> Result<Option<Vec<SourceChange>>, Fault> {
        let (mut gone, mut bytes): (Vec<SourceChange>, usize) = (Vec::new(), 0);
        while !self.done && bytes < GONE_BYTES_MAX {
            let (rows, table, after) = (self.rows.clone(), self.table.clone(), self.after.take());
            let read = move || {
                let mut gone = Vec::new();
                let visited = rows.visit(after.as_deref(), KEYS_BYTES, |row| {
                    let (table, key) = (table.clone(), row.key.into());
                    gone.push(SourceChange { table, key, becomes: Becomes::Gone });
                });
                visited.map(|visited| (gone, visited))
            };
            let (mut keys, visited) = blocking(read).await?.map_err(|err: Error| unread(&err))?;
            bytes += keys.iter().map(|change| change.key.len() + size_of::<SourceChange>()).sum::<usize>();
            gone.append(&mut keys);
            (self.done, self.after) = (visited.done || visited.last.is_none(), visited.last);
        }
        Ok(Some(gone).filter(|gone| !gone.is_empty()))
    }

    /// Whether there was no other after the last part.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }
}

// Two parts of what does not fit into one commit, each of about half the bytes; none where nothing can be divided.
fn halves(mut transactions: Vec<Transaction>) -> Option<(Vec<Transaction>, Vec<Transaction>)> {
    if transactions.len() > 1 {
        let rest = transactions.split_off(transactions.len() / 2);
        return Some((transactions, rest));
    }
    let Transaction { txid, mut changes } = transactions.pop()?;
    if changes.len() < 2 {
        return None;
    }
    let rest: Vec<SourceChange> = changes.split_off(changes.len() / 2);
    let part = |changes| vec![Transaction { txid: txid.clone(), changes }];
    Some((part(changes), part(rest)))
}

/// What the names of notes about tables begin with; the table's name follows.
pub(super) const TABLE_NOTE: &str = "table/";
/// The same of notes that say which tables are fed.
const FED_NOTE: &str = "fed/";
// The schema that is left out of names.
const PUBLIC: &str = "public.";
const NO_ROOM: &str = "there is no room on the disk of this server: make some";
const FULL_PAUSE: Duration = Duration::from_secs(1);
// Bytes of keys, with what is around each, that go at once.
const GONE_BYTES_MAX: usize = 8 * 1024 * 1024;
// Bytes of rows whose keys are read in one go.
const KEYS_BYTES: usize = 1024 * 1024;
