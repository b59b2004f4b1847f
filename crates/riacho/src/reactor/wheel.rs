//! When each subscriber is due a heartbeat: a wheel of ticks, so that neither a timer nor a search is needed for each.
//!
//! A subscriber is looked at once per heartbeat interval, whether it was sent something meanwhile or not; one that was
//! is put back for the rest of its interval.

/// The wheel. Holds numbers and generations of subscribers; those gone meanwhile are passed over by the caller.
pub(super) struct Wheel {
    buckets: Vec<Vec<(u32, u32)>>,
    tick: u32,
}

impl Wheel {
    /// A wheel on which nothing is due later than `ticks_max` ticks from now.
    pub(super) fn new(ticks_max: u32) -> Self {
        Self { buckets: vec![Vec::new(); ticks_max as usize + 2], tick: 0 }
    }

    /// The current tick.
    pub(super) fn tick(&self) -> u32 {
        self.tick
    }

    /// Makes the subscriber due in `ticks` ticks, at least one.
    pub(super) fn schedule(&mut self, subscriber: (u32, u32), ticks: u32) {
        let within = (ticks.max(1) as usize).min(self.buckets.len() - 1);
        let bucket = (self.tick as usize + within) % self.buckets.len();
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            bucket.push(subscriber);
        }
    }

    /// Goes to the next tick and moves the subscribers due in it to `due`.
    pub(super) fn advance(&mut self, due: &mut Vec<(u32, u32)>) {
        self.tick = self.tick.wrapping_add(1);
        let bucket = self.tick as usize % self.buckets.len();
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            due.append(bucket);
        }
    }
}
