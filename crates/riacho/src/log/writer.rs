//! The thread that commits: it drains the queue, judges what is asked in log order, writes one frame, syncs, makes the
//! events visible and answers all.

use super::{
    AppendError, Appended, Batch, Entry, Key, Log,
    order::{Answer, Assigned, Order, State},
    store::Store,
    streams::{Said, StreamIndex},
};
use crate::{
    clock,
    error::{Error, ErrorKind},
    view::{Lagging, Wakes},
};
use riacho_core::{
    event::Event,
    log::segment::{AnsweredKey, Record},
    name::StreamName,
    position::Offset,
    time::Millis,
};
use std::{
    collections::VecDeque,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// What is asked of the writer.
pub(super) enum What {
    Append(Batch),
    Empty(StreamName),
}

type Answered = Result<(Appended, Lagging), AppendError>;

struct Op {
    what: What,
    reply: oneshot::Sender<Answered>,
    /// What stands for its bytes, until it is answered: a publisher that has gone does not end it.
    hold: Hold,
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
            ops.push_back(Op { what, reply, hold });
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
            What::Append(batch) => batch.entries.iter().map(entry_bytes).sum(),
            What::Empty(_) => RECORD_OVERHEAD,
        }
    }
}

fn entry_bytes(entry: &Entry) -> usize {
    let event_type = entry.event_type.as_ref().map_or(0, |event_type| event_type.as_str().len());
    entry.data.text.len() + entry.stream.as_str().len() + event_type + RECORD_OVERHEAD
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

    fn commit(&mut self, ops: Vec<Op>) {
        let mut frame = Frame { now: clock::now(), records: Vec::new(), reserved: 0, said: Vec::new() };
        let mut order = self.log.lock();
        let (keys, first) = (order.keys.len(), order.next());
        let judged = |op: Op| (frame.judge(op.what, &mut order, &self.log), op.reply, op.hold);
        let ops: Vec<_> = ops.into_iter().map(judged).collect();
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
                (Judged::Refused(refused), _) => Err(refused),
                (Judged::Answered { appended, visible: true }, _) => Ok(appended),
                (_, Err(err)) => Err(AppendError::from(err)),
                (Judged::Answered { appended, .. }, Ok(())) => Ok(appended),
                (Judged::Append(appended, events), Ok(())) => {
                    order.publish_into(events, &self.log, &mut wakes);
                    Ok(appended)
                }
                (Judged::Empty(index, offset), Ok(())) => {
                    order.publish_emptied(index, offset, &mut wakes);
                    Ok(Appended { first: offset, count: 1 })
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
        let maintained = match self.store.maintain(now, &keep, Offset::MAX) {
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
    // Judges one op against all that came before it; adds what must become durable for it.
    fn judge(&mut self, what: What, order: &mut Order, log: &Log) -> Judged {
        if let What::Append(Batch { key: Some(Key { key, body }), .. }) = &what {
            match order.keys.get(key) {
                Some(answer) if answer.body == *body => {
                    let visible = answer.appended.last() <= log.published();
                    return Judged::Answered { appended: answer.appended, visible };
                }
                Some(_) => return Judged::Refused(AppendError::KeyReused),
                None if order.keys.len() >= log.shared.settings.keys_max => {
                    return Judged::Refused(AppendError::TooManyKeys);
                }
                None => {}
            }
        }
        let refused = match order.state {
            State::Open => None,
            State::Full => Some(AppendError::Full),
            State::Failed => Some(AppendError::Failed),
            State::Closing => Some(AppendError::Closing),
        };
        if let Some(refused) = refused {
            return Judged::Refused(refused);
        }
        match what {
            What::Append(batch) => self.judge_append(&batch, order, log),
            What::Empty(name) => match order.streams.find(name.as_str()) {
                Some(index) if order.streams.get(index).is_some_and(|stream| stream.newest > 0) => {
                    let upto = order.take_offset();
                    self.records.push(Record::Emptied { stream: name, upto, time: self.now });
                    self.records.push(Record::Reserve { upto });
                    Judged::Empty(index, upto)
                }
                _ => Judged::Refused(AppendError::UnknownStream(name)),
            },
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
        if let Some(Key { key, body }) = batch.key {
            order.keys.insert(key, Answer { body, appended, time: self.now });
            let Appended { first, count } = appended;
            self.records.push(Record::Key(AnsweredKey { key, body, first, count, time: self.now }));
        }
        Judged::Append(appended, events)
    }
}

// Offsets that `memory` streams may use up before the disk is asked again.
const RESERVE: Offset = 1 << 20;
const RECORD_OVERHEAD: usize = 64;
// Between two rounds of retention while there is more to do, so that commits are not held up.
const TRIM_PAUSE: Duration = Duration::from_millis(20);
// How often a log on a full disk looks whether there is room.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
