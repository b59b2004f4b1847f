//! What DynamoDB, its streams, Lambdas and exports say: any bytes are that or a clean error, and every item makes a row
//! that reads back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use riacho_core::{
    source::dynamodb::{
        answer::{BatchGet, Iterator, Records, Scan, ServiceError, StreamPage, Table},
        export::Line,
        item::Item,
        key::KeySchema,
        number::Number,
        record::{Record, lambda_records},
        sequence::SequenceNumber,
        types::Types,
    },
    table,
};

// The first byte says what the rest is.
fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    match first % 10 {
        0 => Records::parse(bytes).map(|answer| answer.records.iter().for_each(record)).unwrap_or_default(),
        1 => {
            for read in lambda_records(bytes).unwrap_or_default().iter().flatten() {
                record(read);
            }
        }
        2 => {
            if let Ok(page) = Scan::parse(bytes) {
                page.items.iter().chain(&page.last).for_each(item);
            }
        }
        3 => {
            if let Ok(batch) = BatchGet::parse(bytes) {
                batch.items.iter().chain(&batch.unprocessed).for_each(item);
            }
        }
        4 => {
            if let Ok(table) = Table::parse(bytes) {
                types(&table.types);
            }
        }
        5 => {
            let _ = (StreamPage::parse(bytes), Iterator::parse(bytes), ServiceError::parse(bytes));
        }
        6 => match Line::parse(bytes) {
            Ok(Some(Line::Item(read))) => item(&read),
            Ok(Some(Line::Change { keys, new, .. })) => std::iter::once(&keys).chain(&new).for_each(item),
            Ok(None) | Err(_) => {}
        },
        7 => {
            if let Ok(read) = Item::parse_text(bytes) {
                item(&read);
            }
        }
        8 => {
            let text = String::from_utf8_lossy(bytes);
            if let Ok(number) = text.parse::<Number>() {
                assert_eq!(number.to_string().parse(), Ok(number), "a number has one text");
            }
            if let Ok(sequence) = text.parse::<SequenceNumber>() {
                assert_eq!(sequence.to_string(), text);
            }
            if let Ok(read) = Types::parse(&text) {
                types(&read);
            }
        }
        _ => {
            // A key or a row, and an item of its table.
            let text = String::from_utf8_lossy(bytes);
            let (text, other) = text.split_once('\n').unwrap_or((&text, "{}"));
            let mut types = Types::default();
            if let Ok(other) = Item::parse_text(other.as_bytes()) {
                types.learn(&other);
            }
            for schema in schemas() {
                if let Ok(read) = schema.item(text, &types) {
                    assert_eq!(schema.text(&read).as_deref(), Ok(text), "a key has one text");
                }
            }
            if let Ok(restored) = Item::of_json(text, &types) {
                item(&restored.item);
            }
        }
    }
});

fn record(record: &Record) {
    item(&record.keys);
    if let Some(new) = &record.new {
        item(new);
    }
}

fn item(item: &Item) {
    let mut row = String::new();
    item.json(None, &mut row);
    assert_eq!(table::value::value(&row).as_deref(), Ok(&*row), "an item is a row, on one line");

    let mut text = String::new();
    item.dynamodb_json(&mut text);
    assert_eq!(Item::parse_text(text.as_bytes()).as_ref(), Ok(item), "an item is written as it is read");

    let mut met = Types::default();
    met.learn(item);
    types(&met);
    let restored = Item::of_json(&row, &met).expect("a row of an item is an item");
    assert!(restored.item == *item || !restored.unsure.is_empty(), "what is no guess is right");

    for schema in schemas() {
        if let (Ok(key), true) = (schema.text(item), schema.fits(item)) {
            assert_eq!(schema.item(&key, &met).as_ref(), Ok(item), "a key reads back");
        }
    }
}

fn types(types: &Types) {
    let mut json = String::new();
    types.json(&mut json);
    assert_eq!(Types::parse(&json).as_ref(), Ok(types), "types are kept");
}

fn schemas() -> [KeySchema; 2] {
    [
        KeySchema { hash: "id".into(), range: None },
        KeySchema { hash: "customer".into(), range: Some("number".into()) },
    ]
}
