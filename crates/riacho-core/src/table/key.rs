//! What a row is called.

use std::fmt::{self, Display, Formatter};

/// The key of a row, unique in its table: 1 to [`KEY_BYTES_MAX`] bytes of UTF-8 without U+0000, which PostgreSQL has
/// no text for. Other control characters are allowed. Keys are compared byte by byte; nothing is normalised.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key(Box<str>);

impl Key {
    /// Takes `text` as a key.
    ///
    /// # Errors
    /// Says which rule of the type's shape is broken.
    pub fn parse(text: impl Into<Box<str>> + AsRef<str>) -> Result<Self, KeyError> {
        let key = text.as_ref();
        if key.is_empty() {
            return Err(KeyError::Empty);
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(KeyError::TooLong);
        }
        if key.contains('\0') {
            return Err(KeyError::Nul);
        }
        Ok(Self(text.into()))
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key's text, without a copy.
    pub fn into_text(self) -> Box<str> {
        self.0
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no key. `Display` completes "the key ...".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KeyError {
    /// No bytes at all.
    Empty,
    /// More than [`KEY_BYTES_MAX`] bytes.
    TooLong,
    /// It holds U+0000.
    Nul,
}

impl Display for KeyError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong => write!(f, "is longer than {KEY_BYTES_MAX} bytes"),
            Self::Nul => f.write_str("holds the character U+0000"),
        }
    }
}

impl std::error::Error for KeyError {}

/// The longest key, in bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 1024;
