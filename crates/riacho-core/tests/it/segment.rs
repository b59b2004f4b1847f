//! Records, frames, headers, indexes and meta: round trips, and clean errors for any other bytes.

use proptest::prelude::*;
use riacho_core::{
    event::{Change, Data, Event, EventType, Operation},
    log::{
        index::{BLOCK_BYTES, Fixed, IndexHeader, Place, Posting, SegmentIndex, StreamEntry, check_block},
        meta::{Meta, MetaStream},
        segment::{
            AnsweredKey, Damage, FRAME_BYTES, FrameHeader, RawRecord, Record, SegmentHeader, encode_frame,
            record_bytes,
        },
    },
    name::StreamName,
    position::Epoch,
};
use std::sync::Arc;

fn name() -> impl Strategy<Value = StreamName> {
    "[a-z/é]{1,12}".prop_map(|text| StreamName::parse(&text).unwrap())
}

fn text() -> impl Strategy<Value = Box<str>> {
    ".{0,40}".prop_map(String::into_boxed_str)
}

fn epoch() -> impl Strategy<Value = Epoch> {
    (1..=u64::MAX).prop_map(|n| Epoch(n.try_into().unwrap()))
}

fn record() -> impl Strategy<Value = Record> {
    let event_type = prop::option::of("[a-z.]{1,10}".prop_map(|text| EventType::any(&text).unwrap()));
    let event = (any::<u64>(), any::<u64>(), name(), event_type, text(), any::<bool>()).prop_map(
        |(offset, time, stream, event_type, text, json)| {
            Record::Event(Event { offset, time, stream, event_type, data: Data { text, json }, change: None })
        },
    );
    let operation = prop_oneof![Just(Operation::Insert), Just(Operation::Update), Just(Operation::Delete)];
    let change = (text(), operation, prop::option::of(text()), prop::option::of(text()), any::<bool>())
        .prop_map(|(key, operation, old, txid, last)| Change {
            key,
            operation,
            old,
            txid: txid.map(Arc::from),
            last,
        });
    let row = (any::<u64>(), any::<u64>(), name(), text(), change).prop_map(
        |(offset, time, table, text, change)| {
            let stream = StreamName::of_table(table.as_str()).unwrap();
            let data = Data { text, json: true };
            let change = Some(Box::new(change));
            Record::Event(Event { offset, time, stream, event_type: None, data, change })
        },
    );
    let key = (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<u64>(), any::<u32>(), any::<bool>(), any::<u64>());
    prop_oneof![
        4 => event,
        2 => row,
        1 => (text(), prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(source, position)| Record::SourcePosition { source, position: position.into() }),
        1 => key.prop_map(|(key, body, first, count, created, time)| {
            Record::Key(AnsweredKey { key, body, first, count, created, time })
        }),
        1 => any::<u64>().prop_map(|upto| Record::Reserve { upto }),
        1 => (name(), any::<u64>(), any::<u64>())
            .prop_map(|(stream, upto, time)| Record::Emptied { stream, upto, time }),
        1 => (name(), any::<bool>(), any::<u64>())
            .prop_map(|(stream, memory, at)| Record::Durability { stream, memory, at }),
        1 => (any::<u64>(), prop::collection::vec((name(), any::<u64>()), 0..4))
            .prop_map(|(next, memory)| Record::Closed { next, memory }),
    ]
}

fn decode_frame(salt: u32, bytes: &[u8]) -> Result<Vec<Record>, Damage> {
    let header = FrameHeader::decode(salt, bytes)?;
    let records = header.records(salt, bytes.get(FRAME_BYTES..).unwrap_or_default())?;
    records.map(|raw| raw?.record()).collect()
}

proptest! {
    #[test]
    fn a_frame_is_read_as_it_was_written(records in prop::collection::vec(record(), 0..8), salt: u32) {
        let mut bytes = vec![1, 2, 3];
        let places = encode_frame(salt, &records, &mut bytes);
        prop_assert_eq!(decode_frame(salt, &bytes[3..]), Ok(records.clone()));
        for (record, at) in records.iter().zip(places) {
            let raw = RawRecord::decode(salt, &bytes[at..]).unwrap();
            if let Record::Event(event) = record {
                prop_assert_eq!(raw.bytes() as u64, record_bytes(event));
            }
            prop_assert_eq!(&raw.record().unwrap(), record);
        }
    }

    #[test]
    fn a_changed_or_cut_frame_is_refused(
        records in prop::collection::vec(record(), 1..4),
        salt: u32,
        at: prop::sample::Index,
        bit in 0..8u8,
    ) {
        let mut bytes = Vec::new();
        encode_frame(salt, &records, &mut bytes);
        let at = at.index(bytes.len());
        prop_assert!(decode_frame(salt, &bytes[..at]).is_err());
        prop_assert!(decode_frame(salt.wrapping_add(1), &bytes).is_err());
        bytes[at] ^= 1 << bit;
        prop_assert!(decode_frame(salt, &bytes).is_err());
    }

    #[test]
    fn a_record_of_another_segment_is_refused(record in record(), salt: u32) {
        let mut bytes = Vec::new();
        record.encode(salt, &mut bytes);
        prop_assert_eq!(RawRecord::decode(salt ^ 1, &bytes).err(), Some(Damage::Checksum));
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), salt: u32) {
        // Sealed with a right checksum, so that what is behind it is reached.
        let mut sealed = (bytes.len() as u32).to_le_bytes().to_vec();
        sealed.extend_from_slice(&crc32c::crc32c_append(salt, &bytes).to_le_bytes());
        sealed.extend_from_slice(&bytes);
        if let Ok(raw) = RawRecord::decode(salt, &sealed) {
            let _ = raw.event();
            let _ = raw.record();
        }
        let _ = RawRecord::decode(salt, &bytes).map(|raw| raw.record());
        let _ = SegmentHeader::decode(&bytes);
        let _ = Meta::decode(&bytes);
        let _ = IndexHeader::decode(&bytes);
    }

    #[test]
    fn a_header_is_read_as_it_was_written(
        epoch in epoch(), base: u64, salt: u32, reserved: u64, created: u64, at in 0..64usize, bit in 0..8u8,
    ) {
        let header = SegmentHeader { epoch, base, salt, reserved, created };
        let mut bytes = header.encode();
        prop_assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        bytes[at] ^= 1 << bit;
        prop_assert!(SegmentHeader::decode(&bytes).is_err());
    }

    #[test]
    fn meta_is_read_as_it_was_written(
        epoch in epoch(),
        numbers: [u64; 3],
        streams in prop::collection::vec((name(), any::<u64>(), any::<bool>(), any::<u64>()), 0..5),
        at: prop::sample::Index,
        bit in 0..8u8,
    ) {
        let [reserved, forgotten, forgotten_at] = numbers;
        let streams = streams.into_iter().map(|(name, trimmed, memory, durability_at)| MetaStream {
            name,
            trimmed,
            memory,
            durability_at,
        });
        let sources = vec![("pg".into(), b"\x00\x01".as_slice().into())];
        let meta = Meta { epoch, reserved, forgotten, forgotten_at, streams: streams.collect(), sources };
        let mut bytes = meta.encode();
        prop_assert_eq!(Meta::decode(&bytes), Ok(meta));
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(Meta::decode(&bytes).is_err());
    }

    #[test]
    fn an_index_holds_every_event_in_its_blocks(
        events in prop::collection::vec((name(), 1..1000u32), 1..1200),
        salt: u32,
        flip: prop::sample::Index,
    ) {
        let mut index = SegmentIndex::default();
        let mut at = 64;
        for ((stream, bytes), offset) in events.iter().zip(100..) {
            index.add_event(100, Place { frame: at, at: at + 24, bytes: *bytes }, offset, offset, stream);
            at += 24 + bytes;
        }
        index.add_other(&Record::Reserve { upto: 7 });
        let file = index.encode(salt, 100, at.into(), 7);
        prop_assert_eq!(file.len() % BLOCK_BYTES, 0);
        let header = IndexHeader::decode(&file).unwrap();
        prop_assert_eq!((header.events as usize, header.reserved, header.kept_bytes), (events.len(), 7, 0));
        prop_assert_eq!(header.last, 99 + events.len() as u64);
        let areas = header.areas();
        prop_assert_eq!(areas[5] as usize * BLOCK_BYTES, file.len());
        for (number, block) in file.chunks(BLOCK_BYTES).enumerate() {
            let mut block = block.to_vec();
            block[flip.index(BLOCK_BYTES)] ^= 1;
            prop_assert_eq!(check_block(salt, number as u32, &block).err(), Some(Damage::Checksum));
        }
        let block = |number: u32| {
            let from = number as usize * BLOCK_BYTES;
            check_block(salt, number, &file[from..from + BLOCK_BYTES]).unwrap()
        };
        for number in 0..header.entries {
            let at = (number % StreamEntry::PER_BLOCK) as usize * StreamEntry::BYTES;
            let entry = StreamEntry::decode(&block(areas[2] + number / StreamEntry::PER_BLOCK)[at..]).unwrap();
            let postings = (entry.postings..entry.postings + entry.count).map(|number| {
                let at = (number % Posting::PER_BLOCK) as usize * Posting::BYTES;
                Posting::decode(&block(areas[4] + number / Posting::PER_BLOCK)[at..]).unwrap()
            });
            let postings: Vec<Posting> = postings.collect();
            let first = &events[entry.first as usize].0;
            prop_assert_eq!(&postings, &index.streams[first]);
            prop_assert_eq!(postings.last().unwrap().sum, entry.bytes);
        }
    }
}
