//! All rows of a table: 10,000 of them to 1,000 clients at once, and a million to one. The server was just started, so what
//! it holds is what reading takes.

use super::{MARKER, SNAPSHOT_END, settle};
use crate::bench::{
    client::{Load, Running},
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::{Figures, Results, rounded},
    row::{Case, Column, Goal, Row, thousands},
    server::Server,
    stage::{Cores, Stage},
};
use anyhow::Result;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::{scope, sleep},
    time::Duration,
};

pub(crate) const ROW: Row =
    Row { name: "tables-snapshots", aliases: &["tables"], cases, columns: COLUMNS, goals };

/// Who reads what.
struct Read {
    clients: usize,
    rows: usize,
    row_bytes: usize,
}

fn cases(size: Size) -> Vec<Case> {
    let mut cases = Vec::new();
    for read in &READS {
        for json in [false, true] {
            let act = move |stage: &Stage| snapshot(stage, size, read, json);
            let case = Case::new(workload(read, json), Peer::RiachoDurable, act);
            cases.push(if read.rows > 100_000 { case.once() } else { case });
        }
    }
    cases
}

fn snapshot(stage: &Stage, size: Size, read: &Read, json: bool) -> Result<Figures> {
    let mut server = Server::start(stage, Peer::RiachoDurable, Cores::One, &[])?;
    let rows = size.count(read.rows);
    // From one connection and with keys of one length, so that rows come in the order in which they were written.
    Load::new(stage, "publish", &server)
        .set("--publish-path", "/tables/t")
        .set("--rate", 0)
        .set("--connections", 1)
        .set("--keys", rows)
        .set("--events", rows)
        .set("--batch", rows.min(1_000))
        .set("--batch-template", CHANGE)
        .set("--size", read.row_bytes - AROUND.len())
        .set("--duration", "150s")
        .run()?;
    settle(&server)?;
    server.restart(stage)?;
    let idle = server.pss_bytes()?;
    let clients = if read.clients == 1 { 1 } else { size.count(read.clients) };
    let load = Load::new(stage, "subscribe", &server)
        .set("--path", "/tables/t")
        .set("--marker", MARKER)
        .set("--subscribers", clients)
        .set("--connecting", clients)
        .set("--until", rows)
        .set("--idle", "0s")
        .set("--duration", "120s");
    let load = if json {
        // What the document ends with, and no row.
        load.set("--transport", "ndjson").set("--accept", "application/json").set("--ready", "]}")
    } else {
        load.set("--ready", SNAPSHOT_END)
    };
    let (mut figures, most) = watched(&server, load.start()?)?;
    if let (Some(bytes), Some(seconds)) = (figures.get("window.bytes"), figures.get(ALL)) {
        figures.insert(RATE.to_owned(), rounded(bytes / seconds));
    }
    figures.insert(MEMORY.to_owned(), rounded((most - idle).max(0.0)));
    Ok(figures)
}

/// What the client measured, and the most memory that the server had meanwhile.
fn watched(server: &Server, client: Running) -> Result<(Figures, f64)> {
    let over = AtomicBool::new(false);
    scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most = 0_f64;
            while !over.load(Ordering::Relaxed) {
                most = most.max(server.pss_bytes().unwrap_or(0.0));
                sleep(LOOK);
            }
            most
        });
        let figures = client.finish();
        over.store(true, Ordering::Relaxed);
        let most = watching.join().unwrap_or(f64::NAN);
        Ok((figures?, most))
    })
}

fn goals(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for read in READS.iter().filter(|read| read.clients == 1) {
        for json in [false, true] {
            let name = workload(read, json);
            let get = |figure| results.get(ROW.name, &name, Peer::RiachoDurable, figure);
            goals.push(Goal::at_most(format!("{name}: first row"), get(FIRST), 10_000.0, Unit::Latency));
            goals.push(Goal::at_most(
                format!("{name}: memory added"),
                get(MEMORY),
                f64::from(64 << 20),
                Unit::Bytes,
            ));
        }
    }
    goals
}

fn workload(read: &Read, json: bool) -> String {
    let clients = if read.clients == 1 {
        "one client".to_owned()
    } else {
        format!("{} clients", thousands(read.clients))
    };
    let kind = if json { "JSON" } else { "SSE" };
    format!("{} rows of {} bytes to {clients}, {kind}", thousands(read.rows), read.row_bytes)
}

const READS: [Read; 2] = [
    Read { clients: 1_000, rows: 10_000, row_bytes: 100 },
    Read { clients: 1, rows: 1_000_000, row_bytes: 300 },
];

const CHANGE: &str = r#"{"key":"k{n}","value":{"v":"{event}"},"headers":{"operation":"upsert"}}"#;

/// What a row has beside the event.
const AROUND: &str = r#"{"v":""}"#;

const ALL: &str = "connect.seconds";

const FIRST: &str = "until.first_event_us";

const RATE: &str = "bytes_per_second";

/// The most that the server's PSS was above what it was before.
const MEMORY: &str = "pss_bytes_added";

/// How often memory is looked at: each look holds the server up a little.
const LOOK: Duration = Duration::from_millis(50);

const COLUMNS: &[Column] = &[
    Column { heading: "first row after", figure: FIRST, unit: Unit::Latency },
    Column { heading: "complete after", figure: ALL, unit: Unit::Seconds },
    Column { heading: "bytes/s", figure: RATE, unit: Unit::Bytes },
    Column { heading: "server CPU per row", figure: "window.server_cpu_us_per_delivery", unit: Unit::Micros },
    Column { heading: "memory added", figure: MEMORY, unit: Unit::Bytes },
    Column { heading: "lost", figure: "lost", unit: Unit::Count },
];
