//! Rows are written for 20 seconds, until the last of them is in the file of rows: nobody watches.

use super::{putting, settle};
use crate::bench::{
    client::Load,
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::{Figures, Results, rounded},
    row::{Case, Column, Goal, Row, thousands, warm},
    stage::{Cores, Stage},
};
use anyhow::Result;

pub(crate) const ROW: Row =
    Row { name: "tables-writes", aliases: &["tables"], cases, columns: COLUMNS, goals };

fn cases(size: Size) -> Vec<Case> {
    let mut cases = Vec::new();
    for batch in BATCHES {
        for keys in KEYS {
            let act = move |stage: &Stage| write(stage, size, batch, keys);
            // Long enough to be its own median.
            cases.push(Case::new(workload(batch, keys), Peer::RiachoDurable, act).once());
        }
    }
    cases
}

fn write(stage: &Stage, size: Size, batch: usize, keys: usize) -> Result<Figures> {
    let server = warm(stage, Peer::RiachoDurable, Cores::One, &[])?;
    let load = Load::new(stage, "publish", &server)
        .set("--keys", size.count(keys))
        .set("--rate", 0)
        .set("--connections", 64)
        .set("--duration", size.time(20));
    let load = if batch == 1 {
        putting(load.set("--publish-path", "/tables/t/k{n}"), r#"{"v":"{event}"}"#)
    } else {
        load.set("--publish-path", "/tables/t").set("--batch", batch).set("--batch-template", CHANGE)
    };
    let mut figures = load.run()?;
    let behind = settle(&server)?.as_secs_f64();
    let get = |name: &str| figures.get(name).copied().unwrap_or(f64::NAN);
    let rate = get("window.acknowledged") / (get("window.seconds") + behind);
    figures.insert(BEHIND.to_owned(), rounded(behind));
    figures.insert(RATE.to_owned(), rounded(rate));
    figures.insert(MEMORY.to_owned(), server.pss_bytes()?);
    Ok(figures)
}

fn goals(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for batch in BATCHES {
        for keys in KEYS {
            let name = workload(batch, keys);
            let rate = results.get(ROW.name, &name, Peer::RiachoDurable, RATE);
            let target = if batch == 1 { 5_000.0 } else { 50_000.0 };
            goals.push(Goal::at_least(format!("{name}: changes/s"), rate, target, Unit::Count));
        }
    }
    goals
}

fn workload(batch: usize, keys: usize) -> String {
    let how = if batch == 1 { "one by one".to_owned() } else { format!("batches of {batch}") };
    format!("{} rows, {how}", thousands(keys))
}

const BATCHES: [usize; 2] = [1, 64];

const KEYS: [usize; 2] = [10_000, 100_000];

const CHANGE: &str = r#"{"key":"k{n}","value":{"v":"{event}"},"headers":{"operation":"upsert"}}"#;

/// Changes acknowledged and applied, over the time that both took.
const RATE: &str = "changes_per_second";

const BEHIND: &str = "applied_seconds_later";

const MEMORY: &str = "pss_bytes";

const COLUMNS: &[Column] = &[
    Column { heading: "changes/s", figure: RATE, unit: Unit::Count },
    Column { heading: "applied later", figure: BEHIND, unit: Unit::Seconds },
    Column {
        heading: "server CPU per change",
        figure: "window.server_cpu_us_per_publish",
        unit: Unit::Micros,
    },
    Column { heading: "median acknowledgement", figure: "acknowledgement.p50", unit: Unit::Latency },
    Column { heading: "p99", figure: "acknowledgement.p99", unit: Unit::Latency },
    Column { heading: "memory afterwards", figure: MEMORY, unit: Unit::Bytes },
];
