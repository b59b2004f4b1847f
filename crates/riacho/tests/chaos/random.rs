//! Randomness from one seed, so that a failure can be looked at again.

use std::time::Duration;

/// A generator of its own for each task: what one draws does not depend on how fast another runs.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The generator for `part` of the run with `seed`.
    pub(crate) fn new(seed: u64, part: &str) -> Self {
        let mix = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(part.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, mix))
    }

    /// SplitMix64.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `bound - 1`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// A number up to `max` whose magnitude is even: small ones are as likely as large ones.
    pub(crate) fn magnitude(&mut self, max: usize) -> usize {
        let bits = max.ilog2() as usize + 1;
        let bound = 1_usize << (self.below(bits) + 1);
        self.below(bound.min(max)) + 1
    }

    /// A time up to `max`.
    pub(crate) fn millis(&mut self, max: usize) -> Duration {
        Duration::from_millis(self.below(max + 1) as u64)
    }
}

/// The seed of this run: `SEED`, or one of the system's.
pub(crate) fn seed() -> u64 {
    std::env::var("SEED").map_or_else(|_| getrandom::u64().unwrap(), |seed| seed.parse().unwrap())
}
