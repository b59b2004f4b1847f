//! One history: a log with small bounds, its writers and readers, and what happens to them.

use super::{
    Trace,
    client::{Client, Open},
    model::{Filter, Model, Query, TABLES, name_of, stream},
    random::Random,
};
use futures_util::{FutureExt, future::join_all};
use riacho::{
    clock,
    config::{Durability, Keep, StreamRule, StreamRules, TableRule, TableRules},
    feed::{Feeder, Way},
    log::{
        AppendError, Batch, Begun, Condition, Entry, Log, RowWrite, Settings, TableWrite,
        store::StoreSettings,
    },
    rows::RowsSettings,
    schema::Schemas,
    transport::{
        follower::{Follower, Next},
        long_poll::{self, Poll},
    },
    view::ViewLimits,
};
use riacho_core::{event::Data, name::Selector, start::Start, table::batch::Action, transport::Form};
use std::{path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{sync::watch, time::timeout};

/// What a seed decides once.
struct Plan {
    tables: usize,
    keys: usize,
    /// Letters that make a row long.
    pad: usize,
    settings: Settings,
    /// Whether every change is kept.
    keeps: bool,
}

struct History {
    random: Random,
    plan: Plan,
    dir: TempDir,
    log: Log,
    feeder: Arc<Feeder>,
    drain: watch::Sender<bool>,
    model: Model,
    clients: Vec<Client>,
    clients_made: usize,
    /// Numbers given to events and to pairs.
    number: u64,
    /// Whether nothing was emptied or forgotten, and every change is kept.
    kept: bool,
    trace: Trace,
}

/// Runs the history of `seed`.
pub(crate) async fn run(seed: u64, trace: &Trace) {
    let mut random = Random::new(seed, "history");
    let plan = Plan::of(&mut random);
    trace.note(format!(
        "{} tables, {} keys, pad {}, {:?}",
        plan.tables, plan.keys, plan.pad, plan.settings.rules
    ));
    let dir = directory();
    let (log, feeder) = open(dir.path(), &plan.settings);
    let (drain, kept) = (watch::channel(false).0, plan.keeps);
    let mut history = History {
        random,
        plan,
        dir,
        log,
        feeder,
        drain,
        model: Model::default(),
        clients: Vec::new(),
        clients_made: 0,
        number: 0,
        kept,
        trace: trace.clone(),
    };
    let steps = 30 + history.random.below(STEPS_MAX);
    for _ in 0..steps {
        history.step().await;
    }
    history.finish().await;
}

impl Plan {
    fn of(random: &mut Random) -> Self {
        let tables = 2 + random.below(TABLES.len() - 1);
        let big = random.one_in(3);
        let (keys, pad) =
            if big { (8 + random.below(8), 3000 + random.below(5000)) } else { (2 + random.below(8), 0) };
        let keep = match random.below(3) {
            0 => Keep { events: Some(1 + random.below(30) as u64), ..Keep::default() },
            _ => Keep::default(),
        };
        let keeps = keep == Keep::default();
        let tombstones = Duration::from_millis(if random.one_in(4) { 1 } else { 60_000 });
        let forgets = tombstones < Duration::from_secs(1);
        let tail = [0, 600, 4000, 1 << 20][random.below(4)];
        let matches = Selector::parse("**").unwrap();
        let rule =
            StreamRule { matches: matches.clone(), durability: Durability::Durable, keep, closed: false };
        let table = TableRule { matches, tombstones, old_value: false, schema: None, stream: Arc::new(rule) };
        let trim_interval =
            if keeps && !forgets { Duration::from_secs(3600) } else { Duration::from_millis(1) };
        let settings = Settings {
            rules: StreamRules::new(Vec::new()).with_tables(TableRules::new(vec![table])),
            create: true,
            views: ViewLimits { view_bytes_max: 2048 << random.below(4), views_bytes_max: 1 << 20 },
            store: StoreSettings {
                segment_bytes_max: if big { 512 << 10 } else { 16 << 10 },
                frame_bytes_max: if big { 400 << 10 } else { 15 << 10 },
                tail_bytes_max: tail,
                keys_age: Duration::from_secs(600),
                keys_max: 100,
                streams_max: 1000,
            },
            schemas: Schemas::default(),
            row_bytes_max: 1 << 20,
            rows: RowsSettings { cache_bytes: 1 << 20, pending_bytes_max: 1 << 20 },
            views_max: 1000,
            memory_bytes_max: 1 << 20,
            streams_max: 1000,
            keys_max: 100,
            trim_interval,
        };
        Self { tables, keys, pad, settings, keeps: keeps && !forgets }
    }
}

impl History {
    async fn step(&mut self) {
        match self.random.below(100) {
            0..34 => self.write().await,
            34..40 => self.publish().await,
            40..42 => self.empty().await,
            42..44 => self.expire(),
            44..62 => self.pump_one(1).await,
            62..70 => self.pump_one(1000).await,
            70..75 => self.cut(),
            75..84 => self.connect(),
            84..88 => self.poll().await,
            88..92 => self.beat(),
            92..97 => self.join(),
            97 => self.log.rows().settle(),
            98 => self.crash().await,
            _ => self.reopen().await,
        }
        let model = &self.model;
        for client in &mut self.clients {
            client.check_late(model);
        }
    }

    fn note(&self, text: String) {
        self.trace.note(text);
    }

    // One writer, or several at once, while some reader reads.
    async fn write(&mut self) {
        let count = if self.random.one_in(3) { 1 + self.random.below(4) } else { 1 };
        let writes: Vec<TableWrite> = (0..count).map(|_| self.some_write()).collect();
        for write in &writes {
            let rows = write.writes.iter().map(|row| {
                let value = row.action.value().unwrap_or("-");
                format!(
                    "{} {:?} {}",
                    row.key,
                    std::mem::discriminant(&row.action),
                    super::model::brief(value)
                )
            });
            self.note(format!("write {} {}", write.table, rows.collect::<Vec<_>>().join(", ")));
        }
        let log = self.log.clone();
        let made = join_all(writes.iter().map(|write| log.write(write.clone(), None)));
        let reads = self.random.one_in(2) && !self.clients.is_empty();
        let answers = if reads {
            let index = self.random.below(self.clients.len());
            let (client, model) = (&mut self.clients[index], &self.model);
            tokio::join!(made, pump(client, model, 3)).0
        } else {
            made.await
        };
        // The log takes them in the order in which they were asked for.
        for (write, answer) in writes.iter().zip(&answers) {
            self.model.write(write, answer);
        }
    }

    fn some_write(&mut self) -> TableWrite {
        if self.random.one_in(5) {
            return self.pair();
        }
        let table = self.random.below(self.plan.tables);
        let count = if self.random.one_in(2) { 1 } else { 1 + self.random.below(8) };
        let writes = (0..count).map(|_| self.some_row(table)).collect();
        let txid = self.random.one_in(6).then(|| "mine".into());
        TableWrite { table: name_of(table), writes, txid, key: None, source: None }
    }

    // Two rows that say the same, or are both gone.
    fn pair(&mut self) -> TableWrite {
        self.number += 1;
        let value = self.value(self.number as i64 % 10);
        let gone = self.random.one_in(6);
        let mut writes: Vec<RowWrite> = ["pair/a", "pair/b"]
            .into_iter()
            .map(|key| RowWrite {
                key: key.into(),
                action: if gone { Action::Delete } else { Action::Upsert(value.clone().into()) },
                condition: Condition::None,
            })
            .collect();
        if self.random.one_in(3) {
            writes.insert(1, self.some_row(0));
        }
        TableWrite { table: name_of(0), writes, txid: None, key: None, source: None }
    }

    fn some_row(&mut self, table: usize) -> RowWrite {
        let key: Arc<str> = format!("k{}", self.random.below(self.plan.keys)).into();
        let now = self.model.rows.get(&(table, Arc::clone(&key))).cloned();
        let n = self.random.below(10) as i64;
        let value: Box<str> = match &now {
            Some((row, _)) if self.random.one_in(8) => row.text.as_ref().into(),
            _ => self.value(n).into(),
        };
        let action = match (self.random.below(12), &now) {
            (0, _) => Action::Insert(value),
            (1, _) => Action::Update(value),
            (2 | 3, Some(_)) => Action::Patch(self.patch(n).into()),
            (4..7, Some(_)) => Action::Delete,
            (7, _) if self.random.one_in(4) => Action::Delete,
            _ => Action::Upsert(value),
        };
        let right = now.map_or(0, |(_, offset)| offset);
        let condition = match self.random.below(24) {
            0 => Condition::Match(None),
            1 => Condition::NoneMatch(None),
            2 | 3 => Condition::Match(Some(vec![1, right])),
            4 => Condition::Match(Some(vec![right + 1])),
            5 => Condition::NoneMatch(Some(vec![right])),
            6 => Condition::NoneMatch(Some(vec![right + 1])),
            _ => Condition::None,
        };
        RowWrite { key: key.as_ref().into(), action, condition }
    }

    // Few different ones: rows come back to what they were.
    fn value(&mut self, n: i64) -> String {
        let tag = ["x", "y", "z"][self.random.below(3)];
        let n = n % 3 + if self.random.one_in(2) { 5 } else { 3 };
        format!("{{\"tag\":\"{tag}\",\"n\":{n},\"pad\":\"{}\"}}", "p".repeat(self.plan.pad))
    }

    fn patch(&mut self, n: i64) -> String {
        match self.random.below(4) {
            0 => "{\"tag\":null}".into(),
            1 => "{\"tag\":\"x\"}".into(),
            2 => "{}".into(),
            _ => format!("{{\"n\":{n}}}"),
        }
    }

    async fn publish(&mut self) {
        let count = 1 + self.random.below(3);
        let entries = (0..count).map(|_| {
            self.number += 1;
            Entry { stream: stream(), event_type: None, data: Data::text(self.number.to_string()) }
        });
        let entries: Vec<Entry> = entries.collect();
        self.note(format!("publish {count} events, the last is {}", self.number));
        let first = self.log.append(Batch { entries: entries.clone(), key: None }).await.unwrap().first;
        for (entry, offset) in entries.iter().zip(first..) {
            self.model.event(offset, entry.data.text.parse().unwrap());
        }
    }

    async fn empty(&mut self) {
        let table = self.random.below(self.plan.tables);
        let before = self.model.changes.iter().any(|change| change.place.0 == table);
        self.note(format!("empty {}", TABLES[table]));
        self.no_longer_kept();
        match self.log.empty(name_of(table)).await {
            Ok(offset) => self.model.empty(table, offset),
            Err(err) => assert!(matches!(err, AppendError::UnknownStream(_)) && !before, "{err:?}"),
        }
    }

    fn expire(&mut self) {
        let table = self.random.below(self.plan.tables);
        self.note(format!("forget deletes of {}", TABLES[table]));
        self.no_longer_kept();
        self.log.rows().expire(&name_of(table), clock::now() + 1);
        if self.random.one_in(2) {
            self.log.rows().settle();
        }
    }

    fn no_longer_kept(&mut self) {
        self.kept = false;
        for client in &mut self.clients {
            client.kept = false;
        }
    }

    // A new client.
    fn join(&mut self) {
        if self.clients.len() >= CLIENTS_MAX {
            let index = self.random.below(self.clients.len());
            self.clients.remove(index);
        }
        let random = &mut self.random;
        let mut tables: Vec<usize> = (0..self.plan.tables).collect();
        while tables.len() > if random.one_in(3) { 2 } else { 1 } {
            let index = random.below(tables.len());
            tables.remove(index);
        }
        let stream = random.one_in(4);
        // What HTTP allows of one table alone is sometimes asked of several.
        let filter = [Filter::All, Filter::All, Filter::Tag, Filter::Above, Filter::In][random.below(5)];
        let columns = [None, None, Some(0), Some(1)][random.below(4)];
        let query = Query { tables, stream, filter, columns };
        let stepwise = random.one_in(3);
        let mut client = Client::new(self.clients_made, query, stepwise);
        client.kept = self.kept;
        self.clients_made += 1;
        self.clients.push(client);
        let index = self.clients.len() - 1;
        self.connect_one(index);
    }

    fn some_client(&mut self) -> Option<usize> {
        (!self.clients.is_empty()).then(|| self.random.below(self.clients.len()))
    }

    fn connect(&mut self) {
        let closed: Vec<usize> =
            (0..self.clients.len()).filter(|i| self.clients[*i].open.is_none()).collect();
        if !closed.is_empty() {
            let index = closed[self.random.below(closed.len())];
            self.connect_one(index);
        }
    }

    fn connect_one(&mut self, index: usize) {
        let form = match self.random.below(3) {
            0 => Form::Sse { envelope: true, chunked: false },
            _ => Form::Ndjson,
        };
        let (begun, start) = self.begin(index, form);
        let Begun { seat, place, way, control } = begun;
        let mut first = Vec::new();
        // As `http::read` begins an answer.
        if matches!(&way, Way::Walk(walk) if walk.is_whole()) {
            form.opening_without_cursor(&mut first, Duration::from_secs(1), false);
        } else {
            form.opening(&mut first, self.log.position(place.after), Duration::from_secs(1), false);
        }
        if let Some(control) = &control {
            form.control(&mut first, self.log.position(place.after), control);
        }
        self.note(format!("client {index} connects, {start:?}, {form:?}, {control:?}, {way:?}"));
        let drain = self.drain.subscribe();
        let follower = Follower::new(seat, place, way, Arc::clone(&self.feeder), HEARTBEAT, drain);
        let client = &mut self.clients[index];
        client.open = Some(Open { follower, form });
        client.opening(form, &first, &self.model);
    }

    fn begin(&mut self, index: usize, form: Form) -> (Begun, Start) {
        let random = &mut self.random;
        let client = &mut self.clients[index];
        let start = match client.cursor {
            Some(_) if random.one_in(40) => {
                client.kept = false;
                Start::Malformed
            }
            Some(cursor) => Start::After(cursor),
            None if client.anew => Start::Malformed,
            None if random.one_in(5) => Start::Earliest,
            None => Start::Snapshot,
        };
        let conflate = !client.stepwise && !random.one_in(4);
        let paced = conflate && random.one_in(3);
        let min_interval = paced.then(|| Duration::from_millis(1 + random.below(4) as u64));
        let selection = client.query.selection(conflate, min_interval);
        (self.log.subscribe(&selection, form, start).unwrap(), start)
    }

    fn cut(&mut self) {
        let Some(index) = self.some_client() else { return };
        self.note(format!("client {index} is cut off"));
        self.cut_one(index);
    }

    // In the middle of what it would have got next.
    fn cut_one(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let next = client.open.as_mut().filter(|open| open.follower.is_level());
        let next = next.and_then(|open| open.follower.next().now_or_never());
        let bytes = if let Some(Ok(Next::Bytes(bytes))) = next { bytes } else { bytes::Bytes::new() };
        let most = self.random.below(bytes.len() + 1);
        client.cut(&bytes[..most], &self.model);
    }

    async fn pump_one(&mut self, most: usize) {
        let Some(index) = self.some_client() else { return };
        self.note(format!("client {index} reads, {most} at most"));
        pump(&mut self.clients[index], &self.model, most).await;
    }

    // A heartbeat.
    fn beat(&mut self) {
        let Some(index) = self.some_client() else { return };
        self.note(format!("client {index} gets a heartbeat"));
        beat(&mut self.clients[index], &self.log, &self.model);
    }

    // A page of long-poll.
    async fn poll(&mut self) {
        let Some(index) = self.some_client() else { return };
        if self.clients[index].cursor.is_none() {
            return;
        }
        self.note(format!("client {index} polls"));
        self.cut_one(index);
        if self.clients[index].cursor.is_none() {
            return;
        }
        let (begun, _) = self.begin(index, Form::Ndjson);
        let poll = Poll { wait: Duration::ZERO, events_max: 1 + self.random.below(10) };
        let page = long_poll::page(begun, poll, &self.feeder, self.drain.subscribe());
        let page = timeout(PATIENCE, page).await.expect("a page in time").unwrap();
        self.clients[index].page(&page.render(None, false), &self.model);
    }

    // The process dies: what is on disk is found by the next.
    async fn crash(&mut self) {
        self.note("crash".into());
        self.cut_all();
        // The file of rows is written in the background; it is copied while nobody writes to it.
        self.log.rows().settle();
        let dir = directory();
        for file in std::fs::read_dir(self.dir.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
        }
        self.close().await;
        self.dir = dir;
        self.open();
    }

    async fn reopen(&mut self) {
        self.note("close and open".into());
        self.cut_all();
        self.close().await;
        self.open();
    }

    fn cut_all(&mut self) {
        for index in 0..self.clients.len() {
            self.cut_one(index);
        }
    }

    async fn close(&mut self) {
        self.feeder.close();
        self.log.close().await;
    }

    fn open(&mut self) {
        (self.log, self.feeder) = open(self.dir.path(), &self.plan.settings);
        self.compare_rows();
    }

    fn compare_rows(&self) {
        for (table, called) in TABLES.iter().enumerate().take(self.plan.tables) {
            let name = name_of(table);
            let page = self.log.rows().snapshot(&name).unwrap().rows(None, usize::MAX).unwrap();
            let found: Vec<_> = page.rows.iter().map(|row| (&*row.key, &*row.value, row.offset)).collect();
            let rows = self.model.rows.iter().filter(|((of, _), _)| *of == table);
            let want: Vec<_> = rows.map(|((_, key), (row, offset))| (&**key, &*row.text, *offset)).collect();
            assert_eq!(found, want, "rows of {called}");
            let bytes: usize = want.iter().map(|(key, value, _)| key.len() + value.len()).sum();
            let counts = self.log.rows().tables().into_iter().find(|info| info.name == name);
            let counts = counts.map_or((0, 0), |info| (info.rows, info.bytes));
            assert_eq!(counts, (want.len() as u64, bytes as u64), "counts of {}", TABLES[table]);
        }
    }

    // Everybody reads until there is nothing left.
    async fn finish(&mut self) {
        self.note("the end: everybody reads all there is".into());
        for index in 0..self.clients.len() {
            if self.clients[index].open.is_none() {
                self.connect_one(index);
            }
            let published = self.log.published();
            let mut rounds = 0;
            while !self.clients[index].has_all(published) {
                pump(&mut self.clients[index], &self.model, usize::MAX).await;
                beat(&mut self.clients[index], &self.log, &self.model);
                // Those who are told seldom have something pending.
                tokio::task::yield_now().await;
                rounds += 1;
                let client = &self.clients[index];
                assert!(rounds < ROUNDS_MAX, "{client} gets no further than {:?}", client.cursor);
            }
            self.clients[index].check_now(&self.model);
        }
        self.clients.clear();
        self.close().await;
        self.open();
        self.close().await;
    }
}

// Reads what there is, `most` pieces of it.
async fn pump(client: &mut Client, model: &Model, most: usize) {
    for _ in 0..most {
        let Some(open) = &mut client.open else { return };
        let next = if open.follower.is_level() {
            match open.follower.next().now_or_never() {
                Some(next) => next,
                None if open.follower.is_level() => return,
                None => continue,
            }
        } else {
            timeout(PATIENCE, open.follower.next()).await.unwrap_or_else(|_| panic!("{client} is never fed"))
        };
        let form = client.open.as_ref().map_or(Form::Ndjson, |open| open.form);
        match next.unwrap() {
            Next::Bytes(bytes) => client.take(form, &bytes, model),
            Next::Silence => return,
            Next::Drain => panic!("nobody drains"),
        }
    }
}

// As `transport::body` does.
fn beat(client: &mut Client, log: &Log, model: &Model) {
    let Some(open) = &mut client.open else { return };
    if !open.follower.is_level() {
        return;
    }
    let moved = open.follower.advance().is_some();
    let (form, mut bytes) = (open.form, Vec::new());
    form.heartbeat(&mut bytes, log.position(open.follower.after()), moved);
    client.take(form, &bytes, model);
}

fn open(dir: &Path, settings: &Settings) -> (Log, Arc<Feeder>) {
    let log = Log::open(dir, settings.clone(), clock::now()).unwrap_or_else(|err| panic!("{}", err.chain()));
    let feeder = Feeder::start(log.clone()).unwrap();
    (log, feeder)
}

// In memory, where the system has such a place: nothing here is about the disk.
fn directory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

const STEPS_MAX: usize = 90;
const CLIENTS_MAX: usize = 5;
// One that catches up with nothing to tell waits so long for something; what a heartbeat says is a step of the history.
const HEARTBEAT: Duration = Duration::from_millis(1);
// Only a broken server makes a test wait this long.
const PATIENCE: Duration = Duration::from_secs(20);
// Rounds of reading after which a reader that is not level never will be.
const ROUNDS_MAX: usize = 200_000;
