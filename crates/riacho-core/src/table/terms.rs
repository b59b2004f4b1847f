//! What a reader of a table is shown: which rows, which of their columns, and how a change of one looks to it.

use crate::{
    event::{Event, Operation},
    predicate::{Predicate, Projection},
};
use std::{borrow::Cow, time::Duration};

/// On which terms a subscription reads its tables. Equal terms share a view.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Terms {
    /// The rows that are shown.
    pub predicate: Predicate,
    /// The columns of them; all where there is none.
    pub columns: Option<Projection>,
    /// Whether changes carry the row before.
    pub old_value: bool,
    /// Whether a reader that was behind gets the newest state of each row, and not every step to it.
    pub conflate: bool,
    /// At most one change of a row in this time.
    pub min_interval: Option<Duration>,
}

/// A change as one reader is shown it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown<'a> {
    /// What became of the row, as far as the reader can see it: a row that it may see no longer is deleted.
    pub operation: Operation,
    /// The row now; none for a delete.
    pub value: Option<Cow<'a, str>>,
    /// The row before, where it is wanted and was shown.
    pub old_value: Option<Cow<'a, str>>,
}

impl Terms {
    /// All rows, whole, as they change.
    pub fn all() -> Self {
        Self {
            predicate: Predicate::always(),
            columns: None,
            old_value: false,
            conflate: true,
            min_interval: None,
        }
    }

    /// What is shown of a row that was `old` and is `new` (none where there is no row); none where nothing changes for
    /// the reader.
    pub fn show<'a>(&self, old: Option<&'a str>, new: Option<&'a str>) -> Option<Shown<'a>> {
        let was = old.filter(|row| self.predicate.matches(row));
        let is = new.filter(|row| self.predicate.matches(row));
        self.show_matching(was, is)
    }

    /// As [`Terms::show`], where it is known already which of both match.
    pub fn show_matching<'a>(&self, was: Option<&'a str>, is: Option<&'a str>) -> Option<Shown<'a>> {
        let operation = match (was, is) {
            (None, None) => return None,
            (None, Some(_)) => Operation::Insert,
            (Some(_), None) => Operation::Delete,
            (Some(was), Some(is)) => {
                if self.columns.as_ref().map_or(was == is, |columns| columns.same(was, is)) {
                    return None;
                }
                Operation::Update
            }
        };
        Some(Shown {
            operation,
            value: is.map(|row| self.project(row)),
            old_value: was.filter(|_| self.old_value).map(|row| self.project(row)),
        })
    }

    /// What is shown of a row that is there, to a reader of which nobody knows what it has; none where the row is not for it.
    pub fn show_row<'a>(&self, row: &'a str) -> Option<Cow<'a, str>> {
        self.predicate.matches(row).then(|| self.project(row))
    }

    /// What is shown of one change.
    pub fn show_event<'a>(&self, event: &'a Event) -> Option<Shown<'a>> {
        self.show(before(event), after(event))
    }

    fn project<'a>(&self, row: &'a str) -> Cow<'a, str> {
        match &self.columns {
            Some(columns) => Cow::Owned(columns.apply(row)),
            None => Cow::Borrowed(row),
        }
    }
}

/// The row before the change `event`; none where there was none.
pub fn before(event: &Event) -> Option<&str> {
    event.change.as_ref()?.old.as_deref()
}

/// The row after the change `event`; none where it is gone.
pub fn after(event: &Event) -> Option<&str> {
    let change = event.change.as_ref()?;
    (change.operation != Operation::Delete).then_some(&*event.data.text)
}
