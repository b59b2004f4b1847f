//! One segment, as the writer and the readers share it: its files and its index, in memory or on the disk.

use super::disk::{Disk, DiskFile, read_full};
use crate::error::{Error, ErrorKind};
use riacho_core::{
    log::{
        index::{
            BLOCK_BYTES, Fixed, IndexHeader, PAYLOAD_BYTES, Posting, SegmentIndex, Sparse, StreamEntry,
            check_block, decode_name, stream_hash,
        },
        segment::{
            Damage, FRAME_BYTES, FrameHeader, RECORD_BYTES, RawRecord, Record, Records, SegmentHeader,
        },
    },
    name::StreamName,
    position::Offset,
    time::Millis,
};
use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
};

/// One segment.
pub(in crate::log) struct Segment {
    pub(in crate::log) header: SegmentHeader,
    pub(in crate::log) index: Index,
    /// How much of the file is durable.
    pub(in crate::log) end: AtomicU64,
    /// The greatest durable offset of an event or row; 0 when there is none.
    pub(in crate::log) last: AtomicU64,
}

/// Where a segment's index is.
pub(in crate::log) enum Index {
    /// In memory: the segment takes events, or there was no room to write its index.
    Memory(RwLock<SegmentIndex>),
    /// In a file beside it.
    File(FileIndex),
}

/// The part of an index file that is held in memory.
pub(in crate::log) struct FileIndex {
    pub(in crate::log) header: IndexHeader,
    pub(in crate::log) sparse: Vec<Sparse>,
    /// The first hash of each block of the directory.
    fences: Vec<u64>,
    /// The first segments of all names, where they are few.
    heads: Option<BTreeSet<Box<str>>>,
}

/// What an index file holds for all streams together.
pub(in crate::log) struct IndexHead {
    pub(in crate::log) header: IndexHeader,
    pub(in crate::log) sparse: Vec<Sparse>,
    pub(in crate::log) kept: Vec<Record>,
}

impl Segment {
    pub(in crate::log) fn base(&self) -> Offset {
        self.header.base
    }

    pub(in crate::log) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(in crate::log) fn last(&self) -> Offset {
        self.last.load(Ordering::Acquire)
    }

    /// The newest change of a row, or emptying of a table.
    pub(in crate::log) fn last_row(&self) -> Offset {
        match &self.index {
            Index::Memory(_) => self.memory().map_or(0, |index| index.last_row),
            Index::File(index) => index.header.last_row,
        }
    }

    pub(in crate::log) fn file_name(&self) -> String {
        segment_name(self.header.base)
    }

    pub(in crate::log) fn memory(&self) -> Option<RwLockReadGuard<'_, SegmentIndex>> {
        match &self.index {
            Index::Memory(index) => Some(index.read().unwrap_or_else(PoisonError::into_inner)),
            Index::File(_) => None,
        }
    }

    /// The postings of `stream`, unless it has no event here.
    pub(in crate::log) fn postings<'a>(
        &'a self,
        files: &'a Files,
        stream: &'a StreamName,
    ) -> Result<Option<Postings<'a>>, Error> {
        let (start, count) = match &self.index {
            Index::Memory(index) => {
                let index = index.read().unwrap_or_else(PoisonError::into_inner);
                match index.streams.get(stream) {
                    Some(postings) => (0, postings.len() as u32),
                    None => return Ok(None),
                }
            }
            Index::File(index) => match index.find(self, files, stream)? {
                Some(entry) => (entry.postings, entry.count),
                None => return Ok(None),
            },
        };
        Ok(Some(Postings { segment: self, files, stream, start, count }))
    }

    /// Where a scan for events after `after` begins.
    pub(in crate::log) fn scan_from(&self, after: Offset) -> u64 {
        let base = self.base();
        let find = |sparse: &[Sparse]| {
            let i = sparse.partition_point(|s| base + u64::from(s.delta) <= after.saturating_add(1));
            i.checked_sub(1).and_then(|i| sparse.get(i)).map(|s| u64::from(s.at))
        };
        let at = match &self.index {
            Index::Memory(_) => self.memory().and_then(|index| find(&index.sparse)),
            Index::File(index) => find(&index.sparse),
        };
        at.unwrap_or(HEADER_END)
    }

    /// The frames that end about at a multiple of the sparse distance: `(first offset, place, time)`, oldest first.
    pub(in crate::log) fn sparse(&self) -> Vec<Sparse> {
        match &self.index {
            Index::Memory(_) => self.memory().map(|index| index.sparse.clone()).unwrap_or_default(),
            Index::File(index) => index.sparse.clone(),
        }
    }

    /// The times of the first and the last event; none without events.
    pub(in crate::log) fn times(&self) -> Option<(Millis, Millis)> {
        match &self.index {
            Index::Memory(_) => {
                self.memory().filter(|i| i.events > 0).map(|index| (index.time_min, index.time_max))
            }
            Index::File(index) => {
                (index.header.events > 0).then_some((index.header.time_min, index.header.time_max))
            }
        }
    }

    /// Whether the segment may hold a name that begins with the segments before the first `*` of a pattern.
    pub(in crate::log) fn may_match(&self, pattern: &str) -> bool {
        let Index::File(FileIndex { heads: Some(heads), .. }) = &self.index else { return true };
        let head = pattern.split('/').next().unwrap_or_default();
        head.contains('*') || heads.contains(head)
    }
}

/// The postings of one stream in one segment.
pub(in crate::log) struct Postings<'a> {
    segment: &'a Segment,
    files: &'a Files,
    stream: &'a StreamName,
    start: u32,
    /// How many there are.
    pub(in crate::log) count: u32,
}

impl Postings<'_> {
    /// How many postings come before the first that is not `before`; those that are come first.
    pub(in crate::log) fn partition(&self, before: impl Fn(&Posting) -> bool) -> Result<u32, Error> {
        if let Some(index) = self.segment.memory() {
            let postings = index.streams.get(self.stream).map(Vec::as_slice).unwrap_or_default();
            let postings = postings.get(..self.count as usize).unwrap_or_default();
            return Ok(postings.partition_point(before) as u32);
        }
        // Among blocks first, then within one.
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let (from, block) = self.block(middle)?;
            let n = block.partition_point(&before) as u32;
            if n == 0 {
                high = from;
            } else if n < block.len() as u32 {
                return Ok(from + n);
            } else {
                low = from + n;
            }
        }
        Ok(low)
    }

    /// The postings from number `from` on, at most `max` and at least one where there is one.
    pub(in crate::log) fn range(&self, from: u32, max: usize) -> Result<Vec<Posting>, Error> {
        let end = self.count.min(from.saturating_add(u32::try_from(max).unwrap_or(u32::MAX)));
        if let Some(index) = self.segment.memory() {
            let postings = index.streams.get(self.stream).map(Vec::as_slice).unwrap_or_default();
            return Ok(postings.get(from as usize..end as usize).unwrap_or_default().to_vec());
        }
        let mut out = Vec::new();
        let mut next = from;
        while next < end {
            let (first, block) = self.block(next)?;
            let block = block.get((next - first) as usize..).unwrap_or_default();
            out.extend(block.iter().take((end - next) as usize));
            next = first + (next - first) + block.len() as u32;
        }
        Ok(out)
    }

    pub(in crate::log) fn get(&self, number: u32) -> Result<Posting, Error> {
        self.range(number, 1)?.first().copied().ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, format!("find posting {number} of {}", self.stream))
        })
    }

    /// The part of one block that belongs to the stream and holds posting `number`, and the number of its first.
    fn block(&self, number: u32) -> Result<(u32, Vec<Posting>), Error> {
        let Index::File(index) = &self.segment.index else { return Ok((0, Vec::new())) };
        let [.., postings, _] = index.header.areas();
        let all = self.start + number;
        let block_first = all / Posting::PER_BLOCK * Posting::PER_BLOCK;
        let first = block_first.max(self.start);
        let end = (block_first + Posting::PER_BLOCK).min(self.start + self.count);
        let block = index.block(self.segment, self.files, postings + all / Posting::PER_BLOCK)?;
        let skip = (first - block_first) as usize;
        let block = fixed(&block, skip, (end - first) as usize)
            .map_err(|damage| damaged(&index_name(self.segment.base()), 0, damage))?;
        Ok((first - self.start, block))
    }
}

impl FileIndex {
    pub(in crate::log) fn new(head: IndexHead, directory: &[(StreamEntry, StreamName)]) -> Self {
        let fences = directory.iter().step_by(StreamEntry::PER_BLOCK as usize).map(|(e, _)| e.hash).collect();
        let mut heads = BTreeSet::new();
        for (_, name) in directory {
            let head = name.as_str().split('/').next().unwrap_or_default();
            if heads.len() <= HEADS_MAX && !heads.contains(head) {
                heads.insert(head.into());
            }
        }
        let heads = (heads.len() <= HEADS_MAX).then_some(heads);
        Self { header: head.header, sparse: head.sparse, fences, heads }
    }

    fn find(
        &self,
        segment: &Segment,
        files: &Files,
        stream: &StreamName,
    ) -> Result<Option<StreamEntry>, Error> {
        let hash = stream_hash(self.header.salt, stream.as_str());
        let [_, _, entries, _, _, _] = self.header.areas();
        // Entries of equal hash may begin at the end of the block before the first fence that is not smaller.
        let mut number = (self.fences.partition_point(|fence| *fence < hash) as u32).saturating_sub(1);
        while (number as usize) < self.fences.len() {
            let rest = self.header.entries - number * StreamEntry::PER_BLOCK;
            let block = self.block(segment, files, entries + number)?;
            let block: Vec<StreamEntry> = fixed(&block, 0, rest.min(StreamEntry::PER_BLOCK) as usize)
                .map_err(|damage| damaged(&index_name(segment.base()), 0, damage))?;
            for entry in block.iter().filter(|entry| entry.hash == hash) {
                if self.name(segment, files, entry.name)? == *stream {
                    return Ok(Some(*entry));
                }
            }
            if block.last().is_none_or(|entry| entry.hash > hash) {
                break;
            }
            number += 1;
        }
        Ok(None)
    }

    fn name(&self, segment: &Segment, files: &Files, at: u32) -> Result<StreamName, Error> {
        let [_, _, _, names, _, _] = self.header.areas();
        let mut bytes = Vec::new();
        let mut number = at / PAYLOAD_BYTES as u32;
        let skip = at as usize % PAYLOAD_BYTES;
        loop {
            bytes.extend_from_slice(&self.block(segment, files, names + number)?);
            match decode_name(bytes.get(skip..).unwrap_or_default()) {
                Err(Damage::Short) if bytes.len() <= 2 * PAYLOAD_BYTES => number += 1,
                other => return other.map_err(|damage| damaged(&index_name(segment.base()), 0, damage)),
            }
        }
    }

    /// The payload of one block, checked.
    fn block(&self, segment: &Segment, files: &Files, number: u32) -> Result<Vec<u8>, Error> {
        let name = index_name(segment.base());
        let at = u64::from(number) * BLOCK_BYTES as u64;
        let file = files.get(&name, self.header.salt).map_err(|err| unreadable(&name, err))?;
        let mut block = vec![0; BLOCK_BYTES];
        let n = read_full(&*file, &mut block, at).map_err(|err| unreadable(&name, err))?;
        block.truncate(n);
        check_block(self.header.salt, number, &block).map_err(|damage| damaged(&name, at, damage))?;
        block.truncate(PAYLOAD_BYTES);
        Ok(block)
    }
}

impl IndexHead {
    /// Takes the head of an index file, whose length must fit.
    pub(in crate::log) fn read(file: &dyn DiskFile) -> io::Result<Result<Self, Damage>> {
        let mut first = vec![0; BLOCK_BYTES];
        let n = read_full(file, &mut first, 0)?;
        first.truncate(n);
        let header = match IndexHeader::decode(&first) {
            Ok(header) => header,
            Err(damage) => return Ok(Err(damage)),
        };
        let [sparse, kept, entries, .., end] = header.areas();
        if file.len()? != u64::from(end) * BLOCK_BYTES as u64 {
            return Ok(Err(Damage::Short));
        }
        let area = read_area(file, &header, sparse, entries)?;
        Ok(area.and_then(|blocks| {
            let (sparse, kept) = blocks.split_at((kept - sparse) as usize);
            let sparse = fixed_area(sparse, header.sparse)?;
            let kept = kept.concat();
            let mut rest = kept.get(..header.kept_bytes as usize).ok_or(Damage::Short)?;
            let mut kept = Vec::new();
            while !rest.is_empty() {
                let raw = RawRecord::decode(header.salt, rest)?;
                kept.push(raw.record()?);
                rest = rest.get(raw.bytes()..).ok_or(Damage::Short)?;
            }
            Ok(Self { header, sparse, kept })
        }))
    }

    /// Takes the directory.
    pub(in crate::log) fn directory(
        &self,
        file: &dyn DiskFile,
    ) -> io::Result<Result<Vec<(StreamEntry, StreamName)>, Damage>> {
        let [_, _, entries, names, postings, _] = self.header.areas();
        let area = read_area(file, &self.header, entries, postings)?;
        Ok(area.and_then(|blocks| {
            let (entries, names) = blocks.split_at((names - entries) as usize);
            let names = names.concat();
            let entries: Vec<StreamEntry> = fixed_area(entries, self.header.entries)?;
            let name =
                |entry: &StreamEntry| decode_name(names.get(entry.name as usize..).ok_or(Damage::Short)?);
            entries.into_iter().map(|entry| Ok((entry, name(&entry)?))).collect()
        }))
    }
}

/// Checks every block of an index file's postings.
pub(in crate::log) fn check_postings(
    file: &dyn DiskFile,
    header: &IndexHeader,
) -> io::Result<Result<Vec<Posting>, Damage>> {
    let [.., postings, end] = header.areas();
    Ok(read_area(file, header, postings, end)?.and_then(|blocks| fixed_area(&blocks, header.postings)))
}

/// The payloads of the blocks from `from` to before `to`, checked.
fn read_area(
    file: &dyn DiskFile,
    header: &IndexHeader,
    from: u32,
    to: u32,
) -> io::Result<Result<Vec<Vec<u8>>, Damage>> {
    let mut bytes = vec![0; (to - from) as usize * BLOCK_BYTES];
    let n = read_full(file, &mut bytes, u64::from(from) * BLOCK_BYTES as u64)?;
    bytes.truncate(n);
    let blocks = bytes.chunks(BLOCK_BYTES).zip(from..);
    let blocks: Result<Vec<_>, _> =
        blocks.map(|(block, number)| check_block(header.salt, number, block).map(<[u8]>::to_vec)).collect();
    Ok(blocks.and_then(|b| if b.len() == (to - from) as usize { Ok(b) } else { Err(Damage::Short) }))
}

fn fixed_area<T: Fixed>(blocks: &[Vec<u8>], count: u32) -> Result<Vec<T>, Damage> {
    let mut out = Vec::with_capacity(count as usize);
    for block in blocks {
        let n = (count as usize - out.len()).min(T::PER_BLOCK as usize);
        out.extend(fixed::<T>(block, 0, n)?);
    }
    Ok(out)
}

fn fixed<T: Fixed>(block: &[u8], skip: usize, count: usize) -> Result<Vec<T>, Damage> {
    let entries = block.chunks_exact(T::BYTES).skip(skip).take(count);
    let entries: Vec<T> = entries.map(T::decode).collect::<Result<_, _>>()?;
    if entries.len() == count { Ok(entries) } else { Err(Damage::Short) }
}

/// The newest time of an answered key among `records`; 0 when there is none.
pub(in crate::log) fn key_time_max(records: &[Record]) -> Millis {
    let times = records.iter().map(|record| match record {
        Record::Key(key) => key.time,
        _ => 0,
    });
    times.max().unwrap_or(0)
}

/// A part of a file in memory, which moves on as it is read.
pub(in crate::log) struct Window {
    file: Arc<dyn DiskFile>,
    name: String,
    salt: u32,
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

/// What a scan meets at one place.
pub(in crate::log) enum Step<'a> {
    /// A whole frame: where it begins, and its records.
    Frame(u64, FrameHeader, Records<'a>),
    /// The end.
    End,
    /// Something else.
    Damaged(Damage),
}

impl Window {
    /// The bytes of a segment's file before `end`.
    pub(in crate::log) fn new(file: Arc<dyn DiskFile>, header: &SegmentHeader, end: u64) -> Self {
        let name = segment_name(header.base);
        Self { file, name, salt: header.salt, end, start: 0, bytes: Vec::new() }
    }

    /// The frame at `at`.
    pub(in crate::log) fn frame(&mut self, at: u64) -> Result<Step<'_>, Error> {
        if at >= self.end {
            return Ok(Step::End);
        }
        let (salt, end) = (self.salt, self.end);
        let Some(bytes) = self.bytes(at, FRAME_BYTES, SCAN_AHEAD_BYTES)? else {
            return Ok(Step::Damaged(Damage::Short));
        };
        let header = match FrameHeader::decode(salt, bytes) {
            Ok(header) => header,
            Err(damage) => return Ok(Step::Damaged(damage)),
        };
        if header.frame_bytes() > end - at {
            return Ok(Step::Damaged(Damage::Short));
        }
        let records = self.bytes(at + FRAME_BYTES as u64, header.bytes as usize, SCAN_AHEAD_BYTES)?;
        Ok(match records.ok_or(Damage::Short).and_then(|bytes| header.records(salt, bytes)) {
            Ok(records) => Step::Frame(at, header, records),
            Err(damage) => Step::Damaged(damage),
        })
    }

    /// The record at `at`, checked; reads `ahead` bytes beyond.
    pub(in crate::log) fn record(&mut self, at: u64, ahead: usize) -> Result<RawRecord<'_>, Error> {
        let (salt, name) = (self.salt, self.name.clone());
        let corrupt = |damage| damaged(&name, at, damage);
        let head = self.bytes(at, RECORD_BYTES, ahead)?.ok_or(corrupt(Damage::Short))?;
        let len = head.first_chunk().map_or(0, |len| u32::from_le_bytes(*len));
        let bytes = self.bytes(at, RECORD_BYTES + len as usize, ahead)?.ok_or(corrupt(Damage::Short))?;
        RawRecord::decode(salt, bytes).map_err(corrupt)
    }

    /// `len` bytes from `at`, unless the segment ends before.
    pub(in crate::log) fn bytes(
        &mut self,
        at: u64,
        len: usize,
        ahead: usize,
    ) -> Result<Option<&[u8]>, Error> {
        let left = self.end.saturating_sub(at);
        if len as u64 > left {
            return Ok(None);
        }
        let inside = at >= self.start && at + len as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            let want = usize::try_from((len.max(ahead) as u64).min(left)).unwrap_or(len);
            self.bytes.resize(want, 0);
            self.start = at;
            let n = read_full(&*self.file, &mut self.bytes, at).map_err(|err| unreadable(&self.name, err))?;
            self.bytes.truncate(n);
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(from..from.saturating_add(len)))
    }
}

/// Open files, the least recently used of which are closed.
pub(in crate::log) struct Files {
    pub(in crate::log) disk: Arc<dyn Disk>,
    open: Mutex<Vec<OpenFile>>,
}

/// A file's name, the salt of its segment, and the file.
type OpenFile = (String, u32, Arc<dyn DiskFile>);

impl Files {
    pub(in crate::log) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, open: Mutex::default() }
    }

    /// The file `name` of the segment with `salt`. A rewritten segment has another salt, so its old file is not taken
    /// for the new one while it is open.
    pub(in crate::log) fn get(&self, name: &str, salt: u32) -> io::Result<Arc<dyn DiskFile>> {
        {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(i) = open.iter().rposition(|(n, s, _)| *s == salt && n == name) {
                let found = open.remove(i);
                let file = found.2.clone();
                open.push(found);
                return Ok(file);
            }
        }
        // Opened outside the lock: a slow disk must not stop readers of other files.
        let file = self.disk.open(name)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= FILES_OPEN_MAX {
            open.remove(0);
        }
        open.push((name.to_owned(), salt, file.clone()));
        Ok(file)
    }

    /// Closes the files of that name, as soon as nobody reads them.
    pub(in crate::log) fn forget(&self, name: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|(n, _, _)| n != name);
    }
}

/// The name of the segment that begins at `base`.
pub(in crate::log) fn segment_name(base: Offset) -> String {
    format!("{base:020}.seg")
}

/// The name of its index.
pub(in crate::log) fn index_name(base: Offset) -> String {
    format!("{base:020}.idx")
}

/// The base that a segment's file name tells.
pub(in crate::log) fn segment_base(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(".seg").filter(|d| d.len() == 20)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

pub(in crate::log) fn unreadable(name: &str, err: io::Error) -> Error {
    Error::new(ErrorKind::Failed, format!("read {name}")).caused_by(err)
}

pub(in crate::log) fn damaged(name: &str, at: u64, damage: Damage) -> Error {
    let op = format!("read {name} at byte {at}; see `riacho log verify` and `riacho log repair`");
    Error::new(ErrorKind::Corrupt, op).caused_by(damage)
}

/// Where the first frame of a segment begins.
pub(in crate::log) const HEADER_END: u64 = riacho_core::log::segment::HEADER_BYTES as u64;

const SCAN_AHEAD_BYTES: usize = 256 * 1024;
const FILES_OPEN_MAX: usize = 128;
const HEADS_MAX: usize = 64;
