//! Places in a shard: the numbers of its records.

use std::{
    cmp::Ordering,
    fmt::{self, Display, Formatter},
    hash::{Hash, Hasher},
    str::FromStr,
};

/// The number of a record in its stream: 1 to [`SEQUENCE_DIGITS_MAX`] decimal digits, more than a u128 holds.
///
/// Ordered and equal as an integer; its text is kept as the service wrote it, zeros before it included, as the service
/// gets it back. Records of one item have rising numbers, also from one shard to the next; of two items of several
/// shards they say nothing.
/// Spec: Amazon DynamoDB API Reference, "StreamRecord", `SequenceNumber`.
#[derive(Clone, Debug)]
pub struct SequenceNumber(Box<str>);

impl SequenceNumber {
    /// The text as it was read.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn significant(&self) -> &str {
        self.0.trim_start_matches('0')
    }
}

impl FromStr for SequenceNumber {
    type Err = ParseSequenceNumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shape = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !shape || text.len() > SEQUENCE_DIGITS_MAX {
            return Err(ParseSequenceNumberError);
        }
        Ok(Self(text.into()))
    }
}

impl Display for SequenceNumber {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.significant(), other.significant());
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for SequenceNumber {
    fn eq(&self, other: &Self) -> bool {
        self.significant() == other.significant()
    }
}

impl Eq for SequenceNumber {}

impl Hash for SequenceNumber {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.significant().hash(state);
    }
}

/// The text is no number of 1 to [`SEQUENCE_DIGITS_MAX`] digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseSequenceNumberError;

impl Display for ParseSequenceNumberError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "a sequence number has 1 to {SEQUENCE_DIGITS_MAX} decimal digits")
    }
}

impl std::error::Error for ParseSequenceNumberError {}

/// The most digits that the service's model has for a sequence number. (Its least are 21; emulators go below.)
pub const SEQUENCE_DIGITS_MAX: usize = 40;
