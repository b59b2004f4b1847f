//! Tables: rows by key, whose changes are the events of a stream.
//!
//! Keys and values are checked once, where they come in. Which change is allowed and what it makes of a row is decided
//! where the rows are; nothing here knows any.
//! Spec: `spec/protocol.md` "Tables"; the State Protocol of Durable Streams.

/// What a row is called.
pub mod key;
/// What a row says.
pub mod value;
/// A row with some of its members changed.
pub mod patch;
/// Changes as they come in.
pub mod batch;
/// A row of which a source tells only a part.
pub mod fill;
/// What a reader of a table is shown.
pub mod terms;
/// Many changes of a row become one.
pub mod fold;
/// What is said of a row on the wire.
pub mod message;
