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
/// Keys that a copy has read.
mod seen;
/// SQLite: triggers and a table of changes in the user's file.
pub mod sqlite;
/// PostgreSQL: its write-ahead log, decoded.
pub(crate) mod postgres;
/// DynamoDB: its tables and their streams.
pub mod dynamodb;
/// What stands against a source.
mod finding;
/// All sources of a server.
mod sources;

pub use finding::Finding;
pub use settings::{
    Database, DynamoDbSettings, PostgresSettings, SourceSettings, SqliteSettings, TableSettings,
};
pub use sink::{Sink, TableOf};
pub use sources::{Door, Reload, SourceInfo, Sources, TableInfo};

use riacho_core::source::machine::Fault;
use tokio::sync::mpsc;

/// What reads one database, until something fails.
pub(crate) enum Reader {
    /// A file of SQLite.
    Sqlite(sqlite::SqliteReader),
    /// A database of PostgreSQL.
    Postgres(Box<postgres::PostgresReader>),
    /// Tables of DynamoDB.
    DynamoDb(Box<dynamodb::DynamoDbReader>),
}

/// What stands against a source, and what would be better otherwise; empty where all is well. Nothing is changed.
pub async fn check(settings: &SourceSettings) -> Vec<Finding> {
    match &settings.database {
        Database::Sqlite(sqlite) => {
            let (path, tables) = (sqlite.path.clone(), settings.tables.clone());
            let tables: Vec<String> = tables.into_iter().map(|table| table.table).collect();
            let checked = copy::blocking(move || sqlite::check(&path, &tables)).await;
            checked.unwrap_or_else(|fault| vec![Finding::fatal(fault)])
        }
        Database::Postgres(postgres) => {
            postgres::check::check(postgres, &settings.tables, &settings.name).await
        }
        Database::DynamoDb(dynamodb) => dynamodb::check(dynamodb, &settings.tables).await,
    }
}

impl Reader {
    fn new(settings: &SourceSettings, pushes: mpsc::Receiver<dynamodb::Push>) -> Self {
        match &settings.database {
            Database::Postgres(postgres) => {
                let reader = postgres::PostgresReader::new(postgres.clone(), settings.tables.clone());
                Self::Postgres(Box::new(reader))
            }
            Database::DynamoDb(dynamodb) => {
                let reader = dynamodb::DynamoDbReader::new(dynamodb.clone(), settings.tables.clone(), pushes);
                Self::DynamoDb(Box::new(reader))
            }
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
            Self::Postgres(reader) => reader.read(sink).await,
            Self::DynamoDb(reader) => reader.read(sink).await,
        }
    }
}
