//! Response bodies that stream: the one that hands its socket to a reactor, and the one that is a task.

use super::follower::{Follower, Next};
use crate::{
    feed::Way,
    log::{Place, Seat},
};
use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body::Frame;
use riacho_core::transport::Control;
use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::net::TcpStream;

/// Between an answer and the loop that drives its connection: what is to leave with the socket.
#[derive(Default)]
pub struct Handoff {
    subscription: Mutex<Option<Leave>>,
    upgrade: Mutex<Option<Upgrade>>,
}

/// Speaks another protocol on the socket, after the bytes that were read from it already, until the connection ends.
pub type Upgrade = Box<dyn FnOnce(TcpStream, Vec<u8>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

impl Handoff {
    /// The subscription, once its first block was given to hyper.
    pub fn take(&self) -> Option<Leave> {
        self.subscription.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Offers the socket to `upgrade`, once the answer that says so is sent.
    pub fn offer(&self, upgrade: Upgrade) {
        *self.upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
    }

    /// What the socket was offered to.
    pub fn take_upgrade(&self) -> Option<Upgrade> {
        self.upgrade.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Handoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handoff").finish_non_exhaustive()
    }
}

/// A subscription that a reactor will serve.
#[derive(Debug)]
pub struct Leave {
    /// Its seat in the view it reads.
    pub seat: Seat,
    /// Where it reads from,
    pub place: Place,
    /// and by what.
    pub way: Way,
}

/// A body whose first frame is the stream's first block; asked for more, it offers its subscription to the connection
/// and stays silent. hyper never polls the body of an answer to HEAD: then nothing is offered.
struct Leaving {
    first: Option<Bytes>,
    subscription: Option<Leave>,
    handoff: Arc<Handoff>,
}

/// The body of a subscription that a reactor will serve.
pub fn leaving(first: Bytes, leave: Leave, handoff: Arc<Handoff>) -> Body {
    Body::new(Leaving { first: Some(first), subscription: Some(leave), handoff })
}

impl http_body::Body for Leaving {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if let Some(subscription) = self.subscription.take() {
            let mut offered = self.handoff.subscription.lock().unwrap_or_else(PoisonError::into_inner);
            *offered = Some(subscription);
        }
        // Nobody is to wake this: the connection is taken apart right after.
        Poll::Pending
    }
}

/// A piece of what a task sends to the reader it serves.
#[derive(Debug)]
pub enum Piece {
    /// Encoded events, or a heartbeat.
    Events(Bytes),
    /// Goodbye: the server is shutting down, and nothing follows.
    Goodbye(Bytes),
    /// The log could not be read. The reader resumes from its cursor, which loses nothing.
    Failed,
}

/// What a task sends to the reader it serves, in the form of its view: `first`, then all that `follower` gives.
pub fn pieces(first: Bytes, follower: Follower, retry: Duration) -> impl Stream<Item = Piece> + Send {
    let start = Some((Some(first), follower));
    futures_util::stream::unfold(start, move |state| async move {
        let (first, mut follower) = state?;
        if let Some(first) = first {
            return Some((Piece::Events(first), Some((None, follower))));
        }
        let form = follower.view().form();
        let mut bytes = Vec::new();
        match follower.next().await {
            Ok(Next::Bytes(bytes)) => return Some((Piece::Events(bytes), Some((None, follower)))),
            Ok(Next::Silence) => {
                let moved = follower.advance().is_some();
                form.heartbeat(&mut bytes, follower.log().position(follower.after()), moved);
            }
            Ok(Next::Drain) => {
                let goodbye = Control::Goodbye { reason: "drain", retry };
                form.control(&mut bytes, follower.log().position(follower.after()), &goodbye);
                return Some((Piece::Goodbye(bytes.into()), None));
            }
            Err(err) => {
                err.log_end_of_subscription();
                return Some((Piece::Failed, None));
            }
        }
        Some((Piece::Events(bytes.into()), Some((None, follower))))
    })
}

/// The body of a subscription that a task serves.
pub fn following(first: Bytes, follower: Follower, retry: Duration) -> Body {
    let bytes = pieces(first, follower, retry).filter_map(|piece| {
        std::future::ready(match piece {
            Piece::Events(bytes) | Piece::Goodbye(bytes) => Some(Ok::<_, Infallible>(bytes)),
            // The body just ends.
            Piece::Failed => None,
        })
    });
    Body::from_stream(bytes)
}

/// A body that says one thing and ends, as a stream that was cut short does.
pub fn once(text: String) -> Body {
    Body::from_stream(futures_util::stream::iter([Ok::<_, Infallible>(Bytes::from(text))]))
}

/// A body of unknown length that never sends: for the answer to HEAD, which has the headers of the GET.
pub fn headers_only() -> Body {
    Body::from_stream(futures_util::stream::pending::<Result<Bytes, Infallible>>())
}
