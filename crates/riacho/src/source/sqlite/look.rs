//! What changed in a file, and its rows: short reads, where they may block.

use super::{file::File, plan::Plan};
use indexmap::IndexMap;
use riacho_core::source::{
    machine::Fault,
    sqlite::{
        CHANGES,
        sql::{ANEW, quote},
        value::{Owned, Value, key_of},
    },
};
use rusqlite::{
    OptionalExtension as _, Row, Statement, ToSql, params_from_iter, types::ToSqlOutput, types::ValueRef,
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// A place in the table of changes: the number and the mark of the last one read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cursor {
    pub seq: i64,
    pub mark: i64,
}

/// What is looked at. Places of tables are places in `plans`.
pub(super) struct Ask {
    pub plans: Arc<[Option<Arc<Plan>>]>,
    pub cursor: Cursor,
    pub schema: i64,
    /// A table of which a page is wanted too, once there are no changes left, and after what.
    pub page: Option<(usize, After)>,
}

/// What was found.
pub(super) enum Looked {
    /// The file is another, or its tables are: begin anew.
    Other,
    /// The place that was read up to is not there: nobody knows what changed.
    Gap,
    /// What changed.
    Found(Box<Found>),
}

/// Changes, all of one moment, and a page of rows of the same moment.
pub(super) struct Found {
    /// What rows are now, by table and key.
    pub changed: IndexMap<(usize, Box<str>), Option<Box<str>>>,
    /// Tables that nobody watched for a while.
    pub anew: HashSet<usize>,
    pub cursor: Cursor,
    /// How many changes were noted, those of one row and of other tables counted.
    pub noted: usize,
    /// Whether more is there; then the read transaction is still open, so that the rest is of the same moment.
    pub more: bool,
    /// What was asked for; with the last, the read transaction is still open.
    pub page: Option<Page>,
}

/// Rows in the order of their rowids or keys.
pub(super) struct Page {
    pub rows: Vec<Keyed>,
    pub after: After,
    pub done: bool,
}

/// A row: its key, and its JSON object.
pub(super) type Keyed = (Box<str>, Box<str>);

/// Where a page begins.
#[derive(Clone, Debug)]
pub(super) enum After {
    Nothing,
    Rowid(i64),
    Key(Vec<Owned>),
}

/// The newest change.
pub(super) fn newest(file: &File) -> Result<Cursor, Fault> {
    let sql = format!("SELECT seq, mark FROM {} ORDER BY seq DESC LIMIT 1", quote(CHANGES));
    let newest =
        file.connection.query_row(&sql, [], |row| Ok(Cursor { seq: row.get(0)?, mark: row.get(1)? }));
    newest.map_err(file.failed())
}

/// Looks what changed since the cursor.
pub(super) fn look(file: &File, ask: &Ask) -> Result<Looked, Fault> {
    if file.replaced() {
        return Ok(Looked::Other);
    }
    file.begin()?;
    if file.schema_version()? != ask.schema {
        file.end()?;
        return Ok(Looked::Other);
    }
    let sql = format!("SELECT mark FROM {} WHERE seq = ?1", quote(CHANGES));
    let mark = file.connection.query_row(&sql, [ask.cursor.seq], |row| row.get::<_, i64>(0));
    if mark.optional().map_err(file.failed())? != Some(ask.cursor.mark) {
        file.end()?;
        return Ok(Looked::Gap);
    }
    let mut found = changes(file, ask)?;
    if let Some((table, after)) = ask.page.as_ref().filter(|_| !found.more)
        && let Some(plan) = plan_of(ask, *table)
    {
        found.page = Some(page(file, plan, after)?);
    }
    if !found.more && !found.page.as_ref().is_some_and(|page| page.done) {
        file.end()?;
    }
    Ok(Looked::Found(Box::new(found)))
}

fn plan_of(ask: &Ask, table: usize) -> Option<&Plan> {
    ask.plans.get(table)?.as_deref()
}

fn changes(file: &File, ask: &Ask) -> Result<Found, Fault> {
    let mut found = Found {
        changed: IndexMap::new(),
        anew: HashSet::new(),
        cursor: ask.cursor,
        noted: 0,
        more: false,
        page: None,
    };
    let places: HashMap<&str, usize> = ask
        .plans
        .iter()
        .enumerate()
        .filter_map(|(at, plan)| Some((&*plan.as_ref()?.table.name, at)))
        .collect();
    let mut statements: HashMap<usize, Statement<'_>> = HashMap::new();
    let mut bytes = 0;
    let mut read = || -> Result<(), Error> {
        let sql =
            format!("SELECT seq, mark, tab, kind, * FROM {} WHERE seq > ?1 ORDER BY seq", quote(CHANGES));
        let mut statement = file.connection.prepare(&sql)?;
        let mut rows = statement.query([ask.cursor.seq])?;
        while let Some(row) = rows.next()? {
            if bytes >= CHANGED_BYTES_MAX || found.noted == NOTED_MAX {
                found.more = true;
                break;
            }
            found.cursor = Cursor { seq: row.get(0)?, mark: row.get(1)? };
            found.noted += 1;
            let Some(&at) = places.get(row.get_ref(2)?.as_str().unwrap_or_default()) else { continue };
            let Some(plan) = plan_of(ask, at) else { continue };
            match row.get_ref(3)? {
                ValueRef::Null => {}
                ValueRef::Text(kind) => {
                    if kind == ANEW.as_bytes() {
                        found.anew.insert(at);
                    }
                    continue;
                }
                _ => continue,
            }
            let key: Vec<ValueRef<'_>> = (0..plan.reads.key.len())
                .map(|place| row.get_ref(KEYS_AT + place))
                .collect::<Result<_, _>>()?;
            let text = key_of(&key.iter().map(|value| value_of(*value)).collect::<Vec<_>>());
            let text: Option<Box<str>> = text.map(Into::into);
            if text.as_ref().is_some_and(|text| found.changed.contains_key(&(at, text.clone()))) {
                continue;
            }
            let statement = match statements.entry(at) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    new.insert(file.connection.prepare(&plan.reads.row)?)
                }
            };
            let now = row_of(plan, statement, &key)?;
            bytes +=
                text.as_ref().map_or(0, |text| text.len()) + now.as_ref().map_or(0, |(_, row)| row.len());
            if let Some((key, row)) = now {
                // Found by a collation, or 1 by 1.0: what was asked for is no row's key.
                if let Some(text) = text.filter(|text| *text != key) {
                    found.changed.insert((at, text), None);
                }
                found.changed.insert((at, key), Some(row));
            } else if let Some(text) = text {
                found.changed.insert((at, text), None);
            }
        }
        Ok(())
    };
    read().map_err(|err| err.fault(file))?;
    Ok(found)
}

/// A page of rows, in the open read transaction.
pub(super) fn page(file: &File, plan: &Plan, after: &After) -> Result<Page, Fault> {
    let read = || -> Result<Page, Error> {
        let sql = if matches!(after, After::Nothing) { &plan.reads.first } else { &plan.reads.next };
        let mut statement = file.connection.prepare(sql)?;
        let mut rows = match after {
            After::Nothing => statement.query([])?,
            After::Rowid(rowid) => statement.query([rowid])?,
            After::Key(key) => statement.query(params_from_iter(key.iter().map(Bound)))?,
        };
        let mut page = Page { rows: Vec::new(), after: after.clone(), done: true };
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let (key, value) = read_row(plan, row)?;
            bytes += key.len() + value.len();
            page.rows.push((key, value));
            if bytes >= PAGE_BYTES || page.rows.len() == PAGE_ROWS {
                page.after = place(plan, row)?;
                page.done = false;
                break;
            }
        }
        Ok(page)
    };
    read().map_err(|err| err.fault(file))
}

/// Removes changes that were read, all before `before`, some at a time; whether all are gone. Another program that writes
/// is not waited for long.
pub(super) fn trim(file: &File, before: i64) -> Result<bool, rusqlite::Error> {
    let sql = format!(
        "DELETE FROM {changes} WHERE seq < min(?1, (SELECT min(seq) FROM {changes}) + {TRIM_ROWS})",
        changes = quote(CHANGES)
    );
    file.connection.execute(&sql, [before]).map(|gone| gone < TRIM_ROWS)
}

// The row of a key, under the key that it has itself.
fn row_of(plan: &Plan, statement: &mut Statement<'_>, key: &[ValueRef<'_>]) -> Result<Option<Keyed>, Error> {
    let mut rows =
        statement.query(params_from_iter(key.iter().map(|value| ToSqlOutput::Borrowed(*value))))?;
    rows.next()?.map(|row| read_row(plan, row)).transpose()
}

fn read_row(plan: &Plan, row: &Row<'_>) -> Result<Keyed, Error> {
    let key = read_key(plan, row)?;
    let values = (0..plan.reads.columns.len())
        .map(|at| row.get_ref(at).map(value_of))
        .collect::<Result<Vec<_>, _>>()?;
    Ok((key.into(), plan.writer.row(values)))
}

fn read_key(plan: &Plan, row: &Row<'_>) -> Result<String, Error> {
    let mut values = [Value::Null; riacho_core::source::sqlite::table::KEY_COLUMNS_MAX];
    let mut count = 0;
    for (slot, at) in values.iter_mut().zip(&plan.reads.key) {
        *slot = value_of(row.get_ref(*at)?);
        count += 1;
    }
    key_of(values.get(..count).unwrap_or_default()).ok_or_else(|| Error::NullKey(plan.table.name.clone()))
}

fn place(plan: &Plan, row: &Row<'_>) -> Result<After, Error> {
    if plan.reads.by_rowid {
        return Ok(After::Rowid(row.get(plan.reads.columns.len())?));
    }
    let owned = |at: &usize| -> Result<Owned, Error> {
        Ok(match row.get_ref(*at)? {
            ValueRef::Integer(n) => Owned::Integer(n),
            ValueRef::Real(x) => Owned::Real(x),
            // Its bytes as they are, or the next page would begin elsewhere.
            ValueRef::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => Owned::Text(text.to_owned()),
                Err(_) => return Err(Error::KeyNotText(plan.table.name.clone())),
            },
            ValueRef::Blob(bytes) => Owned::Blob(bytes.to_vec()),
            ValueRef::Null => return Err(Error::NullKey(plan.table.name.clone())),
        })
    };
    Ok(After::Key(plan.reads.key.iter().map(owned).collect::<Result<_, _>>()?))
}

fn value_of(value: ValueRef<'_>) -> Value<'_> {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => Value::Integer(n),
        ValueRef::Real(x) => Value::Real(x),
        ValueRef::Text(text) => Value::Text(text),
        ValueRef::Blob(bytes) => Value::Blob(bytes),
    }
}

struct Bound<'a>(&'a Owned);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Owned::Integer(n) => ValueRef::Integer(*n),
            Owned::Real(x) => ValueRef::Real(*x),
            Owned::Text(text) => ValueRef::Text(text.as_bytes()),
            Owned::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Why a read failed.
enum Error {
    Sqlite(rusqlite::Error),
    NullKey(String),
    KeyNotText(String),
}

impl From<rusqlite::Error> for Error {
    fn from(err: rusqlite::Error) -> Self {
        Self::Sqlite(err)
    }
}

impl Error {
    fn fault(self, file: &File) -> Fault {
        match self {
            Self::Sqlite(err) => file.failed()(err),
            Self::NullKey(table) => Fault::needs_person(
                format!("a row of `{table}` has NULL in its primary key"),
                "give each row a key, and declare its columns NOT NULL",
            ),
            Self::KeyNotText(table) => Fault::needs_person(
                format!("a row of `{table}` has a text in its primary key that is not UTF-8"),
                "store such a key as a BLOB",
            ),
        }
    }
}

// The first column of the key in `SELECT seq, mark, tab, kind, *`: after those four, and the same again.
const KEYS_AT: usize = 8;
// What changes are read at once: their rows, and how many are noted.
const CHANGED_BYTES_MAX: usize = 8 * 1024 * 1024;
const NOTED_MAX: usize = 65_536;
const PAGE_BYTES: usize = 1024 * 1024;
const PAGE_ROWS: usize = 8192;
// Changes removed in one transaction of the user's file: about a millisecond.
const TRIM_ROWS: usize = 1000;
