//! `docs/config.md` and `riacho.example.toml`, from the table of settings.

use super::{
    effective::{rule_toml, table_toml},
    rules::{StreamRule, TableRule},
    shape::Setting,
    table::{
        CONFIG, INGEST_SECRET, SERVER, SOURCE, SOURCE_SETUP, SOURCE_TABLE, SOURCES, STREAM, TABLE, groups,
    },
};
use std::fmt::Write as _;

/// The text of `docs/config.md`.
pub fn markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    for (heading, table) in groups() {
        let _ = write!(out, "\n## {heading}\n\n");
        rows(&mut out, table.iter());
    }
    rule_rows(&mut out, "stream", STREAM_INTRODUCTION, STREAM);
    rule_rows(&mut out, "table", TABLE_INTRODUCTION, TABLE);
    rule_rows(&mut out, "source", SOURCE_INTRODUCTION, SOURCES);
    out.push_str("\n## Outside of the file\n\n");
    rows(&mut out, [&CONFIG, &SOURCE, &SOURCE_TABLE, &SOURCE_SETUP, &SERVER, &INGEST_SECRET].into_iter());
    out
}

/// The text of `riacho.example.toml`: every setting at its default, commented out.
pub fn example() -> String {
    let mut out = String::from(
        "# Every setting of Riacho at its default. Take away the `#` before a setting to change it.\n\
         # `riacho check` prints what is in effect, and from where. Made from the table in config/table.rs.\n",
    );
    for (heading, table) in groups() {
        match heading {
            "Limits" => out.push_str("\n[limits]\n"),
            other => {
                let _ = write!(out, "\n### {other}\n");
            }
        }
        for setting in table {
            comment(&mut out, &format!("{} Values: {}.", doc(setting), values(setting)));
            let value = setting.shape.parse(setting.default).map(|value| value.toml()).unwrap_or_default();
            let _ = writeln!(out, "#{} = {value}", setting.last_segment());
        }
    }
    example_rule(&mut out, "stream", STREAM, &rule_toml(&StreamRule::last_resort()));
    let source = "name = \"shop\"\nsqlite = \"shop.db\"\ntables = [\"orders\"]\nsetup = false\n";
    example_rule(&mut out, "source", SOURCES, source);
    example_rule(&mut out, "table", TABLE, &table_toml(&TableRule::last_resort()));
    out
}

fn rule_rows(out: &mut String, noun: &str, introduction: &str, table: &[Setting]) {
    let _ = write!(out, "\n## `[[{noun}]]`\n\n{introduction}\n");
    out.push_str("| setting | default | values | |\n| --- | --- | --- | --- |\n");
    for setting in table {
        let name = setting.name.split_once('.').map_or(setting.name, |(_, name)| name);
        let _ = writeln!(
            out,
            "| `{name}` | {} | {} | {} |",
            default(setting),
            cell(&values(setting)),
            doc(setting)
        );
    }
}

// Settings of `keep` are one line; a setting without a default is none.
fn example_rule(out: &mut String, noun: &str, table: &[Setting], toml: &str) {
    let key = |setting: &Setting| setting.name.split('.').nth(1);
    let (heading, what) = match noun {
        "stream" => ("Streams", FIRST_MATCH),
        "table" => ("Rows of tables", FIRST_MATCH),
        _ => ("Sources", "Each [[source]] is a database whose tables are served live."),
    };
    let what = what.replace("NOUN", noun);
    let _ = write!(out, "\n### {heading}\n\n# {what}\n#[[{noun}]]\n");
    for (n, setting) in table.iter().enumerate() {
        comment(out, &format!("{} Values: {}.", doc(setting), values(setting)));
        let last = table.get(n + 1).is_none_or(|next| key(next) != key(setting));
        let line = toml.lines().find(|line| line.split(' ').next() == key(setting));
        if let Some(line) = line.filter(|_| last) {
            let _ = writeln!(out, "#{line}");
        }
    }
}

fn rows<'a>(out: &mut String, settings: impl Iterator<Item = &'a Setting>) {
    out.push_str("| setting | variable, flag | default | values | |\n| --- | --- | --- | --- | --- |\n");
    for setting in settings {
        let flag = setting.flag.map(|flag| format!("<br>`--{flag}`")).unwrap_or_default();
        let _ = writeln!(
            out,
            "| `{}` | `{}`{flag} | {} | {} | {} |",
            setting.name,
            setting.env(),
            default(setting),
            cell(&values(setting)),
            doc(setting),
        );
    }
}

fn default(setting: &Setting) -> String {
    if setting.default.is_empty() { "none".to_owned() } else { format!("`{}`", setting.default) }
}

fn values(setting: &Setting) -> String {
    setting.shape.expected()
}

fn doc(setting: &Setting) -> String {
    setting.doc().lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('*', "\\*")
}

// Comments are wrapped, so that the file reads well in a terminal.
fn comment(out: &mut String, text: &str) {
    out.push('\n');
    let mut width = 0;
    for word in text.split(' ') {
        if width == 0 || width + word.len() > COMMENT_WIDTH {
            out.push_str(if width == 0 { "# " } else { "\n# " });
            width = 0;
        } else {
            out.push(' ');
        }
        out.push_str(word);
        width += word.len() + 1;
    }
    out.push('\n');
}

const INTRODUCTION: &str = "\
# Configuration

This file is made from the table in `crates/riacho/src/config/table.rs`; a test compares them.

Flags win over `RIACHO_*` variables, these over the file, the file over the defaults. The file is the one named by
`--config` or `RIACHO_CONFIG`, or `riacho.toml` in the working directory if there is one. Settings that do not exist are
errors, in all three places. `riacho check` prints what is in effect and where each value came from, `riacho check --json`
the same for programs; it exits with 2 if something is wrong.

Sizes are whole numbers with `B`, `KB`, `MB`, `GB`, `TB` (powers of 1000) or `KiB`, `MiB`, `GiB`, `TiB` (powers of 1024);
without a unit, bytes. Durations are whole numbers with `ms`, `s`, `m`, `h` or `d`. A setting with a dot belongs to a table
of the file: `limits.event_bytes_max` is `event_bytes_max` under `[limits]`. Lists are arrays in the file, and separated by
commas elsewhere. `riacho.example.toml` has every setting at its default.
";

const STREAM_INTRODUCTION: &str = "\
What holds for the streams whose name matches. Of several the first that matches holds; for a stream that none matches, events
are durable and kept for 7 days and up to 1 GiB, which is also what a rule without `keep` keeps. A rule with `keep` keeps
exactly what it says: `keep = { events = 100 }` is the newest 100 events, however old. These settings stand in the file only:

    [[stream]]
    match = \"chat/*\"
    durability = \"memory\"
    keep = { age = \"10m\", events = 1000 }
";

const TABLE_INTRODUCTION: &str = "\
What holds for the tables whose name matches. Of several the first that matches holds; for a table that none matches, single
changes are kept for a day and up to 64 MiB, which is also what a rule without `keep` keeps. Rows are kept until they are
deleted, whatever `keep` says: it bounds how far back the history of single changes goes. These settings stand in the file
only:

    [[table]]
    match = \"shop/*\"
    old_value = true
    keep = { age = \"1h\" }
";

const SOURCE_INTRODUCTION: &str = "\
A database whose tables are served live: their rows, then every change that any program makes. docs/sqlite.md and docs/postgres.md
say what the database needs. On SIGHUP, or `POST /sources/reload`, these are read anew without a restart. They stand in the file;
one source can be given by flags.

    [[source]]
    name = \"shop\"
    postgres = \"postgres://riacho@db/shop\"
    tables = [\"orders\", { table = \"customers\", columns = [\"id\", \"name\"] }]
";

const FIRST_MATCH: &str =
    "The first [[NOUN]] that matches a name holds for it. This one is what holds where none does.";
const COMMENT_WIDTH: usize = 100;
