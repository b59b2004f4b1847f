//! Faults on purpose: readers and publishers behind a proxy that cuts, delays and stalls them, a server that is killed
//! and restarted, readers that stop reading, and orders of steps that are rare.
//!
//! All that is random comes from one seed, which every failure prints; `SEED=… cargo test --test chaos` replays it as
//! far as the system's own timing allows. `CHAOS_EVENTS` scales the number of events.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests and their helpers may"
)]

/// Randomness from one seed.
mod random;
/// A proxy that cuts, delays and stalls.
mod proxy;
/// The real binary, killed and started again.
mod server;
/// HTTP and event streams, read strictly.
mod client;
/// What is published, and what readers got of it.
mod plan;
/// Readers that resume.
mod readers;
/// Nothing is lost, repeated or out of order.
mod exactly_once;
/// Rows, and readers that end with them.
mod tables;
/// Rows of a PostgreSQL server.
mod postgres;
/// One of a test's own.
#[path = "../it/support/postgres.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod database;
/// Tables of DynamoDB.
mod dynamodb;
/// One of a test's own.
#[path = "../it/support/dynamodb/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other tests need more of it")]
mod service;
/// Readers that stop reading.
mod stall;
/// Connections that change hands in awkward moments.
mod takeover;
/// Orders of steps in the log that are rare.
mod races;

use std::time::Duration;

/// Only a broken server makes a test wait this long.
const PATIENCE: Duration = Duration::from_secs(60);
