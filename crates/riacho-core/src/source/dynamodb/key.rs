//! What a row of a table of DynamoDB is called, and back.

use super::{
    item::Item,
    types::Types,
    value::{Attribute, Kind},
};
use crate::{scan::Scan, source, table};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::fmt::{self, Display, Formatter};

/// The names of a table's key attributes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KeySchema {
    /// The partition key.
    pub hash: Box<str>,
    /// The sort key.
    pub range: Option<Box<str>>,
}

impl KeySchema {
    /// The key of an item as [`source::key`](mod@crate::source::key) has it: of a partition key alone its text, `abc`,
    /// `15`, base64 of a binary; of two attributes a JSON array of both, `["abc",15]`.
    ///
    /// # Errors
    /// An attribute is missing or no key; the text is too long for a key.
    pub fn text(&self, item: &Item) -> Result<Box<str>, KeyError> {
        let parts = self.names().map(|name| self::part(item, name)).collect::<Result<Vec<_>, _>>()?;
        let text = source::key::key(parts.iter().map(String::as_str));
        let key = table::key::Key::parse(text).map_err(KeyError::Key)?;
        Ok(key.into_text())
    }

    /// The key attributes of a row of that key; `types` knows those of the table ([`Types::learn`] from any item, or
    /// from [`answer::Table`](super::answer::Table)).
    ///
    /// # Errors
    /// The text is no key of these types, or types are not known.
    pub fn item(&self, key: &str, types: &Types) -> Result<Item, KeyError> {
        let item = match &self.range {
            None => Item::new([(self.hash.clone(), self.attribute(&self.hash, key, types)?)]),
            Some(range) => {
                let [hash, sort] = pair(key).ok_or(KeyError::NotAKey)?;
                Item::new([
                    (self.hash.clone(), self.attribute(&self.hash, &hash, types)?),
                    (range.clone(), self.attribute(range, &sort, types)?),
                ])
            }
        };
        // One text for each key: not 1.0 beside 1.
        if self.text(&item)?.as_ref() == key { Ok(item) } else { Err(KeyError::NotAKey) }
    }

    /// Whether these are the attributes of a key, and no others.
    pub fn fits(&self, item: &Item) -> bool {
        item.attributes().len() == self.names().count()
            && self.names().all(|name| self::part(item, name).is_ok())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.hash).chain(self.range.as_deref())
    }

    fn attribute(&self, name: &str, text: &str, types: &Types) -> Result<Attribute, KeyError> {
        let kind = types.key_kind(name).ok_or_else(|| KeyError::UnknownType(name.into()))?;
        match kind {
            Kind::N => text.parse().map(Attribute::N).map_err(|_| KeyError::NotAKey),
            Kind::B => {
                STANDARD.decode(text).map(|bytes| Attribute::B(bytes.into())).map_err(|_| KeyError::NotAKey)
            }
            _ => Ok(Attribute::S(text.into())),
        }
    }
}

/// The JSON of one attribute of a key.
fn part(item: &Item, name: &str) -> Result<String, KeyError> {
    let attribute = item.get(name).ok_or_else(|| KeyError::Missing(name.into()))?;
    if !matches!(attribute.kind(), Kind::S | Kind::N | Kind::B) {
        return Err(KeyError::NotAKeyType(name.into()));
    }
    let mut out = String::new();
    attribute.json(&mut out);
    Ok(out)
}

/// The texts of an array of two strings or numbers.
fn pair(key: &str) -> Option<[String; 2]> {
    serde_json::from_str::<&serde_json::value::RawValue>(key).ok()?;
    let mut scan = Scan::new(key);
    scan.open_array()?;
    let hash = scan.item()??;
    let range = scan.item()??;
    if scan.item()?.is_some() {
        return None;
    }
    // Strings lose their quotes, as a key of one part does.
    Some([hash, range].map(|part| source::key::key([part])))
}

/// Why there is no key. `Display` is a sentence without a stop; it names attributes, never values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyError {
    /// The item does not have this attribute of its key.
    Missing(Box<str>),
    /// This attribute is neither string, number nor binary.
    NotAKeyType(Box<str>),
    /// The text is no key of Riacho's.
    Key(table::key::KeyError),
    /// The text is no key of this table.
    NotAKey,
    /// No item of the table was seen that tells the type of this attribute.
    UnknownType(Box<str>),
}

impl Display for KeyError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "the item has no key attribute {name:?}"),
            Self::NotAKeyType(name) => {
                write!(f, "the key attribute {name:?} is neither a string, a number nor binary")
            }
            Self::Key(err) => write!(f, "the key {err}"),
            Self::NotAKey => f.write_str("the text is no key of this table"),
            Self::UnknownType(name) => write!(f, "the type of the key attribute {name:?} is not known"),
        }
    }
}

impl std::error::Error for KeyError {}
