//! One transaction: changes, emptyings and expiries of a batch become entries of the file.
//!
//! What is counted is what the file had before, not what events say, so that counts are a recount's whatever comes. All
//! writes of a table are in the order of its keys, so that pages are found in the cache.

use super::{
    disk::{
        APPLIED, CHANGED, DELETED, GARBAGE, META, NEXT_ID, ROWS, Record, RecordValue, TABLES, as_slice,
        changed_key, end_of, row_key, split_changed, split_row,
    },
    is_delete, key_of,
    overlay::{Batch, Emptied, Expiry, Merged, TableBatch},
};
use redb::{Database, ReadableTable, ReadableTableMetadata, Table, Value, WriteTransaction};
use riacho_core::{event::Event, position::Offset};
use std::{ops::Bound, sync::Arc};

/// Writes the batch, durably, and notes in it what became of its tables. Says whether rows of emptied tables remain.
pub(super) fn commit(database: &Database, batch: &mut Batch) -> Result<bool, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    let garbage = {
        let mut writing = Writing::begin(&transaction)?;
        for table in &mut batch.tables {
            writing.table(table)?;
        }
        let garbage = writing.collect()?;
        writing.meta.insert(APPLIED, batch.applied)?;
        garbage
    };
    transaction.commit()?;
    Ok(garbage)
}

struct Writing<'t> {
    rows: Table<'t, &'static [u8], &'static [u8]>,
    changed: Table<'t, &'static [u8], Option<u64>>,
    deleted: Table<'t, &'static [u8], u64>,
    garbage: Table<'t, u32, ()>,
    meta: Table<'t, &'static str, u64>,
    tables: Table<'t, &'static str, RecordValue>,
    /// The bytes of one row, made again and again.
    value: Vec<u8>,
}

impl<'t> Writing<'t> {
    fn begin(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            rows: transaction.open_table(ROWS)?,
            changed: transaction.open_table(CHANGED)?,
            deleted: transaction.open_table(DELETED)?,
            garbage: transaction.open_table(GARBAGE)?,
            meta: transaction.open_table(META)?,
            tables: transaction.open_table(TABLES)?,
            value: Vec::new(),
        })
    }

    fn table(&mut self, table: &mut TableBatch) -> Result<(), redb::Error> {
        let merged = Merged::of(&table.parts);
        let record = &mut table.record;
        if let Some(emptied) = merged.emptied {
            self.empty(record, emptied)?;
        } else if record.id == 0 {
            record.id = self.next_id()?;
        }
        self.changes(record, &merged.changes)?;
        if let Some(expiry) = &mut table.expiry {
            self.expire(record, expiry)?;
        }
        self.tables.insert(table.name.as_str(), record.value())?;
        Ok(())
    }

    // The old id's entries are removed later, piece by piece: there may be millions.
    fn empty(&mut self, record: &mut Record, emptied: Emptied) -> Result<(), redb::Error> {
        if record.id != 0 {
            self.garbage.insert(record.id, ())?;
        }
        *record = Record {
            id: self.next_id()?,
            newest: record.newest.max(emptied.offset),
            floor: record.floor.max(emptied.offset),
            emptied,
            ..Record::default()
        };
        Ok(())
    }

    fn next_id(&mut self) -> Result<u32, redb::Error> {
        let next = self.meta.get(NEXT_ID)?.map_or(1, |value| value.value());
        self.meta.insert(NEXT_ID, next + 1)?;
        u32::try_from(next).map_err(|_| redb::Error::Corrupted("it has no ids of tables left".into()))
    }

    /// `changes` are the newest of each key, in order of keys.
    fn changes(&mut self, record: &mut Record, changes: &[Arc<Event>]) -> Result<(), redb::Error> {
        let mut before = Vec::with_capacity(changes.len());
        for event in changes {
            let old = if is_delete(event) { self.delete(record, event)? } else { self.put(record, event)? };
            before.extend(old.map(|offset| (offset, key_of(event))));
        }
        before.sort_unstable();
        for (offset, key) in before {
            self.changed.remove(changed_key(record.id, offset, key).as_slice())?;
        }
        let mut by_offset: Vec<&Event> = changes.iter().map(|event| &**event).collect();
        by_offset.sort_unstable_by_key(|event| event.offset);
        for event in by_offset {
            let deleted = is_delete(event).then_some(event.time);
            if deleted.is_some() {
                record.deleted_from = record.deleted_from.min(event.offset);
            }
            self.changed.insert(changed_key(record.id, event.offset, key_of(event)).as_slice(), deleted)?;
            record.newest = record.newest.max(event.offset);
        }
        Ok(())
    }

    /// Writes a row, and gives the offset of the key's last change before.
    fn put(&mut self, record: &mut Record, event: &Event) -> Result<Option<Offset>, redb::Error> {
        let key = row_key(record.id, key_of(event));
        self.value.clear();
        self.value.extend_from_slice(&event.offset.to_le_bytes());
        self.value.extend_from_slice(&event.time.to_le_bytes());
        self.value.extend_from_slice(event.data.text.as_bytes());
        let key_bytes = key_of(event).len() as u64;
        record.bytes += key_bytes + event.data.text.len() as u64;
        if let Some(old) = self.rows.insert(key.as_slice(), self.value.as_slice())? {
            let (offset, _, value) = split_row(old.value())?;
            record.bytes = record.bytes.saturating_sub(key_bytes + value.len() as u64);
            return Ok(Some(offset));
        }
        record.rows += 1;
        if record.tombstones == 0 {
            return Ok(None);
        }
        let tombstone = self.deleted.remove(key.as_slice())?.map(|offset| offset.value());
        record.tombstones -= u64::from(tombstone.is_some());
        Ok(tombstone)
    }

    /// Puts a tombstone in the place of a row, and gives the offset of the key's last change before.
    fn delete(&mut self, record: &mut Record, event: &Event) -> Result<Option<Offset>, redb::Error> {
        let key = row_key(record.id, key_of(event));
        let mut before = None;
        if let Some(old) = self.rows.remove(key.as_slice())? {
            let (offset, _, value) = split_row(old.value())?;
            record.rows = record.rows.saturating_sub(1);
            record.bytes = record.bytes.saturating_sub((key_of(event).len() + value.len()) as u64);
            before = Some(offset);
        }
        match self.deleted.insert(key.as_slice(), event.offset)? {
            Some(tombstone) => before = Some(tombstone.value()),
            None => record.tombstones += 1,
        }
        Ok(before)
    }

    /// Forgets some tombstones.
    fn expire(&mut self, record: &mut Record, expiry: &mut Expiry) -> Result<(), redb::Error> {
        if record.tombstones > 0 {
            let gone = self.expired(record, expiry)?;
            for entry in &gone {
                let (offset, key) = split_changed(entry)?;
                self.changed.remove(entry.as_slice())?;
                self.deleted.remove(row_key(record.id, key).as_slice())?;
                record.tombstones = record.tombstones.saturating_sub(1);
                record.floor = record.floor.max(offset);
            }
        } else {
            expiry.done = true;
        }
        if expiry.done {
            record.deleted_from = expiry.kept.unwrap_or(Offset::MAX);
        }
        Ok(())
    }

    /// Looks at some entries of the index, from where it stopped, and gives those that are to go.
    fn expired(&self, record: &Record, expiry: &mut Expiry) -> Result<Vec<Vec<u8>>, redb::Error> {
        // An emptied table begins again in its new id.
        let at = expiry.at.take().filter(|at| at.starts_with(&record.id.to_be_bytes()));
        let from = match at {
            Some(at) => Bound::Excluded(at),
            None => Bound::Included(changed_key(record.id, record.deleted_from, "")),
        };
        let end = end_of(record.id);
        let mut gone = Vec::new();
        expiry.done = true;
        for (looked, entry) in self.changed.range::<&[u8]>((as_slice(&from), as_slice(&end)))?.enumerate() {
            let (entry, deleted) = entry?;
            let (offset, _) = split_changed(entry.value())?;
            // Times rise with offsets, but several tombstones may be of one offset where the log was replaced.
            if expiry.kept.is_some_and(|kept| offset > kept) {
                break;
            }
            if looked == STEP {
                expiry.done = false;
                break;
            }
            match deleted.value() {
                Some(time) if time < expiry.before => gone.push(entry.value().to_vec()),
                Some(_) => expiry.kept = Some(offset),
                None => {}
            }
            expiry.at = Some(entry.value().to_vec());
        }
        Ok(gone)
    }

    /// Removes some entries of a lost id. Says whether there are more.
    fn collect(&mut self) -> Result<bool, redb::Error> {
        let Some(id) = self.garbage.first()?.map(|(id, _)| id.value()) else { return Ok(false) };
        let mut room = STEP;
        remove_some(&mut self.rows, id, &mut room)?;
        remove_some(&mut self.changed, id, &mut room)?;
        remove_some(&mut self.deleted, id, &mut room)?;
        if room > 0 {
            self.garbage.remove(id)?;
        }
        Ok(!self.garbage.is_empty()?)
    }
}

/// Removes entries of the table `id` while there is `room`.
fn remove_some<V: Value>(
    table: &mut Table<'_, &'static [u8], V>,
    id: u32,
    room: &mut usize,
) -> Result<(), redb::Error> {
    let (from, end) = (id.to_be_bytes(), end_of(id));
    let bounds = (Bound::Included(from.as_slice()), as_slice(&end));
    // The iterator removes what it yields, and nothing else.
    for entry in table.extract_from_if::<&[u8], _>(bounds, |_, _| true)?.take(*room) {
        entry?;
        *room -= 1;
    }
    Ok(())
}

/// Entries looked at or removed in one transaction, beside its changes.
const STEP: usize = 10_000;
