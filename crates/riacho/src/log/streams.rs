//! The streams of a log and their events in memory.
//!
//! Each stream keeps its newest events; two rings remember in which order they came, so that the oldest go first: one
//! for durable events, which are only a cache here, and one for `memory` events, which live nowhere else. There may be
//! many streams that nobody uses: what only the others need is apart, in [`Busy`].

use super::by_name::{ByName, Spot};
use crate::{
    config::{Durability, StreamRule},
    view::{Reader, Readers, SharedView},
};
use riacho_core::{
    event::{Change, Event},
    log::segment::record_bytes,
    name::{Selection, StreamName},
    position::Offset,
};
use std::{collections::VecDeque, sync::Arc};

/// A stream's place in [`Streams`].
pub(super) type StreamIndex = u32;

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub name: StreamName,
    /// What the configuration says of it.
    pub rule: Arc<StreamRule>,
    /// What the log on disk says of its durability.
    pub said: Said,
    /// Its newest event ever; 0 before the first.
    pub newest: Offset,
    /// Its newest event that is no longer kept; 0 for none.
    pub trimmed: Offset,
    /// The oldest event that may still be kept.
    pub oldest: Offset,
    /// Events kept.
    pub count: u64,
    /// Bytes of the events kept, as records of the log.
    pub bytes: u64,
    /// Whether it counts as existing, or somebody only waits for it.
    pub exists: bool,
    busy: Option<Box<Busy>>,
}

/// What a stream has only while it is written or read, or has events in memory.
#[derive(Debug, Default)]
pub(super) struct Busy {
    /// Its newest events that are in memory.
    recent: VecDeque<Arc<Event>>,
    pub views: Vec<Arc<SharedView>>,
    /// The same views, where they are of a table, by their predicates.
    pub readers: Option<Box<Readers>>,
    /// Events of the commit in flight that go to it.
    pub claims: u32,
}

/// What the log on disk says of a stream's durability. It is told of a `memory` stream before the first event of each
/// run is visible, so that a restart can tell the stream's readers what they lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// Durable, or nothing.
    Durable,
    /// Memory, by an earlier run.
    MemoryBefore,
    /// Memory, by this run.
    Memory,
}

/// All streams of one log.
#[derive(Debug)]
pub(super) struct Streams {
    by_name: ByName,
    slots: Vec<Option<Stream>>,
    free: Vec<StreamIndex>,
    /// Streams that have or had events, or are about to: not those that somebody only waits for.
    existing: usize,
    /// The newest event of any stream that is no longer remembered by name.
    pub forgotten: Offset,
    /// Rises with every trim, so that a reader can tell that nothing was trimmed meanwhile.
    pub trims: u64,
    durable: Ring,
    memory: Ring,
}

/// What is to be read from memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Of which streams.
    pub selection: &'a Selection,
    /// Events after this offset,
    pub after: Offset,
    /// up to and including this one,
    pub upto: Offset,
    /// and about so many bytes of them.
    pub bytes_max: usize,
    /// Only events of `memory` streams: the disk gives the others.
    pub only_memory: bool,
}

#[derive(Debug)]
struct Ring {
    // Entries of events already gone stay until the ring is compacted or evicts them.
    order: VecDeque<(Offset, StreamIndex)>,
    events: usize,
    bytes: usize,
    bytes_max: usize,
    /// All events of the ring's kind above this are in memory.
    base: Offset,
}

impl Stream {
    /// Whether its events live in memory only.
    pub(super) fn memory(&self) -> bool {
        self.rule.durability == Durability::Memory
    }

    // Takes `event` as its newest.
    fn count_in(&mut self, event: &Event) {
        self.newest = event.offset;
        if self.count == 0 {
            self.oldest = event.offset;
        }
        self.count += 1;
        self.bytes += record_bytes(event);
    }

    /// Whether an event may follow without a word to the disk of where the stream's events live.
    pub(super) fn is_said(&self) -> bool {
        self.said == if self.memory() { Said::Memory } else { Said::Durable }
    }

    pub(super) fn busy(&self) -> &Busy {
        self.busy.as_deref().unwrap_or(&IDLE)
    }

    /// To make it busy; what ends that calls [`Stream::rest`].
    pub(super) fn busy_mut(&mut self) -> &mut Busy {
        self.busy.get_or_insert_default()
    }

    /// Gives back what only a busy stream needs, if it is none.
    pub(super) fn rest(&mut self) {
        let Busy { recent, views, claims, readers: _ } = self.busy();
        if recent.is_empty() && views.is_empty() && *claims == 0 {
            self.busy = None;
        }
    }
}

impl Busy {
    /// Adds a view that selects the stream.
    pub(super) fn add_view(&mut self, view: &Arc<SharedView>) {
        self.views.push(Arc::clone(view));
        if let Some(terms) = view.selection().terms() {
            let readers = self.readers.get_or_insert_with(|| Box::new(Readers::new()));
            readers.insert(&terms.predicate, Reader(Arc::clone(view)));
        }
    }

    /// Takes a view away.
    pub(super) fn remove_view(&mut self, view: &Arc<SharedView>) {
        self.views.retain(|other| !Arc::ptr_eq(other, view));
        self.views.shrink_to_fit();
        if let (Some(terms), Some(readers)) = (view.selection().terms(), &mut self.readers) {
            readers.remove(&terms.predicate, &Reader(Arc::clone(view)));
            if readers.is_empty() {
                self.readers = None;
            }
        }
    }
}

impl Streams {
    pub(super) fn new(
        tail_bytes_max: usize,
        memory_bytes_max: usize,
        base: Offset,
        forgotten: Offset,
    ) -> Self {
        let ring = |bytes_max| Ring { order: VecDeque::new(), events: 0, bytes: 0, bytes_max, base };
        Self {
            by_name: ByName::default(),
            slots: Vec::new(),
            free: Vec::new(),
            existing: 0,
            forgotten,
            trims: 1,
            durable: ring(tail_bytes_max),
            memory: ring(memory_bytes_max),
        }
    }

    /// How many streams have or had events, or are about to.
    pub(super) fn existing(&self) -> usize {
        self.existing
    }

    /// Notes that the stream at `index` has had events, or is about to have its first.
    pub(super) fn exists(&mut self, index: StreamIndex) {
        if let Some(stream) = self.slots.get_mut(index as usize).and_then(Option::as_mut)
            && !stream.exists
        {
            stream.exists = true;
            self.existing += 1;
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<StreamIndex> {
        self.by_name.get(self.spot(name)).filter(|index| self.name(*index) == name)
    }

    pub(super) fn get(&self, index: StreamIndex) -> Option<&Stream> {
        self.slots.get(index as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: StreamIndex) -> Option<&mut Stream> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Stream> {
        self.get(self.find(name)?)
    }

    /// Takes back [`Streams::exists`]: the first event never came.
    pub(super) fn exists_no_more(&mut self, index: StreamIndex) {
        if let Some(stream) = self.slots.get_mut(index as usize).and_then(Option::as_mut)
            && stream.exists
        {
            stream.exists = false;
            self.existing -= 1;
        }
    }

    /// Adds a stream that is not there yet.
    pub(super) fn add(&mut self, name: &StreamName, rule: &Arc<StreamRule>) -> StreamIndex {
        let stream = Stream {
            name: name.clone(),
            rule: Arc::clone(rule),
            said: Said::Durable,
            newest: 0,
            // It may be one of the forgotten that comes back.
            trimmed: self.forgotten,
            oldest: 0,
            count: 0,
            bytes: 0,
            exists: false,
            busy: None,
        };
        let spot = self.spot(name.as_str());
        let index = if let Some(index) = self.free.pop() {
            if let Some(slot) = self.slots.get_mut(index as usize) {
                *slot = Some(stream);
            }
            index
        } else {
            self.slots.push(Some(stream));
            StreamIndex::try_from(self.slots.len() - 1).unwrap_or(StreamIndex::MAX)
        };
        self.by_name.insert(spot, index);
        index
    }

    /// Removes a stream without events.
    pub(super) fn remove(&mut self, index: StreamIndex) {
        let spot = self.spot(self.name(index));
        if let Some(stream) = self.slots.get_mut(index as usize).and_then(Option::take) {
            self.by_name.remove(spot);
            self.existing -= usize::from(stream.exists);
            self.free.push(index);
        }
    }

    /// Every stream the selection matches now, with its place.
    pub(super) fn selected<'a>(
        &'a self,
        selection: &'a Selection,
    ) -> impl Iterator<Item = (StreamIndex, &'a Stream)> + 'a {
        let exact = selection.names().filter_map(|name| self.find(name.as_str()));
        let mut seen: Vec<StreamIndex> = exact.collect();
        for pattern in selection.patterns() {
            let prefix = pattern.literal_prefix();
            let from = self.by_name.range_from(self.spot(prefix));
            seen.extend(
                from.take_while(|index| self.name(*index).starts_with(prefix))
                    .filter(|index| pattern.matches(self.name(*index))),
            );
        }
        seen.sort_unstable();
        seen.dedup();
        seen.into_iter().filter_map(|index| self.get(index).map(|stream| (index, stream)))
    }

    /// Streams that have or had events and whose names begin with `prefix`, by name, from after `after` on.
    pub(super) fn list<'a>(
        &'a self,
        after: Option<&'a str>,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Stream> + 'a {
        let from = after.unwrap_or_default().max(prefix);
        self.by_name
            .range_from(self.spot(from))
            .filter_map(|index| self.get(index))
            .skip_while(move |stream| after == Some(stream.name.as_str()))
            .take_while(move |stream| stream.name.as_str().starts_with(prefix))
            .filter(|stream| stream.newest > 0 && stream.name.table().is_none())
    }

    /// Takes `event` as the newest of the stream at `index`.
    pub(super) fn push(&mut self, index: StreamIndex, event: Arc<Event>) {
        let Some(stream) = self.slots.get_mut(index as usize).and_then(Option::as_mut) else { return };
        let bytes = event_bytes(&event);
        stream.count_in(&event);
        let ring = if stream.memory() { &mut self.memory } else { &mut self.durable };
        ring.push(event.offset, index, bytes);
        stream.busy_mut().recent.push_back(event);
    }

    /// The same, but the disk alone keeps it, unless the stream lives in memory.
    pub(super) fn pass(&mut self, index: StreamIndex, event: &Arc<Event>) {
        match self.slots.get_mut(index as usize).and_then(Option::as_mut) {
            Some(stream) if !stream.memory() => {
                stream.count_in(event);
                self.durable.base = event.offset;
            }
            _ => self.push(index, Arc::clone(event)),
        }
    }

    /// Puts an event that the disk already holds into memory, without counting it again.
    pub(super) fn recall(&mut self, index: StreamIndex, event: Arc<Event>) {
        let Some(stream) = self.slots.get_mut(index as usize).and_then(Option::as_mut) else { return };
        let ring = if stream.memory() { &mut self.memory } else { &mut self.durable };
        ring.push(event.offset, index, event_bytes(&event));
        stream.busy_mut().recent.push_back(event);
    }

    /// Counts what a `memory` stream has: only what is in memory, whatever the disk holds of a time when it was durable.
    pub(super) fn recount(&mut self, index: StreamIndex) {
        let Some(stream) = self.get_mut(index).filter(|stream| stream.memory()) else { return };
        stream.count = stream.busy().recent.len() as u64;
        stream.bytes = stream.busy().recent.iter().map(|event| record_bytes(event)).sum();
    }

    /// Lets go of the oldest events while a ring is over its bound. Of `memory` streams that is a trim.
    pub(super) fn evict(&mut self) {
        while self.durable.bytes > self.durable.bytes_max {
            let Some((offset, index)) = self.durable.order.pop_front() else { break };
            self.durable.base = self.durable.base.max(offset);
            self.drop_recent(index, |event| event.offset <= offset);
        }
        while self.memory.bytes > self.memory.bytes_max {
            let Some((offset, index)) = self.memory.order.pop_front() else { break };
            self.trim(index, offset);
        }
        for memory in [false, true] {
            let ring = if memory { &mut self.memory } else { &mut self.durable };
            if ring.order.len() > 2 * ring.events + RING_SLACK {
                let mut order = std::mem::take(&mut ring.order);
                order.retain(|(offset, index)| {
                    let first = self.get(*index).and_then(|s| s.busy().recent.front());
                    first.is_some_and(|first| first.offset <= *offset)
                });
                let ring = if memory { &mut self.memory } else { &mut self.durable };
                ring.order = order;
            }
        }
    }

    /// Trims the stream at `index` up to and including `floor`.
    pub(super) fn trim(&mut self, index: StreamIndex, floor: Offset) {
        let Some(stream) = self.get_mut(index) else { return };
        if floor <= stream.trimmed {
            return;
        }
        stream.trimmed = floor;
        stream.oldest = stream.oldest.max(floor + 1);
        self.trims += 1;
        let (count, bytes) = self.drop_recent(index, |event| event.offset <= floor);
        if let Some(stream) = self.get_mut(index).filter(|stream| stream.memory()) {
            stream.count = stream.count.saturating_sub(count);
            stream.bytes = stream.bytes.saturating_sub(bytes);
        }
    }

    /// Trims a `memory` stream as its rule says; the disk does this for the others.
    pub(super) fn enforce(&mut self, index: StreamIndex, now: u64) {
        let Some(stream) = self.get(index).filter(|stream| stream.memory()) else { return };
        let keep = &stream.rule.keep;
        let oldest =
            keep.age.map_or(0, |age| now.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)));
        let (mut count, mut bytes, mut floor) = (stream.count, stream.bytes, 0);
        for event in &stream.busy().recent {
            let over =
                keep.events.is_some_and(|max| count > max) || keep.bytes.is_some_and(|max| bytes > max);
            if !over && event.time >= oldest {
                break;
            }
            floor = event.offset;
            count -= 1;
            bytes = bytes.saturating_sub(record_bytes(event));
        }
        if floor > 0 {
            self.trim(index, floor);
        }
    }

    /// The places of all streams that are `memory` streams, by their rule or by what the disk says.
    pub(super) fn memory_streams(&self) -> Vec<StreamIndex> {
        let places = self.by_name.iter();
        places
            .filter(|index| {
                self.get(*index).is_some_and(|stream| stream.memory() || stream.said != Said::Durable)
            })
            .collect()
    }

    /// Every durable event above this offset is in memory.
    pub(super) fn tail_base(&self) -> Offset {
        self.durable.base
    }

    /// The wanted events that are in memory, in order, and how far that is complete.
    pub(super) fn read(&self, wanted: &Wanted<'_>) -> (Vec<Arc<Event>>, Offset) {
        if wanted.selection.patterns().next().is_some() {
            self.read_rings(wanted)
        } else {
            self.read_streams(wanted)
        }
    }

    fn read_streams(&self, wanted: &Wanted<'_>) -> (Vec<Arc<Event>>, Offset) {
        let Wanted { selection, after, upto, bytes_max, only_memory } = *wanted;
        let mut events: Vec<Arc<Event>> = Vec::new();
        for name in selection.names() {
            let Some(stream) = self.by_name(name.as_str()) else { continue };
            if only_memory && !stream.memory() {
                continue;
            }
            let recent = &stream.busy().recent;
            let from = recent.partition_point(|event| event.offset <= after);
            // A prefix of each stream as long as the whole page may be: the merged page is then complete.
            let mut bytes = 0;
            for event in recent.range(from..).take_while(|event| event.offset <= upto) {
                if bytes > bytes_max {
                    break;
                }
                bytes += event_bytes(event);
                events.push(Arc::clone(event));
            }
        }
        events.sort_unstable_by_key(|event| event.offset);
        cut(events, bytes_max, upto)
    }

    fn read_rings(&self, wanted: &Wanted<'_>) -> (Vec<Arc<Event>>, Offset) {
        let Wanted { selection, after, upto, bytes_max, only_memory } = *wanted;
        let mut events = Vec::new();
        let (mut bytes, mut looked_at) = (0, 0);
        let from = |ring: &Ring| ring.order.partition_point(|(offset, _)| *offset <= after);
        let mut durable = self.durable.order.range(from(&self.durable)..).peekable();
        let mut memory = self.memory.order.range(from(&self.memory)..).peekable();
        loop {
            let next = match (durable.peek().filter(|_| !only_memory), memory.peek()) {
                (Some((d, _)), Some((m, _))) if d < m => durable.next(),
                (Some(_), None) => durable.next(),
                (_, Some(_)) => memory.next(),
                (None, None) => None,
            };
            let Some((offset, index)) = next.copied().filter(|(offset, _)| *offset <= upto) else {
                return (events, upto);
            };
            looked_at += 1;
            if bytes > bytes_max || looked_at > RING_SCAN_MAX {
                return (events, offset - 1);
            }
            let Some(stream) = self.get(index).filter(|s| selection.matches(s.name.as_str())) else {
                continue;
            };
            let recent = &stream.busy().recent;
            let place = recent.partition_point(|event| event.offset < offset);
            if let Some(event) = recent.get(place).filter(|event| event.offset == offset) {
                bytes += event_bytes(event);
                events.push(Arc::clone(event));
            }
        }
    }

    /// Offsets of the newest events in memory of the selection, at most `n`, newest first.
    pub(super) fn newest_offsets(&self, selection: &Selection, n: usize) -> Vec<Offset> {
        let mut offsets: Vec<Offset> = self
            .selected(selection)
            .flat_map(|(_, stream)| stream.busy().recent.iter().rev().take(n).map(|event| event.offset))
            .collect();
        offsets.sort_unstable_by(|a, b| b.cmp(a));
        offsets.truncate(n);
        offsets
    }

    /// The newest `memory` event older than `time`; 0 for none.
    pub(super) fn newest_memory_before(&self, time: u64) -> Offset {
        let older = |(offset, index): &(Offset, StreamIndex)| {
            let recent = &self.get(*index)?.busy().recent;
            let place = recent.binary_search_by_key(offset, |event| event.offset).ok()?;
            recent.get(place).filter(|event| event.time < time).map(|event| event.offset)
        };
        self.memory.order.iter().rev().find_map(older).unwrap_or(0)
    }

    /// Bytes of events in memory: durable and `memory`.
    pub(super) fn memory_bytes(&self) -> (usize, usize) {
        (self.durable.bytes, self.memory.bytes)
    }

    // Lets go of the oldest events of a stream; gives how many and how many bytes of data.
    fn drop_recent(&mut self, index: StreamIndex, old: impl Fn(&Event) -> bool) -> (u64, u64) {
        let Some(stream) = self.slots.get_mut(index as usize).and_then(Option::as_mut) else { return (0, 0) };
        let ring = if stream.memory() { &mut self.memory } else { &mut self.durable };
        let (mut count, mut bytes) = (0, 0);
        let Some(busy) = &mut stream.busy else { return (0, 0) };
        while let Some(event) = busy.recent.pop_front_if(|event| old(event)) {
            ring.bytes = ring.bytes.saturating_sub(event_bytes(&event));
            ring.events = ring.events.saturating_sub(1);
            count += 1;
            bytes += record_bytes(&event);
        }
        if busy.recent.is_empty() {
            busy.recent.shrink_to(RECENT_KEPT);
            stream.rest();
        }
        (count, bytes)
    }

    fn name(&self, index: StreamIndex) -> &str {
        self.get(index).map_or("", |stream| stream.name.as_str())
    }

    // Where in the order of names `name` is, or would be.
    fn spot(&self, name: &str) -> Spot {
        self.by_name.seek(|index| self.name(index) < name)
    }
}

impl Ring {
    fn push(&mut self, offset: Offset, index: StreamIndex, bytes: usize) {
        self.order.push_back((offset, index));
        self.events += 1;
        self.bytes += bytes;
    }
}

/// What an event costs in memory: its text and what surrounds it.
fn event_bytes(event: &Event) -> usize {
    let change = event.change.as_ref().map_or(0, |change| {
        size_of::<Change>() + change.key.len() + change.old.as_ref().map_or(0, |old| old.len())
    });
    size_of::<Event>() + EVENT_OVERHEAD + event.data.text.len() + change
}

fn cut(mut events: Vec<Arc<Event>>, bytes_max: usize, upto: Offset) -> (Vec<Arc<Event>>, Offset) {
    let mut bytes = 0;
    let full = events.iter().position(|event| {
        bytes += event_bytes(event);
        bytes > bytes_max
    });
    match full.map(|last| last + 1).filter(|len| *len < events.len()) {
        Some(len) => {
            events.truncate(len);
            let upto = events.last().map_or(upto, |event| event.offset);
            (events, upto)
        }
        None => {
            // Every stream gave all it has only if no stream stopped at the byte bound, which `full` would show.
            let complete = if full.is_some() { events.last().map_or(upto, |e| e.offset) } else { upto };
            (events, complete)
        }
    }
}

static IDLE: Busy = Busy { recent: VecDeque::new(), views: Vec::new(), readers: None, claims: 0 };

// The two reference counts of the Arc, its place in the stream and in the ring.
const EVENT_OVERHEAD: usize = 16 + 8 + 16;
// Entries of a ring one read looks at: it holds the order lock meanwhile.
const RING_SCAN_MAX: usize = 20_000;
// Entries of events already gone that a ring may hold beyond twice its events.
const RING_SLACK: usize = 4096;
const RECENT_KEPT: usize = 4;
