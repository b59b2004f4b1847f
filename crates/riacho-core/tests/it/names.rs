//! Names, patterns, selections and event types: `spec/vectors/names.json` and a plain matcher.

use crate::support::{plain::selects, vectors};
use proptest::prelude::*;
use riacho_core::{
    event::{EventType, TypeError},
    name::{NAME_BYTES_MAX, NameError, Pattern, Selection, Selector, StreamName},
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Question {
    Name {
        name: String,
    },
    Pattern {
        pattern: String,
    },
    Type {
        #[serde(rename = "type")]
        event_type: String,
    },
    Selection {
        selection: Vec<String>,
        stream: String,
    },
}

#[derive(Deserialize, PartialEq, Debug)]
#[serde(untagged)]
enum Answer {
    Rule(String),
    Selected(bool),
}

#[test]
fn names_and_patterns_are_taken_and_match_as_the_vectors_say() {
    vectors::check("names.json", |question| match question {
        Question::Name { name } => {
            let parsed = StreamName::parse(&name);
            assert!(
                parsed.as_ref().is_ok_and(|n| n.as_str() == name && n.to_string() == name) || parsed.is_err()
            );
            Answer::Rule(rule(parsed.err()).to_owned())
        }
        Question::Pattern { pattern } => {
            let parsed = Pattern::parse(&pattern);
            assert!(parsed.as_ref().is_ok_and(|p| p.as_str() == pattern) || parsed.is_err());
            Answer::Rule(rule(parsed.err()).to_owned())
        }
        Question::Type { event_type } => {
            let parsed = EventType::parse(&event_type);
            assert!(parsed.as_ref().is_ok_and(|t| t.as_str() == event_type) || parsed.is_err());
            Answer::Rule(type_rule(parsed.err()).to_owned())
        }
        Question::Selection { selection, stream } => {
            let selectors = selection.iter().map(|text| Selector::parse(text).unwrap()).collect();
            Answer::Selected(Selection::new(selectors).matches(StreamName::parse(&stream).unwrap().as_str()))
        }
    });
}

fn rule(error: Option<NameError>) -> &'static str {
    match error {
        None => "ok",
        Some(NameError::Empty) => "empty",
        Some(NameError::TooLong) => "too long",
        Some(NameError::Control) => "control",
        Some(NameError::Star) => "star",
        Some(NameError::NoStar) => "no star",
        Some(NameError::StarInSegment) => "star in segment",
        Some(NameError::RestNotLast) => "rest not last",
        Some(NameError::Reserved) => "reserved",
    }
}

fn type_rule(error: Option<TypeError>) -> &'static str {
    match error {
        None => "ok",
        Some(TypeError::Empty) => "empty",
        Some(TypeError::TooLong) => "too long",
        Some(TypeError::Control) => "control",
        Some(TypeError::Reserved) => "reserved",
    }
}

#[test]
fn the_servers_own_types_read_back_from_the_log() {
    assert!(EventType::any("riacho.reset").is_ok());
    assert_eq!(EventType::any(""), Err(TypeError::Empty));
}

#[test]
fn a_selector_is_a_pattern_where_it_holds_a_star() {
    assert!(matches!(Selector::parse("a/*"), Ok(Selector::Pattern(_))));
    assert!(matches!(Selector::parse("a/-"), Ok(Selector::Exact(_))));
    assert_eq!(Selector::parse("a*").unwrap_err(), NameError::StarInSegment);
    assert_eq!(Selector::parse("").unwrap_err(), NameError::Empty);
}

#[test]
fn equal_selections_are_equal_whatever_their_order() {
    let select = |texts: &[&str]| Selection::new(texts.iter().map(|t| Selector::parse(t).unwrap()).collect());
    assert_eq!(select(&["b", "a/*", "a", "b"]), select(&["a/*", "a", "b"]));
    assert_eq!(select(&["a", "a"]).single(), Some(&StreamName::parse("a").unwrap()));
    assert_eq!(select(&["a", "b"]).single(), None);
    assert_eq!(select(&["*"]).single(), None);
    assert_eq!(select(&[]).single(), None);
    let mixed = select(&["b", "*", "a", "a/**"]);
    assert_eq!(mixed.names().map(StreamName::as_str).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(mixed.patterns().map(Pattern::as_str).collect::<Vec<_>>(), ["*", "a/**"]);
}

proptest! {
    #[test]
    fn a_selector_parses_to_its_own_text_or_is_refused(text in "[ab/*\0\u{85}-]{0,6}") {
        if let Ok(selector) = Selector::parse(&text) {
            prop_assert_eq!(selector.as_str(), &text);
            prop_assert!(!text.is_empty() && !text.chars().any(char::is_control));
            prop_assert!(text != "-" && !text.starts_with("-/"));
            let segments: Vec<&str> = text.split('/').collect();
            let (last, front) = segments.split_last().unwrap();
            prop_assert!(front.iter().all(|s| *s == "*" || !s.contains('*')));
            prop_assert!(*last == "*" || *last == "**" || !last.contains('*'));
        }
    }

    #[test]
    fn the_bound_is_in_bytes(letters in NAME_BYTES_MAX / 2 - 2..NAME_BYTES_MAX / 2 + 2, odd: bool) {
        let text = "é".repeat(letters) + if odd { "a" } else { "" };
        prop_assert_eq!(StreamName::parse(&text).is_ok(), text.len() <= NAME_BYTES_MAX);
    }

    #[test]
    fn a_selection_matches_what_a_plain_matcher_does(
        texts in prop::collection::vec("[ab*]{0,2}(/[ab*]{0,2}){0,3}(/\\*\\*)?", 0..5),
        names in prop::collection::vec("[ab]{0,2}(/[ab]{0,2}){0,4}", 1..8),
    ) {
        let selectors: Vec<Selector> = texts.iter().filter_map(|text| Selector::parse(text).ok()).collect();
        let selection = Selection::new(selectors.clone());
        for name in names.iter().filter(|name| !name.is_empty()) {
            let want = selectors.iter().any(|selector| selects(selector.as_str(), name));
            prop_assert_eq!(selection.matches(name), want, "{:?} in {:?}", name, selection);
            for selector in &selectors {
                if let Selector::Pattern(pattern) = selector {
                    prop_assert!(!pattern.matches(name) || name.starts_with(pattern.literal_prefix()));
                }
            }
        }
    }
}

#[test]
fn hidden_tables_have_names_that_nobody_can_say() {
    let hidden = StreamName::of_versions("shop/orders").unwrap();
    assert!(hidden.is_hidden() && hidden.table().is_some());
    assert_eq!(StreamName::any(hidden.as_str()), Ok(hidden.clone()), "the log can be read back");
    StreamName::parse(hidden.as_str()).unwrap_err();
    StreamName::of_table(hidden.table().unwrap()).unwrap_err();
    assert!(!Pattern::parse("**").unwrap().matches(hidden.as_str()));
    assert!(!StreamName::of_table("shop/orders").unwrap().is_hidden());
    StreamName::of_versions("-/tables/a").unwrap_err();
    StreamName::any("-/tables/-/versions/").unwrap_err();
}
