//! Orders of steps that two threads rarely take, taken on purpose: streams and views that come and go while others use
//! them.

use riacho::{
    config::StreamRules,
    log::{
        Batch, Begun, Entry, Log, Place, Settings,
        store::{Disk, DiskFile, StdDisk, StoreSettings},
    },
    rows::RowsSettings,
    schema::Schemas,
    view::ViewLimits,
};
use riacho_core::{
    event::Data,
    name::{Pattern, Selection, Selector, StreamName},
    start::Start,
    transport::Form,
};
use std::{
    any::Any,
    io,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};
use tempfile::TempDir;

#[tokio::test]
async fn a_pattern_reader_gets_a_stream_whose_own_reader_came_before_its_first_event() {
    let (_dir, log, _) = open();
    let every_room = begin(&log, "chat/*");
    let lobby = begin(&log, "chat/lobby");

    publish(&log, "chat/lobby").await;

    assert!(seen(&lobby) > 0, "the stream's own reader");
    assert!(seen(&every_room) > 0, "the reader of the pattern");
}

#[tokio::test]
async fn a_reader_that_leaves_during_the_commit_of_a_streams_first_event_takes_nothing_along() {
    for reader in ["chat/*", "chat/lobby"] {
        let (_dir, log, gate) = open();
        let leaving = begin(&log, reader);
        gate.close();
        let appended = tokio::spawn({
            let log = log.clone();
            async move { publish(&log, "chat/lobby").await }
        });
        gate.wait_for_a_sync().await;
        drop(leaving);
        // Takes the place of what the leaving reader left, if it left anything.
        let other = begin(&log, "news");
        gate.open();
        appended.await.unwrap();

        assert_eq!(kept(&log, "chat/lobby"), 1, "reader of {reader}: the event in memory");
        assert_eq!(kept(&log, "news"), 0, "reader of {reader}: another stream got it");
        assert_eq!(seen(&other), 0, "reader of {reader}: another stream's reader got it");
        assert_eq!(log.list(None, "", 10).len(), 1, "reader of {reader}: streams");
    }
}

#[tokio::test]
async fn readers_of_one_selection_share_one_view_however_they_come_and_go() {
    let (_dir, log, _) = open();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let log = log.clone();
            thread::spawn(move || {
                for round in 0..STORM_ROUNDS {
                    let one = begin(&log, "chat/*");
                    let other = begin(&log, "chat/*");
                    assert!(Arc::ptr_eq(one.seat.view(), other.seat.view()), "round {round}: two views");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(log.health().views, (0, 0));
}

fn open() -> (TempDir, Log, Arc<Gate>) {
    let dir = TempDir::new().unwrap();
    let gate = Arc::<Gate>::default();
    let disk = GatedDisk { disk: StdDisk::new(dir.path()).unwrap(), gate: Arc::clone(&gate) };
    let log = Log::open_on(Arc::new(disk), dir.path(), settings(), 1).unwrap();
    (dir, log, gate)
}

fn settings() -> Settings {
    Settings {
        rules: StreamRules::new(Vec::new()),
        create: true,
        views: ViewLimits { view_bytes_max: 1 << 20, views_bytes_max: 1 << 20 },
        store: StoreSettings {
            segment_bytes_max: 8 << 20,
            frame_bytes_max: 1 << 20,
            tail_bytes_max: 1 << 20,
            keys_age: Duration::from_secs(600),
            keys_max: 1000,
            streams_max: 1000,
        },
        schemas: Schemas::default(),
        row_bytes_max: 1 << 20,
        rows: RowsSettings { cache_bytes: 1 << 20, pending_bytes_max: 1 << 20 },
        views_max: 100_000,
        memory_bytes_max: 1 << 20,
        streams_max: 1000,
        keys_max: 1000,
        trim_interval: Duration::from_secs(3600),
    }
}

fn selection(text: &str) -> Selection {
    if text.contains('*') {
        Selection::new(vec![Selector::Pattern(Pattern::parse(text).unwrap())])
    } else {
        Selection::one(StreamName::parse(text).unwrap())
    }
}

fn begin(log: &Log, selected: &str) -> Begun {
    log.subscribe(&selection(selected), Form::Ndjson, Start::Now).unwrap()
}

async fn publish(log: &Log, stream: &str) {
    let stream = StreamName::parse(stream).unwrap();
    let entries = vec![Entry { stream, event_type: None, data: Data::text("hello") }];
    log.append(Batch { entries, key: None }).await.unwrap();
}

// Bytes in the view.
fn seen(begun: &Begun) -> u64 {
    begun.seat.view().lock().end()
}

// Events that a read from the start finds.
fn kept(log: &Log, stream: &str) -> usize {
    let mut place = Place { after: 0, trims: 0 };
    log.read(&selection(stream), &mut place, 1 << 20).unwrap().events.len()
}

/// Holds every sync back while it is closed.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    closed: bool,
    waiting: usize,
}

impl Gate {
    fn close(&self) {
        self.state.lock().unwrap().closed = true;
    }

    fn open(&self) {
        self.state.lock().unwrap().closed = false;
        self.changed.notify_all();
    }

    async fn wait_for_a_sync(self: &Arc<Self>) {
        let gate = Arc::clone(self);
        let waited = tokio::task::spawn_blocking(move || {
            let state = gate.state.lock().unwrap();
            let (_state, waited) =
                gate.changed.wait_timeout_while(state, super::PATIENCE, |state| state.waiting == 0).unwrap();
            assert!(!waited.timed_out(), "nothing was synced");
        });
        waited.await.unwrap();
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.changed.notify_all();
        state = self.changed.wait_while(state, |state| state.closed).unwrap();
        state.waiting -= 1;
    }
}

struct GatedDisk {
    disk: StdDisk,
    gate: Arc<Gate>,
}

struct GatedFile {
    file: Arc<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl GatedDisk {
    fn gated(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(GatedFile { file, gate: Arc::clone(&self.gate) })
    }
}

impl Disk for GatedDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.gated(self.disk.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.gated(self.disk.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        self.disk.unlink(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.disk.lock()
    }

    fn label(&self) -> String {
        self.disk.label()
    }
}

impl DiskFile for GatedFile {
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buf, at)
    }

    fn write_at(&self, buf: &[u8], at: u64) -> io::Result<usize> {
        self.file.write_at(buf, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)
    }
}

const STORM_ROUNDS: usize = 20_000;
