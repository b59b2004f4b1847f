//! `log inspect`, `log verify`, `log repair`: a log on disk, while no server runs on it.

use super::{Env, Failure, print, progress::Progress, settings::SettingArgs};
use clap::{Args, Subcommand};
use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

#[derive(Subcommand, Debug)]
pub(super) enum Log {
    /// Print what a log holds.
    Inspect(Place),
    /// Read all of a log and compare every checksum; exit code 1 if something is wrong.
    Verify(Place),
    /// Say what would make a damaged log readable again, and with --apply do it.
    Repair {
        /// Change the files. What is cut off is lost; keep a copy of the directory.
        #[arg(long)]
        apply: bool,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Args, Debug)]
pub(super) struct Place {
    /// The directory of the log; without it, the configured one.
    dir: Option<PathBuf>,
    /// The configuration file that names it.
    #[arg(long, value_name = "PATH", conflicts_with = "dir")]
    config: Option<PathBuf>,
}

impl Log {
    pub(super) fn run(self, env: &Env) -> Result<(), Failure> {
        match self {
            Self::Inspect(place) => report(offline::inspect(&place.dir(env)?)),
            Self::Verify(place) => {
                let dir = place.dir(env)?;
                let mut progress = Progress::new("verifying");
                let found = offline::verify(&dir, &mut |done, total| progress.at(done, total));
                progress.done();
                report(found)
            }
            Self::Repair { apply, place } => report(offline::repair(&place.dir(env)?, apply)),
        }
    }
}

impl Place {
    fn dir(self, env: &Env) -> Result<PathBuf, Failure> {
        match self.dir {
            Some(dir) => Ok(dir),
            None => Ok(SettingArgs::of_file(self.config).load_or_fail(env)?.log.data),
        }
    }
}

fn report(found: Result<impl Display, crate::error::Error>) -> Result<(), Failure> {
    match found {
        Ok(report) => print(format_args!("{}\n", report.to_string().trim_end())),
        Err(err) => Err(Failure::Failed(err.chain())),
    }
}

// PLUG IN HERE: this module goes, and `use crate::log::offline;` comes above. `verify` must give an error, or its report
// a way to tell, when something is wrong: then the exit code is 1.
mod offline {
    use super::Path;
    use crate::error::{Error, ErrorKind};

    fn missing(what: &str, dir: &Path) -> Result<String, Error> {
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("{what} {}: this build has no tools for logs yet", dir.display()),
        ))
    }

    pub(super) fn inspect(dir: &Path) -> Result<String, Error> {
        missing("inspect", dir)
    }

    pub(super) fn verify(dir: &Path, _progress: &mut dyn FnMut(u64, u64)) -> Result<String, Error> {
        missing("verify", dir)
    }

    pub(super) fn repair(dir: &Path, _apply: bool) -> Result<String, Error> {
        missing("repair", dir)
    }
}
