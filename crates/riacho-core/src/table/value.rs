//! What a row says: one JSON object, kept as it was sent.

use crate::scan::Scan;
use serde_json::value::RawValue;
use std::{
    borrow::Cow,
    collections::HashSet,
    fmt::{self, Display, Formatter, Write as _},
};

/// Takes `text` as the value of a row: one JSON object (RFC 8259) in which no object names a member twice, and at most
/// [`DEPTH_MAX`] objects and arrays stand in each other.
///
/// Gives the text as it was sent, order, escapes and numbers of any size included, but on one line: white space around
/// it is cut, and each line break in it, which can only stand between tokens, is a space. Length has no bound here;
/// stack is not used.
///
/// Half a surrogate pair, escaped, is kept as [`Data::json`](crate::event::Data::json) keeps it. Names are compared as
/// readers of UTF-8 see them, with U+FFFD in its place; so `"\ud800"` and `"\ud801"` are one name.
///
/// # Errors
/// Any kind, with the place of the first fault.
pub fn value(text: &str) -> Result<Box<str>, ValueError> {
    let json = text.trim_matches(SPACE);
    check(json).map_err(|(kind, fault)| {
        let offset = text.len() - text.trim_start_matches(SPACE).len() + fault.offset;
        let place = Place { pointer: fault.pointer, line_column: Some(line_column(text, offset)) };
        ValueError { kind, place, what: fault.what }
    })?;
    Ok(json.replace(['\r', '\n'], " ").into())
}

/// Whether `json` may stand in a row's value where at most `depth_max` more objects and arrays may stand in each other:
/// one JSON value, without white space around it, in which no object names a member twice.
pub(crate) fn nests(json: &str, depth_max: usize) -> bool {
    let mut walk = Walk { scan: Scan::new(json), open: Vec::new(), depth_max };
    serde_json::from_str::<&RawValue>(json).is_ok() && matches!(walk.run(), Some(None))
}

/// Why a text is no value of a row. `Display` is a sentence without a stop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValueError {
    kind: ValueErrorKind,
    place: Place,
    /// What is there instead of an object, or why it is no JSON.
    what: Box<str>,
}

/// What a caller does differently.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ValueErrorKind {
    /// The text is not one JSON value.
    NotJson,
    /// It is JSON, but no object.
    NotObject,
    /// An object in it names a member twice.
    Duplicate,
    /// More than [`DEPTH_MAX`] objects and arrays stand in each other.
    TooDeep,
}

/// A place in a value.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Place {
    /// The way from the value to the member or item, a JSON Pointer (RFC 6901); empty for the value itself. One of more
    /// than [`POINTER_BYTES_MAX`] bytes ends with `…`, and control characters in names are U+FFFD.
    pub pointer: Box<str>,
    /// Line and column in the text that was given, in characters, both from 1; none where that text is not at hand.
    pub line_column: Option<(usize, usize)>,
}

impl ValueError {
    /// The kind.
    pub fn kind(&self) -> ValueErrorKind {
        self.kind
    }

    /// Where the fault is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Takes line and column away: they count in a text that whoever reads the message has not seen.
    pub(super) fn without_line(mut self) -> Self {
        self.place.line_column = None;
        self
    }

    /// `row`, which should be a row's value, is none.
    pub(super) fn of_row() -> Self {
        let what = "the row before is damaged".into();
        Self { kind: ValueErrorKind::NotJson, place: Place::default(), what }
    }
}

impl Display for ValueError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.kind {
            ValueErrorKind::NotJson => write!(f, "the value is not JSON: {}", self.what)?,
            ValueErrorKind::NotObject => write!(f, "the value is {}, not a JSON object", self.what)?,
            ValueErrorKind::Duplicate => write!(f, "the value has the member {} twice", self.place.pointer)?,
            ValueErrorKind::TooDeep => {
                let pointer = &self.place.pointer;
                write!(
                    f,
                    "the value has more than {DEPTH_MAX} objects and arrays in each other at {pointer}"
                )?;
            }
        }
        match self.place.line_column {
            Some((line, column)) => write!(f, " (line {line}, column {column})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ValueError {}

/// What is wrong with a text, and how many bytes before it are not.
struct Fault {
    pointer: Box<str>,
    offset: usize,
    what: Box<str>,
}

/// Checks `json`, which has no white space around it.
fn check(json: &str) -> Result<(), (ValueErrorKind, Fault)> {
    let whole = |offset, what: &str| Fault { pointer: "".into(), offset, what: what.into() };
    // Checks all of it without stack; what walks through it then need not.
    serde_json::from_str::<&RawValue>(json).map_err(|err| {
        let text = err.to_string();
        let what = text.rsplit_once(" at line ").map_or(&*text, |(what, _)| what);
        (ValueErrorKind::NotJson, whole(byte_offset(json, err.line(), err.column()), what))
    })?;
    if !json.starts_with('{') {
        return Err((ValueErrorKind::NotObject, whole(0, kind_of(json))));
    }
    let mut walk = Walk { scan: Scan::new(json), open: Vec::new(), depth_max: DEPTH_MAX };
    match walk.run() {
        Some(None) => Ok(()),
        Some(Some((kind, offset))) => {
            let fault = Fault { pointer: pointer(&walk.open), offset, what: "".into() };
            Err((kind, fault))
        }
        None => Err((ValueErrorKind::NotJson, whole(walk.scan.place(), "it breaks off"))),
    }
}

/// A walk through all members of all objects.
struct Walk<'a> {
    scan: Scan<'a>,
    /// The objects and arrays around the place, at most `depth_max`.
    open: Vec<Level<'a>>,
    depth_max: usize,
}

/// An object or array, and where in it the walk is: at the member `name`, one of `names`, or at the last of `items`.
enum Level<'a> {
    Object { name: Cow<'a, str>, names: HashSet<Cow<'a, str>> },
    Array { items: usize },
}

impl Walk<'_> {
    /// What is wrong first, and where; `Some(None)` for nothing. None where the text is not JSON.
    fn run(&mut self) -> Option<Option<(ValueErrorKind, usize)>> {
        loop {
            if let Some(fault) = self.value()? {
                return Some(Some(fault));
            }
            loop {
                match self.open.last_mut() {
                    None => return Some(None),
                    Some(Level::Object { name, names }) => {
                        if let Some(member) = self.scan.named_member()? {
                            *name = member.name();
                            if !names.insert(name.clone()) {
                                return Some(Some((ValueErrorKind::Duplicate, member.begin)));
                            }
                            break;
                        }
                    }
                    Some(Level::Array { items }) => {
                        if self.scan.more(b']')? {
                            *items += 1;
                            break;
                        }
                    }
                }
                self.open.pop();
            }
        }
    }

    /// Steps into the object or array that begins here, or over anything else.
    fn value(&mut self) -> Option<Option<(ValueErrorKind, usize)>> {
        let level = if self.scan.at_object() {
            Level::Object { name: "".into(), names: HashSet::new() }
        } else if self.scan.at_array() {
            Level::Array { items: 0 }
        } else {
            self.scan.skip_value()?;
            return Some(None);
        };
        if self.open.len() == self.depth_max {
            return Some(Some((ValueErrorKind::TooDeep, self.scan.place())));
        }
        match level {
            Level::Object { .. } => self.scan.open_object()?,
            Level::Array { .. } => self.scan.open_array()?,
        }
        self.open.push(level);
        Some(None)
    }
}

fn pointer(open: &[Level<'_>]) -> Box<str> {
    let mut out = String::new();
    for level in open {
        out.push('/');
        match level {
            Level::Object { name, .. } => {
                for c in name.chars().take(POINTER_BYTES_MAX) {
                    match c {
                        '~' => out.push_str("~0"),
                        '/' => out.push_str("~1"),
                        c if c.is_control() => out.push(char::REPLACEMENT_CHARACTER),
                        c => out.push(c),
                    }
                }
            }
            // Writing to a String cannot fail.
            Level::Array { items } => write!(out, "{}", items.saturating_sub(1)).unwrap_or_default(),
        }
        if out.len() > POINTER_BYTES_MAX {
            out.truncate(out.floor_char_boundary(POINTER_BYTES_MAX));
            out.push('…');
            break;
        }
    }
    out.into()
}

fn kind_of(json: &str) -> &'static str {
    match json.bytes().next() {
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The byte that serde_json means by `line` and `column`, which is a count of bytes, the byte itself included.
fn byte_offset(text: &str, line: usize, column: usize) -> usize {
    let line_begin: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    text.floor_char_boundary(line_begin + column.saturating_sub(1))
}

/// Line and column, from 1 and in characters, of the character at `offset`.
pub(super) fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// White space, as JSON has it.
pub(crate) const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// How many objects and arrays of a value may stand in each other, the value itself counted. Below the 100 and 127
/// levels that common readers take, the message around it counted.
pub const DEPTH_MAX: usize = 96;

/// The longest way that an error shows, in bytes.
pub const POINTER_BYTES_MAX: usize = 200;
