//! All settings, checked once.
//!
//! Each setting is defined in one place, [`table`]: its name, shape, range, default and sentence. Flags, `RIACHO_*`
//! variables, the file, help, `riacho check`, `docs/config.md` and `riacho.example.toml` all come from there. Nothing in
//! here but [`load`] touches the process, so two servers with different settings run in one test.

/// What a value looks like, and how it is read from text and written back.
mod shape;
/// The address to listen on.
mod listen;
/// Which web pages of other sites may read.
mod origins;
/// Every setting, and the plain structs that the parts of the server receive.
mod table;
/// What is configured per stream pattern, and per pattern of tables.
mod rules;
/// Flags, environment and file become values, each with its origin.
mod read;
/// What is configured of sources.
mod sources;
/// Settings that contradict each other.
mod contradictions;
/// The settings in effect, as text and as JSON.
mod effective;
/// `docs/config.md` and `riacho.example.toml`.
mod docs;
/// The configuration of this process.
mod load;

pub use docs::{example, markdown};
pub use effective::Effective;
pub use listen::Listen;
pub use load::load;
pub use origins::Origins;
pub use read::{Origin, Problem, Problems, SettingsFile};
pub use rules::{Durability, Keep, StreamRule, StreamRules, TableRule, TableRules};
pub use shape::Setting;
pub(crate) use shape::Shape;
pub(crate) use sources::source_of;
pub use table::{
    CONFIG, Delivery, Http, INGEST_SECRET, Limits, Log, LogFormat, Logging, SERVER, SOURCE, SOURCE_SETUP,
    SOURCE_TABLE, Tables, settings,
};

use crate::source::SourceSettings;
use std::ffi::OsString;

/// Everything a server is told. Its parts receive only their piece.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Where to listen and for whom.
    pub http: Http,
    /// Where events are kept, which, and for how long.
    pub log: Log,
    /// How the rows of tables are kept and read.
    pub tables: Tables,
    /// Where rows come from outside.
    pub sources: Vec<SourceSettings>,
    /// How events reach subscribers.
    pub delivery: Delivery,
    /// What is written about the server's own doings.
    pub logging: Logging,
    /// What each connection, request and queue may take at most.
    pub limits: Limits,
    /// Each setting as text, and where it came from.
    pub effective: Effective,
}

impl Config {
    /// Settings from flags (`args`: name of the flag or setting, and value) over `RIACHO_*` in `env` over `file` over defaults.
    /// Variables of other names are passed over.
    ///
    /// # Errors
    /// All that is wrong, each problem with where it stands.
    pub fn from_parts(
        args: &[(String, String)],
        env: &[(OsString, OsString)],
        file: Option<&SettingsFile>,
    ) -> Result<Self, Problems> {
        let mut reading = read::Reading::default();
        reading.defaults();
        if let Some(file) = file {
            reading.file(file);
        }
        reading.env(env);
        reading.args(args);
        let (values, rules) = reading.finish()?;
        let effective = Effective::new(&values, &rules);
        let config = Self {
            http: Http::read(&values),
            sources: rules.sources.iter().map(|(source, _)| source.clone()).collect(),
            log: Log::read(&values, rules.without_origins()),
            tables: Tables::read(&values),
            delivery: Delivery::read(&values),
            logging: Logging::read(&values),
            limits: Limits::read(&values),
            effective,
        };
        contradictions::check(&config)?;
        Ok(config)
    }
}
