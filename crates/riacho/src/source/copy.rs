//! A copy of a table against our rows: what is as it was makes no change, what the database no longer has goes.
//!
//! Nothing is held of the table but what differs: keys that were read and our rows are merged in the order of keys.

use super::{
    Sink, TableOf,
    seen::{Seen, Sorted},
};
use crate::{
    error::Error,
    log::{Becomes, Note, SourceChange, Transaction},
    rows::Snapshot,
};
use riacho_core::{
    name::StreamName,
    source::machine::{Fault, Input},
};
use std::io;
use tokio::task::JoinSet;

/// A copy that is being made. Nobody else writes to the table meanwhile.
pub struct Copying<'a> {
    sink: &'a Sink,
    table: &'a TableOf,
    /// The keys that were read, where our table had rows when it began.
    seen: Option<Seen>,
    pending: Vec<SourceChange>,
    bytes: usize,
    rows: u64,
    /// The part that is being committed while the next is read. Dropped before it was asked for, it never is.
    committing: JoinSet<Result<(), Fault>>,
}

impl<'a> Copying<'a> {
    /// Begins a copy of `table`, of about so many rows.
    pub fn begin(sink: &'a Sink, table: &'a TableOf, rows_expected: Option<u64>) -> Self {
        let had_rows = sink.rows().table(&table.stream).is_some_and(|known| known.rows > 0);
        let copying = Self {
            sink,
            table,
            seen: had_rows.then(Seen::default),
            pending: Vec::new(),
            bytes: 0,
            rows: 0,
            committing: JoinSet::new(),
        };
        sink.tell(Input::CopyBegan(copying.name(), rows_expected));
        copying
    }

    fn name(&self) -> String {
        self.table.stream.table().unwrap_or_default().to_owned()
    }

    /// Takes a row: its key and its value, a JSON object. In any order.
    ///
    /// # Errors
    /// Where it, or one before it, cannot be committed.
    pub async fn row(&mut self, key: Box<str>, row: Box<str>) -> Result<(), Fault> {
        self.rows += 1;
        if let Some(seen) = &mut self.seen {
            seen.add(key.clone()).map_err(|err| unsorted(&err))?;
        }
        self.bytes += key.len() + row.len();
        self.pending.push(SourceChange { table: self.table.stream.clone(), key, becomes: Becomes::Row(row) });
        if self.bytes < PART_BYTES && self.pending.len() < PART_ROWS {
            return Ok(());
        }
        self.told();
        if self.table.ready {
            // Readers have these rows: they are told what differs, at once if it is not too much.
            self.keep_differing().await?;
            if self.bytes < DIFFERENCE_BYTES_MAX {
                return Ok(());
            }
        }
        self.commit(Vec::new()).await
    }

    /// Takes the key of a row that is gone since it was taken, while nobody has seen the table.
    ///
    /// # Errors
    /// Where a row before it cannot be committed.
    pub async fn gone(&mut self, key: Box<str>) -> Result<(), Fault> {
        self.bytes += key.len();
        self.pending.push(SourceChange { table: self.table.stream.clone(), key, becomes: Becomes::Gone });
        if self.bytes < PART_BYTES && self.pending.len() < PART_ROWS {
            return Ok(());
        }
        self.commit(Vec::new()).await
    }

    /// Ends the copy: what was not read goes, and all is committed, the last of it with `notes`; the table is ready.
    ///
    /// # Errors
    /// Where it cannot be committed.
    pub async fn finish(self, notes: Vec<Note>) -> Result<(), Fault> {
        let (sink, table) = (self.sink, self.table);
        self.end(notes).await?;
        sink.ready(&table.stream);
        Ok(())
    }

    /// The same, but the table is not announced yet.
    ///
    /// # Errors
    /// Where it cannot be committed.
    pub async fn end(mut self, notes: Vec<Note>) -> Result<(), Fault> {
        self.compare().await?;
        self.commit(notes).await?;
        self.committed().await
    }

    /// Ends the copy of a table that readers have: what differs, and was not committed for being too much, is the caller's
    /// to commit.
    ///
    /// # Errors
    /// Where our rows cannot be read, or what was too much not be committed.
    pub async fn differing(mut self) -> Result<Vec<SourceChange>, Fault> {
        self.compare().await?;
        self.committed().await?;
        Ok(std::mem::take(&mut self.pending))
    }

    async fn compare(&mut self) -> Result<(), Fault> {
        self.told();
        if self.table.ready {
            self.keep_differing().await?;
        }
        if let Some(seen) = self.seen.take() {
            // Of rows that come by this very copy nothing is asked.
            let mut absents = Absents::of(self.sink, self.table, seen).await?;
            while let Some(gone) = absents.next().await? {
                if self.bytes >= DIFFERENCE_BYTES_MAX {
                    self.commit(Vec::new()).await?;
                }
                self.bytes += gone.iter().map(|change| change.key.len()).sum::<usize>();
                self.pending.extend(gone);
            }
        }
        Ok(())
    }

    fn told(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        self.sink.tell(Input::Copied(self.name(), rows));
    }

    // Leaves out what is pending and as it was.
    async fn keep_differing(&mut self) -> Result<(), Fault> {
        let (rows, table) = (self.sink.rows().clone(), self.table.stream.clone());
        let pending = std::mem::take(&mut self.pending);
        let differs = move || -> Result<Vec<SourceChange>, Error> {
            let mut differing = Vec::new();
            for change in pending {
                let ours = rows.row(&table, &change.key)?;
                let same =
                    matches!((&change.becomes, &ours), (Becomes::Row(row), Some(ours)) if *row == ours.value);
                if !same {
                    differing.push(change);
                }
            }
            Ok(differing)
        };
        self.pending = blocking(differs).await?.map_err(|err| unread(&err))?;
        let bytes = |change: &SourceChange| match &change.becomes {
            Becomes::Row(row) => change.key.len() + row.len(),
            _ => change.key.len(),
        };
        self.bytes = self.pending.iter().map(bytes).sum();
        Ok(())
    }

    // Commits what is pending while the caller reads on; waits for the part before.
    async fn commit(&mut self, notes: Vec<Note>) -> Result<(), Fault> {
        self.committed().await?;
        let changes = std::mem::take(&mut self.pending);
        self.bytes = 0;
        if changes.is_empty() && notes.is_empty() {
            return Ok(());
        }
        let sink = self.sink.clone();
        let transactions = vec![Transaction { txid: None, changes }];
        self.committing.spawn(async move { sink.write(transactions, notes).await });
        Ok(())
    }

    async fn committed(&mut self) -> Result<(), Fault> {
        match self.committing.join_next().await {
            Some(committed) => committed.unwrap_or_else(|err| Err(unread(&err))),
            None => Ok(()),
        }
    }
}

/// Rows of ours that a copy did not read, as they were when it ended: page by page, in the order of keys.
pub(super) struct Absents {
    ours: Snapshot,
    table: StreamName,
    /// None only while it is asked elsewhere.
    sorted: Option<Sorted>,
    /// Our last key that was looked at.
    after: Option<Box<str>>,
    done: bool,
}

impl Absents {
    /// Rows of `table` whose keys are not among `seen`.
    ///
    /// # Errors
    /// Where our rows, or what was seen, cannot be read.
    pub(super) async fn of(sink: &Sink, table: &TableOf, seen: Seen) -> Result<Self, Fault> {
        let ours = sink.rows().snapshot(&table.stream).map_err(|err| unread(&err))?;
        let sorted = blocking(move || seen.sorted()).await?.map_err(|err| unsorted(&err))?;
        Ok(Self { ours, table: table.stream.clone(), sorted: Some(sorted), after: None, done: false })
    }

    /// The next page: that they are gone; none after the last.
    ///
    /// # Errors
    /// As [`Absents::of`].
    pub(super) async fn next(&mut self) -> Result<Option<Vec<SourceChange>>, Fault> {
        let Some(sorted) = self.sorted.take().filter(|_| !self.done) else { return Ok(None) };
        let (ours, table, after) = (self.ours.clone(), self.table.clone(), self.after.take());
        let (gone, sorted, last) =
            blocking(move || absent(&ours, &table, after.as_deref(), sorted)).await??;
        (self.done, self.after, self.sorted) = (last.is_none(), last, Some(sorted));
        Ok(Some(gone))
    }
}

type AbsentPage = (Vec<SourceChange>, Sorted, Option<Box<str>>);

fn absent(
    ours: &Snapshot,
    table: &StreamName,
    after: Option<&str>,
    mut sorted: Sorted,
) -> Result<AbsentPage, Fault> {
    let (mut absent, mut failed) = (Vec::new(), None);
    let visited = ours.visit(after, PAGE_BYTES, |row| match sorted.has(row.key) {
        Ok(true) => {}
        Ok(false) => {
            let (table, key) = (table.clone(), row.key.into());
            absent.push(SourceChange { table, key, becomes: Becomes::Gone });
        }
        Err(err) => failed = Some(err),
    });
    let visited = visited.map_err(|err| unread(&err))?;
    match failed {
        Some(err) => Err(unsorted(&err)),
        None => Ok((absent, sorted, visited.last.filter(|_| !visited.done))),
    }
}

/// Runs `work` where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|err| unread(&err))
}

pub(crate) fn unread(err: &dyn std::error::Error) -> Fault {
    Fault::passing(format!("our own rows cannot be read: {err}"))
}

pub(super) fn unsorted(err: &io::Error) -> Fault {
    let message = format!("keys of a copy cannot be sorted in the directory for temporary files: {err}");
    Fault::passing(message).with_remedy("make room there, or set TMPDIR")
}

// What is committed at once of a first copy.
const PART_BYTES: usize = 1024 * 1024;
const PART_ROWS: usize = 8192;
// Differences of a table that has readers are told together up to here.
pub(super) const DIFFERENCE_BYTES_MAX: usize = 8 * 1024 * 1024;
// Bytes of our rows that are looked at in one go.
const PAGE_BYTES: usize = 512 * 1024;
