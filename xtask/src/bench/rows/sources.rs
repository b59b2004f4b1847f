//! Databases whose tables are served live, each beside what comes with the database for the same job.

/// All rows of a table, the first time.
pub(super) mod copy;
/// Many changes to many subscribers.
pub(super) mod changes;
/// From commit to subscriber.
pub(super) mod latency;
/// SQLite: from commit to subscriber, and what waiting costs.
pub(super) mod sqlite;
/// DynamoDB: first copy, records of streams, and what waiting costs.
pub(super) mod dynamodb;
/// `pg_recvlogical`, and the stamps it prints.
mod decoded;

#[cfg(test)]
pub(in crate::bench) use decoded::made;

use super::tables::{SNAPSHOT_END, settle};
use crate::bench::{
    client::Load,
    http,
    machine::now,
    options::Size,
    results::{median, rounded},
    server::Server,
    stage::Stage,
};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    fs::File,
    io::Write as _,
    thread::sleep,
    time::{Duration, SystemTime},
};

/// What stands before the stamp of a row, which is its column `v`.
const MARKER: &str = r#""v":"T"#;

/// Gives a running server a source, and waits until its tables are copied; how long that took. `look` is called now and then
/// meanwhile.
///
/// The source stands in the server's own configuration file, which a restart writes anew.
fn follow(server: &Server, source: &str, mut look: impl FnMut()) -> Result<Duration> {
    let path = server.directory.join("riacho.toml");
    let mut file = File::options().append(true).open(&path).context("failed to open the configuration")?;
    write!(file, "\n[[source]]\n{source}\n").context("failed to write the configuration")?;
    let begin = now();
    http::request(server.port, "POST", "/sources/reload", "text/plain", "")?;
    loop {
        let sources = sources(server)?;
        if sources.iter().all(is_copied) {
            return Ok(now() - begin);
        }
        if let Some(broken) = sources.iter().find(|source| member(source, "state") == "broken") {
            bail!("a source is broken: {broken}");
        }
        if now() - begin > COPY_MAX {
            bail!("not copied within {COPY_MAX:?}: {sources:?}");
        }
        look();
        sleep(LOOK);
    }
}

/// What `GET /sources` tells of each.
fn sources(server: &Server) -> Result<Vec<Value>> {
    let text = http::request(server.port, "GET", "/sources", "text/plain", "")?;
    let answer: Value = serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
    Ok(answer.get("sources").and_then(Value::as_array).cloned().unwrap_or_default())
}

fn is_copied(source: &Value) -> bool {
    let tables = source.get("tables").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    member(source, "state") == "live"
        && !tables.is_empty()
        && tables.iter().all(|table| table.get("ready").and_then(Value::as_bool) == Some(true))
}

fn member<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Fails unless the server has so many rows.
fn has_rows(server: &Server, rows: usize) -> Result<()> {
    settle(server)?;
    let found = http::metric(server.port, "riacho_rows")?;
    if (found - number(rows)).abs() > 0.0 {
        bail!("{found} rows of {rows} were copied");
    }
    Ok(())
}

/// Subscribers of rows with stamps in `v`, who count for so long from when all of them have the rows there are.
fn watching(stage: &Stage, server: &Server, subscribers: usize, duration: Duration) -> Load {
    Load::new(stage, "subscribe", server)
        .set("--marker", MARKER)
        .set("--ready", SNAPSHOT_END)
        .set("--subscribers", subscribers)
        .set("--idle", "0s")
        .set("--duration", format!("{}ms", duration.as_millis()))
}

/// How long what was written may take to arrive.
fn tail(size: Size) -> Duration {
    Duration::from_secs(if size == Size::Quick { 3 } else { 10 })
}

/// Nanoseconds since 1970, as stamps have them.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn realtime() -> u64 {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The median and the 99th percentile of times in nanoseconds, in microseconds.
fn percentiles(times: &[u64]) -> Option<(f64, f64)> {
    let mut micros: Vec<f64> = times.iter().map(|nanos| number(*nanos) / 1e3).collect();
    let middle = median(&mut micros)?;
    let high = micros.get((micros.len() * 99).div_ceil(100) - 1).copied()?;
    Some((rounded(middle), rounded(high)))
}

/// A count as a figure.
fn number<N: TryInto<u64>>(count: N) -> f64 {
    count.try_into().map_or(f64::NAN, |count| {
        let (high, low) = ((count >> 32) as u32, (count & u64::from(u32::MAX)) as u32);
        f64::from(high) * 4_294_967_296.0 + f64::from(low)
    })
}

/// How often a copy is looked at: each look at memory holds the server up a little.
const LOOK: Duration = Duration::from_millis(50);

const COPY_MAX: Duration = Duration::from_secs(300);
