//! Readers that are behind their view are fed from the log until they can join it.
//!
//! A few threads do this for all: a read may wait for the disk, which neither a reactor nor a task of the runtime may.

use crate::{
    error::{Error, ErrorKind},
    log::{Log, Place},
    view::SharedView,
};
use riacho_core::{
    position::Offset,
    transport::{Control, ResetReason},
};
use rustix::process::setpriority_process;
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

/// A reader that is behind its view.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The view it reads.
    pub view: Arc<SharedView>,
    /// Where it stands in the log.
    pub place: Place,
    /// Bytes of the next event that it already has.
    pub into_next: usize,
}

/// One helping.
#[derive(Debug)]
pub struct Fed {
    /// Encoded events; whole ones.
    pub bytes: Vec<u8>,
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
    closed: bool,
}

impl Feeder {
    /// Starts the threads.
    ///
    /// # Errors
    /// `Unavailable` where a thread cannot be started.
    pub fn start(log: Log) -> Result<Arc<Self>, Error> {
        let queue = Mutex::new(Queue { requests: VecDeque::new(), closed: false });
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
            std::mem::take(&mut queue.requests)
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
                queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
            };
            drop(queue);
            deliver(help(&self.log, feed));
        }
    }
}

/// Reads one helping: events after the feed's place, as many as one bounded read of the log gives. That may be none: a
/// reader of a pattern that matches little must not hold a thread until the whole log is read.
///
/// # Errors
/// Where the log cannot be read, or where a reader in mid-event lost the rest of it.
pub fn help(log: &Log, mut feed: Feed) -> Result<Fed, Error> {
    let form = feed.view.form();
    let (mut bytes, mut marks) = (Vec::new(), Vec::new());
    let (start, had, mut reset) = (feed.place.after, feed.into_next, false);
    if feed.into_next > 0 || feed.view.lock().join(feed.place.after).is_none() {
        let from = feed.place.after;
        let page = log.read(feed.view.selection(), &mut feed.place, HELPING_BYTES)?;
        if !page.lost.is_empty() {
            if feed.into_next > 0 {
                let op = "go on in the middle of an event that is no longer kept";
                return Err(Error::new(ErrorKind::Trimmed, op));
            }
            let control = Control::Reset { reason: ResetReason::Trimmed, streams: page.lost };
            form.control(&mut bytes, log.position(from), &control);
            marks.push((from, bytes.len()));
            reset = true;
        }
        for event in &page.events {
            form.event(&mut bytes, feed.view.epoch(), event);
            marks.push((event.offset, bytes.len()));
        }
        if feed.into_next > 0 && !page.events.is_empty() {
            // Encoding the same event in the same form gives the same bytes.
            let had = feed.into_next.min(bytes.len());
            bytes.drain(..had);
            for (_, end) in &mut marks {
                *end = end.saturating_sub(had);
            }
            feed.into_next = 0;
        }
    }
    let after = feed.place.after;
    let whole = feed.into_next == 0 && feed.view.lock().join(after).is_some();
    let from = Place { after: start, trims: feed.place.trims };
    Ok(Fed { bytes, marks, after, from, had, reset, next: (!whole).then_some(feed) })
}

const THREADS: usize = 2;
// About a tenth of the processor's time while others want it.
const NICENESS: i32 = 10;
// Bytes of events in one helping: what a reader being fed costs in memory.
const HELPING_BYTES: usize = 128 * 1024;
