//! What an index says of its columns: expressions and its filter are nowhere but in the text that made it.

/// The expressions of the `CREATE INDEX` statement `sql`, without `ASC` and `DESC`, and its filter. None where it is no
/// such statement.
pub fn parts(sql: &str) -> Option<(Vec<String>, Option<String>)> {
    let tokens = tokens(sql);
    let open = tokens.iter().position(|token| token.text == "(")?;
    let (mut depth, mut begin, mut terms, mut close) = (0usize, open + 1, Vec::new(), None);
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if (token.text == "," && depth == 1) || depth == 0 {
            terms.push(term(sql, tokens.get(begin..at)?)?);
            begin = at + 1;
        }
        if depth == 0 {
            close = Some(at);
            break;
        }
    }
    let filter = match tokens.get(close? + 1) {
        None => None,
        Some(token) if token.text.eq_ignore_ascii_case("where") => {
            Some(text(sql, tokens.get(close? + 2..)?)?.to_owned())
        }
        Some(_) => return None,
    };
    Some((terms, filter))
}

struct Token<'a> {
    begin: usize,
    text: &'a str,
}

fn term(sql: &str, mut tokens: &[Token<'_>]) -> Option<String> {
    if let Some((last, rest)) = tokens.split_last()
        && (last.text.eq_ignore_ascii_case("asc") || last.text.eq_ignore_ascii_case("desc"))
        && !rest.is_empty()
    {
        tokens = rest;
    }
    Some(text(sql, tokens)?.to_owned())
}

// The part of `sql` from the first of these tokens to the last, with whatever is between.
fn text<'a>(sql: &'a str, tokens: &[Token<'a>]) -> Option<&'a str> {
    let (first, last) = (tokens.first()?, tokens.last()?);
    sql.get(first.begin..last.begin + last.text.len())
}

// Words, quoted texts and single characters; comments and white space are left out.
fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut begin = 0;
    while let Some(rest) = sql.get(begin..).filter(|rest| !rest.is_empty()) {
        let (len, counts) = token(rest);
        if counts {
            tokens.push(Token { begin, text: rest.get(..len).unwrap_or(rest) });
        }
        begin += len.max(1);
    }
    tokens
}

// How long the first token of `rest` is, and whether it is one.
fn token(rest: &str) -> (usize, bool) {
    let until = |end: &str| rest.find(end).map_or(rest.len(), |at| at + end.len());
    let Some(first) = rest.chars().next() else { return (0, false) };
    match first {
        '-' if rest.starts_with("--") => (until("\n"), false),
        '/' if rest.starts_with("/*") => (until("*/"), false),
        '[' => (until("]"), true),
        '\'' | '"' | '`' => (quoted(rest, first), true),
        first if first.is_whitespace() => (first.len_utf8(), false),
        first if is_word(first) => (rest.find(|c| !is_word(c)).unwrap_or(rest.len()), true),
        first => (first.len_utf8(), true),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

// A doubled quote stands for one.
fn quoted(rest: &str, quote: char) -> usize {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            continue;
        }
        if chars.peek().is_some_and(|(_, next)| *next == quote) {
            chars.next();
        } else {
            return at + 1;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn an_index_falls_into_its_terms_and_filter() {
        let some = |terms: &[&str], filter: Option<&str>| {
            Some((terms.iter().map(|&term| term.to_owned()).collect(), filter.map(str::to_owned)))
        };
        let cases = [
            ("CREATE UNIQUE INDEX x ON t(a)", some(&["a"], None)),
            ("CREATE UNIQUE INDEX x ON t ( a DESC, lower(b, ',') asc )", some(&["a", "lower(b, ',')"], None)),
            (
                "CREATE UNIQUE INDEX \"x(\" ON [t)](\"a\"\"),\" COLLATE nocase) -- (\nWHERE b IS NOT NULL",
                some(&["\"a\"\"),\" COLLATE nocase"], Some("b IS NOT NULL")),
            ),
            ("CREATE INDEX x ON t(a /* ) */ + 1) WHERE (c)", some(&["a /* ) */ + 1"], Some("(c)"))),
            ("CREATE INDEX x ON t(desc)", some(&["desc"], None)),
            ("CREATE INDEX x ON t(a", None),
            ("CREATE TABLE t(a) STRICT", None),
            ("", None),
        ];
        for (sql, want) in cases {
            assert_eq!(parts(sql), want, "{sql}");
        }
    }
}
