//! Many changes of a row become one: from what it was before the first to what it is after the last.

use super::terms::{self, Shown, Terms};
use crate::event::{Event, Operation};
use std::{collections::HashMap, sync::Arc};

/// The rows that some changes are about, each with what it was before and the newest change of it.
#[derive(Debug, Default)]
pub struct Fold {
    rows: HashMap<RowOf, Folded>,
    bytes: usize,
}

/// A row of a table: the events are of the table's stream.
#[derive(PartialEq, Eq, Hash, Debug)]
struct RowOf {
    stream: crate::name::StreamName,
    key: Box<str>,
}

#[derive(Debug)]
struct Folded {
    old: Option<Box<str>>,
    newest: Arc<Event>,
}

impl Fold {
    /// Takes a change that comes after all taken before; what is no change is passed over.
    pub fn add(&mut self, event: &Arc<Event>) {
        let Some(change) = &event.change else { return };
        let row = RowOf { stream: event.stream.clone(), key: change.key.clone() };
        let size = |event: &Event| ROW_OVERHEAD + event.data.text.len();
        self.bytes += size(event);
        match self.rows.get_mut(&row) {
            Some(folded) => {
                self.bytes -= size(&folded.newest);
                folded.newest = Arc::clone(event);
            }
            None => {
                self.bytes += change.key.len() + change.old.as_ref().map_or(0, |old| old.len());
                self.rows.insert(row, Folded { old: change.old.clone(), newest: Arc::clone(event) });
            }
        }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// About the bytes it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What a reader on `terms` is shown of all this, in the order of the newest changes.
    pub fn shown(&self, terms: &Terms) -> Vec<(&Event, Shown<'_>)> {
        let mut all: Vec<_> = self.rows.values().filter_map(|folded| folded.show(terms)).collect();
        all.sort_unstable_by_key(|(event, _)| event.offset);
        all
    }

    /// The same for a reader of which nobody knows which of the states between it has: every row is told, of a row that
    /// looks the same before and after what it is now.
    pub fn told(&self, terms: &Terms) -> Vec<(&Event, Shown<'_>)> {
        let mut all: Vec<_> = self.rows.values().map(|folded| folded.tell(terms)).collect();
        all.sort_unstable_by_key(|(event, _)| event.offset);
        all
    }
}

impl Folded {
    fn show(&self, terms: &Terms) -> Option<(&Event, Shown<'_>)> {
        let shown = terms.show(self.old.as_deref(), terms::after(&self.newest))?;
        Some((&*self.newest, shown))
    }

    fn tell(&self, terms: &Terms) -> (&Event, Shown<'_>) {
        self.show(terms).unwrap_or_else(|| {
            let value = terms::after(&self.newest).and_then(|row| terms.show_row(row));
            let operation = if value.is_some() { Operation::Update } else { Operation::Delete };
            (&*self.newest, Shown { operation, value, old_value: None })
        })
    }
}

// What a row costs here beside its texts.
const ROW_OVERHEAD: usize = 160;
