//! The rows of the benchmark, in the order of the README.

/// One stream, many subscribers, an event per write.
pub(super) mod fan_out;
/// More events than one write each allows.
pub(super) mod overload;
/// Memory of idle subscribers; cost of opening and closing.
pub(super) mod idle;
/// Readers that never read.
mod stalled;
/// Everybody comes back at once.
mod reconnect;
/// Many streams with few subscribers each.
mod sparse;
/// Publishing.
mod ingest;
/// Reading a long past.
mod replay;
/// Streams that nobody uses.
mod streams;
/// The other ways out.
mod transports;
/// Rows, and those who watch them.
mod tables;
/// Databases whose tables are served live.
pub(super) mod sources;

use super::row::Row;

pub(super) const ALL: &[&Row] = &[
    &fan_out::ROW,
    &overload::ROW,
    &idle::ROW,
    &stalled::ROW,
    &reconnect::ROW,
    &sparse::ROW,
    &ingest::ROW,
    &replay::ROW,
    &streams::ROW,
    &transports::ROW,
    &tables::fan_out::ROW,
    &tables::filters::ROW,
    &tables::writes::ROW,
    &tables::snapshots::ROW,
    &sources::copy::ROW,
    &sources::changes::ROW,
    &sources::latency::ROW,
    &sources::sqlite::ROW,
    &sources::dynamodb::ROW,
];
