//! Tables read live over real sockets: the rows once, then only what changed.

use crate::support::{At, Connection, Item, Parser, TestServer, patient};
use serde_json::{Value, json};
use std::{collections::BTreeMap, panic::Location};

/// A page with an `EventSource` on a table: applies groups as they are complete, and comes back with its cursor.
pub(crate) struct Reader {
    connection: Connection,
    parser: Parser,
    /// What the browser would send as `Last-Event-ID`.
    cursor: String,
    pub(crate) rows: BTreeMap<String, Value>,
    /// Messages of the group that is not complete.
    group: Vec<Value>,
    pub(crate) resets: Vec<Value>,
    /// Messages about rows, in order, of complete groups.
    pub(crate) seen: Vec<Value>,
}

impl Reader {
    #[track_caller]
    pub(crate) fn open(
        server: &TestServer,
        target: &str,
        cursor: &str,
    ) -> impl Future<Output = Self> + use<> {
        let (at, address) = (Location::caller(), server.address());
        let resume = if cursor.is_empty() { String::new() } else { format!("Last-Event-ID: {cursor}\r\n") };
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: riacho\r\nAccept: text/event-stream\r\n{resume}\r\n");
        let cursor = cursor.to_owned();
        async move {
            let mut connection = Connection::open(address).await;
            connection.asked_at(at);
            connection.send(request).await;
            let head = connection.head().await;
            assert_eq!(head.status, 200, "{at}: {head:?}");
            let rows = BTreeMap::new();
            let (group, resets, seen) = (Vec::new(), Vec::new(), Vec::new());
            Self { connection, parser: Parser::default(), cursor, rows, group, resets, seen }
        }
    }

    /// Comes back where it was, with what it has.
    #[track_caller]
    pub(crate) fn reopen(self, server: &TestServer, target: &str) -> impl Future<Output = Self> + use<> {
        let opened = Self::open(server, target, &self.cursor);
        async move { Self { rows: self.rows, ..opened.await } }
    }

    /// Reads until a group is complete.
    #[track_caller]
    pub(crate) fn group(&mut self) -> impl Future<Output = ()> {
        let at = Location::caller();
        patient(at, "a group", self.read_group(at))
    }

    /// Reads on until the rows are these.
    #[track_caller]
    pub(crate) fn until(&mut self, rows: Value) -> impl Future<Output = ()> {
        let at = Location::caller();
        let rows: BTreeMap<String, Value> = serde_json::from_value(rows).unwrap();
        async move {
            while self.rows != rows {
                let what = format!("{rows:?} after {:?}", self.rows);
                patient(at, &what, self.read_group(at)).await;
            }
        }
    }

    async fn read_group(&mut self, at: At) {
        loop {
            let Some(item) = self.parser.next() else {
                let piece = self.connection.piece().await;
                self.parser.push(&piece.unwrap_or_else(|| panic!("{at}: the stream ended")));
                continue;
            };
            match item {
                Item::Event(event) if event.event_type == "riacho.reset" => {
                    self.resets.push(serde_json::from_str(&event.data).unwrap());
                    self.cursor = event.id;
                    self.group.clear();
                    self.rows.clear();
                }
                Item::Event(event) => {
                    self.group.push(serde_json::from_str(&event.data).unwrap());
                    if event.id != self.cursor {
                        self.cursor = event.id;
                        return self.apply(at);
                    }
                }
                Item::Block(block) => {
                    if let Some(id) = block.id {
                        assert!(self.group.is_empty(), "{at}: an id in the middle of {:?}", self.group);
                        self.cursor = id;
                    }
                }
                Item::Comment(_) => {}
            }
        }
    }

    fn apply(&mut self, at: At) {
        let txids: Vec<&Value> = self.group.iter().map(|message| &message["headers"]["txid"]).collect();
        let snapshot = self.group.iter().any(|message| message["headers"]["control"] != Value::Null);
        if !snapshot {
            assert!(txids.windows(2).all(|pair| pair[0] == pair[1]), "{at}: {:?}", self.group);
            assert!(txids.len() == 1 || !txids[0].is_null(), "{at}: {:?}", self.group);
        }
        for message in std::mem::take(&mut self.group) {
            let key = message["key"].as_str().unwrap_or_default().to_owned();
            match (message["headers"]["operation"].as_str(), message["headers"]["control"].as_str()) {
                (Some("delete"), _) => drop(self.rows.remove(&key)),
                (Some(_), _) => drop(self.rows.insert(key, message["value"].clone())),
                (None, Some("snapshot-start")) => self.rows.clear(),
                (None, Some("snapshot-end")) => continue,
                other => panic!("{at}: {other:?} in {message}"),
            }
            if message["key"] != Value::Null {
                self.seen.push(message);
            }
        }
    }

    /// The transactions of the changes so far; empty where there was none.
    pub(crate) fn txids(&self) -> Vec<&str> {
        self.seen.iter().map(|message| message["headers"]["txid"].as_str().unwrap_or_default()).collect()
    }

    pub(crate) fn operations(&self) -> Vec<(String, String)> {
        let text = |value: &'_ Value| value.as_str().unwrap().to_owned();
        self.seen.iter().map(|m| (text(&m["headers"]["operation"]), text(&m["key"]))).collect()
    }
}

/// The same, to compare with.
pub(crate) fn told(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(operation, key)| ((*operation).to_owned(), (*key).to_owned())).collect()
}

const JSON: &str = "Content-Type: application/json\r\n";

#[track_caller]
fn put(server: &TestServer, table: &str, key: &str, value: Value) -> impl Future<Output = String> + use<> {
    let put = server.request("PUT", &format!("/tables/{table}/{key}"), JSON, &value.to_string());
    async move {
        let answer = put.await;
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        answer.json()["cursor"].as_str().unwrap().to_owned()
    }
}

#[track_caller]
fn delete(server: &TestServer, table: &str, key: &str) -> impl Future<Output = ()> + use<> {
    let delete = server.request("DELETE", &format!("/tables/{table}/{key}"), "", "");
    async move { assert_eq!(delete.await.status, 200) }
}

#[track_caller]
fn batch(server: &TestServer, table: &str, changes: Value) -> impl Future<Output = Value> + use<> {
    let post = server.post(&format!("/tables/{table}"), JSON, &changes.to_string());
    async move {
        let answer = post.await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }
}

fn upsert(key: &str, value: Value) -> Value {
    json!({"key": key, "value": value, "headers": {"operation": "upsert"}})
}

#[tokio::test]
async fn a_page_gets_the_rows_once_and_then_only_what_changes() {
    let server = TestServer::start().await;
    put(&server, "stocks", "MSFT", json!({"price": 300.45})).await;
    put(&server, "stocks", "SAP", json!({"price": 120})).await;

    let mut page = Reader::open(&server, "/tables/stocks", "").await;
    page.group().await;
    assert_eq!(
        page.rows,
        BTreeMap::from([
            ("MSFT".to_owned(), json!({"price": 300.45})),
            ("SAP".to_owned(), json!({"price": 120})),
        ])
    );

    let cursor = put(&server, "stocks", "MSFT", json!({"price": 301})).await;
    page.group().await;
    assert_eq!(page.cursor, cursor, "the id of a change is what its writer was answered");
    put(&server, "stocks", "X", json!({})).await;
    delete(&server, "stocks", "SAP").await;
    page.until(json!({"MSFT": {"price": 301}, "X": {}})).await;
    let operations: Vec<_> = page.operations().split_off(2);
    assert_eq!(operations, told(&[("update", "MSFT"), ("insert", "X"), ("delete", "SAP")]));
    assert_eq!(page.resets, Vec::<Value>::new());
}

#[tokio::test]
async fn a_table_that_is_not_there_yet_is_an_empty_snapshot() {
    let server = TestServer::start().await;
    let mut page = Reader::open(&server, "/tables/new", "").await;
    page.group().await;
    assert!(page.rows.is_empty());
    put(&server, "new", "a", json!({"n": 1})).await;
    page.until(json!({"a": {"n": 1}})).await;
}

#[tokio::test]
async fn a_reader_that_comes_back_gets_what_it_missed_and_nothing_else() {
    let mut server = TestServer::start().await;
    for key in ["a", "b", "c", "d"] {
        put(&server, "t", key, json!({"n": 0})).await;
    }
    let mut page = Reader::open(&server, "/tables/t", "").await;
    page.group().await;
    for round in 1..4 {
        put(&server, "t", "a", json!({"n": round})).await;
        if round > 1 {
            server = server.restart().await;
        }
        put(&server, "t", "a", json!({"n": round * 10})).await;
        delete(&server, "t", "b").await;
        put(&server, "t", "new", json!({"n": round})).await;
        page = page.reopen(&server, "/tables/t").await;
        page.until(json!({"a": {"n": round * 10}, "new": {"n": round}, "c": {"n": 0}, "d": {"n": 0}})).await;
        let mut operations = page.operations();
        operations.sort();
        let new = if round == 1 { "insert" } else { "update" };
        let mut wanted = told(&[("delete", "b"), (new, "new"), ("update", "a")]);
        wanted.sort();
        // Where every step was still in the view they come one by one; where they did not, as one group.
        operations.dedup();
        assert_eq!(operations, wanted, "round {round}");
        assert_eq!(page.resets, Vec::<Value>::new());
        put(&server, "t", "b", json!({"n": 0})).await;
        page.until(
            json!({"a": {"n": round * 10}, "b": {"n": 0}, "new": {"n": round}, "c": {"n": 0}, "d": {"n": 0}}),
        )
        .await;
    }
}

#[tokio::test]
async fn a_batch_is_one_group_with_one_txid() {
    let server = TestServer::start().await;
    let mut page = Reader::open(&server, "/tables/t", "").await;
    page.group().await;
    let answer =
        batch(&server, "t", json!([upsert("a", json!({"n": 1})), upsert("b", json!({"n": 1}))])).await;
    page.group().await;
    assert_eq!(page.rows.len(), 2, "both at once");
    assert_eq!(page.cursor, answer["cursor"].as_str().unwrap());
    assert_eq!(page.seen[0]["headers"]["txid"], answer["txid"]);
    assert_eq!(page.seen[0]["headers"]["last"], Value::Null);
    assert_eq!(page.seen[1]["headers"]["last"], true);
}

#[tokio::test]
async fn rows_move_in_and_out_of_a_predicate() {
    let server = TestServer::start().await;
    put(&server, "orders", "1", json!({"status": "open", "note": "x"})).await;
    put(&server, "orders", "2", json!({"status": "done", "note": "x"})).await;
    let target = "/tables/orders?where=status+%3D+%241&params=%5B%22open%22%5D&columns=status";
    let mut page = Reader::open(&server, target, "").await;
    page.group().await;
    assert_eq!(serde_json::to_value(&page.rows).unwrap(), json!({"1": {"status": "open"}}));
    put(&server, "orders", "2", json!({"status": "open", "note": "x"})).await;
    put(&server, "orders", "1", json!({"status": "open", "note": "only this changed"})).await;
    put(&server, "orders", "1", json!({"status": "done", "note": "y"})).await;
    put(&server, "orders", "3", json!({"status": "done"})).await;
    delete(&server, "orders", "2").await;
    put(&server, "orders", "4", json!({"status": "open"})).await;
    page.until(json!({"4": {"status": "open"}})).await;
    assert_eq!(
        page.operations(),
        told(&[("insert", "1"), ("insert", "2"), ("delete", "1"), ("delete", "2"), ("insert", "4")])
    );
}

#[tokio::test]
async fn bad_cursors_are_told_and_followed_by_a_snapshot_on_the_same_connection() {
    let server = TestServer::start().await;
    put(&server, "t", "a", json!({"n": 1})).await;
    let cursor = put(&server, "t", "b", json!({"n": 1})).await;
    let (epoch, _) = cursor.split_once('-').unwrap();
    for (bad, reason) in [("???", "malformed"), ("1-1", "epoch"), (&*format!("{epoch}-ffff"), "ahead")] {
        let mut page = Reader::open(&server, "/tables/t", bad).await;
        page.until(json!({"a": {"n": 1}, "b": {"n": 1}})).await;
        assert_eq!(page.resets, [json!({"reason": reason, "streams": [], "tables": ["t"]})]);
        put(&server, "t", "c", json!({})).await;
        page.until(json!({"a": {"n": 1}, "b": {"n": 1}, "c": {}})).await;
        delete(&server, "t", "c").await;
    }
}

#[tokio::test]
async fn an_emptied_table_tells_its_readers_and_those_who_were_away() {
    let server = TestServer::start().await;
    put(&server, "t", "a", json!({"n": 1})).await;
    let mut here = Reader::open(&server, "/tables/t", "").await;
    here.group().await;
    let mut away = Reader::open(&server, "/tables/t", "").await;
    away.group().await;
    let cursor = away.cursor.clone();
    drop(away);
    assert_eq!(server.request("DELETE", "/tables/t", "", "").await.status, 200);
    put(&server, "t", "b", json!({"n": 2})).await;
    here.until(json!({"b": {"n": 2}})).await;
    assert_eq!(here.resets[0]["reason"], "deleted");
    let mut away = Reader::open(&server, "/tables/t", &cursor).await;
    away.until(json!({"b": {"n": 2}})).await;
    assert_eq!(away.resets[0]["reason"], "trimmed");
}

#[tokio::test]
async fn a_paced_reader_gets_the_newest_state_and_never_loses_the_last() {
    let server = TestServer::start().await;
    put(&server, "t", "a", json!({"n": 0})).await;
    let mut page = Reader::open(&server, "/tables/t?min_interval=200ms", "").await;
    page.group().await;
    for n in 1..=100 {
        put(&server, "t", "a", json!({"n": n})).await;
    }
    page.until(json!({"a": {"n": 100}})).await;
    assert!(page.seen.len() < 90, "{} messages about 100 changes", page.seen.len());
}

#[tokio::test]
async fn tables_and_streams_share_a_connection() {
    let server = TestServer::start().await;
    put(&server, "a", "1", json!({"n": 1})).await;
    put(&server, "b", "1", json!({"n": 2})).await;
    let mut both = Reader::open(&server, "/streams?table=a&table=b", "").await;
    both.group().await;
    assert_eq!(both.seen.iter().map(|m| m["type"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
    put(&server, "b", "2", json!({})).await;
    both.group().await;
    assert_eq!(both.seen[2]["type"], "b");
    let cursor = both.cursor.clone();
    drop(both);
    put(&server, "a", "3", json!({})).await;
    put(&server, "b", "3", json!({})).await;
    let mut both = Reader::open(&server, "/streams?table=a&table=b", &cursor).await;
    while both.seen.len() < 2 {
        both.group().await;
    }
    assert_eq!(both.operations(), told(&[("insert", "3"), ("insert", "3")]));
}

#[tokio::test]
async fn changes_of_tables_are_polled_and_streamed_as_lines_alike() {
    let server = TestServer::start().await;
    put(&server, "t", "a", json!({"n": 1})).await;
    let snapshot = server.get("/tables/t").await.json();
    assert_eq!(snapshot["rows"], json!([{"key": "a", "value": {"n": 1}}]));
    let cursor = snapshot["cursor"].as_str().unwrap();
    put(&server, "t", "a", json!({"n": 2})).await;
    batch(&server, "t", json!([upsert("b", json!({})), upsert("c", json!({}))])).await;

    let target = format!("/tables/t?from={cursor}");
    let page = server.request("GET", &target, "Accept: application/json\r\n", "").await.json();
    let keys: Vec<_> =
        page["events"].as_array().unwrap().iter().map(|e| e["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["a", "b", "c"]);
    assert_eq!(page["cursor"], page["events"][2]["id"], "{page}");

    let mut lines = server.lines(&target, "").await;
    for event in page["events"].as_array().unwrap() {
        assert_eq!(&lines.next().await.unwrap(), event);
    }
    // A poll that waits is answered by the next change.
    let after = page["cursor"].as_str().unwrap();
    let target = format!("/tables/t?last_event_id={after}&wait=20s");
    let waiting = server.request("GET", &target, "Accept: application/json\r\n", "");
    let waiting = tokio::spawn(waiting);
    delete(&server, "t", "a").await;
    let page = waiting.await.unwrap().json();
    assert_eq!(page["events"][0]["headers"]["operation"], "delete", "{page}");
}

#[tokio::test]
async fn a_write_after_an_emptying_finds_no_row_even_in_the_same_commit() {
    let server = TestServer::start().await;
    for _ in 0..60 {
        put(&server, "t", "a", json!({"n": 1})).await;
        let patches = (0..8).map(|n| {
            let patch = json!({ "n": n }).to_string();
            server.request("PATCH", "/tables/t/a", JSON, &patch)
        });
        let patches: Vec<_> = patches.map(tokio::spawn).collect();
        let emptied = server.request("DELETE", "/tables/t", "", "").await.json();
        for patch in patches {
            let patch = patch.await.unwrap();
            if patch.status == 200 {
                let (patch, emptied) = (patch.json()["cursor"].clone(), emptied["cursor"].clone());
                assert!(offset(&patch) < offset(&emptied), "{patch} is of a row that {emptied} took away");
            } else {
                patch.problem(404, "row_unknown", false);
            }
        }
        assert_eq!(server.get("/tables/t").await.json()["rows"], json!([]));
    }
}

fn offset(cursor: &Value) -> u64 {
    u64::from_str_radix(cursor.as_str().unwrap().split_once('-').unwrap().1, 16).unwrap()
}

#[tokio::test]
async fn beyond_the_bound_of_views_a_page_is_told_to_come_back_and_others_why() {
    let server = TestServer::with("[limits]\nviews_max = 1").await;
    let mut page = Reader::open(&server, "/tables/t?where=n+%3E+1", "").await;
    page.group().await;
    let event_stream = "Accept: text/event-stream\r\n";
    let other = server.request("GET", "/tables/t?where=n+%3E+2", event_stream, "").await;
    assert!(other.status == 200 && other.text().starts_with("retry: "), "{other:?}");
    assert_eq!(other.text().lines().count(), 1, "no blank line, by which a client would lose its cursor");
    let lines = server.get("/tables/t?where=n+%3E+2&live=true&from=now").await;
    lines.problem(503, "views_max", true);
    // An equal filter, however it is written, is the same view.
    let mut same = Reader::open(&server, "/tables/t?where=1+%3C+n", "").await;
    same.group().await;
}

#[tokio::test]
async fn a_snapshot_that_has_begun_outlives_the_table_and_a_live_one_ends_with_what_is_there() {
    let server = TestServer::start().await;
    for part in 0..8 {
        let rows = (0..2500).map(|n| upsert(&format!("{part}/{n:04}"), json!({"text": "x".repeat(400)})));
        batch(&server, "t", Value::Array(rows.collect())).await;
    }
    let page = server.get("/tables/t?limit=5000").await.json();
    // More than a socket takes at once: it stands in the middle of the rows.
    let mut live = Reader::open(&server, "/tables/t", "").await;
    assert_eq!(server.request("DELETE", "/tables/t", "", "").await.status, 200);
    put(&server, "t", "new", json!({})).await;

    let next = page["next"].as_str().unwrap();
    let last = server.get(&format!("/tables/t?limit=10000&after={next}")).await.json();
    assert_eq!(last["cursor"], page["cursor"]);
    assert_eq!(last["rows"].as_array().unwrap().len(), 10_000, "the snapshot is of before");
    live.until(json!({"new": {}})).await;
}
