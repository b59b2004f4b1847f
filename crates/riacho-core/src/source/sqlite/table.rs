//! A table as its file describes it.

/// A table that can be a source: one with a primary key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns in their order, without hidden ones.
    pub columns: Vec<Column>,
    /// The columns of its primary key, in that key's order: at least one, at most [`KEY_COLUMNS_MAX`].
    pub key: Vec<String>,
    /// What its rowid can be called in SQL; none where it has none, or columns take all its names.
    pub rowid: Option<&'static str>,
    /// What else no two rows have in common.
    pub uniques: Vec<Unique>,
}

/// A column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type that it was declared with, as it was written; may be empty.
    pub declared: String,
}

/// An index in which no two rows are equal: writing a row may remove others through it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unique {
    /// What it is about.
    pub terms: Vec<Term>,
    /// The rows that it is for, as SQL; none: all.
    pub filter: Option<String>,
}

/// One column of an index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Term {
    /// A column, compared by a collation.
    Column {
        /// Its name.
        name: String,
        /// The collation's name.
        collation: String,
    },
    /// An expression over the row, as SQL.
    Expression(String),
}

impl Table {
    /// What a table with these names of columns can call its rowid.
    pub fn rowid_name(columns: &[Column]) -> Option<&'static str> {
        let taken = |name: &&str| columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
        ["rowid", "_rowid_", "oid"].into_iter().find(|name| !taken(name))
    }
}

/// Columns that a primary key may have: so many has the table of changes.
pub const KEY_COLUMNS_MAX: usize = 8;
