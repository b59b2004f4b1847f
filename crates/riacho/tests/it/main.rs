//! Tests of the whole: settings, commands, real sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests may, as tests")]

mod config;
mod cli;
