//! Service files: parameters under a name ("The Connection Service File" of PostgreSQL's manual).

use super::{Env, conninfo::Params};
use riacho_core::source::machine::Fault;
use std::{
    fs,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

/// What the service that is asked for says of what is not given yet. Nothing where none is asked for.
pub(super) fn fill(params: &mut Params, env: Env<'_>) -> Result<(), Fault> {
    let Some(name) = params.text("service").or_else(|| env.get("PGSERVICE")) else { return Ok(()) };
    for file in files(params, env) {
        let Some(text) = read(&file)? else { continue };
        if fill_from(params, &text, &name).map_err(|line| malformed(&file, line))? {
            return Ok(());
        }
    }
    Err(Fault::needs_person(
        format!("no service file has the service `{name}` for PostgreSQL"),
        "add it to ~/.pg_service.conf, or name its file in PGSERVICEFILE",
    ))
}

// The user's own, then the system's: that of PGSYSCONFDIR, or Debian's.
fn files(params: &Params, env: Env<'_>) -> Vec<PathBuf> {
    let own = params.text("servicefile").or_else(|| env.get("PGSERVICEFILE")).map(PathBuf::from);
    let system = env.get("PGSYSCONFDIR").unwrap_or_else(|| SYSTEM.to_owned());
    let own = own.or_else(|| env.home(".pg_service.conf"));
    own.into_iter().chain([PathBuf::from(system).join("pg_service.conf")]).collect()
}

fn read(file: &Path) -> Result<Option<String>, Fault> {
    let failed = |err: &dyn std::fmt::Display| {
        Fault::evident(format!("the service file {} cannot be read: {err}", file.display()))
    };
    let opened = match fs::File::open(file) {
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|err| failed(&err))?,
    };
    let mut text = String::new();
    opened.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|err| failed(&err))?;
    Ok(Some(text))
}

/// Whether the service is there. Err: the number of a line that libpq does not understand.
pub(super) fn fill_from(params: &mut Params, text: &str, service: &str) -> Result<bool, usize> {
    let mut found = false;
    for (at, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            if found {
                break;
            }
            found = section.strip_suffix(']') == Some(service);
        } else if found {
            // No `service` in a service, as libpq.
            let (key, value) = line.split_once('=').ok_or(at + 1)?;
            if matches!(key, "service" | "servicefile") || !params.fill(key, value) {
                return Err(at + 1);
            }
        }
    }
    Ok(found)
}

fn malformed(file: &Path, line: usize) -> Fault {
    let message = format!("line {line} of the service file {} is none that libpq knows", file.display());
    Fault::needs_person(message, "write `name=value`, without spaces around `=`")
}

const SYSTEM: &str = "/etc/postgresql-common";
const FILE_BYTES_MAX: u64 = 1 << 20;
