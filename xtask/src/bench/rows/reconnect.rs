//! 10,000 clients come back, each missing 100 events: after a restart, and where the missed events lie ever further back
//! in a log that is far larger than the memory it may use.

use crate::bench::{
    client::Load,
    http,
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::{Figures, Results, rounded},
    row::{Case, Column, Goal, Row, ratio},
    server::Server,
    stage::{Cores, Stage},
};
use anyhow::{Context, Result};
use std::fs;

pub(crate) const ROW: Row = Row { name: "reconnect", aliases: &[], cases, columns: COLUMNS, goals };

fn cases(size: Size) -> Vec<Case> {
    let mut cases = vec![
        Case::new(STORM, Peer::RiachoDurable, move |stage| storm(stage, size, 512)),
        Case::new(ONE_BY_ONE, Peer::RiachoDurable, move |stage| storm(stage, size, 1)),
    ];
    for gigabytes in sizes(size) {
        let case = Case::new(far_workload(*gigabytes), Peer::RiachoDurable, move |stage| {
            far_behind(stage, size, *gigabytes)
        });
        cases.push(if *gigabytes > 0.5 { case.once() } else { case });
    }
    cases
}

/// All come back after a restart.
fn storm(stage: &Stage, size: Size, connecting: usize) -> Result<Figures> {
    let mut server = Server::start(stage, Peer::RiachoDurable, Cores::One, &[])?;
    let path = server.peer.publish_path("bench");
    let cursor = http::publish_for_cursor(server.port, &path)?;
    missed(stage, &server, &path)?;
    server.restart(stage)?;
    come_back(stage, size, &server, connecting, &cursor, &[path])
}

/// The 100 events of each of 100 streams, then other events until the log has the size.
fn far_behind(stage: &Stage, size: Size, gigabytes: f64) -> Result<Figures> {
    let memory = [("RIACHO_LIMITS_TAIL_BYTES_MAX", "1MiB")];
    let server = Server::start(stage, Peer::RiachoDurable, Cores::One, &memory)?;
    let cursor = http::publish_for_cursor(server.port, &server.peer.publish_path("bench"))?;
    let paths: Vec<_> =
        (0..size.count(100)).map(|at| server.peer.publish_path(&format!("far/{at}"))).collect();
    for path in &paths {
        missed(stage, &server, path)?;
    }
    Load::on(stage, "publish", &server, "filler")
        .set("--rate", 0)
        .set("--connections", 8)
        .set("--batch", 1_000)
        .set("--size", 1_000)
        .set("--events", size.count(events(gigabytes)))
        .set("--duration", "150s")
        .run()?;
    come_back(stage, size, &server, 512, &cursor, &paths)
}

/// Events of a kilobyte that make so many gigabytes.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few millions")]
fn events(gigabytes: f64) -> usize {
    (gigabytes * 1e6) as usize
}

fn missed(stage: &Stage, server: &Server, path: &str) -> Result<()> {
    Load::new(stage, "publish", server)
        .set("--publish-path", path)
        .set("--rate", 0)
        .set("--connections", 1)
        .set("--batch", MISSED)
        .set("--events", MISSED)
        .set("--duration", "10s")
        .run()?;
    Ok(())
}

fn come_back(
    stage: &Stage,
    size: Size,
    server: &Server,
    connecting: usize,
    cursor: &str,
    paths: &[String],
) -> Result<Figures> {
    let file = server.directory.join("paths");
    fs::write(&file, paths.join("\n") + "\n").context("failed to write the list of paths")?;
    let subscribers = size.count(10_000);
    let mut figures = Load::new(stage, "subscribe", server)
        .set("--paths-from", file.display())
        .set("--subscribers", subscribers)
        .set("--connecting", connecting)
        .set("--header", format!("Last-Event-ID: {cursor}"))
        .set("--until", MISSED)
        .set("--idle", "0s")
        .set("--duration", "60s")
        .run()?;
    let count = u32::try_from(subscribers).map_or(f64::NAN, f64::from);
    if let Some(cpu) = figures.get("window.server_cpu_us").copied() {
        figures.insert(CPU.to_owned(), rounded(cpu / count));
        figures.insert(RATE.to_owned(), rounded(1e6 * count / cpu));
    }
    Ok(figures)
}

fn goals(results: &Results) -> Vec<Goal> {
    let get = |workload: &str, figure| results.get(ROW.name, workload, Peer::RiachoDurable, figure);
    let mut goals = vec![
        Goal::at_most("all caught up after a restart", get(STORM, "until.seconds"), 2.0, Unit::Seconds),
        Goal::at_least("connect and resume, per second of one core", get(STORM, RATE), 35_000.0, Unit::Count),
    ];
    let near = get(&far_workload(0.1), CPU);
    for gigabytes in [1.0, 10.0] {
        let far = get(&far_workload(gigabytes), CPU);
        if far.is_some() {
            let what = format!("cost with a log of {gigabytes} GB against 0.1 GB (flat)");
            goals.push(Goal::at_most(what, ratio(far, near), 1.25, Unit::Ratio));
        }
    }
    goals
}

fn far_workload(gigabytes: f64) -> String {
    format!("far behind in a log of {gigabytes} GB")
}

fn sizes(size: Size) -> &'static [f64] {
    if size == Size::Full { &[0.1, 1.0, 10.0] } else { &[0.1, 1.0] }
}

const STORM: &str = "10,000 after a restart, 512 at once";

const ONE_BY_ONE: &str = "10,000 after a restart, one by one";

const MISSED: usize = 100;

const CPU: &str = "server_cpu_us_each";

const RATE: &str = "resumes_per_core_second";

const COLUMNS: &[Column] = &[
    Column { heading: "all caught up in", figure: "until.seconds", unit: Unit::Seconds },
    Column { heading: "server CPU each", figure: CPU, unit: Unit::Micros },
    Column { heading: "per second of one core", figure: RATE, unit: Unit::Count },
    Column { heading: "lost", figure: "lost", unit: Unit::Count },
];
