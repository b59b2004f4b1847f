//! The one place that reads the clock; everything else is given the time.

#![expect(clippy::disallowed_methods, reason = "this is the place the rule names")]

use riacho_core::time::Millis;
use rustix::time::{ClockId, Timespec, clock_gettime};
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

/// The time of day in nanoseconds since 1970, which two processes of one machine read alike.
pub fn realtime_nanos() -> u64 {
    nanos(clock_gettime(ClockId::Realtime))
}

/// The monotonic clock in nanoseconds: cheaper to keep and compare by the million than `Instant`.
pub fn monotonic_nanos() -> u64 {
    nanos(clock_gettime(ClockId::Monotonic))
}

/// CPU time of the calling thread so far, in nanoseconds.
pub fn thread_cpu_nanos() -> u64 {
    nanos(clock_gettime(ClockId::ThreadCPUTime))
}

fn nanos(time: Timespec) -> u64 {
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
