//! What sources write: whole transactions over any of their tables, and how far they have been read, in one commit.
//!
//! A source says what rows are, not what happened to them: a change is made where that differs from our row. So a row that
//! is read twice, or read anew after a gap, is no change.

use super::{
    AppendError, Appended, Log,
    order::Feeding,
    table::{Known, Made, State},
    writer,
};
use indexmap::IndexMap;
use riacho_core::{
    event::Operation,
    name::{Selection, StreamName},
    source::change::{Becomes, SourceChange, Transaction},
    table::{fill::fill, key::KEY_BYTES_MAX},
};
use std::{
    borrow::Cow,
    fmt::{self, Display, Formatter},
    sync::Arc,
};

/// Transactions of one source that are committed together, in their order, with what the source remembers of them.
#[derive(Clone, Debug)]
pub struct SourceWrite {
    /// The source's name. Its tables are those of [`Log::feed`].
    pub source: Arc<str>,
    /// The transactions.
    pub transactions: Vec<Transaction>,
    /// What the source remembers from then on.
    pub notes: Vec<Note>,
}

/// Something that a source remembers, by name; the names are those of all sources.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// What it is called: at most 64 KiB.
    pub name: Box<str>,
    /// What is remembered; nothing, to forget it.
    pub value: Box<[u8]>,
}

/// Why a transaction cannot be taken as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// A row would be larger than this many bytes.
    RowTooLarge {
        /// The table's stream.
        table: StreamName,
        /// The row's key.
        key: Box<str>,
        /// The bound.
        bytes_max: usize,
    },
    /// A key is longer than this many bytes, or has none.
    Key {
        /// The table's stream.
        table: StreamName,
        /// The key's beginning.
        key: Box<str>,
    },
    /// A row of which only a part is told is not known: it must be read anew.
    Unknown {
        /// The table's stream.
        table: StreamName,
        /// The row's key.
        key: Box<str>,
    },
}

impl Unfit {
    /// The table it is about.
    pub fn table(&self) -> &StreamName {
        match self {
            Self::RowTooLarge { table, .. } | Self::Key { table, .. } | Self::Unknown { table, .. } => table,
        }
    }
}

impl Display for Unfit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let table = self.table().table().unwrap_or_default();
        match self {
            Self::RowTooLarge { key, bytes_max, .. } => write!(
                f,
                "the row `{key}` of `{table}` is larger than {bytes_max} bytes; raise the limit row_bytes_max, or leave \
                 columns out with `columns`"
            ),
            Self::Key { key, .. } => {
                write!(
                    f,
                    "a row of `{table}` has a key that is empty or longer than {KEY_BYTES_MAX} bytes: `{key}...`"
                )
            }
            Self::Unknown { key, .. } => write!(f, "the row `{key}` of `{table}` is not known in full"),
        }
    }
}

impl SourceWrite {
    /// The rows it is judged against.
    pub(super) fn places(&self) -> impl Iterator<Item = (&StreamName, &str)> {
        let changes = self.transactions.iter().flat_map(|transaction| &transaction.changes);
        changes.flat_map(|change| {
            let from = match &change.becomes {
                Becomes::Merged { from, .. } if *from != change.key => Some(&**from),
                _ => None,
            };
            std::iter::once(&*change.key).chain(from).map(|key| (&change.table, key))
        })
    }

    /// About the bytes of its records.
    pub(super) fn bytes(&self) -> usize {
        let notes: usize = self.notes.iter().map(|note| note.name.len() + note.value.len()).sum();
        notes + self.transactions.iter().map(Transaction::bytes).sum::<usize>()
    }
}

impl Log {
    /// Commits transactions of a source with what it remembers: when this returns, they are durable and visible, and only
    /// then may the source be told. One at a time: transactions of a later call could be taken where an earlier was not.
    ///
    /// Not cancel safe: dropped, they may be committed all the same.
    ///
    /// # Errors
    /// Nothing of it is taken. `TooLarge` where one commit has no room for it; `Unfit` for a row that cannot be.
    pub async fn write_source(&self, write: SourceWrite) -> Result<Appended, AppendError> {
        if self.shared.rows.lags() {
            self.shared.rows.caught_up().await;
        }
        let (appended, lagging) = self.shared.queue.send(writer::What::Source(write), None).await?;
        lagging.wait().await;
        Ok(appended)
    }

    /// Bytes that a row may have.
    pub fn row_bytes_max(&self) -> usize {
        self.shared.settings.row_bytes_max
    }

    /// What was remembered under this name by [`Log::write_source`].
    pub fn note(&self, name: &str) -> Option<Box<[u8]>> {
        self.lock().notes.get(name).cloned()
    }

    /// What is remembered under names that begin with `prefix`.
    pub fn notes(&self, prefix: &str) -> Vec<(Box<str>, Box<[u8]>)> {
        let order = self.lock();
        let named = order.notes.iter().filter(|(name, _)| name.starts_with(prefix));
        named.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Notes that `source` feeds the table: nobody else may write to it. `ready`: its rows are whole; until they are, those
    /// who ask for them wait.
    ///
    /// # Errors
    /// The source that feeds it already, where that is another.
    pub fn feed(&self, table: &StreamName, source: &Arc<str>, ready: bool) -> Result<(), Arc<str>> {
        let mut order = self.lock();
        match order.sources.get(table) {
            Some(feeding) if feeding.source != *source => Err(Arc::clone(&feeding.source)),
            _ => {
                order.sources.insert(table.clone(), Feeding { source: Arc::clone(source), ready });
                Ok(())
            }
        }
    }

    /// Notes that the rows of a table that a source feeds are whole.
    pub fn table_ready(&self, table: &StreamName) {
        if let Some(feeding) = self.lock().sources.get_mut(table) {
            feeding.ready = true;
        }
    }

    /// Whether the rows of all tables of the selection are whole: a source that feeds one may still be copying.
    pub(crate) fn tables_ready(&self, selection: &Selection) -> bool {
        let order = self.lock();
        let known = |table: &StreamName| order.starting.is_empty() || self.shared.rows.table(table).is_some();
        selection.tables().all(|table| match order.sources.get(table) {
            Some(feeding) => feeding.ready,
            // One that nobody has heard of may be a source's.
            None => known(table),
        })
    }

    /// Notes that `source` will feed tables of which nothing is known yet: until it says which, readers of tables that
    /// nobody has heard of wait.
    pub fn source_starts(&self, source: &Arc<str>) {
        self.lock().starting.insert(Arc::clone(source));
    }

    /// Notes that `source` feeds none but these tables: others are anybody's again.
    pub fn feed_only(&self, source: &str, tables: &[StreamName]) {
        self.lock().starting.remove(source);
        self.lock().sources.retain(|table, feeding| &*feeding.source != source || tables.contains(table));
    }

    /// Tables that sources feed, and by which.
    pub fn fed_tables(&self) -> Vec<(StreamName, Arc<str>)> {
        let order = self.lock();
        order.sources.iter().map(|(table, feeding)| (table.clone(), Arc::clone(&feeding.source))).collect()
    }

    /// The source that feeds the table, if one does.
    pub fn source_of(&self, table: &StreamName) -> Option<Arc<str>> {
        self.lock().sources.get(table).map(|feeding| Arc::clone(&feeding.source))
    }
}

/// What is made of a transaction against `known`, which holds every row it names: the net change of each row.
///
/// # Errors
/// The first change that cannot be taken.
pub(super) fn judge(
    transaction: &Transaction,
    known: &Known,
    row_bytes_max: usize,
) -> Result<Vec<(StreamName, Made)>, Unfit> {
    let mut now: IndexMap<(&StreamName, &str), Option<Cow<'_, str>>> = IndexMap::new();
    for change in &transaction.changes {
        let SourceChange { table, key, becomes } = change;
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            let end = key.floor_char_boundary(KEY_SHOWN);
            return Err(Unfit::Key { table: table.clone(), key: key.get(..end).unwrap_or_default().into() });
        }
        let row = match becomes {
            Becomes::Gone => None,
            Becomes::Row(row) => Some(Cow::Borrowed(&**row)),
            Becomes::Merged { from, members: wanted } => {
                let before = match now.get(&(table, &**from)) {
                    Some(row) => row.as_deref(),
                    None => stored(known, table, from),
                };
                let unknown = || Unfit::Unknown { table: table.clone(), key: key.clone() };
                Some(Cow::Owned(fill(before.ok_or_else(unknown)?, wanted).ok_or_else(unknown)?))
            }
        };
        if row.as_ref().is_some_and(|row| row.len() > row_bytes_max) {
            return Err(Unfit::RowTooLarge {
                table: table.clone(),
                key: key.clone(),
                bytes_max: row_bytes_max,
            });
        }
        now.insert((table, key), row);
    }
    let made = now.into_iter().filter_map(|((table, key), new)| {
        let old = stored(known, table, key);
        let operation = match (old, &new) {
            (None, None) => return None,
            (None, Some(_)) => Operation::Insert,
            (Some(old), Some(new)) if old == new => return None,
            (Some(_), Some(_)) => Operation::Update,
            (Some(_), None) => Operation::Delete,
        };
        let new = new.unwrap_or_default().into();
        Some((table.clone(), Made { key: key.into(), operation, old: old.map(Into::into), new }))
    });
    Ok(made.collect())
}

fn stored<'a>(known: &'a Known, table: &StreamName, key: &str) -> Option<&'a str> {
    known.get(&(table.clone(), key.into()))?.as_ref().map(|State { value, .. }| &**value)
}

const KEY_SHOWN: usize = 40;
