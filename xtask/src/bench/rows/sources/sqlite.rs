//! SQLite: from the `sqlite3` shell, which commits 50 times a second, to a subscriber, and what a source costs while nobody
//! writes. Beside it how long the shell itself takes for each commit, and a server without a source over the same seconds.

use super::{follow, percentiles, realtime, tail, watching};
use crate::bench::{
    client::Load,
    machine::now,
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::{Figures, Results, rounded},
    row::{Case, Column, Goal, Row},
    server::Server,
    stage::{Cores, Stage},
};
use anyhow::{Context, Result, bail};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread::sleep,
    time::Duration,
};

pub(crate) const ROW: Row =
    Row { name: "sources-sqlite", aliases: &["sources"], cases, columns: COLUMNS, goals };

fn cases(size: Size) -> Vec<Case> {
    vec![Case::new(COMMITS, Peer::RiachoDurable, move |stage| commits(stage, size))]
}

fn commits(stage: &Stage, size: Size) -> Result<Figures> {
    let server = Server::start(stage, Peer::RiachoDurable, Cores::All, &[])?;
    let file = server.directory.join("shop.db");
    let mut shell = Shell::open(&file)?;
    shell.say("PRAGMA journal_mode = WAL; CREATE TABLE prices (id INTEGER PRIMARY KEY, v TEXT NOT NULL);")?;
    shell.say(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {}) \
         INSERT INTO prices SELECT i, '' FROM n;",
        ROWS - 1
    ))?;
    let source = format!("sqlite = \"{}\"\ntables = [\"prices\"]\nsetup = true", file.display());
    follow(&server, &source, || ())?;
    let (with, without) = idle(stage, &server, size)?;

    let commits: u32 = if size == Size::Quick { 20 } else { 1_000 };
    let load = watching(stage, &server, 1, PAUSE * commits + tail(size));
    let load = load.set("--path", "/tables/prices").start()?;
    load.wait_until_connected()?;
    let times = shell.write(commits)?;
    let mut figures = load.finish()?;
    let received = figures.get("window.deliveries").copied().unwrap_or(0.0);
    if (received - f64::from(commits)).abs() > 0.0 {
        bail!("{received} of {commits} commits came to the subscriber");
    }
    let (middle, high) = percentiles(&times).context("no commits")?;
    figures.insert(COMMIT.to_owned(), middle);
    figures.insert(COMMIT_HIGH.to_owned(), high);
    figures.insert(IDLE.to_owned(), with);
    figures.insert(IDLE_WITHOUT.to_owned(), without);
    Ok(figures)
}

/// The share of a core that the server takes with one silent subscriber, and that one without a source takes meanwhile.
fn idle(stage: &Stage, server: &Server, size: Size) -> Result<(f64, f64)> {
    let other = Server::start(stage, Peer::RiachoDurable, Cores::All, &[])?;
    let seconds: u32 = if size == Size::Quick { 1 } else { 20 };
    // What start and copy leave to be done is not idling.
    sleep(Duration::from_millis(if size == Size::Quick { 100 } else { 2_000 }));
    let silent = |server: &Server, path: &str| {
        let load = Load::new(stage, "subscribe", server).set("--path", path).set("--subscribers", 1);
        load.set("--idle", format!("{seconds}s")).set("--duration", "100ms").start()
    };
    let loads = [silent(server, "/tables/prices")?, silent(&other, &other.peer.subscribe_path("bench"))?];
    let mut shares = Vec::new();
    for load in loads {
        let used = load.finish()?.get("idle.server_cpu_us").copied().context("no CPU time was measured")?;
        shares.push(rounded(used / 1e6 / f64::from(seconds)));
    }
    let [with, without] = shares.try_into().map_err(|_| anyhow::anyhow!("two servers, two shares"))?;
    Ok((with, without))
}

/// The `sqlite3` shell, which takes statements from a pipe.
struct Shell {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn open(file: &Path) -> Result<Self> {
        let mut command = Command::new("sqlite3");
        command.args(["-batch", "-bail", "-init", "/dev/null"]).arg(file);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = spawned.context("needs the shell of SQLite: apt-get install sqlite3")?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let mut shell = Self { input: child.stdin.take(), child, output };
        shell.say(".timeout 10000")?;
        Ok(shell)
    }

    /// Has a line done, and waits until it is.
    fn say(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("the shell was closed")?;
        write!(input, "{line}\nSELECT 'done';\n").context("failed to write to sqlite3")?;
        let mut answer = String::new();
        while answer.trim() != "done" {
            answer.clear();
            if self.output.read_line(&mut answer).context("failed to read from sqlite3")? == 0 {
                bail!("sqlite3 ended at: {line}");
            }
        }
        Ok(())
    }

    /// Commits a row at a time, at a steady rate; how long each took, in nanoseconds. A stamp is made before its commit
    /// begins.
    fn write(&mut self, commits: u32) -> Result<Vec<u64>> {
        let begin = now();
        let mut times = Vec::new();
        for n in 0..commits {
            sleep((begin + PAUSE * n).saturating_duration_since(now()));
            let made = realtime();
            let id = n % ROWS;
            self.say(&format!("UPDATE prices SET v = 'T{made:016x}{:08x}{n:08x}' WHERE id = {id};", 0))?;
            times.push(realtime().saturating_sub(made));
        }
        Ok(times)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.input.take());
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn goals(results: &Results) -> Vec<Goal> {
    let get = |figure| results.get(ROW.name, COMMITS, Peer::RiachoDurable, figure);
    vec![
        Goal::at_most("commit to subscriber, p50", get("latency.p50"), 20_000.0, Unit::Latency),
        Goal::at_most("commit to subscriber, p99", get("latency.p99"), 20_000.0, Unit::Latency),
        Goal::at_most("idle source, share of a core", get(IDLE), 0.005, Unit::Share),
    ]
}

const COMMITS: &str = "50 commits/s of a row each, one subscriber";

const ROWS: u32 = 1_000;

const PAUSE: Duration = Duration::from_millis(20);

const COMMIT: &str = "commit.p50";

const COMMIT_HIGH: &str = "commit.p99";

const IDLE: &str = "idle_share_of_a_core";

const IDLE_WITHOUT: &str = "idle_share_of_a_core_without_source";

const COLUMNS: &[Column] = &[
    Column { heading: "p50", figure: "latency.p50", unit: Unit::Latency },
    Column { heading: "p99", figure: "latency.p99", unit: Unit::Latency },
    Column { heading: "`sqlite3`: the commit, p50", figure: COMMIT, unit: Unit::Latency },
    Column { heading: "p99", figure: COMMIT_HIGH, unit: Unit::Latency },
    Column { heading: "idle, of a core", figure: IDLE, unit: Unit::Share },
    Column { heading: "idle without a source", figure: IDLE_WITHOUT, unit: Unit::Share },
    Column { heading: "lost", figure: "lost", unit: Unit::Count },
];
