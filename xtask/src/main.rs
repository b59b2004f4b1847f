//! Riacho's automation; `cargo xtask help` lists the commands.
//!
//! `cargo xtask test` is the one test command: continuous integration runs it and nothing else.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "the commands talk to a terminal")]

/// Everything that must hold, step by step.
mod test;
/// What the machine needs for the tests.
mod setup;
/// Versions of PostgreSQL for the tests.
mod postgres;
/// Emulators of DynamoDB for the tests.
mod dynamodb;
/// Rules of the repository that no compiler checks.
mod tidy;
/// Short runs of the fuzz targets.
mod fuzz;
/// Long runs of the tests that break things on purpose.
mod chaos;
/// Chromium and nginx against the real binary.
mod browser;
/// The JavaScript client, and its build within the server.
mod client;
/// Others' clients against the real binary.
mod clients;
/// Examples of several programs, started on this machine.
mod example;
/// Riacho and other servers under load.
mod bench;
/// Running other programs, in the root of the repository.
mod command;

use anyhow::{Context, Result, bail};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("xtask: {err:#}");
            ExitCode::from(if err.is::<setup::Missing>() { 2 } else { 1 })
        }
    }
}

fn run(args: &[&str]) -> Result<()> {
    match args {
        [] | ["help" | "--help" | "-h"] => print!("{HELP}"),
        ["test" | "ci"] => test::run()?,
        ["setup"] => setup::run()?,
        ["tidy"] => tidy::run()?,
        ["client"] => client::renew()?,
        ["browser", names @ ..] => browser::run(names)?,
        ["clients", names @ ..] => clients::run(names)?,
        ["example", name] => example::run(name)?,
        ["bench", flags @ ..] => bench::run(flags)?,
        ["chaos"] => chaos::run(MINUTES)?,
        ["chaos", "--minutes", minutes] => chaos::run(number(minutes)?)?,
        ["soak"] => client::soak(MINUTES)?,
        ["soak", "--minutes", minutes] => client::soak(number(minutes)?)?,
        ["fuzz"] => fuzz::run(None, SECONDS)?,
        ["fuzz", "--seconds", seconds] => fuzz::run(None, number(seconds)?)?,
        ["fuzz", target] => fuzz::run(Some(target), SECONDS)?,
        ["fuzz", target, "--seconds", seconds] => fuzz::run(Some(target), number(seconds)?)?,
        other => bail!("no such command: {}; `cargo xtask help` lists them", other.join(" ")),
    }
    Ok(())
}

fn number(text: &str) -> Result<u32> {
    text.parse().with_context(|| format!("expected a whole number, got `{text}`"))
}

/// How long each fuzz target runs unless told otherwise.
const SECONDS: u32 = 10;
/// How long chaos reigns, and pages soak, unless told otherwise.
const MINUTES: u32 = 10;

const HELP: &str = "\
cargo xtask COMMAND

  test, ci                      everything that must hold, the cheap first; stops at the first failure
  setup                         installs what the tests need (Debian packages when root, else names them; npm ci; PostgreSQL 14 to 18)
  tidy                          the rules of the repository that no compiler checks
  client                        builds clients/js, and renews the scripts in crates/riacho/assets that the server serves
  fuzz [TARGET] [--seconds N]   runs the fuzz targets, or one, for N seconds each (10)
  chaos [--minutes N]           sources of PostgreSQL and DynamoDB under random work and faults, over and over for N minutes (10)
  soak [--minutes N]            Chromium: tabs that come, go and sleep, a network and a server that fail, for N minutes (10)
  browser [FILE...]             Chromium and nginx against the real binary: all of tests/browser, or some of its files
  clients [FILE...]             others' clients and examples of publishing against the real binary: tests/clients, CLIENTS=curl,php some
  example admin-panel           examples/admin-panel on an emulator of DynamoDB, until Ctrl-C; PORT is the page's (8080)
  bench [FLAG...]               Riacho and other servers under load, on this machine: tables and picture of bench/README.md
      --row NAME, --peers A,B   only these rows; only these servers; --list names both
      --quick, --full           toy size, in seconds; more than half an hour, with a log of 10 GB
      --repeat N                runs of each case, of which the median counts (3)
      --riacho PATH             another binary than the tree's; --mercure PATH, --centrifugo PATH: servers to compare
      --machine NAME            what the machine is called in the name of the results
      --into FILE               puts the rows that are measured into this file of results, for the tables
      --report FILE             tables and picture from a file of results, measuring nothing
      --counts                  instructions of the hot functions, under valgrind, against those of bench/counts.json
      --counts --accept         writes that file
  help                          this list
";
