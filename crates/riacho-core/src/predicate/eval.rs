//! What a tree says of one row.

use super::{
    like::{self, PATTERN_BYTES_MAX, Pattern},
    number::Number,
    tree::{Arithmetic, Column, Condition, Function, Like, Term, Truth},
    value::Value,
};
use std::{borrow::Cow, cmp::Ordering};

/// The values of a row's paths.
#[derive(Clone, Copy)]
pub(super) struct Values<'c, 'row> {
    /// By slot of whoever took them out of the row.
    pub(super) cells: &'c [Option<&'row str>],
    /// That slot by the predicate's own one; the same where there is none.
    pub(super) slots: Option<&'c [usize]>,
}

impl<'row> Values<'_, 'row> {
    fn of(self, column: &Column) -> Value<'row> {
        let slot = match self.slots {
            Some(slots) => slots.get(column.slot).copied(),
            None => Some(column.slot),
        };
        slot.and_then(|slot| self.cells.get(slot).copied().flatten()).map_or(Value::Null, Value::of)
    }
}

impl Condition {
    /// Whether it is true or false; none where it is unknown.
    pub(super) fn truth(&self, row: Values<'_, '_>) -> Option<bool> {
        match self {
            Self::Compare(op, left, right) => compare(left, right, row).map(|order| op.holds(order)),
            Self::In { term, list, negated } => {
                let value = term.value(row);
                // One comparison tells whether the kinds fit: all constants are of one.
                list.first()?.compare(&value)?;
                let order =
                    |constant: &super::value::Constant| constant.compare(&value).unwrap_or(Ordering::Less);
                Some(list.binary_search_by(order).is_ok() != *negated)
            }
            Self::Like { term, pattern, negated } => {
                let Value::Text(text) = term.value(row) else { return None };
                pattern.matches(&text, row).map(|matches| matches != *negated)
            }
            Self::Null { term, negated } => Some(term.value(row).is_null() != *negated),
            Self::Distinct { left, right, negated } => {
                let (left, right) = (left.value(row), right.value(row));
                let distinct = match (left.is_null(), right.is_null()) {
                    (true, true) => false,
                    (false, false) => left.compare(&right).is_none_or(Ordering::is_ne),
                    _ => true,
                };
                Some(distinct != *negated)
            }
            Self::Is { condition, truth, negated } => {
                let is = match truth {
                    Truth::True => Some(true),
                    Truth::False => Some(false),
                    Truth::Unknown => None,
                };
                Some((condition.truth(row) == is) != *negated)
            }
            Self::Test(term) => term.value(row).truth(),
            Self::Not(condition) => condition.truth(row).map(|truth| !truth),
            Self::And(all) => join(all, false, row),
            Self::Or(all) => join(all, true, row),
        }
    }
}

/// The first that is `decides` decides; else one that is unknown makes all unknown.
fn join(conditions: &[Condition], decides: bool, row: Values<'_, '_>) -> Option<bool> {
    let mut truth = Some(!decides);
    for condition in conditions {
        match condition.truth(row) {
            Some(value) if value == decides => return Some(decides),
            Some(_) => {}
            None => truth = None,
        }
    }
    truth
}

fn compare(left: &Term, right: &Term, row: Values<'_, '_>) -> Option<Ordering> {
    match right {
        Term::Constant(constant) => constant.compare(&left.value(row)).map(Ordering::reverse),
        right => left.value(row).compare(&right.value(row)),
    }
}

impl Like {
    fn matches(&self, text: &str, row: Values<'_, '_>) -> Option<bool> {
        match self {
            Self::Constant(pattern) => Some(pattern.matches(text)),
            Self::Term { term, escape, fold } => match term.value(row) {
                Value::Text(pattern) if pattern.len() <= PATTERN_BYTES_MAX => {
                    Pattern::parse(&pattern, *escape, *fold).map(|pattern| pattern.matches(text))
                }
                _ => None,
            },
        }
    }
}

impl Term {
    fn value<'a>(&'a self, row: Values<'_, 'a>) -> Value<'a> {
        match self {
            Self::Column(column) => row.of(column),
            Self::Constant(constant) => constant.value(),
            Self::Condition(condition) => condition.truth(row).map_or(Value::Null, Value::Bool),
            Self::Negate(term) => number(&term.value(row), |number| Some(number.negated())),
            Self::Arithmetic(op, left, right) => {
                let (left, right) = (left.value(row), right.value(row));
                number(&left, |left| match &right {
                    Value::Number(right) => op.of(left, right),
                    _ => None,
                })
            }
            Self::Call(function, arguments) => function.of(arguments, row),
        }
    }
}

impl Arithmetic {
    fn of(self, left: &Number, right: &Number) -> Option<Number> {
        match self {
            Self::Plus => left.plus(right),
            Self::Minus => left.minus(right),
            Self::Times => left.times(right),
            Self::Divide => left.divided_by(right),
        }
    }
}

impl Function {
    fn of<'a>(self, arguments: &'a [Term], row: Values<'_, 'a>) -> Value<'a> {
        let mut values = arguments.iter().map(|term| term.value(row));
        if self == Self::Coalesce {
            return values.find(|value| !value.is_null()).unwrap_or(Value::Null);
        }
        match (self, values.next()) {
            (Self::Lower, Some(Value::Text(text))) => folded(text, like::lower),
            (Self::Upper, Some(Value::Text(text))) => folded(text, like::upper),
            (Self::Length, Some(Value::Text(text))) => {
                Value::Number(Number::from_count(text.chars().count()))
            }
            _ => Value::Null,
        }
    }
}

fn folded<'a>(text: Cow<'a, str>, fold: impl Fn(&str) -> Cow<'_, str>) -> Value<'a> {
    match text {
        Cow::Borrowed(text) => Value::Text(fold(text)),
        Cow::Owned(text) => Value::Text(Cow::Owned(fold(&text).into_owned())),
    }
}

fn number<'a>(value: &Value<'_>, f: impl FnOnce(&Number) -> Option<Number>) -> Value<'a> {
    match value {
        Value::Number(number) => f(number).map_or(Value::Null, Value::Number),
        _ => Value::Null,
    }
}
