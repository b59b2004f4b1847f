//! Response bodies that stream: the one that hands its socket to a reactor, and the one that is a task.

use super::follower::{Follower, Next};
use crate::{
    feed::Way,
    log::{Place, Seat},
};
use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use riacho_core::transport::Control;
use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

/// Between a response body and the loop that drives its connection: the subscription that is to leave with the socket.
#[derive(Debug, Default)]
pub struct Handoff {
    subscription: Mutex<Option<Leave>>,
}

impl Handoff {
    /// The subscription, once its first block was given to hyper.
    pub fn take(&self) -> Option<Leave> {
        self.subscription.lock().unwrap_or_else(PoisonError::into_inner).take()
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

/// The body of a subscription that a task serves, in the form of its view.
pub fn following(first: Bytes, follower: Follower, retry: Duration) -> Body {
    let start = Some((Some(first), follower));
    let stream = futures_util::stream::unfold(start, move |state| async move {
        let (first, mut follower) = state?;
        if let Some(first) = first {
            return Some((Ok::<_, Infallible>(first), Some((None, follower))));
        }
        let form = follower.view().form();
        let mut bytes = Vec::new();
        match follower.next().await {
            Ok(Next::Bytes(bytes)) => return Some((Ok(bytes), Some((None, follower)))),
            Ok(Next::Silence) => {
                let moved = follower.advance().is_some();
                form.heartbeat(&mut bytes, follower.log().position(follower.after()), moved);
            }
            Ok(Next::Drain) => {
                let goodbye = Control::Goodbye { reason: "drain", retry };
                form.control(&mut bytes, follower.log().position(follower.after()), &goodbye);
                return Some((Ok(bytes.into()), None));
            }
            Err(err) => {
                // The body just ends: the reader resumes from its cursor, which loses nothing.
                err.log_end_of_subscription();
                return None;
            }
        }
        Some((Ok(bytes.into()), Some((None, follower))))
    });
    Body::from_stream(stream)
}

/// A body that says one thing and ends, as a stream that was cut short does.
pub fn once(text: String) -> Body {
    Body::from_stream(futures_util::stream::iter([Ok::<_, Infallible>(Bytes::from(text))]))
}

/// A body of unknown length that never sends: for the answer to HEAD, which has the headers of the GET.
pub fn headers_only() -> Body {
    Body::from_stream(futures_util::stream::pending::<Result<Bytes, Infallible>>())
}
