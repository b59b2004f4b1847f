//! Riacho: realtime data for browsers over plain HTTP.
//!
//! The modules follow the data: the log makes events durable and ordered, views hold their encoded bytes, reactors and
//! transports send them. Logic without I/O lives in `riacho-core`.

/// All settings, checked once.
pub mod config;
/// Events become durable and get an offset.
pub mod log;
/// What rows must look like.
pub mod schema;
/// Rows of tables by key, and their index by last change.
pub mod rows;
/// Where rows come from outside.
pub mod source;
/// Events in their order become bytes.
mod encode;
/// Encoded events that many subscribers read.
pub mod view;
/// Readers behind their view are fed from the log.
pub mod feed;
/// Tasks that own plain SSE sockets.
pub mod reactor;
/// Events go out: one way of sending for each transport.
pub mod transport;
/// Requests, routes and connections.
pub mod http;
/// How many connections there may be.
pub mod limits;
/// Signatures of what other programs push.
pub mod webhook;
/// What is counted.
pub mod metrics;
/// Lines of JSON events.
mod json;
/// TLS of our own HTTP clients.
mod tls;
/// The one place that reads the clock.
pub mod clock;
/// What went wrong, for callers.
pub mod error;
/// The demo: pages, and the streams the server feeds itself.
pub mod demo;
/// A configuration becomes a running server.
pub mod serve;
/// The commands of the `riacho` binary.
pub mod cli;
