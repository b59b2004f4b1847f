//! What is asked of DynamoDB, and what it answers: one place for all requests of a source.

use super::service::{Service, ServiceError};
use crate::clock;
use riacho_core::{
    source::{
        dynamodb::{
            answer::{self, Table},
            item::Item,
            key::KeySchema,
            record::Record,
            request::{self, Operation},
            shards::{self, Listed, Page, Start, Taken},
        },
        machine::Fault,
    },
    time::Millis,
};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// A question about one table of a source.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// About its stream.
    Stream(shards::Ask),
    /// What it is.
    Table,
    /// The items of records that tell only keys.
    Images(Taken),
    /// A page of its items.
    Scan(Next),
}

/// A page of a scan.
#[derive(Clone, Debug)]
pub(super) struct Next {
    /// Which scan.
    pub(super) scan: u64,
    pub(super) segment: usize,
    /// The key before it.
    pub(super) after: Option<Item>,
}

/// What was answered.
#[derive(Debug)]
pub(super) enum Reply {
    /// To `Stream`.
    Stream(shards::Answer),
    /// To `Table`: and how far the service's clock is before ours, in milliseconds.
    Table(Box<Table>, Option<i64>),
    /// To `Images`.
    Images(Taken),
    /// To `Scan`.
    Scan(answer::Scan),
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// The service says so.
    Service(ServiceError),
    /// It answered what cannot be read.
    Unread(Fault),
}

/// What a question needs to be asked.
#[derive(Clone, Debug)]
pub(super) struct Whom {
    /// The table's name.
    pub(super) table: Arc<str>,
    /// Its stream's ARN, where it is read.
    pub(super) stream: Arc<str>,
    /// Its key's attributes.
    pub(super) keys: KeySchema,
    /// In how many segments it is scanned.
    pub(super) segments: u32,
}

impl From<ServiceError> for Failed {
    fn from(err: ServiceError) -> Self {
        Self::Service(err)
    }
}

impl Failed {
    /// What to tell people.
    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::Service(err) => err.fault(),
            Self::Unread(fault) => fault.clone(),
        }
    }
}

fn unread(operation: Operation) -> impl Fn(answer::BadAnswer) -> Failed {
    move |err| {
        Failed::Unread(Fault::passing(format!("the answer to {} cannot be read: {err}", operation.as_str())))
    }
}

/// What DynamoDB says of a table, and how far its clock is before ours, in milliseconds.
pub(super) async fn table(service: &Service, name: &str) -> Result<(Table, Option<i64>), Failed> {
    let operation = Operation::DescribeTable;
    let answer = service.call(operation, request::describe_table(name).into_bytes()).await?;
    let millis = |time: Millis| i64::try_from(time).ok();
    let ahead = answer.server_time.and_then(|time| Some(millis(time)? - millis(clock::now())?));
    Ok((Table::parse(&answer.body).map_err(unread(operation))?, ahead))
}

/// Asks, and reads the answer. Dropped at any `.await`, nothing is lost: all questions are reads.
pub(super) async fn ask(service: &Service, whom: &Whom, ask: Ask) -> Result<Reply, Failed> {
    match ask {
        Ask::Table => {
            let (table, ahead) = table(service, &whom.table).await?;
            Ok(Reply::Table(Box::new(table), ahead))
        }
        Ask::Stream(ask) => stream(service, whom, ask).await.map(Reply::Stream),
        Ask::Images(taken) => images(service, whom, taken).await.map(Reply::Images),
        Ask::Scan(Next { segment, after, .. }) => {
            let operation = Operation::Scan;
            let segment = (u32::try_from(segment).unwrap_or(0), whom.segments);
            let page = request::Page { table: &whom.table, segment, after: after.as_ref(), limit: None };
            let answer = service.call(operation, request::scan(&page).into_bytes()).await?;
            answer::Scan::parse(&answer.body).map(Reply::Scan).map_err(unread(operation))
        }
    }
}

async fn stream(service: &Service, whom: &Whom, ask: shards::Ask) -> Result<shards::Answer, Failed> {
    match ask {
        shards::Ask::List(after) => {
            let operation = Operation::DescribeStream;
            let body = request::describe_stream(&whom.stream, after.as_deref());
            let answer = service.call(operation, body.into_bytes()).await?;
            let page = answer::StreamPage::parse(&answer.body).map_err(unread(operation))?;
            let listed = |shard: answer::ShardOf| Listed {
                id: shard.id.into(),
                parent: shard.parent.map(Into::into),
                closed: shard.ends.is_some(),
            };
            let shards = page.shards.into_iter().map(listed).collect();
            Ok(shards::Answer::Page(Page { shards, last: page.last.map(Into::into) }))
        }
        shards::Ask::Iterator(shard, start) => {
            let operation = Operation::GetShardIterator;
            let from = match start {
                Start::Horizon => request::From::TrimHorizon,
                Start::Latest => request::From::Latest,
                Start::Time(time) => request::From::AtTimestamp(time),
                Start::After(sequence) => request::From::After(sequence),
            };
            let body = request::get_shard_iterator(&whom.stream, &shard, &from);
            let answer = service.call(operation, body.into_bytes()).await?;
            let iterator = answer::Iterator::parse(&answer.body).map_err(unread(operation))?;
            Ok(shards::Answer::Iterator(iterator.iterator.into()))
        }
        shards::Ask::Records(_, iterator) => {
            let operation = Operation::GetRecords;
            let answer = service.call(operation, request::get_records(&iterator, None).into_bytes()).await?;
            let records = answer::Records::parse(&answer.body).map_err(unread(operation))?;
            Ok(shards::Answer::Records(records.records, records.next.map(Into::into)))
        }
    }
}

// Gives records that tell only keys the items as they are now: newer than the record at times, never older.
async fn images(service: &Service, whom: &Whom, mut taken: Taken) -> Result<Taken, Failed> {
    fill(service, whom, &mut taken.records).await?;
    Ok(taken)
}

/// Gives records that tell only keys the items as they are now, by reads that see all writes before them.
pub(super) async fn fill(service: &Service, whom: &Whom, records: &mut [Record]) -> Result<(), Failed> {
    let text = |keys: &Item| whom.keys.text(keys).map_err(|err| Failed::Unread(unkeyed(&whom.table, &err)));
    let mut wanted: HashMap<Box<str>, Item> = HashMap::new();
    for record in &*records {
        wanted.insert(text(&record.keys)?, record.keys.clone());
    }
    let mut found: HashMap<Box<str>, Item> = HashMap::new();
    let mut left: Vec<Item> = wanted.into_values().collect();
    let mut pauses = 0;
    while !left.is_empty() {
        let asked: Vec<Item> = left.split_off(left.len().saturating_sub(request::KEYS_MAX));
        let operation = Operation::BatchGetItem;
        let answer = service.call(operation, request::batch_get_item(&whom.table, &asked).into_bytes()).await;
        let (items, unprocessed) = match answer {
            Ok(answer) => {
                let got = answer::BatchGet::parse(&answer.body).map_err(unread(operation))?;
                (got.items, got.unprocessed)
            }
            Err(ServiceError::Throttled(_)) => (Vec::new(), asked),
            Err(err) => return Err(err.into()),
        };
        for item in items {
            found.insert(text(&item)?, item);
        }
        if !unprocessed.is_empty() {
            if pauses == PAUSES_MAX {
                return Err(ServiceError::Throttled("BatchGetItem".to_owned()).into());
            }
            left.extend(unprocessed);
            pauses += 1;
            tokio::time::sleep(PAUSE * (1 << pauses)).await;
        }
    }
    for record in records {
        record.new = found.get(&text(&record.keys)?).cloned();
    }
    Ok(())
}

/// An item has no key that can be used.
pub(super) fn unkeyed(table: &str, err: &dyn std::error::Error) -> Fault {
    Fault::needs_person(
        format!("an item of `{table}` has no key that can be used: {err}"),
        "leave the table out, or change the item",
    )
}

// Between two tries to read what the table has no capacity for, doubled each time.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSES_MAX: u32 = 6;
