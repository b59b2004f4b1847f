//! DynamoDB Local on disk, written to over HTTP by many, killed and started again.

use super::{Database, Local, Random, Rows, Stage, TABLES, View, item, key, keys_of, rows_of};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, time::Duration};
use tokio::{task::JoinSet, time::sleep};

pub(super) async fn chaos(seed: u64, rounds: usize) {
    let Some(mut local) = Local::start_on_disk().await else { return };
    let (database, mut random) = (Database::new(&local.endpoint()), Random::new(seed, "faults"));
    let views = [(); 2].map(|()| VIEWS[random.below(VIEWS.len())]);
    for (table, view) in TABLES.into_iter().zip(views) {
        database.create_table(table, keys_of(table), Some(view)).await;
    }
    let mut stage = Stage::open(&local.endpoint(), "0s", seed).await;
    let mut done = BTreeMap::<&str, usize>::new();
    for round in 1..=rounds {
        let mut writing = JoinSet::new();
        for number in 0..WRITERS {
            let random = Random::new(seed, &format!("writer/{round}/{number}"));
            let writer = Writer { database: database.clone(), number, random };
            writing.spawn(writer.run((round * WRITES * WRITERS) as u64));
        }
        while !writing.is_empty() {
            stage.still_read();
            tokio::select! {
                // Nothing is lost: the set is asked again.
                Some(ended) = writing.join_next() => *done.entry("writes").or_default() += ended.unwrap(),
                () = sleep(random.millis(FAULT_MS)) => {
                    let fault = FAULTS[random.below(FAULTS.len())];
                    *done.entry(fault).or_default() += 1;
                    match fault {
                        "kill" => {
                            stage.server.kill().await;
                            sleep(random.millis(300)).await;
                            stage.server.restart().await;
                        }
                        "crash" => local = local.restart().await,
                        _ => {
                            let at = random.below(TABLES.len());
                            another_stream(&database, TABLES[at], views[at]).await;
                        }
                    }
                }
            }
        }
        stage.come_to(&rows(&database).await, round).await;
        if round.is_multiple_of(10) || round == rounds {
            eprintln!("dynamodb, emulated: round {round}: {done:?}");
        }
    }
    stage.server.stop().await;
}

async fn another_stream(database: &Database, table: &str, view: View) {
    database.disable_stream(table).await;
    database.enable_stream(table, view).await;
}

async fn rows(database: &Database) -> Rows {
    let mut rows = Rows::new();
    for table in TABLES {
        rows_of(table, &database.scan_all(table).await, &mut rows);
    }
    rows
}

/// Writes items of its own, one request after another: so each of them only grows.
struct Writer {
    database: Database,
    number: usize,
    random: Random,
}

impl Writer {
    // Gives how many requests were answered.
    async fn run(mut self, first: u64) -> usize {
        let mut answered = 0;
        for turn in 0..WRITES {
            let (operation, body) = self.write(first + turn as u64 + 1);
            match self.database.try_call(operation, body).await {
                Ok(_) => answered += 1,
                Err(code) if REFUSALS.contains(&&*code) => answered += 1,
                // It is being started again.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
            sleep(self.random.millis(20)).await;
        }
        answered
    }

    fn write(&mut self, version: u64) -> (&'static str, Value) {
        let table = TABLES[self.random.below(TABLES.len())];
        let name = self.name();
        let put = item(table, &name, version, &mut self.random);
        match self.random.below(8) {
            0 => ("DeleteItem", json!({"TableName": table, "Key": key(table, &name)})),
            1 => {
                let hash = keys_of(table).hash.0;
                let body = json!({
                    "TableName": table, "Item": put, "ConditionExpression": "attribute_not_exists(#key)",
                    "ExpressionAttributeNames": {"#key": hash},
                });
                ("PutItem", body)
            }
            2 => {
                let body = json!({
                    "TableName": table, "Key": key(table, &name), "UpdateExpression": "SET v = :v, n = :n REMOVE more",
                    "ExpressionAttributeValues": {":v": put["v"], ":n": put["n"]},
                });
                ("UpdateItem", body)
            }
            3 => {
                let one = json!({"Put": {"TableName": table, "Item": put}});
                let other = TABLES[usize::from(table == TABLES[0])];
                let two = match self.random.below(2) {
                    0 => json!({"Delete": {"TableName": other, "Key": key(other, &name)}}),
                    _ => {
                        json!({"Put": {"TableName": other, "Item": item(other, &name, version, &mut self.random)}})
                    }
                };
                ("TransactWriteItems", json!({"TransactItems": [one, two]}))
            }
            4 => ("BatchWriteItem", self.batch(table, version)),
            _ => ("PutItem", json!({"TableName": table, "Item": put})),
        }
    }

    fn batch(&mut self, table: &str, version: u64) -> Value {
        let mut requests = BTreeMap::new();
        for _ in 0..4 {
            let name = self.name();
            let request = match self.random.below(3) {
                0 => json!({"DeleteRequest": {"Key": key(table, &name)}}),
                _ => json!({"PutRequest": {"Item": item(table, &name, version, &mut self.random)}}),
            };
            requests.insert(name, request);
        }
        let requests: Vec<Value> = requests.into_values().collect();
        json!({"RequestItems": Map::from_iter([(table.to_owned(), Value::from(requests))])})
    }

    fn name(&mut self) -> String {
        format!("w{}-{}", self.number, self.random.below(KEYS))
    }
}

const VIEWS: [View; 4] = [View::NewAndOldImages, View::NewAndOldImages, View::NewImage, View::KeysOnly];
const REFUSALS: [&str; 2] = ["ConditionalCheckFailedException", "TransactionCanceledException"];
const FAULTS: [&str; 5] = ["kill", "kill", "kill", "crash", "off and on"];
const WRITERS: usize = 3;
// Of one writer in a round.
const WRITES: usize = 40;
// Of one writer.
const KEYS: usize = 4;
// Between two faults: of a round about one.
const FAULT_MS: usize = 1000;
