//! The server's tests, in one binary.

/// Files that make events durable.
mod store;
