//! Events as `text/event-stream`.
//!
//! Whatever the data holds, it cannot break out of its event: data is cut at CR, LF and CRLF alike and every piece gets
//! its own `data:` line; types and cursors hold no line breaks by their types.
//! Spec: WHATWG HTML, "Parsing an event stream"; `spec/vectors/sse.json`.

use super::{ANEW, Control, Resume, at, decimal, json, position};
use crate::{
    event::Event,
    position::{Epoch, Position},
};
use std::time::Duration;

/// Appends one event. With `envelope` the data is `{"stream":…,"data":…}` on one line.
pub(super) fn event(out: &mut Vec<u8>, epoch: Epoch, event: &Event, envelope: bool) {
    out.extend_from_slice(b"id: ");
    position(out, at(epoch, event.offset));
    if let Some(event_type) = &event.event_type {
        out.extend_from_slice(b"\nevent: ");
        out.extend_from_slice(event_type.as_str().as_bytes());
    }
    if envelope {
        out.extend_from_slice(b"\ndata: {\"stream\":");
        json::string(out, event.stream.as_str());
        out.extend_from_slice(b",\"data\":");
        json::data(out, &event.data);
        out.extend_from_slice(b"}\n\n");
    } else {
        data(out, event.data.text.as_bytes());
        out.extend_from_slice(b"\n\n");
    }
}

/// Appends the first block of a stream. Padding goes inside the block: a blank line before the first `id:` would make
/// a client forget the cursor it came with.
pub(super) fn opening(out: &mut Vec<u8>, at: Option<Position>, retry: Duration, padding: bool) {
    if padding {
        out.push(b':');
        out.resize(out.len() + PADDING_BYTES, b' ');
        out.push(b'\n');
    }
    if let Some(at) = at {
        out.extend_from_slice(b"id: ");
        position(out, at);
        out.push(b'\n');
    }
    self::retry(out, retry);
    out.extend_from_slice(b"\n");
    if at.is_some() {
        out.push(b'\n');
    }
}

/// Appends an event whose data is one line, which `write` appends.
pub(super) fn data_of(out: &mut Vec<u8>, id: Option<Position>, write: impl FnOnce(&mut Vec<u8>)) {
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        position(out, id);
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
    write(out);
    out.extend_from_slice(b"\n\n");
}

/// Appends a block that only moves the cursor.
pub(super) fn id_block(out: &mut Vec<u8>, at: Position) {
    out.extend_from_slice(b"id: ");
    position(out, at);
    out.extend_from_slice(b"\n\n");
}

/// Appends a comment that says nothing.
pub(super) fn comment(out: &mut Vec<u8>) {
    out.extend_from_slice(b":\n\n");
}

/// Appends a control event.
pub(super) fn control(out: &mut Vec<u8>, at: Position, control: &Control) {
    out.extend_from_slice(b"id:");
    match control.resume() {
        Resume::Here => {
            out.push(b' ');
            position(out, at);
        }
        // An `id` without a value makes a browser forget its cursor.
        Resume::Nowhere => {}
        Resume::Anew => {
            out.push(b' ');
            out.extend_from_slice(ANEW);
        }
    }
    out.extend_from_slice(b"\nevent: ");
    out.extend_from_slice(control.event_type().as_bytes());
    if let Control::Goodbye { retry, .. } = control {
        out.push(b'\n');
        self::retry(out, *retry);
    }
    out.extend_from_slice(b"\ndata: ");
    control.data(out, at);
    out.extend_from_slice(b"\n\n");
}

fn retry(out: &mut Vec<u8>, retry: Duration) {
    out.extend_from_slice(b"retry: ");
    decimal(out, u64::try_from(retry.as_millis()).unwrap_or(u64::MAX));
}

fn data(out: &mut Vec<u8>, mut text: &[u8]) {
    loop {
        out.extend_from_slice(b"\ndata: ");
        let Some(end) = memchr::memchr2(b'\r', b'\n', text) else {
            return out.extend_from_slice(text);
        };
        let (line, rest) = text.split_at(end);
        out.extend_from_slice(line);
        text = rest.strip_prefix(b"\r\n").unwrap_or_else(|| rest.get(1..).unwrap_or_default());
    }
}

const PADDING_BYTES: usize = 2048;
