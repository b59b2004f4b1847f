//! Where the rows of tables come from: what databases say becomes transactions, and when to do what. No I/O.
//!
//! Bytes and texts of a source are bytes from outside: nothing here panics, whatever they are.

/// What a source is doing, and what it does next when something fails.
pub mod machine;
/// What a source says of rows.
pub mod change;
/// What a row is called.
pub mod key;
/// PostgreSQL, by logical replication.
pub mod postgres;
/// SQLite: the SQL of triggers and reads, and values as JSON.
pub mod sqlite;
/// DynamoDB: its values, items and keys, the records of its streams, and what is asked of it.
pub mod dynamodb;
