//! From text to a tree in normal form.
//!
//! sqlparser says what binds what to what; which of it is a predicate, and of what kind each part is, is said here.

use super::{
    DEPTH_MAX, LIST_MAX, NODES_MAX,
    error::{Place, PredicateError, PredicateErrorKind},
    lex,
    like::{PATTERN_BYTES_MAX, Pattern},
    normal,
    number::Number,
    params::Params,
    path::{PATH_SEGMENTS_MAX, Path},
    tree::{Arithmetic, Column, Comparison, Condition, Function, Like, Term, Truth},
    value::{Constant, Kind},
};
use sqlparser::{
    ast::{
        self, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart,
        Spanned, UnaryOperator,
    },
    dialect::PostgreSqlDialect,
    parser::{Parser, ParserError},
    tokenizer::{Location, Token, TokenWithSpan},
};

/// The tree of `text`.
///
/// # Errors
/// Any kind.
pub(super) fn condition(text: &str, params: &Params) -> Result<Condition, PredicateError> {
    let tokens = lex::tokens(text)?;
    let expr = expression(&tokens)?;
    let mut reader = Reader { tokens: &tokens, params, used: vec![false; params.len()] };
    let condition = reader.condition(&expr, 0)?;
    if let Some(unused) = reader.used.iter().position(|used| !used) {
        let what = format!("parameter {} is given, and there is no `${0}`", unused + 1);
        return Err(PredicateError::new(PredicateErrorKind::Params, what, None));
    }
    Ok(condition)
}

/// Refuses what is beyond a bound.
///
/// # Errors
/// `TooLarge`.
pub(super) fn check_size(condition: &Condition) -> Result<(), PredicateError> {
    let size = condition.size();
    if size.nodes > NODES_MAX {
        return Err(PredicateError::too_large("a predicate", NODES_MAX).unit("parts"));
    }
    if size.list > LIST_MAX {
        return Err(PredicateError::too_large("a list", LIST_MAX).unit("values"));
    }
    if size.depth > DEPTH_MAX {
        return Err(too_deep());
    }
    Ok(())
}

fn expression(tokens: &[TokenWithSpan]) -> Result<Expr, PredicateError> {
    let dialect = PostgreSqlDialect {};
    let mut parser =
        Parser::new(&dialect).with_recursion_limit(RECURSION_MAX).with_tokens_with_locations(tokens.to_vec());
    let expr = parser.parse_expr().map_err(|err| match err {
        ParserError::RecursionLimitExceeded => too_deep(),
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
            unexpected(tokens, location(&message))
        }
    })?;
    match parser.peek_token_ref() {
        TokenWithSpan { token: Token::EOF, .. } => Ok(expr),
        token => Err(unexpected(tokens, Some(token.span.start))),
    }
}

/// sqlparser says where only at the end of its message.
fn location(message: &str) -> Option<Location> {
    let (_, place) = message.rsplit_once(" at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    Some(Location { line: line.parse().ok()?, column: column.parse().ok()? })
}

fn unexpected(tokens: &[TokenWithSpan], at: Option<Location>) -> PredicateError {
    let token = tokens.iter().find(|token| Some(token.span.start) == at);
    match token {
        Some(token) => {
            let what = format!("unexpected `{}`", lex::spelled(&token.token));
            PredicateError::new(PredicateErrorKind::Invalid, what, lex::place(token.span.start))
        }
        None => {
            PredicateError::new(PredicateErrorKind::Invalid, "the text ends where more is expected", None)
        }
    }
}

fn too_deep() -> PredicateError {
    PredicateError::too_large("a predicate with a depth", DEPTH_MAX)
}

struct Reader<'a> {
    tokens: &'a [TokenWithSpan],
    params: &'a Params,
    used: Vec<bool>,
}

type Result<T, E = PredicateError> = std::result::Result<T, E>;

impl Reader<'_> {
    fn condition(&mut self, expr: &Expr, depth: usize) -> Result<Condition> {
        if depth > TREE_DEPTH_MAX {
            return Err(too_deep());
        }
        let inner = depth + 1;
        Ok(match expr {
            Expr::Nested(expr) => self.condition(expr, inner)?,
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => normal::negate(self.condition(expr, inner)?),
            Expr::BinaryOp { op: BinaryOperator::And, .. } => {
                normal::all(self.joined(expr, &BinaryOperator::And, inner)?)
            }
            Expr::BinaryOp { op: BinaryOperator::Or, .. } => {
                normal::any(self.joined(expr, &BinaryOperator::Or, inner)?)
            }
            Expr::BinaryOp { left, op, right } if comparison(op).is_some() => {
                self.not_chained(
                    left,
                    |left| matches!(left, Expr::BinaryOp { op, .. } if comparison(op).is_some()),
                    right,
                )?;
                let op = comparison(op).unwrap_or(Comparison::Equal);
                let (left, right) = self.pair(left, right, inner)?;
                normal::compare(op, left, right)
            }
            Expr::InList { expr, list, negated } => {
                self.not_chained(expr, is_like, expr)?;
                negate_if(*negated, self.in_list(expr, list, inner)?)
            }
            Expr::Between { expr, negated, low, high } => {
                self.not_chained(expr, is_like, low)?;
                if matches!(&**low, Expr::UnaryOp { op: UnaryOperator::Not, .. }) {
                    return Err(self.invalid("NOT in BETWEEN needs parentheses", low));
                }
                negate_if(*negated, self.between(expr, low, high, inner)?)
            }
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                self.not_chained(expr, is_like, pattern)?;
                self.like(expr, pattern, escape_char.as_deref(), false, *negated, inner)?
            }
            Expr::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.not_chained(expr, is_like, pattern)?;
                self.like(expr, pattern, escape_char.as_deref(), true, *negated, inner)?
            }
            Expr::IsNull(expr) => normal::null(self.unchained_term(expr, inner)?, false),
            Expr::IsNotNull(expr) => normal::null(self.unchained_term(expr, inner)?, true),
            Expr::IsDistinctFrom(left, right) => self.distinct(left, right, false, inner)?,
            Expr::IsNotDistinctFrom(left, right) => self.distinct(left, right, true, inner)?,
            Expr::IsTrue(expr) => self.is(expr, Truth::True, false, inner)?,
            Expr::IsNotTrue(expr) => self.is(expr, Truth::True, true, inner)?,
            Expr::IsFalse(expr) => self.is(expr, Truth::False, false, inner)?,
            Expr::IsNotFalse(expr) => self.is(expr, Truth::False, true, inner)?,
            Expr::IsUnknown(expr) => self.is(expr, Truth::Unknown, false, inner)?,
            Expr::IsNotUnknown(expr) => self.is(expr, Truth::Unknown, true, inner)?,
            other => {
                let term = self.term(other, depth)?;
                self.expect(&term, Kind::Bool, "a condition", other)?;
                normal::test(term)
            }
        })
    }

    /// The operands of a chain of AND or OR. sqlparser nests them to the left, as deep as there are operands.
    fn joined(&mut self, expr: &Expr, joint: &BinaryOperator, depth: usize) -> Result<Vec<Condition>> {
        let (mut expr, mut conditions) = (expr, Vec::new());
        while let Expr::BinaryOp { left, op, right } = expr
            && op == joint
        {
            conditions.push(self.condition(right, depth)?);
            expr = left;
        }
        conditions.push(self.condition(expr, depth)?);
        Ok(conditions)
    }

    fn in_list(&mut self, expr: &Expr, list: &[Expr], depth: usize) -> Result<Condition> {
        let term = self.term(expr, depth)?;
        self.check_copies(&term, list.len())?;
        let mut kind = term.kind();
        let mut conditions = Vec::with_capacity(list.len());
        for item in list {
            let value = self.term(item, depth)?;
            kind = kind.with(value.kind()).ok_or_else(|| self.kinds_differ(kind, value.kind(), item))?;
            conditions.push(normal::compare(Comparison::Equal, term.clone(), value));
        }
        Ok(normal::any(conditions))
    }

    fn between(&mut self, expr: &Expr, low: &Expr, high: &Expr, depth: usize) -> Result<Condition> {
        let (term, lowest) = self.pair(expr, low, depth)?;
        self.check_copies(&term, 2)?;
        let highest = self.term(high, depth)?;
        let kind = term.kind().with(lowest.kind()).unwrap_or(Kind::Any);
        kind.with(highest.kind()).ok_or_else(|| self.kinds_differ(kind, highest.kind(), high))?;
        Ok(normal::all(vec![
            normal::compare(Comparison::GreaterOrEqual, term.clone(), lowest),
            normal::compare(Comparison::LessOrEqual, term, highest),
        ]))
    }

    fn like(
        &mut self,
        expr: &Expr,
        pattern: &Expr,
        escape: Option<&Expr>,
        fold: bool,
        negated: bool,
        depth: usize,
    ) -> Result<Condition> {
        let term = self.term(expr, depth)?;
        self.expect(&term, Kind::Text, "LIKE", expr)?;
        let like = self.term(pattern, depth)?;
        self.expect(&like, Kind::Text, "LIKE", pattern)?;
        let escape = match escape {
            None => Some('\\'),
            Some(expr) => self.escape(expr, depth)?,
        };
        let pattern = match like {
            Term::Constant(Constant::Text(text)) => {
                if text.len() > PATTERN_BYTES_MAX {
                    return Err(PredicateError::too_large("a pattern", PATTERN_BYTES_MAX).unit("bytes"));
                }
                let parsed = Pattern::parse(&text, escape, fold);
                Like::Constant(
                    parsed
                        .ok_or_else(|| self.invalid("the pattern ends with its escape character", pattern))?,
                )
            }
            term => Like::Term { term: Box::new(term), escape, fold },
        };
        Ok(Condition::Like { term, pattern, negated })
    }

    fn escape(&mut self, expr: &Expr, depth: usize) -> Result<Option<char>> {
        if let Term::Constant(Constant::Text(text)) = self.term(expr, depth)? {
            let mut chars = text.chars();
            if let (escape, None) = (chars.next(), chars.next()) {
                return Ok(escape);
            }
        }
        Err(self.invalid("ESCAPE takes a text of one character or none", expr))
    }

    fn distinct(&mut self, left: &Expr, right: &Expr, negated: bool, depth: usize) -> Result<Condition> {
        self.not_chained(left, is_distinct, right)?;
        let (left, right) = self.pair(left, right, depth)?;
        Ok(normal::distinct(left, right, negated))
    }

    fn is(&mut self, expr: &Expr, truth: Truth, negated: bool, depth: usize) -> Result<Condition> {
        self.not_chained(expr, is_distinct, expr)?;
        Ok(normal::is(self.condition(expr, depth)?, truth, negated))
    }

    fn unchained_term(&mut self, expr: &Expr, depth: usize) -> Result<Term> {
        self.not_chained(expr, is_distinct, expr)?;
        self.term(expr, depth)
    }

    fn term(&mut self, expr: &Expr, depth: usize) -> Result<Term> {
        if depth > TREE_DEPTH_MAX {
            return Err(too_deep());
        }
        let inner = depth + 1;
        Ok(match expr {
            Expr::Nested(expr) => self.term(expr, inner)?,
            Expr::Identifier(name) => self.column(std::slice::from_ref(name), expr)?,
            Expr::CompoundIdentifier(names) => self.column(names, expr)?,
            Expr::Value(value) => Term::Constant(self.constant(&value.value, expr)?),
            Expr::UnaryOp { op: op @ (UnaryOperator::Minus | UnaryOperator::Plus), expr } => {
                let term = self.term(expr, inner)?;
                self.expect(&term, Kind::Number, if *op == UnaryOperator::Minus { "-" } else { "+" }, expr)?;
                match op {
                    UnaryOperator::Minus => normal::negate_term(term),
                    _ if term.kind() == Kind::Number => term,
                    // Of a column that is no number it is no value.
                    _ => normal::arithmetic(
                        Arithmetic::Plus,
                        Term::Constant(Constant::Number(Number::from_count(0))),
                        term,
                    ),
                }
            }
            Expr::BinaryOp { left, op, right } if arithmetic(op).is_some() => {
                let op = arithmetic(op).unwrap_or(Arithmetic::Plus);
                let (first, second) = (self.term(left, inner)?, self.term(right, inner)?);
                self.expect(&first, Kind::Number, op.text(), left)?;
                self.expect(&second, Kind::Number, op.text(), right)?;
                normal::arithmetic(op, first, second)
            }
            Expr::Function(function) => self.call(function, expr, inner)?,
            other if is_condition(other) => normal::term(self.condition(other, inner)?),
            other => return Err(self.unsupported(other)),
        })
    }

    fn column(&self, names: &[Ident], expr: &Expr) -> Result<Term> {
        // sqlparser takes an operator for a name where it fits nowhere else.
        if names.iter().any(|name| name.quote_style.is_none()) {
            return Err(unexpected(self.tokens, Some(expr.span().start)));
        }
        let path = Path::new(names.iter().map(|name| name.value.as_str()));
        let path = path.ok_or_else(|| {
            let error = PredicateError::too_large("a path", PATH_SEGMENTS_MAX).unit("names");
            error.at(self.place(expr))
        })?;
        Ok(Term::Column(Column { path, slot: 0 }))
    }

    fn constant(&mut self, value: &ast::Value, expr: &Expr) -> Result<Constant> {
        match value {
            ast::Value::Null => Ok(Constant::Null),
            ast::Value::Boolean(value) => Ok(Constant::Bool(*value)),
            ast::Value::SingleQuotedString(text) => Ok(Constant::Text(text.as_str().into())),
            ast::Value::Number(text, _) => Number::parse(text)
                .map(Constant::Number)
                .ok_or_else(|| self.invalid(&format!("`{text}` is no number"), expr)),
            ast::Value::Placeholder(name) => self.param(name, expr),
            _ => Err(self.unsupported(expr)),
        }
    }

    fn param(&mut self, name: &str, expr: &Expr) -> Result<Constant> {
        let number = name.strip_prefix('$').and_then(|digits| digits.parse().ok());
        let constant = number.and_then(|number| self.params.number(number));
        if let Some(used) = number.and_then(|number: usize| self.used.get_mut(number.wrapping_sub(1))) {
            *used = true;
        }
        constant.cloned().ok_or_else(|| {
            let what = match self.params.len() {
                1 => format!("there is no parameter for `{name}`; 1 is given"),
                given => format!("there is no parameter for `{name}`; {given} are given"),
            };
            PredicateError::new(PredicateErrorKind::Params, what, self.place(expr))
        })
    }

    fn call(&mut self, call: &ast::Function, expr: &Expr, depth: usize) -> Result<Term> {
        let function = match call.name.0.as_slice() {
            [ObjectNamePart::Identifier(name)] if lex::unquoted(name.quote_style) => {
                Function::named(&name.value.to_ascii_lowercase())
            }
            [ObjectNamePart::Identifier(name)] if name.quote_style.is_none() => {
                return Err(unexpected(self.tokens, Some(expr.span().start)));
            }
            [ObjectNamePart::Identifier(name)] => Function::named(&name.value),
            _ => None,
        };
        let Some(function) = function else {
            let name = self.token(expr).map_or_else(String::new, |token| lex::spelled(&token.token));
            let what = format!(
                "the function `{name}` is not supported; there are coalesce, length, lower and upper"
            );
            return Err(PredicateError::new(PredicateErrorKind::Unsupported, what, self.place(expr)));
        };
        let plain = call.over.is_none()
            && call.filter.is_none()
            && call.null_treatment.is_none()
            && call.within_group.is_empty()
            && matches!(call.parameters, FunctionArguments::None);
        let FunctionArguments::List(list) = &call.args else { return Err(self.unsupported(expr)) };
        if !plain || list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
            return Err(self.unsupported(expr));
        }
        let mut kind = if function == Function::Coalesce { Kind::Any } else { Kind::Text };
        let mut arguments = Vec::with_capacity(list.args.len());
        for argument in &list.args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument else {
                return Err(self.unsupported(expr));
            };
            let term = self.term(argument, depth)?;
            kind = kind.with(term.kind()).ok_or_else(|| match function {
                Function::Coalesce => self.kinds_differ(kind, term.kind(), argument),
                _ => self.takes(function.text(), Kind::Text, term.kind(), argument),
            })?;
            arguments.push(term);
        }
        let fits = if function == Function::Coalesce { !arguments.is_empty() } else { arguments.len() == 1 };
        if !fits {
            let what = format!(
                "{} takes {}",
                function.text(),
                if function == Function::Coalesce { "one argument or more" } else { "one argument" }
            );
            return Err(self.invalid(&what, expr));
        }
        Ok(Term::Call(function, arguments))
    }

    /// Two terms that must be of one kind.
    fn pair(&mut self, left: &Expr, right: &Expr, depth: usize) -> Result<(Term, Term)> {
        let (first, second) = (self.term(left, depth)?, self.term(right, depth)?);
        if first.kind().with(second.kind()).is_none() {
            return Err(self.kinds_differ(first.kind(), second.kind(), right));
        }
        Ok((first, second))
    }

    fn expect(&self, term: &Term, want: Kind, what: &str, expr: &Expr) -> Result<()> {
        match term.kind().with(want) {
            Some(_) => Ok(()),
            None => Err(self.takes(what, want, term.kind(), expr)),
        }
    }

    fn takes(&self, what: &str, want: Kind, kind: Kind, expr: &Expr) -> PredicateError {
        self.invalid(&format!("{what} takes {want}, and this is {kind}"), expr)
    }

    fn kinds_differ(&self, left: Kind, right: Kind, expr: &Expr) -> PredicateError {
        self.invalid(&format!("{left} does not compare with {right}"), expr)
    }

    /// Refuses a comparison beside a comparison, which PostgreSQL wants parentheses for.
    fn not_chained(&self, left: &Expr, same: impl Fn(&Expr) -> bool, place: &Expr) -> Result<()> {
        if same(left) {
            return Err(self.invalid("a comparison of a comparison needs parentheses", place));
        }
        Ok(())
    }

    /// Refuses what would be copied into too many parts.
    fn check_copies(&self, term: &Term, copies: usize) -> Result<()> {
        if term.size().nodes.saturating_mul(copies) > WORK_MAX {
            return Err(PredicateError::too_large("a predicate", NODES_MAX).unit("parts"));
        }
        Ok(())
    }

    fn invalid(&self, what: &str, expr: &Expr) -> PredicateError {
        PredicateError::new(PredicateErrorKind::Invalid, what, self.place(expr))
    }

    fn unsupported(&self, expr: &Expr) -> PredicateError {
        let token = self.token(expr).map_or_else(String::new, |token| lex::spelled(&token.token));
        let what = format!("what begins with `{token}` is not supported");
        PredicateError::new(PredicateErrorKind::Unsupported, what, self.place(expr))
    }

    fn token(&self, expr: &Expr) -> Option<&TokenWithSpan> {
        let start = expr.span().start;
        self.tokens.iter().find(|token| token.span.start == start)
    }

    fn place(&self, expr: &Expr) -> Option<Place> {
        lex::place(expr.span().start)
    }
}

impl Term {
    fn kind(&self) -> Kind {
        match self {
            Self::Column(_) => Kind::Any,
            Self::Constant(constant) => constant.kind(),
            Self::Negate(_) | Self::Arithmetic(..) | Self::Call(Function::Length, _) => Kind::Number,
            Self::Call(Function::Lower | Function::Upper, _) => Kind::Text,
            Self::Call(Function::Coalesce, arguments) => {
                arguments.iter().fold(Kind::Any, |kind, term| kind.with(term.kind()).unwrap_or(Kind::Any))
            }
            Self::Condition(_) => Kind::Bool,
        }
    }
}

fn negate_if(negated: bool, condition: Condition) -> Condition {
    if negated { normal::negate(condition) } else { condition }
}

fn comparison(op: &BinaryOperator) -> Option<Comparison> {
    Some(match op {
        BinaryOperator::Eq => Comparison::Equal,
        BinaryOperator::NotEq => Comparison::NotEqual,
        BinaryOperator::Lt => Comparison::Less,
        BinaryOperator::LtEq => Comparison::LessOrEqual,
        BinaryOperator::Gt => Comparison::Greater,
        BinaryOperator::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn arithmetic(op: &BinaryOperator) -> Option<Arithmetic> {
    Some(match op {
        BinaryOperator::Plus => Arithmetic::Plus,
        BinaryOperator::Minus => Arithmetic::Minus,
        BinaryOperator::Multiply => Arithmetic::Times,
        BinaryOperator::Divide => Arithmetic::Divide,
        _ => return None,
    })
}

fn is_condition(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryOp { op, .. } => {
            matches!(op, BinaryOperator::And | BinaryOperator::Or) || comparison(op).is_some()
        }
        Expr::UnaryOp { op, .. } => *op == UnaryOperator::Not,
        Expr::InList { .. } | Expr::Between { .. } => true,
        Expr::Like { any, .. } | Expr::ILike { any, .. } => !any,
        Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => true,
        Expr::IsTrue(_) | Expr::IsNotTrue(_) | Expr::IsFalse(_) | Expr::IsNotFalse(_) => true,
        Expr::IsUnknown(_) | Expr::IsNotUnknown(_) => true,
        _ => false,
    }
}

/// Binds as LIKE does, and ends with an operand.
fn is_like(expr: &Expr) -> bool {
    matches!(expr, Expr::Like { .. } | Expr::ILike { .. } | Expr::Between { .. })
}

fn is_distinct(expr: &Expr) -> bool {
    matches!(expr, Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..))
}

/// How deep sqlparser goes: a level of a canonical text takes up to two of its own, and it must parse again. Each takes
/// up to 20 KiB of stack (measured: calls in calls, without optimisation), so all of it is half of what a thread has.
const RECURSION_MAX: usize = DEPTH_MAX * 2 + 8;

/// How deep the reading of sqlparser's tree goes.
const TREE_DEPTH_MAX: usize = 64;

/// The most parts while the tree is built; equal ones fall together later.
const WORK_MAX: usize = NODES_MAX * 4;
