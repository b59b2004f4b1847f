//! What a value looks like, and how it is read from text and written back.

use super::{listen::Listen, origins::Origins};
use crate::source::TableSettings;
use riacho_core::{
    name::Selector,
    time::{duration_text, parse_duration},
};
use std::{str::FromStr as _, time::Duration};
use tracing_subscriber::filter::Targets;

/// One setting: the only place where its name, shape, default and meaning stand.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the file, groups before a dot: `limits.event_bytes_max`.
    pub name: &'static str,
    /// Its flag without dashes, where one makes sense.
    pub flag: Option<&'static str>,
    /// The value in effect where nothing else is said, as text; empty for none.
    pub default: &'static str,
    /// What its values look like.
    pub(crate) shape: Shape,
    pub(super) doc: &'static str,
}

impl Setting {
    /// Its environment variable, e.g. `RIACHO_LIMITS_EVENT_BYTES_MAX`.
    pub fn env(&self) -> String {
        format!("{ENV_PREFIX}{}", self.name.to_uppercase().replace('.', "_"))
    }

    /// What it does: a sentence or two.
    pub fn doc(&self) -> &'static str {
        self.doc.trim()
    }

    /// The name without its group.
    pub(super) fn last_segment(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }
}

/// What the values of a setting look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    Address,
    Path,
    Flag,
    Count { min: u64, max: u64 },
    Bytes { min: u64, max: u64 },
    Time { min: Duration, max: Duration },
    Word(&'static [&'static str]),
    Filter,
    Origins,
    Selector,
    Url,
    Name,
    Tables,
}

/// A value of the right shape and in range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    Text(String),
    Number(u64),
    Bytes(u64),
    Time(Duration),
    Flag(bool),
    List(Vec<String>),
    Tables(Vec<TableSettings>),
}

impl Shape {
    /// Takes `text` as a value.
    ///
    /// # Errors
    /// Completes "NAME: ...".
    pub(super) fn parse(self, text: &str) -> Result<Value, String> {
        let value = match self {
            Self::Address => Listen::parse(text).map(|_| Value::Text(text.to_owned())),
            Self::Path | Self::Url | Self::Name => (!text.is_empty()).then(|| Value::Text(text.to_owned())),
            Self::Flag => bool::from_str(text).ok().map(Value::Flag),
            Self::Count { min, max } => {
                text.parse().ok().filter(|n| (min..=max).contains(n)).map(Value::Number)
            }
            Self::Bytes { min, max } => {
                parse_bytes(text).filter(|n| (min..=max).contains(n)).map(Value::Bytes)
            }
            Self::Time { min, max } => {
                parse_duration(text).filter(|t| (min..=max).contains(t)).map(Value::Time)
            }
            Self::Word(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
            Self::Filter => parse_filter(text).map(|_| Value::Text(text.to_owned())),
            Self::Origins => {
                let list: Vec<String> =
                    text.split(',').map(|o| o.trim().to_owned()).filter(|o| !o.is_empty()).collect();
                Origins::parse(&list).map(|_| Value::List(list))
            }
            Self::Tables => return tables(text).map(Value::Tables),
            Self::Selector => {
                // Here the reason helps more than the general shape.
                Selector::parse(text).map_err(|err| format!("the pattern {err}, got `{text}`"))?;
                Some(Value::Text(text.to_owned()))
            }
        };
        value.ok_or_else(|| self.refusal(text))
    }

    /// Why `got` is not of this shape.
    pub(super) fn refusal(self, got: &str) -> String {
        format!("expected {}, got `{}`", self.expected(), excerpt(got))
    }

    /// The shape in words, as after "expected".
    pub(super) fn expected(self) -> String {
        match self {
            Self::Address => "an address like 127.0.0.1:4700".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Count { min, max } => format!("a number from {min} to {max}"),
            Self::Bytes { min, max } => {
                format!("a size from {} to {}", bytes_text(min), bytes_text(max))
            }
            Self::Time { min, max } => {
                format!("a duration from {} to {}", duration_text(min), duration_text(max))
            }
            Self::Word(words) => words.join(" or "),
            Self::Filter => "a filter like info or riacho=debug".to_owned(),
            Self::Origins => {
                "origins like https://app.example (scheme and host, no path), or * alone".to_owned()
            }
            Self::Selector => "a name or a pattern like chat/*".to_owned(),
            Self::Url => "a URL like http://127.0.0.1:4700".to_owned(),
            Self::Name => "a name".to_owned(),
            Self::Tables => "a list of names of tables".to_owned(),
        }
    }

    /// What stands for the value in help.
    pub(crate) fn placeholder(self) -> &'static str {
        match self {
            Self::Address => "ADDR",
            Self::Path => "PATH",
            Self::Flag => "true|false",
            Self::Count { .. } => "N",
            Self::Bytes { .. } => "SIZE",
            Self::Time { .. } => "DURATION",
            Self::Word(_) => "WORD",
            Self::Filter => "FILTER",
            Self::Origins => "ORIGIN,...",
            Self::Selector => "PATTERN",
            Self::Url => "URL",
            Self::Name | Self::Tables => "NAME",
        }
    }

    /// All the values there are, where these are few.
    pub(crate) fn words(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Word(words) => Some(words),
            _ => None,
        }
    }
}

impl Value {
    /// The value as it stands in a TOML file.
    pub(super) fn toml(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Number(number) => number.to_string(),
            Self::Bytes(bytes) => quoted(&bytes_text(*bytes)),
            Self::Time(time) => quoted(&duration_text(*time)),
            Self::Flag(flag) => flag.to_string(),
            // Shown with its source.
            Self::Tables(_) => String::new(),
            Self::List(list) => {
                format!("[{}]", list.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// The value for programs: bytes as a number, durations as text.
    pub(super) fn json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Number(number) | Self::Bytes(number) => (*number).into(),
            Self::Time(time) => duration_text(*time).into(),
            Self::Flag(flag) => (*flag).into(),
            Self::Tables(_) => serde_json::Value::Null,
            Self::List(list) => list.as_slice().into(),
        }
    }
}

pub(super) const fn count(min: u64, max: u64) -> Shape {
    Shape::Count { min, max }
}

pub(super) const fn bytes(min: u64, max: u64) -> Shape {
    Shape::Bytes { min, max }
}

pub(super) const fn millis(min: u64, max: u64) -> Shape {
    Shape::Time { min: Duration::from_millis(min), max: Duration::from_millis(max) }
}

// A list of tables, as JSON: names, or objects.
fn tables(text: &str) -> Result<Vec<TableSettings>, String> {
    let bad = |what: &str| format!("expected {}, got {what}", Shape::Tables.expected());
    let items: Vec<serde_json::Value> = serde_json::from_str(text).map_err(|_| bad("something else"))?;
    items.iter().map(table).collect()
}

fn table(item: &serde_json::Value) -> Result<TableSettings, String> {
    if let Some(name) = item.as_str() {
        return Ok(TableSettings::all_of(name));
    }
    let object =
        item.as_object().ok_or("expected a name, or { table = NAME, ... }, in the list of tables")?;
    let known = ["table", "as", "columns", "where", "key"];
    if let Some(other) = object.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("a table has no `{other}`; there are {}", known.join(", ")));
    }
    let text = |key: &str| match object.get(key) {
        None => Ok(None),
        Some(value) => {
            value.as_str().map(|text| Some(text.to_owned())).ok_or(format!("`{key}` of a table is a text"))
        }
    };
    let names = |key: &str| match object.get(key) {
        None => Ok(None),
        Some(list) => {
            let names = list.as_array();
            let names =
                names.and_then(|list| list.iter().map(|name| Some(name.as_str()?.to_owned())).collect());
            names.map(Some).ok_or(format!("`{key}` of a table is a list of names"))
        }
    };
    let table = text("table")?.ok_or("`table` is missing: the name in the database")?;
    let (columns, key) = (names("columns")?, names("key")?);
    Ok(TableSettings { table, name: text("as")?, columns, filter: text("where")?, key })
}

/// Takes a size: a whole number, alone or with one of `B`, `KB`, `MB`, `GB`, `TB` (powers of 1000), `KiB`, `MiB`, `GiB`,
/// `TiB` (powers of 1024).
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let size = match unit {
        "" | "B" => 1,
        other => UNITS.iter().find(|(name, _)| *name == other)?.1,
    };
    number.checked_mul(size)
}

/// A size in the largest unit that holds it exactly: the inverse of [`parse_bytes`].
pub(super) fn bytes_text(bytes: u64) -> String {
    UNITS
        .iter()
        .find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size))
        .map_or_else(|| bytes.to_string(), |(name, size)| format!("{}{name}", bytes / size))
}

/// Takes a log filter. `Targets` alone would take `inof` for the name of a module at every level.
pub(super) fn parse_filter(text: &str) -> Option<Targets> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let known = |part: &str| {
        let level = part.split_once('=').map_or(part, |(_, level)| level);
        LEVELS.contains(&level.trim().to_ascii_lowercase().as_str())
    };
    text.split(',').all(known).then(|| text.parse().ok()).flatten()
}

/// `text` as a TOML basic string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

// A message names what was given, however long it was.
fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// What every variable of ours begins with.
pub(super) const ENV_PREFIX: &str = "RIACHO_";

/// Largest first, so that the first that divides a size is the shortest way to write it.
const UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
];

const EXCERPT_CHARS_MAX: usize = 100;
