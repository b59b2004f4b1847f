//! What was measured: every run, and the medians; as JSON and back.

use super::{machine::Facts, peer::Peer};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

/// Numbers of one run, by the path of the member in the client's JSON, as in `window.server_cpu_us_per_delivery`.
pub(super) type Figures = BTreeMap<String, f64>;

/// One session of the benchmark.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Results {
    pub(super) date: String,
    pub(super) machine: String,
    /// `usual`, `full` or `quick`.
    pub(super) size: String,
    pub(super) repeat: usize,
    pub(super) facts: Facts,
    pub(super) rows: Vec<RowResults>,
}

/// One row of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RowResults {
    pub(super) row: String,
    pub(super) cases: Vec<CaseResults>,
}

/// One workload on one server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CaseResults {
    pub(super) workload: String,
    pub(super) server: String,
    /// Why there is nothing, or less than asked for.
    #[serde(default)]
    pub(super) failed: Option<String>,
    pub(super) median: Figures,
    pub(super) runs: Vec<Figures>,
}

impl Results {
    /// Reads a file that [`Results::write`] has written.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} holds no results", path.display()))
    }

    /// Writes it, a line per run: small, and fit for comparing.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("failed to create {}", directory.display()))?;
        }
        fs::write(path, self.text()?).with_context(|| format!("failed to write {}", path.display()))
    }

    /// A line for each run and each median, so that two files can be compared.
    fn text(&self) -> Result<String> {
        let mut text = format!(
            "{{\n\"date\": {}, \"machine\": {}, \"size\": {}, \"repeat\": {},\n\"facts\": {},\n\"rows\": [",
            line(&self.date)?,
            line(&self.machine)?,
            line(&self.size)?,
            self.repeat,
            line(&self.facts)?,
        );
        let rows = self.rows.iter().map(RowResults::text).collect::<Result<Vec<_>>>()?;
        text += &rows.join(",");
        text += "]\n}\n";
        Ok(text)
    }

    /// The results `whole`, with these rows in place of its own, and a fact that says which are of another session.
    pub(super) fn into_those_of(self, mut whole: Self) -> Self {
        let session = format!("{}, commit {}", self.date, self.facts.get("commit").map_or("unknown", |c| c));
        for row in self.rows {
            whole.facts.insert(format!("measured later: {}", row.row), session.clone());
            match whole.rows.iter_mut().find(|other| other.row == row.row) {
                Some(other) => *other = row,
                None => whole.rows.push(row),
            }
        }
        whole
    }

    /// The row `name`, if it was run.
    pub(super) fn row(&self, name: &str) -> Option<&RowResults> {
        self.rows.iter().find(|row| row.row == name)
    }

    /// The median of one figure.
    pub(super) fn get(&self, row: &str, workload: &str, peer: Peer, figure: &str) -> Option<f64> {
        let cases = &self.row(row)?.cases;
        let case = cases.iter().find(|case| case.workload == workload && case.server == peer.title())?;
        case.median.get(figure).copied()
    }
}

fn line<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).context("failed to write as JSON")
}

impl RowResults {
    fn text(&self) -> Result<String> {
        let cases = self.cases.iter().map(CaseResults::text).collect::<Result<Vec<_>>>()?;
        Ok(format!("\n{{\"row\": {}, \"cases\": [{}]}}", line(&self.row)?, cases.join(",")))
    }
}

impl CaseResults {
    /// A case without runs.
    pub(super) fn new(workload: &str, peer: Peer) -> Self {
        Self {
            workload: workload.to_owned(),
            server: peer.title().to_owned(),
            failed: None,
            median: Figures::new(),
            runs: Vec::new(),
        }
    }

    fn text(&self) -> Result<String> {
        let runs = self.runs.iter().map(line).collect::<Result<Vec<_>>>()?;
        let (workload, server) = (line(&self.workload)?, line(&self.server)?);
        let failed = line(&self.failed)?;
        let median = line(&self.median)?;
        Ok(format!(
            "\n{{\"workload\": {workload}, \"server\": {server}, \"failed\": {failed},\n  \"median\": {median},\n  \"runs\": [{}]}}",
            runs.join(",\n    ")
        ))
    }

    /// Adds a run, and takes the medians anew.
    pub(super) fn add(&mut self, run: Figures) {
        self.runs.push(run);
        self.median = medians(&self.runs);
    }
}

/// The median of each figure over the runs that have it.
pub(super) fn medians(runs: &[Figures]) -> Figures {
    let mut all = BTreeMap::<&str, Vec<f64>>::new();
    for (name, value) in runs.iter().flatten() {
        all.entry(name).or_default().push(*value);
    }
    all.into_iter().filter_map(|(name, mut values)| Some((name.to_owned(), median(&mut values)?))).collect()
}

/// The middle one, or the mean of the two in the middle.
pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// All numbers of a JSON value by their paths; `true` is 1. Kept to six digits, as nothing here is more exact.
pub(super) fn flatten(value: &Value) -> Figures {
    let mut figures = Figures::new();
    collect("", value, &mut figures);
    figures
}

fn collect(path: &str, value: &Value, figures: &mut Figures) {
    let number = match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(&path, value, figures);
            }
            return;
        }
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::Bool(bit) => f64::from(u8::from(*bit)),
        Value::Null | Value::String(_) | Value::Array(_) => return,
    };
    if number.is_finite() {
        figures.insert(path.to_owned(), rounded(number));
    }
}

/// To six significant digits.
pub(super) fn rounded(number: f64) -> f64 {
    format!("{number:.5e}").parse().unwrap_or(number)
}
