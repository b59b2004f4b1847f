//! A log that nobody has open: what it holds, whether it is whole, and repair.
//!
//! Repair keeps every frame that is whole and moves the rest into `*.damaged` files. Which streams the lost bytes
//! belonged to cannot be told from them, so when a frame that may have been acknowledged was lost (anything but a torn
//! tail), continuity is lost: the log gets a new epoch, and every old cursor is refused. So it is when `meta` was lost,
//! for then nobody knows what was trimmed. A torn tail alone, or a broken index, costs no epoch.

use super::store::{
    META_NAME,
    disk::{Disk, DiskFile, replace, write_all},
    recover::{half_created, next_frame, nonzero_end, read_all, read_header},
    segment::{
        HEADER_END, IndexHead, Step, Window, check_postings, damaged, index_name, segment_base, segment_name,
        unreadable,
    },
};
use crate::error::{Error, ErrorKind};
use riacho_core::{
    log::{
        index::{Place, SegmentIndex},
        meta::Meta,
        segment::{Damage, FRAME_BYTES, HEADER_BYTES, Record, SegmentHeader},
    },
    position::{Epoch, Offset},
    time::{Millis, rfc3339},
};
use std::{
    collections::HashSet,
    fmt::{self, Display, Formatter},
    io,
    num::NonZeroU64,
    sync::Arc,
};

/// What a log holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspection {
    /// Its incarnation.
    pub epoch: Epoch,
    /// How many segments it has.
    pub segments: usize,
    /// The bytes of their files.
    pub bytes: u64,
    /// How many streams have events.
    pub streams: usize,
    /// How many events there are, trimmed ones with them as long as they are in files.
    pub events: u64,
    /// The offset of the newest event; 0 when there is none.
    pub newest: Offset,
    /// The times of the oldest and the newest event.
    pub times: Option<(Millis, Millis)>,
}

impl Display for Inspection {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "epoch     {:x}", self.epoch.0)?;
        writeln!(f, "segments  {}", self.segments)?;
        writeln!(f, "bytes     {}", self.bytes)?;
        writeln!(f, "streams   {}", self.streams)?;
        writeln!(f, "events    {}", self.events)?;
        write!(f, "newest    {}", self.newest)?;
        match self.times {
            Some((oldest, newest)) => write!(f, "\ntimes     {} to {}", rfc3339(oldest), rfc3339(newest)),
            None => Ok(()),
        }
    }
}

/// One thing that is not as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The byte it begins at.
    pub at: u64,
    /// What is wrong.
    pub what: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.file, self.at, self.what)
    }
}

/// Whether a log is whole.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Verification {
    /// All that is wrong.
    pub problems: Vec<Problem>,
    /// The bytes of the torn tail, which the next start cuts off; not a problem.
    pub torn_bytes: u64,
    /// How many events were read.
    pub events: u64,
}

impl Display for Verification {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        if self.torn_bytes > 0 {
            writeln!(f, "torn tail of {} bytes, which the next start cuts off", self.torn_bytes)?;
        }
        write!(f, "{} events read, {} problems", self.events, self.problems.len())
    }
}

/// What repair did, or would do.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Repair {
    /// What was lost or made anew.
    pub losses: Vec<Problem>,
    /// Bytes moved into `*.damaged` files.
    pub bytes_lost: u64,
    /// The new epoch, when continuity was lost.
    pub epoch: Option<Epoch>,
    /// Whether it was done, or only looked at.
    pub applied: bool,
}

impl Display for Repair {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for loss in &self.losses {
            writeln!(f, "{loss}")?;
        }
        let tense = if self.applied { "moved" } else { "would be moved" };
        write!(f, "{} bytes {tense} into *.damaged files", self.bytes_lost)?;
        match self.epoch {
            Some(_) if !self.applied => f.write_str("; continuity is lost, the log would get a new epoch"),
            Some(epoch) => write!(f, "; continuity was lost, the log's new epoch is {:x}", epoch.0),
            None => f.write_str("; continuity is kept"),
        }
    }
}

/// Says what a log holds. Reads all segments but changes nothing.
///
/// # Errors
/// `Unavailable` when a process has it open or there is none; `Corrupt` when it is damaged; `Failed` when it cannot be
/// read.
pub fn inspect(disk: &dyn Disk) -> Result<Inspection, Error> {
    let _lock = lock(disk)?;
    let meta = read_meta(disk)?.map_err(|damage| damaged(META_NAME, 0, damage))?;
    let bases = bases(disk)?;
    let mut all = Inspection {
        epoch: meta.epoch,
        segments: bases.len(),
        bytes: 0,
        streams: 0,
        events: 0,
        newest: 0,
        times: None,
    };
    let mut streams = HashSet::new();
    for base in bases {
        let name = segment_name(base);
        let file = open(disk, &name)?;
        let header = read_header(&*file, &name)?;
        let walk = walk(&file, &header, &name, &mut |_| {})?;
        all.bytes += walk.end();
        all.events += walk.index.events;
        all.newest = all.newest.max(walk.index.last);
        if walk.index.events > 0 {
            let oldest = all.times.map_or(walk.index.time_min, |(oldest, _)| oldest);
            all.times = Some((oldest, walk.index.time_max));
        }
        streams.extend(walk.index.streams.into_keys());
    }
    all.streams = streams.len();
    Ok(all)
}

/// Reads all of a log and checks every checksum and index. `progress` is told bytes done and bytes in all.
///
/// # Errors
/// `Unavailable` when a process has it open or there is none; `Failed` when it cannot be read. Damage is no error but
/// in the result.
pub fn verify(disk: &dyn Disk, progress: &mut dyn FnMut(u64, u64)) -> Result<Verification, Error> {
    let _lock = lock(disk)?;
    let mut found = Verification::default();
    let problem = |file: &str, at, what: String| Problem { file: file.to_owned(), at, what };
    let meta = match read_meta(disk)? {
        Ok(meta) => Some(meta),
        Err(damage) => {
            found.problems.push(problem(META_NAME, 0, damage.to_string()));
            None
        }
    };
    let bases = bases(disk)?;
    let mut total = 0;
    for base in &bases {
        let name = segment_name(*base);
        total += open(disk, &name)?.len().map_err(|err| unreadable(&name, err))?;
    }
    let mut done = 0;
    for base in &bases {
        let last = Some(base) == bases.last();
        let name = segment_name(*base);
        let file = open(disk, &name)?;
        let len = file.len().map_err(|err| unreadable(&name, err))?;
        let header = match read_header(&*file, &name) {
            Ok(header) => header,
            Err(err) if err.kind() == ErrorKind::Corrupt => {
                if !(last && half_created(&*file, &name)?) {
                    found.problems.push(problem(&name, 0, err.chain()));
                }
                continue;
            }
            Err(err) => return Err(err),
        };
        if header.base != *base || meta.as_ref().is_some_and(|meta| meta.epoch != header.epoch) {
            found.problems.push(problem(&name, 0, "belongs to another log or place".to_owned()));
        }
        let walk = walk(&file, &header, &name, &mut |at| progress(done + at, total))?;
        done += len;
        progress(done, total);
        found.events += walk.index.events;
        for (from, to, damage) in &walk.damage {
            if last && *to == len {
                found.torn_bytes = walk.used - from;
            } else {
                found.problems.push(problem(&name, *from, damage.to_string()));
            }
        }
        if !last && let Some(what) = index_problem(disk, &header, &walk)? {
            found.problems.push(problem(&index_name(*base), 0, what));
        }
    }
    Ok(found)
}

/// Makes a log openable again: keeps every whole frame, moves the rest into `*.damaged` files, removes broken indexes
/// (the next start makes them anew). Without `apply` it only says what it would do. `random` becomes the new epoch where
/// continuity is lost; nobody could have guessed it. With `new_epoch` continuity counts as lost whatever is found: that
/// is for a log that was restored from an older copy, whose offsets clients may have seen under other events.
///
/// # Errors
/// `Unavailable` when a process has it open or there is none; `Corrupt` for a log of another version; `Full` without
/// room for the segment that is written anew; `Failed` when the disk fails.
pub fn repair(disk: &dyn Disk, apply: bool, new_epoch: bool, random: u64) -> Result<Repair, Error> {
    let _lock = lock(disk)?;
    let mut done = Repair { applied: apply, ..Repair::default() };
    let mut lose =
        |file: &str, at, what: String| done.losses.push(Problem { file: file.to_owned(), at, what });
    let meta = read_meta(disk)?;
    let mut broken = new_epoch;
    if let Err(damage) = &meta {
        refuse_version(META_NAME, *damage)?;
        lose(META_NAME, 0, format!("{damage}; what was trimmed is not known"));
        broken = true;
    }
    let mut kept = Vec::new();
    let bases = bases(disk)?;
    let mut bytes_lost = 0;
    for base in &bases {
        let last = Some(base) == bases.last();
        let name = segment_name(*base);
        let file = open(disk, &name)?;
        let len = file.len().map_err(|err| unreadable(&name, err))?;
        let header = match decode_header(&*file, &name)? {
            Ok(header) if header.base == *base => header,
            other => {
                if let Err(damage) = other {
                    refuse_version(&name, damage)?;
                }
                if last && half_created(&*file, &name)? {
                    continue;
                }
                // The salt is gone, and with it all hope to tell frames from data.
                lose(&name, 0, "the header is lost, and with it the whole segment".to_owned());
                bytes_lost += len;
                broken = true;
                kept.push((*base, None));
                continue;
            }
        };
        if meta.as_ref().is_ok_and(|meta| meta.epoch != header.epoch) {
            lose(&name, 0, "belongs to another epoch, as after a repair that was cut off".to_owned());
            broken = true;
        }
        let walk = walk(&file, &header, &name, &mut |_| {})?;
        let mut cut = Vec::new();
        for (from, to, damage) in &walk.damage {
            let to = (*to).min(walk.used);
            if last && to == walk.used {
                // Left for the next start, which also skips the offsets that it may have held.
                lose(
                    &name,
                    *from,
                    format!("torn tail of {} bytes, which the next start cuts off", to - from),
                );
                continue;
            }
            lose(&name, *from, format!("{} bytes lost: {damage}", to - from));
            broken = true;
            bytes_lost += to - from;
            cut.push((*from, to));
        }
        if !last && let Some(what) = index_problem(disk, &header, &walk)? {
            lose(&index_name(*base), 0, format!("{what}; made anew at the next start"));
            // A segment that is shorter than its index says lost frames.
            let longer = read_index(disk, *base)?
                .is_some_and(|head| head.header.salt == header.salt && head.header.segment_bytes > walk.used);
            broken |= longer;
            kept.push((*base, Some((header, cut, true))));
        } else {
            kept.push((*base, Some((header, cut, false))));
        }
    }
    done.bytes_lost = bytes_lost;
    let old_epoch = meta.as_ref().ok().map(|meta| meta.epoch);
    let epoch = Epoch(NonZeroU64::new(random).unwrap_or(NonZeroU64::MIN));
    done.epoch = broken.then_some(epoch);
    if !apply {
        return Ok(done);
    }
    for (base, state) in &kept {
        rewrite(disk, *base, state.as_ref(), done.epoch)?;
    }
    // Last: a repair that is cut off leaves epochs that differ, and is done again.
    let mut meta = meta.unwrap_or(Meta {
        epoch,
        reserved: 0,
        forgotten: 0,
        forgotten_at: 0,
        streams: vec![],
        sources: vec![],
    });
    if let Some(epoch) = done.epoch {
        meta.epoch = epoch;
    }
    if old_epoch != Some(meta.epoch) {
        replace(disk, META_NAME, &meta.encode()).map_err(|err| failed(META_NAME, err))?;
    }
    disk.sync_dir().map_err(|err| failed("the directory", err))?;
    Ok(done)
}

type Kept = (SegmentHeader, Vec<(u64, u64)>, bool);

/// Moves what is broken out of a segment, and gives it the new epoch.
fn rewrite(disk: &dyn Disk, base: Offset, kept: Option<&Kept>, epoch: Option<Epoch>) -> Result<(), Error> {
    let name = segment_name(base);
    let unlink_index = || match disk.unlink(&index_name(base)) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(failed(&index_name(base), err)),
        _ => Ok(()),
    };
    let Some((header, cut, index_broken)) = kept else {
        disk.rename(&name, &format!("{name}{DAMAGED_SUFFIX}")).map_err(|err| failed(&name, err))?;
        return unlink_index();
    };
    if *index_broken || !cut.is_empty() {
        unlink_index()?;
    }
    if !cut.is_empty() {
        let bytes =
            open(disk, &name).and_then(|file| read_all(&*file).map_err(|err| unreadable(&name, err)))?;
        let (mut whole, mut lost, mut at) = (Vec::new(), Vec::new(), 0);
        for (from, to) in cut {
            whole.extend_from_slice(part(&bytes, at, *from));
            lost.extend_from_slice(part(&bytes, *from, *to));
            at = *to;
        }
        whole.extend_from_slice(part(&bytes, at, bytes.len() as u64));
        let damaged_name = format!("{name}{DAMAGED_SUFFIX}");
        replace(disk, &damaged_name, &lost).map_err(|err| failed(&damaged_name, err))?;
        replace(disk, &name, &whole).map_err(|err| failed(&name, err))?;
    }
    if let Some(epoch) = epoch {
        let header = SegmentHeader { epoch, ..*header };
        let file = open(disk, &name)?;
        let written = write_all(&*file, &header.encode(), 0).and_then(|()| file.sync_data());
        written.map_err(|err| failed(&name, err))?;
    }
    Ok(())
}

/// What a walk over all of a segment found.
struct Walk {
    index: SegmentIndex,
    /// Stretches that are no frames: from, to, and what is wrong where they begin.
    damage: Vec<(u64, u64, Damage)>,
    /// Where the bytes that are not zero end, or the last frame.
    used: u64,
}

impl Walk {
    /// Where the last whole frame ends, if nothing is broken.
    fn end(&self) -> u64 {
        self.damage.last().map_or(self.used, |(from, _, _)| *from)
    }
}

/// Goes over all of a segment, and past what is broken.
fn walk(
    file: &Arc<dyn DiskFile>,
    header: &SegmentHeader,
    name: &str,
    progress: &mut dyn FnMut(u64),
) -> Result<Walk, Error> {
    let len = file.len().map_err(|err| unreadable(name, err))?;
    let mut window = Window::new(file.clone(), header, len);
    let mut walk = Walk { index: SegmentIndex::default(), damage: Vec::new(), used: HEADER_END };
    let mut at = HEADER_END;
    loop {
        progress(at);
        let broken = match window.frame(at)? {
            Step::Frame(_, frame, records) => {
                let start = at;
                at += frame.frame_bytes();
                let mut place =
                    Place { frame: start as u32, at: start as u32 + FRAME_BYTES as u32, bytes: 0 };
                for raw in records {
                    let Ok((record, bytes)) = raw.and_then(|raw| Ok((raw.record()?, raw.bytes()))) else {
                        walk.damage.push((start, at, Damage::Shape));
                        break;
                    };
                    place.bytes = bytes as u32;
                    note(&mut walk.index, header.base, place, &record);
                    place.at += place.bytes;
                }
                walk.used = at;
                continue;
            }
            Step::End => return Ok(walk),
            Step::Damaged(damage) => damage,
        };
        if let Some(next) = next_frame(file, header, at + 1, len)? {
            walk.damage.push((at, next, broken));
            at = next;
            continue;
        }
        // Room taken in advance is zeros, and no damage.
        if let Some(end) = nonzero_end(&**file, name, at, len)? {
            walk.damage.push((at, len, broken));
            walk.used = end;
        }
        return Ok(walk);
    }
}

fn note(index: &mut SegmentIndex, base: Offset, place: Place, record: &Record) {
    match record {
        Record::Event(event) if event.offset >= base => {
            index.add_event(base, place, event.offset, event.time, &event.stream);
        }
        other => index.add_other(other),
    }
}

/// What is wrong with the index of a sealed segment.
fn index_problem(disk: &dyn Disk, header: &SegmentHeader, walk: &Walk) -> Result<Option<String>, Error> {
    let name = index_name(header.base);
    let file = match disk.open(&name) {
        Ok(file) => file,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(unreadable(&name, err)),
    };
    let read = |err| unreadable(&name, err);
    let head = match IndexHead::read(&*file).map_err(read)? {
        Ok(head) => head,
        Err(damage) => return Ok(Some(damage.to_string())),
    };
    let checked = head.directory(&*file).map_err(read)?;
    let postings = check_postings(&*file, &head.header).map_err(read)?;
    if let Err(damage) = checked.and(postings) {
        return Ok(Some(damage.to_string()));
    }
    let bytes = read_all(&*file).map_err(read)?;
    let want = walk.index.encode(header.salt, header.base, walk.used, head.header.reserved);
    Ok((bytes != want).then(|| "it does not say what the segment holds".to_owned()))
}

fn read_index(disk: &dyn Disk, base: Offset) -> Result<Option<IndexHead>, Error> {
    let name = index_name(base);
    match disk.open(&name) {
        Ok(file) => Ok(IndexHead::read(&*file).map_err(|err| unreadable(&name, err))?.ok()),
        Err(_) => Ok(None),
    }
}

fn read_meta(disk: &dyn Disk) -> Result<Result<Meta, Damage>, Error> {
    match disk.open(META_NAME) {
        Ok(file) => Ok(Meta::decode(&read_all(&*file).map_err(|err| unreadable(META_NAME, err))?)),
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(unreadable(META_NAME, err)),
        Err(err) if bases(disk)?.is_empty() => {
            let op = format!("find a log in {}", disk.label());
            Err(Error::new(ErrorKind::Unavailable, op).caused_by(err))
        }
        Err(_) => Ok(Err(Damage::Short)),
    }
}

fn decode_header(file: &dyn DiskFile, name: &str) -> Result<Result<SegmentHeader, Damage>, Error> {
    let mut bytes = vec![0; HEADER_BYTES];
    let n = super::store::disk::read_full(file, &mut bytes, 0).map_err(|err| unreadable(name, err))?;
    bytes.truncate(n);
    Ok(SegmentHeader::decode(&bytes))
}

/// A version is no damage: another build can read it.
fn refuse_version(name: &str, damage: Damage) -> Result<(), Error> {
    match damage {
        Damage::Version(_) => Err(damaged(name, 0, damage)),
        _ => Ok(()),
    }
}

fn bases(disk: &dyn Disk) -> Result<Vec<Offset>, Error> {
    let names = disk.list().map_err(|err| unreadable(&disk.label(), err))?;
    let mut bases: Vec<Offset> = names.iter().filter_map(|name| segment_base(name)).collect();
    bases.sort_unstable();
    Ok(bases)
}

fn open(disk: &dyn Disk, name: &str) -> Result<Arc<dyn DiskFile>, Error> {
    disk.open(name).map_err(|err| unreadable(name, err))
}

fn lock(disk: &dyn Disk) -> Result<Box<dyn std::any::Any + Send + Sync>, Error> {
    disk.lock().map_err(|err| {
        let op = format!("lock {}: another process has it open", disk.label());
        Error::new(ErrorKind::Unavailable, op).caused_by(err)
    })
}

fn failed(name: &str, err: io::Error) -> Error {
    let full = super::store::disk::is_full(&err);
    let kind = if full { ErrorKind::Full } else { ErrorKind::Failed };
    Error::new(kind, format!("write {name}")).caused_by(err)
}

fn part(bytes: &[u8], from: u64, to: u64) -> &[u8] {
    bytes.get(from as usize..to as usize).unwrap_or_default()
}

const DAMAGED_SUFFIX: &str = ".damaged";
