//! The bytes of the log: records, frames, segments and their indexes, without files.

/// Records and batch frames to bytes and back.
pub mod segment;
/// The index of one segment to bytes and back.
pub mod index;
/// What outlives the segments, to bytes and back.
pub mod meta;
/// Reading little-endian fields one after the other.
mod fields;
