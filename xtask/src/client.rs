//! The JavaScript client: its package and tests, and the build of it that the server has in it.

use crate::command::{command, root, run as run_command, target};
use anyhow::{Context, Result, bail};
use std::{fs, path::PathBuf};

/// Builds the client and puts its scripts where the server takes them from.
pub(crate) fn renew() -> Result<()> {
    for args in [INSTALL, BUILD] {
        npm(args)?;
    }
    for name in SCRIPTS {
        let asset = asset(name);
        fs::copy(built(name), &asset).with_context(|| format!("failed to write {}", asset.display()))?;
    }
    Ok(())
}

/// The client's package as it would be published, and its tests against the real binary.
pub(crate) fn test() -> Result<()> {
    npm(INSTALL)?;
    npm(BUILD)?;
    fresh()?;
    run_command(&mut command("cargo", &["build", "--bin", "riacho"]))?;
    for args in [&["run", "check"][..], &["test"], &["run", "pack:check"]] {
        npm(args)?;
    }
    Ok(())
}

/// Tabs that come and go over faults, in Chromium, for so many minutes.
pub(crate) fn soak(minutes: u32) -> Result<()> {
    for args in [INSTALL, BUILD] {
        npm(args)?;
    }
    run_command(&mut command("cargo", &["build", "--bin", "riacho"]))?;
    let mut npx = command("npx", &["vitest", "run", "test/soak.test.ts"]);
    npx.current_dir(root().join("clients/js")).env("RIACHO_BIN", target().join("debug/riacho"));
    run_command(npx.env("SOAK_MINUTES", minutes.to_string()))
}

/// What the server has in it must be what was built just now.
fn fresh() -> Result<()> {
    for name in SCRIPTS {
        let read =
            |path: PathBuf| fs::read(&path).with_context(|| format!("failed to read {}", path.display()));
        if read(built(name))? != read(asset(name))? {
            bail!(
                "crates/riacho/assets/{name} is not what clients/js builds; to renew it: cargo xtask client"
            );
        }
    }
    Ok(())
}

fn npm(args: &[&str]) -> Result<()> {
    let mut npm = command("npm", args);
    run_command(npm.current_dir(root().join("clients/js")).env("RIACHO_BIN", target().join("debug/riacho")))
}

fn built(name: &str) -> PathBuf {
    root().join("clients/js/dist").join(name)
}

fn asset(name: &str) -> PathBuf {
    root().join("crates/riacho/assets").join(name)
}

const INSTALL: &[&str] = &["ci", "--no-audit", "--no-fund", "--loglevel=error"];
const BUILD: &[&str] = &["run", "build"];
const SCRIPTS: [&str; 2] = ["riacho.js", "riacho.global.js"];
