//! Settings as flags, from the table of settings.

use super::{Env, Failure};
use crate::config::{self, CONFIG, Config, SOURCE, SOURCE_SETUP, SOURCE_TABLE, Setting, Shape};
use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, builder::PossibleValuesParser, error::Error,
    parser::ValueSource,
};
use std::path::PathBuf;

/// The settings given as flags.
#[derive(Clone, Default, Debug)]
pub(super) struct SettingArgs {
    given: Vec<(String, String)>,
    config: Option<PathBuf>,
}

impl SettingArgs {
    /// No flags but the file, for commands that need little of it.
    pub(super) fn of_file(config: Option<PathBuf>) -> Self {
        Self { given: Vec::new(), config }
    }

    /// The configuration with these flags on top.
    pub(super) fn load(self, env: &Env) -> Result<Config, config::Problems> {
        config::load(&self.given, self.config, env)
    }

    /// The same, where a wrong configuration is the end.
    pub(super) fn load_or_fail(self, env: &Env) -> Result<Config, Failure> {
        self.load(env).map_err(|problems| Failure::Usage(problems.to_string()))
    }
}

impl Args for SettingArgs {
    fn augment_args(command: Command) -> Command {
        flagged().fold(command.next_help_heading("Settings"), |command, (setting, flag)| {
            let arg =
                Arg::new(setting.name).long(flag).help(help(setting)).value_name(setting.shape.placeholder());
            command.arg(match setting.shape.words() {
                Some(words) => arg.value_parser(PossibleValuesParser::new(words)),
                // `--anonymous` alone is enough, and `--anonymous=false` can take back what the file says.
                None if setting.shape == Shape::Flag => {
                    arg.num_args(0..=1).require_equals(true).default_missing_value("true")
                }
                None if setting.name == SOURCE_TABLE.name => arg.action(ArgAction::Append),
                None => arg,
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for (setting, _) in flagged() {
            if matches.value_source(setting.name) != Some(ValueSource::CommandLine) {
                continue;
            }
            let Some(values) = matches.get_many::<String>(setting.name) else { continue };
            let value = values.map(String::as_str).collect::<Vec<_>>().join(",");
            match setting.name == CONFIG.name {
                true => self.config = Some(value.into()),
                false => self.given.push((setting.name.to_owned(), value)),
            }
        }
        Ok(())
    }
}

fn flagged() -> impl Iterator<Item = (&'static Setting, &'static str)> {
    [&CONFIG, &SOURCE, &SOURCE_TABLE, &SOURCE_SETUP]
        .into_iter()
        .chain(config::settings())
        .filter_map(|setting| Some((setting, setting.flag?)))
}

fn help(setting: &Setting) -> String {
    let doc: Vec<_> = setting.doc().lines().map(str::trim).collect();
    let default = match setting.default {
        "" => String::new(),
        default => format!("default: {default}, "),
    };
    format!("{} [{default}{}]", doc.join(" "), setting.env())
}
