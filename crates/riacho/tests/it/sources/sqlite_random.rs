//! Random work of several writers on a file, while its reader is killed: at rest, our rows are the file's, and no reader
//! ever saw half a commit. `SEED=` replays one; seeds are printed where it fails.

use super::sqlite::Shop;
use crate::{live_tables::Reader, support::until};
use rusqlite::{Connection, types::Value as Stored};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// A generator (SplitMix64): the same numbers from the same seed, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[usize::try_from(self.below(words.len() as u64)).unwrap()]
    }
}

const SCHEMA: &str = "
    CREATE TABLE a (id INTEGER PRIMARY KEY, u INT UNIQUE, e TEXT, round INT);
    CREATE UNIQUE INDEX a_e ON a(lower(e)) WHERE e IS NOT NULL;
    CREATE TABLE b (x TEXT COLLATE NOCASE, y INT, u, round INT, PRIMARY KEY (y, x)) WITHOUT ROWID;
    CREATE UNIQUE INDEX b_u ON b(u);
    CREATE TABLE c (k PRIMARY KEY, v REFERENCES a(id) ON DELETE CASCADE, round INT);
    CREATE TABLE rounds (id INTEGER PRIMARY KEY, a INT, b INT);
    INSERT INTO rounds VALUES (1, 0, 0);";

/// One statement of random work. Many fail on a constraint, which is part of it.
fn statement(random: &mut Random, round: u64) -> String {
    let n = random.below(12);
    let m = random.below(12);
    let how = random.pick(&["INSERT", "REPLACE", "INSERT OR IGNORE", "REPLACE"]);
    let or = random.pick(&["", "OR REPLACE", "OR IGNORE"]);
    let word = random.pick(&["'q'", "'Q'", "'w'", "'W'", "'e'", "NULL"]);
    let name = random.pick(&["'q'", "'Q'", "'w'", "'W'", "'e'"]);
    let key = random.pick(&["1", "1.5", "'t'", "x'01'", "'T'", "2"]);
    match random.below(14) {
        0..=2 => format!("{how} INTO a VALUES ({n}, {m}, {word}, {round})"),
        3 => {
            format!("INSERT INTO a VALUES ({n}, {m}, NULL, 0) ON CONFLICT (u) DO UPDATE SET round = {round}")
        }
        4 => format!("UPDATE {or} a SET id = {n}, round = {round} WHERE id = {m}"),
        5 => format!("UPDATE {or} a SET u = u + 1, e = {word} WHERE id > {n}"),
        6 => format!("DELETE FROM a WHERE id = {n}"),
        7 | 8 => format!("{how} INTO b VALUES ({name}, {}, {m}, {round})", n % 3),
        9 => format!("UPDATE {or} b SET x = {name}, u = {n} WHERE y = {} AND x = 'q'", m % 3),
        10 => format!("{how} INTO c VALUES ({key}, {n}, {round})"),
        11 => format!("DELETE FROM c WHERE v > {n}"),
        12 => random.pick(&["DELETE FROM a", "DELETE FROM b", "DELETE FROM c"]).to_owned(),
        _ => format!("UPDATE c SET k = {key} WHERE v = {n}"),
    }
}

/// Commits, some of them rolled back, by one writer. Each leaves in `rounds` how many rows there were.
fn work(path: &std::path::Path, mut random: Random, commits: u64) {
    let db = Connection::open(path).unwrap();
    db.busy_timeout(Duration::from_secs(20)).unwrap();
    let keep = random.below(2) == 0;
    db.execute_batch(if keep { "PRAGMA foreign_keys = ON" } else { "PRAGMA recursive_triggers = OFF" })
        .unwrap();
    for round in 0..commits {
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        for _ in 0..=random.below(8) {
            // What fails on a constraint changes nothing; an OR ROLLBACK is not among them.
            let _ = db.execute(&statement(&mut random, round), []);
        }
        db.execute("UPDATE rounds SET a = (SELECT count(*) FROM a), b = (SELECT count(*) FROM b)", [])
            .unwrap();
        db.execute_batch(if random.below(5) == 0 { "ROLLBACK" } else { "COMMIT" }).unwrap();
        match random.below(40) {
            0 => drop(db.execute_batch("VACUUM")),
            1 => drop(db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")),
            2 => drop(db.execute_batch("DROP TRIGGER IF EXISTS _riacho_delete_a")),
            3 => drop(db.execute_batch("ALTER TABLE c ADD COLUMN more DEFAULT 1")),
            _ => {}
        }
    }
}

fn stored(db: &Connection, table: &str, key: &[&str]) -> BTreeMap<String, Value> {
    let mut select = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
    let names: Vec<String> = select.column_names().map(str::to_owned).collect();
    let mut rows = select.query([]).unwrap();
    let mut all = BTreeMap::new();
    while let Some(row) = rows.next().unwrap() {
        let mut object = serde_json::Map::new();
        for (at, name) in names.iter().enumerate() {
            let value = match row.get(at).unwrap() {
                Stored::Null => Value::Null,
                Stored::Integer(n) => json!(n),
                Stored::Real(x) => json!(x),
                Stored::Text(text) => json!(text),
                Stored::Blob(bytes) => {
                    assert_eq!(bytes, [1]);
                    json!("AQ==")
                }
            };
            object.insert(name.clone(), value);
        }
        let parts: Vec<Value> = key.iter().map(|name| object[*name].clone()).collect();
        let text = match parts.as_slice() {
            [Value::String(text)] => text.clone(),
            [one] => one.to_string(),
            all => Value::from(all).to_string(),
        };
        all.insert(text, Value::Object(object));
    }
    all
}

async fn round(seed: u64) {
    let mut random = Random(seed);
    let mode = random.pick(&["wal", "wal", "delete", "persist"]);
    let mut shop = Shop::open(&format!("PRAGMA journal_mode = {mode}; {SCHEMA}"), &["*"]).await;
    shop.until("live").await;
    let mut page = Reader::open(&shop.server, "/tables/a", "").await;
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let (path, random) = (shop.path.clone(), Random(random.next()));
            std::thread::spawn(move || work(&path, random, 60))
        })
        .collect();
    for _ in 0..random.below(4) {
        until("a change, or the end", async || {
            let changes = shop.sources.list().pop().map_or(0, |info| info.lag.changes);
            (changes > 5 || writers.iter().all(|writer| writer.is_finished())).then_some(())
        })
        .await;
        shop.stop().await;
        shop.start().await;
    }
    for writer in writers {
        writer.join().unwrap();
    }
    let db = Connection::open(&shop.path).unwrap();
    for (table, key) in [("a", ["id"].as_slice()), ("b", &["y", "x"]), ("c", &["k"]), ("rounds", &["id"])] {
        let want = stored(&db, table, key);
        let mut last = BTreeMap::new();
        until(&format!("seed {seed}: the rows of {table}: {want:?}"), async || {
            last = shop.rows(table);
            (last == want).then_some(())
        })
        .await;
    }
    page.until(serde_json::to_value(stored(&db, "a", &["id"])).unwrap()).await;
    assert_eq!(page.resets, Vec::<Value>::new(), "seed {seed}");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_work_of_several_writers_ends_with_equal_rows() {
    let given = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
    let rounds = std::env::var("ROUNDS").ok().map_or(6, |rounds| rounds.parse().expect("ROUNDS is a number"));
    let seeds = match given {
        Some(seed) => vec![seed],
        None => (0..rounds).map(|_| getrandom_seed()).collect(),
    };
    for seed in seeds {
        println!("SEED={seed}");
        round(seed).await;
    }
}

fn getrandom_seed() -> u64 {
    getrandom::u64().unwrap() >> 32
}
