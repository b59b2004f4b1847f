//! Rules of the repository that no compiler checks. Each finding names the file, so one run shows all of them.

use crate::command::{output, root};
use anyhow::{Context, Result, bail};
use std::{fs, path::Path};

/// Checks every file git knows or would add, and fails with all findings.
pub(crate) fn run() -> Result<()> {
    let listed = output("git", &["ls-files", "--cached", "--others", "--exclude-standard", "-z"])?;
    let mut files = Vec::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        // A file may be deleted and not yet committed so.
        if root().join(path).is_file() {
            let bytes = fs::read(root().join(path)).with_context(|| format!("failed to read {path}"))?;
            files.push(File { path: path.to_owned(), bytes });
        }
    }
    let mut findings = Vec::new();
    for file in &files {
        each_file(file, &mut findings);
    }
    architecture(&files, &mut findings);
    vectors(&files, &mut findings);
    generated(&files, &mut findings);
    if findings.is_empty() {
        eprintln!("{} files are tidy", files.len());
        return Ok(());
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    bail!("{} findings", findings.len())
}

struct File {
    path: String,
    bytes: Vec<u8>,
}

impl File {
    fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }

    fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }
}

fn each_file(file: &File, findings: &mut Vec<String>) {
    let path = &file.path;
    if file.bytes.len() > FILE_BYTES_MAX {
        findings.push(format!("{path}: {} bytes are more than {FILE_BYTES_MAX}", file.bytes.len()));
    }
    let Some(text) = file.text() else { return };
    if file.is("rs") && !text.trim_start_matches(SHEBANG_OR_ATTRIBUTES).starts_with("//!") {
        findings
            .push(format!("{path}: begins without `//!`: say what the module owns and what it must not do"));
    }
    // These name what is forbidden.
    if path.starts_with("xtask/src/tidy") || path == "STYLE.md" {
        return;
    }
    for (number, line) in (1..).zip(text.lines()) {
        if line.contains("FIXME") {
            findings.push(format!("{path}:{number}: FIXME may not be merged"));
        }
        if line
            .match_indices("TODO")
            .any(|(at, word)| !has_issue(line.get(at + word.len()..).unwrap_or_default()))
        {
            findings.push(format!("{path}:{number}: TODO without the number of its issue, as in TODO(#12)"));
        }
        if line.contains("/work/") {
            findings.push(format!("{path}:{number}: a path of one machine"));
        }
    }
}

/// Whether what follows `TODO` is the number of an issue: `(#12)` or ` #12`.
fn has_issue(rest: &str) -> bool {
    let rest = rest.strip_prefix('(').or_else(|| rest.strip_prefix(' ')).unwrap_or(rest);
    rest.strip_prefix('#').is_some_and(|number| number.starts_with(|digit: char| digit.is_ascii_digit()))
}

/// Every crate is in ARCHITECTURE.md, and every path it names in backquotes exists.
fn architecture(files: &[File], findings: &mut Vec<String>) {
    let Some(text) = files.iter().find(|file| file.path == "ARCHITECTURE.md").and_then(File::text) else {
        findings.push("ARCHITECTURE.md: is missing".to_owned());
        return;
    };
    for manifest in files.iter().filter_map(|file| file.path.strip_suffix("/Cargo.toml")) {
        let name = manifest.rsplit('/').next().unwrap_or(manifest);
        if !text.contains(&format!("`{name}`")) && !text.contains(&format!("`{manifest}")) {
            findings.push(format!("ARCHITECTURE.md: says nothing of the crate `{name}`"));
        }
    }
    for name in text.split('`').skip(1).step_by(2) {
        let is_path = name.contains('/') && PATH_ROOTS.iter().any(|top| name.starts_with(top));
        if is_path && !name.contains(['*', '{', ' ']) && !root().join(name).exists() {
            findings.push(format!("ARCHITECTURE.md: `{name}` does not exist"));
        }
    }
}

/// Every file of test vectors is read by a test.
fn vectors(files: &[File], findings: &mut Vec<String>) {
    for vector in files.iter().filter(|file| file.path.starts_with("spec/vectors/") && file.is("json")) {
        let name = vector.path.rsplit('/').next().unwrap_or_default();
        if !files.iter().any(|file| {
            (file.is("rs") || file.is("ts")) && file.text().is_some_and(|text| text.contains(name))
        }) {
            findings.push(format!("{}: no test reads it", vector.path));
        }
    }
}

/// The documents that are made from code have a test that compares them; here only that it is there.
fn generated(files: &[File], findings: &mut Vec<String>) {
    for document in GENERATED {
        let exists = files.iter().any(|file| file.path == *document);
        let name = document.rsplit('/').next().unwrap_or_default();
        let tested = files.iter().any(|file| {
            file.is("rs")
                && file.path != "xtask/src/tidy.rs"
                && file.text().is_some_and(|text| text.contains(name))
        });
        if exists && !tested {
            findings.push(format!("{document}: no test says whether it is fresh"));
        }
    }
}

const FILE_BYTES_MAX: usize = 512 * 1024;

/// What may stand before `//!`.
const SHEBANG_OR_ATTRIBUTES: &[char] = &['\u{feff}', '\n'];

const PATH_ROOTS: &[&str] =
    &["bench/", "crates/", "xtask/", "spec/", "fuzz/", "demo/", "tests/", "clients/", "docs/"];

const GENERATED: &[&str] = &["riacho.example.toml", "docs/config.md"];

#[cfg(test)]
mod tests;
