//! What rows of a database are called here.

use crate::transport::json;

/// One column of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part<'a> {
    /// A text.
    Text(&'a str),
    /// A number or another JSON value, as JSON.
    Json(&'a str),
}

/// The key of a row: the bare text of its one column, or a JSON array of the values of several.
pub fn key(parts: &[Part<'_>]) -> String {
    if let [Part::Text(text) | Part::Json(text)] = parts {
        return (*text).to_owned();
    }
    let mut out = vec![b'['];
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match part {
            Part::Text(text) => json::string(&mut out, text),
            Part::Json(text) => out.extend_from_slice(text.as_bytes()),
        }
    }
    out.push(b']');
    String::from_utf8(out).unwrap_or_default()
}
