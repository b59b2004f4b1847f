//! Decimal numbers of any size: compared exactly, calculated with as PostgreSQL's `numeric` does.
//!
//! A number is never turned into a double. Comparing has no bound but the length of the texts; calculating has
//! ([`PLACES_MAX`]), and what falls outside gives no number.

use super::digits;
use std::{
    cmp::Ordering,
    fmt::{self, Display, Formatter, Write},
    hash::{Hash, Hasher},
};

/// A decimal number. Equal numbers are equal whatever their text: `1`, `1.0` and `1e0`.
#[derive(Clone, Debug)]
pub(super) enum Number {
    /// `mantissa / 10^scale`, for at most [`SMALL_DIGITS_MAX`] digits.
    Small { mantissa: i64, scale: u32 },
    /// All others.
    Large(Box<Large>),
}

/// `digits * 10^exponent`, not zero; the digits begin and end with none that is 0.
#[derive(Clone, Debug)]
pub(super) struct Large {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
    /// How many decimals were written; a division keeps at least as many.
    scale: u32,
}

impl Number {
    /// Takes the text of a number of JSON or of SQL (`.5` and `5.` are numbers there).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        if let Some(number) = small_integer(negative, text) {
            return Some(number);
        }
        let (body, exponent) = match text.find(['e', 'E']) {
            Some(at) => (text.get(..at)?, exponent(text.get(at + 1..)?)?),
            None => (text, 0),
        };
        let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0').collect();
        Some(Self::from_digits(negative, digits, exponent.saturating_sub(fraction.len() as i64)))
    }

    /// The whole number `count`.
    pub(super) fn from_count(count: usize) -> Self {
        Self::from_i128(count as i128, 0)
    }

    /// `digits * 10^exponent`.
    fn from_digits(negative: bool, mut digits: Vec<u8>, mut exponent: i64) -> Self {
        let scale = u32::try_from(-exponent.min(0)).unwrap_or(u32::MAX);
        digits::trim_front(&mut digits);
        if exponent > 0 && digits.len() as i64 + exponent <= SMALL_DIGITS_MAX as i64 {
            digits.resize(digits.len() + exponent as usize, 0);
            exponent = 0;
        }
        if digits.is_empty() {
            return Self::Small { mantissa: 0, scale: scale.min(PLACES_MAX) };
        }
        if digits.len() <= SMALL_DIGITS_MAX && exponent <= 0 && scale <= PLACES_MAX {
            let value = digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(*digit));
            return Self::Small { mantissa: if negative { -value } else { value }, scale };
        }
        while digits.last() == Some(&0) {
            digits.pop();
            exponent += 1;
        }
        Self::Large(Box::new(Large { negative, digits, exponent, scale }))
    }

    /// `mantissa / 10^scale`.
    fn from_i128(mantissa: i128, scale: u32) -> Self {
        match i64::try_from(mantissa) {
            Ok(small) if small.unsigned_abs() < SMALL_LIMIT && scale <= PLACES_MAX => {
                Self::Small { mantissa: small, scale }
            }
            _ => Self::from_digits(mantissa < 0, digits::of_u128(mantissa.unsigned_abs()), -i64::from(scale)),
        }
    }

    /// The same number in its one shortest form.
    fn shortest(&self) -> Self {
        match self {
            Self::Small { mantissa, scale } => {
                let (mut mantissa, mut scale) = (*mantissa, *scale);
                if mantissa == 0 {
                    scale = 0;
                }
                while scale > 0 && mantissa % 10 == 0 {
                    mantissa /= 10;
                    scale -= 1;
                }
                Self::Small { mantissa, scale }
            }
            Self::Large(large) => Self::from_digits(large.negative, large.digits.clone(), large.exponent),
        }
    }

    fn parts(&self) -> Parts<'_> {
        match self {
            Self::Small { mantissa, scale } => Parts {
                negative: *mantissa < 0,
                digits: digits::of_u128(u128::from(mantissa.unsigned_abs())).into(),
                exponent: -i64::from(*scale),
                scale: *scale,
            },
            Self::Large(large) => Parts {
                negative: large.negative,
                digits: (&*large.digits).into(),
                exponent: large.exponent,
                scale: large.scale,
            },
        }
    }

    /// The sum; none where a digit of a number is out of bounds.
    pub(super) fn plus(&self, other: &Self) -> Option<Self> {
        if let Some((a, b, scale)) = aligned(self, other) {
            return Some(Self::from_i128(a + b, scale));
        }
        let (a, b) = (self.parts().bounded()?, other.parts().bounded()?);
        let exponent = a.exponent.min(b.exponent);
        let (a_digits, b_digits) = (a.extended(exponent), b.extended(exponent));
        let (negative, sum) = if a.negative == b.negative {
            (a.negative, digits::plus(&a_digits, &b_digits))
        } else if digits::compare(&a_digits, &b_digits) == Ordering::Less {
            (b.negative, digits::minus(&b_digits, &a_digits))
        } else {
            (a.negative, digits::minus(&a_digits, &b_digits))
        };
        Self::from_digits(negative, sum, exponent).scaled(a.scale.max(b.scale))
    }

    /// The difference; none where a digit of a number is out of bounds.
    pub(super) fn minus(&self, other: &Self) -> Option<Self> {
        self.plus(&other.negated())
    }

    /// The product; none where a digit of a number is out of bounds.
    pub(super) fn times(&self, other: &Self) -> Option<Self> {
        if let (Self::Small { mantissa: a, scale: a_scale }, Self::Small { mantissa: b, scale: b_scale }) =
            (self, other)
        {
            return Self::from_i128(i128::from(*a) * i128::from(*b), a_scale + b_scale).scaled(0);
        }
        let (a, b) = (self.parts().bounded()?, other.parts().bounded()?);
        let product = digits::times(&a.digits, &b.digits);
        Self::from_digits(a.negative != b.negative, product, a.exponent + b.exponent)
            .scaled(a.scale + b.scale)
    }

    /// The quotient, rounded half away from zero to as many decimals as PostgreSQL gives (at least 16 significant digits); none for a division by zero, or where a digit is out of bounds.
    pub(super) fn divided_by(&self, other: &Self) -> Option<Self> {
        let (a, b) = (self.parts().bounded()?, other.parts().bounded()?);
        if digits::is_zero(&b.digits) {
            return None;
        }
        let scale = quotient_scale(&a, &b);
        let shift = a.exponent - b.exponent + i64::from(scale);
        let dividend = a.extended(a.exponent - shift.max(0));
        let divisor = b.extended(b.exponent + shift.min(0));
        let quotient = digits::divide_rounding(&dividend, &divisor);
        Self::from_digits(a.negative != b.negative, quotient, -i64::from(scale)).scaled(scale)
    }

    /// The number with the other sign.
    pub(super) fn negated(&self) -> Self {
        match self {
            Self::Small { mantissa, scale } => Self::Small { mantissa: -mantissa, scale: *scale },
            Self::Large(large) => {
                Self::Large(Box::new(Large { negative: !large.negative, ..large.as_ref().clone() }))
            }
        }
    }

    // The result of a calculation: within bounds, with at least `scale` decimals to its name.
    fn scaled(mut self, scale: u32) -> Option<Self> {
        if let Self::Large(large) = &mut self {
            large.scale = large.scale.max(scale);
        }
        self.parts().bounded()?;
        Some(self)
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        if let Some((a, b, _)) = aligned(self, other) {
            return a.cmp(&b);
        }
        let (a, b) = (self.parts(), other.parts());
        match (a.sign(), b.sign()) {
            (a_sign, b_sign) if a_sign != b_sign => a_sign.cmp(&b_sign),
            // Zero with decimals has digits in other places.
            (0, _) => Ordering::Equal,
            (-1, _) => b.compare_size(&a),
            _ => a.compare_size(&b),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl Hash for Number {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.shortest() {
            Self::Small { mantissa, scale } => (mantissa, scale).hash(state),
            Self::Large(large) => (large.negative, large.digits, large.exponent).hash(state),
        }
    }
}

/// Equal numbers have one text, which is a number of JSON and of SQL.
impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let shortest = self.shortest();
        let parts = shortest.parts();
        if parts.negative {
            f.write_char('-')?;
        }
        let text: String = parts.digits.iter().map(|digit| char::from(b'0' + digit)).collect();
        let point = text.len() as i64 + parts.exponent;
        if parts.exponent > PLAIN_DIGITS_MAX || parts.exponent < -PLAIN_DIGITS_MAX {
            return write!(f, "{text}e{}", parts.exponent);
        }
        if parts.exponent >= 0 {
            return write!(f, "{text}{}", "0".repeat(parts.exponent as usize));
        }
        match usize::try_from(point).ok().filter(|point| *point > 0).and_then(|at| text.split_at_checked(at))
        {
            Some((whole, fraction)) => write!(f, "{whole}.{fraction}"),
            None => write!(f, "0.{}{text}", "0".repeat(point.unsigned_abs() as usize)),
        }
    }
}

struct Parts<'a> {
    negative: bool,
    /// Most significant first; `[0]` for zero.
    digits: std::borrow::Cow<'a, [u8]>,
    exponent: i64,
    scale: u32,
}

impl Parts<'_> {
    fn sign(&self) -> i8 {
        match (digits::is_zero(&self.digits), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    /// The place of its first digit: the number is below `10^top`.
    fn top(&self) -> i64 {
        self.exponent.saturating_add(self.digits.len() as i64)
    }

    fn compare_size(&self, other: &Self) -> Ordering {
        self.top().cmp(&other.top()).then_with(|| {
            let len = self.digits.len().max(other.digits.len());
            let padded = |digits: &[u8], at: usize| digits.get(at).copied().unwrap_or(0);
            (0..len)
                .map(|at| padded(&self.digits, at).cmp(&padded(&other.digits, at)))
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        })
    }

    /// Itself, where calculating with it is bounded.
    fn bounded(self) -> Option<Self> {
        let places = i64::from(PLACES_MAX);
        (self.scale <= PLACES_MAX && self.exponent >= -places && self.top() <= places).then_some(self)
    }

    /// Its digits with zeros behind, so that the last one stands for `10^exponent`.
    fn extended(&self, exponent: i64) -> Vec<u8> {
        let mut digits = self.digits.to_vec();
        digits.resize(digits.len() + (self.exponent - exponent).max(0) as usize, 0);
        digits
    }

    /// As PostgreSQL counts: the weight of the first digit to the base of 10,000, and that digit.
    fn first(&self) -> (i64, u32) {
        if digits::is_zero(&self.digits) {
            return (0, 0);
        }
        let weight = (self.top() - 1).div_euclid(4);
        let digits = (self.top() - weight * 4) as usize;
        let first =
            (0..digits).fold(0, |sum, at| sum * 10 + u32::from(self.digits.get(at).copied().unwrap_or(0)));
        (weight, first)
    }
}

/// Two small numbers as whole numbers of one scale, where they fit.
fn aligned(a: &Number, b: &Number) -> Option<(i128, i128, u32)> {
    let (Number::Small { mantissa: a, scale: a_scale }, Number::Small { mantissa: b, scale: b_scale }) =
        (a, b)
    else {
        return None;
    };
    let (a, b) = (i128::from(*a), i128::from(*b));
    if a_scale == b_scale {
        return Some((a, b, *a_scale));
    }
    if a_scale.abs_diff(*b_scale) > SMALL_DIGITS_MAX as u32 {
        return None;
    }
    let scale = *a_scale.max(b_scale);
    Some((a * 10i128.pow(scale - a_scale), b * 10i128.pow(scale - b_scale), scale))
}

// PostgreSQL's `select_div_scale`: 16 significant digits or more, and the decimals of both.
fn quotient_scale(a: &Parts<'_>, b: &Parts<'_>) -> u32 {
    let ((a_weight, a_first), (b_weight, b_first)) = (a.first(), b.first());
    let weight = a_weight - b_weight - i64::from(a_first <= b_first);
    u32::try_from((16 - weight * 4).clamp(0, 1000)).unwrap_or(0).max(a.scale).max(b.scale)
}

fn small_integer(negative: bool, text: &str) -> Option<Number> {
    if text.is_empty() || text.len() > SMALL_DIGITS_MAX {
        return None;
    }
    let mut value = 0;
    for byte in text.bytes() {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(byte - b'0');
    }
    Some(Number::Small { mantissa: if negative { -value } else { value }, scale: 0 })
}

fn exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // So far out that only numbers of no use differ.
    let value = digits.parse::<i64>().unwrap_or(i64::MAX).min(EXPONENT_MAX);
    Some(if negative { -value } else { value })
}

/// Calculating takes and gives numbers below `10^PLACES_MAX` with at most as many decimals.
pub const PLACES_MAX: u32 = 400;

const SMALL_DIGITS_MAX: usize = 18;
const SMALL_LIMIT: u64 = 10u64.pow(SMALL_DIGITS_MAX as u32);

/// Numbers with more zeros than this before or after their digits are written with an exponent.
const PLAIN_DIGITS_MAX: i64 = 40;

/// Exponents beyond this one count as this one.
const EXPONENT_MAX: i64 = 1_000_000_000_000_000;
