//! The database of the demo, and an API over it such as an application has beside Riacho: it writes to its database, and
//! nothing else. A source reads what it and everybody else wrote.

use super::orders::orders;
use crate::{
    error::{Error, ErrorKind},
    source::{Database, SourceSettings, SqliteSettings, TableSettings},
};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::{get, put},
};
use riacho_core::time::Millis;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params_from_iter, types::Value as Sql};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{
    fs,
    path::{Path as File, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The table of orders.
pub const ORDERS_TABLE: &str = "orders";

/// A file of SQLite with a table of orders. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shop {
    path: Arc<File>,
}

impl Shop {
    /// Makes `demo.db` in the directory `data` where it is missing, and fills it where it is new, with orders up to `now`.
    /// Blocks.
    ///
    /// # Errors
    /// Where the file cannot be made, or is no database of orders.
    pub fn open(data: &File, now: Millis) -> Result<Self, Error> {
        let make = || -> Result<PathBuf, Box<dyn std::error::Error + Send + Sync>> {
            fs::create_dir_all(data)?;
            let path = fs::canonicalize(data)?.join(FILE);
            let mut shop = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
            shop.pragma_update(None, "journal_mode", "wal")?;
            let made = shop.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            if made.table_exists(None, ORDERS_TABLE)? {
                return Ok(path);
            }
            made.execute_batch(SCHEMA)?;
            for (id, row) in orders(now) {
                insert(&made, &id, row.as_object().unwrap_or(&Map::new()))?;
            }
            made.commit()?;
            Ok(path)
        };
        let failed = |err: Box<dyn std::error::Error + Send + Sync>| {
            let op = format!("make the demo's database in {}: {err}", data.display());
            Error::new(ErrorKind::Unavailable, op)
        };
        make().map(|path| Self { path: path.into() }).map_err(failed)
    }

    /// The source that has its orders live.
    pub fn source(&self) -> SourceSettings {
        SourceSettings {
            name: SOURCE.into(),
            database: Database::Sqlite(SqliteSettings { path: self.path.to_path_buf(), setup: true }),
            tables: vec![TableSettings::all_of(ORDERS_TABLE)],
        }
    }

    /// The API: `GET /demo/api/database` says where the file is; `PUT`, `PATCH` and `DELETE /demo/api/orders/{id}`.
    ///
    /// `PUT` inserts an order; `PATCH` takes `{"from":{...},"to":{...}}`, the members as the page last saw them and those that
    /// are to change, `DELETE` `{"from":{...}}`. Where the order is another one by now, the answer is 409 with the order
    /// that is there. Other errors are `{"detail":text}`.
    pub fn routes<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        Router::new()
            .route("/demo/api/database", get(database))
            .route("/demo/api/orders/{id}", put(put_order).patch(patch_order).delete(delete_order))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(self)
    }

    // Does `work` with a connection of its own, where it may block.
    async fn on(&self, work: impl FnOnce(&Connection) -> Result<Done, Refused> + Send + 'static) -> Response {
        let path = Arc::clone(&self.path);
        let worked = tokio::task::spawn_blocking(move || {
            let shop = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            work(&shop)
        });
        match worked.await {
            Ok(Ok(Done::Inserted)) => StatusCode::CREATED.into_response(),
            Ok(Ok(Done::Changed)) => StatusCode::NO_CONTENT.into_response(),
            Ok(Ok(Done::Another(order))) => answer(StatusCode::CONFLICT, &order),
            Ok(Err(Refused(status, detail))) => answer(status, &json!({ "detail": detail })),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// What a write did.
enum Done {
    Inserted,
    Changed,
    /// Nothing: this order is there.
    Another(Value),
}

/// Why a write was not made.
struct Refused(StatusCode, String);

/// What a page asks for. `from` are members as it last saw them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    from: Map<String, Value>,
    #[serde(default)]
    to: Map<String, Value>,
}

async fn database(State(shop): State<Shop>) -> Response {
    answer(StatusCode::OK, &json!({ "path": shop.path.to_string_lossy() }))
}

async fn put_order(State(shop): State<Shop>, Path(id): Path<String>, body: Bytes) -> Response {
    let put = move |shop: &Connection| {
        let row: Map<String, Value> = serde_json::from_slice(&body).map_err(unread)?;
        match insert(shop, &id, &row)? {
            true => Ok(Done::Inserted),
            false => another(shop, &id),
        }
    };
    shop.on(put).await
}

async fn patch_order(State(shop): State<Shop>, Path(id): Path<String>, body: Bytes) -> Response {
    let patch = move |shop: &Connection| {
        let Edit { from, to } = serde_json::from_slice(&body).map_err(unread)?;
        let (set, mut values) = members(&to, " = ?")?;
        if set.is_empty() {
            return Err(Refused(StatusCode::BAD_REQUEST, "nothing is to change".to_owned()));
        }
        let sql = format!("UPDATE {ORDERS_TABLE} SET {}", set.join(", "));
        if_still(shop, &id, &from, sql, &mut values)
    };
    shop.on(patch).await
}

async fn delete_order(State(shop): State<Shop>, Path(id): Path<String>, body: Bytes) -> Response {
    let delete = move |shop: &Connection| {
        let Edit { from, .. } = serde_json::from_slice(&body).map_err(unread)?;
        if_still(shop, &id, &from, format!("DELETE FROM {ORDERS_TABLE}"), &mut Vec::new())
    };
    shop.on(delete).await
}

// Inserts the order; whether there was none of this number.
fn insert(shop: &Connection, id: &str, row: &Map<String, Value>) -> Result<bool, Refused> {
    let (names, mut values) = members(row, "")?;
    values.insert(0, Sql::Text(id.to_owned()));
    let marks = vec!["?"; values.len()].join(", ");
    let names: String = names.iter().map(|name| format!(", {name}")).collect();
    let sql = format!("INSERT INTO {ORDERS_TABLE} (id{names}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING");
    Ok(shop.execute(&sql, params_from_iter(values))? == 1)
}

// Runs `sql` on the order if it is as it was.
fn if_still(
    shop: &Connection,
    id: &str,
    from: &Map<String, Value>,
    sql: String,
    values: &mut Vec<Sql>,
) -> Result<Done, Refused> {
    let (conditions, known) = members(from, " IS ?")?;
    values.push(Sql::Text(id.to_owned()));
    values.extend(known);
    let conditions: String = conditions.iter().map(|condition| format!(" AND {condition}")).collect();
    let sql = format!("{sql} WHERE id = ?{conditions}");
    match shop.execute(&sql, params_from_iter(values.iter()))? {
        0 => another(shop, id),
        _ => Ok(Done::Changed),
    }
}

// That the order is another one than the page saw, or is gone.
fn another(shop: &Connection, id: &str) -> Result<Done, Refused> {
    let row = shop.query_row(ORDER, [id], |row| row.get::<_, String>(0)).optional()?;
    match row.and_then(|row| serde_json::from_str(&row).ok()) {
        Some(order) => Ok(Done::Another(order)),
        None => Err(Refused(StatusCode::NOT_FOUND, format!("there is no order {id}"))),
    }
}

// Columns, each with `then` behind it, and their values.
fn members(of: &Map<String, Value>, then: &str) -> Result<(Vec<String>, Vec<Sql>), Refused> {
    let member = |(name, value): (&String, &Value)| {
        if !COLUMNS.contains(&name.as_str()) {
            return Err(Refused(StatusCode::BAD_REQUEST, format!("an order has no member `{name}`")));
        }
        let value = match value {
            Value::Null => Sql::Null,
            Value::String(text) => Sql::Text(text.clone()),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => Sql::Integer(whole),
                None => Sql::Real(number.as_f64().unwrap_or_default()),
            },
            _ => return Err(Refused(StatusCode::BAD_REQUEST, format!("`{name}` is no text and no number"))),
        };
        Ok((format!("{name}{then}"), value))
    };
    let members = of.iter().map(member).collect::<Result<Vec<_>, _>>()?;
    Ok(members.into_iter().unzip())
}

fn connect(path: &File, flags: OpenFlags) -> Result<Connection, rusqlite::Error> {
    let shop = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    shop.busy_timeout(BUSY)?;
    Ok(shop)
}

fn unread(err: serde_json::Error) -> Refused {
    Refused(StatusCode::BAD_REQUEST, format!("the body cannot be read: {err}"))
}

impl From<rusqlite::Error> for Refused {
    fn from(err: rusqlite::Error) -> Self {
        let status = match err.sqlite_error_code() {
            Some(rusqlite::ErrorCode::ConstraintViolation) => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, err.to_string())
    }
}

impl From<Refused> for Box<dyn std::error::Error + Send + Sync> {
    fn from(Refused(_, detail): Refused) -> Self {
        detail.into()
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body.to_string())
        .into_response()
}

/// All columns but the key.
const COLUMNS: [&str; 6] = ["customer", "item", "quantity", "total", "status", "placed"];

// What is there as a page sees it.
const ORDER: &str = "\
SELECT json_object('customer', customer, 'item', item, 'quantity', quantity, 'total', total, 'status', status, 'placed', placed)
FROM orders WHERE id = ?1";

const SCHEMA: &str = "\
CREATE TABLE orders (
  id       TEXT    PRIMARY KEY NOT NULL CHECK (length(id) BETWEEN 1 AND 40),
  customer TEXT    NOT NULL CHECK (length(customer) BETWEEN 1 AND 100),
  item     TEXT    NOT NULL CHECK (length(item) BETWEEN 1 AND 100),
  quantity INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 9999),
  total    REAL    NOT NULL CHECK (total BETWEEN 0 AND 999999),
  status   TEXT    NOT NULL CHECK (status IN ('open', 'paid', 'shipped', 'cancelled')),
  placed   TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT";

const FILE: &str = "demo.db";
/// What the source is called.
const SOURCE: &str = "demo_orders";
const BUSY: Duration = Duration::from_secs(3);
const BODY_BYTES_MAX: usize = 64 << 10;
