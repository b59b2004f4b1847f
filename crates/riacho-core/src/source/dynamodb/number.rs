//! DynamoDB's numbers: decimal, exact, never an f64.

use std::{
    cmp::Ordering,
    fmt::{self, Display, Formatter},
    str::FromStr,
};

/// A decimal number of up to [`DIGITS_MAX`] significant digits, 0 or from 1E-130 to below 1E+126 either side of it.
///
/// Its text is canonical, one for each value: digits without zeros that do not count and without a plus; `15`, `0.5`,
/// `-1200`. Beyond [`PLAIN_DIGITS_MAX`] digits it is scientific: `1E-130`, `9.9E+125`. There is one zero.
/// Spec: Amazon DynamoDB Developer Guide, "Supported data types and naming rules", "Number".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Number {
    negative: bool,
    /// Below 10^38; its last digit is not 0, unless it is 0.
    coefficient: u128,
    /// The power of ten that the last digit of the coefficient stands for.
    exponent: i16,
}

impl Number {
    const ZERO: Self = Self { negative: false, coefficient: 0, exponent: 0 };

    /// Whether a browser keeps it, which has doubles: whole and at most 2^53 - 1 either side of 0, or a fraction of at
    /// most 15 significant digits. Then it is a number in JSON, else a string.
    pub fn kept_by_browsers(&self) -> bool {
        let digits = i32::from(digits(self.coefficient));
        if self.exponent < 0 {
            return digits <= SIGNIFICANT_MAX;
        }
        digits + i32::from(self.exponent) <= WHOLE_DIGITS_MAX && self.shifted(self.exponent) <= WHOLE_MAX
    }

    /// Appends it as JSON: a number, or a string of the same text where a browser would round it.
    pub fn json(&self, out: &mut String) {
        let text = self.to_string();
        if self.kept_by_browsers() {
            out.push_str(&text);
        } else {
            out.extend(["\"", &text, "\""]);
        }
    }

    /// The power of ten of the first digit.
    fn magnitude(&self) -> i16 {
        self.exponent + digits(self.coefficient) as i16 - 1
    }

    /// The coefficient with zeros behind it; they are so few that it fits.
    fn shifted(&self, zeros: i16) -> u128 {
        self.coefficient.saturating_mul(10u128.saturating_pow(zeros.max(0) as u32))
    }

    fn compare_amounts(&self, other: &Self) -> Ordering {
        if self.coefficient == 0 || other.coefficient == 0 {
            return self.coefficient.cmp(&other.coefficient);
        }
        // Of one magnitude, their exponents are less than 38 apart, and the longer one keeps its digits.
        self.magnitude().cmp(&other.magnitude()).then_with(|| {
            let exponent = self.exponent.min(other.exponent);
            self.shifted(self.exponent - exponent).cmp(&other.shifted(other.exponent - exponent))
        })
    }
}

impl FromStr for Number {
    type Err = ParseNumberError;

    /// Takes a decimal text: a sign or none, digits with a point or none, and an exponent or none: `-1.50e+3`, `.5`,
    /// `5.`, `007`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(ParseNumberError::Shape);
        }
        let (negative, unsigned) = match text.strip_prefix(['-', '+']) {
            Some(rest) => (text.starts_with('-'), rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, power(exponent).ok_or(ParseNumberError::Shape)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = || whole.bytes().chain(fraction.bytes());
        if all().next().is_none() || !all().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseNumberError::Shape);
        }
        let count = whole.len() + fraction.len();
        let leading = all().take_while(|byte| *byte == b'0').count();
        if leading == count {
            return Ok(Self::ZERO);
        }
        let trailing = all().rev().take_while(|byte| *byte == b'0').count();
        let significant = count - leading - trailing;
        if significant > DIGITS_MAX {
            return Err(ParseNumberError::TooManyDigits);
        }
        let last = exponent - fraction.len() as i64 + trailing as i64;
        let first = last + significant as i64 - 1;
        if first > MAGNITUDE_MAX {
            return Err(ParseNumberError::TooLarge);
        }
        if first < MAGNITUDE_MIN {
            return Err(ParseNumberError::TooSmall);
        }
        let coefficient = all()
            .skip(leading)
            .take(significant)
            .fold(0, |sum: u128, byte| sum * 10 + u128::from(byte - b'0'));
        Ok(Self { negative, coefficient, exponent: last as i16 })
    }
}

/// The number behind an `e`; no more digits than a text may have.
fn power(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // So far out that no digits bring it back.
    let amount = digits.parse::<i64>().unwrap_or(i64::MAX).min(POWER_MAX);
    Some(if text.starts_with('-') { -amount } else { amount })
}

/// How many decimal digits it has; 1 for 0.
fn digits(coefficient: u128) -> u8 {
    coefficient.checked_ilog10().map_or(1, |log| log as u8 + 1)
}

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        let digits = self.coefficient.to_string();
        let behind = usize::from(self.exponent.min(0).unsigned_abs());
        let zeros = usize::from(self.exponent.max(0).unsigned_abs());
        if digits.len() + zeros > PLAIN_DIGITS_MAX || behind >= PLAIN_DIGITS_MAX {
            let (first, rest) = digits.split_at_checked(1).unwrap_or((&digits, ""));
            let point = if rest.is_empty() { "" } else { "." };
            return write!(f, "{first}{point}{rest}E{:+}", self.magnitude());
        }
        match digits.len().checked_sub(behind) {
            Some(whole) if whole > 0 => {
                let (whole, fraction) = digits.split_at_checked(whole).unwrap_or((&digits, ""));
                let point = if fraction.is_empty() { "" } else { "." };
                write!(f, "{whole}{}{point}{fraction}", "0".repeat(zeros))
            }
            _ => write!(f, "0.{}{digits}", "0".repeat(behind - digits.len())),
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.compare_amounts(other),
            (true, true) => other.compare_amounts(self),
            (negative, _) => {
                if negative {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Why a text is no number of DynamoDB. `Display` completes "the number ...".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseNumberError {
    /// It is no decimal number, or longer than [`TEXT_BYTES_MAX`].
    Shape,
    /// More than [`DIGITS_MAX`] significant digits.
    TooManyDigits,
    /// 1E+126 or more, either side of 0.
    TooLarge,
    /// Below 1E-130 and not 0, either side of it.
    TooSmall,
}

impl Display for ParseNumberError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape => f.write_str("is no decimal number"),
            Self::TooManyDigits => write!(f, "has more than {DIGITS_MAX} significant digits"),
            Self::TooLarge => f.write_str("is 1E+126 or larger"),
            Self::TooSmall => f.write_str("is smaller than 1E-130"),
        }
    }
}

impl std::error::Error for ParseNumberError {}

/// The most significant digits of a number.
pub const DIGITS_MAX: usize = 38;

/// The most digits, zeros included, that are written without an exponent; before the point or behind it.
pub const PLAIN_DIGITS_MAX: usize = 40;

/// The longest text that is read as a number, in bytes. The service itself writes up to 170: it has no exponents.
pub const TEXT_BYTES_MAX: usize = 1024;

const MAGNITUDE_MAX: i64 = 125;
const MAGNITUDE_MIN: i64 = -130;
const POWER_MAX: i64 = 1_000_000;
const SIGNIFICANT_MAX: i32 = 15;
const WHOLE_DIGITS_MAX: i32 = 16;
const WHOLE_MAX: u128 = (1 << 53) - 1;
