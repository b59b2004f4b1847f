//! Many rows at one moment: the file as of one commit, and what was published after it.
//!
//! Pages are read when asked for; nothing is kept of them.

use super::{
    Changed, Row, RowRef, TableInfo,
    disk::{self, Reads, Stored},
    is_delete, key_of,
    overlay::{Merged, Part},
};
use crate::error::Error;
use riacho_core::{event::Event, position::Offset};
use std::{
    cmp::Ordering,
    iter::Peekable,
    sync::{Arc, OnceLock},
};

/// All rows of one table at one moment: whatever is published, applied or emptied later does not change them.
///
/// Cheap to clone. Pages of the file that are needed for it are not used again until it is dropped.
#[derive(Clone)]
pub struct Snapshot {
    moment: Arc<Moment>,
}

/// Rows in order of their keys.
#[derive(Clone, Debug)]
pub struct RowPage {
    /// The rows.
    pub rows: Vec<Row>,
    /// Whether there are no more. A page that is not the last may be followed by an empty one.
    pub done: bool,
}

/// How far a visit of rows came.
#[derive(Clone, Debug)]
pub struct Visited {
    /// The last row's key, to go on after; none where there are no more.
    pub last: Option<Box<str>>,
    /// Whether there are no more.
    pub done: bool,
}

/// Keys that changed, in order of their last change.
#[derive(Clone, Debug)]
pub struct ChangedPage {
    /// Their newest states.
    pub changes: Vec<Changed>,
    /// All that changed up to here is in this page or those before.
    pub upto: Offset,
    /// Whether there are no more. A page that is not the last may be followed by an empty one.
    pub done: bool,
}

/// What the snapshots of one moment share.
pub(super) struct Moment {
    version: u64,
    id: u32,
    reads: Arc<Reads>,
    parts: Vec<Arc<Part>>,
    over: OnceLock<Over>,
    newest: Offset,
    floor: Offset,
    rows_total: u64,
    label: Box<str>,
}

/// What was published after the commit.
struct Over {
    merged: Merged,
    by_offset: Vec<Arc<Event>>,
}

impl Moment {
    pub(super) fn new(
        version: u64,
        (id, reads): (u32, Arc<Reads>),
        parts: Vec<Arc<Part>>,
        info: &TableInfo,
        label: &str,
    ) -> Self {
        Self {
            version,
            id,
            reads,
            parts,
            over: OnceLock::new(),
            newest: info.newest,
            floor: info.floor,
            rows_total: info.rows,
            label: label.into(),
        }
    }

    /// The moment of a table that is not there.
    pub(super) fn empty(reads: Arc<Reads>, label: &str) -> Self {
        Self {
            version: 0,
            id: 0,
            reads,
            parts: Vec::new(),
            over: OnceLock::new(),
            newest: 0,
            floor: 0,
            rows_total: 0,
            label: label.into(),
        }
    }

    /// Whether it is the moment of this version and commit.
    pub(super) fn is(&self, version: u64, reads: &Arc<Reads>) -> bool {
        self.version == version && Arc::ptr_eq(&self.reads, reads)
    }

    // Made by the first who needs it, outside the lock, for all who share the moment.
    fn over(&self) -> &Over {
        self.over.get_or_init(|| {
            let merged = Merged::of(&self.parts);
            let mut by_offset = merged.changes.clone();
            by_offset.sort_unstable_by_key(|event| event.offset);
            Over { merged, by_offset }
        })
    }

    /// The table's id in the file, unless nothing there counts.
    fn base(&self) -> Option<u32> {
        (self.over().merged.emptied.is_none() && self.id != 0).then_some(self.id)
    }
}

impl Snapshot {
    pub(super) fn new(moment: Arc<Moment>) -> Self {
        Self { moment }
    }

    /// The offset of the table's newest change or emptying.
    pub fn newest(&self) -> Offset {
        self.moment.newest
    }

    /// What changed up to here may be forgotten: [`Snapshot::changed`] is complete for offsets from here on.
    pub fn floor(&self) -> Offset {
        self.moment.floor
    }

    /// How many rows there are.
    pub fn rows_total(&self) -> u64 {
        self.moment.rows_total
    }

    /// Rows after the key `after`, in order of the bytes of their keys: at least one, if there is one, and not many more
    /// than `bytes_max` of keys and values.
    ///
    /// # Errors
    /// `Corrupt` when the file is damaged; `Failed` when it cannot be read, or the rows were closed.
    pub fn rows(&self, after: Option<&str>, bytes_max: usize) -> Result<RowPage, Error> {
        let mut rows = Vec::new();
        let visited = self.visit(after, bytes_max, |row| {
            let RowRef { key, value, offset, time } = row;
            rows.push(Row { key: key.into(), value: value.into(), offset, time });
        })?;
        Ok(RowPage { rows, done: visited.done })
    }

    /// As [`Snapshot::rows`], each row given to `each` as it lies there, without a copy.
    ///
    /// # Errors
    /// As [`Snapshot::rows`].
    pub fn visit(
        &self,
        after: Option<&str>,
        bytes_max: usize,
        each: impl FnMut(RowRef<'_>),
    ) -> Result<Visited, Error> {
        self.try_visit(after, bytes_max, each).map_err(|err| self.explain(err))
    }

    /// The newest state of each key that changed after the offset `after`, in order of last change: at least one, if there
    /// is one, and not many more than `bytes_max` of keys and values.
    ///
    /// # Errors
    /// As [`Snapshot::rows`].
    pub fn changed(&self, after: Offset, bytes_max: usize) -> Result<ChangedPage, Error> {
        self.try_changed(after, bytes_max).map_err(|err| self.explain(err))
    }

    /// The row of `key`.
    ///
    /// # Errors
    /// As [`Snapshot::rows`].
    pub fn row(&self, key: &str) -> Result<Option<Row>, Error> {
        if let Some(row) = self.moment.over().merged.row(key) {
            return Ok(row);
        }
        match self.moment.base() {
            Some(id) => self.moment.reads.row(id, key).map_err(|err| self.explain(err)),
            None => Ok(None),
        }
    }

    fn explain(&self, err: redb::Error) -> Error {
        disk::explain(err, "read rows of", &self.moment.label)
    }

    fn try_visit(
        &self,
        after: Option<&str>,
        bytes_max: usize,
        mut each: impl FnMut(RowRef<'_>),
    ) -> Result<Visited, redb::Error> {
        let changes = &self.moment.over().merged.changes;
        let from = after.map_or(0, |after| changes.partition_point(|event| key_of(event) <= after));
        let mut over = changes.get(from..).unwrap_or_default().iter().peekable();
        let found = self.moment.base().map(|id| self.moment.reads.rows(id, after)).transpose()?;
        let mut below = found.into_iter().flatten().peekable();
        let mut bytes = 0;
        while let Some(next) = next_row(&mut over, &mut below)? {
            let row = next.row()?;
            bytes += row.key.len() + row.value.len();
            each(row);
            if bytes >= bytes_max {
                return Ok(Visited { last: Some(row.key.into()), done: false });
            }
        }
        Ok(Visited { last: None, done: true })
    }

    fn try_changed(&self, after: Offset, bytes_max: usize) -> Result<ChangedPage, redb::Error> {
        let newer = &self.moment.over().by_offset;
        let from = newer.partition_point(|event| event.offset <= after);
        let mut over = newer.get(from..).unwrap_or_default().iter();
        let mut page = ChangedPage { changes: Vec::new(), upto: after.max(self.moment.newest), done: true };
        let mut bytes = 0;
        // All that is below is older than all that is over it, or has a newer state there.
        if let Some(id) = self.moment.base() {
            for entry in self.moment.reads.changed(id, after)? {
                let (offset, key, deleted) = entry?;
                if self.moment.over().merged.get(&key).is_some() {
                    continue;
                }
                // Several keys may be of one offset, where the log was replaced; `upto` includes them all.
                if bytes >= bytes_max && page.end().is_some_and(|end| end < offset) {
                    return Ok(page.cut());
                }
                let changed = self.state(id, offset, key, deleted)?;
                bytes += weight(&changed);
                page.changes.push(changed);
            }
        }
        loop {
            if bytes >= bytes_max && page.end().is_some() {
                return Ok(page.cut());
            }
            let Some(event) = over.next() else { return Ok(page) };
            let changed = changed_of(event);
            bytes += weight(&changed);
            page.changes.push(changed);
        }
    }

    fn state(
        &self,
        id: u32,
        offset: Offset,
        key: Box<str>,
        deleted: Option<u64>,
    ) -> Result<Changed, redb::Error> {
        if let Some(time) = deleted {
            return Ok(Changed { key, offset, time, value: None });
        }
        let row = self.moment.reads.row(id, &key)?;
        let Row { time, value, .. } = row.ok_or_else(|| {
            redb::Error::Corrupted(format!("the index has a change at {offset} without its row"))
        })?;
        Ok(Changed { key, offset, time, value: Some(value) })
    }
}

impl ChangedPage {
    /// The offset of its last change.
    fn end(&self) -> Option<Offset> {
        self.changes.last().map(|changed| changed.offset)
    }

    fn cut(mut self) -> Self {
        self.upto = self.end().unwrap_or(self.upto);
        self.done = false;
        self
    }
}

/// The next row of both, where what is over the file counts.
fn next_row<'a>(
    over: &mut Peekable<impl Iterator<Item = &'a Arc<Event>>>,
    below: &mut Peekable<impl Iterator<Item = Result<Stored, redb::Error>>>,
) -> Result<Option<Next<'a>>, redb::Error> {
    loop {
        let Some(event) = over.peek().copied() else {
            return Ok(below.next().transpose()?.map(Next::Below));
        };
        let order = match below.peek() {
            Some(Ok(row)) => row.key()?.cmp(key_of(event)),
            // An error is taken as the next.
            Some(Err(_)) => Ordering::Less,
            None => Ordering::Greater,
        };
        if order == Ordering::Less {
            return Ok(below.next().transpose()?.map(Next::Below));
        }
        if order == Ordering::Equal {
            below.next();
        }
        over.next();
        if !is_delete(event) {
            return Ok(Some(Next::Over(event)));
        }
    }
}

/// A row, over the file or in it.
enum Next<'a> {
    Over(&'a Event),
    Below(Stored),
}

impl Next<'_> {
    fn row(&self) -> Result<RowRef<'_>, redb::Error> {
        match self {
            Self::Over(event) => Ok(RowRef {
                key: key_of(event),
                value: &event.data.text,
                offset: event.offset,
                time: event.time,
            }),
            Self::Below(stored) => stored.row(),
        }
    }
}

/// The row that a change leaves; none where it is a deletion.
pub(super) fn row_of(event: &Event) -> Option<Row> {
    let row = || Row {
        key: key_of(event).into(),
        value: event.data.text.clone(),
        offset: event.offset,
        time: event.time,
    };
    (!is_delete(event)).then(row)
}

fn changed_of(event: &Event) -> Changed {
    let value = (!is_delete(event)).then(|| event.data.text.clone());
    Changed { key: key_of(event).into(), offset: event.offset, time: event.time, value }
}

fn weight(changed: &Changed) -> usize {
    changed.key.len() + changed.value.as_ref().map_or(0, |value| value.len())
}
