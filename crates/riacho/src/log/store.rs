//! Files in one directory, written by one thread: segments, indexes, recovery, retention.
//!
//! What [`Store::append`] returned `Ok` for is durable and is read back byte for byte, or its damage is reported; never
//! anything else. Offsets are the caller's: they increase, and those it uses without an event here (events held in
//! memory) it reserves first, so that no offset is used twice. Nothing here waits for anything but the disk, and readers
//! never wait for the disk work of the writer.
//!
//! Files: `<base>.seg` (see `riacho_core::log::segment`), `<base>.idx` beside every segment but the last (see
//! `riacho_core::log::index`), `meta` (see `riacho_core::log::meta`), `lock`.

/// One directory: the real one, or one that fails as tests want.
pub mod disk;
/// Opening: what is there, what was torn, what is damaged.
pub(in crate::log) mod recover;
/// One segment and its index, as writer and readers share it.
pub(in crate::log) mod segment;
/// Reading events back.
mod read;
/// Retention: trimming streams, removing and rewriting segments.
mod retain;

pub use crate::config::Keep;
pub use read::{Page, Reader, Replayed};
pub use recover::{Recovered, RecoveredStream};
pub use retain::Maintained;
use segment::{HEADER_END, IndexHead, Step, Window, index_name, segment_base, segment_name};

use crate::error::{Error, ErrorKind};
pub use disk::{Disk, DiskFile, StdDisk};
use disk::{is_full, replace, write_all};
use indexmap::IndexMap;
use riacho_core::{
    event::Event,
    log::{
        index::{Place, SegmentIndex},
        meta::{Meta, MetaStream},
        segment::{Record, SegmentHeader, encode_frame},
    },
    name::StreamName,
    position::{Epoch, Offset},
    time::Millis,
};
use segment::{FileIndex, Files, Index, Segment};
use std::{
    any::Any,
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The bounds of a store.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Bytes of a segment's file. At most 2 GiB.
    pub segment_bytes_max: u64,
    /// Bytes of the frame of one append; it fits in a segment.
    pub frame_bytes_max: u64,
    /// Bytes of the newest records that [`Recovered::tail`] holds.
    pub tail_bytes_max: u64,
    /// How long answered idempotency keys are remembered.
    pub keys_age: Duration,
    /// How many answered idempotency keys [`Recovered::keys`] holds.
    pub keys_max: usize,
    /// How many streams there may be. When half as many have no events, those trimmed longest ago are forgotten.
    pub streams_max: usize,
}

/// The writing side of the log's files: one per directory, owned by one thread.
pub struct Store {
    shared: Arc<Shared>,
    settings: StoreSettings,
    /// The segments by base; the last takes the appends.
    slots: Vec<Slot>,
    /// Retention goes round them in the map's order.
    streams: IndexMap<StreamName, StreamState>,
    /// The next of them in this round.
    turn: usize,
    epoch: Epoch,
    forgotten: Offset,
    forgotten_at: Offset,
    sources: HashMap<Box<str>, Box<[u8]>>,
    reserved: Offset,
    last: Offset,
    time: Millis,
    /// Whether `meta` lacks something that removing a segment would lose.
    meta_stale: bool,
    state: State,
    salts: Salts,
    frame: Vec<u8>,
    maintained: Maintained,
    _lock: Box<dyn Any + Send + Sync>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The active segment was cut to what is durable, and has no room taken in advance.
    Cut,
    /// A write or sync failed: nobody knows what is durable beyond what was acknowledged.
    Failed,
}

/// What the readers and the writer share.
struct Shared {
    files: Files,
    list: RwLock<Arc<Vec<Arc<Segment>>>>,
    /// The offset of each stream's newest trimmed event, where it has one.
    trimmed: RwLock<HashMap<StreamName, Offset>>,
    /// Floors that reads already heed and the layer above does not know of yet.
    raised: Mutex<Vec<(StreamName, Offset)>>,
}

/// A segment and what of it still counts.
struct Slot {
    segment: Arc<Segment>,
    events: u64,
    bytes: u64,
    events_live: u64,
    bytes_live: u64,
    key_time_max: Millis,
}

/// What the writer knows of a stream.
#[derive(Clone, Default)]
struct StreamState {
    trimmed: Offset,
    newest: Offset,
    /// The oldest event that is not trimmed; 0 without.
    oldest: Offset,
    count: u64,
    bytes: u64,
    /// Events that are in files, trimmed ones with them.
    stored: u64,
    memory: bool,
    /// The offset from which on `memory` holds.
    durability_at: Offset,
    /// Whether it was named as a memory stream since the store was opened.
    announced: bool,
}

impl Store {
    /// Opens the log in `disk`, or makes one.
    ///
    /// A torn tail (a frame whose append never returned) is cut off and counted in [`Recovered::torn_bytes`]. `random`
    /// are two numbers that nobody can guess.
    ///
    /// # Errors
    /// `Unavailable` when another process has the directory; `Corrupt` when something is not what was written, or was
    /// written by another version; `Full` without room; `Failed` when the disk fails; `BadRequest` for settings that
    /// cannot work.
    pub fn open(
        disk: Arc<dyn Disk>,
        settings: StoreSettings,
        random: [u64; 2],
        now: Millis,
    ) -> Result<(Self, Recovered), Error> {
        recover::open(disk, settings, random, now)
    }

    /// Writes `records` as one frame; they are durable, all of them, when it returns.
    ///
    /// Events come in order of offset and time, after all before; none is of a memory stream.
    ///
    /// # Errors
    /// `BadRequest` when the records break that or are more than `frame_bytes_max`; `Full` without room (nothing was
    /// appended, the same may be tried again); `Failed` after the disk failed, and ever after until the log is opened
    /// again: whether the records are durable is then unknown.
    pub fn append(&mut self, records: &[Record]) -> Result<(), Error> {
        self.check_state()?;
        if records.is_empty() {
            return Ok(());
        }
        let first = self.check(records)?;
        let mut places = self.encode(records)?;
        let last = records.iter().filter_map(Record::offset).max().unwrap_or(0);
        if let Some(base) = self.roll_base(first, last)? {
            self.roll(base)?;
            places = self.encode(records)?;
        }
        self.write()?;
        self.committed(records, &places);
        Ok(())
    }

    /// Tries whether there is room again after `Full`.
    ///
    /// # Errors
    /// `Full` while there is none; `Failed` after the disk failed.
    pub fn probe(&mut self) -> Result<(), Error> {
        self.check_state()?;
        let disk = self.shared.files.disk.clone();
        // Taking what is left, if only for a moment, would hurt whoever shares the disk.
        if disk.room().is_ok_and(|room| room < self.settings.segment_bytes_max) {
            return Err(Error::new(ErrorKind::Full, "find room for a segment"));
        }
        if self.state == State::Cut {
            let segment = self.active().segment.clone();
            let bytes = self.settings.segment_bytes_max.max(segment.end());
            let name = segment.file_name();
            let file = self.shared.files.get(&name, segment.header.salt);
            file.and_then(|file| file.allocate(bytes)).map_err(|err| refused(&name, err))?;
            self.state = State::Open;
            return Ok(());
        }
        let tried = disk.create(PROBE_NAME).and_then(|file| file.allocate(self.settings.segment_bytes_max));
        // Best effort: it is removed at the next start too.
        let _ = disk.unlink(PROBE_NAME);
        tried.map_err(|err| refused(PROBE_NAME, err))
    }

    /// Ends the log in order: the next start continues at `next`, and each memory stream's newest offset is known.
    ///
    /// `next` is the first offset that was never used; a memory stream that is not in `memory` has lost all before it.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn close(mut self, next: Offset, memory: Vec<(StreamName, Offset)>) -> Result<(), Error> {
        self.check_state()?;
        if next <= self.last {
            return Err(Error::new(ErrorKind::BadRequest, "close the log before its last event"));
        }
        if self.meta_stale {
            self.write_meta()?;
        }
        let closed = [Record::Closed { next, memory }];
        let places = self.encode_any(&closed);
        self.write()?;
        self.committed(&closed, &places);
        Ok(())
    }

    /// A handle that reads the log from any thread.
    pub fn reader(&self) -> Reader {
        Reader::new(self.shared.clone())
    }

    /// The incarnation of the log.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The offset of the newest trimmed event of `stream`; 0 when it has lost none.
    pub fn trimmed(&self, stream: &StreamName) -> Offset {
        self.streams.get(stream).map_or(self.forgotten, |state| state.trimmed)
    }

    /// How many events are kept of `stream`, the bytes of their records, and the oldest's offset (0 without).
    pub fn kept(&self, stream: &StreamName) -> (u64, u64, Offset) {
        self.streams.get(stream).map_or((0, 0, 0), |state| (state.count, state.bytes, state.oldest))
    }

    /// Refuses records that would break the order of the log; says the offset of the first that has one.
    fn check(&self, records: &[Record]) -> Result<Option<Offset>, Error> {
        let bad = |why: String| Err(Error::new(ErrorKind::BadRequest, why));
        let (mut last, mut event_last, mut time, mut first) = (self.last, self.last, self.time, None);
        let mut durable: Vec<&StreamName> = Vec::new();
        for record in records {
            if let Record::Durability { stream, memory: false, .. } = record {
                durable.push(stream);
            }
            let Some(offset) = record.offset() else { continue };
            if offset <= self.last || offset < last {
                return bad(format!("append offset {offset} after {last}"));
            }
            last = offset;
            first = first.or(Some(offset));
            let Record::Event(event) = record else { continue };
            if event.offset <= event_last || event.time < time {
                return bad(format!("append event {offset} out of order"));
            }
            let memory = self.streams.get(&event.stream).is_some_and(|state| state.memory);
            if memory && !durable.contains(&&event.stream) {
                return bad(format!("append an event of {}, which lives in memory only", event.stream));
            }
            (event_last, time) = (event.offset, event.time);
        }
        if first.is_some_and(|first| last - first > u64::from(u32::MAX)) {
            return bad("append events too far apart".to_owned());
        }
        Ok(first)
    }

    fn encode(&mut self, records: &[Record]) -> Result<Vec<usize>, Error> {
        let places = self.encode_any(records);
        if self.frame.len() as u64 > self.settings.frame_bytes_max {
            let op = format!(
                "append {} bytes at once, more than {}",
                self.frame.len(),
                self.settings.frame_bytes_max
            );
            return Err(Error::new(ErrorKind::BadRequest, op));
        }
        Ok(places)
    }

    fn encode_any(&mut self, records: &[Record]) -> Vec<usize> {
        self.frame.clear();
        let salt = self.active().segment.header.salt;
        encode_frame(salt, records, &mut self.frame)
    }

    /// The base of the segment to be begun for the frame in `self.frame`, unless it goes to the active one.
    fn roll_base(&self, first: Option<Offset>, last: Offset) -> Result<Option<Offset>, Error> {
        let segment = &self.active().segment;
        let end = segment.end() + self.frame.len() as u64;
        let far = last.saturating_sub(segment.base()) > u64::from(u32::MAX);
        if end <= self.settings.segment_bytes_max && !far {
            return Ok(None);
        }
        // A segment without events has no successor's base to end at: it grows.
        let base = first.unwrap_or(self.last + 1);
        if base > segment.base() {
            return Ok(Some(base));
        }
        if end > u64::from(u32::MAX) {
            return Err(Error::new(ErrorKind::Failed, "append more to a segment that has no events"));
        }
        Ok(None)
    }

    fn roll(&mut self, base: Offset) -> Result<(), Error> {
        // The new segment comes first: if there is no room for it, nothing has changed.
        let slot = self.create_segment(base)?;
        let old = self.active().segment.clone();
        let name = old.file_name();
        let cut = self.shared.files.get(&name, old.header.salt).and_then(|file| {
            file.set_len(old.end())?;
            file.sync_data()
        });
        cut.map_err(|err| self.fail(format!("seal {name}"), err))?;
        self.slots.push(slot);
        self.state = State::Open;
        self.seal_index(self.slots.len() - 2)?;
        self.publish_list();
        Ok(())
    }

    /// Makes the segment that begins at `base`, durably.
    fn create_segment(&mut self, base: Offset) -> Result<Slot, Error> {
        let header = SegmentHeader {
            epoch: self.epoch,
            base,
            salt: self.salts.next(),
            reserved: self.reserved,
            created: self.time,
        };
        let disk = self.shared.files.disk.clone();
        let name = segment_name(base);
        self.shared.files.forget(&name);
        let written = disk.create(&name).and_then(|file| {
            file.allocate(self.settings.segment_bytes_max)?;
            write_all(&*file, &header.encode(), 0)?;
            Ok(file)
        });
        let file = match written {
            Ok(file) => file,
            Err(err) => {
                // Best effort: a segment without a header is removed at the next start too.
                let _ = disk.unlink(&name);
                return Err(refused(&name, err));
            }
        };
        let synced = file.sync_data().and_then(|()| disk.sync_dir());
        synced.map_err(|err| self.fail(format!("sync {name}"), err))?;
        let segment = Segment {
            header,
            index: Index::Memory(RwLock::default()),
            end: AtomicU64::new(HEADER_END),
            last: AtomicU64::new(0),
        };
        Ok(Slot::new(segment, 0))
    }

    /// Writes the index of the sealed segment `number`; without room it stays in memory for now.
    fn seal_index(&mut self, number: usize) -> Result<(), Error> {
        let Some(slot) = self.slots.get(number) else { return Ok(()) };
        let old = slot.segment.clone();
        let Some(bytes) =
            old.memory().map(|index| index.encode(old.header.salt, old.base(), old.end(), self.reserved))
        else {
            return Ok(());
        };
        let name = index_name(old.base());
        let disk = self.shared.files.disk.clone();
        match replace(&*disk, &name, &bytes) {
            Ok(()) => {}
            Err(err) if is_full(&err) => {
                tracing::warn!(file = name, error = %err, "no room for an index; kept in memory");
                return Ok(());
            }
            Err(err) => return Err(self.fail(format!("write {name}"), err)),
        }
        self.shared.files.forget(&name);
        let index = load_index(&*disk, &name)?;
        let sealed = Segment {
            header: old.header,
            index: Index::File(index),
            end: AtomicU64::new(old.end()),
            last: AtomicU64::new(old.last()),
        };
        if let Some(slot) = self.slots.get_mut(number) {
            slot.segment = Arc::new(sealed);
        }
        Ok(())
    }

    /// Writes `self.frame` at the end of the active segment and makes it durable.
    fn write(&mut self) -> Result<(), Error> {
        let segment = self.active().segment.clone();
        let name = segment.file_name();
        let end = segment.end();
        let file = match self.shared.files.get(&name, segment.header.salt) {
            Ok(file) => file,
            Err(err) => return Err(Error::new(ErrorKind::Unavailable, format!("open {name}")).caused_by(err)),
        };
        match write_all(&*file, &self.frame, end) {
            Ok(()) => {}
            Err(err) if is_full(&err) => {
                // What was written of the frame must go, or it would lie behind a shorter one.
                if let Err(err) = file.set_len(end) {
                    return Err(self.fail(format!("cut {name}"), err));
                }
                self.state = State::Cut;
                return Err(refused(&name, err));
            }
            Err(err) => return Err(self.fail(format!("write {name}"), err)),
        }
        // Never tried again: after a failure the kernel may count pages as clean that never reached the disk.
        file.sync_data().map_err(|err| self.fail(format!("sync {name}"), err))
    }

    /// Takes note of records that are durable; `self.frame` holds them.
    fn committed(&mut self, records: &[Record], places: &[usize]) {
        let segment = self.active().segment.clone();
        let frame = segment.end();
        let end = frame + self.frame.len() as u64;
        // Before the index: a reader that finds a posting must find its bytes.
        segment.end.store(end, Ordering::Release);
        let Index::Memory(index) = &segment.index else { return };
        {
            let mut index = index.write().unwrap_or_else(PoisonError::into_inner);
            let ends = places.iter().copied().skip(1).chain([self.frame.len()]);
            for ((record, at), end) in records.iter().zip(places).zip(ends) {
                let place =
                    Place { frame: frame as u32, at: (frame + *at as u64) as u32, bytes: (end - at) as u32 };
                add_record(&mut index, segment.base(), place, record);
            }
            segment.last.store(index.last, Ordering::Release);
        }
        let ends = places.iter().copied().skip(1).chain([self.frame.len()]);
        let sizes: Vec<u64> = places.iter().zip(ends).map(|(at, end)| (end - at) as u64).collect();
        for (record, bytes) in records.iter().zip(sizes) {
            self.note(record, bytes);
        }
    }

    fn note(&mut self, record: &Record, bytes: u64) {
        self.last = self.last.max(record.offset().unwrap_or(0));
        match record {
            Record::Event(event) => {
                self.time = event.time;
                let state = self.stream(&event.stream);
                state.newest = event.offset;
                if state.count == 0 {
                    state.oldest = event.offset;
                }
                state.count += 1;
                state.stored += 1;
                state.bytes += bytes;
                if let Some(slot) = self.slots.last_mut() {
                    slot.events += 1;
                    slot.bytes += bytes;
                    slot.events_live += 1;
                    slot.bytes_live += bytes;
                }
            }
            Record::SourcePosition { source, position } => {
                if position.is_empty() {
                    self.sources.remove(source);
                } else {
                    self.sources.insert(source.clone(), position.clone());
                }
                self.meta_stale = true;
            }
            Record::Key(key) => {
                if let Some(slot) = self.slots.last_mut() {
                    slot.key_time_max = slot.key_time_max.max(key.time);
                }
            }
            Record::Reserve { upto } => self.reserved = self.reserved.max(*upto),
            Record::Emptied { stream, upto, .. } => self.emptied(stream, *upto),
            Record::Durability { stream, memory, at } => {
                let state = self.stream(stream);
                state.memory = *memory;
                state.durability_at = *at;
                state.announced = *memory;
                self.meta_stale = true;
            }
            Record::Closed { next, .. } => self.reserved = next - 1,
        }
    }

    /// The state of `name`, which is made where it is not known.
    fn stream(&mut self, name: &StreamName) -> &mut StreamState {
        if !self.streams.contains_key(name) {
            // It may be one of the forgotten.
            let state = StreamState { trimmed: self.forgotten, ..StreamState::default() };
            if self.forgotten > 0 {
                self.shared.set_trimmed(name, self.forgotten);
            }
            self.streams.insert(name.clone(), state);
        }
        self.streams.get_mut(name).expect("it was put there if it was missing")
    }

    fn write_meta(&mut self) -> Result<(), Error> {
        let streams = self.streams.iter().filter(|(_, s)| s.trimmed > 0 || s.durability_at > 0);
        let streams = streams.map(|(name, state)| MetaStream {
            name: name.clone(),
            trimmed: state.trimmed,
            memory: state.memory,
            durability_at: state.durability_at,
        });
        let meta = Meta {
            epoch: self.epoch,
            reserved: self.reserved.max(self.last),
            forgotten: self.forgotten,
            forgotten_at: self.forgotten_at,
            streams: streams.collect(),
            sources: self.sources.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        };
        let disk = self.shared.files.disk.clone();
        match replace(&*disk, META_NAME, &meta.encode()) {
            Ok(()) => {
                self.meta_stale = false;
                Ok(())
            }
            Err(err) if is_full(&err) => Err(refused(META_NAME, err)),
            Err(err) => Err(self.fail(format!("write {META_NAME}"), err)),
        }
    }

    fn publish_list(&self) {
        let list = self.slots.iter().map(|slot| slot.segment.clone()).collect();
        *self.shared.list.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(list);
    }

    fn active(&self) -> &Slot {
        self.slots.last().expect("a store has an active segment")
    }

    fn check_state(&self) -> Result<(), Error> {
        if self.state == State::Failed {
            let op = "append: the disk failed before; the log must be opened again";
            return Err(Error::new(ErrorKind::Failed, op));
        }
        Ok(())
    }

    fn fail(&mut self, op: String, err: io::Error) -> Error {
        self.state = State::Failed;
        Error::new(ErrorKind::Failed, op).caused_by(err)
    }
}

impl Slot {
    fn new(segment: Segment, key_time_max: Millis) -> Self {
        let segment = Arc::new(segment);
        Self { segment, events: 0, bytes: 0, events_live: 0, bytes_live: 0, key_time_max }
    }
}

impl Shared {
    fn raised(&self) -> MutexGuard<'_, Vec<(StreamName, Offset)>> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_trimmed(&self, name: &StreamName, trimmed: Offset) {
        let mut map = self.trimmed.write().unwrap_or_else(PoisonError::into_inner);
        map.insert(name.clone(), trimmed);
    }
}

/// Adds one record of a segment to its index.
fn add_record(index: &mut SegmentIndex, base: Offset, place: Place, record: &Record) {
    match record {
        Record::Event(Event { offset, time, stream, .. }) => {
            index.add_event(base, place, *offset, *time, stream);
        }
        other => index.add_other(other),
    }
}

/// Takes the index in the file `name`, all of which must be as it was written.
fn load_index(disk: &dyn Disk, name: &str) -> Result<FileIndex, Error> {
    let file = disk.open(name).map_err(|err| segment::unreadable(name, err))?;
    let read = |err| segment::unreadable(name, err);
    let bad = |damage| segment::damaged(name, 0, damage);
    let head = IndexHead::read(&*file).map_err(read)?.map_err(bad)?;
    let directory = head.directory(&*file).map_err(read)?.map_err(bad)?;
    Ok(FileIndex::new(head, &directory))
}

/// The error for a file that could not be made or grown: `Full` when that is why.
fn refused(name: &str, err: io::Error) -> Error {
    let kind = if is_full(&err) { ErrorKind::Full } else { ErrorKind::Unavailable };
    Error::new(kind, format!("make room in {name}")).caused_by(err)
}

/// Numbers that nobody can guess, from one that nobody can guess.
struct Salts(u64);

impl Salts {
    fn next(&mut self) -> u32 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) as u32
    }
}

/// The name of the file that outlives the segments.
pub(in crate::log) const META_NAME: &str = "meta";

const PROBE_NAME: &str = "probe.tmp";
