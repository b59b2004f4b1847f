//! Messages of PostgreSQL's logical replication: any bytes are a message or a clean error, and whatever texts it holds, as
//! values of whatever types, make rows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use riacho_core::{
    source::{
        key::key,
        postgres::{
            kind::Kind,
            lsn::Lsn,
            pgoutput::{Datum, Message, Old, decode},
            snapshot::Visibility,
            value,
        },
    },
    table,
};

// The first byte says whether the message is in a stream; then comes the message.
fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let Ok(message) = decode(bytes, first & 1 == 1) else { return };
    match message {
        Message::Insert { new, .. } => row(&new),
        Message::Update { old, new, .. } => {
            if let Some(Old::Key(old) | Old::Full(old)) = old {
                row(&old);
            }
            row(&new);
        }
        Message::Delete { old: Old::Key(old) | Old::Full(old), .. } => row(&old),
        Message::Relation { relation, .. } => {
            assert!(relation.columns.len() <= bytes.len());
            for column in relation.columns {
                let _ = Kind::of_oid(column.type_oid);
            }
        }
        _ => {}
    }
});

/// Every text as a value of every kind.
fn row(tuple: &[Datum<'_>]) {
    let kinds = kinds();
    for datum in tuple.iter().take(DATA_MAX) {
        let Datum::Text(text) = datum else { continue };
        let names: Vec<String> = (0..kinds.len()).map(|name| name.to_string()).collect();
        let mut row = String::new();
        value::row(&mut row, names.iter().zip(&kinds).map(|(name, kind)| (&**name, kind, Some(*text))));
        assert_eq!(table::value::value(&row).as_deref(), Ok(&*row), "a row is a value, on one line");

        let mut part = String::new();
        value::write(&mut part, &Kind::Text, text);
        assert_eq!(key([&*part]), *text, "a key of one column is its text");
        if let Some(lsn) = Lsn::parse(text) {
            assert_eq!(Lsn::parse(&lsn.to_string()), Some(lsn));
        }
        if let Some(snapshot) = Visibility::parse(text) {
            assert!(!snapshot.sees(snapshot.xmax() as u32), "it had not begun");
        }
    }
}

fn kinds() -> Vec<Kind> {
    let pair = |first: Kind, second: Kind| Kind::Composite(vec![("a".into(), first), ("b\"".into(), second)]);
    let list = |element: Kind| Kind::Array(Box::new(element), ',');
    vec![
        Kind::Bool,
        Kind::Number,
        Kind::Float,
        Kind::Json,
        Kind::Timestamp,
        Kind::Timestamptz,
        Kind::Bytea,
        list(Kind::Json),
        Kind::Array(Box::new(Kind::Number), ';'),
        pair(Kind::Number, list(Kind::Text)),
        list(pair(Kind::Timestamptz, list(pair(Kind::Json, Kind::Bytea)))),
    ]
}

const DATA_MAX: usize = 8;
