//! Events go out and come in on WebSockets: the same events, cursors, limits and errors as everywhere.

use crate::support::{Connection, Said, TestServer, WebSocket, handshake, opened, patient, until};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::panic::Location;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

fn subscribe(name: Option<&str>, url: &str) -> Value {
    json!({ "type": "subscribe", "subscription": name, "url": url })
}

#[tokio::test]
async fn frames_are_the_lines_of_ndjson_live_and_late() {
    let server = TestServer::start().await;
    let mut lines = server.lines("/streams/s", "").await;
    let mut live = server.websocket("/streams/s").await;
    let Said::Text(opening) = live.said().await else { panic!("no opening") };
    assert_eq!(opening, format!("{{\"id\":\"{}\",\"type\":\"riacho.heartbeat\"}}", lines.opening));
    server.post("/streams/s?type=t", "Content-Type: application/json\r\n", "{\"a\":\r\n1}").await.id();
    server.publish("s", "thrée\u{2028}").await;
    server.request("DELETE", "/streams/s", "", "").await;
    let mut late = server.websocket(&format!("/streams/s?last_event_id={}", lines.opening)).await;
    for _ in 0..3 {
        let line = lines.next().await.unwrap();
        assert_eq!(live.next().await, line);
    }
    assert_eq!(late.next().await["data"]["reason"], "trimmed");

    let mut resumed =
        server.handshake("/streams?stream=*&from=now", "Last-Event-ID: nonsense\r\n").await.unwrap();
    assert_eq!(resumed.next().await["data"]["reason"], "malformed");
}

#[tokio::test]
async fn one_connection_carries_many_subscriptions_each_by_its_name() {
    let server = TestServer::start().await;
    let a = server.publish("a", "0").await;
    let mut socket = server.websocket("/streams/-/ws").await;
    let subscribed = socket.ask(subscribe(Some("x"), "/streams/a?from=earliest")).await;
    assert_eq!(subscribed, json!({ "reply": "subscribed", "subscription": "x" }));
    let event = socket.next().await;
    assert_eq!((&event["subscription"], &event["event"]["id"]), (&"x".into(), &a.into()));
    // Without a name it is the connection's own.
    assert_eq!(socket.ask(subscribe(None, "/streams?stream=b")).await, json!({ "reply": "subscribed" }));
    server.publish("b", "1").await;
    assert_eq!(socket.data(1).await, ["1"]);

    let ended = socket.ask(json!({ "type": "unsubscribe", "subscription": "x" })).await;
    assert_eq!(ended, json!({ "reply": "unsubscribed", "subscription": "x" }));
    until("one reader", async || (server.listed("a").await?["subscribers"] == 0).then_some(())).await;
    server.publish("a", "unheard").await;
    server.publish("b", "2").await;
    assert_eq!(socket.data(1).await, ["2"]);
    let unknown = socket.ask(json!({ "type": "unsubscribe", "subscription": "x" })).await;
    assert_eq!(
        (&unknown["reply"], &unknown["error"]["code"]),
        (&"error".into(), &"subscription_unknown".into())
    );
    assert_eq!(server.metric("riacho_errors_total{code=\"subscription_unknown\"}").await, 1);
    drop(socket);
    server.until_metric("riacho_views", 0).await;
    server.until_metric("riacho_websockets", 0).await;
}

#[tokio::test]
async fn subscription_that_is_replaced_goes_on_without_gap_or_repeat() {
    let server = TestServer::start().await;
    let mut socket = server.websocket("/streams/s0").await;
    let filler = "x".repeat(50_000);
    let mut want = Vec::new();
    for round in 0..3 {
        // More than the sockets take while nothing is read: the change comes amid what is to be sent.
        for n in 0..100 {
            want.push(format!("{round}-{n}"));
            server.publish("s0", &format!("{round}-{n} {filler}")).await;
        }
        let change = subscribe(None, &format!("/streams?stream=s0&stream=s{round}"));
        socket.send(Message::text(change.to_string())).await;
        let (mut seen, mut replies) = (Vec::new(), 0);
        let read = async {
            while seen.len() < 100 || replies < 1 {
                let frame = socket.next().await;
                match frame["data"].as_str() {
                    Some(data) => seen.push(data.split(' ').next().unwrap().to_owned()),
                    None => replies += i32::from(frame["reply"] == "subscribed"),
                }
            }
        };
        patient(Location::caller(), "all of them", read).await;
        assert_eq!(seen, want[round * 100..]);
    }
    // A cursor of the client's own wins.
    let mut again = subscribe(None, "/streams/s0?tail=1");
    again["last_event_id"] = "nonsense".into();
    socket.ask(again).await;
    assert_eq!(socket.next().await["data"]["reason"], "malformed");
    let all = socket.data(300).await;
    assert!(all.iter().zip(&want).all(|(data, want)| data.as_str().unwrap().starts_with(want)));
    // What is refused changes nothing.
    let refused = socket.ask(subscribe(None, "/streams/-/reserved")).await;
    assert_eq!(refused["error"]["code"], "name_invalid");
    server.publish("s0", "on").await;
    assert_eq!(socket.data(1).await, ["on"]);
}

#[tokio::test]
async fn events_are_published_in_order_and_answered() {
    let server = TestServer::with("[limits]\nevent_bytes_max = \"1KiB\"\n").await;
    let mut socket = server.websocket("/streams/s").await;
    for n in 0..200 {
        let publish = json!({ "type": "publish", "ref": n, "stream": "s", "data": { "n": n } });
        socket.send(Message::text(publish.to_string())).await;
    }
    let (mut answered, mut seen) = (Vec::new(), Vec::new());
    while answered.len() < 200 || seen.len() < 200 {
        let frame = socket.next().await;
        if frame["reply"].is_string() {
            assert_eq!((&frame["reply"], &frame["count"]), (&"published".into(), &1.into()));
            answered.push((frame["ref"].as_i64().unwrap(), frame["id"].clone()));
        } else {
            seen.push((frame["data"]["n"].as_i64().unwrap(), frame["id"].clone()));
        }
    }
    assert!(seen.iter().map(|(n, _)| *n).eq(0..200), "{seen:?}");
    answered.sort_by_key(|(n, _)| *n);
    assert_eq!(answered, seen);

    let mut publish =
        json!({ "type": "publish", "stream": "s", "data": "x", "event_type": "t", "idempotency_key": "k" });
    let first = socket.ask(publish.clone()).await;
    assert_eq!(first, socket.ask(publish.clone()).await);
    publish["data"] = json!({ "x": 1 });
    assert_eq!(socket.ask(publish).await["error"]["code"], "idempotency_key_reused");
    for (publish, code) in [
        (json!({ "stream": "-/x", "data": 1 }), "name_invalid"),
        (json!({ "stream": "s", "data": 1, "event_type": "riacho.x" }), "type_invalid"),
        (json!({ "stream": "s", "data": "x".repeat(1025) }), "event_too_large"),
        (json!({ "stream": "s", "data": 1, "idempotency_key": "é" }), "idempotency_key_invalid"),
        (json!({ "stream": "s" }), "message_invalid"),
    ] {
        let mut message = publish;
        message["type"] = "publish".into();
        let answer = socket.ask(message).await;
        assert_eq!((&answer["reply"], &answer["error"]["code"]), (&"error".into(), &code.into()));
        assert_eq!(answer["error"]["type"], format!("urn:riacho:error:{code}"));
    }
    assert_eq!(socket.ask(json!({ "type": "ping" })).await, json!({ "reply": "pong" }));
}

#[tokio::test]
async fn tables_are_read_live_by_their_groups() {
    let server = TestServer::start().await;
    let put = async |key: &str, value: &str| {
        let target = format!("/tables/orders/{key}");
        server.request("PUT", &target, "Content-Type: application/json\r\n", value).await
    };
    put("1", "{\"n\":1}").await;
    put("2", "{\"n\":2}").await;
    let mut socket = server.websocket("/tables/orders?where=n%20%3E%201").await;
    assert_eq!(socket.next().await["headers"]["control"], "snapshot-start");
    assert_eq!(socket.next().await["key"], "2");
    let end = socket.next().await;
    assert_eq!((&end["headers"]["control"], end["id"].is_string()), (&"snapshot-end".into(), true));
    // Another question, from the cursor on: only what changes.
    socket.ask(subscribe(None, "/tables/orders")).await;
    put("1", "{\"n\":0}").await;
    let change = socket.next().await;
    assert_eq!((&change["key"], &change["value"]["n"]), (&"1".into(), &0.into()));
    let named = socket.ask(subscribe(Some("all"), "/tables/orders")).await;
    assert_eq!(named["reply"], "subscribed");
    assert_eq!(socket.next().await["event"]["headers"]["control"], "snapshot-start");
}

#[tokio::test]
async fn wrong_questions_are_told_on_the_open_connection() {
    let file = "create = false\n[[stream]]\nmatch = \"s/*\"\n[[stream]]\nmatch = \"over\"\nclosed = true\n\
                [limits]\nwebsocket_subscriptions_max = 2\nviews_max = 3\n";
    let server = TestServer::with(file).await;
    for (target, code, reason) in [
        ("/streams/s/1?from=soon", 4400, "from_invalid"),
        ("/streams/-/x", 4400, "name_invalid"),
        ("/streams?stream=a*", 4400, "name_invalid"),
        ("/streams/unknown", 4404, "stream_unknown"),
        ("/tables/t/1", 4404, "not_found"),
        ("/tables/unknown", 4404, "table_unknown"),
        ("/streams/over", 4409, "stream_closed"),
    ] {
        let mut socket = server.websocket(target).await;
        let told = socket.next().await;
        assert_eq!((&told["reply"], &told["error"]["code"]), (&"error".into(), &reason.into()), "{target}");
        assert_eq!(told.get("ref"), None);
        socket.closes(code, reason).await;
        assert_eq!(socket.said().await, Said::End);
    }
    let mut socket = server.websocket("/streams/s/1").await;
    for (message, code) in [
        ("nonsense".to_owned(), "message_invalid"),
        ("{\"type\":\"shout\"}".to_owned(), "message_invalid"),
        (subscribe(Some("a"), "no address").to_string(), "message_invalid"),
        (subscribe(Some("a"), "/metrics").to_string(), "not_found"),
        (subscribe(Some("a"), "/streams/s/1?tail=x").to_string(), "tail_invalid"),
        (subscribe(Some("a"), "/streams/over").to_string(), "stream_closed"),
    ] {
        socket.send(Message::text(message)).await;
        let told = socket.next().await;
        assert_eq!((&told["reply"], &told["error"]["code"]), (&"error".into(), &code.into()));
    }
    socket.ask(subscribe(Some("a"), "/streams/s/2")).await;
    let more = socket.ask(subscribe(Some("b"), "/streams/s/3")).await;
    assert_eq!(more["error"]["code"], "websocket_subscriptions_max");
    // One that is replaced is not one more.
    assert_eq!(socket.ask(subscribe(Some("a"), "/streams/s/4")).await["reply"], "subscribed");

    let mut other = server.websocket("/streams/-/ws").await;
    assert_eq!(other.ask(subscribe(Some("a"), "/streams/s/5")).await["reply"], "subscribed");
    let mut late = server.websocket("/streams/s/6").await;
    let told = late.next().await;
    assert_eq!((&told["error"]["code"], &told["error"]["retry"]), (&"views_max".into(), &true.into()));
    late.closes(1013, "views_max").await;
}

#[tokio::test]
async fn broken_frames_close_with_their_code_and_large_ones_cost_nothing() {
    let server = TestServer::with("[limits]\nwebsocket_message_bytes_max = \"4KiB\"\n").await;
    for (frame, code, reason) in [
        (Message::binary(vec![1]), 1003, "binary"),
        (Message::text("x".repeat(4097)), 1009, "websocket_message_bytes_max"),
    ] {
        let mut socket = server.websocket("/streams/s").await;
        socket.send(frame).await;
        socket.closes(code, reason).await;
    }
    let raw: [(&[u8], u16, &str); 3] = [
        // Not masked; not UTF-8; of a length that will never come.
        (b"\x81\x01x", 1002, "frame_invalid"),
        (b"\x81\x81\0\0\0\0\xff", 1007, "not_utf8"),
        (b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1009, "websocket_message_bytes_max"),
    ];
    for (bytes, code, reason) in raw {
        let mut connection = Connection::open(server.address()).await;
        connection.send([handshake("/streams/s", "").as_bytes(), bytes].concat()).await;
        let mut socket = opened(connection).await.unwrap();
        socket.closes(code, reason).await;
    }
    server.until_metric("riacho_websockets", 0).await;
}

#[tokio::test]
async fn message_that_comes_with_the_handshake_is_heard() {
    let server = TestServer::start().await;
    let ping = b"\x81\x8f\0\0\0\0{\"type\":\"ping\"}";
    let mut connection = Connection::open(server.address()).await;
    connection.send([handshake("/streams/-/ws", "").as_bytes(), ping].concat()).await;
    let mut socket = opened(connection).await.unwrap();
    assert_eq!(socket.next().await, json!({ "reply": "pong" }));
}

#[tokio::test]
async fn pages_of_other_sites_open_none() {
    let server = TestServer::with("cors_origins = [\"https://app.example\"]\n").await;
    for (headers, opens) in [
        ("", true),
        ("Origin: http://riacho\r\n", true),
        ("Origin: https://app.example\r\n", true),
        ("Origin: https://evil.example\r\nSec-Fetch-Site: same-origin\r\n", true),
        ("Origin: https://evil.example\r\n", false),
        ("Origin: null\r\n", false),
    ] {
        match server.handshake("/streams/s", headers).await {
            Ok(_) => assert!(opens, "{headers}"),
            Err(refused) => {
                assert!(!opens, "{headers}");
                refused.problem(403, "origin_forbidden", false);
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_answered_over_http() {
    let server = TestServer::start().await;
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let old = format!("{upgrade}Sec-WebSocket-Version: 8\r\n");
    let refused = server.request("GET", "/streams/s", &old, "").await;
    refused.problem(426, "upgrade_required", false);
    assert_eq!(refused.header("sec-websocket-version"), Some("13"));
    let keyless = format!("{upgrade}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n");
    server.request("GET", "/streams/s", &keyless, "").await.problem(400, "handshake_invalid", false);
    server.get("/streams/-/ws").await.problem(426, "upgrade_required", false);
    // Where there is no WebSocket, the header is passed over.
    assert_eq!(server.request("GET", "/healthz", upgrade, "").await.status, 200);
}

#[tokio::test]
async fn drain_says_goodbye_and_when_to_come_back() {
    let server = TestServer::with("retry = \"2s\"\n").await;
    let mut reader = server.websocket("/streams/s").await;
    let mut named = server.websocket("/streams/-/ws").await;
    named.ask(subscribe(Some("x"), "/streams/s")).await;
    let mut idle = server.websocket("/streams/-/ws").await;
    let id = server.publish("s", "last").await;
    let stopped = tokio::spawn(server.stop());
    assert_eq!(reader.next().await["data"], "last");
    let goodbye = reader.next().await;
    assert_eq!((&goodbye["type"], &goodbye["id"]), (&"riacho.goodbye".into(), &id.clone().into()));
    let retry = goodbye["data"]["retry_ms"].as_u64().unwrap();
    assert!((1000..=3000).contains(&retry), "{goodbye}");
    reader.closes(1001, &format!("{{\"reason\":\"drain\",\"retry_ms\":{retry}}}")).await;
    assert_eq!(named.next().await["event"]["data"], "last");
    assert_eq!(named.next().await["event"]["type"], "riacho.goodbye");
    let Said::Close(1001, reason) = idle.said().await else { panic!("not closed") };
    assert!(serde_json::from_str::<Value>(&reason).unwrap()["retry_ms"].is_u64());
    drop((reader, named, idle));
    stopped.await.unwrap();
}

#[tokio::test]
async fn handshake_during_a_drain_is_told_when_to_come_back() {
    let server = TestServer::start().await;
    let mut stuck = Connection::open(server.address()).await;
    stuck.send("POST /streams/s HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf").await;
    let mut idle = Connection::open(server.address()).await;
    idle.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    idle.response().await;
    let opening = server.handshake("/streams/s", "");
    let stopped = tokio::spawn(server.stop());
    // The drain has begun once this one is closed.
    idle.closed().await;
    let mut late = opening.await.unwrap_or_else(|refused| panic!("{refused:?}"));
    assert_eq!(late.next().await["type"], "riacho.goodbye");
    assert!(matches!(late.said().await, Said::Close(1001, _)));
    stuck.send("while").await;
    stuck.response().await.id();
    drop((late, stuck));
    stopped.await.unwrap();
}

#[tokio::test]
async fn slow_reader_delays_nobody_and_gets_everything_when_it_reads() {
    let server =
        TestServer::with("[limits]\nview_bytes_max = \"64KiB\"\nevent_bytes_max = \"64KiB\"\n").await;
    let mut slow = server.websocket("/streams/s").await;
    let mut quick = server.websocket("/streams/s").await;
    let data = "x".repeat(50_000);
    // More than the sockets and the view together take.
    for n in 0..200 {
        server.publish("s", &format!("{n} {data}")).await;
        assert_eq!(quick.data(1).await[0].as_str().map(str::len), Some(data.len() + n.to_string().len() + 1));
    }
    for n in 0..200 {
        let event = &slow.data(1).await[0];
        assert!(event.as_str().unwrap().starts_with(&format!("{n} x")));
    }
}

#[tokio::test]
async fn dead_peer_is_dropped_and_a_silent_one_is_not() {
    let server = TestServer::with("heartbeat = \"1s\"\n").await;
    let mut alive = server.websocket("/streams/s").await;
    let mut dead = Connection::open(server.address()).await;
    dead.send(handshake("/streams/s", "")).await;
    // It is pinged, told of the silence, and answers nothing.
    let said = dead.closed();
    let (mut pings, mut heartbeats) = (0, 0);
    let said = tokio::select! {
        said = said => said,
        () = async {
            loop {
                match alive.said().await {
                    Said::Ping => pings += 1,
                    Said::Text(text) if text.contains("riacho.heartbeat") => heartbeats += 1,
                    other => panic!("{other:?}"),
                }
            }
        } => unreachable!(),
    };
    assert!(said.windows(2).any(|bytes| bytes == b"\x89\0"), "no ping");
    assert!(pings > 0 && heartbeats > 1, "{pings} pings, {heartbeats} heartbeats");
    server.publish("s", "x").await;
    assert_eq!(alive.data(1).await, ["x"]);
    server.until_metric("riacho_websockets", 1).await;
}

/// A WebSocket on a stream of HTTP/2 (RFC 8441), and what opens more on the same connection.
async fn on_http2(
    client: &mut hyper::client::conn::http2::SendRequest<Empty<Bytes>>,
    target: &str,
    headers: &[(&str, &str)],
) -> Result<WebSocket, u16> {
    let mut request = Request::builder().method(Method::CONNECT).uri(format!("http://riacho{target}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.header("sec-websocket-version", "13").body(Empty::new()).unwrap();
    request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
    let answer = patient(Location::caller(), "an answer", client.send_request(request)).await.unwrap();
    if answer.status() != 200 {
        return Err(answer.status().as_u16());
    }
    let stream = hyper::upgrade::on(answer).await.unwrap();
    Ok(WebSocket::on(TokioIo::new(stream), Vec::new()).await)
}

#[tokio::test]
async fn http2_carries_many_websockets_and_a_slow_one_stops_no_other() {
    let server = TestServer::with("cors_origins = [\"https://app.example\"]\n").await;
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap();
    let mut slow = on_http2(&mut client, "/streams/s", &[]).await.unwrap_or_else(|_| panic!("refused"));
    let mut quick = on_http2(&mut client, "/streams/s", &[]).await.unwrap_or_else(|_| panic!("refused"));
    let evil = on_http2(&mut client, "/streams/s", &[("origin", "https://evil.example")]).await;
    assert_eq!(evil.err(), Some(403));
    let data = "x".repeat(50_000);
    for n in 0..20 {
        server.publish("s", &format!("{n} {data}")).await;
        assert!(quick.data(1).await[0].as_str().unwrap().starts_with(&format!("{n} x")));
    }
    assert_eq!(quick.ask(json!({ "type": "ping" })).await, json!({ "reply": "pong" }));
    for n in 0..20 {
        assert!(slow.data(1).await[0].as_str().unwrap().starts_with(&format!("{n} x")));
    }
    let stopped = tokio::spawn(server.stop());
    assert_eq!(quick.next().await["type"], "riacho.goodbye");
    assert!(matches!(quick.said().await, Said::Close(1001, _)));
    drop((quick, slow, client));
    stopped.await.unwrap();
}
