//! A cursor parses to its own text or is refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use riacho_core::position::Position;

fuzz_target!(|text: &str| {
    if let Ok(position) = text.parse::<Position>() {
        assert_eq!(position.to_string(), text);
        assert!(text.len() <= 33);
    }
});
