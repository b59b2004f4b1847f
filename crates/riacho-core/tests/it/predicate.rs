//! Predicates: the vectors, the normal form, the bounds, and properties over generated expressions and rows.

use crate::support::{gen_predicate, gen_text, vectors};
use proptest::prelude::*;
use riacho_core::predicate::{
    DEPTH_MAX, LIST_MAX, NODES_MAX, PATTERN_BYTES_MAX, Params, Predicate, PredicateError, PredicateErrorKind,
    TEXT_BYTES_MAX,
};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(rename = "where")]
    text: String,
    params: Option<Box<RawValue>>,
    row: Option<String>,
}

#[derive(Deserialize, PartialEq, Debug)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Truth(Option<bool>),
    #[serde(untagged)]
    Error {
        error: String,
        at: Option<(u32, u32)>,
    },
}

#[test]
fn vectors_agree() {
    vectors::check("predicate.json", |case: Case| {
        let params = case.params.map_or(Ok(Params::default()), |params| Params::parse(params.get()));
        match params.and_then(|params| Predicate::parse(&case.text, &params)) {
            Ok(predicate) => {
                Outcome::Truth(predicate.truth(&case.row.expect("a case that parses has a row")))
            }
            Err(err) => {
                let at = err.place().map(|place| (place.line, place.column));
                Outcome::Error { error: kind(&err).to_owned(), at }
            }
        }
    });
}

fn kind(err: &PredicateError) -> &'static str {
    match err.kind() {
        PredicateErrorKind::Invalid => "invalid",
        PredicateErrorKind::Unsupported => "unsupported",
        PredicateErrorKind::TooLarge => "too_large",
        PredicateErrorKind::Params => "params",
    }
}

#[test]
fn predicates_that_say_the_same_are_equal() {
    for (given, want) in [
        ("1 = a", "a = 1"),
        ("a = 1.0 and 10e-1 = a", "a = 1"),
        ("b > a", "a < b"),
        ("b = 2 AND a = 1 AND b = 2", "a = 1 AND b = 2"),
        ("(a AND (b AND c)) AND d", "a AND b AND c AND d"),
        ("NOT (a = 1 AND NOT b < 2)", "a <> 1 OR b < 2"),
        ("NOT NOT a", "a"),
        ("a IN (1)", "a = 1"),
        ("a IN (2, 1, 1.0)", "a IN (1, 2)"),
        ("a = 1 OR a = 2 OR b = 1", "b = 1 OR a IN (1, 2)"),
        ("a <> 1 AND a NOT IN (2, 3)", "a NOT IN (1, 2, 3)"),
        ("a = 1 OR a = 'x'", "a = 1 OR a = 'x'"),
        ("a BETWEEN 1 AND 2", "a <= 2 AND a >= 1"),
        ("a NOT BETWEEN 1 AND 2", "a < 1 OR a > 2"),
        ("NOT a LIKE 'x'", "a NOT LIKE 'x'"),
        ("a LIKE 'x!%%' ESCAPE '!'", "a LIKE 'x\\%%'"),
        ("a LIKE '%%_b%_'", "a LIKE '_%b_%'"),
        ("a ILIKE 'ABC'", "a ILIKE 'abc'"),
        ("NOT a IS NULL", "a IS NOT NULL"),
        ("NULL IS DISTINCT FROM a", "a IS NOT NULL"),
        ("a IS NOT DISTINCT FROM NULL", "a IS NULL"),
        ("(a = 1) IS NULL", "(a = 1) IS UNKNOWN"),
        ("(NOT a) IS TRUE", "a IS FALSE"),
        ("a AND TRUE", "a"),
        ("a OR FALSE OR b", "a OR b"),
        ("a AND FALSE", "FALSE"),
        ("a = NULL", "NULL"),
        ("2 * a > - -1", "(a * 2) > 1"),
        ("\"a\" = 1 AND \"a b\" = 2", "a = 1 AND \"a b\" = 2"),
        ("((a)) + (b) = +1", "(a + b) = 1"),
        ("- - a = 1", "(- (- a)) = 1"),
        ("(a AND TRUE) = b", "b = (a AND TRUE)"),
        ("LOWER(a) = 'x'", "lower(a) = 'x'"),
        (
            "a > 1e40 AND a < 1e50 AND a <> 0.00000",
            "a <> 0 AND a < 1e50 AND a > 10000000000000000000000000000000000000000",
        ),
    ] {
        let predicate = parse(given).unwrap_or_else(|err| panic!("{given}: {err}"));
        assert_eq!(predicate.as_str(), want, "{given}");
        assert_eq!(parse(want).unwrap(), predicate, "{given}");
    }
}

#[test]
fn parameters_are_filled_in() {
    let params = Params::parse(r#" ["it's", 12345678901234567890123456789012345678901] "#).unwrap();
    let predicate = Predicate::parse("a = $1 OR b = $2", &params).unwrap();
    assert_eq!(predicate.as_str(), "a = 'it''s' OR b = 12345678901234567890123456789012345678901");
}

#[test]
fn and_is_normal_too() {
    let (a, b) = (parse("x = 1 AND y = 2").unwrap(), parse("z = 3 AND x = 1").unwrap());
    let both = a.and(&b).unwrap();
    assert_eq!(both, parse("z = 3 AND y = 2 AND x = 1").unwrap());
    assert_eq!(both.truth(r#"{"x":1,"y":2,"z":3}"#), Some(true));
    assert_eq!(both.truth(r#"{"x":1,"y":2,"z":4}"#), Some(false));
    assert_eq!(a.and(&Predicate::always()).unwrap(), a);
}

#[test]
fn every_bound_is_kept() {
    let ored = |count: usize| (0..count).map(|n| format!("a{n} = 1")).collect::<Vec<_>>().join(" OR ");
    let listed =
        |count: usize| format!("a IN ({})", (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    let nested = |count: usize| format!("{}a{}", "lower(".repeat(count), ")".repeat(count)) + " = 'x'";
    // The text that takes sqlparser deepest for its depth.
    let right = |count: usize| "a = (".repeat(count) + "a" + &")".repeat(count);
    let minus = |count: usize| format!("{}a{} = 1", "(- ".repeat(count), ")".repeat(count));
    let inside = NODES_MAX / 3;
    for (text, fits) in [
        (ored(inside), true),
        (ored(inside + 1), false),
        (listed(LIST_MAX), true),
        (listed(LIST_MAX + 1), false),
        (nested(DEPTH_MAX - 2), true),
        (nested(DEPTH_MAX - 1), false),
        (right(DEPTH_MAX - 1), true),
        (right(DEPTH_MAX), false),
        (minus(DEPTH_MAX - 2), true),
        (minus(DEPTH_MAX - 1), false),
        (format!("a = '{}'", "x".repeat(TEXT_BYTES_MAX - 6)), true),
        (format!("a = '{}'", "x".repeat(TEXT_BYTES_MAX - 5)), false),
        (format!("a LIKE '{}'", "x".repeat(PATTERN_BYTES_MAX)), true),
        (format!("a LIKE '{}'", "x".repeat(PATTERN_BYTES_MAX + 1)), false),
        ("a.".repeat(15) + "a", true),
        ("a.".repeat(16) + "a", false),
        ("(".repeat(1000), false),
        ("(".repeat(40) + "a" + &")".repeat(40), true),
        ("(".repeat(1000) + "a" + &")".repeat(1000), false),
        ("NOT ".repeat(3000) + "a", false),
        ("- ".repeat(3000) + "a = 1", false),
        ("a + ".repeat(1900) + "a = 1", false),
        ("a AND ".repeat(1900) + "a", true),
        ("a = ".repeat(1900) + "a", false),
        ("a IS NULL".to_owned() + &" IS NULL".repeat(1900), false),
        ("+".repeat(16000), false),
        ("coalesce(".repeat(1200), false),
        ("a IN (".repeat(1200), false),
        ("a BETWEEN ".repeat(1200), false),
        (format!("{}a", "(".repeat(30)) + &" BETWEEN a AND a)".repeat(30), false),
        ("a ".repeat(3000), false),
    ] {
        let short: String = text.chars().take(40).collect();
        let got = parse(&text);
        assert_eq!(got.is_ok(), fits, "{short}: {got:?}");
        if let Ok(predicate) = got {
            assert_eq!(parse(predicate.as_str()).as_ref(), Ok(&predicate), "{short}");
        }
    }
    assert!(Params::parse(&format!("[{}1]", "1,".repeat(99))).is_ok());
    assert!(Params::parse(&format!("[{}1]", "1,".repeat(100))).is_err());
}

#[test]
fn no_row_makes_it_panic() {
    let predicate = parse("a.b = 1 OR a.c LIKE '%x_' OR lower(d) = 'x' OR e / 3 > 1").unwrap();
    for row in [
        "",
        "{",
        "[",
        "null",
        "{}",
        "{\"",
        "{\"a",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":{\"b\":",
        "{\"a\":{\"b\":1",
        "{\"a\":}",
        "{,}",
        "{\"d\":\"\\",
        "{\"d\":\"\\u12\"}",
        "{\"d\":\"\\ué\"}",
        "{\"d\":\"é\\\"",
        "{\"e\":--1}",
        "{\"e\":1e}",
        "}{",
        "{\"a\":]",
        "{\"e\":1e99999999999999999999}",
        "{\"e\":}",
        "\u{feff}{}",
        "{\"a\":{\"b\":1}}}",
        "{\"a\" \"b\"}",
    ] {
        predicate.truth(row);
        assert_ne!(
            predicate.truth(row),
            Some(true).filter(|_| row != "{\"a\":{\"b\":1}}}" && row != "{\"a\":{\"b\":1")
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn canonical_text_parses_to_an_equal_predicate_that_says_the_same(
        text in gen_predicate::text(),
        rows in prop::collection::vec(gen_predicate::row(), 8),
    ) {
        let predicate = parse(&text).map_err(|err| TestCaseError::fail(format!("{text}: {err}")))?;
        let again = parse(predicate.as_str()).map_err(|err| TestCaseError::fail(format!("{predicate}: {err}")))?;
        prop_assert_eq!(again.as_str(), predicate.as_str());
        for row in rows {
            prop_assert_eq!(again.truth(&row), predicate.truth(&row), "{}", row);
        }
    }

    #[test]
    fn any_text_is_a_predicate_or_refused(text in gen_predicate::tokens(), row in gen_predicate::row()) {
        if let Ok(predicate) = parse(&text) {
            predicate.truth(&row);
            prop_assert_eq!(&parse(predicate.as_str()).unwrap(), &predicate);
        }
    }

    #[test]
    fn any_row_is_taken(row in gen_text::text(), text in gen_predicate::text()) {
        parse(&text).unwrap().truth(&row);
    }

    #[test]
    fn not_is_the_opposite(text in gen_predicate::text(), row in gen_predicate::row()) {
        let (plain, not) = (parse(&text).unwrap(), parse(&format!("NOT ({text})")).unwrap());
        prop_assert_eq!(not.truth(&row), plain.truth(&row).map(|truth| !truth));
    }
}

pub(crate) fn parse(text: &str) -> Result<Predicate, PredicateError> {
    Predicate::parse(text, &Params::default())
}
