//! Changes of the stream and copies of tables, stitched without gap, overlap or a stale row.
//!
//! By visibility, never by positions: decoding may give a transaction that no query sees yet, as it waits for a standby.
//! A table is copied from a snapshot; what the stream says of it meanwhile waits, and of that only what the snapshot does
//! not see is applied, in order. The snapshot must be younger than every transaction that ran when the table's changes
//! began to be kept here ([`Visibility::settled_after`]), so that none was given before and is not seen either.
//!
//! While a table that readers have is copied anew, changes of all tables that readers have are held: then they are given the
//! state that the snapshot saw, of all of them at once, and no half of a transaction. Where that takes too long, or is too
//! much to be held, the others go on without that table ([`Stitch::let_go`]).

use super::{
    kind::Types,
    lsn::Lsn,
    pgoutput::{Datum, Message, Old, Relation, Tuple},
    snapshot::Visibility,
    table::Shape,
};
use crate::{
    name::StreamName,
    source::change::{Becomes, SourceChange},
    time::Millis,
};
use std::collections::{HashMap, HashSet};

/// A table that is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The stream of our table.
    pub stream: StreamName,
    /// Its schema,
    pub namespace: Box<str>,
    /// and name in the database.
    pub name: Box<str>,
    /// The columns of its key, in the key's order.
    pub key: Vec<Box<str>>,
    /// The columns that are read beside it; none: all.
    pub columns: Option<Vec<String>>,
}

/// Where a copy was made: what it saw, and a place in the log behind all that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// What the copy's snapshot sees.
    pub visibility: Visibility,
    /// Whatever it sees was committed before here.
    pub upto: Lsn,
}

/// What a transaction says, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// What a row is.
    Row(SourceChange),
    /// The table has no rows.
    Emptied(StreamName),
}

impl Said {
    /// The table it is about.
    pub fn table(&self) -> &StreamName {
        match self {
            Self::Row(change) => &change.table,
            Self::Emptied(table) => table,
        }
    }

    /// About the bytes of its record.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Row(change) => change.bytes(),
            Self::Emptied(_) => 0,
        }
    }
}

/// A transaction, or a part of one that is larger than [`PART_BYTES`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committed {
    /// The transaction.
    pub xid: u32,
    /// Behind its commit, to be confirmed once it is durable; none of a part that is not the last.
    pub end: Option<Lsn>,
    /// When it was committed.
    pub time: Millis,
    /// What it says of tables that are whole.
    pub said: Vec<Said>,
}

/// What copies did not see of what waited for them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Released {
    /// What is to be told together with what differs in the copies: then readers have what the last snapshot saw.
    pub at_once: Vec<Said>,
    /// What came after it, in order.
    pub then: Vec<Committed>,
    /// What readers then have of all tables that were shown before; none where nothing was held.
    pub seen: Option<Seen>,
}

/// What follows from a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Nothing yet.
    Nothing,
    /// These types are not known: describe them ([`Stitch::types`]) and give the same message again.
    Types(Vec<u32>),
    /// This is committed.
    Committed(Committed),
    /// A table is not what it was: it must be copied anew. [`Stitch::begin_copy`] was done.
    Altered(StreamName),
}

/// All that is known of the stream so far.
#[derive(Debug, Default)]
pub struct Stitch {
    tables: HashMap<StreamName, Table>,
    /// By schema and name.
    names: HashMap<(Box<str>, Box<str>), StreamName>,
    /// Those the stream has described; none for tables that are not read.
    relations: HashMap<u32, Option<StreamName>>,
    types: Types,
    open: Option<Open>,
    /// Tables that readers have and that are copied anew; and what all tables that readers have wait with until then.
    holding: HashSet<StreamName>,
    held: Vec<Committed>,
    /// Whether those of them that are not copied yet no longer hold the others.
    let_go: bool,
    /// What was committed up to here was applied before.
    applied: Lsn,
    waiting_bytes: usize,
}

#[derive(Debug)]
struct Table {
    wanted: Wanted,
    /// Of the newest copy, or of the stream where that said another since.
    fingerprint: Option<String>,
    shape: Option<Shape>,
    phase: Phase,
    /// Whether readers have its rows.
    shown: bool,
}

#[derive(Debug)]
enum Phase {
    /// Changes are applied; those before the last copy are in it.
    Whole(Option<Seen>),
    /// Changes wait for a copy; those of a table that readers have are held with those of the others.
    Copying(Vec<Committed>),
}

/// The transaction that is being told.
#[derive(Debug)]
struct Open {
    xid: u32,
    time: Millis,
    said: Vec<Said>,
    bytes: usize,
    /// Whether it was applied before.
    skip: bool,
}

impl Phase {
    /// Of what waits.
    fn bytes(&self) -> usize {
        match self {
            Self::Whole(_) => 0,
            Self::Copying(waiting) => bytes(waiting),
        }
    }
}

fn bytes(committed: &[Committed]) -> usize {
    committed.iter().flat_map(|committed| &committed.said).map(Said::bytes).sum()
}

impl Stitch {
    /// Nothing is read yet; what was committed up to `applied` is known already.
    pub fn new(applied: Lsn) -> Self {
        Self { applied, ..Self::default() }
    }

    /// A table that was copied before, with what its copy saw and the shape it had.
    pub fn add_whole(&mut self, wanted: Wanted, fingerprint: String, seen: Option<Seen>) {
        self.add(wanted, Some(fingerprint), Phase::Whole(seen), true);
    }

    /// A table to be copied; `shown` if readers have rows of it.
    pub fn add_copying(&mut self, wanted: Wanted, shown: bool) {
        if shown {
            self.holding.insert(wanted.stream.clone());
        }
        self.add(wanted, None, Phase::Copying(Vec::new()), shown);
    }

    fn add(&mut self, wanted: Wanted, fingerprint: Option<String>, phase: Phase, shown: bool) {
        let stream = wanted.stream.clone();
        self.names.insert((wanted.namespace.clone(), wanted.name.clone()), stream.clone());
        self.tables.insert(stream, Table { wanted, fingerprint, shape: None, phase, shown });
    }

    /// What types are.
    pub fn types(&mut self) -> &mut Types {
        &mut self.types
    }

    /// Has the changes of a table wait for a copy from now on.
    pub fn begin_copy(&mut self, stream: &StreamName) {
        if let Some(table) = self.tables.get_mut(stream) {
            if table.shown && !self.let_go {
                self.holding.insert(stream.clone());
            }
            let dropped = std::mem::replace(&mut table.phase, Phase::Copying(Vec::new()));
            self.waiting_bytes = self.waiting_bytes.saturating_sub(dropped.bytes());
        }
    }

    /// Whether changes of tables that readers have are held until copies are made of all that are copied anew.
    pub fn is_held(&self) -> bool {
        !self.holding.is_empty()
    }

    /// Tables whose changes wait for a copy.
    pub fn copying(&self) -> Vec<StreamName> {
        let copying = |table: &&Table| matches!(table.phase, Phase::Copying(_));
        self.tables.values().filter(copying).map(|table| table.wanted.stream.clone()).collect()
    }

    /// Holds nothing any more, until no table that readers have is to be copied anew: gives what was held of the others, in
    /// order. Who reads several tables may then see the half of a transaction that is not of a table being copied.
    pub fn let_go(&mut self) -> Vec<Committed> {
        self.let_go = true;
        self.holding.clear();
        let held = std::mem::take(&mut self.held);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes(&held));
        let told = |Committed { xid, end, time, said }| {
            self.committed(Open { xid, time, said, bytes: 0, skip: false }, end)
        };
        held.into_iter().map(told).collect()
    }

    /// Whether `copied` are all that changes are held for.
    pub fn may_end<'a>(&self, copied: impl IntoIterator<Item = &'a StreamName>) -> bool {
        let copied: HashSet<&StreamName> = copied.into_iter().collect();
        self.holding.iter().all(|table| copied.contains(table))
    }

    /// Behind all that was told.
    pub fn reached(&self) -> Lsn {
        self.applied
    }

    /// These copies are made, in this order, and are all that changes are held for: gives what they did not see, in order.
    /// From now on changes of these tables are applied.
    ///
    /// `level` if the stream has told all that the copies saw: else some of it comes later, for each table by itself.
    pub fn end_copies(&mut self, copies: Vec<(StreamName, Seen, String)>, level: bool) -> Released {
        let last = copies.last().map(|(_, seen, _)| seen.clone());
        let mut released = Released::default();
        let mut new: Vec<Committed> = Vec::new();
        let mut copied: HashMap<StreamName, Seen> = HashMap::new();
        for (table, seen, fingerprint) in copies {
            let Some(found) = self.tables.get_mut(&table) else { continue };
            // What the stream has said since is newer than the copy.
            if found.shape.is_none() {
                found.fingerprint = Some(fingerprint);
            }
            found.shown = true;
            let phase = std::mem::replace(&mut found.phase, Phase::Whole(Some(seen.clone())));
            self.waiting_bytes = self.waiting_bytes.saturating_sub(phase.bytes());
            if let Phase::Copying(waiting) = phase {
                // They stand before what other tables have by now: how far that is, these do not tell.
                let unseen = waiting.into_iter().filter(|committed| !seen.visibility.sees(committed.xid));
                new.extend(unseen.map(|committed| Committed { end: None, ..committed }));
            }
            copied.insert(table, seen);
        }
        if let (true, Some(last)) = (self.is_held(), last) {
            self.release(&last, &copied, level, &mut released);
        }
        let anew = |table: &Table| table.shown && matches!(table.phase, Phase::Copying(_));
        self.let_go &= self.tables.values().any(anew);
        released.then.extend(new);
        released
    }

    // The state that `last` sees of all tables, then what it does not see.
    fn release(
        &mut self,
        last: &Seen,
        copied: &HashMap<StreamName, Seen>,
        level: bool,
        released: &mut Released,
    ) {
        self.holding.clear();
        let held = std::mem::take(&mut self.held);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes(&held));
        for mut committed in held {
            let (xid, seen) = (committed.xid, last.visibility.sees(committed.xid));
            committed
                .said
                .retain(|said| copied.get(said.table()).is_none_or(|seen| !seen.visibility.sees(xid)));
            if seen && level {
                released.at_once.append(&mut committed.said);
            }
            released.then.push(committed);
        }
        if level {
            for table in self.tables.values_mut().filter(|table| table.shown) {
                table.phase = Phase::Whole(Some(last.clone()));
            }
            released.seen = Some(last.clone());
        }
    }

    /// Bytes of changes that wait for copies.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Whether a transaction is being told.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes a message.
    pub fn handle(&mut self, message: &Message<'_>) -> Output {
        match message {
            Message::Begin { final_lsn, commit_time, xid } => {
                // A commit that was applied before begins before what is confirmed of it.
                let skip = *final_lsn < self.applied;
                let (said, bytes) = (Vec::new(), 0);
                self.open = Some(Open { xid: *xid, time: *commit_time, said, bytes, skip });
                Output::Nothing
            }
            Message::Commit { end_lsn, .. } => match self.open.take() {
                Some(open) => {
                    self.applied = self.applied.max(*end_lsn);
                    Output::Committed(self.committed(open, Some(*end_lsn)))
                }
                None => Output::Nothing,
            },
            Message::Relation { relation, .. } => self.relation(relation),
            Message::Insert { relation, new, .. } => self.row(*relation, None, Some(new)),
            Message::Update { relation, old, new, .. } => self.row(*relation, old.as_ref(), Some(new)),
            Message::Delete { relation, old, .. } => self.row(*relation, Some(old), None),
            Message::Truncate { relations, .. } => {
                let streams: Vec<StreamName> =
                    relations.iter().filter_map(|id| Some(self.table(*id)?.wanted.stream.clone())).collect();
                self.say(streams.into_iter().map(Said::Emptied).collect())
            }
            // Streams of open transactions are not asked for.
            _ => Output::Nothing,
        }
    }

    fn relation(&mut self, relation: &Relation) -> Output {
        let name = (relation.namespace.clone(), relation.name.clone());
        let stream = self.names.get(&name).cloned();
        let Some(table) = stream.as_ref().and_then(|stream| self.tables.get_mut(stream)) else {
            self.relations.insert(relation.id, None);
            return Output::Nothing;
        };
        let unknown: Vec<u32> = relation
            .columns
            .iter()
            .map(|column| column.type_oid)
            .filter(|oid| !self.types.knows(*oid))
            .collect();
        if !unknown.is_empty() {
            return Output::Types(unknown);
        }
        let columns = table.wanted.columns.as_deref();
        let shape = match Shape::of(relation, &table.wanted.key, columns, &self.types) {
            Ok(shape) => shape,
            Err(_) => {
                // What it was before it had this key: a copy has all that was done then.
                (table.shape, table.fingerprint) = (None, None);
                let stream = table.wanted.stream.clone();
                self.relations.insert(relation.id, None);
                self.begin_copy(&stream);
                return Output::Altered(stream);
            }
        };
        let fingerprint = shape.fingerprint();
        let same = table.fingerprint.as_ref().is_none_or(|known| *known == fingerprint);
        table.fingerprint = Some(fingerprint);
        table.shape = Some(shape);
        self.relations.insert(relation.id, stream);
        if same {
            return Output::Nothing;
        }
        // Rows that do not change have the new columns too, and no message says so.
        let stream = table.wanted.stream.clone();
        if matches!(table.phase, Phase::Whole(_)) {
            self.begin_copy(&stream);
        }
        Output::Altered(stream)
    }

    fn row(&mut self, relation: u32, old: Option<&Old<'_>>, new: Option<&Tuple<'_>>) -> Output {
        let Some(table) = self.table(relation) else { return Output::Nothing };
        let Some(shape) = &table.shape else { return Output::Nothing };
        let stream = &table.wanted.stream;
        let change = |key: Box<str>, becomes| Said::Row(SourceChange { table: stream.clone(), key, becomes });
        let (Some(Old::Key(before) | Old::Full(before)), Some(new)) = (old, new) else {
            let only = match (old, new) {
                (_, Some(new)) => said_of(shape, None, new),
                (Some(Old::Key(old) | Old::Full(old)), None) => Some((shape.key(old), Becomes::Gone)),
                (None, None) => None,
            };
            return match only {
                Some((Some(key), becomes)) => {
                    let said = change(key, becomes);
                    self.say(vec![said])
                }
                _ => self.anew(relation),
            };
        };
        let full: Option<Tuple<'_>> = matches!(old, Some(Old::Full(_))).then(|| filled(new, before));
        let new = full.as_ref().unwrap_or(new);
        let old_key = shape.key(before);
        let Some((key, becomes)) = said_of(shape, old_key.as_deref(), new) else {
            return self.anew(relation);
        };
        // A part of the key that did not change may be left out.
        let Some(key) = key.or_else(|| old_key.clone()) else { return self.anew(relation) };
        let mut said = vec![change(key.clone(), becomes)];
        if let Some(old_key) = old_key.filter(|old_key| *old_key != key) {
            said.push(change(old_key, Becomes::Gone));
        }
        self.say(said)
    }

    // What cannot be told apart is read again.
    fn anew(&mut self, relation: u32) -> Output {
        let Some(table) = self.table(relation) else { return Output::Nothing };
        let stream = table.wanted.stream.clone();
        self.begin_copy(&stream);
        Output::Altered(stream)
    }

    fn say(&mut self, said: Vec<Said>) -> Output {
        let Some(open) = self.open.as_mut().filter(|open| !open.skip) else { return Output::Nothing };
        open.bytes += said.iter().map(Said::bytes).sum::<usize>();
        open.said.extend(said);
        if open.bytes < PART_BYTES {
            return Output::Nothing;
        }
        open.bytes = 0;
        let (xid, time, said) = (open.xid, open.time, std::mem::take(&mut open.said));
        Output::Committed(self.committed(Open { xid, time, said, bytes: 0, skip: false }, None))
    }

    // Gives what is said of whole tables; of others it waits.
    fn committed(&mut self, open: Open, end: Option<Lsn>) -> Committed {
        let Open { xid, time, said, .. } = open;
        let mut now = Vec::with_capacity(said.len());
        let (is_held, mut held) = (self.is_held(), Vec::new());
        for said in said {
            let Some(table) = self.tables.get_mut(said.table()) else { continue };
            match &mut table.phase {
                Phase::Whole(Some(seen)) if seen.visibility.sees(xid) => {}
                _ if is_held && table.shown => {
                    self.waiting_bytes += said.bytes();
                    held.push(said);
                }
                Phase::Whole(_) => now.push(said),
                Phase::Copying(waiting) => {
                    self.waiting_bytes += said.bytes();
                    match waiting.last_mut().filter(|last| last.xid == xid) {
                        Some(last) => last.said.push(said),
                        None => waiting.push(Committed { xid, end, time, said: vec![said] }),
                    }
                }
            }
        }
        if let Some(end) = end {
            for table in self.tables.values_mut() {
                // Behind all that the copy saw nothing is left to be told apart.
                if let Phase::Whole(seen) = &mut table.phase {
                    seen.take_if(|seen| end > seen.upto);
                }
            }
        }
        if is_held {
            self.hold(Committed { xid, end, time, said: held });
            return Committed { xid, end: None, time, said: now };
        }
        Committed { xid, end, time, said: now }
    }

    // What is held is not behind us, however little of it is ours.
    fn hold(&mut self, committed: Committed) {
        match self.held.last_mut() {
            // The rest of a transaction that came in parts.
            Some(last) if last.xid == committed.xid && last.end.is_none() => {
                last.end = committed.end;
                last.said.extend(committed.said);
            }
            Some(last) if last.end.is_some() && committed.said.is_empty() && committed.end.is_some() => {
                last.end = committed.end;
            }
            _ => self.held.push(committed),
        }
    }

    fn table(&self, relation: u32) -> Option<&Table> {
        self.tables.get(self.relations.get(&relation)?.as_ref()?)
    }
}

// What a row is now: whole, or with the rest from the row of its key before.
fn said_of(shape: &Shape, old_key: Option<&str>, new: &[Datum<'_>]) -> Option<(Option<Box<str>>, Becomes)> {
    let key = shape.key(new);
    if let Some(row) = shape.row(new) {
        return Some((key, Becomes::Row(row)));
    }
    let from: Box<str> = old_key.map(Into::into).or_else(|| key.clone())?;
    Some((key, Becomes::Merged { from, members: shape.members(new) }))
}

// The row `new`, with what did not change from the whole row before.
fn filled<'a>(new: &[Datum<'a>], old: &[Datum<'a>]) -> Tuple<'a> {
    let fill = |(new, old): (&Datum<'a>, &Datum<'a>)| if *new == Datum::Unchanged { *old } else { *new };
    new.iter().zip(old).map(fill).collect()
}

/// Bytes of changes above which a transaction is told in parts.
pub const PART_BYTES: usize = 16 * 1024 * 1024;
