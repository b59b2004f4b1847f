//! One immutable entry of the log.

use crate::{name::StreamName, position::Offset, time::Millis};
use std::{
    fmt::{self, Display, Formatter},
    sync::Arc,
};

/// One immutable entry of the log, as every reader sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its place in the log.
    pub offset: Offset,
    /// When the log took it; never decreases with the offset.
    pub time: Millis,
    /// The stream it belongs to.
    pub stream: StreamName,
    /// Its type, if it has one.
    pub event_type: Option<EventType>,
    /// What it says; of a change the row's value, empty where there is none any more.
    pub data: Data,
    /// The change of a row that it is; none for an event of a stream.
    pub change: Option<Box<Change>>,
}

/// What makes an event of a table's stream a change: which row, what became of it, and the transaction it belongs to.
///
/// The row's new value is the event's data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The row's key, unique in its table.
    pub key: Box<str>,
    /// What became of the row.
    pub operation: Operation,
    /// The row before, a JSON object; none for an insert.
    pub old: Option<Box<str>>,
    /// The name of its transaction; none for a change alone.
    pub txid: Option<Arc<str>>,
    /// Whether it completes its transaction; a change alone does.
    pub last: bool,
}

/// What became of a row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// It was not there before.
    Insert,
    /// It has another value.
    Update,
    /// It is gone.
    Delete,
}

impl Operation {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// What an event says: UTF-8 text, and whether it was published as JSON (then the text is one valid JSON value).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Data {
    /// The text as published.
    pub text: Box<str>,
    /// Whether the text is a JSON value.
    pub json: bool,
}

impl Data {
    /// Data that is plain text.
    pub fn text(text: impl Into<Box<str>>) -> Self {
        Self { text: text.into(), json: false }
    }

    /// Takes `text` as one JSON value (RFC 8259), kept as it is: white space, repeated members, numbers of any size and
    /// escaped half surrogate pairs included. Nesting has no bound but that of the text, and costs no stack.
    ///
    /// # Errors
    /// Says where it is not JSON.
    pub fn json(text: impl Into<Box<str>>) -> Result<Self, serde_json::Error> {
        let text = text.into();
        serde_json::from_str::<&serde_json::value::RawValue>(&text)?;
        Ok(Self { text, json: true })
    }
}

/// The type of an event: 1 to [`TYPE_BYTES_MAX`] bytes of UTF-8 without control characters.
///
/// Types that begin with `riacho.` are the server's own; [`EventType::parse`] refuses them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct EventType(Arc<str>);

impl EventType {
    /// Takes a publisher's `text` as a type.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, TypeError> {
        if text.starts_with(RESERVED_PREFIX) {
            return Err(TypeError::Reserved);
        }
        Self::any(text)
    }

    /// Takes any well-formed type, the server's own included; for reading back what the log holds.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn any(text: &str) -> Result<Self, TypeError> {
        if text.is_empty() {
            return Err(TypeError::Empty);
        }
        if text.len() > TYPE_BYTES_MAX {
            return Err(TypeError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(TypeError::Control);
        }
        Ok(Self(text.into()))
    }

    /// The type's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no event type. `Display` completes "the event type ...".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TypeError {
    /// No bytes at all.
    Empty,
    /// More than [`TYPE_BYTES_MAX`] bytes.
    TooLong,
    /// A control character, line breaks among them.
    Control,
    /// It begins with `riacho.`.
    Reserved,
}

impl Display for TypeError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong => write!(f, "is longer than {TYPE_BYTES_MAX} bytes"),
            Self::Control => f.write_str("holds a line break or another control character"),
            Self::Reserved => f.write_str("begins with `riacho.`, which the server keeps for itself"),
        }
    }
}

impl std::error::Error for TypeError {}

/// The longest event type, in bytes.
pub const TYPE_BYTES_MAX: usize = 255;

const RESERVED_PREFIX: &str = "riacho.";
