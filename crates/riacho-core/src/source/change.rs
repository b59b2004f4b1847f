//! What a source says of rows: what they are, not what happened to them.

use crate::{name::StreamName, table::fill::PartMember};

/// Changes that readers see all at once.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Transaction {
    /// Its name; one is made up where there is none and several changes.
    pub txid: Option<Box<str>>,
    /// What becomes of which row, in order. Of several about one row the last counts: what was between was never
    /// committed.
    pub changes: Vec<SourceChange>,
}

/// What becomes of one row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceChange {
    /// The table's stream.
    pub table: StreamName,
    /// The row's key.
    pub key: Box<str>,
    /// What it is now.
    pub becomes: Becomes,
}

/// What a row is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Becomes {
    /// This JSON object.
    Row(Box<str>),
    /// These members in their order; those without a value are as in the row `from` before this change.
    Merged {
        /// The key of the row that has the rest.
        from: Box<str>,
        /// Names, and values as JSON.
        members: Vec<PartMember>,
    },
    /// Nothing: it is not there.
    Gone,
}

impl SourceChange {
    /// About the bytes of its record, as far as they are known before it is judged.
    pub fn bytes(&self) -> usize {
        let row = match &self.becomes {
            Becomes::Row(row) => row.len(),
            Becomes::Merged { members, .. } => members
                .iter()
                .map(|(name, value)| name.len() + value.as_ref().map_or(0, |value| value.len()))
                .sum(),
            Becomes::Gone => 0,
        };
        self.key.len() + row + CHANGE_OVERHEAD
    }
}

impl Transaction {
    /// About the bytes of its records, as far as they are known before it is judged.
    pub fn bytes(&self) -> usize {
        self.changes.iter().map(SourceChange::bytes).sum()
    }
}

// A record's head and the table's name, in most cases.
const CHANGE_OVERHEAD: usize = 160;
