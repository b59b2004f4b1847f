//! What is noted in the log of tables of DynamoDB: how far their shards were read, and whether our rows are whole.
//!
//! Notes are JSON. Those that cannot be read count as not there: then the table is compared.

use riacho_core::{
    source::dynamodb::shards::{Cursor, Noted, ShardId},
    time::Millis,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What is known of a table.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct TableNote {
    /// Its name in DynamoDB.
    pub(super) origin: String,
    /// Which table of that name: its id, or when it was made; empty where nobody describes it.
    pub(super) table: String,
    /// The stream that is read, by its ARN; empty where none is.
    pub(super) stream: String,
    /// What is older was written before anybody read the stream, by the service's clock.
    pub(super) since: Millis,
    /// Which way changes came; where they come another way, rows are compared.
    #[serde(default)]
    pub(super) changes: String,
    /// Whether all its shards were noted, once it was certain that no later record can be missed.
    #[serde(default)]
    pub(super) captured: bool,
    /// When the last scan began, or the one that is being made, by the service's clock: all that was written before is in
    /// it, so older records are not taken any more.
    #[serde(default)]
    pub(super) covered: Millis,
    /// When its stream was read last, within [`ALIVE_MS`](super::table::ALIVE_MS), by the service's clock.
    #[serde(default)]
    pub(super) alive: Millis,
    /// What of an item is read.
    pub(super) shape: String,
    /// Whether readers have its rows.
    pub(super) ready: bool,
    /// How its rows compare with the table's.
    pub(super) phase: Phase,
}

/// How our rows compare with the table's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// They are being copied for the first time. No segments: not begun.
    Copy(Vec<SegmentNote>),
    /// They may differ: all are to be compared.
    Compare,
    /// They are the table's.
    Whole,
}

/// How far a segment of a scan is.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
pub(super) struct SegmentNote {
    /// The last key that was read, as DynamoDB's JSON.
    pub(super) after: Option<String>,
    /// Whether it was read to its end.
    pub(super) done: bool,
}

#[derive(Serialize, Deserialize)]
struct ShardNote {
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    #[serde(default)]
    orphan: bool,
    cursor: CursorNote,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CursorNote {
    Horizon,
    Since(Millis),
    After(String),
    Done,
}

/// What is noted of a shard.
pub(super) fn of_shard(noted: &Noted) -> Vec<u8> {
    let cursor = match &noted.cursor {
        Cursor::Horizon => CursorNote::Horizon,
        Cursor::Since(time) => CursorNote::Since(*time),
        Cursor::After(sequence) => CursorNote::After(sequence.to_string()),
        Cursor::Done => CursorNote::Done,
    };
    write(&ShardNote { parent: noted.parent.as_deref().map(str::to_owned), orphan: noted.orphan, cursor })
}

/// What was noted of a shard.
pub(super) fn shard(note: &[u8]) -> Option<Noted> {
    let ShardNote { parent, orphan, cursor } = read(note)?;
    let cursor = match cursor {
        CursorNote::Horizon => Cursor::Horizon,
        CursorNote::Since(time) => Cursor::Since(time),
        CursorNote::After(sequence) => Cursor::After(sequence.parse().ok()?),
        CursorNote::Done => Cursor::Done,
    };
    Some(Noted { parent: parent.map(ShardId::from), orphan, cursor })
}

/// The name of the note of a shard.
pub(super) fn shard_name(table: &str, shard: &str) -> String {
    format!("{}{shard}", shards_of(table))
}

/// What the names of all notes of shards of a table begin with.
pub(super) fn shards_of(table: &str) -> String {
    format!("shard/{table}/")
}

/// A note as bytes.
pub(super) fn write(note: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(note).unwrap_or_default()
}

/// A note from its bytes.
pub(super) fn read<T: DeserializeOwned>(note: &[u8]) -> Option<T> {
    serde_json::from_slice(note).ok()
}
