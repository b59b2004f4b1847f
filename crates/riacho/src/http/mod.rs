//! HTTP: one router for every version and transport; requests are parsed here into types that cannot be wrong.

/// What every request passes on its way to a route and back.
mod gate;
/// Errors on the wire.
pub mod problem;
/// What a request says: names, media types, parameters.
mod request;
/// Events come in.
mod publish;
/// Events go out.
mod read;
/// Sources are listed and asked.
mod sources;
/// Sources are pushed to.
mod ingest;
/// Events go out and come in on a WebSocket.
mod websocket;
/// Streams are listed and emptied.
mod streams;
/// Tables are listed, read and emptied.
mod tables;
/// One row is read and written.
mod row;
/// What must hold of a row before.
mod condition;
/// Many changes of a table, made together or not at all.
mod batch;
/// All rows of a table at one moment.
mod snapshot;
/// Health, metrics, and the first page.
mod operation;
/// The JavaScript client.
mod client;
/// All decoders of a request, for the fuzz target.
#[doc(hidden)]
pub mod decode;
#[cfg(test)]
mod tests;
/// The socket under hyper.
mod socket;
/// One connection, from accept to its end or its takeover by a reactor.
pub mod connection;
/// Which connections are accepted, and how all of them end.
pub mod server;

pub use gate::Gate;

use crate::{
    config::Origins, feed::Feeder, log::Log, metrics::Metrics, reactor::Reactors, schema::Schemas,
    source::Sources,
};
use axum::{
    Router,
    extract::Request,
    response::IntoResponse,
    routing::{any, get, post},
};
use client::Client;
use http::{StatusCode, header};
use problem::Problem;
use snapshot::Snapshots;
use std::{sync::Arc, time::Duration};
use tokio::sync::{Semaphore, watch};

/// What every request may use.
#[derive(Clone)]
pub struct App {
    shared: Arc<Shared>,
}

struct Shared {
    log: Log,
    feeder: Arc<Feeder>,
    reactors: Arc<Reactors>,
    metrics: Arc<Metrics>,
    settings: Settings,
    publish_bytes: Arc<Semaphore>,
    snapshots: Arc<Snapshots>,
    sources: Sources,
    client: Client,
    drain: watch::Receiver<bool>,
}

/// Bounds and times of requests.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Origins whose pages may use the server.
    pub origins: Origins,
    /// Silence after which a reader gets a heartbeat.
    pub heartbeat: Duration,
    /// The reconnection time told to clients, before jitter.
    pub retry: Duration,
    /// Bytes of one event's data.
    pub event_bytes_max: usize,
    /// Events of a batch.
    pub batch_events_max: usize,
    /// Bytes of a batch's body.
    pub batch_bytes_max: usize,
    /// Bytes of all bodies being published.
    pub publish_bytes_in_flight_max: usize,
    /// `stream=` parameters of a subscription.
    pub streams_per_subscription_max: usize,
    /// The longest `wait=` of a long-poll.
    pub long_poll_wait_max: Duration,
    /// Events of a long-poll page, and `tail=`.
    pub page_events_max: usize,
    /// Bytes of a message of a client on a WebSocket.
    pub websocket_message_bytes_max: usize,
    /// Subscriptions of one WebSocket.
    pub websocket_subscriptions_max: usize,
    /// Bytes of a row's value, and of a patch.
    pub row_bytes_max: usize,
    /// What rows of tables must look like.
    pub schemas: Schemas,
    /// How long a snapshot is held for one reading, and between two pages.
    pub snapshot_hold: Duration,
    /// How long a shared cache may answer with a snapshot.
    pub snapshot_max_age: Duration,
    /// Snapshots held for readers of pages.
    pub snapshots_max: usize,
}

impl App {
    /// What requests use.
    pub fn new(
        log: Log,
        feeder: Arc<Feeder>,
        reactors: Arc<Reactors>,
        metrics: Arc<Metrics>,
        sources: Sources,
        settings: Settings,
        drain: watch::Receiver<bool>,
    ) -> Self {
        let permits = settings.publish_bytes_in_flight_max.min(Semaphore::MAX_PERMITS);
        let publish_bytes = Arc::new(Semaphore::new(permits));
        let snapshots = Snapshots::new(settings.snapshot_hold, settings.snapshots_max);
        let client = Client::new();
        let shared = Shared {
            log,
            feeder,
            reactors,
            metrics,
            settings,
            publish_bytes,
            snapshots,
            sources,
            client,
            drain,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The snapshots that are being read.
    fn snapshots(&self) -> &Arc<Snapshots> {
        &self.shared.snapshots
    }

    fn sources(&self) -> &Sources {
        &self.shared.sources
    }

    fn log(&self) -> &Log {
        &self.shared.log
    }

    fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    fn draining(&self) -> bool {
        *self.shared.drain.borrow()
    }
}

/// The routes. `extra` are pages beside the protocol, such as the demo's.
fn routes(app: App, extra: Router) -> Router {
    Router::new()
        .route("/streams", get(read::many).post(publish::batch).options(options_many))
        .route(
            "/streams/{*name}",
            get(read::one).post(publish::one).delete(streams::empty).options(options_one),
        )
        .route("/streams/-/ws", any(websocket::not_upgraded))
        .route("/streams/", any(unnamed))
        .route("/tables", get(tables::list).options(options_list))
        .route("/tables/", any(unnamed_table))
        .route(
            "/tables/{table}",
            get(tables::one).post(batch::write).delete(tables::empty).options(options_one),
        )
        .route(
            "/tables/{table}/{key}",
            get(row::read).put(row::put).patch(row::patch).delete(row::delete).options(options_row),
        )
        .route("/tables/{table}/", any(keyless))
        .route("/tables/{table}/{key}/{*more}", any(too_deep))
        .route("/sources", get(sources::list).options(options_list))
        .route("/sources/reload", post(sources::reload))
        .route("/sources/{name}/pause", post(sources::pause))
        .route("/sources/{name}/resume", post(sources::resume))
        .route("/ingest/dynamodb/{source}", post(ingest::event))
        .route("/ingest/dynamodb/{source}/items", post(ingest::items))
        .route("/healthz", get(operation::healthz))
        .route("/readyz", get(operation::readyz))
        .route("/metrics", get(operation::metrics))
        .route("/riacho.js", get(client::module))
        .route("/riacho.global.js", get(client::global))
        .route("/", get(operation::index))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .with_state(app)
        .merge(extra)
}

async fn options_many() -> impl IntoResponse {
    (StatusCode::NO_CONTENT, [(header::ALLOW, "GET, HEAD, POST, OPTIONS")])
}

async fn options_one() -> impl IntoResponse {
    (StatusCode::NO_CONTENT, [(header::ALLOW, "GET, HEAD, POST, DELETE, OPTIONS")])
}

async fn options_list() -> impl IntoResponse {
    (StatusCode::NO_CONTENT, [(header::ALLOW, "GET, HEAD, OPTIONS")])
}

async fn options_row() -> impl IntoResponse {
    (StatusCode::NO_CONTENT, [(header::ALLOW, "GET, HEAD, PUT, PATCH, DELETE, OPTIONS")])
}

async fn unnamed_table() -> Problem {
    Problem::bad("name_invalid", "Bad table name", "the table name is empty")
}

async fn keyless() -> Problem {
    Problem::bad(
        "key_invalid",
        "Bad key",
        "the key is empty; a table is at /tables/{table}, without the last slash",
    )
}

async fn too_deep() -> Problem {
    let detail = "a row is at /tables/{table}/{key}; a slash in a table's name or in a key is written `%2F`";
    Problem::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
}

async fn unnamed() -> Problem {
    Problem::bad("name_invalid", "Bad stream name", "the stream name is empty")
}

async fn method_not_allowed(request: Request) -> Problem {
    let detail = format!("{} is not for this address; `Allow` lists the methods that are", request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", detail)
}

async fn not_found(request: Request) -> Problem {
    let detail = format!(
        "there is nothing at `{}`; streams are at /streams/{{name}}, tables at /tables/{{table}}",
        request.uri().path()
    );
    Problem::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
}
