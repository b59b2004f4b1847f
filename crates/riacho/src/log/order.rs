//! What the order lock guards: offsets, visibility, streams, views.

use super::{
    AppendError, Appended, Entry, Log, Place, Settings,
    store::Recovered,
    streams::{Said, StreamIndex, Streams, Wanted},
    writer::Hold,
};
use crate::view::{Lagging, SharedView, Views, Wakes};
use riacho_core::{
    event::Event,
    name::{Selection, Selector, StreamName},
    position::{Epoch, Offset, Position},
    time::Millis,
    transport::{Control, Form, ResetReason},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
};
use tokio::sync::oneshot;

/// Events that have offsets, each with its stream's place.
pub(super) type Assigned = Vec<(StreamIndex, Arc<Event>)>;

/// Whether the log takes events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It does.
    Open,
    /// The disk is full: durable streams are read-only until there is room.
    Full,
    /// The disk failed: nothing more until a restart.
    Failed,
    /// It is being closed.
    Closing,
}

pub(super) struct Order {
    pub state: State,
    epoch: Epoch,
    next: Offset,
    /// `memory` events may take offsets up to this one: the log on disk knows they are used.
    pub reserved: Offset,
    /// The writer thread has given offsets to events that are not visible yet.
    pub committing: bool,
    /// `memory` batches that wait for that commit, to be visible after it.
    pub held: Vec<(Assigned, oneshot::Sender<Lagging>, Hold)>,
    time: Millis,
    pub streams: Streams,
    pub views: Views,
    pub keys: Keys,
}

impl Order {
    pub(super) fn recover(recovered: Recovered, settings: &Settings) -> Self {
        let mut streams = Streams::new(
            usize::try_from(settings.store.tail_bytes_max).unwrap_or(usize::MAX),
            settings.memory_bytes_max,
            recovered.tail_base,
            recovered.forgotten,
        );
        for found in recovered.streams {
            let index = streams.add(&found.name, settings.rules.of(found.name.as_str()));
            let Some(stream) = streams.get_mut(index) else { continue };
            // What was durable stays readable whatever the configuration says now; what was in memory is gone.
            let existed = found.newest.max(found.trimmed) > 0;
            stream.said = if found.memory { Said::MemoryBefore } else { Said::Durable };
            stream.newest = found.newest.max(found.trimmed);
            stream.trimmed = found.trimmed;
            stream.oldest = found.oldest.max(found.trimmed + 1);
            stream.count = found.count;
            stream.bytes = found.bytes;
            if existed {
                streams.exists(index);
            }
        }
        for event in recovered.tail {
            if let Some(index) = streams.find(event.stream.as_str()) {
                streams.recall(index, Arc::new(event));
            }
        }
        for index in streams.memory_streams() {
            streams.recount(index);
        }
        let mut keys = Keys::default();
        for key in recovered.keys {
            keys.insert(
                key.key,
                Answer {
                    body: key.body,
                    appended: Appended { first: key.first, count: key.count },
                    time: key.time,
                },
            );
        }
        Self {
            state: State::Open,
            epoch: recovered.epoch,
            next: recovered.next,
            reserved: recovered.next - 1,
            committing: false,
            held: Vec::new(),
            time: recovered.time,
            streams,
            views: Views::new(recovered.epoch, settings.views),
            keys,
        }
    }

    /// The places of the entries' streams, if all are `memory` streams that the disk knows and offsets are reserved.
    pub(super) fn memory_places(&self, entries: &[Entry]) -> Option<Vec<StreamIndex>> {
        let fits = self.next + entries.len() as u64 <= self.reserved + 1;
        if !fits || !matches!(self.state, State::Open | State::Full) {
            return None;
        }
        let place = |entry: &Entry| {
            let index = self.streams.find(entry.stream.as_str())?;
            let stream = self.streams.get(index)?;
            (stream.memory() && stream.is_said() && !stream.rule.closed).then_some(index)
        };
        entries.iter().map(place).collect()
    }

    /// The place of the stream `name`, which is created if it may be, claimed until [`Order::release`]: the stream
    /// stays while its first event is being committed, whoever stops reading it meanwhile.
    pub(super) fn place(
        &mut self,
        name: &StreamName,
        settings: &Settings,
    ) -> Result<StreamIndex, AppendError> {
        let found = self.streams.find(name.as_str());
        if !found.and_then(|index| self.streams.get(index)).is_some_and(|stream| stream.exists) {
            if !settings.creates(name) {
                return Err(AppendError::NotConfigured(name.clone()));
            }
            if self.streams.existing() >= settings.streams_max {
                return Err(AppendError::TooManyStreams);
            }
        }
        if settings.rules.of(name.as_str()).closed {
            return Err(AppendError::ClosedStream(name.clone()));
        }
        let index = found.unwrap_or_else(|| self.add_stream(name, settings));
        match self.streams.get_mut(index) {
            Some(stream) => {
                stream.busy_mut().claims += 1;
                self.streams.exists(index);
                Ok(index)
            }
            None => Err(AppendError::Failed),
        }
    }

    /// Gives back one claim on each of the streams, which [`Order::place`] took, and drops those that came into being
    /// for nothing.
    pub(super) fn release(&mut self, places: impl IntoIterator<Item = StreamIndex>) {
        for index in places {
            let Some(stream) = self.streams.get_mut(index) else { continue };
            let busy = stream.busy_mut();
            busy.claims = busy.claims.saturating_sub(1);
            stream.rest();
            if stream.busy().claims == 0 && stream.newest == 0 {
                self.streams.exists_no_more(index);
            }
            self.remove_unneeded(index);
        }
    }

    // Drops a stream without events that nobody reads or is about to append to.
    pub(super) fn remove_unneeded(&mut self, index: StreamIndex) {
        let Some(stream) = self.streams.get(index) else { return };
        if stream.newest == 0 && stream.busy().claims == 0 && stream.busy().views.is_empty() {
            self.streams.remove(index);
        }
    }

    /// Gives the entries their offsets and the time.
    pub(super) fn assign(
        &mut self,
        entries: &[Entry],
        streams: &[StreamIndex],
        now: Millis,
    ) -> (Appended, Assigned) {
        self.time = self.time.max(now);
        let first = self.next;
        let event = |((entry, index), offset): ((&Entry, &StreamIndex), Offset)| {
            let event = Event {
                offset,
                time: self.time,
                stream: self.streams.get(*index).map_or_else(|| entry.stream.clone(), |s| s.name.clone()),
                event_type: entry.event_type.clone(),
                data: entry.data.clone(),
            };
            (*index, Arc::new(event))
        };
        let events: Assigned = entries.iter().zip(streams).zip(first..).map(event).collect();
        self.next += events.len() as u64;
        let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
        (Appended { first, count }, events)
    }

    /// The offset that is given next.
    pub(super) fn next(&self) -> Offset {
        self.next
    }

    /// Takes back the offsets from `first` on, up to `end`, whose commit failed.
    ///
    /// They never were visible, and a restart may give them again: a cursor must not name them. Once `memory` events
    /// follow, whose offsets are reserved on disk, they are gaps that a restart skips as well.
    pub(super) fn take_back(&mut self, first: Offset, end: Offset) {
        if self.next == end {
            self.next = first;
        }
    }

    /// Gives all offsets from `first` on back, whoever has them: the log has failed and will make nothing visible again.
    pub(super) fn rewind(&mut self, first: Offset) {
        self.next = first;
    }

    /// Takes one offset for something that is no event.
    pub(super) fn take_offset(&mut self) -> Offset {
        let offset = self.next;
        self.next += 1;
        offset
    }

    /// Makes events visible.
    pub(super) fn publish(&mut self, events: Assigned, log: &Log) -> Wakes {
        let mut wakes = Wakes::default();
        self.publish_into(events, log, &mut wakes);
        self.settle(log);
        wakes
    }

    /// Makes events visible that are followed by others in the same turn; end it with [`Order::settle`].
    pub(super) fn publish_into(&mut self, events: Assigned, log: &Log, wakes: &mut Wakes) {
        let stats = &log.shared.stats;
        stats.events.fetch_add(events.len() as u64, Ordering::Relaxed);
        let mut bytes = 0;
        let mut memory = Vec::new();
        for (index, event) in events {
            bytes += event.data.text.len() as u64;
            if let Some(stream) = self.streams.get(index) {
                let encode = |form: Form, out: &mut Vec<u8>| form.event(out, self.epoch, &event);
                self.views.append(&stream.busy().views, event.offset, event.time, wakes, encode);
                if stream.memory() && memory.last() != Some(&index) {
                    memory.push(index);
                }
            }
            self.streams.push(index, event);
        }
        for index in memory {
            self.streams.enforce(index, self.time);
        }
        stats.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.streams.evict();
    }

    /// Makes the emptying of a stream visible; end it with [`Order::settle`].
    pub(super) fn publish_emptied(&mut self, index: StreamIndex, offset: Offset, wakes: &mut Wakes) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        (stream.count, stream.bytes) = (0, 0);
        stream.newest = offset;
        let control = Control::reset_one(ResetReason::Deleted, &stream.name);
        let position = Position { epoch: self.epoch, offset };
        let views = stream.busy().views.clone();
        self.streams.trim(index, offset);
        let encode = |form: Form, out: &mut Vec<u8>| form.control(out, position, &control);
        self.views.append(&views, offset, self.time, wakes, encode);
    }

    /// Lets readers see all that was published, unless a commit is in flight whose offsets come before.
    pub(super) fn settle(&mut self, log: &Log) {
        log.shared.published.store(self.next - 1, Ordering::Release);
    }

    /// From where a reader of the selection gets all that is kept.
    pub(super) fn earliest(&self, selection: &Selection, published: Offset) -> Offset {
        let kept =
            self.streams.selected(selection).map(|(_, stream)| stream).filter(|stream| stream.count > 0);
        kept.map(|stream| stream.oldest.max(stream.trimmed + 1) - 1).min().unwrap_or(published).min(published)
    }

    /// The streams of the selection of which a reader at `place` has missed events that are gone: a few names, or
    /// the patterns that cover them.
    pub(super) fn lost(&self, selection: &Selection, place: Place) -> Vec<String> {
        if place.trims >= self.streams.trims {
            return Vec::new();
        }
        let forgotten = self.streams.forgotten > place.after;
        let mut lost: Vec<String> = Vec::new();
        for name in selection.names() {
            let gone = self.streams.by_name(name.as_str()).map_or(forgotten, |s| s.trimmed > place.after);
            if gone {
                lost.push(name.to_string());
            }
        }
        for pattern in selection.patterns() {
            let one = Selection::new(vec![Selector::Pattern(pattern.clone())]);
            let gone = self.streams.selected(&one).filter(|(_, stream)| stream.trimmed > place.after);
            let names: Vec<String> = gone.take(LOST_NAMES_MAX + 1).map(|(_, s)| s.name.to_string()).collect();
            if forgotten || names.len() > LOST_NAMES_MAX {
                lost.push(pattern.as_str().to_owned());
            } else {
                lost.extend(names);
            }
        }
        lost.sort();
        lost.dedup();
        lost
    }

    /// Whether the event is no longer kept.
    pub(super) fn is_trimmed(&self, event: &Event) -> bool {
        self.streams.by_name(event.stream.as_str()).is_some_and(|stream| event.offset <= stream.trimmed)
    }

    /// The view of the selection, made where there is none, with one more subscriber.
    ///
    /// A new view takes from memory what a subscriber after `after` misses, within bounds: those who come after it,
    /// each missing about as much, are then served from the view.
    pub(super) fn enter_view(
        &mut self,
        selection: &Selection,
        form: Form,
        after: Offset,
        published: Offset,
        settings: &Settings,
    ) -> Arc<SharedView> {
        if let Some(view) = self.views.find(selection, form) {
            let view = Arc::clone(view);
            Views::enter(&view);
            return view;
        }
        for name in selection.names() {
            // Under a name that has no stream yet, so that the view is found when it comes into being; before the view
            // is there, which would be found twice then.
            if self.streams.find(name.as_str()).is_none() {
                self.add_stream(name, settings);
            }
        }
        let mut base = published;
        let mut events = Vec::new();
        if after < published && after >= self.streams.tail_base() {
            let wanted =
                Wanted { selection, after, upto: published, bytes_max: BACKFILL_BYTES, only_memory: false };
            let (found, upto) = self.streams.read(&wanted);
            // Only a backfill that reaches the head leaves no gap before what will be appended.
            if upto == published {
                (base, events) = (after, found);
            }
        }
        let view = self.views.add(selection, form, base);
        let mut wakes = Wakes::default();
        for event in events {
            let encode = |form: Form, out: &mut Vec<u8>| form.event(out, self.epoch, &event);
            self.views.append(std::slice::from_ref(&view), event.offset, event.time, &mut wakes, encode);
        }
        let places: Vec<StreamIndex> = self.streams.selected(selection).map(|(index, _)| index).collect();
        for index in places {
            if let Some(stream) = self.streams.get_mut(index) {
                stream.busy_mut().views.push(Arc::clone(&view));
            }
        }
        Views::enter(&view);
        view
    }

    /// Drops `view` if nobody reads it any more.
    pub(super) fn drop_view(&mut self, view: &Arc<SharedView>) {
        if !self.views.remove_unused(view) {
            return;
        }
        let places: Vec<StreamIndex> =
            self.streams.selected(view.selection()).map(|(index, _)| index).collect();
        for index in places {
            let Some(stream) = self.streams.get_mut(index) else { continue };
            let views = &mut stream.busy_mut().views;
            views.retain(|other| !Arc::ptr_eq(other, view));
            views.shrink_to_fit();
            stream.rest();
            self.remove_unneeded(index);
        }
    }

    fn add_stream(&mut self, name: &StreamName, settings: &Settings) -> StreamIndex {
        let views = self.views.matching(name.as_str());
        let index = self.streams.add(name, settings.rules.of(name.as_str()));
        if !views.is_empty()
            && let Some(stream) = self.streams.get_mut(index)
        {
            stream.busy_mut().views = views;
        }
        index
    }
}

/// Answers given under idempotency keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    answers: HashMap<[u8; 16], Answer>,
    by_age: VecDeque<[u8; 16]>,
}

/// What was answered under a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub body: [u8; 16],
    pub appended: Appended,
    pub time: Millis,
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    pub(super) fn get(&self, key: &[u8; 16]) -> Option<&Answer> {
        self.answers.get(key)
    }

    pub(super) fn insert(&mut self, key: [u8; 16], answer: Answer) {
        if self.answers.insert(key, answer).is_none() {
            self.by_age.push_back(key);
        }
    }

    /// Takes back the newest keys, down to `len`: their commit failed.
    pub(super) fn truncate(&mut self, len: usize) {
        while self.by_age.len() > len {
            if let Some(key) = self.by_age.pop_back() {
                self.answers.remove(&key);
            }
        }
    }

    /// Forgets the answers older than `oldest`.
    pub(super) fn expire(&mut self, oldest: Millis) {
        while let Some(key) = self.by_age.front() {
            if self.answers.get(key).is_some_and(|answer| answer.time >= oldest) {
                break;
            }
            self.answers.remove(key);
            self.by_age.pop_front();
        }
    }
}

// Names that one reset lists of one pattern; for more it names the pattern.
const LOST_NAMES_MAX: usize = 100;
// What a new view takes from memory at most; it is done under the order lock.
const BACKFILL_BYTES: usize = 1024 * 1024;
