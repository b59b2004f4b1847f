//! Tables over HTTP: rows, batches, conditions, snapshots.

/// One row: written, read, kept.
mod rows;
/// Many changes, made together or not at all.
mod batches;
/// Writers that say what must hold before.
mod conditions;
/// All rows at one moment, whole and in pages.
mod snapshots;
/// What is refused.
mod bad_input;

use crate::support::{Connection, Response, TestServer};
use serde_json::Value;
use std::panic::Location;

pub(super) const JSON: &str = "Content-Type: application/json\r\n";
pub(super) const NDJSON: &str = "Content-Type: application/x-ndjson\r\n";

/// Puts a row.
#[track_caller]
pub(super) fn put(server: &TestServer, target: &str, value: &str) -> impl Future<Output = Response> + use<> {
    server.request("PUT", target, JSON, value)
}

/// Puts a row; gives its tag.
#[track_caller]
pub(super) fn tag_of_put(
    server: &TestServer,
    target: &str,
    value: &str,
) -> impl Future<Output = String> + use<> {
    let asked = put(server, target, value);
    let at = Location::caller();
    async move {
        let answer = asked.await;
        assert!(matches!(answer.status, 200 | 201), "{at}: {}", answer.text());
        answer.header("etag").unwrap().to_owned()
    }
}

/// Posts a batch, which is made; gives the answer.
#[track_caller]
pub(super) fn post(server: &TestServer, table: &str, batch: &str) -> impl Future<Output = Value> + use<> {
    let asked = server.post(&format!("/tables/{table}"), NDJSON, batch);
    let at = Location::caller();
    async move {
        let answer = asked.await;
        assert_eq!(answer.status, 200, "{at}: {}", answer.text());
        answer.json()
    }
}

/// A table's rows: key and value.
pub(super) async fn rows(server: &TestServer, table: &str) -> Vec<(String, Value)> {
    let answer = server.get(&format!("/tables/{table}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    pairs(&answer.json())
}

pub(super) fn pairs(snapshot: &Value) -> Vec<(String, Value)> {
    let pair = |row: &Value| (row["key"].as_str().unwrap().to_owned(), row["value"].clone());
    snapshot["rows"].as_array().unwrap().iter().map(pair).collect()
}

/// The answer to `HEAD`, which has no body.
pub(super) async fn head(server: &TestServer, target: &str, headers: &str) -> Response {
    let mut connection = Connection::open(server.address()).await;
    connection.send(format!("HEAD {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")).await;
    let head = connection.head().await;
    assert_eq!(connection.closed().await, b"", "HEAD {target}");
    head
}
