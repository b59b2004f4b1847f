//! The store: what was acknowledged is read back byte for byte, or its damage is reported.

/// A disk that fails as told.
mod sim;
/// What the tests share.
mod support;
/// Random histories with crashes, against plain vectors.
mod model;
/// Failing syncs, full disks, flipped bits, cut files.
mod faults;
/// Opening: indexes, locks, versions, offsets.
mod opening;
/// Reading by name and pattern, by count and time.
mod reading;
/// Trimming, removing, rewriting, forgetting.
mod retention;

pub(crate) use support::cases;
