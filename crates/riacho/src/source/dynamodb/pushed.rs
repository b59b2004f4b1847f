//! What is pushed to a source: records of streams by the functions they trigger, and imported items.
//!
//! Records are taken in their order up to the first that cannot be; the service then calls the function again from there.
//! What it repeats was taken already, which [`Versions`](super::versions) know.

use super::{
    DynamoDbReader, Session, ask,
    notes::Phase,
    scan::KeyedRows,
    table::{Batch, Table},
};
use crate::{
    clock,
    log::{Becomes, SourceChange, Transaction},
    source::{
        Sink, TableOf,
        copy::{Absents, unsorted},
        seen::Seen,
        settings::{Changes, FirstRows},
    },
};
use riacho_core::source::{
    dynamodb::{
        item::Item,
        record::{BadRecord, Record},
        sequence::SequenceNumber,
    },
    machine::Fault,
};
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
        /// Whether an import begins with them: what was imported before does not count.
        first: bool,
        /// Whether these are the last: our rows of which neither an item nor a record came are gone.
        last: bool,
    },
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

/// An import that is under way: the keys of its items.
#[derive(Default)]
pub(super) struct Importing {
    seen: Seen,
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
            Pushed::Items { table, items, first, last } => {
                self.items_pushed(&table, items, (first, last)).await
            }
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
        let (mut batch, mut took) = (Batch::default(), Took::default());
        for record in records {
            let failed = match record {
                Err(bad) => match bad.sequence {
                    Some(sequence) => Some((sequence, bad.reason)),
                    None => {
                        return Err(NotTaken::Unfit(format!(
                            "a record without a sequence number: {}",
                            bad.reason
                        )));
                    }
                },
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
        let Some(at) = self.tables.iter().position(|table| *table.whom.table == *name) else {
            return Err(NotTaken::Unfit(format!("the table `{name}` is none of this source's")));
        };
        let Some(table) = self.tables.get_mut(at) else { return Ok(None) };
        if !table.whom.keys.fits(&record.keys) {
            let names: Vec<&str> = record.keys.attributes().iter().map(|(name, _)| &**name).collect();
            return Ok(Some(format!("its key is of {}, not of what is the table's key", names.join(", "))));
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

    async fn items_pushed(
        &mut self,
        name: &str,
        items: Vec<Item>,
        (first, last): (bool, bool),
    ) -> Result<Took, NotTaken> {
        let (sink, snapshot) = (self.sink, self.settings.snapshot);
        if snapshot != FirstRows::Import {
            return Err(NotTaken::Unfit(
                "this source scans its tables: set `snapshot` to `import`".to_owned(),
            ));
        }
        let Some(table) = self.tables.iter_mut().find(|table| *table.whom.table == *name) else {
            return Err(NotTaken::Unfit(format!("the table `{name}` is none of this source's")));
        };
        if first {
            table.import = Some(Importing::default());
        }
        let unknown = || NotTaken::Unfit(format!("no import into `{name}` is under way: begin it again"));
        let mut importing = table.import.take().ok_or_else(unknown)?;
        let rows = table.rows(&items).map_err(|fault| NotTaken::Unfit(fault.message))?;
        let taken = rows.len();
        let mut changes = untouched(table, rows, sink).await?;
        for change in &changes {
            importing.seen.add(change.key.clone()).map_err(|err| unsorted(&err))?;
        }
        if !last {
            sink.write(transaction(changes), Vec::new()).await?;
            table.import = Some(importing);
            return Ok(Took { taken, failed: None });
        }
        let mut absents = Absents::of(sink, &table.of, importing.seen).await?;
        while let Some(gone) = absents.next().await? {
            sink.write(transaction(std::mem::take(&mut changes)), Vec::new()).await?;
            let keys = gone.iter().map(|change| change.key.clone()).collect();
            let known = match &table.versions {
                Some(versions) => versions.known(sink.rows(), keys).await?,
                None => Default::default(),
            };
            changes.extend(gone.into_iter().filter(|change| !known.contains_key(&change.key)));
        }
        table.note.phase = Phase::Whole;
        (table.note.ready, table.of.ready) = (true, true);
        sink.write(transaction(changes), vec![table.noted(sink)]).await?;
        sink.ready(&table.of.stream);
        Ok(Took { taken, failed: None })
    }
}

// Rows of which no record was taken: those that were are newer.
async fn untouched(table: &Table, rows: KeyedRows, sink: &Sink) -> Result<Vec<SourceChange>, Fault> {
    let keys = rows.iter().map(|(key, _)| key.clone()).collect();
    let known = match &table.versions {
        Some(versions) => versions.known(sink.rows(), keys).await?,
        None => Default::default(),
    };
    let of = TableOf::clone(&table.of);
    let rows = rows.into_iter().filter(|(key, _)| !known.contains_key(key));
    Ok(rows
        .map(|(key, row)| SourceChange { table: of.stream.clone(), key, becomes: Becomes::Row(row) })
        .collect())
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
