//! The bytes of the log: any input gives a round trip or a clean error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use riacho_core::log::{
    index::{BLOCK_BYTES, IndexHeader, PAYLOAD_BYTES, decode_name},
    meta::Meta,
    segment::{FRAME_BYTES, FrameHeader, HEADER_BYTES, RawRecord, SegmentHeader, encode_frame, frame_magic},
};

const SALT: u32 = 0x1234_5678;

fuzz_target!(|input: (u8, &[u8])| {
    let (kind, bytes) = input;
    match kind % 6 {
        0 => record(bytes),
        1 => frame(bytes),
        2 => header(bytes),
        3 => meta(bytes),
        4 => index(bytes),
        _ => drop(decode_name(bytes)),
    }
});

/// The body of a record, with a right length and checksum.
fn record(body: &[u8]) {
    let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(&crc32c::crc32c_append(SALT, body).to_le_bytes());
    bytes.extend_from_slice(body);
    let Ok(raw) = RawRecord::decode(SALT, &bytes) else { return };
    if let Ok(record) = raw.record() {
        let mut again = Vec::new();
        record.encode(SALT, &mut again);
        assert_eq!(again, bytes, "a record has one form");
    }
}

/// A frame's fields and records; the magic is right, and the checksum when the first byte says so.
fn frame(bytes: &[u8]) {
    let _ = FrameHeader::decode(SALT, bytes);
    let mut framed = frame_magic(SALT).to_vec();
    framed.extend_from_slice(bytes);
    let Ok(header) = FrameHeader::decode(SALT, &framed) else { return };
    let Ok(records) = header.records(SALT, framed.get(FRAME_BYTES..).unwrap_or_default()) else { return };
    let records: Result<Vec<_>, _> = records.map(|raw| raw?.record()).collect();
    if let Ok(records) = records {
        encode_frame(SALT, &records, &mut Vec::new());
    }
}

fn header(bytes: &[u8]) {
    let _ = SegmentHeader::decode(bytes);
    let Some(fields) = bytes.get(..HEADER_BYTES - 4) else { return };
    let mut sealed = fields.to_vec();
    sealed.extend_from_slice(&crc32c::crc32c(fields).to_le_bytes());
    if let Ok(header) = SegmentHeader::decode(&sealed) {
        assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    }
}

fn meta(bytes: &[u8]) {
    let _ = Meta::decode(bytes);
    let mut sealed = bytes.to_vec();
    sealed.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    if let Ok(meta) = Meta::decode(&sealed) {
        assert_eq!(meta.encode(), sealed, "meta has one form");
    }
}

fn index(bytes: &[u8]) {
    let _ = IndexHeader::decode(bytes);
    let mut block = bytes.to_vec();
    block.resize(PAYLOAD_BYTES, 0);
    let salt = block.get(12..16).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(salt, &0u32.to_le_bytes()), &block);
    block.extend_from_slice(&crc.to_le_bytes());
    assert_eq!(block.len(), BLOCK_BYTES);
    if let Ok(header) = IndexHeader::decode(&block) {
        assert!(header.areas().is_sorted(), "areas come one after the other");
    }
}
