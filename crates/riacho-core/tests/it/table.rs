//! Rows of tables: `spec/vectors/table-*.json`, and that values, patches, batches and messages agree with plain JSON.

use crate::support::{gen_text, plain::tokens, vectors};
use proptest::prelude::*;
use riacho_core::{
    event::{Data, Operation},
    position::{Epoch, Position},
    table::{
        batch::{self, Action, BatchErrorKind, Form, Limits},
        key::{KEY_BYTES_MAX, Key, KeyError},
        message::{Mark, Message},
        patch::merge,
        value::{ValueError, ValueErrorKind, value},
    },
};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::num::NonZeroU64;

#[test]
fn values_are_kept_or_refused_as_the_vectors_say() {
    vectors::check("table-values.json", |text: String| match value(&text) {
        Ok(value) => Checked::Value(value.into()),
        Err(err) => Checked::of(&err),
    });
}

#[test]
fn patches_change_rows_as_the_vectors_say() {
    vectors::check("table-patch.json", |Patching { row, patch }| match merge(&row, &patch) {
        Ok(row) => Checked::Row(row),
        Err(err) => Checked::of(&err),
    });
}

#[test]
fn batches_are_read_as_the_vectors_say() {
    vectors::check("table-batches.json", |batch: BatchText| {
        let form = if batch.form == "array" { Form::Array } else { Form::Lines };
        let limits = Limits {
            changes_max: batch.changes_max.unwrap_or(100),
            value_bytes_max: batch.value_bytes_max.unwrap_or(10_000),
        };
        match batch::parse(&batch.text, form, "todos", limits) {
            Ok(batch) => BatchRead::Read {
                changes: batch.changes.iter().map(|write| spell(&write.action, &write.key)).collect(),
                txid: batch.txid.map(Into::into),
            },
            Err(err) => BatchRead::Refused {
                error: BatchFault {
                    kind: batch_kind(err.kind()).to_owned(),
                    index: err.index(),
                    line: err.line(),
                },
            },
        }
    });
}

#[test]
fn changes_are_written_as_the_vectors_say() {
    vectors::check("table-changes.json", |message: Written| {
        // Writers append: what is there before stays.
        let mut out = b"before".to_vec();
        match message {
            Written::Change(change) => change.write(&mut out),
            Written::Control { table, word, id } => {
                let mark = match &*word {
                    "snapshot-start" => Mark::SnapshotStart,
                    "snapshot-end" => Mark::SnapshotEnd,
                    other => panic!("no mark {other:?}"),
                };
                mark.write(&mut out, id.map(|id| id.parse().unwrap()), &table);
            }
        }
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
    });
}

#[test]
fn errors_are_sentences() {
    let deep = "[".repeat(500_000);
    for (text, want) in [
        ("{\"a\":1,}", "the value is not JSON: key must be a string (line 1, column 8)"),
        ("[]", "the value is an array, not a JSON object (line 1, column 1)"),
        ("{\"a\":1,\n\"a\":2}", "the value has the member /a twice (line 2, column 1)"),
        (&*deep, "the value is not JSON: EOF while parsing a list (line 1, column 500000)"),
    ] {
        assert_eq!(value(text).unwrap_err().to_string(), want);
    }
    let deep = format!("{{\"a\":{deep}{}}}", "]".repeat(500_000));
    let err = value(&deep).unwrap_err().to_string();
    assert!(err.starts_with("the value has more than 96 objects and arrays in each other at /a/0/"), "{err}");
    assert_eq!(
        merge("{\"a\":", "{\"b\":1}").unwrap_err().to_string(),
        "the value is not JSON: the row before is damaged"
    );
    let limits = Limits { changes_max: 2, value_bytes_max: 10 };
    for (line, want) in [
        ("{\"key\":\"\"}", "the key is empty"),
        ("{\"key\":1}", "the member `key` is a string"),
        ("{\"key\":\"1\",\"type\":\"b\\n\"}", "`type` is \"b\\n\", and the table is \"a\""),
        (
            "{\"key\":\"1\",\"headers\":{\"operation\":\"x\"}}",
            "the operation is insert, update, upsert, delete or patch, not \"x\"",
        ),
        (
            "{\"key\":\"1\",\"value\":[1],\"headers\":{\"operation\":\"insert\"}}",
            "the value is an array, not a JSON object",
        ),
        ("{\"key\":", "the line is not JSON: EOF while parsing a value at column 7"),
    ] {
        assert_eq!(batch::parse(line, Form::Lines, "a", limits).unwrap_err().to_string(), want);
    }
}

#[test]
fn a_key_is_any_short_text() {
    let longest = "é".repeat(KEY_BYTES_MAX / 2);
    for text in ["a", " ", "\n", "a/b", "é🐟\u{2028}", &longest] {
        assert_eq!(Key::parse(text).unwrap().as_str(), text);
    }
    for (text, want) in [("", KeyError::Empty), ("a\0", KeyError::Nul), (&(longest + "x"), KeyError::TooLong)]
    {
        assert_eq!(Key::parse(text), Err(want));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_value_is_an_object_that_names_members_once(text in prop_oneof![gen_text::json_text(), text(), repeating()]) {
        let want = Data::json(&*text).is_ok() && text.trim_start().starts_with('{') && names_once(&text);
        let got = value(&text);
        prop_assert_eq!(got.is_ok(), want, "{:?}", got);
        if let Ok(value) = got {
            prop_assert_eq!(tokens(&value), tokens(&text));
            let one_line = !value.contains(['\r', '\n']) && value.starts_with('{') && value.ends_with('}');
            prop_assert!(one_line, "{:?}", value);
            prop_assert_eq!(riacho_core::table::value::value(&value), Ok(value));
        }
    }

    #[test]
    fn a_merge_is_that_of_the_rfc(row in object(), patch in object()) {
        let merged = merge(&row, &patch).unwrap();
        let mut want = parsed(&row);
        merge_values(&mut want, parsed(&patch));
        // With their order.
        prop_assert_eq!(parsed(&merged).to_string(), want.to_string());
        prop_assert_eq!(value(&merged).map(String::from), Ok(merged.clone()));
        prop_assert!(merged.len() <= row.len() + patch.len());
    }

    #[test]
    fn a_patch_of_other_members_leaves_all_text(row in object()) {
        let patched = merge(&row, "{\"other\":1}").unwrap();
        let back = merge(&patched, "{\"other\":null}").unwrap();
        prop_assert_eq!(tokens(&back), tokens(&row));
        let nothing = merge(&row, "{}").unwrap();
        prop_assert_eq!(back, nothing);
    }

    #[test]
    fn a_message_is_a_line_that_a_batch_takes_back(
        key in gen_text::text(), table in gen_text::stream(), new in object(), old in prop::option::of(object()),
        txid in prop::option::of("[a-zé\"\\\\ ]{1,5}"), operation in operation(), epoch: NonZeroU64, offset: u64,
    ) {
        let Ok(key) = Key::parse(key) else { return Ok(()) };
        let message = Message {
            table: table.as_str(), key: key.as_str(), operation, time: 0, last: true,
            value: (operation != Operation::Delete).then_some(&new), old_value: old.as_deref(),
            txid: txid.as_deref(),
        };
        let id = Position { epoch: Epoch(epoch), offset };
        let mut out = Vec::new();
        message.write(&mut out, Some(id));
        let text = String::from_utf8(out).unwrap();
        let breaks = |c: char| matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
        prop_assert!(!text.contains(breaks), "{:?}", text);

        let limits = Limits { changes_max: 1, value_bytes_max: usize::MAX };
        let batch = batch::parse(&text, Form::Lines, table.as_str(), limits).unwrap();
        prop_assert_eq!(batch.txid.as_deref(), txid.as_deref());
        prop_assert_eq!(&batch.changes[0].key, &key);
        match (&batch.changes[0].action, operation) {
            (Action::Insert(value), Operation::Insert) | (Action::Update(value), Operation::Update) => {
                prop_assert_eq!(tokens(value), tokens(&new));
            }
            (Action::Delete, Operation::Delete) => {}
            other => prop_assert!(false, "{:?}", other),
        }
        let read: Map<String, Value> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read["id"], &Value::from(id.to_string()));
        prop_assert_eq!(read.get("old_value").cloned(), old.map(|old| parsed(&old)));
        prop_assert_eq!(read["headers"].get("last").cloned(), txid.map(|_| Value::from(true)));
    }

    #[test]
    fn no_text_is_too_odd(text in text(), other in text(), array: bool) {
        let _ = (value(&text), merge(&text, &other), merge("{}", &text));
        let form = if array { Form::Array } else { Form::Lines };
        let _ = batch::parse(&text, form, "a", Limits { changes_max: 3, value_bytes_max: 20 });
    }
}

/// What a value or a patch gives.
#[derive(Deserialize, PartialEq, Debug)]
#[serde(rename_all = "lowercase")]
enum Checked {
    Value(String),
    Row(String),
    Error { kind: String, pointer: String, line: usize, column: usize },
}

impl Checked {
    fn of(err: &ValueError) -> Self {
        let (line, column) = err.place().line_column.unwrap_or_default();
        Self::Error {
            kind: kind(err.kind()).to_owned(),
            pointer: err.place().pointer.to_string(),
            line,
            column,
        }
    }
}

fn kind(kind: ValueErrorKind) -> &'static str {
    match kind {
        ValueErrorKind::NotJson => "not_json",
        ValueErrorKind::NotObject => "not_object",
        ValueErrorKind::Duplicate => "duplicate",
        ValueErrorKind::TooDeep => "too_deep",
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patching {
    row: String,
    patch: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchText {
    form: String,
    text: String,
    changes_max: Option<usize>,
    value_bytes_max: Option<usize>,
}

#[derive(Deserialize, PartialEq, Debug)]
#[serde(untagged, deny_unknown_fields)]
enum BatchRead {
    /// Operation, key and value of each.
    Read {
        changes: Vec<(String, String, Option<String>)>,
        txid: Option<String>,
    },
    Refused {
        error: BatchFault,
    },
}

#[derive(Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
struct BatchFault {
    kind: String,
    index: usize,
    line: Option<usize>,
}

fn spell(action: &Action, key: &Key) -> (String, String, Option<String>) {
    let (word, value) = match action {
        Action::Insert(value) => ("insert", Some(value)),
        Action::Update(value) => ("update", Some(value)),
        Action::Upsert(value) => ("upsert", Some(value)),
        Action::Delete => ("delete", None),
        Action::Patch(value) => ("patch", Some(value)),
    };
    (word.to_owned(), key.to_string(), value.map(ToString::to_string))
}

fn batch_kind(of: BatchErrorKind) -> &'static str {
    match of {
        BatchErrorKind::NotJson => "not_json",
        BatchErrorKind::Empty => "empty",
        BatchErrorKind::TooMany => "too_many",
        BatchErrorKind::Change => "change",
        BatchErrorKind::Table => "table",
        BatchErrorKind::Key(_) => "key",
        BatchErrorKind::Value(ValueErrorKind::NotObject) => "value:not_object",
        BatchErrorKind::Value(ValueErrorKind::Duplicate) => "value:duplicate",
        BatchErrorKind::Value(ValueErrorKind::TooDeep) => "value:too_deep",
        BatchErrorKind::Value(ValueErrorKind::NotJson) => "value:not_json",
        BatchErrorKind::ValueTooLarge => "value_too_large",
        BatchErrorKind::Txid => "txid",
    }
}

/// One message to write.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Written {
    Change(ShownChange),
    Control { table: String, word: String, id: Option<String> },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShownChange {
    id: Option<String>,
    table: String,
    key: String,
    operation: String,
    time: String,
    value: Option<String>,
    old_value: Option<String>,
    txid: Option<String>,
    #[serde(default)]
    last: bool,
}

impl ShownChange {
    fn write(&self, out: &mut Vec<u8>) {
        let all = [Operation::Insert, Operation::Update, Operation::Delete];
        let operation = *all.iter().find(|o| o.as_str() == self.operation).expect("an operation");
        let message = Message {
            table: &self.table,
            key: &self.key,
            operation,
            value: self.value.as_deref(),
            old_value: self.old_value.as_deref(),
            txid: self.txid.as_deref(),
            last: self.last,
            time: self.time.parse().unwrap(),
        };
        message.write(out, self.id.as_ref().map(|id| id.parse().unwrap()));
    }
}

/// Whether no object of the JSON value `text` names a member twice, by a parser of values.
fn names_once(text: &str) -> bool {
    // Half pairs are no values of Rust; those that are escaped become what they are compared as.
    let text = text.replace("\\ud800", "\\ufffd");
    // Neither are numbers beyond a double.
    let text = text.replace("1e999", "1");
    serde_json::from_str::<Once>(&text).is_ok()
}

/// Any JSON value, an error where a member is named twice.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor)
    }
}

struct OnceVisitor;

impl<'de> serde::de::Visitor<'de> for OnceVisitor {
    type Value = Once;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_str<E>(self, _: &str) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_unit<E>(self) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Once, A::Error> {
        while items.next_element::<Once>()?.is_some() {}
        Ok(Once)
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<Once, A::Error> {
        let mut names = std::collections::HashSet::new();
        while let Some((name, Once)) = members.next_entry::<String, Once>()? {
            if !names.insert(name) {
                return Err(serde::de::Error::custom("a member twice"));
            }
        }
        Ok(Once)
    }
}

/// RFC 7396, section 2, by the letter. With `shift_remove` for the order, which the RFC leaves open.
fn merge_values(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let members = target.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            members.shift_remove(&name);
        } else {
            merge_values(members.entry(name).or_insert(Value::Null), value);
        }
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Texts of values, whose members meet those of others.
fn object() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(
        &["null", "1", "-2.5", "\"}{\"", "\"\\\"\u{2028}\"", "[null,{\"a\":null}]", "[ ]", "{}", "true"][..],
    )
    .prop_map(str::to_owned);
    let value = leaf.prop_recursive(3, 16, 4, |inner| members(inner).boxed());
    members(value)
}

fn members(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let names = prop::sample::subsequence(&["a", "\\u0062", "c\\\"", "é", ""][..], 0..5).prop_shuffle();
    (names, prop::collection::vec((value, "[ \t]{0,1}"), 5)).prop_map(|(names, values)| {
        let members: Vec<_> = names
            .iter()
            .zip(&values)
            .map(|(name, (value, space))| format!("{space}\"{name}\"{space}:{space}{value}{space}"))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

/// Objects whose members often have one name, in some spelling.
fn repeating() -> impl Strategy<Value = String> {
    let names = prop::sample::select(&["a", "\\u0061", "A", "b", "c", "\\ud800", "\u{fffd}", "\\/", "/"][..]);
    let leaf = prop::sample::select(&["1", "\"\"", "[]"][..]).prop_map(str::to_owned);
    let value = leaf.prop_recursive(3, 12, 3, move |inner| {
        let members = prop::collection::vec((names.clone(), inner.clone()), 0..4).prop_map(|members| {
            let members: Vec<_> =
                members.iter().map(|(name, value)| format!("\"{name}\" :\n{value}")).collect();
            format!("{{{}}}", members.join(","))
        });
        let items = prop::collection::vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(",")));
        prop_oneof![3 => members, 1 => items]
    });
    value.prop_filter("an object", |text| text.starts_with('{'))
}

fn operation() -> impl Strategy<Value = Operation> {
    prop::sample::select(&[Operation::Insert, Operation::Update, Operation::Delete][..])
}

/// Pieces of objects and of batches in any order.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(
            &[
                "{",
                "}",
                "[",
                "]",
                ":",
                ",",
                "\"",
                "\\",
                "\"a\"",
                "\"a\":",
                "\"\\u0061\":1",
                "null",
                "1e9",
                "\n",
                " ",
                "\u{e9}",
                "\"\\ud800\":",
                "{\"a\":1}",
                "{}",
                "\"key\":\"a\"",
                "\"headers\":",
                "{\"operation\":\"delete\"}",
                "{\"operation\":\"patch\"}",
                "\"value\":",
            ][..]
        )
        .prop_map(str::to_owned),
        gen_text::text(),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}
