//! Whatever a request says (target, query, headers, a batch of events or of changes), it is decoded or
//! refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let events = riacho::http::decode::request(bytes);
    assert!(events.is_none_or(|events| (1..=16).contains(&events)), "a batch keeps its bounds");
});
