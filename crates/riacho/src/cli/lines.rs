//! Lines of a byte stream that arrives in pieces.

/// Bytes not yet taken as lines. Lines end at LF or CRLF; the last one also at the end of the input.
#[derive(Default, Debug)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where no line end was found.
    searched: usize,
    ended: bool,
}

impl Lines {
    /// More bytes came.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// No more will come: what is left is the last line.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// The next line, without its end.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        let found = self.bytes.get(self.searched..)?.iter().position(|b| *b == b'\n');
        let (start, end) = (self.start, self.searched + found.unwrap_or(self.bytes.len() - self.searched));
        if found.is_none() && !(self.ended && start < end) {
            self.searched = self.bytes.len();
            return None;
        }
        self.start = (end + 1).min(self.bytes.len());
        self.searched = self.start;
        let line = self.bytes.get(start..end)?;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// Bytes of the line that has no end yet.
    pub(super) fn pending(&self) -> usize {
        self.bytes.len() - self.start
    }
}
