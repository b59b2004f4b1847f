//! The one place that reads the clock; everything else is given the time.

#![expect(clippy::disallowed_methods, reason = "this is the place the rule names")]

use riacho_core::time::Millis;
use std::time::{Duration, Instant, SystemTime};

/// The time of day.
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A moment of the monotonic clock, for measuring how long something took.
pub fn instant() -> Instant {
    Instant::now()
}
