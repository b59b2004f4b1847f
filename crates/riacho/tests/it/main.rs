//! Tests of the whole: settings, commands, real sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests may, as tests")]

/// Servers, clients and what they say.
mod support;
mod config;
mod cli;
/// One stream and many: publish, subscribe, resume, empty, list.
mod streams;
