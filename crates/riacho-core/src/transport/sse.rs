//! Events as `text/event-stream`.
