//! Changes as they come in: a batch of messages of the State Protocol, judged and applied as one.
//!
//! Each is `{"type"?,"key","value"?,"headers":{"operation","txid"?}}`; members not named here, `old_value` among them,
//! are passed over, and so are messages of control. Optional members may be null.
//! Spec: `spec/protocol.md` "Changing rows"; `spec/vectors/table-batches.json`.

use super::{
    key::{Key, KeyError},
    value::{SPACE, ValueErrorKind, line_column, value},
};
use crate::scan::Scan;
use serde_json::value::RawValue;
use std::fmt::{self, Display, Formatter};

/// Changes of one table that are made together or not at all, in this order; keys may repeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// At least one.
    pub changes: Vec<Write>,
    /// The name of the transaction, where the publisher gave one: 1 to [`TXID_BYTES_MAX`] bytes without control
    /// characters.
    pub txid: Option<Box<str>>,
}

/// One change that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// The row.
    pub key: Key,
    /// What is to become of it.
    pub action: Action,
}

/// What is to become of a row. Values are as [`value`] gives them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// It must not be there, and gets this value.
    Insert(Box<str>),
    /// It must be there, and gets this value.
    Update(Box<str>),
    /// It gets this value.
    Upsert(Box<str>),
    /// It goes.
    Delete,
    /// This merge patch (RFC 7396) is made to it: the operation `patch`, which is ours and not the State Protocol's.
    Patch(Box<str>),
}

impl Action {
    /// The value or patch it comes with.
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Insert(text) | Self::Update(text) | Self::Upsert(text) | Self::Patch(text) => Some(text),
            Self::Delete => None,
        }
    }
}

/// How a batch is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// One JSON array of changes.
    Array,
    /// One change per line, ended by LF or CRLF; blank lines are passed over.
    Lines,
}

/// The bounds of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The most changes.
    pub changes_max: usize,
    /// The longest value or patch, in bytes, without white space around it.
    pub value_bytes_max: usize,
}

/// Takes `text` as changes of the table `table`.
///
/// # Errors
/// The first fault, with the change that has it.
pub fn parse(text: &str, form: Form, table: &str, limits: Limits) -> Result<Batch, BatchError> {
    let mut reader = Reader { table, limits, changes: Vec::new(), txid: None, line: None };
    match form {
        Form::Array => reader.array(text)?,
        Form::Lines => reader.lines(text)?,
    }
    if reader.changes.is_empty() {
        let fault = Fault(BatchErrorKind::Empty, "the batch holds no change".to_owned());
        return Err(BatchError { index: 0, line: None, fault });
    }
    Ok(Batch { changes: reader.changes, txid: reader.txid })
}

/// Why a text is no batch. `Display` is a sentence without a stop; it names no index and no line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchError {
    index: usize,
    line: Option<usize>,
    fault: Fault,
}

/// What a caller does differently.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BatchErrorKind {
    /// The text, or a line, is not JSON; or it is not an array.
    NotJson,
    /// It holds no change.
    Empty,
    /// It holds more changes than the limit.
    TooMany,
    /// A change lacks a member, or one has the wrong form.
    Change,
    /// A change is for another table.
    Table,
    /// A change's key is none.
    Key(KeyError),
    /// A change's value or patch is none.
    Value(ValueErrorKind),
    /// A change's value or patch is longer than the limit.
    ValueTooLarge,
    /// A transaction's name is none, or not the one of the changes before.
    Txid,
}

impl BatchError {
    /// The kind.
    pub fn kind(&self) -> BatchErrorKind {
        self.fault.0
    }

    /// The change that has the fault, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The line that has the fault, from 1; none where the batch is an array of JSON.
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

impl Display for BatchError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fault.1)
    }
}

impl std::error::Error for BatchError {}

/// What is wrong, and a sentence that says so.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Fault(BatchErrorKind, String);

fn fault<T>(kind: BatchErrorKind, what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault(kind, what.into()))
}

struct Reader<'a> {
    table: &'a str,
    limits: Limits,
    changes: Vec<Write>,
    txid: Option<Box<str>>,
    line: Option<usize>,
}

impl Reader<'_> {
    fn array(&mut self, text: &str) -> Result<(), BatchError> {
        let json = text.trim_matches(SPACE);
        if let Err(err) = serde_json::from_str::<&RawValue>(json) {
            let begin = line_column(text, text.len() - text.trim_start_matches(SPACE).len()).0;
            let (what, line) = (without_line(&err), begin + err.line() - 1);
            let what = format!("the body is not JSON: {what} at line {line}");
            return Err(self.error(Fault(BatchErrorKind::NotJson, what)));
        }
        let mut scan = Scan::new(json);
        if scan.open_array().is_none() {
            let what = "the body is not a JSON array of changes".to_owned();
            return Err(self.error(Fault(BatchErrorKind::NotJson, what)));
        }
        while let Some(change) = scan.item().flatten() {
            self.change(change).map_err(|fault| self.error(fault))?;
        }
        Ok(())
    }

    fn lines(&mut self, text: &str) -> Result<(), BatchError> {
        for (number, line) in (1..).zip(text.split('\n')) {
            let line = line.trim_matches(SPACE);
            if line.is_empty() {
                continue;
            }
            self.line = Some(number);
            let json = serde_json::from_str::<&RawValue>(line).map_err(|err| {
                let what = format!("the line is not JSON: {} at column {}", without_line(&err), err.column());
                Fault(BatchErrorKind::NotJson, what)
            });
            json.and_then(|json| self.change(json.get())).map_err(|fault| self.error(fault))?;
        }
        self.line = None;
        Ok(())
    }

    fn error(&self, fault: Fault) -> BatchError {
        BatchError { index: self.changes.len(), line: self.line, fault }
    }

    /// Takes one change, which is JSON.
    fn change(&mut self, json: &str) -> Result<(), Fault> {
        if self.changes.len() == self.limits.changes_max {
            let what = format!("a batch has at most {} changes", self.limits.changes_max);
            return fault(BatchErrorKind::TooMany, what);
        }
        let [table, key, value, headers] = members(json, "a change", ["type", "key", "value", "headers"])?;
        // What is said between changes, when a reader's output is written as it is.
        if key.is_none() && headers.is_some_and(is_control) {
            return Ok(());
        }
        if let Some(table) = optional_string("type", table)?
            && table != self.table
        {
            let what = format!("`type` is {:?}, and the table is {:?}", Shortened(&table), self.table);
            return fault(BatchErrorKind::Table, what);
        }
        let Some(key) = optional_string("key", key)? else {
            return fault(BatchErrorKind::Change, "the member `key` is missing");
        };
        let key = Key::parse(key).map_err(|err| Fault(BatchErrorKind::Key(err), format!("the key {err}")))?;
        let Some(headers) = headers else {
            return fault(BatchErrorKind::Change, "the member `headers` is missing");
        };
        let [operation, txid] = members(headers, "`headers`", ["operation", "txid"])?;
        let Some(operation) = optional_string("headers.operation", operation)? else {
            return fault(BatchErrorKind::Change, "the member `headers.operation` is missing");
        };
        let action = self.action(&operation, value.filter(|value| *value != "null"))?;
        self.transaction(optional_string("headers.txid", txid)?)?;
        self.changes.push(Write { key, action });
        Ok(())
    }

    fn action(&self, operation: &str, value: Option<&str>) -> Result<Action, Fault> {
        let make = match operation {
            "insert" => Action::Insert,
            "update" => Action::Update,
            "upsert" => Action::Upsert,
            "patch" => Action::Patch,
            "delete" if value.is_none() => return Ok(Action::Delete),
            "delete" => return fault(BatchErrorKind::Change, "a delete has no `value`"),
            other => {
                let what = format!(
                    "the operation is insert, update, upsert, delete or patch, not {:?}",
                    Shortened(other)
                );
                return fault(BatchErrorKind::Change, what);
            }
        };
        match value {
            Some(value) => self.value(value).map(make),
            None => fault(
                BatchErrorKind::Change,
                format!("the member `value` is missing, which the operation {operation} needs"),
            ),
        }
    }

    fn value(&self, text: &str) -> Result<Box<str>, Fault> {
        let bytes_max = self.limits.value_bytes_max;
        if text.len() > bytes_max {
            let what = format!("the value is larger than {bytes_max} bytes");
            return fault(BatchErrorKind::ValueTooLarge, what);
        }
        value(text).map_err(|err| Fault(BatchErrorKind::Value(err.kind()), err.without_line().to_string()))
    }

    fn transaction(&mut self, txid: Option<String>) -> Result<(), Fault> {
        let Some(txid) = txid else { return Ok(()) };
        if txid.is_empty() || txid.len() > TXID_BYTES_MAX || txid.chars().any(char::is_control) {
            let what =
                format!("a transaction's name is 1 to {TXID_BYTES_MAX} bytes without control characters");
            return fault(BatchErrorKind::Txid, what);
        }
        match &self.txid {
            Some(first) if **first != *txid => {
                let what = format!(
                    "a batch is one transaction: {txid:?} is not the name of the changes before, {first:?}"
                );
                fault(BatchErrorKind::Txid, what)
            }
            _ => {
                self.txid = Some(txid.into());
                Ok(())
            }
        }
    }
}

// Whether a message with these headers is about no row.
fn is_control(headers: &str) -> bool {
    let found = members(headers, "`headers`", ["operation", "control"]);
    matches!(found, Ok([None, Some(_)]))
}

/// The texts of the members `names` of the object `json`, which `of` stands for in what is said about it.
fn members<'a, const COUNT: usize>(
    json: &'a str,
    of: &str,
    names: [&str; COUNT],
) -> Result<[Option<&'a str>; COUNT], Fault> {
    let mut found = [None; COUNT];
    let mut scan = Scan::new(json);
    if scan.open_object().is_none() {
        return fault(BatchErrorKind::Change, format!("{of} is a JSON object"));
    }
    while let Some(name) = scan.member().flatten() {
        let value = scan.skip_value();
        let known = names.iter().zip(&mut found).find(|(known, _)| **known == name);
        if let Some((_, place)) = known
            && place.replace(value.unwrap_or_default()).is_some()
        {
            return fault(BatchErrorKind::Change, format!("{of} has the member `{name}` twice"));
        }
    }
    Ok(found)
}

/// The string `json`, the member `name`; none for null.
fn optional_string(name: &str, json: Option<&str>) -> Result<Option<String>, Fault> {
    let Some(json) = json.filter(|json| *json != "null") else { return Ok(None) };
    match serde_json::from_str(json) {
        Ok(text) => Ok(Some(text)),
        Err(_) if json.starts_with('"') => {
            fault(BatchErrorKind::Change, format!("the member `{name}` holds half of a surrogate pair"))
        }
        Err(_) => fault(BatchErrorKind::Change, format!("the member `{name}` is a string")),
    }
}

fn without_line(err: &serde_json::Error) -> String {
    let text = err.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(what, _)| what.to_owned())
}

/// Outside text that a message repeats.
struct Shortened<'a>(&'a str);

impl fmt::Debug for Shortened<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..self.0.floor_char_boundary(SHOWN_BYTES_MAX)).unwrap_or_default();
        write!(f, "{shown:?}")?;
        if shown.len() < self.0.len() { f.write_str("…") } else { Ok(()) }
    }
}

/// The longest name of a transaction, in bytes of UTF-8.
pub const TXID_BYTES_MAX: usize = 255;

const SHOWN_BYTES_MAX: usize = 100;
