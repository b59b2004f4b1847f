//! Whole numbers of any size as decimal digits (0 to 9, not ASCII), the most significant first.
//!
//! The schoolbook's ways: the numbers are bounded by the caller, and most never come here.

use std::cmp::Ordering;

/// The digits of `value`; one 0 for zero.
pub(super) fn of_u128(value: u128) -> Vec<u8> {
    value.to_string().bytes().map(|byte| byte - b'0').collect()
}

/// Takes the zeros before the first digit away.
pub(super) fn trim_front(digits: &mut Vec<u8>) {
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    digits.drain(..zeros);
}

/// Whether there is no digit but 0.
pub(super) fn is_zero(digits: &[u8]) -> bool {
    digits.iter().all(|digit| *digit == 0)
}

/// Which is larger.
pub(super) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (trimmed(a), trimmed(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// The sum.
pub(super) fn plus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let mut sum: Vec<u8> = (0..a.len().max(b.len()) + 1)
        .map(|place| {
            let digit = at(a, place) + at(b, place) + carry;
            carry = digit / 10;
            digit % 10
        })
        .collect();
    sum.reverse();
    sum
}

/// The difference of `a` and a `b` that is not larger.
pub(super) fn minus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut difference: Vec<u8> = (0..a.len().max(b.len()))
        .map(|place| {
            let digit = at(a, place) + 10 - at(b, place) - borrow;
            borrow = u8::from(digit < 10);
            digit % 10
        })
        .collect();
    difference.reverse();
    difference
}

/// The product.
pub(super) fn times(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut sums = vec![0u32; a.len() + b.len()];
    for (a_place, a_digit) in a.iter().rev().enumerate() {
        for (sum, b_digit) in sums.iter_mut().skip(a_place).zip(b.iter().rev()) {
            *sum += u32::from(*a_digit) * u32::from(*b_digit);
        }
    }
    let mut carry = 0;
    let mut product: Vec<u8> = sums
        .iter()
        .map(|sum| {
            let value = sum + carry;
            carry = value / 10;
            (value % 10) as u8
        })
        .collect();
    product.reverse();
    product
}

/// The quotient, the half rounded up; `divisor` is not zero.
pub(super) fn divide_rounding(dividend: &[u8], divisor: &[u8]) -> Vec<u8> {
    let divisor = trimmed(divisor);
    let mut rest = Vec::with_capacity(divisor.len() + 1);
    let mut quotient = Vec::with_capacity(dividend.len());
    for digit in dividend {
        rest.push(*digit);
        trim_front(&mut rest);
        let mut times = 0;
        while compare(&rest, divisor) != Ordering::Less {
            rest = minus(&rest, divisor);
            trim_front(&mut rest);
            times += 1;
        }
        quotient.push(times);
    }
    if compare(&plus(&rest, &rest), divisor) != Ordering::Less {
        quotient = plus(&quotient, &[1]);
    }
    quotient
}

/// The digit `place` places before the last.
fn at(digits: &[u8], place: usize) -> u8 {
    digits.len().checked_sub(place + 1).and_then(|index| digits.get(index)).copied().unwrap_or(0)
}

fn trimmed(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    digits.get(zeros..).unwrap_or_default()
}
