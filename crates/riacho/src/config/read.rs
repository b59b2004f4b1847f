//! Flags, environment and file become values, each with its origin. Later sources win: defaults, file, environment, flags.

use super::{
    rules::{Rule, StreamRule, StreamRules, TableRule, TableRules, selects},
    shape::{ENV_PREFIX, Setting, Shape, Value},
    sources::{self, Given},
    table::{
        CONFIG, FromValue, INGEST_SECRET, SERVER, SOURCE, SOURCE_SETUP, SOURCE_TABLE, SOURCES, STREAM, TABLE,
        settings,
    },
};
use crate::source::SourceSettings;
use riacho_core::name::Selector;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::{self, Display, Formatter},
    path::PathBuf,
};
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

/// A configuration file that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingsFile {
    /// Its path, for messages.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

/// Where a value came from. `Display` is how messages name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The table of settings.
    Default,
    /// A line of the file, from 1.
    File(PathBuf, usize),
    /// The variable of this name.
    Env(String),
    /// The flag of this name, without dashes.
    Flag(String),
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => f.write_str(name),
            Self::Flag(flag) => write!(f, "--{flag}"),
        }
    }
}

/// One thing that is wrong, e.g. `RIACHO_LISTEN: expected an address like 127.0.0.1:4700, got `8080``.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where it stands: an origin or a file.
    pub at: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// All that is wrong with a configuration: at least one problem. `Display` puts each on its line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    pub(super) fn one(at: impl Display, what: impl Into<String>) -> Self {
        Self(vec![Problem { at: at.to_string(), what: what.into() }])
    }
}

impl Display for Problems {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if n > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Values by the name of their setting.
#[derive(Default, Debug)]
pub(super) struct Values(BTreeMap<&'static str, (Value, Origin)>);

impl Values {
    /// The value of a setting that has a default.
    pub(super) fn of<T: FromValue>(&self, name: &str) -> T {
        self.find(name).expect("every setting has a default of the shape that its field holds")
    }

    /// The value of a setting, if it was given.
    pub(super) fn find<T: FromValue>(&self, name: &str) -> Option<T> {
        T::from_value(&self.0.get(name)?.0)
    }

    /// The value of a setting and where it came from.
    pub(super) fn entry(&self, name: &str) -> Option<&(Value, Origin)> {
        self.0.get(name)
    }
}

/// The rules of the file in their order, each with its origin.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Rules {
    pub(super) streams: Vec<(StreamRule, Origin)>,
    pub(super) tables: Vec<(TableRule, Origin)>,
    pub(super) sources: Vec<(SourceSettings, Origin)>,
}

impl Rules {
    pub(super) fn without_origins(self) -> StreamRules {
        let streams = self.streams.into_iter().map(|(rule, _)| rule).collect();
        let tables = self.tables.into_iter().map(|(rule, _)| rule).collect();
        StreamRules::new(streams).with_tables(TableRules::new(tables))
    }
}

/// The reading of one configuration: what was found so far, and what was wrong with it.
#[derive(Default, Debug)]
pub(super) struct Reading {
    values: Values,
    rules: Rules,
    given: Given,
    problems: Vec<Problem>,
}

impl Reading {
    pub(super) fn defaults(&mut self) {
        for setting in settings() {
            self.take(setting, setting.default, Origin::Default);
        }
    }

    pub(super) fn args(&mut self, args: &[(String, String)]) {
        for (name, text) in args {
            if self.give(name, text, &Origin::Flag(name.clone())) {
                continue;
            }
            match settings().find(|s| s.name == name || s.flag == Some(name)) {
                Some(setting) => {
                    let flag = setting.flag.unwrap_or(setting.name);
                    self.take(setting, text, Origin::Flag(flag.to_owned()));
                }
                None => {
                    let flag = format!("--{name}");
                    let flags = settings().filter_map(|s| Some(format!("--{}", s.flag?)));
                    self.unknown(&flag, "", &flag, flags);
                }
            }
        }
    }

    pub(super) fn env(&mut self, env: &[(OsString, OsString)]) {
        for (name, value) in env {
            let name = name.to_string_lossy();
            if !name.starts_with(ENV_PREFIX) {
                continue;
            }
            let given = [&SOURCE, &SOURCE_TABLE, &SOURCE_SETUP].into_iter().find(|s| s.env() == name);
            if let (Some(setting), Some(text)) = (given, value.to_str()) {
                self.give(setting.name, text, &Origin::Env(name.into_owned()));
                continue;
            }
            let known = settings().find(|s| s.env() == name);
            match (known, value.to_str()) {
                // Who reads these looks them up before there is a configuration.
                (None, _) if OTHERS.iter().any(|other| other.env() == name) => {}
                (Some(setting), Some(text)) => self.take(setting, text, Origin::Env(name.into_owned())),
                (Some(_), None) => self.problem(&name, "the value is not UTF-8"),
                (None, _) => {
                    let names = settings().chain(OTHERS).map(Setting::env);
                    self.unknown(&name, "", &name, names);
                }
            }
        }
    }

    pub(super) fn file(&mut self, file: &SettingsFile) {
        match DeTable::parse(&file.text) {
            Ok(table) => {
                let known: Vec<_> = settings().collect();
                self.table(table.get_ref(), "", &known, file);
            }
            Err(err) => {
                let at = Origin::File(file.path.clone(), line_of(file, err.span().map_or(0, |s| s.start)));
                self.problem(at, err.message().lines().collect::<Vec<_>>().join(", "));
            }
        }
    }

    /// All values and the rules with their origins, or all that was wrong.
    pub(super) fn finish(mut self) -> Result<(Values, Rules), Problems> {
        if let Some(source) = self.given.source() {
            match source {
                Ok(source) => self.rules.sources.push((source, Origin::Flag(SOURCE.name.to_owned()))),
                Err(reason) => self.problem("--source", reason),
            }
        }
        same_names(&self.rules.sources, &mut self.problems);
        unreachable_rules("stream", &self.rules.streams, &mut self.problems);
        unreachable_rules("table", &self.rules.tables, &mut self.problems);
        if self.problems.is_empty() { Ok((self.values, self.rules)) } else { Err(Problems(self.problems)) }
    }

    // `prefix` is the path to `table`, with its dot.
    fn table(&mut self, table: &DeTable<'_>, prefix: &str, known: &[&'static Setting], file: &SettingsFile) {
        let mut entries: Vec<_> = table.iter().collect();
        // The map is sorted by name; people read their file from top to bottom.
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let name = format!("{prefix}{}", key.get_ref());
            let at = Origin::File(file.path.clone(), line_of(file, key.span().start));
            let group = format!("{name}.");
            if name == "source" {
                for (values, at) in self.rules_of("source", SOURCES, value, at, file) {
                    match sources::read(&values) {
                        Ok(source) => self.rules.sources.push((source, at)),
                        Err(reason) => self.problem(at, format!("source: {reason}")),
                    }
                }
            } else if let Some(setting) = known.iter().find(|s| s.name == name) {
                match text_of(value.get_ref(), setting.shape) {
                    Ok(text) => self.take(setting, &text, at),
                    Err(reason) => self.problem(at, format!("{name}: {reason}")),
                }
            } else if known.iter().any(|s| s.name.starts_with(&group)) {
                match value.get_ref().as_table() {
                    Some(inner) => self.table(inner, &group, known, file),
                    None => self.problem(at, format!("{name}: expected a table, as in [{name}]")),
                }
            } else if name == "stream" {
                for (values, at) in self.rules_of("stream", STREAM, value, at, file) {
                    if let Some(rule) = StreamRule::read(&values) {
                        self.rules.streams.push((rule, at));
                    }
                }
            } else if name == "table" {
                for (values, at) in self.rules_of("table", TABLE, value, at, file) {
                    if let Some(rule) = TableRule::read(&values) {
                        self.rules.tables.push((rule, at));
                    }
                }
            } else {
                self.unknown_key(key, &name, at, known);
            }
        }
    }

    /// The values of each `[[noun]]`; only of those that say what they are for.
    fn rules_of(
        &mut self,
        noun: &str,
        known: &'static [Setting],
        value: &Spanned<DeValue<'_>>,
        at: Origin,
        file: &SettingsFile,
    ) -> Vec<(Values, Origin)> {
        let expected = format!("{noun}: expected one or more [[{noun}]], with two brackets");
        let Some(entries) = value.get_ref().as_array() else {
            self.problem(at, expected);
            return Vec::new();
        };
        let mut found = Vec::new();
        for entry in entries.iter() {
            let at = Origin::File(file.path.clone(), line_of(file, entry.span().start));
            let Some(table) = entry.get_ref().as_table() else {
                self.problem(at, expected.as_str());
                continue;
            };
            // The values of one rule are its own; problems go to the common list.
            let mut inner = Self::default();
            inner.table(table, &format!("{noun}."), &known.iter().collect::<Vec<_>>(), file);
            let faultless = inner.problems.is_empty();
            self.problems.append(&mut inner.problems);
            let name = format!("{noun}.match");
            // A source says by itself what it is for.
            if noun == "source" {
                if faultless {
                    found.push((inner.values, at));
                }
            } else if inner.values.entry(&name).is_some() {
                found.push((inner.values, at));
            } else if faultless {
                self.problem(at, format!("{name} is missing: it says which {noun}s the rule is for"));
            }
        }
        found
    }

    // Takes what makes up a source by flags or variables; whether it is that.
    fn give(&mut self, name: &str, text: &str, origin: &Origin) -> bool {
        match name {
            _ if name == SOURCE.name => self.given.url = Some(text.to_owned()),
            _ if name == SOURCE_TABLE.name => {
                let tables = text.split(',').map(str::trim).filter(|table| !table.is_empty());
                self.given.tables = tables.map(str::to_owned).collect();
            }
            _ if name == SOURCE_SETUP.name => match text.parse() {
                Ok(setup) => self.given.setup = setup,
                Err(_) => self.problem(origin, Shape::Flag.refusal(text)),
            },
            _ => return false,
        }
        true
    }

    fn take(&mut self, setting: &'static Setting, text: &str, origin: Origin) {
        match setting.shape.parse(text) {
            Ok(value) => {
                self.values.0.insert(setting.name, (value, origin));
            }
            // A file has many settings; flags and variables name theirs already.
            Err(reason) if matches!(origin, Origin::File(..)) => {
                self.problem(origin, format!("{}: {reason}", setting.name));
            }
            Err(reason) => self.problem(origin, reason),
        }
    }

    fn unknown_key(
        &mut self,
        key: &Spanned<DeString<'_>>,
        name: &str,
        at: Origin,
        known: &[&'static Setting],
    ) {
        let whole = known.iter().map(|s| s.name.to_owned());
        // `event_bytes_max` outside of [limits] is meant for [limits].
        let moved = known.iter().find(|s| s.last_segment() == &**key.get_ref());
        let groups = ["limits", "stream", "table", "source"].map(str::to_owned);
        match moved {
            Some(setting) => {
                self.problem(at, format!("no setting is called `{name}`; did you mean `{}`?", setting.name));
            }
            None => self.unknown(at, "setting ", name, whole.chain(groups)),
        }
    }

    fn unknown(&mut self, at: impl Display, noun: &str, name: &str, names: impl Iterator<Item = String>) {
        let missing = if noun.is_empty() {
            "no such setting".to_owned()
        } else {
            format!("no {noun}is called `{name}`")
        };
        match nearest(name, names) {
            Some(near) => self.problem(at, format!("{missing}; did you mean `{near}`?")),
            None => self.problem(at, format!("{missing}; `riacho check` lists all there are")),
        }
    }

    fn problem(&mut self, at: impl Display, what: impl Into<String>) {
        self.problems.push(Problem { at: at.to_string(), what: what.into() });
    }
}

/// Adds a problem for each source that is called as one above it, or feeds a table of the same name.
fn same_names(sources: &[(SourceSettings, Origin)], problems: &mut Vec<Problem>) {
    for (n, (source, at)) in sources.iter().enumerate() {
        for (above, above_at) in sources.iter().take(n) {
            if above.name == source.name {
                let what = format!(
                    "source: another one is called `{}` ({above_at}); give it another `name`",
                    source.name
                );
                problems.push(Problem { at: at.to_string(), what });
            }
            let named = |source: &SourceSettings| -> Vec<String> {
                let tables = source.tables.iter().filter(|table| !table.is_pattern());
                tables.map(|table| table.name.clone().unwrap_or_else(|| table.table.clone())).collect()
            };
            let theirs = named(above);
            for name in named(source).into_iter().filter(|name| theirs.contains(name)) {
                let what = format!(
                    "source: `{name}` is a table of the source `{}` too; rename one of them with `as`",
                    above.name
                );
                problems.push(Problem { at: at.to_string(), what });
            }
        }
    }
}

/// Adds a problem for each of `rules`, which are for `noun`s, that one above it leaves nothing to.
fn unreachable_rules<R: Rule>(noun: &str, rules: &[(R, Origin)], problems: &mut Vec<Problem>) {
    for (n, (rule, at)) in rules.iter().enumerate() {
        let matches = rule.matches();
        let covering = rules.iter().take(n).find(|(above, _)| {
            let above = above.matches();
            above == matches
                || above.as_str() == "**"
                || matches!(matches, Selector::Exact(name) if selects(above, name.as_str()))
        });
        if let Some((above, above_at)) = covering {
            let what = format!(
                "{noun}: no {noun} reaches the rule for `{}`: the first match wins, and `{}` ({above_at}) takes them all",
                matches.as_str(),
                above.matches().as_str()
            );
            problems.push(Problem { at: at.to_string(), what });
        }
    }
}

/// The name among `names` that was probably meant by `name`.
fn nearest(name: &str, names: impl Iterator<Item = String>) -> Option<String> {
    names
        .map(|candidate| (strsim::normalized_damerau_levenshtein(name, &candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

// Values of a file go the same way as all others: as text.
fn text_of(value: &DeValue<'_>, shape: Shape) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(flag) => Ok(flag.to_string()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map(|n| n.to_string())
            .map_err(|_| shape.refusal(number.as_str())),
        DeValue::Array(items) if shape == Shape::Origins => {
            let items: Option<Vec<&str>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            items.map(|items| items.join(",")).ok_or_else(|| shape.refusal("something else in the list"))
        }
        DeValue::Array(items) if shape == Shape::Tables => {
            let items: Option<Vec<serde_json::Value>> =
                items.iter().map(|item| json_of(item.get_ref())).collect();
            items
                .map(|items| serde_json::Value::from(items).to_string())
                .ok_or_else(|| shape.refusal("something else in the list"))
        }
        DeValue::Float(number) => Err(shape.refusal(number.as_str())),
        other => Err(format!("expected {}, got {}", shape.expected(), other.type_str())),
    }
}

// Texts, lists and tables of them as JSON; none for anything else.
fn json_of(value: &DeValue<'_>) -> Option<serde_json::Value> {
    match value {
        DeValue::String(text) => Some(text.to_string().into()),
        DeValue::Array(items) => items.iter().map(|item| json_of(item.get_ref())).collect(),
        DeValue::Table(table) => {
            let members =
                table.iter().map(|(key, value)| Some((key.get_ref().to_string(), json_of(value.get_ref())?)));
            members.collect::<Option<serde_json::Map<_, _>>>().map(Into::into)
        }
        _ => None,
    }
}

fn line_of(file: &SettingsFile, at: usize) -> usize {
    1 + file.text.bytes().take(at).filter(|b| *b == b'\n').count()
}

const LIKENESS_MIN: f64 = 0.6;

// Settings that are none of a server's configuration.
static OTHERS: [&Setting; 3] = [&CONFIG, &SERVER, &INGEST_SECRET];
