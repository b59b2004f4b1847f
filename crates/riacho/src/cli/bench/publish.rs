//! The publishers: one thread, one epoll, an open loop.
//!
//! When an event is due depends on the clock alone, never on answers: where the server is slow, events wait for a free slot
//! and are late, but the rate asked for is not forgotten. Sleeps never spin, since subscribers may share the core.

use super::{
    args::{PublishPlan, StampTime},
    connect::Target,
    framing::{Body, Head, Piece},
    request::Form,
    stamp::Stamp,
    subscribe::timespec,
    tally::{LATENCY_UNIT_NANOS, Source, histogram},
};
use crate::{
    cli::{Failure, say},
    clock,
};
use hdrhistogram::Histogram;
use rustix::{
    buffer::spare_capacity,
    event::{
        PollFd, PollFlags,
        epoll::{self, CreateFlags, EventData, EventFlags},
        poll,
    },
    fd::OwnedFd,
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};
use std::{
    collections::{BTreeMap, VecDeque},
    net::TcpStream,
    time::Duration,
};

/// All publishers.
#[derive(Debug)]
pub(super) struct Publishers<'a> {
    plan: &'a PublishPlan,
    target: &'a Target,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// The first line of a publish for each path.
    lines: Vec<String>,
    form: Form,
    /// Requests taken from the schedule.
    taken: u64,
    /// The connection that is asked first for a free slot.
    turn: usize,
    /// Requests that wait for a slot of their connection.
    waiting: usize,
    started: u64,
    done: Published,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Published {
    /// When the first event was due, by the real-time clock in nanoseconds.
    pub(super) started: u64,
    /// Until the last answer.
    pub(super) nanos: u64,
    /// Events and requests sent.
    pub(super) events: u64,
    pub(super) requests: u64,
    /// Events whose request was answered well.
    pub(super) acknowledged: u64,
    /// Answers by status, other than 2xx.
    pub(super) refused: BTreeMap<String, u64>,
    /// Requests that got no answer.
    pub(super) unanswered: u64,
    /// Connections made again.
    pub(super) reconnects: u64,
    /// From request to answer, in units of 100 ns.
    pub(super) acknowledgement: Histogram<u64>,
    /// What became of the events of each source.
    pub(super) sources: Vec<Source>,
    /// CPU time of this thread, in nanoseconds.
    pub(super) cpu: u64,
}

#[derive(Debug)]
struct Connection {
    stream: Option<TcpStream>,
    out: Vec<u8>,
    sent: usize,
    in_flight: VecDeque<Request>,
    /// Requests that are due and wait for a slot here: when, and which of all.
    backlog: VecDeque<(u64, u64)>,
    answer: Answer,
    /// When to try to connect again.
    retry_at: u64,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    sent: u64,
    source: usize,
    first: u32,
    events: u32,
}

/// The answer being read.
#[derive(Default, Debug)]
struct Answer {
    pending: Vec<u8>,
    head: Option<Head>,
    /// The beginning of the body of a refusal.
    text: Vec<u8>,
}

impl<'a> Publishers<'a> {
    /// Connects.
    ///
    /// # Errors
    /// If the server takes no connection.
    pub(super) fn connect(plan: &'a PublishPlan, target: &'a Target) -> Result<Self, Failure> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)
            .map_err(|err| Failure::Failed(format!("cannot make an epoll: {err}")))?;
        let sources = if plan.paths.len() == 1 { plan.connections } else { plan.paths.len() };
        let line = |path: &String| format!("{} {}{path}", plan.method, target.base);
        let mut publishers = Self {
            plan,
            target,
            epoll,
            connections: Vec::new(),
            lines: plan.paths.iter().map(line).collect(),
            form: Form::new(plan, target, plan.batch),
            taken: 0,
            turn: 0,
            waiting: 0,
            started: 0,
            done: Published {
                started: 0,
                nanos: 0,
                events: 0,
                requests: 0,
                acknowledged: 0,
                refused: BTreeMap::new(),
                unanswered: 0,
                reconnects: 0,
                acknowledgement: histogram(),
                sources: vec![Source::default(); sources],
                cpu: 0,
            },
        };
        for number in 0..plan.connections {
            let refused = |err| Failure::Failed(format!("cannot connect to {}: {err}", target.address));
            let stream = target.connect().map_err(refused)?;
            publishers.register(number, &stream).map_err(|err| refused(err.into()))?;
            publishers.connections.push(Connection {
                stream: Some(stream),
                out: Vec::new(),
                sent: 0,
                in_flight: VecDeque::with_capacity(plan.pipeline),
                backlog: VecDeque::new(),
                answer: Answer::default(),
                retry_at: 0,
            });
        }
        Ok(publishers)
    }

    /// Publishes until all is sent and answered; bounded by the plan's duration and [`ANSWER_TIME_MAX`].
    pub(super) fn run(mut self) -> Published {
        let (cpu, mut ready, mut buffer) =
            (clock::thread_cpu_nanos(), Vec::with_capacity(READY_MAX), vec![0; BUFFER_BYTES]);
        self.done.started = clock::realtime_nanos();
        self.started = clock::monotonic_nanos();
        let window = self.plan.duration.as_nanos() as u64;
        loop {
            let now = clock::monotonic_nanos();
            let age = now - self.started;
            let mut next = None;
            // What is due at the very end may be a little late.
            if age < window + LATE_NANOS_MAX {
                next = self.send_due(age);
            }
            let over = next.is_none() && self.waiting == 0 || age >= window + LATE_NANOS_MAX;
            let in_flight = self.connections.iter().any(|connection| !connection.in_flight.is_empty());
            if over && !in_flight || age > window + ANSWER_TIME_MAX.as_nanos() as u64 {
                break;
            }
            let wait =
                next.map_or(WAIT_MAX, |due| Duration::from_nanos(due.saturating_sub(age)).min(WAIT_MAX));
            self.wait(wait, &mut ready);
            for event in ready.drain(..) {
                let (number, flags) = (event.data.u64() as usize, event.flags);
                if flags.intersects(EventFlags::OUT) {
                    self.flush(number);
                }
                if flags.intersects(!EventFlags::OUT) {
                    self.read(number, &mut buffer);
                }
            }
        }
        for number in 0..self.connections.len() {
            self.lose(number);
        }
        self.done.nanos = clock::monotonic_nanos() - self.started;
        self.done.cpu = clock::thread_cpu_nanos() - cpu;
        self.done
    }

    /// Sends what is due and has a slot. When the next is due that could be sent then; none if nothing is left to send, or
    /// only an answer can make room.
    fn send_due(&mut self, age: u64) -> Option<u64> {
        for number in 0..self.connections.len() {
            self.reconnect(number, age);
        }
        let next = loop {
            let Some(due) = self.due(self.taken, age) else { break None };
            if due > age {
                break Some(due);
            }
            let path = (self.taken % self.lines.len() as u64) as usize;
            if self.lines.len() == 1 {
                let Some(number) = self.free_connection() else { break Some(u64::MAX) };
                self.write(number, due, self.taken, number);
            } else {
                let number = path % self.connections.len();
                let bound = if self.plan.rate.is_none() { self.plan.pipeline } else { WAITING_MAX };
                let Some(connection) = self.connections.get_mut(number) else { break None };
                if connection.backlog.len() >= bound || self.waiting >= WAITING_MAX {
                    break Some(u64::MAX);
                }
                connection.backlog.push_back((due, self.taken));
                self.waiting += 1;
            }
            self.taken += 1;
        };
        for number in 0..self.connections.len() {
            while self.waiting > 0 && self.has_slot(number) {
                let Some((due, request)) =
                    self.connections.get_mut(number).and_then(|connection| connection.backlog.pop_front())
                else {
                    break;
                };
                self.waiting -= 1;
                self.write(number, due, request, (request % self.lines.len() as u64) as usize);
            }
            self.flush(number);
        }
        next
    }

    /// When request `number` is due, since the start; none if it will not be sent.
    fn due(&self, number: u64, age: u64) -> Option<u64> {
        let first = number * u64::from(self.plan.batch);
        if self.plan.events.is_some_and(|events| first >= events) {
            return None;
        }
        let due = match self.plan.rate {
            Some(rate) => (first as f64 * 1e9 / rate) as u64,
            // As soon as there is room.
            None => age,
        };
        (due < self.plan.duration.as_nanos() as u64).then_some(due)
    }

    fn free_connection(&mut self) -> Option<usize> {
        let count = self.connections.len();
        let found =
            (0..count).map(|step| (self.turn + step) % count).find(|number| self.has_slot(*number))?;
        self.turn = (found + 1) % count;
        Some(found)
    }

    fn has_slot(&self, number: usize) -> bool {
        self.connections.get(number).is_some_and(|connection| {
            connection.stream.is_some() && connection.in_flight.len() < self.plan.pipeline
        })
    }

    fn write(&mut self, number: usize, due: u64, request: u64, source: usize) {
        let Self { plan, target, connections, lines, form, done, .. } = self;
        let line = lines.get((request % lines.len() as u64) as usize);
        let (Some(connection), Some(line), Some(place)) =
            (connections.get_mut(number), line, done.sources.get_mut(source))
        else {
            return;
        };
        let left = plan.events.map_or(u64::MAX, |events| events - done.events.min(events));
        let events = u64::from(plan.batch).min(left) as u32;
        let time = match plan.stamp {
            StampTime::Sent => clock::realtime_nanos(),
            StampTime::Due => done.started + due,
        };
        let first = place.sent;
        let stamps =
            (first..first + events).map(|sequence| Stamp { time, source: source as u32, sequence }.text());
        let number = request * u64::from(plan.batch);
        match events == plan.batch {
            true => form.write(&mut connection.out, line, number, stamps),
            false => Form::new(plan, target, events).write(&mut connection.out, line, number, stamps),
        }
        let sent = clock::monotonic_nanos();
        connection.in_flight.push_back(Request { sent, source, first, events });
        place.sent += events;
        done.events += u64::from(events);
        done.requests += 1;
    }

    fn flush(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        let Some(stream) = &connection.stream else { return };
        while let Some(rest) = connection.out.get(connection.sent..).filter(|rest| !rest.is_empty()) {
            match send(stream, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => connection.sent += count,
                // The end of the socket's memory, or of the connection: the next event says which.
                Err(Errno::WOULDBLOCK) => return,
                Err(Errno::INTR) => {}
                Err(_) => return self.lose(number),
            }
        }
        connection.out.clear();
        connection.sent = 0;
    }

    fn wait(&self, wait: Duration, ready: &mut Vec<epoll::Event>) {
        ready.reserve(READY_MAX);
        // epoll's own timeout is in whole milliseconds.
        let whole = Duration::from_millis(wait.as_millis() as u64);
        if whole < wait && whole < WAIT_MAX {
            let mut fds = [PollFd::new(&self.epoll, PollFlags::IN)];
            let _ = poll(&mut fds, Some(&timespec(wait)));
        }
        let wait = if whole < wait { Duration::ZERO } else { wait };
        let _ = epoll::wait(&self.epoll, spare_capacity(ready), Some(&timespec(wait)));
    }

    fn read(&mut self, number: usize, buffer: &mut [u8]) {
        loop {
            let Some(Connection { stream: Some(stream), .. }) = self.connections.get(number) else { return };
            match recv(stream, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => {
                    self.answered(number, &[], true);
                    return self.lose(number);
                }
                Ok((_, count)) => {
                    if !self.answered(number, buffer.get(..count).unwrap_or_default(), false) {
                        return self.lose(number);
                    }
                }
                Err(Errno::WOULDBLOCK) => return,
                Err(Errno::INTR) => {}
                Err(_) => return self.lose(number),
            }
        }
    }

    /// Takes bytes of answers; false if the connection ends with them.
    fn answered(&mut self, number: usize, bytes: &[u8], end: bool) -> bool {
        let now = clock::monotonic_nanos();
        let Some(connection) = self.connections.get_mut(number) else { return false };
        let Connection { in_flight, answer, .. } = connection;
        let mut pending = std::mem::take(&mut answer.pending);
        let mut rest = if pending.is_empty() {
            bytes
        } else {
            pending.extend_from_slice(bytes);
            &pending
        };
        loop {
            if answer.head.is_none() {
                match Head::parse(rest) {
                    Ok(Some(head)) => {
                        rest = rest.get(head.bytes..).unwrap_or_default();
                        if !(100..200).contains(&head.status) {
                            answer.head = Some(head);
                        }
                    }
                    Ok(None) if rest.len() <= HEAD_BYTES_MAX => {
                        answer.pending = rest.to_vec();
                        return true;
                    }
                    Ok(None) | Err(_) => return false,
                }
            }
            let Some(head) = &mut answer.head else { continue };
            match head.body.next(&mut rest) {
                Piece::Data(piece) => {
                    let is_refusal = !(200..300).contains(&head.status);
                    if is_refusal && self.done.refused.is_empty() && answer.text.len() < HEAD_BYTES_MAX {
                        answer.text.extend_from_slice(piece);
                    }
                }
                Piece::Broken => return false,
                Piece::More if !(end && head.body == Body::UntilClose) => return true,
                Piece::More | Piece::End => {
                    let Some(request) = in_flight.pop_front() else { return false };
                    let (status, closes) = (head.status, head.closes);
                    answer.head = None;
                    self.done.answer(request, status, now, &std::mem::take(&mut answer.text));
                    if closes {
                        return false;
                    }
                }
            }
        }
    }

    /// The connection is no more. What was not answered may be stored or not.
    fn lose(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        connection.stream = None;
        (connection.out, connection.sent, connection.answer) = (Vec::new(), 0, Answer::default());
        for request in connection.in_flight.drain(..) {
            self.done.unanswered += 1;
            self.done.not_stored(request);
        }
    }

    fn reconnect(&mut self, number: usize, age: u64) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        if connection.stream.is_some() || age < connection.retry_at {
            return;
        }
        self.done.reconnects += 1;
        connection.retry_at = age + RETRY_NANOS;
        // Waits for the answer, which on the networks that load comes over takes no time.
        let Ok(stream) = self.target.connect() else { return };
        if self.register(number, &stream).is_ok()
            && let Some(connection) = self.connections.get_mut(number)
        {
            connection.stream = Some(stream);
        }
    }

    fn register(&self, number: usize, stream: &TcpStream) -> rustix::io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, stream, EventData::new_u64(number as u64), flags)
    }
}

impl Published {
    fn answer(&mut self, request: Request, status: u16, now: u64, text: &[u8]) {
        self.acknowledgement.saturating_record(now.saturating_sub(request.sent) / LATENCY_UNIT_NANOS);
        if (200..300).contains(&status) {
            self.acknowledged += u64::from(request.events);
            return;
        }
        if self.refused.is_empty() {
            say(format_args!("a publish was refused: {status}: {}", String::from_utf8_lossy(text).trim()));
        }
        *self.refused.entry(status.to_string()).or_default() += 1;
        self.not_stored(request);
    }

    fn not_stored(&mut self, request: Request) {
        let Some(source) = self.sources.get_mut(request.source) else { return };
        let range = request.first..request.first + request.events;
        match source.unstored.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => source.unstored.push(range),
        }
    }
}

const BUFFER_BYTES: usize = 64 << 10;
const READY_MAX: usize = 256;
const HEAD_BYTES_MAX: usize = 64 << 10;
const WAIT_MAX: Duration = Duration::from_millis(50);
const LATE_NANOS_MAX: u64 = 1_000_000_000;
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
const RETRY_NANOS: u64 = 100_000_000;
/// Requests that wait for slots; beyond it the schedule itself waits, and catches up later.
const WAITING_MAX: usize = 1 << 20;
