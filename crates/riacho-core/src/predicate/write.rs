//! The canonical text of a tree: SQL that parses back to the same tree.

use super::{
    tree::{Comparison, Condition, Like, Term, Truth},
    value::Constant,
    words,
};
use std::fmt::{self, Display, Formatter};

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare(op, left, right) => compare(f, *op, left, right),
            Self::In { term, list, negated } => {
                write!(f, "{} {}IN (", Operand(term), not(*negated))?;
                separated(f, list, ", ", |f, constant| constant.fmt(f))?;
                f.write_str(")")
            }
            Self::Like { term, pattern, negated } => {
                write!(f, "{} {}", Operand(term), not(*negated))?;
                like(f, pattern)
            }
            Self::Null { term, negated } => write!(f, "{} IS {}NULL", Operand(term), not(*negated)),
            Self::Distinct { left, right, negated } => {
                write!(f, "{} IS {}DISTINCT FROM {}", Operand(left), not(*negated), Operand(right))
            }
            Self::Is { condition, truth, negated } => {
                let truth = match truth {
                    Truth::True => "TRUE",
                    Truth::False => "FALSE",
                    Truth::Unknown => "UNKNOWN",
                };
                write!(f, "{} IS {}{truth}", Inner(condition), not(*negated))
            }
            Self::Test(term) => Operand(term).fmt(f),
            Self::Not(condition) => write!(f, "NOT {}", Inner(condition)),
            Self::And(all) => separated(f, all, " AND ", |f, one| Joined(one).fmt(f)),
            Self::Or(all) => separated(f, all, " OR ", |f, one| Joined(one).fmt(f)),
        }
    }
}

fn compare(f: &mut Formatter<'_>, op: Comparison, left: &Term, right: &Term) -> fmt::Result {
    write!(f, "{} {} {}", Operand(left), op.text(), Operand(right))
}

fn like(f: &mut Formatter<'_>, pattern: &Like) -> fmt::Result {
    let word = |fold| if fold { "ILIKE " } else { "LIKE " };
    match pattern {
        Like::Constant(pattern) => {
            f.write_str(word(pattern.fold()))?;
            words::write_text(f, &pattern.text())
        }
        Like::Term { term, escape, fold } => {
            write!(f, "{}{}", word(*fold), Operand(term))?;
            match escape {
                Some('\\') => Ok(()),
                Some(c) => {
                    f.write_str(" ESCAPE ")?;
                    words::write_text(f, c.encode_utf8(&mut [0; 4]))
                }
                None => f.write_str(" ESCAPE ''"),
            }
        }
    }
}

/// A term beside an operator: in parentheses where it is made of several.
struct Operand<'a>(&'a Term);

impl Display for Operand<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Term::Column(column) => column.path.fmt(f),
            Term::Constant(constant) => constant.fmt(f),
            Term::Call(function, arguments) => {
                write!(f, "{}(", function.text())?;
                separated(f, arguments, ", ", |f, term| Operand(term).fmt(f))?;
                f.write_str(")")
            }
            // A number would be taken for a constant, and two signs begin a comment.
            Term::Negate(term) => write!(f, "(- {})", Operand(term)),
            Term::Arithmetic(op, left, right) => {
                write!(f, "({} {} {})", Operand(left), op.text(), Operand(right))
            }
            // Alone it would be the term it tests, which need not be a boolean.
            Term::Condition(condition) => match &**condition {
                Condition::Test(term) => write!(f, "({} AND TRUE)", Operand(term)),
                condition => write!(f, "({condition})"),
            },
        }
    }
}

/// A condition beside AND or OR.
struct Joined<'a>(&'a Condition);

impl Display for Joined<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Condition::And(_) | Condition::Or(_) => write!(f, "({})", self.0),
            condition => condition.fmt(f),
        }
    }
}

/// A condition beside IS or NOT.
struct Inner<'a>(&'a Condition);

impl Display for Inner<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Condition::Test(Term::Column(_) | Term::Constant(Constant::Bool(_) | Constant::Null)) => {
                self.0.fmt(f)
            }
            condition => write!(f, "({condition})"),
        }
    }
}

fn not(negated: bool) -> &'static str {
    if negated { "NOT " } else { "" }
}

fn separated<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    separator: &str,
    mut write: impl FnMut(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            f.write_str(separator)?;
        }
        write(f, item)?;
    }
    Ok(())
}
