//! SQL's words: which are operators here, which cannot be names unless quoted, and how names and texts are written.

use std::fmt::{self, Formatter, Write};

/// What an unquoted word is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WordKind {
    /// Part of the language of predicates.
    Operator,
    /// Reserved in PostgreSQL, and without meaning here.
    Reserved,
    /// A name, of a column or a function.
    Name,
}

/// What the unquoted word `word` is, in any case of letters.
pub(super) fn kind(word: &str) -> WordKind {
    let upper = word.to_ascii_uppercase();
    if OPERATORS.contains(&&*upper) {
        WordKind::Operator
    } else if RESERVED.binary_search(&&*upper).is_ok() {
        WordKind::Reserved
    } else {
        WordKind::Name
    }
}

/// Writes the name of a member: as it is if it is a plain word, else in double quotes.
pub(super) fn write_name(f: &mut Formatter<'_>, name: &str) -> fmt::Result {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && kind(name) == WordKind::Name
        && !CONTEXTUAL.contains(&&*name.to_ascii_uppercase());
    if plain { f.write_str(name) } else { quoted(f, '"', name) }
}

/// Writes `text` as a literal.
pub(super) fn write_text(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    quoted(f, '\'', text)
}

fn quoted(f: &mut Formatter<'_>, quote: char, text: &str) -> fmt::Result {
    f.write_char(quote)?;
    for c in text.chars() {
        if c == quote {
            f.write_char(quote)?;
        }
        f.write_char(c)?;
    }
    f.write_char(quote)
}

const OPERATORS: &[&str] = &[
    "AND", "BETWEEN", "DISTINCT", "FALSE", "FROM", "ILIKE", "IN", "IS", "LIKE", "NOT", "NULL", "OR", "TRUE",
];

/// Operators where nothing else fits, names elsewhere.
pub(super) const CONTEXTUAL: &[&str] = &["ESCAPE", "UNKNOWN"];

/// Spec: PostgreSQL 15, "SQL Key Words": what is reserved there, in functions' and types' names or everywhere, and the
/// forms of expressions that begin like a call.
const RESERVED: &[&str] = &[
    "ALL",
    "ANALYSE",
    "ANALYZE",
    "ANY",
    "ARRAY",
    "AS",
    "ASC",
    "ASYMMETRIC",
    "AUTHORIZATION",
    "BINARY",
    "BOTH",
    "CASE",
    "CAST",
    "CHECK",
    "COLLATE",
    "COLLATION",
    "COLUMN",
    "CONCURRENTLY",
    "CONSTRAINT",
    "CREATE",
    "CROSS",
    "CURRENT_CATALOG",
    "CURRENT_DATE",
    "CURRENT_ROLE",
    "CURRENT_SCHEMA",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURRENT_USER",
    "DEFAULT",
    "DEFERRABLE",
    "DESC",
    "DO",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "FETCH",
    "FOR",
    "FOREIGN",
    "FREEZE",
    "FULL",
    "GRANT",
    "GROUP",
    "HAVING",
    "INITIALLY",
    "INNER",
    "INTERSECT",
    "INTO",
    "ISNULL",
    "JOIN",
    "LATERAL",
    "LEADING",
    "LEFT",
    "LIMIT",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "NATURAL",
    "NOTNULL",
    "OFFSET",
    "ON",
    "ONLY",
    "ORDER",
    "OUTER",
    "OVERLAPS",
    "PLACING",
    "PRIMARY",
    "REFERENCES",
    "RETURNING",
    "RIGHT",
    "SELECT",
    "SESSION_USER",
    "SIMILAR",
    "SOME",
    "SYMMETRIC",
    "TABLE",
    "TABLESAMPLE",
    "THEN",
    "TO",
    "TRAILING",
    "UNION",
    "UNIQUE",
    "USER",
    "USING",
    "VARIADIC",
    "VERBOSE",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
];
