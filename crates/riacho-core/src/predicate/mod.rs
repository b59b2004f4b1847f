//! Predicates over the rows of tables: `where=`, and the projection `columns=`.
//!
//! A predicate is an expression of SQL with three-valued logic as PostgreSQL has it. Rows are JSON objects without a
//! schema, so kinds are met only with a row: what does not fit is unknown, never an error. Rows come as text, already
//! checked; no text makes this panic.
//! Spec: `spec/protocol.md` "Predicates".

/// Why a text is refused.
mod error;
/// The values of `$1`, `$2`, ….
mod params;
/// SQL's words.
mod words;
/// From text to tokens.
mod lex;
/// From tokens to a tree.
mod parse;
/// A predicate as a tree.
mod tree;
/// The normal form.
mod normal;
/// The canonical text.
mod write;
/// What a tree says of one row.
mod eval;
/// The values of terms.
mod value;
/// Decimal numbers of any size.
mod number;
/// Their digits.
mod digits;
/// Patterns of LIKE.
mod like;
/// Paths in rows.
mod path;
/// Which of many predicates are true for a row.
mod index;
/// Some columns of a row.
mod projection;

pub use error::{Place, PredicateError, PredicateErrorKind};
pub use index::Index;
pub use like::PATTERN_BYTES_MAX;
pub use number::PLACES_MAX;
pub use params::{PARAMS_MAX, Params};
pub use path::{PATH_SEGMENTS_MAX, Path};
pub use projection::{PROJECTION_PATHS_MAX, Projection};

use eval::Values;
use path::{Cells, Paths};
use std::{
    fmt::{self, Debug, Display, Formatter},
    hash::{Hash, Hasher},
    sync::Arc,
};
use tree::Condition;

/// A condition over rows. Equal ones say the same of every row; many that say the same in other words are equal too,
/// since they have one canonical text.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Predicate(Arc<Inner>);

struct Inner {
    text: Box<str>,
    condition: Condition,
    paths: Paths,
    /// By slot.
    columns: Vec<Path>,
}

impl Predicate {
    /// Takes `text`, in which `$1` is the first of `params`.
    ///
    /// # Errors
    /// Any kind; see [`PredicateErrorKind`].
    pub fn parse(text: &str, params: &Params) -> Result<Self, PredicateError> {
        Self::of(parse::condition(text, params)?)
    }

    /// What is true for every row.
    pub fn always() -> Self {
        Self::build(Condition::constant(true))
    }

    /// What is true where both are.
    ///
    /// # Errors
    /// `TooLarge` where both together are.
    pub fn and(&self, other: &Self) -> Result<Self, PredicateError> {
        let mut both = [self.0.condition.clone(), other.0.condition.clone()];
        for condition in &mut both {
            condition.columns(&mut |column| column.slot = 0);
        }
        Self::of(normal::all(both.into()))
    }

    fn of(condition: Condition) -> Result<Self, PredicateError> {
        parse::check_size(&condition)?;
        let predicate = Self::build(condition);
        if predicate.0.text.len() > TEXT_BYTES_MAX {
            let what = "a predicate, its parameters filled in,";
            return Err(PredicateError::too_large(what, TEXT_BYTES_MAX).unit("bytes"));
        }
        Ok(predicate)
    }

    fn build(mut condition: Condition) -> Self {
        let text = condition.to_string().into();
        let (mut paths, mut columns) = (Paths::new(), Vec::new());
        condition.columns(&mut |column| {
            column.slot = paths.add(&column.path);
            if column.slot == columns.len() {
                columns.push(column.path.clone());
            }
        });
        Self(Arc::new(Inner { text, condition, paths, columns }))
    }

    /// Its canonical text, which parses to an equal predicate without parameters.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The columns it looks at.
    pub fn columns(&self) -> &[Path] {
        &self.0.columns
    }

    /// Whether it is true or false for the JSON object `row`; none where it is unknown.
    pub fn truth(&self, row: &str) -> Option<bool> {
        let mut cells = Cells::new();
        self.0.paths.extract(row, &mut cells);
        self.0.condition.truth(Values { cells: &cells, slots: None })
    }

    /// Whether `row` is selected: what is unknown is not.
    pub fn matches(&self, row: &str) -> bool {
        self.truth(row) == Some(true)
    }
}

impl PartialEq for Predicate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.text == other.0.text
    }
}

impl Eq for Predicate {}

impl Hash for Predicate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl Display for Predicate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl Debug for Predicate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Predicate({})", self.0.text)
    }
}

/// The longest text of a predicate, as given and in canonical form, and of its parameters, in bytes.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;

/// The most conditions, terms and values of lists in a predicate.
pub const NODES_MAX: usize = 1_000;

/// How deep conditions and terms may stand in each other. AND and OR of any number of operands are one level.
pub const DEPTH_MAX: usize = 20;

/// The most values in an IN, and in OR of equalities, which is the same.
pub const LIST_MAX: usize = 500;
