//! A start is chosen by its order of precedence, and what it takes reads back as itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use riacho_core::{
    start::{Start, StartError},
    time::{duration_text, parse_duration, parse_rfc3339, rfc3339},
};

fuzz_target!(|input: (Option<&str>, Option<&str>, Option<&str>)| {
    let (resume, from, tail) = input;
    let start = Start::choose(resume, from, tail);
    let resumes = resume.is_some_and(|r| !r.is_empty());
    match start {
        Ok(Start::After(position)) => {
            let text = position.to_string();
            assert_eq!(if resumes { resume } else { from }, Some(text.as_str()));
        }
        Ok(Start::Malformed) => assert!(resumes),
        Ok(Start::Earliest) => assert!(!resumes && from == Some("earliest")),
        Ok(Start::Snapshot) => unreachable!("no text asks for it"),
        Ok(Start::Now) => assert!(!resumes && (from == Some("now") || from.or(tail).is_none())),
        Ok(Start::Ago(ago)) => assert_eq!(parse_duration(&duration_text(ago)), Some(ago)),
        Ok(Start::Since(time)) => assert_eq!(parse_rfc3339(&rfc3339(time)), Some(time)),
        Ok(Start::Tail(count)) => {
            let digits = tail.expect("a tail was given").trim_start_matches('0');
            assert_eq!(if digits.is_empty() { "0" } else { digits }, count.to_string());
        }
        Err(StartError::From) => assert!(!resumes && from.is_some()),
        Err(StartError::Tail) => assert!(!resumes && from.is_none() && tail.is_some()),
    }
});
