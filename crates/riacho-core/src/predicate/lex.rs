//! From text to the tokens a predicate may consist of.
//!
//! sqlparser knows far more of SQL than predicates have. What gets past here are the tokens below and the keywords of
//! `words`; every other word is a quoted name to sqlparser. So no construct is entered by accident, and what is refused is
//! named with its place.

use super::{
    TEXT_BYTES_MAX,
    error::{Place, PredicateError, PredicateErrorKind},
    words::{self, WordKind},
};
use sqlparser::{
    dialect::PostgreSqlDialect,
    keywords::Keyword,
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Word},
};

/// The tokens of `text`, without space and comments.
///
/// # Errors
/// `Invalid`, `Unsupported` or `TooLarge`.
pub(super) fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, PredicateError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(PredicateError::too_large("a text", TEXT_BYTES_MAX).unit("bytes"));
    }
    let all = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().map_err(|err| {
        let what = lower_first(&err.message);
        PredicateError::new(PredicateErrorKind::Invalid, what, place(err.location))
    })?;
    let mut tokens: Vec<TokenWithSpan> = Vec::new();
    for token in all {
        if matches!(token.token, Token::Whitespace(_)) {
            continue;
        }
        if tokens.len() == TOKENS_MAX {
            return Err(PredicateError::too_large("a text", TOKENS_MAX).unit("tokens"));
        }
        let place = place(token.span.start);
        let token = TokenWithSpan { token: allowed(token.token, &tokens, place)?, span: token.span };
        tokens.push(token);
    }
    Ok(tokens)
}

/// Line and column, where there are any.
pub(super) fn place(location: Location) -> Option<Place> {
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    (location.line > 0).then(|| Place { line: narrow(location.line), column: narrow(location.column) })
}

/// A token as its writer wrote it, more or less.
pub(super) fn spelled(token: &Token) -> String {
    match token {
        Token::Word(word) if word.quote_style != Some('"') => word.value.clone(),
        token => token.to_string(),
    }
}

/// Whether an unquoted name gave this word: `allowed` marks it so.
pub(super) fn unquoted(quote: Option<char>) -> bool {
    quote == Some(UNQUOTED)
}

fn allowed(token: Token, before: &[TokenWithSpan], place: Option<Place>) -> Result<Token, PredicateError> {
    let unsupported = |what: String| Err(PredicateError::new(PredicateErrorKind::Unsupported, what, place));
    match token {
        Token::Word(word) => self::word(word, before, place),
        Token::Number(_, false)
        | Token::SingleQuotedString(_)
        | Token::Comma
        | Token::LParen
        | Token::RParen
        | Token::Period
        | Token::Eq
        | Token::Neq
        | Token::Lt
        | Token::Gt
        | Token::LtEq
        | Token::GtEq
        | Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div => Ok(token),
        Token::Placeholder(name) if name.starts_with('$') => Ok(Token::Placeholder(name)),
        other => unsupported(format!("`{}` is not supported", spelled(&other))),
    }
}

fn word(word: Word, before: &[TokenWithSpan], place: Option<Place>) -> Result<Token, PredicateError> {
    let last = before.last().map(|token| &token.token);
    let name = |quote| {
        Token::Word(Word { quote_style: Some(quote), keyword: Keyword::NoKeyword, value: word.value.clone() })
    };
    match word.quote_style {
        Some('"') => return Ok(name('"')),
        Some(_) => {
            let what = format!("`{word}` is not supported; names are quoted by \"");
            return Err(PredicateError::new(PredicateErrorKind::Unsupported, what, place));
        }
        None => {}
    }
    if last == Some(&Token::Period) {
        return Ok(name(UNQUOTED));
    }
    match (words::kind(&word.value), word.keyword) {
        (WordKind::Operator, Keyword::NULL) if negated_operand(before) => Err(PredicateError::new(
            PredicateErrorKind::Invalid,
            "unexpected `NULL`; absence is tested by IS NOT NULL",
            place,
        )),
        (WordKind::Operator, _) => Ok(Token::Word(word)),
        (WordKind::Reserved, _) => Err(PredicateError::new(
            PredicateErrorKind::Unsupported,
            format!("`{0}` is not supported; a column of that name is written \"{0}\"", word.value),
            place,
        )),
        (WordKind::Name, Keyword::ESCAPE) if last.is_some_and(ends_operand) => Ok(Token::Word(word)),
        (WordKind::Name, Keyword::UNKNOWN)
            if last.is_some_and(|last| is_keyword(last, Keyword::IS)) || after_is_not(before) =>
        {
            Ok(Token::Word(word))
        }
        (WordKind::Name, _) => Ok(name(UNQUOTED)),
    }
}

/// Whether a value may end with `token`.
fn ends_operand(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::NoKeyword | Keyword::NULL | Keyword::TRUE | Keyword::FALSE | Keyword::UNKNOWN
        ),
        Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) | Token::RParen => true,
        _ => false,
    }
}

/// `a NOT`, which sqlparser lets NULL follow.
fn negated_operand(before: &[TokenWithSpan]) -> bool {
    matches!(before, [.., operand, not] if is_keyword(&not.token, Keyword::NOT) && ends_operand(&operand.token))
}

fn after_is_not(before: &[TokenWithSpan]) -> bool {
    matches!(before, [.., is, not] if is_keyword(&is.token, Keyword::IS) && is_keyword(&not.token, Keyword::NOT))
}

fn is_keyword(token: &Token, keyword: Keyword) -> bool {
    matches!(token, Token::Word(word) if word.keyword == keyword)
}

fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// The most tokens in a text: as many parts of it hang on each other in sqlparser's tree, and dropping that tree takes
/// stack.
const TOKENS_MAX: usize = 4_000;

/// How sqlparser is told of a name that was not quoted.
const UNQUOTED: char = '`';
