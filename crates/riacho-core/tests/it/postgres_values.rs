//! Texts of PostgreSQL's values to JSON: what servers write rarely, and what none should. The types one by one are
//! compared with real servers in `tests/postgres`.

use crate::support::gen_text;
use proptest::prelude::*;
use riacho_core::{
    source::postgres::{
        kind::{Description, KIND_DEPTH_MAX, Kind, Types},
        value,
    },
    table,
};

#[test]
fn texts_become_the_json_that_their_kind_says() {
    let pair = || composite(&[("a", Kind::Number), ("b", Kind::Text)]);
    for (kind, text, json) in [
        (Kind::Bool, "t", "true"),
        (Kind::Bool, "true", r#""true""#),
        (Kind::Number, "007", r#""007""#),
        (Kind::Number, "+1", r#""+1""#),
        (Kind::Number, ".5", r#"".5""#),
        (Kind::Number, "5.", r#""5.""#),
        (Kind::Number, "-", r#""-""#),
        (Kind::Number, "1e", r#""1e""#),
        (Kind::Number, "", r#""""#),
        (Kind::Number, "0.000", "0.000"),
        (Kind::Number, "1e99999999999", r#""1e99999999999""#),
        (Kind::Number, "0e99999", "0e99999"),
        (Kind::Number, "9007199254740991", "9007199254740991"),
        (Kind::Number, "9007199254740992", r#""9007199254740992""#),
        (Kind::Number, "9.007199254740992e15", r#""9.007199254740992e15""#),
        (Kind::Number, "-9007199254740991.000", "-9007199254740991.000"),
        (Kind::Number, "90071992547409910", r#""90071992547409910""#),
        (Kind::Number, "1e15", "1e15"),
        (Kind::Number, "1e16", r#""1e16""#),
        (Kind::Number, "0.123456789012345000", "0.123456789012345000"),
        (Kind::Number, "0.1234567890123456", r#""0.1234567890123456""#),
        (Kind::Number, "1e-307", "1e-307"),
        (Kind::Number, "1e-308", r#""1e-308""#),
        (Kind::Float, "0.30000000000000004", "0.30000000000000004"),
        (Kind::Float, "1e+300", "1e+300"),
        (Kind::Float, "NaN", r#""NaN""#),
        (Kind::Float, "-Infinity", r#""-Infinity""#),
        (Kind::Json, " {\"a\":\r\n[1.0,\t\"\\n\"]}\n", "{\"a\":  [1.0,\t\"\\n\"]}"),
        (Kind::Json, r#"{"a":1,"a":2}"#, r#""{\"a\":1,\"a\":2}""#),
        (Kind::Json, r#"[{"a":1,"\u0061":2}]"#, r#""[{\"a\":1,\"\\u0061\":2}]""#),
        (Kind::Json, "1e400", "1e400"),
        (Kind::Json, "", r#""""#),
        (Kind::Json, "{", r#""{""#),
        (Kind::Json, "1 2", r#""1 2""#),
        (Kind::Timestamp, "2026-11-21 20:00:00.500000", r#""2026-11-21T20:00:00.5""#),
        (Kind::Timestamp, "2026-11-21 20:00:00.000000", r#""2026-11-21T20:00:00""#),
        (Kind::Timestamp, "2026-02-30 20:00:00", r#""2026-02-30 20:00:00""#),
        (Kind::Timestamp, "2026-11-21 20:00:00+00", r#""2026-11-21 20:00:00+00""#),
        (Kind::Timestamp, "2026-11-21", r#""2026-11-21""#),
        (Kind::Timestamp, "0000-01-01 00:00:00", r#""0000-01-01 00:00:00""#),
        (Kind::Timestamptz, "2026-01-01 00:00:00.25+05:30", r#""2025-12-31T18:30:00.25Z""#),
        (Kind::Timestamptz, "2024-02-28 23:30:00-00:44:30", r#""2024-02-29T00:14:30Z""#),
        (Kind::Timestamptz, "0001-01-01 00:00:00+01", r#""0001-01-01 00:00:00+01""#),
        (Kind::Timestamptz, "9999-12-31 23:00:00-01", r#""9999-12-31 23:00:00-01""#),
        (Kind::Timestamptz, "2026-11-21 20:00:00", r#""2026-11-21 20:00:00""#),
        (Kind::Timestamptz, "2026-11-21 20:00:00+1", r#""2026-11-21 20:00:00+1""#),
        (Kind::Timestamptz, "2026-11-21 20:00:00+00:00:00:00", r#""2026-11-21 20:00:00+00:00:00:00""#),
        (Kind::Timestamptz, "2026-11-21 20:00:00 CET", r#""2026-11-21 20:00:00 CET""#),
        (Kind::Bytea, "\\x", r#""""#),
        (Kind::Bytea, "\\x666f6f6261", r#""Zm9vYmE=""#),
        (Kind::Bytea, "\\x666F6F62", r#""Zm9vYg==""#),
        (Kind::Bytea, "\\x0", r#""\\x0""#),
        (Kind::Bytea, "\\x0g", r#""\\x0g""#),
        (Kind::Bytea, "\\000", r#""\\000""#),
        (array(Kind::Number), "{}", "[]"),
        (array(Kind::Number), "[5:6]={1,NULL}", "[1,null]"),
        (array(Kind::Number), "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
        (array(Kind::Number), "{1,x}", r#"[1,"x"]"#),
        (array(Kind::Text), r#"{"a\"\\",NULL,"NULL",""}"#, r#"["a\"\\",null,"NULL",""]"#),
        (array(Kind::Number), "{1,}", r#""{1,}""#),
        (array(Kind::Number), "{1", r#""{1""#),
        (array(Kind::Number), "{1}2", r#""{1}2""#),
        (array(Kind::Number), "{,1}", r#""{,1}""#),
        (array(Kind::Number), "[1", r#""[1""#),
        (array(Kind::Text), r#"{"a}"#, r#""{\"a}""#),
        (array(Kind::Text), r#"{"a\"#, r#""{\"a\\""#),
        (array(Kind::Number), "{{{{{{{1}}}}}}}", r#""{{{{{{{1}}}}}}}""#),
        (Kind::Array(Kind::Text.into(), ';'), "{(1,2);(3,4)}", r#"["(1,2)","(3,4)"]"#),
        (pair(), r#"(1,"b""c\\")"#, r#"{"a":1,"b":"b\"c\\"}"#),
        (pair(), "(,)", r#"{"a":null,"b":null}"#),
        (pair(), r#"(,"")"#, r#"{"a":null,"b":""}"#),
        (pair(), r"(1,a\,b)", r#"{"a":1,"b":"a,b"}"#),
        (pair(), "(1)", r#""(1)""#),
        (pair(), "(1,2,3)", r#""(1,2,3)""#),
        (pair(), "(1,2", r#""(1,2""#),
        (pair(), "(1,2) ", r#""(1,2) ""#),
        (pair(), r#"(1,"2)"#, r#""(1,\"2)""#),
        (composite(&[]), "()", "{}"),
        (composite(&[("a\"", Kind::Text)]), "()", r#"{"a\"":null}"#),
        (Kind::Text, "[1,5)", r#""[1,5)""#),
        (Kind::Text, "\u{2028}\u{85}\u{1}é€", "\"\\u2028\\u0085\\u0001é€\""),
    ] {
        let mut out = "before".to_owned();
        value::write(&mut out, &kind, text);
        assert_eq!(out.strip_prefix("before"), Some(json), "{kind:?} {text}");
    }
}

#[test]
fn json_is_as_deep_as_a_row_may_be_or_a_string() {
    for (levels, embedded) in [(95, true), (96, false)] {
        let text = "[".repeat(levels) + &"]".repeat(levels);
        let row = row_of(&Kind::Json, &text);
        assert_eq!(row.ends_with("]}"), embedded, "{levels}");
        table::value::value(&row).unwrap();
        let within = row_of(&array(Kind::Json), &format!("{{\"{}\"}}", &text[1..text.len() - 1]));
        assert_eq!(within.ends_with("]]}"), embedded, "{levels}");
        table::value::value(&within).unwrap();
    }
}

#[test]
fn built_in_types_are_known_by_oid() {
    for (oid, kind) in [
        (16, Kind::Bool),
        (20, Kind::Number),
        (25, Kind::Text),
        (22, Kind::Text),
        (1007, array(Kind::Number)),
        (1020, Kind::Array(Kind::Text.into(), ';')),
        (1185, array(Kind::Timestamptz)),
        (1009, array(Kind::Text)),
        (3807, array(Kind::Json)),
        (9_999, Kind::Text),
    ] {
        assert_eq!(Kind::of_oid(oid), Some(kind), "{oid}");
    }
    assert_eq!(Kind::of_oid(10_000), None);
}

#[test]
fn types_that_are_made_of_themselves_are_text() {
    let mut types = Types::default();
    let field = |name: &str, oid| (name.into(), oid);
    types.describe(20_000, Description::Composite(vec![field("a", 20_001)]));
    types.describe(20_001, Description::Array { element: 20_000, delimiter: ',' });
    types.describe(20_002, Description::Domain(20_002));
    types.describe(20_003, Description::Composite(vec![field("a", 23), field("a", 23)]));
    for oid in [20_000, 20_001, 20_002, 20_003, 20_004] {
        assert_eq!(types.kind(oid), Kind::Text, "{oid}");
    }
    // Each is made of two of the one before: more parts than there may be.
    for oid in 30_000..30_015 {
        types.describe(oid, Description::Composite(vec![field("a", oid - 1), field("b", oid - 1)]));
    }
    assert_eq!(types.kind(30_014), Kind::Text);
    assert_ne!(types.kind(30_008), Kind::Text);
}

#[test]
fn types_are_as_deep_as_they_may_be_or_text() {
    let mut types = Types::default();
    types.describe(20_000, Description::Array { element: 23, delimiter: ',' });
    for oid in 20_001..20_100 {
        types.describe(oid, Description::Array { element: oid - 1, delimiter: ',' });
    }
    let deepest = 20_000 + KIND_DEPTH_MAX as u32 - 1;
    assert_ne!(types.kind(deepest), Kind::Text);
    assert_eq!(types.kind(deepest + 1), Kind::Text);
}

#[test]
fn rows_that_no_catalogue_gives_are_refused() {
    let mut types = Types::default();
    for row in [
        [None, Some("other"), None, None, None],
        [Some("x"), Some("other"), None, None, None],
        [Some("20000"), Some("array"), Some("23"), None, None],
        [Some("20000"), Some("domain"), None, None, None],
        [Some("20000"), Some("field"), Some("23"), None, Some("a")],
        [Some("20000"), Some("?"), None, None, None],
    ] {
        assert_eq!(types.add(row), None, "{row:?}");
    }
    assert!(!types.knows(20_000));
    assert_eq!(types.add([Some("20000"), Some("composite"), Some("0"), None, None]), Some(()));
    assert_eq!(types.add([Some("20000"), Some("field"), Some("23"), None, Some("a")]), Some(()));
    assert_eq!(types.kind(20_000), composite(&[("a", Kind::Number)]));
}

proptest! {
    #[test]
    fn any_text_of_any_kind_is_a_member_of_a_row(
        kind in kind(),
        text in prop_oneof![pieces(), gen_text::text(), gen_text::json_text()],
    ) {
        let row = row_of(&kind, &text);
        let checked = table::value::value(&row);
        prop_assert_eq!(checked.as_deref(), Ok(&*row), "{:?} {:?}", kind, text);
    }

    #[test]
    fn numbers_are_numbers_only_where_a_double_gives_them_back(text in "-?[0-9]{1,18}(\\.[0-9]{1,18})?") {
        let mut out = String::new();
        value::write(&mut out, &Kind::Number, &text);
        if !out.starts_with('"') {
            prop_assert_eq!(shortest(&text.parse::<f64>().unwrap().to_string()), shortest(&text));
        }
    }

    #[test]
    fn arrays_come_back_from_their_text(
        items in prop::collection::vec(prop::option::of(gen_text::text()), 0..4),
        composite_items: bool,
    ) {
        let quoted = |text: &String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let (mut out, mut names) = (String::new(), Vec::new());
        if composite_items {
            names.extend((0..items.len()).map(|name| (name.to_string().into(), Kind::Text)));
            let doubled = |text: &String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\""));
            let texts: Vec<_> = items.iter().map(|item| item.as_ref().map_or(String::new(), doubled)).collect();
            value::write(&mut out, &Kind::Composite(names), &format!("({})", texts.join(",")));
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&out).unwrap();
            let back: Vec<_> = object.values().map(|value| value.as_str().map(str::to_owned)).collect();
            prop_assert_eq!(back, items);
        } else {
            let texts: Vec<_> = items.iter().map(|item| item.as_ref().map_or("NULL".into(), quoted)).collect();
            value::write(&mut out, &array(Kind::Text), &format!("{{{}}}", texts.join(",")));
            prop_assert_eq!(serde_json::from_str::<Vec<Option<String>>>(&out).unwrap(), items);
        }
    }
}

/// A number's text without the zeros that do not count.
fn shortest(text: &str) -> String {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |text| ("-", text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let number = format!("{}.{}", whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if number == "." { number } else { sign.to_owned() + &number }
}

fn row_of(kind: &Kind, text: &str) -> String {
    let mut row = String::new();
    value::row(&mut row, [("a", &Kind::Text, None), ("b\n", kind, Some(text))]);
    row
}

fn array(element: Kind) -> Kind {
    Kind::Array(element.into(), ',')
}

fn composite(fields: &[(&str, Kind)]) -> Kind {
    Kind::Composite(fields.iter().map(|(name, kind)| ((*name).into(), kind.clone())).collect())
}

/// Text made of what means something in the texts of values.
fn pieces() -> impl Strategy<Value = String> {
    let pieces = [
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ",",
        "\"",
        "\\",
        "NULL",
        "=",
        ":",
        "1",
        "-",
        "0",
        "9",
        ".",
        "e",
        "t",
        "\\x",
        "00",
        "2026-11-21 20:00:00",
        "+05:30",
        "NaN",
        "ü",
        "\u{2028}",
        "\n",
        " ",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..12).prop_map(|pieces| pieces.concat())
}

fn kind() -> impl Strategy<Value = Kind> {
    let leaf = prop::sample::select(vec![
        Kind::Bool,
        Kind::Number,
        Kind::Float,
        Kind::Json,
        Kind::Timestamp,
        Kind::Timestamptz,
        Kind::Bytea,
        Kind::Text,
    ]);
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(array),
            prop::collection::vec(inner, 0..3).prop_map(|kinds| {
                Kind::Composite(
                    (0..).zip(kinds).map(|(name, kind)| (format!("{name}").into(), kind)).collect(),
                )
            }),
        ]
    })
}
