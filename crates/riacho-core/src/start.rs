//! Where a subscription starts: what the request said, parsed.
//!
//! A bad resume cursor is a value here, not an error: answering it with a 4xx would end a native EventSource for good,
//! so it is told in band. A bad `from=` is an error: a person wrote it.

use crate::{
    position::Position,
    time::{Millis, parse_duration, parse_rfc3339},
};
use std::{
    fmt::{self, Display, Formatter},
    time::Duration,
};

/// Where a subscription starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// With the next event.
    Now,
    /// With the rows of tables as they are, and the next event of streams.
    Snapshot,
    /// With the oldest event still kept.
    Earliest,
    /// After the last event a client has seen.
    After(Position),
    /// A resume with something that is no cursor.
    Malformed,
    /// With the first event not older than this.
    Ago(Duration),
    /// With the first event not before this time.
    Since(Millis),
    /// With the last so many events.
    Tail(u64),
}

impl Start {
    /// The start a request asks for, highest first: a resume cursor (`Last-Event-ID` or its query form), `from`,
    /// `tail`, and without any of them now. An empty resume cursor is none.
    ///
    /// # Errors
    /// Says which parameter is wrong.
    pub fn choose(resume: Option<&str>, from: Option<&str>, tail: Option<&str>) -> Result<Self, StartError> {
        if let Some(cursor) = resume.filter(|c| !c.is_empty()) {
            return Ok(cursor.parse().map_or(Self::Malformed, Self::After));
        }
        if let Some(from) = from {
            return Self::parse_from(from);
        }
        tail.map_or(Ok(Self::Now), Self::parse_tail)
    }

    // `u64::from_str` alone would also take `+1`.
    fn parse_tail(text: &str) -> Result<Self, StartError> {
        let digits = Some(text).filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|t| t.parse().ok()).map(Self::Tail).ok_or(StartError::Tail)
    }

    fn parse_from(text: &str) -> Result<Self, StartError> {
        match text {
            "now" => return Ok(Self::Now),
            "earliest" => return Ok(Self::Earliest),
            _ => {}
        }
        if let Some(ago) = parse_duration(text) {
            return Ok(Self::Ago(ago));
        }
        // An unescaped `+01:00` in a query arrives as ` 01:00`.
        if let Some(time) = parse_rfc3339(text).or_else(|| parse_rfc3339(&text.replacen(' ', "+", 1))) {
            return Ok(Self::Since(time));
        }
        text.parse().map(Self::After).map_err(|_| StartError::From)
    }
}

/// Which parameter of a start is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// `from` is none of its forms.
    From,
    /// `tail` is no number.
    Tail,
}

impl Display for StartError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::From => {
                "`from` is none of: now, earliest, a cursor, a duration like 10m, a time like 2026-11-21T10:54:00Z"
            }
            Self::Tail => "`tail` is no whole number of events",
        })
    }
}

impl std::error::Error for StartError {}
