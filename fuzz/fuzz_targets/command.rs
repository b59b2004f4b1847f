//! A message of a WebSocket is understood or refused, and what its answer is known by is JSON of a bounded length.

#![no_main]

use libfuzzer_sys::fuzz_target;
use riacho_core::transport::command::{Action, Command, NAME_BYTES_MAX, Name, Reference};

fuzz_target!(|text: &str| {
    match Command::parse(text) {
        Ok(Command { reference, action }) => {
            check(reference.as_ref());
            match action {
                Action::Subscribe { name, resume, .. } => {
                    named(name.as_ref());
                    assert!(resume.is_none_or(|cursor| !cursor.is_empty()));
                }
                Action::Unsubscribe { name } => named(name.as_ref()),
                Action::Publish(publish) if publish.data.json => {
                    let value: &serde_json::value::RawValue = serde_json::from_str(&publish.data.text).unwrap();
                    assert!(!value.get().starts_with('"'), "a string is text");
                }
                Action::Publish(_) | Action::Ping => {}
            }
        }
        Err(err) => {
            check(err.reference.as_ref());
            assert!(!err.to_string().is_empty());
        }
    }
});

fn check(reference: Option<&Reference>) {
    let Some(reference) = reference else { return };
    let again = format!("{{\"type\":\"ping\",\"ref\":{}}}", reference.as_json());
    assert_eq!(Command::parse(&again).unwrap().reference.as_ref(), Some(reference));
}

fn named(name: Option<&Name>) {
    let Some(name) = name else { return };
    let text: String = serde_json::from_str(&name.to_json()).unwrap();
    assert!((1..=NAME_BYTES_MAX).contains(&text.len()));
    assert_eq!(Name::parse(&text).as_ref(), Some(name));
}
