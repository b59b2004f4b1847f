//! Rows, and then what sessions do to them.

use super::Shop;
use crate::live_tables::{Reader, told};
use serde_json::{Value, json};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, item text, n int);
    INSERT INTO orders VALUES (1, 'tea', 1), (2, 'milk', 2);";

fn order(id: i64, item: &str, n: i64) -> Value {
    json!({"id": id, "item": item, "n": n})
}

#[tokio::test]
async fn a_page_gets_the_rows_and_then_each_change_of_any_session() {
    let shop = Shop::open(ORDERS, &["orders"]).await;
    let mut page = shop.read("/tables/orders").await;
    assert_eq!(
        serde_json::to_value(&page.rows).unwrap(),
        json!({"1": order(1, "tea", 1), "2": order(2, "milk", 2)})
    );
    for sql in [
        "INSERT INTO orders VALUES (3, 'rye', NULL)",
        "UPDATE orders SET item = 'cake', n = n + 1 WHERE id = 1",
        "DELETE FROM orders WHERE id = 2",
        "UPDATE orders SET id = 30 WHERE id = 3",
    ] {
        shop.db.psql(sql).await;
        page.group().await;
    }
    let mut operations = page.operations().split_off(2);
    operations[3..].sort();
    assert_eq!(
        operations,
        told(&[("insert", "3"), ("update", "1"), ("delete", "2"), ("delete", "3"), ("insert", "30")])
    );
    let rows = json!({"1": order(1, "cake", 2), "30": {"id": 30, "item": "rye", "n": null}});
    assert_eq!(serde_json::to_value(&page.rows).unwrap(), rows);
    assert_eq!(shop.rows("orders"), page.rows);
    assert_eq!(page.resets, Vec::<Value>::new());
}

#[tokio::test]
async fn what_is_rolled_back_was_never_there() {
    let shop = Shop::open(ORDERS, &["orders"]).await;
    let mut page = shop.read("/tables/orders").await;
    shop.db.psql("BEGIN; UPDATE orders SET item = 'never'; ROLLBACK").await;
    shop.db
        .psql(
            "BEGIN; UPDATE orders SET n = 10 WHERE id = 1; SAVEPOINT a; UPDATE orders SET item = 'never';
             DELETE FROM orders; ROLLBACK TO a; SAVEPOINT b; INSERT INTO orders VALUES (3, 'sub', 0); RELEASE b;
             UPDATE orders SET n = 11 WHERE id = 1; COMMIT",
        )
        .await;
    page.group().await;
    assert_eq!(page.operations().split_off(2), told(&[("update", "1"), ("insert", "3")]));
    assert_eq!((&page.rows["1"], &page.rows["3"]), (&order(1, "tea", 11), &order(3, "sub", 0)));
}

#[tokio::test]
async fn rows_that_change_keys_in_one_transaction_are_told_as_they_end() {
    let shop = Shop::open(ORDERS, &["orders"]).await;
    let mut page = shop.read("/tables/orders").await;
    shop.db
        .psql(
            "BEGIN; UPDATE orders SET id = 9 WHERE id = 1; UPDATE orders SET id = 1 WHERE id = 2;
             UPDATE orders SET id = 2 WHERE id = 9; COMMIT",
        )
        .await;
    page.group().await;
    assert_eq!(page.operations().split_off(2), told(&[("update", "1"), ("update", "2")]));
    assert_eq!((&page.rows["1"], &page.rows["2"]), (&order(1, "milk", 2), &order(2, "tea", 1)));
}

// A reader of tables `a` and `b`, whose keys begin with the table's name.
async fn both(shop: &Shop, more: &str, cursor: &str) -> Reader {
    let mut reader = Reader::open(shop.server(), &format!("/streams?table=a&table=b{more}"), cursor).await;
    if cursor.is_empty() {
        reader.group().await;
    }
    reader
}

#[tokio::test]
async fn a_transaction_over_two_tables_is_one_group() {
    let sql = "CREATE TABLE a (id text PRIMARY KEY, n int); CREATE TABLE b (id text PRIMARY KEY, n int)";
    let shop = Shop::open(sql, &["a", "b"]).await;
    shop.until("live").await;
    let mut live = both(&shop, "", "").await;
    let mut each = both(&shop, "&conflate=0", "").await;
    let mut alone = shop.read("/tables/a").await;
    let later = both(&shop, "", "").await;
    let later_each = both(&shop, "&conflate=0", "").await;
    let transfer = |n: i64| {
        format!(
            "BEGIN; INSERT INTO a VALUES ('a', {n}) ON CONFLICT (id) DO UPDATE SET n = {n};
             INSERT INTO b VALUES ('b', -{n}) ON CONFLICT (id) DO UPDATE SET n = -{n}; COMMIT"
        )
    };
    for n in 1..4 {
        shop.db.psql(&transfer(n)).await;
        for reader in [&mut live, &mut each] {
            reader.group().await;
            assert_eq!((&reader.rows["a"]["n"], &reader.rows["b"]["n"]), (&json!(n), &json!(-n)));
        }
        alone.group().await;
        assert_eq!(alone.rows["a"]["n"], json!(n));
    }
    assert_eq!(alone.operations(), told(&[("insert", "a"), ("update", "a"), ("update", "a")]));
    let txids = |reader: &Reader| -> Vec<Value> {
        reader.seen.iter().map(|message| message["headers"]["txid"].clone()).collect()
    };
    assert!(
        txids(&live).chunks(2).all(|pair| pair[0] == pair[1] && pair[0].is_string()),
        "{:?}",
        txids(&live)
    );
    let xid: u64 = txids(&live)[4].as_str().unwrap().parse().unwrap();
    assert_eq!(shop.db.value(&format!("SELECT pg_xact_status('{xid}'::xid8)")).await, "committed");

    let mut later = later.reopen(shop.server(), "/streams?table=a&table=b").await;
    let mut later_each = later_each.reopen(shop.server(), "/streams?table=a&table=b&conflate=0").await;
    for reader in [&mut later, &mut later_each] {
        while reader.rows.get("a").is_none_or(|row| row["n"] != 3) {
            reader.group().await;
            assert_eq!(reader.rows["a"]["n"].as_i64(), reader.rows["b"]["n"].as_i64().map(|n| -n));
        }
        assert_eq!(reader.rows, live.rows);
    }
}

#[tokio::test]
async fn large_values_that_did_not_change_are_kept() {
    let sql = "CREATE TABLE plain (id int PRIMARY KEY, n int, text text);
        CREATE TABLE whole (id int PRIMARY KEY, n int, text text); ALTER TABLE whole REPLICA IDENTITY FULL;
        CREATE TABLE chosen (id int PRIMARY KEY, name text NOT NULL, n int, text text);
        CREATE UNIQUE INDEX name ON chosen (name); ALTER TABLE chosen REPLICA IDENTITY USING INDEX name;";
    let shop = Shop::open(sql, &["*"]).await;
    shop.until("live").await;
    // Not compressible, so stored outside of the row.
    let text = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) AS i)";
    shop.db
        .psql(&format!(
            "INSERT INTO plain VALUES (1, 1, {text}); INSERT INTO whole VALUES (1, 1, {text});
             INSERT INTO chosen VALUES (1, 'x', 1, {text});"
        ))
        .await;
    let text = Value::from(shop.db.value(&format!("SELECT {text}")).await);
    for table in ["plain", "whole", "chosen"] {
        shop.db.psql(&format!("UPDATE {table} SET n = 2")).await;
        shop.db.psql(&format!("UPDATE {table} SET id = 2, n = 3")).await;
        shop.db.psql(&format!("BEGIN; UPDATE {table} SET n = 4; UPDATE {table} SET id = 3; COMMIT")).await;
    }
    shop.db.psql("UPDATE chosen SET name = 'y'").await;
    shop.until_rows("plain", json!({"3": {"id": 3, "n": 4, "text": text}})).await;
    shop.until_rows("whole", json!({"3": {"id": 3, "n": 4, "text": text}})).await;
    shop.until_rows("chosen", json!({"y": {"id": 3, "name": "y", "n": 4, "text": text}})).await;
    shop.db
        .psql("UPDATE plain SET text = 'short'; DELETE FROM whole; DELETE FROM chosen WHERE name = 'y'")
        .await;
    shop.until_rows("plain", json!({"3": {"id": 3, "n": 4, "text": "short"}})).await;
    shop.until_rows("whole", json!({})).await;
    shop.until_rows("chosen", json!({})).await;
}

#[tokio::test]
async fn keys_of_several_columns_are_arrays_in_the_keys_order() {
    let sql = "CREATE TABLE pairs (v int, a text, b int, PRIMARY KEY (b, a));
        INSERT INTO pairs VALUES (1, 'x', 7)";
    let shop = Shop::open(sql, &["pairs"]).await;
    shop.until_rows("pairs", json!({"[7,\"x\"]": {"v": 1, "a": "x", "b": 7}})).await;
    shop.db.psql("INSERT INTO pairs VALUES (2, 'y\"', 8); UPDATE pairs SET a = 'z' WHERE b = 7").await;
    shop.until_rows(
        "pairs",
        json!({"[7,\"z\"]": {"v": 1, "a": "z", "b": 7}, "[8,\"y\\\"\"]": {"v": 2, "a": "y\"", "b": 8}}),
    )
    .await;
    shop.db.psql("DELETE FROM pairs WHERE b = 8").await;
    shop.until_rows("pairs", json!({"[7,\"z\"]": {"v": 1, "a": "z", "b": 7}})).await;
}

#[tokio::test]
async fn truncate_empties_a_table_in_its_place_within_the_transaction() {
    let sql = "CREATE TABLE a (id text PRIMARY KEY); CREATE TABLE b (id text PRIMARY KEY);";
    let shop = Shop::open(sql, &["a", "b"]).await;
    shop.until("live").await;
    let mut page = both(&shop, "", "").await;
    shop.db.psql("INSERT INTO a VALUES ('a1'), ('a2')").await;
    page.group().await;
    shop.db.psql("INSERT INTO b VALUES ('b1')").await;
    page.group().await;
    shop.db
        .psql(
            "BEGIN; INSERT INTO a VALUES ('never'); TRUNCATE a, b; INSERT INTO a VALUES ('a2'), ('a3');
             INSERT INTO b VALUES ('b2'); COMMIT",
        )
        .await;
    page.group().await;
    assert!(page.seen.iter().all(|message| message["key"] != "never"), "{:?}", page.seen);
    assert_eq!(page.rows.keys().collect::<Vec<_>>(), ["a2", "a3", "b2"]);
    shop.db.psql("TRUNCATE b").await;
    page.group().await;
    assert_eq!(page.rows.keys().collect::<Vec<_>>(), ["a2", "a3"]);
    shop.until_rows("b", json!({})).await;
}

#[tokio::test]
async fn partitions_are_read_as_their_table_and_generated_columns_left_out() {
    let sql = "CREATE TABLE days (day date, n int, twice int GENERATED ALWAYS AS (n * 2) STORED, PRIMARY KEY (day, n))
            PARTITION BY RANGE (day);
        CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
        CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
        INSERT INTO days VALUES ('2026-01-05', 1), ('2026-02-05', 2);";
    let shop = Shop::open(sql, &["*"]).await;
    let day = |day: &str, n: i64| json!({"day": day, "n": n});
    shop.until_rows(
        "days",
        json!({"[\"2026-01-05\",1]": day("2026-01-05", 1), "[\"2026-02-05\",2]": day("2026-02-05", 2)}),
    )
    .await;
    shop.until("live").await;
    assert_eq!(shop.info().tables.len(), 1);
    shop.db
        .psql(
            "UPDATE days SET day = '2026-02-09' WHERE n = 1;
             CREATE TABLE days_3 PARTITION OF days FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
             INSERT INTO days VALUES ('2026-03-09', 3); DELETE FROM days WHERE n = 2; TRUNCATE days_2",
        )
        .await;
    shop.until_rows("days", json!({"[\"2026-03-09\",3]": day("2026-03-09", 3)})).await;
}

#[tokio::test]
async fn values_are_the_same_by_copy_and_by_stream() {
    let sql = "CREATE TYPE mood AS ENUM ('fine', 'so \"so\"'); CREATE DOMAIN price AS numeric(20, 4);
        CREATE TYPE place AS (street text, number int); CREATE TYPE moods AS RANGE (subtype = float8);
        CREATE TABLE v (id int PRIMARY KEY, b bool, i int8, f float8, r real, big numeric, cost price, t text, c char(5),
          m mood, ms mood[], grid int[][], words text[], at place, places place[], j json, jb jsonb, ts timestamptz,
          plain timestamp, d date, tod time, span interval, bytes bytea, u uuid, ir int4range, mr int4multirange, fr moods,
          ip inet, x xml, bits bit(4), p point);";
    let values = "true, 9007199254740993, 0.1, 'NaN', 123456789012345678901234567890.12, 12.5, E'tab\\t\\\\N \\u2028\\n', 'x',
          'so \"so\"', '{fine,NULL}', '{{1,2},{3,4}}', ARRAY['a,b', 'NULL', NULL, '', E'\\\\\"'], '(\"a, b\",)',
          ARRAY[ROW('x', 1)::place, NULL], '{\"a\" :  [1, null]}', '{\"b\":1, \"a\":2}', '2026-11-21 20:00:00.5+05:30',
          '2026-11-21 20:00:00', '2026-11-21', '20:00:00.25', '1 day 02:00:00', '\\x00ff', '00000000-0000-4000-8000-000000000001',
          '[1,5)', '{[1,3),[5,7)}', '[0.5,1]', '10.0.0.1/8', '<a/>', '1010', '(1,2)'";
    let insert = |id: i32| format!("INSERT INTO v VALUES ({id}, {values});");
    let nulls = |id: i32| format!("INSERT INTO v (id) VALUES ({id});");
    let shop = Shop::open(&format!("{sql} {} {}", insert(1), nulls(2)), &["v"]).await;
    shop.until("live").await;
    shop.db.psql(&format!("{} {}", insert(3), nulls(4))).await;
    shop.db.psql("INSERT INTO v (id, m, ts, big) VALUES (5, 'fine', 'infinity', 'NaN')").await;
    super::poll(std::panic::Location::caller(), "5 rows".to_owned(), async || {
        let rows = shop.rows("v");
        if rows.len() == 5 { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
    let mut rows = shop.rows("v");
    for row in rows.values_mut() {
        row.as_object_mut().unwrap().remove("id");
    }
    assert_eq!(rows["1"], rows["3"]);
    assert_eq!(rows["2"], rows["4"]);
    assert!(rows["2"].as_object().unwrap().values().all(Value::is_null), "{}", rows["2"]);
    let row = &rows["1"];
    for (column, value) in [
        ("b", json!(true)),
        ("i", json!("9007199254740993")),
        ("f", json!(0.1)),
        ("r", json!("NaN")),
        ("big", json!("123456789012345678901234567890.12")),
        ("t", json!("tab\t\\N \u{2028}\n")),
        ("m", json!("so \"so\"")),
        ("ms", json!(["fine", null])),
        ("grid", json!([[1, 2], [3, 4]])),
        ("words", json!(["a,b", "NULL", null, "", "\\\""])),
        ("j", json!({"a": [1, null]})),
        ("jb", json!({"a": 2, "b": 1})),
        ("ts", json!("2026-11-21T14:30:00.5Z")),
        ("plain", json!("2026-11-21T20:00:00")),
        ("d", json!("2026-11-21")),
        ("bytes", json!("AP8=")),
        ("u", json!("00000000-0000-4000-8000-000000000001")),
    ] {
        assert_eq!(row[column], value, "{column}");
    }
    println!("{row:#}\n{:#}", rows["5"]);
    // A type that is altered while it is read.
    shop.db.psql("ALTER TYPE mood ADD VALUE 'new'").await;
    shop.db.psql("UPDATE v SET m = 'new' WHERE id = 5; CREATE TYPE later AS ENUM ('x'); ALTER TABLE v ADD COLUMN l later; \
                  UPDATE v SET l = 'x'").await;
    super::poll(std::panic::Location::caller(), "a type that is new".to_owned(), async || {
        let rows = shop.rows("v");
        let known = rows["5"]["m"] == "new" && rows.values().all(|row| row["l"] == "x");
        if known { Ok(()) } else { Err(format!("{:?}", rows["5"])) }
    })
    .await;
}

#[tokio::test]
async fn a_transaction_larger_than_a_commit_arrives_whole() {
    let shop = Shop::open("CREATE TABLE big (id int PRIMARY KEY, text text)", &["big"]).await;
    shop.until("live").await;
    // 40,000 rows of 500 bytes.
    shop.db
        .psql("INSERT INTO big SELECT i, repeat(md5(i::text), 15) FROM generate_series(1, 40000) AS i")
        .await;
    super::poll(std::panic::Location::caller(), "40000 rows".to_owned(), async || {
        let rows = shop
            .server()
            .log()
            .rows()
            .table(&riacho_core::name::StreamName::of_table("big").unwrap())
            .map_or(0, |known| known.rows);
        if rows == 40_000 { Ok(()) } else { Err(format!("{rows}, {:?}", shop.info())) }
    })
    .await;
    assert_eq!(shop.rows("big")["777"]["text"].as_str().unwrap().len(), 480);
    shop.db.psql("DELETE FROM big").await;
    shop.until_rows("big", json!({})).await;
}

#[tokio::test]
async fn a_restart_of_ours_misses_nothing_and_repeats_nothing() {
    let mut shop = Shop::open(ORDERS, &["orders"]).await;
    let mut page = shop.read("/tables/orders").await;
    for round in 0..3 {
        shop.stop().await;
        shop.db.psql(&format!("UPDATE orders SET n = {round} + 100 WHERE id = 1")).await;
        shop.restart().await;
        page = page.reopen(shop.server(), "/tables/orders").await;
        page.group().await;
        shop.db.psql(&format!("INSERT INTO orders VALUES ({round} + 10, 'x', 0)")).await;
        page.group().await;
        let new = format!("{}", round + 10);
        assert_eq!(page.operations(), told(&[("update", "1"), ("insert", &new)]), "round {round}");
    }
    let before = shop.server().log().published();
    shop.restart().await;
    shop.until("live").await;
    assert_eq!(shop.server().log().published(), before, "a restart writes no event");
    assert_eq!(page.resets, Vec::<Value>::new());
}
