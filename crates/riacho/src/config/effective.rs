//! The settings in effect, as text and as JSON, each with where it came from.

use super::{
    read::{Origin, Values},
    rules::{Durability, Keep, StreamRule},
    shape::{Setting, Value, quoted},
    table::settings,
};
use riacho_core::time::duration_text;
use serde_json::json;
use std::fmt::{self, Display, Formatter};

/// The settings in effect. `Display` is a configuration file that says the same, with the origins as comments.
#[derive(Clone, PartialEq, Debug)]
pub struct Effective {
    settings: Vec<(&'static str, Value, Origin)>,
    rules: Vec<(StreamRule, Origin)>,
}

impl Effective {
    pub(super) fn new(values: &Values, rules: &[(StreamRule, Origin)]) -> Self {
        let entry = |setting: &'static Setting| {
            let (value, origin) = values.entry(setting.name)?;
            Some((setting.name, value.clone(), origin.clone()))
        };
        let mut rules = rules.to_vec();
        rules.push((StreamRule::last_resort(), Origin::Default));
        Self { settings: settings().filter_map(entry).collect(), rules }
    }

    /// The same for programs: `{"settings":[{"name","value","origin"}],"streams":[{"match",...,"origin"}]}`. Sizes are
    /// numbers of bytes, durations text.
    pub fn json(&self) -> serde_json::Value {
        let settings = self
            .settings
            .iter()
            .map(|(name, value, origin)| json!({ "name": name, "value": value.json(), "origin": origin.to_string() }));
        let streams = self.rules.iter().map(|(rule, origin)| {
            json!({
                "match": rule.matches.as_str(),
                "durability": durability_text(rule.durability),
                "keep": {
                    "age": rule.keep.age.map(duration_text),
                    "bytes": rule.keep.bytes,
                    "events": rule.keep.events,
                },
                "closed": rule.closed,
                "origin": origin.to_string(),
            })
        });
        json!({ "settings": settings.collect::<Vec<_>>(), "streams": streams.collect::<Vec<_>>() })
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
        for (rule, origin) in &self.rules {
            let text = rule_toml(rule);
            match origin {
                // As a rule of the file it would let every stream come into being, whatever `create` says.
                Origin::Default => {
                    writeln!(f, "\n# every other stream:")?;
                    text.lines().try_for_each(|line| writeln!(f, "# {line}"))?;
                }
                _ => write!(f, "\n{:<COMMENT_COLUMN$} # {origin}\n{text}", "[[stream]]")?,
            }
        }
        Ok(())
    }
}

/// A rule as it stands in a file, without its heading.
pub(super) fn rule_toml(rule: &StreamRule) -> String {
    let Keep { age, bytes, events } = rule.keep;
    let keep = [
        age.map(|age| format!("age = {}", Value::Time(age).toml())),
        bytes.map(|bytes| format!("bytes = {}", Value::Bytes(bytes).toml())),
        events.map(|events| format!("events = {events}")),
    ];
    format!(
        "match = {}\ndurability = \"{}\"\nkeep = {{ {} }}\nclosed = {}\n",
        quoted(rule.matches.as_str()),
        durability_text(rule.durability),
        keep.into_iter().flatten().collect::<Vec<_>>().join(", "),
        rule.closed
    )
}

fn durability_text(durability: Durability) -> &'static str {
    match durability {
        Durability::Durable => "durable",
        Durability::Memory => "memory",
    }
}

const COMMENT_COLUMN: usize = 46;
