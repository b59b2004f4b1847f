//! A stream that does not go on where it was read: rows are compared, and readers get what differs.

use super::{Shop, put, source};
use crate::support::dynamodb::{Fake, Keys, View};
use riacho::{
    clock,
    source::{
        Database,
        dynamodb::{Push, Pushed, Took},
        settings::{Changes, Secret},
    },
};
use riacho_core::source::dynamodb::record::lambda_records;
use serde_json::json;
use std::time::Duration;

/// A fake with orders `a` and `b`, and a shop that shows them.
async fn shop() -> (Fake, Shop) {
    let fake = Fake::start().await;
    fake.create_table("orders", Keys::ID, Some(View::NewAndOldImages), 1);
    put(&fake, "a", 1);
    put(&fake, "b", 1);
    let shop = Shop::open(&fake.endpoint(), &["orders"]).await;
    (fake, shop)
}

#[tokio::test]
async fn what_was_trimmed_while_we_were_away() {
    let (fake, mut shop) = shop().await;
    let page = shop.read("orders").await;
    put(&fake, "a", 2);
    shop.until_rows("orders", json!({"a": {"id": "a", "n": 2}, "b": {"id": "b", "n": 1}})).await;
    shop.stop().await;
    put(&fake, "a", 3);
    put(&fake, "c", 3);
    fake.delete("orders", &json!({"id": {"S": "b"}}));
    let shard = fake.open_shards("orders").remove(0);
    fake.trim("orders", &shard, usize::MAX);
    put(&fake, "d", 4);
    let before = fake.calls("Scan");
    shop.restart().await;
    let mut page = page.reopen(shop.server(), "/tables/orders").await;
    page.until(json!({"a": {"id": "a", "n": 3}, "c": {"id": "c", "n": 3}, "d": {"id": "d", "n": 4}})).await;
    assert!(fake.calls("Scan") > before);
    shop.live().await;
    put(&fake, "d", 5);
    page.until(json!({"a": {"id": "a", "n": 3}, "c": {"id": "c", "n": 3}, "d": {"id": "d", "n": 5}})).await;
}

#[tokio::test]
async fn a_stream_that_was_switched_off_and_on() {
    let (fake, shop) = shop().await;
    let mut page = shop.read("orders").await;
    fake.disable_stream("orders");
    put(&fake, "a", 2);
    fake.delete("orders", &json!({"id": {"S": "b"}}));
    shop.sources.pause("shop").await;
    shop.until("paused").await;
    shop.sources.resume("shop").await;
    shop.until("broken").await;
    let (_, fault) = shop.info().last_fault.unwrap();
    assert!(fault.message.contains("no stream"), "{fault:?}");
    assert!(fault.remedy.unwrap().contains("aws dynamodb update-table --table-name orders"));
    fake.enable_stream("orders", View::NewAndOldImages);
    put(&fake, "c", 1);
    shop.sources.resume("shop").await;
    page.until(json!({"a": {"id": "a", "n": 2}, "c": {"id": "c", "n": 1}})).await;
}

#[tokio::test]
async fn a_stream_that_was_switched_off_and_on_while_it_is_read() {
    let (fake, shop) = shop().await;
    let mut page = shop.read("orders").await;
    fake.disable_stream("orders");
    put(&fake, "a", 2);
    fake.delete("orders", &json!({"id": {"S": "b"}}));
    fake.enable_stream("orders", View::NewAndOldImages);
    // Sooner than a table is looked at as a whole.
    page.until(json!({"a": {"id": "a", "n": 2}})).await;
}

#[tokio::test]
async fn a_table_that_was_deleted_and_made_again() {
    let (fake, shop) = shop().await;
    let mut page = shop.read("orders").await;
    shop.sources.pause("shop").await;
    shop.until("paused").await;
    fake.delete_table("orders");
    shop.sources.resume("shop").await;
    shop.until("broken").await;
    assert_eq!(shop.rows("orders").len(), 2, "nobody knows that it is gone for good");
    fake.create_table("orders", Keys::ID, Some(View::NewAndOldImages), 1);
    put(&fake, "b", 7);
    shop.sources.resume("shop").await;
    page.until(json!({"b": {"id": "b", "n": 7}})).await;
}

#[tokio::test]
async fn a_day_of_silence() {
    let (fake, mut shop) = shop().await;
    shop.live().await;
    let before = fake.calls("Scan");
    shop.restart().await;
    shop.live().await;
    assert_eq!(fake.calls("Scan"), before, "it was not away for long");
    shop.stop().await;
    fake.advance(Duration::from_secs(24 * 3600));
    shop.restart().await;
    shop.live().await;
    assert!(fake.calls("Scan") > before, "changes may be lost of which nothing tells");
}

#[tokio::test]
async fn without_timestamps_quiet_shards_are_not_read_anew_from_the_scan_on() {
    let fake = Fake::start().await;
    fake.at_timestamp(false);
    fake.create_table("orders", Keys::ID, Some(View::NewAndOldImages), 1);
    put(&fake, "a", 1);
    let mut shop = Shop::with(source(&fake.endpoint(), &["orders"])).await;
    let mut page = shop.read("orders").await;
    page.until(json!({"a": {"id": "a", "n": 1}})).await;
    shop.restart().await;
    let mut page = page.reopen(shop.server(), "/tables/orders").await;
    put(&fake, "a", 2);
    page.until(json!({"a": {"id": "a", "n": 2}})).await;
}

/// A function is called again, or late, with what a scan has already.
#[tokio::test]
async fn what_a_scan_has_takes_no_row_back() {
    let fake = Fake::start().await;
    fake.create_table("orders", Keys::ID, Some(View::NewAndOldImages), 1);
    put(&fake, "a", 2);
    let mut settings = source(&fake.endpoint(), &["orders"]);
    if let Database::DynamoDb(dynamodb) = &mut settings.database {
        dynamodb.changes = Changes::Ingest;
        dynamodb.secret = Some(Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()));
    }
    let shop = Shop::with(settings).await;
    let mut page = shop.read("orders").await;
    page.until(json!({"a": {"id": "a", "n": 2}})).await;
    let (now, arn) = (clock::now() / 1000, fake.stream_arn("orders").unwrap());
    let record = |n: u32, seconds: u64| {
        json!({
            "eventID": n.to_string(), "eventName": "MODIFY", "eventSource": "aws:dynamodb", "eventSourceARN": arn,
            "dynamodb": {
                "ApproximateCreationDateTime": seconds, "SequenceNumber": format!("{n}00"),
                "StreamViewType": "NEW_AND_OLD_IMAGES", "Keys": {"id": {"S": "a"}},
                "NewImage": {"id": {"S": "a"}, "n": {"N": n.to_string()}},
            },
        })
    };
    let event = json!({"Records": [record(1, now - 600), record(3, now + 60)]});
    let (answer, answered) = tokio::sync::oneshot::channel();
    let records = lambda_records(event.to_string().as_bytes()).unwrap();
    let push = Push { what: Pushed::Records(records), answer };
    shop.sources.door("shop").unwrap().pushes.send(push).await.unwrap();
    assert_eq!(answered.await.unwrap(), Ok(Took { taken: 2, failed: None }));
    page.until(json!({"a": {"id": "a", "n": 3}})).await;
    let told = page.operations().into_iter().filter(|(operation, _)| operation == "update").count();
    assert_eq!(told, 1, "{:?}", page.operations());
}
