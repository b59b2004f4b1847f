//! The index of predicates: it finds what evaluating all of them finds, by few evaluations.

use crate::{predicate::parse, support::gen_predicate};
use proptest::prelude::*;
use riacho_core::predicate::Index;

#[test]
fn equalities_are_found_by_value() {
    for (text, column) in [
        ("owner = 'x'", Some("owner")),
        ("'x' = owner AND total > 5", Some("owner")),
        ("owner IN ('x', 'y')", Some("owner")),
        ("owner = 'x' OR owner = 'y'", Some("owner")),
        ("a IN (1, 2, 3) AND b = 1", Some("b")),
        ("address.city = 'Recife'", Some("address.city")),
        ("owner = 'x' OR total = 1", None),
        ("owner <> 'x'", None),
        ("owner NOT IN ('x', 'y')", None),
        ("lower(owner) = 'x'", None),
        ("owner = other", None),
        ("owner = NULL", None),
    ] {
        let found = parse(text).unwrap().index_column().map(ToString::to_string);
        assert_eq!(found.as_deref(), column, "{text}");
    }
}

#[test]
fn ten_thousand_owners_are_one_look_up() {
    let mut index = Index::new();
    for owner in 0..10_000 {
        index.insert(&parse(&format!("owner = 'u{owner}'")).unwrap(), owner);
    }
    let row = r#"{"owner":"u77","total":1}"#;
    assert_eq!(index.candidates(row), [&77]);
    assert_eq!(index.matching(row), [&77]);
    assert!(index.candidates(r#"{"owner":77}"#).is_empty());
    assert_eq!(index.len(), 10_000);
}

#[test]
fn numbers_are_found_in_any_form() {
    let mut index = Index::new();
    index.insert(&parse("a = 1.0").unwrap(), "one");
    index.insert(&parse("a = 1e300").unwrap(), "large");
    index.insert(&parse("a = '1'").unwrap(), "text");
    for (row, want) in [
        (r#"{"a":1}"#, vec![&"one"]),
        (r#"{"a":100e-2}"#, vec![&"one"]),
        (r#"{"a":1000e297}"#, vec![&"large"]),
        (r#"{"a":"\u0031"}"#, vec![&"text"]),
        (r#"{"a":null}"#, vec![]),
        (r#"{"a":{}}"#, vec![]),
        ("{}", vec![]),
    ] {
        assert_eq!(index.matching(row), want, "{row}");
    }
}

#[test]
fn what_is_removed_is_gone() {
    let mut index = Index::new();
    let (a, b) = (parse("a = 1 AND b.c > 1").unwrap(), parse("b.c > 1").unwrap());
    index.insert(&a, 1);
    index.insert(&a, 2);
    index.insert(&b, 3);
    let row = r#"{"a":1,"b":{"c":2}}"#;
    assert_eq!(sorted(index.matching(row)), [1, 2, 3]);
    assert!(index.remove(&a, &1));
    assert!(!index.remove(&a, &1));
    assert_eq!(sorted(index.matching(row)), [2, 3]);
    assert!(index.remove(&a, &2));
    assert_eq!(sorted(index.matching(row)), [3]);
    assert!(index.remove(&b, &3));
    assert!(index.is_empty() && index.matching(row).is_empty());
}

fn sorted(found: Vec<&usize>) -> Vec<usize> {
    let mut found: Vec<usize> = found.into_iter().copied().collect();
    found.sort_unstable();
    found
}

proptest! {
    #[test]
    fn it_finds_what_evaluating_all_finds(
        texts in prop::collection::vec(indexed(), 1..12),
        removed in prop::collection::vec(any::<bool>(), 12),
        rows in prop::collection::vec(gen_predicate::row(), 6),
    ) {
        let predicates: Vec<_> = texts.iter().map(|text| parse(text).unwrap()).collect();
        let mut index = Index::new();
        for (id, predicate) in predicates.iter().enumerate() {
            index.insert(predicate, id);
        }
        let mut kept = Vec::new();
        for (id, predicate) in predicates.iter().enumerate() {
            if removed[id] {
                prop_assert!(index.remove(predicate, &id));
            } else {
                kept.push((id, predicate));
            }
        }
        for row in rows {
            let want: Vec<usize> = kept.iter().filter(|(_, one)| one.matches(&row)).map(|(id, _)| *id).collect();
            let candidates = sorted(index.candidates(&row));
            prop_assert!(want.iter().all(|id| candidates.contains(id)), "{}", row);
            prop_assert_eq!(sorted(index.matching(&row)), want, "{}", row);
        }
    }
}

/// Texts of which many have an equality.
fn indexed() -> impl Strategy<Value = String> {
    let equality = "(a|b|a\\.x) = (1|1\\.0|'a'|TRUE)|(a|b) IN \\((1, 2|'a', 'A', '')\\)";
    prop_oneof![
        equality,
        (equality, gen_predicate::text()).prop_map(|(equality, text)| format!("{equality} AND ({text})")),
        gen_predicate::text(),
    ]
}
