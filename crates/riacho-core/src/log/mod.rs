//! The bytes of the log: records, frames and segments, without files.

/// Records and batch frames to bytes and back.
pub mod segment;
