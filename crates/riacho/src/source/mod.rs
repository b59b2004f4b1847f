//! Where rows come from outside: a task per source reads a database and writes what it says to the log.
//!
//! What a source is doing is decided by `riacho_core::source::machine`; a reader per kind of database ([`Reader`]) does the
//! reading and hands whole transactions to its [`Sink`]. Positions of a database are notes of the log, committed with the
//! changes they stand for; the database is told only after that. Must not know HTTP, views or transports.

/// What readers of databases write to: the log, and what is known of the source.
pub mod sink;
/// What the configuration says of sources.
pub mod settings;
/// A copy of a table against our rows.
pub mod copy;
/// SQLite: triggers and a table of changes in the user's file.
pub mod sqlite;
/// All sources of a server.
mod sources;

pub use settings::{Database, SourceSettings, SqliteSettings, TableSettings};
pub use sink::{Sink, TableOf};
pub use sources::{SourceInfo, Sources, TableInfo};

use riacho_core::source::machine::Fault;

/// What reads one database, until something fails.
pub(crate) enum Reader {
    /// A file of SQLite.
    Sqlite(sqlite::SqliteReader),
}

impl Reader {
    fn new(settings: &SourceSettings) -> Self {
        match &settings.database {
            Database::Sqlite(sqlite) => {
                Self::Sqlite(sqlite::SqliteReader::new(sqlite.clone(), settings.tables.clone()))
            }
        }
    }

    /// Reads until something fails; called again after a while. Dropped at any `.await`, nothing is lost: what was not
    /// committed is read again.
    async fn read(&mut self, sink: &Sink) -> Fault {
        match self {
            Self::Sqlite(reader) => reader.read(sink).await,
        }
    }
}
