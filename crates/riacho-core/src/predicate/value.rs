//! What a term is for one row: a value of one of JSON's kinds.

use super::{number::Number, words};
use crate::scan;
use std::{
    borrow::Cow,
    cmp::Ordering,
    fmt::{self, Display, Formatter},
};

/// A scalar that stands in a predicate.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Number(Number),
    Text(Box<str>),
}

/// What kind a term is known to be of before any row is seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Anything: a column, or NULL.
    Any,
    Bool,
    Number,
    Text,
}

/// A value. Objects and arrays are values that no operator looks into.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    Composite,
}

impl<'a> Value<'a> {
    /// The value of this JSON text.
    pub(super) fn of(json: &'a str) -> Self {
        match json.as_bytes().first() {
            Some(b'"') => {
                let between = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
                Self::Text(scan::text(between))
            }
            Some(b'{' | b'[') => Self::Composite,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            _ => Number::parse(json).map_or(Self::Null, Self::Number),
        }
    }

    /// How it compares; none where one is NULL, both are of different kinds, or one is an object or array.
    pub(super) fn compare(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Self::Number(a), Value::Number(b)) => Some(a.cmp(b)),
            (Self::Text(a), Value::Text(b)) => Some((**a).cmp(b)),
            _ => None,
        }
    }

    /// Whether it is NULL.
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// What is neither true nor false is unknown.
    pub(super) fn truth(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }
}

impl Constant {
    /// The scalar of this JSON text; none for an object, an array, and what is no JSON.
    pub(super) fn of(json: &str) -> Option<Self> {
        match Value::of(json) {
            Value::Null if json != "null" => None,
            Value::Null => Some(Self::Null),
            Value::Bool(value) => Some(Self::Bool(value)),
            Value::Number(number) => Some(Self::Number(number)),
            Value::Text(text) => Some(Self::Text(text.into())),
            Value::Composite => None,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Any,
            Self::Bool(_) => Kind::Bool,
            Self::Number(_) => Kind::Number,
            Self::Text(_) => Kind::Text,
        }
    }

    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
        }
    }

    /// As `self.value().compare(other)`, without a copy.
    pub(super) fn compare(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Self::Number(a), Value::Number(b)) => Some(a.cmp(b)),
            (Self::Text(a), Value::Text(b)) => Some((**a).cmp(b)),
            _ => None,
        }
    }
}

impl Kind {
    /// What two terms are that must be of one kind; none where they are not.
    pub(super) fn with(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, kind) | (kind, Self::Any) => Some(kind),
            (a, b) => (a == b).then_some(a),
        }
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "of any kind",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::Text => "text",
        })
    }
}

impl Display for Constant {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Bool(true) => f.write_str("TRUE"),
            Self::Bool(false) => f.write_str("FALSE"),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => words::write_text(f, text),
        }
    }
}
