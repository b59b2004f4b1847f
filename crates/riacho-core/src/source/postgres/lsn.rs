//! Places in the server's write-ahead log.

use std::{
    fmt::{self, Display, Formatter},
    str::FromStr,
};

/// A log sequence number: a byte's place in the write-ahead log of one server, on one timeline. 0 is no place.
///
/// Text form, as PostgreSQL's type `pg_lsn`: the upper and the lower 32 bits in upper-case hex without leading zeros,
/// e.g. `16/B374D848`. Lower case and leading zeros are read too, up to eight digits a half, as PostgreSQL does.
/// Spec: PostgreSQL, "pg_lsn Type".
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Takes the text form; none for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (upper, lower) = text.split_once('/')?;
        Some(Self(u64::from(half(upper)?) << 32 | u64::from(half(lower)?)))
    }
}

impl Display for Lsn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, ParseLsnError> {
        Self::parse(text).ok_or(ParseLsnError)
    }
}

/// A text is no place in a write-ahead log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseLsnError;

impl Display for ParseLsnError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("expected a place in a write-ahead log like 16/B374D848")
    }
}

impl std::error::Error for ParseLsnError {}

// `from_str_radix` takes a sign.
fn half(text: &str) -> Option<u32> {
    let digits = text.len() <= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(text, 16).ok().filter(|_| digits)
}
