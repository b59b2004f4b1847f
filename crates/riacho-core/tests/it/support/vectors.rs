//! `spec/vectors/*.json`.

use serde::{Deserialize, de::DeserializeOwned};
use std::{fmt::Debug, path::Path};

/// Runs `f` over every case of `file`, prints the name of each that does not give its `out`, then panics if any did
/// not.
#[track_caller]
pub(crate) fn check<In, Out>(file: &str, f: impl Fn(In) -> Out)
where
    In: DeserializeOwned,
    Out: DeserializeOwned + PartialEq + Debug,
{
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors").join(file);
    let text = std::fs::read_to_string(&path).expect("the vectors can be read");
    let vectors: Vectors<In, Out> = serde_json::from_str(&text).expect("the vectors have the tests' form");
    assert!(!vectors.about.is_empty() && !vectors.cases.is_empty());
    let mut names = std::collections::HashSet::new();
    let mut failed = Vec::new();
    for case in vectors.cases {
        assert!(names.insert(case.name.clone()), "{file}: two cases are named {:?}", case.name);
        let got = f(case.input);
        if got != case.out {
            eprintln!("{file}: {}\n   want {:?}\n    got {got:?}", case.name, case.out);
            failed.push(case.name);
        }
    }
    assert!(failed.is_empty(), "{file}: {failed:?}");
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors<In, Out> {
    about: String,
    cases: Vec<Case<In, Out>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case<In, Out> {
    name: String,
    #[serde(rename = "in")]
    input: In,
    out: Out,
}
