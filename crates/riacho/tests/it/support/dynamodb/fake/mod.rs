//! DynamoDB and its streams, as far as a reader sees them, and under a script: shards split and roll, records are trimmed,
//! iterators expire, requests are throttled, answers are late or cut off, at the moment that a test chooses.
//!
//! It speaks AWS's JSON over real HTTP on 127.0.0.1. It needs nothing of the tests. `compared` holds it against emulators.

/// Tables and streams.
mod world;
/// Shards, records and iterators.
mod shard;
/// Requests and answers.
mod operation;
/// The script.
mod script;
/// Sockets.
mod http;

use self::{
    http::Server,
    script::{Script, Verdict},
    shard::Start,
    world::World,
};
use serde_json::Value;
use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

pub(crate) use self::script::Hold;

/// A service that is there until it is dropped.
pub(crate) struct Fake {
    shared: Arc<Shared>,
    server: Server,
}

struct Shared {
    world: Mutex<World>,
    script: Mutex<Script>,
}

impl Shared {
    // World before script, where both are needed.
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }
}

/// What a stream tells of changed items.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum View {
    NewAndOldImages,
    NewImage,
    OldImage,
    KeysOnly,
}

/// The attributes of a table's key, each with its type: `("id", "S")`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Keys<'a> {
    pub(crate) hash: (&'a str, &'a str),
    pub(crate) range: Option<(&'a str, &'a str)>,
}

impl Keys<'static> {
    /// A text called `id`.
    pub(crate) const ID: Self = Self { hash: ("id", "S"), range: None };
}

impl Fake {
    /// Begins to listen on a free port, with no tables.
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared { world: Mutex::default(), script: Mutex::default() });
        let server = Server::start(Arc::clone(&shared)).await;
        Self { shared, server }
    }

    /// `http://127.0.0.1:PORT`, of tables and streams.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.server.address())
    }

    // Tables.

    /// Makes a table; its stream begins with so many shards.
    pub(crate) fn create_table(&self, name: &str, keys: Keys<'_>, view: Option<View>, shards: usize) {
        self.shared.world().create_table(name, keys, view, shards).unwrap();
    }

    /// Makes another table of that name, with no items and a stream of its own; what the old stream has can be read still.
    pub(crate) fn recreate_table(&self, name: &str) {
        self.shared.world().recreate_table(name);
    }

    /// Removes a table.
    pub(crate) fn delete_table(&self, name: &str) {
        self.shared.world().delete_table(name).unwrap();
    }

    /// Writes an item, in DynamoDB's JSON; the same item again makes no record.
    pub(crate) fn put(&self, table: &str, item: Value) {
        self.shared.world().put(table, item).unwrap();
    }

    /// Removes the item with this key, if it is there.
    pub(crate) fn delete(&self, table: &str, key: &Value) {
        self.shared.world().delete(table, key, false).unwrap();
    }

    /// Removes the item with this key, as its time to live does.
    pub(crate) fn ttl_delete(&self, table: &str, key: &Value) {
        self.shared.world().delete(table, key, true).unwrap();
    }

    /// All items, in no order.
    pub(crate) fn items(&self, table: &str) -> Vec<Value> {
        self.shared.world().items(table)
    }

    /// The most bytes of a Scan's page and of a GetRecords' answer; 1 MB unless said.
    pub(crate) fn page_bytes(&self, bytes: usize) {
        self.shared.world().page_bytes = bytes;
    }

    // Streams.

    /// The ARN of a table's stream.
    pub(crate) fn stream_arn(&self, table: &str) -> Option<String> {
        self.shared.world().stream_arn(table)
    }

    /// The ids of the shards that take records, in the order of what they take.
    pub(crate) fn open_shards(&self, table: &str) -> Vec<String> {
        self.shared.world().stream(table).open().map(|shard| shard.id.clone()).collect()
    }

    /// The shard that takes the records of this key, and the newest sequence number in it.
    pub(crate) fn shard_of(&self, table: &str, key: &Value) -> (String, Option<String>) {
        let world = self.shared.world();
        let shard = world.shard_of(table, key);
        (shard.id.clone(), shard.newest().map(|sequence| sequence.to_string()))
    }

    /// Closes a shard and opens two, each for half of its keys.
    pub(crate) fn split(&self, table: &str, shard: &str) -> (String, String) {
        let children = self.shared.world().replace_shard(table, shard, 2);
        (children[0].clone(), children[1].clone())
    }

    /// Closes a shard and opens one for the same keys, as happens every four hours.
    pub(crate) fn roll(&self, table: &str, shard: &str) -> String {
        self.shared.world().replace_shard(table, shard, 1)[0].clone()
    }

    /// Removes the oldest records of a shard, so many, as when they are a day old.
    pub(crate) fn trim(&self, table: &str, shard: &str, records: usize) {
        self.shared.world().shard_mut(table, shard).trim(records);
    }

    /// Removes a closed shard, as when its last record is a day old.
    pub(crate) fn forget_shard(&self, table: &str, shard: &str) {
        self.shared.world().forget_shard(table, shard);
    }

    /// Every iterator that was given is too old.
    pub(crate) fn expire_iterators(&self) {
        self.shared.world().expire_iterators();
    }

    /// The shard gives no records until it is told to.
    pub(crate) fn stall(&self, table: &str, shard: &str, stalled: bool) {
        self.shared.world().shard_mut(table, shard).stalled = stalled;
    }

    /// Ends a table's stream; what it has can be read still.
    pub(crate) fn disable_stream(&self, table: &str) {
        self.shared.world().disable_stream(table).unwrap();
    }

    /// Gives a table a stream, which is another each time.
    pub(crate) fn enable_stream(&self, table: &str, view: View) -> String {
        self.shared.world().enable_stream(table, view, 1).unwrap()
    }

    /// Removes a stream that is disabled, as a day later.
    pub(crate) fn forget_stream(&self, arn: &str) {
        self.shared.world().forget_stream(arn);
    }

    // The script.

    /// The next `calls` of an operation (`GetRecords`) are refused with this code: `LimitExceededException`.
    pub(crate) fn refuse(&self, operation: &str, code: &str, calls: usize) {
        self.shared.script().next(operation, calls, Verdict::Refuse(code.to_owned()));
    }

    /// The next `calls` of an operation end with their connection, in the middle of the answer.
    pub(crate) fn cut(&self, operation: &str, calls: usize) {
        self.shared.script().next(operation, calls, Verdict::Cut);
    }

    /// The next `calls` of an operation are answered so much later.
    pub(crate) fn delay(&self, operation: &str, time: Duration, calls: usize) {
        self.shared.script().next(operation, calls, Verdict::Delay(time));
    }

    /// The next call of an operation is carried out, and its answer held back until the test lets it go.
    pub(crate) fn hold(&self, operation: &str) -> Hold {
        let (hold, verdict) = Hold::new();
        self.shared.script().next(operation, 1, verdict);
        hold
    }

    /// Ends all connections at once.
    pub(crate) fn cut_connections(&self) {
        self.server.cut_connections();
    }

    /// The next `calls` of DescribeStream do not list a shard that is there.
    pub(crate) fn leave_out(&self, shard: &str, calls: usize) {
        self.shared.script().leave_out(shard, calls);
    }

    /// The next `calls` of DescribeStream show a closed shard as if it were open.
    pub(crate) fn show_open(&self, shard: &str, calls: usize) {
        self.shared.script().show_open(shard, calls);
    }

    /// How many shards a page of DescribeStream has; 100 unless said.
    pub(crate) fn shards_per_page(&self, shards: usize) {
        self.shared.world().shards_per_page = shards;
    }

    /// So many pages without records come before each page with some.
    pub(crate) fn empty_pages(&self, pages: u32) {
        self.shared.world().empty_pages = pages;
    }

    /// Whether there are iterators of `AT_TIMESTAMP`, as of the service, or not, as of emulators.
    pub(crate) fn at_timestamp(&self, is_there: bool) {
        self.shared.world().at_timestamp = is_there;
    }

    /// Whether more than five GetRecords of a shard and ten DescribeStream of a stream in a second are refused.
    pub(crate) fn enforce_rates(&self, enforced: bool) {
        self.shared.world().rates = enforced;
    }

    /// From now on the service's clock moves only when it is told to.
    pub(crate) fn freeze(&self) {
        self.shared.world().freeze();
    }

    /// Moves the service's clock on.
    pub(crate) fn advance(&self, time: Duration) {
        self.shared.world().advance(time);
    }

    /// How often an operation was asked for.
    pub(crate) fn calls(&self, operation: &str) -> u64 {
        self.shared.script().calls(operation)
    }
}

const FIVE_PER_SECOND: usize = 5;
const TEN_PER_SECOND: usize = 10;
