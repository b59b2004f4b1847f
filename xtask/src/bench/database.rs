//! A PostgreSQL server of a run's own, of Debian's newest version: a directory, a port, and its own tools. Gone when dropped.

use super::{machine, machine::now, stage::free_port};
use crate::command::{output, run as run_command};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env,
    fmt::Display,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

/// A running server. Its superuser `postgres` needs no password.
pub(super) struct Postgres {
    /// Where its data is, and what it has to say.
    directory: PathBuf,
    programs: PathBuf,
    port: u16,
    child: Child,
}

/// Whether commits wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    On,
    /// What is measured is not the database's disk.
    Off,
}

impl Postgres {
    /// Makes a server with `wal_level = logical` and waits until it answers.
    pub(super) fn start(sync: Sync) -> Result<Self> {
        let programs = programs()?;
        let port = free_port()?;
        // Not in the tree, which a user `postgres` may not be able to enter.
        let directory = env::temp_dir().join(format!("riacho-bench-postgres-{}-{port}", std::process::id()));
        fs::create_dir_all(&directory)
            .with_context(|| format!("failed to create {}", directory.display()))?;
        own(&directory)?;
        let data = directory.join("data");
        let fixed =
            ["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--username=postgres", "--auth=trust"];
        let mut initdb = as_postgres(&programs.join("initdb"), &directory);
        run_command(initdb.args(fixed).arg("--pgdata").arg(&data).stdout(Stdio::null()))?;
        let settings = SETTINGS.iter().chain(if sync == Sync::Off { NO_SYNC } else { &[] });
        let text: String = settings.map(|line| format!("{line}\n")).collect();
        fs::write(data.join("postgresql.auto.conf"), text).context("failed to write the settings")?;
        let log = File::create(directory.join("log")).context("failed to create the database's log")?;
        let mut postgres = as_postgres(&programs.join("postgres"), &directory);
        postgres.arg("-D").arg(&data).arg("-k").arg(&directory).args(["-p", &port.to_string()]);
        let child = postgres.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let mut server =
            Self { directory, programs, port, child: child.context("failed to start postgres")? };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// As a source takes it.
    pub(super) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Runs SQL, or a command of psql's; what it prints.
    pub(super) fn psql(&self, sql: &str) -> Result<String> {
        let mut psql = self.tool("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        let output = psql.stdin(Stdio::null()).output().context("failed to start psql")?;
        if !output.status.success() {
            bail!("psql: {sql}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Asks for a truth again and again until it is one.
    pub(super) fn until(&self, sql: &str) -> Result<()> {
        let begin = now();
        while self.psql(sql)? != "t" {
            if now() - begin > READY_MAX {
                bail!("never true: {sql}");
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// One of its programs, for this server.
    pub(super) fn tool(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig=KILL", "--"]).arg(self.programs.join(name));
        command.args(["-h", "127.0.0.1", "-w", "-U", "postgres", "-p", &self.port.to_string()]);
        command.args(["-d", "postgres"]).current_dir(&self.directory);
        without_settings(&mut command);
        command
    }

    /// `pgbench`: this script, so many times in each of so many sessions, at so many transactions a second in all; waits
    /// for its end. In a script `:n` is to be raised first: it is -1 at the start of each session.
    pub(super) fn pgbench(&self, script: &str, load: &Writing) -> Result<()> {
        let file = self.directory.join("script.sql");
        fs::write(&file, script).context("failed to write a script")?;
        let mut pgbench = Command::new("setpriv");
        pgbench.args(["--pdeathsig=KILL", "--"]).arg(self.programs.join("pgbench"));
        pgbench.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.to_string(), "-n"]);
        pgbench.args(["-D", "n=-1"]).arg("-f").arg(&file).current_dir(&self.directory);
        let mut set = |flag: &str, value: &dyn Display| {
            pgbench.arg(flag).arg(value.to_string());
        };
        set("-c", &load.sessions);
        set("-t", &load.transactions_each);
        set("-R", &load.rate);
        pgbench.arg("postgres");
        without_settings(&mut pgbench);
        // In the order of the key, so that stamps are numbered in the order of the log.
        pgbench.env("PGOPTIONS", "-c enable_seqscan=off -c enable_bitmapscan=off");
        let output = pgbench.stdin(Stdio::null()).output().context("failed to start pgbench")?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            bail!("pgbench ended with {}: {}", output.status, text.trim());
        }
        Ok(())
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let begin = now();
        while self.psql("SELECT 1").is_err() {
            let text = || fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            if let Some(status) = self.child.try_wait()? {
                bail!("postgres ended with {status}: {}", text());
            }
            if now() - begin > READY_MAX {
                bail!("postgres does not answer: {}", text());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // All is thrown away, so nothing need be written. A signal to the first process is what PostgreSQL understands.
        kill_process(Pid::from_child(&self.child), Signal::QUIT).ok();
        self.child.wait().ok();
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// How `pgbench` writes.
pub(super) struct Writing {
    pub(super) sessions: usize,
    pub(super) transactions_each: usize,
    /// Transactions a second, of all sessions together.
    pub(super) rate: usize,
}

/// SQL for a stamp as `riacho bench` finds it, made by the database's clock when it is evaluated.
pub(super) fn stamp(source: &str, sequence: &str) -> String {
    format!(
        "'T' || lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1e9)::bigint), 16, '0') \
         || lpad(to_hex(({source})::bigint), 8, '0') || lpad(to_hex(({sequence})::bigint), 8, '0')"
    )
}

/// The directory of the newest version's programs.
pub(super) fn programs() -> Result<PathBuf> {
    let versions = fs::read_dir(INSTALLED).ok().into_iter().flatten().flatten();
    let version = |path: &Path| -> Option<u32> { path.file_name()?.to_str()?.parse().ok() };
    let newest = versions
        .map(|entry| entry.path())
        .filter(|path| path.join("bin/initdb").exists() && path.join("bin/pgbench").exists())
        .max_by_key(|path| version(path));
    Ok(newest.context("needs PostgreSQL: cargo xtask setup")?.join("bin"))
}

/// The version of those programs.
pub(super) fn version() -> Option<String> {
    output(programs().ok()?.join("postgres").to_str()?, &["--version"]).ok()
}

/// PostgreSQL refuses to run as root.
fn as_postgres(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if machine::is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.args(["--pdeathsig=KILL", "--"]).arg(program).current_dir(directory);
    without_settings(&mut command);
    command
}

fn own(directory: &Path) -> Result<()> {
    if machine::is_root() {
        run_command(Command::new("chown").arg("postgres:postgres").arg(directory))?;
    }
    Ok(())
}

/// Settings of whoever runs the benchmark are not those that are measured.
fn without_settings(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
}

const INSTALLED: &str = "/usr/lib/postgresql";

const SETTINGS: &[&str] = &[
    "listen_addresses = '127.0.0.1'",
    "wal_level = logical",
    "max_wal_senders = 10",
    "max_replication_slots = 10",
    "shared_buffers = 256MB",
    // No checkpoint in the middle of a run.
    "max_wal_size = 8GB",
    "checkpoint_timeout = 1h",
    // Nothing of it stays in /dev/shm.
    "dynamic_shared_memory_type = mmap",
];

// Not `synchronous_commit = off`: then commits lie in memory for 200 ms, and nobody is sent what was not written.
const NO_SYNC: &[&str] = &["fsync = off", "full_page_writes = off"];

const READY_MAX: Duration = Duration::from_secs(60);
