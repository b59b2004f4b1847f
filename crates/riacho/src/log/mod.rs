//! The log: events become durable, get an offset, and are read back.

/// Files in one directory, written by one thread: segments, indexes, recovery, retention.
pub mod store;
/// A log that nobody has open: what it holds, whether it is whole, and repair.
pub mod offline;

use riacho_core::{
    event::{Data, EventType},
    name::StreamName,
};

/// One event to be appended: it has no offset and no time yet.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The stream it goes to.
    pub stream: StreamName,
    /// Its type, if it has one.
    pub event_type: Option<EventType>,
    /// What it says.
    pub data: Data,
}
