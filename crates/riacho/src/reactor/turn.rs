//! What a reactor does each time it wakes: take what was handed to it, sweep dirty views in slices, look at epoll, beat.

use super::{
    Handle, Settings, Ticket,
    slab::{Slab, State, Subscriber},
    wheel::Wheel,
};
use crate::{
    clock,
    error::Error,
    feed::{Fed, Feed, Way},
    log::{Log, Place},
    view::{SharedView, Views},
};
use bytes::Bytes;
use riacho_core::{
    position::Offset,
    transport::Control,
    view::{Read, Slice},
};
use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    fd::{AsFd, OwnedFd},
    io::{Errno, read},
    net::{SendAncillaryBuffer, SendFlags, send, sendmsg},
};
use std::{
    collections::{HashMap, VecDeque},
    io::{self, IoSlice},
    mem::{self, MaybeUninit},
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::MissedTickBehavior,
};

/// One reactor, owned by its task.
pub(super) struct Reactor {
    handle: Arc<Handle>,
    settings: Settings,
    epoll: AsyncFd<OwnedFd>,
    subscribers: Slab,
    views: Vec<Option<Viewed>>,
    free_views: Vec<u32>,
    view_numbers: HashMap<usize, u32>,
    /// Views to be swept, in turn.
    dirty: VecDeque<u32>,
    /// Bytes that a blocked subscriber must get before it reads its view again, and what follows them.
    pending: HashMap<u32, Pending>,
    /// Bytes in `pending` of blocked subscribers.
    pending_bytes: usize,
    /// Those who are behind and can go on, in turn, by number and generation.
    waiting: VecDeque<(u32, u32)>,
    wheel: Wheel,
    beat_ticks: u32,
    next_tick: Instant,
    /// Bytes sent in this slice of the sweeps.
    slice_bytes: usize,
    scratch: Vec<u8>,
    jitter: u32,
}

/// A view with subscribers on this reactor.
struct Viewed {
    view: Arc<SharedView>,
    log: Log,
    /// In the order they came; a gap where one left.
    list: Vec<Option<u32>>,
    live: usize,
    /// Where the sweep goes on.
    next: usize,
    /// Visits until everybody was visited since the view was last dirty.
    remaining: usize,
    queued: bool,
    /// The end of the view when the current round began: reached by all when the round ends.
    round_end: u64,
    /// The end of the view when it was last found dirty.
    dirty_end: u64,
    round_visits: usize,
}

/// What stands between a subscriber and its view.
struct Pending {
    bytes: Bytes,
    sent: usize,
    /// Where each event ends within `bytes`.
    marks: Vec<(Offset, usize)>,
    /// Where `bytes` came from, if that is the log.
    origin: Option<Origin>,
    then: Then,
}

/// What it takes to ask the log for a helping again.
struct Origin {
    /// Before the helping, with the trims known after it.
    place: Place,
    /// Bytes of the first event that came before the helping.
    had: usize,
    /// Whether it begins with a reset, which the log would not give again.
    reset: bool,
    /// By what it came.
    way: Way,
}

impl Pending {
    /// Bytes that could be read again instead of being kept.
    fn counted(&self) -> usize {
        if self.origin.is_some() { self.bytes.len() } else { 0 }
    }

    /// Nothing but what follows.
    fn only(then: Then) -> Self {
        Self { bytes: Bytes::new(), sent: 0, marks: Vec::new(), origin: None, then }
    }
}

enum Then {
    /// Go on with the view, this many bytes into the event after the last whole one.
    Live { into_next: usize },
    /// Ask the log for more.
    Feed(Feed),
}

/// What the view gave for one offset: in a sweep the next subscriber is usually at the same.
#[derive(Default)]
struct Memo {
    known: Option<Known>,
    slices: [Option<Slice>; SLICES_MAX],
}

#[derive(Clone, Copy)]
struct Known {
    after: Offset,
    into_next: usize,
    position: u64,
    read: Read,
    bytes: usize,
}

impl Reactor {
    /// A reactor that is yet to be run; within a Tokio runtime.
    pub(super) fn new(handle: Arc<Handle>, settings: Settings) -> io::Result<Self> {
        // Deprecated for types that may change their descriptor while it is registered, which an OwnedFd cannot; the
        // function that replaces it is unsafe.
        #[expect(deprecated, reason = "see above")]
        let epoll = AsyncFd::with_interest(epoll::create(CreateFlags::CLOEXEC)?, Interest::READABLE)?;
        let ticks = settings.heartbeat.as_millis() / TICK.as_millis();
        let beat_ticks = u32::try_from(ticks).unwrap_or(u32::MAX).clamp(1, BEAT_TICKS_MAX);
        Ok(Self {
            handle,
            settings,
            epoll,
            subscribers: Slab::default(),
            views: Vec::new(),
            free_views: Vec::new(),
            view_numbers: HashMap::new(),
            dirty: VecDeque::new(),
            pending: HashMap::new(),
            pending_bytes: 0,
            waiting: VecDeque::new(),
            wheel: Wheel::new(beat_ticks),
            beat_ticks,
            next_tick: clock::instant() + TICK,
            slice_bytes: 0,
            scratch: Vec::new(),
            jitter: 1,
        })
    }

    /// Serves until the drain.
    pub(super) async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = false;
        let handle = Arc::clone(&self.handle);
        loop {
            if self.take_inbox() {
                return self.drain().await;
            }
            self.slice();
            self.resume_some();
            if look || self.is_busy() {
                look = match self.look() {
                    Ok(more) => more,
                    Err(err) => {
                        // Only a broken epoll descriptor gets here; nothing this task does can mend it.
                        tracing::error!(error = %err, "reactor stopped: epoll failed");
                        return;
                    }
                };
            }
            self.tick();
            if look || self.is_busy() {
                // Others that are ready run first, and the runtime looks for what else is.
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                // What arrived is in the inbox, and a notice of it waits where nobody does.
                () = handle.arrived.notified() => {}
                // Cleared before epoll is asked: what comes after that is told again.
                ready = self.epoll.readable() => match ready {
                    Ok(mut ready) => {
                        ready.clear_ready();
                        look = true;
                    }
                    Err(err) => {
                        tracing::error!(error = %err, "reactor stopped: the runtime ended");
                        return;
                    }
                },
                // A tick that is missed is made up for: the clock says what is due.
                _ = ticks.tick() => {}
            }
        }
    }

    // Whether there is something to do at once.
    fn is_busy(&self) -> bool {
        !self.dirty.is_empty() || !self.waiting.is_empty()
    }

    // Looks at epoll without waiting; whether there may be more.
    fn look(&mut self) -> Result<bool, Errno> {
        let mut events = [MaybeUninit::uninit(); EPOLL_EVENTS_MAX];
        let (events, rest) = match epoll::wait(self.epoll.get_ref(), &mut events, Some(&NO_WAIT)) {
            Ok(waited) => waited,
            Err(Errno::INTR) => return Ok(true),
            Err(err) => return Err(err),
        };
        for event in &*events {
            self.ready(event.data.u64(), event.flags);
        }
        Ok(rest.is_empty())
    }

    // Takes what was handed over; whether it is time to end.
    fn take_inbox(&mut self) -> bool {
        let (tickets, dirty, fed, drain) = {
            let mut inbox = self.handle.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            (
                mem::take(&mut inbox.tickets),
                mem::take(&mut inbox.dirty),
                mem::take(&mut inbox.fed),
                inbox.drain,
            )
        };
        for ticket in tickets {
            self.add(ticket);
        }
        for view in dirty {
            if let Some(side) = view.side(self.handle.index) {
                // Cleared before the view is looked at: an event appended after this marks it again.
                side.dirty.store(false, Ordering::SeqCst);
            }
            if let Some(number) = self.view_numbers.get(&key(&view)) {
                self.enqueue(*number);
            }
        }
        for (number, generation, fed) in fed {
            self.fed(number, generation, fed);
        }
        drain
    }

    fn add(&mut self, ticket: Ticket) {
        let Ticket { socket, seat, place, way, permit } = ticket;
        let view = self.view_number(&seat);
        // The reactor counts its subscribers of a view itself; the seat is given back in `close`.
        Views::enter(seat.view());
        drop(seat);
        let sent = self.wheel.tick();
        let slot = self.viewed(view).map_or(0, |viewed| viewed.list.len());
        let slot = u32::try_from(slot).unwrap_or(u32::MAX);
        let (number, generation) = self.subscribers.insert(Subscriber {
            socket,
            generation: 0,
            view,
            slot,
            sent,
            state: State::Live,
            after: place.after,
            permit,
        });
        if let Some(viewed) = self.viewed(view) {
            viewed.list.push(Some(number));
            viewed.live += 1;
            // A sweep that stands in mid-list goes once around a list that is one longer now.
            viewed.remaining += usize::from(viewed.queued);
        }
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let data = EventData::new_u64(token(number, generation));
        let added = match self.subscribers.get_mut(number) {
            Some(subscriber) => epoll::add(self.epoll.get_ref(), &subscriber.socket, data, flags),
            None => Ok(()),
        };
        if added.is_err() {
            return self.close(number);
        }
        // Spread over the interval, so that those who came together do not beat together.
        self.jitter = self.jitter.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let first = self.beat_ticks - (self.jitter >> 8) % (self.beat_ticks / 4 + 1);
        self.wheel.schedule((number, generation), first);
        self.serve_from(number, place, way);
    }

    // Joins the view where it holds all that is missed, else asks the log.
    fn serve_from(&mut self, number: u32, place: Place, way: Way) {
        let Some(subscriber) = self.subscribers.get_mut(number) else { return };
        let view = subscriber.view;
        let Some(viewed) = self.views.get(view as usize).and_then(Option::as_ref) else { return };
        if matches!(way, Way::Events) && viewed.view.lock().join(place.after).is_some() {
            self.visit(number, &mut Memo::default());
        } else {
            let feed = Feed { view: Arc::clone(&viewed.view), place, into_next: 0, way };
            self.ask(number, feed);
        }
    }

    fn ask(&mut self, number: u32, feed: Feed) {
        let Some(subscriber) = self.subscribers.get_mut(number) else { return };
        subscriber.state = State::Feeding;
        let Some(feeder) = self.handle.feeder.get() else { return self.close(number) };
        let generation = subscriber.generation;
        self.handle.stats.helpings.fetch_add(1, Ordering::Relaxed);
        let handle = Arc::clone(&self.handle);
        let deliver = move |fed| handle.put(|inbox| inbox.fed.push((number, generation, fed)));
        feeder.request(feed, Box::new(deliver));
    }

    fn fed(&mut self, number: u32, generation: u32, fed: Result<Fed, Error>) {
        let Some(subscriber) = self.subscribers.get_same(number, generation) else { return };
        match fed {
            Ok(fed) => {
                subscriber.after = fed.after;
                self.handle.stats.events.fetch_add(fed.marks.len() as u64, Ordering::Relaxed);
                let then = fed.next.map_or(Then::Live { into_next: 0 }, Then::Feed);
                let (place, had, reset) = (fed.from, fed.had, fed.reset);
                let origin = fed.again.map(|way| Origin { place, had, reset, way });
                let pending = Pending { bytes: fed.bytes, sent: 0, marks: fed.marks, origin, then };
                self.pending.insert(number, pending);
                self.wait_turn(number);
            }
            Err(err) => {
                err.log_end_of_subscription();
                self.close(number);
            }
        }
    }

    // Has a subscriber that was blocked or fed go on when it is its turn.
    fn wait_turn(&mut self, number: u32) {
        let Some(subscriber) = self.subscribers.get_mut(number) else { return };
        if subscriber.state == State::Blocked {
            self.handle.stats.blocked.fetch_sub(1, Ordering::Relaxed);
            self.pending_bytes -= self.pending.get(&number).map_or(0, Pending::counted);
        }
        subscriber.state = State::Waiting;
        self.waiting.push_back((number, subscriber.generation));
    }

    // A few of those who are behind: so much in one turn, that those who are not wait no longer for it.
    fn resume_some(&mut self) {
        self.slice_bytes = 0;
        let mut visits = 0;
        while self.slice_bytes < BEHIND_BYTES
            && visits < SLICE
            && let Some((number, generation)) = self.waiting.pop_front()
        {
            visits += 1;
            let waits = self.subscribers.get_same(number, generation);
            if waits.is_some_and(|subscriber| subscriber.state == State::Waiting) {
                self.resume(number);
            }
        }
    }

    // Goes on with a subscriber that was blocked or fed.
    fn resume(&mut self, number: u32) {
        let Some(subscriber) = self.subscribers.get_mut(number) else { return };
        subscriber.state = State::Live;
        let pending = self.pending.remove(&number);
        let Some(mut pending) = pending else {
            return self.visit(number, &mut Memo::default());
        };
        let rest = pending.bytes.get(pending.sent..).unwrap_or_default();
        let piece = rest.get(..BEHIND_BYTES).unwrap_or(rest);
        if !piece.is_empty() {
            let sent = send(&subscriber.socket, piece, FLAGS);
            self.handle.stats.sends.fetch_add(1, Ordering::Relaxed);
            let taken = match sent {
                Ok(sent) => {
                    subscriber.sent = self.wheel.tick();
                    self.handle.stats.bytes.fetch_add(sent as u64, Ordering::Relaxed);
                    self.slice_bytes += sent;
                    sent
                }
                Err(Errno::AGAIN | Errno::INTR) => 0,
                Err(_) => return self.close(number),
            };
            pending.sent += taken;
            if taken < piece.len() {
                return self.block(number, pending);
            }
            if pending.sent < pending.bytes.len() {
                self.pending.insert(number, pending);
                return self.wait_turn(number);
            }
        }
        match pending.then {
            Then::Live { into_next: 0 } => {
                let place = Place { after: subscriber.after, trims: 0 };
                self.serve_from(number, place, Way::Events);
            }
            Then::Live { into_next } => self.deliver(number, into_next, &mut Memo::default()),
            Then::Feed(feed) => self.ask(number, feed),
        }
    }

    fn block(&mut self, number: u32, mut pending: Pending) {
        let Some(subscriber) = self.subscribers.get_mut(number) else { return };
        let over = self.pending_bytes + pending.counted() > PENDING_BYTES_MAX;
        let viewed = self.views.get(subscriber.view as usize).and_then(Option::as_ref);
        if let (true, Some(origin), Some(viewed)) = (over, &pending.origin, viewed) {
            // Too many hold a helping of the log: this one keeps only its place, and the log is read again for it.
            let whole = pending.marks.partition_point(|(_, end)| *end <= pending.sent);
            let last = whole.checked_sub(1).and_then(|last| pending.marks.get(last)).copied();
            let again = |after, into_next| {
                let place = Place { after, trims: origin.place.trims };
                let way = origin.way.clone();
                Then::Feed(Feed { view: Arc::clone(&viewed.view), place, into_next, way })
            };
            match last {
                Some((after, end)) => {
                    subscriber.after = after;
                    pending = Pending::only(again(after, pending.sent - end));
                }
                None if origin.reset => {
                    // Only the reset is kept, to be sent to its end.
                    pending.marks.truncate(1);
                    if let Some((after, end)) = pending.marks.first().copied() {
                        subscriber.after = after;
                        // Copied, as a part of them would keep all of them.
                        pending.bytes = Bytes::copy_from_slice(pending.bytes.get(..end).unwrap_or_default());
                        pending.then = again(after, 0);
                    }
                }
                None => {
                    let after = origin.place.after;
                    subscriber.after = after;
                    pending = Pending::only(again(after, origin.had + pending.sent));
                }
            }
        }
        subscriber.state = State::Blocked;
        self.pending_bytes += pending.counted();
        self.handle.stats.blocked.fetch_add(1, Ordering::Relaxed);
        self.pending.insert(number, pending);
    }

    // Sends a live subscriber what its view has for it.
    fn visit(&mut self, number: u32, memo: &mut Memo) {
        let Some(subscriber) = self.subscribers.get_mut(number) else { return };
        if subscriber.state != State::Live {
            return;
        }
        let after = subscriber.after;
        if memo.known.is_some_and(|known| known.after == after) {
            return self.send_memo(number, memo);
        }
        self.deliver(number, 0, memo);
    }

    // Reads the view from `into_next` bytes into the event after the subscriber's last one, and sends what is there; asks
    // the log where the view has dropped it.
    fn deliver(&mut self, number: u32, into_next: usize, memo: &mut Memo) {
        let Some(subscriber) = self.subscribers.get_mut(number) else { return };
        let after = subscriber.after;
        let Some(viewed) = self.views.get(subscriber.view as usize).and_then(Option::as_ref) else { return };
        memo.known = None;
        memo.slices.fill(None);
        let read = {
            // Joined and read under one lock: dropped in between, the rest of the event would be lost.
            let view = viewed.view.lock();
            let position = view.join(after).map(|start| start + into_next as u64);
            position.and_then(|position| Some((position, view.read(position, &mut memo.slices)?)))
        };
        let Some((position, read)) = read else {
            let place = Place { after, trims: 0 };
            let feed = Feed { view: Arc::clone(&viewed.view), place, into_next, way: Way::Events };
            return self.ask(number, feed);
        };
        let bytes = memo.slices.iter().flatten().map(|slice| slice.as_ref().len()).sum();
        memo.known = Some(Known { after, into_next, position, read, bytes });
        self.send_memo(number, memo);
    }

    fn send_memo(&mut self, number: u32, memo: &Memo) {
        let Some(Known { into_next, position, read, bytes, .. }) =
            memo.known.filter(|known| known.read.slices > 0)
        else {
            return;
        };
        let Some(subscriber) = self.subscribers.get_mut(number) else { return };
        let sent = match &memo.slices {
            [Some(slice), None, ..] => send(&subscriber.socket, slice.as_ref(), FLAGS),
            slices => {
                let mut parts = [IoSlice::new(&[]); SLICES_MAX];
                for (part, slice) in parts.iter_mut().zip(slices.iter().flatten()) {
                    *part = IoSlice::new(slice.as_ref());
                }
                let parts = parts.get(..read.slices).unwrap_or_default();
                sendmsg(&subscriber.socket, parts, &mut SendAncillaryBuffer::default(), FLAGS)
            }
        };
        let stats = &self.handle.stats;
        stats.sends.fetch_add(1, Ordering::Relaxed);
        let sent = match sent {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(_) => return self.close(number),
        };
        stats.bytes.fetch_add(sent as u64, Ordering::Relaxed);
        self.slice_bytes += sent;
        if sent > 0 {
            subscriber.sent = self.wheel.tick();
        }
        if sent == bytes {
            stats.events.fetch_add(read.events as u64, Ordering::Relaxed);
            subscriber.after = read.newest;
            if read.more {
                let view = subscriber.view;
                self.enqueue(view);
            }
            return;
        }
        if sent == 0 {
            return self.block(number, Pending::only(Then::Live { into_next }));
        }
        let Some(viewed) = self.views.get(subscriber.view as usize).and_then(Option::as_ref) else { return };
        let place = viewed.view.lock().place(position + sent as u64);
        match place {
            Some(place) => {
                // Events that ended in what was sent are not counted here: a blocked reader is not worth a search.
                subscriber.after = place.offset;
                let then = Then::Live { into_next: place.into_next };
                self.block(number, Pending::only(then));
            }
            // Dropped between the read and now; without its bounds the rest of the event cannot be told.
            None => self.close(number),
        }
    }

    // One slice of the sweeps: so many visits, to one view or to several in turn.
    fn slice(&mut self) {
        let mut left = SLICE;
        self.slice_bytes = 0;
        while left > 0
            && self.slice_bytes < SLICE_BYTES
            && let Some(view) = self.dirty.pop_front()
        {
            let visits = self.visit_some(view, left);
            left = left.saturating_sub(visits.max(1));
            self.settle(view);
        }
        if left < SLICE {
            self.handle.stats.slices.fetch_add(1, Ordering::Relaxed);
        }
    }

    // Visits the next of the view's subscribers, `most` at most; gives how many.
    fn visit_some(&mut self, view: u32, most: usize) -> usize {
        let mut memo = Memo::default();
        for visits in 0..most {
            if self.slice_bytes >= SLICE_BYTES {
                return visits;
            }
            let Some(viewed) = self.viewed(view).filter(|viewed| viewed.remaining > 0) else {
                return visits;
            };
            viewed.remaining -= 1;
            viewed.round_visits += 1;
            let next = viewed.next;
            viewed.next = if next + 1 >= viewed.list.len() { 0 } else { next + 1 };
            // Gaps and subscribers that take nothing count as visits: a slice is bounded whatever it meets.
            if let Some(number) = viewed.list.get(next).copied().flatten() {
                self.visit(number, &mut memo);
            }
        }
        most
    }

    // After some visits: tells the log how far they came, and queues the view again if others are to be visited.
    fn settle(&mut self, view: u32) {
        let index = self.handle.index;
        let Some(viewed) = self.views.get_mut(view as usize).and_then(Option::as_mut) else { return };
        if viewed.remaining == 0 || viewed.round_visits >= viewed.list.len() {
            let end = viewed.view.lock().end();
            let reached = if viewed.remaining == 0 { viewed.dirty_end } else { viewed.round_end };
            viewed.view.note_swept(index, reached);
            if viewed.remaining == 0 && viewed.live <= RELEASE_SUBSCRIBERS_MAX {
                self.release(view);
            }
            let Some(viewed) = self.views.get_mut(view as usize).and_then(Option::as_mut) else { return };
            viewed.round_end = end;
            viewed.round_visits = 0;
        }
        let Some(viewed) = self.views.get_mut(view as usize).and_then(Option::as_mut) else { return };
        if viewed.remaining > 0 {
            self.dirty.push_back(view);
        } else {
            viewed.queued = false;
        }
    }

    // A view of few subscribers keeps no bytes for others to come: the log has them.
    fn release(&mut self, view: u32) {
        let Some(viewed) = self.views.get(view as usize).and_then(Option::as_ref) else { return };
        if viewed.view.subscribers() > viewed.live {
            return;
        }
        let mut position = u64::MAX;
        for number in viewed.list.iter().flatten() {
            let Some(subscriber) = self.subscribers.get_mut(*number) else { continue };
            let joined = viewed.view.lock().join(subscriber.after);
            position = position.min(joined.unwrap_or(0));
        }
        if position != u64::MAX {
            viewed.view.release(position);
        }
    }

    // Has the view swept from where the sweep stands, once around.
    fn enqueue(&mut self, view: u32) {
        let Some(viewed) = self.views.get_mut(view as usize).and_then(Option::as_mut) else { return };
        if !viewed.queued {
            viewed.queued = true;
            viewed.next = 0;
            viewed.round_visits = 0;
            viewed.round_end = viewed.view.lock().end();
            viewed.compact(&mut self.subscribers);
            self.dirty.push_back(view);
        }
        viewed.remaining = viewed.list.len();
        viewed.dirty_end = viewed.view.lock().end();
    }

    fn ready(&mut self, data: u64, flags: EventFlags) {
        let (number, generation) = untoken(data);
        if self.subscribers.get_same(number, generation).is_none() {
            return;
        }
        if flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            return self.close(number);
        }
        if flags.contains(EventFlags::IN) && !self.discard(number) {
            return self.close(number);
        }
        let Some(subscriber) = self.subscribers.get_same(number, generation) else { return };
        if flags.contains(EventFlags::OUT) && subscriber.state == State::Blocked {
            self.wait_turn(number);
        }
    }

    // Throws away what a client sends after its request; whether the connection still stands.
    fn discard(&mut self, number: u32) -> bool {
        let Some(subscriber) = self.subscribers.get_mut(number) else { return false };
        let mut bytes = [0; 4096];
        for _ in 0..DISCARD_READS_MAX {
            match read(subscriber.socket.as_fd(), &mut bytes) {
                Ok(0) => return false,
                Ok(count) => {
                    self.handle.stats.discarded.fetch_add(count as u64, Ordering::Relaxed);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        // Whoever talks this much on a stream is no SSE client.
        false
    }

    fn tick(&mut self) {
        let now = clock::instant();
        if now < self.next_tick {
            return;
        }
        // After a long stall one tick is enough: heartbeats late by the stall are not sent twice.
        self.next_tick = (self.next_tick + TICK).max(now);
        let mut due = Vec::new();
        self.wheel.advance(&mut due);
        for (number, generation) in due {
            self.beat(number, generation);
        }
    }

    fn beat(&mut self, number: u32, generation: u32) {
        let tick = self.wheel.tick();
        let Some(subscriber) = self.subscribers.get_same(number, generation) else { return };
        let silent = tick.wrapping_sub(subscriber.sent);
        if subscriber.state != State::Live || silent < self.beat_ticks - self.beat_ticks / 4 {
            let rest = self.beat_ticks.saturating_sub(silent);
            return self.wheel.schedule((number, generation), rest);
        }
        self.wheel.schedule((number, generation), self.beat_ticks);
        let Some(viewed) = self.views.get(subscriber.view as usize).and_then(Option::as_ref) else { return };
        // Read before the view is looked at: all events up to it are in the view then.
        let head = viewed.log.published();
        let quiet = viewed.view.is_quiet();
        let behind = {
            let view = viewed.view.lock();
            view.join(subscriber.after) != Some(view.end())
        };
        if behind {
            return self.visit(number, &mut Memo::default());
        }
        let head = if quiet { head.max(subscriber.after) } else { subscriber.after };
        let moved = head > subscriber.after;
        self.scratch.clear();
        viewed.view.form().heartbeat(&mut self.scratch, viewed.log.position(head), moved);
        self.handle.stats.heartbeats.fetch_add(1, Ordering::Relaxed);
        subscriber.after = subscriber.after.max(head);
        let bytes = Bytes::copy_from_slice(&self.scratch);
        let then = Then::Live { into_next: 0 };
        self.pending.insert(number, Pending { bytes, ..Pending::only(then) });
        self.resume(number);
    }

    fn close(&mut self, number: u32) {
        let pending = self.pending.remove(&number);
        let Some(subscriber) = self.subscribers.remove(number) else { return };
        let stats = &self.handle.stats;
        stats.subscribers.fetch_sub(1, Ordering::Relaxed);
        if subscriber.state == State::Blocked {
            stats.blocked.fetch_sub(1, Ordering::Relaxed);
            self.pending_bytes -= pending.as_ref().map_or(0, Pending::counted);
        }
        let view = subscriber.view;
        let Some(viewed) = self.viewed(view) else { return };
        if let Some(slot) = viewed.list.get_mut(subscriber.slot as usize) {
            *slot = None;
        }
        viewed.live -= 1;
        let (shared, log, live) = (Arc::clone(&viewed.view), viewed.log.clone(), viewed.live);
        if let Some(side) = shared.side(self.handle.index) {
            side.subscribers.fetch_sub(1, Ordering::Relaxed);
        }
        if live == 0 {
            // Whoever waits for this reactor's sweep waits no longer.
            let end = shared.lock().end();
            shared.note_swept(self.handle.index, end);
            self.view_numbers.remove(&key(&shared));
            if let Some(slot) = self.views.get_mut(view as usize) {
                *slot = None;
            }
            self.dirty.retain(|queued| *queued != view);
            self.free_views.push(view);
        }
        // Dropping a seat gives the place in the view back, and the view with it where it was the last.
        drop(log.seat(shared));
    }

    // The view's place in the table; a new one where it has no subscribers here yet.
    fn view_number(&mut self, seat: &crate::log::Seat) -> u32 {
        let shared = seat.view();
        let number = match self.view_numbers.get(&key(shared)) {
            Some(number) => *number,
            None => {
                let viewed = Viewed {
                    view: Arc::clone(shared),
                    log: seat.log().clone(),
                    list: Vec::new(),
                    live: 0,
                    next: 0,
                    remaining: 0,
                    queued: false,
                    round_end: 0,
                    dirty_end: 0,
                    round_visits: 0,
                };
                let number = self.free_views.pop().unwrap_or_else(|| {
                    self.views.push(None);
                    u32::try_from(self.views.len() - 1).unwrap_or(u32::MAX)
                });
                if let Some(slot) = self.views.get_mut(number as usize) {
                    *slot = Some(viewed);
                }
                self.view_numbers.insert(key(shared), number);
                // Nobody here is behind yet, however far the view has come.
                shared.note_swept(self.handle.index, shared.lock().end());
                number
            }
        };
        if let Some(side) = shared.side(self.handle.index) {
            side.subscribers.fetch_add(1, Ordering::SeqCst);
        }
        number
    }

    fn viewed(&mut self, view: u32) -> Option<&mut Viewed> {
        self.views.get_mut(view as usize)?.as_mut()
    }

    // Sends everybody what it misses, then a goodbye and the end of the body, and closes.
    async fn drain(&mut self) {
        for (visits, number) in self.subscribers.numbers().into_iter().enumerate() {
            if visits % SLICE == SLICE - 1 {
                tokio::task::yield_now().await;
            }
            self.visit(number, &mut Memo::default());
            let Some(subscriber) = self.subscribers.get_mut(number) else { continue };
            // In mid-event nothing may be said: the client drops what is unfinished and resumes from its cursor.
            if subscriber.state == State::Live {
                let after = subscriber.after;
                self.jitter = self.jitter.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let retry = jittered(self.settings.retry, self.jitter);
                if let Some(viewed) = self.views.get(subscriber.view as usize).and_then(Option::as_ref) {
                    self.scratch.clear();
                    let goodbye = Control::Goodbye { reason: "drain", retry };
                    let form = viewed.view.form();
                    form.control(&mut self.scratch, viewed.log.position(after), &goodbye);
                    form.end(&mut self.scratch);
                    // What does not fit into the socket now is not worth waiting for.
                    let _ = send(&subscriber.socket, &self.scratch, FLAGS);
                }
            }
            self.close(number);
        }
        let mut inbox = self.handle.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.ended = true;
        let late = mem::take(&mut inbox.tickets);
        drop(inbox);
        self.handle.stats.subscribers.fetch_sub(late.len() as u64, Ordering::Relaxed);
        drop(late);
    }
}

impl Viewed {
    // Closes the gaps once they are many.
    fn compact(&mut self, subscribers: &mut Slab) {
        if self.list.len() - self.live <= self.live / 4 + GAPS_MAX {
            return;
        }
        self.list.retain(Option::is_some);
        for (slot, number) in self.list.iter().enumerate() {
            if let Some(subscriber) = number.and_then(|number| subscribers.get_mut(number)) {
                subscriber.slot = u32::try_from(slot).unwrap_or(u32::MAX);
            }
        }
    }
}

/// A reconnection time between half and one and a half of `retry`.
pub(crate) fn jittered(retry: Duration, random: u32) -> Duration {
    retry / 2 + retry.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

fn key(view: &Arc<SharedView>) -> usize {
    Arc::as_ptr(view).addr()
}

fn token(number: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(number)
}

fn untoken(token: u64) -> (u32, u32) {
    let low = u32::try_from(token & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    (low, u32::try_from(token >> 32).unwrap_or(u32::MAX))
}

const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
const FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
// Visits between two looks at epoll.
const SLICE: usize = 16;
// Or so many bytes: under overload a visit sends hundreds of events, and others wait no longer for that.
const SLICE_BYTES: usize = 64 * 1024;
// What those who are behind get between two slices, and one of them at once.
const BEHIND_BYTES: usize = 32 * 1024;
// Chunks sent at once: up to 1 MiB.
const SLICES_MAX: usize = 16;
// Between two slices: readers of the past, who wait for room in their sockets, take turns with the live ones.
const EPOLL_EVENTS_MAX: usize = 8;
// Helpings of the log that blocked subscribers of one reactor may hold, all together.
const PENDING_BYTES_MAX: usize = 4 * 1024 * 1024;
const TICK: Duration = Duration::from_millis(250);
const BEAT_TICKS_MAX: u32 = 4 * 3600;
// Reads of input that is thrown away, per readiness.
const DISCARD_READS_MAX: usize = 16;
const GAPS_MAX: usize = 16;
// Views with more subscribers than this keep their bytes for those who reconnect.
const RELEASE_SUBSCRIBERS_MAX: usize = 8;
