//! Copies that cannot begin, because somebody keeps a transaction open; and what is too much at once.

use super::{Shop, all_of, poll};
use crate::live_tables::Reader;
use serde_json::json;
use std::panic::Location;
use tokio_postgres::Client;

const TWO: &str = "CREATE TABLE a (id int PRIMARY KEY, n int); INSERT INTO a VALUES (1, 1);
    CREATE TABLE b (id int PRIMARY KEY, n int); INSERT INTO b VALUES (1, 1); CREATE TABLE other (id int);";

// A session in a transaction that has written, and its process.
async fn open(shop: &Shop) -> (Client, String) {
    let client = shop.db.client().await;
    client.simple_query("BEGIN; INSERT INTO other VALUES (1)").await.unwrap();
    let pid = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0);
    (client, pid.to_string())
}

async fn until_waits_for(shop: &Shop, pid: &str) {
    let said = format!("a copy waits for the transaction of process {pid}, open for ");
    poll(Location::caller(), said.clone(), async || {
        let waits = shop.info().waits.unwrap_or_default();
        if waits.starts_with(&said) && waits.ends_with(" s, to end") { Ok(()) } else { Err(waits) }
    })
    .await;
}

#[tokio::test]
async fn a_table_that_waits_for_an_open_transaction_is_told_of_and_does_not_stop_the_others() {
    let shop = Shop::open(TWO, &["a", "b"]).await;
    let mut pages = [shop.read("/tables/a").await, shop.read("/tables/b").await];
    let (client, pid) = open(&shop).await;
    shop.db.psql("ALTER TABLE a ADD COLUMN more int DEFAULT 7; UPDATE a SET n = 2; UPDATE b SET n = 2").await;
    pages[1].until(json!({"1": {"id": 1, "n": 2}})).await;
    shop.db.psql("BEGIN; UPDATE a SET n = 3; UPDATE b SET n = 3; COMMIT").await;
    pages[1].until(json!({"1": {"id": 1, "n": 3}})).await;
    until_waits_for(&shop, &pid).await;
    assert_eq!(shop.rows("a")["1"], json!({"id": 1, "n": 1}), "of the altered one nothing is told yet");
    client.simple_query("COMMIT").await.unwrap();
    pages[0].until(json!({"1": {"id": 1, "n": 3, "more": 7}})).await;
    shop.until("live").await;
    assert_eq!(shop.info().waits, None);
    // The two belong together again.
    let mut both = Reader::open(shop.server(), "/streams?table=a&table=b", "").await;
    both.group().await;
    shop.db.psql("BEGIN; UPDATE a SET n = 4; UPDATE b SET n = 4; COMMIT").await;
    let before = both.seen.len();
    both.group().await;
    assert_eq!(both.seen.len() - before, 2);
}

#[tokio::test]
async fn whoever_locks_a_table_that_is_to_be_copied_is_named() {
    let mut shop = Shop::open(TWO, &[]).await;
    shop.db.psql("CREATE PUBLICATION given FOR TABLE a, b").await;
    shop.settings.tables = all_of(&["a"]);
    shop.postgres().publication = Some("given".to_owned());
    shop.run().await;
    shop.until("live").await;
    let (client, pid) = open(&shop).await;
    client.simple_query("LOCK TABLE b IN ACCESS EXCLUSIVE MODE").await.unwrap();
    shop.settings.tables = all_of(&["a", "b"]);
    shop.run().await;
    until_waits_for(&shop, &pid).await;
    shop.db.psql("UPDATE a SET n = 2").await;
    shop.until_rows("a", json!({"1": {"id": 1, "n": 2}})).await;
    client.simple_query("COMMIT").await.unwrap();
    shop.until("live").await;
    shop.until_rows("b", json!({"1": {"id": 1, "n": 1}})).await;
}

#[tokio::test]
async fn whoever_locks_a_table_that_is_to_be_published_is_told_of() {
    let mut shop = Shop::open(TWO, &["a"]).await;
    shop.until("live").await;
    let (client, _) = open(&shop).await;
    client.simple_query("LOCK TABLE b IN ACCESS EXCLUSIVE MODE").await.unwrap();
    shop.settings.tables = all_of(&["a", "b"]);
    shop.run().await;
    let (message, remedy) = shop.fault().await;
    assert!(message.ends_with("canceling statement due to lock timeout (SQLSTATE 55P03)"), "{message}");
    assert!(remedy.starts_with("end the transaction that locks the table: SELECT "), "{remedy}");
    client.simple_query("COMMIT").await.unwrap();
    assert!(shop.sources.resume("shop").await);
    shop.until("live").await;
    shop.until_rows("b", json!({"1": {"id": 1, "n": 1}})).await;
}

#[tokio::test]
async fn changes_that_wait_for_a_copy_are_given_up_before_they_are_too_many() {
    let mut shop = Shop::open(TWO, &["a"]).await;
    let mut page = shop.read("/tables/a").await;
    shop.db
        .psql("CREATE TABLE large (id int PRIMARY KEY, n int, pad text); INSERT INTO large VALUES (1, 0, '')")
        .await;
    let (client, pid) = open(&shop).await;
    shop.settings.tables = all_of(&["a", "large"]);
    shop.run().await;
    until_waits_for(&shop, &pid).await;
    for n in 1..=90 {
        shop.db.psql(&format!("UPDATE large SET n = {n}, pad = repeat('x', 900000)")).await;
    }
    shop.db.psql("UPDATE large SET pad = 'small'; UPDATE a SET n = 2").await;
    page = page.reopen(shop.server(), "/tables/a").await;
    page.until(json!({"1": {"id": 1, "n": 2}})).await;
    client.simple_query("COMMIT").await.unwrap();
    shop.until_rows("large", json!({"1": {"id": 1, "n": 90, "pad": "small"}})).await;
    shop.until("live").await;
}

#[tokio::test]
async fn a_table_with_more_keys_than_go_at_once_is_emptied_in_parts_and_a_small_one_in_one() {
    let shop = Shop::open(
        "CREATE TABLE many (id text PRIMARY KEY); INSERT INTO many SELECT repeat('k', 200) || i FROM generate_series(1, 60000) AS i;
         CREATE TABLE few (id int PRIMARY KEY, n int); INSERT INTO few SELECT i, 0 FROM generate_series(1, 100) AS i",
        &["many", "few"],
    )
    .await;
    let mut page = shop.read("/streams?table=few").await;
    let before = shop.info().lag.transactions;
    // What it did to the table before nobody is told.
    shop.db
        .psql("BEGIN; INSERT INTO few VALUES (500, 5); UPDATE few SET n = 9 WHERE id = 1; TRUNCATE few; INSERT INTO few VALUES (7, 7); COMMIT")
        .await;
    let seen = page.seen.len();
    page.group().await;
    assert_eq!(page.seen.len() - seen, 100, "all but one go, which changes");
    assert!(page.seen[seen..].iter().all(|message| message["key"] != "500"));
    shop.db.psql("TRUNCATE many").await;
    shop.until_rows("many", json!({})).await;
    // The one of `few`, and more than one.
    poll(Location::caller(), "parts".to_owned(), async || {
        let transactions = shop.info().lag.transactions - before;
        if transactions > 2 { Ok(()) } else { Err(transactions.to_string()) }
    })
    .await;
}
