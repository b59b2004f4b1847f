//! The core's tests, in one binary.

#![expect(clippy::unwrap_used, reason = "a test panics where it is wrong")]

/// Records, frames, headers, indexes and meta: round trips, and clean errors for any other bytes.
mod segment;
