//! The other side of `cargo xtask bench --row sources-dynamodb`: tables to read, and a program that only scans them.
//!
//! `table ITEMS`: DynamoDB Local with a table `items` of so many. `stream SHARDS`: the fake of the tests with a table `prices`
//! of 1,000 items. Both say `at URL`, and then do what is asked on their input, line by line, until it ends:
//!
//! - `scan SEGMENTS`: reads all items of `items` as a source does, and keeps none; says `read ITEMS SECONDS`.
//! - `write RATE SECONDS`: changes items of `prices` at that rate, stamped; says `wrote RECORDS SECONDS`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a program of the benchmark's own, which measures time and talks through a pipe"
)]

#[path = "../tests/it/support/dynamodb/mod.rs"]
#[allow(dead_code, unused_imports, reason = "tests need more of it")]
mod support;

use riacho_core::source::dynamodb::{
    answer::Scan,
    item::Item,
    request::{self, Operation},
};
use serde_json::{Value, json};
use std::{
    io::BufRead as _,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use support::{Database, Fake, Keys, Local, View, service};
use tokio::task::JoinSet;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["table", items] => table(items.parse().unwrap()).await,
        ["stream", shards] => stream(shards.parse().unwrap()).await,
        _ => panic!("table ITEMS, or stream SHARDS"),
    }
}

async fn table(items: usize) {
    let local = Local::start().await.expect("DynamoDB Local is installed: cargo xtask setup");
    let database = Database::new(&local.endpoint());
    database.create_table("items", Keys::ID, Some(View::NewAndOldImages)).await;
    let mut filling = JoinSet::new();
    for part in 0..FILLERS {
        let database = database.clone();
        filling.spawn(async move {
            let mine: Vec<Value> = (part..items).step_by(FILLERS).map(item).collect();
            database.batch_write("items", mine, Vec::new()).await;
        });
    }
    filling.join_all().await;
    println!("at {}", local.endpoint());
    for line in std::io::stdin().lock().lines() {
        match line.unwrap().split(' ').collect::<Vec<_>>().as_slice() {
            ["scan", segments] => scan(&local.endpoint(), segments.parse().unwrap()).await,
            other => panic!("{other:?}"),
        }
    }
}

/// Of about 300 bytes, as those of the copy of PostgreSQL's.
fn item(n: usize) -> Value {
    json!({
        "id": {"S": format!("order-{n:08}")}, "customer": {"N": (n % 1000).to_string()},
        "amount": {"N": format!("{}.{:02}", n % 10_000 / 100, n % 100)}, "paid": {"BOOL": n.is_multiple_of(2)},
        "note": {"S": format!("{n:032}").repeat(8)},
    })
}

async fn scan(endpoint: &str, segments: u32) {
    let (service, begin) = (Arc::new(service(endpoint).await), Instant::now());
    let mut scanning = JoinSet::new();
    for segment in 0..segments {
        let service = Arc::clone(&service);
        scanning.spawn(async move {
            let (mut items, mut after) = (0, None::<Item>);
            loop {
                let page = request::Page {
                    table: "items",
                    segment: (segment, segments),
                    after: after.as_ref(),
                    limit: None,
                };
                let answer = service.call(Operation::Scan, request::scan(&page)).await.unwrap();
                let page = Scan::parse(&answer.body).unwrap();
                items += page.items.len();
                after = page.last;
                if after.is_none() {
                    return items;
                }
            }
        });
    }
    let items: usize = scanning.join_all().await.into_iter().sum();
    println!("read {items} {:.3}", begin.elapsed().as_secs_f64());
}

async fn stream(shards: usize) {
    let fake = Fake::start().await;
    fake.create_table("prices", Keys::ID, Some(View::NewAndOldImages), shards);
    let price = |n: u64, v: &str| json!({"id": {"S": format!("p{}", n % PRICES)}, "v": {"S": v}, "n": {"N": n.to_string()}});
    (0..PRICES).for_each(|n| fake.put("prices", price(n, "")));
    println!("at {}", fake.endpoint());
    // The fake is served by the same thread meanwhile.
    let (lines, mut asked) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if lines.blocking_send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    while let Some(line) = asked.recv().await {
        let ["write", rate, seconds] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let (rate, seconds): (f64, f64) = (rate.parse().unwrap(), seconds.parse().unwrap());
        let (begin, records) = (Instant::now(), (rate * seconds) as u64);
        for n in 0..records {
            let due = begin + Duration::from_secs_f64(n as f64 / rate);
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            } else if n.is_multiple_of(100) {
                tokio::task::yield_now().await;
            }
            let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
            fake.put("prices", price(n, &format!("T{time:016x}{:08x}{:08x}", n % PRICES, n / PRICES)));
        }
        println!("wrote {records} {:.3}", begin.elapsed().as_secs_f64());
    }
}

const FILLERS: usize = 4;
const PRICES: u64 = 1_000;
