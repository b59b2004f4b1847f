//! Tests of the whole: settings, commands, real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests may, as tests"
)]

/// Servers, clients and what they say.
mod support;
mod config;
mod cli;
/// One stream and many: publish, subscribe, resume, empty, list.
mod streams;
/// The same events on every transport, and how connections begin and end.
mod transports;
/// A publisher that tries again.
mod idempotency;
/// What is refused, and what it costs the others: nothing.
mod bad_input;
/// Floods, slow heads, half-open sockets.
mod hostile;
/// Health, metrics, origins, heartbeats, shutdown.
mod operation;
/// Events that live in memory only.
mod memory_streams;
/// The commands of the real binary, together.
mod follow;
