//! Opening a file whose log is another one now: it was replaced, repaired, or restored from a backup.
//!
//! Rows are the user's data and stay. Their last changes may be of offsets that the log will give again, or that mean
//! something else in it, so none stays above its newest, and no cursor from before is good for a resume.

use super::{
    LogEnd,
    disk::{
        APPLIED, CHANGED, DELETED, EPOCH, META, ROWS, Record, TABLES, as_slice, changed_key, end_of, load,
        row_key, split_changed, split_row,
    },
};
use redb::{Database, ReadableDatabase, ReadableTable};
use riacho_core::position::Offset;

/// Makes the file one of the log that ends at `log`, unless it is that already.
pub(super) fn to(database: &Database, log: LogEnd, label: &str) -> Result<(), redb::Error> {
    let epoch = database.begin_read()?.open_table(META)?.get(EPOCH)?.map_or(0, |value| value.value());
    let loaded = load(database)?;
    if epoch == log.epoch.0.get() && loaded.applied <= log.last {
        return Ok(());
    }
    tracing::warn!(
        file = label,
        applied = loaded.applied,
        log_last = log.last,
        same_epoch = epoch == log.epoch.0.get(),
        "the log is not the one the rows are from; rows are kept, cursors from before are not honoured"
    );
    // Reading on would keep every page this frees.
    drop(loaded.reads);
    for (_, record) in &loaded.records {
        while step(database, record.id, log.last)? {}
    }
    // Last, and at once: until then the next start begins again.
    let mut writing = database.begin_write()?;
    writing.set_quick_repair(true);
    {
        let mut tables = writing.open_table(TABLES)?;
        for (name, record) in &loaded.records {
            tables.insert(name.as_str(), clamped(record, log.last).value())?;
        }
        let mut meta = writing.open_table(META)?;
        meta.insert(EPOCH, log.epoch.0.get())?;
        // What the log has beyond that is brought by it.
        meta.insert(APPLIED, loaded.applied.min(log.last))?;
    }
    Ok(writing.commit()?)
}

fn clamped(record: &Record, last: Offset) -> Record {
    let mut record = *record;
    record.newest = last;
    record.floor = last;
    record.emptied.offset = record.emptied.offset.min(last);
    if record.tombstones > 0 {
        record.deleted_from = record.deleted_from.min(last);
    }
    record
}

/// Brings some last changes of the table `id` down to `last`; says whether there may be more.
fn step(database: &Database, id: u32, last: Offset) -> Result<bool, redb::Error> {
    let Some(above) = last.checked_add(1) else { return Ok(false) };
    let mut writing = database.begin_write()?;
    writing.set_quick_repair(true);
    let more;
    {
        let mut rows = writing.open_table(ROWS)?;
        let mut changed = writing.open_table(CHANGED)?;
        let mut deleted = writing.open_table(DELETED)?;
        let (from, end) = (changed_key(id, above, ""), end_of(id));
        let bounds = (std::ops::Bound::Included(from.as_slice()), as_slice(&end));
        let mut found = Vec::new();
        for entry in changed.range::<&[u8]>(bounds)?.take(STEP) {
            let (at, state) = entry?;
            found.push((at.value().to_vec(), state.value()));
        }
        more = found.len() == STEP;
        for (at, state) in found {
            let (_, key) = split_changed(&at)?;
            changed.remove(at.as_slice())?;
            changed.insert(changed_key(id, last, key).as_slice(), state)?;
            let row_key = row_key(id, key);
            if state.is_some() {
                deleted.insert(row_key.as_slice(), last)?;
                continue;
            }
            let row = rows.get(row_key.as_slice())?.map(|value| value.value().to_vec());
            if let Some(row) = row {
                let (_, time, value) = split_row(&row)?;
                let row = [&last.to_le_bytes()[..], &time.to_le_bytes(), value].concat();
                rows.insert(row_key.as_slice(), row.as_slice())?;
            }
        }
    }
    writing.commit()?;
    Ok(more)
}

/// Entries in one transaction.
const STEP: usize = 10_000;
