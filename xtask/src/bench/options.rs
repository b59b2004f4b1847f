//! What `cargo xtask bench` is asked to do.

use super::{peer::Peer, row};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// The flags, checked.
#[derive(Debug, PartialEq)]
pub(super) struct Options {
    pub(super) act: Act,
    /// Names of rows; all when empty.
    pub(super) rows: Vec<String>,
    /// All when empty; with `--quick`, those that are built from the tree.
    pub(super) peers: Vec<String>,
    pub(super) size: Size,
    pub(super) repeat: usize,
    /// Another binary to measure than that of the tree.
    pub(super) riacho: Option<PathBuf>,
    pub(super) mercure: Option<PathBuf>,
    pub(super) centrifugo: Option<PathBuf>,
    /// The machine's name in the name of the results' file.
    pub(super) machine: Option<String>,
    /// The file of results in which the rows that are measured take the place of theirs.
    pub(super) into: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub(super) enum Act {
    Measure,
    List,
    Report(PathBuf),
    /// Count instructions; and accept what is counted, or hold it against what was accepted.
    Counts {
        accept: bool,
    },
}

/// How large the runs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// Seconds in all, with debug builds: only tells whether it works.
    Quick,
    /// Under half an hour.
    Usual,
    /// The minutes and gigabytes that the half hour has no room for.
    Full,
}

impl Size {
    /// `count` subscribers, streams or events, a hundredth of it when quick.
    pub(super) fn count(self, count: usize) -> usize {
        if self == Self::Quick { (count / 100).max(10) } else { count }
    }

    /// A duration as the client takes it: a fifth of a second when quick.
    pub(super) fn time(self, seconds: u32) -> String {
        if self == Self::Quick { "200ms".to_owned() } else { format!("{seconds}s") }
    }

    /// How long subscribers idle where nothing is asked about that.
    pub(super) fn idle(self) -> &'static str {
        if self == Self::Quick { "20ms" } else { "300ms" }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Usual => "usual",
            Self::Full => "full",
        }
    }
}

impl Options {
    /// Reads the arguments after `bench`.
    pub(super) fn parse(args: &[&str]) -> Result<Self> {
        let mut options = Self {
            act: Act::Measure,
            rows: Vec::new(),
            peers: Vec::new(),
            size: Size::Usual,
            repeat: 0,
            riacho: None,
            mercure: None,
            centrifugo: None,
            machine: None,
            into: None,
        };
        let mut args = args.iter().copied();
        while let Some(flag) = args.next() {
            let mut value = || args.next().with_context(|| format!("{flag} needs a value"));
            match flag {
                "--list" => options.act = Act::List,
                "--counts" => options.act = Act::Counts { accept: false },
                "--accept" => match &mut options.act {
                    Act::Counts { accept } => *accept = true,
                    _ => bail!("--accept is said after --counts"),
                },
                "--report" => options.act = Act::Report(value()?.into()),
                "--row" => options.rows.push(value()?.to_owned()),
                "--peers" => options.peers.extend(value()?.split(',').map(str::to_owned)),
                "--quick" => options.size = Size::Quick,
                "--full" => options.size = Size::Full,
                "--repeat" => options.repeat = value()?.parse().context("--repeat needs a whole number")?,
                "--riacho" => options.riacho = Some(absolute(value()?)?),
                "--mercure" => options.mercure = Some(absolute(value()?)?),
                "--centrifugo" => options.centrifugo = Some(absolute(value()?)?),
                "--machine" => options.machine = Some(value()?.to_owned()),
                "--into" => options.into = Some(absolute(value()?)?),
                other => bail!("no such flag: {other}; `cargo xtask help` lists them"),
            }
        }
        if options.into.is_some() && options.size == Size::Quick {
            bail!("--into is for rows at their usual size");
        }
        if options.repeat == 0 {
            options.repeat = if options.size == Size::Quick { 1 } else { 3 };
        }
        for name in &options.rows {
            if row::named(name).next().is_none() {
                bail!("no row `{name}`; `cargo xtask bench --list` lists them");
            }
        }
        for name in &options.peers {
            if !Peer::ALL.iter().any(|peer| peer.name() == name) {
                bail!("no peer `{name}`; `cargo xtask bench --list` lists them");
            }
        }
        Ok(options)
    }

    /// Whether `peer` takes part.
    pub(super) fn takes(&self, peer: Peer) -> bool {
        match peer {
            Peer::Mercure if self.mercure.is_none() => false,
            Peer::Centrifugo if self.centrifugo.is_none() => false,
            _ if self.peers.is_empty() => self.size != Size::Quick || peer.is_of_the_tree(),
            _ => self.peers.iter().any(|name| name == peer.name()),
        }
    }

    /// Whether the row takes part.
    pub(super) fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|name| row::named(name).any(|found| found.name == row))
    }

    /// Whether what comes out is the whole table, which the README shows.
    pub(super) fn is_whole(&self) -> bool {
        self.rows.is_empty() && self.peers.is_empty() && self.size != Size::Quick
    }
}

fn absolute(path: &str) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("failed to find {path}"))
}
