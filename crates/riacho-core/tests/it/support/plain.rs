//! The plainest way to say what some code must do, for tests and fuzz targets to compare with.

/// Whether the name or pattern `selector` selects the stream `name`.
pub(crate) fn selects(selector: &str, name: &str) -> bool {
    let names: Vec<&str> = name.split('/').collect();
    let mut selectors: Vec<&str> = selector.split('/').collect();
    if selectors.last() == Some(&"**") {
        selectors.pop();
        if names.len() <= selectors.len() {
            return false;
        }
    } else if names.len() != selectors.len() {
        return false;
    }
    selectors.iter().zip(&names).all(|(s, n)| *s == "*" || s == n)
}

/// A JSON text without the white space between its tokens, and with the separators U+0085, U+2028 and U+2029 escaped.
///
/// Not parsed into values: half a surrogate pair and `1e999` are JSON, but no Rust values.
pub(crate) fn tokens(text: &str) -> String {
    let mut tokens = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' | '\r' | '\n' if !quoted => continue,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        match c {
            '\u{85}' | '\u{2028}' | '\u{2029}' => tokens.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => tokens.push(c),
        }
    }
    tokens
}
