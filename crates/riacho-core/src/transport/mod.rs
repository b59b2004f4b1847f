//! The wire forms of an event: one encoder each, shared by everything that sends.

use crate::{
    event::Event,
    name::{StreamName, table_of},
    position::{Epoch, Offset, Position},
    table::{
        message::{Mark, Message},
        terms::Shown,
    },
};
use std::time::Duration;

/// `text/event-stream`.
pub mod sse;
/// The JSON form of an event: NDJSON lines and long-poll pages.
pub mod json;
/// What a client says on a WebSocket.
pub mod command;

/// A wire form: how the events of a view are encoded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// `text/event-stream`.
    Sse {
        /// Whether data is wrapped as `{"stream":…,"data":…}`.
        envelope: bool,
        /// Whether each event is also one chunk of HTTP/1.1's chunked coding (RFC 9112, "Chunked Transfer Coding").
        chunked: bool,
    },
    /// One JSON object per line, ended by LF.
    Ndjson,
}

impl Form {
    /// How many forms there are; [`Form::index`] is below it.
    pub const COUNT: usize = 5;

    /// A number for this form, for tables indexed by form.
    pub fn index(self) -> usize {
        match self {
            Self::Sse { envelope, chunked } => usize::from(envelope) * 2 + usize::from(chunked),
            Self::Ndjson => 4,
        }
    }

    /// Appends `event`, encoded.
    pub fn event(self, out: &mut Vec<u8>, epoch: Epoch, event: &Event) {
        self.framed(out, |out| match self {
            Self::Sse { envelope, .. } => sse::event(out, epoch, event, envelope),
            Self::Ndjson => json::line(out, epoch, event),
        });
    }

    /// Appends the changes of one transaction, or of one catch-up, as one piece: whoever has read it has all of them, and
    /// only then the cursor `at`. Nothing where `shown` is empty.
    pub fn changes(self, out: &mut Vec<u8>, at: Position, txid: Option<&str>, shown: &[(&Event, Shown<'_>)]) {
        let Some(last) = shown.len().checked_sub(1) else { return };
        self.framed(out, |out| {
            for (i, (event, shown)) in shown.iter().enumerate() {
                let message = Message::of(event, shown, txid, i == last);
                self.message(out, (i == last).then_some(at), &message);
            }
        });
    }

    /// Appends one message about a row, not framed: it is a part of what [`Form::framed`] writes.
    pub fn message(self, out: &mut Vec<u8>, id: Option<Position>, message: &Message<'_>) {
        self.line_of(out, id, |out, id| message.write(out, id));
    }

    /// Appends what is said of a table between messages about rows, not framed.
    pub fn mark(self, out: &mut Vec<u8>, id: Option<Position>, table: &str, mark: Mark) {
        self.line_of(out, id, |out, id| mark.write(out, id, table));
    }

    fn line_of(
        self,
        out: &mut Vec<u8>,
        id: Option<Position>,
        write: impl FnOnce(&mut Vec<u8>, Option<Position>),
    ) {
        match self {
            Self::Sse { .. } => {
                sse::data_of(out, id, |out| write(out, None));
            }
            Self::Ndjson => {
                write(out, id);
                out.push(b'\n');
            }
        }
    }

    /// Appends the first bytes of a reading of tables that begins with a snapshot: there is no cursor before that is
    /// complete.
    pub fn opening_without_cursor(self, out: &mut Vec<u8>, retry: Duration, padding: bool) {
        if let Self::Sse { .. } = self {
            self.framed(out, |out| sse::opening(out, None, retry, padding));
        }
    }

    /// Appends the first bytes of a stream: the cursor it begins at and, for SSE, the reconnection time.
    ///
    /// One block, so that a client that has seen no event yet resumes from where it began.
    pub fn opening(self, out: &mut Vec<u8>, at: Position, retry: Duration, padding: bool) {
        self.framed(out, |out| match self {
            Self::Sse { .. } => sse::opening(out, Some(at), retry, padding),
            Self::Ndjson => json::heartbeat(out, at),
        });
    }

    /// Appends a heartbeat: with the cursor where it moved without an event for this reader, else without.
    pub fn heartbeat(self, out: &mut Vec<u8>, at: Position, moved: bool) {
        self.framed(out, |out| match self {
            Self::Sse { .. } if moved => sse::id_block(out, at),
            Self::Sse { .. } => sse::comment(out),
            Self::Ndjson => json::heartbeat(out, at),
        });
    }

    /// Appends a control event; `at` is the cursor to go on from.
    pub fn control(self, out: &mut Vec<u8>, at: Position, control: &Control) {
        self.framed(out, |out| self.plain_control(out, at, control));
    }

    /// As [`Form::control`], not framed.
    pub fn plain_control(self, out: &mut Vec<u8>, at: Position, control: &Control) {
        match self {
            Self::Sse { .. } => sse::control(out, at, control),
            Self::Ndjson => json::control(out, at, control),
        }
    }

    /// Appends what ends a body of this form: the last chunk where it is chunked, else nothing.
    pub fn end(self, out: &mut Vec<u8>) {
        if let Self::Sse { chunked: true, .. } = self {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }

    /// Appends what `write` writes, as one chunk where this form is chunked.
    pub fn framed(self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let Self::Sse { chunked: true, .. } = self else { return write(out) };
        // The length is written in a fixed eight digits once it is known: RFC 9112 allows leading zeros.
        let head = out.len();
        out.extend_from_slice(b"00000000\r\n");
        let body = out.len();
        write(out);
        let mut rest = out.len() - body;
        for digit in out.iter_mut().skip(head).take(8).rev() {
            *digit = *HEX.get(rest & 15).unwrap_or(&b'0');
            rest >>= 4;
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// What the server itself says in a stream; its types begin with `riacho.`.
/// Spec: `spec/protocol.md` "Control events".
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Control {
    /// Continuity of `streams` is lost; what is still kept of them follows, the others go on.
    Reset {
        /// Why.
        reason: ResetReason,
        /// The names and patterns that lost continuity; tables by the names of their streams.
        streams: Vec<String>,
        /// What the reader is to resume with if it is cut off before what follows is complete.
        resume: Resume,
    },
    /// The server ends the stream; come back after the time given.
    Goodbye {
        /// Why, one word of `spec/protocol.md` "Control events".
        reason: &'static str,
        /// When to come back.
        retry: Duration,
    },
}

/// With what a reader resumes after a reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume {
    /// With the cursor that comes with it.
    Here,
    /// Without one: a snapshot of tables follows, which it then gets again.
    Nowhere,
    /// With a cursor that is refused again, as the one it came with: the snapshot that follows is not all that it missed.
    Anew,
}

/// Why a stream lost continuity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResetReason {
    /// Events after the cursor are no longer kept.
    Trimmed,
    /// The stream was emptied while it was read.
    Deleted,
    /// The cursor is of another incarnation of the log.
    Epoch,
    /// The cursor is ahead of the log: the log was restored from an older copy.
    Ahead,
    /// The cursor is no cursor of this server.
    Malformed,
    /// What changed is more than a page may hold.
    Large,
}

impl ResetReason {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::Deleted => "deleted",
            Self::Epoch => "epoch",
            Self::Ahead => "ahead",
            Self::Malformed => "malformed",
            Self::Large => "large",
        }
    }
}

impl Control {
    /// A reset of the one stream `name`.
    pub fn reset_one(reason: ResetReason, name: &StreamName) -> Self {
        Self::Reset { reason, streams: vec![name.to_string()], resume: Resume::Here }
    }

    /// Its event type.
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::Reset { .. } => "riacho.reset",
            Self::Goodbye { .. } => "riacho.goodbye",
        }
    }

    // With what a reader resumes that is cut off right after it.
    fn resume(&self) -> Resume {
        match self {
            Self::Reset { resume, .. } => *resume,
            Self::Goodbye { .. } => Resume::Here,
        }
    }

    fn data(&self, out: &mut Vec<u8>, at: Position) {
        match self {
            Self::Reset { reason, streams, resume } => {
                out.extend_from_slice(b"{\"reason\":\"");
                out.extend_from_slice(reason.as_str().as_bytes());
                out.extend_from_slice(b"\",\"streams\":[");
                names(out, streams.iter().map(String::as_str).filter(|name| table_of(name).is_none()));
                if streams.iter().any(|name| table_of(name).is_some()) {
                    out.extend_from_slice(b"],\"tables\":[");
                    names(out, streams.iter().filter_map(|name| table_of(name)));
                }
                out.push(b']');
                if *resume == Resume::Here {
                    out.extend_from_slice(b",\"cursor\":\"");
                    position(out, at);
                    out.push(b'"');
                }
                out.push(b'}');
            }
            Self::Goodbye { reason, retry } => {
                out.extend_from_slice(b"{\"reason\":\"");
                out.extend_from_slice(reason.as_bytes());
                out.extend_from_slice(b"\",\"retry_ms\":");
                decimal(out, u64::try_from(retry.as_millis()).unwrap_or(u64::MAX));
                out.push(b'}');
            }
        }
    }
}

fn names<'a>(out: &mut Vec<u8>, names: impl Iterator<Item = &'a str>) {
    for (i, name) in names.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        json::string(out, name);
    }
}

/// Appends the cursor of `at`, without going through `fmt`: it is written once per event.
pub(crate) fn position(out: &mut Vec<u8>, at: Position) {
    hex(out, at.epoch.0.get());
    out.push(b'-');
    hex(out, at.offset);
}

/// The position of `offset` in `epoch`.
pub(crate) fn at(epoch: Epoch, offset: Offset) -> Position {
    Position { epoch, offset }
}

fn hex(out: &mut Vec<u8>, number: u64) {
    let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        let nibble = usize::try_from((number >> (digit * 4)) & 15).unwrap_or(0);
        out.push(*HEX.get(nibble).unwrap_or(&b'0'));
    }
}

fn decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(number.to_string().as_bytes());
}

/// A cursor that is none, and is told so: `malformed`.
const ANEW: &[u8] = b"anew";
const HEX: &[u8; 16] = b"0123456789abcdef";
