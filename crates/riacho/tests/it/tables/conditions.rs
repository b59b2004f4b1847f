//! Writers that say what must hold before.

use super::{JSON, put, tag_of_put};
use crate::support::TestServer;
use std::sync::Arc;

async fn put_if(server: &TestServer, key: &str, condition: &str, value: &str) -> crate::support::Response {
    server.request("PUT", &format!("/tables/t/{key}"), &format!("{JSON}{condition}\r\n"), value).await
}

#[tokio::test]
async fn of_many_writers_with_one_tag_exactly_one_wins() {
    let server = Arc::new(TestServer::start().await);
    for round in 0..5 {
        let tag = tag_of_put(&server, "/tables/t/k", &format!("{{\"round\":{round}}}")).await;
        let tries: Vec<_> = (0..20)
            .map(|writer| {
                let (server, condition) = (Arc::clone(&server), format!("If-Match: {tag}"));
                let value = format!("{{\"round\":{round},\"writer\":{writer}}}");
                tokio::spawn(async move { (put_if(&server, "k", &condition, &value).await, value) })
            })
            .collect();
        let mut won = Vec::new();
        for tried in tries {
            let (answer, value) = tried.await.unwrap();
            if answer.status == 200 {
                won.push((answer.header("etag").unwrap().to_owned(), value));
            } else {
                answer.problem(412, "condition_failed", false);
            }
        }
        assert_eq!(won.len(), 1, "round {round}: {won:?}");
        let row = server.get("/tables/t/k").await;
        assert_eq!((row.header("etag"), row.text()), (Some(&*won[0].0), &*won[0].1));
    }
}

#[tokio::test]
async fn of_many_creators_exactly_one_creates() {
    let server = Arc::new(TestServer::start().await);
    let tries: Vec<_> = (0..20)
        .map(|writer| {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                put_if(&server, "k", "If-None-Match: *", &format!("{{\"writer\":{writer}}}")).await.status
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for tried in tries {
        statuses.push(tried.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (201, &[412; 19][..]));
}

#[tokio::test]
async fn conditions_are_judged_as_the_standard_says() {
    let server = TestServer::start().await;
    let old = tag_of_put(&server, "/tables/t/k", "{}").await;
    let now = tag_of_put(&server, "/tables/t/k", "{\"a\":0}").await;
    let (epoch, offset) = now.trim_matches('"').split_once('-').unwrap();
    let other = format!("\"{:x}-{offset}\"", u64::from_str_radix(epoch, 16).unwrap() ^ 1);
    let mut now = now.clone();
    let mut n = 0;
    for (condition, holds) in [
        ("If-Match: *", true),
        ("If-Match: NOW", true),
        ("If-Match: OLD, NOW", true),
        ("If-Match: \"nonsense\", , NOW ,", true),
        ("If-Match: OLD\r\nIf-Match: NOW", true),
        ("If-Match: OLD", false),
        ("If-Match: W/NOW", false),
        ("If-Match: OTHER", false),
        ("If-Match: \"nonsense\"", false),
        ("If-None-Match: *", false),
        ("If-None-Match: NOW", false),
        ("If-None-Match: W/NOW", false),
        ("If-None-Match: OLD", true),
        ("If-None-Match: OTHER, \"nonsense\"", true),
    ] {
        n += 1;
        let filled = condition.replace("NOW", &now).replace("OLD", &old).replace("OTHER", &other);
        let answer = put_if(&server, "k", &filled, &format!("{{\"a\":{n}}}")).await;
        if holds {
            assert_eq!(answer.status, 200, "{condition}: {}", answer.text());
            now = answer.header("etag").unwrap().to_owned();
        } else {
            answer.problem(412, "condition_failed", false);
            assert_eq!(answer.header("etag"), Some(&*now), "{condition}");
        }
    }
    for condition in ["If-Match: *", &format!("If-Match: {now}")] {
        let answer = put_if(&server, "missing", condition, "{}").await;
        answer.problem(412, "condition_failed", false);
        assert_eq!(answer.header("etag"), None);
    }
    for broken in [
        "If-Match: nonsense",
        "If-Match: \"a",
        "If-Match: \"a\"b",
        "If-Match: \"a b\"",
        "If-Match:",
        "If-Match: *, \"a\"",
        "If-None-Match: w/\"a\"",
        "If-None-Match: \"a\" \"b\"",
        "If-Match: *\r\nIf-None-Match: *",
    ] {
        put_if(&server, "k", broken, "{}").await.problem(400, "condition_invalid", false);
    }
}

#[tokio::test]
async fn patch_and_delete_take_conditions_too() {
    let server = TestServer::start().await;
    let old = tag_of_put(&server, "/tables/t/k", "{\"a\":1}").await;
    let now = tag_of_put(&server, "/tables/t/k", "{\"a\":2}").await;
    let conditional = |tag: &str| format!("{JSON}If-Match: {tag}\r\n");
    let refused = server.request("PATCH", "/tables/t/k", &conditional(&old), "{\"a\":3}").await;
    refused.problem(412, "condition_failed", false);
    let patched = server.request("PATCH", "/tables/t/k", &conditional(&now), "{\"a\":3}").await;
    let newest = patched.header("etag").unwrap().to_owned();
    server.request("DELETE", "/tables/t/k", &conditional(&now), "").await.problem(
        412,
        "condition_failed",
        false,
    );
    assert_eq!(server.request("DELETE", "/tables/t/k", &conditional(&newest), "").await.status, 200);
    server.request("DELETE", "/tables/t/k", &conditional("*"), "").await.problem(
        412,
        "condition_failed",
        false,
    );
}

#[tokio::test]
async fn reader_that_has_the_row_is_told_so() {
    let server = TestServer::start().await;
    let tag = tag_of_put(&server, "/tables/t/k", "{}").await;
    for has in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let answer = server.request("GET", "/tables/t/k", &format!("If-None-Match: {has}\r\n"), "").await;
        assert_eq!((answer.status, answer.header("etag"), answer.text()), (304, Some(&*tag), ""), "{has}");
    }
    put(&server, "/tables/t/k", "{\"a\":1}").await;
    let answer = server.request("GET", "/tables/t/k", &format!("If-None-Match: {tag}\r\n"), "").await;
    assert_eq!((answer.status, answer.text()), (200, "{\"a\":1}"));
}
