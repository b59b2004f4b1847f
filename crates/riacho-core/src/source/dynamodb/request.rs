//! What the service is asked: names of operations, and bodies of JSON 1.0.
//!
//! Spec: Amazon DynamoDB API Reference, "Actions".

use super::{item::Item, sequence::SequenceNumber};
use crate::{time::Millis, transport::json};
use std::fmt::Write as _;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "they are named as the service names them")]
pub enum Operation {
    DescribeTable,
    Scan,
    BatchGetItem,
    DescribeStream,
    GetShardIterator,
    GetRecords,
}

impl Operation {
    /// The value of the header `X-Amz-Target`.
    pub fn target(self) -> &'static str {
        match self {
            Self::DescribeTable => "DynamoDB_20120810.DescribeTable",
            Self::Scan => "DynamoDB_20120810.Scan",
            Self::BatchGetItem => "DynamoDB_20120810.BatchGetItem",
            Self::DescribeStream => "DynamoDBStreams_20120810.DescribeStream",
            Self::GetShardIterator => "DynamoDBStreams_20120810.GetShardIterator",
            Self::GetRecords => "DynamoDBStreams_20120810.GetRecords",
        }
    }

    /// Its name, as in the IAM action `dynamodb:NAME`.
    pub fn as_str(self) -> &'static str {
        self.target().rsplit('.').next().unwrap_or_default()
    }

    /// Whether it is one of the streams' service, which has an endpoint of its own.
    pub fn is_of_streams(self) -> bool {
        matches!(self, Self::DescribeStream | Self::GetShardIterator | Self::GetRecords)
    }
}

/// Where an iterator begins in its shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum From {
    /// The oldest record that is left.
    TrimHorizon,
    /// Behind the newest record.
    Latest,
    /// This record.
    At(SequenceNumber),
    /// The one after this record.
    After(SequenceNumber),
    /// The first that was made at or after this time, the oldest if that is older than it. Emulators do not have it.
    AtTimestamp(Millis),
}

/// A page of a scan that sees all that was written before it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Page<'a> {
    /// The table's name or ARN.
    pub table: &'a str,
    /// Which of how many segments.
    pub segment: (u32, u32),
    /// The key after which it begins.
    pub after: Option<&'a Item>,
    /// The most items that are looked at; 1 MB is a bound anyway.
    pub limit: Option<u32>,
}

/// The body of DescribeTable.
pub fn describe_table(table: &str) -> String {
    let mut body = Body::new();
    body.text("TableName", table);
    body.end()
}

/// The body of DescribeStream: the page of shards after that shard.
pub fn describe_stream(arn: &str, after: Option<&str>) -> String {
    let mut body = Body::new();
    body.text("StreamArn", arn);
    if let Some(shard) = after {
        body.text("ExclusiveStartShardId", shard);
    }
    body.end()
}

/// The body of GetShardIterator.
pub fn get_shard_iterator(arn: &str, shard: &str, from: &From) -> String {
    let mut body = Body::new();
    body.text("StreamArn", arn);
    body.text("ShardId", shard);
    match from {
        From::TrimHorizon => body.text("ShardIteratorType", "TRIM_HORIZON"),
        From::Latest => body.text("ShardIteratorType", "LATEST"),
        From::At(sequence) => {
            body.text("ShardIteratorType", "AT_SEQUENCE_NUMBER");
            body.text("SequenceNumber", sequence.as_str());
        }
        From::After(sequence) => {
            body.text("ShardIteratorType", "AFTER_SEQUENCE_NUMBER");
            body.text("SequenceNumber", sequence.as_str());
        }
        From::AtTimestamp(millis) => {
            body.text("ShardIteratorType", "AT_TIMESTAMP");
            body.json("Timestamp", &format!("{}.{:03}", millis / 1000, millis % 1000));
        }
    }
    body.end()
}

/// The body of GetRecords: at most `limit` records, at most [`RECORDS_MAX`].
pub fn get_records(iterator: &str, limit: Option<u32>) -> String {
    let mut body = Body::new();
    body.text("ShardIterator", iterator);
    if let Some(limit) = limit {
        body.json("Limit", &limit.clamp(1, RECORDS_MAX).to_string());
    }
    body.end()
}

/// The body of Scan: consistent, and it says what it cost.
pub fn scan(page: &Page<'_>) -> String {
    let mut body = Body::new();
    body.text("TableName", page.table);
    body.json("ConsistentRead", "true");
    body.text("ReturnConsumedCapacity", "TOTAL");
    body.json("Segment", &page.segment.0.to_string());
    body.json("TotalSegments", &page.segment.1.to_string());
    if let Some(limit) = page.limit {
        body.json("Limit", &limit.max(1).to_string());
    }
    if let Some(key) = page.after {
        key.dynamodb_json(body.value("ExclusiveStartKey"));
    }
    body.end()
}

/// The body of BatchGetItem: consistent, of one table, with at most [`KEYS_MAX`] keys, each once; more are refused by the
/// service.
pub fn batch_get_item<'a>(table: &str, keys: impl IntoIterator<Item = &'a Item>) -> String {
    let mut body = Body::new();
    body.text("ReturnConsumedCapacity", "TOTAL");
    let out = body.value("RequestItems");
    out.push('{');
    json::string_into(out, table);
    out.push_str(":{\"ConsistentRead\":true,\"Keys\":[");
    for (i, key) in keys.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        key.dynamodb_json(out);
    }
    out.push_str("]}}");
    body.end()
}

/// A JSON object that is being written.
struct Body(String);

impl Body {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn value(&mut self, name: &str) -> &mut String {
        let comma = if self.0.len() > 1 { "," } else { "" };
        // Writing to a String cannot fail.
        write!(self.0, "{comma}\"{name}\":").unwrap_or_default();
        &mut self.0
    }

    fn text(&mut self, name: &str, text: &str) {
        json::string_into(self.value(name), text);
    }

    fn json(&mut self, name: &str, json: &str) {
        self.value(name).push_str(json);
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// The most records of one GetRecords.
pub const RECORDS_MAX: u32 = 1000;

/// The most keys of one BatchGetItem.
pub const KEYS_MAX: usize = 100;
