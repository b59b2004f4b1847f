//! What the order lock guards: offsets, visibility, streams, views.

use super::{
    AppendError, Appended, Entry, Log, Place, Settings,
    store::Recovered,
    streams::{Said, StreamIndex, Streams, Wanted},
    table::Made,
    writer::Hold,
};
use crate::{
    encode::{encode_run, same_transaction},
    error::{Error, ErrorKind},
    rows::Rows,
    view::{Lagging, SharedView, Views, Wakes},
};
use riacho_core::{
    event::{Change, Data, Event},
    name::{Selection, Selector, StreamName},
    position::{Epoch, Offset, Position},
    table::message::Mark,
    time::Millis,
    transport::{Control, Form, ResetReason, Resume},
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
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

/// Who feeds a table.
pub(super) struct Feeding {
    pub source: Arc<str>,
    /// Whether its rows are whole: until then nobody is told them.
    pub ready: bool,
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
    /// Tables that a source feeds.
    pub sources: HashMap<StreamName, Feeding>,
    /// Sources that feed tables by patterns and have not said which yet.
    pub starting: HashSet<Arc<str>>,
    /// What sources remember, by name.
    pub notes: HashMap<Box<str>, Box<[u8]>>,
    /// The newest change of any row.
    pub newest_change: Offset,
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
                    appended: Appended { first: key.first, count: key.count, created: key.created },
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
            sources: HashMap::new(),
            starting: HashSet::new(),
            notes: recovered.sources.into_iter().collect(),
            newest_change: 0,
        }
    }

    /// Makes a place for each table that has rows, though the log may remember none of its changes.
    pub(super) fn recall_tables(&mut self, rows: &Rows, settings: &Settings) {
        for table in rows.tables() {
            let index = match self.streams.find(table.name.as_str()) {
                Some(index) => index,
                None => self.add_stream(&table.name, settings),
            };
            if let Some(stream) = self.streams.get_mut(index) {
                stream.newest = stream.newest.max(table.newest).max(1);
                stream.trimmed = stream.trimmed.max(if stream.count == 0 { table.newest } else { 0 });
                self.streams.exists(index);
            }
        }
    }

    /// Remembers what sources remember.
    pub(super) fn remember(&mut self, notes: Vec<(Box<str>, Box<[u8]>)>) {
        for (name, value) in notes {
            if value.is_empty() {
                self.notes.remove(&name);
            } else {
                self.notes.insert(name, value);
            }
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
                change: None,
            };
            (*index, Arc::new(event))
        };
        let events: Assigned = entries.iter().zip(streams).zip(first..).map(event).collect();
        self.next += events.len() as u64;
        let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
        (Appended { first, count, created: false }, events)
    }

    /// Gives the changes of one transaction, at least one, their offsets, the time and the transaction's name. Each claims
    /// its stream, as it is released.
    pub(super) fn assign_changes(
        &mut self,
        made: Vec<(StreamIndex, Made)>,
        txid: Option<&str>,
        now: Millis,
    ) -> (Appended, Assigned) {
        self.time = self.time.max(now);
        let (first, count) = (self.next, made.len());
        self.next += count as u64;
        let end = Position { epoch: self.epoch, offset: self.next - 1 };
        let txid = txid.map(Arc::from).or_else(|| (count > 1).then(|| Arc::from(end.to_string())));
        // The last of a table completes the transaction for who reads that table alone.
        let lasts: HashMap<StreamIndex, Offset> =
            made.iter().zip(first..).map(|((index, _), offset)| (*index, offset)).collect();
        let mut events = Vec::with_capacity(count);
        for ((index, made), offset) in made.into_iter().zip(first..) {
            let Some(stream) = self.streams.get_mut(index) else { continue };
            stream.busy_mut().claims += 1;
            let Made { key, operation, old, new } = made;
            let last = lasts.get(&index) == Some(&offset);
            let change = Change { key, operation, old, txid: txid.clone(), last };
            let event = Event {
                offset,
                time: self.time,
                stream: stream.name.clone(),
                event_type: None,
                data: Data { text: new, json: true },
                change: Some(Box::new(change)),
            };
            events.push((index, Arc::new(event)));
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        (Appended { first, count, created: false }, events)
    }

    /// The time of the newest event.
    pub(super) fn time(&self) -> Millis {
        self.time
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
        let mut transaction = Vec::new();
        let mut events = events.into_iter().peekable();
        while let Some((index, event)) = events.next() {
            bytes += event.data.text.len() as u64;
            if event.change.is_some() {
                transaction.push((index, Arc::clone(&event)));
                if events.peek().is_none_or(|(_, next)| !same_transaction(&event, next)) {
                    self.publish_transaction(&transaction, log, wakes);
                    transaction.clear();
                }
            } else if let Some(stream) = self.streams.get(index) {
                // Cursors only grow: what waits to be told of tables beside this stream comes before.
                for view in stream.busy().views.iter().filter(|view| view.is_paced()) {
                    self.views.flush(view, self.time, wakes);
                }
                let encode = |form: Form, out: &mut Vec<u8>| form.event(out, self.epoch, &event);
                self.views.append(&stream.busy().views, event.offset, event.time, wakes, encode);
                if stream.memory() && memory.last() != Some(&index) {
                    memory.push(index);
                }
            }
            if self.is_being_copied(&event) {
                self.streams.pass(index, &event);
            } else {
                self.streams.push(index, event);
            }
        }
        for index in memory {
            self.streams.enforce(index, self.time);
        }
        stats.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.streams.evict();
    }

    // Whether it is of a first copy: nobody is told such changes, and they would drive what others read out of memory.
    fn is_being_copied(&self, event: &Event) -> bool {
        event.change.is_some() && self.sources.get(&event.stream).is_some_and(|feeding| !feeding.ready)
    }

    // Makes the changes of one transaction visible, to the rows and in each view as one piece.
    fn publish_transaction(&mut self, changes: &[(StreamIndex, Arc<Event>)], log: &Log, wakes: &mut Wakes) {
        let events: Vec<Arc<Event>> = changes.iter().map(|(_, event)| Arc::clone(event)).collect();
        log.shared.rows.publish(&events);
        self.newest_change = events.last().map_or(self.newest_change, |event| event.offset);
        let readers = |index| self.streams.get(index).and_then(|stream| stream.busy().readers.as_deref());
        self.views.append_changes(changes.iter().map(|(index, event)| (readers(*index), event)), wakes);
    }

    /// Makes the emptying of a stream visible; end it with [`Order::settle`].
    pub(super) fn publish_emptied(
        &mut self,
        index: StreamIndex,
        offset: Offset,
        log: &Log,
        wakes: &mut Wakes,
    ) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        (stream.count, stream.bytes) = (0, 0);
        stream.newest = offset;
        let name = stream.name.clone();
        let mut control = Control::reset_one(ResetReason::Deleted, &name);
        let position = Position { epoch: self.epoch, offset };
        let views = stream.busy().views.clone();
        self.streams.trim(index, offset);
        let Some(table) = name.table() else {
            let encode = |form: Form, out: &mut Vec<u8>| form.control(out, position, &control);
            return self.views.append(&views, offset, self.time, wakes, encode);
        };
        log.shared.rows.empty(&name, offset, self.time);
        self.newest_change = offset;
        for view in &views {
            // Of other tables what waits to be told still holds, and comes before.
            self.views.flush(view, self.time, wakes);
        }
        // The reset and a snapshot of nothing.
        let (alone, beside): (Vec<_>, Vec<_>) =
            views.into_iter().partition(|view| view.selection().without_tables().is_empty());
        for (views, resume) in [(alone, Resume::Nowhere), (beside, Resume::Here)] {
            if let Control::Reset { resume: of, .. } = &mut control {
                *of = resume;
            }
            let encode = |form: Form, out: &mut Vec<u8>| {
                form.control(out, position, &control);
                form.framed(out, |out| {
                    form.mark(out, None, table, Mark::SnapshotStart);
                    form.mark(out, Some(position), table, Mark::SnapshotEnd);
                });
            };
            self.views.append(&views, offset, self.time, wakes, encode);
        }
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

    /// The newest event of the selection's streams that is no longer kept; 0 for none. Views may still have it.
    pub(super) fn gone(&self, selection: &Selection) -> Offset {
        let trimmed = self.streams.selected(selection).map(|(_, stream)| stream.trimmed).max().unwrap_or(0);
        // They are known by no name: patterns may have selected them.
        if selection.patterns().next().is_some() { trimmed.max(self.streams.forgotten) } else { trimmed }
    }

    /// Whether every change after `after` of the tables of the selection is kept.
    pub(super) fn keeps_changes(&self, selection: &Selection, after: Offset) -> bool {
        let trimmed = |name: &StreamName| self.streams.by_name(name.as_str()).map_or(0, |s| s.trimmed);
        selection.tables().all(|name| trimmed(name) <= after)
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
    ) -> Result<Arc<SharedView>, Error> {
        if let Some(view) = self.views.find(selection, form) {
            let view = Arc::clone(view);
            Views::enter(&view);
            return Ok(view);
        }
        if self.views.totals().0 >= settings.views_max {
            let op = "make one more view: there are as many as `views_max` allows";
            return Err(Error::new(ErrorKind::Overloaded, op));
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
        // What a reader of tables missed is told by their rows.
        if after < published && after >= self.streams.tail_base() && selection.terms().is_none() {
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
        encode_run(form, self.epoch, selection.terms().map(|terms| &**terms), &events, true, |piece| {
            self.views.append_encoded(&view, piece.upto, piece.time, piece.bytes, &mut wakes);
        });
        let places: Vec<StreamIndex> = self.streams.selected(selection).map(|(index, _)| index).collect();
        for index in places {
            if let Some(stream) = self.streams.get_mut(index) {
                stream.busy_mut().add_view(&view);
            }
        }
        Views::enter(&view);
        Ok(view)
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
            stream.busy_mut().remove_view(view);
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
            for view in &views {
                stream.busy_mut().add_view(view);
            }
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
