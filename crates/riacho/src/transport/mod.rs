//! Events go out: one subscription path, and a way of sending for each transport.
//!
//! Plain HTTP/1.1 SSE leaves here for a reactor. Everything else is a task that follows the same view.

/// A reader that is a task: it follows its view, fed from the log where it is behind.
pub mod follower;
/// Response bodies that stream.
pub mod body;
/// Long-poll: a page of events, or a wait for the first.
pub mod long_poll;
