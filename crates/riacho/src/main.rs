//! The `riacho` binary: arguments, environment and exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    riacho::cli::run(std::env::args_os(), std::env::vars_os().collect())
}
