//! Reading events back, from any thread, while the writer appends and trims.
//!
//! A read works on the list of segments as it is at its start. Every byte is checked before it is given out. When a read
//! fails and the list has changed meanwhile (a segment was removed or rewritten), it is done again.

use super::{
    HEADER_END, Shared, Step, Window,
    segment::{Segment, damaged, unreadable},
};
use crate::error::Error;
use riacho_core::{
    event::Event,
    log::{
        index::Posting,
        segment::{Damage, EventRef, RawRecord, Record},
    },
    name::{Selection, StreamName},
    position::Offset,
    time::Millis,
};
use std::sync::{Arc, PoisonError};

/// Reads the durable events of a log.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

/// A part of what a selection holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Events, by offset.
    pub events: Vec<Event>,
    /// The page holds all events up to here; the next read goes on after it.
    pub upto: Offset,
}

/// What the rows of tables are made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Replayed {
    /// A change of a row.
    Change(Event),
    /// All rows of a table are gone.
    Emptied {
        /// The table's stream.
        table: StreamName,
        /// The offset of that.
        upto: Offset,
        /// When.
        time: Millis,
    },
}

impl Replayed {
    fn of(raw: &RawRecord<'_>) -> Result<Option<Self>, Damage> {
        if let Some(event) = raw.event()? {
            return event.change.is_some().then(|| event.to_event().map(Self::Change)).transpose();
        }
        Ok(match raw.record()? {
            Record::Emptied { stream, upto, time } if stream.table().is_some() => {
                Some(Self::Emptied { table: stream, upto, time })
            }
            _ => None,
        })
    }

    // An emptying is repeated where it is not certain that it was applied: a second time it does nothing.
    fn is_after(&self, after: Offset) -> bool {
        match self {
            Self::Change(event) => event.offset > after,
            Self::Emptied { upto, .. } => *upto >= after,
        }
    }
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Floors that reads heed since the last [`Reader::forget_raised`]: each stream's newest trimmed event. Retention is
    /// told of them only when its round ends.
    pub fn raised(&self) -> Vec<(StreamName, Offset)> {
        self.shared.raised().clone()
    }

    /// The caller knows all floors so far. Only on the writer's thread: nobody else raises them.
    pub fn forget_raised(&self) {
        self.shared.raised().clear();
    }

    /// The durable, untrimmed events of `selection` after `after` up to `upto`, in order.
    ///
    /// It stops after about `bytes_max` bytes of data (with at least one event, if there is one), and after a bounded
    /// amount of work, possibly without events: then [`Page::upto`] is less than `upto` and more than `after`.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are not what was written; `Failed` when the disk cannot be read.
    pub fn read(
        &self,
        selection: &Selection,
        after: Offset,
        upto: Offset,
        bytes_max: usize,
    ) -> Result<Page, Error> {
        let bytes_max = bytes_max.max(1);
        self.with_segments(|segments| {
            if selection.patterns().next().is_some() {
                self.scan(segments, selection, after, upto, bytes_max)
            } else {
                self.pick(segments, selection, after, upto, bytes_max)
            }
        })
    }

    /// The `after` from which [`Reader::read`] gives exactly the last `n` events of `selection` up to `upto`, or all
    /// when there are fewer. For patterns this reads the log backwards until it has found them.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn before(&self, selection: &Selection, upto: Offset, n: usize) -> Result<Offset, Error> {
        if n == 0 {
            return Ok(upto);
        }
        self.with_segments(|segments| {
            let mut left = n;
            for segment in segments.iter().rev().filter(|segment| segment.base() <= upto) {
                let offsets = if selection.patterns().next().is_some() {
                    self.last_scanned(segment, selection, upto, left)?
                } else {
                    self.last_posted(segment, selection, upto, left)?
                };
                if let Some(offset) = offsets.len().checked_sub(left).and_then(|i| offsets.get(i)) {
                    return Ok(offset - 1);
                }
                left -= offsets.len();
            }
            Ok(0)
        })
    }

    /// The newest offset whose time is before `time`; 0 when there is none.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn offset_before(&self, time: Millis) -> Result<Offset, Error> {
        self.with_segments(|segments| {
            for segment in segments.iter().rev() {
                let Some((oldest, newest)) = segment.times() else { continue };
                if newest < time {
                    return Ok(segment.last());
                }
                if oldest < time {
                    return self.offset_before_in(segment, time);
                }
            }
            Ok(0)
        })
    }

    /// Gives every change of a row after `after`, and every emptying of a table at or after it, to `each`, in order: what the rows need to
    /// catch up with the log. Trimmed changes are among them as far as they are still there.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn changes(&self, after: Offset, mut each: impl FnMut(Replayed)) -> Result<(), Error> {
        for segment in self.segment_list().iter().filter(|segment| segment.last_row() >= after) {
            let mut window = self.window(segment)?;
            let mut at = segment.scan_from(after);
            loop {
                let bad = |damage| damaged(&segment.file_name(), at, damage);
                let (place, header, records) = match window.frame(at)? {
                    Step::Frame(place, header, records) => (place, header, records),
                    Step::End => break,
                    Step::Damaged(damage) => return Err(bad(damage)),
                };
                for record in records {
                    let replayed = Replayed::of(&record.map_err(bad)?).map_err(bad)?;
                    if let Some(replayed) = replayed.filter(|replayed| replayed.is_after(after)) {
                        each(replayed);
                    }
                }
                at = place + header.frame_bytes();
            }
        }
        Ok(())
    }

    /// The bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segment_list().iter().map(|segment| segment.end()).sum()
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        self.segment_list().len()
    }

    /// The newest events after `after`, at most `bytes_max` of records; and the offset after which there are all.
    pub(super) fn newest(&self, after: Offset, bytes_max: u64) -> Result<(Vec<Event>, Offset), Error> {
        let segments = self.segment_list();
        let mut tail = std::collections::VecDeque::new();
        let (mut bytes, mut cut) = (0, 0);
        for segment in segments.iter().skip(first_segment(&segments, after)) {
            let mut at = segment.scan_from(after);
            let mut window = self.window(segment)?;
            while let Some(next) = self.frame(segment, &mut window, at, |event, size| {
                if event.offset > after && event.offset > self.trimmed(event.stream) {
                    bytes += size as u64;
                    tail.push_back((event.to_event()?, size as u64));
                    while bytes > bytes_max {
                        let Some((event, size)) = tail.pop_front() else { break };
                        bytes -= size;
                        cut = event.offset;
                    }
                }
                Ok(())
            })? {
                at = next;
            }
        }
        Ok((tail.into_iter().map(|(event, _)| event).collect(), cut))
    }

    /// Reads by postings: every selector is a name.
    fn pick(
        &self,
        segments: &[Arc<Segment>],
        selection: &Selection,
        after: Offset,
        upto: Offset,
        bytes_max: usize,
    ) -> Result<Page, Error> {
        let names: Vec<&StreamName> = selection.names().collect();
        let floors: Vec<Offset> = names.iter().map(|name| self.trimmed(name.as_str()).max(after)).collect();
        let each = (POSTINGS_MAX / names.len().max(1)).max(16);
        let mut page = Page { events: Vec::new(), upto: after };
        let (mut bytes, mut lookups) = (0, 0);
        for (number, segment) in segments.iter().enumerate().skip(first_segment(segments, after)) {
            if segment.base() > upto {
                break;
            }
            if bytes >= bytes_max || lookups >= LOOKUPS_MAX {
                return Ok(page);
            }
            // Where the postings are known up to.
            let next_base = segments.get(number + 1).map_or(Offset::MAX, |next| next.base());
            let mut known = upto.min(next_base - 1);
            let mut found = Vec::new();
            for (name, floor) in names.iter().zip(&floors) {
                lookups += 1;
                let Some(postings) = segment.postings(&self.shared.files, name)? else { continue };
                let from = postings.partition(|p| offset(segment, p) <= *floor)?;
                let some = postings.range(from, each)?;
                if some.len() == each
                    && let Some(last) = some.last()
                {
                    known = known.min(offset(segment, last));
                }
                found.extend(some.into_iter().map(|posting| (posting, *name)));
            }
            found.retain(|(posting, _)| offset(segment, posting) <= known);
            found.sort_by_key(|(posting, _)| posting.delta);
            let mut window = if found.is_empty() { None } else { Some(self.window(segment)?) };
            for (i, (posting, name)) in found.iter().enumerate() {
                let Some(window) = &mut window else { break };
                // Close neighbours are read together.
                let near = found.get(i + 1).is_some_and(|(next, _)| next.at - posting.at < NEAR_BYTES);
                let ahead = if near { AHEAD_BYTES } else { ALONE_BYTES };
                let raw = window.record(posting.at.into(), ahead)?;
                let bad = |damage| damaged(&segment.file_name(), posting.at.into(), damage);
                let event = raw.event().map_err(bad)?.ok_or_else(|| bad(Damage::Shape))?;
                if event.offset != offset(segment, posting) || event.stream != name.as_str() {
                    return Err(bad(Damage::Shape));
                }
                bytes += event.data.len();
                page.upto = event.offset;
                page.events.push(event.to_event().map_err(bad)?);
                if bytes >= bytes_max {
                    return Ok(page);
                }
            }
            page.upto = known.max(after);
            if known < upto.min(next_base - 1) {
                return Ok(page);
            }
        }
        page.upto = upto.max(after);
        Ok(page)
    }

    /// Reads frame by frame.
    fn scan(
        &self,
        segments: &[Arc<Segment>],
        selection: &Selection,
        after: Offset,
        upto: Offset,
        bytes_max: usize,
    ) -> Result<Page, Error> {
        let mut page = Page { events: Vec::new(), upto: after };
        let (mut bytes, mut scanned) = (0, 0);
        for (number, segment) in segments.iter().enumerate().skip(first_segment(segments, after)) {
            if segment.base() > upto {
                break;
            }
            let next_base = segments.get(number + 1).map_or(Offset::MAX, |next| next.base());
            if !may_match(segment, selection) {
                page.upto = upto.min(next_base - 1);
                continue;
            }
            let mut window = self.window(segment)?;
            let mut at = segment.scan_from(page.upto);
            let mut past = false;
            while let Some(next) = self.frame(segment, &mut window, at, |event, _| {
                if event.offset > upto || bytes >= bytes_max {
                    past = true;
                } else if event.offset > page.upto {
                    page.upto = event.offset;
                    if event.offset > self.trimmed(event.stream) && selection.matches(event.stream) {
                        bytes += event.data.len();
                        page.events.push(event.to_event()?);
                    }
                }
                Ok(())
            })? {
                if past && bytes >= bytes_max {
                    return Ok(page);
                }
                if past {
                    break;
                }
                scanned += next - at;
                if scanned >= SCAN_BYTES_MAX && page.upto > after {
                    return Ok(page);
                }
                at = next;
            }
            page.upto = upto.min(next_base - 1);
        }
        page.upto = upto.max(after);
        Ok(page)
    }

    /// The offsets of the last `n` events of the selected names up to `upto` in one segment.
    fn last_posted(
        &self,
        segment: &Segment,
        selection: &Selection,
        upto: Offset,
        n: usize,
    ) -> Result<Vec<Offset>, Error> {
        let mut offsets = Vec::new();
        for name in selection.names() {
            let Some(postings) = segment.postings(&self.shared.files, name)? else { continue };
            let trimmed = self.trimmed(name.as_str());
            let from = postings.partition(|p| offset(segment, p) <= trimmed)?;
            let to = postings.partition(|p| offset(segment, p) <= upto)?;
            let from = from.max(to.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX)));
            let last = postings.range(from, to.saturating_sub(from) as usize)?;
            offsets.extend(last.iter().map(|posting| offset(segment, posting)));
        }
        offsets.sort_unstable();
        offsets.drain(..offsets.len().saturating_sub(n));
        Ok(offsets)
    }

    /// The same for patterns: one stretch between sparse entries after the other, from the end.
    fn last_scanned(
        &self,
        segment: &Segment,
        selection: &Selection,
        upto: Offset,
        n: usize,
    ) -> Result<Vec<Offset>, Error> {
        let mut offsets = Vec::new();
        if !may_match(segment, selection) {
            return Ok(offsets);
        }
        let mut window = self.window(segment)?;
        let mut starts: Vec<u64> = segment.sparse().iter().map(|s| u64::from(s.at)).collect();
        if starts.first().is_none_or(|start| *start > HEADER_END) {
            starts.insert(0, HEADER_END);
        }
        let mut end = segment.end();
        for start in starts.into_iter().rev() {
            let mut stretch = Vec::new();
            let mut at = start;
            while at < end
                && let Some(next) = self.frame(segment, &mut window, at, |event, _| {
                    let here = event.offset <= upto && event.offset > self.trimmed(event.stream);
                    if here && selection.matches(event.stream) {
                        stretch.push(event.offset);
                    }
                    Ok(())
                })?
            {
                at = next;
            }
            stretch.append(&mut offsets);
            offsets = stretch;
            end = start;
            if offsets.len() >= n {
                offsets.drain(..offsets.len() - n);
                break;
            }
        }
        Ok(offsets)
    }

    fn offset_before_in(&self, segment: &Segment, time: Millis) -> Result<Offset, Error> {
        let sparse = segment.sparse();
        let from = sparse.partition_point(|s| s.time < time).checked_sub(1).and_then(|i| sparse.get(i));
        let mut at = from.map_or(HEADER_END, |s| s.at.into());
        let mut window = self.window(segment)?;
        let (mut newest, mut past) = (0, false);
        while !past
            && let Some(next) = self.frame(segment, &mut window, at, |event, _| {
                if event.time < time {
                    newest = event.offset;
                } else {
                    past = true;
                }
                Ok(())
            })?
        {
            at = next;
        }
        Ok(newest)
    }

    /// Gives the events of the frame at `at`, with the bytes of their records, to `each`; says where the next begins.
    fn frame(
        &self,
        segment: &Segment,
        window: &mut Window,
        at: u64,
        mut each: impl FnMut(&EventRef<'_>, usize) -> Result<(), Damage>,
    ) -> Result<Option<u64>, Error> {
        let bad = |damage| damaged(&segment.file_name(), at, damage);
        match window.frame(at)? {
            Step::Frame(at, header, records) => {
                for record in records {
                    let record = record.map_err(bad)?;
                    if let Some(event) = record.event().map_err(bad)? {
                        each(&event, record.bytes()).map_err(bad)?;
                    }
                }
                Ok(Some(at + header.frame_bytes()))
            }
            Step::End => Ok(None),
            Step::Damaged(damage) => Err(bad(damage)),
        }
    }

    fn window(&self, segment: &Segment) -> Result<Window, Error> {
        let name = segment.file_name();
        let file = self.shared.files.get(&name, segment.header.salt).map_err(|err| unreadable(&name, err))?;
        Ok(Window::new(file, &segment.header, segment.end()))
    }

    fn trimmed(&self, stream: &str) -> Offset {
        let trimmed = self.shared.trimmed.read().unwrap_or_else(PoisonError::into_inner);
        trimmed.get(stream).copied().unwrap_or(0)
    }

    fn segment_list(&self) -> Arc<Vec<Arc<Segment>>> {
        self.shared.list.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn with_segments<T>(&self, read: impl Fn(&[Arc<Segment>]) -> Result<T, Error>) -> Result<T, Error> {
        let mut segments = self.segment_list();
        loop {
            let result = read(&segments);
            let now = self.segment_list();
            if result.is_ok() || Arc::ptr_eq(&segments, &now) {
                return result;
            }
            segments = now;
        }
    }
}

/// The offset that a posting of `segment` stands for.
fn offset(segment: &Segment, posting: &Posting) -> Offset {
    segment.base() + u64::from(posting.delta)
}

/// The number of the segment that holds the first event after `after`, if it is there.
fn first_segment(segments: &[Arc<Segment>], after: Offset) -> usize {
    segments.partition_point(|segment| segment.base() <= after.saturating_add(1)).saturating_sub(1)
}

fn may_match(segment: &Segment, selection: &Selection) -> bool {
    selection.selectors().iter().any(|selector| segment.may_match(selector.as_str()))
}

const SCAN_BYTES_MAX: u64 = 4 << 20;
const POSTINGS_MAX: usize = 8192;
const LOOKUPS_MAX: usize = 4096;
const NEAR_BYTES: u32 = 16 * 1024;
const AHEAD_BYTES: usize = 64 * 1024;
const ALONE_BYTES: usize = 2 * 1024;
