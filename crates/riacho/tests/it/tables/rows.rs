//! One row: written, read, kept.

use super::{JSON, NDJSON, head, post, put, rows, tag_of_put};
use crate::support::TestServer;
use serde_json::{Value, json};

#[tokio::test]
async fn row_is_read_as_it_was_written() {
    let server = TestServer::start().await;
    let value = "{ \"n\" : 12345678901234567890.10, \"é\":\"\\u0041\", \"nested\":{\"a\":[1,2]} }";
    let made = put(&server, "/tables/orders/17", value).await;
    assert_eq!((made.status, made.header("location")), (201, Some("/tables/orders/17")), "{}", made.text());
    let cursor = made.json()["cursor"].as_str().unwrap().to_owned();
    assert_eq!(made.json()["changes"], 1);
    assert_eq!(made.header("etag"), Some(&*format!("\"{cursor}\"")));

    let row = server.get("/tables/orders/17").await;
    assert_eq!((row.status, row.text()), (200, value));
    assert_eq!(row.header("etag"), made.header("etag"));
    assert_eq!(
        (row.header("content-type"), row.header("cache-control")),
        (Some("application/json"), Some("no-cache"))
    );
    let asked = head(&server, "/tables/orders/17", "").await;
    assert_eq!((asked.status, asked.header("etag")), (200, made.header("etag")));
    assert_eq!(asked.header("content-length"), Some(&*value.len().to_string()));

    let changed = put(&server, "/tables/orders/17", "{\"n\":\n2}").await;
    assert_eq!((changed.status, changed.header("location")), (200, None));
    assert_ne!(changed.header("etag"), made.header("etag"));
    assert_eq!(server.get("/tables/orders/17").await.text(), "{\"n\": 2}");
}

#[tokio::test]
async fn write_that_changes_nothing_makes_no_change() {
    let server = TestServer::start().await;
    let tag = tag_of_put(&server, "/tables/t/k", "{\"a\":1}").await;
    server.publish("elsewhere", "x").await;
    let again = put(&server, "/tables/t/k", "{\"a\":1}").await;
    assert_eq!((again.status, again.header("etag")), (200, Some(&*tag)));
    assert_eq!(again.json()["changes"], 0);
    assert_eq!(format!("\"{}\"", again.json()["cursor"].as_str().unwrap()), tag);
}

#[tokio::test]
async fn patch_changes_what_it_names_and_no_digit_of_the_rest() {
    let server = TestServer::start().await;
    put(&server, "/tables/t/k", "{\"big\":90071992547409931.000000001, \"a\":1,\"o\":{\"x\":1,\"y\":1e400}}")
        .await;
    let patch = "{\"a\":null,\"new\":0.10,\"o\":{\"x\":12345678901234567890}}";
    for media in ["application/merge-patch+json", "application/json"] {
        let headers = format!("Content-Type: {media}\r\n");
        let patched = server.request("PATCH", "/tables/t/k", &headers, patch).await;
        assert_eq!(patched.status, 200, "{}", patched.text());
        let row = server.get("/tables/t/k").await;
        let want = "{\"big\":90071992547409931.000000001,\"o\":{\"x\":12345678901234567890,\"y\":1e400},\"new\":0.10}";
        assert_eq!(row.text().replace(", ", ","), want);
        assert_eq!(row.header("etag"), patched.header("etag"));
    }
}

#[tokio::test]
async fn deleted_row_is_gone_and_may_come_back() {
    let server = TestServer::start().await;
    server.get("/tables/t/k").await.problem(404, "table_unknown", false);
    server.request("DELETE", "/tables/t/k", "", "").await.problem(404, "row_unknown", false);
    put(&server, "/tables/t/k", "{}").await;
    let gone = server.request("DELETE", "/tables/t/k", "", "").await;
    assert_eq!((gone.status, gone.header("etag")), (200, None), "{}", gone.text());
    assert!(gone.json()["cursor"].is_string());
    server.get("/tables/t/k").await.problem(404, "row_unknown", false);
    server.request("DELETE", "/tables/t/k", "", "").await.problem(404, "row_unknown", false);
    server.request("PATCH", "/tables/t/k", JSON, "{}").await.problem(404, "row_unknown", false);
    assert_eq!(put(&server, "/tables/t/k", "{}").await.status, 201);
}

#[tokio::test]
async fn any_text_is_a_key_and_any_name_a_table_once_encoded() {
    let server = TestServer::start().await;
    let long = "k".repeat(1024);
    let cases = [
        ("a%2Fb", "a/b"),
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("100%25", "100%"),
        ("%C3%A9%F0%9F%A6%80", "é🦀"),
        ("%0A%22", "\n\""),
        ("%2E%2E", ".."),
        ("-", "-"),
        ("a;b=c,d:e@f", "a;b=c,d:e@f"),
        (&long, &long),
    ];
    for (encoded, key) in cases {
        let value = json!({ "key": key }).to_string();
        let made = put(&server, &format!("/tables/a%2Fb%20c/{encoded}"), &value).await;
        assert_eq!(made.status, 201, "{key}: {}", made.text());
        let location = made.header("location").unwrap().to_owned();
        assert!(location.starts_with("/tables/a%2Fb%20c/"), "{location}");
        assert_eq!(server.get(&location).await.text(), value);
        assert_eq!(server.get(&format!("/tables/a%2Fb%20c/{encoded}")).await.text(), value);
    }
    let found = rows(&server, "a%2Fb%20c").await;
    let mut want: Vec<&str> = cases.iter().map(|(_, key)| *key).collect();
    want.sort_unstable();
    assert_eq!(found.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), want);
    assert!(found.iter().all(|(key, value)| value["key"] == key.as_str()));
    assert_eq!(server.get("/tables").await.json()["tables"][0]["name"], "a/b c");
}

#[tokio::test]
async fn restart_keeps_rows_their_tags_and_the_list() {
    let server = TestServer::start().await;
    let tag = tag_of_put(&server, "/tables/t/a", "{\"x\":1}").await;
    post(&server, "t", "{\"key\":\"b\",\"value\":{},\"headers\":{\"operation\":\"insert\"}}").await;
    server.request("DELETE", "/tables/t/b", "", "").await;
    let list = server.get("/tables").await.json();
    let server = server.restart().await;
    let row = server.get("/tables/t/a").await;
    assert_eq!((row.text(), row.header("etag")), ("{\"x\":1}", Some(&*tag)));
    server.get("/tables/t/b").await.problem(404, "row_unknown", false);
    assert_eq!(server.get("/tables").await.json(), list);
    assert_eq!(rows(&server, "t").await, [("a".to_owned(), json!({ "x": 1 }))]);
}

#[tokio::test]
async fn retry_gets_the_first_answer_also_after_a_restart() {
    let server = TestServer::start().await;
    let keyed = |key: &str| format!("{JSON}Idempotency-Key: {key}\r\n");
    let first = server.request("PUT", "/tables/t/k", &keyed("put"), "{\"a\":1}").await;
    assert_eq!(first.status, 201);
    let same = server.request("PUT", "/tables/t/k", &keyed("same"), "{\"a\":1}").await;
    assert_eq!((same.status, &same.json()["changes"]), (200, &json!(0)));
    let patch = server.request("PATCH", "/tables/t/k", &keyed("patch"), "{\"b\":1}").await;
    let gone = server.request("DELETE", "/tables/t/k", "Idempotency-Key: delete\r\n", "").await;
    let lines = "{\"key\":\"x\",\"value\":{},\"headers\":{\"operation\":\"insert\",\"txid\":\"tx\"}}\n\
                 {\"key\":\"y\",\"value\":{},\"headers\":{\"operation\":\"insert\"}}";
    let batched = format!("{NDJSON}Idempotency-Key: batch\r\n");
    let batch = server.post("/tables/t", &batched, lines).await;
    assert_eq!((batch.status, &batch.json()["txid"]), (200, &json!("tx")), "{}", batch.text());
    let mut server = server;
    for round in 0..2 {
        let retries = [
            (server.request("PUT", "/tables/t/k", &keyed("put"), "{\"a\":1}").await, &first),
            (server.request("PUT", "/tables/t/k", &keyed("same"), "{\"a\":1}").await, &same),
            (server.request("PATCH", "/tables/t/k", &keyed("patch"), "{\"b\":1}").await, &patch),
            (server.request("DELETE", "/tables/t/k", "Idempotency-Key: delete\r\n", "").await, &gone),
            (server.post("/tables/t", &batched, lines).await, &batch),
        ];
        for (number, (retry, first)) in retries.iter().enumerate() {
            let place = format!("round {round}, {number}: {}", retry.text());
            assert_eq!((retry.status, &retry.body), (first.status, &first.body), "{place}");
            for name in ["etag", "location"] {
                assert_eq!(retry.header(name), first.header(name), "{place}");
            }
        }
        let other = server.request("PUT", "/tables/t/k", &keyed("put"), "{\"a\":2}").await;
        other.problem(422, "idempotency_key_reused", false);
        let other = server.request("PATCH", "/tables/t/k", &keyed("put"), "{\"a\":1}").await;
        other.problem(422, "idempotency_key_reused", false);
        let other = format!("{}If-Match: *\r\n", keyed("put"));
        let other = server.request("PUT", "/tables/t/k", &other, "{\"a\":1}").await;
        other.problem(422, "idempotency_key_reused", false);
        server.get("/tables/t/k").await.problem(404, "row_unknown", false);
        server = server.restart().await;
    }
}

#[tokio::test]
async fn list_is_sorted_and_comes_in_pages() {
    let server = TestServer::start().await;
    assert_eq!(server.get("/tables").await.text(), "{\"tables\":[]}\n");
    for table in ["b", "a%2Fx", "a", "c"] {
        put(&server, &format!("/tables/{table}/k"), "{\"v\":1}").await;
    }
    let last = tag_of_put(&server, "/tables/b/kk", "{}").await;
    let names = |list: &Value| -> Vec<String> {
        list["tables"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = server.get("/tables").await;
    assert_eq!((all.header("cache-control"), all.header("vary")), (Some("no-store"), Some("accept")));
    let all = all.json();
    assert_eq!(
        (names(&all), &all["next"]),
        (vec!["a".into(), "a/x".into(), "b".into(), "c".into()], &json!(null))
    );
    assert_eq!(
        all["tables"][2],
        json!({ "name": "b", "cursor": last.trim_matches('"'), "rows": 2, "bytes": 12, "source": null, "subscribers": 0 })
    );
    let page = server.get("/tables?limit=3").await.json();
    assert_eq!((names(&page).len(), &page["next"]), (3, &json!("b")));
    let rest = server.get("/tables?limit=3&after=b").await.json();
    assert_eq!((names(&rest), &rest["next"]), (vec!["c".to_owned()], &json!(null)));
    assert_eq!(names(&server.get("/tables?prefix=a").await.json()), ["a", "a/x"]);
    assert_eq!(server.get("/streams").await.json()["streams"], json!([]));
}

#[tokio::test]
async fn emptied_table_has_no_rows_and_takes_new_ones() {
    let server = TestServer::start().await;
    server.request("DELETE", "/tables/t", "", "").await.problem(404, "table_unknown", false);
    put(&server, "/tables/t/a", "{}").await;
    put(&server, "/tables/t/b", "{}").await;
    let emptied = server.request("DELETE", "/tables/t", "", "").await;
    assert_eq!(emptied.status, 200, "{}", emptied.text());
    assert_eq!(rows(&server, "t").await, []);
    let listed = server.get("/tables").await.json();
    assert_eq!(
        (&listed["tables"][0]["rows"], &listed["tables"][0]["cursor"]),
        (&json!(0), &emptied.json()["cursor"])
    );
    assert_eq!(put(&server, "/tables/t/a", "{}").await.status, 201);
    let server = server.restart().await;
    assert_eq!(rows(&server, "t").await.len(), 1);
}

#[tokio::test]
async fn table_of_a_source_takes_no_other_writes() {
    let server = TestServer::start().await;
    put(&server, "/tables/t/a", "{\"x\":1}").await;
    server.log().feed(&riacho_core::name::StreamName::of_table("t").unwrap(), &"pg".into(), true).unwrap();
    let change = "{\"key\":\"k\",\"headers\":{\"operation\":\"delete\"}}";
    for (method, target, headers, body) in [
        ("PUT", "/tables/t/a", JSON, "{}"),
        ("PATCH", "/tables/t/a", JSON, "{}"),
        ("DELETE", "/tables/t/a", "", ""),
        ("POST", "/tables/t", NDJSON, change),
        ("DELETE", "/tables/t", "", ""),
    ] {
        let refused = server.request(method, target, headers, body).await;
        let said = refused.problem(405, "table_read_only", false);
        assert!(said["detail"].as_str().unwrap().contains("`pg`"), "{said}");
        assert_eq!(refused.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    assert_eq!(server.get("/tables/t/a").await.text(), "{\"x\":1}");
    assert_eq!(server.get("/tables").await.json()["tables"][0]["source"], "pg");
}

#[tokio::test]
async fn reader_may_ask_for_what_it_has_written() {
    let server = TestServer::start().await;
    let cursor = put(&server, "/tables/t/a", "{}").await.json()["cursor"].as_str().unwrap().to_owned();
    let (epoch, offset) = cursor.split_once('-').unwrap();
    let ahead = format!("{epoch}-{:x}", u64::from_str_radix(offset, 16).unwrap() + 1);
    let other = format!("{:x}-{offset}", u64::from_str_radix(epoch, 16).unwrap() ^ 1);
    for target in ["/tables/t/a", "/tables/t"] {
        assert_eq!(server.get(&format!("{target}?after_cursor={cursor}")).await.status, 200);
        for unknown in [&ahead, &other] {
            let refused = server.get(&format!("{target}?after_cursor={unknown}")).await;
            refused.problem(409, "cursor_unknown", false);
        }
        let refused = server.get(&format!("{target}?after_cursor=x")).await;
        refused.problem(400, "parameter_invalid", false);
    }
}

#[tokio::test]
async fn pages_of_other_origins_write_rows_where_they_may() {
    let server = TestServer::with("cors_origins = [\"https://app.example\"]\n").await;
    let from = |origin: &str| format!("{JSON}Origin: {origin}\r\n");
    for method in ["PUT", "PATCH", "DELETE"] {
        let refused = server.request(method, "/tables/t/k", &from("https://evil.example"), "{}").await;
        refused.problem(403, "origin_forbidden", false);
    }
    let allowed = server.request("PUT", "/tables/t/k", &from("https://app.example"), "{}").await;
    assert_eq!(
        (allowed.status, allowed.header("access-control-allow-origin")),
        (201, Some("https://app.example"))
    );
    assert!(allowed.header("access-control-expose-headers").unwrap().contains("etag"));
    let preflight = "Origin: https://app.example\r\nAccess-Control-Request-Method: PATCH\r\n";
    let preflight = server.request("OPTIONS", "/tables/t/k", preflight, "").await;
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET,HEAD,POST,PUT,PATCH,DELETE"));
}
