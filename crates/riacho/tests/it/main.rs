//! Tests of the whole: files, settings, commands, real sockets.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test panics where it is wrong")]
#![allow(clippy::print_stdout, reason = "shown only where a test fails: which case it was")]

/// Files that make events durable.
mod store;
/// Rows of tables, in memory and file.
mod rows;
/// Servers, clients and what they say.
mod support;
mod config;
mod cli;
/// One stream and many: publish, subscribe, resume, empty, list.
mod streams;
/// The same events on every transport, and how connections begin and end.
mod transports;
/// Events go out and come in on WebSockets.
mod websocket;
/// Tables over HTTP: rows, batches, conditions, snapshots.
mod tables;
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
mod live_tables;
/// What the guides to databases say.
mod docs;
/// Databases whose rows are tables here.
mod sources;
/// Many readers of one stream that come and go while it is swept.
mod sweeps;
/// The command that measures.
mod bench;
