//! The servers that are compared: how each is started, and how the load client speaks to it.
//!
//! Their configurations are in `bench/peers`, with the reasons. What cannot be compared says why.

use super::{http, server::Server, stage::Stage};
use crate::command::{output, root};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A server, in the way it is run. The order is that of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    /// Riacho with events in memory.
    Riacho,
    /// Riacho with events on disk before they are answered for.
    RiachoDurable,
    /// The bare send loop.
    Limit,
    /// axum's `Sse` over a broadcast channel.
    Axum,
    /// nginx with nchan.
    Nchan,
    /// `durable-streams` with its log in memory only.
    DurableStreams,
    /// The same with its write-ahead log.
    DurableStreamsWal,
    /// Node's `http`.
    Node,
    /// `better-sse` on Node.
    BetterSse,
    Mercure,
    Centrifugo,
    /// What comes with the databases: `psql`, `pg_recvlogical`. No server, but what sources are measured against.
    Databases,
}

impl Peer {
    pub(super) const ALL: [Self; 12] = [
        Self::Riacho,
        Self::RiachoDurable,
        Self::Limit,
        Self::Axum,
        Self::Nchan,
        Self::DurableStreams,
        Self::DurableStreamsWal,
        Self::Node,
        Self::BetterSse,
        Self::Mercure,
        Self::Centrifugo,
        Self::Databases,
    ];

    /// What `--peers` calls it; both ways of running one program have one name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Riacho | Self::RiachoDurable => "riacho",
            Self::Limit => "limit",
            Self::Axum => "axum",
            Self::Nchan => "nchan",
            Self::DurableStreams | Self::DurableStreamsWal => "durable-streams",
            Self::Node => "node",
            Self::BetterSse => "better-sse",
            Self::Mercure => "mercure",
            Self::Centrifugo => "centrifugo",
            Self::Databases => "databases",
        }
    }

    /// What tables call it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Riacho => "Riacho",
            Self::RiachoDurable => "Riacho, durable",
            Self::Limit => "bare send loop",
            Self::Axum => "axum `Sse`",
            Self::Nchan => "nchan",
            Self::DurableStreams => "durable-streams",
            Self::DurableStreamsWal => "durable-streams, wal",
            Self::Node => "Node `http`",
            Self::BetterSse => "better-sse",
            Self::Mercure => "Mercure",
            Self::Centrifugo => "Centrifugo",
            Self::Databases => "PostgreSQL",
        }
    }

    /// Whether nothing is needed but this repository, and what its tests need.
    pub(super) fn is_of_the_tree(self) -> bool {
        matches!(self, Self::Riacho | Self::RiachoDurable | Self::Limit | Self::Axum | Self::Databases)
    }

    /// Where a subscriber of the stream `name` asks.
    pub(super) fn subscribe_path(self, name: &str) -> String {
        match self {
            Self::Riacho => format!("/streams/memory/{name}"),
            Self::RiachoDurable => format!("/streams/durable/{name}"),
            Self::Limit | Self::Axum | Self::Node | Self::BetterSse | Self::Databases => format!("/{name}"),
            Self::Nchan => format!("/subscribe/{name}"),
            Self::DurableStreams | Self::DurableStreamsWal => format!("/{name}?offset=now&live=sse"),
            Self::Mercure => format!("/.well-known/mercure?topic={name}"),
            Self::Centrifugo => {
                format!("/connection/uni_sse?cf_connect=%7B%22subs%22%3A%7B%22{name}%22%3A%7B%7D%7D%7D")
            }
        }
    }

    /// Where events of the stream `name` are published.
    pub(super) fn publish_path(self, name: &str) -> String {
        match self {
            Self::Nchan => format!("/publish/{name}"),
            Self::DurableStreams | Self::DurableStreamsWal => format!("/{name}"),
            Self::Mercure => "/.well-known/mercure".to_owned(),
            Self::Centrifugo => "/api/publish".to_owned(),
            _ => self.subscribe_path(name),
        }
    }

    /// How its events are found in what it sends.
    pub(super) fn subscribe_args(self) -> &'static [&'static str] {
        match self {
            // These write no space there.
            Self::DurableStreams | Self::DurableStreamsWal | Self::BetterSse => &["--marker", "data:T"],
            Self::Centrifugo => &["--marker", "\"event\":\"T"],
            _ => &[],
        }
    }

    /// How it wants events published.
    pub(super) fn publish_args(self) -> &'static [&'static str] {
        match self {
            // Appends that come together leave as one event; with a line each they can still be told apart.
            Self::DurableStreams | Self::DurableStreamsWal => &["--body-template", "{event}\n"],
            Self::Mercure => &[
                "--content-type",
                "application/x-www-form-urlencoded",
                "--body-template",
                "topic=bench&data={event}",
                "--publish-header",
                MERCURE_PUBLISHER,
            ],
            Self::Centrifugo => &[
                "--content-type",
                "application/json",
                "--body-template",
                r#"{"channel":"bench","data":{"event":"{event}"}}"#,
                "--publish-header",
                "X-API-Key: bench",
            ],
            _ => &[],
        }
    }

    /// What must be done before the stream `name` can be used.
    pub(super) fn prepare(self, server: &Server, name: &str) -> Result<()> {
        if matches!(self, Self::DurableStreams | Self::DurableStreamsWal) {
            http::request(server.port, "PUT", &format!("/{name}"), "text/plain", "")?;
        }
        Ok(())
    }

    /// The command that serves on `port`, which may write to `directory`.
    pub(super) fn command(self, stage: &Stage, port: u16, directory: &Path) -> Result<Command> {
        let address = format!("127.0.0.1:{port}");
        let port = port.to_string();
        Ok(match self {
            Self::Riacho | Self::RiachoDurable => {
                let mut command = Command::new(&stage.riacho);
                command.args(["serve", "--listen", &address, "--log-level", "warn"]);
                // A copy, which a row may add to.
                command.arg("--config").arg(fill("riacho.toml", directory, &[])?);
                command.arg("--data").arg(directory.join("data"));
                command
            }
            Self::Limit => with(stage.peers.join("limit"), &[&address]),
            Self::Axum => with(stage.peers.join("axum-sse"), &[&address]),
            Self::Nchan => {
                let file = fill("nginx.conf", directory, &[("@PORT@", &port)])?;
                let mut command = Command::new("nginx");
                command.arg("-p").arg(directory).arg("-c").arg(file).arg("-e").arg(directory.join("stderr"));
                command
            }
            Self::DurableStreams | Self::DurableStreamsWal => {
                let kind = if self == Self::DurableStreams { "memory" } else { "wal" };
                let mut command = Command::new(installed("durable-streams/bin/durable-streams-server"));
                command.args(["--host", "127.0.0.1", "--port", &port, "--durability", kind, "--data-dir"]);
                command.arg(directory.join("data"));
                command
            }
            Self::Node => node("http.mjs", &port),
            Self::BetterSse => node("better-sse.mjs", &port),
            Self::Mercure => {
                let file = fill("Caddyfile", directory, &[("@PORT@", &port)])?;
                let program = stage.mercure.as_ref().context("needs --mercure PATH")?;
                let mut command = Command::new(program);
                command.arg("run").arg("--config").arg(file);
                command
            }
            Self::Centrifugo => {
                let file = fill("centrifugo.json", directory, &[("\"@PORT@\"", &port)])?;
                let program = stage.centrifugo.as_ref().context("needs --centrifugo PATH")?;
                let mut command = Command::new(program);
                command.arg("--config").arg(file);
                command
            }
            Self::Databases => bail!("its rows start it"),
        })
    }

    /// Its version, as it says itself.
    pub(super) fn version(self, stage: &Stage) -> Option<String> {
        let text = match self {
            Self::Riacho | Self::RiachoDurable => output(stage.riacho.to_str()?, &["--version"]).ok()?,
            Self::Limit => return None,
            Self::Databases => super::database::version()?,
            Self::Axum => return locked("axum"),
            Self::Nchan => {
                output("dpkg-query", &["-W", "-f", "${Package} ${Version} ", "nginx", "libnginx-mod-nchan"])
                    .ok()?
            }
            Self::DurableStreams | Self::DurableStreamsWal => DURABLE_STREAMS.to_owned(),
            Self::Node => output("node", &["--version"]).ok()?,
            Self::BetterSse => {
                let file = installed("node/node_modules/better-sse/package.json");
                let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
                json.get("version")?.as_str()?.to_owned()
            }
            Self::Mercure => output(stage.mercure.as_ref()?.to_str()?, &["version"]).ok()?,
            Self::Centrifugo => output(stage.centrifugo.as_ref()?.to_str()?, &["version"]).ok()?,
        };
        Some(text.trim().to_owned())
    }
}

fn with(program: PathBuf, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

fn node(script: &str, port: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(installed("node").join(script)).args(["127.0.0.1", port]);
    command
}

/// Something that was installed for the benchmark.
fn installed(path: &str) -> PathBuf {
    super::stage::directory().join(path)
}

fn configuration(name: &str) -> PathBuf {
    root().join("bench/peers").join(name)
}

/// Copies a configuration to `directory`, with words replaced.
fn fill(name: &str, directory: &Path, words: &[(&str, &str)]) -> Result<PathBuf> {
    let path = configuration(name);
    let mut text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    for (word, value) in words {
        text = text.replace(word, value);
    }
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}

/// The version of a crate in the peers' lock file.
fn locked(name: &str) -> Option<String> {
    let text = fs::read_to_string(configuration("Cargo.lock")).ok()?;
    let after = text.split(&format!("name = \"{name}\"\nversion = \"")).nth(1)?;
    Some(after.split('"').next()?.to_owned())
}

/// The version that is installed.
pub(super) const DURABLE_STREAMS: &str = "0.1.5";

/// Signed (HS256) with the key of `bench/peers/Caddyfile`; may publish everything.
const MERCURE_PUBLISHER: &str = "Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJtZXJjdXJlIjp7InB1Ymxpc2giOlsiKiJdfX0.MwFsMpLr6KrBq7WyPaEPqDwi6IOSPqpPleYD4ArA5tg";
