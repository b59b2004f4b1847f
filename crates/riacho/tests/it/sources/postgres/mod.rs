//! Servers of PostgreSQL, one for each test, changed by sessions of their own.

/// Rows, then what is done to them.
mod changes;
/// Tables that become other tables.
mod altered;
/// Which tables, columns and rows are read.
mod chosen;
/// The database's log does not go on where it was read.
mod repaired;
/// What is streamed before a query sees it.
mod visibility;
/// Tables that are read in parts.
mod large;
/// What cannot be done yet, or not at once.
mod waiting;
/// What is refused, and what to do then.
mod refused;

use crate::{
    live_tables::Reader,
    support::{
        At, TestServer, patient,
        postgres::{Postgres, PostgresOptions},
    },
};
use riacho::source::{
    Database, PostgresSettings, SourceInfo, SourceSettings, Sources, TableSettings, settings::Secret,
};
use riacho_core::name::StreamName;
use serde_json::Value;
use std::{collections::BTreeMap, panic::Location, sync::Arc, time::Duration};

/// A server of ours that has a database of PostgreSQL as its source.
struct Shop {
    server: Option<TestServer>,
    sources: Sources,
    settings: SourceSettings,
    db: Postgres,
}

impl Shop {
    /// A database made by `sql`, of which `tables` are read.
    async fn open(sql: &str, tables: &[&str]) -> Self {
        Self::with(PostgresOptions::default(), sql, all_of(tables)).await
    }

    async fn with(options: PostgresOptions, sql: &str, tables: Vec<TableSettings>) -> Self {
        let db = Postgres::start(options).await;
        if !sql.is_empty() {
            db.psql(sql).await;
        }
        let settings = source("shop", &db.url(), tables);
        let server = TestServer::start().await;
        let sources = server.sources().clone();
        let shop = Self { server: Some(server), sources, settings, db };
        shop.run().await;
        shop
    }

    /// Runs the source as its settings are now.
    async fn run(&self) {
        self.sources.run(vec![self.settings.clone()]).await;
    }

    fn server(&self) -> &TestServer {
        self.server.as_ref().unwrap()
    }

    fn postgres(&mut self) -> &mut PostgresSettings {
        match &mut self.settings.database {
            Database::Postgres(postgres) => postgres,
            Database::Sqlite(_) | Database::DynamoDb(_) => unreachable!(),
        }
    }

    async fn stop(&self) {
        self.sources.stop().await;
    }

    /// Starts our server anew on what the one before it wrote.
    async fn restart(&mut self) {
        self.stop().await;
        let server = self.server.take().unwrap().restart_fed_by(vec![self.settings.clone()]).await;
        self.sources = server.sources().clone();
        self.server = Some(server);
    }

    fn info(&self) -> SourceInfo {
        self.sources.list().pop().unwrap()
    }

    /// Waits until the source is in `state`.
    #[track_caller]
    fn until(&self, state: &str) -> impl Future<Output = SourceInfo> {
        let (at, state) = (Location::caller(), state.to_owned());
        poll(at, format!("{state:?}"), async move || {
            let info = self.info();
            if info.state.as_str() == state { Ok(info) } else { Err(format!("{info:?}")) }
        })
    }

    /// Reads `target` once the rows are whole.
    #[track_caller]
    fn read(&self, target: &str) -> impl Future<Output = Reader> {
        let (live, target) = (self.until("live"), target.to_owned());
        async move {
            live.await;
            let mut reader = Reader::open(self.server(), &target, "").await;
            reader.group().await;
            reader
        }
    }

    /// Our rows of the table.
    fn rows(&self, table: &str) -> BTreeMap<String, Value> {
        let stream = StreamName::of_table(table).unwrap();
        let page = self.server().log().rows().snapshot(&stream).unwrap().rows(None, usize::MAX).unwrap();
        page.rows.into_iter().map(|row| (row.key.into(), serde_json::from_str(&row.value).unwrap())).collect()
    }

    /// Waits until our rows of the table are these.
    #[track_caller]
    fn until_rows(&self, table: &str, rows: Value) -> impl Future<Output = ()> {
        let (at, table) = (Location::caller(), table.to_owned());
        let rows: BTreeMap<String, Value> = serde_json::from_value(rows).unwrap();
        poll(at, format!("{rows:?}"), async move || {
            let ours = self.rows(&table);
            if ours == rows { Ok(()) } else { Err(format!("{ours:?}, {:?}", self.info())) }
        })
    }

    /// Waits until the source has a fault, and gives its message and remedy.
    #[track_caller]
    fn fault(&self) -> impl Future<Output = (String, String)> {
        fault_of(Location::caller(), &self.sources, "shop")
    }
}

#[track_caller]
fn fault_of(at: At, sources: &Sources, name: &str) -> impl Future<Output = (String, String)> {
    let (sources, name) = (sources.clone(), name.to_owned());
    poll(at, "a fault".to_owned(), async move || {
        let info = sources.list().into_iter().find(|info| *info.name == *name).unwrap();
        match (info.state.as_str(), info.last_fault) {
            ("broken" | "backing_off", Some((_, fault))) => {
                Ok((fault.message, fault.remedy.unwrap_or_default()))
            }
            (state, fault) => Err(format!("{state}, {fault:?}")),
        }
    })
}

/// Asks until there is an answer; what stands in the way is told where that takes too long.
async fn poll<T>(at: At, what: String, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let mut last = String::new();
    let asking = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(err) => last = err,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(crate::support::PATIENCE, asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("{at}: waited for {what}; it is {last}"),
    }
}

fn all_of(tables: &[&str]) -> Vec<TableSettings> {
    tables.iter().map(|table| TableSettings::all_of(table)).collect()
}

fn source(name: &str, url: &str, tables: Vec<TableSettings>) -> SourceSettings {
    let postgres = PostgresSettings { url: Secret(url.to_owned()), publication: None, slot: None };
    SourceSettings { name: Arc::from(name), database: Database::Postgres(postgres), tables }
}

/// No more than so long for what may hang.
#[track_caller]
fn soon<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    patient(Location::caller(), what, future)
}
