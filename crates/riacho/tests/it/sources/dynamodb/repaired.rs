//! A stream that does not go on where it was read: rows are compared, and readers get what differs.

use super::{Shop, put, source};
use crate::support::dynamodb::{Fake, Keys, View};
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
