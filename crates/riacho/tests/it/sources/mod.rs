//! Databases whose rows are tables here: real files and servers, changed by programs that know nothing of us.

/// Files of SQLite.
mod sqlite;
/// The same under random work.
mod sqlite_random;
