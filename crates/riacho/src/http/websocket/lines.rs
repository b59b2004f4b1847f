//! What a subscription says, cut into frames: a line of NDJSON each.

use bytes::Bytes;
use riacho_core::transport::command::Name;

/// Lines of one subscription that are being sent.
pub(super) struct Lines {
    serial: u64,
    rest: Bytes,
    last: bool,
}

impl Lines {
    /// Whole lines of the subscription `serial`; `last` where nothing follows them.
    pub(super) fn new(serial: u64, lines: Bytes, last: bool) -> Self {
        Self { serial, rest: lines, last }
    }

    /// Which subscription's they are.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether nothing follows.
    pub(super) fn is_last(&self) -> bool {
        self.last
    }

    /// The next line, without its end.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        if self.rest.is_empty() {
            return None;
        }
        let length = memchr::memchr(b'\n', &self.rest).unwrap_or(self.rest.len());
        let line = self.rest.split_to(length);
        // The line break, where there is one.
        drop(self.rest.split_to(self.rest.len().min(1)));
        Some(line)
    }
}

/// A line of the subscription `name`.
pub(super) fn named(name: &Name, line: &[u8]) -> Bytes {
    let name = name.to_json();
    [b"{\"subscription\":", name.as_bytes(), b",\"event\":", line, b"}"].concat().into()
}

/// Notes what a reader would resume with that was cut off after `line`.
pub(super) fn note(cursor: &mut Option<String>, line: &[u8]) {
    if let Some(rest) = line.strip_prefix(ID) {
        let id = rest.split(|byte| *byte == b'"').next().unwrap_or_default();
        let cursor = cursor.get_or_insert_default();
        cursor.clear();
        cursor.push_str(std::str::from_utf8(id).unwrap_or_default());
    } else if line.starts_with(RESET) {
        // A snapshot follows, before which there is no cursor.
        *cursor = None;
    }
}

// An id is the first member of every line that has one.
const ID: &[u8] = b"{\"id\":\"";
const RESET: &[u8] = b"{\"type\":\"riacho.reset\",\"data\":";
