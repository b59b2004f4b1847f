//! Random histories with crashes, against plain maps.

use super::support::{MemoryFile, Writer, all, all_changed, open, recount, states, table, time};
use proptest::prelude::*;
use riacho::rows::{Rows, Snapshot};
use riacho_core::{event::Event, position::Offset};
use std::{collections::BTreeMap, sync::Arc};

#[derive(Clone, Debug)]
enum Step {
    /// A transaction: table, key, and the size of the value unless the row goes.
    Publish(Vec<(u8, u8, Option<u8>)>),
    /// A table is emptied, up to its newest change or the log's.
    Empty(u8, bool),
    /// Tombstones of a table that are so many offsets old go.
    Expire(u8, u8),
    Settle,
    /// Nothing is applied until the next expiry, settling, close or crash.
    Block,
    Hold(u8),
    Close,
    /// The process dies, or the power goes with it.
    Crash(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let change = (0..2u8, 0..12u8, prop::option::weighted(0.7, 0..200u8));
    prop_oneof![
        12 => prop::collection::vec(change, 1..8).prop_map(Step::Publish),
        1 => (0..2u8, any::<bool>()).prop_map(|(table, all)| Step::Empty(table, all)),
        2 => (0..2u8, 0..30u8).prop_map(|(table, age)| Step::Expire(table, age)),
        3 => Just(Step::Settle),
        3 => Just(Step::Block),
        3 => (0..2u8).prop_map(Step::Hold),
        1 => Just(Step::Close),
        2 => any::<bool>().prop_map(Step::Crash),
    ]
}

/// What must be true of a table.
#[derive(Clone, Default, Debug)]
struct Model {
    rows: BTreeMap<String, (String, Offset)>,
    tombstones: BTreeMap<String, Offset>,
    newest: Offset,
    floor: Offset,
}

impl Model {
    fn change(&mut self, event: &Event) {
        let key = event.change.as_ref().unwrap().key.to_string();
        self.rows.remove(&key);
        self.tombstones.remove(&key);
        self.newest = event.offset;
        if event.data.json {
            self.rows.insert(key, (event.data.text.to_string(), event.offset));
        } else {
            self.tombstones.insert(key, event.offset);
        }
    }

    fn empty(&mut self, upto: Offset) {
        *self = Self { newest: upto, floor: upto, ..Self::default() };
    }

    fn expire(&mut self, before: u64) {
        let gone = self.tombstones.values().copied().filter(|offset| time(*offset) < before).max();
        self.tombstones.retain(|_, offset| time(*offset) >= before);
        self.floor = self.floor.max(gone.unwrap_or(0));
    }

    fn changed(&self, after: Offset) -> Vec<(&str, Offset, Option<&str>)> {
        let rows = self.rows.iter().map(|(key, (value, offset))| (&**key, *offset, Some(&**value)));
        let tombstones = self.tombstones.iter().map(|(key, offset)| (&**key, *offset, None));
        let mut all: Vec<_> = rows.chain(tombstones).filter(|(_, offset, _)| *offset > after).collect();
        all.sort_by_key(|(_, offset, _)| *offset);
        all
    }

    fn compare(&self, snapshot: &Snapshot) {
        assert_eq!((snapshot.newest(), snapshot.floor()), (self.newest, self.floor));
        assert_eq!(snapshot.rows_total(), self.rows.len() as u64);
        for page_bytes in [1, 300, 1 << 20] {
            let rows = all(snapshot, page_bytes);
            let found: Vec<_> =
                rows.iter().map(|row| (&*row.key, &*row.value, row.offset, row.time)).collect();
            let want =
                self.rows.iter().map(|(key, (value, offset))| (&**key, &**value, *offset, time(*offset)));
            assert_eq!(found, want.collect::<Vec<_>>());
        }
        let middle = u64::midpoint(self.floor, self.newest);
        for after in [self.floor, middle, self.newest, self.newest + 5] {
            for page_bytes in [1, 300, 1 << 20] {
                assert_eq!(states(&all_changed(snapshot, after, page_bytes)), self.changed(after));
            }
        }
        for key in (0..12).map(key) {
            let row = snapshot.row(&key).unwrap().map(|row| (row.value.to_string(), row.offset));
            assert_eq!(row.as_ref(), self.rows.get(&key));
        }
    }
}

/// What the log has, in its order.
enum Logged {
    Changes(Vec<Arc<Event>>),
    Emptied(u8, Offset),
}

struct History {
    file: MemoryFile,
    rows: Rows,
    writer: Writer,
    models: [Model; 2],
    log: Vec<Logged>,
    emptied: u64,
}

impl History {
    fn publish(&mut self, changes: &[(u8, u8, Option<u8>)]) {
        let mut events = Vec::new();
        for (of, of_key, size) in changes {
            let value = size.map(|size| format!("{{\"v\":\"{}\"}}", "x".repeat(size.into())));
            let Some(event) = self.writer.change(&name(*of), &key(*of_key), value.as_deref()) else {
                continue;
            };
            self.models[usize::from(*of)].change(&event);
            events.push(event);
        }
        self.rows.publish(&events);
        self.log.push(Logged::Changes(events));
    }

    fn empty(&mut self, of: u8, all: bool) {
        let model = &mut self.models[usize::from(of)];
        let upto = if all { self.writer.last } else { model.newest };
        model.empty(upto);
        self.writer.empty(&name(of));
        self.emptied += 1;
        self.rows.empty(&table(&name(of)), upto, self.emptied);
        self.log.push(Logged::Emptied(of, upto));
    }

    /// Opens the file again and replays the whole log: what is applied is passed over.
    fn reopen(&mut self, file: MemoryFile) {
        self.rows = open(&file, self.writer.last);
        self.file = file;
        let mut emptied = 0;
        for logged in &self.log {
            match logged {
                Logged::Changes(events) => self.rows.publish(events),
                Logged::Emptied(of, upto) => {
                    emptied += 1;
                    self.rows.empty(&table(&name(*of)), *upto, emptied);
                }
            }
        }
    }

    fn settle(&self) {
        self.file.room(None);
        self.rows.settle();
    }

    fn compare(&self) {
        for (model, of) in self.models.iter().zip(0..) {
            let of = table(&name(of));
            model.compare(&self.rows.snapshot(&of).unwrap());
            for key in (0..12).map(key) {
                let row = self.rows.row(&of, &key).unwrap().map(|row| (row.value.to_string(), row.offset));
                assert_eq!(row.as_ref(), model.rows.get(&key));
            }
            let Some(info) = self.rows.table(&of) else {
                assert_eq!(model.newest, 0);
                continue;
            };
            let bytes: usize = model.rows.iter().map(|(key, (value, _))| key.len() + value.len()).sum();
            assert_eq!((info.rows, info.bytes), (model.rows.len() as u64, bytes as u64));
            assert_eq!((info.newest, info.floor), (model.newest, model.floor));
            assert!(info.tombstones >= model.tombstones.len() as u64);
        }
    }

    fn compare_settled(&self) {
        for (model, of) in self.models.iter().zip(0..) {
            if let Some(info) = self.rows.table(&table(&name(of))) {
                assert_eq!(info.tombstones, model.tombstones.len() as u64);
            }
        }
        self.compare();
    }
}

fn name(of: u8) -> String {
    format!("table {of}")
}

// One is the beginning of the other, and one is long.
fn key(of: u8) -> String {
    if of == 7 { "k".repeat(1024) } else { format!("k{of}") }
}

fn run(steps: Vec<Step>) {
    let file = MemoryFile::default();
    let mut history = History {
        rows: open(&file, 0),
        file,
        writer: Writer::default(),
        models: Default::default(),
        log: Vec::new(),
        emptied: 0,
    };
    let mut held: Vec<(Snapshot, Model)> = Vec::new();
    for step in steps {
        match step {
            Step::Publish(changes) => history.publish(&changes),
            Step::Empty(of, all) => history.empty(of, all),
            Step::Expire(of, age) => {
                let before = time(history.writer.last.saturating_sub(age.into()));
                history.models[usize::from(of)].expire(before);
                history.rows.expire(&table(&name(of)), before);
                history.settle();
                history.compare_settled();
            }
            Step::Settle => {
                history.settle();
                history.compare_settled();
            }
            Step::Block => history.file.room(Some(0)),
            Step::Hold(of) => {
                let snapshot = history.rows.snapshot(&table(&name(of))).unwrap();
                held.push((snapshot, history.models[usize::from(of)].clone()));
            }
            Step::Close | Step::Crash(_) => {
                // They end with the rows they are of.
                for (snapshot, model) in held.drain(..) {
                    model.compare(&snapshot);
                }
                let file = match step {
                    Step::Crash(power) => history.file.crashed(power),
                    _ => {
                        history.file.room(None);
                        history.rows.close();
                        assert_eq!(history.rows.failed(), None);
                        recount(&history.file);
                        history.file.clone()
                    }
                };
                history.reopen(file);
            }
        }
        history.compare();
    }
    for (snapshot, model) in held {
        model.compare(&snapshot);
    }
    history.settle();
    history.compare_settled();
    history.rows.close();
    recount(&history.file);
}

proptest! {
    #![proptest_config(crate::store::cases(64))]

    #[test]
    fn no_history_makes_rows_differ_from_what_was_published(steps in prop::collection::vec(step(), 1..40)) {
        run(steps);
    }
}
