//! A scan of a table against our rows, while its stream is read.
//!
//! A page is of no one moment: its items are as they were between its question and its answer. All that was written before
//! the question is in it, so it is newer than every record that was taken before; an item of which a record was taken
//! meanwhile is left to its records. That is all that must be remembered of records: the keys, while a page is under way.
//!
//! A page may be newer than records that are still to come, which then tell old states. Nobody sees that of a table that
//! readers do not have. Of one that they have, items that differ are held back until the stream was read past the scan's
//! end; a record drops what is held of its item. So nobody sees an item go back in time.

use super::notes::SegmentNote;
use crate::{
    error::Error,
    log::{Becomes, SourceChange},
    source::{
        Sink, TableOf,
        copy::{Absents, blocking, unread, unsorted},
        seen::Seen,
    },
};
use riacho_core::{
    source::{dynamodb::item::Item, machine::Fault},
    time::Millis,
};
use std::collections::{HashMap, HashSet};

/// Rows by their keys.
pub(super) type KeyedRows = Vec<(Box<str>, Box<str>)>;

/// A scan that is being made.
pub(super) struct Scanning {
    segments: Vec<Segment>,
    /// Against rows that were there before; none: there were none, and what goes is told by records.
    compare: Option<Compare>,
    /// Whether its end was marked in the stream.
    pub(super) marked: Option<Millis>,
    /// Tells its pages from those of a scan before it.
    pub(super) id: u64,
}

struct Segment {
    note: SegmentNote,
    after: Option<Item>,
    /// Of the page that is under way: keys of which records were taken.
    touched: Option<HashSet<Box<str>>>,
    /// So many that the page is not taken.
    overrun: bool,
    due: Millis,
    failures: u32,
}

struct Compare {
    /// Keys that were scanned, or that a record told of.
    seen: Seen,
    /// Rows that differ, and are not told yet.
    held: HashMap<Box<str>, Box<str>>,
    held_bytes: usize,
}

impl Scanning {
    /// Of a table without rows, going on where `notes` say.
    pub(super) fn copy(notes: Vec<SegmentNote>, now: Millis, id: u64) -> Self {
        let segment = |note: SegmentNote| {
            let after = note.after.as_ref().and_then(|after| Item::parse_text(after.as_bytes()).ok());
            Segment { note, after, touched: None, overrun: false, due: now, failures: 0 }
        };
        Self { segments: notes.into_iter().map(segment).collect(), compare: None, marked: None, id }
    }

    /// Of a table against our rows, in so many segments.
    pub(super) fn compare(segments: usize, now: Millis, id: u64) -> Self {
        let compare = Compare { seen: Seen::default(), held: HashMap::new(), held_bytes: 0 };
        Self { compare: Some(compare), ..Self::copy(vec![SegmentNote::default(); segments], now, id) }
    }

    /// In how many segments it is made.
    pub(super) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// How far its segments are.
    pub(super) fn notes(&self) -> Vec<SegmentNote> {
        self.segments.iter().map(|segment| segment.note.clone()).collect()
    }

    /// Whether all items were read.
    pub(super) fn is_done(&self) -> bool {
        self.segments.iter().all(|segment| segment.note.done)
    }

    /// Whether so much is held back that nothing more should be.
    pub(super) fn is_full(&self) -> bool {
        self.compare.as_ref().is_some_and(|compare| compare.held_bytes >= HELD_BYTES_MAX)
    }

    /// Whether no page is under way.
    pub(super) fn rests(&self) -> bool {
        self.segments.iter().all(|segment| segment.touched.is_none())
    }

    /// The next page to be asked for: its segment, and the key before it.
    pub(super) fn next(&mut self, now: Millis) -> Option<(usize, Option<Item>)> {
        let ready = |segment: &Segment| !segment.note.done && segment.touched.is_none() && segment.due <= now;
        let at = self.segments.iter().position(ready)?;
        let segment = self.segments.get_mut(at)?;
        (segment.touched, segment.overrun) = (Some(HashSet::new()), false);
        Some((at, segment.after.clone()))
    }

    /// When a page is to be asked for next.
    pub(super) fn due(&self) -> Option<Millis> {
        let waits = |segment: &&Segment| !segment.note.done && segment.touched.is_none();
        self.segments.iter().filter(waits).map(|segment| segment.due).min()
    }

    /// Notes that a page was refused, to be asked for again; `chance` is a random number.
    pub(super) fn refused(&mut self, segment: usize, now: Millis, chance: u64) {
        if let Some(segment) = self.segments.get_mut(segment) {
            segment.touched = None;
            segment.failures = (segment.failures + 1).min(FAILURES_MAX);
            segment.due = now + FIRST_PAUSE_MS + chance % (FIRST_PAUSE_MS << segment.failures);
        }
    }

    /// Notes that a record of this key is taken.
    pub(super) fn touch(&mut self, key: &str) -> Result<(), Fault> {
        for segment in &mut self.segments {
            let Some(touched) = &mut segment.touched else { continue };
            if touched.len() < TOUCHED_MAX {
                touched.insert(key.into());
            } else {
                segment.overrun = true;
            }
        }
        if let Some(compare) = &mut self.compare {
            if let Some(held) = compare.held.remove(key) {
                compare.held_bytes = compare.held_bytes.saturating_sub(key.len() + held.len());
            }
            compare.seen.add(key.into()).map_err(|err| unsorted(&err))?;
        }
        Ok(())
    }

    /// Takes a page of rows, after which `last` is the next; what of it is to be told now.
    pub(super) async fn page(
        &mut self,
        segment: usize,
        mut rows: KeyedRows,
        last: Option<Item>,
        (sink, table): (&Sink, &TableOf),
    ) -> Result<Vec<SourceChange>, Fault> {
        let Some(segment) = self.segments.get_mut(segment) else { return Ok(Vec::new()) };
        let touched = segment.touched.take().unwrap_or_default();
        if segment.overrun {
            return Ok(Vec::new());
        }
        segment.failures = 0;
        segment.note = SegmentNote { after: last.as_ref().map(text_of), done: last.is_none() };
        segment.after = last;
        if let Some(compare) = &mut self.compare {
            for (key, _) in &rows {
                compare.seen.add(key.clone()).map_err(|err| unsorted(&err))?;
            }
        }
        rows.retain(|(key, _)| !touched.contains(key));
        let change = |(key, row): (Box<str>, Box<str>)| SourceChange {
            table: table.stream.clone(),
            key,
            becomes: Becomes::Row(row),
        };
        let Some(compare) = self.compare.as_mut().filter(|_| table.ready) else {
            return Ok(rows.into_iter().map(change).collect());
        };
        for (key, row) in differing(sink, table, rows).await? {
            compare.held_bytes += key.len() + row.len();
            compare.held.insert(key, row);
        }
        Ok(Vec::new())
    }

    /// What was held back, to be told now that the stream has passed it.
    pub(super) fn held(&mut self, table: &TableOf) -> Vec<SourceChange> {
        let Some(compare) = &mut self.compare else { return Vec::new() };
        compare.held_bytes = 0;
        let change = |(key, row): (Box<str>, Box<str>)| SourceChange {
            table: table.stream.clone(),
            key,
            becomes: Becomes::Row(row),
        };
        compare.held.drain().map(change).collect()
    }

    /// Which of our rows are no more, where it was against rows.
    pub(super) async fn absents(self, sink: &Sink, table: &TableOf) -> Result<Option<Absents>, Fault> {
        match self.compare {
            Some(Compare { seen, .. }) => Absents::of(sink, table, seen).await.map(Some),
            None => Ok(None),
        }
    }
}

// Rows that are not as ours.
async fn differing(sink: &Sink, table: &TableOf, rows: KeyedRows) -> Result<KeyedRows, Fault> {
    let (ours, stream) = (sink.rows().clone(), table.stream.clone());
    let differs = move || -> Result<_, Error> {
        let mut differing = Vec::new();
        for (key, row) in rows {
            if ours.row(&stream, &key)?.is_none_or(|ours| ours.value != row) {
                differing.push((key, row));
            }
        }
        Ok(differing)
    };
    blocking(differs).await?.map_err(|err| unread(&err))
}

fn text_of(item: &Item) -> String {
    let mut text = String::new();
    item.dynamodb_json(&mut text);
    text
}

// Keys of records that are taken while a page is under way.
const TOUCHED_MAX: usize = 100_000;
// What may be held back: then the scan waits until the stream has passed it.
const HELD_BYTES_MAX: usize = 8 * 1024 * 1024;
// After a refusal, doubled each time, and how often that is.
const FIRST_PAUSE_MS: Millis = 50;
const FAILURES_MAX: u32 = 9;
