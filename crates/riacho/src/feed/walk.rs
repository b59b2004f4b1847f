//! The way of a reader of tables to its view, from nothing or from far behind: all rows, or the newest state of each row
//! that changed, as one group of messages of which only the last has a cursor.
//!
//! A walk holds nothing open: each helping reads a few rows as they are now. What changes meanwhile is told before the
//! end, so that the group as a whole is the state at its cursor.

use crate::{
    error::Error,
    log::Log,
    rows::{Changed, RowRef, Snapshot},
};
use riacho_core::{
    event::Operation,
    name::{Selection, StreamName},
    position::{Epoch, Offset, Position},
    table::{
        fold::Fold,
        message::{Mark, Message},
        terms::Terms,
    },
    time::Millis,
    transport::{Control, Form, ResetReason, Resume},
};

/// Where a reader stands on its way.
#[derive(Clone, Debug)]
pub struct Walk {
    tables: Vec<Table>,
    /// The table whose rows are being read.
    at: usize,
    /// The last row read of it; none before the first.
    after: Option<Box<str>>,
    /// The reader's cursor when it began; none where it had none that held.
    from: Option<Offset>,
    /// The message that comes next, held back until it is known whether it is the last.
    held: Option<Held>,
    /// Whether a message before it was written: then all of them are one transaction.
    said: bool,
    /// Whether the reader has exactly the state at each table's `upto`, and nothing newer of any row.
    exact: bool,
}

/// One table of a walk.
#[derive(Clone, Debug)]
struct Table {
    name: StreamName,
    /// Whether all its rows are read, and not only what changed.
    whole: bool,
    /// Whether that has begun,
    begun: bool,
    /// and whether it is done.
    done: bool,
    /// Changes up to here are told.
    upto: Offset,
}

#[derive(Clone, Debug)]
struct Held {
    table: StreamName,
    key: Box<str>,
    operation: Operation,
    value: Option<Box<str>>,
    old_value: Option<Box<str>>,
    time: Millis,
}

/// To whom a walk tells, and how.
#[derive(Clone, Copy)]
pub(super) struct Audience<'a> {
    pub log: &'a Log,
    pub form: Form,
    pub terms: &'a Terms,
    /// About so many bytes of messages at once.
    pub bytes_max: usize,
    /// Whether the end of the group is a place to resume from.
    pub cursor: bool,
}

/// What one step of a walk gave.
#[derive(Debug)]
pub(super) enum Step {
    /// There is more to come.
    More,
    /// The group is complete: its reader has the state of its tables at this offset.
    Done(Offset),
}

impl Walk {
    /// The way from nothing: all rows of all tables of `selection`.
    pub fn whole(selection: &Selection) -> Self {
        Self::new(selection, None, |_| true)
    }

    /// The same beside streams that are read from `from` on.
    pub fn whole_beside(selection: &Selection, from: Offset) -> Self {
        Self::new(selection, Some(from), |_| true)
    }

    /// The way from `from`: what changed since, of tables that are not `lost`; of those all rows.
    pub fn since(selection: &Selection, from: Offset, lost: &[String]) -> Self {
        Self::new(selection, Some(from), |name| lost.iter().any(|lost| lost == name.as_str()))
    }

    fn new(selection: &Selection, from: Option<Offset>, whole: impl Fn(&StreamName) -> bool) -> Self {
        let table = |name: &StreamName| Table {
            name: name.clone(),
            whole: whole(name),
            begun: false,
            done: false,
            upto: from.unwrap_or(0),
        };
        let tables = selection.tables().map(table).collect();
        Self { tables, at: 0, after: None, from, held: None, said: false, exact: true }
    }

    /// Whether its reader had no cursor when it began.
    pub(super) fn is_fresh(&self) -> bool {
        self.from.is_none()
    }

    /// Whether its reader is given no cursor before it has all rows of all tables.
    pub fn is_whole(&self) -> bool {
        self.tables.iter().all(|table| table.whole)
    }

    /// The table, where it reads one from nothing and has not begun.
    pub(super) fn wants_snapshot(&self) -> Option<&StreamName> {
        match &*self.tables {
            [Table { name, whole: true, begun: false, .. }] => Some(name),
            _ => None,
        }
    }

    /// Goes on; writes the next messages to `out`, not framed.
    ///
    /// # Errors
    /// Where the rows cannot be read.
    pub(super) fn go_on(&mut self, to: Audience<'_>, out: &mut Vec<u8>) -> Result<Step, Error> {
        let Audience { log, form, terms, bytes_max, .. } = to;
        let mut scans = SCANS_MAX;
        while let Some(table) = self.tables.get_mut(self.at) {
            if !table.whole || table.done {
                self.at += 1;
                continue;
            }
            let (rows, published) = log.rows_of(&table.name)?;
            if !table.begun {
                (table.begun, table.upto) = (true, published);
                form.mark(out, None, table.name.table().unwrap_or_default(), Mark::SnapshotStart);
            }
            let visit = |row: RowRef<'_>| write_row(form, terms, &table.name, &row, out);
            let visited = rows.visit(self.after.as_deref(), bytes_max, visit)?;
            // Later pages are of later moments.
            self.exact = false;
            self.after = visited.last;
            if visited.done {
                table.done = true;
                (self.at, self.after) = (self.at + 1, None);
            }
            // Where few rows are shown more are looked at, within bounds.
            scans -= 1;
            if out.len() >= bytes_max || scans == 0 {
                return Ok(Step::More);
            }
        }
        self.catch_up(to, out)
    }

    // Tells what changed: from memory where it is all there, else by the index of last changes, page by page.
    fn catch_up(&mut self, to: Audience<'_>, out: &mut Vec<u8>) -> Result<Step, Error> {
        let Audience { log, form, bytes_max, cursor, .. } = to;
        let places: Vec<(StreamName, Offset)> =
            self.tables.iter().map(|table| (table.name.clone(), table.upto)).collect();
        if let Some((fold, published)) = log.changes_in_memory(&places, FOLD_BYTES_MAX) {
            // All of them, so it does not matter what the rows have forgotten. Beside streams the reader's cursor is theirs,
            // and its tables may be ahead of it.
            self.exact &= cursor;
            self.tell(&fold, to, out);
            self.finish(log.position(published), form, cursor, out);
            return Ok(Step::Done(published));
        }
        for at in 0..self.tables.len() {
            let Some(table) = self.tables.get(at).cloned() else { break };
            let (rows, published) = log.rows_of(&table.name)?;
            if rows.floor() > table.upto {
                self.start_over(at, log, &rows, form, out);
                return Ok(Step::More);
            }
            // A row that changed twice may have its turn only on a later page.
            self.exact = false;
            let page = rows.changed(table.upto, bytes_max)?;
            for changed in page.changes {
                self.tell_changed(&table.name, changed, to, out);
            }
            if let Some(table) = self.tables.get_mut(at) {
                table.upto = if page.done { published } else { page.upto };
            }
            if page.done && self.tables.len() == 1 {
                // The last page is of one moment, and all that changed before it is told.
                self.finish(log.position(published), form, cursor, out);
                return Ok(Step::Done(published));
            }
            if out.len() >= bytes_max || !page.done {
                return Ok(Step::More);
            }
        }
        Ok(Step::More)
    }

    // All rows of a table anew: there is no telling what became of those that the reader has.
    fn start_over(&mut self, at: usize, log: &Log, rows: &Snapshot, form: Form, out: &mut Vec<u8>) {
        let Some(table) = self.tables.get_mut(at) else { return };
        if !table.whole {
            let control = Control::Reset {
                reason: ResetReason::Trimmed,
                streams: vec![table.name.to_string()],
                resume: Resume::Here,
            };
            form.plain_control(out, log.position(self.from.unwrap_or(rows.floor())), &control);
        }
        (table.whole, table.begun, table.done) = (true, false, false);
        // What was still to be said of it is of rows that may be gone.
        self.held.take_if(|held| held.table == table.name);
        (self.at, self.after) = (at, None);
    }

    fn tell(&mut self, fold: &Fold, to: Audience<'_>, out: &mut Vec<u8>) {
        for (event, shown) in if self.exact { fold.shown(to.terms) } else { fold.told(to.terms) } {
            let held = Held {
                table: event.stream.clone(),
                key: event.change.as_ref().map(|change| change.key.clone()).unwrap_or_default(),
                operation: shown.operation,
                value: shown.value.map(Into::into),
                old_value: shown.old_value.map(Into::into),
                time: event.time,
            };
            self.say(held, to, out);
        }
    }

    fn tell_changed(&mut self, table: &StreamName, changed: Changed, to: Audience<'_>, out: &mut Vec<u8>) {
        let value = changed.value.as_deref().and_then(|row| to.terms.show_row(row)).map(Box::from);
        // What the reader has of the row is not known: that it is now this, or is not there, holds in any case.
        let operation = if value.is_some() { Operation::Update } else { Operation::Delete };
        let Changed { key, time, .. } = changed;
        self.say(Held { table: table.clone(), key, operation, value, old_value: None, time }, to, out);
    }

    fn say(&mut self, next: Held, to: Audience<'_>, out: &mut Vec<u8>) {
        if let Some(held) = self.held.replace(next) {
            held.write(to.form, None, Some(&self.txid(to.log.epoch())), false, out);
            self.said = true;
        }
    }

    fn finish(&mut self, at: Position, form: Form, cursor: bool, out: &mut Vec<u8>) {
        let whole = self.tables.iter().filter(|table| table.whole).count();
        if let Some(held) = self.held.take() {
            let txid = self.said.then(|| self.txid(at.epoch));
            let id = (cursor && whole == 0).then_some(at);
            held.write(form, id, txid.as_deref(), true, out);
        }
        let ends = self.tables.iter().filter(|table| table.whole);
        for (i, table) in ends.enumerate() {
            let id = (cursor && i + 1 == whole).then_some(at);
            form.mark(out, id, table.name.table().unwrap_or_default(), Mark::SnapshotEnd);
        }
    }

    // What the group calls itself, as a transaction: all of it is to be applied at once.
    fn txid(&self, epoch: Epoch) -> String {
        format!("catch-up-{}", Position { epoch, offset: self.from.unwrap_or(0) })
    }
}

impl Held {
    fn write(&self, form: Form, id: Option<Position>, txid: Option<&str>, last: bool, out: &mut Vec<u8>) {
        let message = Message {
            table: self.table.table().unwrap_or_default(),
            key: &self.key,
            operation: self.operation,
            value: self.value.as_deref(),
            old_value: self.old_value.as_deref(),
            txid,
            last,
            time: self.time,
        };
        form.message(out, id, &message);
    }
}

/// Writes a row of a snapshot, unless it is not shown.
pub(super) fn write_row(form: Form, terms: &Terms, table: &StreamName, row: &RowRef<'_>, out: &mut Vec<u8>) {
    let Some(value) = terms.show_row(row.value) else { return };
    let message = Message {
        table: table.table().unwrap_or_default(),
        key: row.key,
        operation: Operation::Insert,
        value: Some(&value),
        old_value: None,
        txid: None,
        last: true,
        time: row.time,
    };
    form.message(out, None, &message);
}

// Looks at the rows in one helping, each at as many as make one.
const SCANS_MAX: usize = 16;
// Changes that are folded in memory at once; of more the index gives the newest.
const FOLD_BYTES_MAX: usize = 128 * 1024;
