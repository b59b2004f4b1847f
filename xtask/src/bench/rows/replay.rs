//! A million events of the past to one reader and to 100, from memory and from the disk, while 100 other subscribers are
//! served live.

use crate::bench::{
    client::Load,
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::{Figures, Results, rounded},
    row::{Case, Column, Goal, Row, ratio},
    server::Server,
    stage::{Cores, Stage},
};
use anyhow::{Context, Result};
use rustix::fs::{Advice, fadvise};
use std::{
    fs::{self, File},
    path::Path,
};

pub(crate) const ROW: Row = Row { name: "replay", aliases: &[], cases, columns: COLUMNS, goals };

fn cases(size: Size) -> Vec<Case> {
    let mut cases = vec![Case::new(ALONE, Peer::RiachoDurable, move |stage| alone(stage, size))];
    for disk in [false, true] {
        for readers in READERS {
            let case = Case::new(workload(readers, disk), Peer::RiachoDurable, move |stage| {
                replay(stage, size, readers, disk)
            });
            cases.push(if disk && readers > 1 { case.once() } else { case });
        }
    }
    cases
}

/// The live subscribers with nobody beside them.
fn alone(stage: &Stage, size: Size) -> Result<Figures> {
    let server = Server::start(stage, Peer::RiachoDurable, Cores::One, &[])?;
    let live = live(stage, size, &server).set("--duration", size.time(3)).run()?;
    Ok(live.get("latency.p99").map(|p99| (LIVE.to_owned(), *p99)).into_iter().collect())
}

fn replay(stage: &Stage, size: Size, readers: usize, disk: bool) -> Result<Figures> {
    // In memory the whole of it, or next to nothing.
    let memory = [("RIACHO_LIMITS_TAIL_BYTES_MAX", if disk { "64KiB" } else { "1GiB" })];
    let server = Server::start(stage, Peer::RiachoDurable, Cores::One, &memory)?;
    let events = size.count(1_000_000);
    Load::on(stage, "publish", &server, "past")
        .set("--rate", 0)
        .set("--connections", 1)
        .set("--batch", 1_000.min(events))
        .set("--events", events)
        .set("--duration", "60s")
        .run()?;
    if disk {
        forget(&server.directory)?;
    }
    let live = live(stage, size, &server).set("--duration", size.time(3)).start()?;
    let mut figures = Load::new(stage, "subscribe", &server)
        .set("--path", format!("{}?from=earliest", server.peer.subscribe_path("past")))
        .set("--subscribers", readers)
        .set("--until", events)
        .set("--idle", "0s")
        .set("--duration", "60s")
        .run()?;
    if let (Some(bytes), Some(seconds)) = (figures.get("window.bytes"), figures.get("until.seconds")) {
        figures.insert(RATE.to_owned(), rounded(bytes / seconds));
    }
    if let Some(p99) = live.finish()?.get("latency.p99") {
        figures.insert(LIVE.to_owned(), *p99);
    }
    Ok(figures)
}

fn live(stage: &Stage, size: Size, server: &Server) -> Load {
    Load::on(stage, "run", server, "live")
        .set("--subscribers", size.count(100))
        .set("--rate", 50)
        .set("--connections", 1)
        .set("--idle", "0s")
        .before_others()
}

/// Drops the files from the page cache, so that the disk is read.
fn forget(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            forget(&path)?;
        } else {
            let file = File::open(&path)?;
            fadvise(&file, 0, None, Advice::DontNeed)
                .with_context(|| format!("failed to drop {} from the page cache", path.display()))?;
        }
    }
    Ok(())
}

fn goals(results: &Results) -> Vec<Goal> {
    let get = |workload: &str, figure| results.get(ROW.name, workload, Peer::RiachoDurable, figure);
    let mut goals = vec![Goal::at_least(
        "from memory to 100 readers, bytes/s in all",
        get(&workload(100, false), RATE),
        1e9,
        Unit::Bytes,
    )];
    for disk in [false, true] {
        for readers in READERS {
            let workload = workload(readers, disk);
            let p99 = ratio(get(&workload, LIVE), get(ALONE, LIVE));
            let what = format!("{workload}: p99 of the live against without");
            goals.push(Goal::at_most(what, p99, 1.2, Unit::Ratio));
        }
    }
    goals
}

fn workload(readers: usize, disk: bool) -> String {
    let who = if readers == 1 { "one reader".to_owned() } else { format!("{readers} readers") };
    format!("1 million events to {who}, from {}", if disk { "the disk" } else { "memory" })
}

const ALONE: &str = "100 live subscribers, no replay";

const READERS: [usize; 2] = [1, 100];

const RATE: &str = "bytes_per_second";

const LIVE: &str = "live_p99";

const COLUMNS: &[Column] = &[
    Column { heading: "bytes/s", figure: RATE, unit: Unit::Bytes },
    Column { heading: "done in", figure: "until.seconds", unit: Unit::Seconds },
    Column {
        heading: "server CPU per event",
        figure: "window.server_cpu_us_per_delivery",
        unit: Unit::Micros,
    },
    Column { heading: "client busy", figure: "window.client_busy", unit: Unit::Ratio },
    Column { heading: "p99 of 100 live subscribers", figure: LIVE, unit: Unit::Latency },
    Column { heading: "lost", figure: "lost", unit: Unit::Count },
];
