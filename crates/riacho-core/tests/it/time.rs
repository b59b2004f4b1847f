//! Times and durations as text.

use crate::support::gen_text::number;
use proptest::prelude::*;
use riacho_core::time::{duration_text, parse_duration, parse_rfc3339, rfc3339};
use std::time::Duration;

#[test]
fn a_duration_is_written_in_the_largest_unit_that_holds_it() {
    let millis = |ms| duration_text(Duration::from_millis(ms));
    assert_eq!(millis(0), "0ms");
    assert_eq!(millis(999), "999ms");
    assert_eq!(millis(1_000), "1s");
    assert_eq!(millis(1_001), "1001ms");
    assert_eq!(millis(90_000), "90s");
    assert_eq!(millis(600_000), "10m");
    assert_eq!(millis(3_600_000), "1h");
    assert_eq!(millis(7 * 86_400_000), "7d");
}

proptest! {
    #[test]
    fn a_duration_reads_back(count in number(), unit in prop::sample::select(vec![1u64, 1_000, 60_000, 3_600_000, 86_400_000])) {
        let duration = Duration::from_millis(count / unit * unit);
        prop_assert_eq!(parse_duration(&duration_text(duration)), Some(duration));
    }

    #[test]
    fn a_text_is_a_duration_by_its_unit_or_none(text in "[0-9+ -]{0,3}[0-9]{0,20}(ms|s|m|h|d|)[ a]?") {
        let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        let want = units.iter().find_map(|(unit, ms)| {
            let number = text.strip_suffix(unit).filter(|n| n.bytes().all(|b| b.is_ascii_digit()))?;
            number.parse::<u128>().ok()?.checked_mul(*ms)?.try_into().ok().map(Duration::from_millis)
        });
        prop_assert_eq!(parse_duration(&text), want);
    }

    #[test]
    fn a_time_reads_back(millis in number()) {
        // The last moment there is text for.
        let want = millis.min(253_402_207_200_999);
        let text = rfc3339(millis);
        prop_assert_eq!(text.len(), "2026-11-21T10:54:00.250Z".len());
        prop_assert_eq!(parse_rfc3339(&text), Some(want));
    }

    #[test]
    fn a_text_near_a_time_never_panics(text in "[0-9T:.Z+-]{0,30}|-?[0-9]{4,6}-[019]{2}-[0-3][0-9][Tt _][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,12})?(Z|z|[+-][0-9]{2}:?[0-9]{0,2})?") {
        if let Some(millis) = parse_rfc3339(&text) {
            prop_assert_eq!(parse_rfc3339(&rfc3339(millis)), Some(millis));
        }
    }
}
