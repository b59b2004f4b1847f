//! Stream names, patterns over them, and the selection of streams one subscription reads.
//!
//! A `StreamName` is valid by construction; nothing after the edge checks a name again.

use crate::table::terms::Terms;
use std::{
    borrow::Borrow,
    fmt::{self, Display, Formatter},
    sync::Arc,
};

/// The name of a stream.
///
/// 1 to [`NAME_BYTES_MAX`] bytes of UTF-8, no control characters, no `*`; `/` separates segments. The first segment
/// `-` is reserved for the server. Cheap to clone: the text is shared.
/// Spec: `spec/protocol.md` "Names".
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// Takes `text` as a name.
    ///
    /// # Errors
    /// Says which rule of the type's shape is broken.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check(text)?;
        if text.contains('*') {
            return Err(NameError::Star);
        }
        Ok(Self(text.into()))
    }

    /// The name of the stream of changes of the table `table`: the server's own, which no pattern and no publisher
    /// reaches.
    ///
    /// # Errors
    /// Says which rule of a name's shape the table's name breaks.
    pub fn of_table(table: &str) -> Result<Self, NameError> {
        Self::parse(table)?;
        Ok(Self(format!("{TABLE_PREFIX}{table}").into()))
    }

    /// The name of the stream of a hidden table beside the table `table`: which record of a source made each row. Nobody can
    /// name such a table, and no list has it.
    ///
    /// # Errors
    /// As [`StreamName::of_table`].
    pub fn of_versions(table: &str) -> Result<Self, NameError> {
        Self::parse(table)?;
        Ok(Self(format!("{TABLE_PREFIX}{VERSIONS_PREFIX}{table}").into()))
    }

    /// Takes any well-formed name, that of a table's stream included; for reading back what the log holds.
    ///
    /// # Errors
    /// As [`StreamName::parse`].
    pub fn any(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix(TABLE_PREFIX) {
            Some(table) => match table.strip_prefix(VERSIONS_PREFIX) {
                Some(table) => Self::of_versions(table),
                None => Self::of_table(table),
            },
            None => Self::parse(text),
        }
    }

    /// The table whose changes it holds, if it is the stream of one.
    pub fn table(&self) -> Option<&str> {
        table_of(&self.0)
    }

    /// Whether it is that of a hidden table.
    pub fn is_hidden(&self) -> bool {
        self.table().is_some_and(|table| table.starts_with(VERSIONS_PREFIX))
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The table whose stream of changes is called `name`, if it is one.
pub fn table_of(name: &str) -> Option<&str> {
    name.strip_prefix(TABLE_PREFIX)
}

impl Display for StreamName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Borrow<str> for StreamName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A pattern over stream names: `*` is one whole segment, `**` (only at the end) is one or more.
///
/// At most [`NAME_BYTES_MAX`] bytes, no control characters, at least one `*`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// Takes `text` as a pattern.
    ///
    /// # Errors
    /// Says which rule of the type's shape is broken.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check(text)?;
        if !text.contains('*') {
            return Err(NameError::NoStar);
        }
        let mut segments = text.split('/').peekable();
        while let Some(segment) = segments.next() {
            match segment {
                "**" if segments.peek().is_some() => return Err(NameError::RestNotLast),
                "*" | "**" => {}
                other if other.contains('*') => return Err(NameError::StarInSegment),
                _ => {}
            }
        }
        Ok(Self(text.into()))
    }

    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text before the first wildcard: every name that matches begins with it.
    pub fn literal_prefix(&self) -> &str {
        self.0.split('*').next().unwrap_or_default()
    }

    /// Whether `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        if table_of(name).is_some() {
            return false;
        }
        let mut names = name.split('/');
        for segment in self.0.split('/') {
            match (segment, names.next()) {
                ("**", Some(_)) => return true,
                ("*", Some(_)) => {}
                (literal, Some(segment)) if literal == segment => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }
}

/// One `stream=` of a subscription.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Selector {
    /// The stream of this name.
    Exact(StreamName),
    /// Every stream, present or future, whose name matches.
    Pattern(Pattern),
}

impl Selector {
    /// Takes `text` as a name, or as a pattern where it holds a `*`.
    ///
    /// # Errors
    /// Says which rule of the shape is broken.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.contains('*') {
            Pattern::parse(text).map(Self::Pattern)
        } else {
            StreamName::parse(text).map(Self::Exact)
        }
    }

    /// The text it was parsed from.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exact(name) => name.as_str(),
            Self::Pattern(pattern) => pattern.as_str(),
        }
    }
}

/// What one subscription reads: names and patterns of streams, sorted and without repeats, and the terms on which it
/// reads tables. Equal subscriptions share a view.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Selection {
    selectors: Arc<[Selector]>,
    terms: Option<Arc<Terms>>,
}

impl Selection {
    /// A selection of all that `selectors` name; an empty list selects nothing.
    pub fn new(mut selectors: Vec<Selector>) -> Self {
        selectors.sort();
        selectors.dedup();
        Self { selectors: selectors.into(), terms: None }
    }

    /// The same, its tables read on `terms`.
    #[must_use]
    pub fn on(self, terms: Terms) -> Self {
        Self { terms: Some(Arc::new(terms)), ..self }
    }

    /// The terms on which it reads tables; none where it reads none.
    pub fn terms(&self) -> Option<&Arc<Terms>> {
        self.terms.as_ref()
    }

    /// The streams of the tables it reads.
    pub fn tables(&self) -> impl Iterator<Item = &StreamName> {
        self.names().filter(|name| name.table().is_some())
    }

    /// What it reads beside tables.
    #[must_use]
    pub fn without_tables(&self) -> Self {
        let kept = |selector: &&Selector| match selector {
            Selector::Exact(name) => name.table().is_none(),
            Selector::Pattern(_) => true,
        };
        Self { selectors: self.selectors.iter().filter(kept).cloned().collect(), terms: None }
    }

    /// Whether it selects nothing.
    pub fn is_empty(&self) -> bool {
        self.selectors.is_empty()
    }

    /// A selection of one stream.
    pub fn one(name: StreamName) -> Self {
        Self::new(vec![Selector::Exact(name)])
    }

    /// Its selectors, sorted.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// The one stream it selects, unless it may select several.
    pub fn single(&self) -> Option<&StreamName> {
        match &*self.selectors {
            [Selector::Exact(name)] => Some(name),
            _ => None,
        }
    }

    /// The names selected exactly.
    pub fn names(&self) -> impl Iterator<Item = &StreamName> {
        self.selectors.iter().filter_map(|s| match s {
            Selector::Exact(name) => Some(name),
            Selector::Pattern(_) => None,
        })
    }

    /// The patterns it selects by.
    pub fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.selectors.iter().filter_map(|s| match s {
            Selector::Pattern(pattern) => Some(pattern),
            Selector::Exact(_) => None,
        })
    }

    /// Whether the stream `name` is selected.
    pub fn matches(&self, name: &str) -> bool {
        // Exact selectors sort before patterns, so the names are a sorted prefix.
        let exact = self.selectors.partition_point(|s| matches!(s, Selector::Exact(_)));
        let (names, patterns) = self.selectors.split_at(exact);
        names.binary_search_by(|s| s.as_str().cmp(name)).is_ok()
            || patterns.iter().any(|s| matches!(s, Selector::Pattern(p) if p.matches(name)))
    }
}

/// Why a text is no name or pattern. `Display` completes "the stream name ...".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// No bytes at all.
    Empty,
    /// More than [`NAME_BYTES_MAX`] bytes.
    TooLong,
    /// A control character (Unicode category Cc).
    Control,
    /// `*` in a name.
    Star,
    /// No `*` in a pattern.
    NoStar,
    /// `*` beside other characters in a segment of a pattern.
    StarInSegment,
    /// `**` before the last segment of a pattern.
    RestNotLast,
    /// The first segment is `-`.
    Reserved,
}

impl Display for NameError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong => write!(f, "is longer than {NAME_BYTES_MAX} bytes"),
            Self::Control => f.write_str("holds a control character"),
            Self::Star => f.write_str("holds `*`, which only patterns may (GET /streams?stream=a/*)"),
            Self::NoStar => f.write_str("holds no `*`, as a pattern must"),
            Self::StarInSegment => {
                f.write_str("uses `*` beside other characters; it stands for a whole segment")
            }
            Self::RestNotLast => f.write_str("uses `**` before its last segment; it stands for all the rest"),
            Self::Reserved => f.write_str("begins with the segment `-`, which the server keeps for itself"),
        }
    }
}

impl std::error::Error for NameError {}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    if text.split('/').next() == Some("-") {
        return Err(NameError::Reserved);
    }
    Ok(())
}

// Names whose first segment is `-` are refused to everybody else.
const TABLE_PREFIX: &str = "-/tables/";
const VERSIONS_PREFIX: &str = "-/versions/";

/// The longest name or pattern, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 1024;
