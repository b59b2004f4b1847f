//! What is made in the user's file, what is missing there, and how all of it goes again.

use super::{catalog, file::File};
use crate::source::{Finding, TableSettings};
use riacho_core::source::{
    machine::Fault,
    sqlite::{
        CHANGES, Table,
        sql::{PREFIX, create_changes, drop_trigger, note_anew, quote, set_up, triggers},
    },
};
use rusqlite::OptionalExtension as _;
use std::path::Path;

/// The SQL that [`setup`] would run; empty where nothing is missing. `tables` are names or patterns with `*`.
///
/// # Errors
/// Where the file or a table cannot be a source.
pub fn preview(path: &Path, tables: &[String]) -> Result<String, Fault> {
    let file = File::open(path)?;
    Ok(script(&missing(&file, &chosen(&file, tables)?)?))
}

/// Makes the table of changes and the triggers that are missing, in one transaction; says what was run.
///
/// # Errors
/// Where the file or a table cannot be a source, or it cannot be written. Nothing was made.
pub fn setup(path: &Path, tables: &[String]) -> Result<String, Fault> {
    let file = File::open(path)?;
    let missing = missing(&file, &chosen(&file, tables)?)?;
    run(&file, &missing)?;
    Ok(script(&missing))
}

/// Removes all that [`setup`] ever made; says what was run.
///
/// # Errors
/// Where the file cannot be written. Nothing was removed.
pub fn teardown(path: &Path) -> Result<String, Fault> {
    let file = File::open(path)?;
    let sql =
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND substr(name, 1, ?2) = ?1 ORDER BY name";
    let read = || {
        let mut statement = file.connection.prepare(sql)?;
        let names = statement.query_map((PREFIX, PREFIX_LEN), |row| row.get::<_, String>(0))?;
        names.collect::<Result<Vec<_>, _>>()
    };
    let mut statements: Vec<String> =
        read().map_err(file.failed())?.iter().map(|name| drop_trigger(name)).collect();
    if changes_sql(&file)?.is_some() {
        statements.push(drop_changes());
    }
    run(&file, &statements)?;
    Ok(script(&statements))
}

/// What is to be done before `tables` (names or patterns with `*`) can be a source, and what would be better otherwise;
/// empty where all is well.
pub fn check(path: &Path, tables: &[String]) -> Vec<Finding> {
    let fatal = |fault: Fault| Finding { message: fault.message, remedy: fault.remedy, fatal: true };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(fault) => return vec![fatal(fault)],
    };
    let (mut findings, mut good) = (Vec::new(), Vec::new());
    for wanted in tables {
        match chosen(&file, std::slice::from_ref(wanted)) {
            Ok(tables) => good.extend(tables),
            Err(fault) => findings.push(fatal(fault)),
        }
    }
    match missing(&file, &good) {
        Ok(missing) if missing.is_empty() => {}
        Ok(missing) => findings.push(Finding {
            message: "triggers or the table of changes are missing".to_owned(),
            remedy: Some(script(&missing)),
            fatal: true,
        }),
        Err(fault) => findings.push(fatal(fault)),
    }
    let mode: Result<String, _> = file.connection.query_row("PRAGMA journal_mode", [], |row| row.get(0));
    if mode.is_ok_and(|mode| mode != "wal") {
        findings.push(Finding {
            message: "the file is not in WAL mode, so programs that write and the server that reads wait for each other"
                .to_owned(),
            remedy: Some("PRAGMA journal_mode = WAL;".to_owned()),
            fatal: false,
        });
    }
    findings
}

/// The statements that make what is missing for these tables.
pub(super) fn missing(file: &File, tables: &[Table]) -> Result<Vec<String>, Fault> {
    let mut statements = Vec::new();
    let known = changes_sql(file)?;
    // That of another version holds nothing that could be read: the tables are read anew.
    let fresh = known.as_ref() != Some(&create_changes());
    if fresh {
        statements.extend(known.map(|_| drop_changes()));
        statements.push(create_changes());
    }
    for table in tables {
        let there = catalog::triggers(file, &table.name)?;
        let wanted = triggers(table);
        let whole = there.len() == wanted.len()
            && wanted.iter().all(|one| there.iter().any(|(name, sql)| (name, sql) == (&one.name, &one.sql)));
        if !whole {
            let names: Vec<String> = there.into_iter().map(|(name, _)| name).collect();
            statements.extend(set_up(table, &names));
        } else if fresh {
            statements.push(note_anew(&table.name));
        }
    }
    if !fresh && statements.is_empty() && newest_is_missing(file)? {
        statements.extend(tables.first().map(|table| note_anew(&table.name)));
    }
    Ok(statements)
}

/// Runs the statements in one transaction.
pub(super) fn run(file: &File, statements: &[String]) -> Result<(), Fault> {
    if statements.is_empty() {
        return Ok(());
    }
    let run = || {
        file.connection.execute_batch("BEGIN IMMEDIATE")?;
        file.connection.execute_batch(&script(statements))?;
        file.connection.execute_batch("COMMIT")
    };
    run().map_err(|err| {
        // Fails where SQLite has rolled back already.
        let _ = file.connection.execute_batch("ROLLBACK");
        file.failed()(err)
    })
}

/// The command that sets up these tables of the file.
pub(super) fn command(path: &Path, tables: &[String]) -> String {
    let mut command = format!("riacho source setup {}", shell(&format!("sqlite:{}", path.display())));
    for table in tables {
        command.push_str(" --table ");
        command.push_str(&shell(table));
    }
    command
}

/// The tables that these names and patterns mean.
fn chosen(file: &File, wanted: &[String]) -> Result<Vec<Table>, Fault> {
    let names = catalog::names(file)?;
    let mut tables: Vec<Table> = Vec::new();
    for wanted in wanted {
        let settings = TableSettings::all_of(wanted);
        let pattern = settings.is_pattern();
        let meant: Vec<String> = match pattern {
            true => names.iter().filter(|name| settings.matches(name)).cloned().collect(),
            false => vec![wanted.clone()],
        };
        if meant.is_empty() {
            return Err(no_table(wanted, &names));
        }
        for name in meant.iter().filter(|name| !name.starts_with(PREFIX)) {
            if tables.iter().any(|table| table.name == *name) {
                continue;
            }
            tables.push(catalog::table(file, name)?.ok_or_else(|| no_table(name, &names))?);
        }
    }
    Ok(tables)
}

/// That there is no such table.
pub(super) fn no_table(wanted: &str, names: &[String]) -> Fault {
    let near = names.iter().find(|name| name.eq_ignore_ascii_case(wanted)).or_else(|| {
        let score = |name: &&String| strsim::jaro_winkler(name, wanted) > NEAR;
        names.iter().find(score)
    });
    let remedy = match (near, names.len()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, 0) => "the file has no tables: check the path".to_owned(),
        (None, _) => format!("there are {}", shown(names)),
    };
    Fault::needs_person(format!("there is no table `{wanted}`"), remedy)
}

fn shown(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(SHOWN_MAX).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > SHOWN_MAX { " and others" } else { "" };
    shown.join(", ") + more
}

fn changes_sql(file: &File) -> Result<Option<String>, Fault> {
    let sql = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    file.connection.query_row(sql, [CHANGES], |row| row.get(0)).optional().map_err(file.failed())
}

fn newest_is_missing(file: &File) -> Result<bool, Fault> {
    let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {})", quote(CHANGES));
    file.connection.query_row(&sql, [], |row| row.get(0)).map_err(file.failed())
}

fn drop_changes() -> String {
    format!("DROP TABLE {}", quote(CHANGES))
}

fn script(statements: &[String]) -> String {
    statements.iter().map(|statement| format!("{statement};\n")).collect()
}

// As a word of a shell.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

// As a number of SQLite.
const PREFIX_LEN: i64 = PREFIX.len() as i64;
const NEAR: f64 = 0.85;
const SHOWN_MAX: usize = 10;
