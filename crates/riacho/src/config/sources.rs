//! What is configured of sources: `[[source]]`, or one by flags.

use super::{read::Values, shape::quoted};
use crate::source::settings::{
    Database, PostgresSettings, Secret, SourceSettings, SqliteSettings, TableSettings,
};
use riacho_core::name::StreamName;
use serde_json::json;
use std::fmt::Write as _;

/// One source by flags or variables: `--source`, `--table`, `--setup`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Given {
    /// Where the rows come from: `sqlite:PATH`, `postgres://...`.
    pub url: Option<String>,
    /// Names of tables.
    pub tables: Vec<String>,
    /// Whether the database is prepared at start.
    pub setup: bool,
}

impl Given {
    /// The source; none where nothing of it was given.
    ///
    /// # Errors
    /// What is wrong, as after "--source: ".
    pub(super) fn source(&self) -> Option<Result<SourceSettings, String>> {
        let url = match &self.url {
            Some(url) => url,
            None if self.tables.is_empty() && !self.setup => return None,
            None => return Some(Err("is missing: --table and --setup belong to a source".to_owned())),
        };
        Some(source_with(url, &self.tables, self.setup))
    }
}

/// The source at `url`, `sqlite:PATH` or a URL of PostgreSQL, with these tables or all.
///
/// # Errors
/// What is wrong, as after the name of what was given.
pub(crate) fn source_of(url: &str, tables: &[String]) -> Result<SourceSettings, String> {
    source_with(url, tables, false)
}

fn source_with(url: &str, tables: &[String], setup: bool) -> Result<SourceSettings, String> {
    let tables = tables.iter().map(|table| TableSettings::all_of(table)).collect();
    source(None, database_of(url, setup)?, tables)
}

/// The source of one `[[source]]`.
///
/// # Errors
/// What is wrong, as after "source: ".
pub(super) fn read(values: &Values) -> Result<SourceSettings, String> {
    let text = |name| values.find::<String>(name);
    let setup = values.find("source.setup").unwrap_or(false);
    let database = match (text("source.sqlite"), text("source.postgres")) {
        (Some(path), None) => Database::Sqlite(SqliteSettings { path: path.into(), setup }),
        (None, Some(url)) => Database::Postgres(PostgresSettings {
            url: Secret(url),
            publication: text("source.publication"),
            slot: text("source.slot"),
        }),
        (None, None) => {
            return Err(
                "says not where rows come from: `sqlite = \"PATH\"` or `postgres = \"URL\"`".to_owned()
            );
        }
        (Some(_), Some(_)) => return Err("has both `sqlite` and `postgres`; make it two sources".to_owned()),
    };
    source(text("source.name"), database, values.find("source.tables").unwrap_or_default())
}

fn source(
    name: Option<String>,
    database: Database,
    mut tables: Vec<TableSettings>,
) -> Result<SourceSettings, String> {
    let name = name.unwrap_or_else(|| name_of(&database));
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(good) {
        return Err(format!(
            "the name `{name}` is not made of 1 to {NAME_BYTES_MAX} small letters, digits and `_`; give it one with `name`"
        ));
    }
    if tables.is_empty() {
        tables.push(TableSettings::all_of("*"));
    }
    for table in &tables {
        if table.is_pattern() && table.name.is_some() {
            return Err(format!("`{}` is a pattern, which `as` cannot rename", table.table));
        }
        let name = table.name.as_deref().unwrap_or(&table.table);
        if !table.is_pattern() {
            StreamName::of_table(name).map_err(|err| format!("the table name `{name}` {err}"))?;
        }
    }
    Ok(SourceSettings { name: name.into(), database, tables })
}

// `sqlite:PATH`, or a URL of PostgreSQL.
fn database_of(url: &str, setup: bool) -> Result<Database, String> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.is_empty() {
            return Ok(Database::Sqlite(SqliteSettings { path: path.into(), setup }));
        }
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        let url = Secret(url.to_owned());
        return Ok(Database::Postgres(PostgresSettings { url, publication: None, slot: None }));
    }
    // What stands before the `@` may be a password.
    let shown = match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?)))
    {
        Some((scheme, (_, host))) => format!("{scheme}://***@{host}"),
        None => url.to_owned(),
    };
    Err(format!("expected something like sqlite:shop.db or postgres://user@host/shop, got `{shown}`"))
}

// What a source is called that was given no name: after its file or database.
fn name_of(database: &Database) -> String {
    let text = match database {
        Database::Sqlite(sqlite) => {
            sqlite.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
        }
        Database::Postgres(postgres) => {
            let url = postgres.url.0.split('?').next().unwrap_or_default();
            let rest = url.split_once("://").map_or("", |(_, rest)| rest);
            // Nothing of a password, which may hold a slash.
            let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
            place.split_once('/').map_or("", |(_, name)| name).to_owned()
        }
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = text.chars().map(plain).take(NAME_BYTES_MAX).collect();
    if name.is_empty() { database.kind().to_owned() } else { name }
}

/// A source as it stands in a file, without its heading and without secrets.
pub(super) fn toml(source: &SourceSettings) -> String {
    let mut out = format!("name = {}\n", quoted(&source.name));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name} = {}", quoted(value));
    };
    match &source.database {
        Database::Sqlite(sqlite) => {
            line("sqlite", &sqlite.path.to_string_lossy());
            let _ = writeln!(out, "setup = {}", sqlite.setup);
        }
        Database::Postgres(postgres) => {
            line("postgres", &without_password(&postgres.url.0));
            for (name, value) in [("publication", &postgres.publication), ("slot", &postgres.slot)] {
                if let Some(value) = value {
                    line(name, value);
                }
            }
        }
    }
    let tables: Vec<String> = source.tables.iter().map(table_toml).collect();
    let _ = writeln!(out, "tables = [{}]", tables.join(", "));
    out
}

/// The same for programs.
pub(super) fn json(source: &SourceSettings) -> serde_json::Value {
    let at = match &source.database {
        Database::Sqlite(sqlite) => json!({ "sqlite": sqlite.path.to_string_lossy(), "setup": sqlite.setup }),
        Database::Postgres(postgres) => json!({
            "postgres": without_password(&postgres.url.0),
            "publication": postgres.publication,
            "slot": postgres.slot,
        }),
    };
    let tables = source.tables.iter().map(|table| {
        json!({ "table": table.table, "as": table.name, "columns": table.columns, "where": table.filter })
    });
    let mut json = json!({ "name": &*source.name, "tables": tables.collect::<Vec<_>>() });
    if let (Some(json), serde_json::Value::Object(at)) = (json.as_object_mut(), at) {
        json.extend(at);
    }
    json
}

fn table_toml(table: &TableSettings) -> String {
    let TableSettings { table, name, columns, filter } = table;
    if name.is_none() && columns.is_none() && filter.is_none() {
        return quoted(table);
    }
    let mut parts = vec![format!("table = {}", quoted(table))];
    parts.extend(name.as_ref().map(|name| format!("as = {}", quoted(name))));
    let list =
        |columns: &Vec<String>| columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
    parts.extend(columns.as_ref().map(|columns| format!("columns = [{}]", list(columns))));
    parts.extend(filter.as_ref().map(|filter| format!("where = {}", quoted(filter))));
    format!("{{ {} }}", parts.join(", "))
}

/// A URL with `***` for its password; where one may stand elsewhere, that too, whatever else goes with it.
fn without_password(url: &str) -> String {
    // Pairs may have spaces, quotes and escapes anywhere.
    let Some((scheme, rest)) = url.split_once("://") else { return "***".to_owned() };
    let (before, query) = rest.split_once('?').map_or((rest, None), |(before, query)| (before, Some(query)));
    // A password may hold a slash, and what follows the last `@` is no part of it.
    let (user, at) = before.rsplit_once('@').map_or((None, before), |(user, at)| (Some(user), at));
    let mut out = format!("{scheme}://");
    if let Some(user) = user {
        out.push_str(user.split(':').next().unwrap_or_default());
        out.push_str(if user.contains(':') { ":***@" } else { "@" });
    }
    out.push_str(at);
    if let Some(query) = query {
        let plain = !query.contains('%') && !query.to_ascii_lowercase().contains("pass");
        out.push('?');
        out.push_str(if plain { query } else { "***" });
    }
    out
}

// What PostgreSQL has room for in the name of a slot, with ours before it.
const NAME_BYTES_MAX: usize = 40;
