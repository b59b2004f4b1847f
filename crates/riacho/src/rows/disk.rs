//! The file: its tables, their keys and values, and how it is opened and read.
//!
//! Every table of ours has an id in the file, which it loses when it is emptied. Numbers in keys are big-endian, so that
//! the order of bytes is theirs; those in values are little-endian. `CHANGED` has one entry for each row and each
//! tombstone, at its last change.

use super::{LogEnd, Row, RowRef, RowsSettings, clamp, corrupt, overlay::Emptied};
use crate::{
    error::{Error, ErrorKind},
    log::store::{Disk, StdDisk},
};
use redb::{
    AccessGuard, Builder, Database, DatabaseError, ReadOnlyTable, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, TableDefinition,
};
use riacho_core::{name::StreamName, position::Offset, time::Millis};
use std::{
    io,
    ops::Bound,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where the rows are kept: a file of the real disk, or one that fails as tests want.
pub trait RowsFile: Send {
    /// Opens it, or makes it.
    ///
    /// # Errors
    /// What redb says.
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError>;
    /// Bytes that may be had, as far as that is known without taking them.
    ///
    /// # Errors
    /// What the system says.
    fn room(&self) -> io::Result<u64>;
    /// What people call it.
    fn label(&self) -> String;
}

/// The file `rows.redb` of a directory.
#[derive(Debug)]
pub struct FileOf {
    disk: StdDisk,
    path: PathBuf,
}

impl FileOf {
    /// The file of `directory`, which is created where it is not there.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be.
    pub fn new(directory: &Path) -> Result<Self, Error> {
        let disk = StdDisk::new(directory).map_err(|err| {
            let op = format!("create the directory {}", directory.display());
            Error::new(ErrorKind::Unavailable, op).caused_by(err)
        })?;
        Ok(Self { disk, path: directory.join(FILE_NAME) })
    }
}

impl RowsFile for FileOf {
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        let there = self.path.exists();
        let database = builder.create(&self.path)?;
        if !there {
            self.disk.sync_dir()?;
        }
        Ok(database)
    }

    fn room(&self) -> io::Result<u64> {
        self.disk.room()
    }

    fn label(&self) -> String {
        self.path.display().to_string()
    }
}

/// What the file says of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record {
    /// Its id in the file; 0 before it has one.
    pub id: u32,
    pub rows: u64,
    pub bytes: u64,
    pub tombstones: u64,
    pub newest: Offset,
    pub floor: Offset,
    pub emptied: Emptied,
    /// No tombstone is of an earlier offset.
    pub deleted_from: Offset,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            id: 0,
            rows: 0,
            bytes: 0,
            tombstones: 0,
            newest: 0,
            floor: 0,
            emptied: Emptied::default(),
            deleted_from: Offset::MAX,
        }
    }
}

pub(super) type RecordValue = (u32, u64, u64, u64, u64, u64, u64, u64, u64);

impl Record {
    pub(super) fn value(&self) -> RecordValue {
        let Emptied { offset, time } = self.emptied;
        let counts = (self.rows, self.bytes, self.tombstones);
        let (newest, floor) = (self.newest, self.floor);
        (self.id, counts.0, counts.1, counts.2, newest, floor, offset, time, self.deleted_from)
    }

    fn of(value: RecordValue) -> Self {
        let (id, rows, bytes, tombstones, newest, floor, offset, time, deleted_from) = value;
        let emptied = Emptied { offset, time };
        Self { id, rows, bytes, tombstones, newest, floor, emptied, deleted_from }
    }
}

/// What is known of the file when it is open.
pub(super) struct Loaded {
    pub records: Vec<(StreamName, Record)>,
    pub applied: Offset,
    /// Whether rows of emptied tables are still there.
    pub garbage: bool,
    pub reads: Arc<Reads>,
}

/// Opens the file for the log that ends at `log`, and loads all but the rows.
pub(super) fn open(
    file: &dyn RowsFile,
    settings: &RowsSettings,
    log: LogEnd,
) -> Result<(Database, Loaded), Error> {
    let opened = guarded(|| {
        let database = open_raw(file, settings)?;
        make(&database, log)?;
        clamp::to(&database, log, &file.label())?;
        let loaded = load(&database)?;
        Ok((database, loaded))
    });
    opened.map_err(|err| explain(err, "open", &file.label()))
}

/// Opens the file again, after a failure.
pub(super) fn reopen(
    file: &dyn RowsFile,
    settings: &RowsSettings,
) -> Result<(Database, Loaded), redb::Error> {
    guarded(|| {
        let database = open_raw(file, settings)?;
        let loaded = load(&database)?;
        Ok((database, loaded))
    })
}

/// Runs `work`; a panic of redb, which trusts what it has written, is damage.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(redb::Error::Corrupted("redb panicked over what it read".into())))
}

fn open_raw(file: &dyn RowsFile, settings: &RowsSettings) -> Result<Database, redb::Error> {
    let mut builder = Builder::new();
    builder.set_cache_size(settings.cache_bytes);
    Ok(file.open(&builder)?)
}

// Readers find every table there, however empty.
fn make(database: &Database, log: LogEnd) -> Result<(), redb::Error> {
    let reading = database.begin_read()?;
    if reading.list_tables()?.next().is_some() {
        let format = reading.open_table(META)?.get(FORMAT)?.map(|value| value.value());
        return match format {
            Some(FORMAT_NOW) => Ok(()),
            other => Err(redb::Error::Corrupted(format!("its format is {other:?}, not {FORMAT_NOW}"))),
        };
    }
    drop(reading);
    let mut writing = database.begin_write()?;
    writing.set_quick_repair(true);
    {
        writing.open_table(TABLES)?;
        writing.open_table(ROWS)?;
        writing.open_table(CHANGED)?;
        writing.open_table(DELETED)?;
        writing.open_table(GARBAGE)?;
        let mut meta = writing.open_table(META)?;
        meta.insert(FORMAT, FORMAT_NOW)?;
        meta.insert(EPOCH, log.epoch.0.get())?;
        meta.insert(APPLIED, 0)?;
        meta.insert(NEXT_ID, 1)?;
    }
    Ok(writing.commit()?)
}

pub(super) fn load(database: &Database) -> Result<Loaded, redb::Error> {
    let reading = database.begin_read()?;
    let mut records = Vec::new();
    for entry in reading.open_table(TABLES)?.iter()? {
        let (name, record) = entry?;
        let name = StreamName::any(name.value())
            .map_err(|err| redb::Error::Corrupted(format!("the name of a table {err}")))?;
        records.push((name, Record::of(record.value())));
    }
    let applied = reading.open_table(META)?.get(APPLIED)?.map_or(0, |value| value.value());
    let garbage = !reading.open_table(GARBAGE)?.is_empty()?;
    Ok(Loaded { records, applied, garbage, reads: Arc::new(Reads::begin(database)?) })
}

/// The file as of one commit, for readers of any number.
pub(super) struct Reads {
    rows: ReadOnlyTable<&'static [u8], &'static [u8]>,
    changed: ReadOnlyTable<&'static [u8], Option<u64>>,
}

/// An entry of the index: a key's last change, and when, if that was its deletion.
pub(super) type IndexEntry = (Offset, Box<str>, Option<Millis>);

impl Reads {
    pub(super) fn begin(database: &Database) -> Result<Self, redb::Error> {
        let reading = database.begin_read()?;
        Ok(Self { rows: reading.open_table(ROWS)?, changed: reading.open_table(CHANGED)? })
    }

    /// The row of `key` in the table `id`.
    pub(super) fn row(&self, id: u32, key: &str) -> Result<Option<Row>, redb::Error> {
        let Some(value) = self.rows.get(&*row_key(id, key))? else { return Ok(None) };
        Ok(Some(row(key, value.value())?))
    }

    /// The table's rows after `after`, in order of keys.
    pub(super) fn rows(
        &self,
        id: u32,
        after: Option<&str>,
    ) -> Result<impl Iterator<Item = Result<Stored, redb::Error>> + use<>, redb::Error> {
        let from = match after {
            Some(after) => Bound::Excluded(row_key(id, after)),
            None => Bound::Included(id.to_be_bytes().to_vec()),
        };
        let end = end_of(id);
        let found = self.rows.range::<&[u8]>((from.as_ref().map(Vec::as_slice), as_slice(&end)))?;
        Ok(found.map(|entry| {
            let (key, value) = entry?;
            Ok(Stored { key, value })
        }))
    }

    /// The table's index after the offset `after`.
    pub(super) fn changed(
        &self,
        id: u32,
        after: Offset,
    ) -> Result<impl Iterator<Item = Result<IndexEntry, redb::Error>> + use<>, redb::Error> {
        let from = match after.checked_add(1) {
            Some(first) => Bound::Included(changed_key(id, first, "")),
            None => end_of(id).map(|end| end),
        };
        let end = end_of(id);
        let found = self.changed.range::<&[u8]>((from.as_ref().map(Vec::as_slice), as_slice(&end)))?;
        Ok(found.map(|entry| {
            let (key, deleted) = entry?;
            let (offset, key) = split_changed(key.value())?;
            Ok((offset, key.into(), deleted.value()))
        }))
    }
}

/// A row as it lies in the file.
pub(super) struct Stored {
    key: AccessGuard<'static, &'static [u8]>,
    value: AccessGuard<'static, &'static [u8]>,
}

impl Stored {
    /// Its key.
    pub(super) fn key(&self) -> Result<&str, redb::Error> {
        text(self.key.value().get(ID_BYTES..))
    }

    /// All of it.
    pub(super) fn row(&self) -> Result<RowRef<'_>, redb::Error> {
        let (offset, time, value) = split_row(self.value.value())?;
        Ok(RowRef { key: self.key()?, value: text(Some(value))?, offset, time })
    }
}

fn row(key: &str, value: &[u8]) -> Result<Row, redb::Error> {
    let (offset, time, value) = split_row(value)?;
    Ok(Row { key: key.into(), value: text(Some(value))?.into(), offset, time })
}

/// The key of a row, or of a tombstone by key.
pub(super) fn row_key(id: u32, key: &str) -> Vec<u8> {
    [&id.to_be_bytes(), key.as_bytes()].concat()
}

/// The key of the index.
pub(super) fn changed_key(id: u32, offset: Offset, key: &str) -> Vec<u8> {
    [&id.to_be_bytes()[..], &offset.to_be_bytes(), key.as_bytes()].concat()
}

/// The end of all keys of the table `id`.
pub(super) fn end_of(id: u32) -> Bound<Vec<u8>> {
    id.checked_add(1).map_or(Bound::Unbounded, |next| Bound::Excluded(next.to_be_bytes().to_vec()))
}

/// A bound as redb wants it.
pub(super) fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

/// Offset and key of an entry of the index.
pub(super) fn split_changed(bytes: &[u8]) -> Result<(Offset, &str), redb::Error> {
    let (offset, key) = bytes.get(ID_BYTES..).and_then(<[u8]>::split_first_chunk).ok_or_else(short)?;
    Ok((Offset::from_be_bytes(*offset), text(Some(key))?))
}

/// Offset, time and value of a row.
pub(super) fn split_row(bytes: &[u8]) -> Result<(Offset, Millis, &[u8]), redb::Error> {
    let (offset, rest) = bytes.split_first_chunk().ok_or_else(short)?;
    let (time, value) = rest.split_first_chunk().ok_or_else(short)?;
    Ok((Offset::from_le_bytes(*offset), Millis::from_le_bytes(*time), value))
}

fn text(bytes: Option<&[u8]>) -> Result<&str, redb::Error> {
    std::str::from_utf8(bytes.ok_or_else(short)?)
        .map_err(|_| redb::Error::Corrupted("a row is not UTF-8".into()))
}

fn short() -> redb::Error {
    redb::Error::Corrupted("an entry is too short".into())
}

/// The failure of `doing` as callers see it.
pub(super) fn explain(err: redb::Error, doing: &str, label: &str) -> Error {
    use redb::Error as E;
    let kind = match &err {
        E::Corrupted(_) | E::UpgradeRequired(_) | E::TableTypeMismatch { .. } | E::TableDoesNotExist(_) => {
            return corrupt(label).caused_by(err);
        }
        E::TypeDefinitionChanged { .. } | E::TableIsMultimap(_) | E::TableIsNotMultimap(_) => {
            return corrupt(label).caused_by(err);
        }
        E::Io(io) if matches!(io.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
            return corrupt(label).caused_by(err);
        }
        E::DatabaseAlreadyOpen | E::LockProtocolMismatch => {
            let op = format!("open {label}: another process has it open");
            return Error::new(ErrorKind::Unavailable, op).caused_by(err);
        }
        err if is_full(err) => ErrorKind::Full,
        E::Io(io) if matches!(io.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound) => {
            ErrorKind::Unavailable
        }
        _ => ErrorKind::Failed,
    };
    Error::new(kind, format!("{doing} {label}")).caused_by(err)
}

/// Whether the failure is that there is no room.
pub(super) fn is_full(err: &redb::Error) -> bool {
    matches!(err, redb::Error::Io(io)
        if matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

/// Records by the names of the tables' streams.
pub(super) const TABLES: TableDefinition<&str, RecordValue> = TableDefinition::new("tables");
/// Id and key to the offset and time of the last change, and the value.
pub(super) const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
/// Id, offset and key of each last change; with the time where it was a deletion.
pub(super) const CHANGED: TableDefinition<&[u8], Option<u64>> = TableDefinition::new("changed");
/// Id and key of each tombstone to its offset, to find it when the key comes back.
pub(super) const DELETED: TableDefinition<&[u8], u64> = TableDefinition::new("deleted");
/// Ids that tables lost, whose entries are to be removed.
pub(super) const GARBAGE: TableDefinition<u32, ()> = TableDefinition::new("garbage");
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

pub(super) const FORMAT: &str = "format";
pub(super) const EPOCH: &str = "epoch";
pub(super) const APPLIED: &str = "applied";
pub(super) const NEXT_ID: &str = "next_id";

const FORMAT_NOW: u64 = 1;
const ID_BYTES: usize = 4;
const FILE_NAME: &str = "rows.redb";
