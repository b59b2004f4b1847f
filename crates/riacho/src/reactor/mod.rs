//! Tasks that own plain SSE sockets, one for each core: one epoll each, and per delivery no task, no lock and no allocation.
//!
//! A subscriber is a socket, a view and the offset of the last event it has. The log marks a view dirty; the reactor
//! then visits the view's subscribers in the order they came and sends each, in one `send`, all from its offset to the
//! view's end. After some visits it lets other tasks run and looks at epoll again: under light load each event leaves at
//! once, under heavy load batches form by themselves. A task and not a thread: handing it an event or a socket then is
//! no change of thread, which costs more than the delivery. Linux only, as epoll is.

use crate::{
    error::{Error, ErrorKind},
    feed::{Fed, Feeder, Way},
    limits::Permit,
    log::{Place, Seat},
    view::{SharedView, Sweeper},
};
use rustix::fd::OwnedFd;
use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, task::JoinHandle};

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
    /// And by what, until it has all that its view does not.
    pub way: Way,
    /// Its place among the connections there may be.
    pub permit: Permit,
}

/// All reactors of a server.
pub struct Reactors {
    handles: Vec<Arc<Handle>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What the rest of the server knows of one reactor.
pub struct Handle {
    index: usize,
    inbox: Mutex<Inbox>,
    /// Something was put into the inbox since the reactor last looked.
    arrived: Notify,
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
    /// Starts them, within a Tokio runtime.
    ///
    /// # Errors
    /// `Unavailable` where the system gives no epoll.
    pub fn start(settings: Settings) -> Result<Self, Error> {
        let mut handles = Vec::new();
        let mut tasks = Vec::new();
        for index in 0..settings.count.max(1) {
            let handle = Arc::new(Handle {
                index,
                inbox: Mutex::new(Inbox::default()),
                arrived: Notify::new(),
                feeder: OnceLock::new(),
                stats: Stats::default(),
            });
            let reactor = turn::Reactor::new(Arc::clone(&handle), settings)
                .map_err(|err| Error::new(ErrorKind::Unavailable, "create an epoll").caused_by(err))?;
            handles.push(handle);
            tasks.push(tokio::spawn(reactor.run()));
        }
        Ok(Self { handles, tasks: Mutex::new(tasks) })
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

    /// Hands a socket to the reactor that has the fewest.
    pub fn serve(&self, ticket: Ticket) {
        let fewest =
            self.handles.iter().min_by_key(|handle| handle.stats.subscribers.load(Ordering::Relaxed));
        if let Some(handle) = fewest {
            // Counted here and not when the reactor takes it: a burst of tickets must spread as well.
            handle.stats.subscribers.fetch_add(1, Ordering::Relaxed);
            let mut ticket = Some(ticket);
            handle.put(|inbox| {
                if !inbox.ended {
                    inbox.tickets.extend(ticket.take());
                }
            });
            if ticket.is_some() {
                // Dropped with no lock held: its seat takes the order lock.
                handle.stats.subscribers.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Sends every subscriber what it misses and a goodbye, closes all sockets and ends the tasks.
    pub async fn drain(&self) {
        for handle in &self.handles {
            handle.put(|inbox| inbox.drain = true);
        }
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if task.await.is_err() {
                tracing::error!("reactor panicked");
            }
        }
    }
}

impl Handle {
    // Changes the inbox and wakes the reactor.
    fn put(&self, change: impl FnOnce(&mut Inbox)) {
        change(&mut self.inbox.lock().unwrap_or_else(PoisonError::into_inner));
        self.arrived.notify_one();
    }
}

impl Sweeper for Handle {
    fn dirty(&self, view: &Arc<SharedView>) {
        self.put(|inbox| inbox.dirty.push(Arc::clone(view)));
    }
}
