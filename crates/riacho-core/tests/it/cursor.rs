//! Cursors: `spec/vectors/cursors.json` and their text form.

use crate::support::{gen_text::number, vectors};
use proptest::prelude::*;
use riacho_core::position::{Epoch, ParsePositionError, Position};
use serde::Deserialize;

#[derive(Deserialize, PartialEq, Debug)]
#[serde(untagged, deny_unknown_fields)]
enum Outcome {
    Accepted { epoch: String, offset: String },
    Refused { error: String },
}

#[test]
fn cursors_are_accepted_or_refused_as_the_vectors_say() {
    vectors::check("cursors.json", |text: String| match text.parse::<Position>() {
        Ok(position) => {
            assert_eq!(position.to_string(), text);
            Outcome::Accepted { epoch: position.epoch.0.to_string(), offset: position.offset.to_string() }
        }
        Err(ParsePositionError::NoSeparator) => Outcome::Refused { error: "no separator".to_owned() },
        Err(ParsePositionError::BadNumber) => Outcome::Refused { error: "bad number".to_owned() },
    });
}

fn near_cursor() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9a-fA-F+ -]{0,4}-?[0-9a-fA-F+ -]{0,4}",
        "[0-9a-f]{1,18}-[0-9a-f]{1,18}",
        "[01f]{15,17}-[01f]{15,17}",
    ]
}

proptest! {
    #[test]
    fn a_cursor_parses_to_its_own_text_or_is_refused(text in near_cursor()) {
        if let Ok(position) = text.parse::<Position>() {
            prop_assert_eq!(position.to_string(), text);
        }
    }

    #[test]
    fn a_position_reads_back_from_a_text_that_needs_no_preflight(epoch in number(), offset in number()) {
        let Some(epoch) = std::num::NonZeroU64::new(epoch) else { return Ok(()) };
        let position = Position { epoch: Epoch(epoch), offset };
        let text = position.to_string();
        prop_assert_eq!(text.parse(), Ok(position));
        prop_assert!(text.len() <= 33 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    }
}
