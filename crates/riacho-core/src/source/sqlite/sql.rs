//! Statements that set up and that read. All names in them are quoted.

use super::table::{KEY_COLUMNS_MAX, Table, Term, Unique};

/// The table of changes.
pub const CHANGES: &str = "_riacho_changes";

/// What the names of all our triggers and tables begin with.
pub const PREFIX: &str = "_riacho_";

/// The `kind` of a change that says: the table must be read anew, as nobody watched it for a while.
pub const ANEW: &str = "anew";

/// `name` as an identifier.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `text` as a literal.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The statement that makes the table of changes, as the file keeps it.
///
/// `seq` is the order of commits, as SQLite has one writer at a time. `mark` tells a row from one of the same number in
/// another history, such as after a backup was restored. `kind` is null where a row is meant, whose key follows.
pub fn create_changes() -> String {
    let keys: Vec<String> = (1..=KEY_COLUMNS_MAX).map(|at| format!("k{at}")).collect();
    format!(
        "CREATE TABLE {} (seq INTEGER PRIMARY KEY, mark INTEGER NOT NULL DEFAULT (random()), \
         tab TEXT NOT NULL, kind TEXT, {})",
        quote(CHANGES),
        keys.join(", ")
    )
}

/// The statement that notes that `table` must be read anew.
pub fn note_anew(table: &str) -> String {
    format!("INSERT INTO {} (tab, kind) VALUES ({}, '{ANEW}')", quote(CHANGES), literal(table))
}

/// A trigger: its name, and the statement that makes it, as the file keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// The statement.
    pub sql: String,
}

/// The triggers that `table` needs.
pub fn triggers(table: &Table) -> Vec<Trigger> {
    let of = |row: &str| -> String { table.key.iter().map(|key| format!(", {row}{}", quote(key))).collect() };
    let columns: String = (1..=table.key.len()).map(|at| format!(", k{at}")).collect();
    let into = format!("INSERT INTO {} (tab{columns})", quote(CHANGES));
    let name = literal(&table.name);
    let note = |row: &str| format!("{into} VALUES ({name}{});", of(row));
    // As bytes: two keys that a collation takes for one are two keys here.
    let moved: Vec<String> = table
        .key
        .iter()
        .map(|key| format!("NEW.{key} IS NOT OLD.{key} COLLATE BINARY", key = quote(key)))
        .collect();
    let note_moved = format!("{into} SELECT {name}{} WHERE {};", of("NEW."), moved.join(" OR "));
    let mut triggers = vec![
        trigger(table, "insert", "AFTER INSERT", &note("NEW.")),
        trigger(table, "update", "AFTER UPDATE", &format!("{} {note_moved}", note("OLD."))),
        trigger(table, "delete", "AFTER DELETE", &note("OLD.")),
    ];
    if !table.uniques.is_empty() {
        let replaced = |unique: &Unique| {
            format!(
                "{into} SELECT {name}{} FROM {} WHERE {};",
                of(""),
                quote(&table.name),
                equal(table, unique)
            )
        };
        let body: Vec<String> = table.uniques.iter().map(replaced).collect();
        triggers.push(trigger(table, "replacing_insert", "BEFORE INSERT", &body.join(" ")));
        triggers.push(trigger(table, "replacing_update", &before_update(table), &body.join(" ")));
    }
    triggers
}

/// All that is to be run to make `triggers` of `table`, after those of these `names` were removed.
pub fn set_up(table: &Table, remove: &[String]) -> Vec<String> {
    let wanted = triggers(table);
    let mut names: Vec<&String> = remove.iter().chain(wanted.iter().map(|trigger| &trigger.name)).collect();
    names.sort();
    names.dedup();
    let mut statements: Vec<String> = names.into_iter().map(|name| drop_trigger(name)).collect();
    statements.extend(wanted.into_iter().map(|trigger| trigger.sql));
    statements.push(note_anew(&table.name));
    statements
}

/// The statement that removes a trigger.
pub fn drop_trigger(name: &str) -> String {
    format!("DROP TRIGGER IF EXISTS {}", quote(name))
}

fn trigger(table: &Table, kind: &str, when: &str, body: &str) -> Trigger {
    let name = format!("{PREFIX}{kind}_{}", table.name);
    let sql = format!("CREATE TRIGGER {} {when} ON {} BEGIN {body} END", quote(&name), quote(&table.name));
    Trigger { name, sql }
}

// An update that sets no column of a unique index removes no row.
fn before_update(table: &Table) -> String {
    let mut columns: Vec<String> = Vec::new();
    for unique in &table.uniques {
        if unique.filter.is_some() {
            return "BEFORE UPDATE".to_owned();
        }
        for term in &unique.terms {
            match term {
                Term::Column { name, .. } if columns.contains(&quote(name)) => {}
                Term::Column { name, .. } => columns.push(quote(name)),
                Term::Expression(_) => return "BEFORE UPDATE".to_owned(),
            }
        }
    }
    format!("BEFORE UPDATE OF {}", columns.join(", "))
}

// The rows that are equal to the new one in an index.
fn equal(table: &Table, unique: &Unique) -> String {
    let term = |term: &Term| match term {
        Term::Column { name, collation } => {
            format!("{name} COLLATE {} = NEW.{name}", quote(collation), name = quote(name))
        }
        Term::Expression(sql) => {
            // The same expression over a row that has the names of the table and the values of the new one.
            let row: Vec<String> = table
                .columns
                .iter()
                .map(|column| format!("NEW.{name} AS {name}", name = quote(&column.name)))
                .collect();
            format!("({sql}) = (SELECT ({sql}) FROM (SELECT {}))", row.join(", "))
        }
    };
    let mut terms: Vec<String> = unique.terms.iter().map(term).collect();
    terms.extend(unique.filter.iter().map(|filter| format!("({filter})")));
    terms.join(" AND ")
}

/// How the rows of a table are read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reads {
    /// The columns read, by their places in the table, and among them the key's, by their places in this list.
    pub columns: Vec<usize>,
    /// Where the columns of the key are in `columns`, in the key's order.
    pub key: Vec<usize>,
    /// Whether a page begins after a rowid, which is the column after `columns`; otherwise after a key.
    pub by_rowid: bool,
    /// The row of a key; its columns are the parameters.
    pub row: String,
    /// All rows in order.
    pub first: String,
    /// All rows after a place.
    pub next: String,
}

/// How the rows of `table` are read: `wanted` columns (none: all) and the key's, and rows that `filter` is true of.
///
/// # Errors
/// The name of a column that the table does not have.
pub fn reads(table: &Table, wanted: Option<&[String]>, filter: Option<&str>) -> Result<Reads, String> {
    let place = |name: &String| {
        let at = table.columns.iter().position(|column| column.name == *name);
        at.ok_or_else(|| name.clone())
    };
    let key = table.key.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    let mut columns: Vec<usize> = match wanted {
        None => (0..table.columns.len()).collect(),
        Some(names) => names.iter().map(place).collect::<Result<_, _>>()?,
    };
    columns.extend(&key);
    columns.sort_unstable();
    columns.dedup();
    let key = key.iter().filter_map(|at| columns.iter().position(|column| column == at)).collect();
    let name = |at: &usize| table.columns.get(*at).map(|column| quote(&column.name)).unwrap_or_default();
    let list: Vec<String> = columns.iter().map(name).collect();
    let select = |more: &str, conditions: &[String], end: &str| {
        let filter = filter.map(|filter| format!("({filter}\n)"));
        let all: Vec<&str> = conditions
            .iter()
            .map(String::as_str)
            .chain(filter.as_deref())
            .filter(|one| !one.is_empty())
            .collect();
        let conditions = if all.is_empty() { String::new() } else { format!(" WHERE {}", all.join(" AND ")) };
        format!("SELECT {}{more} FROM {}{conditions}{end}", list.join(", "), quote(&table.name))
    };
    let keys: Vec<String> = table.key.iter().map(|name| quote(name)).collect();
    let is = |(key, at): (&String, usize)| format!("{key} IS ?{at}");
    let row = select("", &keys.iter().zip(1..).map(is).collect::<Vec<_>>(), "");
    let (more, order, after) = match table.rowid {
        Some(rowid) => (format!(", {rowid}"), format!(" ORDER BY {rowid}"), format!("{rowid} > ?1")),
        None => {
            let (all, marks) =
                (keys.join(", "), (1..=keys.len()).map(|at| format!("?{at}")).collect::<Vec<_>>());
            (String::new(), format!(" ORDER BY {all}"), format!("({all}) > ({})", marks.join(", ")))
        }
    };
    let first = select(&more, &[], &order);
    let next = select(&more, &[after], &order);
    Ok(Reads { columns, key, by_rowid: table.rowid.is_some(), row, first, next })
}
