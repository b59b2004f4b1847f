//! What is configured per stream pattern.

use super::read::Values;
use riacho_core::name::{Pattern, Selector};
use std::{sync::Arc, time::Duration};

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

/// All rules: the configured ones in their order, and the one for every other stream. The first that matches holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamRules {
    configured: Vec<Arc<StreamRule>>,
    last_resort: Arc<StreamRule>,
}

impl StreamRules {
    /// Rules in their order; the last resort comes after them.
    pub fn new(configured: Vec<StreamRule>) -> Self {
        let configured = configured.into_iter().map(Arc::new).collect();
        Self { configured, last_resort: Arc::new(StreamRule::last_resort()) }
    }

    /// The same, with `rule` where no configured one matches.
    pub fn or(mut self, rule: StreamRule) -> Self {
        self.configured.push(Arc::new(rule));
        self
    }

    /// What holds for the stream `name`.
    pub fn of(&self, name: &str) -> &Arc<StreamRule> {
        self.configured(name).unwrap_or(&self.last_resort)
    }

    /// The configured rule for the stream `name`, if there is one.
    pub fn configured(&self, name: &str) -> Option<&Arc<StreamRule>> {
        self.configured.iter().find(|rule| rule.is_for(name))
    }
}

impl StreamRule {
    /// Whether it is for the stream `name`, were it the only rule.
    pub fn is_for(&self, name: &str) -> bool {
        match &self.matches {
            Selector::Exact(exact) => exact.as_str() == name,
            Selector::Pattern(pattern) => pattern.matches(name),
        }
    }

    /// What holds where nothing is configured.
    pub(super) fn last_resort() -> Self {
        let all = Pattern::parse("**").expect("`**` is a pattern");
        Self {
            matches: Selector::Pattern(all),
            durability: Durability::Durable,
            keep: Keep::DEFAULT,
            closed: false,
        }
    }

    /// The rule of one `[[stream]]`; none if it does not say what it is for.
    pub(super) fn read(values: &Values) -> Option<Self> {
        let keep = Keep {
            age: values.find("stream.keep.age"),
            bytes: values.find("stream.keep.bytes"),
            events: values.find("stream.keep.events"),
        };
        Some(Self {
            matches: values.find("stream.match")?,
            durability: values.find("stream.durability").unwrap_or(Durability::Durable),
            // `keep = { events = 100 }` is taken at its word: 100 events, however old.
            keep: if keep == Keep::WITHOUT_END { Keep::DEFAULT } else { keep },
            closed: values.find("stream.closed").unwrap_or(false),
        })
    }
}

impl Keep {
    /// What is kept where nothing is said.
    pub const DEFAULT: Self =
        Self { age: Some(Duration::from_secs(7 * 86_400)), bytes: Some(1 << 30), events: None };

    const WITHOUT_END: Self = Self { age: None, bytes: None, events: None };
}
