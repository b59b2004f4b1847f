//! What is counted, under the names it has in `/metrics`. Labels are small fixed sets: never a stream or a client.

use crate::{limits::Connections, log::Log, reactor::Reactors, rows::TableInfo, source::SourceInfo};
use http::StatusCode;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use riacho_core::source::machine::State;
use std::sync::{Arc, atomic::Ordering};

/// The counters that requests and connections raise; all else is read where it lives when metrics are asked for.
pub struct Metrics {
    requests: Family<StatusLabel, Counter>,
    errors: Family<CodeLabel, Counter>,
    limits: Family<LimitLabel, Counter>,
    accepted: Counter,
    pushed: Counter,
    push_failures: Counter,
    /// Shared with each WebSocket that is open.
    websockets: Arc<()>,
    connections: Arc<Connections>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabel {
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

impl Metrics {
    /// All at zero.
    pub fn new(connections: Arc<Connections>) -> Self {
        Self {
            requests: Family::default(),
            errors: Family::default(),
            limits: Family::default(),
            accepted: Counter::default(),
            pushed: Counter::default(),
            push_failures: Counter::default(),
            websockets: Arc::new(()),
            connections,
        }
    }

    /// Counts an answered request, with its code where it failed.
    pub fn request(&self, status: StatusCode, code: Option<&'static str>) {
        self.requests.get_or_create(&StatusLabel { status: status.as_u16() }).inc();
        if let Some(code) = code {
            self.errors.get_or_create(&CodeLabel { code }).inc();
        }
    }

    /// Counts what was refused on a WebSocket.
    pub fn refused(&self, code: &'static str) {
        self.errors.get_or_create(&CodeLabel { code }).inc();
    }

    /// Counts a WebSocket for as long as what it gives lives.
    pub fn websocket(&self) -> Arc<()> {
        Arc::clone(&self.websockets)
    }

    /// Counts a limit that was hit.
    pub fn limit(&self, limit: &'static str) {
        self.limits.get_or_create(&LimitLabel { limit }).inc();
    }

    /// Counts records or items that were pushed to a source and taken, and whether one could not be.
    pub fn push(&self, taken: usize, failed: bool) {
        self.pushed.inc_by(taken as u64);
        self.push_failures.inc_by(u64::from(failed));
    }

    /// Counts an accepted connection.
    pub fn accept(&self) {
        self.accepted.inc();
    }

    /// All metrics as OpenMetrics text; `snapshots` are being read.
    pub fn render(&self, log: &Log, reactors: &Reactors, snapshots: usize, sources: &[SourceInfo]) -> String {
        let mut registry = Registry::with_prefix("riacho");
        let health = log.health();
        let stats = log.stats();
        registry.register("http_requests", "Requests answered", self.requests.clone());
        registry.register("errors", "Requests refused, by code", self.errors.clone());
        registry.register("limits_hit", "Limits that were hit", self.limits.clone());
        registry.register("connections_accepted", "Connections accepted", self.accepted.clone());
        registry.register("pushed", "Records and items pushed to sources", self.pushed.clone());
        let help = "Pushed records that could not be taken, each time";
        registry.register("push_failures", help, self.push_failures.clone());
        let mut gauge = |name: &str, help: &str, value: usize| {
            let gauge: Gauge = Gauge::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            registry.register(name, help, gauge);
        };
        gauge("connections", "Connections open", self.connections.count());
        gauge("websockets", "WebSockets open", Arc::strong_count(&self.websockets) - 1);
        gauge("streams", "Streams that have or had events", health.streams);
        gauge(
            "followers",
            "Subscribers that are tasks: HTTP/2, NDJSON, WebSocket, long-poll",
            health.followers,
        );
        gauge("views", "Views", health.views.0);
        gauge("views_bytes", "Encoded events held by views", health.views.1);
        gauge("tail_bytes", "Newest durable events in memory", health.memory.0);
        gauge("memory_streams_bytes", "Events of memory streams", health.memory.1);
        let mut tables = log.rows().tables();
        tables.retain(|table| !table.name.is_hidden());
        let sum = |of: fn(&TableInfo) -> u64| {
            usize::try_from(tables.iter().map(of).sum::<u64>()).unwrap_or(usize::MAX)
        };
        gauge("tables", "Tables that have or had rows", tables.len());
        gauge("rows", "Rows of all tables", sum(|table| table.rows));
        gauge("rows_bytes", "Bytes of their keys and values", sum(|table| table.bytes));
        gauge(
            "rows_applied_offset",
            "The newest offset whose changes are in the file of rows",
            usize::try_from(log.rows().applied()).unwrap_or(usize::MAX),
        );
        gauge("snapshots", "Snapshots that are being read, or held for a reader of pages", snapshots);
        gauge("log_bytes", "Bytes of the log on disk", usize::try_from(health.disk.0).unwrap_or(usize::MAX));
        gauge("log_segments", "Segments of the log on disk", health.disk.1);
        gauge(
            "log_writable",
            "1 while the log takes events",
            usize::from(health.state == crate::log::State::Open),
        );
        gauge(
            "log_read_only",
            "1 while the disk is full",
            usize::from(health.state == crate::log::State::Full),
        );
        gauge("log_failed", "1 once the disk failed", usize::from(health.state == crate::log::State::Failed));
        gauge("idempotency_keys", "Idempotency keys remembered", health.keys);
        gauge("offset", "The newest visible offset", usize::try_from(log.published()).unwrap_or(usize::MAX));
        let lag = usize::try_from(log.lag_bytes()).unwrap_or(usize::MAX);
        gauge("sweep_lag_bytes", "Bytes the slowest sweep of a view is behind its end", lag);
        let sum = |of: fn(&crate::reactor::Stats) -> &std::sync::atomic::AtomicU64| -> u64 {
            reactors.stats().map(|stats| of(stats).load(Ordering::Relaxed)).sum()
        };
        gauge(
            "subscribers",
            "Subscribers on reactors",
            usize::try_from(sum(|s| &s.subscribers)).unwrap_or(0),
        );
        gauge(
            "subscribers_blocked",
            "Subscribers whose socket is full",
            usize::try_from(sum(|s| &s.blocked)).unwrap_or(0),
        );
        let mut counter = |name: &str, help: &str, value: u64| {
            let counter: Counter = Counter::default();
            counter.inc_by(value);
            registry.register(name, help, counter);
        };
        counter("events_in", "Events appended", stats.events.load(Ordering::Relaxed));
        counter("events_in_bytes", "Bytes of data appended", stats.bytes.load(Ordering::Relaxed));
        counter("log_commits", "Commits of durable events", stats.commits.load(Ordering::Relaxed));
        counter(
            "log_segments_removed",
            "Segments removed by retention",
            stats.segments_removed.load(Ordering::Relaxed),
        );
        let (events, bytes) = (&stats.events_out, &stats.bytes_out);
        counter("events_out", "Events sent", sum(|s| &s.events) + events.load(Ordering::Relaxed));
        counter("events_out_bytes", "Bytes sent", sum(|s| &s.bytes) + bytes.load(Ordering::Relaxed));
        counter("reactor_sends", "Send calls of reactors", sum(|s| &s.sends));
        counter("reactor_sweeps", "Slices of sweeps", sum(|s| &s.slices));
        counter("heartbeats", "Heartbeats sent by reactors", sum(|s| &s.heartbeats));
        counter("helpings", "Reads of the log for readers behind their view", sum(|s| &s.helpings));
        counter("discarded_bytes", "Bytes sent by clients after their request", sum(|s| &s.discarded));
        let seconds: Counter<f64, std::sync::atomic::AtomicU64> = Counter::default();
        let micros = stats.commit_micros.load(Ordering::Relaxed);
        seconds.inc_by(std::time::Duration::from_micros(micros).as_secs_f64());
        let help = "Time in writing and syncing commits";
        registry.register_with_unit("log_commit", help, Unit::Seconds, seconds);
        register_sources(&mut registry, sources);
        let mut text = String::new();
        // Writing into a String cannot fail.
        let written = encode(&mut text, &registry);
        debug_assert!(written.is_ok(), "metrics are written into memory");
        text
    }
}

/// The label of a source: there are as many as are configured.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct SourceLabel {
    source: String,
}

/// And of its state.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct StateLabel {
    source: String,
    state: &'static str,
}

fn register_sources(registry: &mut Registry, sources: &[SourceInfo]) {
    if sources.is_empty() {
        return;
    }
    let states: Family<StateLabel, Gauge> = Family::default();
    let of = |read: fn(&SourceInfo) -> Option<u64>| {
        let family: Family<SourceLabel, Gauge> = Family::default();
        for info in sources {
            if let Some(value) = read(info) {
                let label = SourceLabel { source: info.name.to_string() };
                family.get_or_create(&label).set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
        family
    };
    for info in sources {
        for state in State::WORDS {
            let label = StateLabel { source: info.name.to_string(), state };
            states.get_or_create(&label).set(i64::from(info.state.as_str() == state));
        }
    }
    registry.register("source_state", "1 for what a source is doing", states);
    registry.register(
        "source_lag_bytes",
        "Bytes of the database's log not read yet",
        of(|info| info.lag.bytes),
    );
    let help = "Age of the newest change when it became visible, in milliseconds";
    registry.register("source_lag_ms", help, of(|info| info.lag.millis));
    registry.register("source_changes", "Changes taken from a source", of(|info| Some(info.lag.changes)));
}
