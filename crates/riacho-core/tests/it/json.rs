//! The JSON form: `spec/vectors/json.json`, and that a line is one line and gives the event back.

use crate::support::{gen_text, plain::tokens, vectors, writing::Writing};
use proptest::prelude::*;
use riacho_core::{
    event::{Data, EventType},
    position::{Epoch, Position},
    time::parse_rfc3339,
    transport::Form,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::num::NonZeroU64;

#[test]
fn lines_are_written_as_the_vectors_say() {
    vectors::check("json.json", |writing: Writing| writing.ndjson());
}

#[test]
fn data_is_json_by_the_letter_of_the_rfc_or_refused() {
    let refused = [
        "",
        " ",
        "\u{feff}1",
        "\u{a0}1",
        "1\u{c}",
        "1 2",
        "nul",
        "NaN",
        "-",
        "01",
        "+1",
        ".5",
        "'a'",
        "\"\n\"",
        "\"\0\"",
        "\"\\x\"",
        "\"a",
        "[1",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "// a\n1",
    ];
    for text in refused {
        assert!(Data::json(text).is_err(), "{text:?}");
    }
    for text in [" \t\r\n1 ", "1e999", "-0", "\"\\ud800\"", "\"\u{7f}\u{2028}\"", "{\"a\":1,\"a\":2}"] {
        assert_eq!(&*Data::json(text).unwrap().text, text);
    }
    let (open, close) = ("[".repeat(500_000), "]".repeat(500_000));
    assert!(Data::json(open.clone() + &close).is_ok());
    assert!(Data::json(open).is_err());
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    id: String,
    stream: String,
    #[serde(rename = "type")]
    event_type: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
    time: String,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_line_is_one_line_of_json_and_gives_the_event_back(event in gen_text::event(), epoch: NonZeroU64) {
        let mut bytes = Vec::new();
        Form::Ndjson.event(&mut bytes, Epoch(epoch), &event);
        let text = String::from_utf8(bytes).unwrap();
        let text = text.strip_suffix('\n').expect("a line ends with LF");
        // What str.splitlines of Python takes for an end of line.
        let breaks = |c: char| matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
        prop_assert!(!text.contains(breaks), "{:?}", text);

        let line: Line = serde_json::from_str(text).unwrap();
        prop_assert_eq!(line.id, Position { epoch: Epoch(epoch), offset: event.offset }.to_string());
        prop_assert_eq!(line.stream, event.stream.as_str());
        prop_assert_eq!(line.event_type.as_deref(), event.event_type.as_ref().map(EventType::as_str));
        prop_assert_eq!(parse_rfc3339(&line.time), Some(event.time.min(253_402_207_200_999)));
        assert_same(line.data, &event.data);
    }
}

/// Panics unless `written` is the JSON value that `data` is on the wire.
#[track_caller]
pub(crate) fn assert_same(written: &RawValue, data: &Data) {
    if data.json {
        assert_eq!(tokens(written.get()), tokens(&data.text));
    } else {
        assert_eq!(serde_json::from_str::<String>(written.get()).unwrap(), &*data.text);
    }
}
