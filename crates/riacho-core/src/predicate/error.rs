//! Why a predicate, its parameters or a projection is refused.

use std::fmt::{self, Display, Formatter};

/// Why a text is no predicate (or no projection). `Display` is a sentence that names the token and its place, without
/// a stop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PredicateError {
    kind: PredicateErrorKind,
    what: Box<str>,
    place: Option<Place>,
}

/// What a caller does differently.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PredicateErrorKind {
    /// The text is no expression of SQL, or kinds do not fit: `lower(1)`.
    Invalid,
    /// The text uses what SQL has and predicates do not.
    Unsupported,
    /// A bound is exceeded.
    TooLarge,
    /// The parameters are no list of scalars, or not as many as the text uses.
    Params,
}

/// A place in a text: line and column in characters, both from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl PredicateError {
    /// The kind.
    pub fn kind(&self) -> PredicateErrorKind {
        self.kind
    }

    /// Where the token stands that is at fault, where there is one.
    pub fn place(&self) -> Option<Place> {
        self.place
    }

    pub(super) fn new(kind: PredicateErrorKind, what: impl Into<Box<str>>, place: Option<Place>) -> Self {
        Self { kind, what: what.into(), place }
    }

    pub(super) fn too_large(what: &str, bound: usize) -> Self {
        Self::new(PredicateErrorKind::TooLarge, format!("{what} of more than {bound}"), None)
    }

    /// Says what the bound counts.
    pub(super) fn unit(self, unit: &str) -> Self {
        Self { what: format!("{} {unit}", self.what).into(), ..self }
    }

    pub(super) fn at(self, place: Option<Place>) -> Self {
        Self { place, ..self }
    }
}

impl Display for PredicateError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(place) => write!(f, "line {}, column {}: {}", place.line, place.column, self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for PredicateError {}
