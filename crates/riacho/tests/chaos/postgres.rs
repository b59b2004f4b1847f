//! A PostgreSQL server that many sessions change, as a source, while our server is killed, the database crashes, sessions are
//! ended and the slot is dropped: every reader ends with the rows of the database, shows no half transaction and no value
//! that was rolled back, and is never told to begin anew.
//!
//! Every transaction keeps the sum of `n` over both tables at 0. `ROUNDS` is how often all comes to rest and is compared.

use super::{
    PATIENCE,
    client::{Blocks, Body, ask},
    database::{Postgres, PostgresOptions},
    random::{Random, seed},
    server::Server,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_postgres::{Client, NoTls};

/// By table and key.
type Rows = BTreeMap<(String, String), Value>;

/// What a reader shows.
type Shown = Arc<Mutex<Rows>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_end_with_the_rows_of_a_database_that_crashes() {
    let seed = seed();
    let usual = if std::env::var_os("SLOW").is_some() { ROUNDS_SLOW } else { ROUNDS };
    let rounds = std::env::var("ROUNDS").map_or(usual, |rounds| rounds.parse().unwrap());
    eprintln!("postgres: SEED={seed} ROUNDS={rounds}");
    if let Err(err) = tokio::spawn(async move { chaos(seed, rounds).await }).await {
        panic!("postgres: SEED={seed} replays this, as far as the system's timing allows\n{err}");
    }
}

async fn chaos(seed: u64, rounds: usize) {
    let mut db = Postgres::start(PostgresOptions::default()).await;
    db.psql(SCHEMA).await;
    let file = format!("[[source]]\nname = \"bank\"\npostgres = \"{}\"\ntables = [\"a\", \"b\"]\n", db.url());
    let settings = [("RIACHO_RETRY", "100ms")];
    let mut server = Server::start(&settings, &file).await;
    // Who asks before a source has reached its database for the first time is shown its tables empty, and filled in parts.
    until_ready(&server).await;
    let mut reading = JoinSet::new();
    let shown: Vec<Shown> = QUERIES.iter().map(|_| Shown::default()).collect();
    for (number, query) in QUERIES.iter().enumerate() {
        let reader = Reader { query, cursor: String::new(), rows: shown[number].clone(), group: Vec::new() };
        reading.spawn(reader.run(server.address, Random::new(seed, &format!("reader/{number}"))));
    }
    let (mut random, mut done) = (Random::new(seed, "faults"), BTreeMap::<&str, usize>::new());
    for round in 1..=rounds {
        let mut writing = JoinSet::new();
        for number in 0..WRITERS {
            let random = Random::new(seed, &format!("writer/{round}/{number}"));
            writing.spawn(write(db.socket_url(), (round, number), random));
        }
        while !writing.is_empty() {
            tokio::select! {
                // Nothing is lost: both sets are asked again.
                Some(ended) = writing.join_next() => *done.entry("transactions").or_default() += ended.unwrap(),
                Some(ended) = reading.join_next() => panic!("a reader ended: {ended:?}\n{}", server.said()),
                () = sleep(random.millis(FAULT_MS)) => {
                    let fault = FAULTS[random.below(FAULTS.len())];
                    *done.entry(fault).or_default() += 1;
                    match fault {
                        "kill" => {
                            server.kill().await;
                            sleep(random.millis(300)).await;
                            server.restart().await;
                        }
                        "crash" => {
                            db = tokio::task::spawn_blocking(move || { db.kill(); db }).await.unwrap();
                            db = db.restart().await;
                        }
                        fault => inject(&db, fault, &mut random).await,
                    }
                }
            }
        }
        let rows = all_rows(&db).await;
        let mut waiting: Vec<usize> = (0..QUERIES.len()).collect();
        let all = async {
            while !waiting.is_empty() {
                resume(&server).await;
                tokio::select! {
                    // Nothing is lost: a reader that has ended is there at the next turn.
                    () = sleep(Duration::from_millis(20)) => waiting.retain(|number| {
                        let wanted = rows.iter().filter(|((table, _), row)| (QUERIES[*number].shows)(table, row));
                        !wanted.eq(lock(&shown[*number]).iter())
                    }),
                    Some(ended) = reading.join_next() => panic!("a reader ended: {ended:?}\n{}", server.said()),
                }
            }
        };
        if timeout(REST, all).await.is_err() {
            let targets: Vec<&str> = waiting.iter().map(|number| QUERIES[*number].target).collect();
            panic!(
                "round {round}: these do not come to the rows of the database: {targets:?}\n{}",
                server.said()
            );
        }
        if round.is_multiple_of(10) || round == rounds {
            eprintln!("postgres: round {round}: {} rows, {done:?}", rows.len());
        }
    }
    server.stop().await;
}

fn lock(rows: &Shown) -> MutexGuard<'_, Rows> {
    // A reader that has panicked is told of by itself.
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}

// Has a source that waits until it tries again do so at once: how long that is says nothing here.
async fn resume(server: &Server) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let said = ask(&mut stream, "GET", "/sources", "", "").await.unwrap().body;
    if said.contains("\"state\":\"backing_off\"") {
        let resumed = ask(&mut stream, "POST", "/sources/bank/resume", "", "").await.unwrap();
        assert_eq!(resumed.status, 204, "{}", resumed.body);
    }
}

async fn until_ready(server: &Server) {
    let asking = async {
        loop {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            if ask(&mut stream, "GET", "/readyz", "", "").await.unwrap().status == 200 {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("never ready\n{}", server.said()));
}

async fn inject(db: &Postgres, fault: &str, random: &mut Random) {
    let sql = match fault {
        "cut" => "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'riacho'".to_owned(),
        "end" => "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = \
                  'client backend' AND random() < 0.5"
            .to_owned(),
        "drop" => DROP_SLOT.to_owned(),
        "add" => {
            let table = ["a", "b"][random.below(2)];
            format!("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS more{} int DEFAULT {}", random.below(2), random.below(9))
        }
        "remove" => {
            let table = ["a", "b"][random.below(2)];
            format!("ALTER TABLE {table} DROP COLUMN IF EXISTS more{}", random.below(2))
        }
        other => panic!("{other}"),
    };
    // The session may be one of those that are ended.
    let Ok((client, connection)) = tokio_postgres::connect(&db.socket_url(), NoTls).await else { return };
    let connection = tokio::spawn(connection);
    let _ = client.simple_query(&sql).await;
    connection.abort();
}

const SCHEMA: &str = "CREATE TABLE a (id int PRIMARY KEY, n bigint NOT NULL, pad text);
    CREATE TABLE b (id text PRIMARY KEY, n bigint NOT NULL, pad text);
    INSERT INTO a SELECT i, i, repeat('x', i) FROM generate_series(1, 100) AS i;
    INSERT INTO b SELECT i::text, -i, NULL FROM generate_series(1, 100) AS i;";

const DROP_SLOT: &str = "DO $$ BEGIN FOR i IN 1..200 LOOP
      BEGIN PERFORM pg_drop_replication_slot(slot_name) FROM pg_replication_slots; EXIT;
      EXCEPTION WHEN object_in_use THEN
        PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL;
      END;
    END LOOP; END $$";

/// What a reader asks for, and which of the rows it is shown.
struct Query {
    target: &'static str,
    shows: fn(&str, &Value) -> bool,
    /// Whether it sees both tables whole.
    balanced: bool,
}

const QUERIES: [Query; 6] = [
    Query { target: "/streams?table=a&table=b", shows: |_, _| true, balanced: true },
    Query { target: "/streams?table=a&table=b&conflate=0", shows: |_, _| true, balanced: true },
    Query { target: "/streams?table=a&table=b&min_interval=100ms", shows: |_, _| true, balanced: true },
    Query { target: "/tables/a", shows: |table, _| table == "a", balanced: false },
    Query {
        target: "/tables/a?where=n+%3E+50",
        shows: |table, row| table == "a" && row["n"].as_i64() > Some(50),
        balanced: false,
    },
    Query {
        target: "/tables/b?where=n+%3C+0&conflate=0",
        shows: |table, row| table == "b" && row["n"].as_i64() < Some(0),
        balanced: false,
    },
];

/// A page that comes back with its cursor and keeps its rows.
struct Reader {
    query: &'static Query,
    cursor: String,
    rows: Shown,
    group: Vec<Value>,
}

impl Reader {
    async fn run(mut self, address: SocketAddr, mut random: Random) {
        loop {
            let read = self.read(address);
            // However a connection ends, the next one goes on from the cursor; the group that was cut is dropped.
            let _ = timeout(Duration::from_millis(500) + random.millis(4000), read).await;
            self.group.clear();
            sleep(random.millis(50)).await;
        }
    }

    async fn read(&mut self, address: SocketAddr) -> io::Result<()> {
        let cursor = Some(&*self.cursor).filter(|cursor| !cursor.is_empty());
        let mut body = Body::open(address, self.query.target, "text/event-stream", cursor).await?;
        let mut blocks = Blocks::default();
        while body.read(blocks.buffer()).await? {
            for block in blocks.take() {
                assert_ne!(block.event.as_deref(), Some("riacho.reset"), "{}: {block:?}", self.query.target);
                if let (Some(data), None) = (&block.data, &block.event) {
                    assert!(!data.contains("never"), "{}: {data}", self.query.target);
                    self.group.push(serde_json::from_str(data).unwrap());
                } else if block.id.is_some() {
                    assert!(self.group.is_empty(), "{}: an id within a group", self.query.target);
                }
                if let Some(id) = block.id {
                    self.cursor = id;
                    self.apply();
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self) {
        let group = std::mem::take(&mut self.group);
        if group.is_empty() {
            return;
        }
        let mut rows = lock(&self.rows);
        for message in &group {
            let table = message["type"].as_str().unwrap_or_default().to_owned();
            let key = message["key"].as_str().unwrap_or_default().to_owned();
            match (message["headers"]["operation"].as_str(), message["headers"]["control"].as_str()) {
                (Some("delete"), _) => drop(rows.remove(&(table, key))),
                (Some(_), _) => drop(rows.insert((table, key), message["value"].clone())),
                (None, Some("snapshot-start")) => rows.retain(|(other, _), _| *other != table),
                (None, Some("snapshot-end")) => {}
                other => panic!("{other:?} in {message}"),
            }
        }
        if self.query.balanced {
            let sum: i64 = rows.values().map(|row| row["n"].as_i64().unwrap()).sum();
            let shown: Vec<String> =
                group.iter().take(8).map(|m| m.to_string().chars().take(120).collect()).collect();
            assert_eq!(sum, 0, "{}: half a transaction of {}: {shown:#?}", self.query.target, group.len());
        }
    }
}

// Transactions of one session, begun anew where it is ended; gives how many were committed, as far as it was told.
async fn write(url: String, (round, number): (usize, usize), mut random: Random) -> usize {
    let (mut client, mut committed): (Option<Client>, usize) = (None, 0);
    for turn in 0..TRANSACTIONS {
        if client.is_none() {
            match tokio_postgres::connect(&url, NoTls).await {
                Ok((new, connection)) => {
                    tokio::spawn(connection);
                    client = Some(new);
                }
                Err(_) => {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            }
        }
        let Some(session) = &client else { continue };
        // Of writers of one round no two make the same key.
        let new = (round * WRITERS + number) * 100_000 + turn * 1000 + 1000;
        let sql = transaction(new, &mut random);
        match session.simple_query(&sql).await {
            Ok(_) => committed += 1,
            Err(_) if session.is_closed() => client = None,
            // A deadlock, or nothing to move.
            Err(_) => drop(session.simple_query("ROLLBACK").await),
        }
        sleep(random.millis(30)).await;
    }
    committed
}

fn transaction(new: usize, random: &mut Random) -> String {
    let x = random.below(1000);
    let a = |order: &str| format!("(SELECT id FROM a ORDER BY {order} LIMIT 1)");
    let b = |order: &str| format!("(SELECT id FROM b ORDER BY {order} LIMIT 1)");
    // Fails where one of the two is gone by now, so that none of it is committed.
    let balance = "DO $$ BEGIN IF (SELECT sum(n) FROM (SELECT n FROM a UNION ALL SELECT n FROM b) AS sides) <> 0 THEN \
                   RAISE 'half'; END IF; END $$;";
    let pad = match random.below(8) {
        0 => {
            format!("(SELECT string_agg(md5((i * {x})::text), '') FROM generate_series(1, {}) AS i)", 100 + x)
        }
        _ => format!("'{x}'"),
    };
    let (one, two) = (a("random()"), b("random()"));
    let transfer =
        format!("UPDATE a SET n = n - {x} WHERE id = {one}; UPDATE b SET n = n + {x} WHERE id = {two};");
    let insert =
        format!("INSERT INTO a VALUES ({new}, {x}, {pad}); INSERT INTO b VALUES ('{new}', -{x}, NULL);");
    let delete = format!(
        "WITH gone AS (DELETE FROM a WHERE id = {one} RETURNING n)
         INSERT INTO b SELECT 'd{new}', n FROM gone;"
    );
    let never =
        "UPDATE a SET pad = 'never'; INSERT INTO b VALUES ('never', 0, 'never'); DELETE FROM b WHERE n < 0;";
    let body = match random.below(12) {
        0 | 1 => insert,
        2 => {
            format!("UPDATE a SET id = {new} WHERE id = {one}; UPDATE b SET id = 'k{new}' WHERE id = {two};")
        }
        3 => format!(
            "UPDATE a SET pad = {pad}, n = n + 1 WHERE id = {one}; UPDATE b SET n = n - 1 WHERE id = {two};"
        ),
        4 => delete,
        5 => format!("DELETE FROM b WHERE n = 0; {transfer}"),
        6 => {
            let count = 10 + x / 10;
            format!(
                "INSERT INTO a SELECT {new} + i, 1, 'many' FROM generate_series(0, {count} - 1) AS i;
                 INSERT INTO b VALUES ('m{new}', -{count}, 'many');"
            )
        }
        7 => format!(
            "WITH gone AS (DELETE FROM a WHERE pad = 'many' RETURNING n) INSERT INTO b SELECT 'g{new}', sum(n) FROM gone \
             HAVING count(*) > 0;"
        ),
        8 => return format!("BEGIN; {insert} {never} ROLLBACK"),
        9 => format!("SAVEPOINT s; {never} ROLLBACK TO s; SAVEPOINT t; {transfer} RELEASE t; {insert}"),
        _ => transfer,
    };
    // Only a snapshot for all statements judges the balance as the commit leaves it.
    format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {body} {balance} COMMIT")
}

async fn all_rows(db: &Postgres) -> Rows {
    let rows = db
        .psql("SELECT 'a', id::text, to_jsonb(a) FROM a UNION ALL SELECT 'b', id, to_jsonb(b) FROM b")
        .await;
    let row = |row: Vec<Option<String>>| {
        let [table, key, value] = row.try_into().unwrap();
        ((table.unwrap(), key.unwrap()), serde_json::from_str(&value.unwrap()).unwrap())
    };
    rows.into_iter().map(row).collect()
}

// Crashes of ours and of the database are as likely as all else together.
const FAULTS: [&str; 10] = ["kill", "kill", "kill", "crash", "crash", "cut", "end", "drop", "add", "remove"];
const WRITERS: usize = 4;
// Of one writer in a round.
const TRANSACTIONS: usize = 20;
// Between two faults: of a round about one.
const FAULT_MS: usize = 800;
const ROUNDS: usize = 10;
const ROUNDS_SLOW: usize = 100;
// How long a source may be waiting before it tries again, a while for its tables, and some.
const REST: Duration = Duration::from_secs(120);
