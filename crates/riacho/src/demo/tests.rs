//! The assets hold together, and the feeders say what the pages expect.

use super::*;
use axum::body::{Body, to_bytes};
use http::{Request, StatusCode};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};
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
        // The API of the orders is no file.
        let file = |part: &&str| part.starts_with("/demo/") && !part.starts_with("/demo/api/");
        for quoted in text.split('"').filter(file) {
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

#[tokio::test]
async fn a_market_writes_every_row_and_then_those_that_moved() {
    let written = RefCell::new(Vec::new());
    let enough = Notify::new();
    let trading = trade(Market::new(1, |_| None), |rows| {
        written.borrow_mut().push(rows);
        if written.borrow().len() == 3 {
            enough.notify_one();
        }
        std::future::ready(())
    });
    tokio::select! {
        () = trading => unreachable!("it trades until it is dropped"),
        () = enough.notified() => {}
    }
    let written = written.into_inner();
    assert_eq!(written[0].len(), 20);
    assert!(written[0].iter().all(|(symbol, row)| row["symbol"] == *symbol && row["change"] == 0.0));
    assert!(written[1..].iter().all(|rows| rows.len() <= 20));
}

#[test]
fn prices_stay_prices_and_only_rows_that_were_traded_are_given() {
    for chance in 0..5 {
        let mut market = Market::new(chance, |_| None);
        let opened: BTreeMap<_, _> = market.rows().into_iter().collect();
        let (mut before, mut all, mut few) = (opened.clone(), false, false);
        for _ in 0..3_000 {
            let moved = market.moved();
            (all, few) = (all || moved.len() == 20, few || (1..4).contains(&moved.len()));
            for (symbol, row) in moved {
                assert!(row["volume"].as_u64() > before[symbol]["volume"].as_u64(), "seed {chance}: {row}");
                let (price, opening) =
                    (row["price"].as_f64().unwrap(), opened[symbol]["price"].as_f64().unwrap());
                assert!(price > opening / 2.0 && price < opening * 2.0, "seed {chance}: {row}");
                assert!(
                    (price - opening - row["change"].as_f64().unwrap()).abs() < 0.001,
                    "seed {chance}: {row}"
                );
                before.insert(symbol, row);
            }
            assert_eq!(market.rows().into_iter().collect::<BTreeMap<_, _>>(), before, "seed {chance}");
        }
        assert!(all && few, "seed {chance}: busy seconds and calm ones");
    }
}

#[test]
fn a_market_goes_on_where_its_rows_were() {
    let mut market = Market::new(7, |_| None);
    for _ in 0..100 {
        market.moved();
    }
    let rows: BTreeMap<_, _> = market.rows().into_iter().collect();
    let again = Market::new(8, |symbol| rows.get(symbol).cloned());
    assert_eq!(again.rows(), market.rows());

    for odd in [
        json!(null),
        json!({ "price": "1" }),
        json!({ "price": -3, "volume": -1 }),
        json!({ "price": 1e300 }),
    ] {
        assert_eq!(Market::new(7, |_| Some(odd.clone())).rows(), Market::new(7, |_| None).rows(), "{odd}");
    }
}

#[test]
fn there_are_orders_of_every_status_the_newest_last() {
    let orders = orders::orders(1_700_000_000_000);
    assert_eq!(orders.len(), 40);
    assert_eq!((&*orders[0].0, &*orders[39].0), ("A-1001", "A-1040"));
    assert!(orders.is_sorted_by_key(|(_, row)| row["placed"].as_str().map(str::to_owned)));
    let statuses: BTreeSet<_> = orders.iter().filter_map(|(_, row)| row["status"].as_str()).collect();
    assert_eq!(statuses, BTreeSet::from(["cancelled", "open", "paid", "shipped"]));
    for (key, row) in &orders {
        assert!(row["total"].as_f64() > Some(0.0) && row["quantity"].as_u64() > Some(0), "{key}: {row}");
    }
}
