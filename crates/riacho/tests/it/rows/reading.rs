//! Reading: rows, pages, what changed.

use super::support::{MemoryFile, Writer, all, all_changed, open, pairs, states, table};

#[test]
fn a_row_is_read_as_last_published_before_and_after_it_is_in_the_file() {
    let file = MemoryFile::default();
    let (rows, mut writer) = (open(&file, 0), Writer::default());
    let t = table("t");
    assert_eq!(rows.row(&t, "a").unwrap(), None);
    rows.publish(&[writer.put("a", "{\"n\":1}"), writer.put("b", "{}")]);
    rows.settle();
    file.room(Some(0));
    rows.publish(&[writer.put("a", "{\"n\":2}"), writer.delete("b")]);
    for _ in 0..2 {
        let row = rows.row(&t, "a").unwrap().unwrap();
        assert_eq!((&*row.value, row.offset, row.time), ("{\"n\":2}", 3, 3000));
        assert_eq!(rows.row(&t, "b").unwrap(), None);
        assert_eq!(rows.row(&table("u"), "a").unwrap(), None);
        file.room(None);
        rows.settle();
    }
    assert_eq!(rows.applied(), 4);
}

#[test]
fn a_snapshot_does_not_change_with_what_is_published_applied_and_emptied_later() {
    let file = MemoryFile::default();
    let (rows, mut writer) = (open(&file, 0), Writer::default());
    rows.publish(&[writer.put("a", "1"), writer.put("b", "2")]);
    rows.settle();
    rows.publish(&[writer.put("c", "3"), writer.delete("a")]);
    let snapshot = rows.snapshot(&table("t")).unwrap();
    rows.publish(&[writer.put("a", "4"), writer.put("b", "5")]);
    rows.settle();
    rows.empty(&table("t"), writer.last, 0);
    rows.settle();
    assert_eq!(pairs(&all(&snapshot, 1)), [("b", "2"), ("c", "3")]);
    assert_eq!(
        states(&all_changed(&snapshot, 1, 1)),
        [("b", 2, Some("2")), ("c", 3, Some("3")), ("a", 4, None)]
    );
    assert_eq!((snapshot.newest(), snapshot.floor(), snapshot.rows_total()), (4, 0, 2));
    assert_eq!(rows.snapshot(&table("t")).unwrap().rows_total(), 0);
}

#[test]
fn a_page_holds_at_least_one_row_and_about_as_many_bytes_as_asked() {
    let (rows, mut writer) = (open(&MemoryFile::default(), 0), Writer::default());
    let value = "x".repeat(99);
    let events: Vec<_> = (0..50).map(|n| writer.put(&format!("{n:02}"), &value)).collect();
    rows.publish(&events[..25]);
    rows.settle();
    rows.publish(&events[25..]);
    let snapshot = rows.snapshot(&table("t")).unwrap();
    for (bytes, count) in [(0, 1), (1, 1), (101, 1), (102, 2), (1010, 10), (1011, 11)] {
        let page = snapshot.rows(Some("20"), bytes).unwrap();
        assert_eq!((page.rows.len(), page.done, &*page.rows[0].key), (count, false, "21"));
        let page = snapshot.changed(20, bytes).unwrap();
        assert_eq!((page.changes.len(), page.upto, page.done), (count, 20 + count as u64, false));
    }
    let page = snapshot.rows(Some("48"), 1 << 20).unwrap();
    assert_eq!((page.rows.len(), page.done), (1, true));
    assert!(snapshot.rows(Some("99"), 1).unwrap().rows.is_empty());
}

#[test]
fn keys_are_in_the_order_of_their_bytes() {
    let (rows, mut writer) = (open(&MemoryFile::default(), 0), Writer::default());
    let keys = ["", "\u{1f600}", "a", "a\0", "Z", "ab", "\u{ffff}", "ä"];
    for (n, key) in keys.iter().enumerate() {
        rows.publish(&[writer.put(key, "{}")]);
        if n == 4 {
            rows.settle();
        }
    }
    let mut sorted = keys;
    sorted.sort_unstable_by_key(|key| key.as_bytes());
    for page_bytes in [1, 1000] {
        let rows = all(&rows.snapshot(&table("t")).unwrap(), page_bytes);
        assert_eq!(rows.iter().map(|row| &*row.key).collect::<Vec<_>>(), sorted);
    }
}

#[test]
fn what_changed_is_each_keys_newest_state_from_file_and_memory() {
    let file = MemoryFile::default();
    let (rows, mut writer) = (open(&file, 0), Writer::default());
    rows.publish(&[writer.put("a", "1"), writer.put("b", "2"), writer.put("c", "3"), writer.put("d", "4")]);
    rows.publish(&[writer.delete("d")]);
    rows.settle();
    file.room(Some(0));
    rows.publish(&[writer.put("a", "5"), writer.delete("b"), writer.put("d", "6"), writer.put("e", "7")]);
    rows.publish(&[writer.delete("e")]);
    let want =
        [("c", 3, Some("3")), ("a", 6, Some("5")), ("b", 7, None), ("d", 8, Some("6")), ("e", 10, None)];
    for _ in 0..2 {
        let snapshot = rows.snapshot(&table("t")).unwrap();
        for page_bytes in [1, 3, 1000] {
            assert_eq!(states(&all_changed(&snapshot, 0, page_bytes)), want);
            assert_eq!(states(&all_changed(&snapshot, 6, page_bytes)), want[2..]);
        }
        file.room(None);
        rows.settle();
    }
    assert_eq!(rows.table(&table("t")).unwrap().tombstones, 2, "of b and e, not of d");
}

#[test]
fn tables_do_not_see_each_others_rows() {
    let (rows, mut writer) = (open(&MemoryFile::default(), 0), Writer::default());
    let events = ["t", "u", "v"].map(|of| writer.change(of, "same", Some(of)).unwrap());
    rows.publish(&events);
    rows.settle();
    rows.empty(&table("u"), 3, 0);
    rows.settle();
    for (of, want) in [("t", vec![("same", "t")]), ("u", vec![]), ("v", vec![("same", "v")])] {
        assert_eq!(pairs(&all(&rows.snapshot(&table(of)).unwrap(), 100)), want);
    }
    let mut infos = rows.tables();
    infos.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(
        infos.iter().map(|info| (info.rows, info.bytes)).collect::<Vec<_>>(),
        [(1, 5), (0, 0), (1, 5)]
    );
}

#[test]
fn what_was_published_before_is_passed_over() {
    let (rows, mut writer) = (open(&MemoryFile::default(), 0), Writer::default());
    let first = [writer.put("a", "1")];
    let second = [writer.put("a", "2")];
    rows.publish(&first);
    rows.publish(&second);
    rows.publish(&first);
    rows.settle();
    rows.publish(&first);
    rows.publish(&second);
    rows.settle();
    assert_eq!(&*rows.row(&table("t"), "a").unwrap().unwrap().value, "2");
    let info = rows.table(&table("t")).unwrap();
    assert_eq!((info.rows, info.bytes, info.newest), (1, 2, 2));
}

#[tokio::test]
async fn rows_lag_while_more_is_pending_than_the_settings_allow() {
    let file = MemoryFile::default();
    let mut settings = super::support::settings();
    settings.pending_bytes_max = 1000;
    let rows =
        riacho::rows::Rows::open_in(Box::new(file.clone()), settings, super::support::log(1, 0)).unwrap();
    let mut writer = Writer::default();
    file.room(Some(0));
    assert!(!rows.lags());
    rows.caught_up().await;
    rows.publish(&[writer.put("a", &"x".repeat(1001))]);
    assert!(rows.lags());
    file.room(None);
    crate::support::patient(std::panic::Location::caller(), "caught up", rows.caught_up()).await;
    assert!(!rows.lags());
}
