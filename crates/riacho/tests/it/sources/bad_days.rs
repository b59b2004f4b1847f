//! Disks that are full, files that are damaged or locked: each is said, costs nothing, and passes.

use super::sqlite::{Shop, shell};
use crate::support::{TestServer, disk::SmallDisk, until};
use serde_json::json;
use std::fs;

const T: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, pad TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b');";

async fn fault(shop: &Shop, state: &str) -> (String, String) {
    let (_, fault) = shop.until(state).await.last_fault.unwrap();
    (fault.message, fault.remedy.unwrap_or_default())
}

#[tokio::test]
async fn no_room_for_what_is_set_up_in_a_file_of_sqlite_is_told_and_passes() {
    let Some(disk) = SmallDisk::new(512) else { return };
    let path = disk.path().join("shop.db");
    shell(&path, T);
    let filler = disk.fill(0);
    let shop = Shop::at(path.clone(), &["t"], TestServer::start().await).await;
    let (message, remedy) = fault(&shop, "backing_off").await;
    assert_eq!(
        (message, &*remedy),
        (format!("no room to write to {}", path.display()), "make room on its disk")
    );
    fs::remove_file(filler).unwrap();
    assert!(shop.sources.resume("shop").await);
    shop.until("live").await;
    shop.until_rows("t", json!({"1": {"id": 1, "pad": "a"}, "2": {"id": 2, "pad": "b"}})).await;
}

#[tokio::test]
async fn no_room_on_our_disk_is_waited_for_and_told() {
    let Some(disk) = SmallDisk::new(96 * 1024) else { return };
    let server = TestServer::within(disk.path()).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.db");
    let rows = "CREATE TABLE t (id INTEGER PRIMARY KEY, pad TEXT); INSERT INTO t SELECT value, hex(randomblob(400)) FROM \
                generate_series(1, 40000);";
    shell(&path, rows);
    let filler = disk.fill(2048);
    let shop = Shop::at(path, &["t"], server).await;
    until("no room", async || {
        let info = shop.sources.list().pop().unwrap();
        (info.waits.as_deref() == Some("there is no room on the disk of this server: make some"))
            .then_some(())
    })
    .await;
    fs::remove_file(filler).unwrap();
    let info = shop.until("live").await;
    assert_eq!((info.waits, shop.rows("t").len()), (None, 40_000));
}

#[tokio::test]
async fn a_file_that_is_locked_for_long_is_told_and_read_on() {
    let shop = Shop::open(&format!("PRAGMA journal_mode = delete; {T}"), &["t"]).await;
    shop.until("live").await;
    let writer = rusqlite::Connection::open(&shop.path).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE; DELETE FROM t WHERE id = 1").unwrap();
    let (message, remedy) = fault(&shop, "backing_off").await;
    assert_eq!(message, format!("{} is locked by a program for longer than 3 s", shop.path.display()));
    assert_eq!(remedy, "find the program that keeps a write transaction open");
    writer.execute_batch("COMMIT").unwrap();
    shop.until_rows("t", json!({"2": {"id": 2, "pad": "b"}})).await;
}

#[tokio::test]
async fn a_file_that_is_damaged_is_told_and_read_on_once_it_is_whole() {
    let rows = "PRAGMA journal_mode = delete; CREATE TABLE t (id INTEGER PRIMARY KEY, pad TEXT); INSERT INTO t SELECT value, \
                hex(zeroblob(200)) FROM generate_series(1, 500);";
    let mut shop = Shop::open(rows, &["t"]).await;
    shop.until("live").await;
    shop.stop().await;
    shell(&shop.path, "DELETE FROM t WHERE id = 250;");
    let whole = fs::read(&shop.path).unwrap();
    let mut damaged = whole.clone();
    // All but the schema.
    damaged[8192..].fill(0xff);
    fs::write(&shop.path, &damaged).unwrap();
    shop.start().await;
    let (message, remedy) = fault(&shop, "broken").await;
    assert!(message.contains(" is damaged: "), "{message}");
    assert!(remedy.contains("PRAGMA integrity_check"), "{remedy}");
    assert_eq!(shop.rows("t").len(), 500, "what is known is served");
    fs::write(&shop.path, &whole).unwrap();
    assert!(shop.sources.resume("shop").await);
    shop.until("live").await;
    until("the row to go", async || (shop.rows("t").len() == 499).then_some(())).await;
}

#[tokio::test]
async fn what_was_read_of_the_changes_is_thrown_away() {
    let shop = Shop::open(T, &["t"]).await;
    shop.until("live").await;
    shell(&shop.path, "INSERT INTO t SELECT value, '' FROM generate_series(3, 12000);");
    let noted = rusqlite::Connection::open(&shop.path).unwrap();
    until("a trim", async || {
        let count: i64 =
            noted.query_row("SELECT count(*) FROM _riacho_changes", [], |row| row.get(0)).unwrap();
        (shop.rows("t").len() == 12_000 && count < 10).then_some(())
    })
    .await;
}
