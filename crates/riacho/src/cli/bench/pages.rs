//! Long-poll: what the next request of each subscriber says, and where the cursor stands in a page.

use super::{args::SubscribePlan, connect::Target, request};
use memchr::memmem;

/// The ends of the pages being read, and requests for the next.
#[derive(Debug)]
pub(super) struct Pages {
    /// Requests, up to the cursor, for each path.
    requests: Vec<String>,
    ends: Vec<PageEnd>,
}

/// The newest bytes of a page.
#[derive(Clone, Debug)]
struct PageEnd {
    bytes: [u8; END_BYTES],
    length: usize,
}

impl Pages {
    pub(super) fn new(plan: &SubscribePlan, target: &Target) -> Self {
        let request = |path: &String| {
            let path = format!("{path}{}wait=25s", if path.contains('?') { '&' } else { '?' });
            // The cursor takes the place of the one that the first request came with.
            let skip = Some("last-event-id");
            request::subscription(target, &path, &plan.accept, &plan.headers, skip) + "last-event-id: "
        };
        Self::of_requests(plan.paths.iter().map(request).collect(), plan.subscribers)
    }

    /// Requests up to the cursor, and how many subscribers take them in turn.
    pub(super) fn of_requests(requests: Vec<String>, subscribers: usize) -> Self {
        Self { requests, ends: vec![PageEnd { bytes: [0; END_BYTES], length: 0 }; subscribers] }
    }

    /// `reader` received a piece of a page.
    pub(super) fn take(&mut self, reader: usize, piece: &[u8]) {
        let Some(end) = self.ends.get_mut(reader) else { return };
        let piece = piece.get(piece.len().saturating_sub(END_BYTES)..).unwrap_or_default();
        let kept = end.length.min(END_BYTES - piece.len());
        end.bytes.copy_within(end.length - kept..end.length, 0);
        end.bytes.iter_mut().skip(kept).zip(piece).for_each(|(to, from)| *to = *from);
        end.length = kept + piece.len();
    }

    /// The page of `reader` is over: the request for the next one; none if the page had no cursor.
    pub(super) fn next(&mut self, reader: usize) -> Option<Vec<u8>> {
        let end = self.ends.get_mut(reader)?;
        let page = end.bytes.get(..end.length)?;
        end.length = 0;
        let start = memmem::rfind(page, CURSOR)? + CURSOR.len();
        let cursor = page.get(start..)?;
        let cursor = cursor.get(..memchr::memchr(b'"', cursor)?)?;
        let request = self.requests.get(reader % self.requests.len())?;
        Some([request.as_bytes(), cursor, b"\r\n\r\n"].concat())
    }
}

const CURSOR: &[u8] = b"\"cursor\":\"";
/// A cursor has up to 128 bytes, and little stands behind it.
const END_BYTES: usize = 192;
