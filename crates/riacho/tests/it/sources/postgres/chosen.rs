//! Which tables, columns and rows are read.

use super::{Shop, all_of, fault_of, poll, source};
use crate::support::postgres::PostgresOptions;
use riacho::source::TableSettings;
use serde_json::{Value, json};
use std::panic::Location;

#[tokio::test]
async fn columns_and_rows_are_left_out_by_the_database() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY, name text, secret text, open bool);
        ALTER TABLE t REPLICA IDENTITY FULL;
        CREATE TABLE u (id int PRIMARY KEY, name text, secret text); INSERT INTO u VALUES (1, 'a', 'hidden');
        INSERT INTO t VALUES (1, 'a', 'hidden', true), (2, 'b', 'hidden', false);";
    let columns = Some(vec!["name".to_owned()]);
    let tables = vec![
        TableSettings {
            columns: columns.clone(),
            filter: Some("open".to_owned()),
            ..TableSettings::all_of("t")
        },
        TableSettings { columns, name: Some("users".to_owned()), ..TableSettings::all_of("u") },
    ];
    let mut shop = Shop::with(PostgresOptions::default(), sql, tables).await;
    shop.until_rows("t", json!({"1": {"id": 1, "name": "a"}})).await;
    shop.until_rows("users", json!({"1": {"id": 1, "name": "a"}})).await;
    shop.until("live").await;
    let mut page = shop.read("/tables/t").await;
    for (sql, rows) in [
        (
            "UPDATE t SET open = true WHERE id = 2",
            json!({"1": {"id": 1, "name": "a"}, "2": {"id": 2, "name": "b"}}),
        ),
        ("UPDATE t SET open = false, name = 'never' WHERE id = 1", json!({"2": {"id": 2, "name": "b"}})),
        (
            "UPDATE t SET name = 'never' WHERE id = 1; INSERT INTO t VALUES (3, 'never', '', false);
          UPDATE t SET name = 'c' WHERE id = 2",
            json!({"2": {"id": 2, "name": "c"}}),
        ),
    ] {
        shop.db.psql(sql).await;
        page.until(rows).await;
    }
    assert!(page.seen.iter().all(|message| message["value"]["name"] != "never"), "{:?}", page.seen);
    shop.db.psql("UPDATE u SET secret = 'x'; UPDATE u SET name = 'd', id = 5").await;
    shop.until_rows("users", json!({"5": {"id": 5, "name": "d"}})).await;
    let filters = shop
        .db
        .psql("SELECT tablename, attnames::text, rowfilter FROM pg_publication_tables ORDER BY 1")
        .await;
    assert_eq!(filters[1][1].as_deref(), Some("{id,name}"), "{filters:?}");
    assert_eq!(filters[0][2].as_deref(), Some("open"), "{filters:?}");

    // Other rows and columns are wanted: readers are told what differs.
    shop.settings.tables[0].filter = Some("NOT open".to_owned());
    shop.settings.tables[1].columns = Some(vec!["secret".to_owned()]);
    shop.run().await;
    page.until(json!({"1": {"id": 1, "name": "never"}, "3": {"id": 3, "name": "never"}})).await;
    shop.until_rows("users", json!({"5": {"id": 5, "secret": "x"}})).await;
    shop.db.psql("UPDATE t SET open = true WHERE id = 3; UPDATE u SET secret = 'y'").await;
    page.until(json!({"1": {"id": 1, "name": "never"}})).await;
    shop.until_rows("users", json!({"5": {"id": 5, "secret": "y"}})).await;

    // And a filter alone, which the database must learn of too.
    shop.settings.tables[0].filter = Some("id > 2".to_owned());
    shop.run().await;
    page.until(json!({"3": {"id": 3, "name": "never"}})).await;
    shop.db.psql("UPDATE t SET name = 'e' WHERE id = 1; UPDATE t SET name = 'e' WHERE id = 3").await;
    page.until(json!({"3": {"id": 3, "name": "e"}})).await;
    shop.until_rows("t", json!({"3": {"id": 3, "name": "e"}})).await;
    assert_eq!(page.resets, Vec::<Value>::new());
}

#[tokio::test]
async fn a_filter_needs_the_whole_row_as_identity() {
    let tables = vec![TableSettings { filter: Some("n > 1".to_owned()), ..TableSettings::all_of("t") }];
    let sql = "CREATE TABLE t (id int PRIMARY KEY, n int)";
    let shop = Shop::with(PostgresOptions::default(), sql, tables).await;
    let (message, remedy) = shop.fault().await;
    assert_eq!(message, "`where` of `public.t` needs the whole row before a change");
    assert_eq!(remedy, "ALTER TABLE \"public\".\"t\" REPLICA IDENTITY FULL;");
    shop.db.psql(&format!("{remedy} INSERT INTO t VALUES (1, 1), (2, 2)")).await;
    assert!(shop.sources.resume("shop").await);
    shop.until_rows("t", json!({"2": {"id": 2, "n": 2}})).await;
}

#[tokio::test]
async fn patterns_take_what_can_be_read_also_what_comes_later() {
    let sql = "CREATE TABLE shop_a (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY);
        CREATE VIEW shop_view AS SELECT * FROM shop_a; CREATE TABLE shop_keyless (id int);
        CREATE SCHEMA s; CREATE TABLE s.\"Odd \"\"name\" (id int PRIMARY KEY); CREATE TABLE s.odd (id int PRIMARY KEY);
        INSERT INTO shop_a VALUES (1); INSERT INTO s.odd VALUES (7);";
    let shop = Shop::open(sql, &["shop_*", "s.o*"]).await;
    shop.until("live").await;
    let names =
        |shop: &Shop| -> Vec<String> { shop.info().tables.into_iter().map(|table| table.name).collect() };
    assert_eq!(names(&shop), ["s.odd", "shop_a"]);
    shop.until_rows("s.odd", json!({"7": {"id": 7}})).await;
    let mut page = shop.read("/tables/shop_a").await;
    shop.db.psql("CREATE TABLE shop_b (id int PRIMARY KEY); INSERT INTO shop_b VALUES (1); INSERT INTO shop_a VALUES (2)").await;
    page.until(json!({"1": {"id": 1}, "2": {"id": 2}})).await;
    shop.until_rows("shop_b", json!({"1": {"id": 1}})).await;
    shop.until("live").await;
    shop.db.psql("INSERT INTO shop_b VALUES (2)").await;
    shop.until_rows("shop_b", json!({"1": {"id": 1}, "2": {"id": 2}})).await;
    assert_eq!(page.resets, Vec::<Value>::new());
}

#[tokio::test]
async fn tables_come_and_go_while_others_are_read() {
    let sql =
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1);";
    let mut shop = Shop::open(sql, &["a"]).await;
    let mut page = shop.read("/tables/a").await;
    shop.settings.tables = all_of(&["a", "b"]);
    shop.run().await;
    shop.db.psql("INSERT INTO a VALUES (1); INSERT INTO b VALUES (2)").await;
    page.until(json!({"1": {"id": 1}})).await;
    shop.until_rows("b", json!({"1": {"id": 1}, "2": {"id": 2}})).await;
    shop.until("live").await;
    // One that is no longer read keeps its rows, and anybody may write it.
    shop.settings.tables = all_of(&["b"]);
    shop.run().await;
    shop.until("live").await;
    shop.db.psql("INSERT INTO a VALUES (2); INSERT INTO b VALUES (3)").await;
    shop.until_rows("b", json!({"1": {"id": 1}, "2": {"id": 2}, "3": {"id": 3}})).await;
    assert_eq!(shop.rows("a").len(), 1);
    let json = "Content-Type: application/json\r\n";
    assert_eq!(shop.server().request("PUT", "/tables/a/x", json, "{\"id\": 9}").await.status, 201);
    assert_eq!(shop.server().request("PUT", "/tables/b/x", json, "{\"id\": 9}").await.status, 405);
    page.until(json!({"1": {"id": 1}, "x": {"id": 9}})).await;
    // And is compared when it is read again.
    shop.settings.tables = all_of(&["a", "b"]);
    shop.run().await;
    page.until(json!({"1": {"id": 1}, "2": {"id": 2}})).await;
    assert_eq!(page.resets, Vec::<Value>::new());
}

#[tokio::test]
async fn a_publication_that_is_given_is_used_as_it_is() {
    let sql = "CREATE TABLE a (id int PRIMARY KEY, n int, m int); CREATE TABLE b (id int PRIMARY KEY);
        ALTER TABLE a REPLICA IDENTITY DEFAULT; INSERT INTO a VALUES (1, 1, 1), (7, 7, 7);
        CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);";
    let mut shop = Shop::open("", &["none"]).await;
    shop.db.psql(sql).await;
    shop.postgres().publication = Some("given".to_owned());
    shop.postgres().slot = Some("my_slot".to_owned());
    shop.settings.tables = all_of(&["*"]);
    shop.run().await;
    let (message, remedy) = shop.fault().await;
    assert_eq!(message, "there is no publication `given`");
    assert!(remedy.starts_with("CREATE PUBLICATION \"given\" FOR TABLE "), "{remedy}");
    assert!(remedy.ends_with(" WITH (publish_via_partition_root = true);"), "{remedy}");
    shop.db
        .psql(
            "CREATE PUBLICATION given FOR TABLE a (id, n) WHERE (id < 5), parts \
                  WITH (publish = 'insert', publish_via_partition_root)",
        )
        .await;
    assert!(shop.sources.resume("shop").await);
    let refused = poll(Location::caller(), "another fault".to_owned(), async || {
        let (said, remedy) = shop.fault().await;
        if said == message { Err(said) } else { Ok((said, remedy)) }
    });
    let (message, remedy) = refused.await;
    assert_eq!(message, "the publication `given` leaves out some kinds of changes");
    shop.db.psql(&remedy).await;
    assert!(shop.sources.resume("shop").await);
    shop.until("live").await;
    shop.until_rows("a", json!({"1": {"id": 1, "n": 1}})).await;
    shop.db.psql("INSERT INTO a VALUES (2, 2, 2), (8, 8, 8); INSERT INTO parts VALUES (3)").await;
    shop.until_rows("a", json!({"1": {"id": 1, "n": 1}, "2": {"id": 2, "n": 2}})).await;
    shop.until_rows("parts", json!({"3": {"id": 3}})).await;
    assert_eq!(shop.db.value("SELECT string_agg(slot_name, ',') FROM pg_replication_slots").await, "my_slot");
    assert_eq!(shop.db.value("SELECT string_agg(pubname, ',') FROM pg_publication").await, "given");
}

#[tokio::test]
async fn one_source_that_is_refused_leaves_the_others_running() {
    let shop = Shop::open(
        "CREATE TABLE a (id int PRIMARY KEY, t text); CREATE TABLE b (id int PRIMARY KEY)",
        &["a"],
    )
    .await;
    shop.until("live").await;
    let other = source("other", &shop.db.url(), all_of(&["b"]));
    let rival = source("rival", &shop.db.url(), all_of(&["b"]));
    shop.sources.run(vec![shop.settings.clone(), other.clone()]).await;
    poll(Location::caller(), "both".to_owned(), async || {
        let live = shop.sources.list().iter().all(|info| info.state.as_str() == "live");
        if live { Ok(()) } else { Err(format!("{:?}", shop.sources.list())) }
    })
    .await;
    shop.db.psql("INSERT INTO a VALUES (1, 'x'); INSERT INTO a VALUES (2, repeat('x', 2000000))").await;
    let (message, _) = fault_of(Location::caller(), &shop.sources, "shop").await;
    assert_eq!(
        message,
        "the row `2` of `a` is larger than 1048576 bytes; raise the limit row_bytes_max, or leave columns out with `columns`"
    );
    assert_eq!(shop.sources.list()[1].state.as_str(), "broken");
    shop.db.psql("INSERT INTO b VALUES (1)").await;
    shop.until_rows("b", json!({"1": {"id": 1}})).await;
    // Once the row is gone, all goes on: what is committed later has it smaller.
    shop.sources.run(vec![shop.settings.clone(), other.clone(), rival]).await;
    let (message, remedy) = fault_of(Location::caller(), &shop.sources, "rival").await;
    assert_eq!(message, "the table `b` is fed by the source `other` already");
    assert_eq!(remedy, "give one of them another name with `as`");
    shop.db.psql("INSERT INTO b VALUES (2)").await;
    shop.until_rows("b", json!({"1": {"id": 1}, "2": {"id": 2}})).await;
}

#[tokio::test]
async fn rows_of_tables_that_inherit_from_one_are_not_its_own() {
    let sql = "CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE heir (more int) INHERITS (a);
        INSERT INTO a VALUES (1, 1); INSERT INTO heir VALUES (2, 2, 2);";
    let shop = Shop::open(sql, &["a"]).await;
    shop.until("live").await;
    shop.until_rows("a", json!({"1": {"id": 1, "n": 1}})).await;
    shop.db
        .psql("UPDATE heir SET n = 3; INSERT INTO heir VALUES (4, 4, 4); INSERT INTO a VALUES (5, 5)")
        .await;
    shop.until_rows("a", json!({"1": {"id": 1, "n": 1}, "5": {"id": 5, "n": 5}})).await;
}

#[tokio::test]
async fn a_name_that_another_source_has_is_refused_and_the_other_goes_on() {
    let shop = Shop::open("CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1)", &["a"]).await;
    shop.until("live").await;
    let second = super::source("second", &shop.db.url(), all_of(&["a"]));
    shop.sources.run(vec![shop.settings.clone(), second.clone()]).await;
    let (message, remedy) = super::fault_of(Location::caller(), &shop.sources, "second").await;
    assert_eq!(message, "the table `a` is fed by the source `shop` already");
    assert_eq!(remedy, "give one of them another name with `as`");
    shop.db.psql("INSERT INTO a VALUES (2)").await;
    shop.until_rows("a", json!({"1": {"id": 1}, "2": {"id": 2}})).await;
    // Once the first is no more, the second may have it.
    shop.sources.run(vec![second]).await;
    assert!(shop.sources.resume("second").await);
    shop.until("live").await;
    shop.db.psql("DELETE FROM a WHERE id = 1").await;
    shop.until_rows("a", json!({"2": {"id": 2}})).await;
}

#[tokio::test]
async fn tables_of_a_pattern_stay_the_sources_own_while_its_database_is_away() {
    let mut shop = Shop::open("CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1)", &["*"]).await;
    shop.until("live").await;
    shop.stop().await;
    shop.db.stop();
    shop.restart().await;
    let put = |table: &str| {
        let target = format!("/tables/{table}/7");
        shop.server().request("PUT", &target, "Content-Type: application/json\r\n", "{}")
    };
    put("a").await.problem(405, "table_read_only", false);
    assert_eq!(shop.server().get("/tables/a/1").await.text(), "{\"id\":1}");
}
