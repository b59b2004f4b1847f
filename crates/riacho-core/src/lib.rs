//! Riacho's logic without I/O: values in, values out.
//!
//! Time and randomness are arguments; nothing here reads a clock, a file or a socket. The modules are listed in the
//! order the data takes: a name, a position, an event, its bytes in the log, its bytes on the wire.

/// Stream names, patterns and selections of streams.
pub mod name;
/// Epochs, offsets, positions and their text form, the cursor.
pub mod position;
/// Points in time and lengths of time as text.
pub mod time;
/// One immutable entry of the log.
pub mod event;
/// Walking through JSON text.
mod scan;
/// The rows of tables: their keys, their values, and how they change.
pub mod table;
/// Where a subscription starts.
pub mod start;
/// Where rows come from outside.
pub mod source;
/// The bytes of the log.
pub mod log;
/// Which rows of a table are wanted, and which columns of them.
pub mod predicate;
/// The encoded bytes of one selection, which subscribers read.
pub mod view;
/// The wire forms of an event.
pub mod transport;
