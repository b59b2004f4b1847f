//! From results to what people read: the tables of bench/README.md, and its picture.
//!
//! Everything here is a function of a file of results, so that a test can compare what is committed.

/// Numbers with their units.
pub(super) mod unit;
/// Tables.
pub(super) mod table;
/// The picture.
pub(super) mod picture;

use super::{
    peer::Peer,
    results::{Results, RowResults},
    row::{Goal, Row},
    rows::{self, fan_out, idle, overload},
};
use crate::command::root;
use anyhow::{Context, Result};
use std::{collections::BTreeMap, fs};
use table::Table;
use unit::Unit;

/// Writes README and picture anew.
pub(super) fn write(results: &Results) -> Result<()> {
    let path = root().join(README);
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {README}"))?;
    fs::write(&path, filled(&text, results)?).with_context(|| format!("failed to write {README}"))?;
    fs::write(root().join(PICTURE), picture::draw(results))
        .with_context(|| format!("failed to write {PICTURE}"))
}

/// The README with every section between `<!-- name -->` and `<!-- /name -->` made from the results.
pub(super) fn filled(text: &str, results: &Results) -> Result<String> {
    let mut text = text.to_owned();
    let mut sections =
        vec![("summary", summary(results)), ("machine", machine(results)), ("targets", targets(results))];
    sections.extend(rows::ALL.iter().map(|row| (row.name, section(row, results))));
    for (name, content) in sections {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
        let after = text.find(&begin).with_context(|| format!("{README} has no {begin}"))? + begin.len();
        let length = text
            .get(after..)
            .and_then(|rest| rest.find(&end))
            .with_context(|| format!("{README} has no {end}"))?;
        text.replace_range(after..after + length, &format!("\n{content}\n"));
    }
    Ok(text)
}

/// What a row says on a terminal.
pub(super) fn row_text(row: &Row, results: &Results) -> String {
    format!("\n## {}\n\n{}\n", row.name, section(row, results))
}

/// A row: what must be reached, every figure, and what failed.
fn section(row: &Row, results: &Results) -> String {
    let Some(found) = results.row(row.name) else { return "Not measured.\n".to_owned() };
    let mut text = goals(&(row.goals)(results));
    let mut table =
        Table::new(["workload", "server"].into_iter().chain(row.columns.iter().map(|column| column.heading)));
    for case in &found.cases {
        if case.runs.is_empty() {
            continue;
        }
        let figures = row.columns.iter().map(|column| {
            case.median.get(column.figure).map_or_else(|| "–".to_owned(), |value| column.unit.text(*value))
        });
        table.add([case.workload.clone(), case.server.clone()].into_iter().chain(figures));
    }
    text += &table.text();
    text + &failures(found)
}

/// What failed, and why; those with one reason together.
fn failures(row: &RowResults) -> String {
    let mut reasons = BTreeMap::<String, Vec<String>>::new();
    for case in &row.cases {
        if let Some(reason) = &case.failed {
            let kept = if case.runs.is_empty() { "" } else { " (some runs)" };
            let case = format!("{}, {}{kept}", case.workload, case.server);
            reasons.entry(reason.replace(['|', '\n', '<', '>'], " ")).or_default().push(case);
        }
    }
    let lines = reasons.iter().map(|(reason, cases)| format!("\nFailed: {reason}: {}.\n", cases.join("; ")));
    lines.collect()
}

fn goals(goals: &[Goal]) -> String {
    let mut table = Table::new(["what", "target", "reached", "met"]);
    for goal in goals {
        let Some(reached) = &goal.reached else { continue };
        table.add([goal.what.clone(), goal.target.clone(), reached.clone(), met(goal.met).to_owned()]);
    }
    if table.is_empty() { String::new() } else { table.text() + "\n" }
}

fn met(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "–",
    }
}

/// How many targets of each row are met.
fn targets(results: &Results) -> String {
    let mut table = Table::new(["row", "targets", "met", "missed", "not measured"]);
    for row in rows::ALL {
        let goals = (row.goals)(results);
        let count = |met| goals.iter().filter(|goal| goal.met == met).count().to_string();
        let link = format!("[{}](#{})", row.name, row.name);
        table.add([link, goals.len().to_string(), count(Some(true)), count(Some(false)), count(None)]);
    }
    table.text()
}

/// The table for a stranger.
fn summary(results: &Results) -> String {
    let steered = fan_out::workload(10_000, true);
    let plain = fan_out::workload(10_000, false);
    let fan_out = |peer| {
        let get = |workload: &str| results.get(fan_out::ROW.name, workload, peer, fan_out::CPU);
        get(&steered).or_else(|| get(&plain))
    };
    let own = fan_out(Peer::Riacho);
    let load = overload::workload(overload::LOADS[0]);
    let mut table = Table::new([
        "server",
        "CPU per event delivered, 10,000 readers",
        "against Riacho",
        "delivered per second of 1,000,000 asked, one core",
        "99 % of them within",
        "memory per idle reader",
    ]);
    for peer in fan_out::SERVERS {
        let Some(cpu) = fan_out(peer) else { continue };
        let overload = |figure| results.get(overload::ROW.name, &load, peer, figure);
        let memory = results.get(idle::ROW.name, &idle::workload(idle::USUAL), peer, idle::MEMORY);
        let text =
            |value: Option<f64>, unit: Unit| value.map_or_else(|| "–".to_owned(), |value| unit.text(value));
        table.add([
            peer.title().to_owned(),
            Unit::Micros.text(cpu),
            text(own.map(|own| cpu / own), Unit::Ratio),
            text(overload(overload::RATE), Unit::Count),
            text(overload("latency.p99"), Unit::Latency),
            text(memory, Unit::Bytes),
        ]);
    }
    table.text()
}

fn machine(results: &Results) -> String {
    let mut table = Table::new(["", ""]);
    table.add(["date", results.date.as_str()]);
    table.add(["size of the runs, repetitions", &format!("{}, {}", results.size, results.repeat)]);
    for (name, value) in &results.facts {
        table.add([name, value]);
    }
    table.text()
}

impl Results {
    /// What the disk takes for a sync, as it was measured at the start.
    pub(super) fn sync_micros(&self) -> Option<f64> {
        self.facts.get("fdatasync of 4 KiB, microseconds")?.parse().ok()
    }
}

pub(super) const README: &str = "bench/README.md";

pub(super) const PICTURE: &str = "bench/picture.svg";
