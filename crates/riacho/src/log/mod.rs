//! The log: events become durable, get an offset, become visible in offset order, and are read back.
//!
//! One order for all streams: an offset is given, and an event made visible, under one lock. Durable events are
//! committed by the writer thread, many publishers at a time; events of `memory` streams are appended directly, or
//! right after the commit in flight, so that what is visible is always a prefix of the offsets.

use crate::{
    config::StreamRules,
    error::{Error, ErrorKind},
    feed::{Way, walk::Walk},
    rows::{LogEnd, Rows, RowsSettings, Snapshot},
    schema::Schemas,
    view::{Lagging, SharedView, Sweeper, ViewLimits, Views, Wakes, pace},
};
use order::Order;
use riacho_core::{
    event::{Data, Event, EventType},
    name::{Selection, StreamName, table_of},
    position::{Epoch, Offset, Position},
    start::Start,
    table::fold::Fold,
    time::Millis,
    transport::{Control, Form, ResetReason, Resume},
};
use std::{
    fmt::{self, Display, Formatter},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use streams::Wanted;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Files in one directory, written by one thread: segments, indexes, recovery, retention.
pub mod store;
/// The streams and their events in memory.
mod streams;
/// Streams in the order of their names.
mod by_name;
/// Writes to tables, judged.
mod table;
/// What sources write.
mod source;
/// What the order lock guards.
mod order;
/// The thread that commits durable events.
mod writer;
/// A log that nobody has open: what it holds, whether it is whole, and repair.
pub mod offline;

pub use order::State;
pub use riacho_core::source::change::{Becomes, SourceChange, Transaction};
pub use source::{Note, SourceWrite, Unfit};
pub use table::{Condition, Refused, RowWrite, TableWrite};

/// A log that is open. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    epoch: Epoch,
    order: Mutex<Order>,
    /// The newest visible offset.
    published: AtomicU64,
    reader: store::Reader,
    rows: Rows,
    /// Bytes of all snapshots that are kept encoded or being sent.
    snapshot_bytes: Arc<AtomicUsize>,
    queue: writer::Queue,
    writer: Mutex<Option<JoinHandle<()>>>,
    settings: Settings,
    stats: Stats,
}

/// What a log is opened with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the configuration says of streams.
    pub rules: StreamRules,
    /// Whether streams that no rule names come into being on first use.
    pub create: bool,
    /// Bounds of views.
    pub views: ViewLimits,
    /// Bounds of the files.
    pub store: store::StoreSettings,
    /// Bytes of `memory` streams' events, all together.
    pub memory_bytes_max: usize,
    /// What rows of tables must look like.
    pub schemas: Schemas,
    /// Bytes of a row's value.
    pub row_bytes_max: usize,
    /// The file of rows.
    pub rows: RowsSettings,
    /// Views in all.
    pub views_max: usize,
    /// Streams in all.
    pub streams_max: usize,
    /// Idempotency keys remembered.
    pub keys_max: usize,
    /// How often retention is enforced.
    pub trim_interval: Duration,
}

impl Settings {
    /// Whether a stream of this name may come into being by being used.
    fn creates(&self, name: &StreamName) -> bool {
        self.create || name.is_hidden() || self.rules.configured(name.as_str()).is_some()
    }
}

/// Counters of the log, for metrics.
#[derive(Debug, Default)]
pub struct Stats {
    /// Events appended.
    pub events: AtomicU64,
    /// Bytes of their data.
    pub bytes: AtomicU64,
    /// Events given to readers that are tasks; reactors count their own.
    pub events_out: AtomicU64,
    /// Bytes of them, encoded.
    pub bytes_out: AtomicU64,
    /// Commits of durable events.
    pub commits: AtomicU64,
    /// Time in writing and syncing them, in microseconds.
    pub commit_micros: AtomicU64,
    /// Segments removed by retention.
    pub segments_removed: AtomicU64,
}

/// One event to be appended: it has no offset and no time yet.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The stream it goes to.
    pub stream: StreamName,
    /// Its type, if it has one.
    pub event_type: Option<EventType>,
    /// What it says.
    pub data: Data,
}

/// Events that are appended together or not at all.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The events, in order; at least one.
    pub entries: Vec<Entry>,
    /// What makes a retry of this batch safe.
    pub key: Option<Key>,
}

/// An idempotency key: hashes of the key itself and of what was sent under it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// Hash of the key.
    pub key: [u8; 16],
    /// Hash of the request.
    pub body: [u8; 16],
}

/// Where a batch went: its events have the offsets from `first` on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// The first event's offset.
    pub first: Offset,
    /// How many events; none where a write found everything as asked already, `first` being the newest change of it.
    pub count: u32,
    /// Whether it is the one change that made a row come into being.
    pub created: bool,
}

impl Appended {
    /// The last event's offset.
    pub fn last(self) -> Offset {
        self.first + Offset::from(self.count).saturating_sub(1)
    }
}

/// Why nothing was appended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AppendError {
    /// The disk is full; the log takes events again once there is room.
    Full,
    /// The disk failed; the log takes no events until a restart.
    Failed,
    /// The log is being closed.
    Closing,
    /// The stream has never had an event.
    UnknownStream(StreamName),
    /// The stream does not exist, and only configured streams come into being.
    NotConfigured(StreamName),
    /// The stream is configured closed.
    ClosedStream(StreamName),
    /// There are as many streams as there may be.
    TooManyStreams,
    /// There are as many idempotency keys as are remembered.
    TooManyKeys,
    /// The idempotency key was used for another request.
    KeyReused,
    /// The batch does not fit into one commit.
    TooLarge,
    /// A write to a table, counted from 0, cannot be made.
    Write(usize, Refused),
    /// The table is fed by the source of this name.
    ReadOnly(StreamName, Arc<str>),
    /// The rows cannot be read or written.
    RowsFailed,
    /// What a source says cannot be taken.
    Unfit(Box<Unfit>),
}

/// What a page of reading gave.
#[derive(Debug)]
pub struct Page {
    /// The events, in order.
    pub events: Vec<Arc<Event>>,
    /// How far the page is complete.
    pub upto: Offset,
    /// Streams that lost events the reader had not seen yet; a few names, or the patterns that cover them.
    pub lost: Vec<String>,
}

/// Where a reader stands in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The last event it has seen, or from which it starts.
    pub after: Offset,
    /// How many trims of streams it knows of: those cannot have cost it anything.
    pub trims: u64,
}

/// A subscription that has begun: a seat in a view, and where to read from.
#[derive(Debug)]
pub struct Begun {
    /// Keeps the view.
    pub seat: Seat,
    /// Where to read from,
    pub place: Place,
    /// and by what.
    pub way: Way,
    /// What the subscriber must be told first.
    pub control: Option<Control>,
}

/// A subscriber's seat in a view: the view lives as long as somebody has one.
pub struct Seat {
    log: Log,
    view: Arc<SharedView>,
}

impl Seat {
    /// The view.
    pub fn view(&self) -> &Arc<SharedView> {
        &self.view
    }

    /// The log it is a view of.
    pub fn log(&self) -> &Log {
        &self.log
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if Views::leave(&self.view) {
            self.log.lock().drop_view(&self.view);
        }
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("view", &self.view).finish_non_exhaustive()
    }
}

/// One stream, as listed.
#[derive(Clone, Debug)]
pub struct StreamInfo {
    /// Its name.
    pub name: StreamName,
    /// Its newest event ever.
    pub newest: Offset,
    /// Events kept.
    pub events: u64,
    /// Bytes of their records in the log.
    pub bytes: u64,
    /// Subscribers of views that select it.
    pub subscribers: usize,
    /// Whether its events live in memory only.
    pub memory: bool,
    /// Whether it is configured closed.
    pub closed: bool,
}

/// The log's state, for health checks and metrics.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    /// Whether it takes events, or why not.
    pub state: State,
    /// Streams that have or had events.
    pub streams: usize,
    /// Readers that are tasks: all but those of reactors.
    pub followers: usize,
    /// Views, and their bytes.
    pub views: (usize, usize),
    /// Bytes of events in memory: the durable tail, and `memory` streams.
    pub memory: (usize, usize),
    /// Bytes and segments on disk.
    pub disk: (u64, usize),
    /// Idempotency keys remembered.
    pub keys: usize,
}

impl Stats {
    /// Counts events that a task gives to its reader.
    pub(crate) fn delivered(&self, events: usize, bytes: usize) {
        self.events_out.fetch_add(events as u64, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Log {
    /// Opens the log in `directory`, creating it where there is none, and starts its writer thread.
    ///
    /// Call it within a Tokio runtime: acknowledgements are sent from a task of it.
    ///
    /// # Errors
    /// `Corrupt` where the files are damaged, `Unavailable` where they are in use or not accessible.
    pub fn open(directory: &Path, settings: Settings, now: Millis) -> Result<Self, Error> {
        let disk = store::StdDisk::new(directory).map_err(|err| {
            let op = format!("open the directory {}", directory.display());
            Error::new(ErrorKind::Unavailable, op).caused_by(err)
        })?;
        Self::open_on(Arc::new(disk), directory, settings, now)
    }

    /// Opens the log on `disk`, its rows in `directory`; see [`Log::open`].
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_on(
        disk: Arc<dyn store::Disk>,
        directory: &Path,
        settings: Settings,
        now: Millis,
    ) -> Result<Self, Error> {
        let (store, recovered) = store::Store::open(disk, settings.store.clone(), [random(), random()], now)?;
        let epoch = recovered.epoch;
        let reader = store.reader();
        let published = AtomicU64::new(recovered.next - 1);
        let end = LogEnd { epoch, last: recovered.next - 1 };
        let rows = Rows::open(directory, settings.rows.clone(), end)?;
        let newest_change = replay(&reader, &rows)?;
        let mut order = Order::recover(recovered, &settings);
        order.newest_change = newest_change;
        order.recall_tables(&rows, &settings);
        let (queue, acks) = writer::Queue::new();
        let shared = Arc::new(Shared {
            epoch,
            order: Mutex::new(order),
            published,
            reader,
            rows,
            snapshot_bytes: Arc::default(),
            queue,
            writer: Mutex::new(None),
            settings,
            stats: Stats::default(),
        });
        let log = Self { shared };
        tokio::spawn(writer::acknowledge(acks));
        let thread = writer::spawn(log.clone(), store)?;
        *log.shared.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(log)
    }

    /// Names the reactors; before the first subscription.
    pub fn set_sweepers(&self, sweepers: Vec<Arc<dyn Sweeper>>) {
        self.lock().views.set_sweepers(sweepers);
    }

    /// The log's incarnation.
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    /// The newest visible offset.
    pub fn published(&self) -> Offset {
        self.shared.published.load(Ordering::Acquire)
    }

    /// The position of `offset` in this log.
    pub fn position(&self, offset: Offset) -> Position {
        Position { epoch: self.shared.epoch, offset }
    }

    /// What the configuration says of streams.
    pub fn rules(&self) -> &StreamRules {
        &self.shared.settings.rules
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Appends a batch: when this returns, its events are as durable as their streams promise, and visible.
    ///
    /// Not cancel safe: dropped, the batch may be appended all the same.
    ///
    /// # Errors
    /// Nothing of the batch is appended.
    pub async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        self.append_counted(batch, None).await
    }

    /// As [`Log::append`]; `hold` stands for the batch's bytes until it is answered, whether or not somebody still waits.
    pub(crate) async fn append_counted(
        &self,
        batch: Batch,
        hold: Option<OwnedSemaphorePermit>,
    ) -> Result<Appended, AppendError> {
        let direct = if batch.key.is_none() { self.append_memory(&batch, hold) } else { Direct::No(hold) };
        let (appended, lagging) = match direct {
            Direct::Done(appended, lagging) => (appended, lagging),
            Direct::Held(appended, published) => {
                (appended, published.await.map_err(|_| AppendError::Failed)?)
            }
            Direct::No(hold) => self.shared.queue.send(writer::What::Append(batch), hold).await?,
        };
        lagging.wait().await;
        Ok(appended)
    }

    /// Empties the stream: all its events so far are gone, and its readers are told. Gives the offset of that.
    ///
    /// # Errors
    /// `UnknownStream` where it never had an event; otherwise as [`Log::append`].
    pub async fn empty(&self, name: StreamName) -> Result<Offset, AppendError> {
        let (appended, lagging) = self.shared.queue.send(writer::What::Empty(name), None).await?;
        lagging.wait().await;
        Ok(appended.first)
    }

    /// Makes writes to a table: when this returns, they are durable and visible. `hold` as for a batch of events.
    ///
    /// Not cancel safe: dropped, they may be made all the same.
    ///
    /// # Errors
    /// None of the writes is made.
    pub async fn write(
        &self,
        write: TableWrite,
        hold: Option<OwnedSemaphorePermit>,
    ) -> Result<Appended, AppendError> {
        // Changes that wait to be applied to the rows are in memory: so many and no more.
        if self.shared.rows.lags() {
            self.shared.rows.caught_up().await;
        }
        let (appended, lagging) = self.shared.queue.send(writer::What::Write(write), hold).await?;
        lagging.wait().await;
        Ok(appended)
    }

    /// The rows of tables.
    pub fn rows(&self) -> &Rows {
        &self.shared.rows
    }

    /// The rows of a table as they are, and the offset at which they are that.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub(crate) fn rows_of(&self, table: &StreamName) -> Result<(Snapshot, Offset), Error> {
        let published = self.published();
        let rows = self.shared.rows.snapshot(table)?;
        if rows.newest() > self.published() {
            // It was taken while its newest change was becoming visible, which is done under the order lock.
            drop(self.lock());
        }
        let at = published.max(rows.newest());
        Ok((rows, at))
    }

    /// Changes of tables, each since an offset, and the offset up to which they are told; none where they are not all in
    /// memory or more than `bytes_max`.
    pub(crate) fn changes_in_memory(
        &self,
        tables: &[(StreamName, Offset)],
        bytes_max: usize,
    ) -> Option<(Fold, Offset)> {
        let order = self.lock();
        let published = self.published();
        let (mut changes, mut bytes) = (Vec::new(), 0);
        for (table, after) in tables {
            let trimmed = order.streams.by_name(table.as_str()).map_or(0, |stream| stream.trimmed);
            if *after < order.streams.tail_base().max(trimmed) && *after < published {
                return None;
            }
            let selection = Selection::one(table.clone());
            let wanted = Wanted {
                selection: &selection,
                after: *after,
                upto: published,
                bytes_max,
                only_memory: false,
            };
            let (events, upto) = order.streams.read(&wanted);
            bytes += events.iter().map(|event| event.data.text.len()).sum::<usize>();
            if upto < published || bytes > bytes_max {
                return None;
            }
            changes.extend(events);
        }
        drop(order);
        let mut fold = Fold::default();
        changes.iter().for_each(|event| fold.add(event));
        Some((fold, published))
    }

    /// Whether the log has every change after `after` of the tables of the selection.
    pub(crate) fn keeps_changes(&self, selection: &Selection, after: Offset) -> bool {
        self.lock().keeps_changes(selection, after)
    }

    /// Bytes of events that the largest transaction may be in memory: a frame of the log holds it whole.
    pub(crate) fn transaction_bytes_max(&self) -> usize {
        usize::try_from(self.shared.settings.store.frame_bytes_max).unwrap_or(usize::MAX).saturating_mul(4)
    }

    /// Bytes of snapshots that are kept encoded or being sent.
    pub(crate) fn snapshot_bytes(&self) -> &Arc<AtomicUsize> {
        &self.shared.snapshot_bytes
    }

    // Tells the readers of a paced view what has come together.
    fn flush(&self, view: &Arc<SharedView>) {
        let mut wakes = Wakes::default();
        {
            let order = self.lock();
            order.views.flush(view, order.time(), &mut wakes);
        }
        // Nobody waits for readers that asked to be told seldom.
        drop(wakes.wake());
    }

    /// Begins a subscription. May read from disk: not for an async task where `start` is a time or a tail.
    ///
    /// # Errors
    /// `Failed` or `Corrupt` where the disk had to be read and could not be.
    pub fn subscribe(&self, selection: &Selection, form: Form, start: Start) -> Result<Begun, Error> {
        let found = match start {
            Start::Tail(events) => Some(self.tail(selection, events)?),
            Start::Since(time) => Some(self.before_time(time)?),
            Start::Ago(ago) => {
                let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
                Some(self.before_time(crate::clock::now().saturating_sub(ago))?)
            }
            Start::Now | Start::Snapshot | Start::Earliest | Start::After(_) | Start::Malformed => None,
        };
        let mut order = self.lock();
        let published = self.published();
        let only_tables = selection.terms().is_some() && selection.without_tables().is_empty();
        let all = |reason| {
            let streams = selection.selectors().iter().map(|s| s.as_str().to_owned()).collect();
            let resume = match selection.terms() {
                None => Resume::Here,
                Some(_) if only_tables => Resume::Nowhere,
                Some(_) => Resume::Anew,
            };
            Some(Control::Reset { reason, streams, resume })
        };
        let (after, control) = match start {
            Start::After(position) if position.epoch != self.shared.epoch => {
                (order.earliest(selection, published), all(ResetReason::Epoch))
            }
            Start::After(position) if position.offset > published => {
                (order.earliest(selection, published), all(ResetReason::Ahead))
            }
            Start::After(position) => {
                let mut lost = order.lost(selection, Place { after: position.offset, trims: 0 });
                // A table has lost nothing while its rows tell what changed.
                lost.retain(|name| table_of(name).is_none());
                let floor = |table: &&StreamName| self.shared.rows.table(table).map_or(0, |t| t.floor);
                let tables = selection.tables().filter(|table| floor(table) > position.offset);
                lost.extend(tables.map(StreamName::to_string));
                let whole = only_tables
                    && selection.tables().all(|table| lost.iter().any(|lost| lost == table.as_str()));
                let resume = if whole { Resume::Nowhere } else { Resume::Here };
                let reset = Control::Reset { reason: ResetReason::Trimmed, streams: lost.clone(), resume };
                (position.offset, (!lost.is_empty()).then_some(reset))
            }
            Start::Malformed => (order.earliest(selection, published), all(ResetReason::Malformed)),
            Start::Earliest => (order.earliest(selection, published), None),
            Start::Now | Start::Snapshot => (published, None),
            Start::Tail(_) | Start::Since(_) | Start::Ago(_) => (found.unwrap_or(published), None),
        };
        let way = match (&control, start) {
            // Who begins with the next event has nothing behind it.
            _ if selection.terms().is_none() => match (after < published).then(|| order.gone(selection)) {
                Some(gone) if gone > after => Way::Kept(gone),
                _ => Way::Events,
            },
            (Some(Control::Reset { resume: Resume::Nowhere, .. }), _) | (None, Start::Snapshot) => {
                Way::Walk(Box::new(Walk::whole(selection)))
            }
            (None, Start::Earliest) if only_tables => Way::Walk(Box::new(Walk::whole(selection))),
            (Some(Control::Reset { resume: Resume::Here, streams, .. }), _) => {
                Way::Walk(Box::new(Walk::since(selection, after, streams)))
            }
            // All that is kept of the streams beside the tables, and these as they are.
            (Some(Control::Reset { resume: Resume::Anew, .. }), _) | (None, Start::Earliest) => {
                Way::Walk(Box::new(Walk::whole_beside(selection, after)))
            }
            _ => Way::Events,
        };
        let place = Place { after, trims: order.streams.trims };
        let view = order.enter_view(selection, form, after, published, &self.shared.settings)?;
        drop(order);
        if let Some(paced) = view.begin_pace() {
            let log = self.clone();
            tokio::spawn(pace(paced, Arc::downgrade(&view), move |view| log.flush(view)));
        }
        Ok(Begun { seat: Seat { log: self.clone(), view }, place, way, control })
    }

    /// Reads events of the selection after `place`, at most about `bytes_max` of them, and moves `place` on. May read
    /// from disk, in bounded steps: a page without events is no end unless it reaches [`Log::published`].
    ///
    /// # Errors
    /// `Failed` or `Corrupt` where the disk had to be read and could not be.
    pub fn read(&self, selection: &Selection, place: &mut Place, bytes_max: usize) -> Result<Page, Error> {
        let published = {
            let order = self.lock();
            let published = self.published();
            if place.after >= order.streams.tail_base() {
                let wanted =
                    Wanted { selection, after: place.after, upto: published, bytes_max, only_memory: false };
                let (events, upto) = order.streams.read(&wanted);
                let lost = order.lost(selection, *place);
                *place = Place { after: upto.max(place.after), trims: order.streams.trims };
                return Ok(Page { events, upto: place.after, lost });
            }
            published
        };
        let page = self.shared.reader.read(selection, place.after, published, bytes_max)?;
        let mut events: Vec<Arc<Event>> = page.events.into_iter().map(Arc::new).collect();
        let raised = self.shared.reader.raised();
        let mut order = self.lock();
        // What retention has trimmed so far is missing from the page, whether its round has ended or not.
        for (name, floor) in raised {
            if let Some(index) = order.streams.find(name.as_str()) {
                order.streams.trim(index, floor);
            }
        }
        let wanted = Wanted { selection, after: place.after, upto: page.upto, bytes_max, only_memory: true };
        let (memory, upto) = order.streams.read(&wanted);
        events.retain(|event| event.offset <= upto && !order.is_trimmed(event));
        events.extend(memory);
        events.sort_unstable_by_key(|event| event.offset);
        // Both hold what was durable once of a stream that is now configured as `memory`.
        events.dedup_by_key(|event| event.offset);
        // Checked after reading: what was trimmed meanwhile is missing from the page.
        let lost = order.lost(selection, *place);
        *place = Place { after: upto.max(place.after), trims: order.streams.trims };
        Ok(Page { events, upto: place.after, lost })
    }

    /// Whether a read from `place` needs no disk.
    pub fn in_memory(&self, place: Place) -> bool {
        place.after >= self.lock().streams.tail_base()
    }

    /// Streams that have or had events and whose names begin with `prefix`, by name, from after `after` on, at most
    /// `count`.
    pub fn list(&self, after: Option<&str>, prefix: &str, count: usize) -> Vec<StreamInfo> {
        let order = self.lock();
        let streams = order.streams.list(after, prefix);
        streams.take(count).map(StreamInfo::of).collect()
    }

    /// What is known of one stream.
    pub fn info(&self, name: &StreamName) -> Option<StreamInfo> {
        self.lock().streams.by_name(name.as_str()).map(StreamInfo::of)
    }

    /// Whether a stream of this name exists or would come into being when used.
    pub fn may_exist(&self, name: &StreamName) -> bool {
        self.shared.settings.creates(name)
            || self.lock().streams.by_name(name.as_str()).is_some_and(|stream| stream.exists)
            || self.shared.rows.table(name).is_some()
            || self.lock().sources.contains_key(name)
    }

    /// The log's state.
    pub fn health(&self) -> Health {
        let order = self.lock();
        Health {
            state: order.state,
            streams: order.streams.existing(),
            followers: order.views.iter().map(|view| view.followers()).sum(),
            views: order.views.totals(),
            memory: order.streams.memory_bytes(),
            disk: (self.shared.reader.bytes(), self.shared.reader.segments()),
            keys: order.keys.len(),
        }
    }

    /// Bytes by which the slowest sweep is behind the end of its view.
    pub fn lag_bytes(&self) -> u64 {
        self.lock().views.iter().map(|view| view.lag_bytes()).max().unwrap_or(0)
    }

    /// Commits what is queued, writes the clean end, applies all changes to the rows and stops both threads. Appends after
    /// this are refused.
    pub async fn close(&self) {
        self.shared.queue.close();
        let thread = self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("log writer thread panicked");
            }
        }
        let rows = self.shared.rows.clone();
        if tokio::task::spawn_blocking(move || rows.close()).await.is_err() {
            tracing::error!("closing the rows panicked");
        }
    }

    /// A seat for a subscriber that is counted already.
    pub(crate) fn seat(&self, view: Arc<SharedView>) -> Seat {
        Seat { log: self.clone(), view }
    }

    fn lock(&self) -> MutexGuard<'_, Order> {
        // Whoever panicked with the lock held broke the order for good: going on could repeat or skip an event.
        #[expect(clippy::expect_used, reason = "see above")]
        self.shared.order.lock().expect("no panic happens while the order lock is held")
    }

    // Appends to `memory` streams without the writer thread, where nothing needs it.
    fn append_memory(&self, batch: &Batch, hold: Option<OwnedSemaphorePermit>) -> Direct {
        let now = crate::clock::now();
        let mut order = self.lock();
        let Some(streams) = order.memory_places(&batch.entries) else { return Direct::No(hold) };
        let (appended, events) = order.assign(&batch.entries, &streams, now);
        if order.committing {
            let (sender, receiver) = oneshot::channel();
            order.held.push((events, sender, hold));
            return Direct::Held(appended, receiver);
        }
        let wakes = order.publish(events, self);
        drop(order);
        Direct::Done(appended, wakes.wake())
    }

    fn tail(&self, selection: &Selection, count: u64) -> Result<Offset, Error> {
        let published = self.published();
        let n = usize::try_from(count).unwrap_or(usize::MAX);
        if n == 0 {
            return Ok(published);
        }
        let (newest, base) = {
            let order = self.lock();
            (order.streams.newest_offsets(selection, n), order.streams.tail_base())
        };
        if let Some(oldest) = newest.get(n - 1).filter(|oldest| **oldest > base) {
            return Ok(oldest - 1);
        }
        // At least `n` durable events follow this, where there are as many; with `memory` streams among the selection
        // more than `n` may, so the surplus is counted off.
        let from = self.shared.reader.before(selection, published, n)?;
        let mut place = Place { after: from, trims: u64::MAX };
        let mut offsets = std::collections::VecDeque::new();
        while place.after < published {
            for event in self.read(selection, &mut place, READ_BYTES)?.events {
                if offsets.len() == n {
                    offsets.pop_front();
                }
                offsets.push_back(event.offset);
            }
        }
        Ok(offsets.front().map_or(published, |first| first - 1))
    }

    fn before_time(&self, time: Millis) -> Result<Offset, Error> {
        let durable = self.shared.reader.offset_before(time)?;
        Ok(durable.max(self.lock().streams.newest_memory_before(time)))
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("epoch", &self.shared.epoch).finish_non_exhaustive()
    }
}

enum Direct {
    Done(Appended, Lagging),
    Held(Appended, oneshot::Receiver<Lagging>),
    No(Option<OwnedSemaphorePermit>),
}

impl StreamInfo {
    fn of(stream: &streams::Stream) -> Self {
        Self {
            name: stream.name.clone(),
            newest: stream.newest,
            events: stream.count,
            bytes: stream.bytes,
            subscribers: stream.busy().views.iter().map(|view| view.subscribers()).sum(),
            memory: stream.memory(),
            closed: stream.rule.closed,
        }
    }
}

impl Display for AppendError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the disk is full; the log takes events again once there is room"),
            Self::Failed => {
                f.write_str("the disk failed; the log takes no events until the server is restarted")
            }
            Self::Closing => f.write_str("the server is shutting down"),
            Self::UnknownStream(name) => write!(f, "there is no stream `{name}`"),
            Self::NotConfigured(name) => {
                write!(
                    f,
                    "there is no stream `{name}`, and only configured streams come into being here (`create`)"
                )
            }
            Self::ClosedStream(name) => write!(f, "the stream `{name}` is closed"),
            Self::TooManyStreams => f.write_str("there are as many streams as `streams_max` allows"),
            Self::TooManyKeys => {
                f.write_str("there are as many idempotency keys as `idempotency_keys_max` allows")
            }
            Self::KeyReused => f.write_str("the idempotency key was used for another request"),
            Self::TooLarge => f.write_str("the batch does not fit into one commit"),
            Self::Write(_, refused) => refused.fmt(f),
            Self::ReadOnly(table, source) => {
                let table = table.table().unwrap_or_default();
                write!(f, "the table `{table}` is fed by the source `{source}` and takes no other writes")
            }
            Self::Unfit(unfit) => unfit.fmt(f),
            Self::RowsFailed => f.write_str("the file of rows cannot be read or written"),
        }
    }
}

impl std::error::Error for AppendError {}

impl From<&Error> for AppendError {
    // The only errors of the store that reach a publisher.
    fn from(err: &Error) -> Self {
        match err.kind() {
            ErrorKind::Full => Self::Full,
            ErrorKind::BadRequest => Self::TooLarge,
            _ => Self::Failed,
        }
    }
}

// Gives the rows every change that they do not have yet; gives the newest change there is.
fn replay(reader: &store::Reader, rows: &Rows) -> Result<Offset, Error> {
    let mut transaction: Vec<Arc<Event>> = Vec::new();
    let mut newest = rows.applied();
    reader.changes(newest, |replayed| match replayed {
        store::Replayed::Change(event) => {
            newest = event.offset;
            let last = event.change.as_ref().is_none_or(|change| change.last);
            transaction.push(Arc::new(event));
            if last {
                rows.publish(&transaction);
                transaction.clear();
            }
            while rows.lags() && rows.failed().is_none() {
                std::thread::sleep(REPLAY_PAUSE);
            }
        }
        store::Replayed::Emptied { table, upto, time } => {
            newest = upto;
            rows.empty(&table, upto, time);
        }
    })?;
    Ok(newest)
}

/// A number that nobody can guess.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness from the system there is no safe epoch: that is worth a stop at start-up.
    #[expect(clippy::expect_used, reason = "see above")]
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    u64::from_le_bytes(bytes)
}

// Between two looks whether the rows have caught up with what is replayed.
const REPLAY_PAUSE: Duration = Duration::from_millis(1);
// What one step of counting reads.
const READ_BYTES: usize = 1024 * 1024;
