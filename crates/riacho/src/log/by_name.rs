//! The places of all streams in the order of their names, in few bytes each.
//!
//! It holds no names: whoever asks tells the name of a place. Blocks are never empty, and what a block holds comes before
//! what the next holds. A `BTreeMap` of names takes 40 bytes for each stream, this takes 4 to 8.

use super::streams::StreamIndex;

/// Places sorted by name.
#[derive(Debug, Default)]
pub(super) struct ByName {
    blocks: Vec<Vec<StreamIndex>>,
}

/// Where in [`ByName`] a name is, or would be; good until the next change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    block: usize,
    at: usize,
}

impl ByName {
    /// The spot of the first place whose name is not `before` the one sought.
    pub(super) fn seek(&self, before: impl Fn(StreamIndex) -> bool) -> Spot {
        let block = self.blocks.partition_point(|block| block.last().is_some_and(|last| before(*last)));
        let at = self.blocks.get(block).map_or(0, |block| block.partition_point(|index| before(*index)));
        Spot { block, at }
    }

    /// The place at `spot`; none at the end.
    pub(super) fn get(&self, spot: Spot) -> Option<StreamIndex> {
        self.blocks.get(spot.block)?.get(spot.at).copied()
    }

    /// Puts a place before the one at `spot`.
    pub(super) fn insert(&mut self, spot: Spot, index: StreamIndex) {
        // After the last name of all: there is no block that begins later.
        let number = spot.block.min(self.blocks.len().saturating_sub(1));
        let Some(block) = self.blocks.get_mut(number) else {
            self.blocks.push(vec![index]);
            return;
        };
        block.insert(if number < spot.block { block.len() } else { spot.at }, index);
        if block.len() > BLOCK_MAX {
            let second = block.split_off(BLOCK_MAX / 2);
            block.shrink_to_fit();
            self.blocks.insert(number + 1, second);
        }
    }

    /// Takes the place at `spot` out.
    pub(super) fn remove(&mut self, spot: Spot) {
        let Some(block) = self.blocks.get_mut(spot.block).filter(|block| spot.at < block.len()) else {
            return;
        };
        block.remove(spot.at);
        if block.is_empty() {
            self.blocks.remove(spot.block);
        }
    }

    /// All places from `spot` on, in the order of their names.
    pub(super) fn range_from(&self, spot: Spot) -> impl Iterator<Item = StreamIndex> + '_ {
        self.blocks.iter().skip(spot.block).flatten().skip(spot.at).copied()
    }

    /// All places, in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = StreamIndex> + '_ {
        self.blocks.iter().flatten().copied()
    }
}

// A block is 2 KiB: what an insertion moves at most.
const BLOCK_MAX: usize = 512;

#[cfg(test)]
mod tests;
