//! Retention: trimming streams, removing and rewriting segments, forgetting streams.
//!
//! Trimming is first logical: a stream's floor rises, and readers no longer see what is below. Files go when all in them
//! is trimmed, or shrink when most is; what that would lose (the floors) is in `meta` before.

use super::{
    Index, META_NAME, SegmentIndex, Slot, State, Step, Store, StreamState, Window, add_record,
    disk::{TMP_SUFFIX, is_full, write_all},
    index_name, load_index,
    segment::{HEADER_END, Segment, damaged, unreadable},
    segment_name,
};
use crate::config::Keep;
use crate::error::{Error, ErrorKind};
use riacho_core::{
    log::{
        index::{Place, Posting},
        segment::{Record, SegmentHeader, encode_frame},
    },
    name::StreamName,
    position::Offset,
    time::Millis,
};
use std::{
    collections::HashMap,
    io,
    sync::{Arc, PoisonError, atomic::AtomicU64},
    time::Duration,
};

/// What one round of retention did.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Maintained {
    /// The streams that lost events, each with the offset of its newest trimmed event.
    pub floors: Vec<(StreamName, Offset)>,
    /// What counts as trimmed for every stream that is not known.
    pub forgotten: Offset,
    /// The streams that are no longer known.
    pub forgotten_streams: Vec<StreamName>,
    /// Segments that were removed.
    pub segments_removed: usize,
    /// Segments that were written anew without what is trimmed.
    pub rewritten: usize,
    /// Bytes of files that were given back.
    pub bytes_freed: u64,
    /// Whether there is more to do at once; the work of one round is bounded.
    pub more: bool,
}

impl Store {
    /// Trims streams to what `keep` says, and gives back the room of what is trimmed. Nothing after `hold` is trimmed.
    ///
    /// One round does a bounded amount of work, and next to nothing when nothing changed; call it again soon while
    /// [`Maintained::more`]. Without room to note what is trimmed, no file is removed.
    ///
    /// # Errors
    /// `Corrupt` or `Failed` when files cannot be read or written. What was trimmed until then is in the next result.
    pub fn maintain(
        &mut self,
        now: Millis,
        keep: &dyn Fn(&StreamName) -> Keep,
        hold: Offset,
    ) -> Result<Maintained, Error> {
        self.check_state()?;
        self.maintained.more = false;
        self.trim_streams(now, keep, hold)?;
        self.write_missing_index()?;
        self.free_segments(now, hold)?;
        self.forget_streams()?;
        let mut done = std::mem::take(&mut self.maintained);
        done.forgotten = self.forgotten;
        Ok(done)
    }

    /// Raises the floors of the next streams in turn.
    fn trim_streams(
        &mut self,
        now: Millis,
        keep: &dyn Fn(&StreamName) -> Keep,
        hold: Offset,
    ) -> Result<(), Error> {
        let reader = self.reader();
        let mut ages: HashMap<Duration, Offset> = HashMap::new();
        let (mut lookups, start) = (0, self.turn);
        // A round may take several calls; the next begins with the next call.
        while let Some((name, state)) = self.streams.get_index(self.turn) {
            if self.turn - start >= STREAMS_MAX || lookups >= LOOKUPS_MAX {
                self.maintained.more = true;
                return Ok(());
            }
            self.turn += 1;
            if state.count == 0 {
                continue;
            }
            let wish = keep(name);
            let aged = match wish.age {
                None => 0,
                Some(age) => match ages.get(&age) {
                    Some(aged) => *aged,
                    None => {
                        let time = now.saturating_sub(age.as_millis().try_into().unwrap_or(u64::MAX));
                        // An event as old as `age` is no longer younger than it.
                        let aged = reader.offset_before(time.saturating_add(1))?;
                        ages.insert(age, aged);
                        aged
                    }
                },
            };
            let want = Want {
                aged,
                events: wish.events.map_or(0, |max| state.count.saturating_sub(max)),
                bytes: wish.bytes.map_or(0, |max| state.bytes.saturating_sub(max)),
                hold,
            };
            if state.oldest > aged && want.events == 0 && want.bytes == 0 {
                continue;
            }
            let name = name.clone();
            lookups += self.trim(&name, want)?;
        }
        self.turn = 0;
        Ok(())
    }

    /// Trims all events of `stream` up to and with `upto`, because the log says so.
    pub(super) fn emptied(&mut self, stream: &StreamName, upto: Offset) {
        let want = Want { aged: upto, events: 0, bytes: 0, hold: upto };
        let told = self.maintained.floors.len();
        if let Err(err) = self.trim(stream, want) {
            // The record is durable, so what is left to do is done at the next start.
            tracing::warn!(error = %err.chain(), "an emptied stream could not be counted");
        }
        // Who appended the record knows the floor.
        self.maintained.floors.truncate(told);
        let state = self.stream(stream);
        state.trimmed = state.trimmed.max(upto);
        let trimmed = state.trimmed;
        self.shared.set_trimmed(stream, trimmed);
        self.meta_stale = true;
    }

    /// Takes events off the front of a stream as long as one of the wishes asks for it; says how many segments it
    /// looked into.
    fn trim(&mut self, name: &StreamName, mut want: Want) -> Result<usize, Error> {
        let Some(mut state) = self.streams.get(name).cloned() else { return Ok(0) };
        let shared = self.shared.clone();
        let before = state.trimmed;
        let mut lookups = 0;
        let start = self.slots.partition_point(|slot| slot.segment.base() <= state.oldest).saturating_sub(1);
        for slot in self.slots.iter_mut().skip(start) {
            if state.count == 0 {
                break;
            }
            lookups += 1;
            let segment = slot.segment.clone();
            let Some(postings) = segment.postings(&shared.files, name)? else { continue };
            let place = |p: &Posting| segment.base() + u64::from(p.delta);
            let from = postings.partition(|p| place(p) <= state.trimmed)?;
            let sum_before = if from > 0 { postings.get(from - 1)?.sum } else { 0 };
            // The fewest that satisfy each wish, and at most what may go.
            let aged = postings.partition(|p| place(p) <= want.aged)?;
            let counted = from.saturating_add(u32::try_from(want.events).unwrap_or(u32::MAX));
            let sized = match want.bytes {
                0 => 0,
                bytes => postings.partition(|p| u64::from(p.sum - sum_before.min(p.sum)) < bytes)? + 1,
            };
            let held = postings.partition(|p| place(p) <= want.hold)?;
            let to = aged.max(counted).max(sized).min(held).min(postings.count);
            if to > from {
                let last = postings.get(to - 1)?;
                let (events, bytes) = (u64::from(to - from), u64::from(last.sum - sum_before));
                state.trimmed = place(&last);
                state.count = state.count.saturating_sub(events);
                state.bytes = state.bytes.saturating_sub(bytes);
                slot.events_live = slot.events_live.saturating_sub(events);
                slot.bytes_live = slot.bytes_live.saturating_sub(bytes);
                want.events = want.events.saturating_sub(events);
                want.bytes = want.bytes.saturating_sub(bytes);
            }
            if to < postings.count {
                state.oldest = place(&postings.get(to.max(from))?);
                break;
            }
        }
        if state.count == 0 {
            state.oldest = 0;
        }
        let trimmed = state.trimmed;
        self.streams.insert(name.clone(), state);
        if trimmed > before {
            // First, so that whoever misses events by the floor finds it here.
            self.shared.raised().push((name.clone(), trimmed));
            self.shared.set_trimmed(name, trimmed);
            self.maintained.floors.push((name.clone(), trimmed));
            self.meta_stale = true;
        }
        Ok(lookups)
    }

    /// Writes the index of a sealed segment for which there was no room.
    fn write_missing_index(&mut self) -> Result<(), Error> {
        let sealed = self.slots.len() - 1;
        let missing =
            self.slots.iter().take(sealed).position(|slot| matches!(slot.segment.index, Index::Memory(_)));
        if let Some(number) = missing {
            // What is reserved now is no less than at the segment's end; only the last segment's matters at a start.
            self.seal_index(number)?;
            self.publish_list();
        }
        Ok(())
    }

    /// Removes segments of which nothing counts, and rewrites one of which little does.
    fn free_segments(&mut self, now: Millis, hold: Offset) -> Result<(), Error> {
        let keys_age = u64::try_from(self.settings.keys_age.as_millis()).unwrap_or(u64::MAX);
        let sealed = self.slots.len() - 1;
        let free = |slot: &Slot| {
            slot.segment.last().max(slot.segment.last_row()) <= hold && slot.segment.end() > HEADER_END
        };
        let keys = |slot: &Slot| slot.key_time_max == 0 || slot.key_time_max.saturating_add(keys_age) < now;
        let dead = |slot: &Slot| free(slot) && slot.events_live == 0 && keys(slot);
        let sparse = |slot: &Slot| free(slot) && slot.events_live > 0 && slot.bytes_live * 2 < slot.bytes;
        let dead: Vec<usize> =
            (0..sealed).filter(|i| self.slots.get(*i).is_some_and(dead)).take(REMOVED_MAX + 1).collect();
        let sparse = (0..sealed).find(|i| self.slots.get(*i).is_some_and(sparse));
        if dead.is_empty() && sparse.is_none() {
            return Ok(());
        }
        if self.meta_stale && !self.note_floors()? {
            return Ok(());
        }
        self.maintained.more |= dead.len() > REMOVED_MAX;
        let dead = dead.get(..REMOVED_MAX).unwrap_or(&dead);
        if dead.is_empty() {
            // One rewrite at most, and none in a round that removed segments.
            return sparse.map_or(Ok(()), |number| self.rewrite(number, now));
        }
        self.maintained.more |= sparse.is_some();
        for number in dead.iter().rev() {
            self.remove(*number)?;
        }
        let synced = self.shared.files.disk.sync_dir();
        synced.map_err(|err| self.fail("sync the log's directory".to_owned(), err))
    }

    /// Writes `meta`; without room even after giving back what the active segment took in advance, says no.
    fn note_floors(&mut self) -> Result<bool, Error> {
        match self.write_meta() {
            Err(err) if err.kind() == ErrorKind::Full => {}
            other => return other.map(|()| true),
        }
        let segment = self.active().segment.clone();
        let file = self.shared.files.get(&segment.file_name(), segment.header.salt);
        let cut = file.and_then(|file| file.set_len(segment.end()));
        cut.map_err(|err| self.fail(format!("cut {}", segment.file_name()), err))?;
        self.state = State::Cut;
        match self.write_meta() {
            Err(err) if err.kind() == ErrorKind::Full => {
                tracing::warn!(file = META_NAME, error = %err.chain(), "no room to note what is trimmed");
                Ok(false)
            }
            other => other.map(|()| true),
        }
    }

    fn remove(&mut self, number: usize) -> Result<(), Error> {
        let Some(segment) = self.slots.get(number).map(|slot| slot.segment.clone()) else { return Ok(()) };
        for (name, count) in self.stored_in(&segment)? {
            if let Some(state) = self.streams.get_mut(&name) {
                state.stored = state.stored.saturating_sub(count);
            }
        }
        self.slots.remove(number);
        self.publish_list();
        // The index goes last: alone it is of no harm, and a segment without one is scanned.
        for name in [segment.file_name(), index_name(segment.base())] {
            self.shared.files.forget(&name);
            match self.shared.files.disk.unlink(&name) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => {
                    return Err(self.fail(format!("remove {name}"), err));
                }
                _ => {}
            }
        }
        self.maintained.segments_removed += 1;
        self.maintained.bytes_freed += segment.end();
        Ok(())
    }

    /// How many events each stream has in the files of a segment.
    fn stored_in(&self, segment: &Segment) -> Result<Vec<(StreamName, u64)>, Error> {
        if let Some(index) = segment.memory() {
            return Ok(index.streams.iter().map(|(name, p)| (name.clone(), p.len() as u64)).collect());
        }
        let idx = index_name(segment.base());
        let read = |err| unreadable(&idx, err);
        let bad = |damage| damaged(&idx, 0, damage);
        let file = self.shared.files.disk.open(&idx).map_err(read)?;
        let head = super::IndexHead::read(&*file).map_err(read)?.map_err(bad)?;
        let directory = head.directory(&*file).map_err(read)?.map_err(bad)?;
        Ok(directory.into_iter().map(|(entry, name)| (name, u64::from(entry.count))).collect())
    }

    /// Writes a sealed segment anew without what is trimmed.
    fn rewrite(&mut self, number: usize, now: Millis) -> Result<(), Error> {
        let Some(old) = self.slots.get(number).map(|slot| slot.segment.clone()) else { return Ok(()) };
        // Another salt, so that the old index is not taken for one of the new segment.
        let header = SegmentHeader { salt: self.salts.next(), ..old.header };
        let (seg, idx) = (segment_name(header.base), index_name(header.base));
        let (seg_tmp, idx_tmp) = (format!("{seg}{TMP_SUFFIX}"), format!("{idx}{TMP_SUFFIX}"));
        let disk = self.shared.files.disk.clone();
        let (bytes, index) = self.live_frames(&old, &header, now)?;
        let reserved = match &old.index {
            Index::File(index) => index.header.reserved,
            Index::Memory(_) => self.reserved,
        };
        let encoded = index.encode(header.salt, header.base, bytes.len() as u64, reserved);
        let write = |name: &str, bytes: &[u8]| {
            let file = disk.create(name)?;
            write_all(&*file, bytes, 0)?;
            file.sync_data()
        };
        match write(&seg_tmp, &bytes).and_then(|()| write(&idx_tmp, &encoded)) {
            Ok(()) => {}
            Err(err) if is_full(&err) => {
                tracing::warn!(file = seg, error = %err, "no room to rewrite a segment");
                // Best effort: both are removed at the next start too.
                let _ = disk.unlink(&seg_tmp);
                let _ = disk.unlink(&idx_tmp);
                return Ok(());
            }
            Err(err) => return Err(self.fail(format!("rewrite {seg}"), err)),
        }
        let stored: Vec<_> = self.stored_in(&old)?;
        let file_index = load_index(&*disk, &idx_tmp)?;
        for (name, count) in stored {
            let left = index.streams.get(&name).map_or(0, |postings| postings.len() as u64);
            if let Some(state) = self.streams.get_mut(&name) {
                state.stored = state.stored.saturating_sub(count - left);
            }
        }
        let new = Segment {
            header,
            index: Index::File(file_index),
            end: AtomicU64::new(bytes.len() as u64),
            last: AtomicU64::new(old.last()),
        };
        let mut slot = Slot::new(new, super::segment::key_time_max(&index.kept));
        (slot.events, slot.bytes) = (index.events, index.bytes);
        (slot.events_live, slot.bytes_live) = (index.events, index.bytes);
        if let Some(place) = self.slots.get_mut(number) {
            *place = slot;
        }
        let renamed = {
            // Readers who find the new files must find the new list too.
            let mut list = self.shared.list.write().unwrap_or_else(PoisonError::into_inner);
            let renamed = disk.rename(&seg_tmp, &seg).and_then(|()| disk.rename(&idx_tmp, &idx));
            *list = Arc::new(self.slots.iter().map(|slot| slot.segment.clone()).collect());
            self.shared.files.forget(&seg);
            self.shared.files.forget(&idx);
            renamed
        };
        renamed.and_then(|()| disk.sync_dir()).map_err(|err| self.fail(format!("rewrite {seg}"), err))?;
        self.maintained.rewritten += 1;
        self.maintained.bytes_freed += old.end().saturating_sub(bytes.len() as u64);
        Ok(())
    }

    /// The bytes of a segment with what still counts of `old`, and their index.
    fn live_frames(
        &self,
        old: &Segment,
        header: &SegmentHeader,
        now: Millis,
    ) -> Result<(Vec<u8>, SegmentIndex), Error> {
        let name = old.file_name();
        let file = self.shared.files.get(&name, old.header.salt).map_err(|err| unreadable(&name, err))?;
        let mut window = Window::new(file, &old.header, old.end());
        let mut bytes = header.encode().to_vec();
        let mut index = SegmentIndex::default();
        let mut at = HEADER_END;
        loop {
            let bad = |damage| damaged(&name, at, damage);
            let (frame, records) = match window.frame(at)? {
                Step::Frame(_, frame, records) => (frame, records),
                Step::End => return Ok((bytes, index)),
                Step::Damaged(damage) => return Err(bad(damage)),
            };
            let mut live = Vec::new();
            for record in records {
                let record = record.and_then(|raw| raw.record()).map_err(bad)?;
                if self.counts(&record, now) {
                    live.push(record);
                }
            }
            at += frame.frame_bytes();
            if live.is_empty() {
                continue;
            }
            let start = bytes.len();
            let places = encode_frame(header.salt, &live, &mut bytes);
            let ends = places.iter().copied().skip(1).chain([bytes.len()]);
            for ((record, at), end) in live.iter().zip(&places).zip(ends) {
                let place = Place { frame: start as u32, at: *at as u32, bytes: (end - at) as u32 };
                add_record(&mut index, header.base, place, record);
            }
        }
    }

    /// Whether a rewrite keeps the record.
    fn counts(&self, record: &Record, now: Millis) -> bool {
        let keys_age = u64::try_from(self.settings.keys_age.as_millis()).unwrap_or(u64::MAX);
        match record {
            Record::Event(event) => event.offset > self.trimmed(&event.stream),
            Record::Key(key) => key.time.saturating_add(keys_age) >= now,
            // Of these the newest counts, and that is in later segments or their headers.
            Record::Reserve { .. } | Record::Closed { .. } => false,
            // Noted in `meta`, which is written before.
            Record::SourcePosition { .. } | Record::Emptied { .. } | Record::Durability { .. } => false,
        }
    }

    /// Forgets streams without events when they are too many: those trimmed longest ago.
    fn forget_streams(&mut self) -> Result<(), Error> {
        if self.streams.len() <= self.settings.streams_max / 2 {
            return Ok(());
        }
        // A table has rows, whatever is kept of their changes.
        let empty = |name: &StreamName, state: &StreamState| {
            state.count == 0 && state.stored == 0 && !state.announced && name.table().is_none()
        };
        if self.streams.iter().filter(|(name, state)| empty(name, state)).count()
            <= self.settings.streams_max / 2
        {
            return Ok(());
        }
        let all = self.streams.iter().filter(|(name, state)| empty(name, state));
        let mut empty: Vec<(Offset, StreamName)> = all.map(|(n, state)| (state.trimmed, n.clone())).collect();
        empty.sort_unstable();
        empty.truncate(empty.len().saturating_sub(self.settings.streams_max / 4));
        for (trimmed, name) in empty {
            self.forgotten = self.forgotten.max(trimmed);
            self.streams.swap_remove(&name);
            self.shared.trimmed.write().unwrap_or_else(PoisonError::into_inner).remove(&name);
            self.maintained.forgotten_streams.push(name);
        }
        self.forgotten_at = self.reserved.max(self.last) + 1;
        self.turn = 0;
        // A stream that comes back is told from one that never went only by `forgotten_at`, so it must be durable now.
        self.meta_stale = true;
        self.note_floors().map(|_| ())
    }
}

/// What asks for trimming: events up to an offset, so many, so many bytes; nothing after `hold`.
struct Want {
    aged: Offset,
    events: u64,
    bytes: u64,
    hold: Offset,
}

const STREAMS_MAX: usize = 20_000;
const LOOKUPS_MAX: usize = 2_000;
const REMOVED_MAX: usize = 8;
