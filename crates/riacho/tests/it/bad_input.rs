//! What is refused: each with its code, its status, whether a retry can help, and nothing stored.

use crate::support::{Response, TestServer};
use serde_json::{Value, json};

const NDJSON: &str = "Content-Type: application/x-ndjson\r\n";

/// One request that is wrong, and how it is refused.
struct Wrong<'a> {
    method: &'a str,
    target: &'a str,
    headers: &'a str,
    body: &'a [u8],
    status: u16,
    code: &'a str,
}

fn get<'a>(target: &'a str, status: u16, code: &'a str) -> Wrong<'a> {
    Wrong { method: "GET", target, headers: "", body: b"", status, code }
}

fn post<'a>(target: &'a str, headers: &'a str, body: &'a [u8], status: u16, code: &'a str) -> Wrong<'a> {
    Wrong { method: "POST", target, headers, body, status, code }
}

async fn check(server: &TestServer, wrong: &Wrong<'_>) -> Response {
    let Wrong { method, target, headers, body, status, code } = wrong;
    let shown = String::from_utf8_lossy(body.get(..body.len().min(60)).unwrap());
    // Shown where the test fails.
    println!("{method} {target:.60} {headers:?} {shown:?}");
    let answer = server.request_bytes(method, target, headers, body).await;
    answer.problem(*status, code, false);
    answer
}

/// Asserts that every request is refused, is counted, and leaves no trace.
async fn check_all(server: &TestServer, wrong: &[Wrong<'_>]) {
    let before = server.publish("witness", "x").await;
    for wrong in wrong {
        check(server, wrong).await;
    }
    let list = server.get("/streams").await.json();
    let names: Vec<_> = list["streams"].as_array().unwrap().iter().map(|stream| &stream["name"]).collect();
    assert_eq!(names, ["witness"]);
    let page = server.page("/streams?stream=**&from=earliest", "").await;
    assert_eq!((page.events.len(), page.cursor), (1, before));
    let codes: std::collections::BTreeSet<_> = wrong.iter().map(|wrong| wrong.code).collect();
    for code in codes {
        let count = wrong.iter().filter(|other| other.code == code).count() as u64;
        assert_eq!(server.metric(&format!("riacho_errors_total{{code=\"{code}\"}}")).await, count, "{code}");
    }
}

#[tokio::test]
async fn bad_names_and_patterns_are_refused() {
    let server = TestServer::start().await;
    let (long, many) = ("x".repeat(1025), "&stream=a".repeat(101));
    let long_name = format!("/streams/{long}");
    let long_selector = format!("/streams?stream={long}");
    let too_many = format!("/streams?{many}");
    let mut wrong = vec![
        get("/streams?stream=a**", 400, "name_invalid"),
        get("/streams?stream=**/a", 400, "name_invalid"),
        get("/streams?stream=a*/b", 400, "name_invalid"),
        get("/streams?stream=", 400, "name_invalid"),
        get("/streams?stream=%00", 400, "name_invalid"),
        get(&long_selector, 400, "name_invalid"),
        get("/streams?stream=%FF", 400, "parameter_invalid"),
        get(&too_many, 400, "streams_per_subscription_max"),
    ];
    for target in [
        "/streams/",
        "/streams/%0A",
        "/streams/a%00b",
        "/streams/%C2%85",
        "/streams/a%2A",
        "/streams/a/*",
        "/streams/%FF",
        "/streams/-/own",
        &long_name,
    ] {
        wrong.push(get(target, 400, "name_invalid"));
        wrong.push(post(target, "", b"x", 400, "name_invalid"));
        if target != "/streams/" {
            wrong.push(Wrong { method: "DELETE", ..get(target, 400, "name_invalid") });
        }
    }
    let lines = format!("{{\"stream\":\"ok\",\"data\":1}}\n{{\"stream\":\"{long}\",\"data\":1}}");
    wrong.push(post("/streams", NDJSON, lines.as_bytes(), 400, "name_invalid"));
    wrong.push(post("/streams", NDJSON, b"{\"stream\":\"a\\n\",\"data\":1}", 400, "name_invalid"));
    check_all(&server, &wrong).await;
}

#[tokio::test]
async fn bad_bodies_are_refused() {
    let file = "[limits]\nevent_bytes_max = \"1KiB\"\nbatch_bytes_max = \"4KiB\"\nbatch_events_max = 3\n";
    let server = TestServer::with(file).await;
    let (big, huge) = ("x".repeat(1025), "x".repeat(4097));
    let big_line = format!("{{\"data\":1}}\n{{\"data\":\"{big}\"}}");
    let json = "Content-Type: application/json\r\n";
    check_all(
        &server,
        &[
            post("/streams/a", "", big.as_bytes(), 413, "event_too_large"),
            post("/streams/a", NDJSON, big_line.as_bytes(), 413, "event_too_large"),
            post("/streams/a", NDJSON, huge.as_bytes(), 413, "batch_too_large"),
            post("/streams/a", NDJSON, "{\"data\":1}\n".repeat(4).as_bytes(), 413, "batch_too_large"),
            post("/streams/a", "", b"a\xff", 400, "not_utf8"),
            post("/streams/a", json, b"\xc3", 400, "not_utf8"),
            post("/streams/a", NDJSON, b"{\"data\":1}\n{\"data\":\"\xed\xa0\x80\"}", 400, "not_utf8"),
            post("/streams/a", json, b"", 400, "json_invalid"),
            post("/streams/a", json, b"{\"a\":1}{", 400, "json_invalid"),
            post("/streams/a", json, b"'a'", 400, "json_invalid"),
            post("/streams/a", NDJSON, b"", 400, "batch_empty"),
            post("/streams/a", NDJSON, b"\n \r\n", 400, "batch_empty"),
            post("/streams", NDJSON, b"{\"data\":1}", 400, "line_invalid"),
            post("/streams/a", NDJSON, b"{\"stream\":\"b\",\"data\":1}", 400, "line_invalid"),
            post("/streams/a", "Content-Type: image/png\r\n", b"x", 415, "content_type_unsupported"),
            post(
                "/streams/a",
                "Content-Type: text/plain; charset=latin1\r\n",
                b"x",
                415,
                "content_type_unsupported",
            ),
            post("/streams/a", "Content-Encoding: gzip\r\n", b"x", 415, "content_type_unsupported"),
            post("/streams", "Content-Type: text/plain\r\n", b"x", 415, "content_type_unsupported"),
            post("/streams", "", b"x", 415, "content_type_unsupported"),
        ],
    )
    .await;
    // Exactly at the bounds all is well.
    server.post("/streams/a", "", &big[1..]).await.id();
    server.post("/streams/a", NDJSON, &"{\"data\":1}\n".repeat(3)).await.id();
}

#[tokio::test]
async fn broken_line_is_named_and_nothing_of_its_batch_is_stored() {
    let server = TestServer::start().await;
    for (body, line) in [
        ("{\"data\":1}\n\n{\"data\":}\n{\"data\":2}", 3),
        ("nonsense", 1),
        ("{\"data\":1}\r\n[1]", 2),
        ("{\"data\":1}\n{\"type\":\"t\"}", 2),
        ("{\"data\":1}\n{\"data\":1,\"type\":5}", 2),
        ("{\"data\":1}{\"data\":2}", 1),
    ] {
        let said = server.post("/streams/a", NDJSON, body).await.problem(400, "line_invalid", false);
        assert_eq!(said["line"], line, "{body}: {said}");
        assert!(said["detail"].as_str().unwrap().starts_with(&format!("line {line}: ")), "{said}");
    }
    let said = server.request_bytes("POST", "/streams/a", NDJSON, b"{\"data\":1}\n{\"data\":\"\xff\"}").await;
    assert_eq!(said.problem(400, "not_utf8", false)["line"], 2);
    assert_eq!(server.listed("a").await, None);
}

#[tokio::test]
async fn bad_types_are_refused() {
    let server = TestServer::start().await;
    let long = format!("/streams/a?type={}", "t".repeat(256));
    let mut wrong = Vec::new();
    for target in [
        "/streams/a?type=",
        "/streams/a?type=a%0Ab",
        "/streams/a?type=a%0D",
        "/streams/a?type=%00",
        "/streams/a?type=riacho.reset",
        "/streams/a?type=riacho.",
        &long,
    ] {
        wrong.push(post(target, "", b"x", 400, "type_invalid"));
    }
    for body in ["{\"data\":1,\"type\":\"a\\nb\"}", "{\"data\":1,\"stream\":\"a\",\"type\":\"riacho.x\"}"] {
        wrong.push(post("/streams/a", NDJSON, body.as_bytes(), 400, "type_invalid"));
    }
    check_all(&server, &wrong).await;
    server.post(&long[..long.len() - 1], "", "x").await.id();
    server.post("/streams/a?type=riachos", "", "x").await.id();
}

#[tokio::test]
async fn bad_starts_and_parameters_are_refused() {
    let server = TestServer::start().await;
    let mut wrong = Vec::new();
    for from in
        ["", "yesterday", "-5m", "5", "1.5h", "2026-13-01T00:00:00Z", "2026-01-01", "0-1", "1-01", "G-1"]
    {
        wrong.push((format!("/streams/a?from={from}"), "from_invalid"));
    }
    for tail in ["", "-1", "x", "1e3", "100001"] {
        wrong.push((format!("/streams/a?tail={tail}"), "tail_invalid"));
    }
    for parameter in ["wait=61s", "wait=x", "wait=-1s", "limit=0", "limit=1001", "limit=x"] {
        wrong.push((format!("/streams/a?{parameter}"), "parameter_invalid"));
    }
    for parameter in ["envelope=maybe", "padding=2", "from=%FF"] {
        wrong.push((format!("/streams/a?{parameter}"), "parameter_invalid"));
    }
    wrong.push(("/streams?limit=1001".to_owned(), "parameter_invalid"));
    let wrong = wrong
        .iter()
        .map(|(target, code)| Wrong { headers: "Accept: application/json\r\n", ..get(target, 400, code) });
    check_all(&server, &wrong.collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn what_is_not_there_or_not_for_this_method_is_said() {
    let server = TestServer::start().await;
    let event_stream = "Accept: text/event-stream\r\n";
    for (accept, target) in
        [("image/png", "/streams/a"), ("text/html", "/streams"), ("application/json;q=0", "/streams/a")]
    {
        let headers = format!("Accept: {accept}\r\n");
        check(&server, &Wrong { headers: &headers, ..get(target, 406, "not_acceptable") }).await;
    }
    for (target, headers) in
        [("/nothing", ""), ("/", event_stream), ("/other", event_stream), ("/demo", event_stream)]
    {
        check(&server, &Wrong { headers, ..get(target, 404, "not_found") }).await;
    }
    for (method, target, allow) in [
        ("PUT", "/streams/a", "GET, HEAD, POST, DELETE, OPTIONS"),
        ("PATCH", "/streams/a", "GET, HEAD, POST, DELETE, OPTIONS"),
        ("DELETE", "/streams", "GET, HEAD, POST, OPTIONS"),
        ("POST", "/healthz", "GET, HEAD"),
        ("DELETE", "/metrics", "GET, HEAD"),
    ] {
        let answer = check(&server, &Wrong { method, ..get(target, 405, "method_not_allowed") }).await;
        let mut got: Vec<_> = answer.header("allow").unwrap().split(',').map(str::trim).collect();
        let mut want: Vec<_> = allow.split(", ").collect();
        got.sort_unstable();
        want.sort_unstable();
        assert_eq!(got, want, "{method} {target}");
    }
}

/// The reset that a reader with `cursor` gets, on SSE and alike on the other transports.
async fn reset(server: &TestServer, target: &str, cursor: &str, kept: &[&str]) -> Value {
    let headers = format!("Last-Event-ID: {cursor}\r\n");
    let mut reader = server.sse(target, &headers).await;
    let event = reader.next().await;
    assert_eq!(event.event_type, "riacho.reset", "{cursor}: {event:?}");
    let said: Value = serde_json::from_str(&event.data).unwrap();
    assert_eq!(said["cursor"], event.id);
    assert_eq!(reader.data(kept.len()).await, kept, "{cursor}");
    let mut lines = server.lines(target, &headers).await;
    let line = lines.next().await.unwrap();
    assert_eq!((&line["type"], &line["data"]), (&"riacho.reset".into(), &said));
    assert_eq!(lines.next().await.unwrap()["data"], kept[0]);
    let page = server.page(target, &headers).await;
    assert_eq!((&page.events[0]["data"], page.events.len()), (&said, kept.len() + 1));
    assert_eq!(page.events[1]["data"], kept[0]);
    said
}

#[tokio::test]
async fn cursor_that_cannot_be_honoured_is_told_in_band_and_all_that_is_kept_follows() {
    let server = TestServer::start().await;
    server.publish("a", "1").await;
    let last = server.publish("a", "2").await;
    let (epoch, offset) = last.split_once('-').unwrap();
    for malformed in
        ["nonsense", "1", "-", "5F-1", "0-1", "12-012", &format!("{epoch}-ffffffffffffffffff"), "\u{e9}"]
    {
        let said = reset(&server, "/streams/a", malformed, &["1", "2"]).await;
        assert_eq!((&said["reason"], &said["streams"]), (&"malformed".into(), &json!(["a"])), "{malformed}");
    }
    let other = format!("{:x}-{offset}", u64::from_str_radix(epoch, 16).unwrap() ^ 1);
    assert_eq!(reset(&server, "/streams/a", &other, &["1", "2"]).await["reason"], "epoch");
    let ahead = format!("{epoch}-{:x}", u64::from_str_radix(offset, 16).unwrap() + 1);
    assert_eq!(reset(&server, "/streams/a", &ahead, &["1", "2"]).await["reason"], "ahead");

    server.publish("b", "3").await;
    server.request("DELETE", "/streams/a", "", "").await;
    server.publish("a", "4").await;
    let said = reset(&server, "/streams?stream=a&stream=b&envelope=0", &last, &["3", "4"]).await;
    assert_eq!(
        (&said["reason"], &said["streams"], &said["cursor"]),
        (&"trimmed".into(), &json!(["a"]), &last.into())
    );
}
