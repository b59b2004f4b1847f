//! Which tables of a file are read, as what, and how.

use super::{catalog, file::File, setup};
use crate::source::{SqliteSettings, TableSettings};
use riacho_core::{
    name::StreamName,
    source::{
        machine::Fault,
        sqlite::{
            Table,
            sql::{Reads, reads},
            value::RowWriter,
        },
    },
};
use std::{collections::HashSet, sync::Arc};

/// A table, and how it is read.
#[derive(Debug)]
pub(super) struct Plan {
    pub table: Table,
    pub reads: Reads,
    pub writer: RowWriter,
}

/// What is read of a file.
pub(super) struct Planned {
    pub tables: Vec<PlannedTable>,
    /// The version of the schema that this was made from.
    pub schema: i64,
}

/// A table of ours.
pub(super) struct PlannedTable {
    pub origin: String,
    pub stream: StreamName,
    /// None where the file does not have it any more.
    pub plan: Option<Arc<Plan>>,
    /// What rows of it look like and which: where this changes, all rows may.
    pub shape: String,
}

/// Finds the tables that are wanted, and sets up what is missing where `settings` allow. `known` are the names, in the
/// database, of tables that were read before: they may be missing.
pub(super) fn plan(
    file: &File,
    settings: &SqliteSettings,
    wanted: &[TableSettings],
    known: &[String],
) -> Result<Planned, Fault> {
    // Read first: what changes meanwhile is noticed.
    let schema = file.schema_version()?;
    let names = catalog::names(file)?;
    let mut tables: Vec<PlannedTable> = Vec::new();
    for wanted in wanted {
        let gone = known.iter().filter(|name| !names.contains(name));
        let meant: Vec<&String> = match wanted.is_pattern() {
            true => names.iter().chain(gone).filter(|name| wanted.matches(name)).collect(),
            false => vec![&wanted.table],
        };
        for name in meant {
            if tables.iter().any(|table| table.origin == *name) {
                continue;
            }
            let planned = one(file, wanted, name, known, &names)?;
            tables.extend(planned);
        }
    }
    let mut streams = HashSet::new();
    if let Some(twice) = tables.iter().find(|table| !streams.insert(table.stream.clone())) {
        let message =
            format!("two tables would both be called `{}`", twice.stream.table().unwrap_or_default());
        return Err(Fault::needs_person(message, "give one of them another name with `as`"));
    }
    let schema = set_up(file, settings, &tables, wanted)?.unwrap_or(schema);
    Ok(Planned { tables, schema })
}

fn one(
    file: &File,
    wanted: &TableSettings,
    name: &str,
    known: &[String],
    names: &[String],
) -> Result<Option<PlannedTable>, Fault> {
    let ours = wanted.name.as_deref().unwrap_or(name);
    let stream = StreamName::of_table(ours).map_err(|err| {
        Fault::needs_person(
            format!("the table `{name}` cannot be called so here: {err}"),
            "give it another name with `as`",
        )
    })?;
    let table = match catalog::table(file, name) {
        Err(fault) if wanted.is_pattern() && fault.remedy.is_some() => {
            tracing::warn!(table = name, error = fault.message, remedy = fault.remedy, "table left out");
            return Ok(None);
        }
        table => table?,
    };
    let origin = name.to_owned();
    let Some(table) = table else {
        if known.contains(&origin) {
            return Ok(Some(PlannedTable { origin, stream, plan: None, shape: String::new() }));
        }
        return Err(setup::no_table(name, names));
    };
    let reads = reads(&table, wanted.columns.as_deref(), wanted.filter.as_deref()).map_err(|column| {
        let names: Vec<&str> = table.columns.iter().map(|column| &*column.name).collect();
        Fault::needs_person(
            format!("the table `{name}` has no column `{column}`"),
            format!("its columns are {}", names.join(", ")),
        )
    })?;
    for sql in [&reads.row, &reads.next] {
        file.connection.prepare(sql).map_err(|err| match (&wanted.filter, err.sqlite_error_code()) {
            (Some(filter), Some(rusqlite::ErrorCode::Unknown)) => Fault::needs_person(
                format!("SQLite does not understand the filter of `{name}`, `{filter}`: {err}"),
                "write a condition over the table's columns, as after WHERE",
            ),
            _ => file.failed()(err),
        })?;
    }
    let columns = reads.columns.iter().filter_map(|at| table.columns.get(*at));
    let declared: Vec<&str> = columns.clone().map(|column| &*column.declared).collect();
    let shape = format!("{} -- key {}; types {}", reads.row, table.key.join(", "), declared.join(", "));
    let writer = RowWriter::new(columns);
    Ok(Some(PlannedTable { origin, stream, plan: Some(Arc::new(Plan { table, reads, writer })), shape }))
}

// The version of the schema, where something was made.
fn set_up(
    file: &File,
    settings: &SqliteSettings,
    tables: &[PlannedTable],
    wanted: &[TableSettings],
) -> Result<Option<i64>, Fault> {
    let there: Vec<Table> =
        tables.iter().filter_map(|table| Some(table.plan.as_ref()?.table.clone())).collect();
    let missing = setup::missing(file, &there)?;
    if missing.is_empty() {
        return Ok(None);
    }
    if !settings.setup {
        let names: Vec<String> = wanted.iter().map(|wanted| wanted.table.clone()).collect();
        return Err(Fault::needs_person(
            format!(
                "{} has no triggers, or not those of its present tables, that note changes",
                file.path().display()
            ),
            setup::command(&settings.path, &names),
        ));
    }
    setup::run(file, &missing)?;
    tracing::info!(file = %file.path().display(), statements = missing.len(), "source set up");
    file.schema_version().map(Some)
}
