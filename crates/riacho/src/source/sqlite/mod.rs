//! SQLite: triggers and a table of changes in the user's file.

use super::{Sink, TableSettings, settings::SqliteSettings};
use riacho_core::source::machine::Fault;

/// Reads one file of SQLite.
pub struct SqliteReader {
    settings: SqliteSettings,
    tables: Vec<TableSettings>,
}

impl SqliteReader {
    /// A reader of these tables.
    pub fn new(settings: SqliteSettings, tables: Vec<TableSettings>) -> Self {
        Self { settings, tables }
    }

    /// Reads until something fails.
    pub(crate) async fn read(&mut self, sink: &Sink) -> Fault {
        let _ = (&self.settings, &self.tables, sink);
        todo!()
    }
}
