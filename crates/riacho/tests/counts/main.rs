//! Counted, not timed: what a delivery costs in allocations, sends, bytes, encodings and system calls.
//!
//! The server runs on a thread of its own, told from others by its name: what it allocates while events are delivered is
//! its reactor's. `tracking-allocator` counts where it happens, on the thread that allocates; an allocator of our own would
//! need `unsafe`, which the workspace forbids.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests and their helpers may")]

use riacho::{
    config::{Origins, StreamRules},
    http::{
        self, connection,
        server::{Server, Settings},
    },
    log::{Batch, Entry, Log},
    reactor,
};
use riacho_core::{
    event::{Data, Event},
    name::{Selection, StreamName},
    start::Start,
    transport::Form,
};
use std::{
    alloc::System,
    cell::Cell,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::{Builder, Runtime},
    sync::{Mutex, MutexGuard, Notify},
    task::JoinSet,
    time::timeout,
};
use tracking_allocator::{AllocationGroupId, AllocationRegistry, AllocationTracker, Allocator};

mod log_settings;
mod system_calls;

#[global_allocator]
static ALLOCATOR: Allocator<System> = Allocator::system();

#[tokio::test]
async fn a_delivery_allocates_nothing_and_takes_one_send() {
    let _one_at_a_time = counting().await;
    let few = deliver(FEW, 1).await;
    let many = deliver(MANY, 1).await;
    eprintln!("{FEW} subscribers, {EVENTS} events: {few:?}\n{MANY} subscribers, {EVENTS} events: {many:?}");

    for (subscribers, counted) in [(FEW, &few), (MANY, &many)] {
        // All have an event before the next is appended: nothing can be sent together.
        assert_eq!(counted.delivered, subscribers * EVENTS, "events delivered to {subscribers}");
        assert_eq!(counted.sends, subscribers * EVENTS, "sends to {subscribers}");
        assert_bytes(subscribers, counted);
        assert!(counted.allocations <= SLACK, "{} allocations", counted.allocations);
        assert!(counted.slices <= EVENTS * (subscribers / 16 + 1), "{} slices of sweeps", counted.slices);
    }
}

#[tokio::test]
async fn a_batch_is_one_send_for_each_subscriber() {
    let _one_at_a_time = counting().await;
    let counted = deliver(MANY, 100).await;
    eprintln!("{MANY} subscribers, {EVENTS} batches of 100: {counted:?}");
    assert_eq!(counted.delivered, MANY * EVENTS * 100, "events delivered");
    assert!(counted.sends <= MANY * EVENTS, "{} sends", counted.sends);
    assert_bytes(MANY, &counted);
    assert!(counted.allocations <= SLACK, "{} allocations", counted.allocations);
}

#[tokio::test]
async fn readers_share_the_encoded_event_and_without_readers_there_is_none() {
    let _one_at_a_time = counting().await;
    let running = Running::start().await;
    let log = running.server.log();
    append(log, 1).await;
    assert_eq!(log.health().views, (0, 0), "encoded though nobody reads");

    let selection = Selection::one(StreamName::parse(STREAM).unwrap());
    let begin = |form| log.subscribe(&selection, form, Start::Now).unwrap();
    let one = begin(SSE);
    append(log, 1).await;
    let (_, once) = log.health().views;
    let others: Vec<_> = (0..100).map(|_| begin(SSE)).collect();
    append(log, 1).await;
    assert_eq!(log.health().views, (1, 2 * once), "views and bytes of two events with 101 readers");
    let lines = begin(Form::Ndjson);
    append(log, 1).await;
    let lines_bytes = lines.seat.view().lock().bytes();
    assert!(lines_bytes > 0, "the other form");
    assert_eq!(log.health().views, (2, 3 * once + lines_bytes), "views and bytes in two forms");
    drop((one, others, lines));
    assert_eq!(log.health().views, (0, 0), "kept though nobody reads");
    running.stop().await;
}

// Each subscriber was sent the events and nothing else, and the view holds them once, for however many.
#[track_caller]
fn assert_bytes(subscribers: usize, counted: &Counted) {
    assert_eq!(counted.bytes, subscribers * counted.encoded, "bytes sent to {subscribers}");
    assert_eq!(counted.held, counted.encoded + counted.encoded_warming_up, "bytes held for {subscribers}");
}

#[derive(Debug)]
struct Counted {
    allocations: usize,
    sends: usize,
    slices: usize,
    delivered: usize,
    bytes: usize,
    // Bytes of the events, encoded.
    encoded: usize,
    encoded_warming_up: usize,
    // Bytes in the view.
    held: usize,
}

// What it takes to deliver batches of `batch` events to so many subscribers, each batch after all have the one before.
async fn deliver(subscribers: usize, batch: usize) -> Counted {
    let running = Running::start().await;
    let seen = Arc::new(Seen::default());
    let mut readers = JoinSet::new();
    for _ in 0..subscribers {
        let stream = subscribe(running.server.address()).await;
        readers.spawn(count(stream, Arc::clone(&seen)));
    }
    let log = running.server.log();
    // Once all have these, all are with the reactor, and its tables have grown to what they hold.
    let (mut encoded_warming_up, mut encoded) = (0, 0);
    for warm in 1..=WARM_UP {
        encoded_warming_up += append(log, batch).await;
        seen.wait_for(warm * batch * subscribers).await;
    }
    let before = metrics(running.server.address()).await;
    assert!(ALLOCATIONS.swap(0, Ordering::SeqCst) > 0, "new subscribers cost nothing: nothing is counted");
    for event in 1..=EVENTS {
        encoded += append(log, batch).await;
        seen.wait_for((WARM_UP + event) * batch * subscribers).await;
    }
    let allocations = ALLOCATIONS.load(Ordering::SeqCst);
    let after = metrics(running.server.address()).await;
    let selection = Selection::one(StreamName::parse(STREAM).unwrap());
    let held = log.subscribe(&selection, SSE, Start::Now).unwrap().seat.view().lock().bytes();
    assert_eq!(log.health().views, (1, held), "views and their bytes");
    readers.abort_all();
    running.stop().await;
    Counted {
        allocations,
        sends: after.sends - before.sends,
        slices: after.slices - before.slices,
        delivered: after.events - before.events,
        bytes: after.bytes - before.bytes,
        encoded,
        encoded_warming_up,
        held,
    }
}

// Gives the bytes of the events as they are sent.
async fn append(log: &Log, count: usize) -> usize {
    let (stream, data) =
        (StreamName::parse(STREAM).unwrap(), Data::text(format!("{MARK}{}", "x".repeat(99))));
    let entry = Entry { stream: stream.clone(), event_type: None, data: data.clone() };
    let appended = log.append(Batch { entries: vec![entry; count], key: None }).await.unwrap();
    let mut encoded = Vec::new();
    for offset in appended.first..=appended.last() {
        let event = Event {
            offset,
            time: 0,
            stream: stream.clone(),
            event_type: None,
            data: data.clone(),
            change: None,
        };
        SSE.event(&mut encoded, log.epoch(), &event);
    }
    encoded.len()
}

// A subscriber that has had its first block.
async fn subscribe(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET /streams/{STREAM} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut raw = Vec::new();
    while !raw.ends_with(b"\n\n\r\n") {
        assert!(stream.read_buf(&mut raw).await.unwrap() > 0);
    }
    stream
}

// Counts the marks that come.
async fn count(mut stream: TcpStream, seen: Arc<Seen>) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = stream.read(&mut bytes).await.unwrap();
        assert!(read > 0, "the stream ended");
        let marks = bytes.iter().take(read).filter(|byte| **byte == u8::try_from(MARK).unwrap()).count();
        seen.count.fetch_add(marks, Ordering::SeqCst);
        seen.more.notify_one();
    }
}

/// How many events all readers together have.
#[derive(Default)]
struct Seen {
    count: AtomicUsize,
    more: Notify,
}

impl Seen {
    async fn wait_for(&self, count: usize) {
        let wait = async {
            while self.count.load(Ordering::SeqCst) < count {
                self.more.notified().await;
            }
        };
        assert!(timeout(PATIENCE, wait).await.is_ok(), "{:?} of {count}", self.count);
        assert_eq!(self.count.load(Ordering::SeqCst), count, "more than was published");
    }
}

/// What the server counted so far.
struct Metrics {
    sends: usize,
    slices: usize,
    events: usize,
    bytes: usize,
}

async fn metrics(address: SocketAddr) -> Metrics {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no metric {name}")).parse().unwrap()
    };
    Metrics {
        sends: value("riacho_reactor_sends_total"),
        slices: value("riacho_reactor_sweeps_total"),
        events: value("riacho_events_out_total"),
        bytes: value("riacho_events_out_bytes_total"),
    }
}

/// A server in this process, with one reactor, on a runtime of its own.
struct Running {
    server: Server,
    runtime: Runtime,
    _dir: TempDir,
}

impl Running {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(SERVER_THREAD)
            .enable_all()
            .build()
            .unwrap();
        let settings = settings(&dir);
        let server = runtime.spawn(async { Server::start(settings, |_| axum::Router::new()).await });
        Self { server: server.await.unwrap().unwrap(), runtime, _dir: dir }
    }

    async fn stop(self) {
        self.server.stop().await;
        // Not dropped: that would wait, which a test that is a task may not.
        self.runtime.shutdown_background();
    }
}

fn settings(dir: &TempDir) -> Settings {
    let heartbeat = Duration::from_secs(300);
    let retry = Duration::from_secs(1);
    Settings {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        data: dir.path().to_owned(),
        connections_max: 10_000,
        connections_per_address_max: 10_000,
        drain: Duration::from_secs(1),
        connection: connection::Settings {
            head_bytes_max: 16 << 10,
            head_time_max: Duration::from_secs(60),
            heartbeat,
        },
        http: http::Settings {
            origins: Origins::None,
            heartbeat,
            retry,
            event_bytes_max: 1 << 20,
            batch_events_max: 1000,
            batch_bytes_max: 1 << 20,
            publish_bytes_in_flight_max: 1 << 24,
            streams_per_subscription_max: 10,
            long_poll_wait_max: heartbeat,
            page_events_max: 1000,
            websocket_message_bytes_max: 1 << 10,
            websocket_subscriptions_max: 4,
            row_bytes_max: 1 << 20,
            schemas: riacho::schema::Schemas::default(),
            snapshot_hold: heartbeat,
            snapshot_max_age: retry,
            snapshots_max: 10,
        },
        log: log_settings::small(StreamRules::new(Vec::new())),
        reactors: reactor::Settings { count: 1, heartbeat, retry },
        sources: Vec::new(),
        reload: riacho::source::Reload::new(|| Ok(Vec::new())),
    }
}

/// Counts the allocations of the server's thread.
struct ServerThread;

impl AllocationTracker for ServerThread {
    fn allocated(&self, _: usize, _: usize, _: usize, _: AllocationGroupId) {
        if is_server() {
            ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn deallocated(&self, _: usize, _: usize, _: usize, _: AllocationGroupId, _: AllocationGroupId) {}
}

// Looked up once per thread. Asked within an allocation, when no other is tracked.
fn is_server() -> bool {
    thread_local! {
        static IS_SERVER: Cell<Option<bool>> = const { Cell::new(None) };
    }
    IS_SERVER.get().unwrap_or_else(|| {
        let is = thread::current().name().is_some_and(|name| name == SERVER_THREAD);
        IS_SERVER.set(Some(is));
        is
    })
}

// Begins counting, for one test at a time: the counters are the process's.
async fn counting() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
    let guard = ONE_AT_A_TIME.lock().await;
    // Only the first test sets it.
    let _ = AllocationRegistry::set_global_tracker(ServerThread);
    AllocationRegistry::enable_tracking();
    guard
}

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

const SERVER_THREAD: &str = "server";
const SSE: Form = Form::Sse { envelope: false, chunked: true };
const STREAM: &str = "counted";
const MARK: char = '@';
const FEW: usize = 10;
const MANY: usize = 300;
const EVENTS: usize = 50;
const WARM_UP: usize = 3;
// What ticks of the reactor's clock may take meanwhile; far below one for each event.
const SLACK: usize = 10;
// Only a broken server makes a test wait this long.
const PATIENCE: Duration = Duration::from_secs(60);
