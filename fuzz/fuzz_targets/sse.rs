//! Whatever is published, a reader of the standard gets exactly that event, and nothing after it is disturbed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use riacho_core::{
    event::{Data, Event, EventType},
    name::StreamName,
    position::{Epoch, Position},
    transport::Form,
};
use std::num::NonZeroU64;

#[path = "../../crates/riacho-core/tests/it/support/event_stream.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod event_stream;

#[path = "../../crates/riacho-core/tests/it/support/plain.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod plain;

use event_stream::{Dispatched, EventStream, chunks};
use plain::tokens;

fuzz_target!(|input: (NonZeroU64, u64, &str, Option<&str>, &str, u8)| {
    let (epoch, offset, stream, event_type, text, flags) = input;
    let (envelope, chunked, json) = (flags & 1 > 0, flags & 2 > 0, flags & 4 > 0);
    let epoch = Epoch(epoch);
    let Ok(stream) = StreamName::parse(stream) else { return };
    let Ok(event_type) = event_type.map(EventType::parse).transpose() else { return };
    let data = if json { Data::json(text) } else { Ok(Data::text(text)) };
    let Ok(data) = data else { return };
    let event = Event { offset, time: 0, stream, event_type, data, change: None };

    let form = Form::Sse { envelope, chunked };
    let mut bytes = Vec::new();
    form.event(&mut bytes, epoch, &event);
    let next = Event { event_type: None, data: Data::text("next"), ..event.clone() };
    form.event(&mut bytes, epoch, &next);
    form.end(&mut bytes);
    if chunked {
        let (chunks, ended) = chunks(&bytes);
        assert!(ended && chunks.len() == 2);
        bytes = chunks.concat();
    }

    let read = EventStream::read(&bytes);
    let [got, after] = &read.events[..] else { panic!("{} events", read.events.len()) };
    assert_eq!((read.blocks, read.retry), (2, None));
    assert_eq!(after.event_type, "message");
    assert!(after.data.contains("next"));
    let want = Dispatched {
        id: Position { epoch, offset }.to_string(),
        event_type: event.event_type.as_ref().map_or("message", EventType::as_str).to_owned(),
        data: text.replace("\r\n", "\n").replace('\r', "\n"),
    };
    if !envelope {
        assert_eq!(got, &want);
        return;
    }
    assert_eq!((&got.id, &got.event_type), (&want.id, &want.event_type));
    let envelope: Envelope = serde_json::from_str(&got.data).expect("an envelope is JSON");
    assert_eq!(envelope.stream, event.stream.as_str());
    if json {
        assert_eq!(tokens(envelope.data.get()), tokens(text));
    } else {
        assert_eq!(serde_json::from_str::<String>(envelope.data.get()).expect("text is a string"), text);
    }
});

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    stream: String,
    #[serde(borrow)]
    data: &'a serde_json::value::RawValue,
}
