//! One stream and many: publish, subscribe, resume, empty, list.

use crate::support::{Item, TestServer, until};
use serde_json::json;

#[tokio::test]
async fn subscriber_gets_what_is_published_with_the_id_the_publisher_was_answered() {
    let server = TestServer::start().await;
    let mut orders = server.subscribe("orders").await;
    let id = server.publish("orders", "a").await;
    let a = orders.next().await;
    assert_eq!((a.id, a.event_type, a.data), (id, "message".to_owned(), "a".to_owned()));

    let typed = server.post("/streams/orders?type=created", "", "b").await.id();
    let b = orders.next().await;
    assert_eq!((b.id, b.event_type, b.data), (typed, "created".to_owned(), "b".to_owned()));
}

#[tokio::test]
async fn subscriber_that_reconnects_misses_nothing_and_repeats_nothing() {
    let server = TestServer::start().await;
    let mut orders = server.subscribe("orders").await;
    server.publish("orders", "a").await;
    let a = orders.next().await;
    drop(orders);
    server.publish("orders", "b").await;
    server.publish("other", "x").await;

    let mut orders = server.subscribe_after("orders", &a.id).await;
    assert_eq!(orders.opening.id.as_ref(), Some(&a.id));
    server.publish("orders", "c").await;
    assert_eq!(orders.data(2).await, ["b", "c"]);
}

#[tokio::test]
async fn client_that_saw_no_event_yet_resumes_from_where_it_began() {
    let server = TestServer::start().await;
    server.publish("orders", "before").await;
    let orders = server.subscribe("orders").await;
    let cursor = orders.cursor.clone();
    drop(orders);
    server.publish("orders", "missed").await;
    let mut orders = server.subscribe_after("orders", &cursor).await;
    assert_eq!(orders.next().await.data, "missed");
}

#[tokio::test]
async fn resume_works_over_a_restart() {
    let mut server = TestServer::start().await;
    let mut cursor = server.subscribe("orders").await.cursor;
    for round in ["1", "2", "3"] {
        server.publish("orders", &format!("a{round}")).await;
        server = server.restart().await;
        server.publish("orders", &format!("b{round}")).await;
        let mut orders = server.subscribe_after("orders", &cursor).await;
        assert_eq!(orders.data(2).await, [format!("a{round}"), format!("b{round}")]);
        cursor = orders.cursor;
    }
}

#[tokio::test]
async fn every_start_begins_where_it_says() {
    let server = TestServer::start().await;
    let mut ids = Vec::new();
    for data in ["a", "b", "c", "d"] {
        ids.push(server.publish("s", data).await);
        server.publish("other", "x").await;
    }
    let all = ["a", "b", "c", "d", "end"];
    let mut open = Vec::new();
    for (target, headers, skipped) in [
        ("/streams/s", String::new(), 4),
        ("/streams/s?from=now", String::new(), 4),
        ("/streams/s?from=earliest", String::new(), 0),
        (&format!("/streams/s?from={}", ids[1]), String::new(), 2),
        ("/streams/s?from=10m", String::new(), 0),
        ("/streams/s?from=2001-02-03T04:05:06Z", String::new(), 0),
        ("/streams/s?from=2001-02-03T04:05:06.5%2B01:00", String::new(), 0),
        ("/streams/s?from=2999-02-03T04:05:06Z", String::new(), 4),
        ("/streams/s?tail=1", String::new(), 3),
        ("/streams/s?tail=3", String::new(), 1),
        ("/streams/s?tail=99", String::new(), 0),
        ("/streams/s?tail=0", String::new(), 4),
        ("/streams/s?tail=2&from=earliest", String::new(), 0),
        (&format!("/streams/s?from=earliest&last_event_id={}", ids[2]), String::new(), 3),
        (&format!("/streams/s?lastEventId={}", ids[0]), String::new(), 1),
        (&format!("/streams/s?lastEventID={}", ids[0]), String::new(), 1),
        (&format!("/streams/s?lastEventId={}", ids[0]), format!("Last-Event-ID: {}\r\n", ids[2]), 3),
        ("/streams/s?from=earliest", "Last-Event-ID: \r\n".to_owned(), 0),
    ] {
        open.push((target.to_owned(), skipped, server.sse(target, &headers).await));
    }
    server.publish("s", "end").await;
    for (target, skipped, mut subscription) in open {
        let want = &all[skipped..];
        assert_eq!(subscription.data(want.len()).await, want, "{target}");
    }
}

#[tokio::test]
async fn tail_counts_events_of_durable_and_memory_streams_together() {
    let server = TestServer::with("[[stream]]\nmatch = \"m/*\"\ndurability = \"memory\"\n").await;
    for (stream, data) in [("d/1", "1"), ("m/1", "2"), ("m/2", "3"), ("d/2", "4"), ("x", "no"), ("m/1", "5")]
    {
        server.publish(stream, data).await;
    }
    for tail in 1..=5 {
        let target = format!("/streams?stream=m/*&stream=d/*&envelope=0&tail={tail}");
        let mut both = server.sse(&target, "").await;
        assert_eq!(both.data(tail).await, ["1", "2", "3", "4", "5"][5 - tail..], "tail={tail}");
    }
    let page = server.page("/streams?stream=m/*&tail=2", "").await;
    assert_eq!(page.events.len(), 2);
}

#[tokio::test]
async fn one_cursor_resumes_any_number_of_streams() {
    let server = TestServer::start().await;
    let mut both = server.sse("/streams?stream=a&stream=b/*", "").await;
    server.publish("a", "1").await;
    server.publish("b/x", "2").await;
    server.publish("c", "unheard").await;
    server.publish("b/x/deep", "unheard").await;
    assert_eq!(both.data(2).await, [r#"{"stream":"a","data":"1"}"#, r#"{"stream":"b/x","data":"2"}"#]);
    let cursor = both.cursor.clone();
    drop(both);
    server.publish("b/new", "3").await;
    server.publish("a", "4").await;
    let resume = format!("Last-Event-ID: {cursor}\r\n");
    let mut both = server.sse("/streams?stream=b/*&stream=a&envelope=0", &resume).await;
    assert_eq!(both.data(2).await, ["3", "4"]);
}

#[tokio::test]
async fn new_streams_join_a_pattern_as_they_appear() {
    let server = TestServer::start().await;
    let mut one = server.sse("/streams?stream=chat/*&envelope=0", "").await;
    let mut rest = server.sse("/streams?stream=chat/**&envelope=0", "").await;
    let mut all = server.sse("/streams", "").await;
    server.publish("chat/lobby", "1").await;
    server.publish("chat/lobby/deep", "2").await;
    server.publish("chat", "3").await;
    server.publish("chat/new", "4").await;
    assert_eq!(one.data(2).await, ["1", "4"]);
    assert_eq!(rest.data(3).await, ["1", "2", "4"]);
    let data = all.data(4).await;
    assert_eq!(data[2], r#"{"stream":"chat","data":"3"}"#);
}

#[tokio::test]
async fn pattern_hears_a_stream_that_was_asked_for_by_name_before_it_was_used() {
    let server = TestServer::start().await;
    let mut pattern = server.sse("/streams?stream=chat/*&envelope=0", "").await;
    let mut name = server.subscribe("chat/lobby").await;
    let mut both = server.sse("/streams?stream=chat/lobby&stream=chat/**&envelope=0", "").await;
    server.publish("chat/lobby", "1").await;
    server.publish("chat/lobby", "2").await;
    for reader in [&mut pattern, &mut name, &mut both] {
        assert_eq!(reader.data(2).await, ["1", "2"]);
    }
}

#[tokio::test]
async fn event_published_as_the_only_reader_leaves_is_kept() {
    let server = TestServer::start().await;
    for round in 0..10 {
        let (mut readers, mut batch) = (Vec::new(), String::new());
        for n in 0..50 {
            readers.push(server.subscribe(&format!("s/{round}/{n}")).await);
            batch += &format!("{{\"stream\":\"s/{round}/{n}\",\"data\":1}}\n");
        }
        // Some of them are gone before the commit, some in the middle of it, some after.
        drop(readers);
        server.post("/streams", "Content-Type: application/x-ndjson\r\n", &batch).await.id();
        let page = server.page(&format!("/streams?stream=s/{round}/*&from=earliest"), "").await;
        assert_eq!(page.events.len(), 50, "round {round}");
    }
}

#[tokio::test]
async fn envelope_says_the_stream_and_can_be_chosen() {
    let server = TestServer::start().await;
    let mut bare = server.subscribe("a").await;
    let mut wrapped = server.sse("/streams/a?envelope=1", "").await;
    let mut single = server.sse("/streams?stream=a", "").await;
    server.post("/streams/a", "Content-Type: application/json\r\n", "{\"n\":\r\n1}").await.id();
    assert_eq!(bare.next().await.data, "{\"n\":\n1}");
    let want = json!({ "stream": "a", "data": { "n": 1 } });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&wrapped.next().await.data).unwrap(), want);
    assert_eq!(single.next().await.data, "{\"n\":\n1}");
}

#[tokio::test]
async fn head_of_a_subscription_passes_proxies_and_the_first_block_is_whole() {
    let server = TestServer::with("retry = \"2s\"\n").await;
    let plain = server.subscribe("a").await;
    for (name, value) in [
        ("cache-control", "no-cache, no-store, no-transform"),
        ("x-accel-buffering", "no"),
        ("vary", "accept"),
        ("x-content-type-options", "nosniff"),
    ] {
        let values: Vec<_> = plain.head.headers.iter().filter(|(other, _)| other == name).collect();
        assert!(values.iter().any(|(_, v)| v.contains(value)), "{name}: {values:?}");
    }
    assert!((1000..=3000).contains(&plain.opening.retry.unwrap()), "{:?}", plain.opening);

    let mut padded = server.sse("/streams/a?padding=true", "").await;
    let id = server.publish("a", "x").await;
    assert_eq!(padded.next().await.id, id);
}

#[tokio::test]
async fn nothing_that_ends_in_a_blank_line_comes_before_the_first_id() {
    let server = TestServer::start().await;
    for padding in ["", "?padding=1"] {
        let mut connection = crate::support::Connection::open(server.address()).await;
        connection.send(format!("GET /streams/a{padding} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(connection.head().await.status, 200);
        let mut first = Vec::new();
        while !first.ends_with(b"\n\n") {
            first.extend(connection.piece().await.unwrap());
        }
        let first = String::from_utf8(first).unwrap();
        assert_eq!(first.matches("\n\n").count(), 1, "{first:?}");
        assert_eq!(first.len() > 2048, !padding.is_empty());
        assert!(first.contains("id: ") && first.contains("\nretry: "), "{first:?}");
    }
}

#[tokio::test]
async fn batch_is_atomic_and_in_order_over_several_streams() {
    let server = TestServer::start().await;
    let mut all = server.sse("/streams?envelope=0", "Accept: text/event-stream\r\n").await;
    let ndjson = "Content-Type: application/x-ndjson\r\n";
    let body = "{\"data\":\"1\"}\n\n{\"data\":{\"n\":2},\"type\":\"t\"}\r\n{\"data\":null}";
    let one = server.post("/streams/a", ndjson, body).await;
    assert_eq!(one.json()["count"], 3);
    let body = "{\"stream\":\"b\",\"data\":\"4\",\"id\":\"x-1\",\"time\":\"y\"}\n{\"stream\":\"a\",\"data\":\"5\"}\n";
    let many = server.post("/streams", ndjson, body).await.id();
    let mut got = Vec::new();
    for _ in 0..5 {
        got.push(all.next().await);
    }
    let data: Vec<_> = got.iter().map(|event| event.data.as_str()).collect();
    assert_eq!(data, ["1", "{\"n\":2}", "null", "4", "5"]);
    assert_eq!((got[1].event_type.as_str(), &got[2].id, &got[4].id), ("t", &one.id(), &many));
}

#[tokio::test]
async fn what_a_reader_gets_as_lines_can_be_published_as_it_is() {
    let server = TestServer::start().await;
    let mut lines = server.lines("/streams?stream=a&stream=b", "").await;
    server.publish("a", "text").await;
    server.post("/streams/b?type=t", "Content-Type: application/json\r\n", "[1]").await.id();
    let mut body = format!("{{\"id\":\"{}\",\"type\":\"riacho.heartbeat\"}}\n", lines.opening);
    for _ in 0..2 {
        body += &format!("{}\n", lines.next().await.unwrap());
    }
    let other = TestServer::start().await;
    let mut copy = other.lines("/streams?stream=**", "").await;
    other.post("/streams", "Content-Type: application/x-ndjson\r\n", &body).await.id();
    let (a, b) = (copy.next().await.unwrap(), copy.next().await.unwrap());
    assert_eq!((&a["stream"], &a["data"], &a["type"]), (&"a".into(), &"text".into(), &json!(null)));
    assert_eq!((&b["stream"], &b["data"], &b["type"]), (&"b".into(), &json!([1]), &"t".into()));
}

#[tokio::test]
async fn delete_empties_the_stream_and_tells_its_readers() {
    let server = TestServer::start().await;
    server.publish("a", "old").await;
    let behind = server.publish("b", "kept").await;
    let mut live = server.subscribe("a").await;
    let mut lines = server.lines("/streams/a", "").await;
    let emptied = server.request("DELETE", "/streams/a", "", "").await;
    assert_eq!(emptied.status, 200);
    let id = emptied.json()["id"].as_str().unwrap().to_owned();
    server.publish("a", "new").await;

    let reset = live.next().await;
    assert_eq!((reset.event_type.as_str(), &reset.id), ("riacho.reset", &id));
    let said: serde_json::Value = serde_json::from_str(&reset.data).unwrap();
    assert_eq!(said, json!({ "reason": "deleted", "streams": ["a"], "cursor": id }));
    assert_eq!(live.next().await.data, "new");
    assert_eq!(lines.next().await.unwrap()["data"], said);
    assert_eq!(lines.next().await.unwrap()["data"], "new");

    assert_eq!(server.sse("/streams/a?from=earliest", "").await.next().await.data, "new");
    let listed = server.listed("a").await.unwrap();
    assert_eq!((&listed["events"], &listed["bytes"]), (&1.into(), &32.into()), "bytes are those of records");

    // A reader that was away learns it when it is back; one of another stream has lost nothing.
    let resume = format!("Last-Event-ID: {behind}\r\n");
    let mut back = server.sse("/streams?stream=a&stream=b&envelope=0", &resume).await;
    let reset: serde_json::Value = serde_json::from_str(&back.next().await.data).unwrap();
    assert_eq!((&reset["reason"], &reset["streams"]), (&"trimmed".into(), &json!(["a"])));
    assert_eq!(back.next().await.data, "new");
    let mut other = server.sse("/streams/b", &resume).await;
    server.publish("b", "more").await;
    assert_eq!(other.next().await.data, "more");

    let server = server.restart().await;
    assert_eq!(server.sse("/streams/a?from=earliest", "").await.next().await.data, "new");
    server.request("DELETE", "/streams/never", "", "").await.problem(404, "stream_unknown", false);
}

#[tokio::test]
async fn what_was_emptied_is_given_to_nobody_though_a_view_still_has_it() {
    let server = TestServer::start().await;
    let target = "/streams?stream=a&stream=b&envelope=0";
    // They keep the views, and in them what is emptied.
    let mut sse = server.sse(target, "").await;
    let mut lines = server.lines(target, "").await;
    let first = server.publish("b", "kept").await;
    server.publish("a", "gone").await;
    server.publish("b", "kept too").await;
    server.publish("a", "gone too").await;
    assert_eq!(sse.data(4).await, ["kept", "gone", "kept too", "gone too"]);
    for _ in 0..4 {
        lines.next().await.unwrap();
    }
    server.request("DELETE", "/streams/a", "", "").await;
    server.publish("a", "new").await;

    let resume = format!("Last-Event-ID: {first}\r\n");
    let mut sse = server.sse(target, &resume).await;
    assert_eq!(sse.next().await.event_type, "riacho.reset");
    assert_eq!(sse.data(2).await, ["kept too", "new"]);
    let mut lines = server.lines(target, &resume).await;
    assert_eq!(lines.next().await.unwrap()["type"], "riacho.reset");
    assert_eq!(lines.next().await.unwrap()["data"], "kept too");
    assert_eq!(lines.next().await.unwrap()["data"], "new");
    for (start, kept) in
        [("from=earliest", &["kept", "kept too", "new"][..]), ("tail=2", &["kept too", "new"])]
    {
        let mut sse = server.sse(&format!("{target}&{start}"), "").await;
        assert_eq!(sse.data(kept.len()).await, kept, "{start}");
    }
    // And live from there on, in the view.
    server.publish("b", "live").await;
    assert_eq!(sse.next().await.data, "live");
    assert_eq!(lines.next().await.unwrap()["data"], "live");
}

#[tokio::test]
async fn list_has_every_stream_once_in_pages() {
    let server = TestServer::start().await;
    let mut names = Vec::new();
    for n in 0..5 {
        names.push(format!("list/{n}"));
        server.publish(&format!("list/{n}"), "x").await;
    }
    let newest = server.publish("list/%C3%A9%20a", "xyz").await;
    names.push("list/é a".to_owned());
    server.publish("other", "x").await;
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/streams?limit=2&prefix=list/{after}")).await;
        assert_eq!(page.header("content-type"), Some("application/json"));
        let page = page.json();
        listed.extend(page["streams"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    let got: Vec<_> = listed.iter().map(|stream| stream["name"].as_str().unwrap()).collect();
    assert_eq!(got, names);
    let want = json!({ "name": "list/é a", "cursor": newest, "events": 1, "bytes": 40, "subscribers": 0,
        "durability": "durable", "closed": false });
    assert_eq!(listed[5], want);
}

#[tokio::test]
async fn head_and_options_say_what_get_would() {
    let server = TestServer::start().await;
    server.publish("a", "x").await;
    for (target, headers, content) in [
        ("/streams/a", "", "text/event-stream"),
        ("/streams/a", "Accept: application/x-ndjson\r\n", "application/x-ndjson"),
        ("/streams/a", "Accept: application/json\r\n", "application/json"),
        ("/streams", "", "application/json"),
        ("/streams", "Accept: text/event-stream\r\n", "text/event-stream"),
        ("/healthz", "", "text/plain; charset=utf-8"),
    ] {
        let mut connection = crate::support::Connection::open(server.address()).await;
        connection.send(format!("HEAD {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")).await;
        let head = connection.head().await;
        assert_eq!((head.status, head.header("content-type")), (200, Some(content)), "{target} {headers}");
        // The connection is good for another request: no body follows, and no reactor has taken it.
        connection.send("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert_eq!(connection.response().await.text(), "ok\n", "{target} {headers}");
    }
    for (target, allow) in
        [("/streams", "GET, HEAD, POST, OPTIONS"), ("/streams/a", "GET, HEAD, POST, DELETE, OPTIONS")]
    {
        let options = server.request("OPTIONS", target, "", "").await;
        assert_eq!((options.status, options.header("allow")), (204, Some(allow)));
    }
    assert_eq!(server.listed("a").await.unwrap()["subscribers"], 0);
}

#[tokio::test]
async fn closed_stream_tells_its_readers_not_to_come_back() {
    let server = TestServer::start().await;
    server.publish("done/1", "last").await;
    let server = server.restart_with("[[stream]]\nmatch = \"done/*\"\nclosed = true\n").await;
    for accept in ["text/event-stream", "application/x-ndjson"] {
        let answer = server.request("GET", "/streams/done/1", &format!("Accept: {accept}\r\n"), "").await;
        assert_eq!((answer.status, answer.body.len()), (204, 0));
    }
    let page = server.page("/streams/done/1?from=earliest&wait=30s", "").await;
    assert_eq!((page.events[0]["data"].as_str(), page.more), (Some("last"), false));
    let page = server.page("/streams/done/1?wait=30s", "").await;
    assert!(page.events.is_empty());
    server.post("/streams/done/1", "", "x").await.problem(409, "stream_closed", false);
}

#[tokio::test]
async fn streams_that_are_not_configured_do_not_come_into_being_where_create_is_off() {
    let file = "create = false\n[[stream]]\nmatch = \"a/*\"\n";
    let server = TestServer::with(file).await;
    server.publish("a/1", "x").await;
    server.post("/streams/b", "", "x").await.problem(404, "stream_unknown", false);
    server.get("/streams/b").await.problem(404, "stream_unknown", false);
    let ndjson = "Content-Type: application/x-ndjson\r\n";
    let batch = "{\"stream\":\"a/2\",\"data\":1}\n{\"stream\":\"b\",\"data\":2}\n";
    server.post("/streams", ndjson, batch).await.problem(404, "stream_unknown", false);
    let names: Vec<_> = server.get("/streams").await.json()["streams"].as_array().unwrap().clone();
    assert_eq!(names.iter().map(|s| s["name"].as_str().unwrap()).collect::<Vec<_>>(), ["a/1"]);
}

#[tokio::test]
async fn names_are_utf8_and_keep_their_slashes() {
    let server = TestServer::start().await;
    let long = "x".repeat(1024);
    for (path, name) in [("a%20b/%C3%A9", "a b/é"), ("a%2Fb", "a/b"), ("%F0%9F%8C%8A", "🌊"), (&long, &long)]
    {
        let mut reader = server.sse(&format!("/streams/{path}?envelope=1"), "").await;
        server.publish(path, "x").await;
        let said: serde_json::Value = serde_json::from_str(&reader.next().await.data).unwrap();
        assert_eq!(said["stream"], name);
    }
}

#[tokio::test]
async fn reader_far_behind_is_fed_from_the_log_without_gap_or_repeat() {
    let file =
        "[limits]\nview_bytes_max = \"64KiB\"\ntail_bytes_max = \"64KiB\"\nevent_bytes_max = \"16KiB\"\n";
    let server = TestServer::with(file).await;
    let start = server.subscribe("s").await.cursor;
    let filler = "x".repeat(1000);
    let mut sent = 0;
    for _ in 0..10 {
        let lines: Vec<_> = (sent..sent + 200).map(|n| format!("{{\"data\":\"{n} {filler}\"}}\n")).collect();
        sent += 200;
        server.post("/streams/s", "Content-Type: application/x-ndjson\r\n", &lines.concat()).await.id();
    }
    let mut reader = server.subscribe_after("s", &start).await;
    for n in 0..sent {
        let event = reader.next().await;
        assert_eq!(event.data.split_once(' ').unwrap().0, n.to_string());
        if n == sent / 2 {
            server.publish("s", &format!("{sent} late")).await;
        }
    }
    assert_eq!(reader.next().await.data, format!("{sent} late"));
    assert!(server.metric("riacho_helpings_total").await > 1);
}

#[tokio::test]
async fn subscribers_are_counted_while_they_are_there() {
    let server = TestServer::start().await;
    server.subscribe("a").await;
    server.until_metric("riacho_views", 0).await;
    // A stream that nobody published to and nobody reads is no stream.
    assert_eq!(server.metric("riacho_streams").await, 0);

    server.publish("a", "x").await;
    let one = server.subscribe("a").await;
    let pattern = server.sse("/streams?stream=*", "").await;
    let lines = server.lines("/streams/a", "").await;
    until("3 subscribers", async || (server.listed("a").await?["subscribers"] == 3).then_some(())).await;
    assert_eq!(server.metric("riacho_subscribers").await, 2);
    drop((one, pattern, lines));
    server.until_metric("riacho_subscribers", 0).await;
    server.until_metric("riacho_views", 0).await;
    assert_eq!(server.listed("a").await.unwrap()["subscribers"], 0);
}

#[tokio::test]
async fn event_source_on_all_streams_hears_everything_and_no_comment_before_its_time() {
    let server = TestServer::start().await;
    let mut all = server.sse("/streams", "").await;
    let id = server.publish("any/where", "x").await;
    let Some(Item::Event(event)) = all.item().await else { panic!("expected an event") };
    assert_eq!((event.id, event.data.as_str()), (id, r#"{"stream":"any/where","data":"x"}"#));
}
