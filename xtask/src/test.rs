//! Everything that must hold, step by step, the cheap steps first.

use crate::{
    SECONDS, bench, browser, client, clients,
    command::{command, root, run as run_command, succeeds, target},
    fuzz, setup, tidy,
};
use anyhow::{Context, Result};
use std::time::Duration;

struct Step {
    heading: &'static str,
    /// The command that repeats this step alone.
    alone: &'static str,
    act: fn() -> Result<()>,
}

/// Runs all steps; the first that fails ends it, with the command to repeat it.
pub(crate) fn run() -> Result<()> {
    let begin = now();
    for step in STEPS {
        eprintln!("\n=== {} ({})", step.heading, step.alone);
        let started = now();
        (step.act)()
            .with_context(|| format!("{} failed; to repeat only this: {}", step.heading, step.alone))?;
        eprintln!("=== {}: {}", step.heading, text(now() - started));
    }
    eprintln!("\nall {} steps passed in {}", STEPS.len(), text(now() - begin));
    Ok(())
}

const STEPS: &[Step] = &[
    Step { heading: "setup", alone: "cargo xtask setup", act: setup::run },
    Step { heading: "format", alone: "cargo fmt --all --check", act: || cargo(&["fmt", "--all", "--check"]) },
    Step {
        heading: "lints",
        alone: "cargo clippy --workspace --all-targets -- -D warnings",
        act: || cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    },
    Step { heading: "tidy", alone: "cargo xtask tidy", act: tidy::run },
    Step { heading: "dependencies", alone: "cargo deny check", act: dependencies },
    Step {
        heading: "tests",
        alone: "SLOW=1 cargo test --workspace",
        act: || run_command(command("cargo", &["test", "--workspace"]).env("SLOW", "1")),
    },
    Step {
        heading: "lints of the benchmark's peers",
        alone: "cargo clippy --manifest-path bench/peers/Cargo.toml --all-targets -- -D warnings",
        act: peers,
    },
    Step {
        heading: "benchmark at toy size",
        alone: "cargo xtask bench --quick",
        act: || bench::run(&["--quick"]),
    },
    Step { heading: "browser", alone: "cargo xtask browser", act: || browser::run(&[]) },
    Step { heading: "JavaScript client", alone: "npm --prefix clients/js test", act: client::test },
    Step { heading: "others' clients", alone: "cargo xtask clients", act: || clients::run(&[]) },
    Step { heading: "fuzz", alone: "cargo xtask fuzz", act: || fuzz::run(None, SECONDS) },
];

fn cargo(args: &[&str]) -> Result<()> {
    run_command(&mut command("cargo", args))
}

/// They are a workspace of their own, and built where the benchmark builds them.
fn peers() -> Result<()> {
    let mut clippy = command("cargo", &["clippy", "--locked", "--manifest-path", "bench/peers/Cargo.toml"]);
    clippy.arg("--target-dir").arg(target().join("bench/peers"));
    run_command(clippy.args(["--all-targets", "--", "-D", "warnings"]))?;
    cargo(&["fmt", "--check", "--manifest-path", "bench/peers/Cargo.toml"])
}

/// Licences, sources and doubles always; known vulnerabilities are for a scheduled job, since they change with no commit.
fn dependencies() -> Result<()> {
    anyhow::ensure!(root().join("deny.toml").is_file(), "deny.toml is missing");
    if succeeds("cargo", &["deny", "--version"]) {
        return cargo(&["deny", "--log-level", "error", "check", "bans", "licenses", "sources"]);
    }
    eprintln!("SKIPPED: cargo-deny is not installed (cargo install cargo-deny --locked)");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "how long a step took is told to people, and decides nothing")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn text(time: Duration) -> String {
    format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
}
