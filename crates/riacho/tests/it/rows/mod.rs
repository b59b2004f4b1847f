//! Rows: what was published is what is read, from memory or file, across crashes.

/// What the tests share: a file in memory, changes, recounts.
mod support;
/// Random histories with crashes, against plain maps.
mod model;
/// Reading: rows, pages, what changed.
mod reading;
/// Files: emptying, expiry, opening, another log.
mod file;
/// Full and failing disks, crashes.
mod faults;
