//! Numbers as people read them: three digits that matter, and their unit.

use crate::bench::row::thousands;

/// What a number is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Microseconds of CPU.
    Micros,
    /// Microseconds of waiting, shown in milliseconds.
    Latency,
    Seconds,
    Bytes,
    /// Events, connections, or these in a second.
    Count,
    /// One thing divided by another.
    Ratio,
    /// A part of a whole, which is 1.
    Share,
}

impl Unit {
    /// The number with its unit.
    pub(crate) fn text(self, value: f64) -> String {
        match self {
            Self::Micros => format!("{} µs", digits(value)),
            Self::Latency => format!("{} ms", digits(value / 1_000.0)),
            Self::Seconds => format!("{} s", digits(value)),
            Self::Bytes => bytes(value),
            Self::Count => digits(value),
            Self::Ratio => format!("{value:.2}x"),
            Self::Share => format!("{} %", digits(value * 100.0)),
        }
    }
}

fn bytes(value: f64) -> String {
    for (bound, unit) in [(1e9, "GB"), (1e6, "MB"), (1e3, "KB")] {
        if value.abs() >= bound {
            return format!("{} {unit}", digits(value / bound));
        }
    }
    format!("{} B", digits(value))
}

/// Three digits that matter, and no more noughts than needed; thousands apart.
fn digits(value: f64) -> String {
    // There is a negative nought, too.
    let value = value + 0.0;
    let size = value.abs();
    if size >= 1_000.0 {
        // The next power of ten that leaves three digits, and none after the point.
        let step = 10_f64.powf(size.log10().floor() - 2.0);
        return whole((value / step).round() * step);
    }
    let text = match size {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "made positive and whole just before"
)]
fn whole(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", thousands(value.abs().round() as usize))
}
