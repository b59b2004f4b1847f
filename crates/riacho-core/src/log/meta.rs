//! What outlives the segments, to bytes and back: it is written before any segment is removed or rewritten.
//!
//! One file: magic 8, version u32, epoch u64, reserved u64, forgotten u64, forgotten at u64, streams u32 and for each
//! name, trimmed u64, memory u8; sources u32 and for each name and position; crc32c u32 over all before it.
//! Magic, version and checksum stay where they are in every version.

use super::{
    fields::{Fields, put16, put32, text},
    segment::{Damage, VERSION},
};
use crate::{
    name::StreamName,
    position::{Epoch, Offset},
};
use std::num::NonZeroU64;

/// What outlives the segments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meta {
    /// The incarnation of the log.
    pub epoch: Epoch,
    /// The newest offset that counted as used when this was written.
    pub reserved: Offset,
    /// The newest trimmed offset of all streams that are no longer remembered by name.
    pub forgotten: Offset,
    /// The first offset not used when `forgotten` last changed: a stream with an older event was not forgotten.
    pub forgotten_at: Offset,
    /// The streams that lost events or live in memory.
    pub streams: Vec<MetaStream>,
    /// How far each source has been read.
    pub sources: Vec<(Box<str>, Box<[u8]>)>,
}

/// What outlives the segments of one stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetaStream {
    /// Its name.
    pub name: StreamName,
    /// The offset of its newest trimmed event; 0 when it has lost none.
    pub trimmed: Offset,
    /// Whether its events live in memory only.
    pub memory: bool,
    /// The offset from which on that holds; see `Record::Durability`.
    pub durability_at: Offset,
}

impl Meta {
    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = META_MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        for field in [self.epoch.0.get(), self.reserved, self.forgotten, self.forgotten_at] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&(self.streams.len() as u32).to_le_bytes());
        for stream in &self.streams {
            put16(&mut out, stream.name.as_str().as_bytes());
            out.extend_from_slice(&stream.trimmed.to_le_bytes());
            out.push(stream.memory.into());
            out.extend_from_slice(&stream.durability_at.to_le_bytes());
        }
        out.extend_from_slice(&(self.sources.len() as u32).to_le_bytes());
        for (source, position) in &self.sources {
            put16(&mut out, source.as_bytes());
            put32(&mut out, position);
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Takes all of `bytes`.
    ///
    /// # Errors
    /// When they are not what was written, or of a version this build does not know.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let (bytes, crc) = bytes.split_last_chunk().ok_or(Damage::Short)?;
        let mut fields = Fields(bytes);
        if fields.array()? != META_MAGIC {
            return Err(Damage::Magic);
        }
        if crc32c::crc32c(bytes) != u32::from_le_bytes(*crc) {
            return Err(Damage::Checksum);
        }
        match fields.u32()? {
            VERSION => {}
            other => return Err(Damage::Version(other)),
        }
        let epoch = Epoch(NonZeroU64::new(fields.u64()?).ok_or(Damage::Shape)?);
        let (reserved, forgotten, forgotten_at) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let mut streams = Vec::new();
        for _ in 0..fields.u32()? {
            let (name, trimmed) = (fields.name()?, fields.u64()?);
            let (memory, durability_at) = (fields.flag()?, fields.u64()?);
            streams.push(MetaStream { name, trimmed, memory, durability_at });
        }
        let mut sources = Vec::new();
        for _ in 0..fields.u32()? {
            sources.push((text(fields.bytes16()?)?.into(), fields.bytes32()?.into()));
        }
        fields.end()?;
        Ok(Self { epoch, reserved, forgotten, forgotten_at, streams, sources })
    }
}

const META_MAGIC: [u8; 8] = *b"riacho\0m";
