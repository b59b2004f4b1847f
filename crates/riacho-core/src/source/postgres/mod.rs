//! What a PostgreSQL server says of its tables: messages of logical replication, texts of values, snapshots.
//!
//! It knows no connection.

/// Places in the server's write-ahead log.
pub mod lsn;
/// Messages of logical replication.
pub mod pgoutput;
/// What becomes of a type in JSON.
pub mod kind;
/// Texts of values as JSON.
pub mod value;
/// Texts of arrays and composite values, item by item.
mod nested;
/// What a snapshot sees.
pub mod snapshot;
/// Lines of `COPY`.
pub mod copy;
/// A table's columns and key, and its rows as ours.
pub mod table;
/// Changes and copies, stitched.
pub mod stitch;
