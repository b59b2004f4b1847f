//! Generators of predicates and rows that meet: few names, few values, and the edges of all kinds.

use proptest::prelude::*;

/// Texts of predicates that parse.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (pair(), comparison()).prop_map(|((left, right), op)| format!("{left} {op} {right}")),
        (column(), not(), prop::collection::vec(number(), 1..4))
            .prop_map(|(column, not, list)| format!("{column} {not}IN ({})", list.join(", "))),
        (column(), not(), prop::collection::vec(quoted(), 1..4))
            .prop_map(|(column, not, list)| format!("{column} {not}IN ({}, NULL)", list.join(", "))),
        (column(), not(), number(), number())
            .prop_map(|(column, not, low, high)| format!("{column} {not}BETWEEN {low} AND {high}")),
        (column(), not(), "I?", "[ab%_]{0,4}")
            .prop_map(|(column, not, fold, pattern)| format!("{column} {not}{fold}LIKE '{pattern}'")),
        (number_term(), not()).prop_map(|(term, not)| format!("{term} IS {not}NULL")),
        (pair(), not()).prop_map(|((left, right), not)| format!("{left} IS {not}DISTINCT FROM {right}")),
        column(),
        select(&["TRUE", "FALSE", "NULL"]),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 2..4), select(&[" AND ", " OR "])).prop_map(
                |(all, joint)| all.iter().map(|one| format!("({one})")).collect::<Vec<_>>().join(&joint)
            ),
            inner.clone().prop_map(|one| format!("NOT ({one})")),
            (inner.clone(), not(), select(&["TRUE", "FALSE", "UNKNOWN", "NULL"]))
                .prop_map(|(one, not, truth)| format!("({one}) IS {not}{truth}")),
            (inner.clone(), comparison(), inner)
                .prop_map(|(left, op, right)| format!("({left} AND TRUE) {op} ({right} OR FALSE)")),
        ]
    })
}

/// Tokens in any order.
pub(crate) fn tokens() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![4 => select(&TOKENS), 1 => column(), 1 => number(), 1 => quoted()],
        0..9,
    )
    .prop_map(|tokens| tokens.join(" "))
}

/// Rows.
pub(crate) fn row() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        number(),
        quoted().prop_map(|text| serde_json::to_string(text.trim_matches('\'')).unwrap()),
        select(&["true", "false", "null", "{}", "[1]", "\"\\u0061\""]),
    ];
    let inner = prop::collection::vec((select(&["x", "b"]), scalar.clone()), 0..3)
        .prop_map(|members| object(&members));
    let value = prop_oneof![4 => scalar, 1 => inner];
    prop::collection::vec((select(&NAMES), value), 0..5).prop_map(|members| object(&members))
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| format!("{}:{value}", serde_json::to_string(name).unwrap()))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// Two terms that may be compared.
fn pair() -> impl Strategy<Value = (String, String)> {
    prop_oneof![(number_term(), number_term()), (text_term(), text_term())]
}

fn number_term() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => column(),
        4 => number(),
        1 => Just("NULL".to_owned()),
        1 => column().prop_map(|column| format!("length({column})")),
    ];
    leaf.prop_recursive(3, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), select(&["+", "-", "*", "/"]), inner.clone())
                .prop_map(|(left, op, right)| format!("({left} {op} {right})")),
            inner.clone().prop_map(|term| format!("(- {term})")),
            (inner.clone(), inner).prop_map(|(first, second)| format!("coalesce({first}, {second})")),
        ]
    })
}

fn text_term() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![4 => column(), 4 => quoted(), 1 => Just("NULL".to_owned())];
    leaf.prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            (select(&["lower", "upper"]), inner.clone()).prop_map(|(name, term)| format!("{name}({term})")),
            (inner.clone(), inner).prop_map(|(first, second)| format!("coalesce({first}, {second})")),
        ]
    })
}

fn column() -> impl Strategy<Value = String> {
    prop::sample::select(&NAMES[..])
        .prop_map(|name| if name == "odd name" { "\"odd name\"".to_owned() } else { name.to_owned() })
        .prop_flat_map(|name| prop_oneof![3 => Just(name.clone()), 1 => Just(format!("{name}.x"))])
}

fn comparison() -> impl Strategy<Value = String> {
    select(&["=", "<>", "<", "<=", ">", ">="])
}

fn not() -> impl Strategy<Value = String> {
    select(&["", "NOT "])
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(&NUMBERS),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => "-?[1-9][0-9]{0,45}(\\.[0-9]{1,20})?",
        1 => "-?[0-9]\\.[0-9]{1,3}e[+-]?[0-9]{1,3}",
    ]
}

fn quoted() -> impl Strategy<Value = String> {
    "[abAé%_]{0,3}".prop_map(|text| format!("'{text}'"))
}

fn select(from: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    prop::sample::select(from.to_vec()).prop_map(str::to_owned)
}

const NAMES: [&str; 5] = ["a", "b", "c", "odd name", "É"];

const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "-1",
    "2",
    "1.0",
    "1e0",
    "0.5",
    "-0.0",
    "100",
    "1e2",
    "1e20",
    "1e-20",
    "999999999999999999",
    "1000000000000000000",
];

const TOKENS: [&str; 45] = [
    "AND", "OR", "NOT", "IN", "LIKE", "ILIKE", "ESCAPE", "BETWEEN", "IS", "NULL", "DISTINCT", "FROM", "TRUE",
    "FALSE", "UNKNOWN", "(", ")", ",", "=", "<>", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", ".",
    "lower", "upper", "length", "coalesce", "$1", "a", "\"b\"", "SELECT", "case", "||", "::", "''", "--",
    "/*", "interval",
];
