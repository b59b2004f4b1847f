//! Events that live in memory only: lost by a restart, never without a word, and never out of order.

use crate::support::{Connection, Process, Subscription, TestServer};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};

const FILE: &str = "[[stream]]\nmatch = \"m/**\"\ndurability = \"memory\"\n";

fn holds(directory: &Path, text: &str) -> bool {
    let has = |path: &Path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).any(|path| match path.is_dir() {
        true => holds(&path, text),
        false => has(&path),
    })
}

#[tokio::test]
async fn memory_events_are_delivered_and_never_on_disk() {
    let server = TestServer::with(FILE).await;
    let mut reader = server.subscribe("m/a").await;
    for n in 0..20 {
        server.publish("m/a", &format!("fleeting {n}")).await;
        assert_eq!(reader.next().await.data, format!("fleeting {n}"));
    }
    server.publish("d", "lasting").await;
    assert_eq!(server.listed("m/a").await.unwrap()["durability"], "memory");
    let directory = server.stop().await;
    assert!(holds(directory.path(), "lasting") && !holds(directory.path(), "fleeting"));
}

#[tokio::test]
async fn restart_tells_readers_which_memory_streams_lost_events() {
    let server = TestServer::with(FILE).await;
    let start = server.subscribe("d").await.cursor;
    server.publish("m/a", "1").await;
    server.publish("d", "2").await;
    let cursor = server.publish("d", "3").await;
    server.publish("m/b", "4").await;
    let last = server.publish("d", "5").await;
    let server = server.restart().await;
    for (cursor, lost, kept) in
        [(&start, json!(["m/a", "m/b"]), &["2", "3", "5"][..]), (&cursor, json!(["m/b"]), &["5"])]
    {
        let resume = format!("Last-Event-ID: {cursor}\r\n");
        let mut reader = server.sse("/streams?stream=m/*&stream=d&envelope=0", &resume).await;
        let reset = reader.next().await;
        assert_eq!(reset.event_type, "riacho.reset");
        let said: Value = serde_json::from_str(&reset.data).unwrap();
        assert_eq!(said, json!({ "reason": "trimmed", "streams": lost, "cursor": cursor }));
        assert_eq!(reader.data(kept.len()).await, kept);
    }
    // Who had seen all of it has lost nothing, nor has a reader of durable streams.
    let resume = format!("Last-Event-ID: {last}\r\n");
    let mut whole = server.sse("/streams?stream=m/*&stream=d&envelope=0", &resume).await;
    let mut durable = server.subscribe_after("d", &start).await;
    let new = server.publish("m/a", "6").await;
    assert!(offset(&new) > offset(&last));
    assert_eq!(whole.next().await.data, "6");
    assert_eq!(durable.data(3).await, ["2", "3", "5"]);
}

#[tokio::test]
async fn keep_bounds_a_memory_stream_and_its_readers_are_told() {
    let file = "[[stream]]\nmatch = \"m/events\"\ndurability = \"memory\"\nkeep = { events = 3 }\n\
                [[stream]]\nmatch = \"m/bytes\"\ndurability = \"memory\"\nkeep = { bytes = 80 }\n";
    // A record of these events is 39 bytes.
    let server = TestServer::with(file).await;
    for (stream, kept) in [("m/events", 3), ("m/bytes", 2)] {
        let first = server.publish(stream, "ab 0").await;
        for n in 1..10 {
            server.publish(stream, &format!("ab {n}")).await;
        }
        let want: Vec<_> = (10 - kept..10).map(|n| format!("ab {n}")).collect();
        let mut all = server.sse(&format!("/streams/{stream}?from=earliest"), "").await;
        assert_eq!(all.data(kept).await, want, "{stream}");
        assert_eq!(server.listed(stream).await.unwrap()["events"], kept, "{stream}");
        let mut late = server.subscribe_after(stream, &first).await;
        let reset: Value = serde_json::from_str(&late.next().await.data).unwrap();
        assert_eq!((&reset["reason"], &reset["streams"]), (&"trimmed".into(), &json!([stream])));
        assert_eq!(late.data(kept).await, want, "{stream}");
    }
}

#[tokio::test]
async fn keep_bounds_a_durable_stream_and_its_readers_are_told() {
    let server = TestServer::with("[[stream]]\nmatch = \"d\"\nkeep = { events = 3 }\n").await;
    let first = server.publish("d", "0").await;
    for n in 1..10 {
        server.publish("d", &n.to_string()).await;
    }
    // Retention runs by itself, every so often.
    crate::support::until("retention", async || (server.listed("d").await?["events"] == 3).then_some(()))
        .await;
    let mut all = server.sse("/streams/d?from=earliest", "").await;
    assert_eq!(all.data(3).await, ["7", "8", "9"]);
    let mut late = server.subscribe_after("d", &first).await;
    let reset: Value = serde_json::from_str(&late.next().await.data).unwrap();
    assert_eq!((&reset["reason"], &reset["streams"]), (&"trimmed".into(), &json!(["d"])));
    assert_eq!(late.data(3).await, ["7", "8", "9"]);
}

#[tokio::test]
async fn offsets_are_never_used_again_after_a_kill_or_a_clean_end() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("riacho.toml"), FILE).unwrap();
    let mut newest: Option<String> = None;
    for round in 0..6 {
        let server = Process::serve(directory.path()).await;
        for stream in ["m/a", "d", "m/b", "m/a"] {
            let mut connection = Connection::open(server.address()).await;
            let request = "HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx";
            connection.send(format!("POST /streams/{stream} {request}")).await;
            let id = connection.response().await.id();
            if let Some(newest) = &newest {
                assert_eq!(id.split('-').next(), newest.split('-').next(), "one epoch");
                assert!(offset(&id) > offset(newest), "round {round}: {id} after {newest}");
            }
            newest = Some(id);
        }
        server.signal(if round % 2 == 0 { Signal::KILL } else { Signal::TERM });
        assert_eq!(server.exit().await.code(), (round % 2 == 1).then_some(0));
    }
}

#[tokio::test]
async fn cursor_of_a_memory_event_lost_by_a_kill_is_not_ahead() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("riacho.toml"), FILE).unwrap();
    let server = Process::serve(directory.path()).await;
    let publish = async |server: &Process, stream: &str| {
        let mut connection = Connection::open(server.address()).await;
        connection
            .send(format!("POST /streams/{stream} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"))
            .await;
        connection.response().await.id()
    };
    publish(&server, "d").await;
    publish(&server, "m/a").await;
    let cursor = publish(&server, "m/a").await;
    server.signal(Signal::KILL);
    server.exit().await;
    let server = Process::serve(directory.path()).await;
    let mut connection = Connection::open(server.address()).await;
    let resume = format!("GET /streams/d HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {cursor}\r\n\r\n");
    connection.send(resume).await;
    let mut reader = Subscription::on(connection).await;
    let id = publish(&server, "d").await;
    let event = reader.next().await;
    assert_eq!((event.event_type.as_str(), event.id), ("message", id));
}

#[tokio::test]
async fn what_is_visible_is_a_prefix_while_durable_and_memory_events_race() {
    let server = Arc::new(TestServer::with(FILE).await);
    server.publish("m/a", "first").await;
    let mut both = server.sse("/streams?stream=m/a&stream=d&envelope=0", "").await;
    let publishers: Vec<_> = ["m/a", "d", "m/a", "d"]
        .into_iter()
        .enumerate()
        .map(|(publisher, stream)| {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                for n in 0..100 {
                    server.publish(stream, &format!("{publisher} {n}")).await;
                }
            })
        })
        .collect();
    let (mut seen, mut next) = (0, [0; 4]);
    for _ in 0..400 {
        let event = both.next().await;
        let (publisher, n) = event.data.split_once(' ').unwrap();
        let next = &mut next[publisher.parse::<usize>().unwrap()];
        assert_eq!(n, next.to_string());
        *next += 1;
        assert!(offset(&event.id) > seen, "{event:?} after {seen:x}");
        seen = offset(&event.id);
        // A reader that comes back with any cursor it was given gets exactly what follows.
        if seen % 16 == 0 {
            both = server
                .sse("/streams?stream=m/a&stream=d&envelope=0", &format!("Last-Event-ID: {}\r\n", event.id))
                .await;
        }
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
}

fn offset(id: &str) -> u64 {
    u64::from_str_radix(id.split_once('-').unwrap().1, 16).unwrap()
}
