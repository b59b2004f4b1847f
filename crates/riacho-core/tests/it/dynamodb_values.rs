//! Numbers, items, keys, types and places of DynamoDB: edges and properties. The oracle of numbers is their digits, place
//! by place.

use crate::support::gen_text;
use proptest::prelude::*;
use riacho_core::{
    source::dynamodb::{
        item::Item,
        key::{KeyError, KeySchema},
        number::{Number, ParseNumberError},
        sequence::SequenceNumber,
        types::{PATHS_MAX, Types},
        value::{Attribute, DEPTH_MAX, Kind},
    },
    table,
};
use std::cmp::Ordering;

#[test]
fn numbers_have_one_text() {
    for (text, canonical, number) in [
        ("0", "0", true),
        ("-0", "0", true),
        ("+0.000e99", "0", true),
        ("1.0", "1", true),
        ("1E+2", "100", true),
        ("100", "100", true),
        ("-1.50e-1", "-0.15", true),
        (".5", "0.5", true),
        ("5.", "5", true),
        ("007", "7", true),
        ("9007199254740991", "9007199254740991", true),
        ("9007199254740992", "9007199254740992", false),
        ("-9007199254740991.00", "-9007199254740991", true),
        ("10000000000000000", "10000000000000000", false),
        ("0.123456789012345", "0.123456789012345", true),
        ("0.1234567890123456", "0.1234567890123456", false),
        ("1234567890.12345", "1234567890.12345", true),
        ("1E+39", "1000000000000000000000000000000000000000", false),
        ("1E+40", "1E+40", false),
        ("1E-39", "0.000000000000000000000000000000000000001", true),
        ("1E-40", "1E-40", true),
        ("1E-130", "1E-130", true),
        ("1.5E-129", "1.5E-129", true),
        ("0.99999999999999999999999999999999999999", "0.99999999999999999999999999999999999999", false),
        (
            "9.9999999999999999999999999999999999999E+125",
            "9.9999999999999999999999999999999999999E+125",
            false,
        ),
        ("99999999999999999999999999999999999999", "99999999999999999999999999999999999999", false),
    ] {
        let read: Number = text.parse().unwrap();
        assert_eq!(read.to_string(), canonical, "{text}");
        let mut json = String::new();
        read.json(&mut json);
        assert_eq!(json, if number { canonical.to_owned() } else { format!("\"{canonical}\"") }, "{text}");
    }
}

#[test]
fn what_is_no_number_is_refused() {
    for (text, err) in [
        ("", ParseNumberError::Shape),
        ("-", ParseNumberError::Shape),
        (".", ParseNumberError::Shape),
        ("1e", ParseNumberError::Shape),
        ("1e+", ParseNumberError::Shape),
        ("e1", ParseNumberError::Shape),
        ("1.2.3", ParseNumberError::Shape),
        ("--1", ParseNumberError::Shape),
        ("1e+-1", ParseNumberError::Shape),
        (" 1", ParseNumberError::Shape),
        ("NaN", ParseNumberError::Shape),
        ("Infinity", ParseNumberError::Shape),
        ("٣", ParseNumberError::Shape),
        ("1_000", ParseNumberError::Shape),
        ("123456789012345678901234567890123456789", ParseNumberError::TooManyDigits),
        ("1E+126", ParseNumberError::TooLarge),
        ("1e99999999999999999999999", ParseNumberError::TooLarge),
        ("1E-131", ParseNumberError::TooSmall),
        ("-1e-99999999999999999999999", ParseNumberError::TooSmall),
    ] {
        assert_eq!(text.parse::<Number>(), Err(err), "{text}");
    }
    assert_eq!("1".repeat(1025).parse::<Number>(), Err(ParseNumberError::Shape));
    // Zeros that do not count are no digits, as many as there are.
    assert_eq!(
        format!("{}1.{}", "0".repeat(500), "0".repeat(500)).parse::<Number>().unwrap().to_string(),
        "1"
    );
}

#[test]
fn sequence_numbers_are_integers_of_up_to_40_digits() {
    let number = |text: &str| text.parse::<SequenceNumber>().unwrap();
    let largest = "9".repeat(40);
    assert!(number("9") < number("10"));
    assert!(
        number("340282366920938463463374607431768211455") < number("340282366920938463463374607431768211456")
    );
    assert!(number(&largest) > number("999999999999999999999999999999999999998"));
    assert_eq!(number("000000000000000000001"), number("1"));
    assert_eq!(number("000000000000000000001").to_string(), "000000000000000000001");
    assert_eq!(number("0").cmp(&number("00")), Ordering::Equal);
    for text in ["", "-1", "+1", "1.0", "a", " 1", &"1".repeat(41)] {
        assert!(text.parse::<SequenceNumber>().is_err(), "{text}");
    }
}

#[test]
fn keys_are_text_or_an_array() {
    let one = KeySchema { hash: "id".into(), range: None };
    let two = KeySchema { hash: "id".into(), range: Some("at".into()) };
    for (item, schema, text) in [
        (r#"{"id":{"S":"a/b"}}"#, &one, "a/b"),
        (r#"{"id":{"S":"a\"\u2028"}}"#, &one, "a\"\u{2028}"),
        (r#"{"id":{"S":"1"}}"#, &one, "1"),
        (r#"{"id":{"N":"1.00"}}"#, &one, "1"),
        (r#"{"id":{"N":"12345678901234567890"}}"#, &one, "12345678901234567890"),
        (r#"{"id":{"B":"AQI="}}"#, &one, "AQI="),
        (r#"{"id":{"S":"a\""},"at":{"N":"1E+2"}}"#, &two, r#"["a\"",100]"#),
        (
            r#"{"id":{"N":"12345678901234567890"},"at":{"B":"AQI="}}"#,
            &two,
            r#"["12345678901234567890","AQI="]"#,
        ),
        (r#"{"id":{"S":"1"},"at":{"S":"[2]"}}"#, &two, r#"["1","[2]"]"#),
    ] {
        let item = Item::parse_text(item.as_bytes()).unwrap();
        assert_eq!(schema.text(&item).as_deref(), Ok(text));
        let mut types = Types::default();
        types.learn(&item);
        assert_eq!(schema.item(text, &types), Ok(item));
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let one = KeySchema { hash: "id".into(), range: None };
    let two = KeySchema { hash: "id".into(), range: Some("at".into()) };
    let item = |text: &str| Item::parse_text(text.as_bytes()).unwrap();
    assert_eq!(one.text(&item("{}")), Err(KeyError::Missing("id".into())));
    assert_eq!(two.text(&item(r#"{"id":{"S":"a"}}"#)), Err(KeyError::Missing("at".into())));
    assert_eq!(one.text(&item(r#"{"id":{"BOOL":true}}"#)), Err(KeyError::NotAKeyType("id".into())));
    assert_eq!(one.text(&item(r#"{"id":{"S":"a\u0000"}}"#)), Err(KeyError::Key(table::key::KeyError::Nul)));
    let long = format!(r#"{{"id":{{"S":"{}"}}}}"#, "a".repeat(1025));
    assert_eq!(one.text(&item(&long)), Err(KeyError::Key(table::key::KeyError::TooLong)));

    let mut types = Types::default();
    assert_eq!(one.item("a", &types), Err(KeyError::UnknownType("id".into())));
    types.learn_kind("id", Kind::N);
    types.learn_kind("at", Kind::S);
    for text in ["1.0", "a", "", "1e2", "\"1\""] {
        assert_eq!(one.item(text, &types), Err(KeyError::NotAKey), "{text}");
    }
    for text in [
        "1",
        "[]",
        "[1]",
        "[1,null]",
        "[1,\"a\",2]",
        "[1, \"a\"]",
        "[\"1\",\"a\"]",
        "[1,\"a\"",
        "[1,{}]",
        "[1,[]]",
    ] {
        assert_eq!(two.item(text, &types), Err(KeyError::NotAKey), "{text}");
    }
    types.learn_kind("id", Kind::S);
    assert_eq!(one.item("1", &types), Err(KeyError::UnknownType("id".into())), "two types are none");
}

#[test]
fn only_the_columns_asked_for_are_in_a_row() {
    let item = Item::parse_text(br#"{"c":{"N":"3"},"a":{"N":"1"},"b":{"N":"2"}}"#).unwrap();
    for (columns, row) in [(&["c", "a", "z"][..], r#"{"a":1,"c":3}"#), (&[], "{}"), (&["b"], r#"{"b":2}"#)] {
        let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
        let mut out = String::new();
        item.json(Some(&columns), &mut out);
        assert_eq!(out, row);
    }
}

#[test]
fn attributes_are_as_deep_as_they_may_be() {
    let deep = |levels: usize| {
        (0..levels).fold(r#"{"S":"x"}"#.to_owned(), |deep, level| match level % 2 {
            0 => format!(r#"{{"M":{{"m":{deep}}}}}"#),
            _ => format!(r#"{{"L":[{deep}]}}"#),
        })
    };
    let item = |levels| Item::parse_text(format!(r#"{{"a":{}}}"#, deep(levels)).as_bytes());
    let deepest = item(DEPTH_MAX).unwrap();
    let (row, types) = (row_of(&deepest), types_of(&deepest));
    table::value::value(&row).unwrap();
    assert_eq!(Item::of_json(&row, &types).unwrap().item, deepest);
    let deeper = row.replace("\"x\"", "[\"x\"]");
    assert!(Item::of_json(&deeper, &types).unwrap_err().contains("more than 32"));
    let message = item(DEPTH_MAX + 1).unwrap_err();
    assert!(message.starts_with("the attribute \"a."), "{message}");
}

#[test]
fn types_are_learned_by_the_way_to_them() {
    let mut types = Types::default();
    let item = |text: &str| Item::parse_text(text.as_bytes()).unwrap();
    assert!(
        types.learn(&item(r#"{"a":{"M":{"b":{"S":"x"}}},"l":{"L":[{"N":"1"},{"M":{"s":{"SS":["x"]}}}]}}"#))
    );
    assert!(!types.learn(&item(r#"{"a":{"M":{"b":{"S":"y"}}},"l":{"L":[]}}"#)), "nothing new");
    assert!(types.learn(&item(r#"{"a":{"S":"x"},"a.b[":{"NULL":true}}"#)));
    let paths: Vec<_> = types
        .paths()
        .into_iter()
        .map(|(path, kinds)| {
            format!("{path} {}", kinds.iter().map(Kind::as_str).collect::<Vec<_>>().join(","))
        })
        .collect();
    let want = ["$.a S,M", "$.a.b S", "$[\"a.b[\"] NULL", "$.l L", "$.l[] N,M", "$.l[].s SS"];
    assert_eq!(paths, want);
    assert!(types.is_complete());
    assert_eq!(kept(&types), types);
}

#[test]
fn types_are_bounded() {
    let mut types = Types::default();
    let members = (0..PATHS_MAX + 10).map(|name| (name.to_string().into(), Attribute::Null));
    types.learn(&Item::new([("m".into(), Attribute::M(members.collect()))]));
    assert_eq!(types.paths().len(), PATHS_MAX);
    assert!(!types.is_complete() && !kept(&types).is_complete());

    let mut types = Types::default();
    types.learn(&Item::new(
        (0..3).map(|name| (format!("{name}{}", "a".repeat(30_000)).into(), Attribute::Null)),
    ));
    assert_eq!((types.paths().len(), types.is_complete()), (2, false));
    for text in ["", "{}", "[]", r#"{"complete":true}"#, r#"{"complete":true,"row":{"types":["X"]}}"#] {
        assert!(Types::parse(text).is_err(), "{text}");
    }
    let many: Vec<String> = (0..=PATHS_MAX).map(|name| format!("\"{name}\":{{}}")).collect();
    assert!(
        Types::parse(&format!(r#"{{"complete":true,"row":{{"members":{{{}}}}}}}"#, many.join(","))).is_err()
    );
}

#[test]
fn json_tells_types_apart_where_it_can() {
    let mut types = Types::default();
    for text in [
        r#"{"a":{"S":"x"},"s":{"L":[]},"b":{"B":""},"t":{"SS":["x"]}}"#,
        r#"{"a":{"N":"1"},"s":{"SS":["x"]}}"#,
    ] {
        types.learn(&Item::parse_text(text.as_bytes()).unwrap());
    }
    for (row, item, unsure) in [
        (r#"{"a":"x"}"#, r#"{"a":{"S":"x"}}"#, &[][..]),
        (r#"{"a":1.50}"#, r#"{"a":{"N":"1.5"}}"#, &[]),
        (r#"{"a":"12345678901234567890"}"#, r#"{"a":{"S":"12345678901234567890"}}"#, &["$.a"]),
        // As a number it would have been written as one.
        (r#"{"a":"12"}"#, r#"{"a":{"S":"12"}}"#, &[]),
        (r#"{"s":["b","a"]}"#, r#"{"s":{"L":[{"S":"b"},{"S":"a"}]}}"#, &["$.s[]"]),
        (r#"{"s":["a","b"]}"#, r#"{"s":{"L":[{"S":"a"},{"S":"b"}]}}"#, &["$.s", "$.s[]"]),
        (r#"{"t":["a","b"]}"#, r#"{"t":{"SS":["a","b"]}}"#, &[]),
        (r#"{"t":[1]}"#, r#"{"t":{"L":[{"N":"1"}]}}"#, &["$.t"]),
        (r#"{"b":"AQI="}"#, r#"{"b":{"B":"AQI="}}"#, &[]),
        (r#"{"b":"no"}"#, r#"{"b":{"S":"no"}}"#, &["$.b"]),
        (r#"{"new":{"x":null}}"#, r#"{"new":{"M":{"x":{"NULL":true}}}}"#, &[]),
        (r#"{"new":"x"}"#, r#"{"new":{"S":"x"}}"#, &["$.new"]),
    ] {
        let restored = Item::of_json(row, &types).unwrap();
        assert_eq!(restored.item, Item::parse_text(item.as_bytes()).unwrap(), "{row}");
        assert_eq!(restored.unsure, unsure, "{row}");
    }
    for row in ["", "[]", "1", "{", r#"{"a":1e200}"#, r#"{"a":1234567890123456789012345678901234567890}"#] {
        assert!(Item::of_json(row, &types).is_err(), "{row}");
    }
}

proptest! {
    #[test]
    fn a_number_is_its_digits((text, places) in number_text()) {
        let number: Number = text.parse().unwrap();
        let canonical = number.to_string();
        prop_assert_eq!(Places::of(&canonical), places, "{} {}", text, canonical);
        prop_assert_eq!(canonical.parse::<Number>(), Ok(number));
        let mut json = String::new();
        number.json(&mut json);
        if !json.starts_with('"') {
            // What a browser has prints the same digits.
            let double = format!("{:e}", json.parse::<f64>().unwrap());
            prop_assert_eq!(Places::of(&double), Places::of(&json));
        }
    }

    #[test]
    fn numbers_are_ordered_by_amount((a, x) in number_text(), (b, y) in number_text()) {
        let (a, b): (Number, Number) = (a.parse().unwrap(), b.parse().unwrap());
        prop_assert_eq!(a.cmp(&b), x.compare(&y));
        prop_assert_eq!(a == b, x == y);
    }

    #[test]
    fn any_text_is_a_number_with_one_text_or_none(text in "[-+]?[0-9.]{0,6}([eE][-+]?[0-9]{0,3})?") {
        if let Ok(number) = text.parse::<Number>() {
            prop_assert_eq!(number.to_string().parse(), Ok(number));
            prop_assert_eq!(Places::of(&number.to_string()), Places::of(&text));
        }
    }

    #[test]
    fn sequence_numbers_are_ordered_as_integers(a in "0{0,3}[0-9]{1,37}", b in "0{0,3}[0-9]{1,37}") {
        let (x, y): (SequenceNumber, SequenceNumber) = (a.parse().unwrap(), b.parse().unwrap());
        prop_assert_eq!(x.cmp(&y), a.parse::<u128>().unwrap().cmp(&b.parse::<u128>().unwrap()));
    }

    #[test]
    fn items_come_back_from_their_json(item in item(), others in prop::collection::vec(item(), 0..3)) {
        let mut text = String::new();
        item.dynamodb_json(&mut text);
        let back = Item::parse_text(text.as_bytes());
        prop_assert_eq!(back.as_ref(), Ok(&item));

        let row = row_of(&item);
        let checked = table::value::value(&row);
        prop_assert_eq!(checked.as_deref(), Ok(&*row));
        let mut types = types_of(&item);
        let restored = Item::of_json(&row, &types).unwrap();
        prop_assert!(restored.item == item || !restored.unsure.is_empty(), "{} {:?}", row, restored);
        for other in &others {
            types.learn(other);
        }
        let restored = Item::of_json(&row, &types).unwrap();
        prop_assert!(restored.item == item || !restored.unsure.is_empty(), "{} {:?}", row, restored);
        prop_assert_eq!(row_of(&restored.item), row, "a guess is the same row");
        prop_assert_eq!(kept(&types), types);
    }

    #[test]
    fn items_with_one_type_at_each_place_come_back_for_sure(
        values in prop::collection::vec(leaf(), 0..6),
        nested in leaf(),
    ) {
        let mut members: Vec<(Box<str>, Attribute)> =
            (0..).zip(values).map(|(name, value)| (format!("a{name}").into(), value)).collect();
        let list = vec![nested.clone(), nested.clone()];
        members.push(("l".into(), Attribute::L(list)));
        members.push(("m".into(), Attribute::M(vec![("x".into(), nested)])));
        let item = Item::new(members);
        let restored = Item::of_json(&row_of(&item), &types_of(&item)).unwrap();
        prop_assert_eq!((restored.item, restored.unsure), (item, vec![]));
    }

    #[test]
    fn keys_come_back_from_their_text(hash in key_part(), range in prop::option::of(key_part())) {
        let schema = KeySchema { hash: "h".into(), range: range.is_some().then(|| "r".into()) };
        let parts = range.into_iter().map(|range| ("r".into(), range));
        let item = Item::new(parts.chain([("h".into(), hash)]));
        match schema.text(&item) {
            Ok(text) => {
                let back = schema.item(&text, &types_of(&item));
                prop_assert_eq!(back.as_ref(), Ok(&item));
            }
            Err(err) => prop_assert!(matches!(err, KeyError::Key(_)), "{}", err),
        }
    }

    #[test]
    fn any_text_is_a_key_with_one_text_or_none(text in gen_text::text(), hash in key_part(), range in key_part()) {
        let types = types_of(&Item::new([("h".into(), hash), ("r".into(), range)]));
        for schema in [
            KeySchema { hash: "h".into(), range: None },
            KeySchema { hash: "h".into(), range: Some("r".into()) },
        ] {
            if let Ok(item) = schema.item(&text, &types) {
                let back = schema.text(&item);
                prop_assert_eq!(back.as_deref(), Ok(&*text));
            }
        }
    }

    #[test]
    fn any_json_is_an_item_or_refused(text in gen_text::json_text()) {
        let _ = Item::parse_text(text.as_bytes());
        if let Ok(restored) = Item::of_json(&text, &Types::default()) {
            table::value::value(&row_of(&restored.item)).unwrap();
        }
    }
}

/// A decimal number as its digits with their powers of ten: the sign, the power of the first that is not 0, and all from it
/// to the last that is not 0.
#[derive(PartialEq, Eq, Debug)]
struct Places {
    negative: bool,
    first: i64,
    digits: Vec<u8>,
}

impl Places {
    fn of(text: &str) -> Self {
        let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let negative = mantissa.starts_with('-');
        let mantissa = mantissa.trim_start_matches(['-', '+']);
        let whole = mantissa.find('.').unwrap_or(mantissa.len());
        let mut digits: Vec<u8> = mantissa.bytes().filter(|byte| *byte != b'.').collect();
        let mut first = whole as i64 - 1 + power.trim_start_matches('+').parse::<i64>().unwrap();
        while digits.first() == Some(&b'0') {
            digits.remove(0);
            first -= 1;
        }
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            return Self { negative: false, first: 0, digits };
        }
        Self { negative, first, digits }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let sign = |places: &Self| match (places.digits.is_empty(), places.negative) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => -1,
        };
        let amounts = self.first.cmp(&other.first).then_with(|| self.digits.cmp(&other.digits));
        sign(self).cmp(&sign(other)).then(if self.negative { amounts.reverse() } else { amounts })
    }
}

/// A number as someone might write it, and what it is.
fn number_text() -> impl Strategy<Value = (String, Places)> {
    let digits =
        prop_oneof!["[0-9]{1,3}", "[1-9][0-9]{0,37}", "[1-9]0{0,20}", "9{1,38}", "900719925474099[0-9]"];
    let exponent = prop_oneof![3 => -20i64..20, 1 => -130i64..88];
    ("[-+]?", digits, 0usize..40, exponent, "0{0,3}", "0{0,3}", any::<bool>()).prop_map(
        |(sign, digits, point, power, front, back, scientific)| {
            let digits = format!("{front}{digits}");
            let at = point.min(digits.len());
            let (whole, fraction) = digits.split_at(at);
            // The last digit stands for a power that is allowed.
            let power = power.clamp(-130 + fraction.len() as i64, 125 - at as i64);
            let text = if scientific || power != 0 {
                format!("{sign}{whole}.{fraction}{back}E{power:+}")
            } else {
                format!("{sign}{whole}.{fraction}{back}")
            };
            let places = Places::of(&text);
            (text, places)
        },
    )
}

fn number() -> impl Strategy<Value = Number> {
    number_text().prop_map(|(text, _)| text.parse().unwrap())
}

fn some_bytes() -> impl Strategy<Value = Box<[u8]>> {
    prop::collection::vec(any::<u8>(), 0..5).prop_map(Vec::into_boxed_slice)
}

fn some_text() -> impl Strategy<Value = Box<str>> {
    // Strings that look like other types among them.
    prop_oneof![gen_text::text(), "[0-9]{15,20}", Just("AQI=".to_owned()), Just(String::new())]
        .prop_map(String::into_boxed_str)
}

fn key_part() -> impl Strategy<Value = Attribute> {
    prop_oneof![
        some_text().prop_map(Attribute::S),
        number().prop_map(Attribute::N),
        some_bytes().prop_map(Attribute::B)
    ]
}

fn leaf() -> impl Strategy<Value = Attribute> {
    fn set<T: Ord + std::fmt::Debug>(member: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
        prop::collection::vec(member, 1..4).prop_map(|mut members| {
            members.sort();
            members.dedup();
            members
        })
    }
    prop_oneof![
        key_part(),
        any::<bool>().prop_map(Attribute::Bool),
        Just(Attribute::Null),
        set(some_text()).prop_map(Attribute::Ss),
        set(number()).prop_map(Attribute::Ns),
        set(some_bytes()).prop_map(Attribute::Bs),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let name = || prop_oneof!["[abc]", some_text().prop_map(String::from)].prop_map(String::into_boxed_str);
    let attribute = leaf().prop_recursive(3, 12, 3, move |inner| {
        let member = (name(), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(Attribute::L),
            prop::collection::vec(member, 0..3)
                .prop_map(|members| Attribute::M(Item::new(members).attributes().to_vec())),
        ]
    });
    prop::collection::vec((name(), attribute), 0..5).prop_map(Item::new)
}

fn row_of(item: &Item) -> String {
    let mut out = String::new();
    item.json(None, &mut out);
    out
}

fn types_of(item: &Item) -> Types {
    let mut types = Types::default();
    types.learn(item);
    types
}

fn kept(types: &Types) -> Types {
    let mut json = String::new();
    types.json(&mut json);
    Types::parse(&json).unwrap()
}
