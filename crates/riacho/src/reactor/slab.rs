//! The subscribers of one reactor, in a table without holes to search and without a box each.

use crate::limits::Permit;
use riacho_core::position::Offset;
use rustix::fd::OwnedFd;

/// One subscriber. Small on purpose: there may be a million.
pub(super) struct Subscriber {
    pub socket: OwnedFd,
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
    /// Waits for a helping from the log.
    Feeding,
}

/// A table of subscribers by number; a number is given again, with another generation, once it is free.
#[derive(Default)]
pub(super) struct Slab {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    generation: u32,
    subscriber: Option<Subscriber>,
}

impl Slab {
    pub(super) fn insert(&mut self, subscriber: Subscriber) -> (u32, u32) {
        if let Some(number) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(number as usize)
        {
            slot.subscriber = Some(subscriber);
            return (number, slot.generation);
        }
        self.slots.push(Slot { generation: 0, subscriber: Some(subscriber) });
        (u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX), 0)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Subscriber> {
        self.slots.get_mut(number as usize)?.subscriber.as_mut()
    }

    /// The subscriber, if the number was not given to another since.
    pub(super) fn get_same(&mut self, number: u32, generation: u32) -> Option<&mut Subscriber> {
        let slot = self.slots.get_mut(number as usize).filter(|slot| slot.generation == generation)?;
        slot.subscriber.as_mut()
    }

    pub(super) fn generation(&self, number: u32) -> u32 {
        self.slots.get(number as usize).map_or(0, |slot| slot.generation)
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<Subscriber> {
        let slot = self.slots.get_mut(number as usize)?;
        let subscriber = slot.subscriber.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(number);
        Some(subscriber)
    }

    /// The numbers in use.
    pub(super) fn numbers(&self) -> Vec<u32> {
        let used = self.slots.iter().enumerate().filter(|(_, slot)| slot.subscriber.is_some());
        used.filter_map(|(number, _)| u32::try_from(number).ok()).collect()
    }
}
