//! Where the rows of tables come from: what other systems say of their changes, read without I/O.
//!
//! Bytes and texts of a source are bytes from outside: nothing here panics, whatever they are.

/// What a row is called.
pub mod key;
/// PostgreSQL, by logical replication.
pub mod postgres;
