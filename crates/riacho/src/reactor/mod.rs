//! Threads that own plain SSE sockets: one epoll each, no task, no lock and no allocation per delivery.
//!
//! A subscriber is a socket, a view and the offset of the last event it has. The log marks a view dirty; the reactor
//! then visits the view's subscribers in the order they came and sends each, in one `send`, all from its offset to the
//! view's end. After some visits it looks at epoll again: under light load each event leaves at once, under heavy load
//! batches form by themselves. Linux only, as epoll is.

use crate::{
    error::{Error, ErrorKind},
    feed::{Fed, Feeder},
    limits::Permit,
    log::{Place, Seat},
    view::{SharedView, Sweeper},
};
use rustix::{
    event::{EventfdFlags, eventfd},
    fd::OwnedFd,
    io::{read, write},
};
use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::mpsc;

/// The subscribers of one reactor.
mod slab;
/// When each subscriber is due a heartbeat.
mod wheel;
/// What a reactor does each time it wakes.
mod turn;

pub(crate) use turn::jittered;

/// What all reactors are started with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many reactors.
    pub count: usize,
    /// Silence after which a subscriber gets a heartbeat.
    pub heartbeat: Duration,
    /// The reconnection time told at the end, before jitter.
    pub retry: Duration,
}

/// A socket that is to be served: its HTTP head and the stream's first block are sent already.
pub struct Ticket {
    /// The socket; non-blocking.
    pub socket: OwnedFd,
    /// Its seat in the view it reads.
    pub seat: Seat,
    /// Where it reads from.
    pub place: Place,
    /// Its place among the connections there may be.
    pub permit: Permit,
}

/// All reactors of a server.
pub struct Reactors {
    handles: Vec<Arc<Handle>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the rest of the server knows of one reactor.
pub struct Handle {
    index: usize,
    inbox: Mutex<Inbox>,
    /// Set while the reactor is sure to look into its inbox before it sleeps.
    awake: AtomicBool,
    bell: OwnedFd,
    feeder: OnceLock<Arc<Feeder>>,
    stats: Stats,
}

#[derive(Default)]
struct Inbox {
    tickets: Vec<Ticket>,
    dirty: Vec<Arc<SharedView>>,
    fed: Vec<(u32, u32, Result<Fed, Error>)>,
    drain: bool,
    /// The reactor has drained: what comes now is dropped.
    ended: bool,
}

/// Counters of one reactor.
#[derive(Debug, Default)]
pub struct Stats {
    /// Subscribers now.
    pub subscribers: AtomicU64,
    /// Subscribers whose socket takes no more for now.
    pub blocked: AtomicU64,
    /// `send` calls.
    pub sends: AtomicU64,
    /// Events sent.
    pub events: AtomicU64,
    /// Bytes sent.
    pub bytes: AtomicU64,
    /// Slices of sweeps.
    pub slices: AtomicU64,
    /// Heartbeats sent.
    pub heartbeats: AtomicU64,
    /// Helpings from the log asked for.
    pub helpings: AtomicU64,
    /// Bytes that clients sent after their request, thrown away.
    pub discarded: AtomicU64,
}

impl Reactors {
    /// Starts the threads.
    ///
    /// # Errors
    /// `Unavailable` where the system gives no thread, epoll or eventfd.
    pub fn start(settings: Settings) -> Result<Self, Error> {
        let mut handles = Vec::new();
        let mut threads = Vec::new();
        let failed = |op: &'static str| {
            move |err: rustix::io::Errno| {
                Error::new(ErrorKind::Unavailable, op).caused_by(std::io::Error::from(err))
            }
        };
        for index in 0..settings.count.max(1) {
            let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
            let bell = eventfd(0, flags).map_err(failed("create an eventfd"))?;
            let handle = Arc::new(Handle {
                index,
                inbox: Mutex::new(Inbox::default()),
                awake: AtomicBool::new(false),
                bell,
                feeder: OnceLock::new(),
                stats: Stats::default(),
            });
            let reactor =
                turn::Reactor::new(Arc::clone(&handle), settings).map_err(failed("create an epoll"))?;
            let thread = thread::Builder::new()
                .name(format!("reactor-{index}"))
                .spawn(move || reactor.run())
                .map_err(|err| Error::new(ErrorKind::Unavailable, "start a reactor thread").caused_by(err))?;
            handles.push(handle);
            threads.push(thread);
        }
        Ok(Self { handles, threads: Mutex::new(threads) })
    }

    /// Names who feeds subscribers that are behind; before the first ticket.
    pub fn set_feeder(&self, feeder: &Arc<Feeder>) {
        for handle in &self.handles {
            // Set once at start-up; a second call would name the same feeder.
            let _ = handle.feeder.set(Arc::clone(feeder));
        }
    }

    /// The reactors as the log sees them.
    pub fn sweepers(&self) -> Vec<Arc<dyn Sweeper>> {
        self.handles.iter().map(|handle| Arc::clone(handle) as Arc<dyn Sweeper>).collect()
    }

    /// Counters of each.
    pub fn stats(&self) -> impl Iterator<Item = &Stats> {
        self.handles.iter().map(|handle| &handle.stats)
    }

    /// Hands sockets over, each to the reactor that has the fewest, and wakes each reactor once.
    pub fn serve(&self, tickets: impl IntoIterator<Item = Ticket>) {
        let mut late = Vec::new();
        let mut given = Vec::from_iter(self.handles.iter().map(|_| Vec::new()));
        for ticket in tickets {
            let fewest =
                self.handles.iter().min_by_key(|handle| handle.stats.subscribers.load(Ordering::Relaxed));
            let Some(handle) = fewest else { continue };
            // Counted here and not when the reactor takes it: a burst of tickets must spread as well.
            handle.stats.subscribers.fetch_add(1, Ordering::Relaxed);
            if let Some(given) = given.get_mut(handle.index) {
                given.push(ticket);
            }
        }
        for (handle, given) in self.handles.iter().zip(given).filter(|(_, given)| !given.is_empty()) {
            handle.put(|inbox| {
                if inbox.ended {
                    handle.stats.subscribers.fetch_sub(given.len() as u64, Ordering::Relaxed);
                    late.extend(given);
                } else {
                    inbox.tickets.extend(given);
                }
            });
        }
        // Dropped with no lock held: their seats take the order lock.
        drop(late);
    }

    /// Hands over what comes until nobody is left to send, many at a time: a reactor that is woken for each socket of a
    /// burst costs two changes of thread each.
    pub async fn usher(self: Arc<Self>, mut tickets: mpsc::UnboundedReceiver<Ticket>) {
        let mut batch = Vec::new();
        while let Some(ticket) = tickets.recv().await {
            batch.push(ticket);
            // Whoever is ready now may have one as well.
            tokio::task::yield_now().await;
            while let Ok(ticket) = tickets.try_recv() {
                batch.push(ticket);
            }
            self.serve(batch.drain(..));
        }
    }

    /// Sends every subscriber what it misses and a goodbye, closes all sockets and ends the threads.
    pub fn drain(&self) {
        for handle in &self.handles {
            handle.put(|inbox| inbox.drain = true);
        }
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if thread.join().is_err() {
                tracing::error!("reactor thread panicked");
            }
        }
    }
}

impl Handle {
    // Changes the inbox and wakes the reactor if it may be asleep.
    fn put(&self, change: impl FnOnce(&mut Inbox)) {
        change(&mut self.inbox.lock().unwrap_or_else(PoisonError::into_inner));
        if !self.awake.swap(true, Ordering::SeqCst) {
            self.ring();
        }
    }

    fn ring(&self) {
        // It fails only when the counter is full: then the bell rings already.
        let _ = write(&self.bell, &1_u64.to_ne_bytes());
    }

    fn quiet(&self) {
        let mut counter = [0; 8];
        let _ = read(&self.bell, &mut counter);
    }
}

impl Sweeper for Handle {
    fn dirty(&self, view: &Arc<SharedView>) {
        self.put(|inbox| inbox.dirty.push(Arc::clone(view)));
    }
}
