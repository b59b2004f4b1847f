//! The core's tests, in one binary.

/// Records, frames, headers, indexes and meta: round trips, and clean errors for any other bytes.
mod segment;
