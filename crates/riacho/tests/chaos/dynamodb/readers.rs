//! Readers that come back with their cursors: none sees an item go back.

use super::super::{
    client::{Blocks, Body},
    random::Random,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// By table and key.
pub(super) type Rows = BTreeMap<(String, String), Value>;

/// What a reader shows.
pub(super) type Shown = Arc<Mutex<Page>>;

#[derive(Default)]
pub(super) struct Page {
    pub(super) rows: Rows,
    /// The newest version that was ever shown.
    newest: BTreeMap<(String, String), u64>,
}

/// What a reader asks for, and what it is shown of a row.
pub(super) struct Query {
    pub(super) target: &'static str,
    shows: fn(&str, &Value) -> Option<Value>,
    /// Whether it comes back without its cursor: it is shown what the server has.
    forgets: bool,
}

impl Query {
    /// What it shows of all rows.
    pub(super) fn of(&self, rows: &Rows) -> Rows {
        let shown = |(key, row): (&(String, String), &Value)| Some((key.clone(), (self.shows)(&key.0, row)?));
        rows.iter().filter_map(shown).collect()
    }
}

pub(super) const QUERIES: [Query; 7] = [
    Query { target: "/streams?table=orders&table=carts", shows: |_, row| Some(row.clone()), forgets: false },
    Query { target: "/streams?table=orders&table=carts", shows: |_, row| Some(row.clone()), forgets: true },
    Query {
        target: "/streams?table=orders&table=carts&conflate=0",
        shows: |_, row| Some(row.clone()),
        forgets: false,
    },
    Query {
        target: "/tables/orders?where=n+%3E+50",
        shows: |table, row| (table == "orders" && n(row) > 50).then(|| row.clone()),
        forgets: false,
    },
    Query {
        target: "/tables/orders?columns=v%2Cn&conflate=0",
        shows: |table, row| (table == "orders").then(|| some(row)),
        forgets: false,
    },
    Query {
        target: "/tables/carts?min_interval=100ms",
        shows: |table, row| (table == "carts").then(|| row.clone()),
        forgets: false,
    },
    Query {
        target: "/tables/carts?where=n+%3C+50&columns=v%2Cn",
        shows: |table, row| (table == "carts" && n(row) < 50).then(|| some(row)),
        forgets: false,
    },
];

fn n(row: &Value) -> i64 {
    row["n"].as_i64().unwrap()
}

fn some(row: &Value) -> Value {
    serde_json::json!({"n": row["n"], "v": row["v"]})
}

pub(super) fn lock(page: &Shown) -> MutexGuard<'_, Page> {
    // A reader that has panicked is told of by itself.
    page.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A page that comes back and keeps its rows.
pub(super) struct Reader {
    query: &'static Query,
    cursor: String,
    page: Shown,
    group: Vec<Value>,
}

impl Reader {
    pub(super) fn new(query: &'static Query, page: Shown) -> Self {
        Self { query, cursor: String::new(), page, group: Vec::new() }
    }

    pub(super) async fn run(mut self, address: SocketAddr, mut random: Random) {
        loop {
            let read = self.read(address);
            // However a connection ends, the next one goes on from the cursor; the group that was cut is dropped.
            let _ = timeout(Duration::from_millis(300) + random.millis(3000), read).await;
            self.group.clear();
            if self.query.forgets {
                self.cursor.clear();
            }
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
                    self.group.push(serde_json::from_str(data).unwrap());
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
        let (group, target) = (std::mem::take(&mut self.group), self.query.target);
        let Page { rows, newest } = &mut *lock(&self.page);
        for message in &group {
            let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
            let place = (text("type"), text("key"));
            match (message["headers"]["operation"].as_str(), message["headers"]["control"].as_str()) {
                (Some("delete"), _) => drop(rows.remove(&place)),
                (Some(_), _) => {
                    let version = message["value"]["v"].as_u64().unwrap();
                    let before = newest.insert(place.clone(), version).unwrap_or(0);
                    assert!(version >= before, "{target}: {place:?} goes back from {before}: {message}");
                    rows.insert(place, message["value"].clone());
                }
                (None, Some("snapshot-start")) => rows.retain(|(table, _), _| *table != place.0),
                (None, Some("snapshot-end")) => {}
                other => panic!("{other:?} in {message}"),
            }
        }
    }
}
