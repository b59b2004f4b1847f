//! What was measured, for people and for programs.

use super::tally::{LATENCY_UNIT_NANOS, Totals};
use crate::cli::{Failure, print};
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// Named numbers in the order they were measured in; what was not measured is absent.
#[derive(Default, Debug)]
pub(super) struct Report(Map<String, Value>);

impl Report {
    pub(super) fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Only where it was measured.
    pub(super) fn put_some(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    pub(super) fn put_part(&mut self, name: &str, part: Self) {
        self.put(name, Value::Object(part.0));
    }

    /// The percentiles of times, if there are any.
    pub(super) fn put_times(&mut self, name: &str, times: &Histogram<u64>) {
        if times.is_empty() {
            return;
        }
        let micros = |units: u64| units as f64 * LATENCY_UNIT_NANOS as f64 / 1e3;
        let at = |quantile: f64| micros(times.value_at_quantile(quantile));
        self.put(
            name,
            json!({
                "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": micros(times.max()),
            }),
        );
    }

    pub(super) fn put_totals(&mut self, totals: &Totals, ended: u64) {
        self.put("lost", totals.lost);
        if totals.lost_at_most {
            self.put("lost_at_most", true);
        }
        self.put("repeated", totals.repeated);
        self.put("disordered", totals.disordered);
        self.put("ended", ended);
    }

    pub(super) fn print(&self, as_json: bool) -> Result<(), Failure> {
        if as_json {
            return print(format_args!("{}\n", Value::Object(self.0.clone())));
        }
        let mut text = String::new();
        table(&mut text, "", &self.0);
        print(text)
    }
}

// One line for each number, the parts by their names before it.
fn table(text: &mut String, before: &str, part: &Map<String, Value>) {
    for (name, value) in part {
        let name = if before.is_empty() { name.clone() } else { format!("{before} {name}") };
        match value {
            Value::Object(part) => table(text, &name, part),
            Value::String(value) => line(text, &name, value),
            value => line(text, &name, &value.to_string()),
        }
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    text.push_str(&format!("{:<44} {value}\n", name.replace('_', " ")));
}

/// To a place behind the point that still means something.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// `total` for each of `count`.
pub(super) fn each(total: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| rounded(total / count as f64))
}
