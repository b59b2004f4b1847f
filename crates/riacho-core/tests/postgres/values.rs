//! Values of every type: what is made of their texts is what the server's own `to_json` makes of them, but where
//! `source::postgres::value` says otherwise.

use crate::{
    database::{copied, copy_line},
    databases,
};
use riacho_core::{
    source::postgres::{
        kind::{Kind, Types},
        value,
    },
    table,
};

#[test]
fn values_are_what_the_server_makes_of_them() {
    let questions: String =
        (0..).zip(VALUES).map(|(id, expression)| copy_line(&[&format!("{id}"), expression])).collect();
    let query = Types::query(&[0]).replace("'{0}'::pg_catalog.oid[]", "ARRAY(SELECT oid FROM answers)");
    let script = include_str!("values.sql").replace(":types", &query);
    for database in databases() {
        let major = database.major();
        let files = database.run(&[], &[("questions", questions.clone())], &script);
        files.no_errors();
        let mut types = Types::default();
        for line in files.read("types").lines() {
            let columns = copied(line);
            let row = [0, 1, 2, 3, 4].map(|at| columns[at].as_deref());
            assert_eq!(types.add(row), Some(()), "{line}");
        }
        let answers = files.read("answers");
        assert_eq!(answers.lines().count(), VALUES.len());
        for (expression, line) in VALUES.iter().zip(answers.lines()) {
            let [_, oid, text, json, zoned] = <[Option<String>; 5]>::try_from(copied(line)).unwrap();
            let (oid, text, json) = (oid.unwrap().parse().unwrap(), text.unwrap(), json.unwrap());
            assert!(types.knows(oid), "PostgreSQL {major}: {expression}");
            let kind = types.kind(oid);
            let mut ours = String::new();
            value::write(&mut ours, &kind, &text);
            assert!(agree(&ours, &json), "PostgreSQL {major}: {expression}\n{text}\n{ours}\n{json}");
            let mut row = String::new();
            value::row(&mut row, [("v", &kind, Some(&*text)), ("n", &kind, None)]);
            assert_eq!(row, format!("{{\"v\":{ours},\"n\":null}}"));
            assert_eq!(table::value::value(&row).as_deref(), Ok(&*row), "PostgreSQL {major}: {expression}");
            // Whatever the session's time zone, it is the same time.
            if kind == Kind::Timestamptz && ours.ends_with("Z\"") {
                let mut again = String::new();
                value::write(&mut again, &kind, &zoned.unwrap());
                assert_eq!(again, ours, "PostgreSQL {major}: {expression}");
            }
        }
    }
}

/// Expressions of SQL, none of them NULL.
const VALUES: &[&str] = &[
    "true",
    "false",
    "1::int2",
    "(-2147483648)::int4",
    "9007199254740991::int8",
    "-9007199254740991::int8",
    "9007199254740992::int8",
    "-9223372036854775807::int8",
    "0::numeric",
    "1.50::numeric",
    "-0.000001::numeric",
    "123456789012.345::numeric",
    "1234567890123.456::numeric",
    "100000000000000000000::numeric",
    "9007199254740991.00::numeric",
    "9007199254740992.00::numeric",
    "1e-300::numeric",
    "'NaN'::numeric",
    "'Infinity'::numeric",
    "'-Infinity'::numeric",
    "0.1::float4",
    "16777217::float4",
    "1e20::float8",
    "0.1::float8 + 0.2::float8",
    "1.7976931348623157e308::float8",
    "5e-324::float8",
    "'-0'::float8",
    "'NaN'::float8",
    "'-Infinity'::float4",
    "'12'::text",
    "''::text",
    r#"E'quote \" back \\ line \n tab \t bell \x07 del \x7f \u0085 \u2028 \u2029 grüezi 🦀'::text"#,
    "'abc'::varchar(10)",
    "'abc'::char(5)",
    "'x'::\"char\"",
    "'name'::name",
    "'12.34'::money",
    "'2026-11-21'::date",
    "'infinity'::date",
    "'0044-03-15 BC'::date",
    "'20:00:00.5'::time",
    "'24:00:00'::time",
    "'20:00:00.123456+05:30'::timetz",
    "'2026-11-21 20:00:00'::timestamp",
    "'2026-11-21 20:00:00.123456'::timestamp",
    "'2026-11-21 20:00:00.120000'::timestamp",
    "'infinity'::timestamp",
    "'-infinity'::timestamp",
    "'0044-03-15 12:00:00.5 BC'::timestamp",
    "'12026-11-21 20:00:00'::timestamp",
    "'0001-01-01 00:00:00'::timestamp",
    "'2026-11-21 20:00:00+00'::timestamptz",
    "'2026-11-21 20:00:00.5+00'::timestamptz",
    "'2026-11-21 20:00:00.000001+05:30'::timestamptz",
    "'1900-01-01 00:00:00+00'::timestamptz",
    "'1900-01-01 00:00:00.25+00'::timestamptz",
    "'1900-03-01 00:30:00+00'::timestamptz",
    "'1969-12-31 23:59:59.999999+00'::timestamptz",
    "'2024-02-29 23:59:59.9+00'::timestamptz",
    "'9998-12-31 23:59:59+00'::timestamptz",
    "'infinity'::timestamptz",
    "'0044-03-15 12:00:00+00 BC'::timestamptz",
    "'12026-11-21 20:00:00+00'::timestamptz",
    "'1 year 2 mons -3 days 04:05:06.7'::interval",
    "'0'::interval",
    r"'\x'::bytea",
    r"'\x00'::bytea",
    r"'\x00ff'::bytea",
    r"'\xfbefff'::bytea",
    r"'\x0123456789abcdef'::bytea",
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid",
    "'192.168.0.1/24'::inet",
    "'192.168.0.0/24'::cidr",
    "'08:00:2b:01:02:03'::macaddr",
    "B'101'",
    "B'101'::varbit",
    "'16/B374D848'::pg_lsn",
    "'<a>1</a>'::xml::text",
    "'a fat cat'::tsvector",
    "'(1,2)'::point",
    "'(1,2),(3,4)'::box",
    "'$.a[*]'::jsonpath",
    r#"'{"a": [1, 2.50, 12345678901234567890, "\u00fc\n"], "b": {}, "c": null}'::jsonb"#,
    "E' { \"a\" : 1 ,\\r\\n\\t\"b\" : [ ] } '::json",
    "'\"text\"'::jsonb",
    "'17'::json",
    "'null'::jsonb",
    "'[1,5)'::int4range",
    "'[2026-11-21 20:00:00+00,)'::tstzrange::text",
    "'{[1,3),[5,7)}'::int4multirange",
    "'[1.5,2.5]'::span",
    "'sad'::mood",
    "'so \"la, la\"'::mood",
    "5::small",
    "5::smaller",
    "'{}'::int[]",
    "'{1,NULL,3}'::int[]",
    "'{{1,2},{3,4}}'::int8[]",
    "'[0:1][-1:0]={{1,2},{3,4}}'::int8[]",
    "'{{{{{{1}}}}}}'::int[]",
    "'[0:2]={t,f,NULL}'::bool[]",
    "ARRAY['', 'NULL', 'null', NULL, 'a,b', 'a b', '{x}', E'q\"q', E'b\\\\b', E'line\\nend', 'ü']",
    "ARRAY['1.10', 'NaN', '12345678901234567890']::numeric[]",
    r"ARRAY['\x00ff', '\x']::bytea[]",
    "ARRAY['2026-11-21 20:00:00.5+00', 'infinity']::timestamptz[]",
    "ARRAY['2026-11-21 20:00:00']::timestamp[]",
    r#"ARRAY['{"a": "b\"c\\d"}', '[1, 2]', 'null']::jsonb[]"#,
    "'{(1\\,2)\\,(3\\,4);(0\\,0)\\,(1\\,1)}'::box[]",
    "ARRAY['sad', 'so \"la, la\"']::mood[]",
    "ARRAY[1, 2]::small[]",
    "ROW(1, 'a')::pair",
    "ROW(NULL, NULL)::pair",
    "ROW(1, '')::pair",
    r#"ROW(-1, E'q"q, b\\b (x) \n end ')::pair"#,
    "ROW()::hollow",
    "ARRAY[ROW(1, 'a,b')::pair, NULL, ROW(2, E'\"\\\\')::pair]",
    "ARRAY[ROW(1, 'a,b')]::listed",
    r#"ROW(ROW(1, E'"\\'), ARRAY[ROW(2, E'{"\\}'), ROW(NULL, 'NULL')]::pair[], '{"a": "b\\c"}', '2026-11-21 20:00:00+00', '\x00ff', NULL, 12345678901234567890)::many"#,
    "ARRAY[ROW(NULL, '{}', NULL, 'infinity', NULL, '', 1.0)]::many[]",
    "ROW(1, ARRAY[1, 2], '2026-11-21 20:00:00')::ordinary",
];

/// Whether two texts of JSON say the same, ours by our rules.
fn agree(ours: &str, theirs: &str) -> bool {
    let (ours, theirs) = (tokens(ours), tokens(theirs));
    ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(ours, theirs)| token_agrees(ours, theirs))
}

fn token_agrees(ours: &Token, theirs: &Token) -> bool {
    match (ours, theirs) {
        (ours, theirs) if ours == theirs => true,
        // Numbers that a browser may round.
        (Token::String(ours), Token::Bare(theirs)) => {
            let digits: String = theirs.chars().filter(char::is_ascii_digit).collect();
            let rounded: f64 = theirs.parse().unwrap();
            ours == theirs && (digits.len() > 15 || rounded.abs() > 9e15)
        }
        (Token::String(ours), Token::String(theirs)) => {
            let utc = theirs.strip_suffix("+00:00").map(|time| format!("{time}Z"));
            let spaced = theirs.replacen('T', " ", 1).replace("+00:00", "+00");
            let hex = theirs.strip_prefix("\\x").map(|hex| {
                let bytes: Vec<u8> = (0..hex.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                    .collect();
                bytes
            });
            utc.as_ref() == Some(ours)
                || hex.is_some() && hex == bytes_of_base64(ours)
                // Times that RFC 3339 has no form for.
                || (spaced.ends_with(" BC") || spaced.starts_with("12026-")) && spaced == *ours
        }
        _ => false,
    }
}

fn bytes_of_base64(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = String::new();
    for digit in text.trim_end_matches('=').chars() {
        bits.push_str(&format!("{:06b}", DIGITS.find(digit)?));
    }
    let bytes = bits.len() / 8;
    let padded = text.len() == bytes.div_ceil(3) * 4;
    padded.then(|| (0..bytes).map(|at| u8::from_str_radix(&bits[at * 8..at * 8 + 8], 2).unwrap()).collect())
}

#[derive(PartialEq)]
enum Token {
    String(String),
    Bare(String),
    Mark(char),
}

/// Strings by what they say, all else by its text.
fn tokens(json: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = json;
    while let Some(c) = rest.chars().next() {
        let len = match c {
            '"' => {
                let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                tokens.push(Token::String(strings.next().unwrap().unwrap()));
                strings.byte_offset()
            }
            ' ' | '\t' | '\r' | '\n' => 1,
            '{' | '}' | '[' | ']' | ',' | ':' => {
                tokens.push(Token::Mark(c));
                1
            }
            _ => {
                let len = rest.find([',', ']', '}', ' ', '\r', '\n']).unwrap_or(rest.len());
                tokens.push(Token::Bare(rest[..len].to_owned()));
                len
            }
        };
        rest = &rest[len..];
    }
    tokens
}
