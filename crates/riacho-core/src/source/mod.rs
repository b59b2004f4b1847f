//! Where rows come from outside: what databases say becomes transactions, and when to do what. No I/O.

/// What a source is doing, and what it does next when something fails.
pub mod machine;
/// What rows of a database are called here.
pub mod key;
/// SQLite: the SQL of triggers and reads, and values as JSON.
pub mod sqlite;
