//! Texts of arrays and composite values, item by item. None where the text is none of these.
//!
//! Spec: PostgreSQL, "Array Input and Output Syntax", "Composite Type Input and Output Syntax".

use std::borrow::Cow;

/// What stands at a place of an array's text.
pub(super) enum Token<'a> {
    /// An array begins.
    Open,
    /// An array ends.
    Close,
    /// NULL.
    Null,
    /// An element.
    Element(Cow<'a, str>),
}

/// The text of an array, from its first brace on.
pub(super) struct Array<'a> {
    rest: &'a str,
    delimiter: char,
}

impl<'a> Array<'a> {
    /// The bounds before the array (`[0:2]=`) are no part of its value.
    pub(super) fn new(text: &'a str, delimiter: char) -> Option<Self> {
        let rest = if text.starts_with('[') { text.split_once('=')?.1 } else { text };
        Some(Self { rest, delimiter })
    }

    /// What comes next; it is not checked that anything may come there.
    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        match self.rest.chars().next()? {
            '{' => self.skip(1).map(|()| Token::Open),
            '}' => self.skip(1).map(|()| Token::Close),
            '"' => self.quoted().map(Token::Element),
            _ => self.plain(),
        }
    }

    /// Whether an item follows the one before; else the array ends here.
    pub(super) fn more(&mut self) -> Option<bool> {
        let next = self.rest.chars().next()?;
        self.skip(next.len_utf8())?;
        match next {
            next if next == self.delimiter => Some(true),
            '}' => Some(false),
            _ => None,
        }
    }

    /// Whether an array ends here; then it is behind it.
    pub(super) fn ends(&mut self) -> bool {
        self.rest.starts_with('}') && self.skip(1).is_some()
    }

    /// Whether nothing is left.
    pub(super) fn done(&self) -> bool {
        self.rest.is_empty()
    }

    fn plain(&mut self) -> Option<Token<'a>> {
        let end = self.rest.find(|c| c == self.delimiter || "{}\"\\".contains(c))?;
        let text = self.rest.get(..end).filter(|text| !text.is_empty())?;
        self.skip(end)?;
        Some(if text == "NULL" { Token::Null } else { Token::Element(text.into()) })
    }

    fn quoted(&mut self) -> Option<Cow<'a, str>> {
        self.skip(1)?;
        let mut text = Cow::Borrowed("");
        loop {
            let end = memchr::memchr2(b'"', b'\\', self.rest.as_bytes())?;
            append(&mut text, self.rest.get(..end)?);
            self.skip(end)?;
            if self.rest.starts_with('"') {
                self.skip(1)?;
                return Some(text);
            }
            append(&mut text, escaped(self.rest)?);
            self.skip(1 + escaped(self.rest)?.len())?;
        }
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }
}

/// The text of a composite value, behind what was read of it.
pub(super) struct Composite<'a> {
    rest: &'a str,
}

impl<'a> Composite<'a> {
    /// Behind the parenthesis.
    pub(super) fn new(text: &'a str) -> Option<Self> {
        Some(Self { rest: text.strip_prefix('(')? })
    }

    /// The next field, before the comma or parenthesis behind it; `Some(None)` is NULL.
    pub(super) fn field(&mut self) -> Option<Option<Cow<'a, str>>> {
        if self.rest.starts_with([',', ')']) {
            return Some(None);
        }
        let (mut text, mut in_quotes) = (Cow::Borrowed(""), false);
        loop {
            let ends = |c| matches!(c, '"' | '\\') || !in_quotes && matches!(c, ',' | ')');
            let end = self.rest.find(ends)?;
            append(&mut text, self.rest.get(..end)?);
            let rest = self.rest.get(end..)?;
            let taken = match rest.as_bytes() {
                [b'\\', ..] => {
                    append(&mut text, escaped(rest)?);
                    1 + escaped(rest)?.len()
                }
                [b'"', b'"', ..] if in_quotes => {
                    append(&mut text, "\"");
                    2
                }
                [b'"', ..] => {
                    in_quotes = !in_quotes;
                    1
                }
                _ => {
                    self.rest = rest;
                    return Some(Some(text));
                }
            };
            self.rest = rest.get(taken..)?;
        }
    }

    /// Steps over the comma behind a field.
    pub(super) fn comma(&mut self) -> Option<()> {
        self.rest = self.rest.strip_prefix(',')?;
        Some(())
    }

    /// The parenthesis, and nothing behind it.
    pub(super) fn end(&self) -> Option<()> {
        (self.rest == ")").then_some(())
    }
}

/// The character behind the backslash that `rest` begins with.
fn escaped(rest: &str) -> Option<&str> {
    let rest = rest.get(1..)?;
    rest.get(..rest.chars().next()?.len_utf8())
}

// Most items are one piece, which is not copied.
fn append<'a>(text: &mut Cow<'a, str>, piece: &'a str) {
    if text.is_empty() {
        *text = Cow::Borrowed(piece);
    } else if !piece.is_empty() {
        text.to_mut().push_str(piece);
    }
}
