//! Which of many predicates are true for a row, at the cost of those that may be.
//!
//! A predicate that wants a column to equal a constant (alone, in a list, or ANDed with anything) stands under that
//! value and costs nothing for rows with another one. All others are evaluated, equal ones once.

use super::{
    Predicate,
    eval::Values,
    number::Number,
    path::{Cells, Path, Paths},
    tree::{Column, Comparison, Condition, Term},
    value::{Constant, Value},
};
use std::{borrow::Cow, collections::HashMap};

/// Predicates, and the ids of those who want the rows for which they are true.
#[derive(Clone, Debug)]
pub struct Index<T> {
    entries: Vec<Option<Entry<T>>>,
    free: Vec<usize>,
    by_predicate: HashMap<Predicate, usize>,
    /// All columns of all predicates: a row is read once for all of them.
    paths: Paths,
    by_value: Vec<ByValue>,
    /// Entries without an equality.
    others: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    predicate: Predicate,
    ids: Vec<T>,
    /// Slots in the index's paths, by slot in the predicate's.
    slots: Vec<usize>,
    /// There is nothing but the equality.
    exact: bool,
}

/// Entries by the value of one column.
#[derive(Clone, Debug)]
struct ByValue {
    path: Path,
    slot: usize,
    entries: HashMap<Key<'static>, Vec<usize>>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Key<'a> {
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
}

/// A column that has to equal one of some constants.
struct Equality<'a> {
    path: &'a Path,
    constants: &'a [Constant],
    exact: bool,
}

impl<T: PartialEq> Index<T> {
    /// No predicates.
    pub fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            by_predicate: HashMap::new(),
            paths: Paths::new(),
            by_value: Vec::new(),
            others: Vec::new(),
        }
    }

    /// How many distinct predicates there are.
    pub fn len(&self) -> usize {
        self.by_predicate.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_predicate.is_empty()
    }

    /// Adds `id` to those who want the rows of `predicate`. An id may be added more than once, and is then found as
    /// often.
    pub fn insert(&mut self, predicate: &Predicate, id: T) {
        let at = match self.by_predicate.get(predicate) {
            Some(at) => *at,
            None => self.enter(predicate),
        };
        if let Some(entry) = self.entries.get_mut(at).and_then(Option::as_mut) {
            entry.ids.push(id);
        }
    }

    /// Takes one `id` of `predicate` away; false where it was not there.
    pub fn remove(&mut self, predicate: &Predicate, id: &T) -> bool {
        let Some(at) = self.by_predicate.get(predicate).copied() else { return false };
        let Some(entry) = self.entries.get_mut(at).and_then(Option::as_mut) else { return false };
        let Some(place) = entry.ids.iter().position(|other| other == id) else { return false };
        entry.ids.swap_remove(place);
        if entry.ids.is_empty() {
            self.leave(predicate, at);
        }
        true
    }

    /// The ids of the predicates that are true for the JSON object `row`, in no order.
    pub fn matching(&self, row: &str) -> Vec<&T> {
        let mut ids = Vec::new();
        self.visit(row, |entry, cells| {
            if entry.exact || entry.matches(cells) {
                ids.extend(&entry.ids);
            }
        });
        ids
    }

    /// The ids of the predicates that have to be evaluated for the JSON object `row`, and of those that need not be
    /// since its values alone say that they are true: a superset of `matching`.
    pub fn candidates(&self, row: &str) -> Vec<&T> {
        let mut ids = Vec::new();
        self.visit(row, |entry, _| ids.extend(&entry.ids));
        ids
    }

    fn visit<'a>(&'a self, row: &str, mut f: impl FnMut(&'a Entry<T>, &Cells<'_>)) {
        let mut cells = Cells::new();
        self.paths.extract(row, &mut cells);
        for by_value in &self.by_value {
            let key = cells.get(by_value.slot).copied().flatten().and_then(|json| Key::of(Value::of(json)));
            let entries: &HashMap<Key<'_>, _> = &by_value.entries;
            if let Some(found) = key.and_then(|key| entries.get(&key)) {
                found.iter().filter_map(|at| self.entry(*at)).for_each(|entry| f(entry, &cells));
            }
        }
        self.others.iter().filter_map(|at| self.entry(*at)).for_each(|entry| f(entry, &cells));
    }

    fn entry(&self, at: usize) -> Option<&Entry<T>> {
        self.entries.get(at).and_then(Option::as_ref)
    }

    fn enter(&mut self, predicate: &Predicate) -> usize {
        let slots = predicate.columns().iter().map(|path| self.paths.add(path)).collect();
        let equality = predicate.equality();
        let exact = equality.as_ref().is_some_and(|equality| equality.exact);
        let entry = Some(Entry { predicate: predicate.clone(), ids: Vec::new(), slots, exact });
        let at = match self.free.pop() {
            Some(at) => {
                if let Some(place) = self.entries.get_mut(at) {
                    *place = entry;
                }
                at
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        };
        self.by_predicate.insert(predicate.clone(), at);
        match equality {
            Some(Equality { path, constants, .. }) => {
                let by_value = self.by_value(path);
                for key in constants.iter().filter_map(Key::of_constant) {
                    by_value.entries.entry(key).or_default().push(at);
                }
            }
            None => self.others.push(at),
        }
        at
    }

    fn leave(&mut self, predicate: &Predicate, at: usize) {
        match predicate.equality() {
            Some(Equality { path, constants, .. }) => {
                let by_value = self.by_value(path);
                for key in constants.iter().filter_map(Key::of_constant) {
                    if let Some(entries) = by_value.entries.get_mut(&key) {
                        entries.retain(|other| *other != at);
                        if entries.is_empty() {
                            by_value.entries.remove(&key);
                        }
                    }
                }
                self.by_value.retain(|by_value| !by_value.entries.is_empty());
            }
            None => self.others.retain(|other| *other != at),
        }
        for path in predicate.columns() {
            self.paths.remove(path);
        }
        self.by_predicate.remove(predicate);
        if let Some(entry) = self.entries.get_mut(at) {
            *entry = None;
        }
        self.free.push(at);
    }

    fn by_value(&mut self, path: &Path) -> &mut ByValue {
        let at =
            self.by_value.iter().position(|by_value| by_value.path == *path).unwrap_or(self.by_value.len());
        if at == self.by_value.len() {
            // The predicate itself holds the slot for as long as it stands here.
            let slot = self.paths.slot(path).unwrap_or(usize::MAX);
            self.by_value.push(ByValue { path: path.clone(), slot, entries: HashMap::new() });
        }
        self.by_value.get_mut(at).expect("it was found or added")
    }
}

impl<T: PartialEq> Default for Index<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Entry<T> {
    fn matches(&self, cells: &Cells<'_>) -> bool {
        self.predicate.0.condition.truth(Values { cells, slots: Some(&self.slots) }) == Some(true)
    }
}

impl Predicate {
    /// The column it is found by in an [`Index`]: it cannot be true unless that column equals one of some constants.
    pub fn index_column(&self) -> Option<&Path> {
        self.equality().map(|equality| equality.path)
    }

    fn equality(&self) -> Option<Equality<'_>> {
        match &self.0.condition {
            Condition::And(all) => all
                .iter()
                .filter_map(equality)
                .min_by_key(|equality| equality.constants.len())
                .map(|found| Equality { exact: false, ..found }),
            condition => equality(condition),
        }
    }
}

fn equality(condition: &Condition) -> Option<Equality<'_>> {
    let (column, constants) = match condition {
        Condition::Compare(Comparison::Equal, Term::Column(column), Term::Constant(constant)) => {
            (column, std::slice::from_ref(constant))
        }
        Condition::In { term: Term::Column(column), list, negated: false } => (column, &**list),
        _ => return None,
    };
    let Column { path, .. } = column;
    Some(Equality { path, constants, exact: true })
}

impl<'a> Key<'a> {
    fn of(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Null | Value::Composite => None,
            Value::Bool(value) => Some(Self::Bool(value)),
            Value::Number(number) => Some(Self::Number(number)),
            Value::Text(text) => Some(Self::Text(text)),
        }
    }

    fn of_constant(constant: &Constant) -> Option<Key<'static>> {
        match constant {
            Constant::Null => None,
            Constant::Bool(value) => Some(Key::Bool(*value)),
            Constant::Number(number) => Some(Key::Number(number.clone())),
            Constant::Text(text) => Some(Key::Text(Cow::Owned(text.to_string()))),
        }
    }
}
