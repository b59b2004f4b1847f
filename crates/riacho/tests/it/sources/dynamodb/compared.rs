//! The same little script against our fake and two emulators that share nothing: what they answer, decoded by us, is alike.

use crate::support::dynamodb::{Database, Fake, Keys, Local, Moto, View, Write, service};
use riacho::source::dynamodb::service::Service;
use riacho_core::source::dynamodb::{
    answer::{self, BatchGet, Records, Scan, StreamPage, Table},
    item::Item,
    request::{self, From, Operation, Page},
    sequence::SequenceNumber,
};
use serde_json::json;

#[tokio::test]
async fn our_fake_answers_as_dynamodb_local() {
    let Some(local) = Local::start().await else { return };
    let fake = Fake::start().await;
    fake.at_timestamp(false);

    let ours = all(&fake.endpoint()).await;

    assert_eq!(ours, all(&local.endpoint()).await);
}

#[tokio::test]
async fn our_fake_answers_as_moto_where_that_is_right() {
    let moto = Moto::start().await;
    let fake = Fake::start().await;

    let ours = changes(&fake.endpoint()).await;

    assert_eq!(ours, changes(&moto.endpoint()).await);
}

#[tokio::test]
async fn dynamodb_local_on_disk_keeps_tables_and_streams_when_it_is_killed() {
    let Some(local) = Local::start_on_disk().await else { return };
    let (asked, reader) = (Database::new(&local.endpoint()), Reader::new(&local.endpoint()).await);
    asked.create_table("orders", Keys::ID, Some(View::NewImage)).await;
    asked.put("orders", json!({"id": {"S": "a"}})).await;
    let (_, arn, shard) = reader.only_shard("orders").await;
    let oldest = reader.iterator(&arn, &shard.id, &From::TrimHorizon).await;

    let _local = local.restart().await;

    assert!(!asked.put_if_absent("orders", "id", json!({"id": {"S": "a"}})).await);
    assert_eq!(asked.scan_all("orders").await, [json!({"id": {"S": "a"}})]);
    assert_eq!(reader.records(&oldest, None).await.0.records.len(), 1);
}

async fn all(endpoint: &str) -> Vec<String> {
    let mut said = changes(endpoint).await;
    said.extend(unchanged(endpoint).await);
    said.extend(views(endpoint).await);
    said.extend(refusals(endpoint).await);
    said.extend(scans(endpoint).await);
    said.extend(ends(endpoint).await);
    said
}

/// Writes of all kinds, read by each kind of iterator.
async fn changes(endpoint: &str) -> Vec<String> {
    let (asked, reader) = (Database::new(endpoint), Reader::new(endpoint).await);
    asked.create_table("orders", Keys::ID, Some(View::NewAndOldImages)).await;
    let (table, arn, shard) = reader.only_shard("orders").await;
    let mut said = vec![format!(
        "{:?} {} {:?} {:?}",
        table.keys,
        table.status,
        table.stream.unwrap().view,
        shard.parent
    )];
    asked.put("orders", json!({"id": {"S": "a"}, "n": {"N": "1.5"}, "tags": {"SS": ["y", "x"]}})).await;
    let latest = reader.iterator(&arn, &shard.id, &From::Latest).await;
    asked.put("orders", json!({"id": {"S": "a"}, "n": {"N": "2"}})).await;
    asked.batch_write("orders", vec![json!({"id": {"S": "b"}, "ok": {"BOOL": true}})], vec![]).await;
    asked.transact_write("orders", vec![Write::Put(json!({"id": {"S": "c"}, "nil": {"NULL": true}}))]).await;
    asked.delete("orders", json!({"id": {"S": "a"}})).await;

    let oldest = reader.iterator(&arn, &shard.id, &From::TrimHorizon).await;
    let (records, next) = reader.records(&oldest, None).await;
    said.push(format!("all: {}", shown(&records)));
    said.push(format!(
        "then: {} {}",
        reader.records(&next.unwrap(), None).await.0.records.len(),
        records.next.is_some()
    ));
    said.push(format!("latest: {}", shown(&reader.records(&latest, None).await.0)));
    let second = records.records[1].sequence.clone();
    for from in [From::At(second.clone()), From::After(second)] {
        let iterator = reader.iterator(&arn, &shard.id, &from).await;
        said.push(format!("at or after: {}", shown(&reader.records(&iterator, Some(2)).await.0)));
    }
    let rising = records.records.windows(2).all(|two| two[0].sequence < two[1].sequence);
    said.push(format!("rising {rising}"));
    said
}

/// What makes no record.
async fn unchanged(endpoint: &str) -> Vec<String> {
    let (asked, reader) = (Database::new(endpoint), Reader::new(endpoint).await);
    asked.create_table("still", Keys::ID, Some(View::NewAndOldImages)).await;
    for _ in 0..2 {
        asked.put("still", json!({"id": {"S": "a"}, "n": {"N": "1"}})).await;
        asked.delete("still", json!({"id": {"S": "missing"}})).await;
    }
    let (_, arn, shard) = reader.only_shard("still").await;
    let oldest = reader.iterator(&arn, &shard.id, &From::TrimHorizon).await;
    vec![shown(&reader.records(&oldest, None).await.0)]
}

/// A key of two attributes, and what each kind of stream shows.
async fn views(endpoint: &str) -> Vec<String> {
    let (asked, reader) = (Database::new(endpoint), Reader::new(endpoint).await);
    let mut said = Vec::new();
    for (name, view) in [("news", View::NewImage), ("olds", View::OldImage), ("keys", View::KeysOnly)] {
        asked.create_table(name, Keys { hash: ("h", "S"), range: Some(("r", "N")) }, Some(view)).await;
        let (table, arn, shard) = reader.only_shard(name).await;
        for n in [json!({"N": "1"}), json!({"N": "2"})] {
            asked.put(name, json!({"h": {"S": "a"}, "r": {"N": "7"}, "n": n})).await;
        }
        asked.delete(name, json!({"h": {"S": "a"}, "r": {"N": "7"}})).await;
        let oldest = reader.iterator(&arn, &shard.id, &From::TrimHorizon).await;
        said.push(format!("{:?} {}", table.keys, shown(&reader.records(&oldest, None).await.0)));
    }
    said
}

/// Codes of errors.
async fn refusals(endpoint: &str) -> Vec<String> {
    let reader = Reader::new(endpoint).await;
    let (_, arn, shard) = reader.only_shard("orders").await;
    let after = |arn: &str, shard: &str, from: &From| request::get_shard_iterator(arn, shard, from);
    let other = "arn:aws:dynamodb:us-east-1:000000000000:table/none/stream/2020-01-01T00:00:00.000";
    let asked = [
        (Operation::DescribeTable, request::describe_table("missing")),
        (
            Operation::Scan,
            request::scan(&Page { table: "missing", segment: (0, 1), after: None, limit: None }),
        ),
        (Operation::DescribeStream, request::describe_stream(other, None)),
        (Operation::GetShardIterator, after(other, &shard.id, &From::Latest)),
        (Operation::GetShardIterator, after(&arn, "shardId-00000000000000000000-00000000", &From::Latest)),
        (Operation::GetShardIterator, after(&arn, &shard.id, &From::AtTimestamp(1_700_000_000_000))),
        (
            Operation::Scan,
            request::scan(&Page { table: "orders", segment: (2, 2), after: None, limit: None }),
        ),
    ];
    let mut said = Vec::new();
    for (operation, body) in asked {
        let refused = reader.0.call(operation, body).await.unwrap_err();
        let kind = format!("{refused:?}");
        said.push(format!("{operation:?} {}", kind.split(['(', ' ']).next().unwrap()));
    }
    said
}

/// Pages, segments, keys.
async fn scans(endpoint: &str) -> Vec<String> {
    let (asked, reader) = (Database::new(endpoint), Reader::new(endpoint).await);
    asked.create_table("many", Keys::ID, None).await;
    let item = |n: u32| json!({"id": {"S": format!("k{n}")}, "n": {"N": n.to_string()}});
    asked.batch_write("many", (0..60).map(item).collect(), vec![]).await;
    asked
        .batch_write("many", vec![], (50..60).map(|n| json!({"id": {"S": format!("k{n}")}})).collect())
        .await;
    let mut said = vec![format!("{:?}", reader.table("many").await.stream)];
    let mut found = Vec::new();
    for segment in 0..3 {
        let mut after: Option<Item> = None;
        loop {
            let page = Page { table: "many", segment: (segment, 3), after: after.as_ref(), limit: Some(4) };
            let answer = reader.0.call(Operation::Scan, request::scan(&page)).await.unwrap();
            let page = Scan::parse(&answer.body).unwrap();
            assert!(page.items.len() <= 4 && page.scanned <= 4);
            found.extend(page.items.iter().map(text));
            after = page.last;
            if after.is_none() {
                break;
            }
        }
    }
    found.sort();
    said.push(found.join(" "));
    let keys: Vec<Item> =
        ["k1", "k2", "k55"].map(|key| Item::parse(&json!({"id": {"S": key}})).unwrap()).into();
    let body = request::batch_get_item("many", &keys);
    let got = BatchGet::parse(&reader.0.call(Operation::BatchGetItem, body).await.unwrap().body).unwrap();
    let mut items: Vec<String> = got.items.iter().map(text).collect();
    items.sort();
    said.push(format!("{items:?} {:?} {}", got.unprocessed, got.consumed_units > 0.0));
    said
}

/// A stream that ends, and another one.
async fn ends(endpoint: &str) -> Vec<String> {
    let (asked, reader) = (Database::new(endpoint), Reader::new(endpoint).await);
    let (_, old, shard) = reader.only_shard("orders").await;
    let oldest = reader.iterator(&old, &shard.id, &From::TrimHorizon).await;
    asked.disable_stream("orders").await;
    let mut said = vec![format!("{:?}", reader.table("orders").await.stream)];
    let page = reader.stream(&old).await;
    said.push(format!("{} {}", page.status, page.shards[0].ends.is_some()));
    let (records, next) = reader.records(&oldest, None).await;
    said.push(format!("{} {}", records.records.len(), next.is_some()));
    asked.put("orders", json!({"id": {"S": "unseen"}})).await;
    asked.enable_stream("orders", View::KeysOnly).await;
    let (_, new, shard) = reader.only_shard("orders").await;
    asked.delete("orders", json!({"id": {"S": "unseen"}})).await;
    let iterator = reader.iterator(&new, &shard.id, &From::TrimHorizon).await;
    said.push(format!("{} {}", old == new, shown(&reader.records(&iterator, None).await.0)));
    said
}

struct Reader(Service);

impl Reader {
    async fn new(endpoint: &str) -> Self {
        Self(service(endpoint).await)
    }

    async fn table(&self, name: &str) -> Table {
        let answer = self.0.call(Operation::DescribeTable, request::describe_table(name)).await.unwrap();
        Table::parse(&answer.body).unwrap()
    }

    async fn stream(&self, arn: &str) -> StreamPage {
        let answer =
            self.0.call(Operation::DescribeStream, request::describe_stream(arn, None)).await.unwrap();
        StreamPage::parse(&answer.body).unwrap()
    }

    async fn only_shard(&self, table: &str) -> (Table, String, answer::ShardOf) {
        let table = self.table(table).await;
        let arn = table.stream.as_ref().unwrap().arn.to_string();
        let mut page = self.stream(&arn).await;
        assert_eq!((page.shards.len(), &page.last), (1, &None));
        (table, arn, page.shards.remove(0))
    }

    async fn iterator(&self, arn: &str, shard: &str, from: &From) -> String {
        let body = request::get_shard_iterator(arn, shard, from);
        let answer = self.0.call(Operation::GetShardIterator, body).await.unwrap();
        answer::Iterator::parse(&answer.body).unwrap().iterator.into()
    }

    async fn records(&self, iterator: &str, limit: Option<u32>) -> (Records, Option<String>) {
        let answer = self.0.call(Operation::GetRecords, request::get_records(iterator, limit)).await.unwrap();
        assert!(answer.server_time.is_some());
        let records = Records::parse(&answer.body).unwrap();
        let next = records.next.as_deref().map(str::to_owned);
        (records, next)
    }
}

fn shown(records: &Records) -> String {
    let one = |record: &riacho_core::source::dynamodb::record::Record| {
        assert!(record.sequence > "0".parse::<SequenceNumber>().unwrap() && record.time.is_some());
        let image = |item: Option<&Item>| item.map(text).unwrap_or_default();
        let (keys, new) = (text(&record.keys), image(record.new.as_ref()));
        format!("{:?} {keys} {new} {:?} {}", record.operation, record.view, record.by_ttl)
    };
    records.records.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Our JSON of an item: the same item is always the same text.
fn text(item: &Item) -> String {
    let mut text = String::new();
    item.json(None, &mut text);
    text
}
