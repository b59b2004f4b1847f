//! A predicate as a tree: conditions, which are true, false or unknown, over terms, which are values.
//!
//! The order of variants and fields is the order of operands in canonical text, which is compared and hashed: changing
//! it changes that text.

use super::{like::Pattern, path::Path, value::Constant};
use std::cmp::Ordering;

/// What is true, false or unknown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Condition {
    /// `left op right`.
    Compare(Comparison, Term, Term),
    /// `term [NOT] IN (list)`. The constants are sorted, of one kind, at least two, and none is NULL.
    In {
        term: Term,
        list: Vec<Constant>,
        negated: bool,
    },
    /// `term [NOT] LIKE pattern`.
    Like {
        term: Term,
        pattern: Like,
        negated: bool,
    },
    /// `term IS [NOT] NULL`.
    Null {
        term: Term,
        negated: bool,
    },
    /// `left IS [NOT] DISTINCT FROM right`.
    Distinct {
        left: Term,
        right: Term,
        negated: bool,
    },
    /// `condition IS [NOT] TRUE`, `FALSE` or `UNKNOWN`.
    Is {
        condition: Box<Condition>,
        truth: Truth,
        negated: bool,
    },
    /// A term that is the condition: unknown unless it is a boolean.
    Test(Term),
    /// Stands only before a `Test`: all others have their own opposite.
    Not(Box<Condition>),
    And(Vec<Condition>),
    Or(Vec<Condition>),
}

/// A value for each row.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Term {
    Column(Column),
    Call(Function, Vec<Term>),
    Negate(Box<Term>),
    Arithmetic(Arithmetic, Box<Term>, Box<Term>),
    Condition(Box<Condition>),
    Constant(Constant),
}

/// A member of the row.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Column {
    pub(super) path: Path,
    /// Where the predicate's `Paths` puts its value.
    pub(super) slot: usize,
}

/// What LIKE compares with.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Like {
    Constant(Pattern),
    Term { term: Box<Term>, escape: Option<char>, fold: bool },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Truth {
    True,
    False,
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Function {
    Coalesce,
    Length,
    Lower,
    Upper,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Arithmetic {
    Plus,
    Minus,
    Times,
    Divide,
}

impl Condition {
    /// What is always so.
    pub(super) fn constant(value: bool) -> Self {
        Self::Test(Term::Constant(Constant::Bool(value)))
    }

    /// Calls `f` with each column in it.
    pub(super) fn columns(&mut self, f: &mut impl FnMut(&mut Column)) {
        match self {
            Self::Compare(_, left, right) | Self::Distinct { left, right, .. } => {
                left.columns(f);
                right.columns(f);
            }
            Self::In { term, .. } | Self::Null { term, .. } | Self::Test(term) => term.columns(f),
            Self::Like { term, pattern, .. } => {
                term.columns(f);
                if let Like::Term { term, .. } = pattern {
                    term.columns(f);
                }
            }
            Self::Is { condition, .. } | Self::Not(condition) => condition.columns(f),
            Self::And(all) | Self::Or(all) => all.iter_mut().for_each(|one| one.columns(f)),
        }
    }

    /// Conditions, terms and items of lists in it, and how deep they stand.
    pub(super) fn size(&self) -> Size {
        let inner = match self {
            Self::Compare(_, left, right) | Self::Distinct { left, right, .. } => {
                left.size().beside(right.size())
            }
            Self::In { term, list, .. } => {
                term.size().beside(Size { nodes: list.len(), depth: 1, list: list.len() })
            }
            Self::Null { term, .. } | Self::Test(term) => term.size(),
            Self::Like { term, pattern: Like::Term { term: pattern, .. }, .. } => {
                term.size().beside(pattern.size())
            }
            Self::Like { term, .. } => term.size(),
            Self::Is { condition, .. } | Self::Not(condition) => condition.size(),
            Self::And(all) | Self::Or(all) => all.iter().map(Self::size).fold(Size::default(), Size::beside),
        };
        inner.within()
    }
}

impl Term {
    fn columns(&mut self, f: &mut impl FnMut(&mut Column)) {
        match self {
            Self::Column(column) => f(column),
            Self::Call(_, arguments) => arguments.iter_mut().for_each(|term| term.columns(f)),
            Self::Negate(term) => term.columns(f),
            Self::Arithmetic(_, left, right) => {
                left.columns(f);
                right.columns(f);
            }
            Self::Condition(condition) => condition.columns(f),
            Self::Constant(_) => {}
        }
    }

    /// As [`Condition::size`].
    pub(super) fn size(&self) -> Size {
        let inner = match self {
            Self::Column(_) | Self::Constant(_) => Size::default(),
            Self::Call(_, arguments) => arguments.iter().map(Self::size).fold(Size::default(), Size::beside),
            Self::Negate(term) => term.size(),
            Self::Arithmetic(_, left, right) => left.size().beside(right.size()),
            Self::Condition(condition) => return condition.size(),
        };
        inner.within()
    }
}

/// How much there is in a tree.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Size {
    pub(super) nodes: usize,
    pub(super) depth: usize,
    /// The longest list.
    pub(super) list: usize,
}

impl Size {
    fn beside(self, other: Self) -> Self {
        Self {
            nodes: self.nodes + other.nodes,
            depth: self.depth.max(other.depth),
            list: self.list.max(other.list),
        }
    }

    fn within(self) -> Self {
        Self { nodes: self.nodes + 1, depth: self.depth + 1, ..self }
    }
}

impl Comparison {
    /// Whether it is so of values that compare like this.
    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }

    /// With its sides swapped.
    pub(super) fn swapped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }

    /// What is true where it is false, and unknown where it is.
    pub(super) fn opposite(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    /// As SQL spells it.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl Arithmetic {
    /// As SQL spells it.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Times => "*",
            Self::Divide => "/",
        }
    }
}

impl Function {
    /// By its name in small letters.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Coalesce, Self::Length, Self::Lower, Self::Upper].into_iter().find(|one| one.text() == name)
    }

    /// Its name.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Coalesce => "coalesce",
            Self::Length => "length",
            Self::Lower => "lower",
            Self::Upper => "upper",
        }
    }
}
