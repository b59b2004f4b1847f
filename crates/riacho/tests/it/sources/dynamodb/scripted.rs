//! What no emulator does, and our fake does when it is told to.

use crate::support::dynamodb::{Database, Fake, Keys, View, service};
use riacho::source::dynamodb::service::{Service, ServiceError};
use riacho_core::source::dynamodb::{
    answer::{Iterator, Records, StreamPage},
    record::Record,
    request::{self, From, Operation},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// A fake with one table, `orders`, and a client of it.
struct Scene {
    fake: Fake,
    service: Service,
    arn: String,
}

impl Scene {
    async fn new(shards: usize) -> Self {
        let fake = Fake::start().await;
        fake.create_table("orders", Keys::ID, Some(View::NewAndOldImages), shards);
        let (service, arn) = (service(&fake.endpoint()).await, fake.stream_arn("orders").unwrap());
        Self { fake, service, arn }
    }

    fn put(&self, id: &str, n: u32) {
        self.fake.put("orders", json!({"id": {"S": id}, "n": {"N": n.to_string()}}));
    }

    async fn described(&self) -> Vec<(String, Option<String>, bool)> {
        let (mut shards, mut last) = (Vec::new(), None);
        loop {
            let body = request::describe_stream(&self.arn, last.as_deref());
            let answer = self.service.call(Operation::DescribeStream, body).await.unwrap();
            let page = StreamPage::parse(&answer.body).unwrap();
            let shown = page.shards.into_iter();
            shards.extend(
                shown.map(|shard| (shard.id.into(), shard.parent.map(String::from), shard.ends.is_some())),
            );
            last = page.last;
            if last.is_none() {
                return shards;
            }
        }
    }

    async fn iterator(&self, shard: &str, from: &From) -> Result<String, ServiceError> {
        let body = request::get_shard_iterator(&self.arn, shard, from);
        let answer = self.service.call(Operation::GetShardIterator, body).await?;
        Ok(Iterator::parse(&answer.body).unwrap().iterator.into())
    }

    async fn records(&self, iterator: &str) -> Result<Records, ServiceError> {
        let answer = self.service.call(Operation::GetRecords, request::get_records(iterator, None)).await?;
        Ok(Records::parse(&answer.body).unwrap())
    }

    /// All records of a shard, and whether it is closed.
    async fn drained(&self, shard: &str) -> (Vec<Record>, bool) {
        let mut next = self.iterator(shard, &From::TrimHorizon).await.unwrap();
        let mut all = Vec::new();
        loop {
            let page = self.records(&next).await.unwrap();
            let is_end = page.records.is_empty();
            all.extend(page.records);
            let Some(further) = page.next else { return (all, true) };
            if is_end {
                return (all, false);
            }
            next = further.into();
        }
    }
}

#[tokio::test]
async fn each_key_stays_in_order_across_splits_and_rolls() {
    let scene = Scene::new(2).await;
    for n in 0..200 {
        scene.put(&format!("k{}", n % 20), n);
        if n % 40 == 39 {
            let open = scene.fake.open_shards("orders");
            if n % 80 == 39 {
                scene.fake.split("orders", &open[0]);
            } else {
                scene.fake.roll("orders", &open[1]);
            }
        }
    }
    scene.fake.shards_per_page(2);

    // Parents are listed before their children.
    let mut of_key: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (shard, parent, closed) in scene.described().await {
        let (records, ended) = scene.drained(&shard).await;
        assert_eq!(ended, closed, "{shard} of {parent:?}");
        for record in records {
            let mut text = String::new();
            record.new.unwrap().json(None, &mut text);
            let row: Value = serde_json::from_str(&text).unwrap();
            let n = u32::try_from(row["n"].as_u64().unwrap()).unwrap();
            of_key.entry(row["id"].as_str().unwrap().to_owned()).or_default().push(n);
        }
    }
    assert_eq!(of_key.len(), 20);
    for (key, seen) in of_key {
        let first = key[1..].parse::<u32>().unwrap();
        assert_eq!(seen, (0..10).map(|turn| first + turn * 20).collect::<Vec<_>>(), "{key}");
    }
}

#[tokio::test]
async fn a_page_of_shards_says_less_than_is_there_when_told() {
    let scene = Scene::new(1).await;
    let parent = scene.fake.open_shards("orders").remove(0);
    let (child, other) = scene.fake.split("orders", &parent);
    scene.fake.show_open(&parent, 1);
    scene.fake.leave_out(&other, 1);

    let of = |id: &str, parent: Option<&str>, closed| (id.to_owned(), parent.map(str::to_owned), closed);
    assert_eq!(scene.described().await, [of(&parent, None, false), of(&child, Some(&parent), false)]);
    let all = [of(&parent, None, true), of(&child, Some(&parent), false), of(&other, Some(&parent), false)];
    assert_eq!(scene.described().await, all);
}

#[tokio::test]
async fn iterators_end_with_time_and_records_with_retention() {
    let scene = Scene::new(1).await;
    let shard = scene.fake.open_shards("orders").remove(0);
    (0..5).for_each(|n| scene.put("a", n));
    let iterator = scene.iterator(&shard, &From::TrimHorizon).await.unwrap();
    let first = scene.records(&iterator).await.unwrap().records[0].sequence.clone();

    scene.fake.trim("orders", &shard, 2);
    assert_eq!(scene.records(&iterator).await, Err(ServiceError::Trimmed));
    assert_eq!(scene.iterator(&shard, &From::After(first)).await, Err(ServiceError::Trimmed));
    assert_eq!(scene.drained(&shard).await.0.len(), 3);

    let iterator = scene.iterator(&shard, &From::TrimHorizon).await.unwrap();
    scene.fake.advance(Duration::from_secs(14 * 60));
    assert_eq!(scene.records(&iterator).await.unwrap().records.len(), 3);
    scene.fake.advance(Duration::from_secs(2 * 60));
    assert_eq!(scene.records(&iterator).await, Err(ServiceError::ExpiredIterator));
    let iterator = scene.iterator(&shard, &From::TrimHorizon).await.unwrap();
    scene.fake.expire_iterators();
    assert_eq!(scene.records(&iterator).await, Err(ServiceError::ExpiredIterator));
}

#[tokio::test]
async fn iterators_of_a_time_begin_with_what_was_made_since() {
    let scene = Scene::new(1).await;
    let shard = scene.fake.open_shards("orders").remove(0);
    scene.put("a", 1);
    scene.fake.advance(Duration::from_secs(60));
    let answer =
        scene.service.call(Operation::DescribeTable, request::describe_table("orders")).await.unwrap();
    scene.put("a", 2);

    let from = From::AtTimestamp(answer.server_time.unwrap() - 10_000);
    let iterator = scene.iterator(&shard, &from).await.unwrap();
    assert_eq!(scene.records(&iterator).await.unwrap().records.len(), 1);
    scene.fake.at_timestamp(false);
    assert!(matches!(scene.iterator(&shard, &from).await, Err(ServiceError::Validation(_))));
}

#[tokio::test]
async fn pages_are_empty_shards_stall_and_rates_are_enforced_when_told() {
    let scene = Scene::new(1).await;
    let shard = scene.fake.open_shards("orders").remove(0);
    scene.put("a", 1);
    scene.fake.empty_pages(2);
    let mut next = scene.iterator(&shard, &From::TrimHorizon).await.unwrap();
    let mut counts = Vec::new();
    for _ in 0..3 {
        let page = scene.records(&next).await.unwrap();
        counts.push(page.records.len());
        next = page.next.unwrap().into();
    }
    assert_eq!(counts, [0, 0, 1]);

    scene.fake.empty_pages(0);
    scene.fake.stall("orders", &shard, true);
    scene.put("a", 2);
    assert_eq!(scene.records(&next).await.unwrap().records.len(), 0);
    scene.fake.stall("orders", &shard, false);
    assert_eq!(scene.records(&next).await.unwrap().records.len(), 1);

    scene.fake.freeze();
    scene.fake.advance(Duration::from_secs(10));
    scene.fake.enforce_rates(true);
    for second in 0..2 {
        for _ in 0..5 {
            scene.records(&next).await.unwrap();
        }
        let refused = ServiceError::Throttled("LimitExceededException".to_owned());
        assert_eq!(scene.records(&next).await, Err(refused), "{second}");
        scene.fake.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn records_of_ttl_are_marked_and_another_table_has_another_stream() {
    let scene = Scene::new(1).await;
    scene.put("a", 1);
    scene.put("b", 1);
    scene.fake.ttl_delete("orders", &json!({"id": {"S": "a"}}));
    scene.fake.delete("orders", &json!({"id": {"S": "b"}}));
    let shard = scene.fake.open_shards("orders").remove(0);
    let marked: Vec<bool> = scene.drained(&shard).await.0.iter().map(|record| record.by_ttl).collect();
    assert_eq!(marked, [false, false, true, false]);

    let described = Database::new(&scene.fake.endpoint());
    let of_table =
        async || described.call("DescribeTable", json!({"TableName": "orders"})).await["Table"].take();
    let before = of_table().await;
    scene.fake.recreate_table("orders");
    let after = of_table().await;
    assert_ne!(before["TableId"], after["TableId"]);
    assert_ne!(before["LatestStreamArn"], after["LatestStreamArn"]);
    // What the old stream has can be read still, until it is a day old.
    assert!(scene.drained(&shard).await.1);
    scene.fake.forget_stream(&scene.arn);
    assert!(matches!(scene.iterator(&shard, &From::Latest).await, Err(ServiceError::NotFound(_))));
}

#[tokio::test]
async fn an_answer_can_be_held_while_the_table_changes() {
    let scene = Scene::new(1).await;
    let hold = scene.fake.hold("GetRecords");
    let shard = scene.fake.open_shards("orders").remove(0);
    let iterator = scene.iterator(&shard, &From::TrimHorizon).await.unwrap();
    let (page, ()) = tokio::join!(scene.records(&iterator), async {
        hold.arrived().await;
        scene.put("a", 1);
        hold.release();
    });
    assert_eq!(page.unwrap().records.len(), 0);
    assert_eq!(scene.drained(&shard).await.0.len(), 1);
}
