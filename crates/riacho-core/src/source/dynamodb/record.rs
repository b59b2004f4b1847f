//! What happened to an item: records of DynamoDB Streams, as GetRecords gives them and as Lambda does.

use super::{item::Item, member, sequence::SequenceNumber};
use crate::{scan::Scan, time::Millis};
use serde_json::{Map, Value, value::RawValue};
use std::fmt::{self, Display, Formatter};

/// A record of a stream: one change of one item.
///
/// Spec: Amazon DynamoDB API Reference, "Record", "StreamRecord"; AWS Lambda Developer Guide, "Using AWS Lambda with
/// Amazon DynamoDB".
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// What was done.
    pub operation: Operation,
    /// Its number in the stream.
    pub sequence: SequenceNumber,
    /// About when it was made.
    pub time: Option<Millis>,
    /// The item's key.
    pub keys: Item,
    /// The item as it is since. Always there for an insert or a modification of a view that has it; never for a removal.
    pub new: Option<Item>,
    /// What the stream says of items.
    pub view: Option<ViewType>,
    /// Whether DynamoDB removed it because its time to live was over.
    pub by_ttl: bool,
    /// The stream; Lambda says it, GetRecords does not.
    pub stream_arn: Option<Box<str>>,
    /// The record's name.
    pub event_id: Option<Box<str>>,
}

/// What was done to an item.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// It was not there before.
    Insert,
    /// At least one of its attributes changed.
    Modify,
    /// It is gone.
    Remove,
}

/// What a stream says of items.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "their names say it")]
pub enum ViewType {
    KeysOnly,
    NewImage,
    OldImage,
    NewAndOldImages,
}

impl ViewType {
    /// DynamoDB's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeysOnly => "KEYS_ONLY",
            Self::NewImage => "NEW_IMAGE",
            Self::OldImage => "OLD_IMAGE",
            Self::NewAndOldImages => "NEW_AND_OLD_IMAGES",
        }
    }

    /// The view of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::KeysOnly, Self::NewImage, Self::OldImage, Self::NewAndOldImages]
            .into_iter()
            .find(|view| view.as_str() == name)
    }

    /// Whether records have the item as it is since.
    pub fn has_new(self) -> bool {
        matches!(self, Self::NewImage | Self::NewAndOldImages)
    }
}

impl Record {
    /// Takes a record of GetRecords or of a Lambda's event. What is in the image before the change is not read.
    ///
    /// # Errors
    /// It is no such record, or one of another service. The number is in the error where it could be read.
    pub fn parse(value: &Value) -> Result<Self, BadRecord> {
        let object = value.as_object().ok_or_else(|| BadRecord::of("it is not an object"))?;
        // What names it first, so that whoever sent it can be told which one is bad.
        let sequence = object
            .get("dynamodb")
            .and_then(|change| change.get("SequenceNumber"))
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok());
        let event_id = object.get("eventID").and_then(Value::as_str).map(Box::from);
        Self::read(object).map_err(|reason| BadRecord { sequence, event_id, reason })
    }

    fn read(object: &Map<String, Value>) -> Result<Self, String> {
        if let Some(source) = member::optional_text(object, "eventSource")?
            && source != EVENT_SOURCE
        {
            return Err(format!("it is of another service than {EVENT_SOURCE}"));
        }
        let operation = match member::text(object, "eventName")? {
            "INSERT" => Operation::Insert,
            "MODIFY" => Operation::Modify,
            "REMOVE" => Operation::Remove,
            _ => return Err("`eventName` is none of INSERT, MODIFY, REMOVE".to_owned()),
        };
        let change = member::object(object, "dynamodb")?;
        let sequence = member::text(change, "SequenceNumber")?;
        let sequence = sequence.parse().map_err(|err| format!("`SequenceNumber`: {err}"))?;
        let view = match member::optional_text(change, "StreamViewType")? {
            Some(view) => Some(ViewType::parse(view).ok_or("`StreamViewType` is none that is known")?),
            None => None,
        };
        let keys =
            Item::parse(member::required(change, "Keys")?).map_err(|err| format!("in `Keys` {err}"))?;
        let by_ttl = operation == Operation::Remove && by_ttl(object);
        let stream_arn = member::optional_text(object, "eventSourceARN")?.map(Box::from);
        let event_id = member::optional_text(object, "eventID")?.map(Box::from);
        let time = match change.get("ApproximateCreationDateTime") {
            None | Some(Value::Null) => None,
            Some(time) => Some(member::seconds(time).ok_or("`ApproximateCreationDateTime` is no time")?),
        };
        let new = if operation == Operation::Remove { None } else { image(change, view)? };
        Ok(Self { operation, sequence, time, keys, new, view, by_ttl, stream_arn, event_id })
    }
}

fn image(change: &Map<String, Value>, view: Option<ViewType>) -> Result<Option<Item>, String> {
    match change.get("NewImage") {
        None | Some(Value::Null) => match view {
            Some(view) if view.has_new() => {
                Err(format!("it has no `NewImage`, and its view is {}", view.as_str()))
            }
            _ => Ok(None),
        },
        Some(image) => Item::parse(image).map(Some).map_err(|err| format!("in `NewImage` {err}")),
    }
}

/// Spec: Amazon DynamoDB Developer Guide, "DynamoDB Streams and Time to Live". Lambda has other capitals.
fn by_ttl(object: &Map<String, Value>) -> bool {
    let Some(identity) = object.get("userIdentity") else { return false };
    let says = |names: [&str; 2], what: &str| {
        names.iter().any(|name| identity.get(*name).and_then(Value::as_str) == Some(what))
    };
    says(["type", "Type"], "Service") && says(["principalId", "PrincipalId"], TTL_PRINCIPAL)
}

/// The records of a Lambda's event, each by itself: one that cannot be read does not spoil the others.
///
/// # Errors
/// It is no event of a Lambda: no JSON object with an array `Records`, or more than [`RECORDS_MAX`] of them.
pub fn lambda_records(event: &[u8]) -> Result<Vec<Result<Record, BadRecord>>, NotAnEvent> {
    let text = std::str::from_utf8(event).map_err(|_| NotAnEvent("it is not UTF-8".into()))?;
    // Each is read by itself below, so one that nests too deep is one bad record.
    serde_json::from_str::<&RawValue>(text)
        .map_err(|err| NotAnEvent(format!("it is not JSON: {err}").into()))?;
    let mut records = records(text).ok_or_else(|| NotAnEvent("it has no array `Records`".into()))?;
    let mut out = Vec::new();
    while let Some(record) = records.item().ok_or_else(|| NotAnEvent("it is not JSON".into()))? {
        if out.len() == RECORDS_MAX {
            return Err(NotAnEvent(format!("it has more than {RECORDS_MAX} records").into()));
        }
        out.push(lambda_record(record));
    }
    Ok(out)
}

/// A place within the array `Records`.
fn records(text: &str) -> Option<Scan<'_>> {
    let mut scan = Scan::new(text);
    scan.open_object()?;
    while let Some(name) = scan.member()? {
        if name == "Records" {
            scan.open_array()?;
            return Some(scan);
        }
        scan.skip_value()?;
    }
    None
}

fn lambda_record(text: &str) -> Result<Record, BadRecord> {
    let value: Value = serde_json::from_str(text).map_err(|err| BadRecord {
        sequence: sequence(text),
        event_id: None,
        reason: format!("it is not JSON that is read here: {err}"),
    })?;
    let mut record = Record::parse(&value)?;
    if value.get("eventSource").is_some() {
        return Ok(record);
    }
    let reason = "`eventSource` is missing".to_owned();
    Err(BadRecord { sequence: Some(record.sequence), event_id: record.event_id.take(), reason })
}

/// The number of a record that nests deeper than it is read, or has halves of surrogate pairs.
fn sequence(record: &str) -> Option<SequenceNumber> {
    let mut scan = Scan::new(record);
    for name in ["dynamodb", "SequenceNumber"] {
        scan.open_object()?;
        while scan.member()?? != name {
            scan.skip_value()?;
        }
    }
    scan.skip_value()?.trim_matches('"').parse().ok()
}

/// A record that cannot be read. `Display` is a sentence without a stop; it holds no values of items.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadRecord {
    /// Its number, if that could be read.
    pub sequence: Option<SequenceNumber>,
    /// Its name, if that could be read.
    pub event_id: Option<Box<str>>,
    /// What is wrong.
    pub reason: String,
}

impl BadRecord {
    fn of(reason: impl Into<String>) -> Self {
        Self { sequence: None, event_id: None, reason: reason.into() }
    }
}

impl Display for BadRecord {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.sequence {
            Some(sequence) => write!(f, "the record {sequence} cannot be read: {}", self.reason),
            None => write!(f, "a record cannot be read: {}", self.reason),
        }
    }
}

impl std::error::Error for BadRecord {}

/// A text is no event of a Lambda. `Display` is a sentence without a stop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotAnEvent(Box<str>);

impl Display for NotAnEvent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "this is no event of a Lambda: {}", self.0)
    }
}

impl std::error::Error for NotAnEvent {}

/// The service that records name.
pub const EVENT_SOURCE: &str = "aws:dynamodb";

/// The most records of an event: what Lambda's `BatchSize` may be.
pub const RECORDS_MAX: usize = 10_000;

const TTL_PRINCIPAL: &str = "dynamodb.amazonaws.com";
