//! Databases whose rows are tables here: real files and servers, changed by programs that know nothing of us.

/// What sources write to the log.
mod log;
/// Files of SQLite.
mod sqlite;
/// Full disks, damaged files.
mod bad_days;
/// The same under random work.
mod sqlite_random;
/// Servers of PostgreSQL.
mod postgres;
/// DynamoDB, emulated.
mod dynamodb;
