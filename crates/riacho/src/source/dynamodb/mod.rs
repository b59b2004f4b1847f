//! DynamoDB: tables by scan, changes by their streams or by functions that push them.
//!
//! One task asks all questions of a source, so many at a time ([`IN_FLIGHT_MAX`]), and takes what is answered one after
//! another: records of shards, pages of scans and what is pushed become transactions that are committed with what is noted
//! of where they came from. Which shard is asked when is decided by
//! [`Shards`](riacho_core::source::dynamodb::shards::Shards); how a scan and a stream go together is told in [`scan`].

/// What is asked, and answered.
mod ask;
/// How much a scan may take.
mod budget;
/// What is noted in the log.
mod notes;
/// What is pushed.
mod pushed;
/// Scans against our rows.
mod scan;
/// Requests.
pub mod service;
/// One table.
mod table;
/// Which record made each row.
mod versions;
/// What stands against a source.
mod check;

pub(super) use check::check;
pub use pushed::{NotTaken, Part, Push, Pushed, Took};

use super::{DynamoDbSettings, Sink, TableOf, TableSettings, copy, settings::FirstRows};
use crate::{
    clock,
    log::{Note, SourceChange, Transaction},
};
use ask::{Ask, Failed, Reply, Whom};
use budget::Budget;
use notes::{Phase, TableNote};
use riacho_core::{
    name::StreamName,
    source::{
        dynamodb::{
            answer,
            key::KeySchema,
            shards::{self, Failure, Outcome, ShardId, Shards},
        },
        machine::{Fault, Input},
    },
    time::Millis,
};
use scan::Scanning;
use service::{Service, ServiceError};
use std::{sync::Arc, time::Duration};
use table::{Batch, Table};
use tokio::{sync::mpsc, task::JoinSet};
use versions::Versions;

/// Reads tables of DynamoDB.
pub struct DynamoDbReader {
    settings: DynamoDbSettings,
    tables: Vec<TableSettings>,
    pushes: mpsc::Receiver<Push>,
}

/// The session is over; the next begins where it was.
struct Ended;

/// Tables whose streams stay as they are.
struct Session<'a> {
    sink: &'a Sink,
    settings: &'a DynamoDbSettings,
    /// None where nothing is asked of it.
    service: Option<Arc<Service>>,
    tables: Vec<Table>,
    budget: Budget,
    asked: JoinSet<(usize, Ask, Result<Reply, Failed>)>,
    /// The table that is asked first next.
    turn: usize,
    /// How far the service's clock is before ours.
    ahead: i64,
    /// What is waited for, as it was told.
    waits: Option<String>,
    /// Whether all is level, as it was told.
    level: Option<bool>,
}

impl DynamoDbReader {
    /// A reader of these tables.
    pub fn new(settings: DynamoDbSettings, tables: Vec<TableSettings>, pushes: mpsc::Receiver<Push>) -> Self {
        Self { settings, tables, pushes }
    }

    /// Reads until something fails.
    pub(crate) async fn read(&mut self, sink: &Sink) -> Fault {
        loop {
            let ended = match Box::pin(Session::open(&self.settings, &self.tables, sink)).await {
                Ok(session) => Box::pin(session.run(&mut self.pushes)).await,
                Err(fault) => Err(fault),
            };
            match ended {
                // Another table or stream of that name.
                Ok(Ended) => tokio::time::sleep(ANEW_PAUSE).await,
                Err(fault) => return fault,
            }
        }
    }
}

impl<'a> Session<'a> {
    async fn open(
        settings: &'a DynamoDbSettings,
        wanted: &[TableSettings],
        sink: &'a Sink,
    ) -> Result<Self, Fault> {
        let asks = settings.changes.polls() || settings.snapshot == FirstRows::Scan;
        let service = if asks { Some(Arc::new(Service::new(settings).await?)) } else { None };
        let mut session = Self {
            sink,
            settings,
            service,
            tables: Vec::with_capacity(wanted.len()),
            budget: Budget::new(settings.rcu_max),
            asked: JoinSet::new(),
            turn: 0,
            ahead: 0,
            waits: None,
            level: None,
        };
        let mut noted = Vec::new();
        for wanted in wanted {
            let table = session.table(wanted, &mut noted).await?;
            session.tables.push(table);
        }
        sink.tell(Input::Connected);
        session.forget_tables(&mut noted);
        if !noted.is_empty() {
            sink.write(Vec::new(), noted).await?;
        }
        let tables: Vec<TableOf> = session.tables.iter().map(|table| table.of.clone()).collect();
        sink.feed(&tables).await?;
        Ok(session)
    }

    // Tables that are read no more: what was noted of them.
    fn forget_tables(&self, noted: &mut Vec<Note>) {
        for (name, note) in self.sink.notes(super::sink::TABLE_NOTE) {
            let note: Option<TableNote> = notes::read(&note);
            let origin = note.map(|note| note.origin).unwrap_or_default();
            let ours = |table: &Table| name == table::note_name(table.name()) && table.of.origin == origin;
            if !self.tables.iter().any(ours) {
                noted.push(self.sink.noted(&name, []));
                noted.extend(self.forget_shards(&origin));
            }
        }
    }

    fn forget_shards(&self, origin: &str) -> Vec<Note> {
        let shards = self.sink.notes(&notes::shards_of(origin)).into_iter();
        shards.map(|(name, _)| self.sink.noted(&name, [])).collect()
    }

    // A table as it is, and where it was left.
    async fn table(&mut self, wanted: &TableSettings, noted: &mut Vec<Note>) -> Result<Table, Fault> {
        let origin = wanted.table.clone();
        let name = wanted.name.as_deref().unwrap_or(&origin);
        let stream = StreamName::of_table(name).map_err(|err| {
            Fault::needs_person(format!("the table name `{name}` {err}"), "rename it with `as`")
        })?;
        let (settings, sink) = (self.settings, self.sink);
        let described = match self.service.clone() {
            Some(service) => Some(self.described(&service, &origin).await?),
            None => None,
        };
        let now = clock::now();
        let keys = keys(wanted, described.as_ref())?;
        let read =
            described.as_ref().and_then(|table| table.stream.as_ref()).filter(|_| settings.changes.polls());
        let shape = format!("{keys:?} {:?}", wanted.columns);
        let mut columns = wanted.columns.clone();
        // The key is always read.
        for name in std::iter::once(&keys.hash).chain(&keys.range) {
            if let Some(columns) =
                columns.as_mut().filter(|columns| !columns.iter().any(|column| **column == **name))
            {
                columns.push(name.to_string());
            }
        }
        let id = described.as_ref().map(table_id).unwrap_or_default();
        let arn = read.map(|stream| stream.arn.to_string()).unwrap_or_default();
        let service = self.service_time(now);
        let since = service.saturating_sub(MARGIN_MS);
        let changes = settings.changes.as_str().to_owned();
        let note: Option<TableNote> = sink.note(&table::note_name(name)).and_then(|note| notes::read(&note));
        let note = note.filter(|note| note.origin == origin);
        let (note, shards) = match note {
            Some(note) if note.table == id && (note.stream == arn || read.is_none()) => {
                // What came another way is not known to have come.
                let moved = note.changes != changes;
                let same = note.shape == shape && !Table::slept(&note, service);
                let same = same && !(moved && settings.snapshot == FirstRows::Scan);
                let phase = if same { note.phase.clone() } else { Phase::Compare };
                if moved {
                    noted.extend(self.forget_shards(&origin));
                    let shards = read.map(|_| Shards::new(table::pace(settings), since));
                    (TableNote { phase, shape, changes, captured: false, since, alive: 0, ..note }, shards)
                } else {
                    let shards = read.map(|_| self.resumed(&origin, &note));
                    (TableNote { phase, shape, ..note }, shards)
                }
            }
            Some(note) => {
                tracing::warn!(
                    source = &**sink.source(),
                    table = origin,
                    "another stream than was read last, or another table: rows are compared, readers get what differs"
                );
                noted.extend(self.forget_shards(&origin));
                let shards = read.map(|_| Shards::whole(table::pace(settings)));
                let note = TableNote {
                    table: id,
                    stream: arn,
                    changes,
                    captured: false,
                    since: 0,
                    alive: 0,
                    shape,
                    phase: Phase::Compare,
                    ..note
                };
                (note, shards)
            }
            None => {
                noted.extend(self.forget_shards(&origin));
                let has_rows = sink.rows().table(&stream).is_some_and(|known| known.rows > 0);
                let phase = table::first_phase(settings, has_rows);
                let shards = read.map(|_| Shards::new(table::pace(settings), since));
                let note = TableNote {
                    origin: origin.clone(),
                    changes,
                    captured: false,
                    covered: 0,
                    alive: 0,
                    table: id,
                    stream: arn,
                    since,
                    shape,
                    ready: false,
                    phase,
                };
                (note, shards)
            }
        };
        // What is imported is older than what was read or pushed meanwhile.
        let guarded = settings.changes.ingests() || settings.snapshot == FirstRows::Import;
        let versions = if guarded { Some(Versions::of(name)?) } else { None };
        let whom =
            Whom { table: origin.as_str().into(), stream: note.stream.as_str().into(), keys, segments: 1 };
        let described = described.as_ref();
        let stream_of = described.and_then(|table| table.stream.as_ref());
        let table = Table {
            of: TableOf { origin, stream, ready: note.ready },
            whom: Arc::new(whom),
            label: table::label(&note.stream).into(),
            images: stream_of.is_none_or(|stream| stream.view.has_new()),
            columns,
            shards,
            scan: None,
            versions,
            describe_at: if described.is_some() { now + DESCRIBE_MS } else { Millis::MAX },
            describing: false,
            items: described.and_then(|table| table.items),
            scans: 0,
            import: None,
            sweep: (now, None),
            failures: 0,
            note,
        };
        noted.push(table.noted(sink));
        Ok(table)
    }

    async fn described(&mut self, service: &Service, name: &str) -> Result<answer::Table, Fault> {
        let (table, time) = ask::table(service, name)
            .await
            .map_err(|failed| check::missing(name, service.region(), &failed))?;
        self.ahead = time.unwrap_or(self.ahead);
        match check::obstacle(&table, self.settings) {
            Some(obstacle) => Err(obstacle),
            None => Ok(table),
        }
    }

    fn resumed(&self, origin: &str, note: &TableNote) -> Shards {
        let prefix = notes::shards_of(origin);
        let noted = self.sink.notes(&prefix).into_iter().filter_map(|(name, note)| {
            Some((ShardId::from(name.strip_prefix(&prefix)?), notes::shard(&note)?))
        });
        let noted: Vec<_> = noted.collect();
        let pace = table::pace(self.settings);
        match (note.captured, note.since) {
            (true, since) => Shards::resume(pace, since, noted),
            (false, 0) => Shards::whole(pace),
            (false, since) => Shards::new(pace, since),
        }
    }

    async fn run(mut self, pushes: &mut mpsc::Receiver<Push>) -> Result<Ended, Fault> {
        loop {
            self.advance().await?;
            self.ask();
            let now = clock::now();
            let due = self.due(now);
            tokio::select! {
                // All three only wait; what is answered or pushed stays until it is taken.
                Some(answered) = self.asked.join_next(), if !self.asked.is_empty() => {
                    if self.take(answered).await?.is_some() {
                        return Ok(Ended);
                    }
                }
                Some(push) = pushes.recv() => self.pushed(push).await?,
                () = tokio::time::sleep(Duration::from_millis(due.saturating_sub(now))) => {}
            }
        }
    }

    // Asks what is due, as much as may be under way.
    fn ask(&mut self) {
        let (now, count) = (clock::now(), self.tables.len());
        let mut idle = 0;
        while self.asked.len() < IN_FLIGHT_MAX && idle < count {
            let at = self.turn % count.max(1);
            self.turn = at + 1;
            let Some(table) = self.tables.get_mut(at) else { break };
            match table.next(now, &self.budget) {
                Some(ask) => {
                    idle = 0;
                    let whom = Arc::clone(&table.whom);
                    self.send(at, whom, ask);
                }
                None => idle += 1,
            }
        }
    }

    fn send(&mut self, at: usize, whom: Arc<Whom>, ask: Ask) {
        let Some(service) = self.service.clone() else { return };
        self.asked.spawn(async move {
            let answered = ask::ask(&service, &whom, ask.clone()).await;
            (at, ask, answered)
        });
    }

    fn due(&self, now: Millis) -> Millis {
        // What waits for an answer has no time.
        let dues = self.tables.iter().filter_map(|table| table.due(now, &self.budget));
        let due = if self.asked.len() < IN_FLIGHT_MAX { dues.min() } else { None };
        due.unwrap_or(now + LOOK_MS).min(now + LOOK_MS)
    }

    // Takes what was answered, and whatever else was meanwhile.
    async fn take(
        &mut self,
        first: Result<(usize, Ask, Result<Reply, Failed>), tokio::task::JoinError>,
    ) -> Result<Option<Ended>, Fault> {
        let (mut batch, mut next, mut ended) = (Batch::default(), Some(first), None);
        while let Some(answered) = next.take() {
            let (at, ask, reply) =
                answered.map_err(|err| Fault::passing(format!("a question was not asked: {err}")))?;
            if self.reply(at, ask, reply, &mut batch).await?.is_some() {
                ended = Some(Ended);
            }
            if batch.transactions.len() < BATCH_MAX && batch.bytes < BATCH_BYTES_MAX {
                next = self.asked.try_join_next();
            }
        }
        self.commit(batch).await?;
        Ok(ended)
    }

    async fn commit(&mut self, batch: Batch) -> Result<(), Fault> {
        if batch.is_empty() {
            return Ok(());
        }
        let Batch { transactions, notes, shards, newest, .. } = batch;
        self.sink.write(transactions, notes).await?;
        let now = clock::now();
        if let Some(newest) = newest {
            self.sink.lag_millis(self.service_time(now).saturating_sub(newest));
        }
        for (at, shard) in shards {
            if let Some(shards) = self.tables.get_mut(at).and_then(|table| table.shards.as_mut()) {
                shards.committed(now, &shard);
            }
        }
        Ok(())
    }

    // Takes one answer.
    async fn reply(
        &mut self,
        at: usize,
        ask: Ask,
        reply: Result<Reply, Failed>,
        batch: &mut Batch,
    ) -> Result<Option<Ended>, Fault> {
        let (now, sink) = (clock::now(), self.sink);
        let service = self.service_time(now);
        let Some(table) = self.tables.get_mut(at) else { return Ok(None) };
        match (ask, reply) {
            (Ask::Stream(ask), reply) => return self.stream(at, &ask, reply, batch).await,
            (Ask::Images(_), Ok(Reply::Images(taken))) => {
                table.take(at, taken, (sink, service), batch).await?
            }
            (Ask::Scan(asked), Ok(Reply::Scan(page))) => {
                let rows = table.rows(&page.items)?;
                table.failures = 0;
                self.budget.spend(now, page.consumed_units);
                let of = |scan: &&mut Scanning| scan.id == asked.scan;
                let Some(scan) = table.scan.as_mut().filter(of) else { return Ok(None) };
                sink.tell(Input::Copied(
                    table.of.stream.table().unwrap_or_default().to_owned(),
                    rows.len() as u64,
                ));
                let changes = scan.page(asked.segment, rows, page.last, (sink, &table.of)).await?;
                if let Phase::Copy(noted) = &mut table.note.phase {
                    *noted = scan.notes();
                    batch.notes.push(table.noted(sink));
                }
                if !changes.is_empty() {
                    batch.transactions.push(Transaction { txid: None, changes });
                }
            }
            (Ask::Scan(asked), Err(Failed::Service(err))) if err.is_passing() => {
                if !matches!(err, ServiceError::Throttled(_)) {
                    table.failures += 1;
                    if table.failures >= FAILURES_MAX {
                        return Err(err.fault());
                    }
                }
                let of = |scan: &&mut Scanning| scan.id == asked.scan;
                if let Some(scan) = table.scan.as_mut().filter(of) {
                    scan.refused(asked.segment, now, chance());
                }
            }
            (Ask::Table, Ok(Reply::Table(described, time))) => {
                self.ahead = time.unwrap_or(self.ahead);
                return self.redescribed(at, &described);
            }
            (Ask::Table, Err(Failed::Service(err))) if err.is_passing() => {
                // What is asked besides tells soon enough.
                (table.describing, table.describe_at) = (false, now + DESCRIBE_SOON_MS);
            }
            (Ask::Table, Err(failed)) => {
                let region = self.service.as_ref().map_or("", |service| service.region());
                return Err(check::missing(&table.of.origin, region, &failed));
            }
            (_, Err(failed)) => return Err(failed.fault()),
            // No question is answered by an answer to another.
            (_, Ok(_)) => {}
        }
        Ok(None)
    }

    // Takes an answer about a stream.
    async fn stream(
        &mut self,
        at: usize,
        ask: &shards::Ask,
        reply: Result<Reply, Failed>,
        batch: &mut Batch,
    ) -> Result<Option<Ended>, Fault> {
        let (now, sink) = (clock::now(), self.sink);
        let service = self.service_time(now);
        let Some(table) = self.tables.get_mut(at) else { return Ok(None) };
        let answer = match reply {
            Ok(Reply::Stream(answer)) => answer,
            Ok(_) => return Ok(None),
            Err(failed) => {
                let failure = failure(ask, &failed).ok_or_else(|| failed.fault())?;
                if failure == Failure::Failed {
                    table.failures += 1;
                    if table.failures >= FAILURES_MAX {
                        return Err(failed.fault());
                    }
                }
                shards::Answer::Failed(failure)
            }
        };
        if !matches!(answer, shards::Answer::Failed(_)) {
            table.failures = 0;
        }
        let Some(shards) = &mut table.shards else { return Ok(None) };
        match shards.answer(now, chance(), ask, answer) {
            Outcome::Nothing => {}
            Outcome::Take(taken) if table.images || taken.records.is_empty() => {
                table.take(at, taken, (sink, service), batch).await?;
            }
            Outcome::Take(taken) => {
                let whom = Arc::clone(&table.whom);
                self.send(at, whom, Ask::Images(taken));
            }
            Outcome::Gap(gap) => {
                if let (shards::Gap::Lost(shard), Some(shards)) = (&gap, &table.shards) {
                    let noted = shards.noted().find(|(id, _)| *id == shard).map(|(_, noted)| noted);
                    let name = notes::shard_name(&table.of.origin, shard);
                    batch.notes.extend(noted.map(|noted| sink.noted(&name, notes::of_shard(&noted))));
                }
                tracing::warn!(
                    source = &**sink.source(),
                    table = table.of.origin,
                    ?gap,
                    "changes were lost; rows are compared"
                );
                table.lost(sink, batch);
            }
            Outcome::StreamGone => return Ok(Some(Ended)),
        }
        Ok(None)
    }

    // Looks whether a table is still the same.
    fn redescribed(&mut self, at: usize, described: &answer::Table) -> Result<Option<Ended>, Fault> {
        let Some(table) = self.tables.get_mut(at) else { return Ok(None) };
        (table.describing, table.describe_at) = (false, clock::now() + DESCRIBE_MS);
        let arn = described.stream.as_ref().map(|stream| &*stream.arn);
        let other_stream = table.shards.is_some() && arn.is_some_and(|arn| *arn != *table.note.stream);
        if table_id(described) != table.note.table || other_stream {
            return Ok(Some(Ended));
        }
        match check::obstacle(described, self.settings) {
            // What the stream still has is read first.
            Some(_)
                if table.shards.as_ref().is_some_and(|shards| !shards.drained() && !shards.is_quiet()) =>
            {
                table.describe_at = clock::now() + DESCRIBE_SOON_MS;
                Ok(None)
            }
            Some(obstacle) => Err(obstacle),
            None => Ok(None),
        }
    }

    // What follows for each table from all that is known.
    async fn advance(&mut self) -> Result<(), Fault> {
        let now = clock::now();
        let (service, settle) = (self.service_time(now), table::pace(self.settings).settle);
        let mut batch = Batch::default();
        for at in 0..self.tables.len() {
            let Some(table) = self.tables.get_mut(at) else { break };
            table.note_capture(self.sink, &mut batch);
            if table.note.phase != Phase::Whole
                && table.scan.is_none()
                && self.settings.snapshot == FirstRows::Scan
            {
                table.begin_scan((now, service), self.settings.rcu_max, self.sink, &mut batch);
            }
            // Another one has most likely taken its place.
            if table.shards.as_ref().is_some_and(Shards::drained) {
                table.describe_at = table.describe_at.min(now + DESCRIBE_SOON_MS);
            }
            table.mark(now, service);
            if table.passed(now, settle) {
                self.finish(at).await?;
            }
            let Some(table) = self.tables.get_mut(at) else { break };
            let forgotten = table.shards.as_mut().map(Shards::forgotten).unwrap_or_default();
            let name = |shard: ShardId| notes::shard_name(&table.of.origin, &shard);
            batch.notes.extend(forgotten.into_iter().map(|shard| self.sink.noted(&name(shard), [])));
            table.sweep(now, self.sink, &mut batch).await?;
            table.is_alive(service, self.sink, &mut batch);
        }
        self.commit(batch).await?;
        let waits = self.tables.iter().find(|table| table.waits_for_import(self.settings)).map(|table| {
            format!("an import of `{}`: changes were lost, and its rows may differ", table.of.origin)
        });
        if self.waits != waits {
            self.sink.tell(Input::Waits(waits.clone()));
            self.waits = waits;
        }
        let level = self.tables.iter().all(Table::is_level);
        if self.level.replace(level) != Some(level) {
            self.sink.tell(Input::Level(level));
        }
        Ok(())
    }

    // The stream has passed what was scanned: what was held back is told, and if that was all, the table is whole.
    async fn finish(&mut self, at: usize) -> Result<(), Fault> {
        let sink = self.sink;
        let Some(table) = self.tables.get_mut(at) else { return Ok(()) };
        let Some(mut scan) = table.scan.take() else { return Ok(()) };
        let mut changes = scan.held(&table.of);
        scan.marked = None;
        if !scan.is_done() {
            sink.write(vec![Transaction { txid: None, changes }], Vec::new()).await?;
            table.scan = Some(scan);
            return Ok(());
        }
        if let Some(mut absents) = scan.absents(sink, &table.of).await? {
            while let Some(gone) = absents.next().await? {
                let bytes: usize = changes.iter().map(SourceChange::bytes).sum();
                if bytes >= copy::DIFFERENCE_BYTES_MAX {
                    let changes = std::mem::take(&mut changes);
                    sink.write(vec![Transaction { txid: None, changes }], Vec::new()).await?;
                }
                changes.extend(gone);
            }
        }
        table.note.phase = Phase::Whole;
        (table.note.ready, table.of.ready) = (true, true);
        let note = table.noted(sink);
        let transactions =
            if changes.is_empty() { Vec::new() } else { vec![Transaction { txid: None, changes }] };
        sink.write(transactions, vec![note]).await?;
        sink.ready(&table.of.stream);
        Ok(())
    }

    fn service_time(&self, now: Millis) -> Millis {
        now.saturating_add_signed(self.ahead)
    }
}

// Where a stream's own states know what to do about it; none: the source cannot go on.
fn failure(ask: &shards::Ask, failed: &Failed) -> Option<Failure> {
    let Failed::Service(err) = failed else { return None };
    match err {
        ServiceError::Throttled(_) => Some(Failure::Throttled),
        ServiceError::ExpiredIterator => Some(Failure::Expired),
        ServiceError::Trimmed => Some(Failure::Trimmed),
        ServiceError::NotFound(_) => Some(Failure::Gone),
        ServiceError::Other { status: 500.., .. } | ServiceError::Unreachable(_) => Some(Failure::Failed),
        ServiceError::Validation(_) => match ask {
            shards::Ask::Iterator(_, shards::Start::Time(_) | shards::Start::After(_)) => {
                Some(Failure::Invalid)
            }
            _ => None,
        },
        _ => None,
    }
}

// Which table of its name it is.
fn table_id(table: &answer::Table) -> String {
    match (&table.id, table.created) {
        (Some(id), _) => id.to_string(),
        (None, created) => created.map(|created| created.to_string()).unwrap_or_default(),
    }
}

fn keys(wanted: &TableSettings, described: Option<&answer::Table>) -> Result<KeySchema, Fault> {
    if let Some(table) = described {
        return Ok(table.keys.clone());
    }
    match wanted.key.as_deref() {
        Some([hash]) => Ok(KeySchema { hash: hash.as_str().into(), range: None }),
        Some([hash, range]) => {
            Ok(KeySchema { hash: hash.as_str().into(), range: Some(range.as_str().into()) })
        }
        _ => Err(Fault::needs_person(
            format!("nobody says what the key of `{}` is", wanted.table),
            format!("tables = [{{ table = \"{}\", key = [\"HASH\", \"RANGE\"] }}]", wanted.table),
        )),
    }
}

fn chance() -> u64 {
    getrandom::u64().unwrap_or(0)
}

// Failures of the service in a row about one stream, before the source gives up for a while.
const FAILURES_MAX: u32 = 10;
/// Questions of one source that are under way at once.
const IN_FLIGHT_MAX: usize = 32;
// Transactions that are committed together, and then what is answered is left for the next.
const BATCH_MAX: usize = 4096;
const BATCH_BYTES_MAX: usize = 3 * 1024 * 1024;
// Before a session begins anew.
const ANEW_PAUSE: Duration = Duration::from_secs(1);
// Between two looks at a table as a whole, and while its stream has ended.
const DESCRIBE_MS: Millis = 60_000;
const DESCRIBE_SOON_MS: Millis = 2_000;
// How long at most until all is looked at again.
const LOOK_MS: Millis = 1_000;
// Times of records are approximate: so much earlier reading begins.
const MARGIN_MS: Millis = 60_000;
