//! The normal form: predicates that say the same in other words become one tree.
//!
//! Every step holds in three-valued logic, and for values of any kinds. Trees are made by these functions only, so
//! that they are normal from the leaves up.

use super::{
    tree::{Arithmetic, Comparison, Condition, Term, Truth},
    value::Constant,
};

/// `left op right`, the sides in order; with NULL it is unknown.
pub(super) fn compare(op: Comparison, left: Term, right: Term) -> Condition {
    if [&left, &right].contains(&&Term::Constant(Constant::Null)) {
        return Condition::Test(Term::Constant(Constant::Null));
    }
    if left <= right {
        Condition::Compare(op, left, right)
    } else {
        Condition::Compare(op.swapped(), right, left)
    }
}

/// `left IS DISTINCT FROM right`, or not, the sides in order; from NULL it is `IS NOT NULL`.
pub(super) fn distinct(left: Term, right: Term, negated: bool) -> Condition {
    match (left, right) {
        (term, Term::Constant(Constant::Null)) | (Term::Constant(Constant::Null), term) => {
            null(term, !negated)
        }
        (left, right) if left <= right => Condition::Distinct { left, right, negated },
        (left, right) => Condition::Distinct { left: right, right: left, negated },
    }
}

/// `term IS NULL`, or not; a condition that is NULL is unknown.
pub(super) fn null(term: Term, negated: bool) -> Condition {
    match term {
        Term::Condition(condition) => is(*condition, Truth::Unknown, negated),
        term => Condition::Null { term, negated },
    }
}

/// `condition IS truth`, or not.
pub(super) fn is(condition: Condition, truth: Truth, negated: bool) -> Condition {
    let (condition, truth) = match (condition, truth) {
        (Condition::Not(inner), Truth::True) => (*inner, Truth::False),
        (Condition::Not(inner), Truth::False) => (*inner, Truth::True),
        (Condition::Not(inner), Truth::Unknown) => (*inner, Truth::Unknown),
        other => other,
    };
    Condition::Is { condition: Box::new(condition), truth, negated }
}

/// A term where a condition stands.
pub(super) fn test(term: Term) -> Condition {
    match term {
        Term::Condition(condition) => *condition,
        term => Condition::Test(term),
    }
}

/// A condition where a term stands.
pub(super) fn term(condition: Condition) -> Term {
    match condition {
        Condition::Test(Term::Constant(constant @ (Constant::Bool(_) | Constant::Null))) => {
            Term::Constant(constant)
        }
        condition => Term::Condition(Box::new(condition)),
    }
}

/// `-term`.
pub(super) fn negate_term(term: Term) -> Term {
    match term {
        Term::Constant(Constant::Number(number)) => Term::Constant(Constant::Number(number.negated())),
        term => Term::Negate(Box::new(term)),
    }
}

/// `left op right`, the sides in order where it is the same.
pub(super) fn arithmetic(op: Arithmetic, left: Term, right: Term) -> Term {
    let swap = matches!(op, Arithmetic::Plus | Arithmetic::Times) && left > right;
    let (left, right) = if swap { (right, left) } else { (left, right) };
    Term::Arithmetic(op, Box::new(left), Box::new(right))
}

/// `NOT condition`.
pub(super) fn negate(condition: Condition) -> Condition {
    match condition {
        Condition::And(all) => any(all.into_iter().map(negate).collect()),
        Condition::Or(all) => self::all(all.into_iter().map(negate).collect()),
        Condition::Compare(op, left, right) => Condition::Compare(op.opposite(), left, right),
        Condition::In { term, list, negated } => Condition::In { term, list, negated: !negated },
        Condition::Like { term, pattern, negated } => Condition::Like { term, pattern, negated: !negated },
        Condition::Null { term, negated } => Condition::Null { term, negated: !negated },
        Condition::Distinct { left, right, negated } => {
            Condition::Distinct { left, right, negated: !negated }
        }
        Condition::Is { condition, truth, negated } => Condition::Is { condition, truth, negated: !negated },
        Condition::Not(inner) => *inner,
        Condition::Test(Term::Constant(Constant::Bool(value))) => Condition::constant(!value),
        Condition::Test(Term::Constant(Constant::Null)) => condition,
        condition @ Condition::Test(_) => Condition::Not(Box::new(condition)),
    }
}

/// All of `conditions`, by AND.
pub(super) fn all(conditions: Vec<Condition>) -> Condition {
    join(conditions, false)
}

/// Any of `conditions`, by OR.
pub(super) fn any(conditions: Vec<Condition>) -> Condition {
    join(conditions, true)
}

/// OR where one that is `decides` decides it, AND where one that is not does.
fn join(conditions: Vec<Condition>, decides: bool) -> Condition {
    let mut flat = Vec::with_capacity(conditions.len());
    for condition in conditions {
        match condition {
            Condition::And(inner) if !decides => flat.extend(inner),
            Condition::Or(inner) if decides => flat.extend(inner),
            Condition::Test(Term::Constant(Constant::Bool(value))) if value == decides => {
                return Condition::constant(decides);
            }
            Condition::Test(Term::Constant(Constant::Bool(_))) => {}
            condition => flat.push(condition),
        }
    }
    let mut flat = lists(flat, !decides);
    flat.sort();
    flat.dedup();
    match flat.len() {
        0 => Condition::constant(!decides),
        1 => flat.pop().unwrap_or_else(|| Condition::constant(!decides)),
        _ if decides => Condition::Or(flat),
        _ => Condition::And(flat),
    }
}

/// `a = 1 OR a IN (2, 3)` is `a IN (1, 2, 3)`; the same of `<>`, AND and NOT IN, where `negated`.
fn lists(conditions: Vec<Condition>, negated: bool) -> Vec<Condition> {
    let (mut items, mut others) = (Vec::new(), Vec::new());
    let equality = if negated { Comparison::NotEqual } else { Comparison::Equal };
    for condition in conditions {
        match condition {
            Condition::Compare(op, term, Term::Constant(constant))
                if op == equality && constant != Constant::Null =>
            {
                items.push((term, constant));
            }
            Condition::In { term, list, negated: same } if same == negated => {
                items.extend(list.into_iter().map(|constant| (term.clone(), constant)));
            }
            other => others.push(other),
        }
    }
    // Constants of one kind sort together, and only they may share a list: another kind makes unknown, not false.
    items.sort();
    items.dedup();
    let mut items = items.into_iter().peekable();
    while let Some((term, first)) = items.next() {
        let mut list = vec![first];
        while let Some((_, next)) = items.next_if(|(other, next)| {
            *other == term && list.first().is_some_and(|one| one.kind() == next.kind())
        }) {
            list.push(next);
        }
        others.push(match list.len() {
            1 => Condition::Compare(equality, term, Term::Constant(list.remove(0))),
            _ => Condition::In { term, list, negated },
        });
    }
    others
}
