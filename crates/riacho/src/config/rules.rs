//! What is configured per stream pattern, and per pattern of tables.

use super::read::Values;
use riacho_core::name::{Pattern, Selector, table_of};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// One `[[stream]]`: what holds for the streams it matches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamRule {
    /// The streams it is for.
    pub matches: Selector,
    /// What an answer to a publisher promises.
    pub durability: Durability,
    /// How much is kept.
    pub keep: Keep,
    /// Readers are told not to come back.
    pub closed: bool,
}

/// What an answer to a publisher promises.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Durability {
    /// The event is on disk.
    Durable,
    /// The event is in memory; a restart loses it.
    Memory,
}

/// How much of a stream is kept: within all bounds that are set, without end if none is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Keep {
    /// No event older than this.
    pub age: Option<Duration>,
    /// Bytes.
    pub bytes: Option<u64>,
    /// Events.
    pub events: Option<u64>,
}

/// One `[[table]]`: what holds for the tables it matches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableRule {
    /// The tables it is for.
    pub matches: Selector,
    /// How long it is remembered that a row was deleted.
    pub tombstones: Duration,
    /// Whether a change says what the row was before.
    pub old_value: bool,
    /// The file of the JSON Schema that rows must satisfy, relative to the working directory.
    pub schema: Option<PathBuf>,
    /// What holds for the stream of a table's changes: durable, and `keep` as said. What it matches are names of
    /// tables, not of their streams.
    pub stream: Arc<StreamRule>,
}

/// All rules: the configured ones in their order, and the one for every other stream. The first that matches holds.
/// Those of tables hold for the tables' streams.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamRules {
    configured: Vec<Arc<StreamRule>>,
    last_resort: Arc<StreamRule>,
    tables: TableRules,
}

/// All rules of tables: the configured ones in their order, and the one for every other table. The first that matches
/// holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableRules {
    configured: Vec<Arc<TableRule>>,
    last_resort: Arc<TableRule>,
}

impl StreamRules {
    /// Rules in their order; the last resort comes after them. No table has a rule of its own.
    pub fn new(configured: Vec<StreamRule>) -> Self {
        let configured = configured.into_iter().map(Arc::new).collect();
        let tables = TableRules::new(Vec::new());
        Self { configured, last_resort: Arc::new(StreamRule::last_resort()), tables }
    }

    /// The same, with these rules for tables.
    pub fn with_tables(self, tables: TableRules) -> Self {
        Self { tables, ..self }
    }

    /// The same, with `rule` where no configured one matches.
    pub fn or(mut self, rule: StreamRule) -> Self {
        self.configured.push(Arc::new(rule));
        self
    }

    /// The same, with a rule for the tables `matches` where no configured one matches: what holds by default.
    pub fn or_table(mut self, matches: Selector) -> Self {
        self.tables.configured.push(Arc::new(TableRule { matches, ..TableRule::last_resort() }));
        self
    }

    /// What holds for the stream `name`, which may be that of a table.
    pub fn of(&self, name: &str) -> &Arc<StreamRule> {
        match table_of(name) {
            Some(table) => &self.tables.of(table).stream,
            None => self.configured(name).unwrap_or(&self.last_resort),
        }
    }

    /// The configured rule for the stream `name`, which may be that of a table, if there is one.
    pub fn configured(&self, name: &str) -> Option<&Arc<StreamRule>> {
        match table_of(name) {
            Some(table) => self.tables.configured(table).map(|rule| &rule.stream),
            None => self.configured.iter().find(|rule| rule.is_for(name)),
        }
    }

    /// The rules of tables.
    pub fn tables(&self) -> &TableRules {
        &self.tables
    }
}

impl TableRules {
    /// Rules in their order; the last resort comes after them.
    pub fn new(configured: Vec<TableRule>) -> Self {
        let configured = configured.into_iter().map(Arc::new).collect();
        Self { configured, last_resort: Arc::new(TableRule::last_resort()) }
    }

    /// What holds for the table called `table`.
    pub fn of(&self, table: &str) -> &Arc<TableRule> {
        self.configured(table).unwrap_or(&self.last_resort)
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TableRule>> {
        self.configured.iter()
    }

    /// The configured rule for the table called `table`, if there is one.
    pub fn configured(&self, table: &str) -> Option<&Arc<TableRule>> {
        self.configured.iter().find(|rule| rule.is_for(table))
    }
}

/// A rule, for streams or for tables.
pub(super) trait Rule {
    /// What it is for.
    fn matches(&self) -> &Selector;
}

impl Rule for StreamRule {
    fn matches(&self) -> &Selector {
        &self.matches
    }
}

impl Rule for TableRule {
    fn matches(&self) -> &Selector {
        &self.matches
    }
}

impl StreamRule {
    /// Whether it is for the stream `name`, were it the only rule.
    pub fn is_for(&self, name: &str) -> bool {
        selects(&self.matches, name)
    }

    /// What holds where nothing is configured.
    pub(super) fn last_resort() -> Self {
        Self { matches: everything(), durability: Durability::Durable, keep: Keep::DEFAULT, closed: false }
    }

    /// The rule of one `[[stream]]`; none if it does not say what it is for.
    pub(super) fn read(values: &Values) -> Option<Self> {
        Some(Self {
            matches: values.find("stream.match")?,
            durability: values.find("stream.durability").unwrap_or(Durability::Durable),
            keep: Keep::read(
                values.find("stream.keep.age"),
                values.find("stream.keep.bytes"),
                values.find("stream.keep.events"),
            )
            .unwrap_or(Keep::DEFAULT),
            closed: values.find("stream.closed").unwrap_or(false),
        })
    }
}

impl TableRule {
    /// Whether it is for the table called `table`, were it the only rule.
    pub fn is_for(&self, table: &str) -> bool {
        selects(&self.matches, table)
    }

    /// What holds where nothing is configured.
    pub(super) fn last_resort() -> Self {
        Self {
            matches: everything(),
            tombstones: TOMBSTONES,
            old_value: false,
            schema: None,
            stream: Self::stream(everything(), Keep::OF_TABLES),
        }
    }

    /// The rule of one `[[table]]`; none if it does not say what it is for.
    pub(super) fn read(values: &Values) -> Option<Self> {
        let matches: Selector = values.find("table.match")?;
        let keep = Keep::read(
            values.find("table.keep.age"),
            values.find("table.keep.bytes"),
            values.find("table.keep.events"),
        );
        Some(Self {
            tombstones: values.find("table.tombstones").unwrap_or(TOMBSTONES),
            old_value: values.find("table.old_value").unwrap_or(false),
            schema: values.find("table.schema"),
            stream: Self::stream(matches.clone(), keep.unwrap_or(Keep::OF_TABLES)),
            matches,
        })
    }

    fn stream(matches: Selector, keep: Keep) -> Arc<StreamRule> {
        Arc::new(StreamRule { matches, durability: Durability::Durable, keep, closed: false })
    }
}

impl Keep {
    /// What is kept of a stream where nothing is said.
    pub const DEFAULT: Self =
        Self { age: Some(Duration::from_secs(7 * 86_400)), bytes: Some(1 << 30), events: None };

    /// What is kept of a table's single changes where nothing is said; its rows are kept whatever this is.
    pub const OF_TABLES: Self =
        Self { age: Some(Duration::from_secs(86_400)), bytes: Some(64 << 20), events: None };

    // `keep = { events = 100 }` is taken at its word: 100 events, however old. None where nothing is said.
    fn read(age: Option<Duration>, bytes: Option<u64>, events: Option<u64>) -> Option<Self> {
        let said = age.is_some() || bytes.is_some() || events.is_some();
        said.then_some(Self { age, bytes, events })
    }
}

/// Whether `selector` selects `name`.
pub(super) fn selects(selector: &Selector, name: &str) -> bool {
    match selector {
        Selector::Exact(exact) => exact.as_str() == name,
        Selector::Pattern(pattern) => pattern.matches(name),
    }
}

fn everything() -> Selector {
    Selector::Pattern(Pattern::parse("**").expect("`**` is a pattern"))
}

const TOMBSTONES: Duration = Duration::from_secs(7 * 86_400);
