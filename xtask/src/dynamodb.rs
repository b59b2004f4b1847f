//! Emulators of DynamoDB: Amazon's in `target/dynamodb-local`, fetched by Maven and never part of anything of ours, as its
//! licence has it, and moto in `target/moto`, fetched by pip. Nothing is done where they are there already.

use crate::{
    command::{command, output, root, run as run_command, target},
    postgres::emptied,
};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Puts both where the tests find them.
pub(crate) fn install() -> Result<()> {
    install_local()?;
    install_moto()
}

/// Has one of them there, Amazon's if that can be, and says where.
pub(crate) fn install_one() -> Result<PathBuf> {
    install_local()?;
    let place = local();
    if place.join("version").exists() {
        return Ok(place);
    }
    install_moto()?;
    Ok(moto())
}

fn local() -> PathBuf {
    target().join("dynamodb-local")
}

fn moto() -> PathBuf {
    target().join("moto")
}

fn install_local() -> Result<()> {
    let place = local();
    let stamp = place.join("version");
    // What is ours is compiled again where it has changed.
    let version = format!("{LOCAL}\n{}", include_str!("dynamodb/Loopback.java"));
    if fs::read_to_string(&stamp).is_ok_and(|found| found == version) {
        return Ok(());
    }
    eprintln!("installing DynamoDB Local {LOCAL} in {}", place.display());
    emptied(&place)?;
    if let Err(err) = fetch_local(&place) {
        // Nowhere but on a machine without Maven Central may the tests do without it.
        if std::env::var_os("CI").is_some() {
            return Err(err);
        }
        eprintln!("SKIPPED: tests with DynamoDB Local: {err:#}");
        let skipped = place.join("skipped");
        return fs::write(&skipped, format!("{err:#}\n"))
            .with_context(|| format!("failed to write {}", skipped.display()));
    }
    let jar = place.join("lib").join(format!("DynamoDBLocal-{LOCAL}.jar"));
    let found = output("sha256sum", &["--binary", text(&jar)?])?;
    if !found.starts_with(LOCAL_SHA256) {
        bail!(
            "DynamoDB Local {LOCAL} is not what is pinned: expected {LOCAL_SHA256}, found {}",
            found.trim()
        );
    }
    let mut javac = command("javac", &["-cp", &format!("{}/lib/*", text(&place)?), "-d"]);
    run_command(javac.arg(place.join("classes")).arg(root().join("xtask/src/dynamodb/Loopback.java")))?;
    fs::write(&stamp, version).with_context(|| format!("failed to write {}", stamp.display()))
}

fn fetch_local(place: &Path) -> Result<()> {
    let pom = place.join("pom.xml");
    fs::write(&pom, POM.replace("VERSION", LOCAL))
        .with_context(|| format!("failed to write {}", pom.display()))?;
    let mut maven =
        command("mvn", &["--batch-mode", "--quiet", "--file", text(&pom)?, COPY, "-DincludeScope=runtime"]);
    run_command(maven.arg(format!("-DoutputDirectory={}/lib", place.display())))
}

fn install_moto() -> Result<()> {
    let place = moto();
    let stamp = place.join("version");
    let versions = include_str!("dynamodb/moto.txt");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == versions) {
        return Ok(());
    }
    eprintln!("installing moto in {}", place.display());
    emptied(&place)?;
    run_command(&mut command("python3", &["-m", "venv", text(&place)?]))?;
    let pip = place.join("bin/pip");
    let quiet =
        ["install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps", "--requirement"];
    run_command(command(text(&pip)?, &quiet).arg("xtask/src/dynamodb/moto.txt"))?;
    fs::write(&stamp, versions).with_context(|| format!("failed to write {}", stamp.display()))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the path of target is no UTF-8")
}

const LOCAL: &str = "2.6.1";
const LOCAL_SHA256: &str = "a28d8b4919999b7dee6ffa9fd4e9a08744460657a9bd3e3499e3aad00e1f2cc4";
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies";
const POM: &str = "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">
  <modelVersion>4.0.0</modelVersion>
  <groupId>riacho</groupId>
  <artifactId>dynamodb-local</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>com.amazonaws</groupId>
      <artifactId>DynamoDBLocal</artifactId>
      <version>VERSION</version>
    </dependency>
  </dependencies>
</project>
";
