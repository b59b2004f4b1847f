//! Clients that are slow, many, silent or too talkative cost the others nothing.

use crate::support::{Connection, TestServer, until};

#[tokio::test]
async fn slow_head_is_cut_and_others_do_not_notice() {
    let server = TestServer::with("[limits]\nhead_time_max = \"100ms\"\n").await;
    let mut reader = server.subscribe("s").await;
    // The idle kept connection of the last one falls under the same limit.
    for begun in ["", "G", "PRI * HTTP/2.0\r\n", "GET /streams/s HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let mut slow = Connection::open(server.address()).await;
        slow.send(begun).await;
        server.publish("s", "during").await;
        assert_eq!(reader.next().await.data, "during");
        let said = String::from_utf8(slow.closed().await).unwrap();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{begun:?}: {said}");
    }
    server.publish("s", "after").await;
    assert_eq!(reader.next().await.data, "after");
}

#[tokio::test]
async fn body_that_does_not_come_stores_nothing_and_its_bytes_are_given_back() {
    let file = "[limits]\nevent_bytes_max = \"1KiB\"\nbatch_bytes_max = \"1KiB\"\npublish_bytes_in_flight_max = \"1KiB\"\n";
    let server = TestServer::with(file).await;
    let head = "POST /streams/s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n";
    let mut half = Connection::open(server.address()).await;
    half.send(format!("{head}some of it")).await;
    // Its bytes count from when they are announced.
    until("the limit", async || {
        let answer = server.post("/streams/s", "", &"x".repeat(100)).await;
        (answer.status == 503).then(|| answer.problem(503, "publish_bytes_in_flight_max", true))
    })
    .await;
    assert!(server.metric("riacho_limits_hit_total{limit=\"publish_bytes_in_flight_max\"}").await > 0);
    drop(half);
    let id = until("room", async || {
        let answer = server.post("/streams/s?type=last", "", &"x".repeat(1000)).await;
        (answer.status == 201).then(|| answer.id())
    })
    .await;
    let page = server.page("/streams/s?tail=1", "").await;
    assert_eq!(page.events[0]["id"], id);
    let page = server.page("/streams/s?from=earliest", "").await;
    assert!(page.events.iter().all(|event| !event["data"].as_str().unwrap().starts_with("some")));
}

#[tokio::test]
async fn head_too_large_is_answered_431() {
    let server = TestServer::with("[limits]\nhead_bytes_max = \"8KiB\"\n").await;
    let mut big = Connection::open(server.address()).await;
    big.send(format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Big: {}\r\n\r\n", "x".repeat(20_000))).await;
    let status = big.head().await.status;
    assert_eq!(status, 431);
    let mut fits = Connection::open(server.address()).await;
    fits.send(format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Big: {}\r\n\r\n", "x".repeat(4000))).await;
    assert_eq!(fits.head().await.status, 200);
}

#[tokio::test]
async fn too_many_connections_of_one_address_leave_others_alone() {
    let server = TestServer::with("[limits]\nconnections_per_address_max = 3\n").await;
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(server.subscribe("s").await);
    }
    // Closed without an answer: to a native EventSource any answer but 200 would be final.
    let mut refused = Connection::open(server.address()).await;
    assert!(refused.closed().await.is_empty());

    let mut other = Connection::open_from([127, 0, 0, 2], server.address()).await;
    other.send("POST /streams/s HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na").await;
    other.response().await.id();
    for reader in &mut readers {
        assert_eq!(reader.next().await.data, "a");
    }
    other.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let metrics = other.response().await;
    assert!(metrics.text().contains("riacho_limits_hit_total{limit=\"connections_per_address_max\"} 1\n"));

    // A place that is given back, here by a reader on a reactor, is another's.
    readers.pop();
    until("a place", async || {
        other.send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        other.response().await.text().contains("riacho_connections 3\n").then_some(())
    })
    .await;
    readers.push(server.subscribe("s").await);
}

#[tokio::test]
async fn too_many_connections_in_all_are_closed() {
    let server = TestServer::with("[limits]\nconnections_max = 2\n").await;
    let reader = server.subscribe("s").await;
    let mut last = Connection::open(server.address()).await;
    last.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(last.response().await.status, 200);
    let mut refused = Connection::open_from([127, 0, 0, 3], server.address()).await;
    assert!(refused.closed().await.is_empty());
    drop(reader);
}

#[tokio::test]
async fn reader_that_never_reads_delays_nobody_and_loses_nothing() {
    let file =
        "[limits]\nview_bytes_max = \"64KiB\"\nevent_bytes_max = \"64KiB\"\ntail_bytes_max = \"64KiB\"\n";
    let server = TestServer::with(file).await;
    let mut stalled = server.subscribe("s").await;
    let mut healthy = server.subscribe("s").await;
    let filler = "x".repeat(60_000);
    let mut count = 0;
    // Until the stalled one's socket is full, and then well past its view.
    while server.metric("riacho_subscribers_blocked").await == 0 || count < 40 {
        server.publish("s", &format!("{count} {filler}")).await;
        assert!(healthy.next().await.data.starts_with(&format!("{count} ")));
        count += 1;
        assert!(count < 2000, "no socket takes this much");
    }
    for _ in 0..5 {
        server.publish("s", &format!("{count} {filler}")).await;
        assert!(healthy.next().await.data.starts_with(&format!("{count} ")));
        count += 1;
    }
    assert!(server.metric("riacho_views_bytes").await < 1 << 20);
    for n in 0..count {
        let event = stalled.next().await;
        assert_eq!(
            (event.data.split(' ').next().unwrap(), event.event_type.as_str()),
            (n.to_string().as_str(), "message")
        );
    }
    server.until_metric("riacho_subscribers_blocked", 0).await;
}

#[tokio::test]
async fn nonsense_on_the_socket_ends_that_socket_only() {
    let server = TestServer::start().await;
    let mut reader = server.subscribe("s").await;
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01"[..],
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /streams/s HTTP/1.1\r\nHost x\r\n\r\n",
        b"POST /streams/s HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /streams/s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense",
    ] {
        let mut connection = Connection::open(server.address()).await;
        connection.send(nonsense).await;
        connection.closed().await;
    }
    server.publish("s", "a").await;
    assert_eq!(reader.next().await.data, "a");
    assert_eq!(server.listed("s").await.unwrap()["events"], 1);
}
