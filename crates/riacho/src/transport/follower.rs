//! A reader that is a task: it follows its view, fed from the log where it is behind.

use crate::{
    error::{Error, ErrorKind},
    feed::{Feed, Feeder, Way},
    log::{Log, Place, Seat},
    view::SharedView,
};
use bytes::Bytes;
use riacho_core::{
    position::Offset,
    view::{Read, Slice},
};
use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};
use tokio::sync::{oneshot, watch};

/// A task's subscription.
pub struct Follower {
    seat: Seat,
    feeder: Arc<Feeder>,
    at: At,
    heartbeat: Duration,
    drain: watch::Receiver<bool>,
    ready: VecDeque<Bytes>,
}

enum At {
    /// Behind the view.
    Behind(Feed),
    /// Has this event and what came before.
    Live(Offset),
}

/// What comes next on a subscription.
#[derive(Debug)]
pub enum Next {
    /// Encoded events, in the view's form.
    Bytes(Bytes),
    /// Nothing happened for the heartbeat interval.
    Silence,
    /// The server is shutting down.
    Drain,
}

impl Follower {
    /// Follows the view of `seat` from `place` on, by `way`.
    pub fn new(
        seat: Seat,
        place: Place,
        way: Way,
        feeder: Arc<Feeder>,
        heartbeat: Duration,
        drain: watch::Receiver<bool>,
    ) -> Self {
        seat.view().add_follower();
        let feed = Feed { view: Arc::clone(seat.view()), place, into_next: 0, way };
        Self { seat, feeder, at: At::Behind(feed), heartbeat, drain, ready: VecDeque::new() }
    }

    /// The view it follows.
    pub fn view(&self) -> &Arc<SharedView> {
        self.seat.view()
    }

    /// The log it reads.
    pub fn log(&self) -> &Log {
        self.seat.log()
    }

    /// The last event given, or where the heartbeat has moved it.
    pub fn after(&self) -> Offset {
        match &self.at {
            At::Behind(feed) => feed.place.after,
            At::Live(after) => *after,
        }
    }

    /// Whether it has given all that its view has, and stands at a place to resume from.
    pub fn is_level(&self) -> bool {
        matches!(self.at, At::Live(_)) && self.ready.is_empty()
    }

    /// What comes next. Cancel safe: what is not returned is given by the next call.
    ///
    /// # Errors
    /// Where the log has to be read and cannot be.
    pub async fn next(&mut self) -> Result<Next, Error> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Next::Bytes(bytes));
            }
            let after = match &self.at {
                At::Behind(feed) => {
                    let feed = feed.clone();
                    self.catch_up(feed).await?;
                    continue;
                }
                At::Live(after) => *after,
            };
            let view = Arc::clone(self.seat.view());
            let mut woken = pin!(view.woken());
            // Enabled before the view is looked at: an append after the look wakes it.
            woken.as_mut().enable();
            if self.take(&view, after) {
                continue;
            }
            let mut drain = self.drain.clone();
            let drained = async { drop(drain.wait_for(|drain| *drain).await) };
            tokio::select! {
                // Each branch only waits: nothing is taken that could be lost.
                () = woken => {}
                () = drained => {
                    // What was acknowledged before the drain began goes out before the goodbye.
                    if !self.take(&view, after) {
                        return Ok(Next::Drain);
                    }
                }
                () = tokio::time::sleep(self.heartbeat) => return Ok(Next::Silence),
            }
        }
    }

    /// The log's head, if this reader has all up to there; a heartbeat may then say so.
    pub fn advance(&mut self) -> Option<Offset> {
        let At::Live(after) = self.at else { return None };
        let head = self.log().published();
        let quiet = self.seat.view().is_quiet();
        let view = self.seat.view().lock();
        let whole = quiet && view.join(after) == Some(view.end());
        drop(view);
        if whole && head > after {
            self.at = At::Live(head);
            return Some(head);
        }
        None
    }

    // Takes from the view what it has after `after`; whether anything changed.
    fn take(&mut self, view: &Arc<SharedView>, after: Offset) -> bool {
        let mut slices: [Option<Slice>; SLICES_MAX] = Default::default();
        let read = {
            let view = view.lock();
            view.join(after).and_then(|position| view.read(position, &mut slices))
        };
        match read {
            Some(Read { slices: 0, .. }) => false,
            Some(read) => {
                let bytes = slices.iter().flatten().map(|slice| slice.as_ref().len()).sum();
                self.log().stats().delivered(read.events, bytes);
                self.ready.extend(slices.into_iter().flatten().map(Bytes::from_owner));
                self.at = At::Live(read.newest);
                true
            }
            None => {
                let place = Place { after, trims: 0 };
                self.at = At::Behind(Feed { view: Arc::clone(view), place, into_next: 0, way: Way::Events });
                true
            }
        }
    }

    async fn catch_up(&mut self, feed: Feed) -> Result<(), Error> {
        if matches!(feed.way, Way::Events) && feed.view.lock().join(feed.place.after).is_some() {
            self.at = At::Live(feed.place.after);
            return Ok(());
        }
        let (deliver, fed) = oneshot::channel();
        let deliver = Box::new(move |fed| {
            // The reader may have gone; then nobody misses the helping.
            let _ = deliver.send(fed);
        });
        self.feeder.request(feed, deliver);
        let closed = |_| Error::new(ErrorKind::Unavailable, "read the log: the server is shutting down");
        let fed = fed.await.map_err(closed)??;
        self.log().stats().delivered(fed.marks.len(), fed.bytes.len());
        if !fed.bytes.is_empty() {
            self.ready.push_back(fed.bytes);
        }
        self.at = fed.next.map_or(At::Live(fed.after), At::Behind);
        Ok(())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.seat.view().remove_follower();
    }
}

// Chunks taken at once: what a reader that stopped reading keeps the view from freeing.
const SLICES_MAX: usize = 2;
