//! What is configured of sources: `[[source]]`, or one by flags.

use super::{read::Values, shape::quoted};
use crate::source::settings::{
    Changes, Database, DynamoDbSettings, FirstRows, PostgresSettings, Secret, SourceSettings, SqliteSettings,
    TableSettings,
};
use crate::webhook::WebhookSecret;
use riacho_core::name::StreamName;
use serde_json::json;
use std::fmt::Write as _;

/// One source by flags or variables: `--source`, `--table`, `--setup`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Given {
    /// Where the rows come from: `sqlite:PATH`, `postgres://...`, `dynamodb:TABLE`.
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

/// The source at `url`, `sqlite:PATH`, a URL of PostgreSQL or `dynamodb:TABLE`, with these tables or all.
///
/// # Errors
/// What is wrong, as after the name of what was given.
pub(crate) fn source_of(url: &str, tables: &[String]) -> Result<SourceSettings, String> {
    source_with(url, tables, false)
}

fn source_with(url: &str, tables: &[String], setup: bool) -> Result<SourceSettings, String> {
    let (database, named) = database_of(url, setup)?;
    let tables = named.iter().chain(tables).map(|table| TableSettings::all_of(table)).collect();
    source(None, database, tables)
}

/// The source of one `[[source]]`.
///
/// # Errors
/// What is wrong, as after "source: ".
pub(super) fn read(values: &Values) -> Result<SourceSettings, String> {
    let text = |name| values.find::<String>(name);
    let setup = values.find("source.setup").unwrap_or(false);
    let places = [text("source.sqlite"), text("source.postgres"), text("source.dynamodb")];
    let database = match places {
        [Some(path), None, None] => Database::Sqlite(SqliteSettings { path: path.into(), setup }),
        [None, Some(url), None] => Database::Postgres(PostgresSettings {
            url: Secret(url),
            publication: text("source.publication"),
            slot: text("source.slot"),
        }),
        [None, None, Some(region)] => Database::DynamoDb(dynamodb(region, values)?),
        [None, None, None] => {
            return Err(
                "says not where rows come from: `sqlite = \"PATH\"`, `postgres = \"URL\"` or `dynamodb = \"REGION\"`"
                    .to_owned(),
            );
        }
        _ => {
            return Err(
                "has more than one of `sqlite`, `postgres` and `dynamodb`; make it several".to_owned()
            );
        }
    };
    source(text("source.name"), database, values.find("source.tables").unwrap_or_default())
}

fn dynamodb(region: String, values: &Values) -> Result<DynamoDbSettings, String> {
    let text = |name| values.find::<String>(name);
    let secret = match (text("source.ingest_secret"), text("source.ingest_secret_file")) {
        (Some(_), Some(_)) => return Err("has both `ingest_secret` and `ingest_secret_file`".to_owned()),
        (Some(secret), None) => Some(secret),
        (None, Some(path)) => {
            let secret = std::fs::read_to_string(&path);
            let secret = secret.map_err(|err| format!("the secret cannot be read from `{path}`: {err}"))?;
            Some(secret.trim().to_owned())
        }
        (None, None) => None,
    };
    if secret.as_deref().is_some_and(|secret| WebhookSecret::parse(secret).is_err()) {
        return Err("the secret for `/ingest` is not `whsec_` and 24 to 64 bytes in base64; to make one: \
                    echo whsec_$(head -c 32 /dev/urandom | base64)"
            .to_owned());
    }
    let changes = match text("source.changes").as_deref() {
        Some("poll") => Changes::Poll,
        Some("both") => Changes::Both,
        Some(_) => Changes::Ingest,
        None if secret.is_some() => Changes::Ingest,
        None => Changes::Poll,
    };
    if changes.ingests() && secret.is_none() {
        return Err(
            "takes changes at `/ingest`, which needs `ingest_secret` or `ingest_secret_file`".to_owned()
        );
    }
    let snapshot = match text("source.snapshot").as_deref() {
        Some("import") => FirstRows::Import,
        _ => FirstRows::Scan,
    };
    if snapshot == FirstRows::Import && secret.is_none() {
        return Err("takes imported rows at `/ingest`, which needs `ingest_secret` or `ingest_secret_file`"
            .to_owned());
    }
    let access_key = match (text("source.access_key_id"), text("source.secret_access_key")) {
        (Some(_), Some(_)) if text("source.profile").is_some() => {
            return Err("has both `access_key_id` and `profile`".to_owned());
        }
        (Some(id), Some(secret)) => Some((id, Secret(secret))),
        (None, None) => None,
        _ => return Err("has only one of `access_key_id` and `secret_access_key`".to_owned()),
    };
    let defaults = DynamoDbSettings::default();
    Ok(DynamoDbSettings {
        region: Some(region).filter(|region| region != ANY_REGION),
        endpoint: text("source.endpoint"),
        profile: text("source.profile"),
        access_key,
        changes,
        snapshot,
        secret: secret.map(Secret),
        poll: values.find("source.poll").unwrap_or(defaults.poll),
        settle: values.find("source.settle").unwrap_or(defaults.settle),
        rcu_max: values.find::<u64>("source.rcu_max").and_then(|units| u32::try_from(units).ok()),
    })
}

fn source(
    name: Option<String>,
    database: Database,
    mut tables: Vec<TableSettings>,
) -> Result<SourceSettings, String> {
    let name = name.unwrap_or_else(|| name_of(&database, &tables));
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(good) {
        return Err(format!(
            "the name `{name}` is not made of 1 to {NAME_BYTES_MAX} small letters, digits and `_`; give it one with `name`"
        ));
    }
    if let Database::DynamoDb(_) = &database {
        check_dynamodb_tables(&tables)?;
    } else if tables.iter().any(|table| table.key.is_some()) {
        return Err("`key` of a table is for DynamoDB only: the database says what a key is".to_owned());
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

// To read a table costs money: each is named.
fn check_dynamodb_tables(tables: &[TableSettings]) -> Result<(), String> {
    if tables.is_empty() || tables.iter().any(TableSettings::is_pattern) {
        return Err("names of DynamoDB's tables stand in `tables` (or after `dynamodb:`), without patterns"
            .to_owned());
    }
    if let Some(table) = tables.iter().find(|table| table.filter.is_some()) {
        let name = &table.table;
        return Err(format!(
            "`where` of `{name}` is not for DynamoDB; readers say which rows they want with `where`"
        ));
    }
    for (n, table) in tables.iter().enumerate() {
        let name = |table: &TableSettings| table.name.clone().unwrap_or_else(|| table.table.clone());
        let twice = |above: &&TableSettings| above.table == table.table || name(above) == name(table);
        if let Some(above) = tables.iter().take(n).find(twice) {
            return Err(format!(
                "`{}` and `{}` are the same table, or called the same",
                above.table, table.table
            ));
        }
    }
    match tables.iter().find(|table| table.key.as_ref().is_some_and(|key| !(1..=2).contains(&key.len()))) {
        Some(table) => {
            Err(format!("`key` of `{}` is one or two names of attributes, hash first", table.table))
        }
        None => Ok(()),
    }
}

// `sqlite:PATH`, a URL of PostgreSQL, or `dynamodb:TABLE,...`; and the tables that it names.
fn database_of(url: &str, setup: bool) -> Result<(Database, Vec<String>), String> {
    if let Some(tables) = url.strip_prefix("dynamodb:") {
        let tables = tables.split(',').map(str::trim).filter(|table| !table.is_empty());
        return Ok((Database::DynamoDb(DynamoDbSettings::default()), tables.map(str::to_owned).collect()));
    }
    database_at(url, setup).map(|database| (database, Vec::new()))
}

fn database_at(url: &str, setup: bool) -> Result<Database, String> {
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
    Err(format!(
        "expected something like sqlite:shop.db, postgres://user@host/shop or dynamodb:orders, got `{shown}`"
    ))
}

// What a source is called that was given no name: after its file, database or first table.
fn name_of(database: &Database, tables: &[TableSettings]) -> String {
    let text = match database {
        Database::DynamoDb(_) => tables.first().map(|table| table.table.clone()).unwrap_or_default(),
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
        Database::DynamoDb(dynamodb) => {
            line("dynamodb", dynamodb.region.as_deref().unwrap_or(ANY_REGION));
            let texts =
                [("endpoint", dynamodb.endpoint.as_deref()), ("profile", dynamodb.profile.as_deref())];
            let secret = |is_there: bool| is_there.then_some("***");
            let access_key = dynamodb.access_key.as_ref();
            let secrets = [
                ("access_key_id", access_key.map(|(id, _)| &**id)),
                ("secret_access_key", secret(access_key.is_some())),
                ("ingest_secret", secret(dynamodb.secret.is_some())),
            ];
            for (name, value) in texts.into_iter().chain(secrets) {
                if let Some(value) = value {
                    line(name, value);
                }
            }
            line("changes", dynamodb.changes.as_str());
            line("snapshot", dynamodb.snapshot.as_str());
            for (name, time) in [("poll", dynamodb.poll), ("settle", dynamodb.settle)] {
                line(name, &format!("{}ms", time.as_millis()));
            }
            if let Some(units) = dynamodb.rcu_max {
                let _ = writeln!(out, "rcu_max = {units}");
            }
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
        Database::DynamoDb(dynamodb) => json!({
            "dynamodb": dynamodb.region.as_deref().unwrap_or(ANY_REGION),
            "endpoint": dynamodb.endpoint,
            "profile": dynamodb.profile,
            "access_key_id": dynamodb.access_key.as_ref().map(|(id, _)| id),
            "secret_access_key": dynamodb.access_key.as_ref().map(|_| "***"),
            "ingest_secret": dynamodb.secret.as_ref().map(|_| "***"),
            "changes": dynamodb.changes.as_str(),
            "snapshot": dynamodb.snapshot.as_str(),
            "poll_ms": dynamodb.poll.as_millis() as u64,
            "settle_ms": dynamodb.settle.as_millis() as u64,
            "rcu_max": dynamodb.rcu_max,
        }),
    };
    let tables = source.tables.iter().map(|table| {
        let TableSettings { table, name, columns, filter, key } = table;
        json!({ "table": table, "as": name, "columns": columns, "where": filter, "key": key })
    });
    let mut json = json!({ "name": &*source.name, "tables": tables.collect::<Vec<_>>() });
    if let (Some(json), serde_json::Value::Object(at)) = (json.as_object_mut(), at) {
        json.extend(at);
    }
    json
}

fn table_toml(table: &TableSettings) -> String {
    let TableSettings { table, name, columns, filter, key } = table;
    if name.is_none() && columns.is_none() && filter.is_none() && key.is_none() {
        return quoted(table);
    }
    let mut parts = vec![format!("table = {}", quoted(table))];
    parts.extend(name.as_ref().map(|name| format!("as = {}", quoted(name))));
    let list =
        |columns: &Vec<String>| columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
    parts.extend(columns.as_ref().map(|columns| format!("columns = [{}]", list(columns))));
    parts.extend(filter.as_ref().map(|filter| format!("where = {}", quoted(filter))));
    parts.extend(key.as_ref().map(|key| format!("key = [{}]", list(key))));
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

// What stands in the place of a region to have it found.
const ANY_REGION: &str = "default";
// What PostgreSQL has room for in the name of a slot, with ours before it.
const NAME_BYTES_MAX: usize = 40;
