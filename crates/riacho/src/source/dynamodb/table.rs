//! One table of a source: what of it is read, and what is done next.

use super::{
    ask::{Ask, Next, Whom, unkeyed},
    budget::Budget,
    notes::{self, Phase, SegmentNote, TableNote},
    pushed::Importing,
    scan::{KeyedRows, Scanning},
    versions::{Version, Versions},
};
use crate::{
    log::{Becomes, Note, SourceChange, Transaction},
    source::{DynamoDbSettings, Sink, TableOf, settings::FirstRows},
};
use riacho_core::{
    source::{
        dynamodb::{
            item::Item,
            record::{Operation, Record},
            shards::{Pace, Shards, Taken},
        },
        machine::{Fault, Input},
    },
    time::Millis,
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// A table that is read.
pub(super) struct Table {
    pub(super) of: TableOf,
    pub(super) whom: Arc<Whom>,
    pub(super) note: TableNote,
    /// The label of its stream; records of others are of another time.
    pub(super) label: Box<str>,
    /// Whether its records have items, not only keys.
    pub(super) images: bool,
    /// What of an item is read; none: all.
    pub(super) columns: Option<Vec<String>>,
    /// Its stream, where it is read.
    pub(super) shards: Option<Shards>,
    pub(super) scan: Option<Scanning>,
    /// Where changes may come twice.
    pub(super) versions: Option<Versions>,
    /// When it is looked at again as a whole.
    pub(super) describe_at: Millis,
    /// Whether it was not asked since.
    pub(super) describing: bool,
    /// About how many items it has.
    pub(super) items: Option<u64>,
    /// Scans that were begun.
    pub(super) scans: u64,
    pub(super) import: Option<Importing>,
    /// When versions are swept next, and after which key.
    pub(super) sweep: (Millis, Option<Box<str>>),
    /// Failures of the service in a row, about its stream.
    pub(super) failures: u32,
}

/// What is to be committed together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) transactions: Vec<Transaction>,
    pub(super) notes: Vec<Note>,
    /// Shards that go on then, by their table.
    pub(super) shards: Vec<(usize, Arc<str>)>,
    /// Records that were taken in this batch, by table and key.
    versions: HashMap<(usize, Box<str>), Version>,
    /// The newest record's time, by the service's clock.
    pub(super) newest: Option<Millis>,
    /// About how much it is: what no commit has room for would be taken in parts, and a shard's note with the last of them.
    pub(super) bytes: usize,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.transactions.is_empty() && self.notes.is_empty() && self.shards.is_empty()
    }
}

impl Table {
    /// Our name of it.
    pub(super) fn name(&self) -> &str {
        self.of.stream.table().unwrap_or_default()
    }

    /// The next question about it, if one is due.
    pub(super) fn next(&mut self, now: Millis, budget: &Budget) -> Option<Ask> {
        if self.describe_at <= now && !self.describing {
            self.describing = true;
            return Some(Ask::Table);
        }
        if let Some(ask) = self.shards.as_mut().and_then(|shards| shards.next(now)) {
            return Some(Ask::Stream(ask));
        }
        let scan = self.scan.as_mut().filter(|scan| !scan.is_full() && budget.due(now) <= now)?;
        let id = scan.id;
        scan.next(now).map(|(segment, after)| Ask::Scan(Next { scan: id, segment, after }))
    }

    /// When it has a question next, if nothing happens before.
    pub(super) fn due(&self, now: Millis, budget: &Budget) -> Option<Millis> {
        let describe = (!self.describing).then_some(self.describe_at);
        let stream = self.shards.as_ref().and_then(Shards::due);
        let scan = self.scan.as_ref().filter(|scan| !scan.is_full()).and_then(Scanning::due);
        let scan = scan.map(|due| due.max(budget.due(now)));
        [describe, stream, scan].into_iter().flatten().min()
    }

    /// Has records of a shard go into `batch`.
    pub(super) async fn take(
        &mut self,
        at: usize,
        taken: Taken,
        (sink, service): (&Sink, Millis),
        batch: &mut Batch,
    ) -> Result<(), Fault> {
        let Taken { shard, mut records, replay, noted } = taken;
        if replay {
            self.keep_last(&mut records)?;
        }
        let label = self.label.clone();
        self.take_records((at, &label), &records, (sink, service), batch).await?;
        let name = notes::shard_name(&self.of.origin, &shard);
        batch.notes.push(sink.noted(&name, notes::of_shard(&noted)));
        batch.shards.push((at, shard));
        Ok(())
    }

    // Of the records of each item the last: those before it may be older than our row, and are not to be seen again.
    fn keep_last(&self, records: &mut Vec<Record>) -> Result<(), Fault> {
        let mut known = HashSet::new();
        let mut last = Vec::with_capacity(records.len());
        for record in records.drain(..).rev() {
            let key = self.whom.keys.text(&record.keys).map_err(|err| unkeyed(&self.of.origin, &err))?;
            if known.insert(key) {
                last.push(record);
            }
        }
        last.reverse();
        *records = last;
        Ok(())
    }

    /// Has records in their order go into `batch`, of the stream with this label.
    pub(super) async fn take_records(
        &mut self,
        (at, label): (usize, &str),
        records: &[Record],
        (sink, service): (&Sink, Millis),
        batch: &mut Batch,
    ) -> Result<(), Fault> {
        let origin = &self.of.origin;
        let keyed = |record: &Record| self.whom.keys.text(&record.keys).map_err(|err| unkeyed(origin, &err));
        let keys: Vec<Box<str>> = records.iter().map(keyed).collect::<Result<_, _>>()?;
        let known = match &self.versions {
            Some(versions) => versions.known(sink.rows(), keys.clone()).await?,
            None => HashMap::new(),
        };
        let mut late = false;
        for (record, key) in records.iter().zip(keys) {
            if record.time.is_some_and(|time| time + COVERED_MS < self.note.covered) {
                continue;
            }
            let mut changes = Vec::with_capacity(2);
            if let Some(versions) = &self.versions {
                let version = Version { stream: label.into(), sequence: record.sequence.clone() };
                let place = (at, key.clone());
                let newest = batch.versions.get(&place).or_else(|| known.get(&key));
                if newest.is_some_and(|newest| *newest >= version) {
                    continue;
                }
                changes.push(versions.becomes(&key, &version));
                batch.versions.insert(place, version);
            }
            if let Some(scan) = &mut self.scan {
                scan.touch(&key)?;
            }
            late |= record.time.is_some_and(|time| time + KEPT_MS < service);
            let becomes = match &record.new {
                Some(item) if record.operation != Operation::Remove || !self.images => {
                    Becomes::Row(self.row(item))
                }
                _ => Becomes::Gone,
            };
            changes.push(SourceChange { table: self.of.stream.clone(), key, becomes });
            let expired = if record.by_ttl { TTL } else { "" };
            let txid = Some(format!("{expired}{}", record.sequence).into());
            batch.bytes += changes.iter().map(SourceChange::bytes).sum::<usize>();
            batch.transactions.push(Transaction { txid, changes });
            batch.newest = batch.newest.max(record.time);
        }
        // What came before it may be gone already.
        if late && self.shards.is_some() && self.note.phase == Phase::Whole {
            tracing::warn!(
                source = &**sink.source(),
                table = self.of.origin,
                "its stream is read a day late; rows are compared"
            );
            self.lost(sink, batch);
        }
        Ok(())
    }

    /// An item as a row.
    pub(super) fn row(&self, item: &Item) -> Box<str> {
        let mut row = String::new();
        item.json(self.columns.as_deref(), &mut row);
        row.into()
    }

    /// Rows of items, by their keys.
    ///
    /// # Errors
    /// Where one has no key that can be used.
    pub(super) fn rows(&self, items: &[Item]) -> Result<KeyedRows, Fault> {
        let keyed = |item: &Item| {
            let key = self.whom.keys.text(item).map_err(|err| unkeyed(&self.of.origin, &err))?;
            Ok((key, self.row(item)))
        };
        items.iter().map(keyed).collect()
    }

    /// Its note as it is now.
    pub(super) fn noted(&self, sink: &Sink) -> Note {
        sink.noted(&note_name(self.name()), notes::write(&self.note))
    }

    /// What is noted when changes were lost: our rows are compared. A copy that nobody has seen cannot go on: what was
    /// removed meanwhile is told by no record.
    pub(super) fn lost(&mut self, sink: &Sink, batch: &mut Batch) {
        self.scan = None;
        self.note.phase = Phase::Compare;
        batch.notes.push(self.noted(sink));
    }

    /// Notes all shards, once no later record can be missed.
    pub(super) fn note_capture(&mut self, sink: &Sink, batch: &mut Batch) {
        let Some(shards) = self.shards.as_ref().filter(|shards| !self.note.captured && shards.captured())
        else {
            return;
        };
        let noted = shards.noted().map(|(shard, noted)| {
            sink.noted(&notes::shard_name(&self.of.origin, shard), notes::of_shard(&noted))
        });
        batch.notes.extend(noted);
        self.note.captured = true;
        batch.notes.push(self.noted(sink));
    }

    /// Begins the scan, once no change can be missed.
    pub(super) fn begin_scan(
        &mut self,
        (now, service): (Millis, Millis),
        rcu_max: Option<u32>,
        sink: &Sink,
        batch: &mut Batch,
    ) {
        if self.shards.as_ref().is_some_and(|shards| !shards.captured()) {
            return;
        }
        let segments = segments(self.items, rcu_max);
        self.scans += 1;
        let id = self.scans;
        let scan = match &mut self.note.phase {
            Phase::Whole => return,
            Phase::Compare => {
                self.note.covered = service;
                Scanning::compare(segments, now, id)
            }
            Phase::Copy(noted) => {
                if noted.is_empty() {
                    self.note.covered = service;
                    *noted = vec![SegmentNote::default(); segments];
                }
                Scanning::copy(noted.clone(), now, id)
            }
        };
        let whom = Whom { segments: u32::try_from(scan.segments()).unwrap_or(1), ..Whom::clone(&self.whom) };
        self.whom = Arc::new(whom);
        batch.notes.push(self.noted(sink));
        sink.tell(Input::CopyBegan(self.name().to_owned(), self.items));
        self.scan = Some(scan);
    }

    /// Marks the moment up to which the stream is to be read before the scan counts, once nothing of it is under way.
    pub(super) fn mark(&mut self, now: Millis, service: Millis) {
        let Some(scan) = self.scan.as_mut().filter(|scan| scan.marked.is_none()) else { return };
        if scan.rests() && (scan.is_done() || scan.is_full()) {
            scan.marked = Some(now);
            if let Some(shards) = &mut self.shards {
                // The service's clock is told in whole seconds, and late.
                shards.mark(now, service + CLOCK_MS);
            }
        }
    }

    /// Whether the stream has passed that moment, as far as anybody can tell.
    pub(super) fn passed(&self, now: Millis, settle: Millis) -> bool {
        let Some(marked) = self.scan.as_ref().and_then(|scan| scan.marked) else { return false };
        match &self.shards {
            Some(shards) => shards.passed(now),
            None => now >= marked + settle,
        }
    }

    /// Notes from time to time that its stream is read: after a day of silence changes may be lost, and of a shard that
    /// nobody had begun the service does not tell.
    pub(super) fn is_alive(&mut self, service: Millis, sink: &Sink, batch: &mut Batch) {
        if self.shards.as_ref().is_some_and(Shards::level) && self.note.alive + ALIVE_MS <= service {
            self.note.alive = service;
            batch.notes.push(self.noted(sink));
        }
    }

    /// Whether changes may have been lost at `service` since it was read last.
    pub(super) fn slept(note: &TableNote, service: Millis) -> bool {
        note.alive > 0 && note.alive + KEPT_MS < service
    }

    /// Has versions of records that no stream has any more go into `batch`, a page of them.
    pub(super) async fn sweep(&mut self, now: Millis, sink: &Sink, batch: &mut Batch) -> Result<(), Fault> {
        let (due, after) = (self.sweep.0, self.sweep.1.take());
        // Until the first import is complete, no record is so old that its item could be older.
        let whole = self.note.phase == Phase::Whole;
        let Some(versions) = self.versions.as_ref().filter(|_| due <= now && whole) else {
            self.sweep.1 = after;
            return Ok(());
        };
        let (changes, last) = versions.sweep(sink, now.saturating_sub(VERSION_MS), after).await?;
        if !changes.is_empty() {
            batch.transactions.push(Transaction { txid: None, changes });
        }
        self.sweep = (now + if last.is_some() { 0 } else { SWEEP_MS }, last);
        Ok(())
    }

    /// Whether only a person can bring it level: its rows were imported, and changes were lost since.
    pub(super) fn waits_for_import(&self, settings: &DynamoDbSettings) -> bool {
        settings.snapshot == FirstRows::Import && self.note.phase == Phase::Compare
    }

    /// Whether all that can be known of it is told.
    pub(super) fn is_level(&self) -> bool {
        self.note.phase == Phase::Whole && self.shards.as_ref().is_none_or(Shards::level)
    }
}

/// How a table's first rows come, where none are there yet.
pub(super) fn first_phase(settings: &DynamoDbSettings, has_rows: bool) -> Phase {
    match settings.snapshot {
        FirstRows::Scan if !has_rows => Phase::Copy(Vec::new()),
        FirstRows::Scan => Phase::Compare,
        // Until it is told that an import is complete.
        FirstRows::Import => Phase::Copy(Vec::new()),
    }
}

/// How often a stream is asked.
pub(super) fn pace(settings: &DynamoDbSettings) -> Pace {
    let millis = |time: Duration| Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX);
    Pace { poll: millis(settings.poll), settle: millis(settings.settle), ..Pace::default() }
}

/// The label of the stream of this ARN: when it was made.
pub(super) fn label(arn: &str) -> &str {
    arn.split_once("/stream/").map_or("", |(_, label)| label)
}

/// The name of a table's note.
pub(super) fn note_name(table: &str) -> String {
    format!("{}{table}", crate::source::sink::TABLE_NOTE)
}

// A small table, or one that is to be read slowly, is one segment.
fn segments(items: Option<u64>, rcu_max: Option<u32>) -> usize {
    let few = items.is_some_and(|items| items < ITEMS_PER_SEGMENT);
    let slow = rcu_max.is_some_and(|units| units < UNITS_PER_SEGMENT);
    if few || slow { 1 } else { SEGMENTS }
}

/// What the name of a transaction begins with in which an item went because its time to live was over.
pub(super) const TTL: &str = "ttl-";
/// How often is noted that a stream is read.
pub(super) const ALIVE_MS: Millis = 600_000;
// Times of records are approximate, by so much; emulators cut them to minutes.
const COVERED_MS: Millis = 60_000;
const CLOCK_MS: Millis = 2_000;
// Streams keep their records for a day; what was read less than that ago, with what was noted, is not lost.
const KEPT_MS: Millis = 23 * 3_600_000;
// A function is called with one for a little longer at most.
const VERSION_MS: Millis = 26 * 3_600_000;
// Between two sweeps of versions.
const SWEEP_MS: Millis = 3_600_000;
const SEGMENTS: usize = 4;
const ITEMS_PER_SEGMENT: u64 = 10_000;
const UNITS_PER_SEGMENT: u32 = 200;
