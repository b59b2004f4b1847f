//! From commit to subscriber: one row per commit, 200 commits a second, each synced to the disk. The same commits come to
//! one SSE subscriber and to `pg_recvlogical`, and both find the stamp that the database's clock made in the statement.

use super::{decoded::Decoded, follow, number, percentiles, tail, watching};
use crate::bench::{
    database::{Postgres, Sync, Writing, stamp},
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::{Figures, Results, rounded},
    row::{Case, Column, Goal, Row},
    server::Server,
    stage::{Cores, Stage},
};
use anyhow::{Context, Result, bail};
use std::time::Duration;

pub(crate) const ROW: Row =
    Row { name: "sources-latency", aliases: &["sources"], cases, columns: COLUMNS, goals };

fn cases(size: Size) -> Vec<Case> {
    vec![Case::new(COMMITS, Peer::RiachoDurable, move |stage| commits(stage, size))]
}

fn commits(stage: &Stage, size: Size) -> Result<Figures> {
    let database = Postgres::start(Sync::On)?;
    database.psql("CREATE TABLE prices (id int PRIMARY KEY, v text NOT NULL)")?;
    database.psql(&format!("INSERT INTO prices SELECT n, '' FROM generate_series(0, {}) AS n", ROWS - 1))?;
    let server = Server::start(stage, Peer::RiachoDurable, Cores::All, &[])?;
    follow(&server, &format!("postgres = \"{}\"\ntables = [\"prices\"]", database.url()), || ())?;
    let seconds: u32 = if size == Size::Quick { 1 } else { 20 };
    let commits = RATE * seconds as usize;
    let duration = Duration::from_secs(seconds.into()) + tail(size);
    let load = watching(stage, &server, 1, duration).set("--path", "/tables/prices").start()?;
    let mut decoded = Decoded::start(&database, server.directory.join("pg_recvlogical"))?;
    load.wait_until_connected()?;
    let script = format!(
        "\\set n :n + 1\n\\set id :n % {ROWS}\nUPDATE prices SET v = {} WHERE id = :id;\n",
        stamp("0", ":n")
    );
    database.pgbench(&script, &Writing { sessions: 1, transactions_each: commits, rate: RATE })?;
    decoded.wait(commits, tail(size))?;
    let times = decoded.finish()?;
    let mut figures = load.finish()?;
    let received = figures.get("window.deliveries").copied().unwrap_or(0.0);
    if times.len() != commits || (received - number(commits)).abs() > 0.0 {
        bail!("of {commits} commits {received} came to the subscriber, {} to pg_recvlogical", times.len());
    }
    let (middle, high) = percentiles(&times).context("no stamps")?;
    if let Some(own) = figures.get("latency.p50").copied() {
        figures.insert(AGAINST.to_owned(), rounded(own / middle));
    }
    figures.insert(REFERENCE.to_owned(), middle);
    figures.insert(REFERENCE_HIGH.to_owned(), high);
    Ok(figures)
}

fn goals(results: &Results) -> Vec<Goal> {
    let against = results.get(ROW.name, COMMITS, Peer::RiachoDurable, AGAINST);
    vec![Goal::at_most("median against `pg_recvlogical`", against, 2.0, Unit::Ratio)]
}

const COMMITS: &str = "200 commits/s of a row each, one subscriber";

const ROWS: usize = 1_000;

const RATE: usize = 200;

const REFERENCE: &str = "pg_recvlogical.p50";

const REFERENCE_HIGH: &str = "pg_recvlogical.p99";

/// Of the medians of one run.
const AGAINST: &str = "median_against_pg_recvlogical";

const COLUMNS: &[Column] = &[
    Column { heading: "p50", figure: "latency.p50", unit: Unit::Latency },
    Column { heading: "p99", figure: "latency.p99", unit: Unit::Latency },
    Column { heading: "`pg_recvlogical` p50", figure: REFERENCE, unit: Unit::Latency },
    Column { heading: "`pg_recvlogical` p99", figure: REFERENCE_HIGH, unit: Unit::Latency },
    Column { heading: "median against it", figure: AGAINST, unit: Unit::Ratio },
    Column { heading: "lost", figure: "lost", unit: Unit::Count },
];
