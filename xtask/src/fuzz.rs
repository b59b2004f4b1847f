//! Short runs of the fuzz targets, each from its seeds.

use crate::command::{command, root, run as run_command, succeeds};
use anyhow::{Context, Result, bail};
use std::fs;

/// Runs `target`, or all of them, for `seconds` each.
pub(crate) fn run(target: Option<&str>, seconds: u32) -> Result<()> {
    let all = targets()?;
    if let Some(name) = target
        && !all.iter().any(|known| known == name)
    {
        bail!("no fuzz target `{name}`; there are {}", all.join(", "));
    }
    if !succeeds("cargo", &["+nightly", "--version"]) {
        eprintln!(
            "SKIPPED: cargo-fuzz needs a nightly toolchain, and none is installed (rustup toolchain install nightly)"
        );
        return Ok(());
    }
    if !succeeds("cargo", &["+nightly", "fuzz", "--version"]) {
        run_command(&mut command("cargo", &["install", "cargo-fuzz", "--locked", "--version", "0.13.2"]))?;
    }
    for name in all.iter().filter(|name| target.is_none_or(|target| target == *name)) {
        eprintln!("fuzz target {name}, {seconds} s");
        let corpus = format!("fuzz/corpus/{name}");
        let seeds = format!("fuzz/seeds/{name}");
        fs::create_dir_all(root().join(&corpus)).with_context(|| format!("failed to create {corpus}"))?;
        let mut fuzz = command("cargo", &["+nightly", "fuzz", "run", name, &corpus]);
        if root().join(&seeds).is_dir() {
            fuzz.arg(&seeds);
        }
        fuzz.args(["--", &format!("-max_total_time={seconds}"), "-verbosity=0", "-print_final_stats=0"]);
        run_command(&mut fuzz)?;
    }
    Ok(())
}

fn targets() -> Result<Vec<String>> {
    let directory = root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in
        fs::read_dir(&directory).with_context(|| format!("failed to list {}", directory.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
