//! What the tests share: a file in memory, changes, recounts.

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend,
    TableDefinition,
};
use riacho::rows::{Changed, LogEnd, Row, Rows, RowsFile, RowsSettings, Snapshot};
use riacho_core::{
    event::{Change, Data, Event, Operation},
    name::StreamName,
    position::{Epoch, Offset},
};
use std::{
    collections::BTreeMap,
    io,
    num::NonZeroU64,
    path::Path,
    sync::{Arc, Mutex},
};

/// A file in memory: all that was written, and all that was synced.
#[derive(Clone, Default, Debug)]
pub(crate) struct MemoryFile(Arc<Mutex<Image>>);

#[derive(Clone, Default, Debug)]
struct Image {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// What every write and sync says.
    fault: Option<io::ErrorKind>,
    /// The sync that finds no room, counted from the next, 0.
    full_sync: Option<usize>,
    /// What is said to be free.
    room: Option<u64>,
    opened: usize,
}

impl MemoryFile {
    /// A file of what the disk has after a crash at this very moment: all that was written, or only what was synced.
    pub(crate) fn crashed(&self, power: bool) -> Self {
        let image = self.0.lock().unwrap();
        let bytes = if power { image.synced.clone() } else { image.now.clone() };
        Self(Arc::new(Mutex::new(Image { now: bytes.clone(), synced: bytes, ..Image::default() })))
    }

    /// From now on every write and sync fails, or none.
    pub(crate) fn fail(&self, fault: Option<io::ErrorKind>) {
        self.0.lock().unwrap().fault = fault;
    }

    /// One sync finds no room, after `n` that do.
    pub(crate) fn fail_sync_after(&self, n: usize) {
        self.0.lock().unwrap().full_sync = Some(n);
    }

    /// How much room is said to be free.
    pub(crate) fn room(&self, room: Option<u64>) {
        self.0.lock().unwrap().room = room;
    }

    /// How often it was opened.
    pub(crate) fn opened(&self) -> usize {
        self.0.lock().unwrap().opened
    }
}

impl RowsFile for MemoryFile {
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        self.0.lock().unwrap().opened += 1;
        builder.create_with_backend(self.clone())
    }

    fn room(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().room.unwrap_or(u64::MAX))
    }

    fn label(&self) -> String {
        "rows in memory".into()
    }
}

impl StorageBackend for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let image = self.0.lock().unwrap();
        let from = image.now.get(offset as usize..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().now.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut image = self.0.lock().unwrap();
        if let Some(fault) = image.fault {
            return Err(fault.into());
        }
        match image.full_sync {
            Some(0) => {
                image.full_sync = None;
                return Err(io::ErrorKind::StorageFull.into());
            }
            ref mut left => *left = left.map(|left| left - 1),
        }
        image.synced = image.now.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut image = self.0.lock().unwrap();
        if let Some(fault) = image.fault {
            return Err(fault.into());
        }
        let offset = offset as usize;
        image.now[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// Small bounds.
pub(crate) fn settings() -> RowsSettings {
    RowsSettings { cache_bytes: 1 << 20, pending_bytes_max: 64 << 20 }
}

/// A log of the epoch `epoch`, whose newest offset is `last`.
pub(crate) fn log(epoch: u64, last: Offset) -> LogEnd {
    LogEnd { epoch: Epoch(NonZeroU64::new(epoch).unwrap()), last }
}

/// Opens rows in memory for the log of epoch 1.
#[track_caller]
pub(crate) fn open(file: &MemoryFile, last: Offset) -> Rows {
    Rows::open_in(Box::new(file.clone()), settings(), log(1, last))
        .unwrap_or_else(|err| panic!("{}", err.chain()))
}

/// Opens rows in a directory.
#[track_caller]
pub(crate) fn open_at(path: &Path, log: LogEnd) -> Rows {
    Rows::open(path, settings(), log).unwrap_or_else(|err| panic!("{}", err.chain()))
}

/// The stream of a table.
pub(crate) fn table(name: &str) -> StreamName {
    StreamName::of_table(name).unwrap()
}

/// A writer that knows the rows there are, as the log's does.
#[derive(Clone, Default)]
pub(crate) struct Writer {
    pub(crate) rows: BTreeMap<(String, String), String>,
    pub(crate) last: Offset,
}

impl Writer {
    /// A change alone: `value` becomes the row's, or the row goes.
    pub(crate) fn change(&mut self, table_name: &str, key: &str, value: Option<&str>) -> Option<Arc<Event>> {
        let at = (table_name.to_owned(), key.to_owned());
        let old = match value {
            Some(value) => self.rows.insert(at, value.to_owned()),
            None => Some(self.rows.remove(&at)?),
        };
        self.last += 1;
        let operation = match (value, &old) {
            (None, _) => Operation::Delete,
            (Some(_), Some(_)) => Operation::Update,
            (Some(_), None) => Operation::Insert,
        };
        let change = Change { key: key.into(), operation, old: old.map(Into::into), txid: None, last: true };
        Some(Arc::new(Event {
            offset: self.last,
            time: time(self.last),
            stream: table(table_name),
            event_type: None,
            data: Data { text: value.unwrap_or_default().into(), json: value.is_some() },
            change: Some(Box::new(change)),
        }))
    }

    /// The same of a table `t`; it must be possible.
    #[track_caller]
    pub(crate) fn put(&mut self, key: &str, value: &str) -> Arc<Event> {
        self.change("t", key, Some(value)).unwrap()
    }

    /// The deletion of a row of `t`, which is there.
    #[track_caller]
    pub(crate) fn delete(&mut self, key: &str) -> Arc<Event> {
        self.change("t", key, None).unwrap()
    }

    /// Empties a table.
    pub(crate) fn empty(&mut self, table: &str) {
        self.rows.retain(|(of, _), _| of != table);
    }
}

/// The time of the event at `offset`.
pub(crate) fn time(offset: Offset) -> u64 {
    offset * 1000
}

/// All rows, page by page.
#[track_caller]
pub(crate) fn all(snapshot: &Snapshot, page_bytes: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let after = rows.last().map(|row| row.key.clone());
        let page =
            snapshot.rows(after.as_deref(), page_bytes).unwrap_or_else(|err| panic!("{}", err.chain()));
        assert!(page.done || !page.rows.is_empty(), "a page moves on");
        rows.extend(page.rows);
        if page.done {
            return rows;
        }
    }
}

/// All that changed, page by page.
#[track_caller]
pub(crate) fn all_changed(snapshot: &Snapshot, after: Offset, page_bytes: usize) -> Vec<Changed> {
    let (mut changes, mut at) = (Vec::new(), after);
    loop {
        let page = snapshot.changed(at, page_bytes).unwrap_or_else(|err| panic!("{}", err.chain()));
        assert!(page.done || page.upto > at, "a page moves on from {at}");
        changes.extend(page.changes);
        at = page.upto;
        if page.done {
            assert_eq!(at, after.max(snapshot.newest()));
            return changes;
        }
    }
}

/// Keys and values.
pub(crate) fn pairs(rows: &[Row]) -> Vec<(&str, &str)> {
    rows.iter().map(|row| (&*row.key, &*row.value)).collect()
}

/// Keys, offsets, and values where there are any.
pub(crate) fn states(changes: &[Changed]) -> Vec<(&str, Offset, Option<&str>)> {
    changes.iter().map(|changed| (&*changed.key, changed.offset, changed.value.as_deref())).collect()
}

/// How many entries there are in a file that nobody has open: rows, index, tombstones by key, lost ids.
pub(crate) fn entries(file: &MemoryFile) -> [u64; 4] {
    let database = file.open(&Builder::new()).unwrap();
    let reading = database.begin_read().unwrap();
    [
        reading.open_table(ROWS).unwrap().len().unwrap(),
        reading.open_table(CHANGED).unwrap().len().unwrap(),
        reading.open_table(DELETED).unwrap().len().unwrap(),
        reading.open_table(GARBAGE).unwrap().len().unwrap(),
    ]
}

/// Counts all again in a file that nobody has open, and compares it with what the file says of each table.
#[track_caller]
pub(crate) fn recount(file: &MemoryFile) {
    let database = file.open(&Builder::new()).unwrap();
    let reading = database.begin_read().unwrap();
    let rows = reading.open_table(ROWS).unwrap();
    let changed = reading.open_table(CHANGED).unwrap();
    let deleted = reading.open_table(DELETED).unwrap();
    for record in reading.open_table(TABLES).unwrap().iter().unwrap() {
        let (name, record) = record.unwrap();
        let (id, row_count, bytes, tombstones, ..) = record.value();
        let (from, end) = (id.to_be_bytes(), (id + 1).to_be_bytes());
        let range = from.as_slice()..end.as_slice();
        let mut counted = (0, 0, 0);
        for row in rows.range::<&[u8]>(range.clone()).unwrap() {
            let (key, value) = row.unwrap();
            counted.0 += 1;
            counted.1 += (key.value().len() - 4 + value.value().len() - 16) as u64;
            let at = [&from, &be(&value.value()[..8])[..], &key.value()[4..]].concat();
            let entry = changed.get(at.as_slice()).unwrap().expect("a row is in the index");
            assert_eq!(entry.value(), None);
        }
        for tombstone in deleted.range::<&[u8]>(range.clone()).unwrap() {
            let (key, offset) = tombstone.unwrap();
            counted.2 += 1;
            let at = [&from, &offset.value().to_be_bytes()[..], &key.value()[4..]].concat();
            let entry = changed.get(at.as_slice()).unwrap().expect("a tombstone is in the index");
            assert!(entry.value().is_some());
        }
        assert_eq!(counted, (row_count, bytes, tombstones), "{}", name.value());
        assert_eq!(changed.range::<&[u8]>(range).unwrap().count() as u64, row_count + tombstones);
    }
}

fn be(le: &[u8]) -> [u8; 8] {
    u64::from_le_bytes(le.try_into().unwrap()).to_be_bytes()
}

type Record = (u32, u64, u64, u64, u64, u64, u64, u64, u64);
const TABLES: TableDefinition<&str, Record> = TableDefinition::new("tables");
const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
const CHANGED: TableDefinition<&[u8], Option<u64>> = TableDefinition::new("changed");
const DELETED: TableDefinition<&[u8], u64> = TableDefinition::new("deleted");
const GARBAGE: TableDefinition<u32, ()> = TableDefinition::new("garbage");
