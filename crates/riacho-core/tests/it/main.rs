//! Tests of riacho-core: the vectors in `spec/vectors`, shared with the other languages, and properties.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "clippy knows test functions, not the helpers beside them"
)]

mod support;

/// Records, frames, headers, indexes and meta: round trips, and clean errors for any other bytes.
mod segment;
mod cursor;
mod names;
mod start;
mod time;
mod sse;
mod json;
/// Messages of a WebSocket.
mod command;
mod view;
mod predicate;
mod predicate_index;
mod projection;
mod table;
mod pgoutput;
mod postgres_values;
mod source;
/// Changes and copies of PostgreSQL, stitched.
mod stitch;
/// What DynamoDB says and is asked: recordings of emulators, documented shapes, and what is wrong.
mod dynamodb;
/// Numbers, items, keys and types of DynamoDB: properties.
mod dynamodb_values;
/// States of a source.
mod source_machine;
