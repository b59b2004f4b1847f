//! One subscription path, four ways out: the same events with the same ids, and connections that end as they should.

use crate::support::{Connection, Event, Item, Page, Parser, Subscription, TestServer, patient, until};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::panic::Location;
use tokio::net::TcpStream;

type Http2 = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

/// HTTP/2 by prior knowledge.
async fn http2(server: &TestServer) -> Http2 {
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask(
    http2: &mut Http2,
    method: Method,
    target: &str,
    accept: &str,
) -> hyper::Response<hyper::body::Incoming> {
    let request =
        Request::builder().method(method).uri(format!("http://riacho{target}")).header("accept", accept);
    let request = request.body(Empty::new()).unwrap();
    patient(Location::caller(), "an answer on HTTP/2", http2.send_request(request)).await.unwrap()
}

/// The next `count` events of an SSE answer on HTTP/2.
async fn http2_events(answer: &mut hyper::Response<hyper::body::Incoming>, count: usize) -> Vec<Event> {
    let (mut parser, mut events) = (Parser::default(), Vec::new());
    while events.len() < count {
        let frame = patient(Location::caller(), "a frame", answer.body_mut().frame()).await;
        parser.push(&frame.unwrap().unwrap().into_data().unwrap());
        while let Some(item) = parser.next() {
            if let Item::Event(event) = item {
                events.push(event);
            }
        }
    }
    events
}

async fn http10(server: &TestServer, target: &str) -> Subscription {
    let mut connection = Connection::open(server.address()).await;
    connection.send(format!("GET {target} HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n")).await;
    Subscription::on(connection).await
}

/// An event as every transport gives it: id, type, data.
type Told = (String, Value, String);

fn told(event: &Event) -> Told {
    let event_type =
        if event.event_type == "message" { Value::Null } else { event.event_type.clone().into() };
    (event.id.clone(), event_type, event.data.clone())
}

fn told_in_json(event: &Value) -> Told {
    let data = event["data"].as_str().map_or_else(|| event["data"].to_string(), str::to_owned);
    (event["id"].as_str().unwrap().to_owned(), event["type"].clone(), data)
}

async fn publish_some(server: &TestServer) -> Vec<Told> {
    let mut all = Vec::new();
    for (event_type, content, data) in
        [("", "text/plain", "one"), ("?type=t", "application/json", "{\"n\":2}"), ("", "text/plain", "thrée")]
    {
        let headers = format!("Content-Type: {content}\r\n");
        let id = server.post(&format!("/streams/s{event_type}"), &headers, data).await.id();
        let event_type = if event_type.is_empty() { Value::Null } else { "t".into() };
        all.push((id, event_type, data.to_owned()));
        server.publish("other", "x").await;
    }
    all
}

#[tokio::test]
async fn all_transports_carry_the_same_events_with_the_same_ids_live_and_late() {
    let server = TestServer::start().await;
    let mut sse = server.subscribe("s").await;
    let mut old = http10(&server, "/streams/s").await;
    assert_eq!((old.head.header("transfer-encoding"), old.head.header("content-length")), (None, None));
    let mut client = http2(&server).await;
    let mut new = ask(&mut client, Method::GET, "/streams/s", "text/event-stream").await;
    let mut lines = server.lines("/streams/s", "").await;
    let start = sse.cursor.clone();
    assert_eq!((&old.cursor, &lines.opening), (&start, &start));

    let want = publish_some(&server).await;
    let resume = format!("Last-Event-ID: {start}\r\n");
    let mut late = server.sse("/streams/s", &resume).await;
    let mut late_lines = server.lines("/streams/s", &resume).await;
    let mut late_new = ask(&mut client, Method::GET, "/streams/s?from=earliest", "text/event-stream").await;
    for reader in [&mut sse, &mut old, &mut late] {
        for event in &want {
            assert_eq!(told(&reader.next().await), *event);
        }
    }
    for reader in [&mut new, &mut late_new] {
        assert_eq!(
            (reader.status().as_u16(), &reader.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        assert_eq!(http2_events(reader, 3).await.iter().map(told).collect::<Vec<_>>(), want);
    }
    for reader in [&mut lines, &mut late_lines] {
        for event in &want {
            assert_eq!(told_in_json(&reader.next().await.unwrap()), *event);
        }
    }
    let page = server.page("/streams/s", &resume).await;
    assert_eq!(page.events.iter().map(told_in_json).collect::<Vec<_>>(), want);
    assert_eq!((page.events[0]["stream"].as_str(), page.more), (Some("s"), false));
}

#[tokio::test]
async fn transport_may_be_switched_at_any_cursor() {
    let server = TestServer::start().await;
    let start = server.subscribe("s").await.cursor;
    let mut cursor = start.clone();
    let all = publish_some(&server).await;
    for n in 0..12 {
        let want = &all[n % 3];
        let resume = format!("Last-Event-ID: {cursor}\r\n");
        let got = match n % 4 {
            0 => told(&server.sse("/streams/s", &resume).await.next().await),
            1 => told_in_json(&server.lines("/streams/s", &resume).await.next().await.unwrap()),
            2 => {
                let page = server.page("/streams/s?limit=1", &resume).await;
                assert_eq!(page.more, n % 3 < 2);
                told_in_json(&page.events[0])
            }
            _ => told(&http10(&server, &format!("/streams/s?lastEventId={cursor}")).await.next().await),
        };
        assert_eq!(got, *want, "step {n}");
        cursor = if n % 3 == 2 { start.clone() } else { got.0 };
    }
}

#[tokio::test]
async fn page_that_a_poller_has_is_not_sent_again() {
    let server = TestServer::with("[[stream]]\nmatch = \"over\"\nclosed = true\n").await;
    let id = server.publish("s", "a").await;
    let ask = async |target: &str, tag: &str| {
        let headers = format!("Accept: application/json\r\nIf-None-Match: {tag}\r\n");
        server.request("GET", target, &headers, "").await
    };
    let first = ask("/streams/s?from=earliest", "\"other\"").await;
    let tag = format!("\"{id}\"");
    assert_eq!((first.status, first.header("etag")), (200, Some(tag.as_str())));
    // The same place with events is another page; without any it is known.
    assert_eq!(ask("/streams/s?from=earliest", &tag).await.status, 200);
    let after = format!("/streams/s?from={id}&wait=10ms");
    let known = ask(&after, &tag).await;
    assert_eq!((known.status, known.header("etag"), known.body.len()), (304, Some(tag.as_str()), 0));
    server.publish("other", "b").await;
    let moved = ask(&after, &tag).await;
    assert_eq!((moved.status, Page::of(&moved).events.len()), (200, 0));
    ask(&after, "no tag").await.problem(400, "condition_invalid", false);
    // Nothing will come where a stream has ended.
    assert_eq!(ask("/streams/over?wait=60s", "\"x\"").await.json()["closed"], true);
}

#[tokio::test]
async fn poller_that_loops_is_woken_for_every_event() {
    let server = TestServer::start().await;
    let mut cursor = server.page("/streams/s", "").await.cursor;
    let poller = async {
        let mut seen = Vec::new();
        let mut connection = Connection::open(server.address()).await;
        while seen.len() < 300 {
            // Longer than a test waits: an event that wakes nobody is seen as such.
            let target = format!("/streams/s?last_event_id={cursor}&wait=60s");
            let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n");
            connection.send(request).await;
            let page = Page::of(&connection.response().await);
            seen.extend(page.events.iter().map(|event| event["data"].as_str().unwrap().to_owned()));
            cursor = page.cursor;
        }
        seen
    };
    let publisher = async {
        for n in 0..300 {
            server.publish(if n % 3 == 0 { "other" } else { "s" }, &n.to_string()).await;
            if n % 3 == 0 {
                server.publish("s", &n.to_string()).await;
            }
        }
    };
    let (seen, ()) = tokio::join!(poller, publisher);
    assert!(seen.iter().map(|n| n.parse::<usize>().unwrap()).eq(0..300), "{seen:?}");
}

#[tokio::test]
async fn http2_carries_many_streams_and_a_slow_one_stops_no_other() {
    let server = TestServer::start().await;
    let mut client = http2(&server).await;
    let mut readers = Vec::new();
    for n in 0..100 {
        let target = format!("/streams?stream=all&stream=own/{n}");
        readers.push(ask(&mut client, Method::GET, &target, "text/event-stream").await);
    }
    // Its window is full long before this is sent, and it takes nothing.
    let mut slow = ask(&mut client, Method::GET, "/streams/large", "text/event-stream").await;
    for _ in 0..100 {
        server.publish("large", &"x".repeat(50_000)).await;
    }
    for (n, reader) in readers.iter_mut().enumerate() {
        server.publish(&format!("own/{n}"), "mine").await;
        assert_eq!(
            http2_events(reader, 1).await[0].data,
            format!("{{\"stream\":\"own/{n}\",\"data\":\"mine\"}}")
        );
    }
    server.publish("all", "ours").await;
    for reader in &mut readers {
        assert_eq!(http2_events(reader, 1).await[0].data, "{\"stream\":\"all\",\"data\":\"ours\"}");
    }
    assert_eq!(http2_events(&mut slow, 100).await.len(), 100);
}

#[tokio::test]
async fn selection_that_is_changed_at_a_cursor_has_no_gap() {
    let server = TestServer::start().await;
    let mut reader = server.subscribe("s0").await;
    for round in 1..20 {
        // In turn of the stream that is read and of the one that is to join.
        let line = |n: usize| {
            format!("{}\n", json!({ "stream": format!("s{}", n % 2 * round), "data": n.to_string() }))
        };
        let lines: String = (0..20).map(line).collect();
        server.post("/streams", "Content-Type: application/x-ndjson\r\n", &lines).await.id();
        let read = reader.data(1 + round % 7).await;
        let target = format!("/streams?stream=s0&stream=s{round}&envelope=0&last_event_id={}", reader.cursor);
        reader = server.sse(&target, "").await;
        // All of both streams from the cursor on.
        let next: usize = read.last().unwrap().parse::<usize>().unwrap() + 1;
        let want: Vec<String> = (next..20).map(|n| n.to_string()).collect();
        assert_eq!(reader.data(20 - next).await, want);
    }
}

#[tokio::test]
async fn long_poll_waits_for_the_first_event_and_no_longer() {
    let server = TestServer::start().await;
    let now = server.page("/streams/s", "").await;
    assert_eq!((now.events.len(), now.more), (0, false));
    let empty = server.page("/streams/s?wait=10ms", "").await;
    assert_eq!((empty.events.len(), empty.cursor, empty.more), (0, now.cursor.clone(), false));

    let mut connection = Connection::open(server.address()).await;
    let target = format!("/streams/s?from={}&wait=30s", now.cursor);
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n");
    connection.send(&request).await;
    server.until_metric("riacho_views", 1).await;
    server.publish("other", "x").await;
    let id = server.publish("s", "waited for").await;
    let page = Page::of(&connection.response().await);
    assert_eq!((&page.cursor, page.events[0]["data"].as_str(), page.more), (&id, Some("waited for"), false));
    // The connection is kept, and so is the place.
    connection
        .send(format!("GET /streams/s?from={id} HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n"))
        .await;
    assert!(Page::of(&connection.response().await).events.is_empty());
    server.until_metric("riacho_views", 0).await;
}

#[tokio::test]
async fn long_poll_pages_go_on_without_gap_or_repeat() {
    let server = TestServer::start().await;
    for n in 0..10 {
        server.publish(if n % 2 == 0 { "a" } else { "b" }, &n.to_string()).await;
    }
    let (mut got, mut target) = (Vec::new(), "from=earliest".to_owned());
    loop {
        let page = server.page(&format!("/streams?stream=a&stream=b&limit=3&{target}"), "").await;
        got.extend(page.events.iter().map(|event| event["data"].as_str().unwrap().to_owned()));
        target = format!("from={}", page.cursor);
        if !page.more {
            break;
        }
    }
    assert_eq!(got, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn kept_connection_can_turn_into_a_subscription() {
    let server = TestServer::start().await;
    let mut connection = Connection::open(server.address()).await;
    for n in 0..3 {
        connection.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(connection.response().await.text(), "ok\n", "{n}");
    }
    connection.send("GET /streams/s HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut reader = Subscription::on(connection).await;
    server.publish("s", "a").await;
    assert_eq!(reader.next().await.data, "a");
}

#[tokio::test]
async fn post_and_subscription_in_one_write_are_both_answered() {
    let server = TestServer::start().await;
    let mut connection = Connection::open(server.address()).await;
    let post = "POST /streams/s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nfirst";
    let get = "GET /streams/s?from=earliest HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n";
    connection.send(format!("{post}{get}")).await;
    let id = connection.response().await.id();
    let mut reader = Subscription::on(connection).await;
    assert_eq!(reader.next().await.id, id);
    server.publish("s", "second").await;
    assert_eq!(reader.next().await.data, "second");
}

#[tokio::test]
async fn request_for_a_subscription_may_have_a_body() {
    let server = TestServer::start().await;
    for body in ["Content-Length: 4\r\n\r\nbody", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"]
    {
        let mut connection = Connection::open(server.address()).await;
        connection.send(format!("GET /streams/s HTTP/1.1\r\nHost: x\r\n{body}")).await;
        let mut reader = Subscription::on(connection).await;
        server.publish("s", "a").await;
        assert_eq!(reader.next().await.data, "a");
    }
}

#[tokio::test]
async fn what_a_subscriber_sends_is_thrown_away() {
    let server = TestServer::start().await;
    let mut connection = Connection::open(server.address()).await;
    let post = "POST /streams/s HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nevil";
    connection.send(format!("GET /streams/s HTTP/1.1\r\nHost: x\r\n\r\n{post}")).await;
    let mut reader = Subscription::on(connection).await;
    server.publish("s", "a").await;
    assert_eq!(reader.next().await.data, "a");
    reader.connection().send(post).await;
    server.until_metric("riacho_discarded_bytes_total", post.len() as u64).await;
    server.publish("s", "b").await;
    assert_eq!(reader.next().await.data, "b");
    assert_eq!(server.listed("s").await.unwrap()["events"], 2);
}

#[tokio::test]
async fn subscription_is_served_whatever_the_client_says_of_the_connection() {
    let server = TestServer::start().await;
    let mut reader = server.sse("/streams/s", "Connection: close\r\n").await;
    assert_eq!(reader.head.version, "HTTP/1.1");
    server.publish("s", "a").await;
    assert_eq!(reader.next().await.data, "a");
}

#[tokio::test]
async fn half_close_ends_the_subscription_on_every_transport() {
    let server = TestServer::start().await;
    server.publish("s", "a").await;
    let subscribers = async || server.listed("s").await.unwrap()["subscribers"].as_u64().unwrap();
    for request in [
        "GET /streams/s HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /streams?stream=s&stream=t HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n",
        "GET /streams/s HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n",
        "GET /streams/s HTTP/1.0\r\n\r\n",
        "GET /streams/s?wait=60s HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n",
    ] {
        let mut connection = Connection::open(server.address()).await;
        connection.send(request).await;
        until("a subscriber", async || (subscribers().await == 1).then_some(())).await;
        connection.half_close().await;
        connection.closed().await;
        until(request, async || (subscribers().await == 0).then_some(())).await;
        server.until_metric("riacho_subscribers", 0).await;
        server.until_metric("riacho_views", 0).await;
        server.until_metric("riacho_views_bytes", 0).await;
    }
}

#[tokio::test]
async fn http2_carries_requests_beside_subscriptions() {
    let server = TestServer::start().await;
    let mut client = http2(&server).await;
    let mut reader = ask(&mut client, Method::GET, "/streams/s", "text/event-stream").await;
    let head = ask(&mut client, Method::HEAD, "/streams/s", "text/event-stream").await;
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    assert!(head.into_body().collect().await.unwrap().to_bytes().is_empty());
    server.publish("s", "a").await;
    assert_eq!(http2_events(&mut reader, 1).await[0].data, "a");
    let health = ask(&mut client, Method::GET, "/healthz", "*/*").await;
    assert_eq!(health.into_body().collect().await.unwrap().to_bytes(), "ok\n");
    // Given up by itself, with the connection left standing.
    drop(reader);
    server.until_metric("riacho_views", 0).await;
    let health = ask(&mut client, Method::GET, "/healthz", "*/*").await;
    assert_eq!(health.status().as_u16(), 200);
}

#[tokio::test]
async fn best_accepted_form_is_given() {
    let server = TestServer::start().await;
    server.publish("s", "a").await;
    for (accept, content) in [
        ("*/*", "text/event-stream"),
        ("text/*", "text/event-stream"),
        ("text/html, application/json;q=0.9", "application/json"),
        ("application/json;q=0.1, application/x-ndjson;q=0.5, text/event-stream;q=0", "application/x-ndjson"),
        ("Text/Event-Stream", "text/event-stream"),
        ("application/json, */*;q=0.1", "application/json"),
    ] {
        let mut connection = Connection::open(server.address()).await;
        connection.send(format!("GET /streams/s HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n")).await;
        let head = connection.head().await;
        assert_eq!((head.status, head.header("content-type")), (200, Some(content)), "{accept}");
    }
    let list = server.request("GET", "/streams", "Accept: */*\r\n", "").await;
    assert_eq!(list.json()["streams"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn data_never_breaks_the_framing_of_any_transport() {
    let server = TestServer::start().await;
    let mut sse = server.subscribe("s").await;
    let mut old = http10(&server, "/streams/s").await;
    let mut wrapped = server.sse("/streams/s?envelope=1", "").await;
    let mut lines = server.lines("/streams/s", "").await;
    let start = lines.opening.clone();
    // All short texts over the characters that could end a line, a field, a block or a string somewhere.
    let sharp = [
        "\r",
        "\n",
        "\0",
        "\u{feff}",
        "\u{2028}",
        "\u{2029}",
        "\u{85}",
        "\u{b}",
        " ",
        ":",
        "\"",
        "\\",
        "id: 7\n\n",
    ];
    let mut texts = vec![String::new()];
    for a in sharp {
        texts.push(a.to_owned());
        for b in sharp {
            texts.push(format!("{a}{b}"));
            texts.push(format!("x{a}y{b}data: z{a}"));
        }
    }
    let as_text: String = texts.iter().map(|text| format!("{}\n", json!({ "data": text }))).collect();
    server.post("/streams/s", "Content-Type: application/x-ndjson\r\n", &as_text).await.id();
    let mut ids = Vec::new();
    for text in &texts {
        // What the standard makes of every line end.
        let want = text.replace("\r\n", "\n").replace('\r', "\n");
        let event = sse.next().await;
        assert_eq!((event.data.as_str(), event.event_type.as_str()), (want.as_str(), "message"), "{text:?}");
        assert_eq!(old.next().await, event);
        let envelope: Value = serde_json::from_str(&wrapped.next().await.data).unwrap();
        assert_eq!(envelope, json!({ "stream": "s", "data": text }));
        assert_eq!(lines.next().await.unwrap()["data"], **text);
        ids.push(event.id);
    }
    let page = server.page(&format!("/streams/s?from={start}"), "").await;
    let paged: Vec<_> = page.events.iter().map(|event| event["data"].as_str().unwrap().to_owned()).collect();
    assert_eq!(paged, texts);
    ids.dedup();
    assert_eq!(ids.len(), texts.len());

    // The same as one body each, through the other way in; for text and for JSON with breaks between its tokens.
    for text in texts.iter().filter(|text| text.chars().count() < 3) {
        server.publish("s", text).await;
        assert_eq!(sse.next().await.data, text.replace("\r\n", "\n").replace('\r', "\n"));
        assert_eq!(lines.next().await.unwrap()["data"], **text);
    }
    server
        .post("/streams/s", "Content-Type: application/json\r\n", "\r\n[1,\r\"\u{2028}\"\n\n]\n")
        .await
        .id();
    assert_eq!(lines.next().await.unwrap()["data"], json!([1, "\u{2028}"]));
    let value: Value = serde_json::from_str(&sse.next().await.data).unwrap();
    assert_eq!(value, json!([1, "\u{2028}"]));
}
