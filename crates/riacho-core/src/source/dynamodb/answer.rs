//! What the service answers. Bodies of JSON 1.0; their size is bounded by whoever reads them.
//!
//! Spec: Amazon DynamoDB API Reference.

use super::{
    item::Item,
    key::KeySchema,
    member,
    record::{Record, ViewType},
    sequence::SequenceNumber,
    types::Types,
    value::Kind,
};
use crate::time::Millis;
use serde_json::{Map, Value};
use std::fmt::{self, Display, Formatter};

/// DescribeTable.
#[derive(Clone, PartialEq, Debug)]
pub struct Table {
    /// Its name.
    pub name: Box<str>,
    /// Its ARN.
    pub arn: Box<str>,
    /// What another table of that name would not have; emulators have none.
    pub id: Option<Box<str>>,
    /// When it was made; another table of that name would have been made later.
    pub created: Option<Millis>,
    /// `ACTIVE`, `CREATING`, ...
    pub status: Box<str>,
    /// Its key.
    pub keys: KeySchema,
    /// The types of its key's attributes.
    pub types: Types,
    /// Its stream, if it is enabled.
    pub stream: Option<StreamOf>,
    /// About how many items there are, some hours ago.
    pub items: Option<u64>,
    /// About how many bytes, some hours ago.
    pub bytes: Option<u64>,
}

/// The stream of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamOf {
    /// Its ARN; a stream that is disabled and enabled again has another.
    pub arn: Box<str>,
    /// The time in its ARN, as text.
    pub label: Box<str>,
    /// What it says of items.
    pub view: ViewType,
}

/// DescribeStream: one page of shards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamPage {
    /// Its ARN.
    pub arn: Box<str>,
    /// The time in its ARN, as text.
    pub label: Box<str>,
    /// `ENABLING`, `ENABLED`, `DISABLING`, `DISABLED`.
    pub status: Box<str>,
    /// What it says of items.
    pub view: Option<ViewType>,
    /// Shards, in no order that means anything.
    pub shards: Vec<ShardOf>,
    /// The shard after which the next page begins, if there is one.
    pub last: Option<Box<str>>,
}

/// A shard as a stream lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardOf {
    /// Its id.
    pub id: Box<str>,
    /// The shard whose records come before; it may not be listed any more.
    pub parent: Option<Box<str>>,
    /// The number from which its records are.
    pub starts: Option<SequenceNumber>,
    /// The number up to which they are; none while it is open.
    pub ends: Option<SequenceNumber>,
}

/// GetShardIterator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Iterator {
    /// What GetRecords takes, within 15 minutes.
    pub iterator: Box<str>,
}

/// GetRecords.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Records {
    /// In order. May be none though there are some further on.
    pub records: Vec<Record>,
    /// Where to go on; none behind the last record of a closed shard.
    pub next: Option<Box<str>>,
}

/// Scan: one page.
#[derive(Clone, PartialEq, Debug)]
pub struct Scan {
    /// Items in no order that means anything.
    pub items: Vec<Item>,
    /// The key after which the next page begins, if there is one. It may be there and the next page empty.
    pub last: Option<Item>,
    /// Read capacity units; 0 where the service does not say.
    pub consumed_units: f64,
    /// Items that were looked at.
    pub scanned: u64,
}

/// BatchGetItem of one table.
#[derive(Clone, PartialEq, Debug)]
pub struct BatchGet {
    /// The items that are there, in no order.
    pub items: Vec<Item>,
    /// Keys that are to be asked for again.
    pub unprocessed: Vec<Item>,
    /// Read capacity units; 0 where the service does not say.
    pub consumed_units: f64,
}

/// The body of an error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceError {
    /// Its name, without what stands before `#` or after `:`, e.g. `ResourceNotFoundException`.
    pub code: Box<str>,
    /// For people; may be empty.
    pub message: Box<str>,
}

impl Table {
    /// Takes an answer of DescribeTable.
    ///
    /// # Errors
    /// What is missing, or is something else.
    pub fn parse(body: &[u8]) -> Result<Self, BadAnswer> {
        read("DescribeTable", body, |object| Self::read(member::object(object, "Table")?))
    }

    fn read(table: &Map<String, Value>) -> Result<Self, String> {
        Ok(Self {
            name: member::text(table, "TableName")?.into(),
            arn: member::text(table, "TableArn")?.into(),
            id: member::optional_text(table, "TableId")?.map(Box::from),
            created: table.get("CreationDateTime").and_then(member::seconds),
            status: member::text(table, "TableStatus")?.into(),
            keys: keys(member::array(table, "KeySchema")?)?,
            types: definitions(member::array(table, "AttributeDefinitions")?)?,
            stream: stream(table)?,
            items: table.get("ItemCount").and_then(Value::as_u64),
            bytes: table.get("TableSizeBytes").and_then(Value::as_u64),
        })
    }
}

fn keys(schema: &[Value]) -> Result<KeySchema, String> {
    let (mut hash, mut range) = (None, None);
    for key in schema {
        let key = key.as_object().ok_or("`KeySchema` has something else than objects")?;
        let name = Box::from(member::text(key, "AttributeName")?);
        match member::text(key, "KeyType")? {
            "HASH" => hash = Some(name),
            "RANGE" => range = Some(name),
            _ => return Err("`KeyType` is neither HASH nor RANGE".to_owned()),
        }
    }
    Ok(KeySchema { hash: hash.ok_or("`KeySchema` has no HASH")?, range })
}

fn definitions(definitions: &[Value]) -> Result<Types, String> {
    let mut types = Types::default();
    for definition in definitions {
        let definition =
            definition.as_object().ok_or("`AttributeDefinitions` has something else than objects")?;
        let kind = Kind::parse(member::text(definition, "AttributeType")?);
        types.learn_kind(
            member::text(definition, "AttributeName")?,
            kind.ok_or("`AttributeType` is none that is known")?,
        );
    }
    Ok(types)
}

/// The newest stream is named also when it is disabled.
fn stream(table: &Map<String, Value>) -> Result<Option<StreamOf>, String> {
    let Some(Value::Object(specification)) = table.get("StreamSpecification") else { return Ok(None) };
    if specification.get("StreamEnabled") != Some(&Value::Bool(true)) {
        return Ok(None);
    }
    Ok(Some(StreamOf {
        arn: member::text(table, "LatestStreamArn")?.into(),
        label: member::text(table, "LatestStreamLabel")?.into(),
        view: view(member::text(specification, "StreamViewType")?)?,
    }))
}

fn view(name: &str) -> Result<ViewType, String> {
    ViewType::parse(name).ok_or_else(|| "`StreamViewType` is none that is known".to_owned())
}

impl StreamPage {
    /// Takes an answer of DescribeStream.
    ///
    /// # Errors
    /// What is missing, or is something else.
    pub fn parse(body: &[u8]) -> Result<Self, BadAnswer> {
        read("DescribeStream", body, |object| Self::read(member::object(object, "StreamDescription")?))
    }

    fn read(stream: &Map<String, Value>) -> Result<Self, String> {
        let shards = match stream.get("Shards") {
            None | Some(Value::Null) => &[],
            Some(_) => member::array(stream, "Shards")?,
        };
        Ok(Self {
            arn: member::text(stream, "StreamArn")?.into(),
            label: member::text(stream, "StreamLabel")?.into(),
            status: member::text(stream, "StreamStatus")?.into(),
            view: member::optional_text(stream, "StreamViewType")?.map(view).transpose()?,
            shards: shards.iter().map(ShardOf::read).collect::<Result<_, _>>()?,
            last: member::optional_text(stream, "LastEvaluatedShardId")?.map(Box::from),
        })
    }
}

impl ShardOf {
    fn read(shard: &Value) -> Result<Self, String> {
        let shard = shard.as_object().ok_or("`Shards` has something else than objects")?;
        let empty = Map::new();
        let range = match shard.get("SequenceNumberRange") {
            None | Some(Value::Null) => &empty,
            Some(_) => member::object(shard, "SequenceNumberRange")?,
        };
        let number = |name: &str| -> Result<Option<SequenceNumber>, String> {
            let text = member::optional_text(range, name)?;
            text.map(|text| text.parse().map_err(|err| format!("`{name}`: {err}"))).transpose()
        };
        Ok(Self {
            id: member::text(shard, "ShardId")?.into(),
            parent: member::optional_text(shard, "ParentShardId")?.map(Box::from),
            starts: number("StartingSequenceNumber")?,
            ends: number("EndingSequenceNumber")?,
        })
    }
}

impl Iterator {
    /// Takes an answer of GetShardIterator.
    ///
    /// # Errors
    /// It has no iterator.
    pub fn parse(body: &[u8]) -> Result<Self, BadAnswer> {
        read("GetShardIterator", body, |object| {
            Ok(Self { iterator: member::text(object, "ShardIterator")?.into() })
        })
    }
}

impl Records {
    /// Takes an answer of GetRecords.
    ///
    /// # Errors
    /// What is missing, or is something else, and in which record. None of them is taken then: what comes after a record
    /// of an item must not be applied before it.
    pub fn parse(body: &[u8]) -> Result<Self, BadAnswer> {
        read("GetRecords", body, |object| {
            let records = member::array(object, "Records")?.iter();
            let record = |value| Record::parse(value).map_err(|err| err.to_string());
            Ok(Self {
                records: records.map(record).collect::<Result<_, _>>()?,
                next: member::optional_text(object, "NextShardIterator")?.map(Box::from),
            })
        })
    }
}

impl Scan {
    /// Takes an answer of Scan.
    ///
    /// # Errors
    /// What is missing, or is something else.
    pub fn parse(body: &[u8]) -> Result<Self, BadAnswer> {
        read("Scan", body, |object| {
            let items = items(member::array(object, "Items")?)?;
            let last = match object.get("LastEvaluatedKey") {
                None | Some(Value::Null) => None,
                Some(key) => Some(item(key)?),
            };
            let count = object.get("ScannedCount").or_else(|| object.get("Count")).and_then(Value::as_u64);
            let scanned = count.unwrap_or(items.len() as u64);
            Ok(Self { items, last, consumed_units: units(object.get("ConsumedCapacity")), scanned })
        })
    }
}

impl BatchGet {
    /// Takes an answer of BatchGetItem of one table.
    ///
    /// # Errors
    /// What is missing, or is something else.
    pub fn parse(body: &[u8]) -> Result<Self, BadAnswer> {
        read("BatchGetItem", body, |object| {
            let mut found = Vec::new();
            for (name, _) in member::object(object, "Responses")? {
                found.extend(items(member::array(member::object(object, "Responses")?, name)?)?);
            }
            let mut unprocessed = Vec::new();
            if let Some(Value::Object(tables)) = object.get("UnprocessedKeys") {
                for (name, _) in tables {
                    unprocessed.extend(items(member::array(member::object(tables, name)?, "Keys")?)?);
                }
            }
            Ok(Self { items: found, unprocessed, consumed_units: units(object.get("ConsumedCapacity")) })
        })
    }
}

fn items(values: &[Value]) -> Result<Vec<Item>, String> {
    values.iter().map(item).collect()
}

fn item(value: &Value) -> Result<Item, String> {
    Item::parse(value).map_err(|err| err.to_string())
}

/// Of one table an object, of several an array.
fn units(consumed: Option<&Value>) -> f64 {
    let of = |one: &Value| one.get("CapacityUnits").and_then(Value::as_f64).unwrap_or(0.0);
    match consumed {
        Some(Value::Array(all)) => all.iter().map(of).sum(),
        Some(one) => of(one),
        None => 0.0,
    }
}

impl ServiceError {
    /// Takes the body of an answer with a status of 400 or more; none where it is no error of the service's, as what a
    /// proxy says.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let object = member::whole(body).ok()?;
        let first = |names: &[&str]| names.iter().find_map(|name| object.get(*name)).and_then(Value::as_str);
        let code = first(&["__type", "code", "Code"])?;
        let code = code.rsplit('#').next().and_then(|code| code.split(':').next()).unwrap_or_default();
        let message = first(&["message", "Message"]).unwrap_or_default();
        (!code.is_empty()).then(|| Self { code: code.into(), message: message.into() })
    }
}

impl Display for ServiceError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ServiceError {}

fn read<T>(
    operation: &'static str,
    body: &[u8],
    take: impl Fn(&Map<String, Value>) -> Result<T, String>,
) -> Result<T, BadAnswer> {
    member::whole(body).and_then(|object| take(&object)).map_err(|reason| BadAnswer { operation, reason })
}

/// An answer that is not what the operation gives. `Display` is a sentence without a stop; it holds no values of items.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadAnswer {
    operation: &'static str,
    reason: String,
}

impl Display for BadAnswer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "the answer of {} cannot be read: {}", self.operation, self.reason)
    }
}

impl std::error::Error for BadAnswer {}
