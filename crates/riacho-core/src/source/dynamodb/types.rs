//! Types of a table's attributes as they were met: what the JSON of a row does not say. A table of DynamoDB has none but
//! those of its key.

use super::{
    item::Item,
    member,
    value::{Attribute, Kind},
};
use crate::transport::json;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Types by the way to an attribute, of at most [`PATHS_MAX`] ways whose names are at most [`NAME_BYTES_MAX`] bytes
/// together; of others nothing is learned, and [`Types::is_complete`] says so.
///
/// All elements of a list are one way, and so are those of the lists of all rows.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Types {
    root: Node,
    paths: usize,
    name_bytes: usize,
    incomplete: bool,
}

/// What was met at one place.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Node {
    kinds: Kinds,
    members: BTreeMap<Box<str>, Node>,
    element: Option<Box<Node>>,
}

/// A set of types.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Kinds(u16);

impl Kinds {
    /// Whether this one is among them.
    pub fn has(self, kind: Kind) -> bool {
        self.0 & Self::bit(kind) != 0
    }

    /// They, in the order of [`Kind::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }

    /// Whether it was new.
    fn add(&mut self, kind: Kind) -> bool {
        let before = self.0;
        self.0 |= Self::bit(kind);
        before != self.0
    }

    fn bit(kind: Kind) -> u16 {
        1 << kind as u16
    }
}

impl Types {
    /// Learns the types of an item. Whether any of it was new.
    pub fn learn(&mut self, item: &Item) -> bool {
        let mut root = std::mem::take(&mut self.root);
        let mut new = false;
        for (name, attribute) in item.attributes() {
            new |= self.learn_member(&mut root, name, attribute);
        }
        self.root = root;
        new
    }

    /// Learns that this attribute of the item itself has that type: what a table says of its key.
    pub fn learn_kind(&mut self, name: &str, kind: Kind) -> bool {
        let mut root = std::mem::take(&mut self.root);
        let new = self.member(&mut root, name).is_some_and(|node| node.kinds.add(kind));
        self.root = root;
        new
    }

    fn learn_member(&mut self, node: &mut Node, name: &str, attribute: &Attribute) -> bool {
        match self.member(node, name) {
            Some(member) => self.learn_at(member, attribute),
            None => false,
        }
    }

    // As deep as attributes are.
    fn learn_at(&mut self, node: &mut Node, attribute: &Attribute) -> bool {
        let mut new = node.kinds.add(attribute.kind());
        match attribute {
            Attribute::M(members) => {
                for (name, attribute) in members {
                    new |= self.learn_member(node, name, attribute);
                }
            }
            Attribute::L(items) => {
                for item in items {
                    if node.element.is_none() && self.room(0) {
                        node.element = Some(Box::default());
                    }
                    if let Some(element) = &mut node.element {
                        new |= self.learn_at(element, item);
                    }
                }
            }
            _ => {}
        }
        new
    }

    fn member<'a>(&mut self, node: &'a mut Node, name: &str) -> Option<&'a mut Node> {
        if !node.members.contains_key(name) && self.room(name.len()) {
            node.members.insert(name.into(), Node::default());
        }
        node.members.get_mut(name)
    }

    /// Takes room for one more way.
    fn room(&mut self, name_bytes: usize) -> bool {
        let room = self.paths < PATHS_MAX && self.name_bytes + name_bytes <= NAME_BYTES_MAX;
        if room {
            self.paths += 1;
            self.name_bytes += name_bytes;
        } else {
            self.incomplete = true;
        }
        room
    }

    /// Whether there was room for all that was met.
    pub fn is_complete(&self) -> bool {
        !self.incomplete
    }

    /// The type of an attribute of the key, if it is known: string, number or binary, and one of them.
    pub fn key_kind(&self, name: &str) -> Option<Kind> {
        let kinds = self.root.members.get(name)?.kinds;
        let mut kinds = kinds.iter().filter(|kind| matches!(kind, Kind::S | Kind::N | Kind::B));
        kinds.next().filter(|_| kinds.next().is_none())
    }

    /// All ways in order, with what was met there: `$.a.b`, `$.lines[].sku`, `$["a.b"]` where a name has more than letters,
    /// digits, `_` and `-`.
    pub fn paths(&self) -> Vec<(String, Kinds)> {
        let mut out = Vec::with_capacity(self.paths);
        for (name, node) in &self.root.members {
            node.paths(&step("$", name), &mut out);
        }
        out
    }

    pub(super) fn root(&self) -> &Node {
        &self.root
    }

    /// Appends it as JSON, to be kept; [`Types::parse`] takes it back.
    pub fn json(&self, out: &mut String) {
        out.push_str(if self.incomplete {
            "{\"complete\":false,\"row\":"
        } else {
            "{\"complete\":true,\"row\":"
        });
        self.root.json(out);
        out.push('}');
    }

    /// Takes what [`Types::json`] wrote.
    ///
    /// # Errors
    /// It is something else, or more than the bounds allow.
    pub fn parse(json: &str) -> Result<Self, String> {
        let object = member::whole(json.as_bytes())?;
        let complete = member::required(&object, "complete")?.as_bool().ok_or("`complete` is no boolean")?;
        let mut types = Self::default();
        types.root = types.node(member::object(&object, "row")?)?;
        if types.incomplete {
            return Err(format!("there are more than {PATHS_MAX} attributes, or their names are too long"));
        }
        types.incomplete = !complete;
        Ok(types)
    }

    // As deep as serde_json reads.
    fn node(&mut self, object: &Map<String, Value>) -> Result<Node, String> {
        let mut node = Node::default();
        if let Some(kinds) = object.get("types") {
            for kind in kinds.as_array().ok_or("`types` is not an array")? {
                let kind = kind.as_str().and_then(Kind::parse).ok_or("`types` has something unknown")?;
                node.kinds.add(kind);
            }
        }
        if object.contains_key("members") {
            for (name, member) in member::object(object, "members")? {
                let member = member.as_object().ok_or("`members` has something else than objects")?;
                if self.room(name.len()) {
                    node.members.insert(name.as_str().into(), self.node(member)?);
                }
            }
        }
        if object.contains_key("element") {
            let element = member::object(object, "element")?;
            if self.room(0) {
                node.element = Some(Box::new(self.node(element)?));
            }
        }
        Ok(node)
    }
}

impl Node {
    pub(super) fn kinds(&self) -> Kinds {
        self.kinds
    }

    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        self.members.get(name)
    }

    pub(super) fn element(&self) -> Option<&Self> {
        self.element.as_deref()
    }

    fn paths(&self, path: &str, out: &mut Vec<(String, Kinds)>) {
        out.push((path.to_owned(), self.kinds));
        for (name, node) in &self.members {
            node.paths(&step(path, name), out);
        }
        if let Some(element) = &self.element {
            element.paths(&format!("{path}{ELEMENT}"), out);
        }
    }

    fn json(&self, out: &mut String) {
        out.push_str("{\"types\":[");
        for (i, kind) in self.kinds.iter().enumerate() {
            out.extend([if i > 0 { ",\"" } else { "\"" }, kind.as_str(), "\""]);
        }
        out.push(']');
        if !self.members.is_empty() {
            out.push_str(",\"members\":{");
            for (i, (name, node)) in self.members.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                json::string_into(out, name);
                out.push(':');
                node.json(out);
            }
            out.push('}');
        }
        if let Some(element) = &self.element {
            out.push_str(",\"element\":");
            element.json(out);
        }
        out.push('}');
    }
}

/// The way to a member.
pub(super) fn step(path: &str, name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let mut out = path.to_owned();
    if !name.is_empty() && name.bytes().all(plain) {
        out.extend([".", name]);
    } else {
        out.push('[');
        json::string_into(&mut out, name);
        out.push(']');
    }
    out
}

/// The step to the elements of a list.
pub(super) const ELEMENT: &str = "[]";

/// The most ways that are learned of one table. Maps whose members are data (one for each user, say) would grow for ever.
pub const PATHS_MAX: usize = 1000;

/// The most bytes of names in them.
pub const NAME_BYTES_MAX: usize = 64 * 1024;
