//! Lines become batches.
//!
//! A batch is what is at hand when the one before was answered, up to a bound: under load batches grow by themselves, and
//! a single line never waits for company.

use super::lines::Lines;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What lines of stdin are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// Each is the text of one event.
    Text {
        /// The type of all events.
        event_type: Option<String>,
    },
    /// Each is the JSON value of one event; empty lines are none.
    Json {
        /// The type of all events.
        event_type: Option<String>,
    },
    /// Each is `{"data", "type"?}`, and names its `stream` if these are events of several.
    Ndjson {
        /// Whether each line must name its stream.
        streams: bool,
    },
}

/// Lines of NDJSON ready to be sent in one request.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Batch {
    lines: Vec<String>,
    bytes: usize,
    /// The first and last line of stdin in it, from 1.
    pub(super) first: u64,
    pub(super) last: u64,
}

/// Forms batches from pieces of stdin.
#[derive(Debug)]
pub(super) struct Former {
    form: Form,
    lines: Lines,
    number: u64,
    /// Lines whose bytes were not UTF-8 and were replaced.
    pub(super) replaced: u64,
}

impl Former {
    pub(super) fn new(form: Form) -> Self {
        Self { form, lines: Lines::default(), number: 0, replaced: 0 }
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        self.lines.push(piece);
    }

    pub(super) fn end(&mut self) {
        self.lines.end();
    }

    /// Moves lines at hand into `batch` until it is full.
    ///
    /// # Errors
    /// Which line is wrong, and why. The lines before it are in `batch`.
    pub(super) fn fill(&mut self, batch: &mut Batch) -> Result<(), String> {
        while !batch.is_full() {
            let Some(line) = self.lines.next() else {
                return match self.lines.pending() > LINE_BYTES_MAX {
                    true => {
                        Err(format!("line {} is longer than {} MiB", self.number + 1, LINE_BYTES_MAX >> 20))
                    }
                    false => Ok(()),
                };
            };
            self.number += 1;
            let encoded = match &self.form {
                Form::Text { event_type } => {
                    let text = String::from_utf8_lossy(line);
                    self.replaced += u64::from(matches!(text, Cow::Owned(_)));
                    Some(text_line(&text, event_type.as_deref()))
                }
                Form::Json { event_type } => json_line(line, event_type.as_deref())
                    .map_err(|reason| format!("line {} {reason}", self.number))?,
                Form::Ndjson { streams } => {
                    ndjson_line(line, *streams).map_err(|reason| format!("line {} {reason}", self.number))?
                }
            };
            if let Some(encoded) = encoded {
                batch.push(self.number, encoded);
            }
        }
        Ok(())
    }
}

impl Batch {
    fn push(&mut self, number: u64, line: String) {
        if self.lines.is_empty() {
            self.first = number;
        }
        self.last = number;
        self.bytes += line.len() + 1;
        self.lines.push(line);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= BATCH_EVENTS || self.bytes >= BATCH_BYTES
    }

    pub(super) fn body(&self) -> String {
        let mut body = String::with_capacity(self.bytes);
        for line in &self.lines {
            body.push_str(line);
            body.push('\n');
        }
        body
    }

    /// Both halves, for a server that takes less at once; none if it is one line.
    pub(super) fn halves(mut self) -> Option<(Self, Self)> {
        if self.lines.len() < 2 {
            return None;
        }
        let rest = self.lines.split_off(self.lines.len() / 2);
        let half = |lines: Vec<String>| {
            let bytes = lines.iter().map(|line| line.len() + 1).sum();
            Self { lines, bytes, first: self.first, last: self.last }
        };
        Some((half(std::mem::take(&mut self.lines)), half(rest)))
    }
}

fn text_line(text: &str, event_type: Option<&str>) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        data: &'a str,
        #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
        event_type: Option<&'a str>,
    }
    serde_json::to_string(&Line { data: text, event_type }).expect("texts are JSON")
}

fn json_line(line: &[u8], event_type: Option<&str>) -> Result<Option<String>, String> {
    #[derive(Serialize)]
    struct Line<'a> {
        data: &'a RawValue,
        #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
        event_type: Option<&'a str>,
    }
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let data = serde_json::from_slice(line).map_err(|err| format!("is not JSON: {err}"))?;
    Ok(Some(serde_json::to_string(&Line { data, event_type }).expect("texts and JSON values are JSON")))
}

fn ndjson_line(line: &[u8], streams: bool) -> Result<Option<String>, String> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        stream: Option<Cow<'a, str>>,
        #[serde(borrow, rename = "type")]
        event_type: Option<Cow<'a, str>>,
        #[serde(borrow, default, deserialize_with = "crate::json::data")]
        data: Option<&'a RawValue>,
    }
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    let text = str::from_utf8(line).map_err(|_| "is not UTF-8")?;
    let fields: Line<'_> = serde_json::from_str(text).map_err(|err| format!("is no event: {err}"))?;
    // What a server says about a subscription is no event: the lines may come from `curl` on one.
    if fields.event_type.is_some_and(|event_type| event_type.starts_with("riacho.")) {
        return Ok(None);
    }
    if streams && fields.stream.is_none() {
        return Err("has no \"stream\"; lines without one need a STREAM on the command line".to_owned());
    }
    if fields.data.is_none() {
        return Err("has no \"data\"".to_owned());
    }
    Ok(Some(text.to_owned()))
}

// Far below what a server takes by default, so that a batch also fits where less is allowed.
const BATCH_EVENTS: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;

/// The longest line; no server can be configured to take longer ones.
pub(super) const LINE_BYTES_MAX: usize = 64 << 20;
