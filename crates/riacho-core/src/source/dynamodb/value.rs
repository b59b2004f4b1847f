//! Attributes: DynamoDB's values, from its JSON and back, and as the JSON of rows.
//!
//! | DynamoDB | in a row |
//! | --- | --- |
//! | `S` | a string |
//! | `N` | a number where a browser keeps it ([`Number::kept_by_browsers`]), else a string of its canonical digits |
//! | `B` | a string of base64, with padding |
//! | `BOOL`, `NULL` | `true`, `false`, `null` |
//! | `M` | an object, its members by name |
//! | `L` | an array |
//! | `SS`, `NS`, `BS` | an array in ascending order: by bytes, by amount, by bytes |

use super::number::Number;
use crate::transport::json;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use std::fmt::{self, Display, Formatter, Write as _};

/// A value of DynamoDB. Names of a map are unique and in ascending order, members of a set too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Attribute {
    /// String.
    S(Box<str>),
    /// Number.
    N(Number),
    /// Binary.
    B(Box<[u8]>),
    /// Boolean.
    Bool(bool),
    /// Null.
    Null,
    /// Map.
    M(Vec<(Box<str>, Attribute)>),
    /// List.
    L(Vec<Attribute>),
    /// String set.
    Ss(Vec<Box<str>>),
    /// Number set.
    Ns(Vec<Number>),
    /// Binary set.
    Bs(Vec<Box<[u8]>>),
}

/// A type of DynamoDB's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "Attribute says it of each")]
pub enum Kind {
    S,
    N,
    B,
    Bool,
    Null,
    M,
    L,
    Ss,
    Ns,
    Bs,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] =
        [Self::S, Self::N, Self::B, Self::Bool, Self::Null, Self::M, Self::L, Self::Ss, Self::Ns, Self::Bs];

    /// The name of it in DynamoDB's JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::S => "S",
            Self::N => "N",
            Self::B => "B",
            Self::Bool => "BOOL",
            Self::Null => "NULL",
            Self::M => "M",
            Self::L => "L",
            Self::Ss => "SS",
            Self::Ns => "NS",
            Self::Bs => "BS",
        }
    }

    /// The type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl Attribute {
    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::S(_) => Kind::S,
            Self::N(_) => Kind::N,
            Self::B(_) => Kind::B,
            Self::Bool(_) => Kind::Bool,
            Self::Null => Kind::Null,
            Self::M(_) => Kind::M,
            Self::L(_) => Kind::L,
            Self::Ss(_) => Kind::Ss,
            Self::Ns(_) => Kind::Ns,
            Self::Bs(_) => Kind::Bs,
        }
    }

    /// Takes an attribute of DynamoDB's JSON: `{"S":"abc"}`.
    ///
    /// # Errors
    /// It is no such thing, or maps and lists stand deeper than [`DEPTH_MAX`] in each other.
    pub fn parse(value: &Value) -> Result<Self, BadAttribute> {
        Self::nested(value, DEPTH_MAX)
    }

    fn nested(value: &Value, depth: usize) -> Result<Self, BadAttribute> {
        let object = value.as_object().ok_or("is not an object with its type")?;
        let mut members = object.iter();
        let (Some((name, value)), None) = (members.next(), members.next()) else {
            return Err("does not have exactly one type".into());
        };
        match Kind::parse(name).ok_or("has a type that is not known")? {
            Kind::S => Ok(Self::S(string(value)?.into())),
            Kind::N => number(value).map(Self::N),
            Kind::B => binary(value).map(Self::B),
            Kind::Bool => Ok(Self::Bool(value.as_bool().ok_or("is no BOOL")?)),
            Kind::Null => value.as_bool().map(|_| Self::Null).ok_or_else(|| "is no NULL".into()),
            Kind::M => {
                let members = value.as_object().ok_or("is no M")?;
                Ok(Self::M(map(members, depth.checked_sub(1).ok_or(TOO_DEEP)?)?))
            }
            Kind::L => {
                let depth = depth.checked_sub(1).ok_or(TOO_DEEP)?;
                let items = value.as_array().ok_or("is no L")?.iter();
                let item = |value| Self::nested(value, depth).map_err(|err| err.within("[]"));
                items.map(item).collect::<Result<_, _>>().map(Self::L)
            }
            Kind::Ss => set(value, |value| string(value).map(Box::from)).map(Self::Ss),
            Kind::Ns => set(value, number).map(Self::Ns),
            Kind::Bs => set(value, binary).map(Self::Bs),
        }
    }

    /// Appends it as the JSON of a row.
    pub fn json(&self, out: &mut String) {
        match self {
            Self::S(text) => json::string_into(out, text),
            Self::N(number) => number.json(out),
            Self::B(bytes) => base64(out, bytes),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Null => out.push_str("null"),
            Self::M(members) => object(out, members, Self::json),
            Self::L(items) => list(out, items, |out, item| item.json(out)),
            Self::Ss(texts) => list(out, texts, |out, text| json::string_into(out, text)),
            Self::Ns(numbers) => list(out, numbers, |out, number| number.json(out)),
            Self::Bs(all) => list(out, all, |out, bytes| base64(out, bytes)),
        }
    }

    /// Appends it as DynamoDB's JSON: `{"S":"abc"}`.
    pub fn dynamodb_json(&self, out: &mut String) {
        out.extend(["{\"", self.kind().as_str(), "\":"]);
        let number = |out: &mut String, number: &Number| {
            // Writing to a String cannot fail.
            write!(out, "\"{number}\"").unwrap_or_default();
        };
        match self {
            Self::N(value) => number(out, value),
            Self::Null => out.push_str("true"),
            Self::M(members) => object(out, members, Self::dynamodb_json),
            Self::L(items) => list(out, items, |out, item| item.dynamodb_json(out)),
            Self::Ns(numbers) => list(out, numbers, number),
            Self::S(_) | Self::B(_) | Self::Bool(_) | Self::Ss(_) | Self::Bs(_) => self.json(out),
        }
        out.push('}');
    }
}

/// Members in the order of their names.
pub(super) fn map(
    members: &Map<String, Value>,
    depth: usize,
) -> Result<Vec<(Box<str>, Attribute)>, BadAttribute> {
    let member = |(name, value): (&String, &Value)| {
        let value = Attribute::nested(value, depth).map_err(|err| err.within(name))?;
        Ok((Box::from(&**name), value))
    };
    members.iter().map(member).collect::<Result<_, BadAttribute>>().map(in_order)
}

/// Each name once, the last of several, in ascending order.
pub(super) fn in_order(mut members: Vec<(Box<str>, Attribute)>) -> Vec<(Box<str>, Attribute)> {
    members.reverse();
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    members.dedup_by(|(a, _), (b, _)| a == b);
    members
}

fn string(value: &Value) -> Result<&str, BadAttribute> {
    value.as_str().ok_or_else(|| "is not the string that its type has".into())
}

fn number(value: &Value) -> Result<Number, BadAttribute> {
    string(value)?.parse().map_err(|err| BadAttribute { way: Vec::new(), why: format!("as a number {err}") })
}

fn binary(value: &Value) -> Result<Box<[u8]>, BadAttribute> {
    Ok(STANDARD.decode(string(value)?).map_err(|_| "is not base64")?.into())
}

fn set<T: Ord>(
    value: &Value,
    member: impl Fn(&Value) -> Result<T, BadAttribute>,
) -> Result<Vec<T>, BadAttribute> {
    let members = value.as_array().ok_or("is no set")?;
    let mut members = members.iter().map(member).collect::<Result<Vec<T>, _>>()?;
    members.sort_unstable();
    members.dedup();
    Ok(members)
}

pub(super) fn object(
    out: &mut String,
    members: &[(Box<str>, Attribute)],
    write: impl Fn(&Attribute, &mut String),
) {
    out.push('{');
    for (i, (name, value)) in members.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        json::string_into(out, name);
        out.push(':');
        write(value, out);
    }
    out.push('}');
}

fn list<T>(out: &mut String, items: &[T], write: impl Fn(&mut String, &T)) {
    out.push('[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

fn base64(out: &mut String, bytes: &[u8]) {
    out.push('"');
    STANDARD.encode_string(bytes, out);
    out.push('"');
}

/// JSON that is no attribute of DynamoDB. `Display` is a sentence without a stop; it names the attribute, not the value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadAttribute {
    /// Names from the inside out.
    way: Vec<Box<str>>,
    why: String,
}

impl BadAttribute {
    pub(super) fn within(mut self, name: &str) -> Self {
        self.way.push(name.into());
        self
    }
}

impl From<&str> for BadAttribute {
    fn from(why: &str) -> Self {
        Self { way: Vec::new(), why: why.to_owned() }
    }
}

impl Display for BadAttribute {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let way: Vec<&str> = self.way.iter().rev().map(|name| &**name).collect();
        let way: String = way.join(".").chars().take(WAY_CHARS_MAX).collect();
        if way.is_empty() {
            write!(f, "the attribute {}", self.why)
        } else {
            write!(f, "the attribute {way:?} {}", self.why)
        }
    }
}

impl std::error::Error for BadAttribute {}

const TOO_DEEP: &str = "has more than 32 maps and lists in each other";

/// How many maps and lists may stand in each other. DynamoDB has 32 levels, what is in the innermost counted.
pub const DEPTH_MAX: usize = 32;

/// The longest way to an attribute that an error shows, in characters.
const WAY_CHARS_MAX: usize = 200;
