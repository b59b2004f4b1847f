//! How much read capacity scans may take.

use riacho_core::time::Millis;

/// Read capacity units that come back with time.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    /// Units per second; none: as much as there is.
    rate: Option<f64>,
    /// What is left; below nothing after a page that took more.
    left: f64,
    at: Millis,
}

impl Budget {
    pub(super) fn new(rate: Option<u32>) -> Self {
        let rate = rate.map(f64::from);
        Self { rate, left: rate.unwrap_or(0.0), at: 0 }
    }

    /// Notes what a page took.
    pub(super) fn spend(&mut self, now: Millis, units: f64) {
        self.refill(now);
        self.left -= units;
    }

    /// When the next page may be read: now, or later.
    pub(super) fn due(&self, now: Millis) -> Millis {
        let Some(rate) = self.rate else { return now };
        let left = (self.left + rate * now.saturating_sub(self.at) as f64 / 1000.0).min(rate);
        if left > 0.0 { now } else { now + (-left / rate * 1000.0) as Millis + 1 }
    }

    // What was not taken within a second is gone, as it is with the table's own capacity.
    fn refill(&mut self, now: Millis) {
        if let Some(rate) = self.rate {
            self.left = (self.left + rate * now.saturating_sub(self.at) as f64 / 1000.0).min(rate);
        }
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_keep_to_the_rate() {
        let mut budget = Budget::new(Some(100));
        let (mut now, mut taken) = (1_000_000, 0.0);
        let begin = now;
        // Pages of 128.5 units, as large as the service gives them.
        for _ in 0..100 {
            now = budget.due(now);
            budget.spend(now, 128.5);
            taken += 128.5;
        }
        let seconds = (budget.due(now) - begin) as f64 / 1000.0;
        let rate = taken / seconds;
        assert!((98.0..=101.5).contains(&rate), "{rate}");
        // Rest gives no credit beyond a second.
        now += 3_600_000;
        budget.spend(budget.due(now), 150.0);
        assert!(budget.due(now) > now, "one second's units are gone");
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let mut budget = Budget::new(None);
        budget.spend(5, 1e9);
        assert_eq!(budget.due(6), 6);
    }
}
