//! DynamoDB: 200,000 items of Amazon's emulator until all of them are served, beside a program that only scans them with the same
//! client; 5,000 records a second of a stream to 1,000 subscribers; from a put to a subscriber; and what a shard costs while
//! nobody writes. Streams are those of the tests' fake, as emulators' are too slow.

use super::{follow, has_rows, number, tail, watching};
use crate::{
    bench::{
        client::Load,
        machine::now,
        options::Size,
        peer::Peer,
        report::unit::Unit,
        results::{Figures, Results, rounded},
        row::{Case, Column, Goal, Row},
        server::Server,
        stage::{Cores, Stage},
    },
    command::{command, run as run_command},
};
use anyhow::{Context, Result, bail};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread::sleep,
    time::Duration,
};

pub(crate) const ROW: Row =
    Row { name: "sources-dynamodb", aliases: &["sources"], cases, columns: COLUMNS, goals };

fn cases(size: Size) -> Vec<Case> {
    vec![
        Case::new(COPY, Peer::RiachoDurable, move |stage| copy(stage, size)).once(),
        Case::new(RECORDS, Peer::RiachoDurable, move |stage| records(stage, size)),
        Case::new(PUTS, Peer::RiachoDurable, move |stage| puts(stage, size)),
    ]
}

fn copy(stage: &Stage, size: Size) -> Result<Figures> {
    let items = size.count(ITEMS);
    let mut peer = Beside::start(stage, &["table", &items.to_string()])?;
    // The emulator is slow at first.
    peer.ask("scan 4")?;
    let before = peer.scan(items)?;
    let server = Server::start(stage, Peer::RiachoDurable, Cores::All, &[])?;
    let idle = server.pss_bytes()?;
    let mut most = idle;
    // Nothing is older in a stream that nobody writes to.
    let source = format!("{}\ntables = [\"items\"]\npoll = \"200ms\"\nsettle = \"0s\"", peer.source());
    let took = follow(&server, &source, || most = most.max(server.pss_bytes().unwrap_or(0.0)))?;
    has_rows(&server, items)?;
    let after = peer.scan(items)?;
    let (took, bare) = (took.as_secs_f64(), f64::midpoint(before, after));
    Ok([
        (RATE.to_owned(), rounded(number(items) / took)),
        (BARE.to_owned(), rounded(number(items) / bare)),
        (AGAINST.to_owned(), rounded(bare / took)),
        (MEMORY.to_owned(), rounded(most - idle)),
    ]
    .into())
}

fn records(stage: &Stage, size: Size) -> Result<Figures> {
    let (subscribers, rate, seconds) =
        if size == Size::Quick { (10, 500, 1_u32) } else { (1_000, RECORDS_RATE, 20) };
    let mut peer = Beside::start(stage, &["stream", "4"])?;
    let server = Server::start(stage, Peer::RiachoDurable, Cores::All, &[])?;
    follow(&server, &format!("{}\ntables = [\"prices\"]\nsettle = \"0s\"", peer.source()), || ())?;
    let duration = Duration::from_secs(seconds.into()) + tail(size);
    let load = watching(stage, &server, subscribers, duration).set("--path", "/tables/prices?conflate=0");
    let load = load.start()?;
    load.wait_until_connected()?;
    let connected = now();
    let said = peer.ask(&format!("write {rate} {seconds}"))?;
    let written = (now() - connected).as_secs_f64();
    let [records, took] = said.as_slice() else { bail!("no such answer: {said:?}") };
    let mut figures = load.finish()?;
    let received = figures.get("window.deliveries").copied().context("the client counted nothing")?;
    let last = figures.get("window.last_delivery_seconds").copied().context("nothing was delivered")?;
    figures.insert(RATE.to_owned(), rounded(records / took));
    figures.insert(SHARE.to_owned(), rounded(received / records / number(subscribers)));
    figures.insert(LAG.to_owned(), rounded((last - written).max(0.0)));
    Ok(figures)
}

fn puts(stage: &Stage, size: Size) -> Result<Figures> {
    let seconds: u32 = if size == Size::Quick { 2 } else { 60 };
    let mut peer = Beside::start(stage, &["stream", &SHARDS.to_string()])?;
    let server = Server::start(stage, Peer::RiachoDurable, Cores::All, &[])?;
    follow(&server, &format!("{}\ntables = [\"prices\"]\nsettle = \"0s\"", peer.source()), || ())?;
    let (with, without) = idle(stage, &server, size)?;
    let duration = Duration::from_secs(seconds.into()) + tail(size);
    let load = watching(stage, &server, 1, duration).set("--path", "/tables/prices").start()?;
    load.wait_until_connected()?;
    peer.ask(&format!("write {PUTS_RATE} {seconds}"))?;
    let mut figures = load.finish()?;
    figures.insert(IDLE.to_owned(), rounded((with - without).max(0.0) / number(SHARDS)));
    Ok(figures)
}

/// The shares of a core that the server takes, and that one without a source takes meanwhile.
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
        shares.push(used / 1e6 / f64::from(seconds));
    }
    let [with, without] = shares.try_into().map_err(|_| anyhow::anyhow!("two servers, two shares"))?;
    Ok((with, without))
}

/// The program that has the tables, on the load's core.
struct Beside {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    at: String,
}

impl Beside {
    fn start(stage: &Stage, args: &[&str]) -> Result<Self> {
        let built = stage.client.parent().context("the client is in a directory")?;
        let profile: &[&str] = if built.ends_with("release") { &["--release"] } else { &[] };
        let build = ["build", "--quiet", "-p", "riacho", "--example", PROGRAM];
        run_command(command("cargo", &build).args(profile))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig=KILL", "--", "taskset", "--cpu-list", &Stage::load_core()]);
        command.arg(built.join("examples").join(PROGRAM)).args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let mut beside = Self { input: child.stdin.take(), child, output, at: String::new() };
        let line = beside.line()?;
        line.strip_prefix("at ").context("no address")?.clone_into(&mut beside.at);
        Ok(beside)
    }

    /// As a configuration has it.
    fn source(&self) -> String {
        format!(
            "name = \"shop\"\ndynamodb = \"us-east-1\"\nendpoint = \"{}\"\naccess_key_id = \"test\"\n\
             secret_access_key = \"test\"",
            self.at
        )
    }

    /// Has a line done; the numbers of the answer.
    fn ask(&mut self, line: &str) -> Result<Vec<f64>> {
        let input = self.input.as_mut().context("its input was closed")?;
        writeln!(input, "{line}").with_context(|| format!("failed to write to {PROGRAM}"))?;
        let answer = self.line()?;
        answer.split(' ').skip(1).map(|number| number.parse().context("no number")).collect()
    }

    /// How many seconds a scan takes.
    fn scan(&mut self, items: usize) -> Result<f64> {
        match self.ask("scan 4")?.as_slice() {
            [found, seconds] if (found - number(items)).abs() < 1.0 => Ok(*seconds),
            other => bail!("{items} items were to be read: {other:?}"),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line).with_context(|| format!("failed to read from {PROGRAM}"))? == 0 {
            bail!("{PROGRAM} ended");
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // At the end of its input it ends what it has started.
        drop(self.input.take());
        let begin = now();
        while now() - begin < END_MAX && self.child.try_wait().is_ok_and(|status| status.is_none()) {
            sleep(Duration::from_millis(5));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn goals(results: &Results) -> Vec<Goal> {
    let get = |workload, figure| results.get(ROW.name, workload, Peer::RiachoDurable, figure);
    vec![
        Goal::at_least("200,000 items: against a bare scan", get(COPY, AGAINST), 0.9, Unit::Ratio),
        // Open-loop, with the program's start and end in the time.
        Goal::at_least(
            "records/s to 1,000 subscribers",
            get(RECORDS, RATE),
            number(RECORDS_RATE) * 0.97,
            Unit::Count,
        ),
        Goal::at_least("records: delivered", get(RECORDS, SHARE), 1.0, Unit::Share),
        Goal::at_most("records: lag at the end", get(RECORDS, LAG), 1.0, Unit::Seconds),
        Goal::at_most("put to subscriber, p50", get(PUTS, "latency.p50"), 145_000.0, Unit::Latency),
    ]
}

const PROGRAM: &str = "dynamodb_peer";

const COPY: &str = "200,000 items of DynamoDB Local, first copy";

const RECORDS: &str = "5,000 records/s of 4 shards, 1,000 subscribers of all";

const PUTS: &str = "a put now and then, 8 shards, one subscriber";

const ITEMS: usize = 200_000;

const RECORDS_RATE: usize = 5_000;

/// A second, at no moment of the polls' own.
const PUTS_RATE: f64 = 2.3;

const SHARDS: usize = 8;

const RATE: &str = "rows_per_second";

const BARE: &str = "bare_scan.rows_per_second";

/// Of the times of one run.
const AGAINST: &str = "rate_against_bare_scan";

const MEMORY: &str = "pss_bytes_added";

const SHARE: &str = "delivered_share";

const LAG: &str = "lag_seconds_at_end";

const IDLE: &str = "idle_share_of_a_core_each_shard";

const END_MAX: Duration = Duration::from_secs(5);

const COLUMNS: &[Column] = &[
    Column { heading: "rows or records/s", figure: RATE, unit: Unit::Count },
    Column { heading: "bare scan, rows/s", figure: BARE, unit: Unit::Count },
    Column { heading: "against it", figure: AGAINST, unit: Unit::Ratio },
    Column { heading: "memory added", figure: MEMORY, unit: Unit::Bytes },
    Column { heading: "delivered", figure: SHARE, unit: Unit::Share },
    Column { heading: "lag at the end", figure: LAG, unit: Unit::Seconds },
    Column { heading: "p50", figure: "latency.p50", unit: Unit::Latency },
    Column { heading: "p99", figure: "latency.p99", unit: Unit::Latency },
    Column { heading: "idle, of a core for a shard", figure: IDLE, unit: Unit::Share },
];
