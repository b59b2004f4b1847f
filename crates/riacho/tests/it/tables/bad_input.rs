//! What is refused.

use super::{JSON, NDJSON, put, rows};
use crate::support::TestServer;

#[tokio::test]
async fn bad_names_keys_and_paths_are_refused() {
    let server = TestServer::start().await;
    let long = "x".repeat(1025);
    let names = ["%0A".to_owned(), "a%2A".to_owned(), "%FF".to_owned(), "-%2Fown".to_owned(), long.clone()];
    for name in &names {
        for (method, target) in [("GET", ""), ("DELETE", ""), ("POST", ""), ("GET", "/k"), ("PUT", "/k")] {
            let answer = server.request(method, &format!("/tables/{name}{target}"), JSON, "{}").await;
            answer.problem(400, "name_invalid", false);
        }
    }
    for key in ["%00", "a%00b", "%FF", &long] {
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            let answer = server.request(method, &format!("/tables/t/{key}"), JSON, "{}").await;
            answer.problem(400, "key_invalid", false);
        }
    }
    for method in ["GET", "PUT", "POST", "DELETE"] {
        server.request(method, "/tables/", JSON, "{}").await.problem(400, "name_invalid", false);
        server.request(method, "/tables/t/", JSON, "{}").await.problem(400, "key_invalid", false);
        for deeper in ["/tables/t/a/b", "/tables/t/a/b/c", "/tables/t/a/"] {
            server.request(method, deeper, JSON, "{}").await.problem(404, "not_found", false);
        }
    }
    assert_eq!(server.get("/tables").await.text(), "{\"tables\":[]}\n");
}

#[tokio::test]
async fn methods_and_media_types_that_are_not_taken_are_said() {
    let server = TestServer::start().await;
    for (target, allow) in [
        ("/tables", "GET, HEAD, OPTIONS"),
        ("/tables/t", "GET, HEAD, POST, DELETE, OPTIONS"),
        ("/tables/t/k", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
    ] {
        let options = server.request("OPTIONS", target, "", "").await;
        assert_eq!((options.status, options.header("allow")), (204, Some(allow)));
        let method = if target == "/tables/t" { "PUT" } else { "POST" };
        let refused = server.request(method, target, JSON, "{}").await;
        refused.problem(405, "method_not_allowed", false);
        let sorted = |allow: &str| {
            let mut methods: Vec<_> = allow.split(',').map(|m| m.trim().to_owned()).collect();
            methods.sort_unstable();
            methods
        };
        assert_eq!(sorted(refused.header("allow").unwrap()), sorted(allow), "{target}");
    }
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    for (method, target, good) in [
        ("PUT", "/tables/t/k", "application/json"),
        ("PATCH", "/tables/t/k", "application/merge-patch+json"),
        ("POST", "/tables/t", "application/json"),
    ] {
        for headers in ["", form, "Content-Type: text/plain\r\n", "Content-Encoding: gzip\r\n"] {
            let said = server.request(method, target, headers, "{}").await;
            let said = said.problem(415, "content_type_unsupported", false);
            let detail = said["detail"].as_str().unwrap();
            let flag = format!("-H 'Content-Type: {good}'");
            assert!(headers.contains("gzip") || detail.contains(&flag), "{detail}");
        }
    }
    let merge_patch = "Content-Type: application/merge-patch+json\r\n";
    for headers in [NDJSON, merge_patch] {
        let answer = server.request("PUT", "/tables/t/k", headers, "{}").await;
        answer.problem(415, "content_type_unsupported", false);
    }
    for (target, accept) in [("/tables", "text/event-stream"), ("/tables/t", "image/png")] {
        let answer = server.request("GET", target, &format!("Accept: {accept}\r\n"), "").await;
        answer.problem(406, "not_acceptable", false);
    }
}

#[tokio::test]
async fn bad_rows_and_patches_are_refused_with_their_place() {
    let server = TestServer::start().await;
    put(&server, "/tables/t/k", "{}").await;
    for (body, place) in [
        ("", "line 1"),
        ("[1]", "an array"),
        ("null", "null"),
        ("{\"a\":1,\"a\":2}", "/a"),
        ("{\n\"a\":\n}", "line 3, column 1"),
        ("{\"a\":{\"b\":1,\"b\":1}}", "/a/b"),
        ("{}{}", "line 1, column 3"),
    ] {
        for (method, code) in [("PUT", "row_invalid"), ("PATCH", "patch_invalid")] {
            let said = server.request(method, "/tables/t/k", JSON, body).await.problem(400, code, false);
            assert!(said["detail"].as_str().unwrap().contains(place), "{body}: {said}");
        }
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(96), "]".repeat(96));
    put(&server, "/tables/t/k", &deep).await.problem(400, "row_invalid", false);
    let not_utf8 = server.request_bytes("PUT", "/tables/t/k", JSON, b"{\"a\":\"\xff\"}").await;
    not_utf8.problem(400, "not_utf8", false);
    let not_utf8 = server.request_bytes("POST", "/tables/t", NDJSON, b"\n\xff").await;
    assert_eq!(not_utf8.problem(400, "not_utf8", false)["line"], 2);
    let no_key = format!("{JSON}Idempotency-Key: \r\n");
    let answer = server.request("PUT", "/tables/t/k", &no_key, "{}").await;
    answer.problem(400, "idempotency_key_invalid", false);
    assert_eq!(rows(&server, "t").await.len(), 1);
}

#[tokio::test]
async fn bad_parameters_of_reading_are_refused() {
    let server = TestServer::start().await;
    put(&server, "/tables/t/k", "{}").await;
    for (query, code) in [
        ("where=a%20=", "where_invalid"),
        ("where=", "where_invalid"),
        ("where=a::int=1", "where_invalid"),
        ("where=a=$1", "params_invalid"),
        ("where=a=$1&params=[1,2]", "params_invalid"),
        ("where=a=$1&params=1", "params_invalid"),
        ("params=[1]", "params_invalid"),
        ("columns=", "columns_invalid"),
        ("columns=a,,b", "columns_invalid"),
        ("limit=0", "parameter_invalid"),
        ("limit=10001", "parameter_invalid"),
        ("after=x", "parameter_invalid"),
        ("after=-", "parameter_invalid"),
        ("after=00000000000000000000000000000000-6", "parameter_invalid"),
        ("after=00000000000000000000000000000000-ff", "parameter_invalid"),
        ("after_cursor=", "parameter_invalid"),
        ("where=%FF", "parameter_invalid"),
    ] {
        server.get(&format!("/tables/t?{query}")).await.problem(400, code, false);
    }
    let lines = "Accept: application/x-ndjson\r\n";
    server.request("GET", "/tables/t?limit=5", lines, "").await.problem(400, "parameter_invalid", false);
    server.get("/tables?limit=1001").await.problem(400, "parameter_invalid", false);
    let gone = server.get("/tables/t?after=00000000000000000000000000000000-61").await;
    gone.problem(410, "snapshot_gone", false);
}

#[tokio::test]
async fn tables_that_are_not_configured_are_unknown() {
    let server = TestServer::with("create = false\n[[table]]\nmatch = \"t\"\n").await;
    put(&server, "/tables/other/k", "{}").await.problem(404, "table_unknown", false);
    server.get("/tables/other").await.problem(404, "table_unknown", false);
    assert_eq!(put(&server, "/tables/t/k", "{}").await.status, 201);
    assert_eq!(rows(&server, "t").await.len(), 1);
}
