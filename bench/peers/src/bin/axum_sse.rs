//! What most people write: axum's `Sse` over a `tokio::sync::broadcast`, with `KeepAlive`.
//!
//! No ids, no history; a subscriber that lags by more than [`CAPACITY`] events misses some, as `broadcast` has it.
//! Current-thread Tokio, since it has one core, and `TCP_NODELAY`: that is its best.
//!
//! `GET /any/path` subscribes, `POST /any/path` publishes its body there. Usage: `axum-sse ADDRESS`.

use anyhow::{Context as _, Result};
use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::sse::{Event, KeepAlive, Sse},
    routing::get,
    serve::ListenerExt as _,
};
use futures_util::{Stream, stream};
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    net::TcpSocket,
    sync::broadcast::{self, Sender, error::RecvError},
};

fn main() -> Result<()> {
    let address = std::env::args().nth(1).context("usage: axum-sse ADDRESS")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address.parse()?).with_context(|| format!("failed to bind {address}"))?;
        // 512 connects at once overflow the default.
        let listener = socket.listen(4096)?.tap_io(|socket| {
            // A connection that is gone already fails here; its first read says so too.
            let _ = socket.set_nodelay(true);
        });
        let router =
            Router::new().route("/{*path}", get(subscribe).post(publish)).with_state(Channels::default());
        axum::serve(listener, router).await.context("failed to serve")
    })
}

/// A channel for each path.
#[derive(Clone, Default)]
struct Channels(Arc<Mutex<HashMap<String, Sender<String>>>>);

impl Channels {
    fn channel(&self, path: String) -> Sender<String> {
        let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        channels.entry(path).or_insert_with(|| broadcast::channel(CAPACITY).0).clone()
    }
}

async fn subscribe(
    State(channels): State<Channels>,
    Path(path): Path<String>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let receiver = channels.channel(path).subscribe();
    let events = stream::unfold(receiver, async |mut receiver| {
        loop {
            match receiver.recv().await {
                Ok(data) => return Some((Ok(Event::default().data(data)), receiver)),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

async fn publish(State(channels): State<Channels>, Path(path): Path<String>, body: String) -> StatusCode {
    // Nobody listening is no error.
    let _ = channels.channel(path).send(body);
    StatusCode::CREATED
}

const CAPACITY: usize = 1024;
