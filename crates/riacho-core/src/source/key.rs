//! What a row of a source is called in Riacho: the text of its primary key.

use crate::scan;

/// The text of a key whose columns have these JSON values, in the key's order.
///
/// One column: the text of its value, a string without quotes and escapes (`abc`), all else as JSON (`42`, `true`). So
/// 42 and "42" are one key; in a table only one of them occurs, as a column has one type. Several columns: a JSON array
/// of the values as they are, without spaces between them: `[42,"abc"]`.
///
/// It is not checked to be a [`Key`](crate::table::key::Key): it may be empty or too long.
pub fn key<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let parts: Vec<&str> = parts.into_iter().collect();
    match *parts {
        [part] => match part.strip_prefix('"').and_then(|part| part.strip_suffix('"')) {
            Some(between) => scan::text(between).into_owned(),
            None => part.to_owned(),
        },
        _ => format!("[{}]", parts.join(",")),
    }
}
