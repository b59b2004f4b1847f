//! The subscribers of one reactor, in a table without holes to search and without a box each.

use crate::limits::Permit;
use riacho_core::position::Offset;
use rustix::fd::OwnedFd;
use std::mem;

/// One subscriber. Small on purpose: there may be a million.
pub(super) struct Subscriber {
    pub socket: OwnedFd,
    /// Tells it from others that had its number before.
    pub generation: u32,
    /// Its view's place in the reactor's table.
    pub view: u32,
    /// Its place in the view's list of subscribers.
    pub slot: u32,
    /// The tick of the last send.
    pub sent: u32,
    pub state: State,
    /// The last event it has whole.
    pub after: Offset,
    #[expect(dead_code, reason = "held to be given back when the subscriber is dropped")]
    pub permit: Permit,
}

/// What a subscriber is doing. All but `Live` are skipped by sweeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Takes bytes from its view.
    Live,
    /// Its socket is full; goes on when epoll says so.
    Blocked,
    /// Its socket takes bytes again, or a helping is there: waits for its turn among those who are behind.
    Waiting,
    /// Waits for a helping from the log.
    Feeding,
}

/// A table of subscribers by number; a number is given again, with another generation, once it is free.
#[derive(Default)]
pub(super) struct Slab {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

/// A subscriber, or a free place with the generation that its next one gets.
enum Slot {
    Taken(Subscriber),
    Free { generation: u32 },
}

impl Slab {
    /// Puts a subscriber into a free place and gives it its generation there.
    pub(super) fn insert(&mut self, mut subscriber: Subscriber) -> (u32, u32) {
        if let Some(number) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(number as usize)
        {
            if let Slot::Free { generation } = slot {
                subscriber.generation = *generation;
            }
            let generation = subscriber.generation;
            *slot = Slot::Taken(subscriber);
            return (number, generation);
        }
        let generation = subscriber.generation;
        self.slots.push(Slot::Taken(subscriber));
        (u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX), generation)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Subscriber> {
        match self.slots.get_mut(number as usize)? {
            Slot::Taken(subscriber) => Some(subscriber),
            Slot::Free { .. } => None,
        }
    }

    /// The subscriber, if the number was not given to another since.
    pub(super) fn get_same(&mut self, number: u32, generation: u32) -> Option<&mut Subscriber> {
        self.get_mut(number).filter(|subscriber| subscriber.generation == generation)
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<Subscriber> {
        let generation = self.get_mut(number)?.generation.wrapping_add(1);
        let slot = self.slots.get_mut(number as usize)?;
        self.free.push(number);
        match mem::replace(slot, Slot::Free { generation }) {
            Slot::Taken(subscriber) => Some(subscriber),
            Slot::Free { .. } => None,
        }
    }

    /// The numbers in use.
    pub(super) fn numbers(&self) -> Vec<u32> {
        let used = self.slots.iter().enumerate().filter(|(_, slot)| matches!(slot, Slot::Taken(_)));
        used.filter_map(|(number, _)| u32::try_from(number).ok()).collect()
    }
}

// What a subscriber costs here: the design's bound of 128 bytes counts this, its place in two lists, and their slack.
const _: () = assert!(size_of::<Slot>() <= 40, "a subscriber is small");
