//! The shards of one stream: which are read, from where on, and when ("DynamoDB Streams and AWS Lambda triggers", "Reading
//! and processing a stream" in Amazon's developer guide).
//!
//! A shard is read to its end before its children are begun, so the records of one item keep their order. A shard is asked
//! again only after what it gave was committed: that is all the backpressure there is, and it bounds what waits.
//!
//! Pages of a listing may contradict each other, and a child may be listed while its parent looks open. So nothing is
//! concluded from what one listing lacks: a shard that is to be gone, or a parent nobody knows, must be missing from several.

use super::{record::Record, sequence::SequenceNumber};
use crate::time::Millis;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How a shard is called.
pub type ShardId = Arc<str>;

/// How often is asked. All times in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Between two questions to a shard that has nothing new.
    pub poll: Millis,
    /// Between two questions to one that gave something: the service takes five a second.
    pub busy: Millis,
    /// Between two listings of all shards.
    pub list: Millis,
    /// For how long a shard must have nothing new to be believed to have no older record.
    pub settle: Millis,
}

impl Default for Pace {
    fn default() -> Self {
        Self { poll: 250, busy: 200, list: 60_000, settle: 10_000 }
    }
}

/// How far a shard was read: what is noted of it, with the changes up to there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Noted {
    /// The shard before it, if there was one.
    pub parent: Option<ShardId>,
    /// Whether that one is gone, and is not waited for.
    pub orphan: bool,
    /// Where it goes on.
    pub cursor: Cursor,
}

/// How far a shard was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cursor {
    /// Not at all: its oldest record is next.
    Horizon,
    /// Not at all: the first record that is not older than this is next, by the service's clock.
    Since(Millis),
    /// Up to this record.
    After(SequenceNumber),
    /// To its end.
    Done,
}

/// Where an iterator is to begin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Start {
    /// `TRIM_HORIZON`.
    Horizon,
    /// `LATEST`.
    Latest,
    /// `AT_TIMESTAMP`.
    Time(Millis),
    /// `AFTER_SEQUENCE_NUMBER`.
    After(SequenceNumber),
}

/// What is to be asked of the service. Each must be answered once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// `DescribeStream`, after this shard.
    List(Option<ShardId>),
    /// `GetShardIterator`.
    Iterator(ShardId, Start),
    /// `GetRecords`.
    Records(ShardId, Arc<str>),
}

/// One page of a listing.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Page {
    /// Its shards.
    pub shards: Vec<Listed>,
    /// The last shard, where there are more pages.
    pub last: Option<ShardId>,
}

/// A shard as a listing has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its name.
    pub id: ShardId,
    /// The shard before it.
    pub parent: Option<ShardId>,
    /// Whether nothing is written to it any more.
    pub closed: bool,
}

/// What the service answered.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// To `List`.
    Page(Page),
    /// To `Iterator`.
    Iterator(Arc<str>),
    /// To `Records`: the records, and the next iterator if the shard goes on.
    Records(Vec<Record>, Option<Arc<str>>),
    /// To any.
    Failed(Failure),
}

/// Why an answer is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Too many questions: `ProvisionedThroughputExceededException`, `LimitExceededException`, `ThrottlingException`.
    Throttled,
    /// The iterator is older than 15 minutes: `ExpiredIteratorException`.
    Expired,
    /// What is asked for is older than 24 hours: `TrimmedDataAccessException`.
    Trimmed,
    /// There is no such shard or stream: `ResourceNotFoundException`.
    Gone,
    /// The question is not understood: `ValidationException`.
    Invalid,
    /// The service failed.
    Failed,
}

/// What follows from an answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// Nothing to be done.
    Nothing,
    /// Records to be committed with what is noted of their shard; then [`Shards::committed`].
    Take(Taken),
    /// Records are missing: the table must be compared.
    Gap(Gap),
    /// There is no such stream any more.
    StreamGone,
}

/// Records of one shard, in order.
#[derive(Clone, PartialEq, Debug)]
pub struct Taken {
    /// The shard.
    pub shard: ShardId,
    /// Its records; none where only its end is news.
    pub records: Vec<Record>,
    /// Whether only the last of each item counts: those before it were taken before.
    pub replay: bool,
    /// What is to be noted of it.
    pub noted: Noted,
}

/// Why records are missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gap {
    /// They are older than the service keeps them.
    Trimmed(ShardId),
    /// Their shard is not listed any more, and was not read to its end.
    Lost(ShardId),
}

/// The shards of one stream.
#[derive(Clone, Debug)]
pub struct Shards {
    pace: Pace,
    /// What is older was written before anybody wanted to know, by the service's clock.
    since: Millis,
    /// Whether no listing has ended, and nothing was noted: shards that are closed then hold nothing that is wanted.
    first: bool,
    /// Whether the service knows `AT_TIMESTAMP`.
    timestamps: bool,
    shards: BTreeMap<ShardId, Shard>,
    listing: Listing,
    /// How many listings in a row lacked a shard, or a parent nobody knows.
    absent: BTreeMap<ShardId, u32>,
    mark: Option<Mark>,
}

#[derive(Clone, Debug)]
struct Shard {
    parent: Option<ShardId>,
    /// A parent that is gone.
    former: Option<ShardId>,
    cursor: Cursor,
    work: Work,
    due: Millis,
    failures: u32,
    /// Whether it was asked for records at least once.
    pinned: bool,
    /// Whether the service says that there is no such shard.
    gone: bool,
    /// Records of before [`Shards::since`] are none of ours.
    skip: bool,
    /// The newest record's time, by the service's clock.
    newest: Millis,
    /// Whether it gives what was given before: until it has nothing new, what it gives is kept, and taken at once.
    replays: bool,
    kept: Vec<Record>,
    /// Whether its last answer was of this moment.
    level: bool,
    /// Empty answers in a row since the mark, and when the first came.
    empty: u32,
    empty_since: Millis,
    /// When it was read to its end.
    ended: Millis,
}

/// What is going on with a shard.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Work {
    /// Its parent is not done.
    Waits,
    /// It has no iterator.
    Fresh,
    /// It has one.
    Ready(Arc<str>),
    /// The service was asked.
    Asked,
    /// Its records are being committed; the iterator after them, if it goes on.
    Commits(Option<Arc<str>>),
}

#[derive(Clone, Default, Debug)]
struct Listing {
    found: BTreeMap<ShardId, Listed>,
    after: Option<ShardId>,
    asked: bool,
    due: Millis,
    failures: u32,
    began: Millis,
    /// When the last one that has ended began.
    ended: Option<Millis>,
    /// Whether one has ended since it was asked what may be forgotten.
    news: bool,
}

/// A moment that is to be passed.
#[derive(Clone, Copy, Debug)]
struct Mark {
    now: Millis,
    service: Millis,
}

impl Shards {
    /// A stream nobody has read. Of what it holds, records since `since` are wanted, by the service's clock.
    pub fn new(pace: Pace, since: Millis) -> Self {
        let (shards, absent, listing) = (BTreeMap::new(), BTreeMap::new(), Listing::default());
        Self { pace, since, first: true, timestamps: true, shards, listing, absent, mark: None }
    }

    /// A stream nobody has read, all of which is wanted.
    pub fn whole(pace: Pace) -> Self {
        Self { first: false, ..Self::new(pace, 0) }
    }

    /// A stream that was read up to what was noted.
    pub fn resume(pace: Pace, since: Millis, noted: impl IntoIterator<Item = (ShardId, Noted)>) -> Self {
        let mut shards = Self { first: false, ..Self::new(pace, since) };
        let shard = |(id, noted): (ShardId, Noted)| {
            let (parent, former) = if noted.orphan { (None, noted.parent) } else { (noted.parent, None) };
            // A time is no place: what came shortly before it comes again.
            let replays = matches!(noted.cursor, Cursor::Since(_));
            (id, Shard { former, replays, ..Shard::new(parent, noted.cursor) })
        };
        shards.shards = noted.into_iter().map(shard).collect();
        shards.begin_children();
        // Each was pinned before anything was noted, or is read from its beginning.
        shards.shards.values_mut().for_each(|shard| shard.pinned = true);
        shards
    }

    /// What is to be asked now, if anything.
    pub fn next(&mut self, now: Millis) -> Option<Ask> {
        let listing = &mut self.listing;
        if !listing.asked && listing.due <= now {
            if listing.after.is_none() {
                listing.began = now;
            }
            listing.asked = true;
            return Some(Ask::List(listing.after.clone()));
        }
        let due = |shard: &Shard| shard.due <= now && matches!(shard.work, Work::Fresh | Work::Ready(_));
        // One that is to begin at the newest record must be asked before more is written.
        let id = self
            .shards
            .iter()
            .filter(|(_, shard)| due(shard))
            .min_by_key(|(_, shard)| (shard.pinned, shard.due));
        let id = id?.0.clone();
        let (since, timestamps) = (self.since, self.timestamps);
        let shard = self.shards.get_mut(&id)?;
        let ask = match std::mem::replace(&mut shard.work, Work::Asked) {
            Work::Ready(iterator) => Ask::Records(id, iterator),
            _ => {
                let start = shard.start(timestamps);
                shard.kept.clear();
                shard.skip = start == Start::Horizon && since > 0 && matches!(shard.cursor, Cursor::Since(_));
                Ask::Iterator(id, start)
            }
        };
        Some(ask)
    }

    /// When something is to be asked next, if nothing happens before.
    pub fn due(&self) -> Option<Millis> {
        let waits = |shard: &&Shard| matches!(shard.work, Work::Fresh | Work::Ready(_));
        let shards = self.shards.values().filter(waits).map(|shard| shard.due);
        shards.chain((!self.listing.asked).then_some(self.listing.due)).min()
    }

    /// Takes what the service answered; `chance` is a random number.
    pub fn answer(&mut self, now: Millis, chance: u64, ask: &Ask, answer: Answer) -> Outcome {
        match (ask, answer) {
            (Ask::List(_), Answer::Page(page)) => self.listed(now, page),
            (Ask::List(_), Answer::Failed(Failure::Gone)) => Outcome::StreamGone,
            (Ask::List(_), _) => {
                self.listing.asked = false;
                self.listing.failures += 1;
                self.listing.due = now + backoff(self.listing.failures, chance);
                Outcome::Nothing
            }
            (Ask::Iterator(id, start), answer) => self.iterator(now, chance, id, start, answer),
            (Ask::Records(id, iterator), answer) => self.records(now, chance, id, iterator, answer),
        }
    }

    /// Notes that what a shard gave is durable.
    pub fn committed(&mut self, now: Millis, id: &str) {
        let Some(shard) = self.shards.get_mut(id) else { return };
        if let Work::Commits(next) = std::mem::replace(&mut shard.work, Work::Asked) {
            match next {
                Some(next) => shard.work = Work::Ready(next),
                None => {
                    (shard.work, shard.ended) = (Work::Waits, now);
                    // Its children may not be known yet.
                    self.listing.due = self.listing.due.min(now);
                }
            }
        }
        self.begin_children();
    }

    /// Shards whose notes are of no use any more: they were read to their end, and are not listed.
    pub fn forgotten(&mut self) -> Vec<ShardId> {
        if !std::mem::take(&mut self.listing.news) {
            return Vec::new();
        }
        let waited_for: BTreeSet<ShardId> =
            self.unfinished().filter_map(|(_, shard)| shard.parent.clone()).collect();
        let of_use =
            |id: &ShardId| waited_for.contains(id) || self.absent.get(id).is_none_or(|times| *times < FORGET);
        let done = self.shards.iter().filter(|(_, shard)| shard.cursor == Cursor::Done);
        let gone: Vec<ShardId> = done.map(|(id, _)| id.clone()).filter(|id| !of_use(id)).collect();
        for id in &gone {
            self.shards.remove(id);
            self.absent.remove(id);
        }
        gone
    }

    /// Whether every record written from now on will be read: what is copied from now on misses nothing.
    pub fn captured(&self) -> bool {
        self.listing.ended.is_some()
            && !self.shards.is_empty()
            && self.unfinished().all(|(_, shard)| shard.pinned || shard.work == Work::Waits)
    }

    /// What is to be noted of all shards that are known, when reading begins.
    pub fn noted(&self) -> impl Iterator<Item = (&ShardId, Noted)> {
        self.shards.iter().map(|(id, shard)| (id, shard.noted()))
    }

    /// Marks this moment, `service` by the service's clock: [`Shards::passed`] is about it.
    pub fn mark(&mut self, now: Millis, service: Millis) {
        self.mark = Some(Mark { now, service });
        self.shards.values_mut().for_each(|shard| shard.empty = 0);
        self.listing.due = self.listing.due.min(now);
    }

    /// Whether all that was written before the mark was read, as far as anybody can tell: the service has no watermarks. A
    /// shard has passed it that was read to its end, gave a record a second newer, or had nothing for a while.
    pub fn passed(&self, now: Millis) -> bool {
        let Some(mark) = self.mark else { return false };
        // What follows a shard that has ended may not be listed yet.
        let ended = self.shards.values().map(|shard| shard.ended).max().unwrap_or(0);
        let listed = self.listing.ended.is_some_and(|began| began >= mark.now && began >= ended);
        let parents: BTreeSet<&ShardId> =
            self.shards.values().filter_map(|shard| shard.parent.as_ref()).collect();
        let followed = |(id, shard): (&ShardId, &Shard)| {
            shard.ended == 0 || now >= shard.ended + SEEK_MS || parents.contains(id)
        };
        let passed = |shard: &Shard| {
            let newer = shard.newest > mark.service + NEWER_MS;
            newer || shard.empty >= EMPTY_MIN && now >= shard.empty_since + self.pace.settle
        };
        listed && self.shards.iter().all(followed) && self.unfinished().all(|(_, shard)| passed(shard))
    }

    /// Whether nothing is left to be read at this moment, as far as was seen.
    pub fn level(&self) -> bool {
        self.listing.ended.is_some() && self.unfinished().all(|(_, shard)| shard.level)
    }

    /// Whether all shards that are known were read to their ends.
    pub fn drained(&self) -> bool {
        self.listing.ended.is_some() && self.unfinished().next().is_none()
    }

    /// Whether none had anything for a while.
    pub fn is_quiet(&self) -> bool {
        self.listing.ended.is_some() && self.unfinished().all(|(_, shard)| shard.empty >= EMPTY_MIN)
    }

    /// How many shards are open, and how many wait for a parent.
    pub fn counts(&self) -> (usize, usize) {
        let waiting = self.unfinished().filter(|(_, shard)| shard.work == Work::Waits).count();
        (self.unfinished().count() - waiting, waiting)
    }

    fn unfinished(&self) -> impl Iterator<Item = (&ShardId, &Shard)> {
        self.shards
            .iter()
            .filter(|(_, shard)| shard.cursor != Cursor::Done || matches!(shard.work, Work::Commits(_)))
    }

    fn listed(&mut self, now: Millis, page: Page) -> Outcome {
        let listing = &mut self.listing;
        (listing.asked, listing.failures) = (false, 0);
        let known = listing.found.len();
        for listed in page.shards {
            if listing.found.len() < SHARDS_MAX {
                listing.found.insert(listed.id.clone(), listed);
            }
        }
        // A listing that says there is more and gives nothing would never end.
        if page.last.is_some() && listing.found.len() > known {
            listing.after = page.last;
            return Outcome::Nothing;
        }
        let found = std::mem::take(&mut listing.found);
        listing.after = None;
        (listing.ended, listing.news) = (Some(listing.began), true);
        listing.due = now + self.pace.list;
        self.take_listing(now, &found)
    }

    // All pages of a listing.
    fn take_listing(&mut self, now: Millis, found: &BTreeMap<ShardId, Listed>) -> Outcome {
        let mut gap = None;
        let behind = self.behind(found);
        let new: Vec<&Listed> =
            found.values().filter(|listed| !self.shards.contains_key(&listed.id)).collect();
        for listed in new {
            let shard = if self.first {
                self.first_shard(listed, found)
            } else if behind.contains(&listed.id) {
                // Its records would come after newer ones.
                gap = Some(listed.id.clone());
                Shard::new(listed.parent.clone(), Cursor::Done)
            } else {
                Shard { pinned: true, ..Shard::new(listed.parent.clone(), Cursor::Horizon) }
            };
            self.shards.insert(listed.id.clone(), shard);
        }
        self.first = false;
        self.count_absent(now, found);
        let lost = |(id, shard): &(&ShardId, &Shard)| {
            shard.gone && self.absent.get(*id).is_some_and(|times| *times >= GONE)
        };
        let lost: Vec<ShardId> = self.shards.iter().filter(lost).map(|(id, _)| id.clone()).collect();
        for lost in lost {
            // It is not asked for any more; an answer that is on its way is not taken. It may turn up.
            if let Some(shard) = self.shards.get_mut(&lost) {
                (shard.cursor, shard.work, shard.gone) = (Cursor::Done, Work::Waits, false);
            }
            gap = Some(lost);
        }
        gap = gap.or(self.orphan());
        self.begin_children();
        self.seek_children(now);
        gap.map_or(Outcome::Nothing, |id| Outcome::Gap(Gap::Lost(id)))
    }

    // A shard of the first listing: the copy that follows has what was written before.
    fn first_shard(&self, listed: &Listed, found: &BTreeMap<ShardId, Listed>) -> Shard {
        let parent = listed.parent.as_ref().and_then(|parent| found.get(parent));
        let cursor = match parent {
            _ if listed.closed => Cursor::Done,
            // Nothing that it holds is older than the parent's newest.
            Some(parent) if !parent.closed => Cursor::Horizon,
            _ => Cursor::Since(self.since),
        };
        let former = if parent.is_none() { listed.parent.clone() } else { None };
        Shard { former, ..Shard::new(parent.map(|parent| parent.id.clone()), cursor) }
    }

    // Shards before those that were begun, as far as anybody knows: they are not begun after them.
    fn behind(&self, found: &BTreeMap<ShardId, Listed>) -> BTreeSet<ShardId> {
        let parent = |id: &ShardId| {
            let known = self.shards.get(id).and_then(|shard| shard.parent.as_ref().or(shard.former.as_ref()));
            known.or_else(|| found.get(id).and_then(|listed| listed.parent.as_ref())).cloned()
        };
        let mut behind = BTreeSet::new();
        let begun = |shard: &Shard| shard.work != Work::Waits || shard.cursor == Cursor::Done;
        for (id, _) in self.shards.iter().filter(|(_, shard)| begun(shard)) {
            let mut next = parent(id);
            // One that is in there already has all that is before it in there too.
            while let Some(id) = next.filter(|id| behind.insert(id.clone())) {
                next = parent(&id);
            }
        }
        behind
    }

    // Counts the listings in a row that lack a shard we know, or a parent that we do not.
    fn count_absent(&mut self, now: Millis, found: &BTreeMap<ShardId, Listed>) {
        let parents = self.unfinished().filter_map(|(_, shard)| shard.parent.as_ref());
        let absent = self.shards.keys().chain(parents).filter(|id| !found.contains_key(*id));
        let times =
            |id: &ShardId| (id.clone(), self.absent.get(id).map_or(1, |times| times.saturating_add(1)));
        let absent: BTreeMap<ShardId, u32> = absent.map(times).collect();
        let news = |(id, times): (&ShardId, &u32)| match self.shards.get(id) {
            Some(shard) => *times < GONE && shard.cursor != Cursor::Done,
            None => *times < ORPHANED,
        };
        if absent.iter().any(news) {
            self.listing.due = now + AGAIN_MS;
        }
        self.absent = absent;
    }

    // Shards whose parents nobody knows have none. What those held is lost: of the first listing none is waited for.
    fn orphan(&mut self) -> Option<ShardId> {
        let mut orphaned = None;
        let known: BTreeSet<ShardId> = self.shards.keys().cloned().collect();
        for shard in self.shards.values_mut() {
            let gone = |parent: &ShardId| {
                !known.contains(parent) && self.absent.get(parent).is_some_and(|times| *times >= ORPHANED)
            };
            if shard.parent.as_ref().is_some_and(gone) {
                shard.former = shard.parent.take();
                orphaned = shard.former.clone();
            }
        }
        orphaned
    }

    // Children of a shard may be listed some time after its end.
    fn seek_children(&mut self, now: Millis) {
        let parents: BTreeSet<&ShardId> =
            self.shards.values().filter_map(|shard| shard.parent.as_ref()).collect();
        let sought = |(id, shard): (&ShardId, &Shard)| {
            let for_so_long = if parents.contains(id) { SEEK_MORE_MS } else { SEEK_MS };
            shard.ended > 0 && now < shard.ended + for_so_long
        };
        if self.shards.iter().any(sought) {
            self.listing.due = self.listing.due.min(now + AGAIN_MS);
        }
    }

    // Those whose parents are done.
    fn begin_children(&mut self) {
        let open: BTreeSet<ShardId> = self.unfinished().map(|(id, _)| id.clone()).collect();
        let known: BTreeSet<ShardId> = self.shards.keys().cloned().collect();
        for shard in
            self.shards.values_mut().filter(|shard| shard.work == Work::Waits && shard.cursor != Cursor::Done)
        {
            // What has been read in part goes on: its parent was done when it was begun.
            let begun = matches!(shard.cursor, Cursor::After(_));
            let parent_done =
                shard.parent.as_ref().is_none_or(|parent| known.contains(parent) && !open.contains(parent));
            if begun || parent_done {
                shard.work = Work::Fresh;
            }
        }
    }

    fn iterator(&mut self, now: Millis, chance: u64, id: &ShardId, start: &Start, answer: Answer) -> Outcome {
        let Some(shard) = self.shards.get_mut(id) else { return Outcome::Nothing };
        if shard.cursor == Cursor::Done {
            return Outcome::Nothing;
        }
        match answer {
            Answer::Iterator(iterator) => {
                shard.work = Work::Ready(iterator);
                shard.failures = 0;
                shard.due = now;
                Outcome::Nothing
            }
            Answer::Failed(Failure::Invalid) if matches!(start, Start::Time(_)) => {
                self.timestamps = false;
                shard.work = Work::Fresh;
                Outcome::Nothing
            }
            Answer::Failed(Failure::Trimmed | Failure::Invalid) if matches!(start, Start::After(_)) => {
                self.trimmed(now, chance, id)
            }
            Answer::Failed(Failure::Gone) => {
                // The next listing says whether it, or the stream, is gone.
                shard.fail(now, chance);
                shard.gone = true;
                self.listing.due = self.listing.due.min(now);
                Outcome::Nothing
            }
            _ => {
                shard.fail(now, chance);
                Outcome::Nothing
            }
        }
    }

    fn records(
        &mut self,
        now: Millis,
        chance: u64,
        id: &ShardId,
        iterator: &Arc<str>,
        answer: Answer,
    ) -> Outcome {
        let (pace, since) = (self.pace, self.since);
        let Some(shard) = self.shards.get_mut(id) else { return Outcome::Nothing };
        if shard.cursor == Cursor::Done {
            return Outcome::Nothing;
        }
        match answer {
            Answer::Records(records, next) => shard.take(now, id, records, next, (&pace, since)),
            Answer::Failed(Failure::Throttled) => {
                shard.fail(now, chance);
                shard.work = Work::Ready(Arc::clone(iterator));
                Outcome::Nothing
            }
            Answer::Failed(Failure::Trimmed) => self.trimmed(now, chance, id),
            Answer::Failed(Failure::Expired) => {
                // It goes on from its cursor. One that began at the newest record and has seen none since must not begin
                // there again.
                shard.work = Work::Fresh;
                shard.due = now;
                Outcome::Nothing
            }
            // To ask for an iterator tells more.
            failed => {
                // There are emulators that give iterators for times, and fail over them.
                if failed == Answer::Failed(Failure::Failed) && matches!(shard.cursor, Cursor::Since(_)) {
                    self.timestamps = false;
                }
                shard.fail(now, chance);
                Outcome::Nothing
            }
        }
    }

    // What is left of the shard is read all the same: it is newer.
    fn trimmed(&mut self, now: Millis, chance: u64, id: &ShardId) -> Outcome {
        let Some(shard) = self.shards.get_mut(id) else { return Outcome::Nothing };
        let lost = !matches!(shard.cursor, Cursor::Horizon);
        shard.fail(now, chance);
        // Nothing of it was wanted yet: a stream that was switched on a moment ago answers so at times.
        if matches!(shard.cursor, Cursor::Since(_)) && !shard.pinned {
            return Outcome::Nothing;
        }
        shard.cursor = Cursor::Horizon;
        // An iterator at the oldest record may be trimmed before it is used: nothing is lost that was not lost before.
        if lost || shard.pinned { Outcome::Gap(Gap::Trimmed(id.clone())) } else { Outcome::Nothing }
    }
}

impl Shard {
    fn new(parent: Option<ShardId>, cursor: Cursor) -> Self {
        Self {
            parent,
            former: None,
            cursor,
            work: Work::Waits,
            due: 0,
            failures: 0,
            pinned: false,
            gone: false,
            skip: false,
            newest: 0,
            replays: false,
            kept: Vec::new(),
            level: false,
            empty: 0,
            empty_since: 0,
            ended: 0,
        }
    }

    fn noted(&self) -> Noted {
        // That a parent is gone is forgotten by a restart, not who it was: it may turn up.
        let parent = self.parent.clone().or_else(|| self.former.clone());
        let orphan = self.parent.is_none() && self.former.is_some();
        Noted { parent, orphan, cursor: self.cursor.clone() }
    }

    fn start(&self, timestamps: bool) -> Start {
        match &self.cursor {
            Cursor::After(sequence) => Start::After(sequence.clone()),
            Cursor::Since(time) if timestamps => Start::Time(*time),
            Cursor::Since(_) if !self.pinned => Start::Latest,
            Cursor::Since(_) | Cursor::Horizon | Cursor::Done => Start::Horizon,
        }
    }

    fn take(
        &mut self,
        now: Millis,
        id: &ShardId,
        mut records: Vec<Record>,
        next: Option<Arc<str>>,
        (pace, since): (&Pace, Millis),
    ) -> Outcome {
        (self.pinned, self.gone, self.failures) = (true, false, 0);
        self.newest = records.iter().filter_map(|record| record.time).max().unwrap_or(0).max(self.newest);
        // How far it is behind nobody says but the age of what it gives.
        self.level = records.last().and_then(|last| last.time).is_none_or(|time| time + LEVEL_MS >= now);
        let last = records.last().map(|last| Cursor::After(last.sequence.clone()));
        if last.is_some() {
            (self.empty, self.due) = (0, now + pace.busy);
        } else {
            if self.empty == 0 {
                self.empty_since = now;
            }
            self.empty = self.empty.saturating_add(1);
            self.due = now + pace.poll;
        }
        if self.skip {
            records.retain(|record| record.time.is_none_or(|time| time >= since));
        }
        let replay = self.replays;
        if replay {
            self.kept.append(&mut records);
            // What is younger was not there when it was begun.
            let young = self.newest > since + REPLAY_MS;
            let over = young || self.empty >= EMPTY_MIN || next.is_none() || self.kept.len() >= REPLAY_MAX;
            if let Some(next) = next.clone().filter(|_| !over) {
                (self.work, self.level) = (Work::Ready(next), false);
                return Outcome::Nothing;
            }
            self.replays = false;
            records = std::mem::take(&mut self.kept);
            if let Some(last) = records.last() {
                self.cursor = Cursor::After(last.sequence.clone());
            }
        }
        self.cursor = last.unwrap_or_else(|| self.cursor.clone());
        match next {
            Some(next) if records.is_empty() => {
                self.work = Work::Ready(next);
                Outcome::Nothing
            }
            next => {
                if next.is_none() {
                    self.cursor = Cursor::Done;
                }
                self.work = Work::Commits(next);
                Outcome::Take(Taken { shard: id.clone(), records, replay, noted: self.noted() })
            }
        }
    }

    fn fail(&mut self, now: Millis, chance: u64) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_LEVEL {
            self.level = false;
        }
        self.due = now + backoff(self.failures, chance);
        self.work = Work::Fresh;
    }
}

// Full jitter: shards that were refused together must not come back together.
fn backoff(failures: u32, chance: u64) -> Millis {
    let most = (BACKOFF_FIRST_MS << failures.min(10)).min(BACKOFF_MAX_MS);
    BACKOFF_MIN_MS + chance % (most - BACKOFF_MIN_MS)
}

/// Shards of a stream at once; a table of 10,000 partitions has as many that are open.
pub const SHARDS_MAX: usize = 65_536;
// A shard is begun at a time this much later than the one it is begun from, at most: times of records are approximate.
const REPLAY_MS: Millis = 120_000;
// Records of a replay that are taken at once: a minute of what a shard is written, at its bound of 1,000 a second.
const REPLAY_MAX: usize = 60_000;
// A record this much newer than a moment was written after it: its time is approximate.
const NEWER_MS: Millis = 1_000;
// So many empty answers in a row, at least.
const EMPTY_MIN: u32 = 3;
// Before a listing that lacked something is looked at again.
const AGAIN_MS: Millis = 1_000;
// For so long after a shard's end its children are looked for that often.
const SEEK_MS: Millis = 60_000;
// For so long, where one is known: it may have two.
const SEEK_MORE_MS: Millis = 10_000;
// A shard that the service does not know, and so many listings in a row lack, is gone.
const GONE: u32 = 2;
// A parent that nobody knows, and so many listings in a row lack, a second apart: to begin its child before it would break
// the order of items, and costs a comparison of the whole table where it was wrong.
const ORPHANED: u32 = 15;
// What is done, and so many listings in a row lack, is forgotten.
const FORGET: u32 = 10;
// Failures in a row after which nobody knows how far a shard is behind.
const FAILURES_LEVEL: u32 = 3;
// A record this young is of this moment.
const LEVEL_MS: Millis = 10_000;
const BACKOFF_MIN_MS: Millis = 100;
const BACKOFF_FIRST_MS: Millis = 200;
const BACKOFF_MAX_MS: Millis = 10_000;

#[cfg(test)]
mod tests;
