//! The server's tests, in one binary.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test panics where it is wrong")]

/// Files that make events durable.
mod store;
