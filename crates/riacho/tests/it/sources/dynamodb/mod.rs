//! DynamoDB: emulators and our fake, and what we make of them.

/// The fake against emulators.
mod compared;
/// What the fake alone does.
mod scripted;
/// Our client.
mod service;
/// What is pushed.
mod ingest;
/// Functions that push.
mod lambda;
/// Items that are imported from files.
mod import;
/// Rows, then what is done to them.
mod changes;
/// Streams that do not go on where they were read.
mod repaired;

use crate::{
    live_tables::Reader,
    support::{TestServer, dynamodb::Fake, until},
};
use riacho::source::{
    Database, DynamoDbSettings, Reload, SourceInfo, SourceSettings, Sources, TableSettings, settings::Secret,
};
use riacho_core::name::StreamName;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// A server of ours that has tables of DynamoDB as its source.
struct Shop {
    server: Option<TestServer>,
    sources: Sources,
    settings: SourceSettings,
}

/// What reads `tables` at `endpoint`.
fn source(endpoint: &str, tables: &[&str]) -> SourceSettings {
    let dynamodb = DynamoDbSettings {
        region: Some("us-east-1".to_owned()),
        endpoint: Some(endpoint.to_owned()),
        access_key: Some(("test".to_owned(), Secret("test".to_owned()))),
        poll: Duration::from_millis(200),
        settle: Duration::ZERO,
        ..DynamoDbSettings::default()
    };
    SourceSettings {
        name: "shop".into(),
        database: Database::DynamoDb(dynamodb),
        tables: tables.iter().map(|table| TableSettings::all_of(table)).collect(),
    }
}

impl Shop {
    async fn open(endpoint: &str, tables: &[&str]) -> Self {
        Self::with(source(endpoint, tables)).await
    }

    async fn with(settings: SourceSettings) -> Self {
        let server = TestServer::start().await;
        let sources = Sources::new(server.log().clone(), Reload::new(|| Ok(Vec::new())));
        let shop = Self { server: Some(server), sources, settings };
        shop.run().await;
        shop
    }

    fn server(&self) -> &TestServer {
        self.server.as_ref().unwrap()
    }

    async fn run(&self) {
        self.sources.run(vec![self.settings.clone()]).await;
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

    /// A reader of a table, once it is live.
    #[track_caller]
    fn read(&self, table: &str) -> impl Future<Output = Reader> {
        let (live, target) = (self.live(), format!("/tables/{table}"));
        async move {
            live.await;
            Reader::open(self.server(), &target, "").await
        }
    }

    fn info(&self) -> SourceInfo {
        self.sources.list().remove(0)
    }

    #[track_caller]
    fn live(&self) -> impl Future<Output = ()> {
        self.until("live")
    }

    /// Waits until the source is in this state.
    #[track_caller]
    fn until(&self, state: &str) -> impl Future<Output = ()> {
        until("the state", async move || (self.info().state.as_str() == state).then_some(()))
    }

    fn rows(&self, table: &str) -> BTreeMap<String, Value> {
        let stream = StreamName::of_table(table).unwrap();
        let page = self.server().log().rows().snapshot(&stream).unwrap().rows(None, usize::MAX).unwrap();
        page.rows.into_iter().map(|row| (row.key.into(), serde_json::from_str(&row.value).unwrap())).collect()
    }

    /// Waits until our rows of the table are these.
    #[track_caller]
    fn until_rows(&self, table: &str, rows: Value) -> impl Future<Output = ()> {
        let rows: BTreeMap<String, Value> = serde_json::from_value(rows).unwrap();
        until("rows", async move || (self.rows(table) == rows).then_some(()))
    }
}

/// An order of the fake.
fn put(fake: &Fake, id: &str, n: u32) {
    fake.put("orders", json!({"id": {"S": id}, "n": {"N": n.to_string()}}));
}
