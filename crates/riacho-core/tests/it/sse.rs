//! `text/event-stream`: `spec/vectors/sse.json`, `spec/vectors/sse_parse.json`, and that nothing published breaks out
//! of its event.

use crate::support::{
    event_stream::{Dispatched, EventStream, chunks},
    gen_text, vectors,
    writing::Writing,
};
use proptest::prelude::*;
use riacho_core::{
    event::{Event, EventType},
    position::{Epoch, Position},
    transport::{Control, Form, ResetReason, Resume},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{num::NonZeroU64, time::Duration};

#[test]
fn events_are_written_as_the_vectors_say() {
    vectors::check("sse.json", |writing: Writing| writing.sse());
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Chunk {
    Text(String),
    Bytes { hex: String },
}

#[derive(Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
struct Outcome {
    events: Vec<Parsed>,
    last_id: String,
    retry: Option<u64>,
}

#[derive(Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
struct Parsed {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    data: String,
}

impl From<EventStream> for Outcome {
    fn from(stream: EventStream) -> Self {
        let events = stream.events.into_iter();
        let events = events.map(|Dispatched { id, event_type, data }| Parsed { id, event_type, data });
        Self { events: events.collect(), last_id: stream.last_id, retry: stream.retry }
    }
}

#[test]
fn streams_are_read_as_the_vectors_say() {
    vectors::check("sse_parse.json", |chunks: Vec<Chunk>| {
        let chunks: Vec<Vec<u8>> = chunks
            .into_iter()
            .map(|chunk| match chunk {
                Chunk::Text(text) => text.into_bytes(),
                Chunk::Bytes { hex } => (0..hex.len() / 2)
                    .map(|i| u8::from_str_radix(&hex[i * 2..i * 2 + 2], 16).unwrap())
                    .collect(),
            })
            .collect();
        let mut stream = EventStream::default();
        for chunk in &chunks {
            stream.push(chunk);
        }
        let whole = Outcome::from(EventStream::read(&chunks.concat()));
        let cut = Outcome::from(stream);
        assert_eq!(cut, whole);
        cut
    });
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    stream: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_reader_gets_each_event_once_and_nothing_else(
        events in prop::collection::vec(gen_text::event(), 1..4),
        epoch: NonZeroU64,
        envelope: bool,
        chunked: bool,
    ) {
        let epoch = Epoch(epoch);
        let form = Form::Sse { envelope, chunked };
        let mut bytes = Vec::new();
        for event in &events {
            form.event(&mut bytes, epoch, event);
        }
        form.end(&mut bytes);
        if chunked {
            let (chunks, ended) = chunks(&bytes);
            prop_assert_eq!((chunks.len(), ended), (events.len(), true));
            bytes = chunks.concat();
        }

        let read = EventStream::read(&bytes);
        prop_assert_eq!((read.events.len(), read.blocks, read.retry), (events.len(), events.len(), None));
        for (event, got) in events.iter().zip(&read.events) {
            let id = Position { epoch, offset: event.offset }.to_string();
            let event_type = event.event_type.as_ref().map_or("message", EventType::as_str);
            prop_assert_eq!((got.id.as_str(), got.event_type.as_str()), (id.as_str(), event_type));
            if envelope {
                assert_envelope(&got.data, event);
            } else {
                let data = event.data.text.replace("\r\n", "\n").replace('\r', "\n");
                prop_assert_eq!(&got.data, &data);
            }
        }
    }

    #[test]
    fn what_the_server_says_leaves_events_alone(
        offset in gen_text::number(),
        event in gen_text::event(),
        streams in prop::collection::vec(gen_text::stream(), 0..3),
        retry_ms in gen_text::number(),
        padding: bool,
        moved: bool,
        chunked: bool,
    ) {
        let form = Form::Sse { envelope: false, chunked };
        let at = Position { epoch: Epoch(NonZeroU64::MAX), offset };
        let retry = Duration::from_millis(retry_ms);
        let streams: Vec<String> = streams.iter().map(ToString::to_string).collect();
        let reset = Control::Reset { reason: ResetReason::Trimmed, streams: streams.clone(), resume: Resume::Here };

        let mut bytes = Vec::new();
        form.opening(&mut bytes, at, retry, padding);
        form.heartbeat(&mut bytes, at, moved);
        form.control(&mut bytes, at, &reset);
        form.event(&mut bytes, at.epoch, &event);
        form.control(&mut bytes, at, &Control::Goodbye { reason: "drain", retry });
        form.end(&mut bytes);
        if chunked {
            bytes = chunks(&bytes).0.concat();
        }

        let read = EventStream::read(&bytes);
        let types: Vec<&str> = read.events.iter().map(|e| e.event_type.as_str()).collect();
        let event_type = event.event_type.as_ref().map_or("message", EventType::as_str);
        prop_assert_eq!(types, ["riacho.reset", event_type, "riacho.goodbye"]);
        prop_assert_eq!((read.blocks, read.retry, read.last_id), (5, Some(retry_ms), at.to_string()));
        let told: serde_json::Value = serde_json::from_str(&read.events[0].data).unwrap();
        let want = serde_json::json!({ "reason": "trimmed", "streams": streams, "cursor": at.to_string() });
        prop_assert_eq!(told, want);
    }
}

#[track_caller]
fn assert_envelope(text: &str, event: &Event) {
    assert!(!text.contains('\n'));
    let envelope: Envelope = serde_json::from_str(text).expect("an envelope is JSON");
    assert_eq!(envelope.stream, event.stream.as_str());
    crate::json::assert_same(envelope.data, &event.data);
}
