//! Chromium and nginx against the real binary.

use crate::command::{command, root, run as run_command, target};
use anyhow::Result;

/// Runs all of `tests/browser`, or the files `names` of it.
pub(crate) fn run(names: &[&str]) -> Result<()> {
    run_command(&mut command("cargo", &["build", "--bin", "riacho"]))?;
    // One file after the other: a browser is worth a core.
    let mut node = command("node", &["--test", "--test-concurrency=1", "--test-reporter=spec"]);
    node.args(names)
        .current_dir(root().join("tests/browser"))
        .env("RIACHO_BIN", target().join("debug/riacho"));
    if std::env::var_os("SCREENSHOTS").is_none() {
        node.env("SCREENSHOTS", target().join("screenshots"));
    }
    run_command(&mut node)
}
