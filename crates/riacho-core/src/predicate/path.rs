//! Paths of members in a row, and their values taken out of a row's text in one pass.
//!
//! The row is not parsed into a tree: what no path leads to is skipped. Any text is taken; where it is no JSON, what
//! stands before that place is all there is.

use crate::scan::Scan;
use std::{
    fmt::{self, Display, Formatter, Write},
    sync::Arc,
};

/// The way to a member of a row: `address.city` is the member `city` of the object that is the row's member `address`.
///
/// 1 to [`PATH_SEGMENTS_MAX`] names, kept as they are written: names of members are case-sensitive. It never leads
/// into an array. Its text is that of SQL: names that are no plain words are quoted.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Path(Arc<[Box<str>]>);

impl Path {
    /// A path of these names, unless there are none or too many.
    pub fn new<I: Into<Box<str>>>(names: impl IntoIterator<Item = I>) -> Option<Self> {
        let names: Arc<[Box<str>]> = names.into_iter().map(Into::into).collect();
        (1..=PATH_SEGMENTS_MAX).contains(&names.len()).then_some(Self(names))
    }

    /// Its names, the outermost first.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    /// Whether it is `other` or leads to something inside of it.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, name) in self.names().enumerate() {
            if at > 0 {
                f.write_char('.')?;
            }
            super::words::write_name(f, name)?;
        }
        Ok(())
    }
}

/// Places for the values of paths, and the tree of names that leads to them.
///
/// A path has one slot however often it is added, and keeps it until it is removed as often.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    /// The first is the row itself.
    nodes: Vec<Node>,
    free: Vec<usize>,
    /// Users of each slot.
    slots: Vec<usize>,
    slots_free: Vec<usize>,
}

#[derive(Clone, Default, Debug)]
struct Node {
    name: Box<str>,
    /// Nodes of the members that are wanted, sorted by name.
    children: Vec<usize>,
    slot: Option<usize>,
    /// Paths that end here or lead through here.
    uses: usize,
}

/// The texts of values, by slot; none for what the row does not have.
pub(super) type Cells<'row> = Vec<Option<&'row str>>;

impl Paths {
    /// No paths.
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()], free: Vec::new(), slots: Vec::new(), slots_free: Vec::new() }
    }

    /// The slot of `path`, which counts one more user.
    pub(super) fn add(&mut self, path: &Path) -> usize {
        let mut at = 0;
        for name in path.names() {
            at = match self.child(at, name) {
                Ok(next) => next,
                Err(place) => self.grow(at, place, name),
            };
            if let Some(node) = self.nodes.get_mut(at) {
                node.uses += 1;
            }
        }
        let slot = self.nodes.get(at).and_then(|node| node.slot).unwrap_or_else(|| {
            self.slots_free.pop().unwrap_or_else(|| {
                self.slots.push(0);
                self.slots.len() - 1
            })
        });
        if let Some(node) = self.nodes.get_mut(at) {
            node.slot = Some(slot);
        }
        if let Some(users) = self.slots.get_mut(slot) {
            *users += 1;
        }
        slot
    }

    /// The slot of `path`, where it was added.
    pub(super) fn slot(&self, path: &Path) -> Option<usize> {
        let at = path.names().try_fold(0, |at, name| self.child(at, name).ok())?;
        self.nodes.get(at)?.slot
    }

    /// Takes back one `add` of `path`.
    pub(super) fn remove(&mut self, path: &Path) {
        let (mut at, mut way) = (0, Vec::new());
        for name in path.names() {
            let Ok(next) = self.child(at, name) else { return };
            way.push((at, next));
            at = next;
        }
        if let Some(slot) = self.nodes.get(at).and_then(|node| node.slot)
            && let Some(users) = self.slots.get_mut(slot)
        {
            *users = users.saturating_sub(1);
            if *users == 0 {
                self.slots_free.push(slot);
                if let Some(node) = self.nodes.get_mut(at) {
                    node.slot = None;
                }
            }
        }
        for (parent, child) in way.into_iter().rev() {
            let Some(node) = self.nodes.get_mut(child) else { continue };
            node.uses = node.uses.saturating_sub(1);
            if node.uses == 0 {
                *node = Node::default();
                self.free.push(child);
                if let Some(parent) = self.nodes.get_mut(parent) {
                    parent.children.retain(|other| *other != child);
                }
            }
        }
    }

    /// The text of each path's value in the object `row`. Of members of one name the last one counts.
    pub(super) fn extract<'row>(&self, row: &'row str, cells: &mut Cells<'row>) {
        cells.clear();
        cells.resize(self.slots.len(), None);
        let _ = self.object(0, &mut Scan::new(row), cells);
    }

    /// Reads an object's members; none where the text is no JSON.
    fn object<'row>(&self, node: usize, scan: &mut Scan<'row>, cells: &mut Cells<'row>) -> Option<()> {
        scan.open_object()?;
        while let Some(name) = scan.member()? {
            match self.child(node, &name) {
                Ok(child) => self.value(child, scan, cells)?,
                Err(_) => {
                    scan.skip_value()?;
                }
            }
        }
        Some(())
    }

    fn value<'row>(&self, at: usize, scan: &mut Scan<'row>, cells: &mut Cells<'row>) -> Option<()> {
        let node = self.nodes.get(at)?;
        self.forget(at, cells);
        if node.children.is_empty() || !scan.at_object() {
            let text = scan.skip_value()?;
            if let Some(cell) = node.slot.and_then(|slot| cells.get_mut(slot)) {
                *cell = Some(text);
            }
            return Some(());
        }
        let begin = scan.place();
        self.object(at, scan, cells)?;
        if let Some(cell) = node.slot.and_then(|slot| cells.get_mut(slot)) {
            *cell = scan.since(begin);
        }
        Some(())
    }

    /// Forgets what an earlier member of the same name gave.
    fn forget(&self, at: usize, cells: &mut Cells<'_>) {
        let Some(node) = self.nodes.get(at) else { return };
        if let Some(cell) = node.slot.and_then(|slot| cells.get_mut(slot)) {
            *cell = None;
        }
        for child in &node.children {
            self.forget(*child, cells);
        }
    }

    /// The child of this name, or where it would stand.
    fn child(&self, at: usize, name: &str) -> Result<usize, usize> {
        let Some(node) = self.nodes.get(at) else { return Err(0) };
        let name_of = |child: &usize| self.nodes.get(*child).map_or("", |child| &*child.name);
        node.children
            .binary_search_by(|child| name_of(child).cmp(name))
            .map(|place| node.children.get(place).copied().unwrap_or(0))
    }

    fn grow(&mut self, at: usize, place: usize, name: &str) -> usize {
        let node = Node { name: name.into(), ..Node::default() };
        let child = match self.free.pop() {
            Some(free) => {
                if let Some(old) = self.nodes.get_mut(free) {
                    *old = node;
                }
                free
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        if let Some(parent) = self.nodes.get_mut(at) {
            parent.children.insert(place, child);
        }
        child
    }
}

/// The most names in a path.
pub const PATH_SEGMENTS_MAX: usize = 16;
