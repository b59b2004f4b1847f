//! Password files: lines `host:port:database:user:password` ("The Password File" of PostgreSQL's manual).

use super::super::super::settings::Secret;
use std::{
    fs::File,
    io::{ErrorKind, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// The password of a connection, by the first line that fits it. None too where the file is not there, or is open to
/// others than its owner: that is warned of.
pub(super) async fn find(file: &Path, host: &str, port: u16, database: &str, user: &str) -> Option<Secret> {
    let path = file.to_owned();
    let text = tokio::task::spawn_blocking(move || read(&path)).await.ok()??;
    // As libpq: the usual sockets are called like the machine.
    let host = if super::SOCKET_DIRECTORIES.contains(&host) { "localhost" } else { host };
    find_in(&text, &[host, &port.to_string(), database, user]).map(Secret)
}

fn read(path: &Path) -> Option<String> {
    let ignored = |error: String| tracing::warn!(file = %path.display(), error, "password file ignored");
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == ErrorKind::NotFound => return None,
        Err(err) => {
            ignored(err.to_string());
            return None;
        }
    };
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o077 != 0 {
        ignored("it must be a file that only its owner may read: chmod 0600".to_owned());
        return None;
    }
    let mut text = String::new();
    match file.by_ref().take(FILE_BYTES_MAX).read_to_string(&mut text) {
        Ok(_) => Some(text),
        Err(err) => {
            ignored(err.to_string());
            None
        }
    }
}

/// The password of the first line whose four fields fit.
pub(super) fn find_in(text: &str, wanted: &[&str; 4]) -> Option<String> {
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line;
        for wanted in wanted {
            let (field, after) = field(rest)?;
            if field != *wanted && !rest.starts_with("*:") {
                return None;
            }
            rest = after;
        }
        // A line may have more behind another colon.
        let password = field(rest).map_or_else(|| unescaped(rest), |(password, _)| password);
        (!password.is_empty()).then_some(password)
    })
}

// What is before the next colon, and what is behind it. `\:` and `\\` are a colon and a backslash.
fn field(text: &str) -> Option<(String, &str)> {
    let mut escaped = false;
    let (at, _) = text.char_indices().find(|(_, c)| {
        let ends = *c == ':' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    })?;
    Some((unescaped(text.get(..at)?), text.get(at + 1..)?))
}

fn unescaped(text: &str) -> String {
    let mut chars = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    plain
}

const FILE_BYTES_MAX: u64 = 1 << 20;
