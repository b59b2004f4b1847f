//! The configuration of this process: the one place in `config` that opens a file.

use super::{Config, Problems, SettingsFile, shape::Setting, table::CONFIG};
use std::{ffi::OsString, fs, io::ErrorKind, path::PathBuf};

/// [`Config::from_parts`] with the file that `--config`, `RIACHO_CONFIG` or the working directory gives.
///
/// # Errors
/// All that is wrong with the settings, or why the file cannot be read.
pub fn load(
    args: &[(String, String)],
    path: Option<PathBuf>,
    env: &[(OsString, OsString)],
) -> Result<Config, Problems> {
    Config::from_parts(args, env, file(path, env)?.as_ref())
}

fn file(path: Option<PathBuf>, env: &[(OsString, OsString)]) -> Result<Option<SettingsFile>, Problems> {
    let variable = Setting::env(&CONFIG);
    let from_env = || env.iter().find(|(name, _)| *name == *variable).map(|(_, path)| PathBuf::from(path));
    let named = path.or_else(from_env);
    let must_exist = named.is_some();
    let path = named.unwrap_or_else(|| CONFIG.default.into());
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(SettingsFile { path, text })),
        Err(err) if err.kind() == ErrorKind::NotFound && !must_exist => Ok(None),
        Err(err) => Err(Problems::one(path.display(), format!("cannot read the configuration: {err}"))),
    }
}
