//! Reading by name and pattern, by count and time.

use super::{
    sim::SimDisk,
    support::{append, cases, event, opened, read_all, select, try_read_all},
};
use proptest::prelude::*;
use riacho_core::{event::Event, log::segment::Record};

/// Events over many segments, and selections of them.
fn history() -> impl Strategy<Value = (Vec<Event>, Vec<String>)> {
    let names = ["a", "a/b", "a/c", "b/b", "b/c/d", "z"];
    let events = prop::collection::vec((0..names.len(), 0..200usize, 1..4u64), 1..150);
    let selectors = prop::sample::subsequence(
        vec!["a", "a/b", "a/c", "b/c/d", "none", "a/*", "*/b", "**", "b/**", "q/*"],
        1..4,
    );
    (events, selectors).prop_map(move |(events, selectors)| {
        let mut offset = 0;
        let events = events.into_iter().map(|(stream, size, step)| {
            offset += step;
            event(offset, names[stream], &"x".repeat(size))
        });
        (events.collect(), selectors.into_iter().map(str::to_owned).collect())
    })
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn reads_are_what_a_vector_would_give(
        (events, selectors) in history(),
        a: prop::sample::Index,
        b: prop::sample::Index,
        page_bytes in 1..3000usize,
        n in 0..20usize,
        frame in 1..8usize,
        reopen: bool,
    ) {
        let disk = SimDisk::default();
        let (mut store, _) = opened(&disk);
        for chunk in events.chunks(frame) {
            store.append(&chunk.iter().cloned().map(Record::Event).collect::<Vec<_>>()).unwrap();
        }
        if reopen {
            drop(store);
            store = opened(&disk).0;
        }
        let head = events.last().unwrap().offset;
        let (after, upto) = (a.index(head as usize + 1) as u64, b.index(head as usize + 1) as u64);
        let texts: Vec<&str> = selectors.iter().map(String::as_str).collect();
        let selection = select(&texts);
        let reader = store.reader();
        let want: Vec<Event> = events
            .iter()
            .filter(|e| e.offset > after && e.offset <= upto && selection.matches(e.stream.as_str()))
            .cloned()
            .collect();
        prop_assert_eq!(try_read_all(&reader, &selection, after, upto, page_bytes).unwrap(), want);

        let upto_all: Vec<&Event> =
            events.iter().filter(|e| e.offset <= upto && selection.matches(e.stream.as_str())).collect();
        let from = reader.before(&selection, upto, n).unwrap();
        let last: Vec<&Event> = upto_all.iter().filter(|e| e.offset > from).copied().collect();
        prop_assert_eq!(&last[..], &upto_all[upto_all.len().saturating_sub(n)..]);

        // Times are a thousand times the offsets.
        for time in [0, 1, after * 1000, after * 1000 + 1, u64::MAX] {
            let want = events.iter().rev().find(|e| e.time < time).map_or(0, |e| e.offset);
            prop_assert_eq!(reader.offset_before(time).unwrap(), want);
        }
    }
}

#[test]
fn one_call_scans_a_bounded_stretch() {
    let disk = SimDisk::default();
    let mut bounds = super::support::settings();
    (bounds.segment_bytes_max, bounds.frame_bytes_max) = (32 << 20, 1 << 20);
    let (mut store, _) =
        riacho::log::store::Store::open(std::sync::Arc::new(disk), bounds, [1, 2], 0).unwrap();
    append(&mut store, &(1..100).map(|i| event(i, "a/b", &"x".repeat(100_000))).collect::<Vec<_>>());
    let page = store.reader().read(&select(&["a/*/c"]), 0, 99, 1000).unwrap();
    assert!(page.events.is_empty() && page.upto > 10 && page.upto < 60, "{}", page.upto);
    assert!(read_all(&store.reader(), &["a/*/c"], 0, 99).is_empty());
}

#[test]
fn readers_follow_the_writer_from_other_threads() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    let reader = store.reader();
    let all: Vec<Event> = (1..400).map(|i| event(i, &format!("s/{}", i % 3), &"x".repeat(50))).collect();
    let (told, heard) = std::sync::mpsc::channel::<u64>();
    std::thread::scope(|scope| {
        let wanted = &all;
        scope.spawn(move || {
            let mut at = 0;
            for head in heard {
                let found = try_read_all(&reader, &select(&["s/*"]), at, head, 4000).unwrap();
                assert_eq!(found, wanted[at as usize..head as usize]);
                at = head;
            }
        });
        for event in &all {
            append(&mut store, std::slice::from_ref(event));
            told.send(event.offset).unwrap();
        }
        drop(told);
    });
}
