//! What must be true of tables, by plain maps, with all that ever was.

use riacho::log::{AppendError, Appended, Condition, Refused, RowWrite, TableWrite};
use riacho_core::{
    name::{Selection, Selector, StreamName},
    position::Offset,
    predicate::{Params, Predicate, Projection},
    table::{batch::Action, patch, terms::Terms},
};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, mem::discriminant, sync::Arc, time::Duration};

/// A table, by its number, and a key.
pub(crate) type Place = (usize, Arc<str>);

/// A row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) text: Arc<str>,
    /// As each of [`COLUMNS`] shows it.
    narrow: Vec<String>,
    tag: Option<String>,
    n: Option<i64>,
}

/// All rows at one moment, each with the offset of its last change.
pub(crate) type Rows = BTreeMap<Place, (Arc<Row>, Offset)>;

/// One change of a row.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) offset: Offset,
    pub(crate) place: Place,
    pub(crate) old: Option<Arc<Row>>,
    pub(crate) new: Option<Arc<Row>>,
}

/// Everything.
#[derive(Default, Debug)]
pub(crate) struct Model {
    /// The rows now.
    pub(crate) rows: Rows,
    /// The rows after each offset at which they changed, from the first on.
    states: Vec<(Offset, Arc<Rows>)>,
    pub(crate) changes: Vec<Change>,
    /// Events of the stream: offsets and numbers.
    pub(crate) events: Vec<(Offset, u64)>,
    /// Offsets up to here are known.
    pub(crate) upto: Offset,
}

impl Row {
    pub(crate) fn of(text: &str) -> Arc<Self> {
        let map: Map<String, Value> = serde_json::from_str(text).unwrap();
        let narrow = COLUMNS.iter().map(|columns| narrow(&map, columns)).collect();
        let tag = map.get("tag").and_then(Value::as_str).map(str::to_owned);
        Arc::new(Self { text: text.into(), narrow, tag, n: map.get("n").and_then(Value::as_i64) })
    }
}

impl Model {
    /// What becomes of a write: changes, each with its key and the row before and after, or why not.
    fn judge(&self, write: &TableWrite) -> Result<Vec<Judged>, (usize, Refused)> {
        let table = number_of(&write.table);
        let mut made: Vec<Judged> = Vec::new();
        let mut now = BTreeMap::new();
        for (index, row) in write.writes.iter().enumerate() {
            let key: Arc<str> = row.key.as_ref().into();
            let before = self.rows.get(&(table, Arc::clone(&key)));
            let touched = now.get(&key).cloned();
            let old: Option<Arc<str>> =
                touched.clone().unwrap_or_else(|| before.map(|(row, _)| Arc::clone(&row.text)));
            let offset = before.map(|(_, offset)| *offset);
            // A row that the batch has changed is there or not, but has no offset to name.
            let named = |list: &Vec<Offset>| touched.is_none() && offset.is_some_and(|at| list.contains(&at));
            let holds = match &row.condition {
                Condition::None => true,
                Condition::Match(None) => old.is_some(),
                Condition::NoneMatch(None) => old.is_none(),
                Condition::Match(Some(list)) => named(list),
                Condition::NoneMatch(Some(list)) => !named(list),
            };
            if !holds {
                return Err((index, Refused::Condition(offset)));
            }
            let new: Option<Arc<str>> = match (&row.action, &old) {
                (Action::Insert(_), Some(_)) => return Err((index, Refused::Exists)),
                (Action::Update(_) | Action::Patch(_) | Action::Delete, None) => {
                    return Err((index, Refused::Missing));
                }
                (Action::Insert(value) | Action::Update(value) | Action::Upsert(value), _) => {
                    Some(value.as_ref().into())
                }
                (Action::Patch(with), Some(old)) => Some(patch::merge(old, with).unwrap().into()),
                (Action::Delete, Some(_)) => None,
            };
            if new != old {
                now.insert(Arc::clone(&key), new.clone());
                made.push((key, old, new));
            }
        }
        Ok(made)
    }

    /// Takes the answer to a write, which must be the right one.
    pub(crate) fn write(&mut self, write: &TableWrite, answer: &Result<Appended, AppendError>) {
        match (self.judge(write), answer) {
            (Err((index, why)), Err(AppendError::Write(at, refused))) => {
                assert_eq!((index, discriminant(&why)), (*at, discriminant(refused)), "refused: {write:?}");
                if let (Refused::Condition(is), Refused::Condition(said)) = (&why, refused) {
                    assert_eq!(is, said, "the row's last change: {write:?}");
                }
            }
            (Ok(made), Ok(appended)) if made.is_empty() => {
                let newest = write.writes.iter().filter_map(|row| self.offset(write, row)).max();
                let want = Appended { first: newest.unwrap_or(0), count: 0, created: false };
                assert_eq!(*appended, want, "nothing to do: {write:?}");
            }
            (Ok(made), Ok(appended)) => {
                let created = made.len() == 1 && made[0].1.is_none();
                assert!(appended.first > self.upto, "{appended:?} after {}: {write:?}", self.upto);
                let want = Appended { first: appended.first, count: made.len() as u32, created };
                assert_eq!(*appended, want, "{write:?}");
                self.change(number_of(&write.table), made, appended.first);
            }
            (judged, answer) => panic!("{write:?} is {answer:?}, not {judged:?}"),
        }
    }

    fn offset(&self, write: &TableWrite, row: &RowWrite) -> Option<Offset> {
        let place = (number_of(&write.table), row.key.as_ref().into());
        self.rows.get(&place).map(|(_, offset)| *offset)
    }

    fn change(&mut self, table: usize, made: Vec<Judged>, first: Offset) {
        for ((key, _, new), offset) in made.into_iter().zip(first..) {
            let place = (table, key);
            let new = new.map(|text| Row::of(&text));
            let old = match &new {
                Some(row) => self.rows.insert(place.clone(), (Arc::clone(row), offset)),
                None => self.rows.remove(&place),
            };
            self.changes.push(Change { offset, place, old: old.map(|(row, _)| row), new });
            self.upto = offset;
        }
        self.states.push((self.upto, Arc::new(self.rows.clone())));
    }

    pub(crate) fn empty(&mut self, table: usize, offset: Offset) {
        self.rows.retain(|(of, _), _| *of != table);
        self.upto = offset;
        self.states.push((offset, Arc::new(self.rows.clone())));
    }

    pub(crate) fn event(&mut self, offset: Offset, number: u64) {
        self.events.push((offset, number));
        self.upto = offset;
    }

    /// The rows after `offset`.
    pub(crate) fn at(&self, offset: Offset) -> Option<&Rows> {
        let after = self.states.partition_point(|(at, _)| *at <= offset);
        after.checked_sub(1).map(|index| &*self.states[index].1)
    }

    /// All states of the rows from `offset` on.
    pub(crate) fn since(&self, offset: Offset) -> impl Iterator<Item = &Rows> {
        let after = self.states.partition_point(|(at, _)| *at <= offset);
        self.states[after.saturating_sub(1)..].iter().map(|(_, rows)| &**rows)
    }
}

type Judged = (Arc<str>, Option<Arc<str>>, Option<Arc<str>>);

/// The rows that a reader wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Filter {
    All,
    Tag,
    Above,
    In,
}

/// What a client asks for, beside how.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) tables: Vec<usize>,
    /// Whether it reads the stream as well.
    pub(crate) stream: bool,
    pub(crate) filter: Filter,
    /// Which of [`COLUMNS`].
    pub(crate) columns: Option<usize>,
}

impl Query {
    pub(crate) fn selection(&self, conflate: bool, min_interval: Option<Duration>) -> Selection {
        let text = match self.filter {
            Filter::All => None,
            Filter::Tag => Some("tag = 'x'"),
            Filter::Above => Some("n > 5"),
            Filter::In => Some("tag IN ('x', 'y') AND n <> 3"),
        };
        let mut terms = Terms { conflate, min_interval, ..Terms::all() };
        if let Some(text) = text {
            terms.predicate = Predicate::parse(text, &Params::default()).unwrap();
        }
        terms.columns = self.columns.map(|index| Projection::parse(&COLUMNS[index].join(",")).unwrap());
        let tables = self.tables.iter().map(|table| Selector::Exact(name_of(*table)));
        let stream = self.stream.then(|| Selector::Exact(stream()));
        Selection::new(tables.chain(stream).collect()).on(terms)
    }

    /// The row as the reader sees it, if it does.
    pub(crate) fn shown<'a>(&self, row: &'a Row) -> Option<&'a str> {
        let (tag, n) = (row.tag.as_deref(), row.n);
        let matches = match self.filter {
            Filter::All => true,
            Filter::Tag => tag == Some("x"),
            Filter::Above => n.is_some_and(|n| n > 5),
            Filter::In => matches!(tag, Some("x" | "y")) && n.is_some_and(|n| n != 3),
        };
        let text = || self.columns.map_or(&*row.text, |index| row.narrow[index].as_str());
        matches.then(text)
    }

    /// How a value that came is compared: the order of columns says nothing.
    pub(crate) fn taken(&self, value: &str) -> String {
        match self.columns {
            None => value.to_owned(),
            Some(index) => {
                let map: Map<String, Value> = serde_json::from_str(value).unwrap();
                let narrowed = narrow(&map, COLUMNS[index]);
                assert_eq!(map.len(), serde_json::from_str::<Map<String, Value>>(&narrowed).unwrap().len());
                narrowed
            }
        }
    }

    /// What differs, where `map` is not what the query gives.
    pub(crate) fn differs(&self, rows: &Rows, map: &BTreeMap<Place, String>) -> Option<String> {
        let wanted = rows.iter().filter(|((table, _), _)| self.tables.contains(table));
        let mut wanted = wanted.filter_map(|(place, (row, _))| Some((place, self.shown(row)?)));
        let mut found = map.iter();
        loop {
            match (wanted.next(), found.next()) {
                (None, None) => return None,
                (Some((place, text)), Some((at, value))) if place == at && text == value => {}
                (want, got) => {
                    let got = got.map(|(place, text)| (place, brief(text)));
                    let want = want.map(|(place, text)| (place, brief(text)));
                    return Some(format!("wanted {want:?}, got {got:?}"));
                }
            }
        }
    }
}

pub(crate) fn brief(text: &str) -> &str {
    text.get(..60).unwrap_or(text)
}

fn narrow(row: &Map<String, Value>, columns: &[&str]) -> String {
    let cells: Map<String, Value> =
        columns.iter().filter_map(|column| Some(((*column).to_owned(), row.get(*column)?.clone()))).collect();
    Value::Object(cells).to_string()
}

pub(crate) fn name_of(table: usize) -> StreamName {
    StreamName::of_table(TABLES[table]).unwrap()
}

pub(crate) fn number_of(name: &StreamName) -> usize {
    table_of(name.table().unwrap())
}

pub(crate) fn table_of(table: &str) -> usize {
    TABLES.iter().position(|name| *name == table).unwrap()
}

pub(crate) fn stream() -> StreamName {
    StreamName::parse("news").unwrap()
}

pub(crate) const TABLES: [&str; 3] = ["alpha", "beta", "gamma"];

/// Columns that readers ask for.
const COLUMNS: [&[&str]; 2] = [&["n"], &["n", "tag"]];
