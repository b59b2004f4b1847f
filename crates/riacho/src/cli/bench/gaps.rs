//! Which sequences of which source a subscriber has not received, so that what is lost, late and repeated can be told
//! apart exactly.

use std::{collections::HashMap, ops::Range};

/// What is missing, for all subscribers.
#[derive(Default, Debug)]
pub(super) struct Gaps {
    missing: HashMap<(u32, u32), Vec<Range<u32>>>,
    ranges: usize,
    /// Missing events that were only counted, since there were too many gaps to keep.
    pub(super) only_counted: u64,
}

impl Gaps {
    /// `reader` did not get `range` of `source`; it comes after all ranges added for them before.
    pub(super) fn add(&mut self, reader: u32, source: u32, range: Range<u32>) {
        if range.start >= range.end {
            return;
        }
        if self.ranges >= RANGES_MAX {
            self.only_counted += u64::from(range.end - range.start);
            return;
        }
        self.ranges += 1;
        self.missing.entry((reader, source)).or_default().push(range);
    }

    /// `reader` got an event of `source` late; false if it was not missing.
    pub(super) fn fill(&mut self, reader: u32, source: u32, sequence: u32) -> bool {
        let Some(ranges) = self.missing.get_mut(&(reader, source)) else { return false };
        let at = ranges.partition_point(|range| range.end <= sequence);
        let Some(range) = ranges.get_mut(at).filter(|range| range.contains(&sequence)) else { return false };
        let after = sequence + 1..range.end;
        range.end = sequence;
        match (range.start >= range.end, after.start >= after.end) {
            (true, true) => {
                ranges.remove(at);
                self.ranges -= 1;
            }
            (true, false) => *range = after,
            (false, true) => {}
            (false, false) => {
                ranges.insert(at + 1, after);
                self.ranges += 1;
            }
        }
        true
    }

    /// How many events are missing, of those that were not `unstored` (ordered ranges, by source).
    pub(super) fn lost(&self, unstored: impl Fn(u32) -> Vec<Range<u32>>) -> u64 {
        let mut lost = self.only_counted;
        let mut known = HashMap::new();
        for ((_, source), missing) in &self.missing {
            let unstored = known.entry(*source).or_insert_with(|| unstored(*source));
            lost += missing.iter().map(|range| u64::from(range.end - range.start)).sum::<u64>();
            lost -= overlap(missing, unstored);
        }
        lost
    }
}

fn overlap(a: &[Range<u32>], b: &[Range<u32>]) -> u64 {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let mut both = 0;
    while let (Some(left), Some(right)) = (a.peek(), b.peek()) {
        let (start, end) = (left.start.max(right.start), left.end.min(right.end));
        both += u64::from(end.saturating_sub(start));
        if left.end <= right.end {
            a.next()
        } else {
            b.next()
        };
    }
    both
}

/// About 100 MB at most.
const RANGES_MAX: usize = 4_000_000;
