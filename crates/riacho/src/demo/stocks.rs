//! A market that moves by itself: invented companies, prices by chance.

use serde_json::{Value, json};

/// The table of stocks, a row for each symbol, which the demo alone writes.
///
/// `{"symbol","name","sector","price","change","volume"}`: prices and the change since the day's opening with two digits
/// after the point, the volume in shares.
pub const STOCKS_TABLE: &str = "stocks";

/// All stocks as they are, and the chance that moves them.
#[derive(Debug)]
pub struct Market {
    stocks: Vec<Stock>,
    chance: u64,
}

#[derive(Debug)]
struct Stock {
    symbol: &'static str,
    name: &'static str,
    sector: &'static str,
    opening_cents: i64,
    cents: i64,
    volume: u64,
}

impl Market {
    /// A market moved by `chance`, any number; each stock goes on where its row by `row` was, or opens.
    pub fn new(chance: u64, row: impl Fn(&str) -> Option<Value>) -> Self {
        let stocks = COMPANIES.iter().map(|&(symbol, name, sector, opening_cents)| {
            let row = row(symbol);
            let was = |name| row.as_ref().and_then(|row| row.get(name));
            let opened = Stock { symbol, name, sector, opening_cents, cents: opening_cents, volume: 0 };
            Stock {
                cents: was("price").and_then(Value::as_f64).and_then(cents).unwrap_or(opening_cents),
                volume: was("volume").and_then(Value::as_u64).unwrap_or(0),
                ..opened
            }
        });
        Self { stocks: stocks.collect(), chance }
    }

    /// Every row.
    pub(super) fn rows(&self) -> Vec<(&'static str, Value)> {
        self.stocks.iter().map(Stock::row).collect()
    }

    /// A second passes: a few stocks or all of them are traded. Gives the rows of those.
    pub(super) fn moved(&mut self) -> Vec<(&'static str, Value)> {
        // One in eight at least, so that a second without a trade is rare; calm seconds are more than busy ones.
        let busy = 1 + self.below(8).min(self.below(8));
        let mut moved = Vec::with_capacity(self.stocks.len());
        for at in 0..self.stocks.len() {
            let (traded, step, shares) = (self.below(8) < busy, self.below(STEP), self.below(900));
            let Some(stock) = self.stocks.get_mut(at).filter(|_| traded) else { continue };
            stock.trade(step, shares);
            moved.push(stock.row());
        }
        moved
    }

    /// A number below `end` by chance (splitmix64); nobody's money hangs on its evenness.
    fn below(&mut self, end: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}

impl Stock {
    /// Moves the price by at most half a per cent and a cent, and a little back to where the day began, so that it stays a
    /// price however long the demo runs. `step` is below [`STEP`].
    fn trade(&mut self, step: u64, shares: u64) {
        let step = i64::try_from(step).unwrap_or(0) - i64::try_from(STEP / 2).unwrap_or(0);
        let chance = self.cents * step / 100_000 + step.signum();
        let back = (self.opening_cents - self.cents) / 200;
        self.cents = (self.cents + chance + back).clamp(1, CENTS_MAX);
        self.volume = self.volume.saturating_add(1 + shares);
    }

    fn row(&self) -> (&'static str, Value) {
        let value = json!({
            "symbol": self.symbol,
            "name": self.name,
            "sector": self.sector,
            "price": units(self.cents),
            "change": units(self.cents - self.opening_cents),
            "volume": self.volume,
        });
        (self.symbol, value)
    }
}

#[expect(clippy::cast_precision_loss, reason = "prices are far below 2^53 cents")]
fn units(cents: i64) -> f64 {
    cents as f64 / 100.0
}

// None for what no price of this market can be.
#[expect(clippy::cast_possible_truncation, reason = "its range is checked")]
fn cents(price: f64) -> Option<i64> {
    let cents = (price * 100.0).round();
    (1.0..=units(CENTS_MAX) * 100.0).contains(&cents).then_some(cents as i64)
}

// Thousandths of a per cent between the deepest fall of a second and the highest rise.
const STEP: u64 = 1001;
const CENTS_MAX: i64 = 10_000_000;

/// Symbol, name, sector, and the price in cents at which the day began. No such company is known to us.
const COMPANIES: &[(&str, &str, &str, i64)] = &[
    ("ALDR", "Alder Analytics", "Software", 31_240),
    ("BRKT", "Bracket & Sons", "Software", 14_820),
    ("CIRR", "Cirrus Cloudworks", "Software", 10_010),
    ("DOVE", "Dovecote Mail", "Software", 4_175),
    ("EMBR", "Ember Storage", "Software", 9_980),
    ("FJRD", "Fjord Power", "Energy", 7_230),
    ("GALE", "Gale Wind Parks", "Energy", 5_415),
    ("HELI", "Heliotrope Solar", "Energy", 2_390),
    ("IRIS", "Iris Optics", "Health", 18_760),
    ("JUNI", "Juniper Grove Clinics", "Health", 6_605),
    ("KELP", "Kelp Bioscience", "Health", 1_245),
    ("LARK", "Larkspur Foods", "Retail", 3_520),
    ("MOSS", "Moss & Fern Gardens", "Retail", 1_870),
    ("NEST", "Nestling Homes", "Retail", 8_055),
    ("OTTR", "Otter Ferries", "Transport", 2_735),
    ("PLVR", "Plover Air Freight", "Transport", 5_990),
    ("QUAY", "Quayside Cranes", "Transport", 13_300),
    ("RAVN", "Raven Mutual", "Finance", 21_080),
    ("SPRW", "Sparrow Savings", "Finance", 4_725),
    ("TERN", "Tern Insurance", "Finance", 9_140),
];
