//! Opening: what is there, what was torn, what is damaged.
//!
//! Only the last segment is scanned; the others are known by their indexes, which are made anew where they are missing
//! or broken.

use super::{
    HEADER_END, IndexHead, META_NAME, Maintained, Salts, Shared, Slot, State, Step, Store, StoreSettings,
    StreamState, Window, add_record,
    disk::{Disk, DiskFile, TMP_SUFFIX, is_full, read_full, replace},
    index_name,
    segment::{FileIndex, Files, Index, Segment, damaged, key_time_max, unreadable},
    segment_base, segment_name,
};
use crate::error::{Error, ErrorKind};
use indexmap::IndexMap;
use riacho_core::{
    event::Event,
    log::{
        index::{Place, Posting, SegmentIndex},
        meta::Meta,
        segment::{AnsweredKey, Damage, HEADER_BYTES, Record, SegmentHeader, frame_magic},
    },
    name::StreamName,
    position::{Epoch, Offset},
    time::Millis,
};
use std::{
    collections::HashMap,
    io,
    num::NonZeroU64,
    sync::{Arc, Mutex, RwLock, atomic::AtomicU64},
};

/// What the log held when it was opened.
#[derive(Debug)]
pub struct Recovered {
    /// The incarnation of the log.
    pub epoch: Epoch,
    /// The first offset never used: after the last event, and after all that was reserved unless the log was closed in
    /// order.
    pub next: Offset,
    /// The streams that are known.
    pub streams: Vec<RecoveredStream>,
    /// What counts as trimmed for every stream that is not known.
    pub forgotten: Offset,
    /// The answered idempotency keys, oldest first.
    pub keys: Vec<AnsweredKey>,
    /// How far each source has been read.
    pub sources: Vec<(Box<str>, Box<[u8]>)>,
    /// The newest events of the log, by offset, without those that are trimmed.
    pub tail: Vec<Event>,
    /// Every durable event after this offset that is not trimmed is in `tail`.
    pub tail_base: Offset,
    /// The time of the newest event; 0 when there is none.
    pub time: Millis,
    /// Bytes of a frame at the end whose append did not finish, or that the disk lost; they were cut off.
    pub torn_bytes: u64,
}

/// What the log held of one stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveredStream {
    /// Its name.
    pub name: StreamName,
    /// Whether its events live in memory only.
    pub memory: bool,
    /// The offset of its newest event that the log knows of; 0 when there is none.
    pub newest: Offset,
    /// How many events it has.
    pub count: u64,
    /// The bytes of their records.
    pub bytes: u64,
    /// The offset of its oldest event; 0 when it has none.
    pub oldest: Offset,
    /// The offset of its newest trimmed event; 0 when it has lost none. A cursor on the stream is good from here on.
    pub trimmed: Offset,
}

pub(super) fn open(
    disk: Arc<dyn Disk>,
    settings: StoreSettings,
    random: [u64; 2],
    now: Millis,
) -> Result<(Store, Recovered), Error> {
    let frame_fits = settings.frame_bytes_max.saturating_add(HEADER_END) <= settings.segment_bytes_max;
    if !frame_fits || settings.segment_bytes_max > SEGMENT_BYTES_MAX {
        let op = "use these log limits: a frame must fit in a segment, and a segment in 2 GiB";
        return Err(Error::new(ErrorKind::BadRequest, op));
    }
    let lock = disk.lock().map_err(|err| {
        let op = format!("lock {}: another process has it open", disk.label());
        Error::new(ErrorKind::Unavailable, op).caused_by(err)
    })?;
    let mut names = list(&*disk)?;
    // An index without its segment is left when the power goes during a removal.
    let orphan = |name: &str| {
        let segment = name.strip_suffix(".idx").map(|base| format!("{base}.seg"));
        segment.is_some_and(|segment| segment_base(&segment).is_some() && !names.contains(&segment))
    };
    for name in names.iter().filter(|name| name.ends_with(TMP_SUFFIX) || orphan(name)) {
        disk.unlink(name).map_err(|err| failed(format!("remove {name}"), err))?;
    }
    names.retain(|name| !name.ends_with(TMP_SUFFIX));
    let mut bases: Vec<Offset> = names.iter().filter_map(|name| segment_base(name)).collect();
    bases.sort_unstable();
    let [epoch, salt] = random;
    let meta = match read_meta(&*disk, &names)? {
        Some(meta) => meta,
        None if bases.is_empty() => new_meta(&*disk, epoch)?,
        None => {
            let op = format!("read {META_NAME}, which is missing; see `riacho log repair`");
            return Err(Error::new(ErrorKind::Corrupt, op));
        }
    };
    let mut store = Store {
        shared: Arc::new(Shared {
            files: Files::new(disk.clone()),
            list: RwLock::default(),
            trimmed: RwLock::default(),
            raised: Mutex::default(),
        }),
        settings,
        slots: Vec::new(),
        streams: IndexMap::new(),
        turn: 0,
        epoch: meta.epoch,
        forgotten: meta.forgotten,
        forgotten_at: meta.forgotten_at,
        sources: meta.sources.iter().cloned().collect(),
        reserved: meta.reserved,
        last: 0,
        time: now,
        meta_stale: false,
        state: State::Open,
        salts: Salts(salt),
        frame: Vec::new(),
        maintained: Maintained::default(),
        _lock: lock,
    };
    let mut fold = Fold::new(&meta);
    let torn_bytes = store.load_segments(&mut bases, &mut fold)?;
    store.settle(&meta, &fold)?;
    if torn_bytes > 0 {
        // A frame that was acknowledged and damaged since looks the same as one that never was: readers may have seen
        // its offsets, so they are not given again.
        let upto = store.reserved.max(store.last) + TORN_OFFSETS;
        if let Err(err) = store.append(&[Record::Reserve { upto }]) {
            tracing::warn!(error = err.chain(), "offsets of the torn end are skipped in this run only");
        }
        store.reserved = upto;
    }
    let (tail, tail_base) = store.tail()?;
    let mut keys = fold.keys;
    let oldest = now.saturating_sub(store.settings.keys_age.as_millis() as u64);
    keys.retain(|key| key.time >= oldest);
    keys.drain(..keys.len().saturating_sub(store.settings.keys_max));
    let streams = store.streams.iter().map(|(name, state)| RecoveredStream {
        name: name.clone(),
        memory: state.memory,
        newest: state.newest.max(state.trimmed),
        count: state.count,
        bytes: state.bytes,
        oldest: state.oldest,
        trimmed: state.trimmed,
    });
    let recovered = Recovered {
        epoch: store.epoch,
        next: store.reserved.max(store.last) + 1,
        streams: streams.collect(),
        forgotten: store.forgotten,
        keys,
        sources: store.sources.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        tail,
        tail_base,
        time: store.time,
        torn_bytes,
    };
    Ok((store, recovered))
}

/// What the records that are not events add up to.
struct Fold {
    reserved: Offset,
    /// The memory streams of the last record, if that closed the log.
    closed: Option<Vec<(StreamName, Offset)>>,
    emptied: HashMap<StreamName, Offset>,
    /// Whether each stream that was said of lives in memory only, and from which offset on.
    durability: HashMap<StreamName, (Offset, bool)>,
    keys: Vec<AnsweredKey>,
    sources: HashMap<Box<str>, Box<[u8]>>,
}

impl Fold {
    fn new(meta: &Meta) -> Self {
        Self {
            reserved: meta.reserved,
            closed: None,
            emptied: HashMap::new(),
            durability: meta
                .streams
                .iter()
                .filter(|s| s.durability_at > 0)
                .map(|s| (s.name.clone(), (s.durability_at, s.memory)))
                .collect(),
            keys: Vec::new(),
            sources: HashMap::new(),
        }
    }

    fn add(&mut self, record: &Record) {
        self.closed = None;
        match record {
            Record::Event(_) => {}
            Record::SourcePosition { source, position } => {
                self.sources.insert(source.clone(), position.clone());
            }
            Record::Key(key) => self.keys.push(*key),
            Record::Reserve { upto } => self.reserved = self.reserved.max(*upto),
            Record::Emptied { stream, upto, .. } => {
                let emptied = self.emptied.entry(stream.clone()).or_default();
                *emptied = (*emptied).max(*upto);
            }
            Record::Durability { stream, memory, at } => {
                let last = self.durability.entry(stream.clone()).or_default();
                *last = (*last).max((*at, *memory));
            }
            Record::Closed { next, memory } => {
                self.reserved = next.saturating_sub(1);
                self.closed = Some(memory.clone());
            }
        }
    }
}

impl Store {
    /// Loads every segment, makes one where there is none, and says how many torn bytes were cut off.
    fn load_segments(&mut self, bases: &mut Vec<Offset>, fold: &mut Fold) -> Result<u64, Error> {
        let disk = self.shared.files.disk.clone();
        let mut torn = 0;
        // A crash between making a segment and its header leaves a last one without anything in it.
        while let Some(base) = bases.last() {
            let name = segment_name(*base);
            let file = disk.open(&name).map_err(|err| unreadable(&name, err))?;
            match read_header(&*file, &name) {
                Err(err) if err.kind() == ErrorKind::Corrupt && half_created(&*file, &name)? => {
                    disk.unlink(&name).map_err(|err| failed(format!("remove {name}"), err))?;
                    bases.pop();
                }
                other => {
                    self.check_header(&name, *base, &other?)?;
                    break;
                }
            }
        }
        let Some(active) = bases.pop() else {
            let base = self.reserved + 1;
            let slot = self.create_segment(base)?;
            self.slots.push(slot);
            self.publish_list();
            return Ok(0);
        };
        for base in bases.iter() {
            let segment = self.load_sealed(*base, fold)?;
            self.slots.push(segment);
        }
        let (slot, cut) = self.load_active(active, fold)?;
        torn += cut;
        self.slots.push(slot);
        self.publish_list();
        Ok(torn)
    }

    fn check_header(&self, name: &str, base: Offset, header: &SegmentHeader) -> Result<(), Error> {
        if header.base == base && header.epoch == self.epoch {
            return Ok(());
        }
        let op = format!("open {name}, which belongs to another log or place; see `riacho log verify`");
        Err(Error::new(ErrorKind::Corrupt, op))
    }

    fn load_sealed(&mut self, base: Offset, fold: &mut Fold) -> Result<Slot, Error> {
        let disk = self.shared.files.disk.clone();
        let (name, idx) = (segment_name(base), index_name(base));
        let file = disk.open(&name).map_err(|err| unreadable(&name, err))?;
        let header = read_header(&*file, &name)?;
        self.check_header(&name, base, &header)?;
        let len = file.len().map_err(|err| unreadable(&name, err))?;
        match read_index(&*disk, &idx)? {
            Ok(head) if head.header.salt == header.salt && head.header.base == base => {
                if head.header.segment_bytes != len {
                    return Err(damaged(&name, len, Damage::Short));
                }
                head.kept.iter().for_each(|record| fold.add(record));
                fold.closed = None;
                fold.reserved = head.header.reserved;
                let key_time_max = key_time_max(&head.kept);
                let last = AtomicU64::new(head.header.last);
                // The directory comes when all that was emptied is known.
                let index = Index::File(FileIndex::new(head, &[]));
                return Ok(Slot::new(
                    Segment { header, index, end: AtomicU64::new(len), last },
                    key_time_max,
                ));
            }
            Ok(_) => tracing::info!(file = idx, "index is of an older form of its segment; made anew"),
            Err(damage) => tracing::warn!(file = idx, error = %damage, "index cannot be used; made anew"),
        }
        let scan = scan(&file, &header, len, fold)?;
        if let Some(damage) = scan.damage
            && nonzero_end(&*file, &name, scan.end, len)?.is_some()
        {
            return Err(damaged(&name, scan.end, damage));
        }
        if scan.end < len {
            // A crash came before the room that was taken in advance was given back.
            let cut = file.set_len(scan.end).and_then(|()| file.sync_data());
            cut.map_err(|err| failed(format!("cut {name}"), err))?;
        }
        let bytes = scan.index.encode(header.salt, base, scan.end, fold.reserved);
        match replace(&*disk, &idx, &bytes) {
            Ok(()) => {}
            Err(err) if is_full(&err) => tracing::warn!(file = idx, error = %err, "no room for an index"),
            Err(err) => return Err(failed(format!("write {idx}"), err)),
        }
        Ok(slot_in_memory(header, scan))
    }

    fn load_active(&mut self, base: Offset, fold: &mut Fold) -> Result<(Slot, u64), Error> {
        let disk = self.shared.files.disk.clone();
        let (name, idx) = (segment_name(base), index_name(base));
        let file = disk.open(&name).map_err(|err| unreadable(&name, err))?;
        let header = read_header(&*file, &name)?;
        let len = file.len().map_err(|err| unreadable(&name, err))?;
        if let Ok(head) = read_index(&*disk, &idx)?
            && head.header.salt == header.salt
            && head.header.segment_bytes > len
        {
            return Err(damaged(&name, len, Damage::Short));
        }
        fold.reserved = header.reserved;
        let scan = scan(&file, &header, len, fold)?;
        let mut torn = 0;
        if let Some(damage) = scan.damage
            && let Some(end) = nonzero_end(&*file, &name, scan.end, len)?
        {
            if frame_after(&file, &header, scan.end, len)? {
                return Err(damaged(&name, scan.end, damage));
            }
            torn = end - scan.end;
            tracing::warn!(file = name, torn_bytes = torn, "the end of the log was torn; cut off");
        }
        // What follows the last whole frame must be gone for good before anything is written there.
        let cut = file.set_len(scan.end).and_then(|()| file.sync_data());
        cut.map_err(|err| failed(format!("cut {name}"), err))?;
        match file.allocate(self.settings.segment_bytes_max.max(scan.end)) {
            Ok(()) => {}
            Err(err) if is_full(&err) => self.state = State::Cut,
            Err(err) => return Err(failed(format!("make room in {name}"), err)),
        }
        // It would be taken for the index of what the segment will be when it is sealed again.
        match disk.unlink(&idx) {
            Ok(()) => disk.sync_dir().map_err(|err| failed(format!("remove {idx}"), err))?,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(failed(format!("remove {idx}"), err)),
        }
        Ok((slot_in_memory(header, scan), torn))
    }

    /// Works out the state of every stream, now that all that is trimmed is known.
    fn settle(&mut self, meta: &Meta, fold: &Fold) -> Result<(), Error> {
        self.reserved = fold.reserved;
        self.sources.extend(fold.sources.clone());
        self.sources.retain(|_, position| !position.is_empty());
        let lasts = self.slots.iter().map(|slot| slot.segment.last());
        // The segments that held the newest events may be gone; the active one begins after them all.
        self.last = lasts.max().unwrap_or(0).max(self.active().segment.base() - 1);
        let times = self.slots.iter().filter_map(|slot| slot.segment.times());
        self.time = times.map(|(_, newest)| newest).max().unwrap_or(0);
        for stream in &meta.streams {
            self.known(&stream.name, stream.trimmed);
        }
        for (name, (at, _)) in fold.durability.iter().filter(|(_, (_, memory))| !memory) {
            // What it had in memory before it became durable is gone.
            let state = self.known(name, 0);
            state.trimmed = state.trimmed.max(at - 1);
        }
        let next = self.reserved.max(self.last) + 1;
        let closed: Option<HashMap<_, _>> =
            fold.closed.as_ref().map(|memory| memory.iter().map(|(name, newest)| (name, *newest)).collect());
        for (name, (at, memory)) in &fold.durability {
            let recorded = closed.as_ref().and_then(|closed| closed.get(name).copied());
            let state = self.known(name, 0);
            (state.memory, state.durability_at) = (*memory, *at);
            if !memory {
                continue;
            }
            state.trimmed = recorded.unwrap_or(next - 1).max(state.trimmed);
        }
        for number in 0..self.slots.len() {
            // After the floors: it counts what is above them.
            self.settle_segment(number, fold)?;
        }
        for (name, upto) in &fold.emptied {
            let state = self.known(name, meta.forgotten);
            state.trimmed = state.trimmed.max(*upto);
        }
        self.meta_stale = true;
        let trimmed = self.streams.iter().filter(|(_, state)| state.trimmed > 0);
        let trimmed = trimmed.map(|(name, state)| (name.clone(), state.trimmed)).collect();
        *self.shared.trimmed.write().unwrap_or_else(std::sync::PoisonError::into_inner) = trimmed;
        Ok(())
    }

    fn known(&mut self, name: &StreamName, trimmed: Offset) -> &mut StreamState {
        if !self.streams.contains_key(name) {
            self.streams.insert(name.clone(), StreamState { trimmed, ..StreamState::default() });
        }
        self.streams.get_mut(name).expect("it was put there if it was missing")
    }

    fn settle_segment(&mut self, number: usize, fold: &Fold) -> Result<(), Error> {
        let Some(slot) = self.slots.get(number) else { return Ok(()) };
        let mut segment = slot.segment.clone();
        let base = segment.base();
        let mut entries = Vec::new();
        if let Some(index) = segment.memory() {
            for (name, postings) in &index.streams {
                let (Some(first), Some(last)) = (postings.first(), postings.last()) else { continue };
                entries.push((name.clone(), first.delta, last.delta, postings.len() as u32, last.sum));
            }
        }
        if let Index::File(_) = &segment.index {
            let idx = index_name(base);
            let disk = self.shared.files.disk.clone();
            let file = disk.open(&idx).map_err(|err| unreadable(&idx, err))?;
            let read = |err| unreadable(&idx, err);
            let bad = |damage| damaged(&idx, 0, damage);
            let head = IndexHead::read(&*file).map_err(read)?.map_err(bad)?;
            match head.directory(&*file).map_err(read)? {
                Ok(directory) => {
                    let each = directory.iter().map(|(e, n)| (n.clone(), e.first, e.last, e.count, e.bytes));
                    entries = each.collect();
                    segment = Arc::new(Segment {
                        header: segment.header,
                        index: Index::File(FileIndex::new(head, &directory)),
                        end: AtomicU64::new(segment.end()),
                        last: AtomicU64::new(segment.last()),
                    });
                }
                Err(damage) => {
                    tracing::warn!(file = idx, error = %damage, "index cannot be used; made anew");
                    return self.rescan(number, fold);
                }
            }
        }
        let mut totals = (0, 0, 0, 0);
        for (name, first, last, count, bytes) in entries {
            let (first, last) = (base + u64::from(first), base + u64::from(last));
            let unknown = if first >= self.forgotten_at { self.forgotten } else { 0 };
            let trimmed =
                self.known(&name, unknown).trimmed.max(fold.emptied.get(&name).copied().unwrap_or(0));
            let (mut gone, mut gone_bytes, mut oldest) = (0, 0, first);
            if last <= trimmed {
                (gone, gone_bytes) = (count, bytes);
            } else if first <= trimmed
                && let Some(postings) = segment.postings(&self.shared.files, &name)?
            {
                let old = |p: &Posting| base + u64::from(p.delta) <= trimmed;
                gone = postings.partition(old)?;
                gone_bytes = postings.get(gone - 1)?.sum;
                oldest = base + u64::from(postings.get(gone)?.delta);
            }
            let state = self.known(&name, unknown);
            if gone < count && state.count == 0 {
                state.oldest = oldest;
            }
            state.newest = last;
            state.stored += u64::from(count);
            state.count += u64::from(count - gone);
            state.bytes += u64::from(bytes - gone_bytes);
            totals.0 += u64::from(count);
            totals.1 += u64::from(bytes);
            totals.2 += u64::from(count - gone);
            totals.3 += u64::from(bytes - gone_bytes);
        }
        if let Some(slot) = self.slots.get_mut(number) {
            (slot.events, slot.bytes, slot.events_live, slot.bytes_live) = totals;
            slot.segment = segment;
        }
        self.publish_list();
        Ok(())
    }

    /// Makes the index of a sealed segment anew by reading the segment, and settles it.
    fn rescan(&mut self, number: usize, fold: &Fold) -> Result<(), Error> {
        let Some(slot) = self.slots.get(number) else { return Ok(()) };
        let (header, end, key_time_max) = (slot.segment.header, slot.segment.end(), slot.key_time_max);
        let name = segment_name(header.base);
        let disk = self.shared.files.disk.clone();
        let file = disk.open(&name).map_err(|err| unreadable(&name, err))?;
        let mut scratch = Fold { reserved: 0, closed: None, ..Fold::empty() };
        let scan = scan(&file, &header, end, &mut scratch)?;
        if let Some(damage) = scan.damage {
            return Err(damaged(&name, scan.end, damage));
        }
        let mut slot = slot_in_memory(header, scan);
        slot.key_time_max = key_time_max;
        if let Some(place) = self.slots.get_mut(number) {
            *place = slot;
        }
        self.settle_segment(number, fold)
    }

    /// The newest events within the bound, and the offset they begin after.
    fn tail(&self) -> Result<(Vec<Event>, Offset), Error> {
        // Back by sparse entries until there are bytes enough; then forward from there.
        let mut left = self.settings.tail_bytes_max;
        let mut start = 0;
        for slot in self.slots.iter().rev() {
            let segment = &slot.segment;
            let mut end = segment.end();
            for sparse in segment.sparse().iter().rev() {
                let bytes = end - u64::from(sparse.at);
                end = u64::from(sparse.at);
                if bytes >= left {
                    start = segment.base() + u64::from(sparse.delta) - 1;
                    left = 0;
                    break;
                }
                left -= bytes;
            }
            if left == 0 {
                break;
            }
        }
        let (tail, cut) = self.reader().newest(start, self.settings.tail_bytes_max)?;
        Ok((tail, start.max(cut)))
    }
}

impl Fold {
    fn empty() -> Self {
        Self {
            reserved: 0,
            closed: None,
            emptied: HashMap::new(),
            durability: HashMap::new(),
            keys: Vec::new(),
            sources: HashMap::new(),
        }
    }
}

/// What a scan of a segment found.
struct Scan {
    index: SegmentIndex,
    /// Where the last whole frame ends.
    end: u64,
    /// What follows it, unless it is the end of the file.
    damage: Option<Damage>,
}

fn scan(file: &Arc<dyn DiskFile>, header: &SegmentHeader, len: u64, fold: &mut Fold) -> Result<Scan, Error> {
    let mut window = Window::new(file.clone(), header, len);
    let mut index = SegmentIndex::default();
    let mut at = HEADER_END;
    loop {
        let (frame_header, records) = match window.frame(at)? {
            Step::Frame(_, frame_header, records) => (frame_header, records),
            Step::End => return Ok(Scan { index, end: at, damage: None }),
            Step::Damaged(damage) => return Ok(Scan { index, end: at, damage: Some(damage) }),
        };
        let mut place = Place { frame: at as u32, at: at as u32 + FRAME_BYTES, bytes: 0 };
        for record in records {
            // The frame is as it was written, so a record that is not well-formed was written so.
            let bad = |damage| damaged(&segment_name(header.base), u64::from(place.at), damage);
            let raw = record.map_err(bad)?;
            let record = raw.record().map_err(bad)?;
            let far = |offset: Offset| offset < header.base || offset - header.base > u64::from(u32::MAX);
            if record.offset().is_some_and(|offset| far(offset) || offset < index.last) {
                return Err(bad(Damage::Shape));
            }
            place.bytes = raw.bytes() as u32;
            add_record(&mut index, header.base, place, &record);
            fold.add(&record);
            place.at += place.bytes;
        }
        at += frame_header.frame_bytes();
    }
}

fn slot_in_memory(header: SegmentHeader, scan: Scan) -> Slot {
    let key_time_max = key_time_max(&scan.index.kept);
    let (end, last) = (AtomicU64::new(scan.end), AtomicU64::new(scan.index.last));
    let index = Index::Memory(RwLock::new(scan.index));
    Slot::new(Segment { header, index, end, last }, key_time_max)
}

/// Where the bytes from `from` on end that are not zero; none when all are.
pub(in crate::log) fn nonzero_end(
    file: &dyn DiskFile,
    name: &str,
    from: u64,
    len: u64,
) -> Result<Option<u64>, Error> {
    let (mut at, mut found) = (from, None);
    let mut chunk = vec![0; CHUNK_BYTES];
    while at < len {
        let n = read_full(file, &mut chunk, at).map_err(|err| unreadable(name, err))?;
        if n == 0 {
            break;
        }
        let used = chunk.get(..n).unwrap_or_default().iter().rposition(|b| *b != 0);
        found = used.map(|i| at + i as u64 + 1).or(found);
        at += n as u64;
    }
    Ok(found)
}

/// Whether a whole frame lies somewhere behind the broken bytes at `from`.
fn frame_after(file: &Arc<dyn DiskFile>, header: &SegmentHeader, from: u64, len: u64) -> Result<bool, Error> {
    Ok(next_frame(file, header, from + 1, len)?.is_some())
}

/// Where the first whole frame at or behind `from` begins.
pub(in crate::log) fn next_frame(
    file: &Arc<dyn DiskFile>,
    header: &SegmentHeader,
    from: u64,
    len: u64,
) -> Result<Option<u64>, Error> {
    let magic = frame_magic(header.salt);
    let mut window = Window::new(file.clone(), header, len);
    let mut frames = Window::new(file.clone(), header, len);
    let mut at = from;
    while at < len {
        let n = usize::try_from(len - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let Some(bytes) = window.bytes(at, n, 0)? else { break };
        for i in bytes.windows(magic.len()).enumerate().filter(|(_, w)| *w == magic).map(|(i, _)| i) {
            if matches!(frames.frame(at + i as u64)?, Step::Frame(..)) {
                return Ok(Some(at + i as u64));
            }
        }
        if n < CHUNK_BYTES {
            break;
        }
        // A magic may span two chunks.
        at += (n - magic.len() + 1) as u64;
    }
    Ok(None)
}

pub(in crate::log) fn read_header(file: &dyn DiskFile, name: &str) -> Result<SegmentHeader, Error> {
    let mut bytes = vec![0; HEADER_BYTES];
    let n = read_full(file, &mut bytes, 0).map_err(|err| unreadable(name, err))?;
    bytes.truncate(n);
    SegmentHeader::decode(&bytes).map_err(|damage| damaged(name, 0, damage))
}

/// Whether a segment whose header is broken never took a frame.
pub(in crate::log) fn half_created(file: &dyn DiskFile, name: &str) -> Result<bool, Error> {
    let len = file.len().map_err(|err| unreadable(name, err))?;
    Ok(nonzero_end(file, name, HEADER_END, len)?.is_none())
}

fn read_index(disk: &dyn Disk, name: &str) -> Result<Result<IndexHead, Damage>, Error> {
    match disk.open(name) {
        Ok(file) => IndexHead::read(&*file).map_err(|err| unreadable(name, err)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Err(Damage::Short)),
        Err(err) => Err(unreadable(name, err)),
    }
}

fn read_meta(disk: &dyn Disk, names: &[String]) -> Result<Option<Meta>, Error> {
    if !names.iter().any(|name| name == META_NAME) {
        return Ok(None);
    }
    let bytes = disk.open(META_NAME).and_then(|file| read_all(&*file));
    let bytes = bytes.map_err(|err| unreadable(META_NAME, err))?;
    Meta::decode(&bytes).map(Some).map_err(|damage| damaged(META_NAME, 0, damage))
}

pub(in crate::log) fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
    let n = read_full(file, &mut bytes, 0)?;
    bytes.truncate(n);
    Ok(bytes)
}

fn new_meta(disk: &dyn Disk, epoch: u64) -> Result<Meta, Error> {
    let epoch = Epoch(NonZeroU64::new(epoch).unwrap_or(NonZeroU64::MIN));
    let meta = Meta { epoch, reserved: 0, forgotten: 0, forgotten_at: 0, streams: vec![], sources: vec![] };
    replace(disk, META_NAME, &meta.encode()).map_err(|err| super::refused(META_NAME, err))?;
    Ok(meta)
}

fn list(disk: &dyn Disk) -> Result<Vec<String>, Error> {
    disk.list().map_err(|err| failed(format!("list {}", disk.label()), err))
}

fn failed(op: String, err: io::Error) -> Error {
    Error::new(ErrorKind::Failed, op).caused_by(err)
}

const CHUNK_BYTES: usize = 256 * 1024;
const SEGMENT_BYTES_MAX: u64 = 2 << 30;
const FRAME_BYTES: u32 = riacho_core::log::segment::FRAME_BYTES as u32;

// More than the records of one frame.
const TORN_OFFSETS: Offset = 1 << 20;
