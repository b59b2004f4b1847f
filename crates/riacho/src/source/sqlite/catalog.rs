//! What tables a file has and what they look like.

use super::file::File;
use riacho_core::source::{
    machine::Fault,
    sqlite::{
        Column, Table, Unique,
        index::parts,
        sql::PREFIX,
        table::{KEY_COLUMNS_MAX, Term},
    },
};
use rusqlite::{OptionalExtension as _, params};

/// The names of all tables that may be sources: not SQLite's, ours, nor those that virtual tables are made of.
pub(super) fn names(file: &File) -> Result<Vec<String>, Fault> {
    let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' ORDER BY name";
    let read = || {
        let mut statement = file.connection.prepare(sql)?;
        statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()
    };
    let ours = |name: &String| !name.starts_with("sqlite_") && !name.starts_with(PREFIX);
    Ok(read().map_err(file.failed())?.into_iter().filter(ours).collect())
}

/// The table `name`; none where there is none of exactly this name.
///
/// # Errors
/// Where it cannot be a source.
pub(super) fn table(file: &File, name: &str) -> Result<Option<Table>, Fault> {
    let sql = "SELECT type, wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1";
    let found = file.connection.query_row(sql, [name], |row| Ok((row.get(0)?, row.get(1)?)));
    let Some((kind, without_rowid)): Option<(String, bool)> = found.optional().map_err(file.failed())? else {
        return Ok(None);
    };
    match &*kind {
        "table" => {}
        "view" => {
            return Err(refused(
                name,
                "is a view",
                "name the tables that it is made of: only tables have triggers",
            ));
        }
        _ => {
            return Err(refused(
                name,
                "is a virtual table",
                "name an ordinary table: virtual ones have no triggers",
            ));
        }
    }
    let (columns, key) = columns(file, name).map_err(file.failed())?;
    if key.is_empty() {
        let remedy = "give it a column `id INTEGER PRIMARY KEY`, or leave it out: a row without a key of its own \
                      has no name that lasts";
        return Err(refused(name, "has no primary key", remedy));
    }
    if key.len() > KEY_COLUMNS_MAX {
        let what = format!("has a primary key of more than {KEY_COLUMNS_MAX} columns");
        return Err(refused(name, &what, "leave it out, or give it a shorter key"));
    }
    let rowid = if without_rowid { None } else { Table::rowid_name(&columns) };
    let uniques = uniques(file, name)?;
    Ok(Some(Table { name: name.to_owned(), columns, key, rowid, uniques }))
}

/// The names and texts of our triggers on the table.
pub(super) fn triggers(file: &File, table: &str) -> Result<Vec<(String, String)>, Fault> {
    let sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 \
               AND substr(name, 1, ?3) = ?2 ORDER BY name";
    let read = || {
        let mut statement = file.connection.prepare(sql)?;
        let rows = statement
            .query_map(params![table, PREFIX, PREFIX.len() as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<Result<Vec<(String, String)>, _>>()
    };
    read().map_err(file.failed())
}

fn refused(name: &str, what: &str, remedy: &str) -> Fault {
    Fault::needs_person(format!("the table `{name}` {what}"), remedy)
}

// The columns, and the names of those of the primary key in its order.
fn columns(file: &File, name: &str) -> Result<(Vec<Column>, Vec<String>), rusqlite::Error> {
    let sql = "SELECT name, type, pk FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid";
    let mut statement = file.connection.prepare(sql)?;
    let mut rows = statement.query([name])?;
    let (mut columns, mut key) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let column = Column { name: row.get(0)?, declared: row.get(1)? };
        match row.get::<_, i64>(2)? {
            0 => {}
            place => key.push((place, column.name.clone())),
        }
        columns.push(column);
    }
    key.sort();
    Ok((columns, key.into_iter().map(|(_, name)| name).collect()))
}

fn uniques(file: &File, table: &str) -> Result<Vec<Unique>, Fault> {
    let sql = "SELECT l.name, l.partial, s.sql FROM pragma_index_list(?1) l \
               LEFT JOIN sqlite_schema s ON s.type = 'index' AND s.name = l.name WHERE l.\"unique\" ORDER BY l.name";
    let read = || {
        let mut statement = file.connection.prepare(sql)?;
        let rows = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect::<Result<Vec<(String, bool, Option<String>)>, _>>()
    };
    let indexes = read().map_err(file.failed())?;
    indexes
        .into_iter()
        .map(|(index, partial, sql)| {
            let terms = index_columns(file, &index).map_err(file.failed())?;
            unique(terms, partial, sql.as_deref()).ok_or_else(|| {
                let what = format!("has the unique index `{index}`, which cannot be understood");
                refused(table, &what, "make it anew in plain words, or leave the table out")
            })
        })
        .collect()
}

// The name, none for an expression, and the collation of each column.
fn index_columns(file: &File, index: &str) -> Result<Vec<(Option<String>, String)>, rusqlite::Error> {
    let sql = "SELECT name, coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno";
    let mut statement = file.connection.prepare(sql)?;
    statement.query_map([index], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn unique(columns: Vec<(Option<String>, String)>, partial: bool, sql: Option<&str>) -> Option<Unique> {
    let (mut expressions, mut filter) = (Vec::new(), None);
    if partial || columns.iter().any(|(name, _)| name.is_none()) {
        (expressions, filter) = parts(sql?)?;
        if expressions.len() != columns.len() || filter.is_some() != partial {
            return None;
        }
    }
    let mut expressions = expressions.into_iter();
    let term = |(name, collation)| {
        let expression = expressions.next();
        match name {
            Some(name) => Some(Term::Column { name, collation }),
            None => expression.map(Term::Expression),
        }
    };
    let terms = columns.into_iter().map(term).collect::<Option<Vec<_>>>()?;
    Some(Unique { terms, filter })
}
