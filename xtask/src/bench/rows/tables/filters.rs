//! Subscribers that each see the rows of one owner: every change of the 10,000 rows goes to one subscriber, however many
//! filters there are.
//!
//! At 1,000 changes a second nothing is joined, and what a change costs can be compared; then as fast as 64 publishers can.

use super::{MARKER, SNAPSHOT_END, putting, settle};
use crate::bench::{
    client::Load,
    http,
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::{Figures, Results},
    row::{Case, Column, Goal, Row, list, ratio, thousands, warm},
    server::Server,
    stage::{Cores, Stage},
};
use anyhow::Result;

pub(crate) const ROW: Row =
    Row { name: "tables-filters", aliases: &["tables"], cases, columns: COLUMNS, goals };

fn cases(size: Size) -> Vec<Case> {
    let mut cases = Vec::new();
    let server = Peer::RiachoDurable;
    for fast in [false, true] {
        for owners in OWNERS {
            let name = workload(owners, fast);
            let case = Case::new(name, server, move |stage| filters(stage, size, owners, fast));
            // No target depends on the limit, and 10,000 snapshots take long.
            cases.push(if fast { case.once() } else { case });
        }
        let act = move |stage: &Stage| streams(stage, size, fast);
        let case = Case::new(format!("{STREAMS}, {}", pace(fast)), server, act);
        cases.push(if fast { case.once() } else { case });
    }
    cases
}

fn filters(stage: &Stage, size: Size, owners: usize, fast: bool) -> Result<Figures> {
    let server = warm(stage, Peer::RiachoDurable, Cores::One, &[])?;
    let rows = size.count(ROWS);
    let owners = if owners == 1 { 1 } else { size.count(owners) };
    seed(&server, rows, owners)?;
    let paths = list(&server, "publish", (0..rows).map(|row| format!("/tables/t/k{row}")))?;
    let load = Load::new(stage, "run", &server)
        .set("--keys", owners)
        .set("--path", "/tables/t?where=owner='u{n}'")
        .set("--publish-paths-from", paths.display())
        .set("--marker", MARKER)
        .set("--ready", SNAPSHOT_END)
        .set("--subscribers", owners);
    pacing(putting(load, r#"{"v":"{event}","owner":"u{n}"}"#), size, fast)
}

/// What filters are compared with: as many subscribers, each of a stream of its own.
fn streams(stage: &Stage, size: Size, fast: bool) -> Result<Figures> {
    let server = warm(stage, Peer::RiachoDurable, Cores::One, &[])?;
    let streams = size.count(ROWS);
    let load = Load::new(stage, "run", &server)
        .set("--keys", streams)
        .set("--path", server.peer.subscribe_path("s{n}"))
        .set("--subscribers", streams);
    pacing(load, size, fast)
}

fn pacing(load: Load, size: Size, fast: bool) -> Result<Figures> {
    let (rate, connections) = if fast { (FAST, 64) } else { (size.count(1_000), 8) };
    load.set("--rate", rate).set("--connections", connections).lasting(size, 4).run()
}

/// Rows 0, 1, … of owners in turn, so that each change is one of a row that is there.
fn seed(server: &Server, rows: usize, owners: usize) -> Result<()> {
    let width = (owners - 1).to_string().len();
    let change = |row: usize| {
        let owner = row % owners;
        format!(
            "{{\"key\":\"k{row}\",\"value\":{{\"owner\":\"u{owner:0width$}\"}},\"headers\":{{\"operation\":\"insert\"}}}}\n"
        )
    };
    for first in (0..rows).step_by(BATCH) {
        let body: String = (first..rows.min(first + BATCH)).map(change).collect();
        http::request(server.port, "POST", "/tables/t", "application/x-ndjson", &body)?;
    }
    settle(server)?;
    Ok(())
}

fn goals(results: &Results) -> Vec<Goal> {
    let cpu = |owners| results.get(ROW.name, &workload(owners, false), Peer::RiachoDurable, CPU);
    let goal = |owners| {
        let what = format!("{} filters: CPU per change against one", thousands(owners));
        Goal::at_most(what, ratio(cpu(owners), cpu(1)), 1.3, Unit::Ratio)
    };
    [100, 10_000].map(goal).into()
}

fn workload(owners: usize, fast: bool) -> String {
    let filters =
        if owners == 1 { "one filter".to_owned() } else { format!("{} filters", thousands(owners)) };
    format!("{filters}, {}", pace(fast))
}

fn pace(fast: bool) -> &'static str {
    if fast { "as fast as it takes" } else { "1,000 changes/s" }
}

const STREAMS: &str = "10,000 streams instead";

const OWNERS: [usize; 3] = [1, 100, 10_000];

const ROWS: usize = 10_000;

/// More than is ever taken.
const FAST: usize = 1_000_000;

const BATCH: usize = 1_000;

const CPU: &str = "window.server_cpu_us_per_publish";

const COLUMNS: &[Column] = &[
    Column { heading: "changes/s", figure: "window.published_per_second", unit: Unit::Count },
    Column { heading: "server CPU per change", figure: CPU, unit: Unit::Micros },
    Column { heading: "p50", figure: "latency.p50", unit: Unit::Latency },
    Column { heading: "p99", figure: "latency.p99", unit: Unit::Latency },
    Column { heading: "median acknowledgement", figure: "acknowledgement.p50", unit: Unit::Latency },
    Column {
        heading: "server CPU per subscription",
        figure: "connect.server_cpu_us_each",
        unit: Unit::Micros,
    },
    Column { heading: "lost", figure: "lost", unit: Unit::Count },
];
