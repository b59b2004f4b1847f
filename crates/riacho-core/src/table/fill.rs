//! A row of which a source tells only a part: the rest is as it was.

use crate::{scan::Scan, transport::json};
use std::collections::HashMap;

/// A member: its name, and its value as JSON; no value where it is as in the row before.
pub type PartMember = (Box<str>, Option<Box<str>>);

/// The object of `members` in their order, those without a value as in the object `before`; what else that has is left
/// out. None where it lacks one, or is no object.
pub fn fill(before: &str, members: &[PartMember]) -> Option<String> {
    let mut known = HashMap::new();
    let mut scan = Scan::new(before);
    scan.open_object()?;
    while let Some(name) = scan.member()? {
        known.insert(name, scan.skip_value()?);
    }
    let mut row = Vec::with_capacity(before.len());
    for (name, value) in members {
        row.push(if row.is_empty() { b'{' } else { b',' });
        json::string(&mut row, name);
        row.push(b':');
        let value = match value {
            Some(value) => value,
            None => *known.get(&**name)?,
        };
        row.extend_from_slice(value.as_bytes());
    }
    if row.is_empty() {
        row.push(b'{');
    }
    row.push(b'}');
    String::from_utf8(row).ok()
}
