//! Readers that are behind their view are fed from the log until they can join it.
//!
//! A few threads do this for all: a read may wait for the disk, which neither a reactor nor a task of the runtime may.

use crate::{
    encode::{encode_run, has_piece},
    error::{Error, ErrorKind},
    log::{Log, Place},
    view::SharedView,
};
use bytes::Bytes;
use riacho_core::{
    name::table_of,
    position::Offset,
    transport::{Control, Form, ResetReason, Resume},
};
use rustix::process::setpriority_process;
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

/// From nothing, or from far behind, to a view of tables.
pub mod walk;
/// Snapshots of small tables, encoded once.
pub mod shared;

use walk::{Audience, Step, Walk};

/// A reader that is behind its view.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The view it reads.
    pub view: Arc<SharedView>,
    /// Where it stands in the log.
    pub place: Place,
    /// Bytes of the next event that it already has.
    pub into_next: usize,
    /// By what it gets on.
    pub way: Way,
}

/// By what a reader that is behind its view gets on.
#[derive(Clone, Debug)]
pub enum Way {
    /// By the events of the log; one of tables is asked first whether it wants their rows instead.
    Events,
    /// By the events of the log up to here, though its view may have them: some of what it has is no longer kept.
    Kept(Offset),
    /// By the rows of its tables.
    Walk(Box<Walk>),
    /// By the events of the streams that it reads beside tables, up to here, where the tables are.
    Streams(Offset),
}

/// One helping.
#[derive(Debug)]
pub struct Fed {
    /// Encoded events; whole ones.
    pub bytes: Bytes,
    /// Where each event ends within `bytes`, by offset; also what is no event but was told, such as a reset.
    pub marks: Vec<(Offset, usize)>,
    /// The last event it will have seen with these bytes.
    pub after: Offset,
    /// Where it stood before them, and knows of trims with them.
    pub from: Place,
    /// Bytes of the first event that it had before.
    pub had: usize,
    /// Whether they begin with a reset.
    pub reset: bool,
    /// By what reading again from `from` gives the same bytes; `None` where nothing does.
    pub again: Option<Way>,
    /// Where to go on from, or `None` where the view has all that follows.
    pub next: Option<Feed>,
}

/// Takes the helping, or the failure to read the log.
pub type Deliver = Box<dyn FnOnce(Result<Fed, Error>) + Send>;

/// The threads that feed.
pub struct Feeder {
    log: Log,
    queue: Mutex<Queue>,
    arrived: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Queue {
    // At most one request per subscriber.
    requests: VecDeque<(Feed, Deliver)>,
    /// Those whose tables a source has not copied yet.
    parked: Vec<(Feed, Deliver)>,
    closed: bool,
}

impl Feeder {
    /// Starts the threads.
    ///
    /// # Errors
    /// `Unavailable` where a thread cannot be started.
    pub fn start(log: Log) -> Result<Arc<Self>, Error> {
        let queue = Mutex::new(Queue { requests: VecDeque::new(), parked: Vec::new(), closed: false });
        let feeder = Arc::new(Self { log, queue, arrived: Condvar::new(), threads: Mutex::new(Vec::new()) });
        for number in 0..THREADS {
            let run = Arc::clone(&feeder);
            let thread = thread::Builder::new()
                .name(format!("feeder-{number}"))
                .spawn(move || run.run())
                .map_err(|err| Error::new(ErrorKind::Unavailable, "start a feeder thread").caused_by(err))?;
            feeder.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(feeder)
    }

    /// Reads one helping for `feed` and hands it to `deliver`, on a thread of the feeder.
    pub fn request(&self, feed: Feed, deliver: Deliver) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.closed {
            // Dropping `deliver` tells who waits.
            return;
        }
        queue.requests.push_back((feed, deliver));
        drop(queue);
        self.arrived.notify_one();
    }

    /// Ends the threads; what is still requested is dropped.
    pub fn close(&self) {
        let dropped = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.closed = true;
            (std::mem::take(&mut queue.requests), std::mem::take(&mut queue.parked))
        };
        drop(dropped);
        self.arrived.notify_all();
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if thread.join().is_err() {
                tracing::error!("feeder thread panicked");
            }
        }
    }

    fn run(&self) {
        // On Linux that is this thread's alone: who reads the past must not delay who reads the present. In vain where
        // it is not allowed; then they share.
        let _ = setpriority_process(None, NICENESS);
        loop {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            let (feed, deliver) = loop {
                if queue.closed {
                    return;
                }
                if let Some(request) = queue.requests.pop_front() {
                    break request;
                }
                if queue.parked.is_empty() {
                    queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                let waited = self.arrived.wait_timeout(queue, PARKED_PAUSE);
                queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                let parked = std::mem::take(&mut queue.parked);
                queue.requests.extend(parked);
            };
            // Rows that are not whole are told nobody.
            if matches!(feed.way, Way::Walk(_)) && !self.log.tables_ready(feed.view.selection()) {
                queue.parked.push((feed, deliver));
                continue;
            }
            drop(queue);
            deliver(help(&self.log, feed));
        }
    }
}

/// Reads one helping: events after the feed's place, or rows of its tables, as many as one bounded read gives. That may be
/// none: a reader of a pattern that matches little must not hold a thread until the whole log is read.
///
/// # Errors
/// Where the log cannot be read, or where a reader in mid-event lost the rest of it.
pub fn help(log: &Log, mut feed: Feed) -> Result<Fed, Error> {
    let behind = feed.into_next > 0 || feed.view.lock().join(feed.place.after).is_none();
    if matches!(feed.way, Way::Events) && behind && feed.into_next == 0 {
        feed.way = way_of(log, &feed);
    }
    match std::mem::replace(&mut feed.way, Way::Events) {
        Way::Walk(walk) => help_walk(log, feed, walk),
        Way::Streams(upto) => help_streams(log, feed, upto),
        Way::Kept(upto) => help_events(log, feed, upto),
        Way::Events if behind => help_events(log, feed, 0),
        Way::Events => Ok(Fed::nothing(feed.place)),
    }
}

// How a reader that is behind its view gets on. One of tables: by the newest state of each row, unless it wants every step
// and the log has them.
fn way_of(log: &Log, feed: &Feed) -> Way {
    let (selection, after) = (feed.view.selection(), feed.place.after);
    match selection.terms() {
        Some(terms) if terms.conflate || !log.keeps_changes(selection, after) => {
            Way::Walk(Box::new(Walk::since(selection, after, &[])))
        }
        _ => Way::Events,
    }
}

fn help_walk(log: &Log, mut feed: Feed, mut walk: Box<Walk>) -> Result<Fed, Error> {
    let (selection, form, from) = (feed.view.selection().clone(), feed.view.form(), feed.place);
    let Some(terms) = selection.terms() else { return help_events(log, feed, 0) };
    // Streams beside the tables go on from where they were: then the state of the tables alone is no place to resume from.
    let cursor = walk.is_fresh() || selection.without_tables().is_empty();
    if let Some(table) = walk.wants_snapshot().filter(|_| cursor)
        && let Some(snapshot) = shared::snapshot(log, &feed.view, table)?
    {
        return Ok(feed.fed(snapshot.bytes.clone(), snapshot.upto));
    }
    let (mut plain, mut bytes) = (Vec::new(), Vec::new());
    let to = Audience { log, form, terms, bytes_max: WALK_BYTES, cursor };
    let step = walk.go_on(to, &mut plain)?;
    if !plain.is_empty() {
        form.framed(&mut bytes, |out| out.append(&mut plain));
    }
    let bytes = Bytes::from(bytes);
    match step {
        Step::Done(upto) if cursor => Ok(feed.fed(bytes, upto)),
        Step::Done(upto) => {
            feed.way = Way::Streams(upto);
            Ok(Fed { bytes, next: Some(feed), ..Fed::nothing(from) })
        }
        Step::More => {
            feed.way = Way::Walk(walk);
            Ok(Fed { bytes, next: Some(feed), ..Fed::nothing(from) })
        }
    }
}

// Events of the streams beside the tables, up to where the tables are.
fn help_streams(log: &Log, mut feed: Feed, upto: Offset) -> Result<Fed, Error> {
    let (form, start) = (feed.view.form(), feed.place.after);
    if start >= upto {
        // The group needs a cursor to be complete, and there may be no event to bring one.
        let mut bytes = Vec::new();
        form.heartbeat(&mut bytes, log.position(start), true);
        return Ok(feed.fed(bytes.into(), start));
    }
    let rest = feed.view.selection().without_tables();
    let (mut bytes, mut marks) = (Vec::new(), Vec::new());
    let page = log.read(&rest, &mut feed.place, HELPING_BYTES)?;
    tell_lost(log, form, start, page.lost, &mut bytes);
    let events: Vec<_> = page.events.into_iter().take_while(|event| event.offset <= upto).collect();
    encode_run(form, feed.view.epoch(), None, &events, true, |piece| {
        bytes.extend_from_slice(piece.bytes);
        marks.push((piece.upto, bytes.len()));
    });
    feed.place.after = feed.place.after.min(upto);
    let (after, from) = (feed.place.after, Place { after: start, trims: feed.place.trims });
    feed.way = Way::Streams(upto);
    Ok(Fed { bytes: bytes.into(), marks, after, next: Some(feed), ..Fed::nothing(from) })
}

// Events as they were, one after the other; up to `kept` by no view.
fn help_events(log: &Log, mut feed: Feed, kept: Offset) -> Result<Fed, Error> {
    let (form, view) = (feed.view.form(), Arc::clone(&feed.view));
    let (mut bytes, mut marks) = (Vec::new(), Vec::new());
    let (begin, start, had) = (feed.place, feed.place.after, feed.into_next);
    let transaction_bytes_max = log.transaction_bytes_max();
    let mut bytes_max = HELPING_BYTES;
    let (page, ended) = loop {
        let published = log.published();
        let page = log.read(view.selection(), &mut feed.place, bytes_max)?;
        if feed.into_next > 0 && (!page.lost.is_empty() || view.is_paced()) {
            let op = "go on in the middle of an event that is no longer kept";
            return Err(Error::new(ErrorKind::Trimmed, op));
        }
        if page.lost.iter().any(|name| table_of(name).is_some()) {
            // Not every step is there any more: then the newest states.
            // With the trims it knew of: streams beside the tables may have lost something too.
            feed.place = begin;
            feed.way = Way::Walk(Box::new(Walk::since(view.selection(), start, &[])));
            return Ok(Fed { next: Some(feed), ..Fed::nothing(begin) });
        }
        // Visible is a transaction whole or not at all.
        let ended = page.upto >= published || bytes_max > transaction_bytes_max;
        if page.events.is_empty() || ended || has_piece(&page.events, false) {
            break (page, ended);
        }
        // A transaction that is larger than a helping.
        feed.place = begin;
        bytes_max *= 2;
    };
    let reset = tell_lost(log, form, start, page.lost, &mut bytes);
    if reset {
        marks.push((start, bytes.len()));
    }
    let terms = view.selection().terms().map(|terms| &**terms);
    let done = encode_run(form, view.epoch(), terms, &page.events, ended, |piece| {
        if !piece.bytes.is_empty() {
            bytes.extend_from_slice(piece.bytes);
            marks.push((piece.upto, bytes.len()));
        }
    });
    if done < page.events.len() {
        let last = done.checked_sub(1).and_then(|last| page.events.get(last));
        feed.place.after = last.map_or(start, |event| event.offset);
    }
    if feed.into_next > 0 && !bytes.is_empty() {
        // Encoding the same event in the same form gives the same bytes.
        let had = feed.into_next.min(bytes.len());
        bytes.drain(..had);
        for (_, end) in &mut marks {
            *end = end.saturating_sub(had);
        }
        feed.into_next = 0;
    }
    let after = feed.place.after;
    let whole = feed.into_next == 0 && after >= kept && view.lock().join(after).is_some();
    let from = Place { after: start, trims: feed.place.trims };
    let way = |after| if after < kept { Way::Kept(kept) } else { Way::Events };
    feed.way = way(after);
    Ok(Fed {
        bytes: bytes.into(),
        marks,
        after,
        from,
        had,
        reset,
        again: Some(way(start)),
        next: (!whole).then_some(feed),
    })
}

// Tells which streams lost what the reader had not seen; whether there are any.
fn tell_lost(log: &Log, form: Form, after: Offset, lost: Vec<String>, bytes: &mut Vec<u8>) -> bool {
    if lost.is_empty() {
        return false;
    }
    let control = Control::Reset { reason: ResetReason::Trimmed, streams: lost, resume: Resume::Here };
    form.control(bytes, log.position(after), &control);
    true
}

impl Feed {
    // The last helping of a way: its reader has everything up to `upto`, and joins its view where that has the rest.
    fn fed(mut self, bytes: Bytes, upto: Offset) -> Fed {
        let from = self.place;
        self.place = Place { after: upto, trims: 0 };
        self.way = Way::Events;
        let whole = self.view.lock().join(upto).is_some();
        Fed { bytes, after: upto, next: (!whole).then_some(self), ..Fed::nothing(from) }
    }
}

impl Fed {
    fn nothing(from: Place) -> Self {
        let (bytes, marks) = (Bytes::new(), Vec::new());
        Self { bytes, marks, after: from.after, from, had: 0, reset: false, again: None, next: None }
    }
}

const THREADS: usize = 2;
// Between two looks whether a source has copied the tables that readers wait for.
const PARKED_PAUSE: Duration = Duration::from_millis(50);
// About a tenth of the processor's time while others want it.
const NICENESS: i32 = 10;
// Bytes of events in one helping: what a reader being fed costs in memory.
const HELPING_BYTES: usize = 128 * 1024;
// Bytes of rows in one helping. Less, since nothing can make these bytes again: a reader that stalls keeps them.
const WALK_BYTES: usize = 32 * 1024;
