//! Examples of several programs, started on this machine.

use crate::{
    command::{command, root, run as run_command, target},
    dynamodb, setup,
};
use anyhow::{Context, Result, bail};
use std::os::unix::process::CommandExt as _;

/// Starts an example, on emulators, until Ctrl-C.
pub(crate) fn run(name: &str) -> Result<()> {
    if name != PANEL {
        bail!("no such example: {name}; there is {PANEL}");
    }
    let emulator = dynamodb::install_one()?;
    setup::node_modules(&format!("examples/{PANEL}"))?;
    run_command(&mut command("cargo", &["build", "--bin", "riacho"]))?;
    let mut node = command("node", &["try.js"]);
    node.current_dir(root().join("examples").join(PANEL));
    node.env("DYNAMODB", emulator).env("RIACHO_BIN", target().join("debug/riacho"));
    // It takes the place of this process: Ctrl-C is for it to handle, and the shell waits until it has.
    Err(node.exec()).context("failed to start node")
}

const PANEL: &str = "admin-panel";
