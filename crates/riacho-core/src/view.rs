//! The encoded bytes of one selection in one wire form, which its subscribers read.
//!
//! A view is at once send buffer, replay buffer and backlog of slow readers: a subscriber is a place in it, never a
//! queue. Places are byte positions that only grow. Invariant: every event of the selection with an offset above
//! [`View::base`] that the log has published is in the view, in order, and no event spans two chunks.

use crate::{position::Offset, time::Millis};
use std::{collections::VecDeque, sync::Arc};

/// The bytes of one view; see the module.
#[derive(Debug)]
pub struct View {
    chunks: VecDeque<Chunk>,
    base: Offset,
    end: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Chunk {
    start: u64,
    bytes: Arc<Vec<u8>>,
    // Where each event ends within `bytes`, by offset.
    marks: Vec<(Offset, usize)>,
    newest: Millis,
}

/// Bytes of one chunk, held without copying.
#[derive(Clone, Debug)]
pub struct Slice {
    chunk: Arc<Vec<u8>>,
    from: usize,
    to: usize,
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self.chunk.get(self.from..self.to).unwrap_or_default()
    }
}

/// Where a reader stands in terms of events: after the last whole one, and some bytes into the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The last event read to its end; the view's base where there is none.
    pub offset: Offset,
    /// Bytes of the next event already read.
    pub into_next: usize,
}

/// What [`View::read`] gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Read {
    /// How many slices.
    pub slices: usize,
    /// How many events end in them.
    pub events: usize,
    /// The newest of these events; where there are none, the newest the view has seen.
    pub newest: Offset,
    /// Whether the view holds more than fitted.
    pub more: bool,
}

impl View {
    /// An empty view that will hold all events above `base`.
    pub fn new(base: Offset) -> Self {
        Self { chunks: VecDeque::new(), base, end: 0, bytes: 0 }
    }

    /// Every published event of the selection above this offset is in the view.
    pub fn base(&self) -> Offset {
        self.base
    }

    /// The position after the last event.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the encoded event of `offset`: above all offsets appended before, at least one byte.
    ///
    /// A chunk that readers hold is not written to: a short one is copied, after a long one a new chunk begins.
    pub fn append(&mut self, offset: Offset, event: &[u8], now: Millis) {
        let fits = self.chunks.back().is_some_and(|chunk| {
            let held = Arc::strong_count(&chunk.bytes) > 1;
            let len = chunk.bytes.len();
            len + event.len() <= CHUNK_BYTES_MAX && !(held && len > COPIED_BYTES_MAX)
        });
        if !fits {
            let capacity = event.len().max(CHUNK_BYTES_MIN);
            let bytes = Arc::new(Vec::with_capacity(capacity));
            self.chunks.push_back(Chunk { start: self.end, bytes, marks: Vec::new(), newest: now });
        }
        let Some(chunk) = self.chunks.back_mut() else { return };
        let bytes = Arc::make_mut(&mut chunk.bytes);
        bytes.extend_from_slice(event);
        chunk.marks.push((offset, bytes.len()));
        chunk.newest = now;
        self.end += event.len() as u64;
        self.bytes += event.len();
    }

    /// Drops the oldest chunks while the view holds more than `bytes_max`, and those whose newest event is older than
    /// `oldest`. The newest chunk stays, whatever its size and age: it holds what is being sent. Gives the bytes dropped.
    pub fn trim(&mut self, bytes_max: usize, oldest: Millis) -> usize {
        let before = self.bytes;
        while self.chunks.len() > 1 {
            let Some(chunk) = self.chunks.front() else { break };
            if self.bytes <= bytes_max && chunk.newest >= oldest {
                break;
            }
            self.drop_front();
        }
        before - self.bytes
    }

    /// Drops all bytes before `position`: every reader has passed them. Whole chunks only. Gives the bytes dropped.
    pub fn release(&mut self, position: u64) -> usize {
        let before = self.bytes;
        while self.chunks.front().is_some_and(|c| c.start + c.bytes.len() as u64 <= position) {
            self.drop_front();
        }
        before - self.bytes
    }

    /// The position from which a reader that has seen all events up to `after` goes on, or `None` where the view no
    /// longer holds all that it misses.
    pub fn join(&self, after: Offset) -> Option<u64> {
        if after < self.base {
            return None;
        }
        // The last chunk that begins at or before the event after `after`.
        let behind =
            self.chunks.partition_point(|c| c.marks.last().is_some_and(|(offset, _)| *offset <= after));
        let Some(chunk) = self.chunks.get(behind) else { return Some(self.end) };
        let mark = chunk.marks.partition_point(|(offset, _)| *offset <= after);
        let within = mark.checked_sub(1).and_then(|m| chunk.marks.get(m)).map_or(0, |(_, end)| *end);
        Some(chunk.start + within as u64)
    }

    /// Gives the bytes from `position` on, as up to `out.len()` slices, each to its chunk's end, which is an event's end;
    /// only the first may begin within an event. `None` where the view no longer holds them.
    pub fn read(&self, position: u64, out: &mut [Option<Slice>]) -> Option<Read> {
        let mut read = Read { slices: 0, events: 0, newest: self.newest().unwrap_or(self.base), more: false };
        if position >= self.end {
            return Some(read);
        }
        let first = self.chunk_of(position)?;
        for (chunk, slot) in self.chunks.range(first..).zip(out) {
            let from = usize::try_from(position.saturating_sub(chunk.start)).unwrap_or(usize::MAX);
            *slot = Some(Slice { chunk: Arc::clone(&chunk.bytes), from, to: chunk.bytes.len() });
            read.slices += 1;
            read.events += chunk.marks.len() - chunk.marks.partition_point(|(_, end)| *end <= from);
            read.newest = chunk.marks.last().map_or(read.newest, |(offset, _)| *offset);
        }
        read.more = first + read.slices < self.chunks.len();
        Some(read)
    }

    /// Where `position` lies in terms of events, or `None` where the view no longer holds it.
    pub fn place(&self, position: u64) -> Option<Place> {
        if position >= self.end {
            let offset = self.newest().unwrap_or(self.base);
            return Some(Place { offset, into_next: 0 });
        }
        let index = self.chunk_of(position)?;
        let chunk = self.chunks.get(index)?;
        let within = usize::try_from(position - chunk.start).unwrap_or(usize::MAX);
        let mark = chunk.marks.partition_point(|(_, end)| *end <= within);
        if let Some((offset, end)) = mark.checked_sub(1).and_then(|m| chunk.marks.get(m)) {
            return Some(Place { offset: *offset, into_next: within - end });
        }
        let before = index.checked_sub(1).and_then(|i| self.chunks.get(i)).and_then(|c| c.marks.last());
        Some(Place { offset: before.map_or(self.base, |(offset, _)| *offset), into_next: within })
    }

    /// The newest event held.
    pub fn newest(&self) -> Option<Offset> {
        self.chunks.back().and_then(|c| c.marks.last()).map(|(offset, _)| *offset)
    }

    // The index of the chunk that holds the byte at `position`, if it is still held.
    fn chunk_of(&self, position: u64) -> Option<usize> {
        let after = self.chunks.partition_point(|c| c.start <= position);
        after.checked_sub(1)
    }

    fn drop_front(&mut self) {
        let Some(chunk) = self.chunks.pop_front() else { return };
        self.bytes -= chunk.bytes.len();
        if let Some((offset, _)) = chunk.marks.last() {
            self.base = *offset;
        }
    }
}

/// The size of a full chunk; one event larger than this is a chunk of its own.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;

const CHUNK_BYTES_MIN: usize = 512;
// A held chunk up to this long is copied when an event is appended to it. Above, a new chunk costs less.
const COPIED_BYTES_MAX: usize = 16 * 1024;
