//! Rows and their readers while connections are cut and the server is killed: at the end every reader has the rows of its
//! query, and never showed half a transaction.

use super::{
    PATIENCE,
    client::{Blocks, Body, ask},
    proxy::Proxy,
    random::{Random, seed},
    server::Server,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, io, net::SocketAddr, sync::atomic::Ordering, time::Duration};
use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

type Rows = BTreeMap<String, Value>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_what_was_acknowledged_and_readers_end_with_them() {
    run("tables, default limits", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_tables_that_fall_behind_end_with_the_rows() {
    let least = [
        ("RIACHO_LIMITS_EVENT_BYTES_MAX", "64KiB"),
        ("RIACHO_LIMITS_VIEW_BYTES_MAX", "64KiB"),
        ("RIACHO_LIMITS_VIEWS_BYTES_MAX", "64KiB"),
        ("RIACHO_LIMITS_TAIL_BYTES_MAX", "64KiB"),
        ("RIACHO_HEARTBEAT", "1s"),
    ];
    run("tables, least memory", &least).await;
}

async fn run(name: &str, settings: &[(&'static str, &'static str)]) {
    let seed = seed();
    eprintln!("{name}: SEED={seed}");
    let settings = settings.to_vec();
    if let Err(err) = tokio::spawn(async move { chaos(seed, settings).await }).await {
        panic!("{name}: SEED={seed} replays this\n{err}");
    }
}

async fn chaos(seed: u64, mut settings: Vec<(&'static str, &'static str)>) {
    settings.push(("RIACHO_RETRY", "100ms"));
    // Rows are padded, so that readers fall behind soon.
    let mut server = Server::start(&settings, "").await;
    let proxy = Proxy::start(server.address, seed, "proxy", CUT_BYTES).await;
    // The rows at the end, once they are known.
    let (told, end) = watch::channel(None::<Rows>);
    let mut reading = JoinSet::new();
    for (number, query) in QUERIES.iter().enumerate() {
        let reader = Reader::new(query, end.clone());
        let random = Random::new(seed, &format!("reader/{number}"));
        reading.spawn(reader.run(proxy.address, random));
    }
    let mut writing = JoinSet::new();
    for number in 0..WRITERS {
        let random = Random::new(seed, &format!("writer/{number}"));
        writing.spawn(write(number, proxy.address, random));
    }
    let mut random = Random::new(seed, "killer");
    let (mut rows, mut kills) = (Rows::new(), 0);
    while !writing.is_empty() {
        tokio::select! {
            // Neither is lost: both sets are asked again.
            ended = writing.join_next() => rows.extend(ended.unwrap().unwrap()),
            Some(ended) = reading.join_next() => panic!("a reader ended: {ended:?}"),
            () = sleep(Duration::from_millis(300) + random.millis(1000)) => {
                if random.one_in(4) { server.stop().await } else { server.kill().await }
                kills += 1;
                server.restart().await;
            }
        }
    }
    assert_eq!(all_rows(server.address).await, rows, "the rows are not what was acknowledged");
    proxy.faults.calm.store(true, Ordering::Relaxed);
    told.send(Some(rows)).unwrap();
    let readers = async {
        let mut said = Vec::new();
        while let Some(ended) = reading.join_next().await {
            said.push(ended.unwrap());
        }
        said
    };
    let Ok(said) = timeout(PATIENCE, readers).await else {
        panic!("readers do not come to the end\n{}", server.said());
    };
    server.stop().await;
    eprintln!("{kills} kills and stops\n  {}", said.join("\n  "));
}

/// What a reader asks for, and which of the rows it is shown.
struct Query {
    target: &'static str,
    shows: fn(&Value) -> bool,
    /// Whether it sees both rows of each transaction.
    pairs: bool,
}

const QUERIES: [Query; 6] = [
    Query { target: "/tables/t", shows: |_| true, pairs: true },
    Query { target: "/tables/t?conflate=0", shows: |_| true, pairs: true },
    Query { target: "/tables/t?min_interval=50ms", shows: |_| true, pairs: true },
    Query { target: "/tables/t?where=n+%3E+500", shows: |row| row["n"].as_u64() > Some(500), pairs: false },
    Query { target: "/tables/t?where=tag+IN+('a',+'b')", shows: |row| row["tag"] != "c", pairs: false },
    Query { target: "/streams?table=t&table=none", shows: |_| true, pairs: true },
];

/// A page that comes back with its cursor and keeps its rows.
struct Reader {
    query: &'static Query,
    end: watch::Receiver<Option<Rows>>,
    cursor: String,
    rows: Rows,
    group: Vec<Value>,
    connections: usize,
    groups: usize,
    snapshots: usize,
}

impl Reader {
    fn new(query: &'static Query, end: watch::Receiver<Option<Rows>>) -> Self {
        let (cursor, rows, group) = (String::new(), Rows::new(), Vec::new());
        Self { query, end, cursor, rows, group, connections: 0, groups: 0, snapshots: 0 }
    }

    async fn run(mut self, address: SocketAddr, mut random: Random) -> String {
        while !self.is_at_the_end() {
            self.connections += 1;
            // A page that stops reading now and then falls behind its view.
            let lazy = random.one_in(3);
            let read = self.read(address, lazy, &mut random);
            // However a connection ends, the next one goes on from the cursor; the group that was cut is dropped.
            let _ = timeout(Duration::from_secs(3), read).await;
            self.group.clear();
            sleep(random.millis(50)).await;
        }
        let Self { query, connections, groups, snapshots, .. } = self;
        format!("{}: {connections} connections, {groups} groups, {snapshots} snapshots", query.target)
    }

    fn is_at_the_end(&self) -> bool {
        let end = self.end.borrow();
        end.as_ref().is_some_and(|rows| {
            let shown = rows.iter().filter(|(_, row)| (self.query.shows)(row));
            shown.map(|(key, _)| key).eq(self.rows.keys())
                && self.rows.iter().all(|(key, row)| rows[key] == *row)
        })
    }

    async fn read(&mut self, address: SocketAddr, lazy: bool, random: &mut Random) -> io::Result<()> {
        let cursor = Some(&*self.cursor).filter(|cursor| !cursor.is_empty());
        let mut body = Body::open(address, self.query.target, "text/event-stream", cursor).await?;
        let mut blocks = Blocks::default();
        while !self.is_at_the_end() && body.read(blocks.buffer()).await? {
            for block in blocks.take() {
                // The log is whole, and deletes are remembered: nobody has to begin anew.
                assert_ne!(block.event.as_deref(), Some("riacho.reset"), "{}: {block:?}", self.query.target);
                if let (Some(data), None) = (&block.data, &block.event) {
                    self.group.push(serde_json::from_str(data).unwrap());
                } else if block.id.is_some() {
                    assert!(self.group.is_empty(), "{}: an id within a group", self.query.target);
                }
                if let Some(id) = block.id {
                    self.cursor = id;
                    self.apply();
                }
            }
            if lazy {
                sleep(random.millis(200)).await;
            }
        }
        Ok(())
    }

    fn apply(&mut self) {
        if self.group.is_empty() {
            return;
        }
        self.groups += 1;
        for message in std::mem::take(&mut self.group) {
            let key = message["key"].as_str().unwrap_or_default().to_owned();
            match (message["headers"]["operation"].as_str(), message["headers"]["control"].as_str()) {
                (Some("delete"), _) => drop(self.rows.remove(&key)),
                (Some(_), _) => drop(self.rows.insert(key, message["value"].clone())),
                (None, Some("snapshot-start")) if message["type"] == "t" => {
                    self.snapshots += 1;
                    self.rows.clear();
                }
                (None, Some("snapshot-start" | "snapshot-end")) => {}
                other => panic!("{other:?} in {message}"),
            }
        }
        if self.query.pairs {
            for number in 0..WRITERS {
                let [a, b] = ["a", "b"].map(|half| self.rows.get(&format!("{number}/pair/{half}")));
                let sides = [a, b].map(|row| row.map(|row| row["n"].clone()));
                assert_eq!(sides[0], sides[1], "{}: half a transaction", self.query.target);
            }
        }
    }
}

// Writes rows of its own, each request until it is acknowledged; gives the rows as they are then.
async fn write(number: usize, address: SocketAddr, mut random: Random) -> Rows {
    let mut rows = Rows::new();
    let mut connection = None;
    for request in 0..WRITES {
        let tag = ["a", "b", "c"][random.below(3)];
        let row = json!({"n": random.below(1000), "tag": tag, "text": "x".repeat(random.below(2000))});
        let key = format!("{number}/{}", random.below(20));
        let (method, target, body) = match random.below(8) {
            0 if rows.remove(&key).is_some() => ("DELETE", target(&key), String::new()),
            1 if rows.contains_key(&key) => {
                rows.get_mut(&key).unwrap()["n"] = row["n"].clone();
                ("PATCH", target(&key), json!({"n": row["n"]}).to_string())
            }
            2 | 3 => {
                let pair = ["a", "b"].map(|half| (format!("{number}/pair/{half}"), row.clone()));
                let change = |(key, row): &(String, Value)| json!({"key": key, "value": row, "headers": {"operation": "upsert"}});
                let body = Value::from(pair.iter().map(change).collect::<Vec<_>>()).to_string();
                rows.extend(pair);
                ("POST", "/tables/t".to_owned(), body)
            }
            _ => {
                rows.insert(key.clone(), row.clone());
                ("PUT", target(&key), row.to_string())
            }
        };
        let headers = format!("content-type: application/json\r\nidempotency-key: {number}-{request}\r\n");
        loop {
            if connection.is_none() {
                connection = TcpStream::connect(address).await.ok();
            }
            let Some(stream) = &mut connection else { continue };
            match ask(stream, method, &target, &headers, &body).await {
                Ok(answer) if matches!(answer.status, 200 | 201) => break,
                Ok(answer) => assert_eq!(answer.status, 503, "{method} {target}: {}", answer.body),
                Err(_) => {}
            }
            connection = None;
            sleep(random.millis(50)).await;
        }
        sleep(random.millis(5)).await;
    }
    rows
}

fn target(key: &str) -> String {
    format!("/tables/t/{}", key.replace('/', "%2F"))
}

async fn all_rows(address: SocketAddr) -> Rows {
    let mut body = Body::open(address, "/tables/t", "application/json", None).await.unwrap();
    let mut text = Vec::new();
    while body.read(&mut text).await.unwrap() {}
    let snapshot: Value = serde_json::from_slice(&text).unwrap();
    let row = |row: &Value| (row["key"].as_str().unwrap().to_owned(), row["value"].clone());
    snapshot["rows"].as_array().unwrap().iter().map(row).collect()
}

const WRITERS: usize = 4;
const WRITES: usize = 150;
const CUT_BYTES: usize = 64 * 1024;
