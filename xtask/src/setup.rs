//! What the machine needs for the tests: Debian packages, node modules, other versions of
//! PostgreSQL, and emulators of DynamoDB.
//!
//! Only what is missing is installed, and only as root; otherwise it is named and nothing is changed.

use crate::{
    command::{command, output, run as run_command, succeeds},
    dynamodb, postgres,
};
use anyhow::{Result, bail};
use std::{
    error::Error,
    fmt::{self, Display, Formatter},
    path::Path,
};

/// Programs that are not there, and may not be installed by this user.
#[derive(Debug)]
pub(crate) struct Missing(Vec<&'static str>);

impl Display for Missing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "the tests need Debian packages; please run: sudo apt-get install {}", self.0.join(" "))
    }
}

impl Error for Missing {}

pub(crate) fn run() -> Result<()> {
    let mut missing: Vec<_> = PROGRAMS
        .iter()
        .filter(|(_, places)| {
            !places.iter().any(|place| Path::new(place).exists() || succeeds(place, &["--version"]))
        })
        .map(|(package, _)| *package)
        .collect();
    // Debian's Python comes without what makes an environment.
    if !succeeds("python3", &["-c", "import ensurepip, venv"]) {
        missing.push("python3-venv");
    }
    if !missing.is_empty() {
        if output("id", &["-u"])?.trim() != "0" {
            return Err(Missing(missing).into());
        }
        install_packages(&missing)?;
    }
    let version = output("node", &["--version"])?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major < NODE_MIN) {
        bail!("the browser tests need node {NODE_MIN} or newer, and this is {}", version.trim());
    }
    node_modules("tests/browser")?;
    node_modules("examples/admin-panel")?;
    postgres::install()?;
    dynamodb::install()
}

/// Installs what `directory` of the repository needs of npm, as its lock file has it.
pub(crate) fn node_modules(directory: &str) -> Result<()> {
    let mut npm =
        command("npm", &["--prefix", directory, "ci", "--prefer-offline", "--no-audit", "--no-fund"]);
    run_command(npm.arg("--loglevel=error").env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1"))
}

/// Installs Debian packages, as root.
pub(crate) fn install_packages(packages: &[&str]) -> Result<()> {
    eprintln!("installing {}", packages.join(" "));
    run_command(apt().arg("update"))?;
    run_command(apt().args(["install", "--yes", "--no-install-recommends"]).args(packages))
}

/// No questions, and no nginx of its own on port 80: in run level 1 packages do not start their services.
fn apt() -> std::process::Command {
    let mut apt = command("apt-get", &["--quiet", "--quiet"]);
    apt.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    apt
}

/// Debian packages, and where to find what is in them.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("chromium", &["/usr/bin/chromium"]),
    ("curl", &["curl"]),
    // Runs DynamoDB Local, and compiles the few lines that keep it on this machine; a client for Java.
    ("default-jdk-headless", &["javac"]),
    // Go 1.24 or newer: it says so itself where it is older.
    ("golang-go", &["/usr/local/go/bin/go", "/usr/bin/go"]),
    ("haproxy", &["/usr/sbin/haproxy"]),
    ("jq", &["jq"]),
    // Fetches other versions of PostgreSQL, DynamoDB Local, and a client for Java.
    ("maven", &["mvn"]),
    ("nginx-light", &["/usr/sbin/nginx"]),
    ("nodejs", &["node"]),
    ("npm", &["npm"]),
    // Certificates for tests of TLS.
    ("openssl", &["/usr/bin/openssl"]),
    ("php-cli", &["php"]),
    ("php-curl", &["/usr/lib/php/20220829/curl.so", "/usr/lib/php/20240924/curl.so"]),
    // Of Debian 12 and 13; its own cluster is not used, and in run level 1 not started.
    ("postgresql", &["/usr/lib/postgresql/15/bin/initdb", "/usr/lib/postgresql/17/bin/initdb"]),
    (
        "python3-venv",
        &["/usr/lib/python3.11/ensurepip/__init__.py", "/usr/lib/python3.13/ensurepip/__init__.py"],
    ),
    ("sqlite3", &["sqlite3"]),
    ("strace", &["strace"]),
    ("unzip", &["/usr/bin/unzip"]),
    ("xz-utils", &["xz"]),
];

const NODE_MIN: u32 = 20;
