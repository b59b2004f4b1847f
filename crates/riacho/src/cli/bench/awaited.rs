//! A text that each subscriber waits for before it counts as connected: the end of what comes first.

use super::tally::MARKER_BYTES_MAX;
use memchr::memmem::Finder;

/// Who has received the text.
#[derive(Debug)]
pub(super) struct Awaited {
    finder: Finder<'static>,
    /// The newest bytes of those who have not received it; none of the others.
    ends: Vec<Option<Vec<u8>>>,
    /// How many have.
    pub(super) ready: usize,
}

impl Awaited {
    /// For so many subscribers; `text` has 1 to [`MARKER_BYTES_MAX`] bytes.
    pub(super) fn new(text: &str, subscribers: usize) -> Self {
        debug_assert!((1..=MARKER_BYTES_MAX).contains(&text.len()), "the text was checked");
        let ends = vec![Some(Vec::new()); subscribers];
        Self { finder: Finder::new(text.as_bytes()).into_owned(), ends, ready: 0 }
    }

    /// `reader` received a piece.
    pub(super) fn take(&mut self, reader: usize, piece: &[u8]) {
        let Some(place) = self.ends.get_mut(reader) else { return };
        let Some(end) = place else { return };
        let kept = self.finder.needle().len() - 1;
        // Where the text is cut, so many bytes of the piece are enough to see it.
        end.extend(piece.iter().take(kept));
        if self.finder.find(end).or_else(|| self.finder.find(piece)).is_some() {
            *place = None;
            self.ready += 1;
            return;
        }
        if piece.len() >= kept {
            end.clear();
            end.extend(piece.iter().skip(piece.len() - kept));
        } else {
            end.drain(..end.len().saturating_sub(kept));
        }
    }
}
