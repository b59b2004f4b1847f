//! Lines of `COPY ... TO STDOUT` in text format, to data of rows.
//! Spec: PostgreSQL, "COPY", "Text Format".

use super::pgoutput::Datum;
use std::{borrow::Cow, str};

/// The columns of one line, without the line break.
///
/// Gives none where it is not UTF-8 or has a broken escape.
pub fn columns(line: &[u8]) -> Option<Vec<Option<Cow<'_, str>>>> {
    // In this format a tab within a value is escaped.
    line.split(|byte| *byte == b'\t').map(column).collect()
}

/// The same as data of a row.
pub fn data<'a>(columns: &'a [Option<Cow<'_, str>>]) -> Vec<Datum<'a>> {
    columns.iter().map(|column| column.as_deref().map_or(Datum::Null, Datum::Text)).collect()
}

fn column(field: &[u8]) -> Option<Option<Cow<'_, str>>> {
    if field == b"\\N" {
        return Some(None);
    }
    let text = str::from_utf8(field).ok()?;
    if !text.contains('\\') {
        return Some(Some(Cow::Borrowed(text)));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escaped) = rest.split_at(at);
        out.push_str(before);
        let mut escaped = escaped.chars();
        escaped.next();
        // `COPY TO` writes these and no others; numbers are for `COPY FROM`.
        out.push(match escaped.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            other => other,
        });
        rest = escaped.as_str();
    }
    out.push_str(rest);
    Some(Some(Cow::Owned(out)))
}
