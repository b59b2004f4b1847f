//! Messages of logical replication: recordings of real servers (`tests/postgres/record.sql`), and any other bytes.

use crate::support::replication::{bytes, describe};
use proptest::prelude::*;
use riacho_core::source::postgres::pgoutput::{Damage, Message, decode, millis};
use std::{fs, path::PathBuf};

#[test]
fn recorded_messages_say_what_was_done() {
    let mut count = 0;
    for (name, hex) in recordings() {
        let says = fs::read_to_string(directory().join(name.replace(".hex", ".txt"))).unwrap();
        assert_eq!(describe(&hex), says, "{name}");
        count += 1;
    }
    assert!(count >= 4, "the recordings are there");
}

#[test]
fn a_message_without_its_end_is_damage() {
    for (name, hex) in recordings() {
        for (message, in_stream) in messages(&hex) {
            for end in 0..message.len() {
                assert_eq!(decode(&message[..end], in_stream), Err(Damage::Short), "{name} {message:?}");
            }
            let longer = [&message[..], &[0]].concat();
            assert_eq!(decode(&longer, in_stream), Err(Damage::Trailing), "{name} {message:?}");
        }
    }
}

#[test]
fn counts_and_lengths_are_believed_only_as_far_as_there_are_bytes() {
    for message in [
        &b"T\xff\xff\xff\xff\x00"[..],
        b"I\0\0\0\x01N\xff\xff",
        b"I\0\0\0\x01N\0\x01t\xff\xff\xff\xff",
        b"R\0\0\0\x01\0t\0d\xff\xff\x01",
        b"M\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff",
    ] {
        assert_eq!(decode(message, false), Err(Damage::Short), "{message:?}");
    }
}

#[test]
fn what_no_server_writes_is_damage() {
    for (message, damage) in [
        (&b""[..], Damage::Short),
        (b"Z", Damage::Message(b'Z')),
        (b"b", Damage::Message(b'b')),
        (b"C\x01", Damage::Shape),
        (b"S\0\0\0\x01\x02", Damage::Shape),
        (b"I\0\0\0\x01K\0\0", Damage::Shape),
        (b"D\0\0\0\x01N\0\0", Damage::Shape),
        (b"U\0\0\0\x01X\0\0", Damage::Shape),
        (b"T\0\0\0\0\x04", Damage::Shape),
        (b"I\0\0\0\x01N\0\x01x", Damage::Shape),
        (b"I\0\0\0\x01N\0\x01t\0\0\0\x01\xff", Damage::Text),
        (b"O\0\0\0\0\0\0\0\0\xff\0", Damage::Text),
        (b"R\0\0\0\x01\0t\0x\0\0", Damage::Shape),
    ] {
        assert_eq!(decode(message, false), Err(damage), "{message:?}");
    }
}

#[test]
fn a_schema_without_a_name_is_pg_catalog() {
    let Ok(Message::Relation { xid, relation }) = decode(b"R\0\0\0\x07\0t\0n\0\0", false) else { panic!() };
    assert_eq!((xid, &*relation.namespace, &*relation.name), (None, "pg_catalog", "t"));
}

#[test]
fn times_are_milliseconds_since_1970() {
    assert_eq!(millis(0), 946_684_800_000);
    assert_eq!(millis(-1), 946_684_799_999);
    assert_eq!(millis(1_999), 946_684_800_001);
    assert_eq!(millis(-946_684_800_000_000), 0);
    assert_eq!((millis(i64::MIN), millis(i64::MAX)), (0, 9_223_372_036_854_775 + 946_684_800_000));
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_damage(bytes: Vec<u8>, in_stream: bool) {
        let _ = decode(&bytes, in_stream);
    }

    #[test]
    fn a_message_with_a_wrong_byte_is_read_or_refused(
        pick: prop::sample::Index,
        at: prop::sample::Index,
        byte: u8,
        in_stream: bool,
    ) {
        let all: Vec<_> = recordings().into_iter().flat_map(|(_, hex)| messages(&hex)).collect();
        let (mut message, _) = pick.get(&all).clone();
        *at.get_mut(&mut message) = byte;
        let _ = decode(&message, in_stream);
    }
}

/// All messages of a recording, and whether they are in a stream.
fn messages(hex: &str) -> Vec<(Vec<u8>, bool)> {
    let mut in_stream = false;
    hex.lines()
        .map(|line| {
            let message = bytes(line);
            let within = in_stream;
            in_stream = within && message[0] != b'E' || message[0] == b'S';
            (message, within)
        })
        .collect()
}

fn recordings() -> Vec<(String, String)> {
    let names = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".hex"));
    names.sort();
    names
        .into_iter()
        .map(|name| (name.clone(), fs::read_to_string(directory().join(name)).unwrap()))
        .collect()
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/pgoutput")
}
