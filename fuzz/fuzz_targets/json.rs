//! Whatever is published, its line is one line of JSON and gives the event back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use riacho_core::{
    event::{Data, Event, EventType},
    name::StreamName,
    position::{Epoch, Position},
    time::parse_rfc3339,
    transport::Form,
};
use serde_json::value::RawValue;
use std::num::NonZeroU64;

#[path = "../../crates/riacho-core/tests/it/support/plain.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod plain;

use plain::tokens;

fuzz_target!(|input: (u64, u64, &str, Option<&str>, &str, bool)| {
    let (offset, time, stream, event_type, text, json) = input;
    let epoch = Epoch(NonZeroU64::MAX);
    let Ok(stream) = StreamName::parse(stream) else { return };
    let Ok(event_type) = event_type.map(EventType::parse).transpose() else { return };
    let data = if json { Data::json(text) } else { Ok(Data::text(text)) };
    let Ok(data) = data else { return };
    let event = Event { offset, time, stream, event_type, data, change: None };

    let mut bytes = Vec::new();
    Form::Ndjson.event(&mut bytes, epoch, &event);
    let line = String::from_utf8(bytes).expect("a line is UTF-8");
    let line = line.strip_suffix('\n').expect("a line ends with LF");
    assert!(!line.contains(['\r', '\n', '\u{85}', '\u{2028}', '\u{2029}']), "{line:?}");

    let read: Line = serde_json::from_str(line).expect("a line is JSON");
    assert_eq!(read.id, Position { epoch, offset }.to_string());
    assert_eq!(read.stream, event.stream.as_str());
    assert_eq!(read.event_type.as_deref(), event.event_type.as_ref().map(EventType::as_str));
    let read_time = parse_rfc3339(&read.time).expect("a time reads back");
    assert_eq!(read_time, time.min(TIME_MAX));
    if json {
        assert_eq!(tokens(read.data.get()), tokens(text));
    } else {
        assert_eq!(serde_json::from_str::<String>(read.data.get()).expect("text is a string"), text);
    }
});

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    id: String,
    stream: String,
    #[serde(rename = "type")]
    event_type: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
    time: String,
}

// 9999-12-30T22:00:00.999Z, the last moment there is text for.
const TIME_MAX: u64 = 253_402_207_200_999;
