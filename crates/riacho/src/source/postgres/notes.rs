//! What is noted in the log of a database: how far it was read, and what is known of its tables.
//!
//! Notes are JSON. Those that cannot be read count as not there: then the tables are copied anew.

use riacho_core::source::postgres::{lsn::Lsn, snapshot::Visibility, stitch::Seen};
use serde::{Deserialize, Serialize};

/// How far a database was read, and which database that was.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct Position {
    /// The cluster's system identifier.
    pub(super) system: String,
    /// Its timeline.
    pub(super) timeline: u32,
    /// The slot that was read.
    pub(super) slot: String,
    /// All that was committed before here is in our log.
    pub(super) lsn: String,
}

/// What is known of a table.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
pub(super) struct TableNote {
    /// Its name in the database.
    pub(super) origin: String,
    /// What of its columns is read, and which are its key: [`Shape::fingerprint`](riacho_core::source::postgres::table::Shape).
    pub(super) shape: String,
    /// The table and its columns as they were copied: where that is another text, the table is copied anew.
    #[serde(default)]
    pub(super) version: String,
    /// The rows that are read: the filter.
    pub(super) filter: Option<String>,
    /// Whether it was announced: readers have its rows.
    pub(super) ready: bool,
    /// Whether its rows are those of the database up to the position; else it is to be copied.
    pub(super) copied: bool,
    /// What the last copy saw, as long as the position is before it.
    seen: Option<String>,
    upto: Option<String>,
}

impl Position {
    pub(super) fn lsn(&self) -> Option<Lsn> {
        Lsn::parse(&self.lsn)
    }
}

impl TableNote {
    /// Of a copy that is complete.
    pub(super) fn copied(
        origin: &str,
        (shape, version): (String, String),
        filter: Option<String>,
        seen: &Seen,
    ) -> Self {
        let list = seen.visibility.xip().iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        let visibility = format!("{}:{}:{list}", seen.visibility.xmin(), seen.visibility.xmax());
        Self {
            origin: origin.to_owned(),
            shape,
            version,
            filter,
            ready: true,
            copied: true,
            seen: Some(visibility),
            upto: Some(seen.upto.to_string()),
        }
    }

    /// The same table, of which our rows are what `seen` sees.
    pub(super) fn as_of(&self, seen: &Seen) -> Self {
        Self::copied(&self.origin, (self.shape.clone(), self.version.clone()), self.filter.clone(), seen)
    }

    /// What its copy saw.
    pub(super) fn seen(&self) -> Option<Seen> {
        let visibility = Visibility::parse(self.seen.as_deref()?)?;
        Some(Seen { visibility, upto: Lsn::parse(self.upto.as_deref()?)? })
    }
}

/// A note's bytes.
pub(super) fn write(note: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(note).unwrap_or_default()
}

/// The note of these bytes, if it is one.
pub(super) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

/// The name of the position's note.
pub(super) const POSITION: &str = "position";
/// What the names of tables' notes begin with.
pub(super) const TABLE: &str = crate::source::sink::TABLE_NOTE;
