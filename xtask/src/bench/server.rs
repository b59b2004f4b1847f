//! A server under test: started, waited for, and ended with everything that it started.

use super::{
    http,
    machine::now,
    peer::Peer,
    stage::{Cores, Stage, free_port},
};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    fs::{self, File},
    net::TcpStream,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

/// A running server. Dropping it ends it and removes its directory.
pub(super) struct Server {
    pub(super) peer: Peer,
    pub(super) port: u16,
    /// What it may write to; empty at first.
    pub(super) directory: PathBuf,
    child: Child,
    /// How it was started, to start it again.
    cores: Cores,
    settings: Vec<(String, String)>,
}

impl Server {
    /// Starts `peer` on `cores`, with environment variables `settings`, and waits until it listens.
    pub(super) fn start(stage: &Stage, peer: Peer, cores: Cores, settings: &[(&str, &str)]) -> Result<Self> {
        let port = free_port()?;
        let directory = stage.directory.join(format!("{}-{port}", peer.name()));
        fs::remove_dir_all(&directory).ok();
        fs::create_dir_all(&directory)
            .with_context(|| format!("failed to create {}", directory.display()))?;
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let child = spawn(stage, peer, port, &directory, cores, &settings)?;
        let mut server = Self { peer, port, directory, child, cores, settings };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Ends it as an operator would and starts it again on the same directory; tells how long it took to listen.
    pub(super) fn restart(&mut self, stage: &Stage) -> Result<Duration> {
        self.end();
        self.child = spawn(stage, self.peer, self.port, &self.directory, self.cores, &self.settings)?;
        let begin = now();
        self.wait_until_ready()?;
        Ok(now() - begin)
    }

    /// The process whose tree is measured.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it is.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its memory, as the kernel shares it out: PSS of the process. Only of servers that are one process.
    pub(super) fn pss_bytes(&self) -> Result<f64> {
        let path = format!("/proc/{}/smaps_rollup", self.pid());
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
        let kilobytes: f64 =
            line.trim().trim_end_matches("kB").trim().parse().context("failed to read PSS")?;
        Ok(kilobytes * 1024.0)
    }

    /// The CPU time it took so far, to the tick of 10 ms. Only of servers that are one process.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.pid());
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        // The name of the program is in brackets and may hold anything.
        let (_, fields) = text.rsplit_once(") ").context("no fields")?;
        let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<f64>);
        Ok(ticks.sum::<Result<f64, _>>().context("failed to read CPU times")? / 100.0)
    }

    fn is_ready(&self) -> bool {
        match self.peer {
            // It may listen before its log is open.
            Peer::Riacho | Peer::RiachoDurable => {
                http::request(self.port, "GET", "/readyz", "text/plain", "").is_ok()
            }
            _ => TcpStream::connect(("127.0.0.1", self.port)).is_ok(),
        }
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let begin = now();
        while !self.is_ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}: {}", self.peer.name(), self.last_words());
            }
            if now() - begin > READY_MAX {
                bail!("{} does not listen: {}", self.peer.name(), self.last_words());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(self.directory.join("stderr")).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    /// SIGTERM to the whole group, and SIGKILL to what is left of it.
    fn end(&mut self) {
        let Some(group) = Pid::from_raw(self.child.id().cast_signed()) else { return };
        kill_process_group(group, Signal::TERM).ok();
        let begin = now();
        while now() - begin < END_MAX {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                break;
            }
            sleep(Duration::from_millis(5));
        }
        kill_process_group(group, Signal::KILL).ok();
        self.child.wait().ok();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        fs::remove_dir_all(&self.directory).ok();
    }
}

fn spawn(
    stage: &Stage,
    peer: Peer,
    port: u16,
    directory: &std::path::Path,
    cores: Cores,
    settings: &Vec<(String, String)>,
) -> Result<Child> {
    let server = peer.command(stage, port, directory)?;
    let log = File::options().create(true).append(true).open(directory.join("stderr"))?;
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &cores.list()]).arg(server.get_program()).args(server.get_args());
    // Settings of whoever runs the benchmark are not those that are measured.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RIACHO_") {
            command.env_remove(name);
        }
    }
    for (name, value) in settings {
        command.env(name, value);
    }
    command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
    command.spawn().with_context(|| format!("failed to start {}", peer.name()))
}

/// A log of gigabytes is read before the server listens.
const READY_MAX: Duration = Duration::from_secs(60);

/// A server with subscribers says goodbye to them first.
const END_MAX: Duration = Duration::from_secs(15);
