//! The first copy of a PostgreSQL table: a million rows of about 300 bytes, until all of them are served. Beside it `psql`,
//! which only reads them.
//!
//! The server runs and follows an empty table before; so the memory added is the copy's.

use super::{follow, has_rows, number};
use crate::bench::{
    database::{Postgres, Sync},
    machine::now,
    options::Size,
    peer::Peer,
    report::unit::Unit,
    results::{Figures, Results, rounded},
    row::{Case, Column, Goal, Row},
    server::Server,
    stage::{Cores, Stage},
};
use anyhow::{Context, Result};

pub(crate) const ROW: Row =
    Row { name: "sources-copy", aliases: &["sources"], cases, columns: COLUMNS, goals };

fn cases(size: Size) -> Vec<Case> {
    vec![
        Case::new(COPY, Peer::RiachoDurable, move |stage| copy(stage, size)),
        Case::new(PSQL, Peer::Databases, move |_| psql(size)),
    ]
}

fn copy(stage: &Stage, size: Size) -> Result<Figures> {
    let (database, rows) = (filled(size)?, size.count(ROWS));
    let server = Server::start(stage, Peer::RiachoDurable, Cores::All, &[])?;
    let source =
        |name: &str| format!("name = \"{name}\"\npostgres = \"{}\"\ntables = [\"{name}\"]", database.url());
    follow(&server, &source("nothing"), || ())?;
    let (idle, cpu) = (server.pss_bytes()?, server.cpu_seconds()?);
    let mut most = idle;
    let took = follow(&server, &source("items"), || most = most.max(server.pss_bytes().unwrap_or(0.0)))?;
    let cpu = server.cpu_seconds()? - cpu;
    most = most.max(server.pss_bytes()?);
    has_rows(&server, rows)?;
    let mut figures = rates(&database, rows, took.as_secs_f64())?;
    figures.insert(MEMORY.to_owned(), rounded(most - idle));
    figures.insert(CPU.to_owned(), rounded(cpu * 1e6 / number(rows)));
    Ok(figures)
}

/// What reading the same rows takes by itself.
fn psql(size: Size) -> Result<Figures> {
    let (database, rows) = (filled(size)?, size.count(ROWS));
    let begin = now();
    database.psql(r"\copy items TO '/dev/null'")?;
    rates(&database, rows, (now() - begin).as_secs_f64())
}

fn rates(database: &Postgres, rows: usize, seconds: f64) -> Result<Figures> {
    let bytes = database.psql("SELECT avg(length(items::text)) FROM items")?;
    let bytes: f64 = bytes.parse().context("no mean length")?;
    Ok([
        (SECONDS.to_owned(), rounded(seconds)),
        (RATE.to_owned(), rounded(number(rows) / seconds)),
        (ROW_BYTES.to_owned(), rounded(bytes)),
    ]
    .into())
}

/// A database with the rows, and a table without any.
fn filled(size: Size) -> Result<Postgres> {
    let database = Postgres::start(Sync::Off)?;
    database.psql("CREATE TABLE nothing (id bigint PRIMARY KEY, v text)")?;
    database.psql(
        "CREATE TABLE items (id bigint PRIMARY KEY, customer int, amount numeric(10, 2), placed timestamptz, \
         paid boolean, note text)",
    )?;
    database.psql(&format!(
        "INSERT INTO items SELECT n, n % 1000, n % 10000 / 100.0, '2026-01-01'::timestamptz + n * interval '1 second', \
         n % 2 = 0, repeat(md5(n::text), 8) FROM generate_series(1, {}) AS n",
        size.count(ROWS)
    ))?;
    // Otherwise the first to read would set hint bits for all.
    database.psql("VACUUM (ANALYZE, FREEZE) items")?;
    database.psql("CHECKPOINT")?;
    Ok(database)
}

fn goals(results: &Results) -> Vec<Goal> {
    let get = |figure| results.get(ROW.name, COPY, Peer::RiachoDurable, figure);
    vec![
        Goal::at_least("1,000,000 rows: rows/s", get(RATE), 100_000.0, Unit::Count),
        Goal::at_most("1,000,000 rows: memory added", get(MEMORY), f64::from(128 << 20), Unit::Bytes),
    ]
}

const COPY: &str = "1,000,000 rows, first copy";

const PSQL: &str = r"1,000,000 rows, `psql \copy` to /dev/null";

const ROWS: usize = 1_000_000;

const SECONDS: &str = "copy_seconds";

const RATE: &str = "rows_per_second";

const ROW_BYTES: &str = "bytes_each_row";

const CPU: &str = "server_cpu_us_per_row";

/// The most that the server's PSS was above what it was with an empty table.
const MEMORY: &str = "pss_bytes_added";

const COLUMNS: &[Column] = &[
    Column { heading: "rows/s", figure: RATE, unit: Unit::Count },
    Column { heading: "all after", figure: SECONDS, unit: Unit::Seconds },
    Column { heading: "bytes of a row as text", figure: ROW_BYTES, unit: Unit::Bytes },
    Column { heading: "server CPU per row", figure: CPU, unit: Unit::Micros },
    Column { heading: "memory added", figure: MEMORY, unit: Unit::Bytes },
];
