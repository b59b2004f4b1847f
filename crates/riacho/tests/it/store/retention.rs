//! Trimming, removing, rewriting, forgetting.

use super::{
    sim::{Random, SimDisk},
    support::{NOW, append, event, keep_all, name, opened, read_all, settings},
};
use riacho::log::store::{Keep, Maintained, Store};
use riacho_core::{event::Event, log::segment::Record, name::StreamName, position::Offset};
use std::{sync::Arc, time::Duration};

#[track_caller]
fn maintain(store: &mut Store, now: u64, keep: &dyn Fn(&StreamName) -> Keep, hold: Offset) -> Maintained {
    let mut all = Maintained::default();
    loop {
        let done = store.maintain(now, keep, hold).unwrap_or_else(|err| panic!("{}", err.chain()));
        all.floors.extend(done.floors);
        all.forgotten_streams.extend(done.forgotten_streams);
        all.segments_removed += done.segments_removed;
        all.rewritten += done.rewritten;
        all.bytes_freed += done.bytes_freed;
        all.forgotten = done.forgotten;
        if !done.more {
            return all;
        }
    }
}

fn events(n: u64) -> Vec<Event> {
    (1..=n).map(|i| event(i, if i % 10 == 0 { "rare" } else { "busy" }, &"x".repeat(100))).collect()
}

#[test]
fn a_stream_keeps_what_it_is_told_by_count_bytes_and_age() {
    // 100 events of `a`, each of 133 bytes in the log, at 1 s, 2 s, ... 100 s.
    for (keep, want) in [
        (Keep { events: Some(7), ..Keep::default() }, 93),
        (Keep { events: Some(0), ..Keep::default() }, 100),
        (Keep { events: Some(200), ..Keep::default() }, 0),
        (Keep { bytes: Some(10 * EVENT_BYTES), ..Keep::default() }, 90),
        (Keep { bytes: Some(10 * EVENT_BYTES - 1), ..Keep::default() }, 91),
        (Keep { bytes: Some(0), ..Keep::default() }, 100),
        (Keep { age: Some(Duration::from_secs(20)), ..Keep::default() }, 80),
        (Keep { age: Some(Duration::from_millis(19_999)), ..Keep::default() }, 80),
        (Keep { age: Some(Duration::from_millis(20_001)), ..Keep::default() }, 79),
        (Keep { age: Some(Duration::from_secs(20)), events: Some(5), ..Keep::default() }, 95),
    ] {
        let disk = SimDisk::default();
        let (mut store, _) = opened(&disk);
        append(&mut store, &(1..=100).map(|i| event(i, "a", &"x".repeat(104))).collect::<Vec<_>>());
        let done = maintain(&mut store, 100_000, &|_| keep, Offset::MAX);
        let floors = if want == 0 { vec![] } else { vec![(name("a"), want)] };
        assert_eq!(done.floors.last(), floors.last(), "{keep:?}");
        assert_eq!(store.trimmed(&name("a")), want, "{keep:?}");
        let left = read_all(&store.reader(), &["a"], 0, 100);
        assert_eq!(left.iter().map(|e| e.offset).collect::<Vec<_>>(), (want + 1..=100).collect::<Vec<_>>());
        assert_eq!(read_all(&store.reader(), &["*"], 0, 100), left);
        assert_eq!(maintain(&mut store, 100_000, &|_| keep, Offset::MAX), Maintained::default());
    }
}

#[test]
fn nothing_after_the_hold_is_trimmed() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    append(&mut store, &events(100));
    maintain(&mut store, NOW, &|_| Keep { events: Some(0), ..Keep::default() }, 50);
    assert_eq!(read_all(&store.reader(), &["*"], 0, 100), events(100)[50..]);
}

#[test]
fn expired_segments_are_removed_and_floors_outlive_a_crash() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    append(&mut store, &events(300));
    let (segments, bytes) = (store.reader().segments(), store.reader().bytes());
    let done = maintain(&mut store, NOW, &|_| Keep { events: Some(5), ..Keep::default() }, Offset::MAX);
    assert!(done.segments_removed > 3 && done.segments_removed < segments);
    assert!(store.reader().bytes() + done.bytes_freed == bytes, "what is freed is counted");
    let (busy, rare) = (store.trimmed(&name("busy")), store.trimmed(&name("rare")));
    assert_eq!((busy, rare), (294, 250));
    let left = read_all(&store.reader(), &["*"], 0, 300);
    drop(store);
    disk.crash(&mut Random(3));
    let (store, recovered) = opened(&disk);
    assert_eq!((store.trimmed(&name("busy")), store.trimmed(&name("rare"))), (busy, rare));
    assert_eq!(read_all(&store.reader(), &["*"], 0, 300), left);
    assert_eq!(recovered.streams.iter().map(|s| s.count).sum::<u64>(), 10);
}

#[test]
fn a_segment_that_is_mostly_expired_is_rewritten_under_its_readers() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    append(&mut store, &events(300));
    let keep = |stream: &StreamName| match stream.as_str() {
        "busy" => Keep { events: Some(0), ..Keep::default() },
        _ => Keep::default(),
    };
    let reader = store.reader();
    let rare: Vec<Event> = events(300).into_iter().filter(|e| e.stream.as_str() == "rare").collect();
    loop {
        let done = store.maintain(NOW, &keep, Offset::MAX).unwrap();
        assert!(done.rewritten <= 1);
        assert_eq!(read_all(&reader, &["rare"], 0, 300), rare);
        assert_eq!(read_all(&reader, &["*"], 0, 300), rare);
        if done.rewritten == 0 && !done.more {
            break;
        }
    }
    assert!(reader.bytes() < 12_000, "{} bytes for 30 events", reader.bytes());
    drop(store);
    let (store, _) = opened(&disk);
    assert_eq!(read_all(&store.reader(), &["**"], 0, 300), rare);
    assert_eq!(store.trimmed(&name("busy")), 299);
    assert!(riacho::log::offline::verify(&disk.copy(), &mut |_, _| {}).unwrap().problems.is_empty());
}

#[test]
fn young_answered_keys_hold_their_segment() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    let key = riacho_core::log::segment::AnsweredKey {
        key: [1; 16],
        body: [2; 16],
        first: 1,
        count: 1,
        created: false,
        time: NOW,
    };
    store.append(&[Record::Event(event(1, "a", "x")), Record::Key(key)]).unwrap();
    append(&mut store, &(2..100).map(|i| event(i, "a", &"x".repeat(100))).collect::<Vec<_>>());
    let none = |_: &StreamName| Keep { events: Some(0), ..Keep::default() };
    maintain(&mut store, NOW + 1000, &none, Offset::MAX);
    drop(store);
    let (mut store, recovered) = opened(&disk);
    assert_eq!(recovered.keys, [key]);
    let segments = store.reader().segments();
    maintain(&mut store, NOW + 600_001, &none, Offset::MAX);
    assert_eq!(store.reader().segments(), segments - 1);
}

#[test]
fn an_emptied_stream_stays_empty() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    append(&mut store, &events(100));
    store.append(&[Record::Emptied { stream: name("busy"), upto: 99, time: 0 }]).unwrap();
    append(&mut store, &[event(101, "busy", "new")]);
    let check = |store: &Store| {
        assert_eq!(read_all(&store.reader(), &["busy"], 0, 101), [event(101, "busy", "new")]);
        assert_eq!(read_all(&store.reader(), &["*"], 0, 101).len(), 11);
        assert_eq!(store.trimmed(&name("busy")), 99);
    };
    check(&store);
    drop(store);
    let (mut store, recovered) = opened(&disk);
    check(&store);
    let busy = recovered.streams.iter().find(|s| s.name.as_str() == "busy").unwrap();
    assert_eq!((busy.count, busy.oldest, busy.newest, busy.bytes), (1, 101, 101, 35));
    maintain(&mut store, NOW, &keep_all, Offset::MAX);
    check(&store);
    drop(store);
    check(&opened(&disk).0);
}

#[test]
fn a_removal_is_noted_before_it_happens() {
    // The power goes at every step of a round that removes and rewrites.
    for ops in 0..60 {
        let disk = SimDisk::default();
        let (mut store, _) = opened(&disk);
        append(&mut store, &events(120));
        disk.power_off_after(ops);
        let keep = |_: &StreamName| Keep { events: Some(3), ..Keep::default() };
        while let Ok(done) = store.maintain(NOW, &keep, Offset::MAX) {
            if done == Maintained::default() {
                break;
            }
        }
        drop(store);
        disk.crash(&mut Random(ops.into()));
        let (store, recovered) = opened(&disk);
        for stream in &recovered.streams {
            let want: Vec<Event> = events(120)
                .into_iter()
                .filter(|e| e.stream == stream.name && e.offset > stream.trimmed)
                .collect();
            assert_eq!(
                read_all(&store.reader(), &[stream.name.as_str()], 0, 120),
                want,
                "after {ops} changes"
            );
            assert_eq!(stream.count, want.len() as u64);
        }
    }
}

#[test]
fn streams_without_events_are_forgotten_oldest_first_and_their_cursors_refused() {
    let disk = SimDisk::default();
    let mut bounds = settings();
    bounds.streams_max = 40;
    let open = || Store::open(Arc::new(disk.clone()), bounds.clone(), [1, 2], NOW).unwrap();
    let (mut store, _) = open();
    append(
        &mut store,
        &(1..=30).map(|i| event(i, &format!("old/{i}"), &"x".repeat(200))).collect::<Vec<_>>(),
    );
    append(&mut store, &(31..=60).map(|i| event(i, "kept", &"x".repeat(200))).collect::<Vec<_>>());
    let keep = |stream: &StreamName| match stream.as_str() {
        "kept" => Keep::default(),
        _ => Keep { events: Some(0), ..Keep::default() },
    };
    let done = maintain(&mut store, NOW, &keep, Offset::MAX);
    assert!(done.forgotten_streams.len() >= 15, "{}", done.forgotten_streams.len());
    let forgotten = done.forgotten_streams.len() as u64;
    assert_eq!(done.forgotten, forgotten, "the ones trimmed longest ago");
    append(&mut store, &[event(61, "old/1", "again"), event(62, "new", "x")]);
    let check = |store: &Store| {
        assert_eq!(store.trimmed(&name("old/1")), forgotten);
        assert_eq!(store.trimmed(&name("new")), forgotten);
        assert_eq!(store.trimmed(&name("never")), forgotten);
        assert_eq!(store.trimmed(&name("kept")), 0);
    };
    check(&store);
    drop(store);
    let (store, recovered) = open();
    check(&store);
    assert_eq!(recovered.forgotten, forgotten);
}

#[test]
fn a_full_disk_is_freed_by_retention() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    append(&mut store, &events(200));
    disk.room(Some(0));
    let mut next = 201;
    while store.append(&[Record::Event(event(next, "busy", &"x".repeat(100)))]).is_ok() {
        next += 1;
    }
    disk.room(Some(200));
    maintain(&mut store, NOW, &|_| Keep { events: Some(2), ..Keep::default() }, Offset::MAX);
    assert!(store.reader().segments() < 4);
    store.probe().unwrap();
    append(&mut store, &[event(next, "busy", "x")]);
}

#[test]
fn a_round_over_many_streams_ends() {
    let disk = SimDisk::default();
    let mut bounds = settings();
    (bounds.segment_bytes_max, bounds.frame_bytes_max, bounds.streams_max) = (4 << 20, 2 << 20, 100_000);
    let (mut store, _) = Store::open(Arc::new(disk), bounds, [1, 2], NOW).unwrap();
    for round in 0..2u64 {
        let record = |i| Record::Event(event(round * 25_000 + i, &format!("s/{i}"), "x"));
        store.append(&(1..=12_500).map(record).collect::<Vec<_>>()).unwrap();
        store.append(&(12_501..=25_000).map(record).collect::<Vec<_>>()).unwrap();
    }
    let done = maintain(&mut store, NOW, &|_| Keep { events: Some(1), ..Keep::default() }, Offset::MAX);
    assert_eq!(done.floors.len(), 25_000);
    assert_eq!(maintain(&mut store, NOW, &keep_all, Offset::MAX), Maintained::default());
}

/// The bytes of an event of stream `a` with 104 bytes of data.
const EVENT_BYTES: u64 = 133;
