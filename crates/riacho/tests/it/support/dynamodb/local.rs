//! DynamoDB Local 2.6.1: Amazon's own emulator, on a port of 127.0.0.1. `cargo xtask setup` fetches it.
//!
//! Known to differ from the service: no `TableId`, no `AT_TIMESTAMP`, one shard unless the stream is enabled again or four
//! hours go by, `userIdentity` of TTL's deletes only.

use super::program::Program;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A running emulator; all its clients see the same tables.
pub(crate) struct Local {
    program: Option<Program>,
    port: u16,
    data: Option<tempfile::TempDir>,
}

impl Local {
    /// In memory. None, which is said, where it could not be fetched.
    pub(crate) async fn start() -> Option<Self> {
        Some(Self { program: None, port: 0, data: None }.begin(installed()?).await)
    }

    /// With files, so that its tables outlive [`Local::restart`]. None, which is said, where it could not be fetched.
    pub(crate) async fn start_on_disk() -> Option<Self> {
        let data = tempfile::Builder::new().prefix("dynamodb-local").tempdir().unwrap();
        Some(Self { program: None, port: 0, data: Some(data) }.begin(installed()?).await)
    }

    /// `http://127.0.0.1:PORT`, of tables and streams.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills it, whatever it is doing.
    pub(crate) fn kill(&mut self) {
        self.program = None;
    }

    /// Kills it and starts it at the same port; what was in memory is gone.
    pub(crate) async fn restart(mut self) -> Self {
        self.kill();
        self.begin(installed().expect("it was there")).await
    }

    async fn begin(mut self, at: PathBuf) -> Self {
        let (port, data) = (self.port.to_string(), self.data.as_ref().map(|data| data.path().to_owned()));
        let args = |java: &mut std::process::Command| {
            java.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
            java.arg(format!("-Djava.library.path={}", at.join("lib").display()));
            java.arg("-cp").arg(format!("{0}/classes:{0}/lib/*", at.display()));
            java.args(["Loopback", &port, "-sharedDb", "-disableTelemetry"]);
            match &data {
                Some(data) => java.arg("-dbPath").arg(data),
                None => java.arg("-inMemory"),
            };
        };
        let (program, port) = Program::start("java", args, "listening on ").await;
        (self.program, self.port) = (Some(program), port);
        self
    }
}

/// Where it is.
fn installed() -> Option<PathBuf> {
    let at = target().join("dynamodb-local");
    if at.join("version").exists() {
        return Some(at);
    }
    let why = fs::read_to_string(at.join("skipped")).expect("DynamoDB Local is installed: cargo xtask setup");
    println!("SKIPPED: no DynamoDB Local: {why}");
    None
}

/// The directory in which cargo builds, where `cargo xtask setup` puts what it fetches.
pub(super) fn target() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}
