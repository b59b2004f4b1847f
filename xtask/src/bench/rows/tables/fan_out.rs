//! One row that changes, to 1,000 and 10,000 subscribers at about 30,000 deliveries a second, and as many bytes of a stream.
//!
//! Receiving is steered to the other core where it can be, as that shows differences best.

use super::{MARKER, SNAPSHOT_END, putting};
use crate::bench::{
    client::Load,
    http,
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::{Figures, Results, rounded},
    row::{Case, Column, Goal, Row, ratio, thousands, warm},
    rows::fan_out::{COUNTS, CPU, DELIVERIES_PER_SECOND},
    server::Server,
    stage::{Cores, Stage},
};
use anyhow::Result;

pub(crate) const ROW: Row =
    Row { name: "tables-fan-out", aliases: &["tables"], cases, columns: COLUMNS, goals };

fn cases(size: Size) -> Vec<Case> {
    let mut cases = Vec::new();
    for subscribers in COUNTS {
        for table in [false, true] {
            let name = workload(subscribers, table);
            cases.push(Case::new(name, Peer::RiachoDurable, move |stage| {
                fan_out(stage, size, subscribers, table)
            }));
        }
    }
    cases
}

fn fan_out(stage: &Stage, size: Size, subscribers: usize, table: bool) -> Result<Figures> {
    let server = warm(stage, Peer::RiachoDurable, Cores::One, &[])?;
    let load = if table { of_table(stage, &server)? } else { of_stream(stage, &server) };
    stage.steer(stage.isolated)?;
    let figures = load
        .set("--subscribers", size.count(subscribers))
        .set("--rate", DELIVERIES_PER_SECOND / size.count(subscribers))
        .set("--connections", 1)
        .lasting(size, 4)
        .run();
    stage.steer(false)?;
    let mut figures = figures?;
    if let Some(bytes) =
        ratio(figures.get("window.bytes").copied(), figures.get("window.deliveries").copied())
    {
        figures.insert(BYTES.to_owned(), rounded(bytes));
    }
    Ok(figures)
}

fn of_table(stage: &Stage, server: &Server) -> Result<Load> {
    // The snapshot of each subscriber is this.
    http::request(server.port, "PUT", "/tables/prices/k", "application/json", r#"{"before":1}"#)?;
    let load = Load::new(stage, "run", server)
        .set("--path", "/tables/prices")
        .set("--publish-path", "/tables/prices/k")
        .set("--marker", MARKER)
        .set("--ready", SNAPSHOT_END)
        .set("--size", EVENT_BYTES);
    Ok(putting(load, r#"{"v":"{event}"}"#))
}

fn of_stream(stage: &Stage, server: &Server) -> Load {
    Load::on(stage, "run", server, "bench").set("--size", EVENT_BYTES + AROUND.len())
}

fn goals(results: &Results) -> Vec<Goal> {
    let cpu =
        |subscribers, table| results.get(ROW.name, &workload(subscribers, table), Peer::RiachoDurable, CPU);
    let goal = |subscribers| {
        let what = format!("{} subscribers: CPU against a stream", thousands(subscribers));
        Goal::at_most(what, ratio(cpu(subscribers, true), cpu(subscribers, false)), 1.1, Unit::Ratio)
    };
    COUNTS.map(goal).into()
}

fn workload(subscribers: usize, table: bool) -> String {
    format!("{} subscribers of a {}", thousands(subscribers), if table { "table" } else { "stream" })
}

const EVENT_BYTES: usize = 100;

/// What a message has around the event in its row.
const AROUND: &str = r#"{"type":"prices","key":"k","value":{"v":""},"headers":{"operation":"update","timestamp":"2026-11-21T18:13:42.241Z"}}"#;

const BYTES: &str = "bytes_per_delivery";

const COLUMNS: &[Column] = &[
    Column { heading: "server CPU per delivery", figure: CPU, unit: Unit::Micros },
    Column { heading: "bytes each", figure: BYTES, unit: Unit::Bytes },
    Column { heading: "p50", figure: "latency.p50", unit: Unit::Latency },
    Column { heading: "p99", figure: "latency.p99", unit: Unit::Latency },
    Column { heading: "lost", figure: "lost", unit: Unit::Count },
];
