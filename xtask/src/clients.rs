//! Others' clients, our own in other runtimes, and the examples of publishing, against the real binary.

use crate::command::{command, root, run as run_command, target};
use anyhow::Result;

/// Runs all of `tests/clients`, or the files `names` of it.
pub(crate) fn run(names: &[&str]) -> Result<()> {
    run_command(&mut command("cargo", &["build", "--bin", "riacho"]))?;
    let mut node = command("sh", &["tests/clients/run.sh"]);
    run_command(node.args(names).current_dir(root()).env("RIACHO_BIN", target().join("debug/riacho")))
}
