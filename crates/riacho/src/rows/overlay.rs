//! What is published and not in the file yet, and what is known of each table.
//!
//! One lock guards it all, so that a reader gets the file's last commit and all that was published since as one. Changes
//! are kept in layers: the last one grows, the others never change and are shared with snapshots; the thread applies
//! whole layers, which end where transactions end. Nothing here touches the disk.

use super::{
    Failure, Row, TableInfo,
    disk::{Loaded, Reads, Record},
    is_delete, key_of,
    snapshot::{Moment, row_of},
};
use indexmap::IndexSet;
use riacho_core::{event::Event, name::StreamName, position::Offset, time::Millis};
use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{Hash, Hasher},
    mem,
    sync::{Arc, Weak},
};

/// What is published and not applied, and all that is known without the disk.
pub(super) struct Overlay {
    names: HashMap<StreamName, usize>,
    tables: Vec<Table>,
    /// Whole layers, oldest first.
    layers: VecDeque<Arc<Layer>>,
    active: Layer,
    pending_bytes: usize,
    pending_changes: usize,
    published: Offset,
    applied: Offset,
    reads: Arc<Reads>,
    /// With so many pending changes the thread wants to be woken.
    wanted: usize,
    /// Whether rows of emptied tables are still in the file.
    garbage: bool,
    failure: Option<Failure>,
    closing: bool,
    /// How many wait until all is applied.
    pub(super) settling: usize,
    /// The thread is done.
    ended: bool,
}

/// A table: as published, as in the file, and between.
struct Table {
    name: StreamName,
    rows: u64,
    bytes: u64,
    newest: Offset,
    /// As of the commit that `Overlay::reads` has.
    record: Record,
    /// Newest changes by key that may not be in the file. Its hashes are kept: to grow it does not look at every key,
    /// which took tens of milliseconds under the order lock.
    pending: IndexSet<ByKey>,
    pending_deletes: u64,
    /// An emptying that is not in the file: nothing there counts.
    emptied: Option<Emptied>,
    expiry: Option<Expiry>,
    /// Counts what is published.
    version: u64,
    snapshot: Weak<Moment>,
}

/// When a table was emptied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) struct Emptied {
    pub offset: Offset,
    pub time: Millis,
}

/// Tombstones that are to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Expiry {
    pub before: Millis,
    /// What must be applied first.
    pub upto: Offset,
    /// The last entry of the index that was looked at, in this file id.
    pub at: Option<Vec<u8>>,
    /// The oldest tombstone that stays, as far as was looked.
    pub kept: Option<Offset>,
    pub done: bool,
}

/// Changes of all tables, published one after another.
#[derive(Default)]
pub(super) struct Layer {
    parts: BTreeMap<usize, Arc<Part>>,
    changes: usize,
    bytes: usize,
    last: Offset,
}

/// A layer's changes of one table.
#[derive(Clone, Default)]
pub(super) struct Part {
    /// The table was emptied, before the changes.
    emptied: Option<Emptied>,
    /// In order of offset.
    changes: Vec<Arc<Event>>,
}

/// What several parts add up to.
#[derive(Default)]
pub(super) struct Merged {
    pub emptied: Option<Emptied>,
    /// The newest change of each key, in order of keys.
    pub changes: Vec<Arc<Event>>,
}

/// A change, found by its key.
struct ByKey(Arc<Event>);

/// Where a row is.
pub(super) enum Found {
    /// Its newest change.
    Here(Arc<Event>),
    /// In the file, if anywhere.
    Below(u32, Arc<Reads>),
    Nowhere,
}

/// What the thread is to do in one transaction.
pub(super) struct Batch {
    pub tables: Vec<TableBatch>,
    pub layers: usize,
    pub changes: usize,
    pub applied: Offset,
}

/// What it is to do in one table, and then what became of it.
pub(super) struct TableBatch {
    index: usize,
    pub name: StreamName,
    pub record: Record,
    pub parts: Vec<Arc<Part>>,
    pub expiry: Option<Expiry>,
}

impl Overlay {
    pub(super) fn new(loaded: Loaded) -> Self {
        let mut overlay = Self {
            names: HashMap::new(),
            tables: Vec::new(),
            layers: VecDeque::new(),
            active: Layer::default(),
            pending_bytes: 0,
            pending_changes: 0,
            published: loaded.applied,
            applied: loaded.applied,
            reads: Arc::clone(&loaded.reads),
            wanted: usize::MAX,
            garbage: loaded.garbage,
            failure: None,
            closing: false,
            settling: 0,
            ended: false,
        };
        for (name, record) in loaded.records {
            let index = overlay.index(&name);
            if let Some(table) = overlay.tables.get_mut(index) {
                table.record = record;
                table.agree();
            }
        }
        overlay
    }

    /// Takes over what a file says that was opened again; what is pending stays.
    pub(super) fn reload(&mut self, loaded: Loaded) {
        for (name, record) in loaded.records {
            let index = self.index(&name);
            if let Some(table) = self.tables.get_mut(index) {
                table.record = record;
            }
        }
        self.applied = loaded.applied;
        self.garbage = loaded.garbage;
        self.reads = loaded.reads;
    }

    /// Says whether the thread is to be woken.
    pub(super) fn publish(&mut self, changes: &[Arc<Event>]) -> bool {
        for event in changes {
            if event.change.is_some() && event.offset > self.published {
                self.published = event.offset;
                self.push(event);
            }
        }
        self.grown()
    }

    fn push(&mut self, event: &Arc<Event>) {
        let index = self.index(&event.stream);
        let Some(table) = self.tables.get_mut(index) else { return };
        table.count(event);
        let bytes = weight(event);
        self.pending_bytes += bytes;
        self.pending_changes += 1;
        self.active.bytes += bytes;
        self.active.changes += 1;
        self.active.last = event.offset;
        // A snapshot may share it; then this copies it once, which the layer's bound keeps short.
        Arc::make_mut(self.active.parts.entry(index).or_default()).changes.push(Arc::clone(event));
    }

    /// Says whether the thread is to be woken.
    pub(super) fn empty(&mut self, name: &StreamName, offset: Offset, time: Millis) -> bool {
        let index = self.index(name);
        let Some(table) = self.tables.get_mut(index) else { return false };
        let emptied = Emptied { offset, time };
        if emptied <= table.emptied.unwrap_or(table.record.emptied) || offset < table.newest {
            return false;
        }
        table.empty(emptied);
        self.published = self.published.max(offset);
        self.pending_changes += 1;
        self.pending_bytes += EVENT_BYTES;
        self.active.bytes += EVENT_BYTES;
        self.active.changes += 1;
        self.active.last = self.active.last.max(offset);
        let part = Arc::make_mut(self.active.parts.entry(index).or_default());
        part.emptied = Some(emptied);
        part.changes.clear();
        self.grown()
    }

    /// Says whether the thread is to be woken.
    pub(super) fn expire(&mut self, name: &StreamName, before: Millis) -> bool {
        let Some(table) = self.names.get(name).and_then(|index| self.tables.get_mut(*index)) else {
            return false;
        };
        table.expiry = Some(Expiry { before, upto: self.published, at: None, kept: None, done: false });
        self.wanted < usize::MAX
    }

    // A layer ends only where a call ends, and so where a transaction does.
    fn grown(&mut self) -> bool {
        if self.active.changes >= LAYER_CHANGES_MAX || self.active.bytes >= LAYER_BYTES_MAX {
            self.seal();
        }
        let wake = self.pending_changes >= self.wanted;
        if wake {
            self.wanted = usize::MAX;
        }
        wake
    }

    fn seal(&mut self) {
        if self.active.changes > 0 {
            self.layers.push_back(Arc::new(mem::take(&mut self.active)));
        }
    }

    fn index(&mut self, name: &StreamName) -> usize {
        if let Some(index) = self.names.get(name) {
            return *index;
        }
        let index = self.tables.len();
        self.names.insert(name.clone(), index);
        self.tables.push(Table::new(name.clone()));
        index
    }

    pub(super) fn row(&self, name: &StreamName, key: &str) -> Found {
        let Some(table) = self.names.get(name).and_then(|index| self.tables.get(*index)) else {
            return Found::Nowhere;
        };
        match table.pending.get(key) {
            Some(change) => Found::Here(Arc::clone(&change.0)),
            None if table.emptied.is_some() || table.record.id == 0 => Found::Nowhere,
            None => Found::Below(table.record.id, Arc::clone(&self.reads)),
        }
    }

    /// The table at this moment; `before` takes what it was at an earlier one.
    pub(super) fn snapshot(
        &mut self,
        name: &StreamName,
        label: &str,
        before: &mut Option<Arc<Moment>>,
    ) -> Arc<Moment> {
        let Some(index) = self.names.get(name).copied() else {
            return Arc::new(Moment::empty(Arc::clone(&self.reads), label));
        };
        let Some(table) = self.tables.get_mut(index) else {
            return Arc::new(Moment::empty(Arc::clone(&self.reads), label));
        };
        *before = table.snapshot.upgrade();
        // Only of the same commit: readers that came one after another would else keep an old one, and its pages in the
        // file, without end.
        if let Some(moment) = before.as_ref().filter(|moment| moment.is(table.version, &self.reads)) {
            return Arc::clone(moment);
        }
        let layers = self.layers.iter().map(|layer| &**layer).chain([&self.active]);
        let parts = layers.filter_map(|layer| layer.parts.get(&index).cloned()).collect();
        let info = table.info();
        let moment = Arc::new(Moment::new(
            table.version,
            (table.record.id, Arc::clone(&self.reads)),
            parts,
            &info,
            label,
        ));
        table.snapshot = Arc::downgrade(&moment);
        moment
    }

    pub(super) fn infos(&self) -> Vec<TableInfo> {
        self.tables.iter().map(Table::info).collect()
    }

    pub(super) fn info(&self, name: &StreamName) -> Option<TableInfo> {
        self.names.get(name).and_then(|index| self.tables.get(*index)).map(Table::info)
    }

    pub(super) fn applied(&self) -> Offset {
        self.applied
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// Says whether it is news.
    pub(super) fn fail(&mut self, failure: Option<Failure>) -> bool {
        mem::replace(&mut self.failure, failure) != failure
    }

    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// The thread applies nothing any more.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.ended || !self.has_work()
    }

    pub(super) fn has_work(&self) -> bool {
        self.pending_changes > 0 || self.garbage || self.tables.iter().any(|table| table.expiry.is_some())
    }

    /// Whether the thread has nothing to wait for before it begins a transaction.
    pub(super) fn is_urgent(&self) -> bool {
        self.closing
            || self.settling > 0
            || self.pending_changes >= BATCH_CHANGES
            || self.pending_bytes >= BATCH_BYTES
    }

    /// Notes with how many pending changes the thread wants to be woken; it is awake with none.
    pub(super) fn want(&mut self, changes: Option<usize>) {
        self.wanted = changes.unwrap_or(usize::MAX);
    }

    /// What to do next, of about `changes_max` changes at most; nothing at all if there is nothing.
    pub(super) fn batch(&mut self, changes_max: usize) -> Option<Batch> {
        // Removals and expiries can go on after the next start.
        if !self.has_work() || (self.closing && self.pending_changes == 0) {
            return None;
        }
        self.seal();
        let mut batch = Batch { tables: Vec::new(), layers: 0, changes: 0, applied: self.applied };
        let mut parts: BTreeMap<usize, Vec<Arc<Part>>> = BTreeMap::new();
        let mut bytes = 0;
        for layer in &self.layers {
            let full = batch.changes + layer.changes > changes_max || bytes + layer.bytes > BATCH_BYTES;
            if full && batch.layers > 0 {
                break;
            }
            batch.layers += 1;
            batch.changes += layer.changes;
            bytes += layer.bytes;
            batch.applied = batch.applied.max(layer.last);
            for (index, part) in &layer.parts {
                parts.entry(*index).or_default().push(Arc::clone(part));
            }
        }
        for (index, table) in self.tables.iter().enumerate() {
            let expiry = table.expiry.clone().filter(|expiry| expiry.upto <= batch.applied);
            let parts = parts.remove(&index).unwrap_or_default();
            if expiry.is_some() || !parts.is_empty() {
                let (name, record) = (table.name.clone(), table.record);
                batch.tables.push(TableBatch { index, name, record, parts, expiry });
            }
        }
        Some(batch)
    }

    /// The batch is in the file, which is read by `reads` from now on.
    pub(super) fn committed(&mut self, batch: &Batch, reads: Arc<Reads>, garbage: bool) {
        self.reads = reads;
        self.garbage = garbage;
        self.applied = batch.applied;
        for done in &batch.tables {
            let Some(table) = self.tables.get_mut(done.index) else { continue };
            table.record = done.record;
            if table.emptied.is_some_and(|emptied| emptied <= done.record.emptied) {
                table.emptied = None;
            }
            // A later call has put another in its place.
            if let (Some(expiry), Some(mine)) = (&table.expiry, &done.expiry)
                && (expiry.before, expiry.upto) == (mine.before, mine.upto)
            {
                table.expiry = done.expiry.clone().filter(|expiry| !expiry.done);
            }
        }
    }

    /// Lets go of the oldest layer, which is in the file. To be dropped without the lock.
    pub(super) fn prune(&mut self) -> Option<Arc<Layer>> {
        let layer = self.layers.pop_front()?;
        self.pending_bytes -= layer.bytes;
        self.pending_changes -= layer.changes;
        for (index, part) in &layer.parts {
            if let Some(table) = self.tables.get_mut(*index) {
                table.prune(part);
            }
        }
        Some(layer)
    }
}

impl Table {
    fn new(name: StreamName) -> Self {
        Self {
            name,
            rows: 0,
            bytes: 0,
            newest: 0,
            record: Record::default(),
            pending: IndexSet::new(),
            pending_deletes: 0,
            emptied: None,
            expiry: None,
            version: 0,
            snapshot: Weak::new(),
        }
    }

    fn info(&self) -> TableInfo {
        let tombstones = self.emptied.map_or(self.record.tombstones, |_| 0) + self.pending_deletes;
        TableInfo {
            name: self.name.clone(),
            rows: self.rows,
            bytes: self.bytes,
            tombstones,
            newest: self.newest,
            floor: self.record.floor.max(self.emptied.map_or(0, |emptied| emptied.offset)),
        }
    }

    fn count(&mut self, event: &Arc<Event>) {
        let Some(change) = &event.change else { return };
        let key = change.key.len() as u64;
        let now = event.data.text.len() as u64;
        let old = change.old.as_ref().map_or(0, |old| old.len() as u64);
        match change.operation {
            riacho_core::event::Operation::Insert => {
                self.rows += 1;
                self.bytes += key + now;
            }
            riacho_core::event::Operation::Update => self.bytes = (self.bytes + now).saturating_sub(old),
            riacho_core::event::Operation::Delete => {
                self.rows = self.rows.saturating_sub(1);
                self.bytes = self.bytes.saturating_sub(key + old);
                self.pending_deletes += 1;
            }
        }
        let before = self.pending.replace(ByKey(Arc::clone(event)));
        self.pending_deletes -= u64::from(before.is_some_and(|before| is_delete(&before.0)));
        self.newest = event.offset;
        self.version += 1;
    }

    fn empty(&mut self, emptied: Emptied) {
        self.rows = 0;
        self.bytes = 0;
        self.newest = self.newest.max(emptied.offset);
        self.pending.clear();
        self.pending_deletes = 0;
        self.emptied = Some(emptied);
        self.version += 1;
    }

    fn prune(&mut self, part: &Part) {
        for event in &part.changes {
            let newest =
                self.pending.get(key_of(event)).is_some_and(|newest| newest.0.offset == event.offset);
            if newest && self.pending.swap_remove(key_of(event)) {
                self.pending_deletes -= u64::from(is_delete(event));
            }
        }
        if self.pending.is_empty() && self.emptied.is_none() {
            self.agree();
        }
    }

    // With nothing between, the counts of the file are those of what is published, whatever the events said was before.
    fn agree(&mut self) {
        self.rows = self.record.rows;
        self.bytes = self.record.bytes;
        self.newest = self.record.newest;
    }
}

impl Merged {
    pub(super) fn of(parts: &[Arc<Part>]) -> Self {
        let from = parts.iter().rposition(|part| part.emptied.is_some());
        let emptied = from.and_then(|from| parts.get(from)).and_then(|part| part.emptied);
        let parts = parts.iter().skip(from.unwrap_or(0));
        let mut changes: Vec<Arc<Event>> = parts.flat_map(|part| part.changes.iter().cloned()).collect();
        changes.sort_unstable_by(|a, b| key_of(a).cmp(key_of(b)).then(b.offset.cmp(&a.offset)));
        changes.dedup_by(|older, newest| key_of(older) == key_of(newest));
        Self { emptied, changes }
    }

    /// The newest change of `key`.
    pub(super) fn get(&self, key: &str) -> Option<&Arc<Event>> {
        let at = self.changes.binary_search_by(|event| key_of(event).cmp(key)).ok()?;
        self.changes.get(at)
    }

    /// The row of `key`, where it is known here: none where it was deleted.
    pub(super) fn row(&self, key: &str) -> Option<Option<Row>> {
        self.get(key).map(|event| row_of(event))
    }
}

impl Borrow<str> for ByKey {
    fn borrow(&self) -> &str {
        key_of(&self.0)
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        key_of(&self.0) == key_of(&other.0)
    }
}

impl Eq for ByKey {}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        key_of(&self.0).hash(state);
    }
}

/// What a change costs in memory, about.
fn weight(event: &Event) -> usize {
    let change = event.change.as_ref();
    let old = change.and_then(|change| change.old.as_ref()).map_or(0, |old| old.len());
    EVENT_BYTES + key_of(event).len() + old + event.data.text.len()
}

/// About what a change takes in memory beside its texts.
const EVENT_BYTES: usize = 256;

/// A snapshot costs the next publish a copy of one layer's list at most.
const LAYER_CHANGES_MAX: usize = 1_024;
const LAYER_BYTES_MAX: usize = 1 << 20;

/// With so many changes, or bytes, a transaction is large enough. Of changes all over a large table each costs a page or
/// two of its own, so that three times as many in a transaction are applied almost twice as fast.
pub(super) const BATCH_CHANGES: usize = 30_000;
const BATCH_BYTES: usize = 24 << 20;
