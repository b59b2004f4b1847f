//! Some columns of a row: `columns=`.

use super::{
    TEXT_BYTES_MAX,
    error::{Place, PredicateError, PredicateErrorKind},
    path::{Cells, PATH_SEGMENTS_MAX, Path, Paths},
};
use std::{
    fmt::{self, Debug, Display, Formatter},
    hash::{Hash, Hasher},
    sync::Arc,
};

/// The columns that are sent of a row. The list's order, repeats, and columns inside of others make no difference.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Projection(Arc<Inner>);

struct Inner {
    text: Box<str>,
    paths: Paths,
    /// By slot.
    columns: Vec<Path>,
}

impl Projection {
    /// Takes a list like `id,name,address.city`. A name with a comma, a dot, a space or a double quote in it is written
    /// in double quotes, and a double quote in those is written twice.
    ///
    /// # Errors
    /// `Invalid` or `TooLarge`.
    pub fn parse(text: &str) -> Result<Self, PredicateError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(PredicateError::too_large("a list of columns", TEXT_BYTES_MAX).unit("bytes"));
        }
        let mut reader = Reader { text, at: 0 };
        let mut columns = vec![reader.path()?];
        while reader.take(',') {
            if columns.len() == PROJECTION_PATHS_MAX {
                return Err(
                    PredicateError::too_large("a list of columns", PROJECTION_PATHS_MAX).unit("columns")
                );
            }
            columns.push(reader.path()?);
        }
        if reader.rest().is_empty() { Ok(Self::of(columns)) } else { Err(reader.unexpected()) }
    }

    fn of(mut columns: Vec<Path>) -> Self {
        // A path sorts right before all that is inside of it.
        columns.sort();
        columns.dedup_by(|inner, outer| inner.is_within(outer));
        let mut paths = Paths::new();
        for path in &columns {
            paths.add(path);
        }
        let text = columns.iter().map(Path::to_string).collect::<Vec<_>>().join(",").into();
        Self(Arc::new(Inner { text, paths, columns }))
    }

    /// Its canonical text, which parses to an equal projection.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The columns, sorted.
    pub fn columns(&self) -> &[Path] {
        &self.0.columns
    }

    /// The object with those members of the JSON object `row` that are selected, in the row's order, their values'
    /// text as it is. An object of which nothing is selected is left out; a row that has nothing selected is `{}`.
    pub fn apply(&self, row: &str) -> String {
        let cells = self.cells(row);
        let mut found: Vec<(usize, &Path, &str)> = self
            .0
            .columns
            .iter()
            .zip(&cells)
            .filter_map(|(path, cell)| {
                let value = (*cell)?;
                Some((value.as_ptr().addr() - row.as_ptr().addr(), path, value))
            })
            .collect();
        // The places in the row's text: members of one object stand together.
        found.sort_by_key(|(place, ..)| *place);
        let mut out = String::with_capacity(row.len().min(64 * found.len()));
        out.push('{');
        let mut open: Vec<&str> = Vec::new();
        for (_, path, value) in found {
            member(&mut out, &mut open, path, value);
        }
        out.extend(std::iter::repeat_n('}', open.len() + 1));
        out
    }

    /// Whether two rows are the same to whoever is sent these columns only.
    pub fn same(&self, old: &str, new: &str) -> bool {
        self.cells(old) == self.cells(new)
    }

    fn cells<'row>(&self, row: &'row str) -> Cells<'row> {
        let mut cells = Cells::new();
        self.0.paths.extract(row, &mut cells);
        cells
    }
}

/// Writes one member, in the objects that its path leads through. Those in `open` are already begun.
fn member<'a>(out: &mut String, open: &mut Vec<&'a str>, path: &'a Path, value: &str) {
    let names: Vec<&str> = path.names().collect();
    let Some((last, outer)) = names.split_last() else { return };
    let shared = open.iter().zip(outer).take_while(|(a, b)| a == b).count();
    out.extend(std::iter::repeat_n('}', open.len() - shared));
    open.truncate(shared);
    if !out.ends_with('{') {
        out.push(',');
    }
    for name in outer.iter().skip(shared) {
        write_name(out, name);
        out.push('{');
        open.push(name);
    }
    write_name(out, last);
    out.push_str(value);
}

fn write_name(out: &mut String, name: &str) {
    out.push_str(&serde_json::Value::from(name).to_string());
    out.push(':');
}

impl PartialEq for Projection {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.text == other.0.text
    }
}

impl Eq for Projection {}

impl Hash for Projection {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl Display for Projection {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl Debug for Projection {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Projection({})", self.0.text)
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.rest().starts_with(c);
        self.at += if found { c.len_utf8() } else { 0 };
        found
    }

    fn path(&mut self) -> Result<Path, PredicateError> {
        let mut names = Vec::new();
        self.space();
        loop {
            names.push(self.name()?);
            if !self.take('.') {
                break;
            }
        }
        self.space();
        Path::new(names).ok_or_else(|| PredicateError::too_large("a path", PATH_SEGMENTS_MAX).unit("names"))
    }

    fn name(&mut self) -> Result<String, PredicateError> {
        if !self.take('"') {
            let plain = |c: char| !matches!(c, ',' | '.' | '"') && !c.is_whitespace();
            let end = self.rest().find(|c| !plain(c)).unwrap_or(self.rest().len());
            let name = self.rest().get(..end).unwrap_or_default();
            self.at += end;
            return if name.is_empty() { Err(self.unexpected()) } else { Ok(name.to_owned()) };
        }
        let mut name = String::new();
        loop {
            let Some(end) = self.rest().find('"') else {
                self.at = self.text.len();
                return Err(self.unexpected());
            };
            name.push_str(self.rest().get(..end).unwrap_or_default());
            self.at += end + 1;
            if !self.take('"') {
                return Ok(name);
            }
            name.push('"');
        }
    }

    fn unexpected(&self) -> PredicateError {
        let what = match self.rest().chars().next() {
            Some(c) => format!("unexpected `{c}`"),
            None => "the text ends where a name is missing".to_owned(),
        };
        let before = self.text.get(..self.at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let place = Place { line: narrow(line), column: narrow(column) };
        PredicateError::new(PredicateErrorKind::Invalid, what, Some(place))
    }
}

/// The most columns of a projection.
pub const PROJECTION_PATHS_MAX: usize = 200;
