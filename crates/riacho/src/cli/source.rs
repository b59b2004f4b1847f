//! `source check`, `setup`, `teardown`: what a database needs before it can be a source. `source status`: what the sources
//! of a server are doing.

use super::{
    Env, Failure,
    client::{Problem, ServerArg, cause, http, runtime},
    import, print, say,
};
use crate::{
    config,
    source::{self, Database, Finding, SourceSettings, TableSettings, sqlite},
};
use clap::{Args, Subcommand};
use riacho_core::source::machine::Fault;
use serde::Deserialize;
use std::{fmt::Write as _, path::PathBuf};

#[derive(Subcommand, Debug)]
pub(super) enum Source {
    /// Say what a database lacks, and the SQL that mends it; exit code 1 if a source could not run. Changes nothing.
    Check(Tables),
    /// Make what notes changes in a file of SQLite: triggers and a table of changes. Prints the SQL it ran.
    Setup {
        /// Only print the SQL that would be run.
        #[arg(long)]
        preview: bool,
        #[command(flatten)]
        tables: Tables,
    },
    /// Remove from a file of SQLite all that `setup` made. Prints the SQL it ran.
    Teardown {
        /// The database: `sqlite:` and the path of a file.
        database: String,
    },
    /// Send items of DynamoDB to a source whose `snapshot` is `import`: rows that are not among them go.
    Import(import::Import),
    /// Print what the sources of a running server are doing.
    Status {
        #[command(flatten)]
        server: ServerArg,
        /// As JSON, as `/sources` has it.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Debug)]
pub(super) struct Tables {
    /// The database: `sqlite:PATH`, `postgres://USER@HOST/DATABASE` or `dynamodb:TABLE`.
    database: String,
    /// A table, or a pattern with `*`; may be repeated. Without it, all that have a key.
    #[arg(long = "table", value_name = "NAME")]
    tables: Vec<String>,
}

impl Tables {
    fn settings(&self) -> Result<SourceSettings, Failure> {
        config::source_of(&self.database, &self.tables)
            .map_err(|reason| Failure::Usage(format!("DATABASE: {reason}")))
    }
}

impl Source {
    pub(super) fn run(self, env: &Env) -> Result<(), Failure> {
        match self {
            Self::Check(tables) => {
                let settings = tables.settings()?;
                report(&runtime()?.block_on(source::check(&settings)))
            }
            Self::Setup { preview, tables } => {
                let settings = tables.settings()?;
                let names = names(&settings.tables);
                let run = if preview { sqlite::preview } else { sqlite::setup };
                print(run(&sqlite_path(settings)?, &names).map_err(failed)?)
            }
            Self::Teardown { database } => {
                let settings = Tables { database, tables: Vec::new() }.settings()?;
                print(sqlite::teardown(&sqlite_path(settings)?).map_err(failed)?)
            }
            Self::Import(import) => import.run(env),
            Self::Status { server, json } => status(server, json, env),
        }
    }
}

fn names(tables: &[TableSettings]) -> Vec<String> {
    tables.iter().map(|table| table.table.clone()).collect()
}

fn sqlite_path(settings: SourceSettings) -> Result<PathBuf, Failure> {
    match settings.database {
        Database::Sqlite(sqlite) => Ok(sqlite.path),
        Database::Postgres(_) => {
            let text = "PostgreSQL needs no setup of its own: publication and slot are made when a source begins; \
                        `riacho source check` says what stands against it";
            Err(Failure::Usage(text.to_owned()))
        }
        Database::DynamoDb(_) => {
            let text = "DynamoDB needs no setup of its own but a stream of the table; `riacho source check` says whether \
                        it is there";
            Err(Failure::Usage(text.to_owned()))
        }
    }
}

fn report(findings: &[Finding]) -> Result<(), Failure> {
    for finding in findings {
        let kind = if finding.fatal { "missing" } else { "advice" };
        print(format_args!("{kind}: {}\n", finding.message))?;
        for line in finding.remedy.iter().flat_map(|remedy| remedy.lines()) {
            print(format_args!("    {line}\n"))?;
        }
    }
    if findings.iter().any(|finding| finding.fatal) {
        return Err(Failure::Failed("it cannot be a source yet".to_owned()));
    }
    print("It can be a source.\n")
}

fn status(server: ServerArg, json: bool, env: &Env) -> Result<(), Failure> {
    let mut url = server.resolve(env)?.url().clone();
    url.set_path(&format!("{}/sources", url.path().trim_end_matches('/')));
    let answer = runtime()?.block_on(async {
        let unreachable = |err| Failure::Failed(format!("cannot ask {url}: {}", cause(&err)));
        let response = http()?.get(url.clone()).send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        if !status.is_success() {
            return Err(Failure::Failed(Problem::parse(&body).text(status.as_u16())));
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    })?;
    if json {
        return print(format_args!("{}\n", answer.trim_end()));
    }
    let Listed { sources } = serde_json::from_str(&answer)
        .map_err(|err| Failure::Failed(format!("the server's answer is no list of sources: {err}")))?;
    if sources.is_empty() {
        say("the server has no sources");
    }
    sources.iter().try_for_each(|source| print(described(source)))
}

/// What `/sources` answers, as far as it is shown.
#[derive(Deserialize)]
struct Listed {
    sources: Vec<OneSource>,
}

#[derive(Deserialize)]
struct OneSource {
    name: String,
    kind: String,
    state: String,
    since: String,
    lag_bytes: Option<u64>,
    lag_ms: Option<u64>,
    waits_for: Option<String>,
    tables: Vec<OneTable>,
    last_error: Option<LastError>,
}

#[derive(Deserialize)]
struct OneTable {
    name: String,
    origin: String,
    ready: bool,
    rows_copied: Option<u64>,
    rows_expected: Option<u64>,
}

#[derive(Deserialize)]
struct LastError {
    time: String,
    message: String,
    remedy: Option<String>,
}

// A source in a few lines.
fn described(source: &OneSource) -> String {
    let OneSource { name, kind, state, since, .. } = source;
    let mut out = format!("{name} ({kind}): {} since {since}\n", state.replace('_', " "));
    let lag = [(source.lag_bytes, "bytes"), (source.lag_ms, "ms")];
    let lag: Vec<String> = lag.iter().filter_map(|(lag, unit)| Some(format!("{} {unit}", (*lag)?))).collect();
    if !lag.is_empty() {
        let _ = writeln!(out, "  lag: {}", lag.join(", "));
    }
    if let Some(waits_for) = &source.waits_for {
        let _ = writeln!(out, "  waits for {waits_for}");
    }
    for OneTable { name, origin, ready, rows_copied, rows_expected } in &source.tables {
        let state = match (rows_copied, rows_expected) {
            (Some(rows), Some(expected)) => format!("{rows} of about {expected} rows copied"),
            (Some(rows), None) => format!("{rows} rows copied"),
            (None, _) if *ready => "whole".to_owned(),
            (None, _) => "to be copied".to_owned(),
        };
        let _ = writeln!(out, "  {name} (from {origin}): {state}");
    }
    if let Some(LastError { time, message, remedy }) = &source.last_error {
        let _ = writeln!(out, "  last error, {time}: {message}");
        for line in remedy.iter().flat_map(|remedy| remedy.lines()) {
            let _ = writeln!(out, "    {line}");
        }
    }
    out
}

fn failed(fault: Fault) -> Failure {
    Failure::Failed(match fault.remedy {
        Some(remedy) => format!("{}\n{remedy}", fault.message),
        None => fault.message,
    })
}
