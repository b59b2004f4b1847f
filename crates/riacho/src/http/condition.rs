//! What must hold of a row before it is written, or of what a reader has: `If-Match` and `If-None-Match`.
//!
//! Spec: RFC 9110, "Preconditions"; `spec/protocol.md` "Conditions".

use super::problem::Problem;
use crate::log::Condition;
use http::{HeaderMap, HeaderName, header};
use riacho_core::position::{Epoch, Position};

/// The entity tags of a header.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Tags {
    /// `*`.
    Any,
    /// These, each with whether it is weak, and without its quotes.
    These(Vec<(bool, String)>),
}

impl Tags {
    /// The tags that the header `name` lists, if it is there.
    ///
    /// # Errors
    /// `condition_invalid` where it is no list of tags.
    pub(super) fn of(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Problem> {
        if !headers.contains_key(name) {
            return Ok(None);
        }
        let mut these = Vec::new();
        let mut any = false;
        for value in headers.get_all(name) {
            let text = value.to_str().map_err(|_| invalid(name))?;
            if text.trim() == "*" {
                any = true;
            } else {
                list(text, &mut these).ok_or_else(|| invalid(name))?;
            }
        }
        match (any, these.is_empty()) {
            (true, true) => Ok(Some(Self::Any)),
            (false, false) => Ok(Some(Self::These(these))),
            _ => Err(invalid(name)),
        }
    }

    /// Whether one of them is `tag`, which is without its quotes; weak or not makes no difference.
    pub(super) fn has(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(these) => these.iter().any(|(_, other)| other == tag),
        }
    }
}

/// The condition that a request to write a row makes. Tags that are no cursors of this log match no row.
///
/// # Errors
/// `condition_invalid`.
pub(super) fn of_write(headers: &HeaderMap, epoch: Epoch) -> Result<Condition, Problem> {
    let offsets = |tags, strong| match tags {
        Tags::Any => None,
        Tags::These(these) => {
            let own = |(weak, text): (bool, String)| {
                let position: Position = text.parse().ok()?;
                (position.epoch == epoch && !(weak && strong)).then_some(position.offset)
            };
            Some(these.into_iter().filter_map(own).collect())
        }
    };
    let matches = Tags::of(headers, &header::IF_MATCH)?;
    let none_match = Tags::of(headers, &header::IF_NONE_MATCH)?;
    match (matches, none_match) {
        (None, None) => Ok(Condition::None),
        (Some(tags), None) => Ok(Condition::Match(offsets(tags, true))),
        (None, Some(tags)) => Ok(Condition::NoneMatch(offsets(tags, false))),
        (Some(_), Some(_)) => {
            let detail = "`If-Match` and `If-None-Match` cannot both be there";
            Err(Problem::bad("condition_invalid", "Bad condition", detail))
        }
    }
}

fn invalid(name: &HeaderName) -> Problem {
    let detail = format!("`{name}` is `*` or a list of entity tags in double quotes, like \"5f2-1a\"");
    Problem::bad("condition_invalid", "Bad condition", detail)
}

// None where the text is no list; empty elements are passed over, as RFC 9110 asks of recipients.
fn list(text: &str, tags: &mut Vec<(bool, String)>) -> Option<()> {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(());
        }
        let weak = rest.starts_with("W/");
        let (tag, after) = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
        if tag.contains([' ', '\t']) {
            return None;
        }
        tags.push((weak, tag.to_owned()));
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}
