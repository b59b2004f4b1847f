//! Where a subscription starts: `spec/vectors/start.json`.

use crate::support::vectors;
use riacho_core::start::{Start, StartError};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    resume: Option<String>,
    from: Option<String>,
    tail: Option<String>,
}

#[derive(Deserialize, PartialEq, Debug, Default)]
#[serde(deny_unknown_fields)]
struct Chosen {
    start: Option<String>,
    cursor: Option<String>,
    ms: Option<String>,
    count: Option<String>,
    error: Option<String>,
}

#[test]
fn a_start_is_chosen_as_the_vectors_say() {
    vectors::check("start.json", |Request { resume, from, tail }| {
        let start = |word: &str| Chosen { start: Some(word.to_owned()), ..Chosen::default() };
        match Start::choose(resume.as_deref(), from.as_deref(), tail.as_deref()) {
            Ok(Start::Now) => start("now"),
            Ok(Start::Earliest) => start("earliest"),
            Ok(Start::Snapshot) => start("snapshot"),
            Ok(Start::After(position)) => Chosen { cursor: Some(position.to_string()), ..start("after") },
            Ok(Start::Malformed) => start("malformed"),
            Ok(Start::Ago(ago)) => Chosen { ms: Some(ago.as_millis().to_string()), ..start("ago") },
            Ok(Start::Since(time)) => Chosen { ms: Some(time.to_string()), ..start("since") },
            Ok(Start::Tail(count)) => Chosen { count: Some(count.to_string()), ..start("tail") },
            Err(StartError::From) => Chosen { error: Some("from".to_owned()), ..Chosen::default() },
            Err(StartError::Tail) => Chosen { error: Some("tail".to_owned()), ..Chosen::default() },
        }
    });
}
