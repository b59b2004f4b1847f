//! Generators that aim at the edges.

use proptest::prelude::*;
use riacho_core::{
    event::{Data, Event, EventType},
    name::StreamName,
};

/// Text of a few pieces, most of which mean something to some reader.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(&PIECES[..]).prop_map(str::to_owned),
        2 => "[ -~]{0,3}",
        1 => "\\PC{0,3}",
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// A type or none.
pub(crate) fn event_type() -> impl Strategy<Value = Option<EventType>> {
    text().prop_map(|text| EventType::parse(&text.replace(char::is_control, "")).ok())
}

/// The name of a stream.
pub(crate) fn stream() -> impl Strategy<Value = StreamName> {
    text().prop_map(|text| {
        let text = text.replace(|c: char| c.is_control() || c == '*', "");
        StreamName::parse(&text).unwrap_or(StreamName::parse("a").unwrap())
    })
}

/// One JSON value as someone might write it, white space included.
pub(crate) fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        text().prop_map(|text| serde_json::to_string(&text).unwrap()),
        prop::sample::select(
            &["null", "true", "0", "-0.0", "1e999", "12345678901234567890", "\"\\ud800\""][..]
        )
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let space = "[ \t\r\n]{0,3}";
        prop_oneof![
            (space, prop::collection::vec(inner.clone(), 0..4))
                .prop_map(|(space, items)| format!("{space}[{}{space}]", items.join(&format!("{space},")))),
            (space, prop::collection::vec((text(), inner), 0..4)).prop_map(|(space, members)| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(key, value)| {
                        format!("{space}{}{space}:{value}", serde_json::to_string(key).unwrap())
                    })
                    .collect();
                format!("{{{}{space}}}{space}", members.join(","))
            }),
        ]
    })
}

/// Text or JSON.
pub(crate) fn data() -> impl Strategy<Value = Data> {
    prop_oneof![
        2 => text().prop_map(Data::text),
        1 => json_text().prop_map(|text| Data::json(text).expect("generated JSON is JSON")),
    ]
}

/// Any event.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    (number(), number(), stream(), event_type(), data()).prop_map(
        |(offset, time, stream, event_type, data)| Event {
            offset,
            time,
            stream,
            event_type,
            data,
            change: None,
        },
    )
}

/// Numbers of every length, not only large ones.
pub(crate) fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64u32).prop_map(|(number, shift)| number >> shift)
}

const PIECES: [&str; 36] = [
    "\r",
    "\n",
    "\r\n",
    "\n\n",
    ":",
    " ",
    "\t",
    "\0",
    "\u{feff}",
    "\u{85}",
    "\u{b}",
    "\u{c}",
    "\u{7f}",
    "\u{2028}",
    "\u{2029}",
    "\u{2027}",
    "\\",
    "\\u",
    "\"",
    "data",
    "data:",
    "\ndata: ",
    "\rid: 1",
    "\nevent: x",
    "\nretry: 1",
    "id",
    "riacho.",
    "/",
    "-",
    "*",
    "**",
    "{",
    "}",
    "a",
    "é",
    "🐟",
];
