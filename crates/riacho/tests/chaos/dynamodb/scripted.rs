//! A service that does all that the real one may, at random moments.
//!
//! What it cannot do silently it does not do here: records go that nobody was told of only with a day.

use super::{Fake, Random, Rows, Stage, TABLES, View, item, key, keys_of, rows_of};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::sleep;

pub(super) async fn chaos(seed: u64, rounds: usize) {
    let mut scene = Scene::open(seed).await;
    let settle = if scene.lies { SETTLE_WHERE_IT_LIES } else { "0s" };
    let mut stage = Stage::open(&scene.fake.endpoint(), settle, seed).await;
    for round in 1..=rounds {
        for _ in 0..STEPS {
            if scene.random.one_in(12) {
                let fault = FAULTS[scene.random.below(FAULTS.len())];
                scene.inject(fault, &mut stage).await;
            } else {
                scene.write();
            }
            stage.still_read();
            sleep(scene.random.millis(10)).await;
        }
        scene.end_round();
        let before = std::mem::take(&mut scene.of_round);
        let took = stage.come_to(&scene.rows(), round).await;
        if took > SLOW {
            eprintln!("dynamodb, scripted: round {round} came to rest after {took:?}: {before:?}");
        }
        scene.season();
        if round.is_multiple_of(10) || round == rounds {
            eprintln!("dynamodb, scripted: round {round}: {}", scene.told());
        }
    }
    stage.server.stop().await;
}

struct Scene {
    fake: Fake,
    random: Random,
    views: [View; 2],
    /// Whether answers say for a while that there is nothing where there is something.
    lies: bool,
    version: u64,
    /// Shards that are closed, by table, and whether that was so when all was at rest.
    closed: BTreeMap<(&'static str, String), bool>,
    /// Shards of which a record was read: how often all was at rest since.
    read: BTreeMap<(&'static str, String), u32>,
    done: BTreeMap<&'static str, usize>,
    /// Faults of this round, in their order.
    of_round: Vec<&'static str>,
}

impl Scene {
    async fn open(seed: u64) -> Self {
        let (fake, mut random) = (Fake::start().await, Random::new(seed, "scene"));
        let views = [(); 2].map(|()| VIEWS[random.below(VIEWS.len())]);
        for (table, view) in TABLES.into_iter().zip(views) {
            fake.create_table(table, keys_of(table), Some(view), 1 + random.below(3));
        }
        let lies = random.one_in(2);
        fake.at_timestamp(random.one_in(2));
        fake.enforce_rates(random.one_in(4));
        fake.shards_per_page([1, 2, 100][random.below(3)]);
        // Both together would have a page of few records cost three polls.
        if lies {
            fake.empty_pages([0, 1, 2][random.below(3)]);
        } else {
            fake.page_bytes([3000, 1_000_000][random.below(2)]);
        }
        let (closed, read, done) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut scene =
            Self { fake, random, views, lies, version: 0, closed, read, done, of_round: Vec::new() };
        (0..30).for_each(|_| scene.write());
        scene
    }

    fn write(&mut self) {
        let table = TABLES[self.random.below(2)];
        let name = format!("k{}", self.random.below(KEYS));
        match self.random.below(10) {
            0 | 1 => self.fake.delete(table, &key(table, &name)),
            2 => self.fake.ttl_delete(table, &key(table, &name)),
            _ => self.put(table, &name),
        }
        *self.done.entry("writes").or_default() += 1;
    }

    fn put(&mut self, table: &'static str, name: &str) {
        self.version += 1;
        self.fake.put(table, item(table, name, self.version, &mut self.random));
    }

    async fn inject(&mut self, fault: &'static str, stage: &mut Stage) {
        *self.done.entry(fault).or_default() += 1;
        self.of_round.push(fault);
        let table = TABLES[self.random.below(2)];
        let open = self.fake.open_shards(table);
        let shard = open[self.random.below(open.len())].clone();
        let operation = OPERATIONS[self.random.below(OPERATIONS.len())];
        let times = 1 + self.random.below(3);
        match fault {
            "split" | "roll" => self.replace(table, &shard, fault == "split" && open.len() < SHARDS_MAX),
            "expire" => self.fake.expire_iterators(),
            "throttle" => self.fake.refuse(operation, THROTTLES[self.random.below(3)], times),
            "fail" => self.fake.refuse(operation, "InternalServerError", times),
            "cut" => self.fake.cut(operation, times),
            "cut all" => self.fake.cut_connections(),
            "delay" => self.fake.delay(operation, self.random.millis(400), times),
            "leave out" | "show open" => {
                let known: Vec<String> = self.closed.keys().map(|(_, id)| id.clone()).chain(open).collect();
                let shard = &known[self.random.below(known.len())];
                match fault {
                    "show open" => self.fake.show_open(shard, times),
                    _ => self.fake.leave_out(shard, times),
                }
            }
            "stall" if self.lies => self.stall(table, shard).await,
            "trim" if self.read.get(&(table, shard.clone())).is_some_and(|rests| *rests > 1) => {
                self.put(table, "k0");
                self.fake.trim(table, &shard, times);
            }
            "forget" => {
                let old = self.closed.iter().find(|((of, _), rested)| *of == table && **rested);
                if let Some((place, _)) = old.map(|(place, rested)| (place.clone(), *rested)) {
                    self.closed.remove(&place);
                    self.fake.forget_shard(table, &place.1);
                }
            }
            "off and on" => self.another_stream(table).await,
            "another table" => {
                self.forget_shards(table);
                self.fake.recreate_table(table);
            }
            "kill" => {
                stage.server.kill().await;
                (0..self.random.below(20)).for_each(|_| self.write());
                stage.server.restart().await;
            }
            "day" => {
                stage.server.kill().await;
                self.day();
                stage.server.restart().await;
            }
            // Not now.
            _ => *self.done.entry(fault).or_default() -= 1,
        }
    }

    fn replace(&mut self, table: &'static str, shard: &str, split: bool) {
        if split {
            self.fake.split(table, shard);
        } else {
            self.fake.roll(table, shard);
        }
        self.closed.insert((table, shard.to_owned()), false);
    }

    // For less than is needed to be believed.
    async fn stall(&mut self, table: &'static str, shard: String) {
        self.fake.stall(table, &shard, true);
        (0..5).for_each(|_| self.write());
        if self.random.one_in(2) {
            self.replace(table, &shard, false);
        }
        sleep(self.random.millis(400)).await;
        self.fake.stall(table, &shard, false);
    }

    async fn another_stream(&mut self, table: &'static str) {
        let old = self.fake.stream_arn(table).unwrap();
        self.fake.disable_stream(table);
        self.forget_shards(table);
        (0..self.random.below(5)).for_each(|_| self.write());
        sleep(self.random.millis(300)).await;
        self.fake.enable_stream(table, self.views[usize::from(table == TABLES[1])]);
        if self.random.one_in(2) {
            self.fake.forget_stream(&old);
        }
    }

    // Nobody reads for a day: all records go, and the shards that are closed, or most of them.
    fn day(&mut self) {
        (0..self.random.below(20)).for_each(|_| self.write());
        self.fake.advance(Duration::from_secs(25 * 3600));
        for table in TABLES {
            for shard in self.fake.open_shards(table) {
                self.fake.trim(table, &shard, usize::MAX);
                self.read.remove(&(table, shard.clone()));
                if self.random.one_in(4) {
                    self.replace(table, &shard, false);
                }
            }
        }
        (0..self.random.below(20)).for_each(|_| self.write());
    }

    fn forget_shards(&mut self, table: &str) {
        self.closed.retain(|(of, _), _| *of != table);
        self.read.retain(|(of, _), _| *of != table);
    }

    // The last write of a round is a put: so most shards have a record to be read.
    fn end_round(&mut self) {
        for table in TABLES {
            for number in 0..KEYS {
                if self.random.one_in(2) {
                    self.put(table, &format!("k{number}"));
                }
            }
        }
    }

    /// Notes what was surely read, now that all is at rest.
    fn season(&mut self) {
        self.closed.values_mut().for_each(|rested| *rested = true);
        for table in TABLES {
            let of_keys =
                (0..KEYS).map(|number| self.fake.shard_of(table, &key(table, &format!("k{number}"))));
            let read: BTreeSet<String> =
                of_keys.filter_map(|(shard, newest)| newest.map(|_| shard)).collect();
            for shard in read {
                *self.read.entry((table, shard)).or_default() += 1;
            }
        }
    }

    fn rows(&self) -> Rows {
        let mut rows = Rows::new();
        for table in TABLES {
            rows_of(table, &self.fake.items(table), &mut rows);
        }
        rows
    }

    fn told(&self) -> String {
        let calls = OPERATIONS.map(|operation| format!("{operation} {}", self.fake.calls(operation)));
        format!("{:?}, {}", self.done, calls.join(", "))
    }
}

const OPERATIONS: [&str; 6] =
    ["GetRecords", "GetShardIterator", "DescribeStream", "Scan", "BatchGetItem", "DescribeTable"];
const THROTTLES: [&str; 3] =
    ["ProvisionedThroughputExceededException", "LimitExceededException", "ThrottlingException"];
const FAULTS: [&str; 22] = [
    "split",
    "split",
    "roll",
    "roll",
    "expire",
    "throttle",
    "throttle",
    "fail",
    "cut",
    "cut all",
    "delay",
    "leave out",
    "leave out",
    "show open",
    "stall",
    "trim",
    "forget",
    "off and on",
    "another table",
    "kill",
    "kill",
    "day",
];
const VIEWS: [View; 6] = [
    View::NewAndOldImages,
    View::NewAndOldImages,
    View::NewAndOldImages,
    View::NewImage,
    View::KeysOnly,
    View::OldImage,
];
// That is told of.
const SLOW: Duration = Duration::from_secs(4);
const KEYS: usize = 8;
// Of one stream.
const SHARDS_MAX: usize = 6;
const STEPS: usize = 60;
// Longer than it lies.
const SETTLE_WHERE_IT_LIES: &str = "1500ms";
