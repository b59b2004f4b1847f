//! Any text is a row's value or refused, and so are patches and batches. What is taken is taken again as it stands, and
//! a patched row is a value.

#![no_main]

use libfuzzer_sys::fuzz_target;
use riacho_core::table::{
    batch::{self, Action, Form, Limits},
    patch::merge,
    value::value,
};
use serde_json::value::RawValue;

#[path = "../../crates/riacho-core/tests/it/support/plain.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod plain;

use plain::tokens;

fuzz_target!(|input: (&str, &str, bool)| {
    let (text, other, array) = input;
    if let Ok(row) = value(text) {
        assert!(serde_json::from_str::<&RawValue>(&row).is_ok() && !row.contains(['\r', '\n']));
        assert_eq!(tokens(&row), tokens(text));
        assert_eq!(value(&row).as_ref(), Ok(&row));
        if let Ok(merged) = merge(&row, other) {
            assert!(value(other).is_ok() && merged.len() <= row.len() + other.len());
            assert_eq!(value(&merged).as_deref(), Ok(&*merged));
            // A patch says what members are to be, so twice is once.
            assert_eq!(merge(&merged, other).as_deref(), Ok(&*merged));
        }
    }
    // Rows are values; but nothing else makes it panic either.
    let _ = merge(text, other);

    let form = if array { Form::Array } else { Form::Lines };
    let limits = Limits { changes_max: 16, value_bytes_max: 256 };
    let Ok(batch) = batch::parse(text, form, other, limits) else { return };
    assert!((1..=16).contains(&batch.changes.len()));
    for change in &batch.changes {
        assert!((1..=1024).contains(&change.key.as_str().len()));
        if let Action::Insert(text) | Action::Update(text) | Action::Upsert(text) | Action::Patch(text) =
            &change.action
        {
            assert!(text.len() <= 256 && value(text).as_ref() == Ok(text));
        }
    }
});
