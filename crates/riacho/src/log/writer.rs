//! The thread that commits: it drains the queue, judges what is asked in log order, writes one frame, syncs, makes the
//! events visible and answers all.

use super::{
    AppendError, Appended, Batch, Entry, Key, Log, Note, RowWrite, SourceWrite, TableWrite,
    order::{Answer, Assigned, Order, State},
    source,
    store::Store,
    streams::{Said, StreamIndex},
    table::{self, Known, Made, Outcome, Rules, State as RowState},
};
use crate::{
    clock,
    error::{Error, ErrorKind},
    rows,
    view::{Lagging, Wakes},
};
use riacho_core::{
    event::{Event, Operation},
    log::segment::{AnsweredKey, Record},
    name::StreamName,
    position::Offset,
    time::Millis,
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// What is asked of the writer.
pub(super) enum What {
    Append(Batch),
    Write(TableWrite),
    Source(SourceWrite),
    Empty(StreamName),
}

impl What {
    /// The idempotency key it comes with.
    fn key(&self) -> Option<Key> {
        match self {
            Self::Append(batch) => batch.key,
            Self::Write(write) => write.key,
            Self::Source(_) | Self::Empty(_) => None,
        }
    }

    /// The rows it is judged against.
    fn places(&self) -> Vec<(StreamName, Box<str>)> {
        match self {
            Self::Write(write) => {
                write.writes.iter().map(|row| (write.table.clone(), row.key.clone())).collect()
            }
            Self::Source(write) => write.places().map(|(table, key)| (table.clone(), key.into())).collect(),
            Self::Append(_) | Self::Empty(_) => Vec::new(),
        }
    }
}

type Answered = Result<(Appended, Lagging), AppendError>;

struct Op {
    what: What,
    reply: oneshot::Sender<Answered>,
    /// What stands for its bytes, until it is answered: a publisher that has gone does not end it.
    hold: Hold,
    /// Whether the rows that it names are more than one commit has room for.
    large: bool,
}

/// A share of the bytes that may be in flight; none where the edge does not count them.
pub(super) type Hold = Option<OwnedSemaphorePermit>;

/// What publishers ask, in order. Bounded by the bytes the edge lets in flight.
pub(super) struct Queue {
    ops: Mutex<VecDeque<Op>>,
    arrived: Condvar,
    closed: AtomicBool,
    acks: Mutex<Option<mpsc::UnboundedSender<Acks>>>,
}

/// Answers of one commit: sent by a task of the runtime, so that a commit wakes the runtime once and not once for
/// each publisher. Unbounded in name only: each is the answer to an op that was in the queue.
pub(super) type Acks = Vec<(oneshot::Sender<Answered>, Answered)>;

/// Sends the answers of each commit.
pub(super) async fn acknowledge(mut acks: mpsc::UnboundedReceiver<Acks>) {
    while let Some(commit) = acks.recv().await {
        for (reply, answer) in commit {
            // A publisher that has gone needs no answer.
            let _ = reply.send(answer);
        }
    }
}

impl Queue {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Acks>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let queue = Self {
            ops: Mutex::new(VecDeque::new()),
            arrived: Condvar::new(),
            closed: AtomicBool::new(false),
            acks: Mutex::new(Some(sender)),
        };
        (queue, receiver)
    }

    /// Asks the writer and waits for its answer.
    pub(super) async fn send(&self, what: What, hold: Hold) -> Answered {
        let (reply, answer) = oneshot::channel();
        {
            let mut ops = self.lock();
            if self.closed.load(Ordering::Acquire) {
                return Err(AppendError::Closing);
            }
            ops.push_back(Op { what, reply, hold, large: false });
        }
        self.arrived.notify_one();
        answer.await.unwrap_or(Err(AppendError::Failed))
    }

    /// Lets the writer finish what is queued, and nothing more.
    pub(super) fn close(&self) {
        let ops = self.lock();
        self.closed.store(true, Ordering::Release);
        drop(ops);
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Op>> {
        // Pushing and popping leave the queue whole whatever panics beside it.
        self.ops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Gives back what did not fit into a frame, to be taken first.
    fn put_back(&self, mut asked: VecDeque<Op>) {
        let mut ops = self.lock();
        while let Some(op) = asked.pop_back() {
            ops.push_front(op);
        }
    }

    // Waits for ops, at most `patience`; takes as many as make about one frame. `None` once closed and empty.
    fn drain(&self, bytes_max: usize, patience: Duration) -> Option<Vec<Op>> {
        let mut ops = self.lock();
        if ops.is_empty() {
            if self.closed.load(Ordering::Acquire) {
                return None;
            }
            ops = self.arrived.wait_timeout(ops, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut bytes = 0;
        let taken = ops.iter().take_while(|op| {
            let fits = bytes == 0 || bytes + op.bytes() <= bytes_max;
            bytes += op.bytes();
            fits
        });
        let taken = taken.count();
        Some(ops.drain(..taken).collect())
    }
}

impl Op {
    fn bytes(&self) -> usize {
        match &self.what {
            What::Write(write) => write.writes.iter().map(|row| write_bytes(&write.table, row)).sum(),
            What::Source(write) => write.bytes(),
            what => what_bytes(what),
        }
    }
}

// Bytes of an op's records, as far as they are known before it is judged.
fn what_bytes(what: &What) -> usize {
    match what {
        What::Append(batch) => batch.entries.iter().map(entry_bytes).sum(),
        What::Write(_) | What::Source(_) => 0,
        What::Empty(_) => RECORD_OVERHEAD,
    }
}

// Why rows take nothing: no room, which passes, or a failure for good.
fn rows_refuse(log: &Log) -> AppendError {
    match log.shared.rows.failed() {
        Some(rows::Failure::Full) => AppendError::Full,
        Some(rows::Failure::Failed) | None => AppendError::RowsFailed,
    }
}

// Bytes of records that fit into a frame, heads and names beside them.
fn frame_room(log: &Log) -> usize {
    let frame_bytes_max = log.shared.settings.store.frame_bytes_max;
    usize::try_from(frame_bytes_max - frame_bytes_max / 8).unwrap_or(usize::MAX)
}

// Why the log takes nothing, if so.
fn refusal(order: &Order) -> Option<Judged> {
    let refused = match order.state {
        State::Open => return None,
        State::Full => AppendError::Full,
        State::Failed => AppendError::Failed,
        State::Closing => AppendError::Closing,
    };
    Some(Judged::Refused(refused))
}

fn entry_bytes(entry: &Entry) -> usize {
    let event_type = entry.event_type.as_ref().map_or(0, |event_type| event_type.as_str().len());
    entry.data.text.len() + entry.stream.as_str().len() + event_type + RECORD_OVERHEAD
}

// The record of a change holds the row before too, of which nothing is known yet: as large as the row after, say.
fn write_bytes(table: &StreamName, row: &RowWrite) -> usize {
    row.key.len() + table.as_str().len() + 2 * row.action.value().map_or(0, str::len) + RECORD_OVERHEAD
}

/// Starts the writer thread.
pub(super) fn spawn(log: Log, store: Store) -> Result<JoinHandle<()>, Error> {
    let run = move || Writer { log, store, maintained: clock::now(), trims_on: false }.run();
    thread::Builder::new()
        .name("log-writer".into())
        .spawn(run)
        .map_err(|err| Error::new(ErrorKind::Unavailable, "start the log writer thread").caused_by(err))
}

struct Writer {
    log: Log,
    store: Store,
    maintained: Millis,
    /// Whether retention has more to do: one round of it does a bounded amount.
    trims_on: bool,
}

/// One op, judged.
enum Judged {
    Append(Appended, Assigned),
    Empty(StreamIndex, Offset),
    /// Asked before, under the same key; `visible` unless that is of this very commit.
    Answered {
        appended: Appended,
        visible: bool,
    },
    Refused(AppendError),
}

/// What one commit writes, and what it makes true beside its events: nothing may build on that before it is durable.
struct Frame {
    now: Millis,
    records: Vec<Record>,
    /// Offsets that `memory` events may use then.
    reserved: Offset,
    /// Streams of whose durability the disk knows then.
    said: Vec<StreamIndex>,
    /// The rows that the ops of this frame write, as the ops judged so far leave them.
    known: Known,
    /// What sources remember then.
    notes: Vec<(Box<str>, Box<[u8]>)>,
    /// About the bytes of the records.
    bytes: usize,
}

/// Where a frame and the offsets stood before an op.
struct Undo {
    records: usize,
    next: Offset,
}

impl Writer {
    fn run(mut self) {
        let frame_bytes_max = self.log.shared.settings.store.frame_bytes_max;
        // Names and record heads come on top of what the queue counts.
        let frame_bytes = usize::try_from(frame_bytes_max / 2).unwrap_or(usize::MAX);
        loop {
            let patience = self.patience();
            let Some(ops) = self.log.shared.queue.drain(frame_bytes, patience) else { break };
            if !ops.is_empty() {
                self.commit(ops);
            }
            self.maintain();
        }
        self.end();
    }

    fn patience(&self) -> Duration {
        let interval = self.log.shared.settings.trim_interval;
        if self.trims_on {
            return TRIM_PAUSE;
        }
        if self.log.lock().state == State::Full { interval.min(PROBE_INTERVAL) } else { interval }
    }

    fn commit(&mut self, mut ops: Vec<Op>) {
        let mut frame = Frame {
            now: clock::now(),
            records: Vec::new(),
            reserved: 0,
            said: Vec::new(),
            bytes: 0,
            known: self.known(&mut ops),
            notes: Vec::new(),
        };
        let mut order = self.log.lock();
        let (keys, first) = (order.keys.len(), order.next());
        let mut asked = VecDeque::from(ops);
        let mut ops = Vec::with_capacity(asked.len());
        while let Some(Op { what, reply, hold, large }) = asked.pop_front() {
            if large {
                ops.push((Judged::Refused(AppendError::TooLarge), reply, hold));
                continue;
            }
            match frame.judge(what, &mut order, &self.log) {
                Ok(judged) => ops.push((judged, reply, hold)),
                Err(what) => {
                    asked.push_front(Op { what, reply, hold, large });
                    break;
                }
            }
        }
        self.log.shared.queue.put_back(asked);
        let end = order.next();
        order.committing = true;
        drop(order);

        let started = clock::instant();
        let written = if frame.records.is_empty() { Ok(()) } else { self.store.append(&frame.records) };
        let stats = &self.log.shared.stats;
        stats.commits.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        stats.commit_micros.fetch_add(micros, Ordering::Relaxed);

        let mut order = self.log.lock();
        let mut wakes = Wakes::default();
        match &written {
            Ok(()) => {
                order.reserved = order.reserved.max(frame.reserved);
                order.remember(std::mem::take(&mut frame.notes));
                for index in frame.said {
                    if let Some(stream) = order.streams.get_mut(index) {
                        stream.said = if stream.memory() { Said::Memory } else { Said::Durable };
                    }
                }
            }
            Err(err) => {
                order.keys.truncate(keys);
                order.take_back(first, end);
                self.note(&mut order, err);
            }
        }
        let mut answers = Vec::with_capacity(ops.len());
        for (judged, reply, _hold) in ops {
            let claimed: Vec<StreamIndex> = match &judged {
                Judged::Append(_, events) => events.iter().map(|(index, _)| *index).collect(),
                _ => Vec::new(),
            };
            let answer = match (judged, &written) {
                // It may have been judged against what is not there now.
                (Judged::Refused(AppendError::Write(..)), Err(err)) => Err(AppendError::from(err)),
                (Judged::Refused(refused), _) => Err(refused),
                (Judged::Answered { appended, visible: true }, _) => Ok(appended),
                (_, Err(err)) => Err(AppendError::from(err)),
                (Judged::Answered { appended, .. }, Ok(())) => Ok(appended),
                (Judged::Append(appended, events), Ok(())) => {
                    order.publish_into(events, &self.log, &mut wakes);
                    Ok(appended)
                }
                (Judged::Empty(index, offset), Ok(())) => {
                    order.publish_emptied(index, offset, &self.log, &mut wakes);
                    Ok(Appended { first: offset, count: 1, created: false })
                }
            };
            order.release(claimed);
            answers.push((reply, answer));
        }
        let mut held = std::mem::take(&mut order.held);
        let mut refused = Vec::new();
        if written.is_err() && order.state == State::Failed {
            // Nobody knows whether the frame is on disk, and a restart may find it there: nothing after it may be seen.
            refused = std::mem::take(&mut held);
            order.rewind(first);
        }
        let mut waiting = Vec::with_capacity(held.len());
        for (events, published, hold) in held {
            order.publish_into(events, &self.log, &mut wakes);
            waiting.push((published, hold));
        }
        order.committing = false;
        order.settle(&self.log);
        drop(order);
        // Their publishers learn that the log failed.
        drop(refused);

        let lagging = wakes.wake();
        let answered = |(reply, answer): (_, Result<Appended, AppendError>)| {
            (reply, answer.map(|appended| (appended, lagging.clone())))
        };
        self.acknowledge(answers.into_iter().map(answered).collect());
        for (published, _hold) in waiting {
            let _ = published.send(lagging.clone());
        }
    }

    // The rows that `ops` write. Read before the order lock is taken, as it may need the disk: nobody but this thread
    // changes a row. A row that cannot be read is left out, and writes to it refused.
    fn known(&self, ops: &mut [Op]) -> Known {
        let mut known = Known::new();
        let room = frame_room(&self.log);
        for op in ops {
            let mut bytes = 0;
            for place in op.what.places() {
                if known.contains_key(&place) {
                    continue;
                }
                // Publishers are bounded by the bodies they may send.
                if bytes > room && matches!(op.what, What::Source(_)) {
                    op.large = true;
                    break;
                }
                match self.log.shared.rows.row(&place.0, &place.1) {
                    Ok(row) => {
                        bytes += row.as_ref().map_or(0, |row| row.value.len());
                        known.insert(place, row.map(|row| RowState { value: row.value, offset: row.offset }));
                    }
                    Err(err) => tracing::error!(error = err.chain(), "row not read, write refused"),
                }
            }
        }
        known
    }

    fn acknowledge(&self, answers: Acks) {
        let acks = self.log.shared.queue.acks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(acks) = &*acks {
            // Fails only when the runtime is gone, and every publisher with it.
            let _ = acks.send(answers);
        }
    }

    fn note(&self, order: &mut Order, err: &Error) {
        match err.kind() {
            ErrorKind::Full if order.state == State::Open => {
                tracing::error!(
                    error = err.chain(),
                    "disk full: durable streams are read-only until there is room"
                );
                order.state = State::Full;
            }
            ErrorKind::Full | ErrorKind::BadRequest => {}
            _ => {
                tracing::error!(
                    error = err.chain(),
                    "log failed: no events are taken until the server is restarted"
                );
                order.state = State::Failed;
            }
        }
    }

    // Retention, forgetting of keys, and a look whether there is room again.
    fn maintain(&mut self) {
        let now = clock::now();
        let state = self.log.lock().state;
        if state == State::Full && self.store.probe().is_ok() {
            tracing::info!("room on the disk: durable streams take events again");
            self.log.lock().state = State::Open;
        }
        let interval = u64::try_from(self.log.shared.settings.trim_interval.as_millis()).unwrap_or(u64::MAX);
        let due = self.trims_on || now.saturating_sub(self.maintained) >= interval;
        if !due || state == State::Failed {
            return;
        }
        self.maintained = now;
        let rules = &self.log.shared.settings.rules;
        let keep = |name: &StreamName| rules.of(name.as_str()).keep;
        // What the rows do not have yet they would miss after a restart.
        let applied = self.log.rows().applied();
        let hold = if applied < self.log.lock().newest_change { applied } else { Offset::MAX };
        let maintained = match self.store.maintain(now, &keep, hold) {
            Ok(maintained) => maintained,
            Err(err) => {
                self.trims_on = false;
                tracing::warn!(error = err.chain(), "retention did not run");
                return;
            }
        };
        self.log
            .shared
            .stats
            .segments_removed
            .fetch_add(maintained.segments_removed as u64, Ordering::Relaxed);
        self.trims_on = maintained.more;
        // Each is a transaction of the rows: not in every round of a long trim.
        let forgetting = if self.trims_on { Vec::new() } else { self.log.rows().tables() };
        for table in forgetting.into_iter().filter(|table| table.tombstones > 0) {
            let rule = rules.tables().of(table.name.table().unwrap_or_default());
            let tombstones = u64::try_from(rule.tombstones.as_millis()).unwrap_or(u64::MAX);
            self.log.rows().expire(&table.name, now.saturating_sub(tombstones));
        }
        let keys_age = u64::try_from(self.log.shared.settings.store.keys_age.as_millis()).unwrap_or(u64::MAX);
        let mut order = self.log.lock();
        order.keys.expire(now.saturating_sub(keys_age));
        self.log.shared.reader.forget_raised();
        for (name, floor) in maintained.floors {
            let Some(index) = order.streams.find(name.as_str()) else { continue };
            order.streams.trim(index, floor);
            let kept = self.store.kept(&name);
            if let Some(stream) = order.streams.get_mut(index).filter(|stream| !stream.memory()) {
                (stream.count, stream.bytes, stream.oldest) = kept;
            }
        }
        let memory = order.streams.memory_streams();
        for index in memory {
            order.streams.enforce(index, now);
        }
        order.streams.forgotten = order.streams.forgotten.max(maintained.forgotten);
        for name in maintained.forgotten_streams {
            let Some(index) = order.streams.find(name.as_str()) else { continue };
            order.streams.exists_no_more(index);
            if let Some(stream) = order.streams.get_mut(index) {
                (stream.newest, stream.said) = (0, Said::Durable);
            }
            // Unless somebody reads it: then it goes with the reader.
            order.remove_unneeded(index);
        }
    }

    fn end(self) {
        let memory = {
            let mut order = self.log.lock();
            order.state = State::Closing;
            let newest = |index: &StreamIndex| {
                let stream = order.streams.get(*index).filter(|stream| stream.newest > 0)?;
                Some((stream.name.clone(), stream.newest))
            };
            order.streams.memory_streams().iter().filter_map(newest).collect::<Vec<_>>()
        };
        let next = self.log.published() + 1;
        if let Err(err) = self.store.close(next, memory) {
            tracing::error!(error = err.chain(), "log was not closed cleanly; nothing acknowledged is lost");
        }
        *self.log.shared.queue.acks.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Frame {
    // Judges one op against all that came before it; adds what must become durable for it. Gives it back where it does not
    // fit: how large the rows before are, which its records hold too, is known only now.
    fn judge(&mut self, what: What, order: &mut Order, log: &Log) -> Result<Judged, What> {
        let before = self.bytes;
        self.bytes += what_bytes(&what);
        if before > 0 && self.bytes > frame_room(log) {
            return Err(what);
        }
        if let Some(judged) = self.judge_key(what.key(), order, log).or_else(|| refusal(order)) {
            return Ok(judged);
        }
        match what {
            What::Append(batch) => Ok(self.judge_append(&batch, order, log)),
            What::Write(write) => self.judge_write(write, order, log).map_err(What::Write),
            What::Source(write) => self.judge_source(write, order, log).map_err(What::Source),
            What::Empty(name) => Ok(self.judge_empty(name, order)),
        }
    }

    fn judge_empty(&mut self, name: StreamName, order: &mut Order) -> Judged {
        match order.streams.find(name.as_str()) {
            Some(index) if order.streams.get(index).is_some_and(|stream| stream.newest > 0) => {
                let upto = order.take_offset();
                // What is written after it in this frame finds no row.
                self.known.iter_mut().filter(|((of, _), _)| *of == name).for_each(|(_, row)| *row = None);
                self.records.push(Record::Emptied { stream: name, upto, time: self.now });
                self.records.push(Record::Reserve { upto });
                Judged::Empty(index, upto)
            }
            _ => Judged::Refused(AppendError::UnknownStream(name)),
        }
    }

    // What an idempotency key alone says of an op.
    fn judge_key(&self, key: Option<Key>, order: &Order, log: &Log) -> Option<Judged> {
        let Key { key, body } = key?;
        match order.keys.get(&key) {
            Some(answer) if answer.body == body => {
                let visible = answer.appended.last() <= log.published();
                Some(Judged::Answered { appended: answer.appended, visible })
            }
            Some(_) => Some(Judged::Refused(AppendError::KeyReused)),
            None if order.keys.len() >= log.shared.settings.keys_max => {
                Some(Judged::Refused(AppendError::TooManyKeys))
            }
            None => None,
        }
    }

    fn judge_append(&mut self, batch: &Batch, order: &mut Order, log: &Log) -> Judged {
        let settings = &log.shared.settings;
        let mut places = Vec::with_capacity(batch.entries.len());
        for entry in &batch.entries {
            match order.place(&entry.stream, settings) {
                Ok(place) => places.push(place),
                Err(refused) => {
                    order.release(places);
                    return Judged::Refused(refused);
                }
            }
        }
        let (appended, events) = order.assign(&batch.entries, &places, self.now);
        let mut memory = false;
        for (index, event) in &events {
            let Some(stream) = order.streams.get(*index) else { continue };
            if !stream.is_said() && !self.said.contains(index) {
                // On disk before the event is visible: both are in this commit or neither.
                self.said.push(*index);
                let (stream, memory) = (stream.name.clone(), stream.memory());
                self.records.push(Record::Durability { stream, memory, at: event.offset });
            }
            if stream.memory() {
                memory = true;
            } else {
                self.records.push(Record::Event(Event::clone(event)));
            }
        }
        if memory && order.reserved.max(self.reserved) < appended.last() + RESERVE / 2 {
            self.reserved = appended.last() + RESERVE;
            self.records.push(Record::Reserve { upto: self.reserved });
        }
        self.answer(batch.key, appended, order);
        Judged::Append(appended, events)
    }

    fn judge_write(&mut self, write: TableWrite, order: &mut Order, log: &Log) -> Result<Judged, TableWrite> {
        let settings = &log.shared.settings;
        let table = write.table.table().unwrap_or_default();
        if let Some(source) = order
            .sources
            .get(&write.table)
            .map(|feeding| &feeding.source)
            .filter(|source| write.source.as_ref() != Some(source))
        {
            return Ok(Judged::Refused(AppendError::ReadOnly(write.table.clone(), Arc::clone(source))));
        }
        if log.shared.rows.failed().is_some() {
            return Ok(Judged::Refused(rows_refuse(log)));
        }
        let place = |row: &RowWrite| (write.table.clone(), row.key.clone());
        if !write.writes.iter().all(|row| self.known.contains_key(&place(row))) {
            return Ok(Judged::Refused(rows_refuse(log)));
        }
        let schema = settings.schemas.of(settings.rules.tables().of(table));
        let room = frame_room(log);
        let rules = Rules { schema, row_bytes_max: settings.row_bytes_max, bytes_max: room };
        let made = match table::judge(&write, &self.known, &rules) {
            Ok(Outcome::Changes(made)) => made,
            Ok(Outcome::Nothing(newest)) => {
                let appended = Appended { first: newest, count: 0, created: false };
                self.answer(write.key, appended, order);
                let visible = newest <= log.published();
                return Ok(Judged::Answered { appended, visible: visible && write.key.is_none() });
            }
            Ok(Outcome::TooLarge) => return Ok(Judged::Refused(AppendError::TooLarge)),
            Err((index, refused)) => return Ok(Judged::Refused(AppendError::Write(index, refused))),
        };
        let bytes: usize = made.iter().map(Made::bytes).sum();
        if !self.records.is_empty() && self.bytes + bytes > room {
            return Err(write);
        }
        self.bytes += bytes;
        let index = match order.place(&write.table, settings) {
            Ok(index) => index,
            Err(refused) => return Ok(Judged::Refused(refused)),
        };
        let created = matches!(&*made, [Made { operation: Operation::Insert, .. }]);
        let made = made.into_iter().map(|made| (index, made)).collect();
        let (appended, events) = order.assign_changes(made, write.txid.as_deref(), self.now);
        order.release([index]);
        let appended = Appended { created, ..appended };
        self.record_changes(&events);
        self.answer(write.key, appended, order);
        Ok(Judged::Append(appended, events))
    }

    // All transactions of a source's write or none. What it remembers counts only once they are durable.
    fn judge_source(
        &mut self,
        write: SourceWrite,
        order: &mut Order,
        log: &Log,
    ) -> Result<Judged, SourceWrite> {
        if log.shared.rows.failed().is_some() || !self.knows(&write) {
            return Ok(Judged::Refused(rows_refuse(log)));
        }
        let (before, settings) =
            (Undo { records: self.records.len(), next: order.next() }, &log.shared.settings);
        let bytes_before = self.bytes;
        let mut all: Assigned = Vec::new();
        for transaction in &write.transactions {
            let made = match source::judge(transaction, &self.known, settings.row_bytes_max) {
                Ok(made) => made,
                Err(unfit) => {
                    self.undo(&before, &all, order);
                    return Ok(Judged::Refused(AppendError::Unfit(Box::new(unfit))));
                }
            };
            self.bytes += made.iter().map(|(_, made)| made.bytes()).sum::<usize>();
            if self.bytes > frame_room(log) {
                self.undo(&before, &all, order);
                // Alone in its frame it would not fit either.
                let alone = before.records == 0 && bytes_before == 0;
                return if alone { Ok(Judged::Refused(AppendError::TooLarge)) } else { Err(write) };
            }
            let mut places: HashMap<StreamName, StreamIndex> = HashMap::new();
            for (table, _) in &made {
                if places.contains_key(table) {
                    continue;
                }
                match order.place(table, settings) {
                    Ok(index) => places.insert(table.clone(), index),
                    Err(refused) => {
                        order.release(places.into_values());
                        self.undo(&before, &all, order);
                        return Ok(Judged::Refused(refused));
                    }
                };
            }
            let placed = made.into_iter().filter_map(|(table, made)| Some((*places.get(&table)?, made)));
            let placed: Vec<_> = placed.collect();
            if !placed.is_empty() {
                let (_, events) = order.assign_changes(placed, transaction.txid.as_deref(), self.now);
                self.record_changes(&events);
                all.extend(events);
            }
            order.release(places.into_values());
        }
        for Note { name, value } in write.notes {
            self.records.push(Record::SourcePosition { source: name.clone(), position: value.clone() });
            self.notes.push((name, value));
        }
        let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let first = all.first().map_or(log.published(), |(_, event)| event.offset);
        Ok(Judged::Append(Appended { first, count, created: false }, all))
    }

    // Takes back what was judged of an op that cannot be taken whole.
    fn undo(&mut self, before: &Undo, events: &Assigned, order: &mut Order) {
        self.records.truncate(before.records);
        for (_, event) in events.iter().rev() {
            let Some(change) = &event.change else { continue };
            // Its old value is what this frame knew; the offset is asked of no source's row.
            let old = change.old.clone().map(|value| RowState { value, offset: 0 });
            self.known.insert((event.stream.clone(), change.key.clone()), old);
        }
        order.release(events.iter().map(|(index, _)| *index));
        order.take_back(before.next, order.next());
    }

    // Whether every row that it is judged against could be read.
    fn knows(&self, write: &SourceWrite) -> bool {
        write.places().all(|(table, key)| self.known.contains_key(&(table.clone(), key.into())))
    }

    // Changes of this frame count for those judged after them.
    fn record_changes(&mut self, events: &Assigned) {
        for (_, event) in events {
            let Some(change) = &event.change else { continue };
            let gone = change.operation == Operation::Delete;
            let state = RowState { value: event.data.text.clone(), offset: event.offset };
            self.known.insert((event.stream.clone(), change.key.clone()), (!gone).then_some(state));
            self.records.push(Record::Event(Event::clone(event)));
        }
    }

    // Remembers the answer under its idempotency key.
    fn answer(&mut self, key: Option<Key>, appended: Appended, order: &mut Order) {
        let Some(Key { key, body }) = key else { return };
        order.keys.insert(key, Answer { body, appended, time: self.now });
        let Appended { first, count, created } = appended;
        self.records.push(Record::Key(AnsweredKey { key, body, first, count, created, time: self.now }));
    }
}

// Offsets that `memory` streams may use up before the disk is asked again.
const RESERVE: Offset = 1 << 20;
const RECORD_OVERHEAD: usize = 64;
// Between two rounds of retention while there is more to do, so that commits are not held up.
const TRIM_PAUSE: Duration = Duration::from_millis(20);
// How often a log on a full disk looks whether there is room.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
