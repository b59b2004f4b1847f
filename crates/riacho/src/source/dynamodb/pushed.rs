//! What is pushed to a source: records of streams by the functions they trigger, and imported items.
//!
//! Records are taken in their order up to the first that cannot be; the service then calls the function again from there.
//! What it repeats was taken already, which [`Versions`](super::versions) know.

use super::{
    DynamoDbReader, Session, ask,
    notes::Phase,
    table::{Batch, Table},
};
use crate::{
    clock,
    log::{Becomes, SourceChange, Transaction},
    source::{
        Sink,
        copy::{Absents, unsorted},
        seen::Seen,
        settings::{Changes, FirstRows},
    },
};
use riacho_core::source::{
    dynamodb::{
        item::Item,
        record::{BadRecord, Operation, Record},
        sequence::SequenceNumber,
    },
    machine::{Fault, Input},
};
use riacho_core::time::Millis;
use std::collections::HashSet;
use tokio::sync::oneshot;

/// What is pushed, and where its answer goes.
#[derive(Debug)]
pub struct Push {
    /// What it is.
    pub what: Pushed,
    /// What became of it; where nobody waits any more, it is taken all the same.
    pub answer: oneshot::Sender<Result<Took, NotTaken>>,
}

/// What is pushed.
#[derive(Debug)]
pub enum Pushed {
    /// Records, in the order of a Lambda's event.
    Records(Vec<Result<Record, BadRecord>>),
    /// A part of an import into the table of this name in DynamoDB.
    Items {
        /// The table.
        table: Box<str>,
        /// Items, in any order.
        items: Vec<Item>,
        /// Which part of which import they are.
        part: Part,
    },
}

/// A part of an import. Parts come in their order; one that comes again is taken once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The import, by a name that no other has.
    pub import: Box<str>,
    /// The part's number. With 0 an import begins: what was imported before does not count.
    pub number: u64,
    /// Whether it is the last: our rows of which neither an item nor a record came are gone.
    pub last: bool,
    /// When the table had these items: records that were taken well before are older than they. None: every record is newer.
    pub at: Option<Millis>,
}

/// What became of what was pushed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Took {
    /// So many records or items were taken, repeated ones among them.
    pub taken: usize,
    /// The record that could not be taken; those after it were not looked at.
    pub failed: Option<(SequenceNumber, String)>,
}

/// Why nothing of it was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotTaken {
    /// It is not for this source: a sentence without a stop.
    Unfit(String),
    /// The source cannot go on.
    Fault(Fault),
}

/// The newest import of a table.
pub(super) struct Importing {
    import: Box<str>,
    /// The part that is taken next.
    next: u64,
    /// The keys of its items; none once it is complete.
    seen: Option<Seen>,
}

impl From<Fault> for NotTaken {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Session<'_> {
    /// Takes what was pushed. What fails here fails who pushed it, and the source where it cannot go on.
    pub(super) async fn pushed(&mut self, push: Push) -> Result<(), Fault> {
        let took = match push.what {
            Pushed::Records(records) => self.records_pushed(records).await,
            Pushed::Items { table, items, part } => self.items_pushed(&table, &items, part).await,
        };
        let fault = match &took {
            Err(NotTaken::Fault(fault)) => Some(fault.clone()),
            _ => None,
        };
        // Who asked may have gone.
        let _ = push.answer.send(took);
        fault.map_or(Ok(()), Err)
    }

    async fn records_pushed(&mut self, records: Vec<Result<Record, BadRecord>>) -> Result<Took, NotTaken> {
        if !self.settings.changes.ingests() {
            return Err(NotTaken::Unfit(
                "this source polls its streams: set `changes` to `ingest` or `both`".to_owned(),
            ));
        }
        // All of it before any is taken: what is taken is to be committed.
        if let Some(unfit) = records.iter().find_map(|record| self.unfit(record.as_ref())) {
            return Err(NotTaken::Unfit(unfit));
        }
        let (mut batch, mut took) = (Batch::default(), Took::default());
        for record in records {
            let failed = match record {
                Err(bad) => bad.sequence.map(|sequence| (sequence, bad.reason)),
                Ok(record) => {
                    let sequence = record.sequence.clone();
                    self.record_pushed(record, &mut batch).await?.map(|reason| (sequence, reason))
                }
            };
            if failed.is_some() {
                took.failed = failed;
                break;
            }
            took.taken += 1;
        }
        self.commit(batch).await?;
        Ok(took)
    }

    // Why records cannot be for this source, if this one says so.
    fn unfit(&self, record: Result<&Record, &BadRecord>) -> Option<String> {
        match record {
            Err(bad) if bad.sequence.is_none() => {
                Some(format!("a record without a sequence number: {}", bad.reason))
            }
            Err(_) => None,
            Ok(record) => {
                let (name, _) = parts(record.stream_arn.as_deref().unwrap_or_default())?;
                let ours = self.tables.iter().any(|table| *table.whom.table == *name);
                (!ours).then(|| format!("the table `{name}` is none of this source's"))
            }
        }
    }

    // Takes one record; why it cannot be, if only it cannot.
    async fn record_pushed(
        &mut self,
        mut record: Record,
        batch: &mut Batch,
    ) -> Result<Option<String>, NotTaken> {
        let arn = record.stream_arn.clone().unwrap_or_default();
        let Some((name, label)) = parts(&arn) else {
            return Ok(Some(format!("`{arn}` is no ARN of a stream of DynamoDB")));
        };
        let (sink, changes, snapshot) = (self.sink, self.settings.changes, self.settings.snapshot);
        let service = self.service_time(clock::now());
        let mut tables = self.tables.iter_mut().enumerate();
        let Some((at, table)) = tables.find(|(_, table)| *table.whom.table == *name) else {
            return Ok(None);
        };
        if !table.whom.keys.fits(&record.keys) {
            let names: Vec<&str> = record.keys.attributes().iter().map(|(name, _)| &**name).collect();
            return Ok(Some(format!("its key is of {}, not of what is the table's key", names.join(", "))));
        }
        if let Err(err) = table.whom.keys.text(&record.keys) {
            return Ok(Some(err.to_string()));
        }
        if record.view.is_none() && record.new.is_none() && record.operation != Operation::Remove {
            return Ok(Some("it has neither a `NewImage` nor a `StreamViewType`".to_owned()));
        }
        if record.view.is_some_and(|view| !view.has_new()) {
            let Some(service) = &self.service else {
                return Ok(Some(
                    "it tells only keys, and nobody may ask for the item: use a stream with new images"
                        .to_owned(),
                ));
            };
            let filled = ask::fill(service, &table.whom, std::slice::from_mut(&mut record)).await;
            filled.map_err(|failed| failed.fault())?;
            table.images = false;
        }
        if let Some(reason) = record.new.as_ref().and_then(|item| too_large(&table.row(item), sink)) {
            return Ok(Some(reason));
        }
        // A stream that was switched off since: the scan after it has what it tells.
        if snapshot == FirstRows::Scan && *label < *table.label {
            return Ok(None);
        }
        if changes == Changes::Ingest && *table.label < *label {
            let news = !table.label.is_empty();
            table.label = label.into();
            table.note.stream = arn.to_string();
            batch.notes.push(table.noted(sink));
            if news && snapshot == FirstRows::Scan {
                tracing::warn!(
                    source = &**sink.source(),
                    table = name,
                    "another stream than before; rows are compared"
                );
                table.lost(sink, batch);
            }
        }
        table.take_records((at, label), std::slice::from_ref(&record), (sink, service), batch).await?;
        Ok(None)
    }

    async fn items_pushed(&mut self, name: &str, items: &[Item], part: Part) -> Result<Took, NotTaken> {
        let (sink, snapshot) = (self.sink, self.settings.snapshot);
        if snapshot != FirstRows::Import {
            return Err(NotTaken::Unfit(
                "this source scans its tables: set `snapshot` to `import`".to_owned(),
            ));
        }
        let Some(table) = self.tables.iter_mut().find(|table| *table.whom.table == *name) else {
            return Err(NotTaken::Unfit(format!("the table `{name}` is none of this source's")));
        };
        let took = Took { taken: items.len(), failed: None };
        let rows = table.rows(items).map_err(|fault| NotTaken::Unfit(fault.message))?;
        if let Some(unfit) = rows.iter().find_map(|(_, row)| too_large(row, sink)) {
            return Err(NotTaken::Unfit(unfit));
        }
        let Some(mut seen) = table.next_part(&part, sink)? else { return Ok(took) };
        let keys = rows.iter().map(|(key, _)| key.clone()).collect();
        let newer = table.newer(keys, part.at, sink).await?;
        let (stream, mut changes) = (table.of.stream.clone(), Vec::with_capacity(rows.len()));
        for (key, row) in rows {
            // Also one that a record is newer than: what is known of records is forgotten before an import must end.
            seen.add(key.clone()).map_err(|err| unsorted(&err))?;
            if newer.contains(&key) {
                continue;
            }
            changes.push(SourceChange { table: stream.clone(), key, becomes: Becomes::Row(row) });
        }
        let (import, next) = (part.import, part.number + 1);
        if !part.last {
            sink.write(transaction(changes), Vec::new()).await?;
            table.told(items.len(), sink);
            table.import = Some(Importing { import, next, seen: Some(seen) });
            return Ok(took);
        }
        let mut absents = Absents::of(sink, &table.of, seen).await?;
        while let Some(gone) = absents.next().await? {
            sink.write(transaction(std::mem::take(&mut changes)), Vec::new()).await?;
            let keys = gone.iter().map(|change| change.key.clone()).collect();
            let newer = table.newer(keys, part.at, sink).await?;
            changes.extend(gone.into_iter().filter(|change| !newer.contains(&change.key)));
        }
        table.note.phase = Phase::Whole;
        (table.note.ready, table.of.ready) = (true, true);
        sink.write(transaction(changes), vec![table.noted(sink)]).await?;
        sink.ready(&table.of.stream);
        table.import = Some(Importing { import, next, seen: None });
        Ok(took)
    }
}

impl Table {
    // What the import of this part has seen before it; none where it was taken already.
    fn next_part(&mut self, part: &Part, sink: &Sink) -> Result<Option<Seen>, NotTaken> {
        let current = self.import.as_mut().filter(|current| current.import == part.import);
        let next = current.as_ref().map_or(0, |current| current.next);
        if part.number < next {
            return Ok(None);
        }
        match current.and_then(|current| current.seen.take()) {
            Some(seen) if part.number == next => Ok(Some(seen)),
            None if part.number == 0 => {
                if !self.of.ready {
                    sink.tell(Input::CopyBegan(self.name().to_owned(), None));
                }
                Ok(Some(Seen::default()))
            }
            _ => {
                let (origin, number) = (&self.of.origin, part.number);
                Err(NotTaken::Unfit(format!(
                    "no import into `{origin}` waits for its part {number}: the source began anew meanwhile, or another \
                     import did; begin it again"
                )))
            }
        }
    }

    // Keys of which a record was taken that is newer than items of the moment `at`.
    async fn newer(
        &self,
        keys: Vec<Box<str>>,
        at: Option<Millis>,
        sink: &Sink,
    ) -> Result<HashSet<Box<str>>, Fault> {
        match &self.versions {
            Some(versions) => versions.since(sink.rows(), keys, at).await,
            None => Ok(HashSet::new()),
        }
    }

    fn told(&self, items: usize, sink: &Sink) {
        if !self.of.ready {
            sink.tell(Input::Copied(self.name().to_owned(), items as u64));
        }
    }
}

// Why a row cannot be taken, if it is too large.
fn too_large(row: &str, sink: &Sink) -> Option<String> {
    let bytes_max = sink.row_bytes_max();
    (row.len() > bytes_max).then(|| format!("its row is larger than {bytes_max} bytes (limit row_bytes_max)"))
}

fn transaction(changes: Vec<SourceChange>) -> Vec<Transaction> {
    if changes.is_empty() { Vec::new() } else { vec![Transaction { txid: None, changes }] }
}

// The table's name and the stream's label: `arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL`.
fn parts(arn: &str) -> Option<(&str, &str)> {
    let (_, rest) = arn.split_once(":table/")?;
    rest.split_once("/stream/").filter(|(name, label)| !name.is_empty() && !label.is_empty())
}

impl DynamoDbReader {
    /// What is pushed waits here until it is taken: so many, and then who pushes waits.
    pub(crate) const PUSHES_MAX: usize = 16;
}
