//! One table of PostgreSQL as it is read: its columns and key, and how its rows become ours.

use super::{
    kind::{Kind, Types},
    pgoutput::{Datum, Relation},
    value,
};
use crate::{source::key, table::fill::PartMember};
use std::fmt::Write as _;

/// The columns of a table that are read, in their order, and which of them are its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    columns: Vec<ShapeColumn>,
    /// Places in `columns`, in the key's order.
    key: Vec<usize>,
}

/// One column.
#[derive(Clone, PartialEq, Eq, Debug)]
struct ShapeColumn {
    name: Box<str>,
    type_oid: u32,
    kind: Kind,
    /// Whether it is part of our row; else it is read for nothing.
    wanted: bool,
}

impl Shape {
    /// Of these columns, name and type, those that `wanted` names, or all; the key is made of the columns `key`.
    ///
    /// # Errors
    /// The column of the key that is not among them.
    pub fn new<'a>(
        columns: impl IntoIterator<Item = (&'a str, u32)>,
        key: &[Box<str>],
        wanted: Option<&[String]>,
        types: &Types,
    ) -> Result<Self, Box<str>> {
        let column = |(name, type_oid): (&'a str, u32)| ShapeColumn {
            name: name.into(),
            type_oid,
            kind: types.kind(type_oid),
            wanted: wanted.is_none_or(|wanted| wanted.iter().any(|wanted| wanted == name))
                || key.iter().any(|key| &**key == name),
        };
        let columns: Vec<ShapeColumn> = columns.into_iter().map(column).collect();
        let place = |name: &str| columns.iter().position(|column| *column.name == *name);
        let key = key.iter().map(|name| place(name).ok_or(name.clone())).collect::<Result<_, _>>()?;
        Ok(Self { columns, key })
    }

    /// The shape of a table as the stream describes it.
    ///
    /// # Errors
    /// As [`Shape::new`].
    pub fn of(
        relation: &Relation,
        key: &[Box<str>],
        wanted: Option<&[String]>,
        types: &Types,
    ) -> Result<Self, Box<str>> {
        let columns = relation.columns.iter().map(|column| (&*column.name, column.type_oid));
        Self::new(columns, key, wanted, types)
    }

    /// A text that is equal for equal shapes.
    pub fn fingerprint(&self) -> String {
        let mut out = String::new();
        for column in self.columns.iter().filter(|column| column.wanted) {
            let _ = write!(out, "{}:{},", column.name.escape_default(), column.type_oid);
        }
        for place in &self.key {
            let name = self.columns.get(*place).map(|column| column.name.escape_default());
            let _ = write!(out, "|{}", name.into_iter().flatten().collect::<String>());
        }
        out
    }

    /// The row's key; none where a part of it is not there.
    pub fn key(&self, row: &[Datum<'_>]) -> Option<Box<str>> {
        let mut parts = Vec::with_capacity(self.key.len());
        for place in &self.key {
            let Some(Datum::Text(text)) = row.get(*place) else { return None };
            let mut json = String::new();
            value::write(&mut json, &self.columns.get(*place)?.kind, text);
            parts.push(json);
        }
        Some(key::key(parts.iter().map(String::as_str)).into())
    }

    /// The row as a JSON object; none where a part of it is not there.
    pub fn row(&self, row: &[Datum<'_>]) -> Option<Box<str>> {
        let mut out = String::with_capacity(ROW_BYTES_TYPICAL);
        let mut whole = true;
        let columns = self.wanted(row).map(|(column, datum)| {
            let text = match datum {
                Datum::Text(text) => Some(text),
                Datum::Null => None,
                Datum::Unchanged | Datum::Binary(_) => {
                    whole = false;
                    None
                }
            };
            (&*column.name, &column.kind, text)
        });
        value::row(&mut out, columns);
        whole.then(|| out.into())
    }

    /// The row member by member, without those that are not there.
    pub fn members(&self, row: &[Datum<'_>]) -> Vec<PartMember> {
        let member = |(column, datum): (&ShapeColumn, Datum<'_>)| {
            let value = match datum {
                Datum::Text(text) => {
                    let mut json = String::new();
                    value::write(&mut json, &column.kind, text);
                    Some(json.into())
                }
                Datum::Null => Some("null".into()),
                Datum::Unchanged | Datum::Binary(_) => None,
            };
            (column.name.clone(), value)
        };
        self.wanted(row).map(member).collect()
    }

    fn wanted<'a, 'd>(&'a self, row: &'a [Datum<'d>]) -> impl Iterator<Item = (&'a ShapeColumn, Datum<'d>)> {
        self.columns
            .iter()
            .zip(row)
            .filter(|(column, _)| column.wanted)
            .map(|(column, datum)| (column, *datum))
    }
}

const ROW_BYTES_TYPICAL: usize = 256;
