//! Projections: what they take, what they give of a row, and when two rows are the same to them.

use crate::support::gen_predicate;
use proptest::prelude::*;
use riacho_core::predicate::{PROJECTION_PATHS_MAX, Projection};
use serde_json::{Map, Value};

#[test]
fn lists_are_normal() {
    for (given, want) in [
        ("id", "id"),
        ("name,id,name", "id,name"),
        (" id , name ", "id,name"),
        ("address.city,address", "address"),
        ("address.city,address.geo.lat,address.geo", "address.city,address.geo"),
        ("first-name,é", "\"first-name\",\"é\""),
        ("\"a,b\".\"c\"\"d\"", "\"a,b\".\"c\"\"d\""),
        ("\"\"", "\"\""),
        ("select", "\"select\""),
    ] {
        let projection = Projection::parse(given).unwrap();
        assert_eq!(projection.as_str(), want);
        assert_eq!(Projection::parse(want).unwrap(), projection);
    }
}

#[test]
fn what_is_no_list_is_refused_with_its_place() {
    for (text, want) in [
        ("", "line 1, column 1: the text ends where a name is missing"),
        ("a,", "line 1, column 3: the text ends where a name is missing"),
        ("a,,b", "line 1, column 3: unexpected `,`"),
        ("a b", "line 1, column 3: unexpected `b`"),
        ("a\n,é.", "line 2, column 4: the text ends where a name is missing"),
        ("\"a", "line 1, column 3: the text ends where a name is missing"),
        ("\"a\"b", "line 1, column 4: unexpected `b`"),
    ] {
        assert_eq!(Projection::parse(text).unwrap_err().to_string(), want, "{text:?}");
    }
    assert!(Projection::parse(&"a,".repeat(PROJECTION_PATHS_MAX)).is_err());
    assert!(Projection::parse(&("a.".repeat(16) + "a")).is_err());
}

#[test]
fn a_row_keeps_what_is_selected_as_it_stands() {
    let row = r#"{ "z" : 1.50, "address" : {"zip":"1", "city" : "Recife" ,"geo":{"lat":1e0}}, "a":[1, 2] ,"n":null,"é":"\u0061"}"#;
    for (columns, want) in [
        ("a,z", r#"{"z":1.50,"a":[1, 2]}"#),
        ("address.city", r#"{"address":{"city":"Recife"}}"#),
        ("address.geo.lat,address.city,n", r#"{"address":{"city":"Recife","geo":{"lat":1e0}},"n":null}"#),
        ("address.geo", r#"{"address":{"geo":{"lat":1e0}}}"#),
        (
            "a,address.geo.lat,z,address.zip",
            r#"{"z":1.50,"address":{"zip":"1","geo":{"lat":1e0}},"a":[1, 2]}"#,
        ),
        ("é", r#"{"é":"\u0061"}"#),
        ("missing,z.x,a.x,address.x", "{}"),
    ] {
        assert_eq!(Projection::parse(columns).unwrap().apply(row), want, "{columns}");
    }
}

#[test]
fn of_members_of_one_name_the_last_counts() {
    let projection = Projection::parse("a.b,c").unwrap();
    assert_eq!(projection.apply(r#"{"a":{"b":1},"c":1,"a":{"b":2},"c":2}"#), r#"{"a":{"b":2},"c":2}"#);
    assert_eq!(projection.apply(r#"{"a":{"b":1},"a":5}"#), "{}");
}

#[test]
fn a_change_of_other_columns_is_none() {
    let projection = Projection::parse("id,address.city").unwrap();
    let old = r#"{"id":1,"address":{"city":"Recife","zip":"1"},"seen":1}"#;
    for (new, same) in [
        (r#"{"seen":2,"id":1,"address":{"zip":"2","city":"Recife"}}"#, true),
        (r#"{"id":2,"address":{"city":"Recife"}}"#, false),
        (r#"{"id":1,"address":null}"#, false),
        (r#"{"id":1.0,"address":{"city":"Recife"}}"#, false),
    ] {
        assert_eq!(projection.same(old, new), same, "{new}");
    }
}

proptest! {
    #[test]
    fn a_projection_is_what_a_parser_would_keep(row in gen_predicate::row()) {
        let projection = Projection::parse("b,a.x,\"odd name\".b,É").unwrap();
        // Numbers beyond a double are no values.
        let parsed = serde_json::from_str::<Map<String, Value>>(&row);
        prop_assume!(parsed.is_ok());
        let parsed = parsed.unwrap();
        let mut want = Map::new();
        for (name, value) in parsed {
            let kept = match (&*name, value) {
                ("b" | "É", value) => Some(value),
                ("a", Value::Object(inner)) => inner.get("x").map(|x| Map::from_iter([("x".to_owned(), x.clone())]).into()),
                ("odd name", Value::Object(inner)) => {
                    inner.get("b").map(|b| Map::from_iter([("b".to_owned(), b.clone())]).into())
                }
                _ => None,
            };
            want.extend(kept.map(|value| (name, value)));
        }
        let got: Map<String, Value> = serde_json::from_str(&projection.apply(&row)).unwrap();
        prop_assert_eq!(got, want);
    }
}
