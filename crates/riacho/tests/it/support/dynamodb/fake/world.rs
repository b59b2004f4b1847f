//! Tables with their items, and streams of what was written to them.

use super::{
    Keys, View,
    operation::Refusal,
    shard::{Record, Shard},
};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write,
    time::Duration,
};

pub(super) struct World {
    pub(super) tables: BTreeMap<String, Table>,
    pub(super) streams: BTreeMap<String, Stream>,
    pub(super) page_bytes: usize,
    pub(super) shards_per_page: usize,
    pub(super) empty_pages: u32,
    pub(super) at_timestamp: bool,
    pub(super) rates: bool,
    pub(super) generation: u64,
    frozen: Option<u64>,
    advanced: u64,
    sequence: u128,
    made: u64,
}

pub(super) struct Table {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) keys: Vec<(String, String)>,
    pub(super) items: BTreeMap<Place, Stored>,
    /// The newest stream, which may be disabled.
    pub(super) stream: Option<String>,
}

/// Where an item is: the hash of its key, and its key.
pub(super) type Place = (u64, String);

pub(super) struct Stored {
    pub(super) item: Value,
    pub(super) json: String,
}

pub(super) struct Stream {
    pub(super) table: String,
    pub(super) label: String,
    pub(super) view: View,
    pub(super) enabled: bool,
    /// In the order in which they were made.
    pub(super) shards: Vec<Shard>,
    pub(super) described: VecDeque<u64>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            tables: BTreeMap::new(),
            streams: BTreeMap::new(),
            page_bytes: 1_000_000,
            shards_per_page: 100,
            empty_pages: 0,
            at_timestamp: true,
            rates: false,
            generation: 0,
            frozen: None,
            advanced: 0,
            // They soon have a digit more: who compares them as texts is wrong.
            sequence: 10_u128.pow(21) - 500,
            made: 0,
        }
    }
}

impl World {
    /// The time of day of this world.
    pub(super) fn now(&self) -> u64 {
        self.frozen.unwrap_or_else(riacho::clock::now) + self.advanced
    }

    pub(super) fn freeze(&mut self) {
        self.frozen.get_or_insert_with(riacho::clock::now);
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.advanced += u64::try_from(time.as_millis()).unwrap();
    }

    pub(super) fn expire_iterators(&mut self) {
        self.generation += 1;
    }

    pub(super) fn create_table(
        &mut self,
        name: &str,
        keys: Keys<'_>,
        view: Option<View>,
        shards: usize,
    ) -> Result<(), Refusal> {
        if self.tables.contains_key(name) {
            return Err(Refusal::new("ResourceInUseException", "Table already exists: ".to_owned() + name));
        }
        let own = |(name, kind): (&str, &str)| (name.to_owned(), kind.to_owned());
        let keys = [Some(keys.hash), keys.range].into_iter().flatten().map(own).collect();
        self.add_table(name, keys);
        view.map(|view| self.enable_stream(name, view, shards)).transpose().map(drop)
    }

    pub(super) fn recreate_table(&mut self, name: &str) {
        let (keys, stream) = (self.table(name).unwrap().keys.clone(), self.stream_arn(name));
        let view =
            stream.and_then(|arn| self.streams.get(&arn)).filter(|old| old.enabled).map(|old| old.view);
        self.delete_table(name).unwrap();
        self.add_table(name, keys);
        view.map(|view| self.enable_stream(name, view, 1).unwrap());
    }

    pub(super) fn delete_table(&mut self, name: &str) -> Result<(), Refusal> {
        self.table(name)?;
        self.close_stream(name);
        self.tables.remove(name);
        Ok(())
    }

    fn add_table(&mut self, name: &str, keys: Vec<(String, String)>) {
        self.made += 1;
        let id = format!("00000000-0000-4000-8000-{:012}", self.made);
        let table = Table { id, created: self.now(), keys, items: BTreeMap::new(), stream: None };
        self.tables.insert(name.to_owned(), table);
    }

    pub(super) fn table(&self, name: &str) -> Result<&Table, Refusal> {
        self.tables.get(name).ok_or_else(|| {
            Refusal::new(
                "ResourceNotFoundException",
                format!("Requested resource not found: Table: {name} not found"),
            )
        })
    }

    pub(super) fn put(&mut self, table: &str, item: Value) -> Result<(), Refusal> {
        let place = self.table(table)?.place(&item)?;
        let json = serde_json::to_string(&item).unwrap();
        let stored = Stored { item: item.clone(), json };
        let old = self.tables.get_mut(table).unwrap().items.insert(place.clone(), stored);
        let old = old.map(|old| old.item);
        if old.as_ref() != Some(&item) {
            let kind = if old.is_some() { "MODIFY" } else { "INSERT" };
            self.record(table, &place, kind, old.as_ref(), Some(&item), false);
        }
        Ok(())
    }

    pub(super) fn delete(&mut self, table: &str, key: &Value, by_ttl: bool) -> Result<(), Refusal> {
        let place = self.table(table)?.place(key)?;
        let old = self.tables.get_mut(table).unwrap().items.remove(&place);
        if let Some(old) = old {
            self.record(table, &place, "REMOVE", Some(&old.item), None, by_ttl);
        }
        Ok(())
    }

    pub(super) fn items(&self, table: &str) -> Vec<Value> {
        self.table(table).unwrap().items.values().map(|stored| stored.item.clone()).collect()
    }

    fn record(
        &mut self,
        table: &str,
        place: &Place,
        kind: &str,
        old: Option<&Value>,
        new: Option<&Value>,
        by_ttl: bool,
    ) {
        let Some(arn) = self.stream_arn(table) else { return };
        let (now, sequence) = (self.now(), self.next_sequence());
        let keys = self.tables[table].key_of(new.or(old).unwrap());
        let stream = self.streams.get_mut(&arn).unwrap();
        if !stream.enabled {
            return;
        }
        let mut body = Map::new();
        // Whole seconds, as the service gives them.
        body.insert("ApproximateCreationDateTime".into(), (now / 1000).into());
        body.insert("Keys".into(), keys);
        let shows = |views: [View; 2]| views.contains(&stream.view);
        if let Some(new) = new.filter(|_| shows([View::NewAndOldImages, View::NewImage])) {
            body.insert("NewImage".into(), new.clone());
        }
        if let Some(old) = old.filter(|_| shows([View::NewAndOldImages, View::OldImage])) {
            body.insert("OldImage".into(), old.clone());
        }
        body.insert("SequenceNumber".into(), sequence.to_string().into());
        let bytes = [new, old].iter().flatten().map(|item| item.to_string().len()).sum::<usize>();
        body.insert("SizeBytes".into(), bytes.into());
        body.insert("StreamViewType".into(), stream.view.name().into());
        let mut record = json!({
            "eventID": format!("{sequence:032x}"), "eventName": kind, "eventVersion": "1.1",
            "eventSource": "aws:dynamodb", "awsRegion": "us-east-1", "dynamodb": body,
        });
        if by_ttl {
            record["userIdentity"] = json!({"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"});
        }
        let shard =
            stream.shards.iter_mut().find(|shard| shard.takes(place.0)).expect("every hash has a shard");
        shard.push(Record { sequence, seconds: now / 1000, json: record.to_string().into() });
    }

    fn next_sequence(&mut self) -> u128 {
        self.sequence += 7;
        self.sequence
    }

    // Streams.

    pub(super) fn stream_arn(&self, table: &str) -> Option<String> {
        self.tables.get(table)?.stream.clone()
    }

    pub(super) fn stream(&self, table: &str) -> &Stream {
        &self.streams[&self.stream_arn(table).expect("the table has a stream")]
    }

    pub(super) fn shard_of(&self, table: &str, key: &Value) -> &Shard {
        let (hash, _) = self.table(table).unwrap().place(key).unwrap();
        self.stream(table).shards.iter().find(|shard| shard.takes(hash)).expect("every hash has a shard")
    }

    pub(super) fn shard_mut(&mut self, table: &str, id: &str) -> &mut Shard {
        let arn = self.stream_arn(table).expect("the table has a stream");
        let stream = self.streams.get_mut(&arn).unwrap();
        stream.shards.iter_mut().find(|shard| shard.id == id).expect("the shard is there")
    }

    pub(super) fn enable_stream(
        &mut self,
        table: &str,
        view: View,
        shards: usize,
    ) -> Result<String, Refusal> {
        let old = self.table(table)?.stream.clone();
        if old.and_then(|arn| self.streams.get(&arn)).is_some_and(|old| old.enabled) {
            return Err(Refusal::validation("Table already has an enabled stream: ".to_owned() + table));
        }
        self.made += 1;
        let seconds = self.now() / 1000;
        let label = format!(
            "2026-11-22T{:02}:{:02}:{:02}.{:03}",
            seconds / 3600 % 24,
            seconds / 60 % 60,
            seconds % 60,
            self.made
        );
        let arn = format!("{}/stream/{label}", arn_of(table));
        let mut stream = Stream {
            table: table.to_owned(),
            label,
            view,
            enabled: true,
            shards: vec![],
            described: VecDeque::new(),
        };
        for hashes in parts((0, u64::MAX), shards) {
            stream.shards.push(self.new_shard(None, hashes));
        }
        self.streams.insert(arn.clone(), stream);
        self.tables.get_mut(table).unwrap().stream = Some(arn.clone());
        Ok(arn)
    }

    pub(super) fn disable_stream(&mut self, table: &str) -> Result<(), Refusal> {
        let arn = self.table(table)?.stream.clone();
        if !arn.and_then(|arn| self.streams.get(&arn)).is_some_and(|stream| stream.enabled) {
            return Err(Refusal::validation("Table has no stream to disable: ".to_owned() + table));
        }
        self.close_stream(table);
        Ok(())
    }

    fn close_stream(&mut self, table: &str) {
        let Some(arn) = self.stream_arn(table) else { return };
        let ends = self.next_sequence();
        let Some(stream) = self.streams.get_mut(&arn) else { return };
        stream.enabled = false;
        for shard in stream.shards.iter_mut().filter(|shard| shard.ends.is_none()) {
            shard.ends = Some(ends);
        }
    }

    pub(super) fn forget_stream(&mut self, arn: &str) {
        let stream = self.streams.remove(arn).expect("the stream is there");
        assert!(!stream.enabled, "the stream is enabled");
        if let Some(table) = self.tables.get_mut(&stream.table) {
            table.stream = table.stream.take().filter(|newest| newest != arn);
        }
    }

    pub(super) fn forget_shard(&mut self, table: &str, id: &str) {
        assert!(self.shard_mut(table, id).ends.is_some(), "the shard is open");
        let arn = self.stream_arn(table).unwrap();
        self.streams.get_mut(&arn).unwrap().shards.retain(|shard| shard.id != id);
    }

    /// Closes a shard and opens so many in its place.
    pub(super) fn replace_shard(&mut self, table: &str, id: &str, by: usize) -> Vec<String> {
        let ends = self.next_sequence();
        let shard = self.shard_mut(table, id);
        assert!(shard.ends.is_none(), "the shard is closed");
        shard.ends = Some(ends);
        let hashes = shard.hashes;
        let children: Vec<Shard> = parts(hashes, by).map(|part| self.new_shard(Some(id), part)).collect();
        let ids = children.iter().map(|child| child.id.clone()).collect();
        let arn = self.stream_arn(table).unwrap();
        self.streams.get_mut(&arn).unwrap().shards.extend(children);
        ids
    }

    fn new_shard(&mut self, parent: Option<&str>, hashes: (u64, u64)) -> Shard {
        self.made += 1;
        let starts = self.next_sequence();
        // The service's ids are of this length, with a random end: their order says nothing.
        let id = format!("shardId-{:020}-{:08x}", self.now(), hash(self.made.to_string().as_bytes()) >> 32);
        Shard::new(id, parent.map(str::to_owned), hashes, starts)
    }
}

impl Stream {
    pub(super) fn open(&self) -> impl Iterator<Item = &Shard> {
        let mut open: Vec<&Shard> = self.shards.iter().filter(|shard| shard.ends.is_none()).collect();
        open.sort_by_key(|shard| shard.hashes);
        open.into_iter()
    }
}

impl Table {
    /// Where an item, or a key, is.
    pub(super) fn place(&self, item: &Value) -> Result<Place, Refusal> {
        let missing = || Refusal::validation("The provided key element does not match the schema");
        let mut text = String::new();
        for (name, kind) in &self.keys {
            let value = item.get(name).and_then(|value| value.get(kind)).and_then(Value::as_str);
            let value = value.filter(|value| !value.is_empty()).ok_or_else(missing)?;
            write!(text, "{}:{value}", value.len()).unwrap();
        }
        let of_hash = item.get(&self.keys[0].0).map(Value::to_string).unwrap_or_default();
        Ok((hash(of_hash.as_bytes()), text))
    }

    /// The key of an item.
    pub(super) fn key_of(&self, item: &Value) -> Value {
        self.keys.iter().map(|(name, _)| (name.clone(), item[name].clone())).collect::<Map<_, _>>().into()
    }
}

impl View {
    /// As the service names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NewAndOldImages => "NEW_AND_OLD_IMAGES",
            Self::NewImage => "NEW_IMAGE",
            Self::OldImage => "OLD_IMAGE",
            Self::KeysOnly => "KEYS_ONLY",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::NewAndOldImages, Self::NewImage, Self::OldImage, Self::KeysOnly]
            .into_iter()
            .find(|view| view.name() == name)
    }
}

/// The ARN of a table.
pub(super) fn arn_of(table: &str) -> String {
    format!("arn:aws:dynamodb:us-east-1:000000000000:table/{table}")
}

/// A range in so many of about the same size, without gaps.
fn parts((first, last): (u64, u64), parts: usize) -> impl Iterator<Item = (u64, u64)> {
    let parts = u128::try_from(parts.max(1)).unwrap();
    let size = u128::from(last - first) + 1;
    let edge = move |part: u128| u128::from(first) + size * part / parts;
    (0..parts)
        .map(move |part| (u64::try_from(edge(part)).unwrap(), u64::try_from(edge(part + 1) - 1).unwrap()))
}

/// FNV-1a, and its bits stirred: keys that look alike are far apart.
fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (fnv ^ (fnv >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
