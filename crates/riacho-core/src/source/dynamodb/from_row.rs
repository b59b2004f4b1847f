//! Rows back to items: JSON and the types that were met in its table.

use super::{
    item::Item,
    number::Number,
    types::{self, Kinds, Node, Types},
    value::{Attribute, DEPTH_MAX, Kind, in_order},
};
use crate::scan::{self, Scan};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

/// An item that was made of a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// The item.
    pub item: Item,
    /// Ways to attributes whose type is a guess: it was not met there, or two types were that give the same JSON. At
    /// most [`UNSURE_MAX`] of them, as [`Types::paths`] writes them.
    pub unsure: Vec<String>,
}

impl Item {
    /// Takes a row back: the inverse of [`Item::json`] with all columns, with the types of its table.
    ///
    /// Where several types were met, JSON tells most of them apart: a number is no string, `"abc"` is no number, a set
    /// is in order. Where it does not, the type is a guess and is reported: a string before a number before binary, a
    /// list before sets. Numbers are read exactly.
    ///
    /// # Errors
    /// It is no JSON object, deeper than an item may be, or has a number that DynamoDB does not.
    pub fn of_json(row: &str, types: &Types) -> Result<Restored, String> {
        serde_json::from_str::<&RawValue>(row).map_err(|err| format!("the row is not JSON: {err}"))?;
        let mut unsure = Vec::new();
        let mut reader = Reader { unsure: &mut unsure };
        let members = reader.members(row, Some(types.root()), "$", DEPTH_MAX)?;
        Ok(Restored { item: Item::new(members), unsure })
    }
}

struct Reader<'a> {
    unsure: &'a mut Vec<String>,
}

type Members = Vec<(Box<str>, Attribute)>;

impl Reader<'_> {
    /// `depth`: how many maps and lists may stand in each other within these.
    fn members(
        &mut self,
        json: &str,
        node: Option<&Node>,
        path: &str,
        depth: usize,
    ) -> Result<Members, String> {
        let mut scan = Scan::new(json);
        scan.open_object().ok_or("the row is not a JSON object")?;
        let mut members = Vec::new();
        while let Some(name) = scan.member().ok_or(BROKEN)? {
            let value = scan.skip_value().ok_or(BROKEN)?;
            let node = node.and_then(|node| node.member(&name));
            let value = self.attribute(value, node, &types::step(path, &name), depth)?;
            members.push((name.into(), value));
        }
        Ok(in_order(members))
    }

    fn attribute(
        &mut self,
        json: &str,
        node: Option<&Node>,
        path: &str,
        depth: usize,
    ) -> Result<Attribute, String> {
        let kinds = node.map(Node::kinds).unwrap_or_default();
        match json.as_bytes().first() {
            Some(b'{') => {
                let depth = depth.checked_sub(1).ok_or_else(|| too_deep(path))?;
                self.members(json, node, path, depth).map(Attribute::M)
            }
            Some(b'[') => {
                let depth = depth.checked_sub(1).ok_or_else(|| too_deep(path))?;
                let items = items(json).ok_or(BROKEN)?;
                match self
                    .choose(kinds, &[Kind::L, Kind::Ss, Kind::Ns, Kind::Bs], path, |kind| set(kind, &items))
                {
                    Some(set) => Ok(set),
                    None => self.list(&items, node, path, depth).map(Attribute::L),
                }
            }
            Some(b'"') => {
                let text = text(json).ok_or(BROKEN)?;
                let scalar =
                    self.choose(kinds, &[Kind::S, Kind::N, Kind::B], path, |kind| scalar(kind, &text));
                Ok(scalar.unwrap_or_else(|| Attribute::S(text.into())))
            }
            Some(b't') => Ok(Attribute::Bool(true)),
            Some(b'f') => Ok(Attribute::Bool(false)),
            Some(b'n') => Ok(Attribute::Null),
            _ => {
                let number = json.parse().map_err(|err| format!("the number at {} {err}", shown(path)))?;
                Ok(Attribute::N(number))
            }
        }
    }

    fn list(
        &mut self,
        items: &[&str],
        node: Option<&Node>,
        path: &str,
        depth: usize,
    ) -> Result<Vec<Attribute>, String> {
        let element = node.and_then(Node::element);
        let path = format!("{path}{}", types::ELEMENT);
        items.iter().map(|item| self.attribute(item, element, &path, depth)).collect()
    }

    /// The first of the types in `order` that were met and that the JSON can be; none for the first of all in `order`.
    fn choose(
        &mut self,
        met: Kinds,
        order: &[Kind],
        path: &str,
        make: impl Fn(Kind) -> Option<Attribute>,
    ) -> Option<Attribute> {
        let plain = order.first().copied();
        let mut fitting = order
            .iter()
            .filter(|kind| met.has(**kind))
            .filter_map(|kind| if Some(*kind) == plain { Some(None) } else { make(*kind).map(Some) });
        let first = fitting.next();
        if (first.is_none() || fitting.next().is_some())
            && self.unsure.len() < UNSURE_MAX
            && !self.unsure.iter().any(|known| known == path)
        {
            self.unsure.push(path.to_owned());
        }
        first.flatten()
    }
}

/// A text as a value of this type, if that would be written as this text.
fn scalar(kind: Kind, text: &str) -> Option<Attribute> {
    match kind {
        Kind::N => large(text).map(Attribute::N),
        Kind::B => bytes(text).map(Attribute::B),
        _ => Some(Attribute::S(text.into())),
    }
}

/// Items as a set, if that would be written as they are. DynamoDB has no empty sets; one is taken where no list was met.
fn set(kind: Kind, items: &[&str]) -> Option<Attribute> {
    let texts = || items.iter().map(|item| text(item));
    match kind {
        Kind::Ss => ascending(texts().map(|text| text.map(String::into_boxed_str))).map(Attribute::Ss),
        Kind::Bs => ascending(texts().map(|text| bytes(&text?))).map(Attribute::Bs),
        Kind::Ns => ascending(items.iter().map(|item| match text(item) {
            Some(text) => large(&text),
            None => item.parse().ok(),
        }))
        .map(Attribute::Ns),
        _ => None,
    }
}

fn ascending<T: Ord>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let items = items.collect::<Option<Vec<T>>>()?;
    items.is_sorted_by(|a, b| a < b).then_some(items)
}

/// A number that stands in a string.
fn large(text: &str) -> Option<Number> {
    let number: Number = text.parse().ok()?;
    (!number.kept_by_browsers() && number.to_string() == text).then_some(number)
}

fn bytes(text: &str) -> Option<Box<[u8]>> {
    STANDARD.decode(text).ok().map(Vec::into_boxed_slice)
}

/// What a JSON string says.
fn text(json: &str) -> Option<String> {
    let between = json.strip_prefix('"')?.strip_suffix('"')?;
    Some(scan::text(between).into_owned())
}

fn items(json: &str) -> Option<Vec<&str>> {
    let mut scan = Scan::new(json);
    scan.open_array()?;
    let mut items = Vec::new();
    while let Some(item) = scan.item()? {
        items.push(item);
    }
    Some(items)
}

fn too_deep(path: &str) -> String {
    format!("{} stands in more than {DEPTH_MAX} objects and arrays", shown(path))
}

/// A way, shortened.
fn shown(path: &str) -> String {
    path.chars().take(PATH_CHARS_MAX).collect()
}

/// Cannot be: it was read as JSON before.
const BROKEN: &str = "the row is not JSON";

/// The most ways that are reported of one row.
pub const UNSURE_MAX: usize = 32;

const PATH_CHARS_MAX: usize = 200;
