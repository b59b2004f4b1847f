//! Riacho: realtime data for browsers over plain HTTP.
//!
//! The modules follow the data: the log makes events durable and ordered, views hold their encoded bytes, reactors and
//! transports send them. Logic without I/O lives in `riacho-core`.

/// All settings, checked once.
pub mod config;
/// Events become durable and get an offset.
pub mod log;
/// The one place that reads the clock.
pub mod clock;
/// What went wrong, for callers.
pub mod error;
/// The demo: pages, and the streams the server feeds itself.
pub mod demo;
/// The commands of the `riacho` binary.
pub mod cli;
