//! What a row of the benchmark is: workloads on servers, the figures that are shown, and what must be reached.

use super::{
    client::Load,
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::{Figures, Results},
    rows,
    server::Server,
    stage::{Cores, Stage},
};
use anyhow::{Context, Result};
use std::{fs, path::PathBuf};

/// One row of the table.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Other names for `--row`.
    pub(super) aliases: &'static [&'static str],
    pub(super) cases: fn(Size) -> Vec<Case>,
    pub(super) columns: &'static [Column],
    pub(super) goals: fn(&Results) -> Vec<Goal>,
}

/// One workload on one server.
pub(super) struct Case {
    pub(super) workload: String,
    pub(super) server: Peer,
    /// Repeated no more often than this: what is slow and no target depends on.
    pub(super) repeat_max: usize,
    pub(super) act: Act,
}

/// Starts what it needs, measures, and leaves nothing running.
type Act = Box<dyn Fn(&Stage) -> Result<Figures>>;

/// A figure that the row's table shows.
pub(super) struct Column {
    pub(super) heading: &'static str,
    pub(super) figure: &'static str,
    pub(super) unit: Unit,
}

/// A target, and what was reached.
pub(super) struct Goal {
    pub(super) what: String,
    pub(super) target: String,
    pub(super) reached: Option<String>,
    /// `None`: nothing to compare.
    pub(super) met: Option<bool>,
}

impl Case {
    pub(super) fn new(
        workload: impl Into<String>,
        server: Peer,
        act: impl Fn(&Stage) -> Result<Figures> + 'static,
    ) -> Self {
        Self { workload: workload.into(), server, repeat_max: usize::MAX, act: Box::new(act) }
    }

    /// Repeats it once at most.
    pub(super) fn once(self) -> Self {
        Self { repeat_max: 1, ..self }
    }

    /// Repeats Node and better-sse once at most: they take longest, and their figures are far from any target.
    pub(super) fn once_where_slow(self) -> Self {
        if matches!(self.server, Peer::Node | Peer::BetterSse) { self.once() } else { self }
    }
}

impl Goal {
    /// The value must not pass `bound`.
    pub(super) fn at_most(what: impl Into<String>, value: Option<f64>, bound: f64, unit: Unit) -> Self {
        Self {
            what: what.into(),
            target: format!("≤ {}", unit.text(bound)),
            reached: value.map(|value| unit.text(value)),
            met: value.map(|value| value <= bound),
        }
    }

    /// The value must reach `bound`.
    pub(super) fn at_least(what: impl Into<String>, value: Option<f64>, bound: f64, unit: Unit) -> Self {
        Self {
            what: what.into(),
            target: format!("≥ {}", unit.text(bound)),
            reached: value.map(|value| unit.text(value)),
            met: value.map(|value| value >= bound),
        }
    }
}

/// `one / other`, if both are there.
pub(super) fn ratio(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(one? / other?)
}

/// The rows that are called so: several may share an alias.
pub(super) fn named(name: &str) -> impl Iterator<Item = &'static Row> {
    rows::ALL.iter().copied().filter(move |row| row.name == name || row.aliases.contains(&name))
}

/// Starts `peer`, makes its stream `bench`, and publishes to it for a moment, so that no run measures a first time.
pub(super) fn warm(stage: &Stage, peer: Peer, cores: Cores, settings: &[(&str, &str)]) -> Result<Server> {
    let server = Server::start(stage, peer, cores, settings)?;
    peer.prepare(&server, "bench")?;
    peer.prepare(&server, "warm")?;
    Load::on(stage, "publish", &server, "warm")
        .set("--rate", 500)
        .set("--duration", "200ms")
        .set("--connections", 1)
        .run()?;
    Ok(server)
}

/// Writes lines to a file of the server's, and returns where it is.
pub(super) fn list(server: &Server, name: &str, lines: impl Iterator<Item = String>) -> Result<PathBuf> {
    let path = server.directory.join(name);
    let text: Vec<_> = lines.collect();
    fs::write(&path, text.join("\n") + "\n").context("failed to write a list of paths")?;
    Ok(path)
}

/// `10,000` for 10000.
pub(super) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
