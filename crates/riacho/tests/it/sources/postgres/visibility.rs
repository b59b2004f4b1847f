//! A transaction that waits for a standby is streamed before any query sees it: a copy beside the stream would have its rows
//! older than the stream had them.

use super::{Shop, all_of};
use crate::{
    live_tables::Reader,
    support::{
        At,
        postgres::{Postgres, PostgresOptions},
    },
};
use serde_json::json;
use std::panic::Location;
use tokio_postgres::Client;

const SETTINGS: [&str; 2] = ["synchronous_standby_names = 'nobody'", "synchronous_commit = local"];

fn options() -> PostgresOptions {
    PostgresOptions { settings: SETTINGS.map(str::to_owned).to_vec(), ..Default::default() }
}

// Sessions whose commits wait for a standby that never comes.
async fn hang(db: &Postgres, sql: &str) -> (Client, tokio::task::JoinHandle<()>) {
    let client = db.client().await;
    client.simple_query("SET synchronous_commit = on").await.unwrap();
    let released = db.client().await;
    let sql = sql.to_owned();
    let hanging = tokio::spawn(async move {
        // It is committed, and only the wait is cancelled.
        client.simple_query(&sql).await.unwrap();
    });
    db.until("SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'").await;
    (released, hanging)
}

async fn release(client: Client, hanging: tokio::task::JoinHandle<()>) {
    client
        .simple_query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        .await
        .unwrap();
    super::soon("the end of a session that hung", hanging).await.unwrap();
}

// No older value after a newer one.
fn never_back(page: &Reader, at: At) {
    for key in ["1", "2"] {
        let values: Vec<i64> =
            page.seen.iter().filter(|m| m["key"] == key).map(|m| m["value"]["n"].as_i64().unwrap()).collect();
        assert!(values.is_sorted(), "{at}: {key}: {values:?}");
    }
}

#[tokio::test]
async fn what_hangs_when_a_source_is_first_started_is_neither_lost_nor_undone() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1), (2, 1)";
    let mut shop =
        Shop::with(options(), "CREATE TABLE unused (id int PRIMARY KEY)", all_of(&["unused"])).await;
    shop.until("live").await;
    shop.stop().await;
    shop.db.psql(sql).await;
    let (client, hanging) = hang(&shop.db, "UPDATE t SET n = 2 WHERE id = 1").await;
    let other = super::source("first", &shop.db.url(), all_of(&["t"]));
    shop.settings = other;
    shop.run().await;
    shop.db.psql("UPDATE t SET n = 2 WHERE id = 2").await;
    shop.db.until("SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'riacho'").await;
    shop.db.psql("UPDATE t SET n = 3 WHERE id = 2").await;
    release(client, hanging).await;
    let page = shop.read("/tables/t").await;
    shop.until_rows("t", json!({"1": {"id": 1, "n": 2}, "2": {"id": 2, "n": 3}})).await;
    never_back(&page, Location::caller());
}

#[tokio::test]
async fn what_hangs_when_a_table_is_added_is_neither_lost_nor_undone() {
    let sql = "CREATE TABLE old (id int PRIMARY KEY, n int); CREATE TABLE t (id int PRIMARY KEY, n int);
        INSERT INTO old VALUES (1, 1); INSERT INTO t VALUES (1, 1), (2, 1)";
    let mut shop = Shop::with(options(), sql, all_of(&["old"])).await;
    let mut old = shop.read("/tables/old").await;
    let (client, hanging) = hang(&shop.db, "UPDATE t SET n = 2 WHERE id = 1; UPDATE old SET n = 2").await;
    shop.settings.tables = all_of(&["old", "t"]);
    shop.run().await;
    shop.until("snapshotting").await;
    shop.db.psql("UPDATE t SET n = 2 WHERE id = 2").await;
    // The table that was there goes on meanwhile, with what no query sees yet.
    old.until(json!({"1": {"id": 1, "n": 2}})).await;
    assert_eq!(shop.db.value("SELECT n FROM old").await, "1");
    release(client, hanging).await;
    let mut page = shop.read("/tables/t").await;
    shop.until_rows("t", json!({"1": {"id": 1, "n": 2}, "2": {"id": 2, "n": 2}})).await;
    shop.db.psql("UPDATE t SET n = 3").await;
    page.until(json!({"1": {"id": 1, "n": 3}, "2": {"id": 2, "n": 3}})).await;
    never_back(&page, Location::caller());
    never_back(&old, Location::caller());
}

#[tokio::test]
async fn what_hangs_when_a_table_is_read_anew_is_neither_lost_nor_undone() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1), (2, 1)";
    let shop = Shop::with(options(), sql, all_of(&["t"])).await;
    let mut page = shop.read("/tables/t").await;
    let (client, hanging) = hang(&shop.db, "UPDATE t SET n = 2 WHERE id = 1").await;
    page.until(json!({"1": {"id": 1, "n": 2}, "2": {"id": 2, "n": 1}})).await;
    let lose = "SELECT pg_drop_replication_slot('riacho_shop')";
    shop.stop().await;
    shop.db.until("SELECT NOT active FROM pg_replication_slots").await;
    shop.db.psql(lose).await;
    shop.db.psql("UPDATE t SET n = 2 WHERE id = 2").await;
    shop.run().await;
    shop.db.until("SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'riacho'").await;
    release(client, hanging).await;
    page.until(json!({"1": {"id": 1, "n": 2}, "2": {"id": 2, "n": 2}})).await;
    never_back(&page, Location::caller());
}
