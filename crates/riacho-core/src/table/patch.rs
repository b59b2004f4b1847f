//! A row with some of its members changed: JSON Merge Patch (RFC 7396) on text, so that what is not touched stays as it
//! was sent.

use super::value::{ValueError, value};
use crate::scan::Scan;
use std::{borrow::Cow, collections::HashMap};

/// The value of a row, `row`, after the merge patch `patch`, which is a value as well: `null` takes a member away, an
/// object is merged into the one that is there, anything else takes the place of what is there.
///
/// Members that are not touched keep their text and their order, those that are their place and the spelling of their
/// name; new ones come last, in the order of the patch. Only white space around members that are touched, or between
/// members of objects that are, may go. Numbers are never read. The result is a value, on one line: it is not deeper
/// than the deeper of both. Its length is at most that of both together.
///
/// # Errors
/// Those of `patch`; and `NotJson`, without a place, where `row` is no value.
pub fn merge(row: &str, patch: &str) -> Result<String, ValueError> {
    let patch = value(patch)?;
    // Since it is a value, this is never none.
    let members = Members::read(&mut Scan::new(&patch)).unwrap_or_default();
    let mut out = String::with_capacity(row.len() + patch.len());
    members.apply(&mut out, Some(&mut Scan::new(row))).ok_or_else(ValueError::of_row)?;
    Ok(out)
}

/// The members of an object of a patch, in order.
#[derive(Default)]
struct Members<'a> {
    list: Vec<Member<'a>>,
    places: HashMap<Cow<'a, str>, usize>,
}

struct Member<'a> {
    /// The text between the quotes.
    between: &'a str,
    change: Change<'a>,
}

/// What becomes of a member.
enum Change<'a> {
    Remove,
    Replace(&'a str),
    Merge(Members<'a>),
}

impl<'a> Members<'a> {
    /// Reads the object that begins here. Uses stack for each level; a value has few.
    fn read(scan: &mut Scan<'a>) -> Option<Self> {
        let mut members = Self::default();
        scan.open_object()?;
        while let Some(member) = scan.named_member()? {
            let change = if scan.at_object() {
                Change::Merge(Self::read(scan)?)
            } else {
                match scan.skip_value()? {
                    "null" => Change::Remove,
                    other => Change::Replace(other),
                }
            };
            members.places.insert(member.name(), members.list.len());
            members.list.push(Member { between: member.between, change });
        }
        Some(members)
    }

    /// Appends the object that begins at `row`, or an empty one, with these changes made to it.
    fn apply(&self, out: &mut String, row: Option<&mut Scan<'_>>) -> Option<()> {
        out.push('{');
        let mut met = vec![false; self.list.len()];
        if let Some(scan) = row {
            scan.open_object()?;
            while let Some(old) = scan.named_member()? {
                let place = self.places.get(&old.name()).copied();
                let Some(member) = place.and_then(|place| self.list.get(place)) else {
                    scan.skip_value()?;
                    separate(out);
                    out.push_str(scan.since(old.begin)?);
                    continue;
                };
                if let Some(met) = place.and_then(|place| met.get_mut(place)) {
                    *met = true;
                }
                member.change.write(out, old.between, Some(scan))?;
            }
        }
        for (member, met) in self.list.iter().zip(met) {
            if !met {
                member.change.write(out, member.between, None)?;
            }
        }
        out.push('}');
        Some(())
    }
}

impl Change<'_> {
    /// Appends a member with this change made to the value that begins at `old`, or to none.
    fn write(&self, out: &mut String, between: &str, old: Option<&mut Scan<'_>>) -> Option<()> {
        if let Self::Remove = self {
            return old.map_or(Some(()), |scan| scan.skip_value().map(drop));
        }
        separate(out);
        out.extend(["\"", between, "\":"]);
        match (self, old) {
            (Self::Merge(members), Some(scan)) if scan.at_object() => members.apply(out, Some(scan)),
            (Self::Merge(members), old) => {
                skip(old)?;
                members.apply(out, None)
            }
            (Self::Replace(text), old) => {
                skip(old)?;
                out.push_str(text);
                Some(())
            }
            (Self::Remove, _) => Some(()),
        }
    }
}

fn skip(old: Option<&mut Scan<'_>>) -> Option<()> {
    if let Some(scan) = old {
        scan.skip_value()?;
    }
    Some(())
}

fn separate(out: &mut String) {
    // No value ends with this bracket.
    if !out.ends_with('{') {
        out.push(',');
    }
}
