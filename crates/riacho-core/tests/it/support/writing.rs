//! What is written to a wire, as `sse.json` and `json.json` spell it.

use riacho_core::{
    event::{Data, Event, EventType},
    name::StreamName,
    position::Position,
    transport::{Control, Form, ResetReason, Resume},
};
use serde::Deserialize;
use std::time::Duration;

/// One thing to write.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Writing {
    Event(WrittenEvent),
    Opening(Opening),
    Heartbeat(Heartbeat),
    Reset(Reset),
    Goodbye(Goodbye),
    End(End),
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenEvent {
    id: String,
    stream: String,
    #[serde(rename = "type")]
    event_type: Option<String>,
    data: String,
    #[serde(default)]
    json: bool,
    time: Option<String>,
    #[serde(default)]
    envelope: bool,
    #[serde(default)]
    chunked: bool,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Opening {
    id: String,
    retry_ms: u64,
    padding: bool,
    #[serde(default)]
    chunked: bool,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Heartbeat {
    id: String,
    moved: bool,
    #[serde(default)]
    chunked: bool,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reset {
    id: String,
    reason: String,
    streams: Vec<String>,
    #[serde(default)]
    chunked: bool,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Goodbye {
    id: String,
    reason: String,
    retry_ms: u64,
    #[serde(default)]
    chunked: bool,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    #[serde(default)]
    chunked: bool,
}

impl Writing {
    /// Its bytes as `text/event-stream`.
    pub(crate) fn sse(&self) -> String {
        let (envelope, chunked) = match self {
            Self::Event(event) => (event.envelope, event.chunked),
            Self::Opening(Opening { chunked, .. })
            | Self::Heartbeat(Heartbeat { chunked, .. })
            | Self::Reset(Reset { chunked, .. })
            | Self::Goodbye(Goodbye { chunked, .. })
            | Self::End(End { chunked }) => (false, *chunked),
        };
        self.write(Form::Sse { envelope, chunked })
    }

    /// Its bytes as NDJSON.
    pub(crate) fn ndjson(&self) -> String {
        self.write(Form::Ndjson)
    }

    fn write(&self, form: Form) -> String {
        // Writers append: what is there before stays.
        let mut out = b"before".to_vec();
        match self {
            Self::Event(event) => form.event(&mut out, position(&event.id).epoch, &event.event()),
            Self::Opening(Opening { id, retry_ms, padding, .. }) => {
                form.opening(&mut out, position(id), Duration::from_millis(*retry_ms), *padding);
            }
            Self::Heartbeat(Heartbeat { id, moved, .. }) => form.heartbeat(&mut out, position(id), *moved),
            Self::Reset(Reset { id, reason, streams, .. }) => {
                let control = Control::Reset {
                    reason: reset_reason(reason),
                    streams: streams.clone(),
                    resume: Resume::Here,
                };
                form.control(&mut out, position(id), &control);
            }
            Self::Goodbye(Goodbye { id, reason, retry_ms, .. }) => {
                let reason = reason.clone().leak();
                let control = Control::Goodbye { reason, retry: Duration::from_millis(*retry_ms) };
                form.control(&mut out, position(id), &control);
            }
            Self::End(_) => form.end(&mut out),
        }
        let out = String::from_utf8(out).expect("what is written is UTF-8");
        out.strip_prefix("before").expect("what was there before stays").to_owned()
    }
}

impl WrittenEvent {
    fn event(&self) -> Event {
        let data = if self.json { Data::json(&*self.data).unwrap() } else { Data::text(&*self.data) };
        Event {
            offset: position(&self.id).offset,
            time: self.time.as_ref().map_or(0, |time| time.parse().unwrap()),
            stream: StreamName::parse(&self.stream).unwrap(),
            event_type: self.event_type.as_ref().map(|text| EventType::any(text).unwrap()),
            data,
            change: None,
        }
    }
}

fn position(cursor: &str) -> Position {
    cursor.parse().expect("a cursor")
}

fn reset_reason(word: &str) -> ResetReason {
    use ResetReason::{Ahead, Deleted, Epoch, Malformed, Trimmed};
    let all = [Trimmed, Deleted, Epoch, Ahead, Malformed];
    *all.iter().find(|reason| reason.as_str() == word).expect("a reason")
}
