//! The database's log does not go on where it was read: our rows are compared, readers are told what differs.

use super::Shop;
use crate::{live_tables::told, support::postgres::PostgresOptions};
use serde_json::{Value, json};

const T: &str = "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3);";
const MISSED: &str =
    "UPDATE t SET n = 20 WHERE id = 2; DELETE FROM t WHERE id = 3; INSERT INTO t VALUES (4, 4)";

fn after() -> Value {
    json!({"1": {"id": 1, "n": 1}, "2": {"id": 2, "n": 20}, "4": {"id": 4, "n": 4}})
}

fn difference() -> Vec<(String, String)> {
    told(&[("delete", "3"), ("insert", "4"), ("update", "2")])
}

// The same story, with what happens to the slot while we are stopped.
async fn repaired(options: PostgresOptions, lose: impl AsyncFnOnce(&Shop)) {
    let mut shop = Shop::with(options, T, super::all_of(&["t"])).await;
    let mut page = shop.read("/tables/t").await;
    shop.db.psql("UPDATE t SET n = 1 WHERE id = 1").await;
    shop.stop().await;
    shop.db.psql(MISSED).await;
    shop.db.until("SELECT NOT active FROM pg_replication_slots").await;
    lose(&shop).await;
    shop.restart().await;
    page = page.reopen(shop.server(), "/tables/t").await;
    page.until(after()).await;
    let mut operations = page.operations();
    operations.sort();
    assert_eq!(operations, difference(), "only what differs");
    shop.until("live").await;
    shop.db.psql("DELETE FROM t WHERE id <> 1").await;
    page.until(json!({"1": {"id": 1, "n": 1}})).await;
    assert_eq!(page.resets, Vec::<Value>::new());
    // And from then on it goes on.
    shop.restart().await;
    shop.until("live").await;
    shop.db.psql("UPDATE t SET n = 5").await;
    shop.until_rows("t", json!({"1": {"id": 1, "n": 5}})).await;
}

#[tokio::test]
async fn a_slot_that_was_dropped_is_made_anew() {
    repaired(PostgresOptions::default(), async |shop| {
        shop.db.psql("SELECT pg_drop_replication_slot('riacho_shop')").await;
    })
    .await;
}

#[tokio::test]
async fn a_slot_that_was_dropped_and_made_by_others_is_not_believed() {
    repaired(PostgresOptions::default(), async |shop| {
        shop.db.psql("SELECT pg_drop_replication_slot('riacho_shop')").await;
        shop.db.psql("SELECT pg_create_logical_replication_slot('riacho_shop', 'pgoutput')").await;
    })
    .await;
}

#[tokio::test]
async fn a_slot_that_somebody_else_read_is_not_believed() {
    repaired(PostgresOptions::default(), async |shop| {
        let read = "SELECT count(*) > 0 FROM pg_logical_slot_get_binary_changes('riacho_shop', NULL, NULL, \
                    'proto_version', '1', 'publication_names', 'riacho_shop')";
        shop.db.until(read).await;
    })
    .await;
}

#[tokio::test]
async fn a_slot_that_was_invalidated_is_made_anew() {
    let settings =
        ["max_slot_wal_keep_size = 1MB", "max_wal_size = 2MB", "min_wal_size = 2MB", "wal_keep_size = 0"];
    // The smallest segments would be better; these are 16 MiB.
    let options = PostgresOptions {
        settings: settings[..1].iter().chain(&settings[3..]).map(|s| (*s).to_owned()).collect(),
        ..Default::default()
    };
    repaired(options, async |shop| {
        for _ in 0..4 {
            shop.db.psql("SELECT pg_switch_wal(); CHECKPOINT;").await;
            shop.db.psql("CREATE TABLE IF NOT EXISTS filler (i int); INSERT INTO filler VALUES (1)").await;
        }
        shop.db.until("SELECT wal_status = 'lost' FROM pg_replication_slots").await;
    })
    .await;
}

#[tokio::test]
async fn a_slot_that_goes_while_it_is_read_is_made_anew() {
    let shop = Shop::open(T, &["t"]).await;
    let mut page = shop.read("/tables/t").await;
    // In one session, so that the slot is gone before we come back.
    shop.db
        .psql(&format!(
            "DO $$ BEGIN
               PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL;
               LOOP
                 BEGIN PERFORM pg_drop_replication_slot('riacho_shop'); EXIT;
                 EXCEPTION WHEN object_in_use THEN
                   PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL;
                 END;
               END LOOP;
             END $$; {MISSED}"
        ))
        .await;
    page.until(after()).await;
    let mut operations = page.operations().split_off(3);
    operations.sort();
    assert_eq!(operations, difference(), "only what differs");
    assert_eq!(page.resets, Vec::<Value>::new());
}

// Of two threads: a database that stops waits for us, and the test for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_are_ended_and_a_database_that_crashes_cost_nothing() {
    let mut shop = Shop::open(T, &["t"]).await;
    let mut page = shop.read("/tables/t").await;
    shop.db
        .psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'riacho'; UPDATE t SET n = 10 WHERE id = 1")
        .await;
    page.group().await;
    shop.db.kill();
    shop.db = shop.db.restart().await;
    shop.db.psql("UPDATE t SET n = 20 WHERE id = 2").await;
    page.group().await;
    shop.db = shop.db.restart().await;
    shop.db.psql("UPDATE t SET n = 30 WHERE id = 3").await;
    page.group().await;
    assert_eq!(page.operations().split_off(3), told(&[("update", "1"), ("update", "2"), ("update", "3")]));
    assert_eq!(page.resets, Vec::<Value>::new());
}

#[tokio::test]
async fn a_standby_that_takes_over_is_compared() {
    let mut shop = Shop::open(T, &["t"]).await;
    let standby = shop.db.standby().await;
    let ports = format!("127.0.0.1:{},127.0.0.1:{}", shop.db.port(), standby.port());
    shop.postgres().url.0 = shop.db.url().replace(&format!("127.0.0.1:{}", shop.db.port()), &ports);
    shop.run().await;
    let mut page = shop.read("/tables/t").await;
    shop.db.psql("UPDATE t SET n = 5 WHERE id = 1").await;
    page.group().await;
    let at = shop.db.value("SELECT pg_current_wal_insert_lsn()").await;
    standby.until(&format!("SELECT pg_last_wal_replay_lsn() >= '{at}'")).await;
    // What the standby never gets to know, though we do.
    standby.psql("ALTER SYSTEM SET primary_conninfo = ''").await;
    standby.psql("SELECT pg_reload_conf()").await;
    standby.until("SELECT count(*) = 0 FROM pg_stat_wal_receiver").await;
    shop.db.psql("UPDATE t SET n = 666 WHERE id = 1; INSERT INTO t VALUES (666, 666)").await;
    page.group().await;
    shop.db.kill();
    standby.promote().await;
    standby.psql(MISSED).await;
    page.until(json!({"1": {"id": 1, "n": 5}, "2": {"id": 2, "n": 20}, "4": {"id": 4, "n": 4}})).await;
    assert_eq!(page.resets, Vec::<Value>::new());
    shop.until("live").await;
    standby.psql("DELETE FROM t WHERE id <> 4").await;
    page.until(json!({"4": {"id": 4, "n": 4}})).await;
}

#[tokio::test]
async fn tables_that_another_database_lacks_are_not_taken_for_dropped() {
    let mut shop =
        Shop::open(&format!("{T} CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1)"), &["*"])
            .await;
    shop.until("live").await;
    // Its backup of before there was the second table, say, or somebody's mistake.
    let other = crate::support::postgres::Postgres::start(PostgresOptions::default()).await;
    other.psql(T).await;
    other.psql(MISSED).await;
    shop.stop().await;
    shop.postgres().url.0 = other.url();
    shop.restart().await;
    shop.until_rows("t", after()).await;
    assert_eq!(serde_json::to_value(shop.rows("u")).unwrap(), json!({"1": {"id": 1}}));
    // And then, that it was dropped is one.
    other.psql("CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (2)").await;
    shop.until_rows("u", json!({"2": {"id": 2}})).await;
    other.psql("DROP TABLE u").await;
    shop.until_rows("u", json!({})).await;
}

// Of two threads: a database that stops waits for us, and the test for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_room_for_what_postgresql_decodes_is_told_and_passes() {
    // Large transactions are put into files before they are sent.
    let options = PostgresOptions {
        settings: vec!["logical_decoding_work_mem = 64kB".to_owned()],
        ..Default::default()
    };
    let mut shop = Shop::with(options, T, super::all_of(&["t"])).await;
    let mut page = shop.read("/tables/t").await;
    shop.stop().await;
    shop.db.stop();
    let slots = shop.db.directory().join("data/pg_replslot");
    let Some(_disk) = crate::support::disk::SmallDisk::over(&slots, 256) else { return };
    shop.db = shop.db.restart().await;
    shop.run().await;
    shop.until("live").await;
    shop.db.psql("INSERT INTO t SELECT i, i FROM generate_series(10, 40000) AS i").await;
    let (message, _) = shop.fault().await;
    assert!(message.contains("could not write to data file for XID"), "{message}");
    assert!(message.contains("No space left on device"), "{message}");
    assert!(crate::support::disk::mount(&slots, 65536, "remount"));
    assert!(shop.sources.resume("shop").await);
    super::poll(std::panic::Location::caller(), "all rows".to_owned(), async || {
        let rows = shop.rows("t").len();
        if rows == 39_994 { Ok(()) } else { Err(rows.to_string()) }
    })
    .await;
    shop.db.psql("DELETE FROM t WHERE id > 3").await;
    page = page.reopen(shop.server(), "/tables/t").await;
    page.until(json!({"1": {"id": 1, "n": 1}, "2": {"id": 2, "n": 2}, "3": {"id": 3, "n": 3}})).await;
    shop.stop().await;
    shop.db.stop();
}
