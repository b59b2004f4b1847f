//! A retry under the same key is answered as the first try was, and stores nothing.

use crate::support::{Response, TestServer};
use std::sync::Arc;

async fn post(server: &TestServer, target: &str, key: &str, body: &str) -> Response {
    server.post(target, &format!("Idempotency-Key: {key}\r\nContent-Type: text/plain\r\n"), body).await
}

async fn events(server: &TestServer, stream: &str) -> u64 {
    server.listed(stream).await.unwrap()["events"].as_u64().unwrap()
}

#[tokio::test]
async fn retry_gets_the_first_answer_also_after_a_restart() {
    let server = TestServer::start().await;
    let first = post(&server, "/streams/s", "k", "a").await;
    server.publish("s", "between").await;
    let again = post(&server, "/streams/s", "k", "a").await;
    assert_eq!((again.id(), &again.body), (first.id(), &first.body));
    // The draft's form is quoted; many clients send it bare.
    assert_eq!(post(&server, "/streams/s", "\"k\"", "a").await.id(), first.id());
    let server = server.restart().await;
    assert_eq!(post(&server, "/streams/s", "k", "a").await.body, first.body);
    assert_eq!(events(&server, "s").await, 2);
}

#[tokio::test]
async fn same_key_for_another_request_is_refused() {
    let server = TestServer::start().await;
    let first = post(&server, "/streams/s", "k", "a").await.id();
    for (target, body) in [("/streams/s", "b"), ("/streams/other", "a"), ("/streams/s?type=t", "a")] {
        post(&server, target, "k", body).await.problem(422, "idempotency_key_reused", false);
    }
    let server = server.restart().await;
    post(&server, "/streams/s", "k", "b").await.problem(422, "idempotency_key_reused", false);
    assert_eq!(post(&server, "/streams/s", "k", "a").await.id(), first);
    assert_eq!(events(&server, "s").await, 1);
    assert_eq!(server.listed("other").await, None);
}

#[tokio::test]
async fn concurrent_tries_store_one_event() {
    let server = Arc::new(TestServer::start().await);
    for round in 0..10 {
        let tries = (0..8).map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { post(&server, "/streams/s", &format!("k{round}"), "a").await.id() })
        });
        let mut ids = Vec::new();
        for tried in tries.collect::<Vec<_>>() {
            ids.push(tried.await.unwrap());
        }
        ids.dedup();
        assert_eq!(ids.len(), 1, "round {round}: {ids:?}");
    }
    assert_eq!(events(&server, "s").await, 10);
}

#[tokio::test]
async fn whole_batch_is_retried_as_one() {
    let server = TestServer::start().await;
    let headers = "Idempotency-Key: batch\r\nContent-Type: application/x-ndjson\r\n";
    let body = "{\"stream\":\"a\",\"data\":1}\n{\"stream\":\"b\",\"data\":2}\n";
    let first = server.post("/streams", headers, body).await;
    assert_eq!(first.json()["count"], 2);
    assert_eq!(server.post("/streams", headers, body).await.body, first.body);
    let server = server.restart().await;
    assert_eq!(server.post("/streams", headers, body).await.body, first.body);
    assert_eq!((events(&server, "a").await, events(&server, "b").await), (1, 1));
}

#[tokio::test]
async fn refused_request_leaves_its_key_free() {
    let server = TestServer::start().await;
    let headers = "Idempotency-Key: k\r\nContent-Type: application/json\r\n";
    server.post("/streams/s", headers, "{").await.problem(400, "json_invalid", false);
    server.post("/streams/s", headers, "{}").await.id();
}

#[tokio::test]
async fn memory_streams_remember_keys_too() {
    let server = TestServer::with("[[stream]]\nmatch = \"m\"\ndurability = \"memory\"\n").await;
    server.publish("m", "first").await;
    let mut reader = server.subscribe("m").await;
    let id = post(&server, "/streams/m", "k", "a").await.id();
    assert_eq!(post(&server, "/streams/m", "k", "a").await.id(), id);
    post(&server, "/streams/m", "k", "b").await.problem(422, "idempotency_key_reused", false);
    server.publish("m", "last").await;
    assert_eq!(reader.data(2).await, ["a", "last"]);
    let server = server.restart().await;
    assert_eq!(post(&server, "/streams/m", "k", "a").await.id(), id);
}

#[tokio::test]
async fn key_that_is_none_is_refused() {
    let server = TestServer::start().await;
    for key in ["", "\"\"", &"k".repeat(256)] {
        post(&server, "/streams/s", key, "a").await.problem(400, "idempotency_key_invalid", false);
    }
    post(&server, "/streams/s", &"k".repeat(255), "a").await.id();
    assert_eq!(events(&server, "s").await, 1);
}
