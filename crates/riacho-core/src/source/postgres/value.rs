//! Texts of PostgreSQL values, as its output functions write them, to JSON.
//!
//! The texts are those of a session with `TimeZone=UTC`, `DateStyle=ISO`, `IntervalStyle=iso_8601`, `bytea_output=hex`,
//! `extra_float_digits=1` and `client_encoding=UTF8`. Whatever the text is, what is written is JSON that
//! [`table::value::value`](crate::table::value::value) takes as a member of a row.
//! Spec: PostgreSQL, "Data Types".

use super::{
    kind::Kind,
    nested::{Array, Composite, Token},
};
use crate::{
    table::value::{DEPTH_MAX, nests},
    transport::json,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, civil::DateTime};
use std::fmt::Write as _;

/// Appends `text`, a value of `kind`, as JSON on one line.
///
/// | kind | JSON |
/// | --- | --- |
/// | `Bool` | `true`, `false` |
/// | `Number` | a number, digits and zeros as they are, where no browser rounds it: whole and at most 2^53 - 1 either side of 0, or of at most 15 significant digits (and not below 1e-307); else a string of the same text, as are `NaN` and `Infinity`. The value decides, not the type: 1.50 has two significant digits |
/// | `Float` | a number, since a double is what a browser has for it; `NaN` and `Infinity` are strings |
/// | `Json` | itself, exactly; line breaks between its tokens are spaces. A string of its text where an object has a member twice, or where it is nested deeper than a row may be |
/// | `Timestamptz` | a string, RFC 3339 in UTC: `"2026-11-21T20:00:00.5Z"`; zeros at the end of a fraction are cut |
/// | `Timestamp` | the same without a zone: `"2026-11-21T20:00:00.5"` |
/// | `Bytea` | a string, base64 with padding (RFC 4648, "Base 64 Encoding") |
/// | `Array` | an array; of several dimensions, of arrays. Bounds (`[0:2]=`) are not part of it |
/// | `Composite` | an object with a member for each field |
/// | `Text` | a string of the text: ranges are `"[1,5)"`, enums their label |
///
/// Text that its kind does not have is a string as it stands. That is so by rule for `infinity` and for times before
/// the year 1 or after 9999: `"0044-03-15 12:00:00+00 BC"`.
pub fn write(out: &mut String, kind: &Kind, text: &str) {
    // The row itself is one level.
    nested(out, kind, text, DEPTH_MAX - 1);
}

/// Appends a row as a JSON object: names of columns, each once, their kinds and values; none is NULL.
pub fn row<'a>(out: &mut String, columns: impl IntoIterator<Item = (&'a str, &'a Kind, Option<&'a str>)>) {
    out.push('{');
    for (i, (name, kind, text)) in columns.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        json::string_into(out, name);
        out.push(':');
        match text {
            Some(text) => write(out, kind, text),
            None => out.push_str("null"),
        }
    }
    out.push('}');
}

/// `depth`: how many objects and arrays may stand in each other here.
fn nested(out: &mut String, kind: &Kind, text: &str, depth: usize) {
    let begin = out.len();
    let written = match kind {
        Kind::Bool => boolean(out, text),
        Kind::Number => number(out, text, kept_by_browsers),
        Kind::Float => number(out, text, |_| true),
        Kind::Json => embedded(out, text, depth),
        Kind::Timestamp => timestamp(out, text),
        Kind::Timestamptz => timestamptz(out, text),
        Kind::Bytea => bytea(out, text),
        Kind::Text => None,
        Kind::Array(element, delimiter) => array(out, element, *delimiter, text, depth),
        Kind::Composite(fields) => composite(out, fields, text, depth),
    };
    if written.is_none() {
        out.truncate(begin);
        json::string_into(out, text);
    }
}

fn boolean(out: &mut String, text: &str) -> Option<()> {
    out.push_str(match text {
        "t" => "true",
        "f" => "false",
        _ => return None,
    });
    Some(())
}

fn number(out: &mut String, text: &str, keeps: impl Fn(&Decimal<'_>) -> bool) -> Option<()> {
    let kept = Decimal::parse(text).is_some_and(|decimal| keeps(&decimal));
    kept.then(|| out.push_str(text))
}

/// The parts of a JSON number's text.
struct Decimal<'a> {
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Decimal<'a> {
    /// Spec: RFC 8259, "Numbers".
    fn parse(text: &'a str) -> Option<Self> {
        let (whole, rest) = digits(text.strip_prefix('-').unwrap_or(text));
        if whole.is_empty() || whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(rest) => Some(digits(rest)).filter(|(fraction, _)| !fraction.is_empty())?,
            None => ("", rest),
        };
        let exponent = match rest.strip_prefix(['e', 'E']) {
            // More digits than these are no number of PostgreSQL's.
            Some(exponent) => exponent.parse::<i32>().ok()?.into(),
            None if rest.is_empty() => 0,
            None => return None,
        };
        Some(Self { whole, fraction, exponent })
    }
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn kept_by_browsers(decimal: &Decimal<'_>) -> bool {
    let all = || decimal.whole.bytes().chain(decimal.fraction.bytes());
    let count = decimal.whole.len() + decimal.fraction.len();
    let leading = all().take_while(|digit| *digit == b'0').count();
    if leading == count {
        return true;
    }
    let trailing = all().rev().take_while(|digit| *digit == b'0').count();
    let significant = count - leading - trailing;
    // The power of ten that the last significant digit stands for.
    let last = decimal.exponent - decimal.fraction.len() as i64 + trailing as i64;
    if last < 0 {
        return significant <= SIGNIFICANT_MAX && last + significant as i64 > POWER_MIN;
    }
    if significant as i64 + last > 16 {
        return false;
    }
    let value =
        all().skip(leading).take(significant).fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    value * 10u64.pow(last as u32) <= WHOLE_MAX
}

fn embedded(out: &mut String, text: &str, depth: usize) -> Option<()> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    if !nests(text, depth) {
        return None;
    }
    // In JSON a bare line break can only be white space between tokens.
    let mut lines = text.split(['\r', '\n']);
    out.push_str(lines.next()?);
    for line in lines {
        out.push(' ');
        out.push_str(line);
    }
    Some(())
}

fn timestamp(out: &mut String, text: &str) -> Option<()> {
    let (time, rest) = Time::parse(text)?;
    if !rest.is_empty() {
        return None;
    }
    time.write(out, "");
    Some(())
}

fn timestamptz(out: &mut String, text: &str) -> Option<()> {
    let (mut time, rest) = Time::parse(text)?;
    time.seconds = time.seconds.checked_sub(offset(rest)?).ok()?;
    if time.seconds.year() < 1 {
        return None;
    }
    time.write(out, "Z");
    Some(())
}

/// A time from the year 1 to 9999.
struct Time<'a> {
    seconds: DateTime,
    /// Digits behind the point, the last of them not 0.
    fraction: &'a str,
}

impl<'a> Time<'a> {
    /// Takes `2026-11-21 20:00:00.123456` from the beginning of a text, and gives what is behind it.
    fn parse(text: &'a str) -> Option<(Self, &'a str)> {
        let (head, rest) = text.split_at_checked(SECONDS_SHAPE.len())?;
        let fits =
            |(byte, shape): (u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == *shape };
        if !head.bytes().zip(SECONDS_SHAPE).all(fits) {
            return None;
        }
        let two = |at: usize| head.get(at..at + 2)?.parse::<i8>().ok();
        let year = head.get(..4)?.parse::<i16>().ok().filter(|year| *year > 0)?;
        let seconds = DateTime::new(year, two(5)?, two(8)?, two(11)?, two(14)?, two(17)?, 0).ok()?;
        let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), digits);
        Some((Self { seconds, fraction: fraction.trim_end_matches('0') }, rest))
    }

    fn write(&self, out: &mut String, zone: &str) {
        let t = &self.seconds;
        let (year, month, day, hour, minute, second) =
            (t.year(), t.month(), t.day(), t.hour(), t.minute(), t.second());
        let point = if self.fraction.is_empty() { "" } else { "." };
        let fraction = self.fraction;
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{point}{fraction}{zone}\""
        );
    }
}

/// Takes `+05:30`: hours, or with minutes, or with seconds too.
fn offset(text: &str) -> Option<SignedDuration> {
    let (sign, text) = match text.split_at_checked(1)? {
        ("+", text) => (1, text),
        ("-", text) => (-1, text),
        _ => return None,
    };
    let mut seconds = 0;
    let mut unit = 3600;
    for part in text.split(':') {
        let fits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit()) && unit > 0;
        seconds += part.parse::<i64>().ok().filter(|_| fits)? * unit;
        unit /= 60;
    }
    Some(SignedDuration::from_secs(sign * seconds))
}

fn bytea(out: &mut String, text: &str) -> Option<()> {
    let hex = text.strip_prefix("\\x")?.as_bytes();
    let (pairs, []) = hex.as_chunks::<2>() else { return None };
    let nibble = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?))
        .collect::<Option<Vec<u8>>>()?;
    out.push('"');
    STANDARD.encode_string(bytes, out);
    out.push('"');
    Some(())
}

fn array(out: &mut String, element: &Kind, delimiter: char, text: &str, depth: usize) -> Option<()> {
    let mut array = Array::new(text, delimiter)?;
    let Token::Open = array.next()? else { return None };
    items(out, element, &mut array, depth, DIMENSIONS_MAX)?;
    array.done().then_some(())
}

/// The items of an array behind its brace.
fn items(
    out: &mut String,
    element: &Kind,
    array: &mut Array<'_>,
    depth: usize,
    dimensions: usize,
) -> Option<()> {
    let (depth, dimensions) = (depth.checked_sub(1)?, dimensions.checked_sub(1)?);
    out.push('[');
    let mut more = !array.ends();
    while more {
        match array.next()? {
            Token::Open => items(out, element, array, depth, dimensions)?,
            Token::Close => return None,
            Token::Null => out.push_str("null"),
            Token::Element(text) => nested(out, element, &text, depth),
        }
        more = array.more()?;
        if more {
            out.push(',');
        }
    }
    out.push(']');
    Some(())
}

fn composite(out: &mut String, fields: &[(Box<str>, Kind)], text: &str, depth: usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let mut composite = Composite::new(text)?;
    out.push('{');
    for (i, (name, kind)) in fields.iter().enumerate() {
        if i > 0 {
            composite.comma()?;
            out.push(',');
        }
        json::string_into(out, name);
        out.push(':');
        match composite.field()? {
            Some(text) => nested(out, kind, &text, depth),
            None => out.push_str("null"),
        }
    }
    out.push('}');
    composite.end()
}

/// JavaScript's `Number.MAX_SAFE_INTEGER`.
const WHOLE_MAX: u64 = (1 << 53) - 1;
/// A double gives so many decimal digits back whatever they are.
const SIGNIFICANT_MAX: usize = 15;
/// Below 1e-307 doubles have fewer digits.
const POWER_MIN: i64 = -307;

/// PostgreSQL's bound of an array's dimensions (`MAXDIM`).
const DIMENSIONS_MAX: usize = 6;

const SECONDS_SHAPE: &[u8] = b"0000-00-00 00:00:00";
