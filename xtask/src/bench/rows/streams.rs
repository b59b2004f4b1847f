//! 100,000 streams that nobody uses: the memory each keeps; and how long a large log takes to start.

use crate::bench::{
    client::Load,
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::{Figures, Results, rounded},
    row::{Case, Column, Goal, Row},
    server::Server,
    stage::{Cores, Stage},
};
use anyhow::{Context, Result};
use std::fs;

pub(crate) const ROW: Row = Row { name: "streams", aliases: &["start-up"], cases, columns: COLUMNS, goals };

fn cases(size: Size) -> Vec<Case> {
    vec![
        Case::new(IDLE, Peer::RiachoDurable, move |stage| idle(stage, size)),
        Case::new(start_workload(size), Peer::RiachoDurable, move |stage| start(stage, size)).once(),
    ]
}

/// The newest events are kept in memory, whoever reads them: as little of that as can be set, since streams are meant.
const LITTLE: [(&str, &str); 1] = [("RIACHO_LIMITS_TAIL_BYTES_MAX", "64KiB")];

fn idle(stage: &Stage, size: Size) -> Result<Figures> {
    let streams = size.count(100_000);
    let mut server = Server::start(stage, Peer::RiachoDurable, Cores::One, &LITTLE)?;
    let empty = server.pss_bytes()?;
    let file = server.directory.join("paths");
    let paths: Vec<_> = (0..streams).map(|at| server.peer.publish_path(&format!("idle/{at}"))).collect();
    fs::write(&file, paths.join("\n") + "\n").context("failed to write the list of paths")?;
    Load::new(stage, "publish", &server)
        .set("--publish-paths-from", file.display())
        .set("--rate", 0)
        .set("--connections", 64)
        .set("--batch", 10)
        .set("--events", 10 * streams)
        .set("--duration", "60s")
        .run()?;
    let count = u32::try_from(streams).map_or(f64::NAN, f64::from);
    let grown = server.pss_bytes()?;
    let restart = server.restart(stage)?;
    let reopened = server.pss_bytes()?;
    Ok([
        (MEMORY.to_owned(), rounded((grown - empty) / count)),
        (REOPENED.to_owned(), rounded((reopened - empty) / count)),
        (SECONDS.to_owned(), rounded(restart.as_secs_f64())),
    ]
    .into())
}

fn start(stage: &Stage, size: Size) -> Result<Figures> {
    let mut server = Server::start(stage, Peer::RiachoDurable, Cores::One, &[])?;
    Load::on(stage, "publish", &server, "filler")
        .set("--rate", 0)
        .set("--connections", 8)
        .set("--batch", 1_000)
        .set("--size", 1_000)
        .set("--events", size.count(if size == Size::Full { 5_000_000 } else { 1_000_000 }))
        .set("--duration", "150s")
        .run()?;
    let restart = server.restart(stage)?;
    Ok([(SECONDS.to_owned(), rounded(restart.as_secs_f64()))].into())
}

fn goals(results: &Results) -> Vec<Goal> {
    let get = |workload: &str, figure| results.get(ROW.name, workload, Peer::RiachoDurable, figure);
    let mut goals = vec![
        Goal::at_most("memory per idle stream", get(IDLE, MEMORY), 200.0, Unit::Bytes),
        Goal::at_most("memory per idle stream after a restart", get(IDLE, REOPENED), 200.0, Unit::Bytes),
    ];
    for size in [Size::Usual, Size::Full] {
        let workload = start_workload(size);
        if let Some(seconds) = get(workload, SECONDS) {
            goals.push(Goal::at_most(workload, Some(seconds), 2.0, Unit::Seconds));
        }
    }
    goals
}

fn start_workload(size: Size) -> &'static str {
    if size == Size::Full { "start with a log of 5 GB" } else { "start with a log of 1 GB" }
}

const IDLE: &str = "100,000 streams of 10 events";

const MEMORY: &str = "bytes_each_stream";

const REOPENED: &str = "bytes_each_stream_reopened";

const SECONDS: &str = "start_seconds";

const COLUMNS: &[Column] = &[
    Column { heading: "memory per stream", figure: MEMORY, unit: Unit::Bytes },
    Column { heading: "after a restart", figure: REOPENED, unit: Unit::Bytes },
    Column { heading: "start-up", figure: SECONDS, unit: Unit::Seconds },
];
