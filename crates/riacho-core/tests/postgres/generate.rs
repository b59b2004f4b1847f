//! Rows, and expressions over them that mean the same to PostgreSQL by their text.
//!
//! Columns have one type each, but for `m` and `s`, which stand only where a value of another kind is as good as none.

/// A small generator of numbers (splitmix64).
pub(crate) struct Random(pub(crate) u64);

/// How an expression is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// Well-typed, all parentheses there.
    Strict,
    /// Parentheses are left out, which may change what it means and whether it is anything; and some of its parts do
    /// not fit.
    Loose,
}

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// A JSON object.
pub(crate) fn row(random: &mut Random) -> String {
    let mut members = Vec::new();
    for name in ["n1", "n2"] {
        member(random, &mut members, name, small);
    }
    member(random, &mut members, "big", big);
    for name in ["t1", "t2", "Odd name"] {
        member(random, &mut members, name, json_text);
    }
    for name in ["b1", "b2"] {
        member(random, &mut members, name, truth);
    }
    member(random, &mut members, "m", any_kind);
    member(random, &mut members, "s", any_kind);
    member(random, &mut members, "address", |random| {
        let mut members = Vec::new();
        member(random, &mut members, "city", json_text);
        member(random, &mut members, "zip", small);
        member(random, &mut members, "am", any_kind);
        object(&members)
    });
    member(random, &mut members, "deep", |random| {
        let mut members = Vec::new();
        member(random, &mut members, "n", small);
        member(random, &mut members, "t", json_text);
        member(random, &mut members, "b", truth);
        if random.one_in(5) {
            "[{\"nest\":1}]".to_owned()
        } else {
            format!("{{\"nest\":{}}}", object(&members))
        }
    });
    object(&members)
}

fn member(random: &mut Random, members: &mut Vec<String>, name: &str, value: impl Fn(&mut Random) -> String) {
    match random.below(8) {
        0 => {}
        1 => members.push(format!("\"{name}\": null")),
        _ => {
            let value = value(random);
            members.push(format!("\"{name}\":{value}"));
        }
    }
}

fn object(members: &[String]) -> String {
    format!("{{{}}}", members.join(" ,"))
}

/// A condition.
pub(crate) fn condition(random: &mut Random, shape: Shape) -> String {
    let text = Writer { random, shape, depth: 0 }.condition();
    let breaks = shape == Shape::Loose && random.one_in(2) && breakable(&text);
    if breaks { broken(random, &text) } else { text }
}

/// Whether it may mean anything else and still be the same to both.
///
/// Not so where a value of an odd kind is, which is NULL to PostgreSQL's table. And a pattern of a row that ends with its
/// escape is NULL here; to PostgreSQL it is an error or, where it does not come to that, false.
fn breakable(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '.');
    !words.any(|word| matches!(word, "m" | "s" | "address.am" | "ESCAPE"))
}

/// The text with a word or two taken out, doubled or swapped.
fn broken(random: &mut Random, text: &str) -> String {
    let text = text.replace('(', "( ").replace(')', " )").replace(',', " ,");
    let mut words: Vec<&str> = text.split(' ').collect();
    for _ in 0..=random.below(2) {
        let (at, other) = (random.below(words.len()), random.below(words.len()));
        match random.below(3) {
            0 if words.len() > 1 => drop(words.remove(at)),
            1 => words.insert(at, words[other]),
            _ => words.swap(at, other),
        }
    }
    // To PostgreSQL a type before a text makes it a literal of that type.
    words.join(" ").replace("UNKNOWN '", "'")
}

struct Writer<'r> {
    random: &'r mut Random,
    shape: Shape,
    depth: usize,
}

impl Writer<'_> {
    fn condition(&mut self) -> String {
        self.depth += 1;
        let deep = self.depth > 4;
        let text = match self.random.below(if deep { 9 } else { 16 }) {
            0 | 1 => {
                let (left, right) = (self.number(), self.number());
                format!("{left} {} {right}", self.comparison())
            }
            2 => {
                let (left, right) = (self.text(), self.text());
                format!("{left} {} {right}", self.comparison())
            }
            3 => self.in_list(),
            4 => {
                let term = self.number();
                let (low, high) = (self.number(), self.number());
                format!("{term} {}BETWEEN {low} AND {high}", self.not())
            }
            5 => self.like(),
            6 => self.null(),
            7 => self.boolean(),
            8 => self.distinct(),
            9..=12 => {
                let joint = self.random.pick(&["AND", "OR"]);
                let (left, right) = (self.inner(), self.inner());
                format!("{left} {joint} {right}")
            }
            13 => format!("NOT {}", self.inner()),
            14 => {
                let truth = self.random.pick(&["TRUE", "FALSE", "UNKNOWN", "NULL"]);
                format!("{} IS {}{truth}", self.inner(), self.not())
            }
            _ => {
                let (left, right) = (self.inner(), self.inner());
                format!("{left} {} {right}", self.comparison())
            }
        };
        self.depth -= 1;
        text
    }

    fn inner(&mut self) -> String {
        let text = self.condition();
        self.wrapped(text)
    }

    fn wrapped(&mut self, text: String) -> String {
        if self.shape == Shape::Loose && !self.random.one_in(3) { text } else { format!("({text})") }
    }

    fn in_list(&mut self) -> String {
        let count = 1 + self.random.below(4);
        let numbers = self.random.one_in(2);
        let mut list: Vec<String> =
            (0..count).map(|_| if numbers { self.number() } else { self.text() }).collect();
        if self.random.one_in(4) {
            list.push("NULL".to_owned());
        }
        let term = if numbers { self.number() } else { self.text() };
        format!("{term} {}IN ({})", self.not(), list.join(", "))
    }

    fn like(&mut self) -> String {
        let pieces = self.random.below(5);
        let pattern: String = (0..pieces)
            .map(|_| self.random.pick(&["%", "_", "a", "A", "b", "é", "!%", "!_", "!!", "\\%"]))
            .collect();
        let escape = self.random.pick(&["", " ESCAPE '!'", " ESCAPE ''"]);
        // A pattern that may end with its escape is refused here, and by PostgreSQL only if it comes to that.
        let pattern = format!("{pattern}{}", self.random.pick(&["%", "a", "_"]));
        let fold = self.random.pick(&["", "I"]);
        let term = if self.random.one_in(6) { "s".to_owned() } else { self.text() };
        if self.random.one_in(6) {
            let with = self.random.pick(&["lower(t1)", "upper(t2)", "address.city"]);
            return format!("{term} {}{fold}LIKE {with} ESCAPE ''", self.not());
        }
        format!("{term} {}{fold}LIKE '{pattern}'{escape}", self.not())
    }

    fn null(&mut self) -> String {
        let term = match self.random.below(4) {
            0 => self.plain_number(),
            1 => self.text(),
            2 => self.random.pick(&["b1", "deep.nest.b", "\"Odd name\"", "address.zip"]).to_owned(),
            _ => self.number(),
        };
        // Of an odd kind, a sum is NULL as much as anything.
        format!("{term} IS {}NULL", self.not())
    }

    fn boolean(&mut self) -> String {
        let column = |random: &mut Random| random.pick(&["b1", "b2", "deep.nest.b"]).to_owned();
        match self.random.below(6) {
            0 => self.random.pick(&["TRUE", "FALSE", "NULL"]).to_owned(),
            1 => format!("coalesce({}, {})", column(self.random), self.random.pick(&["TRUE", "FALSE", "b2"])),
            2 => format!(
                "{} {} {}",
                column(self.random),
                self.comparison(),
                self.random.pick(&["TRUE", "FALSE", "b2"])
            ),
            3 => format!("{} IN (TRUE, NULL)", column(self.random)),
            4 if self.shape == Shape::Loose => self.misfit(),
            _ => column(self.random),
        }
    }

    /// What both refuse, by its kinds or its words.
    fn misfit(&mut self) -> String {
        let number = self.number();
        match self.random.below(9) {
            0 => format!("lower(1.5) = {number}"),
            1 => "NOT 1.5".to_owned(),
            2 => "TRUE + 1.5 > 1.5".to_owned(),
            3 => "1.5 = TRUE".to_owned(),
            4 => "length(2.5) = 1".to_owned(),
            5 => format!("{number} ="),
            6 => format!("({number}"),
            7 => "b1 NOT NULL".to_owned(),
            _ => "lower(t1, t2) = 'a'".to_owned(),
        }
    }

    fn distinct(&mut self) -> String {
        let (left, right) = match self.random.below(3) {
            0 => (self.plain_number(), self.plain_number()),
            1 => (self.text(), self.text()),
            _ => (self.random.pick(&["b1", "NULL"]).to_owned(), self.random.pick(&["b2", "TRUE"]).to_owned()),
        };
        format!("{left} IS {}DISTINCT FROM {right}", self.not())
    }

    /// A number. One of an odd kind stands in it only where it is NULL to what is around it.
    fn number(&mut self) -> String {
        if self.random.one_in(10) {
            let operator = self.random.pick(&["+", "-", "*"]);
            let column = self.random.pick(&["m", "address.am"]);
            let text = format!("{column} {operator} {}", self.decimal());
            return self.wrapped(text);
        }
        self.plain_number()
    }

    fn plain_number(&mut self) -> String {
        self.depth += 1;
        let deep = self.depth > 6;
        let text = match self.random.below(if deep { 6 } else { 11 }) {
            0..=2 => self.random.pick(&["n1", "n2", "address.zip", "deep.nest.n"]).to_owned(),
            3 => self.decimal(),
            4 => self
                .random
                .pick(&["big", "1e100", "-1e-100", "99999999999999999999999999999999999999999999.5"])
                .to_owned(),
            5 => format!("length({})", self.text()),
            6 => {
                let (left, right) = (self.factor(), self.factor());
                format!("coalesce({left}, {right})")
            }
            7 => {
                let factor = self.factor();
                self.wrapped(format!("- {factor}"))
            }
            _ => {
                let (left, right) = (self.factor(), self.factor());
                let text = format!("{left} {} {right}", self.random.pick(&["+", "-", "*", "/"]));
                self.wrapped(text)
            }
        };
        self.depth -= 1;
        text
    }

    /// What may be calculated with: no place of it is beyond our bounds.
    fn factor(&mut self) -> String {
        if self.depth > 5 || !self.random.one_in(4) {
            return match self.random.below(3) {
                0 => self.decimal(),
                _ => self.random.pick(&["n1", "n2", "address.zip", "deep.nest.n"]).to_owned(),
            };
        }
        self.depth += 1;
        let (left, right) = (self.factor(), self.factor());
        self.depth -= 1;
        let text = format!("{left} {} {right}", self.random.pick(&["+", "-", "*", "/"]));
        self.wrapped(text)
    }

    /// A literal that PostgreSQL takes for a numeric, since its integers are divided otherwise.
    fn decimal(&mut self) -> String {
        self.random
            .pick(&[
                "0.0",
                "1.0",
                "-1.0",
                "0.5",
                "3.0",
                "7.25",
                "-0.125",
                "100.0",
                "1e2",
                "1e-7",
                "12345678901234567890.5",
            ])
            .to_owned()
    }

    fn text(&mut self) -> String {
        self.depth += 1;
        let deep = self.depth > 6;
        let text = match self.random.below(if deep { 7 } else { 9 }) {
            0..=3 => {
                self.random.pick(&["t1", "t2", "\"Odd name\"", "address.city", "deep.nest.t"]).to_owned()
            }
            4..=6 => format!("'{}'", self.random.pick(&TEXTS).replace('\'', "''")),
            7 => {
                let text = self.text();
                format!("{}({text})", self.random.pick(&["lower", "upper"]))
            }
            _ => {
                let (first, second) = (self.text(), self.text());
                format!("coalesce({first}, {second})")
            }
        };
        self.depth -= 1;
        text
    }

    fn comparison(&mut self) -> &'static str {
        self.random.pick(&["=", "<>", "!=", "<", "<=", ">", ">="])
    }

    fn not(&mut self) -> &'static str {
        self.random.pick(&["", "", "NOT "])
    }
}

fn small(random: &mut Random) -> String {
    match random.below(4) {
        0 => format!("{}", random.next() as i64 % 1_000_000),
        1 => format!("{}.{}", random.next() as i64 % 1000, random.below(100)),
        _ => random
            .pick(&[
                "0", "-0", "1", "1.0", "1e0", "-1", "3", "0.5", "0.50", "7.25", "100", "1E2", "1e-7", "2.5e1",
            ])
            .to_owned(),
    }
}

fn big(random: &mut Random) -> String {
    match random.below(3) {
        0 => random.pick(&["9007199254740993", "9007199254740992", "1e100", "-1e-100", "0.1e-30"]).to_owned(),
        1 => format!(
            "{}{}.{}",
            1 + random.below(9),
            "0123456789".repeat(1 + random.below(5)),
            random.below(1000)
        ),
        _ => small(random),
    }
}

fn json_text(random: &mut Random) -> String {
    let text = random.pick(&TEXTS);
    if random.one_in(4) {
        let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        return format!("\"{units}\"");
    }
    serde_json::to_string(text).unwrap()
}

fn truth(random: &mut Random) -> String {
    random.pick(&["true", "false"]).to_owned()
}

fn any_kind(random: &mut Random) -> String {
    match random.below(5) {
        0 => random.pick(&["{}", "{\"a\":1}", "[]", "[1,{\"}\":2}]"]).to_owned(),
        1 => truth(random),
        2 => json_text(random),
        _ => small(random),
    }
}

/// None looks like a number or a boolean, which PostgreSQL would take such a literal for.
const TEXTS: [&str; 20] = [
    "",
    "a",
    "A",
    "ab",
    "aB",
    "b",
    "a%",
    "a_b",
    "é",
    "É",
    "aé",
    "🐟",
    "a\nb",
    "!",
    "a!b",
    "a\\b",
    "it's",
    "z \"q\"",
    "2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00.5Z",
];
