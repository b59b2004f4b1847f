//! The commands of the real binary, together: a file becomes live, a stream is copied, a restart is survived.

use crate::support::{Process, TestServer, riacho, run};
use serde_json::Value;
use std::path::Path;

/// `riacho follow ...` from the beginning of the streams, so that it does not matter when it connects.
fn follow(directory: &Path, server: &TestServer, args: &[&str]) -> Process {
    Process::start(directory, &[&["follow", "--from", "earliest", "--server", &server.url()], args].concat())
}

async fn lines(process: &mut Process, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < count {
        lines.push(process.line().await.unwrap());
    }
    lines
}

#[tokio::test]
async fn lines_of_a_growing_file_are_live() {
    let (server, directory) = (TestServer::start().await, tempfile::tempdir().unwrap());
    let mut reader = server.subscribe("logs").await;
    let args = ["publish", "logs", "--lines", "--print-ids", "--type", "line", "--server", &server.url()];
    let mut publish = Process::start(directory.path(), &args);
    // Each line goes when it is there, not when there are more or the file ends.
    for line in ["GET / 200", "", "\u{2028} é \"quoted\""] {
        publish.write(&format!("{line}\n"));
        let event = reader.next().await;
        assert_eq!((event.data.as_str(), event.event_type.as_str()), (line, "line"));
        assert_eq!(publish.line().await, Some(event.id));
    }
    publish.write("one\r\ntwo\nwithout an end");
    publish.end_input();
    assert_eq!(reader.data(3).await, ["one", "two", "without an end"]);
    assert_eq!(publish.exit().await.code(), Some(0));

    let mut follow = follow(directory.path(), &server, &["logs", "--count", "6"]);
    assert_eq!(lines(&mut follow, 6).await[3..], ["one", "two", "without an end"]);
    assert_eq!(follow.line().await, None);
    assert_eq!(follow.exit().await.code(), Some(0));
}

#[tokio::test]
async fn one_event_is_published_from_the_command_line() {
    let (server, directory) = (TestServer::start().await, tempfile::tempdir().unwrap());
    let url = server.url();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let args = [
            "publish",
            "a b/é",
            "{\"n\":1}",
            "--json",
            "--type",
            "t",
            "--key",
            "k",
            "--print-ids",
            "--server",
            &url,
        ];
        let output = run(directory.path(), &args).await;
        assert!(output.status.success(), "{output:?}");
        ids.push(String::from_utf8(output.stdout).unwrap().trim().to_owned());
    }
    assert_eq!(ids[0], ids[1]);
    let page = server.page("/streams?stream=**&from=earliest", "").await;
    assert_eq!((page.events.len(), &page.events[0]["data"]), (1, &serde_json::json!({ "n": 1 })));
    assert_eq!(
        (page.events[0]["type"].as_str(), page.events[0]["stream"].as_str()),
        (Some("t"), Some("a b/é"))
    );
    let refused = run(directory.path(), &["publish", "s", "{", "--json", "--server", &url]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("the body is not JSON"));
}

#[tokio::test]
async fn follow_piped_into_publish_copies_streams_to_another_server() {
    let (from, to) = (TestServer::start().await, TestServer::start().await);
    let directory = tempfile::tempdir().unwrap();
    let mut reader = follow(directory.path(), &from, &["--json", "chat/**"]);
    let mut writer = Process::start(directory.path(), &["publish", "--server", &to.url()]);
    let mut copy = to.lines("/streams?stream=**", "").await;
    let json = "Content-Type: application/json\r\n";
    for (target, headers, body) in [
        ("/streams/chat/a", "", "line\r\nbreak\0\u{2028}"),
        ("/streams/other", "", "not this one"),
        ("/streams/chat/b/c?type=t", json, "{\"b\":1, \"a\":[null]}"),
        ("/streams/chat/a", json, "null"),
        ("/streams/chat/a", json, "123456789012345678901234567890"),
        ("/streams/chat/a", "", ""),
    ] {
        from.post(target, headers, body).await.id();
        if target == "/streams/other" {
            continue;
        }
        let line = reader.line().await.unwrap();
        writer.write(&format!("{line}\n"));
        let (was, is): (Value, Value) = (serde_json::from_str(&line).unwrap(), copy.next().await.unwrap());
        for member in ["stream", "type", "data"] {
            assert_eq!(is[member].to_string(), was[member].to_string(), "{line}");
        }
    }
    writer.end_input();
    assert_eq!(writer.exit().await.code(), Some(0));
}

#[tokio::test]
async fn follow_and_publish_survive_restarts_without_loss_or_repeat() {
    let mut server = TestServer::start().await;
    let directory = tempfile::tempdir().unwrap();
    let mut reader = follow(directory.path(), &server, &["s"]);
    let mut json = follow(directory.path(), &server, &["--json", "s", "other/*"]);
    let mut writer =
        Process::start(directory.path(), &["publish", "s", "--lines", "--server", &server.url()]);
    let mut n = 0;
    for _ in 0..3 {
        for _ in 0..5 {
            writer.write(&format!("{n}\n"));
            assert_eq!(reader.line().await, Some(n.to_string()));
            let line: Value = serde_json::from_str(&json.line().await.unwrap()).unwrap();
            assert_eq!(line["data"], n.to_string());
            n += 1;
        }
        server = server.restart().await;
        reader.says("the server ends the connection (drain); following again shortly").await;
    }
    // One more while nobody listens at the address.
    let (address, directory_left) = (server.address(), server.stop().await);
    writer.write("written to nobody\n");
    writer.says("trying again").await;
    let server = TestServer::start_at(directory_left, address).await;
    assert_eq!(reader.line().await.as_deref(), Some("written to nobody"));
    assert_eq!(server.listed("s").await.unwrap()["events"], n + 1);
}

#[tokio::test]
async fn follow_says_what_is_lost_and_goes_on() {
    let server = TestServer::start().await;
    let directory = tempfile::tempdir().unwrap();
    server.publish("s", "1").await;
    let mut reader = follow(directory.path(), &server, &["s"]);
    assert_eq!(reader.line().await.as_deref(), Some("1"));
    server.request("DELETE", "/streams/s", "", "").await;
    reader.says("events of s may be missing here (deleted)").await;
    server.publish("s", "2").await;
    assert_eq!(reader.line().await.as_deref(), Some("2"));
}

#[tokio::test]
async fn follow_ends_when_its_stream_is_closed_or_its_request_is_wrong() {
    let server = TestServer::with("[[stream]]\nmatch = \"done\"\nclosed = true\n").await;
    let directory = tempfile::tempdir().unwrap();
    let closed = run(directory.path(), &["follow", "done", "--server", &server.url()]).await;
    assert_eq!((closed.status.code(), closed.stdout.len()), (Some(0), 0));
    assert!(String::from_utf8(closed.stderr).unwrap().contains("the stream is closed"));
    let args = ["follow", "s", "--from", "yesterday", "--server", &server.url()];
    let wrong = run(directory.path(), &args).await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("`from` is none of: now, earliest"));
}

#[test]
fn check_shows_what_serve_would_run_with() {
    let directory = tempfile::tempdir().unwrap();
    let file =
        "retry = \"3s\"\n[[stream]]\nmatch = \"m/*\"\ndurability = \"memory\"\nkeep = { events = 5 }\n";
    std::fs::write(directory.path().join("riacho.toml"), file).unwrap();
    let mut check = riacho(directory.path(), &["check", "--listen", "127.0.0.1:9"]);
    let output = check.env("RIACHO_DRAIN", "1s").output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let shown = String::from_utf8(output.stdout).unwrap();
    let origin = |setting: &str| {
        shown.lines().find(|line| line.starts_with(setting)).unwrap().rsplit("# ").next().unwrap()
    };
    assert_eq!(origin("listen = \"127.0.0.1:9\""), "--listen");
    assert_eq!(origin("drain = \"1s\""), "RIACHO_DRAIN");
    assert_eq!(origin("retry = \"3s\""), "riacho.toml:1");
    assert_eq!(origin("heartbeat = "), "default");
    assert!(shown.contains("m/*") && shown.contains("memory"), "{shown}");

    std::fs::write(
        directory.path().join("riacho.toml"),
        "retri = \"3s\"\n[limits]\nevent_bytes_max = \"1\"\n",
    )
    .unwrap();
    let output = riacho(directory.path(), &["check"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("retri") && said.contains("retry") && said.contains("event_bytes_max"), "{said}");
}
