//! Values as JSON and as keys.
//!
//! | stored | declared | JSON |
//! | --- | --- | --- |
//! | NULL | | `null` |
//! | INTEGER | `BOOLEAN`, `BOOL`, and it is 0 or 1 | `false`, `true` |
//! | INTEGER | | a number; a string where its amount is over 2^53 - 1, which a browser would round |
//! | REAL | | a number, the shortest that reads back as the same; `"Infinity"`, `"-Infinity"` |
//! | TEXT | `JSON`, and it is | that JSON |
//! | TEXT | | a string; what is no UTF-8 in it is U+FFFD |
//! | BLOB | | a string of base64 |

use super::table::Column;
use crate::{source::key::key, table::value, transport::json};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::fmt::Write as _;

/// A value of SQLite.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT, in whatever bytes it has.
    Text(&'a [u8]),
    /// BLOB.
    Blob(&'a [u8]),
}

/// A value of its own, to be asked for.
#[derive(Clone, PartialEq, Debug)]
pub enum Owned {
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT.
    Text(String),
    /// BLOB.
    Blob(Vec<u8>),
}

/// Writes rows as JSON objects.
#[derive(Clone, Debug)]
pub struct RowWriter {
    columns: Vec<(Vec<u8>, Kind)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Plain,
    Boolean,
    Json,
}

impl RowWriter {
    /// For rows of these columns.
    pub fn new<'a>(columns: impl IntoIterator<Item = &'a Column>) -> Self {
        let prefix = |column: &'a Column| {
            let mut name = Vec::new();
            json::string(&mut name, &column.name);
            name.push(b':');
            (name, Kind::of(&column.declared))
        };
        Self { columns: columns.into_iter().map(prefix).collect() }
    }

    /// The JSON object of a row.
    pub fn row<'a>(&self, values: impl IntoIterator<Item = Value<'a>>) -> Box<str> {
        let mut out = Vec::with_capacity(128);
        out.push(b'{');
        for ((name, kind), value) in self.columns.iter().zip(values) {
            if out.len() > 1 {
                out.push(b',');
            }
            out.extend_from_slice(name);
            write(&mut out, *kind, value);
        }
        out.push(b'}');
        // Only whole texts were written.
        String::from_utf8(out).unwrap_or_default().into()
    }
}

impl Kind {
    fn of(declared: &str) -> Self {
        if declared.eq_ignore_ascii_case("json") {
            Self::Json
        } else if declared.eq_ignore_ascii_case("boolean") || declared.eq_ignore_ascii_case("bool") {
            Self::Boolean
        } else {
            Self::Plain
        }
    }
}

fn write(out: &mut Vec<u8>, kind: Kind, value: Value<'_>) {
    match (kind, value) {
        (Kind::Boolean, Value::Integer(0)) => out.extend_from_slice(b"false"),
        (Kind::Boolean, Value::Integer(1)) => out.extend_from_slice(b"true"),
        (Kind::Json, Value::Text(text)) => match embedded(text) {
            Some(json) => out.extend_from_slice(json.as_bytes()),
            None => json::string(out, &String::from_utf8_lossy(text)),
        },
        (_, Value::Null) => out.extend_from_slice(b"null"),
        (_, Value::Text(text)) => json::string(out, &String::from_utf8_lossy(text)),
        (_, value) => {
            let (text, number) = text(value);
            if number {
                out.extend_from_slice(text.as_bytes());
            } else {
                json::string(out, &text);
            }
        }
    }
}

// What may stand in a row: one level deep already, each name once.
fn embedded(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let row = value::value(&format!("{{\"a\":{text}}}")).ok()?;
    // What closes the object and opens another would be no value.
    let inner = row.get(5..row.len().checked_sub(1)?)?;
    serde_json::from_str::<&serde_json::value::RawValue>(inner).ok()?;
    Some(inner.trim_matches(value::SPACE).to_owned())
}

// A number or BLOB as text, and whether that is a JSON number.
fn text(value: Value<'_>) -> (String, bool) {
    match value {
        Value::Integer(n) => (n.to_string(), n.unsigned_abs() <= EXACT_MAX),
        Value::Real(x) if x.is_nan() => ("NaN".to_owned(), false),
        Value::Real(x) if x.is_infinite() => {
            ((if x > 0.0 { "Infinity" } else { "-Infinity" }).to_owned(), false)
        }
        Value::Real(x) => (real(x), true),
        Value::Text(text) => (String::from_utf8_lossy(text).into_owned(), false),
        Value::Blob(bytes) => (STANDARD.encode(bytes), false),
        Value::Null => (String::new(), false),
    }
}

// With a fraction or an exponent, so that it is told from an INTEGER.
fn real(x: f64) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    write!(out, "{x:?}").unwrap_or_default();
    out
}

/// The key of a row with these values in the columns of its primary key; none where one is NULL.
pub fn key_of(values: &[Value<'_>]) -> Option<String> {
    if let [Value::Text(text)] = values {
        return Some(String::from_utf8_lossy(text).into_owned());
    }
    if values.contains(&Value::Null) {
        return None;
    }
    let texts: Vec<(String, bool)> = values.iter().map(|value| text(*value)).collect();
    let parts: Vec<String> = texts
        .into_iter()
        .map(|(text, number)| {
            if number {
                return text;
            }
            let mut json = String::new();
            json::string_into(&mut json, &text);
            json
        })
        .collect();
    Some(key(parts.iter().map(String::as_str)))
}

/// The largest integer up to which a browser's numbers are all exact.
const EXACT_MAX: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(declared: &str, value: Value<'_>) -> String {
        let column = Column { name: "a".to_owned(), declared: declared.to_owned() };
        let row = RowWriter::new([&column]).row([value]);
        row.strip_prefix("{\"a\":").unwrap().strip_suffix('}').unwrap().to_owned()
    }

    #[test]
    fn values_become_json() {
        let cases = [
            ("", Value::Null, "null"),
            ("INT", Value::Integer(-7), "-7"),
            ("INT", Value::Integer(9_007_199_254_740_991), "9007199254740991"),
            ("INT", Value::Integer(9_007_199_254_740_992), "\"9007199254740992\""),
            ("INT", Value::Integer(i64::MIN), "\"-9223372036854775808\""),
            ("REAL", Value::Real(0.1 + 0.2), "0.30000000000000004"),
            ("REAL", Value::Real(1.0), "1.0"),
            ("REAL", Value::Real(1e300), "1e300"),
            ("REAL", Value::Real(-0.0), "-0.0"),
            ("REAL", Value::Real(f64::NEG_INFINITY), "\"-Infinity\""),
            ("TEXT", Value::Text(b"a\"\xff\n"), "\"a\\\"\u{fffd}\\n\""),
            ("BLOB", Value::Blob(b"\0\xff?>"), "\"AP8/Pg==\""),
            ("Boolean", Value::Integer(1), "true"),
            ("BOOL", Value::Integer(0), "false"),
            ("BOOLEAN", Value::Integer(2), "2"),
            ("json", Value::Text(b" {\"b\":[1.50]} "), "{\"b\":[1.50]}"),
            ("JSON", Value::Text(b"{\"b\":1,\"b\":2}"), "\"{\\\"b\\\":1,\\\"b\\\":2}\""),
            ("JSON", Value::Text(b"1},{\"c\":2"), "\"1},{\\\"c\\\":2\""),
            ("JSON", Value::Text(b"1,\"c\":2"), "\"1,\\\"c\\\":2\""),
            ("JSON", Value::Text(b""), "\"\""),
            ("JSON", Value::Integer(3), "3"),
        ];
        for (declared, value, want) in cases {
            assert_eq!(row(declared, value), want, "{declared} {value:?}");
        }
    }

    #[test]
    fn keys_are_the_texts_of_their_values() {
        let cases: [(&[Value<'_>], &str); 7] = [
            (&[Value::Integer(7)], "7"),
            (&[Value::Text(b"a/b")], "a/b"),
            (&[Value::Real(1.5)], "1.5"),
            (&[Value::Blob(b"\x01\x02")], "AQI="),
            (&[Value::Integer(1), Value::Text(b"x\"")], "[1,\"x\\\"\"]"),
            (&[Value::Integer(i64::MAX), Value::Blob(b"")], "[\"9223372036854775807\",\"\"]"),
            (&[Value::Text(b"1"), Value::Real(f64::INFINITY)], "[\"1\",\"Infinity\"]"),
        ];
        for (values, text) in cases {
            assert_eq!(key_of(values).as_deref(), Some(text));
        }
        assert_eq!(key_of(&[Value::Integer(1), Value::Null]), None);
    }
}
