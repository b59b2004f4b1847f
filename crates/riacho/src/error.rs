//! What went wrong, for callers that do something about it.

use std::{
    borrow::Cow,
    error::Error as StdError,
    fmt::{self, Display, Formatter},
};

/// What a caller does differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request cannot be right, however often it is tried.
    BadRequest,
    /// No room on the disk: the log reads on and takes events again once there is room.
    Full,
    /// The log does not take events until the process is restarted, or a part of it cannot be read.
    Failed,
    /// What the disk holds is not what was written; an operator must look.
    Corrupt,
    /// What is asked for is no longer kept.
    Trimmed,
    /// A named limit is reached; later may do.
    Overloaded,
    /// Something outside (an address, a file, a peer) is not to be had.
    Unavailable,
}

/// A failure: what kind, what was being done, and the cause.
///
/// `Display` gives "failed to ..." and nothing of the cause; the edge prints the chain once.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    op: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure of `op`, which completes "failed to ...".
    pub fn new(kind: ErrorKind, op: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, op: op.into(), source: None }
    }

    /// The same failure, with its cause.
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Logs that a subscription ended by this failure; the reader resumes from its cursor.
    pub(crate) fn log_end_of_subscription(&self) {
        match self.kind {
            ErrorKind::Trimmed => {
                tracing::info!(reason = "slow", error = self.chain(), "subscription closed")
            }
            _ => tracing::warn!(error = self.chain(), "subscription closed: the log could not be read"),
        }
    }

    /// The failure and its causes on one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(err) = cause {
            text.push_str(": ");
            text.push_str(&err.to_string());
            cause = err.source();
        }
        text
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}", self.op)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}
