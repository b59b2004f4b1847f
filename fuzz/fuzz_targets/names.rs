//! Names and patterns parse to their own text or are refused, and a selection matches what a plain matcher does.

#![no_main]

use libfuzzer_sys::fuzz_target;
use riacho_core::name::{NAME_BYTES_MAX, Pattern, Selection, Selector, StreamName};

#[path = "../../crates/riacho-core/tests/it/support/plain.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod plain;

use plain::selects;

fuzz_target!(|input: (Vec<&str>, &str)| {
    let (texts, name) = input;
    let selectors: Vec<Selector> = texts.iter().filter_map(|t| Selector::parse(t).ok()).collect();
    for selector in &selectors {
        let text = selector.as_str();
        assert!(texts.contains(&text) && (1..=NAME_BYTES_MAX).contains(&text.len()));
        assert_eq!(matches!(selector, Selector::Pattern(_)), text.contains('*'));
        assert!(!text.chars().any(char::is_control));
        if let Ok(pattern) = Pattern::parse(text) {
            assert!(!pattern.matches(name) || name.starts_with(pattern.literal_prefix()));
        }
    }
    let Ok(name) = StreamName::parse(name) else { return };
    let want = selectors.iter().any(|s| selects(s.as_str(), name.as_str()));
    assert_eq!(Selection::new(selectors).matches(name.as_str()), want);
});
