//! Orders to begin with: invented customers who want invented things.

use riacho_core::time::{Millis, rfc3339};
use serde_json::{Value, json};

/// The orders there are at first, the newest placed at about `now`: numbers, and
/// `{"customer","item","quantity","total","status","placed"}`.
pub(super) fn orders(now: Millis) -> Vec<(String, Value)> {
    (0..ORDERS).filter_map(|n| order(n, now)).collect()
}

// The strides have no common divisor with the lengths, so that everything meets everything.
fn order(n: u32, now: Millis) -> Option<(String, Value)> {
    let pick = |list: &'static [&'static str], stride: usize| {
        let at = usize::try_from(n).ok()? * stride % list.len();
        list.get(at).copied()
    };
    let at = usize::try_from(n).ok()? * 3 % ITEMS.len();
    let (item, cents) = ITEMS.get(at).copied()?;
    let quantity = 1 + n * 7 % 5;
    let placed = now.saturating_sub(u64::from(ORDERS - n) * 47 * 60_000);
    let value = json!({
        "customer": pick(CUSTOMERS, 5)?,
        "item": item,
        "quantity": quantity,
        "total": f64::from(cents * quantity) / 100.0,
        "status": pick(STATUSES, 1)?,
        "placed": rfc3339(placed),
    });
    Some((format!("A-{}", 1001 + n), value))
}

const ORDERS: u32 = 40;

const STATUSES: &[&str] = &["shipped", "open", "paid", "shipped", "open", "cancelled", "paid"];

const CUSTOMERS: &[&str] = &[
    "Ana Ribeiro",
    "Ben Okafor",
    "Chiara Lunde",
    "Dario Weiss",
    "Eva Lindqvist",
    "Farid Moreau",
    "Greta Novak",
    "Hugo Tanaka",
    "Ines Duarte",
];

const ITEMS: &[(&str, u32)] = &[
    ("Brook-stone mug", 1_450),
    ("Linen notebook", 990),
    ("Oak desk lamp", 6_400),
    ("Wool blanket", 7_900),
    ("Copper kettle", 5_240),
    ("Paper kite", 1_825),
    ("Cedar birdhouse", 3_370),
    ("Rain gauge", 1_280),
];
