//! What a client says on a WebSocket: messages by example, and what its answers are known by.

use proptest::prelude::*;
use riacho_core::{
    event::Data,
    transport::command::{Action, Command, Name, Publish},
};

fn parsed(text: &str) -> (Option<String>, Action) {
    let command = Command::parse(text).unwrap_or_else(|err| panic!("{text}: {err}"));
    (command.reference.map(|reference| reference.as_json().to_owned()), command.action)
}

#[test]
fn messages_are_what_they_say() {
    let subscribe = |name: Option<&str>, url: &str, resume: Option<&str>| Action::Subscribe {
        name: name.and_then(Name::parse),
        url: url.to_owned(),
        resume: resume.map(str::to_owned),
    };
    let publish = |data, event_type: Option<&str>, key: Option<&str>| {
        let (event_type, idempotency_key) = (event_type.map(str::to_owned), key.map(str::to_owned));
        Action::Publish(Publish { stream: "s".to_owned(), event_type, data, idempotency_key })
    };
    let json = |text: &str| Data { text: text.into(), json: true };
    let cases = [
        (r#"{"type":"ping"}"#, None, Action::Ping),
        (r#"{"ref":"a\"b","x":{},"type":"ping"}"#, Some(r#""a\"b""#), Action::Ping),
        (r#"{"type":"ping","ref":-9223372036854775808}"#, Some("-9223372036854775808"), Action::Ping),
        (r#"{"type":"subscribe","url":"/streams/a"}"#, None, subscribe(None, "/streams/a", None)),
        (
            r#"{"type":"subscribe","ref":1,"subscription":"é","url":"/x","last_event_id":"5f2-1a"}"#,
            Some("1"),
            subscribe(Some("é"), "/x", Some("5f2-1a")),
        ),
        (r#"{"type":"subscribe","url":"","last_event_id":""}"#, None, subscribe(None, "", None)),
        (r#"{"type":"unsubscribe"}"#, None, Action::Unsubscribe { name: None }),
        (r#"{"type":"publish","stream":"s","data":"a\n"}"#, None, publish(Data::text("a\n"), None, None)),
        (r#"{"type":"publish","stream":"s","data":null}"#, None, publish(json("null"), None, None)),
        (
            r#"{"type":"publish","stream":"s","data": { "n": 1.0 } ,"event_type":"t","idempotency_key":"k"}"#,
            None,
            publish(json(r#"{ "n": 1.0 }"#), Some("t"), Some("k")),
        ),
    ];
    for (text, reference, action) in cases {
        assert_eq!(parsed(text), (reference.map(str::to_owned), action), "{text}");
    }
}

#[test]
fn what_is_no_message_is_refused_with_its_reference_where_it_has_one() {
    let long = format!(r#"{{"type":"unsubscribe","subscription":"{}"}}"#, "x".repeat(65));
    let cases = [
        ("", None, "not JSON"),
        ("[]", None, "not a JSON object"),
        (r#"{"ref":7}"#, Some("7"), "`type`"),
        (r#"{"type":"shout","ref":7}"#, Some("7"), "`type` is `subscribe`"),
        (r#"{"type":"ping","ref":1.5}"#, None, "`ref` is"),
        (r#"{"type":"ping","ref":null}"#, None, "`ref` is"),
        (r#"{"type":"ping","type":"ping","ref":7}"#, Some("7"), "twice"),
        (r#"{"type":"subscribe","ref":"a"}"#, Some("\"a\""), "`url` is missing"),
        (r#"{"type":"subscribe","url":5,"ref":"a"}"#, Some("\"a\""), "`url` is a string"),
        (r#"{"type":"subscribe","url":"/","subscription":""}"#, None, "`subscription` is a name"),
        (&long, None, "`subscription` is a name"),
        (r#"{"type":"publish","stream":"s"}"#, None, "`data` is missing"),
        (r#"{"type":"publish","data":1}"#, None, "`stream` is missing"),
    ];
    for (text, reference, detail) in cases {
        let err = Command::parse(text).expect_err(text);
        assert_eq!(err.reference.as_ref().map(|reference| reference.as_json()), reference, "{text}");
        assert!(err.to_string().contains(detail), "{text}: {err}");
    }
}

proptest! {
    #[test]
    fn answers_find_who_asked(text in "[a-z\"\\\\\u{0}\u{85}é]{0,20}", number: i64) {
        let json = serde_json::to_string(&text).unwrap();
        let (reference, _) = parsed(&format!(r#"{{"type":"ping","ref":{json}}}"#));
        prop_assert_eq!(serde_json::from_str::<String>(&reference.unwrap()).unwrap(), text);
        let (reference, _) = parsed(&format!(r#"{{"type":"ping","ref":{number}}}"#));
        prop_assert_eq!(reference.unwrap(), number.to_string());
    }
}
