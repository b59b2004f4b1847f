//! `source setup`, `source teardown`, `source check`: what a database needs before it can be a source.

use super::{Failure, print};
use crate::source::sqlite;
use clap::{Args, Subcommand};
use riacho_core::source::machine::Fault;
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub(super) enum Source {
    /// Make what notes changes: for SQLite, triggers and a table of changes in the file. Prints the SQL it ran.
    Setup {
        /// Only print the SQL that would be run.
        #[arg(long)]
        preview: bool,
        #[command(flatten)]
        tables: Tables,
    },
    /// Remove all that `setup` made.
    Teardown {
        /// The database.
        database: Database,
    },
    /// Say what is missing, and how to mend it; exit code 1 if a source could not run.
    Check(Tables),
}

#[derive(Args, Debug)]
pub(super) struct Tables {
    /// The database: `sqlite:` and the path of a file.
    database: Database,
    /// A table, or a pattern with `*`; may be repeated.
    #[arg(long = "table", value_name = "NAME", required = true)]
    tables: Vec<String>,
}

/// A database that is named on the command line.
#[derive(Clone, Debug)]
pub(super) enum Database {
    Sqlite(PathBuf),
}

impl std::str::FromStr for Database {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("sqlite:") {
            Some("") => Err("no path after `sqlite:`".to_owned()),
            Some(path) => Ok(Self::Sqlite(path.into())),
            None => Err("expected `sqlite:` and the path of a file, as in `sqlite:shop.db`".to_owned()),
        }
    }
}

impl Source {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Setup { preview, tables: Tables { database: Database::Sqlite(path), tables } } => {
                let run = if preview { sqlite::preview } else { sqlite::setup };
                print(run(&path, &tables).map_err(failed)?)
            }
            Self::Teardown { database: Database::Sqlite(path) } => {
                print(sqlite::teardown(&path).map_err(failed)?)
            }
            Self::Check(Tables { database: Database::Sqlite(path), tables }) => {
                report(&sqlite::check(&path, &tables))
            }
        }
    }
}

fn report(findings: &[crate::source::Finding]) -> Result<(), Failure> {
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

fn failed(fault: Fault) -> Failure {
    Failure::Failed(match fault.remedy {
        Some(remedy) => format!("{}\n{remedy}", fault.message),
        None => fault.message,
    })
}
