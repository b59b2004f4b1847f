//! Whatever a request says, it is parsed or refused: properties of the decoders that have no crate of their own to fuzz.

use super::{
    Settings,
    condition::of_write,
    decode::small,
    publish::{entry, lines},
    request::{Media, Query, media, parse_name, row_key, start, stream_name, table_name},
    snapshot::token,
};
use crate::log::Condition;
use http::{HeaderMap, HeaderValue, Uri, header};
use proptest::prelude::*;

fn settings() -> Settings {
    Settings { event_bytes_max: 64, batch_events_max: 4, ..small() }
}

fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
    HeaderMap::from_iter(HeaderValue::from_str(value).ok().map(|value| (name, value)))
}

proptest! {
    #[test]
    fn any_target_is_parsed_or_refused(path in "[a-z%0-9A-F/+.-]{0,20}", query in "[a-z=&%0-9A-F+.-]{0,40}") {
        if let Ok(uri) = format!("/streams/{path}?{query}").parse::<Uri>() {
            // What is refused is refused by a Problem; a panic is what this looks for.
            let _ = stream_name(&uri);
            if let Ok(query) = Query::of(&uri) {
                let _ = start(&query, &HeaderMap::new());
                let _ = (query.number("a", 1, 9), query.flag("b"));
            }
        }
    }

    #[test]
    fn a_name_in_the_path_is_the_name_that_was_encoded(name in "[a-z/ é?#%&+]{1,12}") {
        let encoded = percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC);
        let uri: Uri = format!("/streams/{encoded}").parse().unwrap();
        let parsed = stream_name(&uri).unwrap();
        prop_assert_eq!(parsed.as_str(), name);
    }

    #[test]
    fn a_table_and_a_key_in_the_path_are_those_that_were_encoded(table in "[a-z/ é?#%&+.-]{1,8}", key in "[a-z/ é?#%&+.\n-]{1,8}") {
        let encoded = [&table, &key].map(|text| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string());
        let uri: Uri = format!("/tables/{}/{}", encoded[0], encoded[1]).parse().unwrap();
        // Reserved for the server.
        if table.split('/').next() != Some("-") {
            let parsed = table_name(&uri).unwrap();
            prop_assert_eq!(parsed.table(), Some(&*table));
        }
        let parsed = row_key(&uri).unwrap();
        prop_assert_eq!(parsed.as_str(), key);
    }

    #[test]
    fn any_condition_is_parsed_or_refused(text in "(\\*|W/|\"|, ?|1-[0-9a]|x| ){0,8}") {
        let epoch = riacho_core::position::Epoch(std::num::NonZeroU64::MIN);
        let condition = of_write(&headers(header::IF_MATCH, &text), epoch);
        if let Ok(Condition::Match(Some(offsets))) = condition {
            prop_assert!(offsets.len() <= text.matches("1-").count());
            prop_assert!(text.contains('"'));
        }
    }

    #[test]
    fn any_token_of_a_page_is_parsed_or_refused(text in "[0-9a-fA-F]{30,33}-?[0-9a-fG]{0,6}") {
        if let Some((_, key)) = token(&text) {
            let hex: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(text.split_once('-').unwrap().1, hex);
        }
    }

    #[test]
    fn an_accept_header_never_gives_what_it_excludes(
        ranges in prop::collection::vec(
            (
                prop::sample::select(vec!["text/event-stream", "application/x-ndjson", "application/json",
                    "text/*", "application/*", "*/*", "text/html", "", "x"]),
                prop::sample::select(vec!["", ";q=0", ";q=0.5", "; Q=1", ";q=2", ";q=x", ";v=1;q=0.1"]),
            ),
            0..5,
        ),
    ) {
        let text: Vec<String> = ranges.iter().map(|(range, quality)| format!("{range}{quality}")).collect();
        let accepted = media(&headers(header::ACCEPT, &text.join(", ")), Media::EventStream);
        let excluded = |name: &str| text.iter().any(|range| *range == format!("{name};q=0"));
        let said = |name: &str| ranges.iter().any(|(range, _)| *range == name);
        match accepted {
            Ok(Media::EventStream) => prop_assert!(!excluded("text/event-stream") || text.len() > 1),
            Ok(Media::Ndjson) => prop_assert!(said("application/x-ndjson") || said("application/*") || said("*/*")),
            Ok(Media::Json) => prop_assert!(said("application/json") || said("application/*") || said("*/*")),
            Err(_) => prop_assert!(!text.is_empty()),
        }
    }

    #[test]
    fn a_batch_is_taken_within_its_bounds_or_refused_whole(text in "(\\{\"data\":(1|\"a\"|null|\\{\\})(,\"stream\":\"[a*]\")?(,\"type\":\"(x|riacho.y|)\")?\\}?[\r\n ]{0,2}){0,6}") {
        let settings = settings();
        let made = lines(&settings, &text, true, |line, stream| entry(parse_name(stream.unwrap_or("s"))?, None, line));
        if let Ok(entries) = made {
            prop_assert!(!entries.is_empty() && entries.len() <= settings.batch_events_max);
            for entry in entries {
                prop_assert!(!entry.event_type.is_some_and(|t| t.as_str().starts_with("riacho.")));
            }
        }
    }
}

#[test]
fn accept_is_weighed_as_the_standard_says() {
    let cases = [
        ("text/event-stream", Ok(Media::EventStream)),
        ("text/event-stream;q=0, */*", Ok(Media::Ndjson)),
        ("application/json, text/event-stream;q=0.5", Ok(Media::Json)),
        ("application/json;Q=0.1, text/*", Ok(Media::EventStream)),
        ("application/*", Ok(Media::Ndjson)),
        ("text/html, */*;q=0.8", Ok(Media::EventStream)),
        ("text/html", Err(())),
        ("", Ok(Media::EventStream)),
    ];
    for (accept, want) in cases {
        let got = media(&headers(header::ACCEPT, accept), Media::EventStream).map_err(|_| ());
        assert_eq!(got, want, "{accept}");
    }
}
