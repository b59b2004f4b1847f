//! What is refused: one clear message, with what to do; then it goes on.

use super::{Shop, all_of, fault_of, poll, source};
use crate::support::postgres::PostgresOptions;
use serde_json::json;
use std::panic::Location;

// What a source of these tables says as this user, and what to do.
async fn said(shop: &Shop, url: &str, tables: &[&str]) -> (String, String) {
    shop.sources.run(vec![source("shop", url, all_of(tables))]).await;
    fault_of(Location::caller(), &shop.sources, "shop").await
}

#[tokio::test]
async fn tables_that_cannot_be_read_are_named_with_what_to_do() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY); CREATE VIEW v AS SELECT * FROM t;
        CREATE MATERIALIZED VIEW m AS SELECT * FROM t; CREATE TABLE keyless (id int);
        CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
        CREATE TABLE silent (id int PRIMARY KEY); ALTER TABLE silent REPLICA IDENTITY NOTHING;
        CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10);
";
    let shop = Shop::open(sql, &["t"]).await;
    let url = shop.db.url();
    for (table, message, remedy) in [
        (
            "none",
            "there is no table `none` in the database `postgres`",
            "name it as `schema.table` where it is not in the schema `public`, or make it",
        ),
        (
            "v",
            "`public.v` is a view, which has no changes of its own",
            "name the tables it is made of, or have a trigger keep a table of what it shows",
        ),
        (
            "m",
            "`public.m` is a materialized view, which has no changes of its own",
            "name the tables it is made of, or have a trigger keep a table of what it shows",
        ),
        (
            "keyless",
            "`public.keyless` has no primary key: its rows have no names",
            "give it a primary key: ALTER TABLE \"public\".\"keyless\" ADD PRIMARY KEY (id); or choose a unique index of columns that are never null: \
             ALTER TABLE \"public\".\"keyless\" REPLICA IDENTITY USING INDEX name;",
        ),
        (
            "unlogged",
            "`public.unlogged` is unlogged: its changes are in no log",
            "ALTER TABLE \"public\".\"unlogged\" SET LOGGED;",
        ),
        (
            "silent",
            "`public.silent` has REPLICA IDENTITY NOTHING",
            "ALTER TABLE \"public\".\"silent\" REPLICA IDENTITY DEFAULT;",
        ),
        ("part", "`public.part` is a partition", "name the table it is a part of"),
    ] {
        assert_eq!(said(&shop, &url, &[table]).await, (message.to_owned(), remedy.to_owned()));
    }
    let (message, remedy) = said(&shop, &url, &["keyle*"]).await;
    assert_eq!(message, "no table of the database `postgres` can be read");
    assert_eq!(remedy, "name tables that have a primary key in `tables`");
    // What is mended is read.
    shop.sources.run(vec![source("shop", &url, all_of(&["keyless"]))]).await;
    shop.fault().await;
    shop.db.psql("ALTER TABLE keyless ADD PRIMARY KEY (id); INSERT INTO keyless VALUES (1)").await;
    assert!(shop.sources.resume("shop").await);
    shop.until_rows("keyless", json!({"1": {"id": 1}})).await;
}

#[tokio::test]
async fn users_without_rights_are_told_which_they_need() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY); CREATE ROLE plain LOGIN PASSWORD 'x';
        CREATE ROLE replicates LOGIN REPLICATION PASSWORD 'x'; CREATE ROLE owner LOGIN REPLICATION PASSWORD 'x';
        GRANT CREATE ON DATABASE postgres TO replicates; INSERT INTO t VALUES (1)";
    let shop = Shop::open(sql, &["t"]).await;
    shop.until("live").await;
    let (db, port) = (&shop.db, shop.db.port());
    let (message, remedy) = said(&shop, &db.url_of("plain", "x", "postgres"), &["t"]).await;
    assert_eq!(message, "the role `plain` may not replicate");
    assert_eq!(remedy, "ALTER ROLE \"plain\" REPLICATION;");
    let (message, remedy) = said(&shop, &db.url_of("replicates", "x", "postgres"), &["t"]).await;
    assert_eq!(message, "`replicates` may not read `public.t`");
    assert_eq!(
        remedy,
        "GRANT USAGE ON SCHEMA \"public\" TO \"replicates\"; GRANT SELECT ON \"public\".\"t\" TO \"replicates\";"
    );
    db.psql(&remedy).await;
    let (message, remedy) = said(&shop, &db.url_of("postgres", "wrong", "postgres"), &["t"]).await;
    assert_eq!(message, format!("PostgreSQL at 127.0.0.1:{port}/postgres as postgres refused the password"));
    assert_eq!(remedy, "check the user and the password in the URL, PGPASSWORD or ~/.pgpass (mode 0600)");
    let (message, remedy) = said(&shop, &db.url_of("postgres", "p@ss:w/rd", "nowhere"), &["t"]).await;
    assert_eq!(
        message,
        format!("PostgreSQL at 127.0.0.1:{port}/nowhere as postgres: there is no such database")
    );
    assert_eq!(remedy, "check the database's name in the URL, or create it");
    // Without the publication, one who does not own the table cannot make it.
    db.psql("DROP PUBLICATION riacho_shop").await;
    let (message, remedy) = said(&shop, &db.url_of("replicates", "x", "postgres"), &["t"]).await;
    assert!(message.ends_with("refused for lack of rights: must be owner of table t"), "{message}");
    let sql = "CREATE PUBLICATION \"riacho_shop\" FOR TABLE ONLY \"public\".\"t\" WITH (publish_via_partition_root = true)";
    assert!(remedy.contains(sql) && remedy.contains("`publication`"), "{remedy}");
    db.psql(sql).await;
    let mut settings = source("shop", &db.url_of("replicates", "x", "postgres"), all_of(&["t"]));
    if let riacho::source::Database::Postgres(postgres) = &mut settings.database {
        postgres.publication = Some("riacho_shop".to_owned());
    }
    shop.sources.run(vec![settings]).await;
    shop.until("live").await;
    shop.until_rows("t", json!({"1": {"id": 1}})).await;
    assert!(!format!("{:?}", shop.sources.list()).contains("p@ss"));
}

#[tokio::test]
async fn servers_that_are_not_set_up_are_told_how() {
    let options = PostgresOptions { settings: vec!["wal_level = replica".to_owned()], ..Default::default() };
    let mut shop =
        Shop::with(options, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)", all_of(&["t"]))
            .await;
    let (message, remedy) = shop.fault().await;
    assert_eq!(message, "`wal_level` is `replica`, which leaves out what logical replication needs");
    assert_eq!(remedy, "ALTER SYSTEM SET wal_level = logical; then restart PostgreSQL");
    for setting in ["wal_level = logical", "max_replication_slots = 0"] {
        shop.db.psql(&format!("ALTER SYSTEM SET {setting}")).await;
    }
    shop.db = shop.db.restart().await;
    assert!(shop.sources.resume("shop").await);
    let (message, remedy) = poll(Location::caller(), "another fault".to_owned(), async || {
        let (said, remedy) = shop.fault().await;
        if said.contains("slots") { Ok((said, remedy)) } else { Err(said) }
    })
    .await;
    assert!(message.contains("slots"), "{message}: {remedy}");
    assert!(remedy.contains("max_replication_slots"), "{message}: {remedy}");
    shop.db.psql("ALTER SYSTEM SET max_replication_slots = 1").await;
    shop.db = shop.db.restart().await;
    assert!(shop.sources.resume("shop").await);
    shop.until_rows("t", json!({"1": {"id": 1}})).await;
    shop.until("live").await;
    let second = source(
        "second",
        &shop.db.url(),
        vec![riacho::source::TableSettings {
            name: Some("t2".to_owned()),
            ..riacho::source::TableSettings::all_of("t")
        }],
    );
    shop.sources.run(vec![shop.settings.clone(), second]).await;
    let (message, remedy) = fault_of(Location::caller(), &shop.sources, "second").await;
    assert!(message.contains("all replication slots are in use"), "{message}");
    assert!(
        remedy.contains("max_replication_slots") && remedy.contains("pg_drop_replication_slot"),
        "{remedy}"
    );
    shop.db.psql("INSERT INTO t VALUES (2)").await;
    shop.until_rows("t", json!({"1": {"id": 1}, "2": {"id": 2}})).await;
}

#[tokio::test]
async fn a_standby_is_told_from_a_primary() {
    let shop = Shop::open("CREATE TABLE t (id int PRIMARY KEY)", &["t"]).await;
    shop.until("live").await;
    let standby = shop.db.standby().await;
    let (message, remedy) = said(&shop, &standby.url(), &["t"]).await;
    assert_eq!(message, "this server is a standby");
    assert_eq!(remedy, "give the address of the primary, or several hosts");
}

#[tokio::test]
async fn rows_that_a_policy_hides_are_refused_and_not_left_out() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);
        ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY one ON t USING (id = 1);
        CREATE PUBLICATION given FOR TABLE t;
        CREATE ROLE reader LOGIN REPLICATION PASSWORD 'x'; GRANT SELECT ON t TO reader;";
    let mut shop = Shop::open(sql, &[]).await;
    let url = shop.db.url_of("reader", "x", "postgres");
    shop.settings = source("shop", &url, all_of(&["t"]));
    shop.postgres().publication = Some("given".to_owned());
    shop.run().await;
    let (message, _) = shop.fault().await;
    assert!(
        message.ends_with("query would be affected by row-level security policy for table \"t\""),
        "{message}"
    );
    shop.db.psql("ALTER ROLE reader BYPASSRLS").await;
    assert!(shop.sources.resume("shop").await);
    shop.until("live").await;
    shop.until_rows("t", json!({"1": {"id": 1}, "2": {"id": 2}})).await;
}

#[tokio::test]
async fn keys_that_are_checked_late_are_none() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED); INSERT INTO t VALUES (1)";
    let shop = Shop::open(sql, &["t"]).await;
    let (message, _) = shop.fault().await;
    assert_eq!(message, "`public.t` has no primary key: its rows have no names");
    shop.db.psql("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id)").await;
    assert!(shop.sources.resume("shop").await);
    shop.until_rows("t", json!({"1": {"id": 1}})).await;
}
