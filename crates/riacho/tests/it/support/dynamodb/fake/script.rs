//! What happens to requests that would not happen by itself.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Notify;

/// What a test has asked for, and what was asked of the service.
#[derive(Default)]
pub(super) struct Script {
    next: BTreeMap<String, VecDeque<Verdict>>,
    calls: BTreeMap<String, u64>,
    left_out: BTreeMap<String, usize>,
    shown_open: BTreeMap<String, usize>,
}

/// What becomes of one request.
#[derive(Clone)]
pub(super) enum Verdict {
    Refuse(String),
    Cut,
    Delay(Duration),
    Hold(Arc<Held>),
}

/// An answer that is held back.
#[derive(Default)]
pub(super) struct Held {
    pub(super) arrived: Notify,
    pub(super) released: Notify,
}

/// Holds one answer back until it is dropped.
pub(crate) struct Hold(Arc<Held>);

impl Hold {
    pub(super) fn new() -> (Self, Verdict) {
        let held = Arc::<Held>::default();
        (Self(Arc::clone(&held)), Verdict::Hold(held))
    }

    /// Waits until the request was carried out and its answer is being held.
    pub(crate) async fn arrived(&self) {
        self.0.arrived.notified().await;
    }

    /// Lets the answer go.
    pub(crate) fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.released.notify_one();
    }
}

impl Script {
    pub(super) fn next(&mut self, operation: &str, calls: usize, verdict: Verdict) {
        self.next.entry(operation.to_owned()).or_default().extend(std::iter::repeat_n(verdict, calls));
    }

    pub(super) fn leave_out(&mut self, shard: &str, calls: usize) {
        self.left_out.insert(shard.to_owned(), calls);
    }

    pub(super) fn show_open(&mut self, shard: &str, calls: usize) {
        self.shown_open.insert(shard.to_owned(), calls);
    }

    pub(super) fn calls(&self, operation: &str) -> u64 {
        self.calls.get(operation).copied().unwrap_or(0)
    }

    /// Counts a request and says what becomes of it.
    pub(super) fn judge(&mut self, operation: &str) -> Option<Verdict> {
        *self.calls.entry(operation.to_owned()).or_default() += 1;
        self.next.get_mut(operation)?.pop_front()
    }

    /// What this DescribeStream does not say: shards that are left out, shards that look open.
    pub(super) fn unsaid(&mut self) -> (Vec<String>, Vec<String>) {
        (taken(&mut self.left_out), taken(&mut self.shown_open))
    }
}

fn taken(from: &mut BTreeMap<String, usize>) -> Vec<String> {
    from.retain(|_, calls| *calls > 0);
    from.values_mut().for_each(|calls| *calls -= 1);
    from.keys().cloned().collect()
}
