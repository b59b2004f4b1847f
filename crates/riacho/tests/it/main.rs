//! Tests of the whole: files, settings, commands, real sockets.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test panics where it is wrong")]

/// Files that make events durable.
mod store;
/// Servers, clients and what they say.
mod support;
mod config;
mod cli;
/// One stream and many: publish, subscribe, resume, empty, list.
mod streams;
