//! What is pushed: events of a function that a stream triggers, and items of an import. No DynamoDB is needed for either.

use crate::{
    live_tables::{Reader, told},
    support::{Connection, Response, TestServer, until},
};
use riacho::{clock, webhook::WebhookSecret};
use riacho_core::name::StreamName;
use serde_json::{Value, json};
use std::{collections::BTreeMap, panic::Location};

/// A server with a source that is pushed to: `orders` by `id`, `lines` by `order` and `n`, `blobs` by a binary `id`.
pub(super) struct Scene {
    pub(super) server: TestServer,
}

impl Scene {
    pub(super) async fn new() -> Self {
        Self { server: TestServer::with(&config("")).await }
    }

    /// One whose tables are whole, and empty.
    pub(super) async fn whole() -> Self {
        let scene = Self::new().await;
        for table in ["orders", "lines", "blobs"] {
            scene.import(table, "empty", 0, true, &[]).await;
        }
        scene
    }

    /// Pushes an event; gives what the function would return.
    #[track_caller]
    pub(super) fn push(&self, records: &[Value]) -> impl Future<Output = Value> + use<> {
        let (at, asked) = (Location::caller(), self.post(EVENTS, &event(records)));
        async move {
            let answer = asked.await;
            assert_eq!(answer.status, 200, "{at}: {}", answer.text());
            answer.json()
        }
    }

    /// Pushes what may be refused; gives the status and the code.
    #[track_caller]
    fn refused(&self, target: &str, body: &str) -> impl Future<Output = (u16, String)> + use<> {
        let asked = self.post(target, body);
        async move { code(&asked.await) }
    }

    #[track_caller]
    fn post(&self, target: &str, body: &str) -> impl Future<Output = Response> + use<> {
        self.server.post(target, &signature(body, clock::now() / 1000), body)
    }

    /// Sends a part of an import; gives the answer.
    #[track_caller]
    fn part(
        &self,
        table: &str,
        import: &str,
        part: u64,
        last: bool,
        items: &[Value],
    ) -> impl Future<Output = Response> + use<> {
        let head = json!({ "import": import, "table": table, "part": part, "last": last });
        let lines: String = std::iter::once(&head).chain(items).map(|line| format!("{line}\n")).collect();
        self.post(ITEMS, &lines)
    }

    #[track_caller]
    fn import(
        &self,
        table: &str,
        import: &str,
        part: u64,
        last: bool,
        items: &[Value],
    ) -> impl Future<Output = ()> + use<> {
        let (at, count) = (Location::caller(), items.len());
        let asked = self.part(table, import, part, last, items);
        async move {
            let answer = asked.await;
            assert_eq!(answer.status, 200, "{at}: {}", answer.text());
            assert_eq!(answer.json(), json!({ "items": count }), "{at}");
        }
    }

    /// The rows of a table.
    pub(super) fn rows(&self, table: &str) -> BTreeMap<String, Value> {
        let stream = StreamName::of_table(table).unwrap();
        let page = self.server.log().rows().snapshot(&stream).unwrap().rows(None, usize::MAX).unwrap();
        page.rows.into_iter().map(|row| (row.key.into(), serde_json::from_str(&row.value).unwrap())).collect()
    }

    /// The values of `n` of the rows of `orders`.
    fn orders(&self) -> Value {
        let rows = self.rows("orders");
        let n = |row: Value| row["n"].clone();
        rows.into_iter().map(|(key, row)| (key, n(row))).collect::<serde_json::Map<_, _>>().into()
    }

    async fn restart(self) -> Self {
        Self { server: self.server.restart().await }
    }
}

/// The configuration; `more` belongs to the source.
fn config(more: &str) -> String {
    let tables = "[{ table = \"orders\", key = [\"id\"] }, { table = \"lines\", key = [\"order\", \"n\"] }, \
                  { table = \"blobs\", key = [\"id\"] }]";
    format!(
        "[[source]]\nname = \"shop\"\ndynamodb = \"eu-west-1\"\ningest_secret = \"{SECRET}\"\nsnapshot = \"import\"\n\
         tables = {tables}\n{more}\n"
    )
}

/// An event as Lambda gives it to a function.
pub(super) fn event(records: &[Value]) -> String {
    json!({ "Records": records }).to_string()
}

/// A record of `table`, of the stream that was made at `label`, as Lambda gives it.
fn record(name: &str, (table, label): (&str, &str), sequence: u64, keys: Value, new: Option<Value>) -> Value {
    let mut change = json!({
        "ApproximateCreationDateTime": 1_479_499_740,
        "Keys": keys,
        "SequenceNumber": format!("4421584500000000{sequence:012}"),
        "SizeBytes": 26,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    });
    if let Some(new) = new {
        change["NewImage"] = new;
    }
    json!({
        "eventID": format!("c4ca4238a0b923820dcc509a6f75849b{sequence}"),
        "eventName": name,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": change,
        "eventSourceARN": format!("arn:aws:dynamodb:eu-west-1:123456789012:table/{table}/stream/{label}"),
    })
}

/// That the order `id` has `n` now.
pub(super) fn put(sequence: u64, id: &str, n: u64) -> Value {
    put_of(LABEL, sequence, id, n)
}

fn put_of(label: &str, sequence: u64, id: &str, n: u64) -> Value {
    let keys = json!({ "id": { "S": id } });
    record("MODIFY", ("orders", label), sequence, keys, Some(order(id, n)))
}

/// That the order `id` is gone.
fn remove(sequence: u64, id: &str) -> Value {
    record("REMOVE", ("orders", LABEL), sequence, json!({ "id": { "S": id } }), None)
}

fn order(id: &str, n: u64) -> Value {
    json!({ "id": { "S": id }, "n": { "N": n.to_string() } })
}

/// What a function returns that could not do this record.
fn failed(sequence: u64) -> Value {
    json!({ "batchItemFailures": [{ "itemIdentifier": format!("4421584500000000{sequence:012}") }] })
}

fn all_taken() -> Value {
    json!({ "batchItemFailures": [] })
}

fn signature(body: &str, seconds: u64) -> String {
    let (id, timestamp) = ("c4ca4238-1", seconds.to_string());
    let signature = WebhookSecret::parse(SECRET).unwrap().sign(id, &timestamp, body.as_bytes());
    format!("webhook-id: {id}\r\nwebhook-timestamp: {timestamp}\r\nwebhook-signature: {signature}\r\n")
}

fn code(answer: &Response) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn an_event_becomes_rows_and_what_readers_are_told() {
    let scene = Scene::whole().await;
    let mut reader = Reader::open(&scene.server, "/tables/orders", "").await;
    reader.group().await;

    let keys = json!({ "id": { "S": "a" } });
    let item = json!({
        "id": { "S": "a" },
        "n": { "N": "1.50" },
        "large": { "N": "12345678901234567890123456789012345678" },
        "tags": { "SS": ["x", "b"] },
        "at": { "M": { "city": { "S": "Porto" }, "none": { "NULL": true } } },
    });
    let events = [
        record("INSERT", ("orders", LABEL), 1, keys.clone(), Some(item)),
        put(2, "b", 2),
        put(3, "c", 3),
        remove(4, "b"),
    ];
    assert_eq!(scene.push(&events).await, all_taken());
    let a = json!({
        "id": "a", "n": 1.5, "large": "12345678901234567890123456789012345678", "tags": ["b", "x"],
        "at": { "city": "Porto", "none": null },
    });
    reader.until(json!({ "a": a, "c": { "id": "c", "n": 3 } })).await;
    let txids: Vec<&Value> = reader.seen.iter().map(|message| &message["headers"]["txid"]).collect();
    assert_eq!(txids[0], "4421584500000000000000000001", "a record is a transaction of its own");

    let mut expired = remove(5, "c");
    expired["userIdentity"] = json!({ "type": "Service", "principalId": "dynamodb.amazonaws.com" });
    assert_eq!(scene.push(&[expired]).await, all_taken());
    reader.until(json!({ "a": a })).await;
    assert_eq!(reader.seen.last().unwrap()["headers"]["txid"], "ttl-4421584500000000000000000005");
    let operations =
        told(&[("insert", "a"), ("insert", "b"), ("insert", "c"), ("delete", "b"), ("delete", "c")]);
    assert_eq!(reader.operations(), operations);
    assert_eq!(scene.server.metric("riacho_pushed_total").await, 5);
}

#[tokio::test]
async fn keys_of_two_attributes_and_of_bytes_and_numbers_name_rows() {
    let scene = Scene::whole().await;
    let line = |order: &str, n: &str| json!({ "order": { "S": order }, "n": { "N": n } });
    let blob = json!({ "id": { "B": "AAEC/w==" } });
    let events = [
        record("INSERT", ("lines", LABEL), 1, line("a", "1"), Some(line("a", "1"))),
        record("INSERT", ("lines", LABEL), 2, line("a", "10"), Some(line("a", "10"))),
        record("REMOVE", ("lines", LABEL), 3, line("a", "1.0"), None),
        record("INSERT", ("blobs", LABEL), 4, blob.clone(), Some(blob)),
    ];
    assert_eq!(scene.push(&events).await, all_taken());
    assert_eq!(scene.rows("lines").into_keys().collect::<Vec<_>>(), ["[\"a\",10]"]);
    assert_eq!(scene.rows("blobs").into_keys().collect::<Vec<_>>(), ["AAEC/w=="]);
}

#[tokio::test]
async fn what_comes_again_changes_nothing_and_is_told_to_nobody() {
    let scene = Scene::whole().await;
    let mut reader = Reader::open(&scene.server, "/tables/orders", "").await;
    reader.group().await;

    let first = [put(1, "a", 1), put(2, "b", 1), put(3, "a", 2)];
    scene.push(&first).await;
    scene.push(&[put(4, "a", 3), remove(5, "b")]).await;
    // The whole batch again after newer records, and by another attempt of the function out of order.
    assert_eq!(scene.push(&first).await, all_taken());
    scene.push(&[put(3, "a", 2), put(1, "a", 1)]).await;
    // The same record twice in one batch.
    scene.push(&[put(6, "c", 1), put(6, "c", 1)]).await;
    // A whole request again, byte for byte, as whoever listened could send it.
    let body = event(&[put(7, "d", 1)]);
    let headers = signature(&body, clock::now() / 1000);
    assert_eq!(scene.server.post(EVENTS, &headers, &body).await.status, 200);
    scene.push(&[put(8, "d", 2)]).await;
    assert_eq!(scene.server.post(EVENTS, &headers, &body).await.json(), all_taken());

    let scene = scene.restart().await;
    assert_eq!(scene.push(&first).await, all_taken());
    assert_eq!(scene.push(&[put(9, "e", 1)]).await, all_taken());
    assert_eq!(scene.orders(), json!({ "a": 3, "c": 1, "d": 2, "e": 1 }));
    let mut reader = reader.reopen(&scene.server, "/tables/orders").await;
    let row = |id: &str, n: u64| (id.to_owned(), json!({ "id": id, "n": n }));
    reader.until([row("a", 3), row("c", 1), row("d", 2), row("e", 1)].into_iter().collect()).await;
    assert_eq!(scene.server.metric("riacho_push_failures_total").await, 0);
}

#[tokio::test]
async fn a_duplicate_makes_no_event() {
    let scene = Scene::whole().await;
    let mut reader = Reader::open(&scene.server, "/tables/orders", "").await;
    reader.group().await;
    let batch = [put(1, "a", 1), put(2, "a", 2), remove(3, "a"), put(4, "b", 1)];
    for _ in 0..3 {
        scene.push(&batch).await;
    }
    scene.push(&[put(5, "end", 1)]).await;
    reader.until(json!({ "b": { "id": "b", "n": 1 }, "end": { "id": "end", "n": 1 } })).await;
    let once = [("insert", "a"), ("update", "a"), ("delete", "a"), ("insert", "b"), ("insert", "end")];
    assert_eq!(reader.operations(), told(&once));
}

#[tokio::test]
async fn records_of_a_stream_from_before_are_dropped() {
    let scene = Scene::whole().await;
    scene.push(&[put(900, "a", 1)]).await;
    // Its numbers begin anew.
    scene.push(&[put_of(LATER, 5, "a", 2)]).await;
    scene.push(&[put(901, "a", 3)]).await;
    assert_eq!(scene.orders(), json!({ "a": 2 }));
    let scene = scene.restart().await;
    scene.push(&[put(902, "a", 4), put_of(LATER, 6, "a", 5)]).await;
    assert_eq!(scene.orders(), json!({ "a": 5 }));
}

#[tokio::test]
async fn records_up_to_the_one_that_is_poison_are_taken() {
    let scene = Scene::whole().await;
    let poison = |sequence: u64, what: &dyn Fn(&mut Value)| {
        let mut record = put(sequence, "p", 1);
        what(&mut record);
        record
    };
    let mut sequence = 0;
    type Case<'a> = (&'a str, &'a dyn Fn(&mut Value));
    let cases: [Case<'_>; 9] = [
        ("no image", &|record| record["dynamodb"]["NewImage"] = Value::Null),
        ("no image and no view", &|record| {
            record["dynamodb"]["NewImage"] = Value::Null;
            record["dynamodb"]["StreamViewType"] = Value::Null;
        }),
        ("only keys, and nobody to ask", &|record| {
            record["dynamodb"]["NewImage"] = Value::Null;
            record["dynamodb"]["StreamViewType"] = "KEYS_ONLY".into();
        }),
        ("another key", &|record| record["dynamodb"]["Keys"] = json!({ "no": { "S": "p" } })),
        ("a key that is too long", &|record| {
            record["dynamodb"]["Keys"] = json!({ "id": { "S": "p".repeat(2000) } });
        }),
        ("a row that is too large", &|record| {
            record["dynamodb"]["NewImage"]["x"] = json!({ "S": "\u{1}".repeat(350_000) });
        }),
        ("no such operation", &|record| record["eventName"] = "TOUCH".into()),
        ("no such type", &|record| record["dynamodb"]["NewImage"]["x"] = json!({ "Z": "1" })),
        ("no stream", &|record| record["eventSourceARN"] = "arn:aws:sqs:eu-west-1:1:q".into()),
    ];
    for (what, harm) in cases {
        sequence += 10;
        let id = format!("k{sequence}");
        let batch = [put(sequence, &id, 1), poison(sequence + 1, harm), put(sequence + 2, &id, 2)];
        assert_eq!(scene.push(&batch).await, failed(sequence + 1), "{what}");
        assert_eq!(scene.rows("orders")[&id]["n"], 1, "{what}");
        // The function is called again from there; once it is mended, or given up, all goes on.
        assert_eq!(scene.push(&batch[1..]).await, failed(sequence + 1), "{what}");
        assert_eq!(scene.push(&batch[2..]).await, all_taken(), "{what}");
        assert_eq!(scene.rows("orders")[&id]["n"], 2, "{what}");
    }
    assert_eq!(scene.server.metric("riacho_push_failures_total").await, 18);
    let state = scene.server.get("/sources").await.json();
    assert_eq!(state["sources"][0]["state"], "live", "the source itself goes on");
}

#[tokio::test]
async fn a_body_of_six_mebibytes_is_taken_and_no_more() {
    let scene = Scene::whole().await;
    let padding = "é".repeat(100_000);
    let mut records = Vec::new();
    let mut bytes = 16;
    for sequence in 1.. {
        let mut record = put(sequence, &format!("k{sequence}"), sequence);
        record["dynamodb"]["NewImage"]["padding"] = json!({ "S": padding });
        bytes += record.to_string().len() + 1;
        if bytes > 6 << 20 {
            break;
        }
        records.push(record);
    }
    let count = records.len();
    assert_eq!(scene.push(&records).await, all_taken());
    assert_eq!(scene.rows("orders").len(), count);
    assert!(count >= 30);

    // Announced, it is refused before it comes.
    let mut connection = Connection::open(scene.server.address()).await;
    let head = signature("", clock::now() / 1000);
    let length = 7 << 20;
    let head = format!("POST {EVENTS} HTTP/1.1\r\nHost: riacho\r\n{head}Content-Length: {length}\r\n\r\n");
    connection.send(head).await;
    assert_eq!(code(&connection.response().await), (413, "push_too_large".to_owned()));
}

#[tokio::test]
async fn as_many_records_as_lambda_gives_at_once_are_taken() {
    let scene = Scene::whole().await;
    let records: Vec<Value> = (1..=10_000).map(|n| put(n, &format!("k{}", n % 100), n)).collect();
    assert_eq!(scene.push(&records).await, all_taken());
    assert_eq!(scene.rows("orders").len(), 100);
    assert_eq!(scene.rows("orders")["k0"]["n"], 10_000);
    let more: Vec<Value> = (1..=10_001).map(|n| put(n, "k", n)).collect();
    assert_eq!(scene.refused(EVENTS, &event(&more)).await, (400, "event_invalid".to_owned()));
}

#[tokio::test]
async fn only_what_is_signed_just_now_is_taken() {
    let scene = Scene::whole().await;
    let (body, now) = (event(&[put(1, "a", 1)]), clock::now() / 1000);
    let ask = async |headers: &str, body: &str| scene.server.post(EVENTS, headers, body).await;
    let good = signature(&body, now);
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let lines = good.split_inclusive("\r\n").filter(|line| !line.starts_with(name));
        let answer = ask(&lines.collect::<String>(), &body).await;
        assert_eq!(code(&answer), (401, "signature_missing".to_owned()), "{name}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(name));
        assert_eq!(answer.header("www-authenticate"), Some("StandardWebhooks"));
    }
    let invalid = (401, "signature_invalid".to_owned());
    let other = WebhookSecret::parse("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let wrong = other.sign("c4ca4238-1", &now.to_string(), body.as_bytes());
    let wrong =
        format!("webhook-id: c4ca4238-1\r\nwebhook-timestamp: {now}\r\nwebhook-signature: {wrong}\r\n");
    assert_eq!(code(&ask(&wrong, &body).await), invalid, "another secret");
    assert_eq!(code(&ask(&signature(&body, now - 301), &body).await), invalid, "too old");
    assert_eq!(code(&ask(&signature(&body, now + 310), &body).await), invalid, "of the future");
    assert_eq!(code(&ask(&good.replace("c4ca4238-1", "c4ca4238-2"), &body).await), invalid, "another id");
    let changed = body.replace("\"1\"", "\"2\"");
    assert_ne!(changed, body);
    assert_eq!(code(&ask(&good, &changed).await), invalid, "another body");
    assert_eq!(code(&ask(&good, "\u{0}").await), invalid, "nothing is decoded before");
    assert_eq!(scene.orders(), json!({}));

    let origin = format!("{good}Origin: https://app.example\r\n");
    let answer = ask(&origin, &body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(scene.orders(), json!({ "a": 1 }));
    let asked = "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n";
    let preflight = scene.server.request("OPTIONS", EVENTS, asked, "").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (405, None));
}

#[tokio::test]
async fn what_is_not_for_a_source_is_refused_whole() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("other.db");
    rusqlite::Connection::open(&file)
        .unwrap()
        .execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        .unwrap();
    let more = format!(
        "[[source]]\nname = \"other\"\nsqlite = \"{}\"\nsetup = true\n\
         [[source]]\nname = \"polled\"\ndynamodb = \"eu-west-1\"\nendpoint = \"http://127.0.0.1:9\"\ntables = [\"p\"]\n",
        file.display()
    );
    let scene = Scene { server: TestServer::with(&config(&more)).await };
    scene.import("orders", "first", 0, true, &[]).await;
    let unknown = (404, "source_unknown".to_owned());
    let good = event(&[put(1, "a", 1)]);
    for name in ["nobody", "other", "polled", "a%2Fb"] {
        assert_eq!(scene.refused(&format!("/ingest/dynamodb/{name}"), &good).await, unknown, "{name}");
        assert_eq!(scene.refused(&format!("/ingest/dynamodb/{name}/items"), &good).await, unknown, "{name}");
    }
    assert_eq!(scene.server.get(EVENTS).await.status, 405);
    assert_eq!(scene.refused("/ingest/dynamodb", &good).await, (404, "not_found".to_owned()));

    let invalid = (400, "event_invalid".to_owned());
    for body in ["", "{", "[]", "{}", "{\"key1\":\"value1\"}", "{\"Records\":{}}", "\u{feff}{\"Records\":[]}"]
    {
        assert_eq!(scene.refused(EVENTS, body).await, invalid, "{body}");
    }
    assert_eq!(scene.push(&[]).await, all_taken());

    let unfit = (422, "push_unfit".to_owned());
    let elsewhere = record("INSERT", ("users", LABEL), 2, json!({}), None);
    let mut unnamed = put(3, "a", 1);
    unnamed["dynamodb"]["SequenceNumber"] = Value::Null;
    for record in [unnamed, json!(7)] {
        assert_eq!(scene.refused(EVENTS, &event(&[put(1, "a", 1), record])).await, unfit);
    }
    let mut other_table = put(2, "a", 1);
    other_table["eventSourceARN"] = elsewhere["eventSourceARN"].clone();
    assert_eq!(scene.refused(EVENTS, &event(&[put(1, "a", 1), other_table])).await, unfit);
    assert_eq!(scene.orders(), json!({}), "nothing of it is taken");

    let bad = (400, "line_invalid".to_owned());
    for head in ["", "{}", "{\"import\":\"\",\"table\":\"orders\",\"part\":0}", "{\"id\":{\"S\":\"a\"}}"] {
        assert_eq!(scene.refused(ITEMS, head).await, bad, "{head}");
    }
    let head = "{\"import\":\"i\",\"table\":\"orders\",\"part\":0}\n\n";
    for line in ["7", "{\"id\":\"a\"}", "{\"Keys\":{\"id\":{\"S\":\"a\"}},\"Metadata\":{}}"] {
        let answer = scene.post(ITEMS, &format!("{head}{line}")).await;
        assert_eq!((code(&answer), answer.json()["line"].as_u64()), (bad.clone(), Some(3)), "{line}");
    }
    let large = json!({ "id": { "S": "a" }, "x": { "S": "x".repeat(2 << 20) } });
    for (table, item) in
        [("users", order("a", 1)), ("orders", json!({ "no": { "S": "a" } })), ("orders", large)]
    {
        assert_eq!(code(&scene.part(table, "j", 0, false, &[item]).await), unfit, "{table}");
    }
    assert_eq!(scene.orders(), json!({}));
}

#[tokio::test]
async fn a_source_that_takes_nothing_now_says_when_to_come_again() {
    let scene = Scene::whole().await;
    assert_eq!(scene.server.post("/sources/shop/pause", "", "").await.status, 204);
    until("a rest", async || {
        let answer = scene.post(EVENTS, &event(&[put(1, "a", 1)])).await;
        let rests = code(&answer) == (503, "source_unavailable".to_owned());
        rests.then(|| assert_eq!(answer.header("retry-after"), Some("1")))
    })
    .await;
    assert_eq!(scene.server.post("/sources/shop/resume", "", "").await.status, 204);
    until("work", async || (scene.post(EVENTS, &event(&[put(2, "a", 2)])).await.status == 200).then_some(()))
        .await;
    assert_eq!(scene.orders(), json!({ "a": 2 }));

    // One that cannot reach its database, which it is to scan, waits for a while.
    let away = config("endpoint = \"http://127.0.0.1:9\"").replace("\"import\"", "\"scan\"");
    let scene = Scene { server: scene.server.restart_with(&away).await };
    let answer = scene.post(EVENTS, &event(&[put(3, "a", 3)])).await;
    assert_eq!(code(&answer), (503, "source_unavailable".to_owned()));
}

#[tokio::test]
async fn an_import_makes_a_table_whole_and_what_is_not_in_the_next_goes() {
    let scene = Scene::new().await;
    let not_ready = scene.server.get("/tables/orders").await;
    assert_eq!(code(&not_ready), (503, "table_not_ready".to_owned()));
    scene.import("orders", "one", 0, false, &[json!({ "Item": order("a", 1) }), order("b", 1)]).await;
    assert_eq!(code(&scene.server.get("/tables/orders").await).0, 503, "a part is not the table");
    scene.import("orders", "one", 1, false, &[order("c", 1)]).await;
    // A part whose answer was lost comes again.
    scene.import("orders", "one", 1, false, &[order("c", 1)]).await;
    scene.import("orders", "one", 2, true, &[order("d", 1)]).await;
    scene.import("orders", "one", 2, true, &[order("d", 1)]).await;
    assert_eq!(scene.orders(), json!({ "a": 1, "b": 1, "c": 1, "d": 1 }));

    let mut reader = Reader::open(&scene.server, "/tables/orders", "").await;
    reader.group().await;
    reader.seen.clear();
    scene.import("orders", "two", 0, false, &[order("a", 1), order("b", 2)]).await;
    scene.import("orders", "two", 1, true, &[order("e", 1)]).await;
    let row = |id: &str, n: u64| json!({ "id": id, "n": n });
    reader.until(json!({ "a": row("a", 1), "b": row("b", 2), "e": row("e", 1) })).await;
    let mut operations = reader.operations();
    operations.sort();
    assert_eq!(operations, told(&[("delete", "c"), ("delete", "d"), ("insert", "e"), ("update", "b")]));

    let scene = scene.restart().await;
    assert_eq!(scene.server.get("/tables/orders").await.status, 200, "it is whole after a restart too");
}

#[tokio::test]
async fn records_win_over_items_whichever_come_first() {
    let scene = Scene::new().await;
    // Pushed before the import, which is of a moment before.
    scene.push(&[put(1, "new", 9), remove(2, "gone"), put(3, "back", 1), remove(4, "back")]).await;
    let items = [order("old", 1), order("new", 1), order("gone", 1), order("back", 1), order("moved", 1)];
    scene.import("orders", "one", 0, false, &items[..3]).await;
    scene.push(&[put(5, "moved", 9), put(6, "old", 2)]).await;
    scene.import("orders", "one", 1, true, &items[3..]).await;
    assert_eq!(scene.orders(), json!({ "new": 9, "moved": 9, "old": 2 }));
    // And after it, and after one of later.
    scene.push(&[put(7, "old", 3)]).await;
    let scene = scene.restart().await;
    scene.import("orders", "two", 0, true, &[order("old", 1)]).await;
    assert_eq!(scene.orders(), json!({ "new": 9, "moved": 9, "old": 3 }));
}

#[tokio::test]
async fn an_import_that_is_cut_is_begun_anew_and_removes_nothing_before_its_end() {
    let scene = Scene::new().await;
    scene.import("orders", "one", 0, true, &[order("a", 1), order("b", 1)]).await;
    scene.import("orders", "two", 0, false, &[order("a", 2)]).await;
    assert_eq!(scene.orders(), json!({ "a": 2, "b": 1 }));
    let scene = scene.restart().await;
    let unfit = (422, "push_unfit".to_owned());
    assert_eq!(code(&scene.part("orders", "two", 1, true, &[order("c", 1)]).await), unfit);
    assert_eq!(scene.orders(), json!({ "a": 2, "b": 1 }));
    scene.import("orders", "three", 0, false, &[order("a", 3)]).await;
    // Another import takes over; the one before cannot end it.
    scene.import("orders", "four", 0, false, &[order("c", 1)]).await;
    assert_eq!(code(&scene.part("orders", "three", 1, true, &[]).await), unfit);
    assert_eq!(code(&scene.part("orders", "four", 2, true, &[]).await), unfit, "a part is missing");
    assert_eq!(scene.orders(), json!({ "a": 3, "b": 1, "c": 1 }));
    scene.import("orders", "five", 0, true, &[order("c", 1)]).await;
    assert_eq!(scene.orders(), json!({ "c": 1 }));
}

pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const EVENTS: &str = "/ingest/dynamodb/shop";
const ITEMS: &str = "/ingest/dynamodb/shop/items";
const LABEL: &str = "2026-11-01T00:00:00.000";
const LATER: &str = "2026-11-15T00:00:00.000";
