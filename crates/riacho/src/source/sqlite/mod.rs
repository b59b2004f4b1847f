//! SQLite: triggers and a table of changes in the user's file.
//!
//! A look ([`look`]) reads, in one short read transaction, which keys were noted since the cursor and what their rows are
//! now; that is one transaction of ours. A copy of a table is a look with a page of rows: as changes and page are of the
//! same moment, the part that was copied is exact at every moment, and so is the whole after the last page. Nobody who
//! writes to the file waits for a copy.
//!
//! What is remembered: `position`, the last change read, and `table/<name>`, what whole tables looked like.

/// A file that is open.
mod file;
/// What tables a file has.
mod catalog;
/// What is made in the user's file.
mod setup;
/// Which tables are read, and how.
mod plan;
/// What changed, and rows.
mod look;
/// When to look.
mod watch;

pub use setup::{check, preview, setup, teardown};

use super::{Sink, TableOf, TableSettings, copy::Copying, settings::SqliteSettings};
use crate::{
    clock,
    log::{Becomes, Note, SourceChange, Transaction},
};
use file::{File, on};
use look::{After, Ask, Cursor, Found, Looked};
use plan::Plan;
use riacho_core::source::machine::{Fault, Input};
use serde::{Deserialize, Serialize};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use watch::Watch;

/// Reads one file of SQLite.
pub struct SqliteReader {
    settings: SqliteSettings,
    tables: Vec<TableSettings>,
}

impl SqliteReader {
    /// A reader of these tables.
    pub fn new(settings: SqliteSettings, tables: Vec<TableSettings>) -> Self {
        Self { settings, tables }
    }

    /// Reads until something fails.
    pub(crate) async fn read(&mut self, sink: &Sink) -> Fault {
        loop {
            let session = Session::open(&self.settings, &self.tables, sink).await;
            let ended = match session {
                Ok(session) => Box::pin(session.run()).await,
                Err(fault) => Err(fault),
            };
            match ended {
                // Another file, or other tables in it.
                Ok(Ended) => tokio::time::sleep(ANEW_PAUSE).await,
                Err(fault) => return fault,
            }
        }
    }
}

/// A file whose tables stay as they are.
struct Session<'a> {
    sink: &'a Sink,
    /// None only while it is read elsewhere.
    file: Option<File>,
    watch: Watch,
    tables: Vec<Table>,
    plans: Arc<[Option<Arc<Plan>>]>,
    schema: i64,
    /// What was read.
    cursor: Cursor,
    /// What was read and is durable.
    durable: Cursor,
    /// The data version before the last look.
    seen: i64,
    trimmed: Trimmed,
}

struct Table {
    of: TableOf,
    shape: String,
    /// Whether our rows may lack changes.
    stale: bool,
    /// Whether it matters to us only as long as it has rows.
    forgotten: bool,
}

/// The session is over; the next begins where it was.
struct Ended;

/// When the table of changes was trimmed last.
struct Trimmed {
    at: Instant,
    noted: usize,
}

/// What is remembered of a table whose rows are whole.
#[derive(Serialize, Deserialize)]
struct TableNote {
    origin: String,
    shape: String,
}

impl<'a> Session<'a> {
    async fn open(
        settings: &SqliteSettings,
        wanted: &[TableSettings],
        sink: &'a Sink,
    ) -> Result<Self, Fault> {
        let notes = table_notes(sink);
        let known: Vec<String> = notes.iter().map(|(_, note)| note.origin.clone()).collect();
        let (settings, wanted) = (settings.clone(), wanted.to_vec());
        let watch = Watch::new(&settings.path);
        let (file, planned, newest, seen) = super::copy::blocking(move || {
            let file = File::open(&settings.path)?;
            let planned = plan::plan(&file, &settings, &wanted, &known)?;
            let seen = file.data_version()?;
            let newest = look::newest(&file)?;
            Ok((file, planned, newest, seen))
        })
        .await??;
        sink.tell(Input::Connected);
        let position = sink.note(POSITION).and_then(|note| Cursor::parse(&note));
        let table = |planned: plan::PlannedTable| {
            let name = planned.stream.table().unwrap_or_default();
            let note = notes.iter().find(|(known, note)| known == name && note.origin == planned.origin);
            let of =
                TableOf { origin: planned.origin, stream: planned.stream.clone(), ready: note.is_some() };
            let stale = note.is_some_and(|(_, note)| note.shape != planned.shape);
            let forgotten = planned.plan.is_none();
            (Table { of, shape: planned.shape, stale, forgotten }, planned.plan)
        };
        let (tables, plans): (Vec<Table>, Vec<_>) = planned.tables.into_iter().map(table).unzip();
        let cursor = position.unwrap_or(newest);
        let mut session = Self {
            sink,
            file: Some(file),
            watch,
            tables,
            plans: plans.into(),
            schema: planned.schema,
            cursor,
            durable: cursor,
            seen,
            trimmed: Trimmed { at: clock::instant(), noted: 0 },
        };
        session.begin(&notes, position.is_none()).await?;
        Ok(session)
    }

    // Takes over the tables, and notes what must not be forgotten before anything is read.
    async fn begin(&mut self, notes: &[(String, TableNote)], anew: bool) -> Result<(), Fault> {
        // Their changes are not read from now on.
        let gone = notes.iter().filter(|(name, note)| {
            !self.tables.iter().any(|table| table.name() == name && table.of.origin == note.origin)
        });
        let mut noted: Vec<Note> = gone.map(|(name, _)| self.sink.noted(&note_name(name), [])).collect();
        // Before the first difference is told: a configuration that is taken back must not find them whole.
        let stale = self.tables.iter().filter(|table| table.stale && table.of.ready);
        noted.extend(stale.map(|table| table.note(self.sink, UNKNOWN)));
        if anew {
            noted.push(self.position());
        }
        if !noted.is_empty() {
            self.sink.write(Vec::new(), noted).await?;
        }
        let tables: Vec<TableOf> = self.tables.iter().map(|table| table.of.clone()).collect();
        self.sink.feed(&tables).await
    }

    async fn run(mut self) -> Result<Ended, Fault> {
        loop {
            if self.catch_up().await?.is_some() {
                return Ok(Ended);
            }
            let ended = if let Some(at) = self.tables.iter().position(|table| table.of.ready && table.stale) {
                self.compare(at).await?
            } else if let Some(at) = self.tables.iter().position(|table| !table.of.ready) {
                self.copy(at).await?
            } else {
                self.sink.tell(Input::Level(true));
                self.trim().await?;
                self.changed().await?;
                None
            };
            if ended.is_some() {
                return Ok(Ended);
            }
        }
    }

    // Reads changes until none are left.
    async fn catch_up(&mut self) -> Result<Option<Ended>, Fault> {
        loop {
            match self.look(None).await? {
                Some(found) => {
                    let more = found.more;
                    self.take(found, None).await?;
                    if !more {
                        return Ok(None);
                    }
                    self.sink.tell(Input::Level(false));
                }
                None => return Ok(Some(Ended)),
            }
        }
    }

    // What changed; none where the session is over.
    async fn look(&mut self, page: Option<(usize, After)>) -> Result<Option<Found>, Fault> {
        let ask = Ask { plans: Arc::clone(&self.plans), cursor: self.cursor, schema: self.schema, page };
        let looked = on(&mut self.file, move |file| {
            // Before the look: what comes during it is seen as new afterwards.
            let seen = file.data_version()?;
            Ok((seen, look::look(file, &ask)?))
        });
        let (seen, looked) = looked.await?;
        self.seen = seen;
        match looked {
            Looked::Other => Ok(None),
            Looked::Found(found) => Ok(Some(*found)),
            Looked::Gap => {
                tracing::warn!(source = &**self.sink.source(), "changes were lost; rows are compared");
                self.lost().await?;
                Ok(None)
            }
        }
    }

    // Notes that no table is known to be as it is in the file, and where its next changes begin.
    async fn lost(&mut self) -> Result<(), Fault> {
        self.cursor = on(&mut self.file, |file| look::newest(file)).await?;
        let stale = self.tables.iter().filter(|table| table.of.ready);
        let mut notes: Vec<Note> = stale.map(|table| table.note(self.sink, UNKNOWN)).collect();
        notes.push(self.position());
        self.sink.write(Vec::new(), notes).await
    }

    // Commits what was found. Changes of a table that is being copied go where its rows go.
    async fn take(
        &mut self,
        found: Found,
        mut copying: Option<(usize, &mut Copying<'_>)>,
    ) -> Result<(), Fault> {
        self.trimmed.noted += found.noted;
        self.cursor = found.cursor;
        let mut notes = Vec::new();
        for at in found.anew {
            if let Some(table) = self.tables.get_mut(at).filter(|table| table.of.ready) {
                table.stale = true;
                notes.push(table.note(self.sink, UNKNOWN));
            }
        }
        let mut changes = Vec::new();
        for ((at, key), row) in found.changed {
            let Some(table) = self.tables.get(at) else { continue };
            match &mut copying {
                Some((copied, copying)) if *copied == at => match row {
                    Some(row) => copying.row(key, row).await?,
                    None => copying.gone(key).await?,
                },
                _ if table.of.ready => {
                    let becomes = row.map_or(Becomes::Gone, Becomes::Row);
                    changes.push(SourceChange { table: table.of.stream.clone(), key, becomes });
                }
                // It is copied later, as it is then.
                _ => {}
            }
        }
        // That nothing of ours has changed need not be noted at once.
        if changes.is_empty() && notes.is_empty() {
            return Ok(());
        }
        let mut transactions = Vec::new();
        if !changes.is_empty() {
            let txid = format!("{}-{}", self.sink.source(), self.cursor.seq);
            transactions.push(Transaction { txid: Some(txid.into()), changes });
        }
        self.note_position(transactions, notes).await
    }

    async fn note_position(
        &mut self,
        transactions: Vec<Transaction>,
        mut notes: Vec<Note>,
    ) -> Result<(), Fault> {
        notes.push(self.position());
        self.sink.write(transactions, notes).await?;
        self.durable = self.cursor;
        Ok(())
    }

    // Copies a table that nobody has seen yet, between changes.
    async fn copy(&mut self, at: usize) -> Result<Option<Ended>, Fault> {
        let Some((of, plan)) = self.table(at) else { return Ok(None) };
        if plan.is_none() {
            return self.compare(at).await;
        }
        let sink = self.sink;
        let mut copying = Copying::begin(sink, &of, None);
        let mut after = After::Nothing;
        loop {
            let Some(found) = self.look(Some((at, after.clone()))).await? else { return Ok(Some(Ended)) };
            let mut found = found;
            let page = found.page.take();
            self.take(found, Some((at, &mut copying))).await?;
            let Some(page) = page else { continue };
            for (key, row) in page.rows {
                copying.row(key, row).await?;
            }
            if page.done {
                return self.finish(at, copying).await;
            }
            after = page.after;
        }
    }

    // Compares our rows of a table with its own, all of one moment: readers have them.
    async fn compare(&mut self, at: usize) -> Result<Option<Ended>, Fault> {
        let Some((of, plan)) = self.table(at) else { return Ok(None) };
        let sink = self.sink;
        let mut copying = Copying::begin(sink, &of, None);
        let mut after = After::Nothing;
        while let Some(plan) = plan.clone() {
            let schema = self.schema;
            let page = on(&mut self.file, move |file| {
                file.begin()?;
                let same = file.schema_version()? == schema;
                if same { look::page(file, &plan, &after).map(Some) } else { Ok(None) }
            });
            let Some(page) = page.await? else { return Ok(Some(Ended)) };
            for (key, row) in page.rows {
                copying.row(key, row).await?;
            }
            after = page.after;
            if page.done {
                break;
            }
        }
        self.finish(at, copying).await
    }

    // The rows of the table are whole, as of the read transaction that is open.
    async fn finish(&mut self, at: usize, copying: Copying<'_>) -> Result<Option<Ended>, Fault> {
        let Some(table) = self.tables.get_mut(at) else { return Ok(None) };
        let note = table.note(self.sink, &table.shape);
        copying.finish(vec![note]).await?;
        (table.of.ready, table.stale) = (true, false);
        let gone = table.forgotten;
        on(&mut self.file, |file| file.end()).await?;
        if gone {
            tracing::warn!(
                source = &**self.sink.source(),
                table = self.name(at),
                "table is gone, and so are its rows"
            );
        }
        Ok(None)
    }

    fn table(&self, at: usize) -> Option<(TableOf, Option<Arc<Plan>>)> {
        Some((self.tables.get(at)?.of.clone(), self.plans.get(at)?.clone()))
    }

    fn name(&self, at: usize) -> &str {
        self.tables.get(at).map(Table::name).unwrap_or_default()
    }

    // Waits until another connection has committed, or the file is another.
    async fn changed(&mut self) -> Result<(), Fault> {
        loop {
            let written = tokio::select! {
                // Both only wait.
                () = self.watch.written() => true,
                () = tokio::time::sleep(POLL) => false,
            };
            // A log is written before the commit can be seen, and the kernel does not tell when it can.
            let pauses = if written { LADDER.as_slice() } else { &[] };
            let rungs = pauses.iter().flat_map(|(pause, times)| std::iter::repeat_n(*pause, *times));
            for pause in std::iter::once(Duration::ZERO).chain(rungs) {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                let seen = self.seen;
                let changed =
                    on(&mut self.file, move |file| Ok(file.replaced() || file.data_version()? != seen));
                if changed.await? {
                    return Ok(());
                }
            }
        }
    }

    // Removes changes that are durable here, now and then.
    async fn trim(&mut self) -> Result<(), Fault> {
        let due = self.trimmed.noted >= TRIM_NOTED
            || (self.trimmed.noted > 0 && clock::instant().duration_since(self.trimmed.at) >= TRIM_EVERY);
        if !due {
            return Ok(());
        }
        if self.durable != self.cursor {
            self.note_position(Vec::new(), Vec::new()).await?;
        }
        self.trimmed = Trimmed { at: clock::instant(), noted: 0 };
        let before = self.durable.seq;
        let trimmed = on(&mut self.file, move |file| {
            file.connection.busy_timeout(TRIM_BUSY).map_err(file.failed())?;
            let trimmed = loop {
                match look::trim(file, before) {
                    Ok(true) => break Ok(()),
                    Ok(false) => {}
                    Err(err) => break Err(err.to_string()),
                }
            };
            file.connection.busy_timeout(file::BUSY).map_err(file.failed())?;
            Ok(trimmed)
        });
        if let Err(error) = trimmed.await? {
            tracing::debug!(source = &**self.sink.source(), error, "table of changes not trimmed now");
        }
        Ok(())
    }

    fn position(&self) -> Note {
        self.sink.noted(POSITION, self.cursor.to_string().into_bytes())
    }
}

impl Table {
    fn name(&self) -> &str {
        self.of.stream.table().unwrap_or_default()
    }

    // That its rows are whole, and of this shape.
    fn note(&self, sink: &Sink, shape: &str) -> Note {
        let note = TableNote { origin: self.of.origin.clone(), shape: shape.to_owned() };
        sink.noted(&note_name(self.name()), serde_json::to_vec(&note).unwrap_or_default())
    }
}

impl Cursor {
    fn parse(note: &[u8]) -> Option<Self> {
        let (seq, mark) = std::str::from_utf8(note).ok()?.split_once(' ')?;
        Some(Self { seq: seq.parse().ok()?, mark: mark.parse().ok()? })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.seq, self.mark)
    }
}

// What was remembered of tables, by our names.
fn table_notes(sink: &Sink) -> Vec<(String, TableNote)> {
    let parse = |(name, note): (String, Box<[u8]>)| {
        Some((name.strip_prefix(TABLE)?.to_owned(), serde_json::from_slice(&note).ok()?))
    };
    sink.notes(TABLE).into_iter().filter_map(parse).collect()
}

fn note_name(table: &str) -> String {
    format!("{TABLE}{table}")
}

const POSITION: &str = "position";
const TABLE: &str = super::sink::TABLE_NOTE;
// A shape that no table has.
const UNKNOWN: &str = "?";
// Between a session and the next, so that a file that changes all the time is not read all the time.
const ANEW_PAUSE: Duration = Duration::from_millis(20);
// Where nothing is said to be written.
const POLL: Duration = Duration::from_secs(1);
// How often a commit is looked for after something was written: for half a second, ever more seldom.
const LADDER: [(Duration, usize); 3] =
    [(Duration::from_millis(1), 20), (Duration::from_millis(4), 20), (Duration::from_millis(20), 20)];
const TRIM_EVERY: Duration = Duration::from_secs(10);
const TRIM_NOTED: usize = 10_000;
const TRIM_BUSY: Duration = Duration::from_millis(20);
