//! The subscriptions of one WebSocket, and what they have to say: a line at a time, in the order in which it comes.

use super::lines::{self, Lines};
use crate::transport::body::Piece;
use bytes::Bytes;
use futures_util::{
    Stream, StreamExt,
    stream::{AbortHandle, Abortable, BoxStream, SelectAll},
};
use riacho_core::transport::command::Name;
use std::task::{Context, Poll};

/// The subscriptions that live.
#[derive(Default)]
pub(super) struct Subscriptions {
    live: Vec<Subscription>,
    /// What all of them have to say.
    pieces: SelectAll<Pieces>,
    /// What is being said of it.
    current: Option<Lines>,
    serial: u64,
}

struct Subscription {
    name: Option<Name>,
    /// Tells it from others that had the name before.
    serial: u64,
    /// What a reader would resume with that was cut off now, if anything.
    cursor: Option<String>,
    abort: AbortHandle,
}

type Pieces = Abortable<BoxStream<'static, (u64, Piece)>>;

/// The log cannot be read for one of them.
#[derive(Debug)]
pub(super) struct Failed;

impl Subscriptions {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether there is none, and nothing is left of those that were.
    pub(super) fn is_done(&self) -> bool {
        self.live.is_empty() && self.current.is_none()
    }

    /// Whether there is one of this name; the one without a name is the connection's own.
    pub(super) fn has(&self, name: Option<&Name>) -> bool {
        self.find(name).is_some()
    }

    /// Where the one of this name stands, if it has said an id.
    pub(super) fn cursor(&self, name: Option<&Name>) -> Option<String> {
        self.find(name).and_then(|position| self.live.get(position)?.cursor.clone())
    }

    /// Begins one, in the place of the one that has its name.
    pub(super) fn begin(&mut self, name: Option<Name>, pieces: impl Stream<Item = Piece> + Send + 'static) {
        self.end(name.as_ref());
        self.serial += 1;
        let serial = self.serial;
        let (abort, registration) = AbortHandle::new_pair();
        self.pieces.push(Abortable::new(pieces.map(move |piece| (serial, piece)).boxed(), registration));
        self.live.push(Subscription { name, serial, cursor: None, abort });
    }

    /// Ends the one of this name, of which nothing more is said; whether there was one.
    pub(super) fn end(&mut self, name: Option<&Name>) -> bool {
        let found = self.find(name);
        if let Some(position) = found {
            self.end_at(position);
        }
        found.is_some()
    }

    /// The next line, as its frame has it.
    pub(super) fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Failed>> {
        loop {
            if let Some(line) = self.next_line() {
                return Poll::Ready(Ok(line));
            }
            let (serial, piece) = match self.pieces.poll_next_unpin(cx) {
                Poll::Ready(Some(next)) => next,
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            };
            // It may have ended since.
            if !self.live.iter().any(|subscription| subscription.serial == serial) {
                continue;
            }
            let (lines, last) = match piece {
                Piece::Events(lines) => (lines, false),
                Piece::Goodbye(lines) => (lines, true),
                Piece::Failed => return Poll::Ready(Err(Failed)),
            };
            self.current = Some(Lines::new(serial, lines, last));
        }
    }

    fn next_line(&mut self) -> Option<Bytes> {
        let current = self.current.as_mut()?;
        let serial = current.serial();
        let position = self.live.iter().position(|subscription| subscription.serial == serial)?;
        let Some(line) = current.next() else {
            let last = current.is_last();
            self.current = None;
            if last {
                self.end_at(position);
            }
            return None;
        };
        let subscription = self.live.get_mut(position)?;
        lines::note(&mut subscription.cursor, &line);
        let named = subscription.name.as_ref();
        Some(named.map_or_else(|| line.clone(), |name| lines::named(name, &line)))
    }

    fn find(&self, name: Option<&Name>) -> Option<usize> {
        self.live.iter().position(|subscription| subscription.name.as_ref() == name)
    }

    fn end_at(&mut self, position: usize) {
        let ended = self.live.swap_remove(position);
        // Wakes it, so that it is dropped.
        ended.abort.abort();
        if self.current.as_ref().is_some_and(|current| current.serial() == ended.serial) {
            self.current = None;
        }
    }
}
