//! Opening: indexes, locks, versions, offsets.

use super::{
    sim::{Random, SimDisk},
    support::{NOW, append, event, name, open, opened, read_all, settings},
};
use riacho::{
    error::ErrorKind,
    log::store::{
        Store,
        disk::{Disk, StdDisk},
    },
};
use riacho_core::{
    event::{Data, Event, EventType},
    log::segment::{AnsweredKey, Record},
    position::Offset,
};
use std::{path::Path, sync::Arc};

#[test]
fn a_new_log_has_an_epoch_and_begins_at_one() {
    let disk = SimDisk::default();
    let (store, recovered) = opened(&disk);
    assert_eq!((recovered.epoch.0.get(), recovered.next), (7, 1));
    drop(store);
    assert_eq!(opened(&disk).1.epoch, recovered.epoch);
}

#[test]
fn a_locked_log_is_unavailable() {
    let disk = SimDisk::default();
    let (_store, _) = opened(&disk);
    assert_eq!(open(&disk).err().map(|err| err.kind()), Some(ErrorKind::Unavailable));
}

#[test]
fn a_reserved_offset_is_never_used_again() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    store.append(&[Record::Reserve { upto: 100 }]).unwrap();
    append(&mut store, &[event(5, "a", "x")]);
    drop(store);
    disk.crash(&mut Random(1));
    let (store, recovered) = opened(&disk);
    assert_eq!(recovered.next, 101);
    // A clean end knows better.
    store.close(101, vec![]).unwrap();
    let (mut store, recovered) = opened(&disk);
    assert_eq!(recovered.next, 101);
    store.append(&[Record::Reserve { upto: 1000 }]).unwrap();
    store.close(103, vec![]).unwrap();
    assert_eq!(opened(&disk).1.next, 103);
}

#[test]
fn a_reserved_bound_outlives_its_segment() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    store.append(&[Record::Reserve { upto: 10_000 }]).unwrap();
    append(&mut store, &(1..100).map(|i| event(i, "a", &"x".repeat(100))).collect::<Vec<_>>());
    assert!(store.reader().segments() > 3);
    drop(store);
    assert_eq!(opened(&disk).1.next, 10_001);
}

#[test]
fn offsets_go_on_after_the_newest_segment_was_removed() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    append(&mut store, &(1..100).map(|i| event(i, "a", &"x".repeat(100))).collect::<Vec<_>>());
    store.append(&[Record::Emptied { stream: name("a"), upto: 99, time: 0 }]).unwrap();
    let all = |_: &_| riacho::log::store::Keep::default();
    while store.maintain(NOW, &all, Offset::MAX).unwrap().more {}
    assert_eq!(store.reader().segments(), 1);
    drop(store);
    let (store, recovered) = opened(&disk);
    assert_eq!(recovered.next, 100);
    assert_eq!(store.trimmed(&name("a")), 99);
}

#[test]
fn offsets_go_on_although_no_segment_has_an_event_left() {
    let fill = |store: &mut Store, upto: u64| {
        append(store, &(1..=upto).map(|i| event(i, "a", &"x".repeat(100))).collect::<Vec<_>>());
    };
    let first_of_second = (1..)
        .find(|n| {
            let (mut store, _) = opened(&SimDisk::default());
            fill(&mut store, *n);
            store.reader().segments() == 2
        })
        .unwrap();
    for syncs in 0..8 {
        let disk = SimDisk::default();
        let (mut store, _) = opened(&disk);
        fill(&mut store, first_of_second - 1);
        // The second segment is made, and the frame it was made for is lost.
        disk.fail_sync_after(syncs);
        let record = Record::Event(event(first_of_second, "a", &"x".repeat(100)));
        let _ = store.append(&[record]);
        drop(store);
        disk.crash(&mut Random(syncs.into()));
        let (mut store, recovered) = opened(&disk);
        assert!(recovered.next >= first_of_second);
        let upto = recovered.next - 1;
        store.append(&[Record::Emptied { stream: name("a"), upto, time: 0 }]).unwrap();
        while store.maintain(NOW, &|_| riacho::log::store::Keep::default(), Offset::MAX).unwrap().more {}
        drop(store);
        assert_eq!(opened(&disk).1.next, recovered.next, "after {syncs} syncs");
    }
}

#[test]
fn memory_streams_lose_all_after_a_crash_and_nothing_is_unknown_after_a_clean_end() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    store.append(&[durability("m", true, 1), Record::Reserve { upto: 50 }]).unwrap();
    let refused = store.append(&[Record::Event(event(1, "m", "x"))]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::BadRequest);
    drop(store);
    let (store, recovered) = opened(&disk);
    let m = &recovered.streams[0];
    assert_eq!((m.memory, m.trimmed, recovered.next), (true, 50, 51));
    store.close(61, vec![(name("m"), 57)]).unwrap();
    let (_, recovered) = opened(&disk);
    let mut found: Vec<_> =
        recovered.streams.iter().map(|s| (s.name.as_str(), s.memory, s.trimmed)).collect();
    found.sort_unstable();
    assert_eq!(found, [("m", true, 57)]);
    assert_eq!(recovered.next, 61);
}

#[test]
fn a_memory_stream_that_becomes_durable_stays_so_whatever_is_trimmed() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    store.append(&[durability("m", true, 1), Record::Reserve { upto: 50 }]).unwrap();
    drop(store);
    let (mut store, recovered) = opened(&disk);
    let first = recovered.next;
    store.append(&[durability("m", false, first), Record::Event(event(first, "m", "kept"))]).unwrap();
    drop(store);
    let (store, recovered) = opened(&disk);
    let m = &recovered.streams[0];
    assert_eq!((m.memory, m.trimmed, m.count), (false, 50, 1));
    assert_eq!(read_all(&store.reader(), &["m"], 0, first), [event(first, "m", "kept")]);
}

fn durability(stream: &str, memory: bool, at: Offset) -> Record {
    Record::Durability { stream: name(stream), memory, at }
}

#[test]
fn a_crash_while_the_first_segment_is_made_leaves_a_log_that_opens() {
    for ops in 0..12 {
        for seed in 0..10 {
            let disk = SimDisk::default();
            disk.power_off_after(ops);
            drop(open(&disk));
            disk.crash(&mut Random(seed));
            let (mut store, recovered) = opened(&disk);
            assert_eq!(recovered.next, 1);
            append(&mut store, &[event(1, "a", "x")]);
        }
    }
}

#[test]
fn a_missing_or_broken_index_is_made_anew() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    let events: Vec<Event> = (1..=198).map(|i| event(i, &format!("s/{}", i % 3), &"x".repeat(90))).collect();
    append(&mut store, &events);
    drop(store);
    let names = disk.names(".idx");
    assert!(names.len() > 3);
    disk.unlink(&names[0]).unwrap();
    for (name, at) in [(&names[1], 20), (&names[2], 5000), (&names[3], 9000)] {
        let mut bytes = disk.bytes(name);
        let at = at.min(bytes.len() - 1);
        bytes[at] ^= 4;
        disk.put(name, bytes);
    }
    let (store, _) = opened(&disk);
    assert_eq!(read_all(&store.reader(), &["**"], 0, 198), events);
    assert_eq!(read_all(&store.reader(), &["s/1"], 0, 198).len(), 66);
    assert_eq!(disk.names(".idx").len(), names.len());
}

#[test]
fn another_version_is_refused_by_its_number() {
    for (file, at) in [("meta", 8), ("00000000000000000001.seg", 8)] {
        let disk = SimDisk::default();
        let (mut store, _) = opened(&disk);
        append(&mut store, &[event(1, "a", "x")]);
        drop(store);
        let mut bytes = disk.bytes(file);
        bytes[at] = 2;
        let sum = if file == "meta" { bytes.len() - 4 } else { 60 };
        let crc = crc32c(&bytes[..sum]);
        bytes[sum..sum + 4].copy_from_slice(&crc.to_le_bytes());
        disk.put(file, bytes);
        let err = open(&disk).err().unwrap();
        assert_eq!(err.kind(), ErrorKind::Corrupt);
        assert!(err.chain().contains("version 2"), "{}", err.chain());
        assert!(
            riacho::log::offline::repair(&disk, true, false, 1).is_err(),
            "nothing is repaired that is not broken"
        );
    }
}

#[test]
fn keys_and_sources_are_recovered() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    let key = |n: u8, time| AnsweredKey {
        key: [n; 16],
        body: [n; 16],
        first: n.into(),
        count: 1,
        created: false,
        time,
    };
    let source = |at: &str| Record::SourcePosition { source: "pg".into(), position: at.as_bytes().into() };
    store.append(&[Record::Key(key(1, NOW - 601_000)), source("a")]).unwrap();
    for i in 2..60 {
        let event = Record::Event(event(i, "a", &"x".repeat(100)));
        store.append(&[event, Record::Key(key(i as u8, NOW - 1000 + i)), source(&format!("b{i}"))]).unwrap();
    }
    drop(store);
    let (_, recovered) = opened(&disk);
    assert_eq!(recovered.keys, (2..60).map(|i| key(i, NOW - 1000 + u64::from(i))).collect::<Vec<_>>());
    assert_eq!(recovered.sources, [("pg".into(), b"b59".as_slice().into())]);
}

#[test]
fn records_that_break_the_order_are_refused() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    append(&mut store, &[event(5, "a", "x")]);
    let refused = |store: &mut Store, events: &[Event]| {
        let records: Vec<Record> = events.iter().cloned().map(Record::Event).collect();
        assert_eq!(store.append(&records).unwrap_err().kind(), ErrorKind::BadRequest);
    };
    refused(&mut store, &[event(5, "a", "x")]);
    refused(&mut store, &[event(7, "a", "x"), event(6, "a", "x")]);
    refused(&mut store, &[Event { time: 1, ..event(6, "a", "x") }]);
    refused(&mut store, &[event(6, "a", &"x".repeat(3001))]);
    assert_eq!(store.close(5, vec![]).unwrap_err().kind(), ErrorKind::BadRequest);
}

#[test]
fn offsets_may_be_far_apart() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    let events: Vec<Event> = [1, 2, 1 << 33, (1 << 33) + 1, 1 << 50].map(|i| event(i, "a", "x")).into();
    append(&mut store, &events);
    assert_eq!(store.reader().segments(), 3);
    drop(store);
    let (store, recovered) = opened(&disk);
    assert_eq!(recovered.next, (1 << 50) + 1);
    assert_eq!(read_all(&store.reader(), &["a"], 0, 1 << 50), events);
    assert_eq!(read_all(&store.reader(), &["*"], 2, 1 << 34), events[2..4]);
}

#[test]
fn many_streams_open_fast_and_without_a_file_each() {
    let disk = SimDisk::default();
    let mut bounds = settings();
    (bounds.segment_bytes_max, bounds.frame_bytes_max, bounds.streams_max) = (16 << 20, 1 << 20, 200_000);
    let open = || Store::open(Arc::new(disk.clone()), bounds.clone(), [1, 2], NOW).unwrap();
    let (mut store, _) = open();
    let names: Vec<_> = (0..100_000).map(|i| name(&format!("user/{i}"))).collect();
    let mut offset = 0;
    for _ in 0..10 {
        for names in names.chunks(5_000) {
            let record = |stream: &riacho_core::name::StreamName| {
                offset += 1;
                let (stream, data) = (stream.clone(), Data::text("x"));
                Record::Event(Event { offset, time: offset, stream, event_type: None, data, change: None })
            };
            store.append(&names.iter().map(record).collect::<Vec<_>>()).unwrap();
        }
    }
    drop(store);
    assert!(disk.names("").len() < 20);
    let reads = disk.reads();
    let (store, recovered) = open();
    assert!(disk.reads() - reads < 2_000, "{} reads to open", disk.reads() - reads);
    assert_eq!(recovered.streams.len(), 100_000);
    assert!(recovered.streams.iter().all(|s| s.count == 10));
    let reads = disk.reads();
    let found = read_all(&store.reader(), &["user/77777"], 0, offset);
    assert_eq!(
        found.iter().map(|e| e.offset).collect::<Vec<_>>(),
        (0..10).map(|i| i * 100_000 + 77_778).collect::<Vec<_>>()
    );
    assert!(disk.reads() - reads < 200, "{} reads for ten events", disk.reads() - reads);
}

/// CRC-32C bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

/// What `tests/formats/log-v1` holds.
fn format_events() -> Vec<Event> {
    let mut events: Vec<Event> =
        (1..100).map(|i| event(i, &format!("s/{}", i % 3), &format!("text {i}"))).collect();
    events.push(Event {
        event_type: Some(EventType::parse("greeting").unwrap()),
        data: Data::json("{\"a\":1}").unwrap(),
        ..event(100, "json", "")
    });
    events
}

#[test]
fn a_log_of_format_1_is_read() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/log-v1");
    if !kept.exists() {
        // The first run of a new format writes it; it is then kept in the repository.
        let disk = Arc::new(StdDisk::new(&kept).unwrap());
        let (mut store, _) = Store::open(disk, settings(), [0x5f2, 8], NOW).unwrap();
        append(&mut store, &format_events());
        store.append(&[durability("m", true, 101), Record::Reserve { upto: 1000 }]).unwrap();
        store.close(111, vec![(name("m"), 110)]).unwrap();
        std::fs::remove_file(kept.join("lock")).unwrap();
    }
    let disk = SimDisk::default();
    for entry in std::fs::read_dir(&kept).unwrap() {
        let entry = entry.unwrap();
        disk.put(entry.file_name().to_str().unwrap(), std::fs::read(entry.path()).unwrap());
    }
    let verified = riacho::log::offline::verify(&disk, &mut |_, _| {}).unwrap();
    assert!(verified.problems.is_empty(), "{verified}");
    let (store, recovered) = opened(&disk);
    assert_eq!((recovered.epoch.0.get(), recovered.next), (0x5f2, 111));
    assert_eq!(store.reader().segments(), 2);
    assert_eq!(read_all(&store.reader(), &["**"], 0, 110), format_events());
}
