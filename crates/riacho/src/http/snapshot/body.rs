//! A snapshot becomes the body of an answer: a page of rows is read and encoded when the one before is with the socket.

use super::held::Reading;
use crate::{
    error::{Error, ErrorKind},
    http::{App, tables},
    log::Log,
    rows::Row,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use riacho_core::{
    event::Operation,
    position::Position,
    table::message::{Mark, Message},
    transport::Form,
};
use std::io::Write;

/// How the rows are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// One JSON object: `{"table","cursor","rows","next"?}`.
    Document,
    /// NDJSON: a message per row, and one at the end.
    Lines,
}

impl Shape {
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Document => "application/json",
            Self::Lines => "application/x-ndjson",
        }
    }
}

/// What is left to send.
pub(super) struct Body {
    reading: Reading,
    at: Position,
    table: Box<str>,
    shape: Shape,
    gzip: Option<GzEncoder<Vec<u8>>>,
    /// The last row that was looked at.
    after: Option<Box<str>>,
    /// Rows that still fit into the page; none where there are no pages.
    room: Option<usize>,
    /// Whether a row was written.
    begun: bool,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opening,
    Rows,
    Ended,
}

impl Body {
    /// All rows of what is read.
    pub(super) fn new(app: &App, reading: Reading, shape: Shape, gzip: bool) -> Self {
        let log: &Log = app.log();
        Self {
            at: log.position(reading.of().offset),
            table: reading.of().table.table().unwrap_or_default().into(),
            reading,
            shape,
            // The fastest: what is gained above it is little.
            gzip: gzip.then(|| GzEncoder::new(Vec::new(), Compression::fast())),
            after: None,
            room: None,
            begun: false,
            stage: Stage::Opening,
        }
    }

    /// The same, but at most `limit` rows, those after `after`.
    pub(super) fn page(self, limit: usize, after: Option<Box<str>>) -> Self {
        Self { room: Some(limit), after, ..self }
    }

    /// The body. It breaks off where the snapshot is gone, or cannot be read.
    pub(super) fn stream(self) -> axum::body::Body {
        let stream = futures_util::stream::unfold(Some(self), async |state| {
            let body = state.filter(|body| body.stage != Stage::Ended)?;
            if body.stage == Stage::Opening && body.shape == Shape::Document {
                let (bytes, body) = body.opening();
                return Some((Ok(bytes), Some(body)));
            }
            let read = tables::blocking(move || body.rows()).await;
            let stopping = |_| Error::new(ErrorKind::Unavailable, "read a snapshot while the server stops");
            match read.map_err(stopping).flatten() {
                Ok((bytes, body)) => Some((Ok(bytes), Some(body))),
                Err(err) => {
                    tracing::warn!(error = err.chain(), "snapshot broken off");
                    Some((Err(err), None))
                }
            }
        });
        axum::body::Body::from_stream(stream)
    }

    // Needs no disk, so the reader has it before the first row is found.
    fn opening(mut self) -> (Bytes, Self) {
        let mut out = b"{\"table\":".to_vec();
        string(&mut out, &self.table);
        // A cursor needs no escaping in JSON.
        out.extend_from_slice(format!(",\"cursor\":\"{}\",\"rows\":[", self.at).as_bytes());
        self.stage = Stage::Rows;
        (self.coded(out, false), self)
    }

    /// The next rows: at least one, unless there are no more.
    fn rows(mut self) -> Result<(Bytes, Self), Error> {
        let mut out = Vec::with_capacity(PAGE_BYTES + PAGE_BYTES / 4);
        while out.is_empty() {
            let snapshot = self.reading.lend().ok_or_else(|| {
                Error::new(
                    ErrorKind::Unavailable,
                    "read a snapshot within the time it is held (snapshot_hold)",
                )
            })?;
            let page = snapshot.rows(self.after.as_deref(), PAGE_BYTES)?;
            let mut rest = page.rows.into_iter();
            // Left for the next page, where there is no room.
            while self.room != Some(0)
                && let Some(row) = rest.next()
            {
                self.row(&mut out, &row);
                self.after = Some(row.key);
            }
            let done = page.done && rest.len() == 0;
            if done || self.room == Some(0) {
                self.end(&mut out, done);
                break;
            }
        }
        let ended = self.stage == Stage::Ended;
        Ok((self.coded(out, ended), self))
    }

    fn row(&mut self, out: &mut Vec<u8>, row: &Row) {
        let Some(value) = self.reading.of().terms.show_row(&row.value) else { return };
        self.room = self.room.map(|room| room.saturating_sub(1));
        match self.shape {
            Shape::Document => {
                out.extend_from_slice(if self.begun { b",\n{\"key\":" } else { b"\n{\"key\":" });
                string(out, &row.key);
                out.extend_from_slice(b",\"value\":");
                out.extend_from_slice(value.as_bytes());
                out.push(b'}');
            }
            Shape::Lines => {
                let message = Message {
                    table: &self.table,
                    key: &row.key,
                    operation: Operation::Insert,
                    value: Some(&value),
                    old_value: None,
                    txid: None,
                    last: false,
                    time: row.time,
                };
                Form::Ndjson.message(out, None, &message);
            }
        }
        self.begun = true;
    }

    fn end(&mut self, out: &mut Vec<u8>, done: bool) {
        self.stage = Stage::Ended;
        match self.shape {
            Shape::Lines => Form::Ndjson.mark(out, Some(self.at), &self.table, Mark::SnapshotEnd),
            Shape::Document if done => {
                self.reading.last();
                out.extend_from_slice(b"]}\n");
            }
            Shape::Document => {
                let next = self.reading.next(self.after.as_deref().unwrap_or_default());
                // Hexadecimal digits and `-`.
                out.extend_from_slice(format!("],\"next\":\"{next}\"}}\n").as_bytes());
            }
        }
    }

    // Compressed where that is wanted, and in such a way that the other side can read all of it at once.
    fn coded(&mut self, out: Vec<u8>, end: bool) -> Bytes {
        let Some(gzip) = &mut self.gzip else { return out.into() };
        let written = gzip.write_all(&out).and_then(|()| if end { gzip.try_finish() } else { gzip.flush() });
        debug_assert!(written.is_ok(), "memory takes all");
        std::mem::take(gzip.get_mut()).into()
    }
}

/// Appends `text` as a JSON string.
fn string(out: &mut Vec<u8>, text: &str) {
    // Writing to a Vec cannot fail, and a str has no other reason to.
    let written = serde_json::to_writer(&mut *out, text);
    debug_assert!(written.is_ok(), "a str serialises into memory");
}

// Keys and values of rows that are read at once: what one answer has in memory, times two or three.
const PAGE_BYTES: usize = 64 << 10;
