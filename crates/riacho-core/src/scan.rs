//! Walks through JSON text member by member, without stack and without values.
//!
//! It trusts nothing: where the text is no JSON it stops. It does not check what it skips.

use memchr::memchr2;
use std::borrow::Cow;

/// A place in a JSON text.
pub(crate) struct Scan<'a> {
    text: &'a str,
    at: usize,
    first: bool,
}

impl<'a> Scan<'a> {
    /// The beginning of `text`.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, first: false }
    }

    /// Steps into an object; none where there is none.
    pub(crate) fn open_object(&mut self) -> Option<()> {
        self.open(b'{')
    }

    /// Steps into an array; none where there is none.
    pub(crate) fn open_array(&mut self) -> Option<()> {
        self.open(b'[')
    }

    fn open(&mut self, bracket: u8) -> Option<()> {
        self.space();
        self.take(bracket)?;
        self.first = true;
        Some(())
    }

    /// The name of the next member, with the place at its value; or `Some(None)` behind the object.
    pub(crate) fn member(&mut self) -> Option<Option<Cow<'a, str>>> {
        Some(self.named_member()?.map(|member| member.name()))
    }

    /// The same, with the name as it is written.
    pub(crate) fn named_member(&mut self) -> Option<Option<Member<'a>>> {
        if !self.more(b'}')? {
            return Some(None);
        }
        let begin = self.at;
        let between = self.string()?;
        self.space();
        self.take(b':')?;
        self.space();
        Some(Some(Member { begin, between }))
    }

    /// The text of the next item; or `Some(None)` behind the array.
    pub(crate) fn item(&mut self) -> Option<Option<&'a str>> {
        if !self.more(b']')? {
            return Some(None);
        }
        self.skip_value().map(Some)
    }

    /// Whether another member or item comes, the place then being at it, or `end`, the place then being behind it.
    pub(crate) fn more(&mut self, end: u8) -> Option<bool> {
        self.space();
        let first = std::mem::replace(&mut self.first, false);
        match self.peek()? {
            byte if byte == end => {
                self.at += 1;
                return Some(false);
            }
            b',' if !first => self.at += 1,
            _ if first => {}
            _ => return None,
        }
        self.space();
        Some(true)
    }

    /// Whether an object begins here.
    pub(crate) fn at_object(&self) -> bool {
        self.peek() == Some(b'{')
    }

    /// Whether an array begins here.
    pub(crate) fn at_array(&self) -> bool {
        self.peek() == Some(b'[')
    }

    /// Where this is, for `since`.
    pub(crate) fn place(&self) -> usize {
        self.at
    }

    /// The text from `place` to here.
    pub(crate) fn since(&self, place: usize) -> Option<&'a str> {
        self.text.get(place..self.at)
    }

    /// The text of the value that begins here.
    pub(crate) fn skip_value(&mut self) -> Option<&'a str> {
        let begin = self.at;
        match self.peek()? {
            b'"' => {
                self.string()?;
            }
            b'{' | b'[' => self.brackets()?,
            _ => self.plain(),
        }
        self.since(begin).filter(|text| !text.is_empty())
    }

    /// The text between the quotes.
    fn string(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let begin = self.at;
        loop {
            let found = memchr2(b'"', b'\\', self.text.as_bytes().get(self.at..)?)?;
            self.at += found;
            if self.peek()? == b'"' {
                let string = self.since(begin);
                self.at += 1;
                return string;
            }
            self.at += 2;
        }
    }

    fn brackets(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// A number or a word.
    fn plain(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let ends =
            |byte: &u8| matches!(byte, b',' | b'}' | b']' | b':' | b'"' | b' ' | b'\t' | b'\r' | b'\n');
        self.at += rest.iter().position(ends).unwrap_or(rest.len());
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// The beginning of a member.
pub(crate) struct Member<'a> {
    /// The place of its name's first quote.
    pub(crate) begin: usize,
    /// The text between its name's quotes.
    pub(crate) between: &'a str,
}

impl<'a> Member<'a> {
    /// Its name.
    pub(crate) fn name(&self) -> Cow<'a, str> {
        text(self.between)
    }
}

/// What a JSON string says, by the text between its quotes. Half a surrogate pair is U+FFFD.
pub(crate) fn text(between: &str) -> Cow<'_, str> {
    if !between.contains('\\') {
        return Cow::Borrowed(between);
    }
    let mut out = String::with_capacity(between.len());
    let mut units = Vec::new();
    let mut rest = between;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        if c != '\\' {
            flush(&mut units, &mut out);
            out.push(c);
            continue;
        }
        let Some(escape) = rest.chars().next() else { break };
        rest = rest.get(escape.len_utf8()..).unwrap_or_default();
        if escape == 'u' {
            let unit = rest.get(..4).and_then(|hex| u16::from_str_radix(hex, 16).ok()).unwrap_or(0xfffd);
            units.push(unit);
            rest = rest.get(4..).unwrap_or_default();
            continue;
        }
        flush(&mut units, &mut out);
        out.push(match escape {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            other => other,
        });
    }
    flush(&mut units, &mut out);
    Cow::Owned(out)
}

fn flush(units: &mut Vec<u16>, out: &mut String) {
    out.extend(char::decode_utf16(units.drain(..)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
}
