//! Keys in memory and in files.

use super::Seen;

// Long enough that the keys take several files.
fn key(number: usize) -> Box<str> {
    format!("{number:05}{}", "x".repeat(50_000)).into()
}

#[test]
fn keys_are_found_in_order_whether_in_memory_or_in_files() {
    let mut seen = Seen::default();
    // Every third, in an order that is none.
    for number in (0..1200).map(|i| i * 7919 % 1200).filter(|number| number % 3 == 0) {
        seen.add(key(number)).unwrap();
        // The same row may be read twice.
        if number % 300 == 0 {
            seen.add(key(number)).unwrap();
        }
    }
    assert_eq!(seen.runs.len(), 1, "of 20 MB, 16 MiB are in a file");
    let mut sorted = seen.sorted().unwrap();
    for number in 0..1200 {
        assert_eq!(sorted.has(&key(number)).unwrap(), number % 3 == 0, "{number}");
        assert!(!sorted.has(&format!("{number:05}y")).unwrap());
    }
    assert!(!Seen::default().sorted().unwrap().has("").unwrap());
}
