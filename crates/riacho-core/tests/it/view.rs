//! Views against a plain model: all events ever appended, and how many of them were dropped.

use proptest::prelude::*;
use riacho_core::{
    position::Offset,
    view::{CHUNK_BYTES_MAX, Place, Slice, View},
};

#[derive(Clone, Debug)]
enum Step {
    /// Appends an event of so many bytes, so far after the one before, so much later.
    Append { gap: Offset, len: usize, later: u64 },
    /// Trims to so many bytes, and to what is at most so old.
    Trim { bytes_max: usize, age: u64 },
    /// Releases up to this part of all bytes ever appended, in 1/256.
    Release { part: u8 },
    /// Joins after this part of all offsets, reads with so many slots, and holds what it got.
    Read { part: u8, slots: usize },
    /// Lets go of the oldest held slice.
    LetGo,
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![
        6 => 1..40usize,
        3 => 500..9_000usize,
        2 => 15_000..18_000usize,
        1 => CHUNK_BYTES_MAX - 20..CHUNK_BYTES_MAX + 20,
    ];
    let bytes_max = prop_oneof![0..100usize, 0..40_000usize, 100_000..200_000usize];
    prop_oneof![
        10 => (1..4u64, len, 0..3u64).prop_map(|(gap, len, later)| Step::Append { gap, len, later }),
        1 => (bytes_max, 0..12u64).prop_map(|(bytes_max, age)| Step::Trim { bytes_max, age }),
        1 => any::<u8>().prop_map(|part| Step::Release { part }),
        4 => (any::<u8>(), 0..4usize).prop_map(|(part, slots)| Step::Read { part, slots }),
        2 => Just(Step::LetGo),
    ]
}

#[derive(Debug)]
struct Entry {
    offset: Offset,
    start: u64,
    bytes: Vec<u8>,
    time: u64,
}

impl Entry {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// The view under test beside all that was ever appended to it.
struct Modelled {
    view: View,
    first_base: Offset,
    entries: Vec<Entry>,
    now: u64,
    held: Vec<(Slice, Vec<u8>)>,
}

impl Modelled {
    fn new(base: Offset) -> Self {
        Self { view: View::new(base), first_base: base, entries: Vec::new(), now: 100, held: Vec::new() }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Append { gap, len, later } => self.append(gap, len, later),
            Step::Trim { bytes_max, age } => self.trim(bytes_max, self.now.saturating_sub(age)),
            Step::Release { part } => self.release(self.view.end() * u64::from(part) / 255),
            Step::Read { part, slots } => {
                let newest = self.entries.last().map_or(self.first_base, |e| e.offset);
                let span = newest + 2 - self.first_base;
                let after = self.first_base.saturating_sub(1) + span * u64::from(part) / 255;
                self.read_all_after(after, slots, true);
            }
            Step::LetGo => {
                if !self.held.is_empty() {
                    self.held.remove(0);
                }
            }
        }
    }

    fn append(&mut self, gap: Offset, len: usize, later: u64) {
        let start = self.view.end();
        let offset = self.entries.last().map_or(self.first_base, |e| e.offset) + gap;
        // Bytes that differ from event to event and within one.
        let bytes: Vec<u8> = (0..len).map(|i| (offset as usize * 31 + i * 7 + i / 251) as u8).collect();
        self.now += later;
        self.view.append(offset, &bytes, self.now);
        self.entries.push(Entry { offset, start, bytes, time: self.now });
        assert_eq!(self.view.end(), self.entries.last().unwrap().end());
        assert_eq!(self.view.newest(), Some(offset));
    }

    fn trim(&mut self, bytes_max: usize, oldest: u64) {
        let (before, base) = (self.view.bytes(), self.view.base());
        let dropped = self.view.trim(bytes_max, oldest);
        assert_eq!(self.view.bytes() + dropped, before);
        // What was dropped was too much or too old, whole chunks at a time; one chunk always stays.
        let dropped: Vec<&Entry> =
            self.entries.iter().filter(|e| base < e.offset && e.offset <= self.view.base()).collect();
        let mut bytes = before;
        if let Some(last) = dropped.last() {
            let last_chunk = dropped.iter().rev().scan(0, |sum, e| {
                *sum += e.bytes.len();
                (*sum <= CHUNK_BYTES_MAX.max(last.bytes.len())).then_some(e.bytes.len())
            });
            let last_chunk: usize = last_chunk.sum();
            bytes -= dropped.iter().map(|e| e.bytes.len()).sum::<usize>();
            assert!(bytes + last_chunk > bytes_max || last.time < oldest);
            assert!(self.view.newest().is_some());
        }
        // What stays is within the bounds, but for the newest chunk.
        let held = self.held_entries();
        let chunk_max = self.entries.iter().map(|e| e.bytes.len()).fold(CHUNK_BYTES_MAX, usize::max);
        assert!(self.view.bytes() <= bytes_max.max(chunk_max));
        if let (Some(first), Some(last)) = (held.first(), held.last()) {
            // The oldest chunk is the newest one, or its newest event is not too old.
            let within_chunk = last.end() - first.start <= chunk_max as u64;
            let young = held.iter().any(|e| e.time >= oldest);
            assert!(within_chunk || young);
        }
    }

    fn release(&mut self, position: u64) {
        let before = self.view.bytes();
        let dropped = self.view.release(position);
        assert_eq!(self.view.bytes() + dropped, before);
        // Nothing that a reader at `position` still needs is gone.
        let needed: Vec<&Entry> = self.entries.iter().filter(|e| e.end() > position).collect();
        let held = self.held_entries();
        let start = held.first().map_or(self.view.end(), |e| e.start);
        assert!(start <= position.max(self.view.end() - before as u64));
        assert!(
            needed.iter().all(|e| e.start < self.view.end() - before as u64 || e.offset > self.view.base())
        );
        if position == self.view.end() {
            assert_eq!(self.view.bytes(), 0);
        }
    }

    /// Joins and reads to the end as a reader does that takes `slots` slices at a time.
    fn read_all_after(&mut self, after: Offset, slots: usize, hold: bool) {
        let joined = self.view.join(after);
        // The view may claim less than it could, but never less than what it holds.
        assert_eq!(joined.is_some(), after >= self.view.base(), "join after {after}");
        let Some(mut position) = joined else { return };
        let want: Vec<&Entry> = self.entries.iter().filter(|e| e.offset > after).collect();
        let newest = self.view.newest().unwrap_or(self.view.base());
        assert_eq!(position, want.first().map_or(self.view.end(), |e| e.start));

        let (mut got, mut events) = (Vec::new(), 0);
        loop {
            let mut out = vec![None; slots.max(1)];
            let read = self.view.read(position, &mut out).expect("what can be joined can be read");
            let bytes: usize = out.iter().flatten().map(|slice| slice.as_ref().len()).sum();
            assert_eq!(read.slices, out.iter().flatten().count());
            assert!(out.iter().take(read.slices).all(|s| s.as_ref().is_some_and(|s| !s.as_ref().is_empty())));
            position += bytes as u64;
            events += read.events;
            for slice in out.into_iter().flatten() {
                got.extend_from_slice(slice.as_ref());
                if hold {
                    self.held.push((slice.clone(), slice.as_ref().to_vec()));
                }
            }
            let last = self.entries.iter().rev().find(|e| e.end() <= position).map(|e| e.offset);
            assert_eq!(read.newest, if read.slices > 0 { last.unwrap() } else { newest });
            assert_eq!(read.more, position < self.view.end());
            if !read.more {
                break;
            }
        }
        assert_eq!(position, self.view.end());
        assert_eq!(events, want.len());
        let want: Vec<u8> = want.iter().flat_map(|e| e.bytes.iter().copied()).collect();
        assert!(got == want, "the bytes after {after}");

        // Without a slot nothing is read, and that is said.
        let start = self.view.join(after).unwrap();
        let read = self.view.read(start, &mut []).unwrap();
        assert_eq!((read.slices, read.events, read.more), (0, 0, start < self.view.end()));
    }

    /// All that must hold after every step.
    fn check(&mut self) {
        for (slice, bytes) in &self.held {
            assert!(slice.as_ref() == bytes, "a slice changed after it was handed out");
        }
        let held = self.held_entries();
        let bytes: usize = held.iter().map(|e| e.bytes.len()).sum();
        assert_eq!(self.view.bytes(), bytes, "the view holds all events above its base and no more");
        // The base is an event's offset or the first base, so nothing above it is missing.
        let base = self.view.base();
        assert!(base == self.first_base || self.entries.iter().any(|e| e.offset == base));
        let newest = held.last().map(|e| e.offset);
        assert_eq!(self.view.newest(), newest);

        let kept_from = self.view.end() - bytes as u64;
        for position in self.positions() {
            let place = self.view.place(position);
            let mut slots = [None];
            let read = self.view.read(position, &mut slots);
            if position < kept_from {
                assert_eq!((place, read), (None, None), "position {position}");
                continue;
            }
            let passed = self.entries.partition_point(|e| e.end() <= position);
            let before = passed.checked_sub(1).map(|i| &self.entries[i]);
            let offset = before.map_or(self.first_base, |e| e.offset);
            let into_next = (position - before.map_or(0, Entry::end)) as usize;
            assert_eq!(place, Some(Place { offset, into_next }), "position {position}");
            // Where a reader stands is where it joins again.
            assert_eq!(self.view.join(offset), Some(position - into_next as u64));
            // It goes on with the very next byte.
            let next = self.entries.get(passed).map(|e| e.bytes[into_next]);
            let first = slots[0].as_ref().and_then(|slice: &Slice| slice.as_ref().first().copied());
            assert_eq!((read.is_some(), first), (true, next));
        }
    }

    fn held_entries(&self) -> Vec<&Entry> {
        self.entries.iter().filter(|e| e.offset > self.view.base()).collect()
    }

    /// Every position where there are few, else those near the events' ends.
    fn positions(&self) -> Vec<u64> {
        let end = self.view.end();
        if end < 2_000 {
            return (0..=end).collect();
        }
        let ends = self.entries.iter().map(Entry::end);
        ends.flat_map(|e| [e - 1, e, e + 1]).filter(|position| *position <= end).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_view_is_its_events_above_its_base(base in 0..3u64, steps in prop::collection::vec(step(), 1..60)) {
        let mut modelled = Modelled::new(base);
        modelled.check();
        for step in &steps {
            modelled.step(step);
            modelled.check();
        }
        let newest = modelled.entries.last().map_or(base, |e| e.offset);
        for after in base.saturating_sub(1)..=newest + 1 {
            modelled.read_all_after(after, 2, false);
        }
    }
}

#[test]
fn a_held_chunk_is_copied_while_short_and_left_alone_once_long() {
    let mut view = View::new(0);
    let mut slots = [None, None];
    view.append(1, b"one", 0);
    view.read(0, &mut slots).unwrap();
    view.append(2, b"two", 0);
    assert_eq!(slots[0].as_ref().unwrap().as_ref(), b"one");
    let read = view.read(0, &mut slots).unwrap();
    assert_eq!((read.slices, slots[0].as_ref().unwrap().as_ref()), (1, &b"onetwo"[..]));

    view.append(3, &[b'x'; 20_000], 0);
    view.read(0, &mut slots).unwrap();
    view.append(4, b"four", 0);
    assert_eq!(view.read(0, &mut slots).unwrap().slices, 2);
}

#[test]
fn the_newest_chunk_stays_whatever_its_age() {
    let mut view = View::new(0);
    view.append(1, &[b'x'; CHUNK_BYTES_MAX], 5);
    view.append(2, b"y", 6);
    assert_eq!(view.trim(usize::MAX, 5), 0);
    assert_eq!(view.trim(usize::MAX, 6), CHUNK_BYTES_MAX);
    assert_eq!((view.trim(0, 100), view.bytes(), view.base()), (0, 1, 1));
}

#[test]
fn a_view_whose_events_were_all_released_still_knows_where_it_stands() {
    let mut view = View::new(7);
    view.append(9, b"abc", 0);
    assert_eq!((view.release(2), view.release(3)), (0, 3));
    assert_eq!((view.base(), view.end(), view.newest()), (9, 3, None));
    assert_eq!((view.join(8), view.join(9), view.join(12)), (None, Some(3), Some(3)));
    assert_eq!(view.place(3), Some(Place { offset: 9, into_next: 0 }));
    assert_eq!((view.place(2), view.read(2, &mut [None])), (None, None));
}
