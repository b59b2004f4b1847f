//! The index of one segment to bytes and back: where each stream's events are.
//!
//! The file is made of blocks of [`BLOCK_BYTES`]: [`PAYLOAD_BYTES`] and a crc32c u32, which is seeded with the segment's
//! salt and the block's number. Block 0 is the header; then come five areas, each from a block of its own on, so that any
//! part is read and verified alone: sparse entries (which frame is where, about every 64 KiB), the records that recovery
//! needs, the directory (one [`StreamEntry`] per stream, sorted by hash), the names, and the postings (one [`Posting`]
//! per event, by stream and offset). Entries of fixed size never span blocks. It holds nothing that a scan of the segment
//! cannot tell.

use super::{
    fields::Fields,
    segment::{Damage, Record, VERSION, patch},
};
use crate::{name::StreamName, position::Offset, time::Millis};
use std::collections::HashMap;

/// Where one event is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Posting {
    /// Its offset less the segment's base.
    pub delta: u32,
    /// Where in the segment its record begins.
    pub at: u32,
    /// The bytes of the records of its stream in this segment up to and with this one.
    pub sum: u32,
}

/// Where one frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sparse {
    /// The offset of its first event, less the segment's base; all events before the frame have smaller ones.
    pub delta: u32,
    /// Where in the segment it begins.
    pub at: u32,
    /// The time of its first event.
    pub time: Millis,
}

/// What the directory says of one stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamEntry {
    /// The hash of its name under the segment's salt.
    pub hash: u64,
    /// Where in the names its name is.
    pub name: u32,
    /// How many events it has here.
    pub count: u32,
    /// The bytes of their records.
    pub bytes: u32,
    /// Its first event's offset, less the base.
    pub first: u32,
    /// Its last event's offset, less the base.
    pub last: u32,
    /// The number of its first posting.
    pub postings: u32,
}

/// The index of a segment, in memory.
#[derive(Clone, Default, Debug)]
pub struct SegmentIndex {
    /// The postings of each stream, by offset.
    pub streams: HashMap<StreamName, Vec<Posting>>,
    /// Frames, by offset.
    pub sparse: Vec<Sparse>,
    /// The records that recovery needs, in order.
    pub kept: Vec<Record>,
    /// The greatest offset of an event or row; 0 when there is none.
    pub last: Offset,
    /// The greatest offset of a change of a row, or of a table's emptying; 0 when there is none.
    pub last_row: Offset,
    /// How many events there are.
    pub events: u64,
    /// The bytes of their records.
    pub bytes: u64,
    /// The time of the first event.
    pub time_min: Millis,
    /// The time of the last event.
    pub time_max: Millis,
}

impl SegmentIndex {
    /// Adds the event `offset` of `stream`, whose record of `bytes` bytes begins at `at` in the frame at `frame`.
    ///
    /// Offsets come in order, and all are within `u32` of `base`.
    pub fn add_event(
        &mut self,
        base: Offset,
        place: Place,
        offset: Offset,
        time: Millis,
        stream: &StreamName,
    ) {
        let delta = (offset - base) as u32;
        let due = self.sparse.last().is_none_or(|s| place.frame - s.at >= SPARSE_BYTES);
        if due {
            self.sparse.push(Sparse { delta, at: place.frame, time });
        }
        if self.events == 0 {
            self.time_min = time;
        }
        self.time_max = time;
        self.last = offset;
        if stream.table().is_some() {
            self.last_row = offset;
        }
        self.events += 1;
        self.bytes += u64::from(place.bytes);
        if !self.streams.contains_key(stream) {
            self.streams.insert(stream.clone(), Vec::new());
        }
        if let Some(postings) = self.streams.get_mut(stream) {
            let sum = postings.last().map_or(0, |p| p.sum) + place.bytes;
            postings.push(Posting { delta, at: place.at, sum });
        }
    }

    /// Adds a record that is not an event.
    pub fn add_other(&mut self, record: &Record) {
        match record {
            Record::Event(_) => {}
            other => {
                if let Record::Emptied { stream, upto, .. } = other
                    && stream.table().is_some()
                {
                    self.last_row = self.last_row.max(*upto);
                }
                self.kept.push(other.clone());
            }
        }
    }

    /// The file's bytes, for the segment of `salt` and `base` that is `segment_bytes` long; `reserved` is the newest
    /// offset that counts as used at its end.
    pub fn encode(&self, salt: u32, base: Offset, segment_bytes: u64, reserved: Offset) -> Vec<u8> {
        let mut entries = Vec::with_capacity(self.streams.len());
        for (name, postings) in &self.streams {
            let (Some(first), Some(last)) = (postings.first(), postings.last()) else { continue };
            let entry = StreamEntry {
                hash: stream_hash(salt, name.as_str()),
                name: 0,
                count: postings.len() as u32,
                bytes: last.sum,
                first: first.delta,
                last: last.delta,
                postings: 0,
            };
            entries.push((entry, name, postings));
        }
        entries.sort_by(|a, b| (a.0.hash, a.1).cmp(&(b.0.hash, b.1)));
        let mut names = Vec::new();
        let mut count = 0;
        for (entry, name, postings) in &mut entries {
            entry.name = names.len() as u32;
            entry.postings = count;
            count += postings.len() as u32;
            super::fields::put16(&mut names, name.as_str().as_bytes());
        }
        let mut kept = Vec::new();
        for record in &self.kept {
            if !matches!(record, Record::Reserve { .. } | Record::Closed { .. }) {
                record.encode(salt, &mut kept);
            }
        }
        let header = IndexHeader {
            salt,
            base,
            segment_bytes,
            reserved,
            last: self.last,
            last_row: self.last_row,
            time_min: self.time_min,
            time_max: self.time_max,
            events: self.events,
            bytes: self.bytes,
            sparse: self.sparse.len() as u32,
            kept_bytes: kept.len() as u32,
            entries: entries.len() as u32,
            names_bytes: names.len() as u32,
            postings: count,
        };
        let mut blocks = Blocks { salt, out: Vec::new() };
        blocks.push(&header.encode());
        blocks.end_area();
        for sparse in &self.sparse {
            blocks.push(&sparse.encode());
        }
        blocks.end_area();
        kept.chunks(PAYLOAD_BYTES).for_each(|chunk| blocks.push(chunk));
        blocks.end_area();
        for (entry, _, _) in &entries {
            blocks.push(&entry.encode());
        }
        blocks.end_area();
        names.chunks(PAYLOAD_BYTES).for_each(|chunk| blocks.push(chunk));
        blocks.end_area();
        for posting in entries.iter().flat_map(|(_, _, postings)| postings.iter()) {
            blocks.push(&posting.encode());
        }
        blocks.end_area();
        blocks.out
    }
}

/// Where the record of an event is.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Where its frame begins.
    pub frame: u32,
    /// Where the record begins.
    pub at: u32,
    /// The record's bytes.
    pub bytes: u32,
}

/// Block 0 of an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexHeader {
    /// The salt of the segment it belongs to.
    pub salt: u32,
    /// The segment's base.
    pub base: Offset,
    /// The segment's length.
    pub segment_bytes: u64,
    /// The newest offset that counts as used at the segment's end.
    pub reserved: Offset,
    /// The greatest offset of an event or row.
    pub last: Offset,
    /// The greatest offset of a row.
    pub last_row: Offset,
    /// The time of the first event.
    pub time_min: Millis,
    /// The time of the last event.
    pub time_max: Millis,
    /// How many events there are.
    pub events: u64,
    /// The bytes of their records.
    pub bytes: u64,
    /// How many sparse entries there are.
    pub sparse: u32,
    /// The bytes of the records that recovery needs.
    pub kept_bytes: u32,
    /// How many streams there are.
    pub entries: u32,
    /// The bytes of the names.
    pub names_bytes: u32,
    /// How many postings there are.
    pub postings: u32,
}

impl IndexHeader {
    /// Takes the first [`BLOCK_BYTES`] of `bytes`.
    ///
    /// # Errors
    /// When they are not what was written.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut fields = Fields(bytes);
        if fields.array()? != INDEX_MAGIC {
            return Err(Damage::Magic);
        }
        let (version, salt) = (fields.u32()?, fields.u32()?);
        let mut fields = Fields(check_block(salt, 0, bytes)?);
        fields.take(16)?;
        if version != VERSION {
            return Err(Damage::Version(version));
        }
        Ok(Self {
            salt,
            base: fields.u64()?,
            segment_bytes: fields.u64()?,
            reserved: fields.u64()?,
            last: fields.u64()?,
            last_row: fields.u64()?,
            time_min: fields.u64()?,
            time_max: fields.u64()?,
            events: fields.u64()?,
            bytes: fields.u64()?,
            sparse: fields.u32()?,
            kept_bytes: fields.u32()?,
            entries: fields.u32()?,
            names_bytes: fields.u32()?,
            postings: fields.u32()?,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = INDEX_MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        for field in [
            self.base,
            self.segment_bytes,
            self.reserved,
            self.last,
            self.last_row,
            self.time_min,
            self.time_max,
            self.events,
            self.bytes,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for field in [self.sparse, self.kept_bytes, self.entries, self.names_bytes, self.postings] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out
    }

    /// The first block of each area, in the order of the file; the last is where the file ends.
    pub fn areas(&self) -> [u32; 6] {
        let sizes = [
            self.sparse.div_ceil(Sparse::PER_BLOCK),
            self.kept_bytes.div_ceil(PAYLOAD_BYTES as u32),
            self.entries.div_ceil(StreamEntry::PER_BLOCK),
            self.names_bytes.div_ceil(PAYLOAD_BYTES as u32),
            self.postings.div_ceil(Posting::PER_BLOCK),
        ];
        let mut block = 1u32;
        let mut starts = [1; 6];
        for (start, size) in starts.iter_mut().skip(1).zip(sizes) {
            block = block.saturating_add(size);
            *start = block;
        }
        starts
    }
}

/// An entry of an index that has a fixed size.
pub trait Fixed: Sized {
    /// Its bytes.
    const BYTES: usize;
    /// How many fit in one block.
    const PER_BLOCK: u32 = (PAYLOAD_BYTES / Self::BYTES) as u32;

    /// Takes the first [`Fixed::BYTES`] of `bytes`.
    ///
    /// # Errors
    /// When there are too few.
    fn decode(bytes: &[u8]) -> Result<Self, Damage>;
}

impl Fixed for Posting {
    const BYTES: usize = 12;

    fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut fields = Fields(bytes);
        Ok(Self { delta: fields.u32()?, at: fields.u32()?, sum: fields.u32()? })
    }
}

impl Posting {
    fn encode(&self) -> [u8; 12] {
        let mut out = [0; 12];
        for (at, field) in [(0, self.delta), (4, self.at), (8, self.sum)] {
            patch(&mut out, at, &field.to_le_bytes());
        }
        out
    }
}

impl Fixed for Sparse {
    const BYTES: usize = 16;

    fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut fields = Fields(bytes);
        Ok(Self { delta: fields.u32()?, at: fields.u32()?, time: fields.u64()? })
    }
}

impl Sparse {
    fn encode(&self) -> [u8; 16] {
        let mut out = [0; 16];
        patch(&mut out, 0, &self.delta.to_le_bytes());
        patch(&mut out, 4, &self.at.to_le_bytes());
        patch(&mut out, 8, &self.time.to_le_bytes());
        out
    }
}

impl Fixed for StreamEntry {
    const BYTES: usize = 32;

    fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut fields = Fields(bytes);
        Ok(Self {
            hash: fields.u64()?,
            name: fields.u32()?,
            count: fields.u32()?,
            bytes: fields.u32()?,
            first: fields.u32()?,
            last: fields.u32()?,
            postings: fields.u32()?,
        })
    }
}

impl StreamEntry {
    fn encode(&self) -> [u8; 32] {
        let mut out = [0; 32];
        patch(&mut out, 0, &self.hash.to_le_bytes());
        let fields = [self.name, self.count, self.bytes, self.first, self.last, self.postings];
        for (i, field) in fields.into_iter().enumerate() {
            patch(&mut out, 8 + 4 * i, &field.to_le_bytes());
        }
        out
    }
}

/// Takes the name at the start of `bytes`, as the names area holds it.
///
/// # Errors
/// When there is no well-formed name.
pub fn decode_name(bytes: &[u8]) -> Result<StreamName, Damage> {
    Fields(bytes).name()
}

/// The payload of block `number`, checked.
///
/// # Errors
/// When the block is not what was written there.
pub fn check_block(salt: u32, number: u32, bytes: &[u8]) -> Result<&[u8], Damage> {
    let mut fields = Fields(bytes);
    let payload = fields.take(PAYLOAD_BYTES)?;
    if fields.u32()? == block_sum(salt, number, payload) { Ok(payload) } else { Err(Damage::Checksum) }
}

fn block_sum(salt: u32, number: u32, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(salt, &number.to_le_bytes()), payload)
}

/// The hash that the directory is sorted by. The salt keeps publishers from choosing names that collide.
pub fn stream_hash(salt: u32, name: &str) -> u64 {
    // FNV-1a, with a finish that spreads the last bytes over the high bits.
    let start = 0xcbf2_9ce4_8422_2325 ^ (u64::from(salt) << 16);
    let mut hash = name.bytes().fold(start, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

struct Blocks {
    salt: u32,
    out: Vec<u8>,
}

impl Blocks {
    fn push(&mut self, bytes: &[u8]) {
        if self.out.len() % BLOCK_BYTES + bytes.len() > PAYLOAD_BYTES {
            self.end_area();
        }
        self.out.extend_from_slice(bytes);
    }

    /// Ends the block begun, if there is one.
    fn end_area(&mut self) {
        let used = self.out.len() % BLOCK_BYTES;
        if used == 0 {
            return;
        }
        self.out.resize(self.out.len() - used + PAYLOAD_BYTES, 0);
        let start = self.out.len() - PAYLOAD_BYTES;
        let number = (start / BLOCK_BYTES) as u32;
        let crc = block_sum(self.salt, number, self.out.get(start..).unwrap_or_default());
        self.out.extend_from_slice(&crc.to_le_bytes());
    }
}

/// Bytes of a block.
pub const BLOCK_BYTES: usize = 4096;
/// Bytes of a block before its checksum.
pub const PAYLOAD_BYTES: usize = BLOCK_BYTES - 4;
/// At most this many bytes of frames lie between two sparse entries, but for one frame that is larger.
pub const SPARSE_BYTES: u32 = 64 * 1024;

const INDEX_MAGIC: [u8; 8] = *b"riacho\0i";
