//! Many changes, made together or not at all.

use super::{JSON, NDJSON, post, put, rows};
use crate::support::TestServer;
use serde_json::json;

fn change(operation: &str, key: &str, value: &str) -> String {
    let value = if value.is_empty() { String::new() } else { format!(",\"value\":{value}") };
    format!("{{\"key\":\"{key}\"{value},\"headers\":{{\"operation\":\"{operation}\"}}}}\n")
}

#[tokio::test]
async fn batch_is_made_as_one_in_both_forms() {
    let server = TestServer::start().await;
    put(&server, "/tables/t/old", "{\"a\":1,\"b\":1}").await;
    put(&server, "/tables/t/gone", "{}").await;
    let lines = [
        change("insert", "new", "{\"n\":1}"),
        change("upsert", "up", "{}"),
        change("patch", "old", "{\"b\":null}"),
        change("delete", "gone", ""),
        change("update", "new", "{\"n\":2}"),
    ];
    let made = post(&server, "t", &lines.concat()).await;
    assert_eq!((&made["changes"], &made["txid"]), (&json!(5), &made["cursor"]));
    let want = [("new", json!({"n":2})), ("old", json!({"a":1})), ("up", json!({}))];
    assert_eq!(rows(&server, "t").await, want.map(|(key, value)| (key.to_owned(), value)));

    let array = "[{\"type\":\"t\",\"key\":\"up\",\"headers\":{\"operation\":\"delete\",\"txid\":\"tx 1\"}}]";
    let made = server.post("/tables/t", JSON, array).await;
    assert_eq!(
        (made.status, &made.json()["changes"], &made.json()["txid"]),
        (200, &json!(1), &json!("tx 1"))
    );
    let one = post(&server, "t", &change("insert", "up", "{}")).await;
    assert_eq!((&one["changes"], one.get("txid")), (&json!(1), None));
    let nothing = post(&server, "t", &change("upsert", "up", "{}")).await;
    assert_eq!((&nothing["changes"], &nothing["cursor"]), (&json!(0), &one["cursor"]));
}

#[tokio::test]
async fn refused_change_refuses_all_and_is_named() {
    let server = TestServer::start().await;
    put(&server, "/tables/t/there", "{}").await;
    let good = change("insert", "k", "{}");
    for (bad, status, code) in [
        (change("insert", "there", "{}"), 409, "row_exists"),
        (change("update", "missing", "{}"), 404, "row_unknown"),
        (change("patch", "missing", "{}"), 404, "row_unknown"),
        (change("delete", "missing", ""), 404, "row_unknown"),
    ] {
        let said =
            server.post("/tables/t", NDJSON, &format!("{good}{bad}")).await.problem(status, code, false);
        assert_eq!(said["index"], 1, "{said}");
    }
    for (bad, code) in [
        (change("insert", "", "{}"), "change_invalid"),
        (change("insert", "x", "[]"), "change_invalid"),
        (change("insert", "x", ""), "change_invalid"),
        (change("replace", "x", "{}"), "change_invalid"),
        ("{\"key\":\"x\",\"value\":{}}".to_owned(), "change_invalid"),
        (
            "{\"type\":\"u\",\"key\":\"x\",\"headers\":{\"operation\":\"delete\"}}".to_owned(),
            "change_invalid",
        ),
        ("nonsense".to_owned(), "change_invalid"),
    ] {
        let said =
            server.post("/tables/t", NDJSON, &format!("{good}\n{bad}")).await.problem(400, code, false);
        assert_eq!((&said["index"], &said["line"]), (&json!(1), &json!(3)), "{bad}: {said}");
        if bad != "nonsense" {
            let array = format!("[{good},{bad}]");
            let said = server.post("/tables/t", JSON, &array).await.problem(400, code, false);
            assert_eq!((&said["index"], said.get("line")), (&json!(1), None), "{bad}: {said}");
        }
    }
    for (form, nothing) in [(NDJSON, "\n"), (JSON, "[]")] {
        server.post("/tables/t", form, nothing).await.problem(400, "batch_empty", false);
    }
    let said = server.post("/tables/t", JSON, "{}").await.problem(400, "change_invalid", false);
    assert_eq!(said.get("index"), None, "{said}");
    assert_eq!(rows(&server, "t").await.len(), 1);
}

#[tokio::test]
async fn bounds_of_batches_hold() {
    let file = "[limits]\nrow_bytes_max = \"1KiB\"\nevent_bytes_max = \"1KiB\"\nbatch_bytes_max = \"4KiB\"\nbatch_events_max = 3\n";
    let server = TestServer::with(file).await;
    let many: String = (0..4).map(|n| change("insert", &n.to_string(), "{}")).collect();
    let said = server.post("/tables/t", NDJSON, &many).await.problem(413, "batch_too_large", false);
    assert_eq!((&said["index"], &said["line"]), (&json!(3), &json!(4)));
    let large = change("insert", "x", &json!({ "v": "x".repeat(1017) }).to_string());
    let said = server.post("/tables/t", NDJSON, &large).await.problem(413, "row_too_large", false);
    assert_eq!((&said["index"], &said["line"]), (&json!(0), &json!(1)));
    server.post("/tables/t", NDJSON, &"\n".repeat(4097)).await.problem(413, "batch_too_large", false);
    let whole = json!({ "v": "x".repeat(1016) }).to_string();
    assert_eq!(put(&server, "/tables/t/x", &whole).await.status, 201);
    put(&server, "/tables/t/x", &format!("{whole} ")).await.problem(413, "row_too_large", false);
    let grows = server.request("PATCH", "/tables/t/x", JSON, "{\"w\":1}").await;
    grows.problem(413, "row_too_large", false);
    let said = post(&server, "t", &change("insert", "y", &whole)).await;
    assert_eq!(said["changes"], 1);
    let said = server.post("/tables/t", NDJSON, &change("patch", "y", "{\"w\":1}")).await;
    assert_eq!(said.problem(413, "row_too_large", false)["index"], 0);
    assert_eq!(server.metric("riacho_limits_hit_total{limit=\"row_bytes_max\"}").await, 4);
}

#[tokio::test]
async fn schema_holds_on_every_way_in() {
    let directory = tempfile::tempdir().unwrap();
    let schema = directory.path().join("orders.json");
    std::fs::write(&schema, r#"{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}"#)
        .unwrap();
    let file = format!("[[table]]\nmatch = \"orders\"\nschema = \"{}\"\n", schema.display());
    let server = TestServer::with(&file).await;
    let said =
        put(&server, "/tables/orders/k", "{\"n\":\"secret\"}").await.problem(422, "schema_violated", false);
    let detail = said["detail"].as_str().unwrap();
    assert!(detail.contains("/n") && !detail.contains("secret"), "{detail}");
    assert_eq!(put(&server, "/tables/orders/k", "{\"n\":1}").await.status, 201);
    let patch = server.request("PATCH", "/tables/orders/k", JSON, "{\"n\":null}").await;
    patch.problem(422, "schema_violated", false);
    for operation in ["insert", "update", "upsert"] {
        let batch = format!("{}{}", change("delete", "k", ""), change(operation, "k", "{\"n\":1.5}"));
        let said = server.post("/tables/orders", NDJSON, &batch).await.problem(422, "schema_violated", false);
        assert_eq!(said["index"], 1, "{operation}: {said}");
    }
    let batch = format!("{}{}", change("upsert", "j", "{\"n\":2}"), change("patch", "k", "{\"n\":{}}"));
    let said = server.post("/tables/orders", NDJSON, &batch).await.problem(422, "schema_violated", false);
    assert_eq!(said["index"], 1);
    assert_eq!(rows(&server, "orders").await, [("k".to_owned(), json!({"n":1}))]);
    assert_eq!(put(&server, "/tables/free/k", "{\"n\":\"x\"}").await.status, 201);
}
