//! What became of each subscription: accepted, refused, ended.

use crate::cli::say;
use std::collections::BTreeMap;

/// All subscriptions.
#[derive(Debug)]
pub(super) struct Roll {
    states: Vec<State>,
    /// Those of which is known what became of them.
    pub(super) settled: usize,
    /// Those that were answered 200.
    pub(super) accepted: usize,
    /// The others, by status or reason.
    pub(super) refused: BTreeMap<String, u64>,
    /// Those accepted that the server ended.
    pub(super) ended: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Waiting,
    Accepted,
    Over,
}

impl Roll {
    pub(super) fn new(subscribers: usize) -> Self {
        let states = vec![State::Waiting; subscribers];
        Self { states, settled: 0, accepted: 0, refused: BTreeMap::new(), ended: 0 }
    }

    /// The subscription was answered well; false if that was known.
    pub(super) fn accept(&mut self, reader: usize) -> bool {
        let is_new = self.change(reader, State::Waiting, State::Accepted);
        self.accepted += usize::from(is_new);
        self.settled += usize::from(is_new);
        is_new
    }

    /// The subscription will not be; `text` explains it.
    pub(super) fn refuse(&mut self, reader: usize, reason: &str, text: &str) {
        if !self.change(reader, State::Waiting, State::Over) {
            return;
        }
        if self.refused.is_empty() {
            say(format_args!("a subscription was refused: {reason}: {}", text.trim()));
        }
        *self.refused.entry(reason.to_owned()).or_default() += 1;
        self.settled += 1;
    }

    /// The subscription ended, or will never be.
    pub(super) fn end(&mut self, reader: usize) {
        if self.change(reader, State::Accepted, State::Over) {
            self.ended += 1;
        } else {
            self.refuse(reader, "closed", "");
        }
    }

    pub(super) fn is_waiting(&self, reader: usize) -> bool {
        self.states.get(reader) == Some(&State::Waiting)
    }

    fn change(&mut self, reader: usize, from: State, to: State) -> bool {
        let state = self.states.get_mut(reader).filter(|state| **state == from);
        state.map(|state| *state = to).is_some()
    }
}
