//! Full and failing disks, crashes.

use super::support::{MemoryFile, Writer, all, open, pairs, recount, table};
use crate::support::until;
use riacho::rows::Failure;
use std::io;

#[tokio::test]
async fn a_full_disk_is_tried_again_and_rows_are_read_meanwhile() {
    let file = MemoryFile::default();
    let (rows, mut writer) = (open(&file, 0), Writer::default());
    rows.publish(&[writer.put("a", "1")]);
    rows.settle();
    file.room(Some(0));
    rows.publish(&[writer.put("b", "2")]);
    until("a full disk", async || (rows.failed() == Some(Failure::Full)).then_some(())).await;
    assert_eq!(pairs(&all(&rows.snapshot(&table("t")).unwrap(), 1)), [("a", "1"), ("b", "2")]);
    file.room(None);
    rows.settle();
    assert_eq!((rows.failed(), rows.applied(), file.opened()), (None, 2, 1));
}

#[test]
fn little_room_makes_transactions_smaller_and_not_the_disk_full() {
    let file = MemoryFile::default();
    let (rows, mut writer) = (open(&file, 0), Writer::default());
    file.room(Some(40 << 20));
    let events: Vec<_> = (0..20_000).map(|n| writer.put(&format!("{n}"), "{}")).collect();
    for transaction in events.chunks(50) {
        rows.publish(transaction);
    }
    rows.settle();
    assert_eq!((rows.failed(), rows.applied()), (None, 20_000));
}

#[tokio::test]
async fn a_write_that_finds_no_room_is_done_again_in_the_file_opened_again() {
    let file = MemoryFile::default();
    let (rows, mut writer) = (open(&file, 0), Writer::default());
    rows.publish(&[writer.put("a", "1"), writer.put("b", "2")]);
    rows.settle();
    file.fail(Some(io::ErrorKind::StorageFull));
    rows.publish(&[writer.put("a", "3"), writer.delete("b"), writer.put("c", "4")]);
    until("a full disk", async || (rows.failed() == Some(Failure::Full)).then_some(())).await;
    file.fail(None);
    rows.settle();
    assert_eq!((rows.failed(), rows.applied()), (None, 5));
    assert!(file.opened() > 1);
    assert_eq!(pairs(&all(&rows.snapshot(&table("t")).unwrap(), 1)), [("a", "3"), ("c", "4")]);
    let info = rows.table(&table("t")).unwrap();
    assert_eq!((info.rows, info.bytes, info.tombstones), (2, 4, 1));
    rows.close();
    recount(&file);
}

#[test]
fn what_was_written_by_a_commit_that_failed_is_not_counted_twice() {
    for syncs in 0..2 {
        let file = MemoryFile::default();
        let (rows, mut writer) = (open(&file, 0), Writer::default());
        rows.publish(&[writer.put("a", "1"), writer.put("b", "2")]);
        rows.settle();
        file.fail_sync_after(syncs);
        rows.publish(&[writer.put("c", "3"), writer.delete("b")]);
        rows.settle();
        assert_eq!((rows.failed(), file.opened()), (None, 2));
        let info = rows.table(&table("t")).unwrap();
        assert_eq!((info.rows, info.bytes, info.tombstones), (2, 4, 1), "{syncs}");
        rows.close();
        recount(&file);
    }
}

#[tokio::test]
async fn a_disk_that_fails_ends_it_for_good_and_nobody_waits_for_it() {
    let file = MemoryFile::default();
    let (rows, mut writer) = (open(&file, 0), Writer::default());
    rows.publish(&[writer.put("a", "1")]);
    rows.settle();
    file.fail(Some(io::ErrorKind::Other));
    rows.publish(&[writer.put("b", &"x".repeat(65 << 20))]);
    until("a failed disk", async || (rows.failed() == Some(Failure::Failed)).then_some(())).await;
    assert!(rows.lags());
    crate::support::patient(std::panic::Location::caller(), "the end", rows.caught_up()).await;
    rows.settle();
    assert_eq!(rows.applied(), 1);
    file.fail(None);
    rows.close();
    assert_eq!(open(&file.crashed(true), 1).applied(), 1);
}

#[test]
fn a_crash_at_any_moment_leaves_whole_transactions_and_the_rest_is_replayed() {
    let file = MemoryFile::default();
    let (rows, mut writer) = (open(&file, 0), Writer::default());
    let mut log = Vec::new();
    for n in 0..200 {
        let transaction: Vec<_> = (0..20).map(|k| writer.put(&format!("{k}"), &format!("{n}"))).collect();
        rows.publish(&transaction);
        log.push(transaction);
        if n % 10 != 0 {
            continue;
        }
        for power in [false, true] {
            let crashed = file.crashed(power);
            let again = open(&crashed, writer.last);
            assert_eq!(again.applied() % 20, 0, "a transaction is there whole or not at all");
            for transaction in &log {
                again.publish(transaction);
            }
            let found = all(&again.snapshot(&table("t")).unwrap(), 1000);
            assert!(found.len() == 20 && found.iter().all(|row| *row.value == *format!("{n}")));
            again.close();
            recount(&crashed);
        }
    }
}
