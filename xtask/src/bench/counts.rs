//! Instructions of the hot functions, counted under valgrind and held against those accepted: `cargo xtask bench --counts`.
//!
//! What is counted is in `crates/*/benches`. A count depends on the code, the compiler, the C library and on what the CPU can do,
//! and on nothing else: neither load nor time. So the accepted ones are in the tree, with what they were made with.

use super::{install::packages, report::table::Table, row::thousands, stage::directory};
use crate::command::{command, output, root, run as run_command, succeeds, target};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::PathBuf};

/// What bench/counts.json holds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Versions of what has a part in the counts.
    pub(super) made_with: BTreeMap<String, String>,
    /// Instructions of one call, by `function.case`.
    pub(super) instructions: BTreeMap<String, u64>,
}

/// One function, then and now.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) accepted: Option<u64>,
    pub(super) now: Option<u64>,
    pub(super) verdict: Verdict,
}

/// What became of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Within the bound.
    Same,
    Grew,
    Shrank,
    /// Nobody accepted it yet.
    New,
    /// Accepted, and counted no more.
    Gone,
}

/// Counts; then writes what was counted, or fails where it is more than was accepted.
pub(super) fn run(accept: bool) -> Result<()> {
    let runner = tools()?;
    let now = Counts { made_with: made_with()?, instructions: count(&runner)? };
    if accept {
        let text = serde_json::to_string_pretty(&now)? + "\n";
        fs::write(file(), text).with_context(|| format!("failed to write {FILE}"))?;
        eprintln!("{FILE}: {} counts", now.instructions.len());
        return Ok(());
    }
    let accepted = read()?;
    for (name, version) in &now.made_with {
        let then = accepted.made_with.get(name);
        if then != Some(version) {
            let then = then.map_or("nothing", String::as_str);
            eprintln!(
                "note: {name} is {version}, and was {then} for the accepted counts: some may differ for that"
            );
        }
    }
    let lines = compare(&accepted.instructions, &now.instructions);
    print!("{}", table(&lines));
    judge(&lines)
}

/// Reads the accepted counts.
pub(super) fn read() -> Result<Counts> {
    let text = fs::read_to_string(file()).with_context(|| format!("failed to read {FILE}"))?;
    serde_json::from_str(&text).with_context(|| format!("failed to understand {FILE}"))
}

/// Every function of either, by name.
pub(super) fn compare(accepted: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> Vec<Line> {
    let mut names: Vec<_> = accepted.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    let line = |name: &String| {
        let (accepted, now) = (accepted.get(name).copied(), now.get(name).copied());
        let verdict = match (accepted, now) {
            (None, _) => Verdict::New,
            (_, None) => Verdict::Gone,
            (Some(accepted), Some(now)) if change(accepted, now) > PERCENT_MAX => Verdict::Grew,
            (Some(accepted), Some(now)) if change(accepted, now) < -PERCENT_MAX => Verdict::Shrank,
            _ => Verdict::Same,
        };
        Line { name: name.clone(), accepted, now, verdict }
    };
    names.into_iter().map(line).collect()
}

/// All lines as a table, for people.
pub(super) fn table(lines: &[Line]) -> String {
    let mut table = Table::new(["function", "accepted", "now", "change", ""]);
    let number = |count: Option<u64>| {
        let count = count.and_then(|count| usize::try_from(count).ok());
        count.map_or_else(|| "–".to_owned(), thousands)
    };
    for line in lines {
        let percent = match (line.accepted, line.now) {
            (Some(accepted), Some(now)) => format!("{:+.1} %", change(accepted, now)),
            _ => "–".to_owned(),
        };
        let verdict = match line.verdict {
            Verdict::Same => "",
            Verdict::Grew => "GREW",
            Verdict::Shrank => "shrank",
            Verdict::New => "NEW",
            Verdict::Gone => "GONE",
        };
        let cells = [line.name.clone(), number(line.accepted), number(line.now), percent, verdict.to_owned()];
        table.add(cells);
    }
    table.text()
}

/// Fails where something grew, or where the file is not about the functions of the tree.
pub(super) fn judge(lines: &[Line]) -> Result<()> {
    let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
    let (grew, shrank) = (count(Verdict::Grew), count(Verdict::Shrank));
    let (new, gone) = (count(Verdict::New), count(Verdict::Gone));
    if grew > 0 {
        bail!(
            "{grew} of {} counts grew by more than {PERCENT_MAX} %; where that is worth it: {ACCEPT}, and say why",
            lines.len()
        );
    }
    if new + gone > 0 {
        bail!("{FILE} lacks {new} counts and has {gone} of functions that are gone; to renew it: {ACCEPT}");
    }
    if shrank > 0 {
        eprintln!("{shrank} shrank by more than {PERCENT_MAX} %: well done; to hold on to it: {ACCEPT}");
    }
    Ok(())
}

/// Reads what the runner prints, a line of JSON for each function.
pub(super) fn parse(text: &str, counts: &mut BTreeMap<String, u64>) -> Result<()> {
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let summary: Value = serde_json::from_str(line).context("the runner printed no JSON")?;
        let word = |key: &str| summary.get(key).and_then(Value::as_str).unwrap_or_default();
        let name = format!("{}.{}", word("function_name"), word("id"));
        let values = summary.pointer("/profiles/0/data/total/metrics/Ir/values");
        let now = values.and_then(|values| values.get("new")).and_then(Value::as_u64);
        let now = now.with_context(|| format!("no count of {name} in {line}"))?;
        if now == 0 {
            bail!("{name} counts nothing: it was not called where it was counted");
        }
        if counts.insert(name.clone(), now).is_some() {
            bail!("two functions are called {name}");
        }
    }
    Ok(())
}

/// How much more, in percent.
fn change(accepted: u64, now: u64) -> f64 {
    (now as f64 - accepted as f64) / accepted as f64 * 100.0
}

/// Runs the functions.
fn count(runner: &PathBuf) -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    for (package, bench) in BENCHES {
        // What is left of the run before would be compared with, and is of no use.
        fs::remove_dir_all(target().join("gungraun").join(package)).ok();
        let mut cargo = command("cargo", &["bench", "--quiet", "--package", package, "--bench", bench]);
        cargo.args(["--", "--output-format=json"]).env("GUNGRAUN_RUNNER", runner);
        let output = cargo.output().context("failed to start cargo")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("{bench} ended with {}:\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        parse(&text, &mut counts)?;
    }
    Ok(counts)
}

/// Sees to valgrind and the runner; gives the runner's path.
fn tools() -> Result<PathBuf> {
    if !succeeds("valgrind", &["--version"]) {
        packages(&["valgrind"])?;
    }
    let version = gungraun()?;
    let place = directory().join("gungraun");
    let is_there = fs::read_to_string(place.join(".crates.toml"))
        .is_ok_and(|text| text.contains(&format!("gungraun-runner {version} ")));
    if !is_there {
        eprintln!("installing gungraun-runner {version} in {}", place.display());
        let mut cargo = command("cargo", &["install", "gungraun-runner", "--locked", "--quiet", "--version"]);
        cargo.arg(&version).arg("--root").arg(&place);
        cargo.arg("--target-dir").arg(directory().join("gungraun-build"));
        run_command(&mut cargo)?;
    }
    Ok(place.join("bin/gungraun-runner"))
}

/// The version of the library: the runner must be of the same.
fn gungraun() -> Result<String> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).context("failed to read Cargo.lock")?;
    let after = lock.split("name = \"gungraun\"\nversion = \"").nth(1);
    let version = after.and_then(|rest| rest.split('"').next());
    version.map(str::to_owned).context("Cargo.lock has no gungraun")
}

fn made_with() -> Result<BTreeMap<String, String>> {
    // The functions that copy and compare bytes are the C library's, and it chooses them by what the CPU can do;
    // valgrind shows a program nothing above AVX2.
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let vectors = ["avx2", "sse4_2"].into_iter().find(|name| cpu.contains(name)).unwrap_or("none");
    let versions = [
        ("rustc", output("rustc", &["--version"])?),
        ("gungraun", gungraun()?),
        ("valgrind", output("valgrind", &["--version"])?),
        ("libc", output("getconf", &["GNU_LIBC_VERSION"])?),
        ("cpu", format!("{} {vectors}", std::env::consts::ARCH)),
    ];
    Ok(versions.map(|(name, version)| (name.to_owned(), version.trim().to_owned())).into())
}

fn file() -> PathBuf {
    root().join(FILE)
}

/// Packages, and their functions to be counted.
const BENCHES: &[(&str, &str)] = &[("riacho-core", "core_counts"), ("riacho", "log_counts")];
const FILE: &str = "bench/counts.json";
const ACCEPT: &str = "cargo xtask bench --counts --accept";
// What a function may grow by. The counts repeat to the instruction, but a new compiler or C library moves them a little.
const PERCENT_MAX: f64 = 2.0;
