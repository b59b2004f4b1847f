//! What the configuration says of streams: the first rule whose selector matches a name decides.

use super::store::Keep;
use riacho_core::name::Selector;

/// The rules for all streams of a log.
#[derive(Clone, Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    create: bool,
}

/// What holds for the streams of one selector.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which streams it is for.
    pub selector: Selector,
    /// Whether events live in memory only; else they are durable before they are visible.
    pub memory: bool,
    /// How long events are kept.
    pub keep: Keep,
    /// Whether the stream has ended: nothing is appended, and readers are told not to come back.
    pub closed: bool,
}

impl Rules {
    /// Rules in the order they are tried. Without `create`, only streams that an earlier rule than the last names come
    /// into being; the last rule is the built-in one for everything else.
    ///
    /// `rules` is not empty.
    pub fn new(rules: Vec<Rule>, create: bool) -> Self {
        Self { rules, create }
    }

    /// The rule for `name`, by its place in the list.
    pub(super) fn find(&self, name: &str) -> u16 {
        let found = self.rules.iter().position(|rule| match &rule.selector {
            Selector::Exact(exact) => exact.as_str() == name,
            Selector::Pattern(pattern) => pattern.matches(name),
        });
        u16::try_from(found.unwrap_or(self.rules.len().saturating_sub(1))).unwrap_or(u16::MAX)
    }

    /// The rule at `index`, as [`Rules::find`] gave it.
    pub(super) fn get(&self, index: u16) -> Option<&Rule> {
        self.rules.get(usize::from(index))
    }

    /// The rule for `name`.
    pub fn of(&self, name: &str) -> Option<&Rule> {
        self.get(self.find(name))
    }

    /// Whether a stream under the rule at `index` may come into being by being used.
    pub(super) fn creates(&self, index: u16) -> bool {
        self.create || usize::from(index) + 1 < self.rules.len()
    }
}
