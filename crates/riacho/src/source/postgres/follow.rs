//! The stream of changes is read and committed; copies are made beside it.
//!
//! One write is on its way at a time, and what comes meanwhile goes with the next: so a slow log makes larger commits, and
//! then the server wait. The server is told how far we are only after that is durable here.

use super::{
    catalog::Catalog,
    connect::{Reached, Target, replication_fault},
    copier::{Copied, Order, copier},
    notes::{self, POSITION, Position, TableNote},
    prepare::{self, Plan, Planned},
};
use crate::{
    clock,
    log::{Note, Transaction},
    source::{Sink, TableSettings, sink::Rejected},
};
use futures_util::FutureExt as _;
use pgwire_replication::{ReplicationClient, ReplicationEvent};
use riacho_core::{
    name::StreamName,
    source::{
        change::SourceChange,
        machine::{Fault, Input},
        postgres::{
            lsn::Lsn,
            pgoutput::{self, Message},
            stitch::{Committed, Output, Said, Stitch},
        },
    },
    time::Millis,
};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet};

/// Why following ended.
pub(super) enum Ended {
    /// Something failed.
    Fault(Fault),
    /// The catalogue says something else than when the plan was made.
    Altered,
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Follows the stream until something fails.
pub(super) async fn follow(
    catalog: &Catalog<'_>,
    target: &Arc<Target>,
    reached: &Reached,
    (plan, tables): (Plan, &[TableSettings]),
    sink: &Sink,
) -> Ended {
    let mut follower = match Follower::start(catalog, target, reached, (plan, tables), sink).await {
        Ok(follower) => follower,
        Err(ended) => return ended,
    };
    let ended = match follower.run().await {
        Ok(never) => match never {},
        Err(ended) => ended,
    };
    // So that the slot is free at once. In vain where the connection is what failed.
    let _ = tokio::time::timeout(SHUTDOWN_TIME, follower.client.shutdown()).await;
    ended
}

enum Never {}

struct Follower<'a> {
    catalog: &'a Catalog<'a>,
    target: &'a Arc<Target>,
    sink: &'a Sink,
    tables: &'a [TableSettings],
    plan: Plan,
    client: ReplicationClient,
    stitch: Stitch,
    /// What is committed there and not yet on its way here.
    gathered: Vec<Committed>,
    gathered_bytes: usize,
    /// Notes that go with it, and tables that are whole once they are durable.
    notes: Vec<Note>,
    whole: Vec<StreamName>,
    /// Behind all that was gathered, and when its newest was committed.
    end: Lsn,
    newest: Option<Millis>,
    /// The write that is on its way.
    writing: JoinSet<Result<(), Rejected>>,
    written: Written,
    /// How far the server has nothing for us.
    idle: Lsn,
    /// Behind all that was there when we began.
    level_at: Lsn,
    /// What is to be copied once all that was gathered before is written: a copy must not be overtaken by older changes.
    ordered: Vec<Order>,
    /// Copies that are made, but not yet told.
    copies: Vec<Copied>,
    orders: mpsc::UnboundedSender<Order>,
    copied: mpsc::UnboundedReceiver<Copied>,
    copier: JoinSet<Fault>,
    /// Whether it waits for transactions to end before it begins.
    copier_waits: Arc<AtomicBool>,
    /// Since when changes are held.
    held_since: Option<Millis>,
    numbers: HashMap<StreamName, u64>,
    beat: u64,
}

/// What is true once the write on its way is durable.
#[derive(Default)]
struct Written {
    end: Lsn,
    newest: Option<Millis>,
    whole: Vec<StreamName>,
    ordered: Vec<Order>,
}

impl<'a> Follower<'a> {
    async fn start(
        catalog: &'a Catalog<'a>,
        target: &'a Arc<Target>,
        reached: &Reached,
        (plan, settings): (Plan, &'a [TableSettings]),
        sink: &'a Sink,
    ) -> Result<Self, Ended> {
        let config = target
            .replication(reached, &plan.slot, &plan.publication)
            .with_start_lsn(pgwire_replication::Lsn::from_u64(plan.applied.0))
            .with_status_interval(STATUS_INTERVAL)
            .with_buffer_size(BUFFER_EVENTS)
            .with_max_message_size(MESSAGE_BYTES_MAX);
        let fault = |err: &_| replication_fault(err, target);
        let mut client = ReplicationClient::connect(config).await.map_err(|err| fault(&err))?;
        let started = tokio::time::timeout(target.connect_timeout(), client.wait_started()).await;
        match started {
            Ok(started) => started.map_err(|err| fault(&err))?,
            Err(_) => {
                let message = format!("{} does not begin to replicate", target.shown());
                return Err(Fault::passing(message).into());
            }
        }
        let mut stitch = Stitch::new(plan.applied);
        *stitch.types() = plan.types.clone();
        let tables: Vec<_> = plan.tables.iter().map(|table| table.of.clone()).collect();
        sink.feed(&tables).await?;
        let (orders, ordered) = mpsc::unbounded_channel();
        let (copies, copied) = mpsc::unbounded_channel();
        let mut copying = JoinSet::new();
        let copier_waits = Arc::new(AtomicBool::new(false));
        copying.spawn(copier(Arc::clone(target), sink.clone(), ordered, copies, Arc::clone(&copier_waits)));
        let level_at = beat(catalog, sink).await?;
        let mut follower = Self {
            catalog,
            target,
            sink,
            tables: settings,
            end: plan.applied,
            written: Written { end: plan.applied, ..Written::default() },
            idle: plan.applied,
            plan,
            client,
            stitch,
            gathered: Vec::new(),
            gathered_bytes: 0,
            notes: Vec::new(),
            whole: Vec::new(),
            newest: None,
            writing: JoinSet::new(),
            level_at,
            ordered: Vec::new(),
            copies: Vec::new(),
            orders,
            copied,
            copier: copying,
            copier_waits,
            held_since: None,
            numbers: HashMap::new(),
            beat: 0,
        };
        let mut stale = Vec::new();
        for table in follower.plan.tables.clone() {
            let wanted = table.choice.wanted.clone();
            if table.note.copied {
                follower.stitch.add_whole(wanted, table.note.shape.clone(), table.note.seen());
            } else {
                follower.stitch.add_copying(wanted, table.of.ready);
                stale.push(table);
            }
        }
        // Noted before the first difference is told: a configuration that is taken back must not find them whole.
        let note =
            |table: &Planned| sink.noted(&prepare::note_name(&table.of.stream), notes::write(&table.note));
        let known = |table: &&Planned| sink.note(&prepare::note_name(&table.of.stream)).is_some();
        sink.write(Vec::new(), stale.iter().filter(known).map(note).collect()).await?;
        stale.iter().for_each(|table| follower.order(table));
        Ok(follower)
    }

    async fn run(&mut self) -> Result<Never, Ended> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // What waits, for the log or for copies, has its bound: then the server waits.
            let takes = self.takes();
            tokio::select! {
                // Cancel safe, all of them: a message not received stays in its channel, and a write goes on by itself.
                event = self.client.recv(), if takes => {
                    self.received(event).await?;
                    self.more().await?;
                }
                Some(written) = self.writing.join_next() => {
                    match written.map_err(|_| Fault::passing("a write panicked"))? {
                        Ok(()) => self.durable(),
                        Err(Rejected::Fault(fault)) => return Err(fault.into()),
                        Err(Rejected::Unknown(table)) => return Err(self.reread(&table).await?),
                    }
                }
                Some(copied) = self.copied.recv() => self.copied(copied),
                Some(fault) = self.copier.join_next() => {
                    return Err(fault.unwrap_or_else(|_| Fault::passing("a copy panicked")).into());
                }
                _ = tick.tick() => {
                    // Nobody else would notice a server that has gone without a word.
                    let Ok(ticked) = tokio::time::timeout(ANSWER_TIME, self.tick()).await else {
                        return Err(Fault::passing(format!("{} has not answered for long", self.target.shown())).into());
                    };
                    ticked?;
                }
            }
            self.end_copies();
            self.bound_waiting();
            self.write();
        }
    }

    fn takes(&self) -> bool {
        self.gathered_bytes < GATHERED_BYTES_MAX && self.stitch.waiting_bytes() < WAITING_BYTES_MAX
    }

    // Where a copy does not begin for long, because somebody keeps a transaction open, the others go on.
    fn bound_waiting(&mut self) {
        let now = clock::now();
        let held_since = self.stitch.is_held().then(|| self.held_since.unwrap_or(now));
        self.held_since = held_since;
        if !self.copier_waits.load(Ordering::Relaxed) {
            return;
        }
        let full = self.stitch.waiting_bytes() >= WAITING_BYTES_MAX;
        if held_since.is_some_and(|since| full || now.saturating_sub(since) >= HELD_MS_MAX) {
            tracing::warn!(
                source = &**self.sink.source(),
                "changes of other tables are told before a table is read anew: somebody keeps a transaction open"
            );
            for committed in self.stitch.let_go() {
                self.gather(committed);
            }
        }
        // What they kept so far, a copy that begins later has.
        if self.stitch.waiting_bytes() >= WAITING_BYTES_MAX {
            for table in self.stitch.copying() {
                self.stitch.begin_copy(&table);
                let planned = self.plan.tables.iter().find(|planned| planned.of.stream == table).cloned();
                planned.iter().for_each(|planned| self.order(planned));
            }
        }
    }

    // Takes what has arrived already, so that it goes with the same write.
    async fn more(&mut self) -> Result<(), Ended> {
        for _ in 0..BURST_EVENTS {
            if !self.takes() {
                break;
            }
            let Some(event) = self.client.recv().now_or_never() else { break };
            self.received(event).await?;
        }
        Ok(())
    }

    async fn received(
        &mut self,
        event: Result<Option<ReplicationEvent>, pgwire_replication::PgWireError>,
    ) -> Result<(), Ended> {
        let event = event.map_err(|err| replication_fault(&err, self.target))?;
        let lsn = |lsn: pgwire_replication::Lsn| Lsn(lsn.as_u64());
        match event {
            None => return Err(Fault::passing("PostgreSQL ended the stream").into()),
            Some(ReplicationEvent::KeepAlive { wal_end, reply_requested, .. }) => {
                if !self.stitch.is_open() {
                    self.idle = self.idle.max(lsn(wal_end));
                    self.tell_level();
                }
                // A server that is stopping waits until we have taken all it sent.
                if reply_requested {
                    self.take_idle();
                }
            }
            Some(ReplicationEvent::Begin { final_lsn, xid, commit_time_micros }) => {
                let commit_time = pgoutput::millis(commit_time_micros);
                self.handle(&Message::Begin { final_lsn: lsn(final_lsn), commit_time, xid }).await?;
            }
            Some(ReplicationEvent::Commit { lsn: commit_lsn, end_lsn, commit_time_micros }) => {
                let commit_time = pgoutput::millis(commit_time_micros);
                let message =
                    Message::Commit { commit_lsn: lsn(commit_lsn), end_lsn: lsn(end_lsn), commit_time };
                self.handle(&message).await?;
            }
            // Our own among them: whatever was before it has been told.
            Some(ReplicationEvent::Message { lsn: at, transactional: false, .. })
                if !self.stitch.is_open() =>
            {
                self.idle = self.idle.max(lsn(at));
                self.tell_level();
            }
            Some(ReplicationEvent::XLogData { data, .. }) => {
                let message = pgoutput::decode(&data, false).map_err(|damage| {
                    Fault::passing(format!("PostgreSQL sent what is no message: {damage}"))
                })?;
                self.handle(&message).await?;
            }
            Some(_) => {}
        }
        Ok(())
    }

    async fn handle(&mut self, message: &Message<'_>) -> Result<(), Ended> {
        loop {
            match self.stitch.handle(message) {
                Output::Nothing => return Ok(()),
                Output::Types(oids) => {
                    self.catalog.describe(&oids, self.stitch.types()).await?;
                    // Types that were dropped since are no longer described.
                    let types = self.stitch.types();
                    for oid in oids {
                        if !types.knows(oid) {
                            types.describe(oid, riacho_core::source::postgres::kind::Description::Other);
                        }
                    }
                }
                Output::Committed(committed) => {
                    self.gather(committed);
                    self.tell_level();
                    return Ok(());
                }
                Output::Altered(table) => {
                    self.alter(&table);
                    return Ok(());
                }
            }
        }
    }

    // A table that is not what it was is copied anew.
    fn alter(&mut self, table: &StreamName) {
        let found = self.plan.tables.iter_mut().find(|planned| planned.of.stream == *table);
        let Some(planned) = found else { return };
        tracing::info!(
            source = &**self.sink.source(),
            table = planned.of.origin,
            "table was altered, and is read anew"
        );
        planned.note.copied = false;
        let (note, planned) = (planned.note.clone(), planned.clone());
        // It may be altered back before the next look.
        self.plan.said.clear();
        self.notes.push(self.sink.noted(&prepare::note_name(table), notes::write(&note)));
        self.order(&planned);
    }

    fn order(&mut self, table: &Planned) {
        let number = self.numbers.entry(table.of.stream.clone()).or_default();
        *number += 1;
        self.copies.retain(|copied| copied.table != table.of.stream);
        self.ordered.push(Order { table: table.clone(), number: *number });
    }

    fn send(&self, orders: Vec<Order>) {
        for order in orders {
            // Where the copier has ended, that is found out by its fault.
            let _ = self.orders.send(order);
        }
    }

    // A row was told only in part, and we do not have the rest: the table is read anew.
    async fn reread(&mut self, table: &StreamName) -> Result<Ended, Fault> {
        let found = self.plan.tables.iter_mut().find(|planned| planned.of.stream == *table);
        if let Some(planned) = found {
            tracing::warn!(
                source = &**self.sink.source(),
                table = planned.of.origin,
                "table is read anew: a row was not known in full"
            );
            planned.note.copied = false;
            let note = self.sink.noted(&prepare::note_name(table), notes::write(&planned.note));
            self.sink.write(Vec::new(), vec![note]).await?;
        }
        Ok(Ended::Altered)
    }

    // A copy is made. It waits for others that readers must see together with it, and for the stream.
    fn copied(&mut self, copied: Copied) {
        if self.numbers.get(&copied.table) == Some(&copied.number) {
            self.copies.push(copied);
        }
    }

    fn end_copies(&mut self) {
        let Some(upto) = self.copies.iter().map(|copied| copied.seen.upto).max() else { return };
        if !self.stitch.may_end(self.copies.iter().map(|copied| &copied.table)) {
            return;
        }
        // Readers of several tables would see of a transaction only what is in the copy, until the stream tells the rest.
        let level = self.stitch.reached().max(self.idle) >= upto;
        // Where more waits than may, the stream cannot get there before.
        if level || self.stitch.waiting_bytes() >= WAITING_BYTES_MAX {
            self.release(level);
        }
    }

    // What copies did not see comes after them, in the same commit in which the tables are noted as whole.
    fn release(&mut self, level: bool) {
        let (mut ended, mut differing, mut noted) = (Vec::new(), Vec::new(), Vec::new());
        for copied in std::mem::take(&mut self.copies) {
            let Copied { table, seen, fingerprint, version, differing: differs, .. } = copied;
            differing.extend(differs.into_iter().map(Said::Row));
            let found = self.plan.tables.iter_mut().find(|planned| planned.of.stream == table);
            if let Some(planned) = found {
                let (made, filter) = ((fingerprint.clone(), version), planned.choice.filter.clone());
                planned.note = TableNote::copied(&planned.of.origin, made, filter, &seen);
                planned.of.ready = true;
                noted.push(table.clone());
                self.whole.push(table.clone());
            }
            ended.push((table, seen, fingerprint));
        }
        let released = self.stitch.end_copies(ended, level);
        differing.extend(released.at_once);
        if !differing.is_empty() {
            self.gather(Committed { xid: NO_XID, end: None, time: clock::now(), said: differing });
        }
        for committed in released.then {
            self.gather(committed);
        }
        for planned in &mut self.plan.tables {
            if let Some(seen) = released.seen.as_ref().filter(|_| planned.of.ready) {
                planned.note = planned.note.as_of(seen);
                noted.push(planned.of.stream.clone());
            }
            if noted.contains(&planned.of.stream) {
                let name = prepare::note_name(&planned.of.stream);
                self.notes.push(self.sink.noted(&name, notes::write(&planned.note)));
            }
        }
    }

    fn gather(&mut self, committed: Committed) {
        if let Some(end) = committed.end {
            self.end = self.end.max(end);
            self.newest = Some(committed.time);
        }
        if !committed.said.is_empty() {
            self.gathered_bytes += committed.said.iter().map(Said::bytes).sum::<usize>();
            self.gathered.push(committed);
        }
    }

    // Has what was gathered written, if nothing is on its way.
    fn write(&mut self) {
        if !self.writing.is_empty() {
            return;
        }
        let ordered = std::mem::take(&mut self.ordered);
        if self.gathered.is_empty() && self.notes.is_empty() {
            return self.send(ordered);
        }
        let gathered = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        let mut notes = std::mem::take(&mut self.notes);
        self.plan.position.lsn = self.end.to_string();
        notes.push(self.sink.noted(POSITION, notes::write(&self.plan.position)));
        let whole = std::mem::take(&mut self.whole);
        let from = self.written.end;
        self.written = Written { end: self.end, newest: self.newest.take(), whole, ordered };
        let position = (self.plan.position.clone(), from);
        self.writing.spawn(write(self.sink.clone(), gathered, position, notes));
    }

    fn durable(&mut self) {
        let Written { end, newest, whole, ordered } = std::mem::take(&mut self.written);
        self.written.end = end;
        self.send(ordered);
        self.client.update_applied_lsn(pgwire_replication::Lsn::from_u64(end.0));
        if let Some(newest) = newest {
            self.sink.lag_millis(clock::now().saturating_sub(newest));
        }
        for table in whole {
            self.sink.ready(&table);
        }
        self.tell_level();
    }

    fn tell_level(&self) {
        let reached = self.end.max(self.idle);
        let quiet = self.gathered.is_empty() && self.writing.is_empty();
        if reached >= self.level_at && (quiet || self.beat > 0) {
            self.sink.tell(Input::Level(true));
        }
    }

    // Nothing of ours was in what the server has read since: it need not keep that.
    fn take_idle(&mut self) {
        let quiet = self.gathered.is_empty() && self.writing.is_empty() && !self.stitch.is_open();
        if quiet && !self.stitch.is_held() && self.idle > self.end {
            self.end = self.idle;
            let position = Position { lsn: self.end.to_string(), ..self.plan.position.clone() };
            self.notes.push(self.sink.noted(POSITION, notes::write(&position)));
        }
    }

    async fn tick(&mut self) -> Result<(), Ended> {
        self.beat += 1;
        if self.beat.is_multiple_of(IDLE_TICKS) {
            self.take_idle();
        }
        if self.beat.is_multiple_of(BEAT_TICKS) {
            beat(self.catalog, self.sink).await?;
        }
        let end = self.catalog.wal_end().await?;
        self.sink.lag_bytes(end.0.saturating_sub(self.end.max(self.idle).0));
        if self.beat.is_multiple_of(CATALOG_TICKS) {
            let said =
                prepare::said(self.catalog, &self.plan.publication, self.tables, &self.plan.server).await?;
            if said != self.plan.said {
                return Err(Ended::Altered);
            }
        }
        Ok(())
    }
}

// A message of ours in the stream, which moves a slot that has nothing else to tell; gives where it is.
async fn beat(catalog: &Catalog<'_>, sink: &Sink) -> Result<Lsn, Fault> {
    let name = super::catalog::literal(sink.source());
    let sql = format!("SELECT pg_catalog.pg_logical_emit_message(false, 'riacho', {name})");
    let at = catalog.value(&sql).await?;
    at.as_deref().and_then(Lsn::parse).ok_or_else(|| Fault::passing("PostgreSQL wrote a message nowhere"))
}

// Writes transactions in order, the last with `notes`; those before with how far they are, so that none is repeated after a
// crash. A table that is emptied is emptied of the rows it has then.
async fn write(
    sink: Sink,
    gathered: Vec<Committed>,
    (position, from): (Position, Lsn),
    notes: Vec<Note>,
) -> Result<(), Rejected> {
    let mut transactions: Vec<Transaction> = Vec::with_capacity(gathered.len());
    let (mut bytes, mut end) = (0, None);
    for committed in gathered {
        let empties = committed.said.iter().any(|said| matches!(said, Said::Emptied(_)));
        if !transactions.is_empty() && (empties || bytes >= RUN_BYTES) {
            let noted = |end: Lsn| {
                let position = Position { lsn: end.to_string(), ..position.clone() };
                sink.noted(POSITION, notes::write(&position))
            };
            let reached = end.take().filter(|end| *end > from).map(noted).into_iter().collect();
            sink.try_write(std::mem::take(&mut transactions), reached).await?;
            bytes = 0;
        }
        bytes += committed.said.iter().map(Said::bytes).sum::<usize>();
        end = committed.end.or(end);
        let txid: Option<Box<str>> = (committed.xid != NO_XID).then(|| committed.xid.to_string().into());
        let mut changes: Vec<SourceChange> = Vec::with_capacity(committed.said.len());
        for said in committed.said {
            match said {
                Said::Row(change) => changes.push(change),
                Said::Emptied(table) => {
                    // Whatever it did to the table before was for nothing.
                    changes.retain(|change| change.table != table);
                    let mut gone = sink.gone(&table)?;
                    while let Some(mut part) = gone.part().await? {
                        changes.append(&mut part);
                        if !gone.is_done() {
                            // The rest goes with another commit; what was before it is committed already.
                            let changes = std::mem::take(&mut changes);
                            let part = Transaction { txid: txid.clone(), changes };
                            sink.try_write(vec![part], Vec::new()).await?;
                        }
                    }
                }
            }
        }
        transactions.push(Transaction { txid, changes });
    }
    sink.try_write(transactions, notes).await
}

// What no transaction is called.
const NO_XID: u32 = 0;
// What is written with a position of its own.
const RUN_BYTES: usize = 2 * 1024 * 1024;
// How often the server is told how far we are.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
const BUFFER_EVENTS: usize = 512;
const BURST_EVENTS: usize = 4096;
// A row may be as large as a text of PostgreSQL; what is larger than a row of ours is refused by name, not by its size here.
const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;
const GATHERED_BYTES_MAX: usize = 8 * 1024 * 1024;
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
// How long changes of other tables are held for a copy that does not begin.
const HELD_MS_MAX: Millis = 5_000;
// How long an answer of the server may take.
const ANSWER_TIME: Duration = Duration::from_secs(30);
const SHUTDOWN_TIME: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_secs(2);
// Ticks between two notes of a position that moved though nothing of ours was in between.
const IDLE_TICKS: u64 = 5;
// Ticks between two looks at the catalogue.
const CATALOG_TICKS: u64 = 3;
// Ticks between two messages that keep an idle slot moving.
const BEAT_TICKS: u64 = 30;
