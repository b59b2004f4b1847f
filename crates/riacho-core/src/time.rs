//! Points in time as milliseconds, and times and durations as text.

use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted. Never read here: an argument everywhere.
pub type Millis = u64;

/// `millis` as RFC 3339 in UTC with milliseconds, e.g. `2026-11-21T10:54:00.250Z`.
pub fn rfc3339(millis: Millis) -> String {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    // Beyond the year 9999 there is no RFC 3339; the last moment it can name stands for all later ones.
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

/// Takes an RFC 3339 time, e.g. `2026-11-21T10:54:00Z` or with an offset as `+01:00`; before 1970 is 0.
///
/// What is finer than a millisecond is cut off; a leap second is the second before it. Some other ISO 8601 forms with a
/// zone are taken as well, but not promised.
pub fn parse_rfc3339(text: &str) -> Option<Millis> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(u64::try_from(time.as_millisecond()).unwrap_or(0))
}

/// Takes a duration: a whole number and one of `ms`, `s`, `m`, `h`, `d`, e.g. `250ms`, `10m`, `7d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?))
}

/// A duration in the largest unit that holds it exactly: the inverse of [`parse_duration`]. What is finer than a
/// millisecond is cut off.
pub fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis > 0 && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    format!("{millis}ms")
}
