//! SQLite: what is set up in the user's file, what is asked of it, and what its answers become.
//!
//! Triggers note in one table, [`CHANGES`], which rows may have changed: their keys, never their values. Who reads that
//! table reads the rows as they are, in the same read transaction. So what is told was committed, whatever made the
//! change: a row that `REPLACE` removed silently, or one that `OR IGNORE` kept, is just a row to look at.

/// A table as its file describes it.
pub mod table;
/// What an index says of its columns.
pub mod index;
/// Statements that set up and that read.
pub mod sql;
/// Values as JSON and as keys.
pub mod value;

pub use sql::CHANGES;
pub use table::{Column, Table, Unique};
