//! The settings in effect, as text and as JSON, each with where it came from.

use super::{
    read::{Origin, Rules, Values},
    rules::{Durability, Keep, StreamRule, TableRule},
    shape::{Setting, Value, quoted},
    sources,
    table::settings,
};
use riacho_core::time::duration_text;
use serde_json::json;
use std::fmt::{self, Display, Formatter};

/// The settings in effect. `Display` is a configuration file that says the same, with the origins as comments.
#[derive(Clone, PartialEq, Debug)]
pub struct Effective {
    settings: Vec<(&'static str, Value, Origin)>,
    rules: Rules,
}

impl Effective {
    pub(super) fn new(values: &Values, rules: &Rules) -> Self {
        let entry = |setting: &'static Setting| {
            let (value, origin) = values.entry(setting.name)?;
            Some((setting.name, value.clone(), origin.clone()))
        };
        let mut rules = rules.clone();
        rules.streams.push((StreamRule::last_resort(), Origin::Default));
        rules.tables.push((TableRule::last_resort(), Origin::Default));
        Self { settings: settings().filter_map(entry).collect(), rules }
    }

    /// The same for programs: `{"settings":[{"name","value","origin"}],"streams":[{"match",...,"origin"}],
    /// "tables":[{"match",...,"origin"}],"sources":[{"name",...,"origin"}]}`. Without passwords. Sizes are numbers of bytes, durations text.
    pub fn json(&self) -> serde_json::Value {
        let settings = self
            .settings
            .iter()
            .map(|(name, value, origin)| json!({ "name": name, "value": value.json(), "origin": origin.to_string() }));
        let streams = self.rules.streams.iter().map(|(rule, origin)| {
            json!({
                "match": rule.matches.as_str(),
                "durability": durability_text(rule.durability),
                "keep": keep_json(rule.keep),
                "closed": rule.closed,
                "origin": origin.to_string(),
            })
        });
        let tables = self.rules.tables.iter().map(|(rule, origin)| {
            json!({
                "match": rule.matches.as_str(),
                "tombstones": duration_text(rule.tombstones),
                "old_value": rule.old_value,
                "schema": rule.schema.as_ref().map(|path| path.to_string_lossy()),
                "keep": keep_json(rule.stream.keep),
                "origin": origin.to_string(),
            })
        });
        let sources = self.rules.sources.iter().map(|(source, origin)| {
            let mut json = sources::json(source);
            if let Some(object) = json.as_object_mut() {
                object.insert("origin".to_owned(), origin.to_string().into());
            }
            json
        });
        json!({
            "settings": settings.collect::<Vec<_>>(),
            "streams": streams.collect::<Vec<_>>(),
            "tables": tables.collect::<Vec<_>>(),
            "sources": sources.collect::<Vec<_>>(),
        })
    }

    /// Where the setting `name` came from, as messages say it.
    pub(super) fn origin(&self, name: &str) -> String {
        self.find(name).map(|(_, _, origin)| origin.to_string()).unwrap_or_default()
    }

    /// The value of the setting `name`, as messages say it.
    pub(super) fn text(&self, name: &str) -> String {
        self.find(name).map(|(_, value, _)| value.toml().replace('"', "")).unwrap_or_default()
    }

    fn find(&self, name: &str) -> Option<&(&'static str, Value, Origin)> {
        self.settings.iter().find(|(known, _, _)| *known == name)
    }
}

impl Display for Effective {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let line = |f: &mut Formatter<'_>, name: &str, value: &Value, origin: &Origin| {
            writeln!(f, "{:<COMMENT_COLUMN$} # {origin}", format!("{name} = {}", value.toml()))
        };
        for (name, value, origin) in &self.settings {
            if !name.contains('.') {
                line(f, name, value, origin)?;
            }
        }
        writeln!(f, "\n[limits]")?;
        for (name, value, origin) in &self.settings {
            if let Some(name) = name.strip_prefix("limits.") {
                line(f, name, value, origin)?;
            }
        }
        let streams = self.rules.streams.iter().map(|(rule, origin)| ("stream", rule_toml(rule), origin));
        let tables = self.rules.tables.iter().map(|(rule, origin)| ("table", table_toml(rule), origin));
        let sources =
            self.rules.sources.iter().map(|(source, origin)| ("source", sources::toml(source), origin));
        for (noun, text, origin) in streams.chain(tables).chain(sources) {
            match origin {
                // As a rule of the file it would let every stream come into being, whatever `create` says.
                Origin::Default => {
                    writeln!(f, "\n# every other {noun}:")?;
                    text.lines().try_for_each(|line| writeln!(f, "# {line}"))?;
                }
                _ => write!(f, "\n{:<COMMENT_COLUMN$} # {origin}\n{text}", format!("[[{noun}]]"))?,
            }
        }
        Ok(())
    }
}

/// A rule as it stands in a file, without its heading.
pub(super) fn rule_toml(rule: &StreamRule) -> String {
    format!(
        "match = {}\ndurability = \"{}\"\n{}closed = {}\n",
        quoted(rule.matches.as_str()),
        durability_text(rule.durability),
        keep_toml(rule.keep),
        rule.closed
    )
}

/// A rule of tables as it stands in a file, without its heading.
pub(super) fn table_toml(rule: &TableRule) -> String {
    // Of a path that is no UTF-8 nothing could have come from a file.
    let schema = rule.schema.as_ref().map(|path| format!("schema = {}\n", quoted(&path.to_string_lossy())));
    format!(
        "match = {}\ntombstones = {}\nold_value = {}\n{}{}",
        quoted(rule.matches.as_str()),
        Value::Time(rule.tombstones).toml(),
        rule.old_value,
        schema.unwrap_or_default(),
        keep_toml(rule.stream.keep),
    )
}

fn keep_toml(Keep { age, bytes, events }: Keep) -> String {
    let keep = [
        age.map(|age| format!("age = {}", Value::Time(age).toml())),
        bytes.map(|bytes| format!("bytes = {}", Value::Bytes(bytes).toml())),
        events.map(|events| format!("events = {events}")),
    ];
    format!("keep = {{ {} }}\n", keep.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn keep_json(Keep { age, bytes, events }: Keep) -> serde_json::Value {
    json!({ "age": age.map(duration_text), "bytes": bytes, "events": events })
}

fn durability_text(durability: Durability) -> &'static str {
    match durability {
        Durability::Durable => "durable",
        Durability::Memory => "memory",
    }
}

const COMMENT_COLUMN: usize = 46;
