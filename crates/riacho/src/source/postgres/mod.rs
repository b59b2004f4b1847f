//! PostgreSQL: a copy of each table, and then its write-ahead log, decoded by the server.

/// How a database is reached.
pub(crate) mod connect;
