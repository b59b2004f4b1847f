//! Streams in the order of their names, against a sorted set.

use super::{BLOCK_MAX, ByName};
use proptest::{collection::vec, prelude::*};
use std::collections::BTreeSet;

proptest! {
    // Each place is its own name here. More steps than a block holds, so that blocks are split and emptied.
    #[test]
    fn it_holds_what_a_sorted_set_holds(
        steps in vec((any::<bool>(), 0..2000_u32), 0..6 * BLOCK_MAX),
        from in 0..2000_u32,
    ) {
        let mut places = ByName::default();
        let mut set = BTreeSet::new();
        for (add, place) in steps {
            let spot = places.seek(|other| other < place);
            prop_assert_eq!(places.get(spot), set.range(place..).next().copied());
            if add && set.insert(place) {
                places.insert(spot, place);
            } else if !add && set.remove(&place) {
                places.remove(spot);
            }
        }
        let spot = places.seek(|other| other < from);
        prop_assert!(places.range_from(spot).eq(set.range(from..).copied()));
        prop_assert!(places.iter().eq(set.iter().copied()));
        prop_assert!(places.blocks.iter().all(|block| (1..=BLOCK_MAX).contains(&block.len())));
    }
}

#[test]
fn names_that_come_in_order_take_at_most_eight_bytes_each() {
    let mut places = ByName::default();
    for place in 0..100_000 {
        let spot = places.seek(|other| other < place);
        places.insert(spot, place);
    }
    let slots: usize = places.blocks.iter().map(Vec::capacity).sum();
    assert!(slots <= 2 * 100_000 + 2 * BLOCK_MAX, "{slots} slots");
    assert!(places.iter().eq(0..100_000));
}
