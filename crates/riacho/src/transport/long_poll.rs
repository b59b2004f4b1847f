//! Long-poll: a page of events, or a wait for the first.

use super::follower::{Follower, Next};
use crate::{error::Error, feed::Feeder, log::Begun};
use riacho_core::{
    position::{Offset, Position},
    transport::{Control, Form, ResetReason, Resume},
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// What one request asks for.
#[derive(Clone, Copy, Debug)]
pub struct Poll {
    /// How long to wait for an event where there is none; zero not to wait.
    pub wait: Duration,
    /// Events in the page at most.
    pub events_max: usize,
}

/// A page of events.
#[derive(Debug)]
pub struct Page {
    /// The events and what the server itself says, a line each.
    lines: Vec<u8>,
    /// Where to go on from.
    pub cursor: Position,
    /// Whether there may be more right now.
    more: bool,
    /// Whether it was given before its time, since the server is shutting down.
    pub drained: bool,
}

impl Page {
    fn new(lines: Vec<u8>, cursor: Position, more: bool) -> Self {
        Self { lines, cursor, more, drained: false }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// `{"events":[…],"cursor","more"}`; with `retry`, when to ask again, and with `closed`, that nothing will come.
    pub fn render(&self, retry: Option<Duration>, closed: bool) -> Vec<u8> {
        let mut page = Vec::with_capacity(self.lines.len() + 96);
        page.extend_from_slice(b"{\"events\":[");
        let lines = self.lines.strip_suffix(b"\n").unwrap_or(&self.lines);
        // A line holds no line break of its own: the encoder escapes them.
        page.extend(lines.iter().map(|byte| if *byte == b'\n' { b',' } else { *byte }));
        page.extend_from_slice(format!("],\"cursor\":\"{}\",\"more\":{}", self.cursor, self.more).as_bytes());
        if let Some(retry) = retry {
            page.extend_from_slice(format!(",\"retry_ms\":{}", retry.as_millis()).as_bytes());
        }
        page.extend_from_slice(if closed { b",\"closed\":true}\n" } else { b"}\n" });
        page
    }
}

/// Waits for a page.
///
/// # Errors
/// Where the log has to be read and cannot be.
pub async fn page(
    begun: Begun,
    poll: Poll,
    feeder: &Arc<Feeder>,
    drain: watch::Receiver<bool>,
) -> Result<Page, Error> {
    if begun.seat.view().selection().terms().is_some() {
        return page_of_tables(begun, poll, feeder, drain).await;
    }
    let Begun { seat, place, way: _, control } = begun;
    let (log, view) = (seat.log().clone(), Arc::clone(seat.view()));
    let _follows = Follows::new(&seat);
    let deadline = Instant::now() + poll.wait;
    let form = Form::Ndjson;
    let mut place = place;
    let mut lines = Vec::new();
    if let Some(control) = &control {
        form.control(&mut lines, log.position(place.after), control);
    }
    // What the server itself says is no event: it takes no room, or a page of one would never get past it.
    let mut count = 0;
    loop {
        let mut woken = pin!(view.woken());
        // Enabled before the log is looked at: an append after the look wakes it.
        woken.as_mut().enable();
        let from = place.after;
        let page = read(&log, &view, &mut place).await?;
        if !page.lost.is_empty() {
            let control =
                Control::Reset { reason: ResetReason::Trimmed, streams: page.lost, resume: Resume::Here };
            form.control(&mut lines, log.position(from), &control);
        }
        let room = poll.events_max.saturating_sub(count);
        let cut = page.events.len() > room;
        for event in page.events.iter().take(room) {
            form.event(&mut lines, log.epoch(), event);
            count += 1;
        }
        log.stats().delivered(count, lines.len());
        if cut {
            let last = room.checked_sub(1).and_then(|last| page.events.get(last));
            let after = last.map_or(from, |event| event.offset);
            return Ok(Page::new(lines, log.position(after), true));
        }
        let published: Offset = log.published();
        if !lines.is_empty() {
            return Ok(Page::new(lines, log.position(place.after), place.after < published));
        }
        if place.after < published {
            continue;
        }
        let mut drain = drain.clone();
        let drained = async { drop(drain.wait_for(|drain| *drain).await) };
        tokio::select! {
            // Each branch only waits: nothing is taken that could be lost.
            () = woken => {}
            () = drained => {
                let page = Page::new(lines, log.position(place.after), false);
                return Ok(Page { drained: true, ..page });
            }
            () = tokio::time::sleep_until(deadline) => {
                return Ok(Page::new(lines, log.position(place.after), false));
            }
        }
    }
}

// A page of tables is what a reader that streams would get, up to a place to resume from: it is not cut in between.
async fn page_of_tables(
    begun: Begun,
    poll: Poll,
    feeder: &Arc<Feeder>,
    drain: watch::Receiver<bool>,
) -> Result<Page, Error> {
    let Begun { seat, place, way, control } = begun;
    let (log, selection) = (seat.log().clone(), seat.view().selection().clone());
    let mut lines = Vec::new();
    if let Some(control) = &control {
        Form::Ndjson.control(&mut lines, log.position(place.after), control);
    }
    let mut follower = Follower::new(seat, place, way, Arc::clone(feeder), poll.wait, drain);
    loop {
        match follower.next().await? {
            Next::Bytes(bytes) => lines.extend_from_slice(&bytes),
            next @ (Next::Silence | Next::Drain) => {
                follower.advance();
                let page = Page::new(lines, log.position(follower.after()), false);
                return Ok(Page { drained: matches!(next, Next::Drain), ..page });
            }
        }
        if follower.is_level() && !lines.is_empty() {
            follower.advance();
            let more = follower.after() < log.published();
            return Ok(Page::new(lines, log.position(follower.after()), more));
        }
        if lines.len() > GROUP_BYTES_MAX {
            // More than a page may hold: the rows are had whole elsewhere, and with them a cursor to go on from.
            let streams = selection.selectors().iter().map(|selector| selector.as_str().to_owned()).collect();
            let control = Control::Reset { reason: ResetReason::Large, streams, resume: Resume::Here };
            let now = log.position(log.published());
            lines.clear();
            Form::Ndjson.control(&mut lines, now, &control);
            return Ok(Page::new(lines, now, false));
        }
    }
}

async fn read(
    log: &crate::log::Log,
    view: &Arc<crate::view::SharedView>,
    place: &mut crate::log::Place,
) -> Result<crate::log::Page, Error> {
    if log.in_memory(*place) {
        return log.read(view.selection(), place, PAGE_BYTES_MAX);
    }
    let (log, view, mut at) = (log.clone(), Arc::clone(view), *place);
    let read = tokio::task::spawn_blocking(move || {
        let page = log.read(view.selection(), &mut at, PAGE_BYTES_MAX);
        page.map(|page| (page, at))
    });
    let failed = |err| {
        Error::new(crate::error::ErrorKind::Failed, "read the log")
            .caused_by(std::io::Error::other::<tokio::task::JoinError>(err))
    };
    let (page, at) = read.await.map_err(failed)??;
    *place = at;
    Ok(page)
}

/// Counts as a follower while it lives.
struct Follows<'a>(&'a crate::log::Seat);

impl<'a> Follows<'a> {
    fn new(seat: &'a crate::log::Seat) -> Self {
        seat.view().add_follower();
        Self(seat)
    }
}

impl Drop for Follows<'_> {
    fn drop(&mut self) {
        self.0.view().remove_follower();
    }
}

// Bytes of events in one page.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
// Bytes of one group of changes of tables, which cannot be cut.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
