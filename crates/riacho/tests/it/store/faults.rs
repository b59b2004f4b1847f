//! Failing syncs, full disks, flipped bits, cut files.

use super::{
    sim::{Random, SimDisk},
    support::{append, cases, event, keep_all, name, open, opened, read_all, select, settings, try_read_all},
};
use proptest::prelude::*;
use riacho::{
    error::ErrorKind,
    log::{
        offline,
        store::{Store, disk::StdDisk},
    },
};
use riacho_core::{event::Event, log::segment::Record, position::Offset};
use std::sync::Arc;

fn events(range: std::ops::Range<u64>) -> Vec<Event> {
    range.map(|i| event(i, &format!("s/{}", i % 7), &format!("event {i} ").repeat(5))).collect()
}

#[test]
fn a_failed_sync_fails_every_later_append_and_loses_nothing_acknowledged() {
    for nth in 0..3 {
        let disk = SimDisk::default();
        let (mut store, _) = opened(&disk);
        append(&mut store, &events(1..30));
        disk.fail_sync_after(nth);
        let acked = 30 + u64::from(nth);
        append(&mut store, &events(30..acked));
        let doubtful = Record::Event(event(acked, "s/0", "doubtful"));
        for _ in 0..3 {
            let err = store.append(std::slice::from_ref(&doubtful)).unwrap_err();
            assert_eq!(err.kind(), ErrorKind::Failed);
        }
        assert_eq!(store.probe().unwrap_err().kind(), ErrorKind::Failed);
        assert_eq!(store.maintain(0, &keep_all, 0).unwrap_err().kind(), ErrorKind::Failed);
        // What is not known to be durable is not shown.
        assert_eq!(read_all(&store.reader(), &["**"], 0, acked), events(1..acked));
        drop(store);
        disk.crash(&mut Random(nth.into()));
        let (store, _) = opened(&disk);
        assert_eq!(read_all(&store.reader(), &["**"], 0, acked - 1), events(1..acked));
    }
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_room() {
    for room in [0, 10, 100, 3000, 5000] {
        let disk = SimDisk::default();
        let (mut store, _) = opened(&disk);
        append(&mut store, &events(1..20));
        disk.room(Some(room));
        let mut next = 20;
        let err = loop {
            match store.append(&[Record::Event(events(next..next + 1).remove(0))]) {
                Ok(()) => next += 1,
                Err(err) => break err,
            }
        };
        assert_eq!(err.kind(), ErrorKind::Full, "{}", err.chain());
        assert_eq!(store.probe().unwrap_err().kind(), ErrorKind::Full);
        assert_eq!(read_all(&store.reader(), &["**"], 0, next), events(1..next));
        disk.room(None);
        store.probe().unwrap();
        append(&mut store, &events(next..next + 100));
        assert_eq!(read_all(&store.reader(), &["s/1"], 0, next).len() as u64, (next + 5) / 7);
        store.maintain(0, &keep_all, 0).unwrap();
        drop(store);
        disk.crash(&mut Random(room));
        let (store, recovered) = opened(&disk);
        assert_eq!(recovered.torn_bytes, 0);
        assert_eq!(read_all(&store.reader(), &["**"], 0, next + 99), events(1..next + 100));
    }
}

#[test]
fn a_frame_that_ran_out_of_room_half_way_leaves_no_trace() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    append(&mut store, &events(1..3));
    let (file, end) = (disk.names(".seg")[0].clone(), store.reader().bytes());
    // As on a disk that takes no room in advance.
    disk.short_writes(50);
    disk.room(Some(70));
    let cut = disk.open_file(&file);
    cut.set_len(end).unwrap();
    disk.room(Some(70));
    let err = store.append(&[Record::Event(event(3, "a", &"x".repeat(500)))]).unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Full);
    assert_eq!(disk.bytes(&file).len() as u64, end);
    disk.room(None);
    store.probe().unwrap();
    append(&mut store, &[event(3, "a", "y")]);
    drop(store);
    let (store, recovered) = opened(&disk);
    assert_eq!(recovered.torn_bytes, 0);
    assert_eq!(read_all(&store.reader(), &["a"], 0, 3), [event(3, "a", "y")]);
}

/// A closed log of many segments.
fn closed_log(frames: u64) -> (SimDisk, Vec<Event>) {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    let all = events(1..frames);
    append(&mut store, &all);
    store.close(frames, vec![]).unwrap();
    (disk, all)
}

/// Reads everything in both ways; `None` when damage was reported anywhere.
fn read_damaged(disk: &SimDisk, upto: Offset) -> Option<(Vec<Event>, u64)> {
    let (store, recovered) = open(disk).ok()?;
    let reader = store.reader();
    let all = try_read_all(&reader, &select(&["**"]), 0, upto, 10_000).ok()?;
    let mut picked = Vec::new();
    for stream in 0..7 {
        picked.extend(try_read_all(&reader, &select(&[&format!("s/{stream}")]), 0, upto, 10_000).ok()?);
    }
    picked.sort_by_key(|e| e.offset);
    assert_eq!(all, picked, "both ways of reading agree");
    Some((all, recovered.torn_bytes))
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn a_flipped_bit_is_harmless_or_reported(file: prop::sample::Index, at: prop::sample::Index, bit in 0..8u8) {
        let (disk, events) = closed_log(80);
        let names = disk.names("");
        let name = &names[file.index(names.len())];
        let mut bytes = disk.bytes(name);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        disk.put(name, bytes);
        let verified = offline::verify(&disk.copy(), &mut |_, _| {}).unwrap();
        if let Some((read, torn)) = read_damaged(&disk.copy(), 79) {
            prop_assert!(read == events, "{name} at {at}: wrong or missing events, torn {torn}");
        } else {
            prop_assert!(!verified.problems.is_empty(), "{name} at {at}: verify sees it too");
            // Repair makes it openable again, and what it keeps is right.
            let done = offline::repair(&disk, true, false, 99).unwrap();
            let (read, _) = read_damaged(&disk, 79).expect("a repaired log is whole");
            prop_assert!(read.iter().all(|event| events.contains(event)));
            prop_assert!(read == events || done.epoch.is_some(), "lost events cost the epoch");
        }
    }

    #[test]
    fn a_cut_tail_loses_only_what_was_cut(cut in 0..4000u64) {
        let disk = SimDisk::default();
        let (mut store, _) = opened(&disk);
        let all = events(1..60);
        append(&mut store, &all);
        let (segments, total) = (store.reader().segments(), store.reader().bytes());
        drop(store);
        let name = disk.names(".seg").pop().unwrap();
        let mut bytes = disk.bytes(&name);
        let used = bytes.iter().rposition(|b| *b != 0).unwrap() as u64 + 1;
        bytes.truncate((bytes.len() as u64 - cut).max(64) as usize);
        let len = used.min(bytes.len() as u64);
        disk.put(&name, bytes);
        let (store, recovered) = opened(&disk);
        prop_assert_eq!(store.reader().segments(), segments);
        let read = read_all(&store.reader(), &["**"], 0, recovered.next - 1);
        prop_assert_eq!(&read, &all[..read.len()]);
        // What was cut may have been seen: its offsets are not given again, at this start or a later one.
        let first_free = if recovered.torn_bytes > 0 { 60 } else { read.len() as u64 + 1 };
        prop_assert!(recovered.next >= first_free);
        let again = opened(&disk.copy()).1.next;
        prop_assert_eq!(again, recovered.next);
        // Whole frames before the cut are kept, and what is left of one cut in two is told, but for zeros at its end.
        // Behind a torn end stands the frame that says so: its head, a record's head, and an offset with its kind.
        let said = if recovered.torn_bytes > 0 { 24 + 8 + 9 } else { 0 };
        let end = store.reader().bytes() - said + used - total;
        let rest = len - end;
        prop_assert!(rest < 300 && recovered.torn_bytes <= rest && recovered.torn_bytes + 8 >= rest);
    }

    #[test]
    fn a_cut_sealed_segment_is_reported(file: prop::sample::Index, cut in 1..2000usize) {
        let (disk, _) = closed_log(80);
        let mut names = disk.names(".seg");
        names.pop();
        let name = &names[file.index(names.len())];
        let mut bytes = disk.bytes(name);
        bytes.truncate(bytes.len() - cut);
        disk.put(name, bytes);
        prop_assert_eq!(open(&disk.copy()).err().map(|err| err.kind()), Some(ErrorKind::Corrupt));
        let verified = offline::verify(&disk.copy(), &mut |_, _| {}).unwrap();
        prop_assert!(!verified.problems.is_empty());
        let done = offline::repair(&disk, true, false, 99).unwrap();
        prop_assert_eq!(done.epoch.map(|e| e.0.get()), Some(99));
        prop_assert_eq!(opened(&disk).1.epoch.0.get(), 99);
    }
}

#[test]
fn a_whole_frame_behind_a_broken_one_is_corruption_and_the_message_names_the_way_out() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    append(&mut store, &events(1..5));
    drop(store);
    let name = disk.names(".seg").pop().unwrap();
    let mut bytes = disk.bytes(&name);
    bytes[100] ^= 1;
    disk.put(&name, bytes);
    let err = open(&disk).err().unwrap();
    assert_eq!(err.kind(), ErrorKind::Corrupt);
    assert!(err.to_string().contains("riacho log verify") && err.to_string().contains("riacho log repair"));
    let looked = offline::repair(&disk, false, false, 9).unwrap();
    assert!(looked.epoch.is_some() && !looked.applied);
    assert!(open(&disk).is_err(), "looking changes nothing");
    offline::repair(&disk, true, false, 9).unwrap();
    let (store, recovered) = opened(&disk);
    assert_eq!(recovered.epoch.0.get(), 9);
    assert_eq!(read_all(&store.reader(), &["**"], 0, 4), events(2..5));
    assert_eq!(disk.names(".damaged").len(), 1);
}

#[test]
fn lost_meta_costs_the_epoch() {
    let (disk, events) = closed_log(20);
    riacho::log::store::disk::Disk::unlink(&disk, "meta").unwrap();
    assert_eq!(open(&disk).err().map(|err| err.kind()), Some(ErrorKind::Corrupt));
    assert!(offline::repair(&disk, true, false, 5).unwrap().epoch.is_some());
    let (store, recovered) = opened(&disk);
    assert_eq!(recovered.epoch.0.get(), 5);
    assert_eq!(read_all(&store.reader(), &["**"], 0, 19), events);
}

#[test]
fn data_that_looks_like_a_frame_is_not_taken_for_one() {
    let disk = SimDisk::default();
    let (mut store, _) = opened(&disk);
    append(&mut store, &events(1..3));
    let name_of = disk.names(".seg")[0].clone();
    let frames = disk.bytes(&name_of)[64..].to_vec();
    // A publisher who knows the format, but not the salt.
    let mut forged = Vec::new();
    riacho_core::log::segment::encode_frame(1234, &[Record::Reserve { upto: 1 << 60 }], &mut forged);
    let text: String = forged.iter().map(|b| char::from(b & 0x7f)).collect();
    store.append(&[Record::Event(event(3, "a", &text))]).unwrap();
    drop(store);
    assert!(frames.len() > 100);
    let mut bytes = disk.bytes(&name_of);
    let len = bytes.iter().rposition(|b| *b != 0).unwrap();
    bytes.truncate(len);
    bytes.extend_from_slice(&forged);
    disk.put(&name_of, bytes);
    let (_, recovered) = opened(&disk);
    assert!((4..1 << 40).contains(&recovered.next), "{}", recovered.next);
    assert!(recovered.torn_bytes > 0);
}

#[test]
fn a_real_directory_belongs_to_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(Arc::new(StdDisk::new(dir.path()).unwrap()), settings(), [1, 2], 0);
    let (mut store, _) = open().unwrap();
    append(&mut store, &events(1..100));
    assert_eq!(open().err().map(|err| err.kind()), Some(ErrorKind::Unavailable));
    assert!(offline::inspect(&StdDisk::new(dir.path()).unwrap()).is_err());
    store.close(100, vec![(name("m"), 7)]).unwrap();
    let inspected = offline::inspect(&StdDisk::new(dir.path()).unwrap()).unwrap();
    assert_eq!((inspected.events, inspected.streams, inspected.newest), (99, 7, 99));
    let (store, recovered) = open().unwrap();
    assert_eq!(read_all(&store.reader(), &["**"], 0, 99), events(1..100));
    assert_eq!(recovered.next, 100);
}
