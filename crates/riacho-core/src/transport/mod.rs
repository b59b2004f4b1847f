//! The wire forms of an event: one encoder each, shared by everything that sends.

/// `text/event-stream`.
pub mod sse;
/// The JSON form of an event: NDJSON lines and long-poll pages.
pub mod json;
