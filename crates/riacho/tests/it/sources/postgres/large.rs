//! Tables that are read in parts.

use super::Shop;
use crate::support::postgres::PostgresOptions;
use serde_json::Value;

// A row in each block.
const SPARSE: &str = "CREATE TABLE big (id int PRIMARY KEY, n int, pad text) WITH (fillfactor = 10);
    INSERT INTO big SELECT i, 0, repeat('x', 720) FROM generate_series(1, 9000) AS i;
    CREATE TABLE parts (id int PRIMARY KEY, pad text) PARTITION BY RANGE (id);
    CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (4500) WITH (fillfactor = 10);
    CREATE TABLE high PARTITION OF parts FOR VALUES FROM (4500) TO (10000) WITH (fillfactor = 10);
    CREATE TABLE none PARTITION OF parts DEFAULT;
    INSERT INTO parts SELECT i, repeat('x', 720) FROM generate_series(1, 9000) AS i;
    CREATE ROLE r LOGIN PASSWORD 'r' REPLICATION; GRANT SELECT ON big, parts TO r;";

#[tokio::test]
async fn every_row_of_a_large_table_is_copied_while_it_is_written() {
    let options = PostgresOptions { settings: vec!["log_statement = all".to_owned()], ..Default::default() };
    let shop = Shop::with(options, SPARSE, super::all_of(&["big", "parts"])).await;
    let writer = shop.db.client().await;
    let mut turn = 0;
    while shop.info().state.as_str() != "live" {
        turn += 1;
        let sql = format!(
            "UPDATE big SET n = {turn} WHERE id % 97 = {turn} % 97; DELETE FROM big WHERE id = {turn} * 53;
             UPDATE big SET id = id + 100000 WHERE id = {turn} * 31; DELETE FROM parts WHERE id = {turn} * 7"
        );
        writer.simple_query(&sql).await.unwrap();
    }
    shop.db.psql("INSERT INTO big VALUES (0, 0, ''); INSERT INTO parts VALUES (0, '')").await;
    for table in ["big", "parts"] {
        let all = format!("SELECT json_object_agg(id, to_jsonb(t)) FROM {table} AS t");
        let all: Value = serde_json::from_str(&shop.db.value(&all).await).unwrap();
        shop.until_rows(table, all).await;
    }
    let log = shop.db.log();
    for part in [
        "FROM ONLY \"public\".\"big\" WHERE ctid >= '(0,0)' AND ctid < '(2048,0)'",
        "FROM ONLY \"public\".\"big\" WHERE ctid >= '(8192,0)')",
        "FROM ONLY \"public\".\"low\" WHERE ctid >= '(4096,0)')",
        "FROM ONLY \"public\".\"none\" WHERE ctid >= '(0,0)')",
    ] {
        assert!(log.contains(part), "{part}");
    }
}

#[tokio::test]
async fn large_table_whose_parts_may_not_be_read_is_read_by_its_root() {
    let mut shop = Shop::open(SPARSE, &[]).await;
    shop.db.psql("CREATE PUBLICATION given FOR TABLE parts WITH (publish_via_partition_root)").await;
    shop.settings = super::source("shop", &shop.db.url_of("r", "r", "postgres"), super::all_of(&["parts"]));
    shop.postgres().publication = Some("given".to_owned());
    shop.run().await;
    shop.until("live").await;
    assert_eq!(shop.rows("parts").len(), 9000);
}
