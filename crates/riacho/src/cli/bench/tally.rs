//! Counts events in the bytes that subscribers receive: finds stamps, however they were cut, and checks their sequences.
//!
//! Pure: bytes and the time come in. Its cost per event is part of every measurement, so nothing is allocated per event
//! and the clock is read by the caller, once per read.

use super::{
    gaps::Gaps,
    stamp::{STAMP_BYTES, Stamp},
};
use hdrhistogram::Histogram;
use memchr::memmem::Finder;
use std::{collections::HashMap, ops::Range};

/// What all subscribers received.
#[derive(Debug)]
pub(super) struct Tally {
    finder: Finder<'static>,
    readers: Vec<Reader>,
    /// The beginning of a marker and stamp at the end of what a reader received.
    carries: Vec<[u8; CARRY_BYTES]>,
    counts: Counts,
}

/// One subscriber.
#[derive(Debug)]
struct Reader {
    /// Events received.
    received: u64,
    /// The next sequence of each source from `first` on.
    next: Vec<u32>,
    first: u32,
    carried: u8,
    /// Whether it was accepted and reads.
    counts: bool,
}

/// What is counted for all of them together.
#[derive(Debug)]
struct Counts {
    unseen: u32,
    gaps: Gaps,
    received: u64,
    repeated: u64,
    disordered: u64,
    latency: Latency,
    /// Sources outside of a reader's table.
    others: HashMap<(u32, u32), u32>,
}

/// Where sequences begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Begin {
    /// With 0: what is missing before the first event was lost.
    Zero,
    /// With the first event of each source that a subscriber sees.
    First,
}

/// Which sources a reader is expected to get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Audience {
    /// All of them.
    All,
    /// The one with the number of its path.
    Own,
    /// Nobody knows; those it saw.
    Seen,
}

/// What became of the events of one source.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Source {
    /// How many were sent; their sequences are below that.
    pub(super) sent: u32,
    /// Those that were refused or never answered, in order.
    pub(super) unstored: Vec<Range<u32>>,
}

impl Source {
    /// How many are stored for sure.
    pub(super) fn stored(&self) -> u64 {
        let unstored: u64 = self.unstored.iter().map(|range| u64::from(range.end - range.start)).sum();
        u64::from(self.sent) - unstored
    }
}

impl Tally {
    /// For subscribers each of which has a table from a first source on, so long.
    ///
    /// # Panics
    /// If the marker is longer than [`MARKER_BYTES_MAX`].
    pub(super) fn new(marker: &[u8], begin: Begin, tables: impl Iterator<Item = (u32, usize)>) -> Self {
        assert!(marker.len() <= MARKER_BYTES_MAX, "the marker was checked");
        let unseen = if begin == Begin::Zero { 0 } else { UNSEEN };
        let reader = |(first, length)| Reader {
            received: 0,
            next: vec![unseen; length],
            first,
            carried: 0,
            counts: false,
        };
        let readers: Vec<_> = tables.map(reader).collect();
        let counts = Counts {
            unseen,
            gaps: Gaps::default(),
            received: 0,
            repeated: 0,
            disordered: 0,
            latency: Latency::default(),
            others: HashMap::new(),
        };
        let carries = vec![[0; CARRY_BYTES]; readers.len()];
        Self { finder: Finder::new(marker).into_owned(), readers, carries, counts }
    }

    /// The subscriber was accepted and reads.
    pub(super) fn accepted(&mut self, reader: usize) {
        if let Some(reader) = self.readers.get_mut(reader) {
            reader.counts = true;
        }
    }

    /// `reader` received `bytes` at the time `now`; how many events it has now.
    pub(super) fn take(&mut self, reader: usize, bytes: &[u8], now: u64) -> u64 {
        let index = reader;
        let (Some(reader), Some(carry)) = (self.readers.get_mut(index), self.carries.get_mut(index)) else {
            return 0;
        };
        let mut take = Take { finder: &self.finder, counts: &mut self.counts, index: index as u32, now };
        if reader.carried == 0 {
            take.scan(reader, carry, bytes);
            return reader.received;
        }
        // The bytes carried, and so many that a stamp that begins in them is whole.
        let mut joined = [0; CARRY_BYTES * 2];
        let carried = usize::from(reader.carried);
        let added = bytes.len().min(CARRY_BYTES);
        joined.iter_mut().zip(carry.iter().take(carried).chain(bytes)).for_each(|(to, from)| *to = *from);
        let joined = joined.get(..carried + added).unwrap_or_default();
        reader.carried = 0;
        if added == bytes.len() {
            take.scan(reader, carry, joined);
        } else {
            let used = take.first(reader, joined, carried);
            take.scan(reader, carry, bytes.get(used..).unwrap_or_default());
        }
        reader.received
    }

    /// Events that all received.
    pub(super) fn received(&self) -> u64 {
        self.counts.received
    }

    /// Events that one received.
    pub(super) fn received_by(&self, reader: usize) -> u64 {
        self.readers.get(reader).map_or(0, |reader| reader.received)
    }

    /// Those accepted that read.
    pub(super) fn reading(&self) -> usize {
        self.readers.iter().filter(|reader| reader.counts).count()
    }

    /// How many deliveries `sources` make; none if nobody can know.
    pub(super) fn expected(&self, sources: &[Source], audience: Audience) -> Option<u64> {
        let reading = self.readers.iter().filter(|reader| reader.counts);
        match audience {
            Audience::All => Some(reading.count() as u64 * sources.iter().map(Source::stored).sum::<u64>()),
            Audience::Own => {
                Some(reading.map(|reader| sources.get(reader.first as usize).map_or(0, Source::stored)).sum())
            }
            Audience::Seen => None,
        }
    }

    /// The end: what nobody will receive any more is lost. Without `sources` only gaps are known.
    pub(super) fn end(mut self, sources: Option<(&[Source], Audience)>) -> Totals {
        self.counts.latency.flush();
        let Some((sources, audience)) = sources else {
            return self.counts.totals(|_| Vec::new());
        };
        for (index, reader) in self.readers.iter().enumerate().filter(|(_, reader)| reader.counts) {
            // Where each has but its own, the others need no look.
            let (skip, take) =
                if audience == Audience::Own { (reader.first as usize, 1) } else { (0, sources.len()) };
            for (source, sent) in (0..).zip(sources).skip(skip).take(take) {
                let slot = (source as u32).wrapping_sub(reader.first) as usize;
                let place = (index as u32, source as u32);
                let next = reader.next.get(slot).or_else(|| self.counts.others.get(&place)).copied();
                let expected = match audience {
                    Audience::All | Audience::Own => true,
                    Audience::Seen => next.is_some_and(|next| next != self.counts.unseen),
                };
                let next = next.filter(|next| *next != UNSEEN).unwrap_or(0);
                if expected && next < sent.sent {
                    self.counts.gaps.add(place.0, place.1, next..sent.sent);
                }
            }
        }
        self.counts.totals(|source| {
            sources.get(source as usize).map(|source| source.unstored.clone()).unwrap_or_default()
        })
    }
}

/// What came of it all.
#[derive(Debug)]
pub(super) struct Totals {
    /// Events that subscribers did not receive.
    pub(super) lost: u64,
    /// Whether there were more gaps than could be kept: then `lost` may be too many.
    pub(super) lost_at_most: bool,
    pub(super) repeated: u64,
    /// Events that came after a later one; they are not lost.
    pub(super) disordered: u64,
    /// From stamp to receipt, in units of 100 ns.
    pub(super) latency: Histogram<u64>,
}

impl Counts {
    fn totals(self, unstored: impl Fn(u32) -> Vec<Range<u32>>) -> Totals {
        Totals {
            lost: self.gaps.lost(unstored),
            lost_at_most: self.gaps.only_counted > 0,
            repeated: self.repeated,
            disordered: self.disordered,
            latency: self.latency.histogram,
        }
    }
}

/// One reader's bytes being taken.
struct Take<'a> {
    finder: &'a Finder<'static>,
    counts: &'a mut Counts,
    index: u32,
    now: u64,
}

impl Take<'_> {
    /// Counts the events in `bytes` and carries what may be the beginning of another.
    fn scan(&mut self, reader: &mut Reader, carry: &mut [u8; CARRY_BYTES], bytes: &[u8]) {
        let marker = self.finder.needle();
        let mut rest = bytes;
        while let Some(at) = self.finder.find(rest) {
            let stamp = rest.get(at + marker.len()..).unwrap_or_default();
            if stamp.len() < STAMP_BYTES {
                return keep(reader, carry, rest.get(at..).unwrap_or_default());
            }
            rest = match Stamp::parse(stamp) {
                Some(event) => {
                    self.event(reader, event);
                    stamp.get(STAMP_BYTES..).unwrap_or_default()
                }
                None => stamp,
            };
        }
        // No whole marker is left; its beginning may stand at the end.
        let last = rest.len().saturating_sub(marker.len() - 1);
        let end = rest.get(last..).unwrap_or_default();
        for at in memchr::memchr_iter(marker.first().copied().unwrap_or_default(), end) {
            let suffix = end.get(at..).unwrap_or_default();
            if marker.starts_with(suffix) {
                return keep(reader, carry, suffix);
            }
        }
    }

    /// Counts the event that begins in the first `carried` of the bytes; how many bytes behind those it takes.
    fn first(&mut self, reader: &mut Reader, joined: &[u8], carried: usize) -> usize {
        let mut from = 0;
        while let Some(at) = joined.get(from..).and_then(|bytes| self.finder.find(bytes)) {
            let stamp = from + at + self.finder.needle().len();
            if from + at >= carried {
                return 0;
            }
            if let Some(event) = joined.get(stamp..).and_then(Stamp::parse) {
                self.event(reader, event);
                return (stamp + STAMP_BYTES).saturating_sub(carried);
            }
            from = stamp;
        }
        0
    }

    #[inline]
    fn event(&mut self, reader: &mut Reader, event: Stamp) {
        reader.received += 1;
        self.counts.received += 1;
        self.counts.latency.record(self.now.saturating_sub(event.time) / LATENCY_UNIT_NANOS);
        let slot = event.source.wrapping_sub(reader.first) as usize;
        match reader.next.get_mut(slot) {
            Some(next) if *next == event.sequence => *next = event.sequence.wrapping_add(1),
            Some(next) => *next = self.counts.astray(self.index, event, *next),
            None => self.other(reader, event, slot),
        }
    }

    /// An event of a source that is not in the reader's table.
    fn other(&mut self, reader: &mut Reader, event: Stamp, slot: usize) {
        let unseen = self.counts.unseen;
        if reader.first == 0 && slot < TABLE_MAX {
            reader.next.resize(slot + 1, unseen);
            let next = self.counts.astray(self.index, event, unseen);
            if let Some(place) = reader.next.get_mut(slot) {
                *place = next;
            }
            return;
        }
        let place = (self.index, event.source);
        let next = self.counts.others.get(&place).copied().unwrap_or(unseen);
        let next = self.counts.astray(self.index, event, next);
        if self.counts.others.len() < OTHERS_MAX {
            self.counts.others.insert(place, next);
        }
    }
}

impl Counts {
    /// An event that may not be the one expected; which one is expected then.
    fn astray(&mut self, reader: u32, event: Stamp, next: u32) -> u32 {
        let Stamp { source, sequence, .. } = event;
        if next != UNSEEN && sequence < next {
            match self.gaps.fill(reader, source, sequence) {
                true => self.disordered += 1,
                false => self.repeated += 1,
            }
            return next;
        }
        if next != UNSEEN {
            self.gaps.add(reader, source, next..sequence);
        }
        sequence.wrapping_add(1)
    }
}

fn keep(reader: &mut Reader, carry: &mut [u8; CARRY_BYTES], bytes: &[u8]) {
    carry.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    reader.carried = bytes.len() as u8;
}

/// A histogram that is told once what came many times in a row.
#[derive(Debug)]
struct Latency {
    histogram: Histogram<u64>,
    last: u64,
    times: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self { histogram: histogram(), last: 0, times: 0 }
    }
}

impl Latency {
    #[inline]
    fn record(&mut self, value: u64) {
        if value == self.last {
            self.times += 1;
            return;
        }
        self.flush();
        (self.last, self.times) = (value, 1);
    }

    fn flush(&mut self) {
        self.histogram.saturating_record_n(self.last, self.times);
        self.times = 0;
    }
}

/// Of times in units of 100 ns up to an hour, to three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 36_000_000_000, 3).expect("these bounds are in order")
}

/// The unit of histograms.
pub(super) const LATENCY_UNIT_NANOS: u64 = 100;

/// The longest marker.
pub(super) const MARKER_BYTES_MAX: usize = 64;

const CARRY_BYTES: usize = MARKER_BYTES_MAX + STAMP_BYTES;

/// No sequence: nothing of a source was seen.
const UNSEEN: u32 = u32::MAX;

/// How far a reader's table grows; further sources are looked up.
const TABLE_MAX: usize = 4096;

const OTHERS_MAX: usize = 4_000_000;
