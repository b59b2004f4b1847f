//! What is said of a row on the wire: one message of the State Protocol, the same on every transport.
//!
//! `{"type":<table>,"key","value"?,"old_value"?,"headers":{"operation","txid"?,"last"?,"timestamp"}}`, and between groups of
//! them `{"type":<table>,"headers":{"control"}}`. Where it completes a group, and the transport has no place of its own
//! for it, its cursor is the first member, `id`.
//! Spec: `spec/protocol.md` "Messages of tables"; `spec/vectors/table-changes.json`.

use crate::{
    event::{Event, Operation},
    position::Position,
    time::{self, Millis},
    transport::{json, position},
};

use super::terms::Shown;

/// A message about one row.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The table's name.
    pub table: &'a str,
    /// The row's key.
    pub key: &'a str,
    /// What became of the row.
    pub operation: Operation,
    /// The row now, a JSON object; not written of a delete.
    pub value: Option<&'a str>,
    /// The row before, where it is told.
    pub old_value: Option<&'a str>,
    /// The transaction it belongs to; none for a change alone.
    pub txid: Option<&'a str>,
    /// Whether it is the last of its transaction.
    pub last: bool,
    /// When the row was changed.
    pub time: Millis,
}

impl<'a> Message<'a> {
    /// What is said of the change `event`, as `shown`.
    pub fn of(event: &'a Event, shown: &'a Shown<'a>, txid: Option<&'a str>, last: bool) -> Self {
        Self {
            table: event.stream.table().unwrap_or_default(),
            key: event.change.as_ref().map_or("", |change| &change.key),
            operation: shown.operation,
            value: shown.value.as_deref(),
            old_value: shown.old_value.as_deref(),
            txid,
            last,
            time: event.time,
        }
    }

    /// Appends the message, without a line break.
    pub fn write(&self, out: &mut Vec<u8>, id: Option<Position>) {
        begin(out, id, self.table);
        out.extend_from_slice(b",\"key\":");
        json::string(out, self.key);
        let value = self.value.filter(|_| self.operation != Operation::Delete);
        for (name, value) in [(&b",\"value\":"[..], value), (b",\"old_value\":", self.old_value)] {
            if let Some(value) = value {
                out.extend_from_slice(name);
                json::value(out, value);
            }
        }
        out.extend_from_slice(b",\"headers\":{\"operation\":\"");
        out.extend_from_slice(self.operation.as_str().as_bytes());
        out.push(b'"');
        if let Some(txid) = self.txid {
            out.extend_from_slice(b",\"txid\":");
            json::string(out, txid);
            if self.last {
                out.extend_from_slice(b",\"last\":true");
            }
        }
        out.extend_from_slice(b",\"timestamp\":\"");
        out.extend_from_slice(time::rfc3339(self.time).as_bytes());
        out.extend_from_slice(b"\"}}");
    }
}

/// What is said of a table between messages about rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// All rows follow, from nothing.
    SnapshotStart,
    /// All rows were said.
    SnapshotEnd,
}

impl Mark {
    /// Appends the message, without a line break.
    pub fn write(self, out: &mut Vec<u8>, id: Option<Position>, table: &str) {
        begin(out, id, table);
        out.extend_from_slice(match self {
            Self::SnapshotStart => b",\"headers\":{\"control\":\"snapshot-start\"}}".as_slice(),
            Self::SnapshotEnd => b",\"headers\":{\"control\":\"snapshot-end\"}}",
        });
    }
}

fn begin(out: &mut Vec<u8>, id: Option<Position>, table: &str) {
    out.push(b'{');
    if let Some(id) = id {
        out.extend_from_slice(b"\"id\":\"");
        position(out, id);
        out.extend_from_slice(b"\",");
    }
    out.extend_from_slice(b"\"type\":");
    json::string(out, table);
}
