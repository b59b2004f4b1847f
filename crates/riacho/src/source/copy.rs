//! A copy of a table against our rows: what is as it was makes no change, what the database no longer has goes.
//!
//! Nothing is held of the table but what differs: our rows are walked in pages, and the database is asked which of their
//! keys it has.

use super::{Sink, TableOf};
use crate::{
    error::Error,
    log::{Becomes, Note, SourceChange, Transaction},
};
use riacho_core::source::machine::{Fault, FaultKind, Input};
use std::collections::HashSet;
use tokio::task::JoinHandle;

/// What knows which rows a database has. A trait, as the compiler cannot see that the future of an async closure may be
/// sent to another thread.
pub trait Existing: Send {
    /// Those of `keys` that the database has, as of the same moment as the rows that were copied.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    fn existing(
        &mut self,
        keys: Vec<Box<str>>,
    ) -> impl Future<Output = Result<HashSet<Box<str>>, Fault>> + Send;
}

/// A copy that is being made. Nobody else writes to the table meanwhile.
pub struct Copying<'a> {
    sink: &'a Sink,
    table: &'a TableOf,
    /// Whether our table had rows when it began.
    had_rows: bool,
    pending: Vec<SourceChange>,
    bytes: usize,
    rows: u64,
    /// The part that is being committed while the next is read.
    committing: Option<JoinHandle<Result<(), Fault>>>,
}

impl<'a> Copying<'a> {
    /// Begins a copy of `table`, of about so many rows.
    pub fn begin(sink: &'a Sink, table: &'a TableOf, rows_expected: Option<u64>) -> Self {
        let had_rows = sink.rows().table(&table.stream).is_some_and(|known| known.rows > 0);
        let copying =
            Self { sink, table, had_rows, pending: Vec::new(), bytes: 0, rows: 0, committing: None };
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

    /// Ends the copy: what the database does not have goes, what is left is committed with `notes`, and the table is ready.
    ///
    /// # Errors
    /// Where it cannot be committed, or `database` cannot be asked.
    pub async fn finish(mut self, mut database: impl Existing, notes: Vec<Note>) -> Result<(), Fault> {
        self.told();
        if self.table.ready {
            self.keep_differing().await?;
        } else {
            self.commit(Vec::new()).await?;
            self.committed().await?;
        }
        if self.had_rows {
            let snapshot = self.sink.rows().snapshot(&self.table.stream).map_err(|err| unread(&err))?;
            let mut after: Option<Box<str>> = None;
            loop {
                let (at, rows) = (after.take(), snapshot.clone());
                let page = blocking(move || rows.rows(at.as_deref(), PAGE_BYTES))
                    .await?
                    .map_err(|err| unread(&err))?;
                let keys: Vec<Box<str>> = page.rows.into_iter().map(|row| row.key).collect();
                after = keys.last().cloned();
                if !keys.is_empty() {
                    let there = database.existing(keys.clone()).await?;
                    for key in keys.into_iter().filter(|key| !there.contains(key)) {
                        self.bytes += key.len();
                        let change =
                            SourceChange { table: self.table.stream.clone(), key, becomes: Becomes::Gone };
                        self.pending.push(change);
                    }
                }
                if page.done {
                    break;
                }
                if self.bytes >= DIFFERENCE_BYTES_MAX {
                    self.commit(Vec::new()).await?;
                }
            }
        }
        self.commit(notes).await?;
        self.committed().await?;
        self.sink.ready(&self.table.stream);
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
        self.committing = Some(tokio::spawn(async move { sink.write(transactions, notes).await }));
        Ok(())
    }

    async fn committed(&mut self) -> Result<(), Fault> {
        match self.committing.take() {
            Some(committing) => committing.await.unwrap_or_else(|err| Err(unread(&err))),
            None => Ok(()),
        }
    }
}

impl Drop for Copying<'_> {
    // A part that waits for room on the disk would be committed in the middle of the next copy.
    fn drop(&mut self) {
        if let Some(committing) = self.committing.take() {
            committing.abort();
        }
    }
}

/// Runs `work` where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|err| unread(&err))
}

fn unread(err: &dyn std::error::Error) -> Fault {
    Fault { kind: FaultKind::Passing, message: format!("our own rows cannot be read: {err}"), remedy: None }
}

// What is committed at once of a first copy.
const PART_BYTES: usize = 1024 * 1024;
const PART_ROWS: usize = 8192;
// Differences of a table that has readers are told together up to here.
const DIFFERENCE_BYTES_MAX: usize = 8 * 1024 * 1024;
// Bytes of our rows of which the database is asked at once.
const PAGE_BYTES: usize = 512 * 1024;
