//! What the tests share: the vectors' files, their way of writing events, and generators.

/// A reader of `text/event-stream`.
pub(crate) mod event_stream;
/// Generators that aim at the edges.
pub(crate) mod gen_text;
/// Generators of predicates and rows.
pub(crate) mod gen_predicate;
/// What code must do, said in the plainest way.
pub(crate) mod plain;
/// `spec/vectors/*.json`.
pub(crate) mod vectors;
/// Messages of logical replication in plain words.
pub(crate) mod replication;
/// What is written to a wire, as vectors spell it.
pub(crate) mod writing;
