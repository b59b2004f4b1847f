//! The subscribers: one thread, one epoll, one buffer for all that is read.
//!
//! Edge-triggered: a read that leaves room in the buffer took all there was, so an event that comes alone costs one wait and
//! one read. Nothing here waits without a bound.

use super::{
    args::SubscribePlan,
    connect::Target,
    framing::{Body, Head, Piece},
    request,
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
use std::{collections::BTreeMap, io, net::TcpStream, time::Duration};

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
    /// Connections begun, and those of them of which is known what became of them.
    begun: usize,
    settled: usize,
    pub(super) tally: Tally,
    pub(super) counts: Counts,
}

/// What is counted beside events.
#[derive(Default, Debug)]
pub(super) struct Counts {
    /// Subscriptions answered 200.
    pub(super) accepted: usize,
    /// The others, by status or reason.
    pub(super) refused: BTreeMap<String, u64>,
    /// Subscriptions that the server ended.
    pub(super) ended: u64,
    /// Bytes received.
    pub(super) bytes: u64,
    /// When the last event came, by the real-time clock; 0 before the first.
    pub(super) last_event: u64,
    /// Subscribers that have as many events as they were to wait for.
    pub(super) satisfied: usize,
}

/// One connection.
#[derive(Debug)]
struct Link {
    stream: Option<TcpStream>,
    phase: Phase,
    body: Body,
    /// The head, as far as it came.
    pending: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Connecting,
    Head,
    Body,
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
            links: Vec::with_capacity(plan.subscribers),
            unfinished: Vec::new(),
            ready: Vec::with_capacity(READY_MAX),
            buffer: vec![0; BUFFER_BYTES],
            begun: 0,
            settled: 0,
            tally,
            counts: Counts::default(),
        })
    }

    /// Connects all, a bounded number at a time.
    ///
    /// # Errors
    /// If nobody was accepted.
    pub(super) fn connect(&mut self) -> Result<(), Failure> {
        let mut moved = (self.settled, clock::monotonic_nanos());
        while self.settled < self.plan.subscribers {
            while self.begun < self.plan.subscribers && self.begun - self.settled < self.plan.connecting {
                self.begin();
            }
            self.turn(Duration::from_millis(100));
            let now = clock::monotonic_nanos();
            if moved.0 != self.settled {
                moved = (self.settled, now);
            } else if now - moved.1 > HEAD_TIME_MAX.as_nanos() as u64 {
                for link in 0..self.begun {
                    if matches!(self.phase(link), Phase::Connecting | Phase::Head) {
                        self.refuse(link, "no answer", "");
                    }
                }
                break;
            }
        }
        let missing = self.plan.subscribers - self.counts.accepted;
        if self.counts.accepted == 0 {
            return Err(Failure::Failed(format!("no subscriber was accepted: {:?}", self.counts.refused)));
        }
        if missing > 0 {
            say(format_args!("{missing} subscribers were not accepted: {:?}", self.counts.refused));
        }
        Ok(())
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
            if self.phase(link) == Phase::Connecting && !self.connected(link) {
                continue;
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

    pub(super) fn into_tally(self) -> Tally {
        self.tally
    }

    fn begin(&mut self) {
        let number = self.begun;
        self.begun += 1;
        let begun = self.target.begin(number);
        let (stream, failed) = match begun {
            Ok(stream) => (Some(stream), None),
            Err(err) => (None, Some(err)),
        };
        let new = Link { stream, phase: Phase::Connecting, body: Body::UntilClose, pending: Vec::new() };
        self.links.push(new);
        let added = match (&failed, self.links.get(number).and_then(|link| link.stream.as_ref())) {
            (None, Some(stream)) => {
                let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
                epoll::add(&self.epoll, stream, EventData::new_u64(number as u64), flags)
                    .map_err(io::Error::from)
            }
            _ => failed.map_or(Ok(()), Err),
        };
        if let Err(err) = added {
            self.refuse(number, &err.kind().to_string(), &err.to_string());
        }
    }

    /// A connection can be written to: it stands, or failed. Sends the request; false if there is nothing to read.
    fn connected(&mut self, index: usize) -> bool {
        let Some(Link { stream: Some(stream), phase, .. }) = self.links.get_mut(index) else { return false };
        let failed = match (stream.take_error(), stream.peer_addr()) {
            (Ok(Some(err)) | Err(err), _) => Err(err),
            // An edge of the socket's making, before it is connected.
            (Ok(None), Err(_)) => return false,
            (Ok(None), Ok(_)) => Ok(()),
        };
        *phase = Phase::Head;
        let path = self.plan.paths.get(index % self.plan.paths.len()).map_or("/", String::as_str);
        let mut head = request::subscription(self.target, path, &self.plan.accept, &self.plan.headers, None);
        head.push_str("\r\n");
        let sent = failed.and_then(|()| Ok(send(&*stream, head.as_bytes(), SENDING)?));
        // Only heads are sent, to an empty socket: a part of one is never taken.
        match sent {
            Ok(count) if count == head.len() => return true,
            Ok(_) => self.refuse(index, "head not taken", ""),
            Err(err) => self.refuse(index, &err.kind().to_string(), &err.to_string()),
        }
        false
    }

    /// Reads what one connection has. After a hangup up to the end, since no other event will say so.
    fn read(&mut self, index: usize, hangup: bool, buffer: &mut [u8]) {
        for _ in 0..READS_MAX {
            let Some(Link { stream: Some(stream), .. }) = self.links.get(index) else { return };
            match recv(stream, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return self.over(index),
                Ok((_, count)) => {
                    let now = clock::realtime_nanos();
                    self.counts.bytes += count as u64;
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
        match self.phase(index) {
            Phase::Body => self.events(index, bytes, now),
            Phase::Head => self.head(index, bytes, now),
            Phase::Connecting | Phase::Over => {}
        }
    }

    fn events(&mut self, index: usize, mut bytes: &[u8], now: u64) {
        let Self { links, tally, counts, plan, .. } = self;
        let Some(link) = links.get_mut(index) else { return };
        let before = tally.received_by(index);
        let mut after = before;
        let ended = loop {
            match link.body.next(&mut bytes) {
                Piece::Data(piece) => after = tally.take(index, piece, now),
                Piece::More => break false,
                Piece::End | Piece::Broken => break true,
            }
        };
        if after > before {
            counts.last_event = now;
            let satisfied = |until: u64| (before..after).contains(&(until - 1));
            counts.satisfied += usize::from(plan.until.is_some_and(satisfied));
        }
        if ended {
            self.over(index);
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
                let rest = link.pending.split_off(head.bytes);
                link.pending.clear();
                self.head(index, &rest, now);
            }
            Ok(Some(head)) if head.status == 200 => {
                let rest = std::mem::take(&mut link.pending).split_off(head.bytes);
                (link.phase, link.body) = (Phase::Body, head.body);
                self.accepted(index);
                self.events(index, &rest, now);
            }
            // The first one is shown, once it is all there.
            Ok(Some(head)) if self.counts.refused.is_empty() && !is_whole(head, &link.pending) => {}
            Ok(Some(head)) => {
                let rest = link.pending.split_off(head.bytes);
                self.refuse(index, &head.status.to_string(), &String::from_utf8_lossy(&rest));
            }
        }
    }

    fn accepted(&mut self, index: usize) {
        self.counts.accepted += 1;
        self.settled += 1;
        if index >= self.plan.stalled {
            self.tally.accepted(index);
        } else if let Some(Link { stream: Some(stream), phase, .. }) = self.links.get_mut(index) {
            // Open, but never read again.
            *phase = Phase::Over;
            let _ = epoll::delete(&self.epoll, stream);
        }
    }

    fn refuse(&mut self, index: usize, reason: &str, text: &str) {
        if self.counts.refused.is_empty() {
            say(format_args!("a subscription was refused: {reason}: {}", text.trim()));
        }
        *self.counts.refused.entry(reason.to_owned()).or_default() += 1;
        self.settled += 1;
        self.drop_link(index);
    }

    /// The connection ended.
    fn over(&mut self, index: usize) {
        match self.phase(index) {
            Phase::Body => {
                self.counts.ended += 1;
                self.drop_link(index);
            }
            Phase::Connecting | Phase::Head => {
                let pending = self.links.get_mut(index).map(|link| std::mem::take(&mut link.pending));
                let pending = pending.unwrap_or_default();
                match Head::parse(&pending) {
                    Ok(Some(head)) => {
                        let rest = pending.get(head.bytes..).unwrap_or_default();
                        self.refuse(index, &head.status.to_string(), &String::from_utf8_lossy(rest));
                    }
                    _ => self.refuse(index, "closed", ""),
                }
            }
            Phase::Over => {}
        }
    }

    fn drop_link(&mut self, index: usize) {
        if let Some(link) = self.links.get_mut(index) {
            (link.phase, link.stream, link.pending) = (Phase::Over, None, Vec::new());
        }
    }

    fn phase(&self, index: usize) -> Phase {
        self.links.get(index).map_or(Phase::Over, |link| link.phase)
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

const SENDING: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
const HANGUP: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);
const BUFFER_BYTES: usize = 256 << 10;
const READY_MAX: usize = 1024;
/// Reads of one connection before the others have their turn.
const READS_MAX: usize = 16;
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long connecting may go without any progress.
const HEAD_TIME_MAX: Duration = Duration::from_secs(15);
