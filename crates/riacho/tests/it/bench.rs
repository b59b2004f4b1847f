//! `riacho bench` against the real server, and against one that loses and repeats: what it counts is exact.

use crate::support::{TestServer, patient, run};
use serde_json::Value;
use std::{net::SocketAddr, panic::Location};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// What `riacho bench` with `args` says on stdout.
#[track_caller]
fn bench(args: &[&str]) -> impl Future<Output = Value> + use<> {
    let (directory, at) = (tempfile::tempdir().unwrap(), Location::caller());
    let output = run(directory.path(), &[&["bench"], args, &["--json"]].concat());
    async move {
        let output = output.await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{at}: {said}");
        drop(directory);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|err| panic!("{at}: {err}: {said}"))
    }
}

/// Fifty subscribers of a hundred events, with more `args`; nothing is lost, repeated or late.
#[track_caller]
fn check_run(server: &TestServer, args: &[&str]) -> impl Future<Output = Value> + use<> {
    let (url, at) = (server.url(), Location::caller());
    let load = ["--subscribers", "50", "--rate", "2000", "--events", "100", "--idle", "0s"];
    let ran = bench(&[&["run", &url], &load[..], args].concat());
    async move {
        let said = ran.await;
        assert_eq!(said["window"]["acknowledged"], 100, "{at}: {said}");
        for count in ["lost", "repeated", "disordered", "ended"] {
            assert_eq!(said[count], 0, "{at}: {count}: {said}");
        }
        said
    }
}

#[tokio::test]
async fn every_delivery_is_counted_on_every_transport() {
    let server = TestServer::start().await;
    for transport in ["sse", "ndjson", "long-poll", "sse-http2"] {
        let streams = ["--transport", transport, "--streams-per-connection", "20"];
        let said = check_run(&server, &streams).await;
        assert_eq!(said["window"]["deliveries"], 5000, "{transport}: {said}");
        assert_eq!(said["transport"], transport);
    }
}

#[tokio::test]
async fn each_subscriber_of_several_paths_gets_the_events_of_its_own() {
    let server = TestServer::start().await;
    let paths =
        ["--path", "/streams/a", "--path", "/streams/b", "--path", "/streams/c", "--connections", "2"];
    let said = check_run(&server, &paths).await;
    // 17 subscribers of `a`, with 34 events, 17 of `b` and 16 of `c`, with 33.
    assert_eq!(said["window"]["deliveries"], 17 * 34 + 17 * 33 + 16 * 33);
    let said = check_run(&server, &[&paths[..], &["--batch", "10", "--pipeline", "3"]].concat()).await;
    assert_eq!(said["window"]["publish_requests"], 10);
    assert_eq!(said["window"]["deliveries"], 17 * 40 + 17 * 30 + 16 * 30);
    // All of them through one pattern: each subscriber gets every source.
    let said = check_run(
        &server,
        &[
            "--path",
            "/streams?stream=*&envelope=0",
            "--publish-path",
            "/streams/a",
            "--publish-path",
            "/streams/b",
        ],
    )
    .await;
    assert_eq!(said["window"]["deliveries"], 5000);
}

#[tokio::test]
async fn rows_are_written_by_number_and_each_reader_of_a_filter_gets_its_own() {
    let server = TestServer::start().await;
    let row = ["--keys", "25", "--marker", r#""v":"T"#, "--ready", r#""snapshot-end""#];
    let one = [
        &row[..],
        &["--path", "/tables/one?where=owner='{n}'", "--publish-path", "/tables/one/k{n}", "--method", "PUT"],
        &["--content-type", "application/json", "--body-template", r#"{"v":"{event}","owner":"{n}"}"#],
    ]
    .concat();
    let said = check_run(&server, &one).await;
    // Two readers of each of 25 rows, each of which changes four times.
    assert_eq!(said["window"]["deliveries"], 200, "{said}");
    assert_eq!(said["connect"]["not_ready"], 0, "{said}");

    let change = r#"{"key":"k{n}","value":{"v":"{event}","owner":"{n}"},"headers":{"operation":"upsert"}}"#;
    let many = [&row[..], &["--path", "/tables/many", "--batch", "10", "--batch-template", change]].concat();
    let said = check_run(&server, &many).await;
    assert_eq!(said["window"]["deliveries"], 5000, "{said}");
    for table in ["one", "many"] {
        let rows = server
            .request("GET", &format!("/tables/{table}"), "Accept: application/json\r\n", "")
            .await
            .json();
        let rows = rows["rows"].as_array().unwrap();
        let keys: Vec<_> = rows.iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect();
        assert_eq!(keys, (0..25).map(|key| format!("k{key:02}")).collect::<Vec<_>>(), "{table}");
        for row in rows {
            assert_eq!(row["key"].as_str().unwrap()[1..], row["value"]["owner"], "{table}");
        }
    }
}

#[tokio::test]
async fn stalled_subscribers_are_not_waited_for() {
    let server = TestServer::start().await;
    let said = check_run(&server, &["--stalled", "20"]).await;
    assert_eq!((&said["window"]["deliveries"], &said["stalled"]), (&3000.into(), &20.into()));
}

#[tokio::test]
async fn readers_that_resume_are_measured_until_they_have_all() {
    let server = TestServer::start().await;
    let first = server.publish("bench", "no stamp").await;
    let url = server.url();
    let load = ["--rate", "0", "--events", "1005", "--batch", "10", "--path", "/streams/bench"];
    let published = bench(&[&["publish", &url], &load[..]].concat()).await;
    assert_eq!(published["window"]["acknowledged"], 1005, "{published}");
    assert_eq!(published["window"]["publish_requests"], 101, "{published}");
    let cursor = format!("Last-Event-ID: {first}");
    for transport in ["sse", "ndjson", "long-poll", "sse-http2"] {
        let until = ["--until", "1005", "--duration", "20s", "--transport", transport];
        let said =
            bench(&[&["run", &url, "--subscribers", "30", "--header", &cursor], &until[..]].concat()).await;
        assert_eq!(said["window"]["deliveries"], 30 * 1005, "{transport}: {said}");
        assert_eq!(
            (&said["lost"], &said["until"]["satisfied"]),
            (&0.into(), &30.into()),
            "{transport}: {said}"
        );
    }
}

#[tokio::test]
async fn refusals_are_counted_and_are_no_losses() {
    let server = TestServer::with("[limits]\nevent_bytes_max = \"1KiB\"\n").await;
    let url = server.url();
    let load = ["--subscribers", "3", "--rate", "2000", "--events", "20", "--idle", "0s", "--size", "2000"];
    let said = bench(&[&["run", &url], &load[..]].concat()).await;
    assert_eq!(said["window"]["refused"], serde_json::json!({ "413": 20 }));
    assert_eq!((&said["window"]["acknowledged"], &said["lost"]), (&0.into(), &0.into()));
}

/// A server that takes every publish and sends each subscriber `script`: sequences of source 0, each as a chunk of its own
/// but the last ones, which are cut into chunks of seven bytes.
async fn liar(script: &'static [u32]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let mut count = stream.read(&mut head).await.unwrap();
                while count > 0 && head.starts_with(b"POST") {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                    count = stream.read(&mut head).await.unwrap();
                }
                if count == 0 {
                    return;
                }
                let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
                let (whole, cut) = script.split_at(script.len() / 2);
                for sequence in whole {
                    let event = event(*sequence);
                    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                    stream.write_all(chunk.as_bytes()).await.unwrap();
                }
                let rest: String = cut.iter().map(|sequence| event(*sequence)).collect();
                for piece in rest.as_bytes().chunks(7) {
                    let head = format!("{:x}\r\n", piece.len());
                    let chunk = [head.as_bytes(), piece, b"\r\n"].concat();
                    stream.write_all(&chunk).await.unwrap();
                }
                // Open until the client leaves.
                let _ = patient(Location::caller(), "the end", stream.read(&mut head)).await;
            });
        }
    });
    address
}

fn event(sequence: u32) -> String {
    format!("data: T{:016x}{:08x}{sequence:08x}xxxxxxxxxx\n\n", 1_700_000_000_000_000_000_u64, 0)
}

#[tokio::test]
async fn what_a_server_loses_repeats_and_reorders_is_counted_exactly() {
    // Of 12: 1, 4, 5, 10 and 11 are lost, 0 and 6 come twice, 2 comes late.
    let address = liar(&[0, 0, 3, 2, 6, 7, 6, 8, 9]).await;
    let url = format!("http://{address}");
    let load =
        ["--subscribers", "7", "--connections", "1", "--rate", "1000", "--events", "12", "--idle", "0s"];
    let said = bench(&[&["run", &url], &load[..]].concat()).await;
    let counts = ["lost", "repeated", "disordered", "ended"].map(|count| said[count].as_u64().unwrap());
    assert_eq!(counts, [7 * 5, 7 * 2, 7, 0], "{said}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_failure_and_bad_usage_another() {
    let directory = tempfile::tempdir().unwrap();
    for (args, code, text) in [
        (&["run", "http://127.0.0.1:1", "--subscribers", "3"][..], 1, "no subscriber was accepted"),
        (&["publish", "http://127.0.0.1:1"], 1, "cannot connect to 127.0.0.1:1"),
        (&["run", "https://h"], 2, "URL: this build speaks no TLS"),
        (&["run", "--marker", "data: "], 2, "--marker: expected"),
        (&["run", "--until", "5", "--rate", "3"], 2, "--until: needs --rate 0"),
        (&["run", "--path", "streams/a"], 2, "--path: expected a path"),
        (&["run", "--ready", "x", "--stalled", "1"], 2, "--ready: those who"),
        (&["run", "--ready", ""], 2, "expected 1 to 64 bytes"),
        (&["run", "--keys", "0"], 2, "0 is not in 1.."),
        (&["run", "--size", "32"], 2, "32 is not in 33.."),
        (&["run", "--header", "x"], 2, "expected a header"),
        (&["run", "--stalled", "2000"], 2, "--stalled: more than"),
        (&["run", "--stalled", "5", "--transport", "sse-http2"], 2, "expected a multiple of 100"),
        (&["run", "--body-template", "x"], 2, "expected {event} in it"),
        (&["run", "--pid", "4194305"], 2, "--pid: there is no process"),
    ] {
        let output = run(directory.path(), &[&["bench"], args].concat()).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(text), "{args:?}: {said}");
    }
    let help = run(directory.path(), &["bench", "run", "--help"]).await;
    assert!(String::from_utf8_lossy(&help.stdout).contains("Mercure"));
}
