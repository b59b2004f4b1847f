//! Where the runs happen: a network namespace of their own, one core for the server and one for the load.
//!
//! As root the tool starts itself again inside `unshare --net --mount`, so that no setting of the machine is touched but
//! one, which a shell puts back however the run ends. Without root everything stays as it is and the steered column is
//! left out.

use super::machine;
use crate::command::{succeeds, target};
use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Command, ExitStatus},
};

/// What every run needs to know.
pub(super) struct Stage {
    /// The server that is measured.
    pub(super) riacho: PathBuf,
    /// The load client: always that of the tree.
    pub(super) client: PathBuf,
    /// Where `limit` and `axum-sse` were built.
    pub(super) peers: PathBuf,
    pub(super) mercure: Option<PathBuf>,
    pub(super) centrifugo: Option<PathBuf>,
    /// For the data of servers; on the disk that is measured.
    pub(super) directory: PathBuf,
    /// Whether this is a namespace where receiving can be steered.
    pub(super) isolated: bool,
}

/// Which cores a server may use; the load has the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cores {
    One,
    All,
}

impl Cores {
    /// As `taskset --cpu-list` takes it.
    pub(super) fn list(self) -> String {
        match self {
            Self::One => "0".to_owned(),
            Self::All => format!("0-{}", machine::cores() - 1),
        }
    }
}

impl Stage {
    /// The core that the load runs on.
    pub(super) fn load_core() -> String {
        (machine::cores() - 1).min(1).to_string()
    }

    /// Has the work of receiving done by the load's core, or by whoever sends, as Linux does by itself on loopback.
    pub(super) fn steer(&self, steered: bool) -> Result<()> {
        if !self.isolated {
            return if steered { bail!("steering needs root, and a second core") } else { Ok(()) };
        }
        let mask = if steered { "2" } else { "0" };
        fs::write(STEERING, mask).with_context(|| format!("failed to write {STEERING}"))
    }
}

/// A port that is free now.
pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("failed to find a free port")?;
    Ok(listener.local_addr()?.port())
}

/// Whether this process is the one inside the namespace.
pub(super) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Whether a namespace can be had.
pub(super) fn can_isolate() -> bool {
    machine::is_root()
        && machine::cores() > 1
        && succeeds("ip", &["-V"])
        && succeeds("unshare", &["--net", "--mount", "mount", "-t", "sysfs", "sysfs", "/sys"])
}

/// Runs this program again with `args`, inside a namespace if `isolate`; the end of it is the end of that.
pub(super) fn again(args: &[&str], isolate: bool) -> Result<ExitStatus> {
    let program = std::env::current_exe().context("failed to find this program")?;
    let mut command = if isolate { Command::new("sh") } else { Command::new(&program) };
    if isolate {
        command.args(["-c", ISOLATE, "sh", BACKLOG]).arg(&program);
    }
    command.arg("bench").args(args).env(INSIDE, if isolate { "isolated" } else { "open" });
    command.status().context("failed to start the runs")
}

/// Brings the namespace up, if this is one; tells whether it is.
pub(super) fn enter() -> Result<bool> {
    raise_descriptors();
    let isolated = std::env::var(INSIDE).is_ok_and(|kind| kind == "isolated");
    if isolated && !succeeds("ip", &["link", "set", "lo", "up"]) {
        bail!("failed to bring up the loopback interface");
    }
    Ok(isolated)
}

/// As many open files as 10,000 connections need, or as the system allows; servers inherit it.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    if limit.maximum.is_none_or(|maximum| maximum < DESCRIPTORS)
        && setrlimit(Resource::Nofile, wanted).is_ok()
    {
        return;
    }
    let allowed = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, allowed).is_err() || limit.maximum.is_some_and(|maximum| maximum < 12_000)
    {
        eprintln!(
            "warning: only {:?} open files are allowed; rows with 10,000 subscribers will fail",
            limit.maximum
        );
    }
}

/// Where everything that is built and written lies.
pub(super) fn directory() -> PathBuf {
    target().join("bench")
}

/// Without `RIACHO_`: what begins so is a setting of the server.
const INSIDE: &str = "BENCH_INSIDE";

const DESCRIPTORS: u64 = 200_000;

const STEERING: &str = "/sys/class/net/lo/queues/rx-0/rps_cpus";

/// Steered packets wait in a queue of this length; of 1,000, its default, a burst to 10,000 sockets loses most, and what
/// is measured then is TCP sending again. It is one for the whole machine, hence the care to put it back.
const BACKLOG: &str = "/proc/sys/net/core/netdev_max_backlog";

/// `$1` is the setting's file, the rest the program. /sys must be mounted anew to show the namespace's devices.
const ISOLATE: &str = r#"
setting=$1; shift
old=$(cat "$setting")
trap 'echo "$old" >"$setting"' EXIT
trap 'exit 130' INT TERM
echo 300000 >"$setting"
unshare --net --mount sh -c 'mount -t sysfs sysfs /sys && exec "$@"' sh "$@"
"#;
