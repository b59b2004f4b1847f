//! `log inspect`, `log verify`, `log repair`: a log on disk, while no server runs on it.

use super::{Env, Failure, print, progress::Progress, settings::SettingArgs};
use crate::log::{offline, store::StdDisk};
use clap::{Args, Subcommand};
use std::{fmt::Display, path::PathBuf};

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
        /// Also end continuity, as after restoring an older copy: readers that come with a cursor are told, and get all
        /// that is kept.
        #[arg(long)]
        new_epoch: bool,
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
            Self::Inspect(place) => report(&offline::inspect(&place.disk(env)?).map_err(failed)?),
            Self::Verify(place) => {
                let disk = place.disk(env)?;
                let mut progress = Progress::new("verifying");
                let found = offline::verify(&disk, &mut |done, total| progress.at(done, total));
                progress.done();
                let found = found.map_err(failed)?;
                report(&found)?;
                if found.problems.is_empty() {
                    return Ok(());
                }
                Err(Failure::Failed(
                    "the log is damaged; `riacho log repair` says what can be kept".to_owned(),
                ))
            }
            Self::Repair { apply, new_epoch, place } => {
                let disk = place.disk(env)?;
                report(&offline::repair(&disk, apply, new_epoch, crate::log::random()).map_err(failed)?)
            }
        }
    }
}

impl Place {
    fn disk(self, env: &Env) -> Result<StdDisk, Failure> {
        let dir = match self.dir {
            Some(dir) => dir,
            None => SettingArgs::of_file(self.config).load_or_fail(env)?.log.data,
        };
        // Opening would make a log where there is none.
        if !dir.is_dir() {
            return Err(Failure::Failed(format!("there is no log at {}", dir.display())));
        }
        StdDisk::new(&dir).map_err(|err| Failure::Failed(format!("cannot open {}: {err}", dir.display())))
    }
}

fn report(report: &impl Display) -> Result<(), Failure> {
    print(format_args!("{}\n", report.to_string().trim_end()))
}

fn failed(err: crate::error::Error) -> Failure {
    Failure::Failed(err.chain())
}
