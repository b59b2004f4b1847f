//! DynamoDB: what the service and its streams say, as values; what is asked of them; items as rows.
//!
//! The same item gives the same bytes, whoever wrote it: numbers have one text, members of maps and sets are in order.
//! So a row that did not change is seen to be the same.
//! Spec: Amazon DynamoDB API Reference; Amazon DynamoDB Developer Guide, "Change data capture for DynamoDB Streams".

/// Decimal numbers of up to 38 digits, with one text each.
pub mod number;
/// Attributes: DynamoDB's values.
pub mod value;
/// Attributes by name: a row.
pub mod item;
/// What a table's rows are called.
pub mod key;
/// Places in a shard.
pub mod sequence;
/// Types of attributes as they were met.
pub mod types;
/// Rows back to items.
pub mod from_row;
/// What happened to an item, as a stream or a Lambda's event says.
pub mod record;
/// What the service answers.
pub mod answer;
/// What the service is asked.
pub mod request;
/// The shards of a stream: which are read, and when.
pub mod shards;
/// Lines of an export to S3.
pub mod export;
/// Members of JSON that was read.
mod member;
