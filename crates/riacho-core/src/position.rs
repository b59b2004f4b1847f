//! Places in a log: epochs, offsets, positions, and the text form that clients hold, the cursor.

use std::{
    fmt::{self, Display, Formatter},
    num::NonZeroU64,
    str::FromStr,
};

/// One incarnation of a log, drawn at random when the log is created. It changes only when continuity is truly lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Epoch(pub NonZeroU64);

/// The place of one event in a log: from 1, one sequence for all its streams; 0 is the place before the first event.
pub type Offset = u64;

/// A place in one log: the `offset` of the last event seen, in one `epoch`.
///
/// Text form, the cursor: `<epoch>-<offset>`, both lower-case hex without leading zeros, e.g. `5f2-1a`. At most 33
/// bytes now; clients treat it as opaque text of at most 128 bytes, letters, digits and `-` only, so that a vector of
/// offsets may follow. Such a value in `Last-Event-ID` needs no CORS preflight.
/// Spec: `spec/protocol.md` "Cursors"; WHATWG HTML, "The Last-Event-ID header".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Position {
    /// The incarnation of the log that `offset` belongs to.
    pub epoch: Epoch,
    /// The last event seen; 0 before the first.
    pub offset: Offset,
}

impl Display for Position {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.epoch.0, self.offset)
    }
}

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, ParsePositionError> {
        let (epoch, offset) = text.split_once('-').ok_or(ParsePositionError::NoSeparator)?;
        let epoch = NonZeroU64::new(hex(epoch)?).ok_or(ParsePositionError::BadNumber)?;
        Ok(Self { epoch: Epoch(epoch), offset: hex(offset)? })
    }
}

/// Why a text is no cursor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParsePositionError {
    /// No `-` between epoch and offset.
    NoSeparator,
    /// Not a number in the one form it is written in.
    BadNumber,
}

impl Display for ParsePositionError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSeparator => "no `-` between epoch and offset",
            Self::BadNumber => "epoch or offset is not lower-case hex without leading zeros",
        })
    }
}

impl std::error::Error for ParsePositionError {}

// Only the form that `Display` writes is taken: `from_str_radix` alone would also take `+1`, `01` and `A`.
fn hex(text: &str) -> Result<u64, ParsePositionError> {
    let canonical = text == "0" || !text.starts_with('0');
    if !canonical || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(ParsePositionError::BadNumber);
    }
    u64::from_str_radix(text, 16).map_err(|_| ParsePositionError::BadNumber)
}
