//! The demo: pages under `/demo/`, two streams and a table the server feeds itself, and a database that a source reads.
//!
//! It sees the server as any publisher and any page do: events and rows go out through the functions it is given, and the
//! pages use the public URLs. It must not reach into the log or the transports.

/// Orders that nobody made.
mod orders;
/// A database of them.
mod shop;
/// Companies that do not exist.
mod stocks;

pub use shop::{ORDERS_TABLE, Shop};
pub use stocks::{Market, STOCKS_TABLE};

use crate::clock;
use axum::{
    Router,
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use riacho_core::time::rfc3339;
use serde_json::{Value, json};
use std::{future::Future, time::Duration};
use sysinfo::{MemoryRefreshKind, Networks, System};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use tracing::warn;

/// The stream of the time: `{"time":RFC 3339}` each second.
pub const CLOCK_STREAM: &str = "demo/clock";

/// The stream of this machine's metrics, one sample each second; of durability `memory`, since only the newest matter.
///
/// `{"time","cpu":per cent,"memory":{"used","total"} in bytes,"load":[1, 5, 15 minutes],"network":{"rx_bytes_per_s",
/// "tx_bytes_per_s"}}`; the network without the loopback.
pub const METRICS_STREAM: &str = "demo/metrics";

/// The pages and what they load. `/demo` leads to `/demo/`.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let index = Router::new().route("/demo", get(async || Redirect::permanent("/demo/")));
    ASSETS.iter().fold(index, |router, asset| router.route(asset.path, get(async || asset.response())))
}

/// Publishes the time and the metrics each second, through `publish(stream, type, data)`, until it is dropped.
///
/// A publish that takes longer than a second delays the next one; the seconds in between are left out. Dropping it
/// between two events loses nothing.
pub async fn feed<P, F>(mut publish: P)
where
    P: FnMut(&'static str, Option<&'static str>, Value) -> F,
    F: Future<Output = ()>,
{
    let mut machine =
        Machine::new().inspect_err(|err| warn!(error = %err, "no metrics of this machine for the demo")).ok();
    let mut seconds = seconds().await;
    loop {
        seconds.tick().await;
        let time = rfc3339(clock::now());
        publish(CLOCK_STREAM, None, json!({ "time": time })).await;
        if let Some(machine) = &mut machine {
            publish(METRICS_STREAM, None, machine.sample(&time)).await;
        }
    }
}

/// Writes all rows of `market`, then each second those whose price moved, through `write(rows)`, until it is dropped.
///
/// Rows are keys and their values. Seconds are left out as in [`feed`].
pub async fn trade<W, F>(mut market: Market, mut write: W)
where
    W: FnMut(Vec<(&'static str, Value)>) -> F,
    F: Future<Output = ()>,
{
    write(market.rows()).await;
    let mut seconds = seconds().await;
    loop {
        seconds.tick().await;
        write(market.moved()).await;
    }
}

// The first tick is at the turn of a second, so that clocks on the pages tick as the server's does.
async fn seconds() -> Interval {
    sleep(Duration::from_millis(1000 - clock::now() % 1000)).await;
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    seconds
}

/// This machine, as `/proc` and its like tell; what is a rate is measured between two samples.
struct Machine {
    system: System,
    networks: Networks,
    sampled: std::time::Instant,
}

impl Machine {
    fn new() -> Result<Self, sysinfo::Error> {
        let mut system = System::new()?;
        system.refresh_cpu_usage();
        Ok(Self { system, networks: Networks::new_with_refreshed_list()?, sampled: clock::instant() })
    }

    /// Reads a few small files: some hundred microseconds, so it needs no thread of its own.
    fn sample(&mut self, time: &str) -> Value {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        self.networks.refresh(true);
        let now = clock::instant();
        let millis = now.duration_since(self.sampled).as_millis().max(1);
        self.sampled = now;

        let (received, sent) = self
            .networks
            .iter()
            .filter(|(name, _)| name.as_os_str() != LOOPBACK)
            .fold((0, 0), |(rx, tx), (_, data)| (rx + data.received(), tx + data.transmitted()));
        let per_second = |bytes: u64| u64::try_from(u128::from(bytes) * 1000 / millis).unwrap_or(u64::MAX);
        // Systems that do not know a load are idle as far as the page is concerned.
        let load = System::load_average().map_or([0.0; 3], |load| [load.one, load.five, load.fifteen]);
        json!({
            "time": time,
            "cpu": hundredths(self.system.global_cpu_usage().into()),
            "memory": { "used": self.system.used_memory(), "total": self.system.total_memory() },
            "load": load.map(hundredths),
            "network": { "rx_bytes_per_s": per_second(received), "tx_bytes_per_s": per_second(sent) },
        })
    }
}

fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// A file of `demo/`, part of the binary.
struct Asset {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

impl Asset {
    fn response(&self) -> Response {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static(self.kind)),
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        (headers, self.bytes).into_response()
    }
}

const fn asset(path: &'static str, kind: &'static str, bytes: &'static [u8]) -> Asset {
    Asset { path, kind, bytes }
}

const LOOPBACK: &str = "lo";

/// Nothing from elsewhere, nothing inline, in no frame of another site.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'; object-src 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: &[Asset] = &[
    asset("/demo/", HTML, include_bytes!("../../../demo/index.html")),
    asset("/demo/clock", HTML, include_bytes!("../../../demo/clock.html")),
    asset("/demo/clock.js", SCRIPT, include_bytes!("../../../demo/clock.js")),
    asset("/demo/metrics", HTML, include_bytes!("../../../demo/metrics.html")),
    asset("/demo/metrics.js", SCRIPT, include_bytes!("../../../demo/metrics.js")),
    asset("/demo/notifications", HTML, include_bytes!("../../../demo/notifications.html")),
    asset("/demo/notifications.js", SCRIPT, include_bytes!("../../../demo/notifications.js")),
    asset("/demo/chat", HTML, include_bytes!("../../../demo/chat.html")),
    asset("/demo/chat.js", SCRIPT, include_bytes!("../../../demo/chat.js")),
    asset("/demo/stocks", HTML, include_bytes!("../../../demo/stocks.html")),
    asset("/demo/stocks.js", SCRIPT, include_bytes!("../../../demo/stocks.js")),
    asset("/demo/admin", HTML, include_bytes!("../../../demo/admin.html")),
    asset("/demo/admin.js", SCRIPT, include_bytes!("../../../demo/admin.js")),
    asset("/demo/table.js", SCRIPT, include_bytes!("../../../demo/table.js")),
    asset("/demo/connection.js", SCRIPT, include_bytes!("../../../demo/connection.js")),
    asset("/demo/demo.css", "text/css; charset=utf-8", include_bytes!("../../../demo/demo.css")),
    asset("/demo/icon.svg", "image/svg+xml", include_bytes!("../../../demo/icon.svg")),
];

#[cfg(test)]
mod tests;
