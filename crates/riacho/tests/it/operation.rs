//! Health, metrics, origins, heartbeats, shutdown.

use crate::support::{Connection, Item, Process, Subscription, TestServer, patient, riacho, until};
use flate2::read::GzDecoder;
use rustix::process::Signal;
use std::{collections::BTreeSet, io::Read as _, panic::Location};

#[tokio::test]
async fn health_and_readiness_are_told() {
    let server = TestServer::start().await;
    assert_eq!(server.get("/healthz").await.text(), "ok\n");
    let ready = server.get("/readyz").await;
    assert_eq!(
        (ready.status, ready.text(), ready.header("cache-control")),
        (200, "ready\n", Some("no-store"))
    );
    let page = server.get("/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
}

#[tokio::test]
async fn metrics_are_openmetrics_and_complete() {
    let server = TestServer::start().await;
    let mut reader = server.subscribe("s").await;
    server.publish("s", "four").await;
    reader.next().await;
    server.get("/nothing").await;
    let answer = server.get("/metrics").await;
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let text = answer.text();
    assert!(text.ends_with("# EOF\n") && !text.contains("\n\n"));
    let mut families = std::collections::BTreeMap::new();
    for line in text.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap();
            assert!(families.insert(name, kind).is_none(), "{name} twice");
        } else if !line.starts_with('#') {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            let family = families.iter().find(|(family, kind)| match **kind {
                "counter" => name.strip_suffix("_total") == Some(family),
                _ => name == **family,
            });
            assert!(family.is_some(), "a sample of no family: {line}");
            value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
        }
    }
    let want = [
        "connections",
        "connections_accepted",
        "discarded_bytes",
        "errors",
        "events_in",
        "events_in_bytes",
        "events_out",
        "events_out_bytes",
        "heartbeats",
        "helpings",
        "http_requests",
        "idempotency_keys",
        "log_bytes",
        "log_commit_seconds",
        "log_commits",
        "log_failed",
        "log_read_only",
        "log_segments",
        "log_segments_removed",
        "log_writable",
        "memory_streams_bytes",
        "offset",
        "reactor_sends",
        "reactor_sweeps",
        "rows",
        "rows_applied_offset",
        "rows_bytes",
        "snapshots",
        "streams",
        "subscribers",
        "subscribers_blocked",
        "sweep_lag_bytes",
        "tables",
        "tail_bytes",
        "views",
        "views_bytes",
        "websockets",
    ];
    let missing: Vec<_> =
        want.iter().filter(|name| !families.contains_key(format!("riacho_{name}").as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for line in [
        "riacho_subscribers 1",
        "riacho_events_in_total 1",
        "riacho_events_in_bytes_total 4",
        "riacho_events_out_total 1",
        "riacho_log_writable 1",
        "riacho_streams 1",
        "riacho_views 1",
        "riacho_errors_total{code=\"not_found\"} 1",
        "riacho_http_requests_total{status=\"404\"} 1",
        "riacho_http_requests_total{status=\"201\"} 1",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line}\n{text}");
    }
}

#[tokio::test]
async fn exact_origins_may_use_the_server_with_credentials_and_no_others() {
    let server =
        TestServer::with("cors_origins = [\"https://app.example\", \"http://localhost:3000\"]\n").await;
    for origin in ["https://app.example", "http://localhost:3000"] {
        let reader = server.sse("/streams/s", &format!("Origin: {origin}\r\n")).await;
        assert_eq!(reader.head.header("access-control-allow-origin"), Some(origin));
        assert_eq!(reader.head.header("access-control-allow-credentials"), Some("true"));
        let exposed = reader.head.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("retry-after"), "{exposed}");
        let headers = format!(
            "Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: idempotency-key, \
             last-event-id\r\n"
        );
        let preflight = server.request("OPTIONS", "/streams/s", &headers, "").await;
        assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (200, Some(origin)));
        let allowed: BTreeSet<_> =
            preflight.header("access-control-allow-headers").unwrap().split(',').collect();
        assert!(allowed.contains("idempotency-key") && allowed.contains("last-event-id"), "{allowed:?}");
        assert!(preflight.header("access-control-allow-methods").unwrap().contains("DELETE"));
        server.post("/streams/s", &format!("Origin: {origin}\r\n"), "x").await.id();
        // An error is of no use to a page that may not read it.
        let refused = server.post("/streams/*", &format!("Origin: {origin}\r\n"), "x").await;
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (400, Some(origin)));
    }
    for origin in ["https://evil.example", "https://app.example.evil", "http://app.example", "null"] {
        let headers = format!("Origin: {origin}\r\n");
        let reader = server.sse("/streams/s", &headers).await;
        assert_eq!(reader.head.header("access-control-allow-origin"), None, "{origin}");
        server.post("/streams/s", &headers, "x").await.problem(403, "origin_forbidden", false);
        server.request("DELETE", "/streams/s", &headers, "").await.problem(403, "origin_forbidden", false);
    }
    assert_eq!(server.listed("s").await.unwrap()["events"], 2);
}

#[tokio::test]
async fn page_of_another_site_may_not_write_unless_all_may() {
    let closed = TestServer::start().await;
    let form = "Origin: https://evil.example\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    closed.post("/streams/s", form, "x").await.problem(403, "origin_forbidden", false);
    // The server's own pages, by whatever name it was reached.
    closed.post("/streams/s", "Origin: http://riacho\r\n", "x").await.id();
    let open = TestServer::with("cors_origins = [\"*\"]\n").await;
    let answer = open.post("/streams/s", form, "x").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (201, Some("*")));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

#[tokio::test]
async fn heartbeat_is_a_comment_and_an_id_where_the_cursor_moved() {
    let server = TestServer::with("heartbeat = \"1s\"\n").await;
    let mut idle = server.subscribe("s").await;
    let mut lines = server.lines("/streams/s", "").await;
    let start = idle.cursor.clone();
    // Nothing happened at all: a comment, and the cursor stays.
    assert_eq!(idle.item().await, Some(Item::Comment(String::new())));
    let quiet = lines.line().await.unwrap();
    assert_eq!(
        (quiet["type"].as_str(), quiet["id"].as_str()),
        (Some("riacho.heartbeat"), Some(start.as_str()))
    );

    let elsewhere = server.publish("other", "x").await;
    let moved = async {
        loop {
            match idle.item().await.unwrap() {
                Item::Block(block) if block.id.is_some() => return block,
                Item::Block(_) | Item::Comment(_) => {}
                event @ Item::Event(_) => panic!("{event:?}"),
            }
        }
    };
    let block = patient(Location::caller(), "a heartbeat with an id", moved).await;
    assert_eq!((block.id.as_ref(), block.retry), (Some(&elsewhere), None));
    let moved = async { while lines.line().await.unwrap()["id"] != *elsewhere {} };
    patient(Location::caller(), "a line with the new id", moved).await;
    // An idle reader that comes back with that cursor misses nothing.
    let missed = server.publish("s", "a").await;
    assert_eq!(server.subscribe_after("s", &elsewhere).await.next().await.id, missed);
    assert_eq!(idle.next().await.id, missed);
    assert!(server.metric("riacho_heartbeats_total").await >= 2);
}

#[tokio::test]
async fn open_address_is_refused_unless_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let refused = riacho(directory.path(), &["serve", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("--anonymous") && said.contains("no authentication exists yet"), "{said}");
    std::fs::write(directory.path().join("riacho.toml"), "anonymous = true\n").unwrap();
    let server = Process::serve_at(directory.path(), "0.0.0.0:0").await;
    assert!(server.address().ip().is_unspecified());
}

/// A subscription to a server that is a process.
async fn subscribe(server: &Process, target: &str, headers: &str) -> Subscription {
    let mut connection = Connection::open(server.address()).await;
    connection.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")).await;
    Subscription::on(connection).await
}

async fn publish(server: &Process, data: &str) -> String {
    let mut connection = Connection::open(server.address()).await;
    let length = data.len();
    connection
        .send(format!("POST /streams/s HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{data}"))
        .await;
    connection.response().await.id()
}

#[tokio::test]
async fn sigterm_says_goodbye_ends_cleanly_and_a_restart_resumes() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("riacho.toml"), "retry = \"2s\"\n").unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let server = Process::serve(directory.path()).await;
        let mut reactor = subscribe(&server, "/streams/s", "").await;
        let mut connection = Connection::open(server.address()).await;
        connection.send("GET /streams/s HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n").await;
        let mut task = Subscription::on(connection).await;
        let mut idle = Connection::open(server.address()).await;
        idle.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        idle.response().await;
        let last = publish(&server, "last").await;
        let address = server.address();
        server.signal(signal);
        for reader in [&mut reactor, &mut task] {
            assert_eq!(reader.next().await.data, "last");
            let goodbye = reader.next().await;
            assert_eq!((goodbye.event_type.as_str(), &goodbye.id), ("riacho.goodbye", &last));
            let said: serde_json::Value = serde_json::from_str(&goodbye.data).unwrap();
            assert_eq!((&said["reason"], said["retry_ms"].as_u64()), (&"drain".into(), goodbye.retry));
            assert!((1000..=3000).contains(&goodbye.retry.unwrap()), "{goodbye:?}");
            // The clean end of the body: `item` panics at a cut one.
            assert_eq!(reader.item().await, None);
        }
        assert!(idle.closed().await.is_empty());
        assert_eq!(server.exit().await.code(), Some(0));

        let server = Process::serve_at(directory.path(), &address.to_string()).await;
        let next = publish(&server, "next").await;
        let mut reader =
            subscribe(&server, "/streams/s", &format!("Last-Event-ID: {}\r\n", reactor.cursor)).await;
        assert_eq!(reader.next().await.id, next);
        server.signal(Signal::TERM);
        assert_eq!(server.exit().await.code(), Some(0));
    }
}

#[tokio::test]
async fn client_is_served_to_pages_of_every_origin_and_sent_once() {
    let server = TestServer::with("cors_origins = [\"https://app.example\"]\n").await;
    for (path, within) in [("/riacho.js", "export{"), ("/riacho.global.js", "var riacho=")] {
        let script = server.request("GET", path, "Origin: https://other.example\r\n", "").await;
        assert_eq!((script.status, script.text().contains(within)), (200, true), "{path}");
        let headers = ["content-type", "cache-control", "access-control-allow-origin", "content-encoding"];
        let want = [Some("text/javascript; charset=utf-8"), Some("no-cache"), Some("*"), None];
        assert_eq!(headers.map(|name| script.header(name)), want, "{path}");

        let zipped = server.request("GET", path, "Accept-Encoding: br, gzip\r\n", "").await;
        assert_eq!(zipped.header("content-encoding"), Some("gzip"));
        let mut text = String::new();
        GzDecoder::new(&zipped.body[..]).read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), zipped.header("etag")), (script.text(), script.header("etag")));

        let tag = format!("If-None-Match: {}\r\n", script.header("etag").unwrap());
        let known = server.request("GET", path, &tag, "").await;
        assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, script.header("etag")));
        server.request("POST", path, "", "").await.problem(405, "method_not_allowed", false);
    }
}

#[tokio::test]
async fn drain_answers_who_waits_and_cuts_who_does_not_end() {
    let server = TestServer::with("drain = \"100ms\"\n").await;
    server.publish("s", "x").await;
    let mut lines = server.lines("/streams/s", "").await;
    let mut poll = Connection::open(server.address()).await;
    poll.send("GET /streams/s?wait=60s HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n").await;
    let mut stuck = Connection::open(server.address()).await;
    stuck.send("POST /streams/s HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf").await;
    until("both readers", async || (server.listed("s").await?["subscribers"] == 2).then_some(())).await;
    server.stop().await;
    assert_eq!(lines.next().await.unwrap()["type"], "riacho.goodbye");
    assert_eq!(lines.next().await, None);
    // Told when to ask again: at once, it would be the same once more.
    let page = poll.response().await;
    let (said, seconds) = (page.json(), page.header("retry-after").unwrap().parse::<u64>().unwrap());
    assert_eq!(said["events"], serde_json::json!([]));
    assert_eq!(said["retry_ms"].as_u64().unwrap().div_ceil(1000), seconds);
    stuck.closed().await;
}
