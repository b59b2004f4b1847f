//! What sources write to the log: whole transactions over several tables, what differs, what is remembered.

use crate::{live_tables::Reader, support::TestServer};
use riacho::log::{AppendError, Becomes, Note, SourceChange, SourceWrite, Transaction};
use riacho_core::name::StreamName;
use serde_json::json;

#[tokio::test]
async fn transaction_over_two_tables_is_one_group_to_who_reads_both_and_whole_to_who_reads_one() {
    let server = TestServer::start().await;
    write(&server, vec![transaction("0", &[("a", "1", Some("{\"n\":0}")), ("b", "1", Some("{\"n\":0}"))])])
        .await;
    let both = "/streams?table=a&table=b";
    let mut readers = vec![
        Reader::open(&server, "/tables/a", "").await,
        Reader::open(&server, "/tables/b", "").await,
        Reader::open(&server, both, "").await,
    ];
    for reader in &mut readers[..2] {
        reader.until(json!({ "1": { "n": 0 } })).await;
    }
    readers[2].group().await;
    let targets = ["/tables/a", "/tables/b", both];
    for n in 1..4 {
        let row = format!("{{\"n\":{n}}}");
        let (txid, row) = (n.to_string(), Some(row.as_str()));
        // `a` has the first and the last word.
        write(&server, vec![transaction(&txid, &[("a", "1", row), ("b", "1", row), ("a", "2", row)])]).await;
        for (at, changes) in [2, 1, 3].into_iter().enumerate() {
            let reader = &mut readers[at];
            let before = reader.seen.len();
            reader.group().await;
            let seen = &reader.seen[before..];
            assert_eq!(seen.len(), changes, "{seen:?}");
            // Who is back may still be told by the rows as they are.
            if n > 1 {
                continue;
            }
            assert!(seen.iter().all(|message| message["headers"]["txid"] == txid), "{seen:?}");
            let lasts = seen.iter().filter(|message| message["headers"]["last"] == true).count();
            assert_eq!((lasts, &seen[changes - 1]["headers"]["last"]), (1, &json!(true)), "{seen:?}");
        }
        // Who comes back is told nothing twice, though its view holds the transaction's other end.
        let mut back = Vec::new();
        for (reader, target) in readers.into_iter().zip(targets) {
            back.push(reader.reopen(&server, target).await);
        }
        readers = back;
    }
}

#[tokio::test]
async fn reader_of_every_step_gets_a_transaction_of_other_tables_whole_from_the_log() {
    let server = TestServer::start().await;
    let target = "/tables/b?conflate=0";
    let mut reader = Reader::open(&server, target, "").await;
    write(&server, vec![transaction("0", &[("b", "1", Some("{}"))])]).await;
    reader.until(json!({ "1": {} })).await;
    let away = reader;
    let changes = [("b", "1", Some("{\"n\":1}")), ("b", "2", Some("{\"n\":1}")), ("a", "1", Some("{}"))];
    write(&server, vec![transaction("1", &changes), transaction("2", &[("a", "2", Some("{}"))])]).await;
    let mut reader = away.reopen(&server, target).await;
    reader.group().await;
    assert_eq!(reader.seen.len(), 2, "{:?}", reader.seen);
    assert_eq!(reader.seen[1]["headers"], {
        let headers = reader.seen[1]["headers"].clone();
        json!({ "operation": "insert", "txid": "1", "last": true, "timestamp": headers["timestamp"] })
    });
}

#[tokio::test]
async fn only_what_differs_is_a_change() {
    let server = TestServer::start().await;
    let rows = [("t", "1", Some("{\"n\":1}")), ("t", "2", Some("{\"n\":2}"))];
    write(&server, vec![transaction("1", &rows)]).await;
    let before = server.log().published();
    let again = [
        ("t", "1", Some("{\"n\":9}")),
        ("t", "1", Some("{\"n\":1}")),
        ("t", "3", Some("{}")),
        ("t", "3", None),
    ];
    let appended = server.log().write_source(source(vec![transaction("2", &again)], &[])).await.unwrap();
    assert_eq!((appended.count, server.log().published()), (0, before));
    let mut reader = Reader::open(&server, "/tables/t", "").await;
    reader.group().await;
    let changes = [("t", "1", Some("{\"n\":9}")), ("t", "2", Some("{\"n\":2}")), ("t", "9", None)];
    write(&server, vec![transaction("3", &changes)]).await;
    reader.until(json!({ "1": { "n": 9 }, "2": { "n": 2 } })).await;
}

#[tokio::test]
async fn row_told_in_part_has_the_rest_of_the_row_before() {
    let server = TestServer::start().await;
    let row = "{\"id\":1,\"big\":\"aaa\",\"gone\":0}";
    write(&server, vec![transaction("1", &[("t", "1", Some(row))])]).await;
    let merged = |key: &str, from: &str, n: &str| SourceChange {
        table: StreamName::of_table("t").unwrap(),
        key: key.into(),
        becomes: Becomes::Merged {
            from: from.into(),
            members: vec![
                ("id".into(), Some(n.into())),
                ("big".into(), None),
                ("new".into(), Some("null".into())),
            ],
        },
    };
    // Under another key, and from what the same transaction made of it.
    let mut changes = transaction("2", &[("t", "1", None)]);
    changes.changes.insert(0, merged("2", "1", "2"));
    changes.changes.push(merged("3", "2", "3"));
    write(&server, vec![changes]).await;
    let mut reader = Reader::open(&server, "/tables/t", "").await;
    let row = |id| json!({ "id": id, "big": "aaa", "new": null });
    reader.until(json!({ "2": row(2), "3": row(3) })).await;

    // Of a row that is not there nothing of the write is taken, what came before it in the same write with it.
    let published = server.log().published();
    let unknown = Transaction { txid: Some("4".into()), changes: vec![merged("5", "5", "5")] };
    let refused =
        server.log().write_source(source(vec![transaction("3", &[("t", "2", None)]), unknown], &["x"])).await;
    assert!(matches!(refused, Err(AppendError::Unfit(_))), "{refused:?}");
    assert_eq!((server.log().published(), server.log().note("x")), (published, None));
    write(&server, vec![transaction("5", &[("t", "2", Some("{\"id\":0}"))])]).await;
    reader.until(json!({ "2": { "id": 0 }, "3": row(3) })).await;
}

#[tokio::test]
async fn notes_are_kept_with_their_transactions_and_over_restarts() {
    let server =
        TestServer::with("[[source]]\nname = \"s\"\npostgres = \"postgres://nobody@127.0.0.1:1/x\"\n").await;
    server
        .log()
        .write_source(source(vec![transaction("1", &[("t", "1", Some("{}"))])], &["s/a", "s/b", "other/a"]))
        .await
        .unwrap();
    let gone = Note { name: "s/b".into(), value: Box::default() };
    let write = SourceWrite { notes: vec![gone], ..source(Vec::new(), &[]) };
    server.log().write_source(write).await.unwrap();
    let server = server.restart().await;
    assert_eq!(server.log().note("s/a").as_deref(), Some(&b"noted"[..]));
    assert_eq!(server.log().note("s/b"), None);
    // Of a source that is no more nothing is believed.
    assert_eq!(server.log().note("other/a"), None);
    assert_eq!(server.get("/tables/t/1").await.text(), "{}");
}

#[tokio::test]
async fn what_fits_no_commit_is_refused_and_what_follows_is_not() {
    let server = TestServer::start().await;
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(900_000));
    let rows: Vec<(String, String)> = (0..8).map(|n| (n.to_string(), large.clone())).collect();
    let rows: Vec<_> = rows.iter().map(|(key, row)| ("t", key.as_str(), Some(row.as_str()))).collect();
    let refused = server.log().write_source(source(vec![transaction("1", &rows)], &[])).await;
    assert!(matches!(refused, Err(AppendError::TooLarge)), "{refused:?}");
    assert_eq!(server.log().published(), 0);
    write(&server, vec![transaction("2", &rows[..2])]).await;
    assert_eq!(server.log().published(), 2);
}

#[tokio::test]
async fn table_of_a_source_that_was_never_reached_is_not_taken_for_an_empty_one() {
    let source = |tables: &str| {
        format!(
            "[[source]]\nname = \"away\"\npostgres = \"postgres://nobody@127.0.0.1:1/shop\"\ntables = [{tables}]\n"
        )
    };
    let server = TestServer::with(&source("\"public.orders\", { table = \"x\", as = \"y\" }")).await;
    for table in ["orders", "y"] {
        server.get(&format!("/tables/{table}")).await.problem(503, "table_not_ready", true);
        server.get(&format!("/tables/{table}/1")).await.problem(503, "table_not_ready", true);
    }
    assert_eq!(server.get("/tables/other").await.status, 200);
    // What a pattern will find nobody knows yet; what is there is nobody's but its writers'.
    let server = server.restart_with(&source("\"*\"")).await;
    server.get("/tables/other").await.problem(503, "table_not_ready", true);
    server.request("PUT", "/tables/own/1", "Content-Type: application/json\r\n", "{}").await;
    assert_eq!(server.get("/tables/own/1").await.text(), "{}");
    let mut reader = Reader::open(&server, "/tables/later", "").await;
    server.request("PUT", "/tables/later/1", "Content-Type: application/json\r\n", "{}").await;
    reader.until(json!({ "1": {} })).await;
}

#[tokio::test]
async fn first_copy_of_a_table_leaves_in_memory_what_others_read() {
    let server = TestServer::start().await;
    let table = StreamName::of_table("t").unwrap();
    server.log().feed(&table, &"s".into(), false).unwrap();
    server.publish("x", "before").await;
    let kept = server.metric("riacho_tail_bytes").await;
    let mut reader = server.subscribe_after("x", "").await;
    write(&server, vec![transaction("1", &[("t", "1", Some("{}")), ("t", "2", Some("{}"))])]).await;
    assert_eq!(server.metric("riacho_tail_bytes").await, kept);
    server.publish("x", "after").await;
    assert_eq!(reader.next().await.data, "after");
    let mut all = server.sse("/streams/x?from=earliest", "").await;
    assert_eq!(all.data(2).await, ["before", "after"]);
    server.log().table_ready(&table);
    write(&server, vec![transaction("2", &[("t", "2", Some("{\"n\":2}")), ("t", "1", None)])]).await;
    assert!(server.metric("riacho_tail_bytes").await > kept);
    let mut reader = Reader::open(&server, "/tables/t", "").await;
    reader.until(json!({ "2": { "n": 2 } })).await;
    // Its history has the copy too.
    let server = server.restart().await;
    assert_eq!(server.get("/tables/t/2").await.text(), "{\"n\":2}");
}

async fn write(server: &TestServer, transactions: Vec<Transaction>) {
    server.log().write_source(source(transactions, &[])).await.unwrap();
}

fn source(transactions: Vec<Transaction>, notes: &[&str]) -> SourceWrite {
    let note = |name: &&str| Note { name: (*name).into(), value: Box::from(&b"noted"[..]) };
    SourceWrite { source: "s".into(), transactions, notes: notes.iter().map(note).collect() }
}

fn transaction(txid: &str, changes: &[(&str, &str, Option<&str>)]) -> Transaction {
    let change = |(table, key, row): &(&str, &str, Option<&str>)| SourceChange {
        table: StreamName::of_table(table).unwrap(),
        key: (*key).into(),
        becomes: row.map_or(Becomes::Gone, |row| Becomes::Row(row.into())),
    };
    Transaction { txid: Some(txid.into()), changes: changes.iter().map(change).collect() }
}
