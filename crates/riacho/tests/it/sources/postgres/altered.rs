//! Tables that become other tables while they are read, and while they are not.

use super::Shop;
use crate::live_tables::told;
use serde_json::{Value, json};

const T: &str = "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 10), (2, 20);";

#[tokio::test]
async fn columns_that_come_and_go_do_so_in_all_rows() {
    let shop = Shop::open(T, &["t"]).await;
    let mut page = shop.read("/tables/t").await;
    // Nothing is changed after it, so nothing is said of it in the stream.
    shop.db.psql("ALTER TABLE t ADD COLUMN more text DEFAULT 'x'").await;
    page.until(json!({"1": {"id": 1, "n": 10, "more": "x"}, "2": {"id": 2, "n": 20, "more": "x"}})).await;
    shop.db.psql("ALTER TABLE t ADD COLUMN b bool DEFAULT true; UPDATE t SET n = 11 WHERE id = 1").await;
    page.until(json!({
        "1": {"id": 1, "n": 11, "more": "x", "b": true}, "2": {"id": 2, "n": 20, "more": "x", "b": true}
    }))
    .await;
    shop.db.psql("ALTER TABLE t DROP COLUMN b").await;
    page.until(json!({"1": {"id": 1, "n": 11, "more": "x"}, "2": {"id": 2, "n": 20, "more": "x"}})).await;
    shop.db.psql("ALTER TABLE t RENAME COLUMN n TO m").await;
    page.until(json!({"1": {"id": 1, "m": 11, "more": "x"}, "2": {"id": 2, "m": 20, "more": "x"}})).await;
    // Of the same name and type, but another.
    shop.db.psql("ALTER TABLE t DROP COLUMN more; ALTER TABLE t ADD COLUMN more text DEFAULT 'y'").await;
    page.until(json!({"1": {"id": 1, "m": 11, "more": "y"}, "2": {"id": 2, "m": 20, "more": "y"}})).await;
    // A table that is written anew.
    shop.db.psql("ALTER TABLE t ALTER COLUMN m TYPE int USING m * 2").await;
    page.until(json!({"1": {"id": 1, "m": 22, "more": "y"}, "2": {"id": 2, "m": 40, "more": "y"}})).await;
    shop.db
        .psql("ALTER TABLE t ALTER COLUMN m TYPE text, DROP COLUMN more; INSERT INTO t VALUES (3, '5')")
        .await;
    page.until(json!({"1": {"id": 1, "m": "22"}, "2": {"id": 2, "m": "40"}, "3": {"id": 3, "m": "5"}})).await;
    assert_eq!(page.resets, Vec::<Value>::new());
}

#[tokio::test]
async fn another_primary_key_gives_the_rows_other_names() {
    let shop = Shop::open(T, &["t"]).await;
    let mut page = shop.read("/tables/t").await;
    shop.db.psql("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (n)").await;
    page.until(json!({"10": {"id": 1, "n": 10}, "20": {"id": 2, "n": 20}})).await;
    shop.db
        .psql(
            "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id, n); INSERT INTO t VALUES (1, 11);
             DELETE FROM t WHERE n = 20; UPDATE t SET n = 12 WHERE n = 11",
        )
        .await;
    page.until(json!({"[1,10]": {"id": 1, "n": 10}, "[1,12]": {"id": 1, "n": 12}})).await;
    shop.db.psql("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD COLUMN no int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
                  DROP COLUMN id; UPDATE t SET n = 13 WHERE n = 12").await;
    page.until(json!({"1": {"n": 10, "no": 1}, "2": {"n": 13, "no": 2}})).await;
    assert_eq!(page.resets, Vec::<Value>::new());
}

#[tokio::test]
async fn a_table_that_is_dropped_and_made_anew_is_compared() {
    let mut shop = Shop::open(&format!("{T} CREATE TABLE other (id int PRIMARY KEY)"), &["t", "other"]).await;
    let mut page = shop.read("/tables/t").await;
    shop.db
        .psql(
            "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (2, 20), (3, 30)",
        )
        .await;
    page.until(json!({"2": {"id": 2, "n": 20}, "3": {"id": 3, "n": 30}})).await;
    let mut operations = page.operations().split_off(2);
    operations.sort();
    assert_eq!(operations, told(&[("delete", "1"), ("insert", "3")]), "only what differs");
    // The same while nobody reads.
    shop.stop().await;
    shop.db
        .psql("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (4, 40)")
        .await;
    shop.restart().await;
    page = page.reopen(shop.server(), "/tables/t").await;
    page.until(json!({"4": {"id": 4, "n": 40}})).await;
    shop.until("live").await;
    shop.db.psql("DROP TABLE t").await;
    page.until(json!({})).await;
    shop.db.psql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (5)").await;
    page.until(json!({"5": {"id": 5}})).await;
    assert_eq!(page.resets, Vec::<Value>::new());
}

#[tokio::test]
async fn a_table_that_is_renamed_is_another_table() {
    let shop = Shop::open(&format!("{T} CREATE TABLE other (id int PRIMARY KEY)"), &["*"]).await;
    let mut page = shop.read("/tables/t").await;
    shop.db.psql("ALTER TABLE t RENAME TO u; UPDATE u SET n = 11 WHERE id = 1").await;
    page.until(json!({})).await;
    shop.until_rows("u", json!({"1": {"id": 1, "n": 11}, "2": {"id": 2, "n": 20}})).await;
    shop.db.psql("ALTER TABLE u RENAME TO t; UPDATE t SET n = 12 WHERE id = 1").await;
    page.until(json!({"1": {"id": 1, "n": 12}, "2": {"id": 2, "n": 20}})).await;
    shop.until_rows("u", json!({})).await;
}

#[tokio::test]
async fn tables_altered_while_nobody_reads_are_compared() {
    let mut shop = Shop::open(T, &["t"]).await;
    let mut page = shop.read("/tables/t").await;
    for (sql, rows) in [
        (
            "UPDATE t SET n = 11 WHERE id = 1; ALTER TABLE t ADD COLUMN more int DEFAULT 5",
            json!({"1": {"id": 1, "n": 11, "more": 5}, "2": {"id": 2, "n": 20, "more": 5}}),
        ),
        (
            "UPDATE t SET n = 12 WHERE id = 1; ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (n); \
             UPDATE t SET n = 13 WHERE n = 12; ALTER TABLE t DROP COLUMN more; DELETE FROM t WHERE n = 20",
            json!({"13": {"id": 1, "n": 13}}),
        ),
        ("ALTER TABLE t ALTER n TYPE int USING n + 1", json!({"14": {"id": 1, "n": 14}})),
    ] {
        shop.stop().await;
        shop.db.psql(sql).await;
        shop.restart().await;
        page = page.reopen(shop.server(), "/tables/t").await;
        page.until(rows).await;
        shop.until("live").await;
    }
    shop.db.psql("INSERT INTO t VALUES (2, 2)").await;
    page.until(json!({"14": {"id": 1, "n": 14}, "2": {"id": 2, "n": 2}})).await;
    assert_eq!(page.resets, Vec::<Value>::new());
}
