//! Places in a write-ahead log, snapshots, and keys of rows.

use proptest::prelude::*;
use riacho_core::source::{
    key::key,
    postgres::{lsn::Lsn, snapshot::Visibility},
};

#[test]
fn places_in_the_log_have_one_text() {
    for (text, lsn) in [
        ("0/0", 0),
        ("0/1", 1),
        ("16/B374D848", 0x16_b374_d848),
        ("1/0", 1 << 32),
        ("FFFFFFFF/FFFFFFFF", u64::MAX),
    ] {
        assert_eq!(Lsn::parse(text), Some(Lsn(lsn)));
        assert_eq!(Lsn(lsn).to_string(), text);
    }
    assert_eq!("16/b374d848".parse(), Ok(Lsn(0x16_b374_d848)));
    assert_eq!(Lsn::parse("00000016/00000001"), Some(Lsn(0x16_0000_0001)));
    for text in
        ["", "/", "1", "1/", "/1", "1/2/3", "+1/1", "1/-1", "1/ 1", "100000000/0", "000000001/0", "g/0"]
    {
        assert_eq!(Lsn::parse(text), None, "{text}");
    }
    // By place, not by text.
    assert!(Lsn::parse("9/0") < Lsn::parse("10/0"));
}

#[test]
fn a_snapshot_sees_what_had_ended() {
    let snapshot = Visibility::parse("10:20:10,14,19").unwrap();
    let seen: Vec<u32> = (3..30).filter(|xid| snapshot.sees(*xid)).collect();
    assert_eq!(seen, [3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 18]);
    assert_eq!((snapshot.xmin(), snapshot.xmax(), snapshot.xip()), (10, 20, &[10, 14, 19][..]));
    assert!(!snapshot.sees(4_000_000_000), "no transaction was so long ago");
}

#[test]
fn a_snapshot_sees_across_the_wrap_of_32_bits() {
    let wrap = 1u64 << 32;
    let text = format!("{}:{}:{},{}", wrap - 5, wrap + 8, wrap - 5, wrap + 4);
    let snapshot = Visibility::parse(&text).unwrap();
    for (xid, seen) in [
        (u32::MAX - 10, true),
        (u32::MAX - 4, false),
        (u32::MAX - 3, true),
        (u32::MAX, true),
        (3, true),
        (4, false),
        (7, true),
        (8, false),
        (1000, false),
        (8 + (1 << 31) - 1, false),
        (8 + (1 << 31), true),
    ] {
        assert_eq!(snapshot.sees(xid), seen, "{xid}");
    }
    let later = Visibility::parse(&format!("{0}:{0}:", wrap * 3 + 5)).unwrap();
    assert!(later.sees(4) && later.sees(u32::MAX) && !later.sees(5));
}

#[test]
fn a_snapshot_is_settled_once_all_before_it_have_ended() {
    let parse = |text| Visibility::parse(text).unwrap();
    let first = parse("10:20:10,14");
    assert!(!parse("14:25:14,22").settled_after(&first));
    assert!(!parse("19:25:19").settled_after(&first));
    assert!(parse("20:25:20").settled_after(&first));
    assert!(!first.settled_after(&first));
    let quiet = parse("20:20:");
    assert!(quiet.settled_after(&quiet) && quiet.settled_after(&first));
}

#[test]
fn texts_of_no_snapshot_are_refused() {
    for text in
        ["", "1", "1:2", "1:2:3:4", "2:1:", "1:3:3", "2:3:1", "1:9:5,3", "1:9:,", "1:9:3,", "+1:2:", "a:2:"]
    {
        assert_eq!(Visibility::parse(text), None, "{text}");
    }
}

#[test]
fn keys_are_texts_or_arrays() {
    for (parts, text) in [
        (&["42"][..], "42"),
        (&["\"42\""], "42"),
        (&[r#""a\"b\n\u2028""#], "a\"b\n\u{2028}"),
        (&["true"], "true"),
        (&["{\"a\": 1}"], "{\"a\": 1}"),
        (&["\"\""], ""),
        (&["42", "\"a,b\"", "null"], r#"[42,"a,b",null]"#),
        (&[], "[]"),
    ] {
        assert_eq!(key(parts.iter().copied()), text);
    }
}

proptest! {
    #[test]
    fn a_place_is_its_own_text_or_none(text in "[0-9A-Fa-f+/]{0,9}/?[0-9A-F]{0,9}") {
        if let Some(lsn) = Lsn::parse(&text) {
            prop_assert_eq!(Lsn::parse(&lsn.to_string()), Some(lsn));
            prop_assert!(lsn.to_string().len() <= text.len());
        }
    }

    #[test]
    fn snapshots_see_the_same_wherever_the_counter_is(base in 0u64..1 << 40, xid in 0u64..40) {
        let base = base + 100;
        let at = |offset: u64| base + offset;
        let snapshot = Visibility::parse(&format!("{}:{}:{},{}", at(10), at(30), at(10), at(17))).unwrap();
        let seen = xid < 30 && xid != 10 && xid != 17;
        prop_assert_eq!(snapshot.sees(at(xid) as u32), seen);
    }
}
