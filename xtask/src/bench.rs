//! `cargo xtask bench`: Riacho and other servers under the same load, on this machine, in one command.
//!
//! It builds and installs what takes part, runs every row of the table interleaved and repeated, keeps every run as JSON in
//! `bench/results`, and writes the tables and the picture of bench/README.md. What to measure is in `rows`, with which servers
//! in `peer`; the load itself is made and measured by `riacho bench`.

/// The flags.
mod options;
/// What a row is.
mod row;
/// The rows.
mod rows;
/// The servers.
mod peer;
/// Building and installing them.
mod install;
/// The namespace, the cores, the limits.
mod stage;
/// One running server.
mod server;
/// One run of the load client.
mod client;
/// Databases that servers follow.
mod database;
/// Single requests.
mod http;
/// Facts of the machine.
mod machine;
/// Figures, medians, the file of results.
mod results;
/// Tables and pictures.
mod report;
/// Instructions of the hot functions.
mod counts;

use crate::command::root;
use anyhow::{Context, Result, bail};
use install::Absent;
use options::{Act, Options};
use peer::Peer;
use results::{CaseResults, Results, RowResults};
use row::{Case, Row};
use stage::Stage;
use std::{fs, path::PathBuf};

/// Runs what `args` ask for.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let options = Options::parse(args)?;
    match &options.act {
        Act::List => list(&options),
        Act::Counts { accept } => return counts::run(*accept),
        Act::Report(path) => return report::write(&Results::read(path)?),
        Act::Measure if stage::is_inside() => return measure(&options),
        Act::Measure => {
            let absent = install::all(&options)?;
            let isolate = stage::can_isolate();
            if !isolate {
                eprintln!(
                    "no steered column: it needs root, two cores, iproute2, and the right to make a network namespace"
                );
            }
            fs::write(absent_file(), serde_json::to_string(&absent)?)
                .context("failed to note who is absent")?;
            let status = stage::again(args, isolate)?;
            if !status.success() {
                bail!("the runs ended with {status}");
            }
        }
    }
    Ok(())
}

fn list(options: &Options) {
    println!("rows:");
    for row in rows::ALL {
        let cases = (row.cases)(options.size);
        let workloads =
            cases.iter().map(|case| case.workload.as_str()).collect::<std::collections::BTreeSet<_>>();
        println!("  {:<12}{} runs of {} workloads", row.name, cases.len() * options.repeat, workloads.len());
    }
    println!("peers:");
    let mut names: Vec<_> = Peer::ALL.iter().map(|peer| peer.name()).collect();
    names.dedup();
    println!("  {}", names.join(", "));
}

/// All rows, one after the other; what was measured is on disk after each of them.
fn measure(options: &Options) -> Result<()> {
    let isolated = stage::enter()?;
    let stage = install::stage(options, isolated);
    fs::remove_dir_all(&stage.directory).ok();
    fs::create_dir_all(&stage.directory).context("failed to create a directory for the runs")?;
    let absent: Absent = serde_json::from_str(&fs::read_to_string(absent_file())?)?;
    let load = machine::load();
    if load > LOAD_MAX {
        eprintln!("warning: the load average is {load}; figures of a busy machine are worth little");
    }
    let mut results = Results {
        date: machine::date(),
        machine: options.machine.clone().unwrap_or_else(machine::slug),
        size: options.size.name().to_owned(),
        repeat: options.repeat,
        facts: machine::facts(&stage.directory),
        rows: Vec::new(),
    };
    for peer in Peer::ALL {
        if options.takes(peer)
            && let Some(version) = peer.version(&stage)
        {
            results.facts.insert(format!("version of {}", peer.name()), version);
        }
    }
    let file = results_file(options, &results);
    let begin = machine::now();
    for row in rows::ALL.iter().filter(|row| options.wants(row.name)) {
        results.rows.push(measure_row(row, options, &stage, &absent));
        results.facts.insert("load average at the end".to_owned(), machine::load().to_string());
        results
            .facts
            .insert("minutes".to_owned(), format!("{:.1}", (machine::now() - begin).as_secs_f64() / 60.0));
        results.write(&file)?;
        print!("{}", report::row_text(row, &results));
    }
    fs::remove_dir_all(&stage.directory).ok();
    eprintln!("{}", file.display());
    if options.is_whole() {
        report::write(&results)?;
    } else if let Some(path) = &options.into {
        let whole = results.clone().into_those_of(Results::read(path)?);
        whole.write(path)?;
        report::write(&whole)?;
    }
    if options.size == options::Size::Quick {
        let failed =
            results.rows.iter().flat_map(|row| &row.cases).filter(|case| case.failed.is_some()).count();
        if failed > 0 {
            bail!("{failed} cases failed");
        }
    }
    Ok(())
}

/// Every case once, then every case again: what changes on the machine meanwhile touches all alike.
fn measure_row(row: &Row, options: &Options, stage: &Stage, absent: &Absent) -> RowResults {
    let cases = (row.cases)(options.size);
    let cases: Vec<_> = cases.into_iter().filter(|case| options.takes(case.server)).collect();
    let mut results: Vec<_> =
        cases.iter().map(|case| CaseResults::new(&case.workload, case.server)).collect();
    for turn in 0..options.repeat {
        for (case, result) in cases.iter().zip(&mut results) {
            if turn < case.repeat_max {
                eprint!(
                    "{} · {} · {} · {} of {}: ",
                    row.name,
                    case.workload,
                    case.server.title(),
                    turn + 1,
                    options.repeat
                );
                eprintln!("{}", turn_of(case, stage, absent, result));
            }
        }
    }
    RowResults { row: row.name.to_owned(), cases: results }
}

/// Runs a case once, and tells in a word how it went.
fn turn_of(case: &Case, stage: &Stage, absent: &Absent, result: &mut CaseResults) -> String {
    if let Some(reason) = absent.get(case.server.name()) {
        result.failed = Some(reason.clone());
        return "absent".to_owned();
    }
    let begin = machine::now();
    match (case.act)(stage) {
        Ok(figures) => {
            result.add(figures);
            format!("{:.1} s", (machine::now() - begin).as_secs_f64())
        }
        Err(err) => {
            result.failed = Some(format!("{err:#}"));
            format!("FAILED: {err:#}")
        }
    }
}

/// Beside the tables for the whole of it, among what was built for a part.
fn results_file(options: &Options, results: &Results) -> PathBuf {
    if options.is_whole() {
        let name = format!("{}-{}.json", results.date, results.machine);
        directory_of_results().join(name)
    } else {
        stage::directory().join(format!("{}.json", results.size))
    }
}

fn directory_of_results() -> PathBuf {
    root().join("bench/results")
}

/// How the process that installs tells the one that measures.
fn absent_file() -> PathBuf {
    stage::directory().join("absent.json")
}

/// Above this the machine has something else to do.
const LOAD_MAX: f64 = 0.7;

#[cfg(test)]
mod tests;
