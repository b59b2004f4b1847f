//! Builds and installs what takes part. Nothing here is measured, and nothing is installed that was not asked for.

use super::{
    options::{Options, Size},
    peer::{DURABLE_STREAMS, Peer},
    stage::{Stage, directory},
};
use crate::{
    command::{command, root, run as run_command, succeeds, target},
    setup::install_packages,
};
use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Peers that cannot take part, and why.
pub(super) type Absent = BTreeMap<String, String>;

/// Builds Riacho and the peers, and tells which peers are not there.
pub(super) fn all(options: &Options) -> Result<Absent> {
    fs::create_dir_all(directory()).context("failed to create a directory for the benchmark")?;
    let profile: &[&str] = if options.size == Size::Quick { &[] } else { &["--release"] };
    run_command(command("cargo", &["build", "--quiet", "--bin", "riacho"]).args(profile))?;
    if !succeeds("ip", &["-V"]) && super::machine::is_root() {
        install_packages(&["iproute2"])?;
    }
    let mut absent = Absent::new();
    let mut done = Vec::new();
    for peer in Peer::ALL {
        if !options.takes(peer) || done.contains(&peer.name()) {
            continue;
        }
        done.push(peer.name());
        if let Err(err) = one(peer, profile) {
            eprintln!("{} does not take part: {err:#}", peer.name());
            absent.insert(peer.name().to_owned(), format!("{err:#}"));
        }
    }
    Ok(absent)
}

/// Where things were put by [`all`].
pub(super) fn stage(options: &Options, isolated: bool) -> Stage {
    let built = target().join(if options.size == Size::Quick { "debug" } else { "release" });
    let peers = directory().join("peers").join(if options.size == Size::Quick { "debug" } else { "release" });
    let client = built.join("riacho");
    Stage {
        riacho: options.riacho.clone().unwrap_or_else(|| client.clone()),
        client,
        peers,
        mercure: options.mercure.clone(),
        centrifugo: options.centrifugo.clone(),
        directory: directory().join("run"),
        isolated,
    }
}

fn one(peer: Peer, profile: &[&str]) -> Result<()> {
    match peer {
        Peer::Riacho | Peer::RiachoDurable | Peer::Mercure | Peer::Centrifugo => Ok(()),
        Peer::Limit | Peer::Axum => peers(profile),
        Peer::Nchan if Path::new("/usr/lib/nginx/modules/ngx_nchan_module.so").exists() => Ok(()),
        Peer::Nchan => packages(&["nginx-light", "libnginx-mod-nchan"]),
        Peer::DurableStreams | Peer::DurableStreamsWal => durable_streams(),
        Peer::Node => node().map(drop),
        Peer::BetterSse => better_sse(),
        Peer::Databases => databases(),
    }
}

/// What the tests need too, but for the shell of SQLite.
fn databases() -> Result<()> {
    if super::database::programs().is_ok() && succeeds("sqlite3", &["--version"]) {
        return Ok(());
    }
    packages(&["postgresql", "sqlite3"])
}

/// The small servers of `bench/peers`.
fn peers(profile: &[&str]) -> Result<()> {
    let mut cargo = command("cargo", &["build", "--quiet", "--locked", "--bins", "--manifest-path"]);
    cargo.arg("bench/peers/Cargo.toml").arg("--target-dir").arg(directory().join("peers")).args(profile);
    run_command(&mut cargo)
}

/// Installs Debian packages, or says which are needed.
pub(super) fn packages(names: &[&'static str]) -> Result<()> {
    if !super::machine::is_root() {
        bail!("please run: sudo apt-get install {}", names.join(" "));
    }
    install_packages(names)
}

fn durable_streams() -> Result<()> {
    let place = directory().join("durable-streams");
    if fs::read_to_string(place.join(".crates.toml"))
        .is_ok_and(|text| text.contains(&format!("durable-streams {DURABLE_STREAMS} ")))
    {
        return Ok(());
    }
    let mut cargo = command("cargo", &["install", "durable-streams", "--locked", "--quiet", "--version"]);
    cargo.arg(DURABLE_STREAMS).arg("--root").arg(&place);
    cargo.arg("--target-dir").arg(directory().join("durable-streams-build"));
    run_command(&mut cargo)
}

/// Copies the Node servers to where their modules may be installed.
fn node() -> Result<PathBuf> {
    if !succeeds("node", &["--version"]) {
        packages(&["nodejs", "npm"])?;
    }
    let place = directory().join("node");
    fs::create_dir_all(&place).context("failed to create a directory for Node")?;
    for entry in fs::read_dir(root().join("bench/peers/node"))? {
        let entry = entry?;
        if entry.path().is_file() {
            fs::copy(entry.path(), place.join(entry.file_name()))?;
        }
    }
    Ok(place)
}

fn better_sse() -> Result<()> {
    let place = node()?;
    let mut npm = command("npm", &["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
    run_command(npm.current_dir(place))
}
