//! What stands against a source, for people.

use riacho_core::source::machine::Fault;

/// Something that a check of a database found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What is wrong or could be better: a sentence without a stop.
    pub message: String,
    /// What to do about it: a sentence without a stop, or SQL.
    pub remedy: Option<String>,
    /// Whether a source cannot run as it is.
    pub fatal: bool,
}

impl Finding {
    pub(super) fn fatal(fault: Fault) -> Self {
        Self { message: fault.message, remedy: fault.remedy, fatal: true }
    }

    pub(super) fn needed(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: Some(remedy.into()), fatal: true }
    }

    pub(super) fn advised(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: Some(remedy.into()), fatal: false }
    }
}
