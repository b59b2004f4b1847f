//! Records and batch frames to bytes and back.
//!
//! A segment is a header and then frames; a frame is a header and then records. All integers are little-endian. A frame
//! is durable whole or not at all: its checksum covers all its records. Every record has a checksum of its own, so that
//! one can be read alone at its place. Both checksums and the frame's magic depend on a random salt in the segment's
//! header, so that no publisher can send data that looks like a frame. Decoders take any bytes and give a value or
//! [`Damage`]; they never allocate more than they were given.
//!
//! Header ([`HEADER_BYTES`]): magic 8, version u32, salt u32, epoch u64, base u64, reserved u64, created u64, zeros 12,
//! crc32c u32; magic, version and checksum stay where they are in every version. Frame ([`FRAME_BYTES`] and records): magic u32, length of the records u32, crc32c u32, first offset u64,
//! count of records u32. Record ([`RECORD_BYTES`] and body): length of the body u32, crc32c u32, kind u8, fields.

use super::fields::{Fields, put16, put32, text};
use crate::{
    event::{Change, Data, Event, EventType, Operation},
    name::StreamName,
    position::{Epoch, Offset},
    time::Millis,
};
use std::{
    fmt::{self, Display, Formatter},
    num::NonZeroU64,
};

/// One entry of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// An event, a change of a row among them.
    Event(Event),
    /// How far a source has been read; moves with the events and rows of the same frame.
    SourcePosition {
        /// The source's name, at most 64 KiB.
        source: Box<str>,
        /// Its own notion of a position; nobody but the source looks inside.
        position: Box<[u8]>,
    },
    /// An idempotency key was answered.
    Key(AnsweredKey),
    /// Offsets up to and with `upto` count as used, whether or not an event holds them.
    Reserve {
        /// The last offset that counts as used.
        upto: Offset,
    },
    /// All events of `stream` up to and with `upto` are gone.
    Emptied {
        /// The stream that was emptied.
        stream: StreamName,
        /// The newest offset that is gone.
        upto: Offset,
        /// When.
        time: Millis,
    },
    /// Where the events of `stream` live from `at` on.
    Durability {
        /// The stream.
        stream: StreamName,
        /// Whether in memory only.
        memory: bool,
        /// The first offset this is said of. Of two such records the one with the higher offset holds: the later one may
        /// outlive the earlier one or not.
        at: Offset,
    },
    /// The log was closed in order: nothing that its memory knew is missing here.
    Closed {
        /// The first offset never used, whatever was reserved.
        next: Offset,
        /// The memory streams, each with the offset of its newest event (0: it had none).
        memory: Vec<(StreamName, Offset)>,
    },
}

/// An idempotency key and the answer it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnsweredKey {
    /// A digest of the key and whom it belongs to.
    pub key: [u8; 16],
    /// A digest of the request it came with.
    pub body: [u8; 16],
    /// The offset of the first event it made.
    pub first: Offset,
    /// How many events it made.
    pub count: u32,
    /// Whether a row came into being by it.
    pub created: bool,
    /// When it was answered.
    pub time: Millis,
}

/// An event as its record holds it, borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventRef<'a> {
    /// Its place in the log.
    pub offset: Offset,
    /// When the log took it.
    pub time: Millis,
    /// The name of its stream.
    pub stream: &'a str,
    /// Its type, if it has one.
    pub event_type: Option<&'a str>,
    /// What it says.
    pub data: &'a str,
    /// Whether `data` is a JSON value.
    pub json: bool,
    /// The change of a row that it is, if it is one.
    pub change: Option<ChangeRef<'a>>,
}

/// A change as its record holds it, borrowed; see [`Change`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChangeRef<'a> {
    /// The row's key.
    pub key: &'a str,
    /// What became of the row.
    pub operation: Operation,
    /// The row before.
    pub old: Option<&'a str>,
    /// The name of its transaction.
    pub txid: Option<&'a str>,
    /// Whether it completes its transaction.
    pub last: bool,
}

impl EventRef<'_> {
    /// The event, owned.
    ///
    /// # Errors
    /// When its name or type is not well-formed.
    pub fn to_event(&self) -> Result<Event, Damage> {
        Ok(Event {
            offset: self.offset,
            time: self.time,
            stream: StreamName::any(self.stream).map_err(|_| Damage::Shape)?,
            event_type: self.event_type.map(EventType::any).transpose().map_err(|_| Damage::Shape)?,
            data: Data { text: self.data.into(), json: self.json },
            change: self.change.map(|change| Box::new(change.to_change())),
        })
    }
}

impl ChangeRef<'_> {
    fn to_change(self) -> Change {
        Change {
            key: self.key.into(),
            operation: self.operation,
            old: self.old.map(Into::into),
            txid: self.txid.map(Into::into),
            last: self.last,
        }
    }
}

/// A record as it lies in a frame: checked, its fields not yet read.
#[derive(Clone, Copy, Debug)]
pub struct RawRecord<'a> {
    body: &'a [u8],
}

impl<'a> RawRecord<'a> {
    /// Takes the record at the start of `bytes`, which may be longer, and checks it.
    ///
    /// # Errors
    /// When the bytes are not a record, or not the one that was written.
    pub fn decode(salt: u32, bytes: &'a [u8]) -> Result<Self, Damage> {
        let mut fields = Fields(bytes);
        let (len, crc) = (fields.u32()?, fields.u32()?);
        let body = fields.take(len as usize)?;
        if body.is_empty() {
            return Err(Damage::Shape);
        }
        if crc32c::crc32c_append(salt, body) != crc {
            return Err(Damage::Checksum);
        }
        Ok(Self { body })
    }

    /// The bytes it takes in the file.
    pub fn bytes(&self) -> usize {
        RECORD_BYTES + self.body.len()
    }

    /// Its event, unless it is a record of another kind.
    ///
    /// # Errors
    /// When the fields are not well-formed.
    pub fn event(&self) -> Result<Option<EventRef<'a>>, Damage> {
        let mut fields = Fields(self.body);
        match fields.u8()? {
            KIND_EVENT => {}
            KIND_CHANGE => return change(&mut fields).map(Some),
            _ => return Ok(None),
        }
        let (offset, time) = (fields.u64()?, fields.u64()?);
        let flags = fields.u8()?;
        if flags & !(FLAG_JSON | FLAG_TYPE) != 0 {
            return Err(Damage::Shape);
        }
        let stream = text(fields.bytes16()?)?;
        let event_type = if flags & FLAG_TYPE != 0 { Some(text(fields.bytes16()?)?) } else { None };
        let data = text(fields.rest())?;
        Ok(Some(EventRef {
            offset,
            time,
            stream,
            event_type,
            data,
            json: flags & FLAG_JSON != 0,
            change: None,
        }))
    }

    /// The record, owned.
    ///
    /// # Errors
    /// When the fields are not well-formed.
    pub fn record(&self) -> Result<Record, Damage> {
        if let Some(event) = self.event()? {
            return Ok(Record::Event(event.to_event()?));
        }
        let mut fields = Fields(self.body);
        let record = match fields.u8()? {
            KIND_SOURCE => Record::SourcePosition {
                source: text(fields.bytes16()?)?.into(),
                position: fields.bytes32()?.into(),
            },
            KIND_KEY => Record::Key(AnsweredKey {
                key: fields.array()?,
                body: fields.array()?,
                first: fields.u64()?,
                count: fields.u32()?,
                created: fields.flag()?,
                time: fields.u64()?,
            }),
            KIND_RESERVE => Record::Reserve { upto: fields.u64()? },
            KIND_EMPTIED => {
                Record::Emptied { stream: fields.name()?, upto: fields.u64()?, time: fields.u64()? }
            }
            KIND_DURABILITY => {
                let (stream, memory) = (fields.name()?, fields.flag()?);
                Record::Durability { stream, memory, at: fields.u64()? }
            }
            KIND_CLOSED => {
                let next = fields.u64()?;
                let mut memory = Vec::new();
                for _ in 0..fields.u32()? {
                    memory.push((fields.name()?, fields.u64()?));
                }
                Record::Closed { next, memory }
            }
            _ => return Err(Damage::Shape),
        };
        fields.end()?;
        Ok(record)
    }
}

// An event of a table's stream: fields as of an event, and those of the change.
fn change<'a>(fields: &mut Fields<'a>) -> Result<EventRef<'a>, Damage> {
    let (offset, time) = (fields.u64()?, fields.u64()?);
    let operation = match fields.u8()? {
        0 => Operation::Insert,
        1 => Operation::Update,
        2 => Operation::Delete,
        _ => return Err(Damage::Shape),
    };
    let flags = fields.u8()?;
    if flags & !(FLAG_LAST | FLAG_TXID | FLAG_OLD) != 0 {
        return Err(Damage::Shape);
    }
    let stream = text(fields.bytes16()?)?;
    let key = text(fields.bytes16()?)?;
    let txid = if flags & FLAG_TXID != 0 { Some(text(fields.bytes16()?)?) } else { None };
    let old = if flags & FLAG_OLD != 0 { Some(text(fields.bytes32()?)?) } else { None };
    let data = text(fields.rest())?;
    let change = ChangeRef { key, operation, old, txid, last: flags & FLAG_LAST != 0 };
    Ok(EventRef { offset, time, stream, event_type: None, data, json: true, change: Some(change) })
}

impl Record {
    /// The place in the log that the record takes, if it takes one.
    pub fn offset(&self) -> Option<Offset> {
        match self {
            Self::Event(event) => Some(event.offset),
            _ => None,
        }
    }

    /// Writes the record to the end of `out`.
    pub fn encode(&self, salt: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; RECORD_BYTES]);
        match self {
            Self::Event(Event { change: Some(change), offset, time, stream, data, .. }) => {
                out.push(KIND_CHANGE);
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(&time.to_le_bytes());
                out.push(match change.operation {
                    Operation::Insert => 0,
                    Operation::Update => 1,
                    Operation::Delete => 2,
                });
                let flag = |set: bool, flag| if set { flag } else { 0 };
                let (txid, old) = (change.txid.as_deref(), change.old.as_deref());
                let flags = flag(txid.is_some(), FLAG_TXID) | flag(old.is_some(), FLAG_OLD);
                out.push(flags | flag(change.last, FLAG_LAST));
                put16(out, stream.as_str().as_bytes());
                put16(out, change.key.as_bytes());
                if let Some(txid) = txid {
                    put16(out, txid.as_bytes());
                }
                if let Some(old) = old {
                    put32(out, old.as_bytes());
                }
                out.extend_from_slice(data.text.as_bytes());
            }
            Self::Event(event) => {
                out.push(KIND_EVENT);
                out.extend_from_slice(&event.offset.to_le_bytes());
                out.extend_from_slice(&event.time.to_le_bytes());
                let json = if event.data.json { FLAG_JSON } else { 0 };
                out.push(json | event.event_type.as_ref().map_or(0, |_| FLAG_TYPE));
                put16(out, event.stream.as_str().as_bytes());
                if let Some(event_type) = &event.event_type {
                    put16(out, event_type.as_str().as_bytes());
                }
                out.extend_from_slice(event.data.text.as_bytes());
            }
            Self::SourcePosition { source, position } => {
                out.push(KIND_SOURCE);
                put16(out, source.as_bytes());
                put32(out, position);
            }
            Self::Key(key) => {
                out.push(KIND_KEY);
                out.extend_from_slice(&key.key);
                out.extend_from_slice(&key.body);
                out.extend_from_slice(&key.first.to_le_bytes());
                out.extend_from_slice(&key.count.to_le_bytes());
                out.push(key.created.into());
                out.extend_from_slice(&key.time.to_le_bytes());
            }
            Self::Reserve { upto } => {
                out.push(KIND_RESERVE);
                out.extend_from_slice(&upto.to_le_bytes());
            }
            Self::Emptied { stream, upto, time } => {
                out.push(KIND_EMPTIED);
                put16(out, stream.as_str().as_bytes());
                out.extend_from_slice(&upto.to_le_bytes());
                out.extend_from_slice(&time.to_le_bytes());
            }
            Self::Durability { stream, memory, at } => {
                out.push(KIND_DURABILITY);
                put16(out, stream.as_str().as_bytes());
                out.push((*memory).into());
                out.extend_from_slice(&at.to_le_bytes());
            }
            Self::Closed { next, memory } => {
                out.push(KIND_CLOSED);
                out.extend_from_slice(&next.to_le_bytes());
                out.extend_from_slice(&(memory.len() as u32).to_le_bytes());
                for (stream, newest) in memory {
                    put16(out, stream.as_str().as_bytes());
                    out.extend_from_slice(&newest.to_le_bytes());
                }
            }
        }
        let body = start + RECORD_BYTES;
        let (len, crc) = (out.len() - body, crc32c::crc32c_append(salt, out.get(body..).unwrap_or_default()));
        patch(out, start, &(len as u32).to_le_bytes());
        patch(out, start + 4, &crc.to_le_bytes());
    }
}

/// The bytes of the record of `event`: what it costs in a log, before checksums of frames.
pub fn record_bytes(event: &Event) -> u64 {
    let event_type = event.event_type.as_ref().map_or(0, |event_type| 2 + event_type.as_str().len());
    let fields = 1 + 8 + 8 + 1 + 2;
    let change = event.change.as_ref().map_or(0, |change| {
        let txid = change.txid.as_ref().map_or(0, |txid| 2 + txid.len());
        1 + 2 + change.key.len() + txid + change.old.as_ref().map_or(0, |old| 4 + old.len())
    });
    (RECORD_BYTES + fields + change + event.stream.as_str().len() + event_type + event.data.text.len()) as u64
}

/// Writes one frame of `records` to the end of `out`, and says where in `out` each record begins.
pub fn encode_frame(salt: u32, records: &[Record], out: &mut Vec<u8>) -> Vec<usize> {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_BYTES]);
    let mut places = Vec::with_capacity(records.len());
    for record in records {
        places.push(out.len());
        record.encode(salt, out);
    }
    let header = FrameHeader {
        bytes: (out.len() - start - FRAME_BYTES) as u32,
        crc: 0,
        first: records.iter().find_map(Record::offset).unwrap_or(0),
        count: records.len() as u32,
    };
    let crc = header.sum(salt, out.get(start + FRAME_BYTES..).unwrap_or_default());
    patch(out, start, &frame_magic(salt));
    patch(out, start + 4, &header.bytes.to_le_bytes());
    patch(out, start + 8, &crc.to_le_bytes());
    patch(out, start + 12, &header.first.to_le_bytes());
    patch(out, start + 20, &header.count.to_le_bytes());
    places
}

/// The start of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// Bytes of its records.
    pub bytes: u32,
    /// The checksum of the fields around it and of the records.
    pub crc: u32,
    /// The offset of its first event or row; 0 when it has none.
    pub first: Offset,
    /// How many records it has.
    pub count: u32,
}

impl FrameHeader {
    /// Takes the first [`FRAME_BYTES`] of `bytes`. Nothing but the magic is checked: see [`FrameHeader::records`].
    ///
    /// # Errors
    /// When there are too few bytes, or they do not begin with the magic.
    pub fn decode(salt: u32, bytes: &[u8]) -> Result<Self, Damage> {
        let mut fields = Fields(bytes);
        if fields.take(4)? != frame_magic(salt) {
            return Err(Damage::Magic);
        }
        Ok(Self { bytes: fields.u32()?, crc: fields.u32()?, first: fields.u64()?, count: fields.u32()? })
    }

    /// The bytes of the whole frame.
    pub fn frame_bytes(&self) -> u64 {
        FRAME_BYTES as u64 + u64::from(self.bytes)
    }

    /// Takes the frame's records from `bytes`, which begin after the header and may be longer, and checks them.
    ///
    /// # Errors
    /// When they are not what was written.
    pub fn records<'a>(&self, salt: u32, bytes: &'a [u8]) -> Result<Records<'a>, Damage> {
        let bytes = bytes.get(..self.bytes as usize).ok_or(Damage::Short)?;
        if self.sum(salt, bytes) != self.crc {
            return Err(Damage::Checksum);
        }
        Ok(Records { salt, rest: bytes, count: self.count })
    }

    fn sum(&self, salt: u32, records: &[u8]) -> u32 {
        let mut sum = crc32c::crc32c_append(salt, &self.bytes.to_le_bytes());
        sum = crc32c::crc32c_append(sum, &self.first.to_le_bytes());
        sum = crc32c::crc32c_append(sum, &self.count.to_le_bytes());
        crc32c::crc32c_append(sum, records)
    }
}

/// The records of a checked frame, in order; ends after the first that is not well-formed.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    salt: u32,
    rest: &'a [u8],
    count: u32,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RawRecord<'a>, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = std::mem::take(&mut self.rest);
        if self.count == 0 {
            return if rest.is_empty() { None } else { Some(Err(Damage::Shape)) };
        }
        self.count -= 1;
        match RawRecord::decode(self.salt, rest) {
            Ok(record) => {
                self.rest = rest.get(record.bytes()..).unwrap_or_default();
                Some(Ok(record))
            }
            Err(damage) => {
                self.count = 0;
                Some(Err(damage))
            }
        }
    }
}

/// The magic that every frame of a segment begins with. It depends on the salt, so that looking for frames in damaged
/// bytes does not stop at data that a publisher chose.
pub fn frame_magic(salt: u32) -> [u8; 4] {
    // Never four zeros: unwritten space must not look like a frame.
    (crc32c::crc32c_append(salt, b"riacho frame") | 1).to_le_bytes()
}

/// The start of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// The incarnation of the log.
    pub epoch: Epoch,
    /// No event of the segment has a smaller offset.
    pub base: Offset,
    /// Random; seeds the checksums.
    pub salt: u32,
    /// The newest offset that counted as reserved when the segment was created.
    pub reserved: Offset,
    /// When the segment was created.
    pub created: Millis,
}

impl SegmentHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&SEGMENT_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        for field in [self.epoch.0.get(), self.base, self.reserved, self.created] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.resize(HEADER_BYTES - 4, 0);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out.try_into().expect("the fields above are of fixed size")
    }

    /// Takes the first [`HEADER_BYTES`] of `bytes`.
    ///
    /// # Errors
    /// When they are not a header, or one of a version this build does not know.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut fields = Fields(bytes);
        let checked = Fields(bytes).take(HEADER_BYTES - 4)?;
        if fields.array()? != SEGMENT_MAGIC {
            return Err(Damage::Magic);
        }
        let crc = Fields(bytes.get(checked.len()..).unwrap_or_default()).u32()?;
        if crc != crc32c::crc32c(checked) {
            return Err(Damage::Checksum);
        }
        match fields.u32()? {
            VERSION => {}
            other => return Err(Damage::Version(other)),
        }
        let salt = fields.u32()?;
        let epoch = fields.u64()?;
        let (base, reserved, created) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let epoch = Epoch(NonZeroU64::new(epoch).ok_or(Damage::Shape)?);
        Ok(Self { epoch, base, salt, reserved, created })
    }
}

/// Why bytes are not what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    /// They end too early.
    Short,
    /// They do not begin as they must.
    Magic,
    /// They changed after they were written.
    Checksum,
    /// They were written by another version of the format.
    Version(u32),
    /// A field holds what it may not.
    Shape,
}

impl Display for Damage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the bytes end too early"),
            Self::Magic => f.write_str("the bytes do not begin as they must"),
            Self::Checksum => f.write_str("the checksum does not match"),
            Self::Version(version) => {
                write!(f, "the format has version {version}, and this build reads only version {VERSION}")
            }
            Self::Shape => f.write_str("a field holds what it may not"),
        }
    }
}

impl std::error::Error for Damage {}

/// Overwrites the bytes of `out` from `at` on; they are there.
pub(super) fn patch(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Bytes of a segment's header.
pub const HEADER_BYTES: usize = 64;
/// Bytes of a frame before its records.
pub const FRAME_BYTES: usize = 24;
/// Bytes of a record before its body.
pub const RECORD_BYTES: usize = 8;
/// The version of the format that this build writes, and the only one it reads.
pub const VERSION: u32 = 1;

const SEGMENT_MAGIC: [u8; 8] = *b"riacho\0s";
const KIND_EVENT: u8 = 1;
const KIND_CHANGE: u8 = 2;
const KIND_SOURCE: u8 = 3;
const KIND_KEY: u8 = 4;
const KIND_RESERVE: u8 = 5;
const KIND_EMPTIED: u8 = 6;
const KIND_DURABILITY: u8 = 7;
const KIND_CLOSED: u8 = 8;
const FLAG_JSON: u8 = 1;
const FLAG_TYPE: u8 = 2;
const FLAG_LAST: u8 = 1;
const FLAG_TXID: u8 = 2;
const FLAG_OLD: u8 = 4;
