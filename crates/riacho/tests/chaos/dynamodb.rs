//! Tables of DynamoDB as a source, while our server is killed, the service fails, shards split and end, and records are lost:
//! every reader ends with the items of the table, never sees one go back to an older state, and is never told to begin anew.
//!
//! Each write has a number, `v`, that is greater than those of all writes of that item before it, also of one that was
//! deleted. `ROUNDS` is how often all comes to rest and is compared with a consistent scan.

/// Readers that resume, and what they show.
mod readers;
/// Against our fake: what no emulator does.
mod scripted;
/// Against DynamoDB Local: what only a real database does.
mod emulated;

use super::{
    PATIENCE,
    client::ask,
    random::{Random, seed},
    server::Server,
    service::{Database, Fake, Keys, Local, View},
};
use readers::{QUERIES, Reader, Rows, Shown, lock};
use riacho_core::source::dynamodb::{item::Item, key::KeySchema};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_end_with_the_items_of_a_service_that_does_all_it_may() {
    let (seed, rounds) = (seed(), rounds(ROUNDS_SCRIPTED));
    eprintln!("dynamodb, scripted: SEED={seed} ROUNDS={rounds}");
    if let Err(err) = tokio::spawn(scripted::chaos(seed, rounds)).await {
        panic!("dynamodb, scripted: SEED={seed} replays this, as far as the system's timing allows\n{err}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_end_with_the_items_of_an_emulator_that_is_killed() {
    let (seed, rounds) = (seed(), rounds(ROUNDS_EMULATED));
    eprintln!("dynamodb, emulated: SEED={seed} ROUNDS={rounds}");
    if let Err(err) = tokio::spawn(emulated::chaos(seed, rounds)).await {
        panic!("dynamodb, emulated: SEED={seed} replays this, as far as the system's timing allows\n{err}");
    }
}

fn rounds(usual: usize) -> usize {
    let slow = if std::env::var_os("SLOW").is_some() { 10 } else { 1 };
    std::env::var("ROUNDS").map_or(usual * slow, |rounds| rounds.parse().unwrap())
}

/// Our server, and its readers.
struct Stage {
    server: Server,
    reading: JoinSet<()>,
    shown: Vec<Shown>,
}

impl Stage {
    /// Serves the tables at an endpoint.
    async fn open(endpoint: &str, settle: &str, seed: u64) -> Self {
        let file = format!(
            "[[source]]\nname = \"shop\"\ndynamodb = \"us-east-1\"\nendpoint = \"{endpoint}\"\naccess_key_id = \"test\"\n\
             secret_access_key = \"test\"\ntables = [\"orders\", \"carts\"]\npoll = \"200ms\"\nsettle = \"{settle}\"\n"
        );
        let server = Server::start(&[("RIACHO_RETRY", "100ms")], &file).await;
        let mut stage = Self { server, reading: JoinSet::new(), shown: Vec::new() };
        stage.until_ready().await;
        for (number, query) in QUERIES.iter().enumerate() {
            let shown = Shown::default();
            let reader = Reader::new(query, shown.clone());
            stage.shown.push(shown);
            let random = Random::new(seed, &format!("reader/{number}"));
            stage.reading.spawn(reader.run(stage.server.address, random));
        }
        stage
    }

    // Who asks before a source has its first rows is shown its tables empty, and filled in parts.
    async fn until_ready(&self) {
        let asking = async {
            loop {
                self.resume().await;
                let mut stream = TcpStream::connect(self.server.address).await.unwrap();
                if ask(&mut stream, "GET", "/readyz", "", "").await.unwrap().status == 200 {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("never ready\n{}", self.server.said()));
    }

    /// Has a source that waits, or that a person is to look at, try again at once.
    async fn resume(&self) {
        let said = self.sources().await;
        if ["backing_off", "broken"].iter().any(|state| said.contains(&format!("\"state\":\"{state}\""))) {
            let mut stream = TcpStream::connect(self.server.address).await.unwrap();
            let resumed = ask(&mut stream, "POST", "/sources/shop/resume", "", "").await.unwrap();
            assert_eq!(resumed.status, 204, "{}", resumed.body);
        }
    }

    async fn sources(&self) -> String {
        let mut stream = TcpStream::connect(self.server.address).await.unwrap();
        ask(&mut stream, "GET", "/sources", "", "").await.unwrap().body
    }

    /// Panics if a reader has ended: only what it found wrong ends it.
    fn still_read(&mut self) {
        if let Some(ended) = self.reading.try_join_next() {
            panic!("a reader ended: {ended:?}\n{}", self.server.said());
        }
    }

    /// Waits until every reader shows these rows; about how long that took.
    async fn come_to(&mut self, rows: &Rows, round: usize) -> Duration {
        let mut waiting: Vec<usize> = (0..QUERIES.len()).collect();
        let mut turns = 0_u32;
        let all = async {
            while !waiting.is_empty() {
                self.still_read();
                if turns.is_multiple_of(10) {
                    self.resume().await;
                }
                turns += 1;
                sleep(TURN).await;
                waiting.retain(|number| QUERIES[*number].of(rows) != lock(&self.shown[*number]).rows);
            }
        };
        if timeout(REST, all).await.is_err() {
            let differ = waiting.iter().map(|number| self.difference(*number, rows));
            panic!(
                "round {round}: these do not come to the items of the tables:\n{}\n{}\n{}",
                differ.collect::<Vec<_>>().join("\n"),
                self.sources().await,
                self.server.said()
            );
        }
        TURN * turns
    }

    fn difference(&self, number: usize, rows: &Rows) -> String {
        let (wanted, shown) = (QUERIES[number].of(rows), lock(&self.shown[number]));
        let missing = wanted.iter().filter(|(key, row)| shown.rows.get(*key) != Some(row));
        let extra = shown.rows.iter().filter(|(key, row)| wanted.get(*key) != Some(row));
        let (missing, extra): (Vec<_>, Vec<_>) = (missing.collect(), extra.collect());
        format!("{}\n  wanted {missing:?}\n  shown {extra:?}", QUERIES[number].target)
    }
}

const TABLES: [&str; 2] = ["orders", "carts"];

/// The key attributes of a table.
fn keys_of(table: &str) -> Keys<'static> {
    match table {
        "orders" => Keys::ID,
        _ => Keys { hash: ("who", "S"), range: Some(("at", "N")) },
    }
}

/// The key of a table's item of this name.
fn key(table: &str, name: &str) -> Value {
    match table {
        "orders" => json!({"id": {"S": name}}),
        _ => json!({"who": {"S": name}, "at": {"N": name.len().to_string()}}),
    }
}

/// An item of that key, and of this version.
fn item(table: &str, name: &str, version: u64, random: &mut Random) -> Value {
    let mut item = key(table, name);
    item["v"] = json!({"N": version.to_string()});
    item["n"] = json!({"N": random.below(100).to_string()});
    let more = match random.below(9) {
        0 => json!({"SS": ["b", "a"]}),
        1 => json!({"L": [{"N": "1.50"}, {"NULL": true}, {"NS": ["10", "9"]}]}),
        2 => json!({"M": {"x": {"BOOL": true}, "\u{e9}\"": {"S": ""}}}),
        3 => json!({"B": "AAEC"}),
        4 => json!({"N": "12345678901234567890123456789012345678"}),
        5 => json!({"S": "x".repeat(random.magnitude(3000))}),
        _ => return item,
    };
    item["more"] = more;
    item
}

/// Items of a table as rows, as our server makes them.
fn rows_of(table: &str, items: &[Value], into: &mut Rows) {
    let keys = keys_of(table);
    let schema = KeySchema { hash: keys.hash.0.into(), range: keys.range.map(|(name, _)| name.into()) };
    for item in items {
        let (item, mut row) = (Item::parse(item).unwrap(), String::new());
        item.json(None, &mut row);
        let key = schema.text(&item).unwrap().into_string();
        into.insert((table.to_owned(), key), serde_json::from_str(&row).unwrap());
    }
}

// Between two looks at what readers show.
const TURN: Duration = Duration::from_millis(20);
const ROUNDS_SCRIPTED: usize = 8;
const ROUNDS_EMULATED: usize = 3;
// How long a service may be believed to be throttled, a parent that is gone be waited for, and some.
const REST: Duration = Duration::from_secs(90);
