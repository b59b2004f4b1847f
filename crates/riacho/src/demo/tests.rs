//! The assets hold together, and the feeders say what the pages expect.

use super::*;
use axum::body::{Body, to_bytes};
use http::{Request, StatusCode};
use std::{cell::RefCell, collections::BTreeSet};
use tokio::sync::Notify;
use tower::ServiceExt;

async fn get_page(path: &str) -> Response {
    let request = Request::get(path).body(Body::empty()).unwrap();
    routes::<()>().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn every_file_a_page_names_is_served_and_nothing_else_is_there() {
    let mut named = BTreeSet::new();
    for asset in ASSETS.iter().filter(|asset| asset.kind != "image/svg+xml") {
        let text = std::str::from_utf8(asset.bytes).unwrap();
        for quoted in text.split('"').filter(|part| part.starts_with("/demo/")) {
            let path = quoted.split('?').next().unwrap();
            let answer = get_page(path).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path} in {}", asset.path);
            named.insert(path.to_owned());
        }
        for module in text.split('"').filter_map(|part| part.strip_prefix("./")) {
            assert_eq!(get_page(&format!("/demo/{module}")).await.status(), StatusCode::OK, "{module}");
        }
    }
    let served: BTreeSet<_> = ASSETS.iter().map(|asset| asset.path.to_owned()).collect();
    assert_eq!(served, named);
}

#[tokio::test]
async fn pages_come_with_their_type_and_a_strict_policy() {
    for asset in ASSETS {
        let answer = get_page(asset.path).await;
        assert_eq!(answer.headers()[CONTENT_TYPE], asset.kind);
        assert_eq!(answer.headers()[CACHE_CONTROL], "no-cache");
        assert!(
            answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("default-src 'self';")
        );
        assert_eq!(to_bytes(answer.into_body(), usize::MAX).await.unwrap(), asset.bytes);
    }
    let answer = get_page("/demo").await;
    assert_eq!(answer.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(answer.headers()["location"], "/demo/");
    assert_eq!(get_page("/demo/nothing").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn each_second_has_its_time_and_its_sample() {
    let published = RefCell::new(Vec::new());
    let enough = Notify::new();
    let feeding = feed(|stream, event_type, data| {
        assert_eq!(event_type, None);
        published.borrow_mut().push((stream, data));
        if published.borrow().len() == 4 {
            enough.notify_one();
        }
        std::future::ready(())
    });
    tokio::select! {
        () = feeding => unreachable!("it feeds until it is dropped"),
        () = enough.notified() => {}
    }
    let published = published.into_inner();
    let streams: Vec<_> = published.iter().map(|(stream, _)| *stream).collect();
    assert_eq!(streams, [CLOCK_STREAM, METRICS_STREAM, CLOCK_STREAM, METRICS_STREAM]);
    assert!(published[0].1["time"].as_str() < published[2].1["time"].as_str());
    let sample = &published[3].1;
    assert_eq!(sample["time"], published[2].1["time"]);
    assert!((0.0..=100.0).contains(&sample["cpu"].as_f64().unwrap()), "{sample}");
    assert!(
        sample["memory"]["used"].as_u64().unwrap() <= sample["memory"]["total"].as_u64().unwrap(),
        "{sample}"
    );
    assert_eq!(sample["load"].as_array().unwrap().len(), 3);
    assert!(
        sample["network"]["rx_bytes_per_s"].is_u64() && sample["network"]["tx_bytes_per_s"].is_u64(),
        "{sample}"
    );
}
