//! The subscribers: one thread, one epoll, one buffer for all that is read.
//!
//! Edge-triggered: a read that leaves room in the buffer took all there was, so an event that comes alone costs one wait and
//! one read. Nothing here waits without a bound.

use super::{
    args::{SubscribePlan, Transport},
    awaited::Awaited,
    connect::Target,
    framing::{Body, Head, Piece},
    http2::{Broken, Http2, Said},
    pages::Pages,
    request,
    roll::Roll,
    tally::Tally,
};
use crate::{
    cli::{Failure, say},
    clock,
};
use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    fd::OwnedFd,
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};
use std::{net::TcpStream, ops::Range, time::Duration};

/// All subscribers.
pub(super) struct Crowd<'a> {
    plan: &'a SubscribePlan,
    target: &'a Target,
    epoll: OwnedFd,
    links: Vec<Link>,
    /// Links that had more to read than their turn allowed.
    unfinished: Vec<usize>,
    ready: Vec<epoll::Event>,
    buffer: Vec<u8>,
    /// Where readers ask for one page after the other.
    pages: Option<Pages>,
    pub(super) roll: Roll,
    pub(super) count: Count,
}

/// What came.
#[derive(Debug)]
pub(super) struct Count {
    pub(super) tally: Tally,
    /// Bytes, heads and all.
    pub(super) bytes: u64,
    /// When the first and the last event came, by the real-time clock; 0 before the first.
    pub(super) first_event: u64,
    pub(super) last_event: u64,
    /// Subscribers that have as many events as they were to wait for.
    pub(super) satisfied: usize,
    until: Option<u64>,
    awaited: Option<Awaited>,
}

/// One connection.
#[derive(Debug)]
struct Link {
    stream: Option<TcpStream>,
    phase: Phase,
    body: Body,
    /// Whether the connection ends with this answer.
    closes: bool,
    /// The head, as far as it came.
    pending: Vec<u8>,
    /// What is still to be sent.
    out: Vec<u8>,
    http2: Option<Box<Http2>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Connecting,
    Head,
    Body,
    Http2,
    /// Closed, or never read again.
    Over,
}

impl<'a> Crowd<'a> {
    pub(super) fn new(plan: &'a SubscribePlan, target: &'a Target, tally: Tally) -> Result<Self, Failure> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)
            .map_err(|err| Failure::Failed(format!("cannot make an epoll: {err}")))?;
        Ok(Self {
            plan,
            target,
            epoll,
            links: Vec::with_capacity(plan.connections()),
            unfinished: Vec::new(),
            ready: Vec::with_capacity(READY_MAX),
            buffer: vec![0; BUFFER_BYTES],
            pages: (plan.transport == Transport::LongPoll).then(|| Pages::new(plan, target)),
            roll: Roll::new(plan.subscribers),
            count: Count {
                tally,
                bytes: 0,
                first_event: 0,
                last_event: 0,
                satisfied: 0,
                until: plan.until,
                awaited: plan.ready.as_ref().map(|text| Awaited::new(text, plan.subscribers)),
            },
        })
    }

    /// Connects all, a bounded number at a time.
    ///
    /// # Errors
    /// If nobody was accepted.
    pub(super) fn connect(&mut self) -> Result<(), Failure> {
        let mut moved = (self.roll.settled, clock::instant());
        while self.roll.settled < self.plan.subscribers {
            while self.links.len() < self.plan.connections()
                && self.readers(self.links.len()).start - self.roll.settled < self.plan.connecting
            {
                self.begin();
            }
            self.turn(Duration::from_millis(100));
            if moved.0 != self.roll.settled {
                moved = (self.roll.settled, clock::instant());
            } else if moved.1.elapsed() > HEAD_TIME_MAX {
                (0..self.plan.subscribers).for_each(|reader| self.roll.refuse(reader, "no answer", ""));
            }
        }
        if self.roll.accepted == 0 {
            return Err(Failure::Failed(format!("no subscriber was accepted: {:?}", self.roll.refused)));
        }
        if self.roll.accepted < self.plan.subscribers {
            let missing = self.plan.subscribers - self.roll.accepted;
            say(format_args!("{missing} subscribers were not accepted: {:?}", self.roll.refused));
        }
        Ok(())
    }

    /// Waits until all that were accepted have received what they wait for; tells how many have not.
    pub(super) fn await_ready(&mut self) -> usize {
        let mut moved = (self.count.bytes, clock::instant());
        while self.missing() > 0 && moved.1.elapsed() < HEAD_TIME_MAX {
            self.turn(Duration::from_millis(100));
            if moved.0 != self.count.bytes {
                moved = (self.count.bytes, clock::instant());
            }
        }
        self.missing()
    }

    fn missing(&self) -> usize {
        match self.count.awaited {
            Some(_) => self.roll.accepted.saturating_sub(self.count.ready()),
            None => 0,
        }
    }

    /// Takes what comes; waits for it no longer than `wait`.
    pub(super) fn turn(&mut self, wait: Duration) {
        let again = std::mem::take(&mut self.unfinished);
        let mut ready = std::mem::take(&mut self.ready);
        let mut buffer = std::mem::take(&mut self.buffer);
        ready.clear();
        let wait = if again.is_empty() { wait } else { Duration::ZERO };
        // A signal that interrupts is no reason to do anything else.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut ready), Some(&timespec(wait)));
        for event in &ready {
            let (link, flags) = (event.data.u64() as usize, event.flags);
            if flags.intersects(EventFlags::OUT | HANGUP) {
                self.writable(link);
            }
            if flags.intersects(EventFlags::IN | HANGUP) {
                self.read(link, flags.intersects(HANGUP), &mut buffer);
            }
        }
        for link in again {
            self.read(link, true, &mut buffer);
        }
        (self.ready, self.buffer) = (ready, buffer);
    }

    /// Closes all connections.
    pub(super) fn close(&mut self) {
        self.links.clear();
    }

    fn begin(&mut self) {
        let number = self.links.len();
        let added = self.target.begin(number).and_then(|stream| {
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(&self.epoll, &stream, EventData::new_u64(number as u64), flags)?;
            Ok(stream)
        });
        let (stream, failed) = match added {
            Ok(stream) => (Some(stream), None),
            Err(err) => (None, Some(err)),
        };
        self.links.push(Link {
            stream,
            phase: Phase::Connecting,
            body: Body::UntilClose,
            closes: false,
            pending: Vec::new(),
            out: Vec::new(),
            http2: None,
        });
        if let Some(err) = failed {
            self.refuse(number, &err.kind().to_string(), &err.to_string());
        }
    }

    /// There is room to send, or the connection failed.
    fn writable(&mut self, index: usize) {
        let readers = self.readers(index);
        let Some(link) = self.links.get_mut(index) else { return };
        let Some(stream) = link.stream.as_ref().filter(|_| link.phase == Phase::Connecting) else {
            return self.flush(index);
        };
        match (stream.take_error(), stream.peer_addr()) {
            (Ok(Some(err)) | Err(err), _) => {
                return self.refuse(index, &err.kind().to_string(), &err.to_string());
            }
            // An edge of the socket's making, before it is connected.
            (Ok(None), Err(_)) => return,
            (Ok(None), Ok(_)) => {}
        }
        if self.plan.transport == Transport::SseHttp2 {
            let (http2, out) = Http2::begin(self.plan, self.target, readers);
            (link.http2, link.out, link.phase) = (Some(Box::new(http2)), out, Phase::Http2);
        } else {
            let path = self.plan.paths.get(index % self.plan.paths.len()).map_or("/", String::as_str);
            let plan = self.plan;
            let head = request::subscription(self.target, path, &plan.accept, &plan.headers, None) + "\r\n";
            (link.out, link.phase) = (head.into_bytes(), Phase::Head);
        }
        self.flush(index);
    }

    /// Sends what is to be sent, as far as the socket takes it; an edge says when there is room again.
    fn flush(&mut self, index: usize) {
        let Some(Link { stream: Some(stream), out, .. }) = self.links.get_mut(index) else { return };
        while !out.is_empty() {
            match send(&*stream, out, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => drop(out.drain(..count)),
                Err(Errno::INTR) => {}
                // What failed for good is said by the next read.
                Err(_) => return,
            }
        }
        *out = Vec::new();
    }

    /// Reads what one connection has. After a hangup up to the end, since no other event will say so.
    fn read(&mut self, index: usize, hangup: bool, buffer: &mut [u8]) {
        for _ in 0..READS_MAX {
            let Some(Link { stream: Some(stream), phase, .. }) = self.links.get(index) else { return };
            if matches!(phase, Phase::Connecting | Phase::Over) {
                return;
            }
            match recv(stream, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return self.over(index),
                Ok((_, count)) => {
                    let now = clock::realtime_nanos();
                    self.count.bytes += count as u64;
                    self.received(index, buffer.get(..count).unwrap_or_default(), now);
                    if count < buffer.len() && !hangup {
                        return;
                    }
                }
                Err(Errno::WOULDBLOCK) => return,
                Err(Errno::INTR) => {}
                Err(_) => return self.over(index),
            }
        }
        self.unfinished.push(index);
    }

    fn received(&mut self, index: usize, bytes: &[u8], now: u64) {
        match self.links.get(index).map(|link| link.phase) {
            Some(Phase::Body) => self.events(index, bytes, now),
            Some(Phase::Head) => self.head(index, bytes, now),
            Some(Phase::Http2) => self.frames(index, bytes, now),
            Some(Phase::Connecting | Phase::Over) | None => {}
        }
    }

    fn events(&mut self, index: usize, mut bytes: &[u8], now: u64) {
        let Some(link) = self.links.get_mut(index) else { return };
        loop {
            match link.body.next(&mut bytes) {
                Piece::Data(piece) => {
                    self.count.take(index, piece, now);
                    if let Some(pages) = &mut self.pages {
                        pages.take(index, piece);
                    }
                }
                Piece::More => return,
                Piece::End => break,
                Piece::Broken => return self.over(index),
            }
        }
        match self.pages.as_mut().and_then(|pages| pages.next(index)).filter(|_| !link.closes) {
            Some(request) => {
                (link.out, link.phase) = (request, Phase::Head);
                self.accepted(index);
                self.flush(index);
            }
            None => self.over(index),
        }
    }

    fn head(&mut self, index: usize, bytes: &[u8], now: u64) {
        let Some(link) = self.links.get_mut(index) else { return };
        link.pending.extend_from_slice(bytes);
        match Head::parse(&link.pending) {
            Ok(None) if link.pending.len() <= HEAD_BYTES_MAX => {}
            Ok(None) => self.refuse(index, "head too large", ""),
            Err(err) => self.refuse(index, "no HTTP", &err.to_string()),
            Ok(Some(head)) if (100..200).contains(&head.status) => {
                let rest = std::mem::take(&mut link.pending).split_off(head.bytes);
                self.head(index, &rest, now);
            }
            Ok(Some(head)) if head.status == 200 => {
                let rest = std::mem::take(&mut link.pending).split_off(head.bytes);
                (link.phase, link.body, link.closes) = (Phase::Body, head.body, head.closes);
                // The first page says from where on nothing is missed.
                if self.pages.is_none() {
                    self.accepted(index);
                }
                self.events(index, &rest, now);
            }
            // The first one is shown, once it is all there.
            Ok(Some(head)) if self.roll.refused.is_empty() && !is_whole(head, &link.pending) => {}
            Ok(Some(_)) => self.over(index),
        }
    }

    fn frames(&mut self, index: usize, bytes: &[u8], now: u64) {
        let first = self.readers(index).start;
        let Some(link) = self.links.get_mut(index) else { return };
        let Some(mut http2) = link.http2.take() else { return };
        let mut out = std::mem::take(&mut link.out);
        let taken = http2.take(bytes, &mut out, |said| match said {
            Said::Data(stream, piece) => self.count.take(first + stream, piece, now),
            Said::Head(stream, 200) => self.accepted(first + stream),
            Said::Head(stream, status) => self.roll.refuse(first + stream, &status.to_string(), ""),
            Said::End(stream) => self.roll.end(first + stream),
        });
        if let Some(link) = self.links.get_mut(index) {
            (link.http2, link.out) = (Some(http2), out);
        }
        match taken {
            Ok(()) => self.flush(index),
            Err(Broken) => self.over(index),
        }
    }

    fn accepted(&mut self, reader: usize) {
        if !self.roll.accept(reader) {
            return;
        }
        if reader >= self.plan.stalled {
            self.count.tally.accepted(reader);
            return;
        }
        let link = reader / self.plan.streams;
        if self.readers(link).all(|reader| !self.roll.is_waiting(reader))
            && let Some(Link { stream: Some(stream), phase, .. }) = self.links.get_mut(link)
        {
            // Open, but never read again.
            *phase = Phase::Over;
            let _ = epoll::delete(&self.epoll, stream);
        }
    }

    /// The connection will not be.
    fn refuse(&mut self, index: usize, reason: &str, text: &str) {
        self.readers(index).for_each(|reader| self.roll.refuse(reader, reason, text));
        self.over(index);
    }

    /// The connection ended.
    fn over(&mut self, index: usize) {
        let readers = self.readers(index);
        let Some(link) = self.links.get_mut(index) else { return };
        (link.phase, link.stream, link.http2) = (Phase::Over, None, None);
        let pending = std::mem::take(&mut link.pending);
        if let Ok(Some(head)) = Head::parse(&pending) {
            let text = String::from_utf8_lossy(pending.get(head.bytes..).unwrap_or_default());
            readers.clone().for_each(|reader| self.roll.refuse(reader, &head.status.to_string(), &text));
        }
        readers.for_each(|reader| self.roll.end(reader));
    }

    /// The subscribers of a connection.
    fn readers(&self, index: usize) -> Range<usize> {
        let first = index * self.plan.streams;
        first..(first + self.plan.streams).min(self.plan.subscribers)
    }
}

impl Count {
    /// Subscribers that have what they wait for.
    fn ready(&self) -> usize {
        self.awaited.as_ref().map_or(0, |awaited| awaited.ready)
    }

    #[inline]
    fn take(&mut self, reader: usize, piece: &[u8], now: u64) {
        if let Some(awaited) = &mut self.awaited {
            awaited.take(reader, piece);
        }
        let before = self.tally.received_by(reader);
        let after = self.tally.take(reader, piece, now);
        if after > before {
            if self.first_event == 0 {
                self.first_event = now;
            }
            self.last_event = now;
            let is_new = |until: u64| (before..after).contains(&(until - 1));
            self.satisfied += usize::from(self.until.is_some_and(is_new));
        }
    }
}

fn is_whole(head: Head, bytes: &[u8]) -> bool {
    let (mut body, mut rest) = (head.body, bytes.get(head.bytes..).unwrap_or_default());
    loop {
        match body.next(&mut rest) {
            Piece::Data(_) => {}
            Piece::More => return bytes.len() > HEAD_BYTES_MAX,
            Piece::End | Piece::Broken => return true,
        }
    }
}

/// The same for the kernel.
pub(super) fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}

const HANGUP: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);
const BUFFER_BYTES: usize = 256 << 10;
const READY_MAX: usize = 1024;
/// Reads of one connection before the others have their turn.
const READS_MAX: usize = 16;
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long connecting may go without any progress.
const HEAD_TIME_MAX: Duration = Duration::from_secs(15);
