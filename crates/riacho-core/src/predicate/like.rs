//! Patterns of LIKE and ILIKE.
//!
//! Pieces between `%` are looked for one after the other, each at its first place: that never goes back, so a match costs
//! at most the length of the text times that of the longest piece with a `_` in it.

use std::borrow::Cow;

/// A pattern, in one form for all patterns that match the same.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Pattern {
    head: Piece,
    /// What stands behind each `%`.
    rest: Vec<Piece>,
    /// ILIKE: all letters are lower case here.
    fold: bool,
}

/// Characters one after the other; `None` is any one character.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
struct Piece {
    chars: Vec<Option<char>>,
    /// Its text, unless there is a `_` in it.
    text: Option<Box<str>>,
}

impl Pattern {
    /// Takes `text` as a pattern in which `escape` takes the next character's meaning away; none where nothing follows
    /// an escape.
    pub(super) fn parse(text: &str, escape: Option<char>, fold: bool) -> Option<Self> {
        let (mut pieces, mut piece) = (Vec::new(), Vec::new());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if Some(c) == escape {
                piece.push(Some(chars.next()?));
                continue;
            }
            match c {
                '%' => pieces.push(std::mem::take(&mut piece)),
                '_' => piece.push(None),
                c => piece.push(Some(c)),
            }
        }
        pieces.push(piece);
        let mut tidy = tidy(pieces).into_iter().map(|chars| Piece::new(chars, fold));
        Some(Self { head: tidy.next().unwrap_or_default(), rest: tidy.collect(), fold })
    }

    /// Whether `text` matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        let text = if self.fold { lower(text) } else { Cow::Borrowed(text) };
        let Some(left) = self.head.starts(&text) else { return false };
        let Some((last, middle)) = self.rest.split_last() else { return left.is_empty() };
        let mut left = left;
        for piece in middle {
            match piece.find(left) {
                Some(after) => left = after,
                None => return false,
            }
        }
        last.ends(left)
    }

    /// Whether letters match in any case.
    pub(super) fn fold(&self) -> bool {
        self.fold
    }

    /// Its text, where the backslash is the escape.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        self.head.write(&mut text);
        for piece in &self.rest {
            text.push('%');
            piece.write(&mut text);
        }
        text
    }
}

impl Piece {
    fn new(mut chars: Vec<Option<char>>, fold: bool) -> Self {
        if fold {
            chars.iter_mut().flatten().for_each(|c| *c = lower_char(*c));
        }
        let text = chars.iter().copied().collect::<Option<String>>().map(Into::into);
        Self { chars, text }
    }

    /// What follows it, where `text` begins with it.
    fn starts<'t>(&self, text: &'t str) -> Option<&'t str> {
        if let Some(start) = &self.text {
            return text.strip_prefix(&**start);
        }
        let mut chars = text.chars();
        for want in &self.chars {
            let c = chars.next()?;
            if want.is_some_and(|want| want != c) {
                return None;
            }
        }
        Some(chars.as_str())
    }

    /// What follows its first place in `text`.
    fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        if let Some(part) = &self.text {
            return text.split_once(&**part).map(|(_, after)| after);
        }
        let mut left = text;
        loop {
            if let Some(after) = self.starts(left) {
                return Some(after);
            }
            let mut chars = left.chars();
            chars.next()?;
            left = chars.as_str();
        }
    }

    fn ends(&self, text: &str) -> bool {
        if let Some(end) = &self.text {
            return text.ends_with(&**end);
        }
        let mut chars = text.chars();
        self.chars
            .iter()
            .rev()
            .all(|want| chars.next_back().is_some_and(|c| want.is_none_or(|want| want == c)))
    }

    fn write(&self, text: &mut String) {
        for c in &self.chars {
            match c {
                Some(c) => {
                    if matches!(c, '%' | '_' | '\\') {
                        text.push('\\');
                    }
                    text.push(*c);
                }
                None => text.push('_'),
            }
        }
    }
}

/// Every letter by its small one, where that is one character.
pub(super) fn lower(text: &str) -> Cow<'_, str> {
    fold(text, lower_char)
}

/// Every letter by its capital, where that is one character.
pub(super) fn upper(text: &str) -> Cow<'_, str> {
    fold(text, |c| one(c, c.to_uppercase()))
}

fn lower_char(c: char) -> char {
    one(c, c.to_lowercase())
}

fn fold(text: &str, one: impl Fn(char) -> char) -> Cow<'_, str> {
    if text.chars().all(|c| one(c) == c) { Cow::Borrowed(text) } else { text.chars().map(one).collect() }
}

fn one(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// `%%` is `%`, and `%_` is `_%`.
fn tidy(pieces: Vec<Vec<Option<char>>>) -> Vec<Vec<Option<char>>> {
    let mut tidy: Vec<Vec<Option<char>>> = Vec::new();
    let last = pieces.len().saturating_sub(1);
    for (at, mut piece) in pieces.into_iter().enumerate() {
        let Some(before) = tidy.last_mut() else {
            tidy.push(piece);
            continue;
        };
        let ones = piece.iter().take_while(|c| c.is_none()).count();
        before.extend(piece.drain(..ones));
        if !piece.is_empty() || at == last {
            tidy.push(piece);
        }
    }
    tidy
}

/// The longest pattern, in bytes; for a pattern that comes from the row, what is longer is unknown.
pub const PATTERN_BYTES_MAX: usize = 500;
