//! All rows at one moment, whole and in pages.

use super::{NDJSON, head, pairs, post, put, rows, tag_of_put};
use crate::support::{Connection, TestServer};
use flate2::read::{GzDecoder, MultiGzDecoder};
use serde_json::{Value, json};
use std::{
    io::Read as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

const LINES: &str = "Accept: application/x-ndjson\r\n";
const GZIP: &str = "Accept-Encoding: br, gzip\r\n";

/// A batch that makes rows `from` to `upto`, whose keys sort as their numbers.
fn inserts(from: usize, upto: usize) -> String {
    (from..upto)
        .map(|n| {
            format!("{{\"key\":\"{n:06}\",\"value\":{{\"n\":{n},\"odd\":{}}},\"headers\":{{\"operation\":\"insert\"}}}}\n", n % 2 == 1)
        })
        .collect()
}

fn unzipped(body: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(body).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn snapshot_has_every_row_and_the_cursor_it_is_of() {
    let server = TestServer::start().await;
    let empty = server.get("/tables/t").await;
    assert_eq!((empty.status, pairs(&empty.json())), (200, vec![]));
    put(&server, "/tables/t/b", "{\"x\": 1.10}").await;
    put(&server, "/tables/t/a", "{}").await;
    put(&server, "/tables/u/c", "{}").await;
    let last = server.publish("s", "x").await;
    let answer = server.get("/tables/t").await;
    assert!(answer.text().contains("{\"key\":\"b\",\"value\":{\"x\": 1.10}}"), "{}", answer.text());
    let said = answer.json();
    assert_eq!((&said["table"], &said["cursor"], said.get("next")), (&json!("t"), &json!(last), None));
    assert_eq!(pairs(&said), [("a".into(), json!({})), ("b".into(), json!({ "x": 1.10 }))]);
    assert_eq!(answer.header("content-type"), Some("application/json"));

    let answer = server.request("GET", "/tables/t", LINES, "").await;
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (&lines[0]["type"], &lines[0]["key"], &lines[0]["value"]),
        (&json!("t"), &json!("a"), &json!({}))
    );
    assert_eq!(lines[0]["headers"]["operation"], "insert");
    assert_eq!(lines[2], json!({ "id": last, "type": "t", "headers": { "control": "snapshot-end" } }));
}

#[tokio::test]
async fn filter_and_columns_apply() {
    let server = TestServer::start().await;
    post(&server, "t", &inserts(0, 10)).await;
    let some = server.get("/tables/t?where=n%20%3E%20$1%20AND%20odd&params=[5]&columns=n").await.json();
    assert_eq!(pairs(&some), [("000007".into(), json!({"n":7})), ("000009".into(), json!({"n":9}))]);
    let lines = server.request("GET", "/tables/t?where=n=3&columns=odd", LINES, "").await;
    let first: Value = serde_json::from_str(lines.text().lines().next().unwrap()).unwrap();
    assert_eq!((first["key"].as_str(), &first["value"]), (Some("000003"), &json!({"odd":true})));
    assert_eq!(lines.text().lines().count(), 2);
    assert_eq!(pairs(&server.get("/tables/t?where=missing=1").await.json()), []);
}

#[tokio::test]
async fn large_table_is_streamed_whole() {
    let server = TestServer::start().await;
    for batch in 0..4 {
        post(&server, "t", &inserts(batch * 5_000, (batch + 1) * 5_000)).await;
    }
    let found = rows(&server, "t").await;
    assert_eq!(found.len(), 20_000);
    assert!(found.iter().enumerate().all(|(n, (key, value))| *key == format!("{n:06}") && value["n"] == n));
    let lines = server.request("GET", "/tables/t", &format!("{LINES}{GZIP}"), "").await;
    assert_eq!(lines.header("content-encoding"), Some("gzip"));
    let text = unzipped(&lines.body);
    assert!(lines.body.len() * 4 < text.len(), "{} of {}", lines.body.len(), text.len());
    assert_eq!(text.lines().count(), 20_001);
    assert!(text.lines().last().unwrap().contains("snapshot-end"));
    server.until_metric("riacho_snapshots", 0).await;
    // A reader that goes away leaves nothing behind.
    let mut connection = Connection::open(server.address()).await;
    connection.send("GET /tables/t HTTP/1.1\r\nHost: x\r\n\r\n").await;
    connection.head().await;
    connection.piece().await.unwrap();
    drop(connection);
    server.until_metric("riacho_snapshots", 0).await;
}

#[tokio::test]
async fn first_piece_can_be_read_before_the_rest_is_sent() {
    let server = TestServer::start().await;
    post(&server, "t", &inserts(0, 10_000)).await;
    let mut connection = Connection::open(server.address()).await;
    connection.send(format!("GET /tables/t HTTP/1.1\r\nHost: x\r\n{GZIP}\r\n")).await;
    connection.head().await;
    let mut body = connection.piece().await.unwrap();
    let readable = |body: &[u8]| {
        let mut text = vec![0; 1 << 20];
        // Broken off, but what is there can be read.
        let mut decoder = MultiGzDecoder::new(body);
        let mut length = 0;
        while let Ok(read @ 1..) = decoder.read(&mut text[length..]) {
            length += read;
        }
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    assert!(readable(&body).starts_with("{\"table\":\"t\",\"cursor\":"), "{:?}", readable(&body));
    while let Some(piece) = connection.piece().await {
        body.extend(piece);
    }
    assert_eq!(pairs(&serde_json::from_str(&unzipped(&body)).unwrap()).len(), 10_000);
}

#[tokio::test]
async fn snapshot_never_shows_half_a_batch() {
    let server = Arc::new(TestServer::start().await);
    // Far apart, so that a page ends between them.
    put(&server, "/tables/bank/0", "{\"n\":1000}").await;
    post(&server, "bank", &inserts(100_000, 103_000).replace("\"odd\"", "\"filler\"")).await;
    put(&server, "/tables/bank/z", "{\"n\":0}").await;
    let over = Arc::new(AtomicBool::new(false));
    let moving = {
        let (server, over) = (Arc::clone(&server), Arc::clone(&over));
        tokio::spawn(async move {
            for moved in 1.. {
                let change = |key: &str, n: i32| {
                    format!(
                        "{{\"key\":\"{key}\",\"value\":{{\"n\":{n}}},\"headers\":{{\"operation\":\"update\"}}}}\n"
                    )
                };
                let batch = change("0", 1000 - moved) + &change("z", moved);
                let made = server.post("/tables/bank", NDJSON, &batch).await;
                assert_eq!(made.status, 200, "{}", made.text());
                if over.load(Ordering::Relaxed) {
                    return moved;
                }
            }
            0
        })
    };
    for _ in 0..20 {
        let ends = |rows: &[(String, Value)]| {
            let of = |wanted: &str| {
                rows.iter()
                    .find(|(key, _)| key == wanted)
                    .map(|(_, value)| value["n"].as_i64().unwrap())
                    .unwrap()
            };
            (of("0"), of("z"))
        };
        let (a, z) = ends(&rows(&server, "bank").await);
        assert_eq!(a + z, 1000, "{a} and {z}");
        let mut paged = Vec::new();
        let mut page = server.get("/tables/bank?limit=1500").await.json();
        let cursor = page["cursor"].clone();
        loop {
            assert_eq!(page["cursor"], cursor);
            paged.extend(pairs(&page));
            let Some(next) = page.get("next") else { break };
            page =
                server.get(&format!("/tables/bank?limit=1500&after={}", next.as_str().unwrap())).await.json();
        }
        let (a, z) = ends(&paged);
        assert_eq!((a + z, paged.len()), (1000, 3002), "{a} and {z}");
    }
    over.store(true, Ordering::Relaxed);
    assert!(moving.await.unwrap() > 1);
}

#[tokio::test]
async fn pages_are_of_one_snapshot() {
    let server = TestServer::start().await;
    post(&server, "t", &inserts(0, 10)).await;
    let first = server.get("/tables/t?limit=4&where=n%20%3C%3E%200").await;
    assert_eq!((first.header("cache-control"), first.header("etag")), (Some("no-store"), None));
    let first = first.json();
    let next = first["next"].as_str().unwrap().to_owned();
    server.request("DELETE", "/tables/t", "", "").await;
    put(&server, "/tables/t/000007", "{\"n\":77}").await;
    let target = |next: &str| format!("/tables/t?limit=4&where=n%20%3C%3E%200&after={next}");
    let second = server.get(&target(&next)).await.json();
    // The same page may be asked for again.
    assert_eq!(server.get(&target(&next)).await.json(), second);
    let third = server.get(&target(second["next"].as_str().unwrap())).await.json();
    let keys: Vec<_> =
        [&first, &second, &third].iter().flat_map(|page| pairs(page)).map(|(key, _)| key).collect();
    assert_eq!(keys, (1..10).map(|n| format!("{n:06}")).collect::<Vec<_>>());
    assert_eq!((third.get("next"), &third["cursor"]), (None, &first["cursor"]));
    assert_eq!(pairs(&second)[2].1["n"], 7);
    for other in [format!("/tables/u?where=n%20%3C%3E%200&after={next}"), format!("/tables/t?after={next}")] {
        server.get(&other).await.problem(400, "parameter_invalid", false);
    }
    // What fits into one page is not held.
    assert_eq!(server.get("/tables/t?limit=1").await.json().get("next"), None);
    assert_eq!(server.metric("riacho_snapshots").await, 1);
}

#[tokio::test]
async fn held_snapshots_are_bounded_in_number_and_time() {
    let file = "snapshot_hold = \"5s\"\n[limits]\nsnapshots_max = 2\n";
    let server = TestServer::with(file).await;
    post(&server, "t", &inserts(0, 3)).await;
    let page = async || server.get("/tables/t?limit=2").await;
    let (first, second) = (page().await.json(), page().await.json());
    page().await.problem(503, "snapshots_max", true);
    assert_eq!(rows(&server, "t").await.len(), 3);
    // One that was read to its end makes room.
    let after = |page: &Value| format!("/tables/t?limit=2&after={}", page["next"].as_str().unwrap());
    assert_eq!(pairs(&server.get(&after(&first)).await.json()).len(), 1);
    assert_eq!(pairs(&server.get(&after(&first)).await.json()).len(), 1);
    assert!(page().await.json()["next"].is_string());
    server.get(&after(&first)).await.problem(410, "snapshot_gone", false);
    assert_eq!(server.metric("riacho_limits_hit_total{limit=\"snapshots_max\"}").await, 1);
    server.until_metric("riacho_snapshots", 0).await;
    server.get(&after(&second)).await.problem(410, "snapshot_gone", false);
}

#[tokio::test]
async fn reader_that_takes_too_long_is_cut() {
    let server = TestServer::with("snapshot_hold = \"1s\"\n").await;
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(500_000));
    for n in 0..40 {
        put(&server, &format!("/tables/t/{n}"), &large).await;
    }
    let mut connection = Connection::open(server.address()).await;
    connection.send("GET /tables/t HTTP/1.1\r\nHost: x\r\n\r\n").await;
    connection.head().await;
    // The snapshot goes although nobody asks for more of it.
    server.until_metric("riacho_snapshots", 0).await;
    let rest = connection.closed().await;
    assert!(rest.len() < 40 * 500_000 && !rest.ends_with(b"0\r\n\r\n"), "{} bytes", rest.len());
}

#[tokio::test]
async fn caches_are_told_what_they_may_do() {
    let server = TestServer::start().await;
    put(&server, "/tables/t/a", "{\"n\":1}").await;
    let tag = |answer: &crate::support::Response| answer.header("etag").unwrap().to_owned();
    let whole = server.get("/tables/t").await;
    assert!(tag(&whole).starts_with("W/\""));
    assert_eq!(whole.header("cache-control"), Some("public, max-age=0, s-maxage=1, must-revalidate"));
    assert_eq!(whole.header("cdn-cache-control"), Some("max-age=1, stale-while-revalidate=10"));
    let vary: Vec<_> =
        whole.headers.iter().filter(|(name, _)| name == "vary").map(|(_, v)| v.as_str()).collect();
    assert_eq!(vary.join(", "), "accept, accept-encoding, origin");
    server.publish("elsewhere", "x").await;
    put(&server, "/tables/u/a", "{}").await;
    // Its cursor is another, its rows are not.
    let again = server.get("/tables/t").await;
    assert_eq!(tag(&again), tag(&whole));
    assert_ne!(again.json()["cursor"], whole.json()["cursor"]);
    let have = format!("If-None-Match: {}\r\n", tag(&whole));
    let same = server.request("GET", "/tables/t", &format!("{have}{GZIP}"), "").await;
    assert_eq!((same.status, same.text(), tag(&same)), (304, "", tag(&whole)));
    assert_eq!(same.header("cache-control"), whole.header("cache-control"));
    for other in ["/tables/t?where=n=1", "/tables/t?columns=n"] {
        assert_eq!(server.request("GET", other, &have, "").await.status, 200, "{other}");
    }
    assert_eq!(server.request("GET", "/tables/t", &format!("{LINES}{have}"), "").await.status, 200);
    let asked = head(&server, "/tables/t", GZIP).await;
    assert_eq!(
        (asked.status, tag(&asked), asked.header("content-encoding")),
        (200, tag(&whole), Some("gzip"))
    );
    tag_of_put(&server, "/tables/t/a", "{\"n\":2}").await;
    assert_eq!(server.request("GET", "/tables/t", &have, "").await.status, 200);
    let server = server.restart_with("snapshot_max_age = \"0s\"\n").await;
    let whole = server.get("/tables/t").await;
    assert_eq!(whole.header("cache-control"), Some("public, max-age=0, s-maxage=0, must-revalidate"));
    assert_eq!(head(&server, "/tables/t?limit=1", "").await.header("cache-control"), Some("no-store"));
    assert_eq!(server.metric("riacho_snapshots").await, 0);
}

#[tokio::test]
async fn gzip_is_for_those_who_take_it() {
    let server = TestServer::start().await;
    put(&server, "/tables/t/a", "{\"n\":1}").await;
    for (accepts, zipped) in [
        ("gzip", true),
        ("br;q=1, *;q=0.5", true),
        ("GZIP; Q=0.1", true),
        ("gzip;q=0, *", false),
        ("br", false),
        ("", false),
        ("identity", false),
    ] {
        let answer = server.request("GET", "/tables/t", &format!("Accept-Encoding: {accepts}\r\n"), "").await;
        assert_eq!(answer.header("content-encoding"), zipped.then_some("gzip"), "{accepts}");
        let text = if zipped { unzipped(&answer.body) } else { answer.text().to_owned() };
        assert_eq!(pairs(&serde_json::from_str(&text).unwrap()).len(), 1);
        let page =
            server.request("GET", "/tables/t?limit=5", &format!("Accept-Encoding: {accepts}\r\n"), "").await;
        assert_eq!(page.header("content-encoding"), zipped.then_some("gzip"), "{accepts}");
    }
}
