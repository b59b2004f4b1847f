//! Shards, their records, and iterators, which hold all that they are about themselves.

use super::FIVE_PER_SECOND;
use std::{collections::VecDeque, sync::Arc};

/// A part of a stream, for keys whose hash is in a range.
pub(super) struct Shard {
    pub(super) id: String,
    pub(super) parent: Option<String>,
    /// The hashes of its keys, first and last.
    pub(super) hashes: (u64, u64),
    pub(super) starts: u128,
    /// None: it takes records.
    pub(super) ends: Option<u128>,
    /// Gives no records.
    pub(super) stalled: bool,
    records: VecDeque<Record>,
    // How many were there before those.
    trimmed: usize,
    newest_trimmed: Option<u128>,
    asked: VecDeque<u64>,
}

/// A change, as it is sent.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) sequence: u128,
    pub(super) seconds: u64,
    pub(super) json: Arc<str>,
}

/// Where an iterator begins.
pub(super) enum Start {
    TrimHorizon,
    Latest,
    At(u128),
    After(u128),
    AtTimestamp(u64),
}

/// An iterator; its text is what readers hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Iterator {
    pub(super) generation: u64,
    pub(super) given: u64,
    /// How many pages without records it has had.
    pub(super) empties: u32,
    pub(super) at: usize,
    pub(super) shard: String,
    pub(super) arn: String,
}

/// What a shard no longer has.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Trimmed;

impl Shard {
    pub(super) fn new(id: String, parent: Option<String>, hashes: (u64, u64), starts: u128) -> Self {
        Self {
            id,
            parent,
            hashes,
            starts,
            ends: None,
            stalled: false,
            records: VecDeque::new(),
            trimmed: 0,
            newest_trimmed: None,
            asked: VecDeque::new(),
        }
    }

    pub(super) fn takes(&self, hash: u64) -> bool {
        self.ends.is_none() && self.hashes.0 <= hash && hash <= self.hashes.1
    }

    pub(super) fn push(&mut self, record: Record) {
        self.records.push_back(record);
    }

    pub(super) fn newest(&self) -> Option<u128> {
        self.records.back().map(|record| record.sequence).or(self.newest_trimmed)
    }

    pub(super) fn trim(&mut self, records: usize) {
        for _ in 0..records {
            let Some(record) = self.records.pop_front() else { break };
            self.newest_trimmed = Some(record.sequence);
            self.trimmed += 1;
        }
    }

    pub(super) fn end(&self) -> usize {
        self.trimmed + self.records.len()
    }

    /// The index of the record that `start` means.
    pub(super) fn index(&self, start: &Start) -> Result<usize, Trimmed> {
        let from = |wanted: u128| {
            if self.newest_trimmed.is_some_and(|newest| wanted <= newest) {
                return Err(Trimmed);
            }
            Ok(self.trimmed + self.records.partition_point(|record| record.sequence < wanted))
        };
        match *start {
            Start::TrimHorizon => Ok(self.trimmed),
            Start::Latest => Ok(self.end()),
            Start::At(sequence) => from(sequence),
            // Behind the newest that was trimmed nothing is missing.
            Start::After(sequence) => from(sequence + 1),
            Start::AtTimestamp(seconds) => {
                Ok(self.trimmed + self.records.partition_point(|record| record.seconds < seconds))
            }
        }
    }

    /// The records from an index on.
    pub(super) fn from(&self, at: usize) -> Result<impl std::iter::Iterator<Item = &Record>, Trimmed> {
        let skip = at.checked_sub(self.trimmed).ok_or(Trimmed)?;
        Ok(self.records.range(skip.min(self.records.len())..))
    }

    /// Whether one more may be asked for now.
    pub(super) fn may_ask(&mut self, now: u64) -> bool {
        may_ask(&mut self.asked, now, FIVE_PER_SECOND)
    }
}

/// Whether less than `most` were asked for in the second before `now`; counts this one if so.
pub(super) fn may_ask(asked: &mut VecDeque<u64>, now: u64, most: usize) -> bool {
    while asked.front().is_some_and(|at| at + 1000 <= now) {
        asked.pop_front();
    }
    let may = asked.len() < most;
    if may {
        asked.push_back(now);
    }
    may
}

impl Iterator {
    pub(super) fn text(&self) -> String {
        let Self { generation, given, empties, at, shard, arn } = self;
        format!("{generation}|{given}|{empties}|{at}|{shard}|{arn}")
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(6, '|');
        let mut next = || parts.next();
        Some(Self {
            generation: next()?.parse().ok()?,
            given: next()?.parse().ok()?,
            empties: next()?.parse().ok()?,
            at: next()?.parse().ok()?,
            shard: next()?.to_owned(),
            arn: next()?.to_owned(),
        })
    }
}
