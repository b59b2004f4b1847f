//! Writes to tables: what is asked, and what becomes of it against the rows as they are.
//!
//! Judged by the writer thread in log order, so of two writes under one condition the later sees what the earlier did.

use super::Key;
use crate::schema::Schema;
use riacho_core::{
    event::Operation,
    name::StreamName,
    position::Offset,
    table::{
        batch::Action,
        patch,
        value::{self, ValueError},
    },
};
use std::{
    collections::HashMap,
    fmt::{self, Display, Formatter},
    sync::Arc,
};

/// Writes to one table that are made together or not at all.
#[derive(Clone, Debug)]
pub struct TableWrite {
    /// The table's stream.
    pub table: StreamName,
    /// The writes, in order; at least one.
    pub writes: Vec<RowWrite>,
    /// The transaction's name; where there is none and several changes, one is made up.
    pub txid: Option<Box<str>>,
    /// What makes a retry safe.
    pub key: Option<Key>,
    /// Which source writes; none for everybody else, who may not write to a table that a source feeds.
    pub source: Option<Arc<str>>,
}

/// One write to one row.
#[derive(Clone, Debug)]
pub struct RowWrite {
    /// The row's key.
    pub key: Box<str>,
    /// What is to become of it.
    pub action: Action,
    /// What must hold of it before.
    pub condition: Condition,
}

/// What must hold of a row before a write (RFC 9110, "Preconditions").
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// `If-Match`: the row is there, its last change one of these; any where there is no list.
    Match(Option<Vec<Offset>>),
    /// `If-None-Match`: the row is not there, or its last change none of these.
    NoneMatch(Option<Vec<Offset>>),
}

/// Why a write was not made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// There is no such row.
    Missing,
    /// There is such a row already.
    Exists,
    /// The condition does not hold; the row's last change, if there is a row.
    Condition(Option<Offset>),
    /// The patch is none, or leaves no row.
    Patch(ValueError),
    /// The row would be larger than this many bytes.
    TooLarge(usize),
    /// The row breaks the table's schema: where, and how.
    Schema(String),
}

impl Display for Refused {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such row"),
            Self::Exists => f.write_str("there is such a row already"),
            Self::Condition(Some(_)) => {
                f.write_str("the row was changed since, or is there: the condition does not hold")
            }
            Self::Condition(None) => f.write_str("there is no such row: the condition does not hold"),
            Self::Patch(err) => write!(f, "the row cannot be patched: {err}"),
            Self::TooLarge(bytes_max) => {
                write!(f, "the row would be larger than {bytes_max} bytes (limit row_bytes_max)")
            }
            Self::Schema(what) => write!(f, "the row breaks the table's schema {what}"),
        }
    }
}

/// The newest state of rows that are about to be written: none for a row that is not there.
pub(super) type Known = HashMap<(StreamName, Box<str>), Option<State>>;

/// A row as it is.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub value: Box<str>,
    pub offset: Offset,
}

/// A change to be made.
#[derive(Debug)]
pub(super) struct Made {
    pub key: Box<str>,
    pub operation: Operation,
    pub old: Option<Box<str>>,
    /// The row after; empty where it is gone.
    pub new: Box<str>,
}

impl Made {
    /// About the bytes of its record.
    pub(super) fn bytes(&self) -> usize {
        self.key.len() + self.new.len() + self.old.as_ref().map_or(0, |old| old.len()) + MADE_OVERHEAD
    }
}

/// What a judged write comes to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// These changes.
    Changes(Vec<Made>),
    /// Everything is already as asked; the newest change of the rows named.
    Nothing(Offset),
    /// More than fits into one commit.
    TooLarge,
}

/// Bounds and rules of one table.
pub(super) struct Rules<'a> {
    pub schema: Option<&'a Schema>,
    pub row_bytes_max: usize,
    /// Bytes of all changes of one write, the rows before among them.
    pub bytes_max: usize,
}

/// Judges `write` against `known`, which holds every row it names.
///
/// # Errors
/// The first write that cannot be made, counted from 0; then none is.
pub(super) fn judge(
    write: &TableWrite,
    known: &Known,
    rules: &Rules<'_>,
) -> Result<Outcome, (usize, Refused)> {
    // What the writes before it in this batch made of a row.
    let mut now: HashMap<&str, Option<Box<str>>> = HashMap::new();
    let mut made = Vec::with_capacity(write.writes.len());
    let (mut newest, mut bytes) = (0, 0);
    for (index, row) in write.writes.iter().enumerate() {
        let before = known.get(&(write.table.clone(), row.key.clone())).and_then(Option::as_ref);
        newest = newest.max(before.map_or(0, |state| state.offset));
        let touched = now.get(&*row.key);
        // A row that this batch has changed has no last change that anybody could name.
        let offset = if touched.is_some() { Some(Offset::MAX) } else { before.map(|state| state.offset) };
        let old = match touched {
            Some(value) => value.as_deref(),
            None => before.map(|state| &*state.value),
        };
        let offset = old.and(offset);
        if !row.condition.holds(offset) {
            return Err((index, Refused::Condition(before.map(|state| state.offset))));
        }
        let new = row.action.on(old, rules).map_err(|refused| (index, refused))?;
        if new.as_deref() == old {
            continue;
        }
        let change = Made {
            key: row.key.clone(),
            operation: match (old, &new) {
                (None, _) => Operation::Insert,
                (Some(_), Some(_)) => Operation::Update,
                (Some(_), None) => Operation::Delete,
            },
            old: old.map(Into::into),
            new: new.clone().unwrap_or_default(),
        };
        bytes += change.bytes();
        if bytes > rules.bytes_max {
            return Ok(Outcome::TooLarge);
        }
        made.push(change);
        now.insert(&row.key, new);
    }
    Ok(if made.is_empty() { Outcome::Nothing(newest) } else { Outcome::Changes(made) })
}

impl Condition {
    fn holds(&self, row: Option<Offset>) -> bool {
        let named = |tags: &Option<Vec<Offset>>| {
            row.is_some_and(|row| tags.as_ref().is_none_or(|tags| tags.contains(&row)))
        };
        match self {
            Self::None => true,
            Self::Match(tags) => named(tags),
            Self::NoneMatch(tags) => !named(tags),
        }
    }
}

/// What an action makes of a row.
trait On {
    fn on(&self, old: Option<&str>, rules: &Rules<'_>) -> Result<Option<Box<str>>, Refused>;
}

impl On for Action {
    fn on(&self, old: Option<&str>, rules: &Rules<'_>) -> Result<Option<Box<str>>, Refused> {
        match (self, old) {
            (Self::Insert(_), Some(_)) => Err(Refused::Exists),
            (Self::Update(_) | Self::Patch(_) | Self::Delete, None) => Err(Refused::Missing),
            (Self::Insert(value) | Self::Update(value) | Self::Upsert(value), _) => Ok(Some(value.clone())),
            (Self::Patch(patch), Some(row)) => {
                let row = patch::merge(row, patch).map_err(Refused::Patch)?;
                if row.len() > rules.row_bytes_max {
                    return Err(Refused::TooLarge(rules.row_bytes_max));
                }
                // The edge has checked whole rows; what a patch makes is known only here.
                if let Some(schema) = rules.schema {
                    schema.check(&row).map_err(Refused::Schema)?;
                }
                debug_assert!(value::value(&row).is_ok(), "a patched row is a row");
                Ok(Some(row.into()))
            }
            (Self::Delete, Some(_)) => Ok(None),
        }
    }
}

// A record's head, the table's name and the transaction's, in most cases.
const MADE_OVERHEAD: usize = 160;
