//! Snapshots of small tables, encoded once for all who come at about the same time.

use super::walk::write_row;
use crate::{error::Error, log::Log, view::SharedView};
use bytes::Bytes;
use riacho_core::{name::StreamName, position::Offset, table::message::Mark};
use std::sync::{
    Arc, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

/// All rows of one table as one view shows them, from the start of the snapshot to its end.
#[derive(Debug)]
pub struct SharedSnapshot {
    /// The state is that at this offset.
    pub upto: Offset,
    /// The messages, framed. Counted until the last who sends them is done.
    pub bytes: Bytes,
}

/// Bytes that are counted while they are there.
struct Counted {
    bytes: Vec<u8>,
    total: Arc<AtomicUsize>,
}

impl Counted {
    fn new(bytes: Vec<u8>, total: &Arc<AtomicUsize>) -> Self {
        total.fetch_add(bytes.len(), Ordering::Relaxed);
        Self { bytes, total: Arc::clone(total) }
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// The snapshot with which a new reader of `view` begins: that of those who came before it, while the view still has all
/// that changed since and that is not more than the snapshot itself. None where the table is too large to be encoded at once.
///
/// # Errors
/// Where the rows cannot be read.
pub(super) fn snapshot(
    log: &Log,
    view: &Arc<SharedView>,
    table: &StreamName,
) -> Result<Option<Arc<SharedSnapshot>>, Error> {
    // Held while a snapshot is made, so that of many who come at once one makes it for all.
    let mut kept = view.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(snapshot) = kept.as_ref().filter(|snapshot| still_good(snapshot, view)) {
        return Ok(Some(Arc::clone(snapshot)));
    }
    *kept = None;
    let total = log.snapshot_bytes();
    let bytes = log.rows().table(table).map_or(0, |table| table.bytes + table.rows * MESSAGE_BYTES);
    if bytes > SNAPSHOT_BYTES_MAX || total.load(Ordering::Relaxed) > SNAPSHOTS_BYTES_MAX {
        return Ok(None);
    }
    let Some(terms) = view.selection().terms() else { return Ok(None) };
    let (rows, upto) = log.rows_of(table)?;
    let (form, name) = (view.form(), table.table().unwrap_or_default());
    let mut bytes = Vec::new();
    let mut failed = None;
    form.framed(&mut bytes, |out| {
        form.mark(out, None, name, Mark::SnapshotStart);
        let mut after: Option<Box<str>> = None;
        loop {
            let visited =
                rows.visit(after.as_deref(), PAGE_BYTES, |row| write_row(form, terms, table, &row, out));
            match visited {
                Ok(visited) if visited.done => break,
                Ok(visited) => after = visited.last,
                Err(err) => return failed = Some(err),
            }
        }
        form.mark(out, Some(log.position(upto)), name, Mark::SnapshotEnd);
    });
    if let Some(err) = failed {
        return Err(err);
    }
    let bytes = Bytes::from_owner(Counted::new(bytes, total));
    let snapshot = Arc::new(SharedSnapshot { upto, bytes });
    *kept = Some(Arc::clone(&snapshot));
    Ok(Some(snapshot))
}

fn still_good(snapshot: &SharedSnapshot, view: &SharedView) -> bool {
    let view = view.lock();
    let since = view.join(snapshot.upto).map(|position| view.end() - position);
    since.is_some_and(|bytes| bytes <= snapshot.bytes.len().max(SINCE_BYTES_MIN) as u64)
}

// Tables up to this size, encoded, are encoded at once and kept for those who come next.
const SNAPSHOT_BYTES_MAX: u64 = 6 * 1024 * 1024;
// What a message is beside key and value, about.
const MESSAGE_BYTES: u64 = 120;
// All that are kept or being sent; beyond it each reader has its rows read for itself.
const SNAPSHOTS_BYTES_MAX: usize = 64 * 1024 * 1024;
const PAGE_BYTES: usize = 256 * 1024;
// So much may have changed since, however small the snapshot.
const SINCE_BYTES_MIN: usize = 64 * 1024;
