//! Servers, clients and what they say. Every wait ends at [`PATIENCE`], with the line that waited.

/// A server in this process.
mod server;
/// The real binary.
mod process;
/// HTTP/1.1 as bytes on a socket.
mod http1;
/// `text/event-stream` by the letter of the standard.
mod sse;
/// Subscriptions, one type for each transport.
mod subscription;
/// PostgreSQL of a test's own.
#[allow(dead_code, reason = "unit tests of `source::postgres` use the file too")]
pub(crate) mod postgres;
/// DynamoDB of a test's own.
#[allow(dead_code, reason = "the fake is of use for more than is tested with it")]
pub(crate) mod dynamodb;

/// Disks that are full.
pub(crate) mod disk;
/// WebSockets.
mod websocket;

pub(crate) use http1::{Connection, Response};
pub(crate) use process::{Process, riacho, run};
pub(crate) use server::TestServer;
pub(crate) use sse::{Event, Item, Parser};
pub(crate) use subscription::{Page, Subscription};
pub(crate) use websocket::{Said, WebSocket, handshake, opened};

use std::{panic::Location, time::Duration};

/// How long anything may take. Only a broken test gets there. Below 30 s, after which hyper would act by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

/// Where a test called a helper.
pub(crate) type At = &'static Location<'static>;

/// Waits for `future`, but not without end.
pub(crate) async fn patient<T>(at: At, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("{at}: {what}: nothing came for {} s", PATIENCE.as_secs()),
    }
}

/// Asks again and again until `ask` gives something.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    let at = Location::caller();
    let asking = async move {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    patient(at, what, asking)
}
