//! The JSON form of an event: `{"id","stream","type"?,"data","time"}`, as NDJSON lines and in long-poll pages.
//!
//! `data` is a JSON value where the event was published as JSON, a string otherwise.
//! Spec: `spec/protocol.md` "The JSON form"; `spec/vectors/json.json`.

use super::{ANEW, Control, Resume, at, position};
use crate::{
    event::{Data, Event},
    position::{Epoch, Position},
    time,
};

/// Appends one event as a line.
pub(super) fn line(out: &mut Vec<u8>, epoch: Epoch, event: &Event) {
    out.extend_from_slice(b"{\"id\":\"");
    position(out, at(epoch, event.offset));
    out.extend_from_slice(b"\",\"stream\":");
    string(out, event.stream.as_str());
    if let Some(event_type) = &event.event_type {
        out.extend_from_slice(b",\"type\":");
        string(out, event_type.as_str());
    }
    out.extend_from_slice(b",\"data\":");
    data(out, &event.data);
    out.extend_from_slice(b",\"time\":\"");
    out.extend_from_slice(time::rfc3339(event.time).as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// Appends a heartbeat as a line.
pub(super) fn heartbeat(out: &mut Vec<u8>, at: Position) {
    out.extend_from_slice(b"{\"id\":\"");
    position(out, at);
    out.extend_from_slice(b"\",\"type\":\"riacho.heartbeat\"}\n");
}

/// Appends a control event as a line.
pub(super) fn control(out: &mut Vec<u8>, at: Position, control: &Control) {
    out.push(b'{');
    if control.resume() != Resume::Nowhere {
        out.extend_from_slice(b"\"id\":\"");
        match control.resume() {
            Resume::Anew => out.extend_from_slice(ANEW),
            Resume::Here | Resume::Nowhere => position(out, at),
        }
        out.extend_from_slice(b"\",");
    }
    out.extend_from_slice(b"\"type\":\"");
    out.extend_from_slice(control.event_type().as_bytes());
    out.extend_from_slice(b"\",\"data\":");
    control.data(out, at);
    out.extend_from_slice(b"}\n");
}

/// Appends data as a JSON value on one line.
pub(super) fn data(out: &mut Vec<u8>, data: &Data) {
    if !data.json {
        return string(out, &data.text);
    }
    value(out, &data.text);
}

/// Appends the JSON value `text` on one line.
pub(crate) fn value(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    // In valid JSON a bare line break can only be white space between tokens.
    out.extend(text.bytes().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { b }));
    escape_separators(out, start);
}

/// Appends `text` as a JSON string.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    // Writing to a Vec cannot fail, and a str has no other reason to.
    let written = serde_json::to_writer(&mut *out, text);
    debug_assert!(written.is_ok(), "a str serialises into memory");
    escape_separators(out, start);
}

/// The same into text.
pub(crate) fn string_into(out: &mut String, text: &str) {
    let plain = |byte: u8| byte >= b' ' && !matches!(byte, b'"' | b'\\' | SEPARATORS_PREFIX_1 | NEXT_LINE_1);
    if text.bytes().all(plain) {
        out.extend(["\"", text, "\""]);
        return;
    }
    let mut json = Vec::with_capacity(text.len() + 2);
    string(&mut json, text);
    out.push_str(&String::from_utf8_lossy(&json));
}

// Escapes the line breaks that JSON allows in strings, and nowhere else: Python's line readers, for one, end a line at
// them. An escape in place of a character is the same JSON value.
fn escape_separators(out: &mut Vec<u8>, start: usize) {
    let json = out.get(start..).unwrap_or_default();
    let found = |prefix: &[u8]| memchr::memmem::find(json, prefix).is_some();
    if !found(SEPARATORS_PREFIX) && !found("\u{85}".as_bytes()) {
        return;
    }
    let escaped = String::from_utf8_lossy(json)
        .replace('\u{85}', "\\u0085")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029");
    out.truncate(start);
    out.extend_from_slice(escaped.as_bytes());
}

// The two bytes that U+2028 and U+2029 begin with.
const SEPARATORS_PREFIX: &[u8] = b"\xe2\x80";
const SEPARATORS_PREFIX_1: u8 = 0xe2;
// The first byte of U+0085.
const NEXT_LINE_1: u8 = 0xc2;
