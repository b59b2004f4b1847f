//! AWS's own files: `~/.aws/config` and `~/.aws/credentials`, as far as we need them.
//!
//! AWS SDKs and Tools Reference Guide, "Shared config and credentials files".

use reqsign_core::{Env as _, StaticEnv};
use std::{collections::HashMap, path::PathBuf};

/// What the two files say, by section: `profile NAME`, `sso-session NAME`, `services NAME`. A nested value's name has its
/// parent's before it: `dynamodb.endpoint_url`.
#[derive(Default)]
pub(super) struct Profiles(HashMap<String, HashMap<String, String>>);

impl Profiles {
    /// Reads them; a file that is not there says nothing.
    ///
    /// # Errors
    ///
    /// A file that is there and cannot be read: a sentence without a stop.
    pub(super) fn read(env: &StaticEnv) -> Result<Self, String> {
        let mut profiles = Self::default();
        for (variable, name, is_credentials) in
            [("AWS_CONFIG_FILE", "config", false), ("AWS_SHARED_CREDENTIALS_FILE", "credentials", true)]
        {
            let usual = || env.home_dir().map(|home| home.join(".aws").join(name));
            let asked = env.var(variable).map(|path| expand(&path, env));
            let Some(path) = asked.or_else(usual) else { continue };
            match std::fs::read(&path) {
                Ok(bytes) => profiles.add(&String::from_utf8_lossy(&bytes), is_credentials),
                Err(err) if err.kind() == std::io::ErrorKind::NotFound => {}
                Err(err) => return Err(format!("{} cannot be read: {err}", path.display())),
            }
        }
        Ok(profiles)
    }

    /// The values of a section, if it is there.
    pub(super) fn section(&self, kind: &str, name: &str) -> Option<&HashMap<String, String>> {
        self.0.get(&format!("{kind} {name}"))
    }

    fn add(&mut self, text: &str, is_credentials: bool) {
        let mut section: Option<String> = None;
        let mut parent: Option<String> = None;
        for line in text.lines() {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
                continue;
            }
            if let Some(header) = trimmed.strip_prefix('[') {
                let name = header.split(']').next().unwrap_or_default();
                section = Some(section_name(name, is_credentials));
                parent = None;
                self.0.entry(section_name(name, is_credentials)).or_default();
                continue;
            }
            let (Some(section), Some((name, value))) = (&section, trimmed.split_once('=')) else { continue };
            let (name, value) = (name.trim(), uncommented(value).trim());
            let nested = line.starts_with([' ', '\t']);
            let full = match &parent {
                Some(parent) if nested => format!("{parent}.{name}"),
                _ => name.to_owned(),
            };
            if !nested {
                parent = value.is_empty().then(|| name.to_owned());
            }
            self.0.entry(section.clone()).or_default().insert(full, value.to_owned());
        }
    }
}

fn section_name(header: &str, is_credentials: bool) -> String {
    let mut words = header.split_whitespace();
    match (words.next(), words.next()) {
        (Some(kind @ ("profile" | "sso-session" | "services")), Some(name)) if !is_credentials => {
            format!("{kind} {name}")
        }
        _ => format!("profile {}", header.trim()),
    }
}

fn uncommented(value: &str) -> &str {
    value.find(" #").or_else(|| value.find(" ;")).and_then(|at| value.get(..at)).unwrap_or(value)
}

/// A path with `~/`, of the home directory.
fn expand(path: &str, env: &StaticEnv) -> PathBuf {
    match (path.strip_prefix("~/"), env.home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}
