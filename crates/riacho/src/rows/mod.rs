//! Rows of all tables by key, and their index by last change.
//!
//! The log is the truth; this is what its changes add up to. What is published is seen at once, from memory (the
//! overlay), and brought to redb's file by one thread in the background: a reader always has the file as of one commit
//! and all that was published after it. Losing the file's newest part costs a replay of the log, never a row. Must not
//! know HTTP, views or who may write.

/// What is published and not in the file yet.
mod overlay;
/// The file: its tables, their keys and values.
mod disk;
/// Opening a file whose log is another one now.
mod clamp;
/// One transaction: changes, emptyings, expiries become entries of the file.
mod write;
/// The thread that brings what is published to the file.
mod apply;
/// Many rows at one moment.
mod snapshot;

pub use disk::{FileOf, RowsFile};
pub use snapshot::{ChangedPage, RowPage, Snapshot};

use crate::error::{Error, ErrorKind};
use overlay::Overlay;
use riacho_core::{
    event::{Event, Operation},
    name::StreamName,
    position::{Epoch, Offset},
    time::Millis,
};
use std::{
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};
use tokio::sync::Notify;

/// Rows of all tables by key, their index by last change with tombstones, and how far the log is applied.
///
/// Cheap to clone. The last clone closes it.
#[derive(Clone)]
pub struct Rows {
    shared: Arc<Shared>,
}

/// The bounds of the rows' memory.
#[derive(Clone, Debug)]
pub struct RowsSettings {
    /// Bytes of the file kept in memory.
    pub cache_bytes: usize,
    /// Bytes of what is published and not applied, above which [`Rows::lags`] says so. It is for the caller to take no
    /// more then.
    pub pending_bytes_max: usize,
}

/// What the log has: its epoch and newest offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogEnd {
    /// Its epoch.
    pub epoch: Epoch,
    /// The newest offset; 0 before the first event.
    pub last: Offset,
}

/// One row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its key, unique in its table.
    pub key: Box<str>,
    /// Its value as it was published.
    pub value: Box<str>,
    /// The offset of its last change.
    pub offset: Offset,
    /// When that was.
    pub time: Millis,
}

/// A row as it lies there; see [`Row`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowRef<'a> {
    /// Its key.
    pub key: &'a str,
    /// What it holds: a JSON object.
    pub value: &'a str,
    /// The offset of its last change.
    pub offset: Offset,
    /// When that was.
    pub time: Millis,
}

/// The newest state of a key that changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    /// The key.
    pub key: Box<str>,
    /// The offset of its last change.
    pub offset: Offset,
    /// When that was.
    pub time: Millis,
    /// The row's value; none where it was deleted.
    pub value: Option<Box<str>>,
}

/// What is known of a table without looking at its rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableInfo {
    /// The stream of its changes.
    pub name: StreamName,
    /// How many rows there are.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// How many deleted keys are remembered. A key that came back counts until that is applied.
    pub tombstones: u64,
    /// The offset of its newest change or emptying.
    pub newest: Offset,
    /// What changed up to here may be forgotten: a reader with an older cursor needs a snapshot.
    pub floor: Offset,
}

impl TableInfo {
    /// A table that has no row and never had one.
    pub fn empty(name: StreamName) -> Self {
        Self { name, rows: 0, bytes: 0, tombstones: 0, newest: 0, floor: 0 }
    }
}

/// Why what is published does not get to the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The disk is full. It is tried again each second.
    Full,
    /// The file cannot be written, for good: nothing is applied until the process is restarted. What is published stays
    /// in memory, so the caller must take no more.
    Failed,
}

/// What every clone owns: the core, and the thread to join.
struct Shared {
    core: Arc<Core>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What callers and the thread share.
struct Core {
    /// The file's name, for people.
    label: String,
    overlay: Mutex<Overlay>,
    /// Wakes the thread: there is work, or the end.
    work: Condvar,
    /// Wakes who waits until nothing is left to do.
    quiet: Condvar,
    /// Wakes who waits until less is pending.
    less: Notify,
    pending_bytes: AtomicUsize,
    pending_bytes_max: usize,
}

impl Rows {
    /// Opens `rows.redb` in `directory`, or makes it, and starts the thread that applies.
    ///
    /// Where the file was written for another epoch, or holds changes that the log does not have, the log was replaced,
    /// repaired or restored: rows are kept, last changes the log does not have count as its newest, and each table's floor
    /// rises to it.
    ///
    /// # Errors
    /// `Unavailable` when another process has the file; `Corrupt` when it is damaged or written by another version;
    /// `Full` without room; `Failed` when the disk fails.
    pub fn open(directory: &Path, settings: RowsSettings, log: LogEnd) -> Result<Self, Error> {
        Self::open_in(Box::new(FileOf::new(directory)?), settings, log)
    }

    /// The same in any file.
    ///
    /// # Errors
    /// As [`Rows::open`].
    pub fn open_in(file: Box<dyn RowsFile>, settings: RowsSettings, log: LogEnd) -> Result<Self, Error> {
        let (core, thread) = apply::start(file, &settings, log)?;
        Ok(Self { shared: Arc::new(Shared { core, thread: Mutex::new(Some(thread)) }) })
    }

    /// Changes up to here are in the file, durably. To be replayed after opening, in the order of the log: changes after
    /// it by [`Rows::publish`], emptyings at or after it by [`Rows::empty`].
    pub fn applied(&self) -> Offset {
        self.lock().applied()
    }

    /// Makes changes visible: whole transactions, in order of offset. Called under the log's order lock: no disk, no
    /// waiting. Events that are no changes, and those published before, are passed over.
    pub fn publish(&self, changes: &[Arc<Event>]) {
        let core = &self.shared.core;
        let wake = core.change(|overlay| overlay.publish(changes));
        if wake {
            core.work.notify_one();
        }
    }

    /// Removes all rows and tombstones of `table`, whose floor rises to `offset`: the newest offset of the table's stream,
    /// or a later one. Does nothing where this emptying, or a later change, is known already. As quick as [`Rows::publish`].
    pub fn empty(&self, table: &StreamName, offset: Offset, time: Millis) {
        let core = &self.shared.core;
        let wake = core.change(|overlay| overlay.empty(table, offset, time));
        if wake {
            core.work.notify_one();
        }
    }

    /// The row of `key` as last published.
    ///
    /// # Errors
    /// `Corrupt` when the file is damaged; `Failed` when it cannot be read.
    pub fn row(&self, table: &StreamName, key: &str) -> Result<Option<Row>, Error> {
        let (id, reads) = match self.lock().row(table, key) {
            overlay::Found::Here(event) => return Ok(snapshot::row_of(&event)),
            overlay::Found::Nowhere => return Ok(None),
            overlay::Found::Below(id, reads) => (id, reads),
        };
        reads.row(id, key).map_err(|err| disk::explain(err, "read a row", &self.shared.core.label))
    }

    /// All that was published in `table` before the call, to be read at leisure. A table that is not known is empty.
    ///
    /// What is removed meanwhile stays in the file until the snapshot is dropped.
    ///
    /// # Errors
    /// None as of now: nothing is read yet.
    pub fn snapshot(&self, table: &StreamName) -> Result<Snapshot, Error> {
        Ok(Snapshot::new(self.shared.core.snapshot(table)))
    }

    /// What is known of every table, in no order. In memory, no disk.
    pub fn tables(&self) -> Vec<TableInfo> {
        self.lock().infos()
    }

    /// What is known of `table`, if it ever had a row. In memory, no disk.
    pub fn table(&self, table: &StreamName) -> Option<TableInfo> {
        self.lock().info(table)
    }

    /// Forgets keys of `table` that were deleted before `before`, in the background and in bounded steps. The floor rises
    /// to the newest offset forgotten. Of several calls the last counts.
    pub fn expire(&self, table: &StreamName, before: Millis) {
        let core = &self.shared.core;
        let wake = core.change(|overlay| overlay.expire(table, before));
        if wake {
            core.work.notify_one();
        }
    }

    /// Whether more is pending than the settings allow.
    pub fn lags(&self) -> bool {
        self.shared.core.lags()
    }

    /// Waits until the rows lag no longer, or nothing will be applied any more ([`Failure::Failed`], closed). Cancel safe.
    pub async fn caught_up(&self) {
        loop {
            let less = self.shared.core.less.notified();
            if !self.lags() || self.lock().ended() {
                return;
            }
            less.await;
        }
    }

    /// Why nothing is applied, if so. Logged where it begins and ends.
    pub fn failed(&self) -> Option<Failure> {
        self.lock().failure()
    }

    /// Blocks until all that was published is applied, and removals and expiries are done with; or nothing more will be.
    pub fn settle(&self) {
        let core = &self.shared.core;
        let mut overlay = core.lock();
        overlay.settling += 1;
        core.work.notify_all();
        let quiet = core.quiet.wait_while(overlay, |overlay| !overlay.is_quiet());
        quiet.unwrap_or_else(PoisonError::into_inner).settling -= 1;
    }

    /// Applies what is pending and joins the thread. Snapshots can be read no longer. A second call does nothing.
    pub fn close(&self) {
        self.shared.close();
    }

    fn lock(&self) -> MutexGuard<'_, Overlay> {
        self.shared.core.lock()
    }
}

impl Shared {
    fn close(&self) {
        self.core.lock().close();
        self.core.work.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(_)) = thread.map(JoinHandle::join) {
            tracing::error!("the thread of the rows panicked");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

impl Core {
    fn lock(&self) -> MutexGuard<'_, Overlay> {
        self.overlay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the overlay, and says what `change` does: whether the thread is to be woken.
    fn change(&self, change: impl FnOnce(&mut Overlay) -> bool) -> bool {
        let mut overlay = self.lock();
        let wake = change(&mut overlay);
        self.pending_bytes.store(overlay.pending_bytes(), Ordering::Relaxed);
        wake
    }

    fn lags(&self) -> bool {
        self.pending_bytes.load(Ordering::Relaxed) > self.pending_bytes_max
    }

    fn snapshot(&self, table: &StreamName) -> Arc<snapshot::Moment> {
        // What the table's last snapshot held, perhaps its last owner by now, is dropped after the lock.
        let mut before = None;
        self.lock().snapshot(table, &self.label, &mut before)
    }
}

/// The key whose change an event is.
fn key_of(event: &Event) -> &str {
    event.change.as_ref().map_or("", |change| &change.key)
}

/// Whether the event is the deletion of a row.
fn is_delete(event: &Event) -> bool {
    event.change.as_ref().is_some_and(|change| change.operation == Operation::Delete)
}

/// A damaged file, in one sentence that says what to do.
fn corrupt(label: &str) -> Error {
    let op = format!(
        "make sense of {label}: it is damaged or of another version; restore it from a backup, or move it away \
         and the rows are made again from what the log still holds"
    );
    Error::new(ErrorKind::Corrupt, op)
}
