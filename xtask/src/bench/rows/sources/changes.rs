//! 30,000 changes a second for 20 seconds, in transactions of 30 rows, to 1,000 subscribers: to each its own rows, and to each
//! all of them, which is 30 million deliveries a second. Beside it `pg_recvlogical`, one reader of all changes.

use super::{decoded::Decoded, follow, has_rows, number, percentiles, tail, watching};
use crate::bench::{
    database::{Postgres, Sync, Writing, stamp},
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
use std::time::Duration;

pub(crate) const ROW: Row =
    Row { name: "sources-changes", aliases: &["sources"], cases, columns: COLUMNS, goals };

/// Who reads what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    /// Every change goes to one subscriber.
    Own,
    /// Every change goes to all.
    All,
}

fn cases(size: Size) -> Vec<Case> {
    let riacho = |audience| {
        Case::new(workload(audience), Peer::RiachoDurable, move |stage| riacho(stage, size, audience))
    };
    vec![
        riacho(Audience::Own),
        riacho(Audience::All),
        Case::new(REFERENCE, Peer::Databases, move |stage| reference(stage, size)),
    ]
}

/// What is written: each of the blocks of rows in turn, by sessions that each have their own.
struct Plan {
    blocks: usize,
    turns: usize,
    /// Transactions a second.
    rate: usize,
    subscribers: usize,
}

impl Plan {
    fn new(size: Size, audience: Audience) -> Self {
        // Those who read all rows have fewer to begin with.
        let blocks = size.count(if audience == Audience::Own { 1_000 } else { 100 });
        let (transactions, rate) = if size == Size::Quick { (100, 500) } else { (20_000, 1_000) };
        Self { blocks, turns: transactions / blocks, rate, subscribers: size.count(1_000) }
    }

    fn rows(&self) -> usize {
        self.blocks * ROWS_EACH
    }

    fn transactions(&self) -> usize {
        self.blocks * self.turns
    }

    fn changes(&self) -> usize {
        self.transactions() * ROWS_EACH
    }

    /// How long writing takes if it keeps its rate.
    fn time(&self) -> Duration {
        Duration::from_secs_f64(number(self.transactions()) / number(self.rate))
    }

    /// A database with the rows, each of an owner.
    fn database(&self) -> Result<Postgres> {
        let database = Postgres::start(Sync::Off)?;
        // Half a page for the next version of each row, as one would give to rows that change all the time.
        database.psql(
            "CREATE TABLE items (id int PRIMARY KEY, owner text NOT NULL, v text NOT NULL) WITH (fillfactor = 50)",
        )?;
        let width = (self.subscribers - 1).to_string().len();
        database.psql(&format!(
            "INSERT INTO items SELECT n, 'u' || lpad((n % {})::text, {width}, '0'), '' \
             FROM generate_series(0, {}) AS n",
            self.subscribers,
            self.rows() - 1
        ))?;
        database.psql("VACUUM (ANALYZE, FREEZE) items")?;
        Ok(database)
    }

    /// Writes all of it; changes a second.
    fn write(&self, database: &Postgres, audience: Audience) -> Result<f64> {
        let blocks_each = self.blocks / SESSIONS;
        // A series of stamps is one that each of its readers sees whole.
        let stamp = match audience {
            Audience::Own => stamp("id", &format!(":n / {blocks_each}")),
            Audience::All => stamp(":client_id", &format!(":n * {ROWS_EACH} + id - :low")),
        };
        let script = format!(
            "\\set n :n + 1\n\\set low (:client_id * {blocks_each} + :n % {blocks_each}) * {ROWS_EACH}\n\
             UPDATE items SET v = {stamp} WHERE id BETWEEN :low AND :low + {};\n",
            ROWS_EACH - 1
        );
        let begin = now();
        let each = self.transactions() / SESSIONS;
        database
            .pgbench(&script, &Writing { sessions: SESSIONS, transactions_each: each, rate: self.rate })?;
        Ok(number(self.changes()) / (now() - begin).as_secs_f64())
    }
}

fn riacho(stage: &Stage, size: Size, audience: Audience) -> Result<Figures> {
    let plan = Plan::new(size, audience);
    let database = plan.database()?;
    let server = Server::start(stage, Peer::RiachoDurable, Cores::All, &[])?;
    follow(&server, &format!("postgres = \"{}\"\ntables = [\"items\"]", database.url()), || ())?;
    has_rows(&server, plan.rows())?;
    let load = watching(stage, &server, plan.subscribers, plan.time() + tail(size));
    let load = match audience {
        Audience::Own => {
            load.set("--keys", plan.subscribers).set("--path", "/tables/items?where=owner='u{n}'")
        }
        Audience::All => load.set("--path", "/tables/items"),
    };
    let load = load.start()?;
    load.wait_until_connected()?;
    let each = if audience == Audience::Own { 1 } else { plan.subscribers };
    let expected = number(plan.changes() * each);
    // The client's window has just begun: where its last delivery was is told from here.
    let connected = now();
    let rate = plan.write(&database, audience)?;
    let written = (now() - connected).as_secs_f64();
    let mut figures = load.finish()?;
    let last = figures.get("window.last_delivery_seconds").copied().context("nothing was delivered")?;
    let lag = (last - written).max(0.0);
    let received = figures.get("window.deliveries").copied().context("the client counted nothing")?;
    figures.insert(SHARE.to_owned(), rounded(received / expected));
    figures.insert(LAG.to_owned(), rounded(lag));
    figures.insert(RATE.to_owned(), rounded(rate));
    Ok(figures)
}

/// The same changes to one `pg_recvlogical`.
fn reference(stage: &Stage, size: Size) -> Result<Figures> {
    let plan = Plan::new(size, Audience::Own);
    let database = plan.database()?;
    let mut decoded = Decoded::start(&database, stage.directory.join("pg_recvlogical"))?;
    let rate = plan.write(&database, Audience::Own)?;
    let lag = decoded.wait(plan.changes(), tail(size))?;
    let times = decoded.finish()?;
    let (middle, high) = percentiles(&times).context("no stamps")?;
    Ok([
        (SHARE.to_owned(), rounded(number(times.len()) / number(plan.changes()))),
        (LAG.to_owned(), rounded(lag.as_secs_f64())),
        (RATE.to_owned(), rounded(rate)),
        ("latency.p50".to_owned(), middle),
        ("latency.p99".to_owned(), high),
    ]
    .into())
}

fn goals(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for audience in [Audience::Own, Audience::All] {
        let name = workload(audience);
        let get = |figure| results.get(ROW.name, name, Peer::RiachoDurable, figure);
        // Open-loop, with the programs' start and end in the time.
        goals.push(Goal::at_least(format!("{name}: changes/s"), get(RATE), 30_000.0 * 0.97, Unit::Count));
        goals.push(Goal::at_least(format!("{name}: delivered"), get(SHARE), 1.0, Unit::Share));
        goals.push(Goal::at_most(format!("{name}: lag at the end"), get(LAG), 1.0, Unit::Seconds));
    }
    goals
}

fn workload(audience: Audience) -> &'static str {
    match audience {
        Audience::Own => "1,000 subscribers, each of its own rows",
        Audience::All => "1,000 subscribers, each of all rows",
    }
}

const REFERENCE: &str = "one `pg_recvlogical`";

/// Rows of a transaction.
const ROWS_EACH: usize = 30;

/// Divides the blocks of every size.
const SESSIONS: usize = 5;

const SHARE: &str = "delivered_share";

/// From the writers' end until the last delivery; of what never came, the share tells.
const LAG: &str = "lag_seconds_at_end";

const RATE: &str = "changes_per_second";

const COLUMNS: &[Column] = &[
    Column { heading: "changes/s", figure: RATE, unit: Unit::Count },
    Column { heading: "delivered", figure: SHARE, unit: Unit::Share },
    Column { heading: "lag at the end", figure: LAG, unit: Unit::Seconds },
    Column {
        heading: "server CPU per delivery",
        figure: "window.server_cpu_us_per_delivery",
        unit: Unit::Micros,
    },
    Column { heading: "p50", figure: "latency.p50", unit: Unit::Latency },
    Column { heading: "p99", figure: "latency.p99", unit: Unit::Latency },
    Column { heading: "lost", figure: "lost", unit: Unit::Count },
    Column { heading: "closed by the server", figure: "ended", unit: Unit::Count },
];
