//! Files: emptying, expiry, opening, another log.

use super::support::{
    MemoryFile, Writer, all, all_changed, entries, log, open, open_at, pairs, recount, settings, states,
    table, time,
};
use riacho::{error::ErrorKind, rows::Rows};

#[test]
fn an_emptied_table_is_empty_at_once_and_its_rows_leave_the_file() {
    let file = MemoryFile::default();
    let (rows, mut writer) = (open(&file, 0), Writer::default());
    let events: Vec<_> = (0..12_000).map(|n| writer.put(&format!("{n}"), "{}")).collect();
    rows.publish(&events);
    rows.publish(&[writer.delete("0")]);
    rows.settle();
    file.room(Some(0));
    rows.empty(&table("t"), writer.last, 5);
    let snapshot = rows.snapshot(&table("t")).unwrap();
    assert!(all(&snapshot, 100).is_empty() && all_changed(&snapshot, 0, 100).is_empty());
    assert_eq!((snapshot.floor(), snapshot.newest()), (12_001, 12_001));
    assert_eq!(rows.row(&table("t"), "1").unwrap(), None);
    writer.empty("t");
    rows.publish(&[writer.put("1", "[]")]);
    assert_eq!(pairs(&all(&rows.snapshot(&table("t")).unwrap(), 100)), [("1", "[]")]);
    file.room(None);
    rows.settle();
    let info = rows.table(&table("t")).unwrap();
    assert_eq!((info.rows, info.bytes, info.tombstones, info.floor), (1, 3, 0, 12_001));
    rows.close();
    assert_eq!(entries(&file), [1, 1, 0, 0]);
    recount(&file);
}

#[test]
fn rows_of_an_emptied_table_are_removed_after_a_restart_too() {
    let file = MemoryFile::default();
    let (rows, mut writer) = (open(&file, 0), Writer::default());
    let events: Vec<_> = (0..30_000).map(|n| writer.put(&format!("{n}"), "{}")).collect();
    rows.publish(&events);
    rows.settle();
    file.room(Some(0));
    rows.empty(&table("t"), writer.last, 5);
    file.room(None);
    rows.close();
    let left = entries(&file);
    assert!(left[0] > 0 && left[3] == 1, "one step does not remove them all: {left:?}");
    let rows = open(&file, writer.last);
    assert!(all(&rows.snapshot(&table("t")).unwrap(), 100).is_empty());
    rows.settle();
    rows.close();
    assert_eq!(entries(&file), [0, 0, 0, 0]);
}

#[test]
fn an_emptying_replayed_does_not_take_the_rows_that_came_after_it() {
    let file = MemoryFile::default();
    let (rows, mut writer) = (open(&file, 0), Writer::default());
    rows.publish(&[writer.put("a", "1")]);
    rows.empty(&table("t"), 1, 10);
    writer.empty("t");
    rows.publish(&[writer.put("b", "2")]);
    rows.empty(&table("t"), 1, 10);
    rows.close();
    let rows = open(&file, 2);
    rows.empty(&table("t"), 1, 10);
    assert_eq!(pairs(&all(&rows.snapshot(&table("t")).unwrap(), 100)), [("b", "2")]);
    rows.empty(&table("t"), 2, 20);
    assert!(all(&rows.snapshot(&table("t")).unwrap(), 100).is_empty());
}

#[test]
fn tombstones_of_old_deletes_go_and_the_floor_rises_to_the_newest_of_them() {
    let file = MemoryFile::default();
    let (rows, mut writer) = (open(&file, 0), Writer::default());
    let events: Vec<_> = ["a", "b", "c", "d"].map(|key| writer.put(key, "{}")).into();
    rows.publish(&events);
    rows.publish(&[writer.delete("a"), writer.delete("b"), writer.put("e", "{}"), writer.delete("c")]);
    rows.expire(&table("t"), time(7));
    rows.settle();
    let info = rows.table(&table("t")).unwrap();
    assert_eq!((info.tombstones, info.floor, info.rows), (1, 6, 2));
    let snapshot = rows.snapshot(&table("t")).unwrap();
    assert_eq!(snapshot.floor(), 6);
    assert_eq!(states(&all_changed(&snapshot, 6, 100)), [("e", 7, Some("{}")), ("c", 8, None)]);
    rows.publish(&[writer.put("a", "1")]);
    rows.close();
    assert_eq!(entries(&file), [3, 4, 1, 0]);
    recount(&file);
    let rows = open(&file, writer.last);
    assert_eq!(rows.table(&table("t")).unwrap().floor, 6);
    rows.expire(&table("t"), u64::MAX);
    rows.settle();
    assert_eq!(rows.table(&table("t")).unwrap().floor, 8);
    rows.close();
    assert_eq!(entries(&file), [3, 3, 0, 0]);
}

#[test]
fn many_tombstones_go_in_several_steps() {
    let file = MemoryFile::default();
    let (rows, mut writer) = (open(&file, 0), Writer::default());
    let puts: Vec<_> = (0..25_000).map(|n| writer.put(&format!("{n}"), "{}")).collect();
    rows.publish(&puts);
    let deletes: Vec<_> = (0..24_000).map(|n| writer.delete(&format!("{n}"))).collect();
    rows.publish(&deletes);
    rows.expire(&table("t"), time(48_999));
    rows.settle();
    let info = rows.table(&table("t")).unwrap();
    assert_eq!((info.tombstones, info.floor, info.rows), (2, 48_998, 1000));
    rows.close();
    recount(&file);
}

#[test]
fn rows_of_a_log_that_was_replaced_stay_and_older_cursors_are_below_the_floor() {
    let file = MemoryFile::default();
    let (rows, mut writer) = (open(&file, 0), Writer::default());
    let events: Vec<_> = (0..11_000).map(|n| writer.put(&format!("{n:05}"), "{}")).collect();
    rows.publish(&events);
    rows.publish(&[writer.delete("00000")]);
    rows.close();
    // Another epoch; then the same with fewer events.
    for (epoch, last) in [(2, 500), (2, 40), (3, 0)] {
        let rows = Rows::open_in(Box::new(file.clone()), settings(), log(epoch, last)).unwrap();
        assert_eq!(rows.applied(), last);
        let info = rows.table(&table("t")).unwrap();
        assert_eq!((info.rows, info.tombstones, info.newest, info.floor), (10_999, 1, last, last));
        let snapshot = rows.snapshot(&table("t")).unwrap();
        let found = all(&snapshot, 10_000);
        assert!(found.len() == 10_999 && found.iter().all(|row| row.offset <= last && &*row.value == "{}"));
        assert_eq!(found[0].time, time(2), "when a row changed does not change");
        assert!(all_changed(&snapshot, last, 100).is_empty());
        rows.close();
        recount(&file);
    }
    // The log goes on.
    let rows = Rows::open_in(Box::new(file.clone()), settings(), log(3, 0)).unwrap();
    writer.last = 0;
    rows.publish(&[writer.put("00001", "[]"), writer.delete("00002")]);
    rows.expire(&table("t"), u64::MAX);
    rows.settle();
    let snapshot = rows.snapshot(&table("t")).unwrap();
    assert_eq!((snapshot.floor(), snapshot.rows_total()), (2, 10_998));
    assert_eq!(states(&all_changed(&snapshot, 0, 100)), [("00001", 1, Some("[]"))]);
    rows.close();
    recount(&file);
}

#[test]
fn a_file_of_the_same_log_is_taken_as_it_is() {
    let file = MemoryFile::default();
    let (rows, mut writer) = (open(&file, 0), Writer::default());
    rows.publish(&[writer.put("a", "1"), writer.put("b", "2")]);
    rows.close();
    let rows = open(&file, 2);
    assert_eq!((rows.applied(), rows.table(&table("t")).unwrap().floor), (2, 0));
    assert_eq!(all_changed(&rows.snapshot(&table("t")).unwrap(), 1, 100).len(), 1);
}

#[test]
fn a_copy_of_the_directory_taken_while_it_is_open_is_as_good() {
    let (here, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (rows, mut writer) = (open_at(here.path(), log(1, 0)), Writer::default());
    let first = [writer.put("a", "1"), writer.put("b", "2")];
    rows.publish(&first);
    rows.settle();
    std::fs::copy(here.path().join("rows.redb"), copy.path().join("rows.redb")).unwrap();
    let second = [writer.put("a", "3"), writer.delete("b")];
    rows.publish(&second);
    drop(rows);
    let rows = open_at(copy.path(), log(1, 4));
    assert_eq!(rows.applied(), 2);
    rows.publish(&second);
    assert_eq!(pairs(&all(&rows.snapshot(&table("t")).unwrap(), 100)), [("a", "3")]);
    let rows = open_at(here.path(), log(1, 4));
    assert_eq!(rows.applied(), 4, "the last owner applied what was pending");
}

#[test]
fn a_file_that_another_has_open_is_not_to_be_had() {
    let here = tempfile::tempdir().unwrap();
    let rows = open_at(here.path(), log(1, 0));
    let err = Rows::open(here.path(), settings(), log(1, 0)).err().unwrap();
    assert_eq!(err.kind(), ErrorKind::Unavailable);
    assert!(err.chain().contains("another process has it"), "{}", err.chain());
    let snapshot = rows.snapshot(&table("t")).unwrap();
    rows.close();
    drop(open_at(here.path(), log(1, 0)));
    drop(snapshot);
}

#[test]
fn a_damaged_file_is_named_with_what_to_do() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("rows.redb");
    let (rows, mut writer) = (open_at(here.path(), log(1, 0)), Writer::default());
    let events: Vec<_> = (0..1000).map(|n| writer.put(&format!("{n}"), "{}")).collect();
    rows.publish(&events);
    drop(rows);
    let whole = std::fs::read(&path).unwrap();
    let cut = whole[..whole.len() / 3].to_vec();
    let zeros = [&whole[..4096], &vec![0; whole.len() - 4096]].concat();
    for (what, bytes) in [("text", b"not a file of rows".to_vec()), ("cut", cut), ("zeros", zeros)] {
        std::fs::write(&path, bytes).unwrap();
        let err = Rows::open(here.path(), settings(), log(1, 1000)).err().expect(what);
        assert_eq!(err.kind(), ErrorKind::Corrupt, "{what}: {}", err.chain());
        let text = err.chain();
        assert!(text.contains("rows.redb") && text.contains("move it away"), "{what}: {text}");
    }
}
