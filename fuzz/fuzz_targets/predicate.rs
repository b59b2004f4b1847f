//! Any text is a predicate or refused, its canonical text parses to an equal one, and no row makes either panic or
//! differ. The same of projections.

#![no_main]

use libfuzzer_sys::fuzz_target;
use riacho_core::predicate::{Index, Params, Predicate, Projection};

fuzz_target!(|input: (&str, &str, &str, &str)| {
    let (text, params, columns, row) = input;
    let params = Params::parse(params).unwrap_or_default();
    if let Ok(predicate) = Predicate::parse(text, &params) {
        let again = Predicate::parse(predicate.as_str(), &Params::default()).expect("canonical text parses");
        assert_eq!(again, predicate);
        let truth = predicate.truth(row);
        assert_eq!(again.truth(row), truth);
        let mut index = Index::new();
        index.insert(&predicate, ());
        assert_eq!(index.matching(row).len(), usize::from(truth == Some(true)));
        assert!(index.remove(&predicate, &()) && index.matching(row).is_empty());
    }
    if let Ok(projection) = Projection::parse(columns) {
        assert_eq!(Projection::parse(projection.as_str()).as_ref(), Ok(&projection));
        let projected = projection.apply(row);
        assert!(projection.same(row, row));
        if serde_json::from_str::<&serde_json::value::RawValue>(row).is_ok() {
            assert!(serde_json::from_str::<&serde_json::value::RawValue>(&projected).is_ok(), "{projected}");
            assert!(projection.same(row, &projected) && projection.apply(&projected) == projected);
        }
    }
});
