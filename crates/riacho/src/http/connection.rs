//! One connection, from accept to its end, its takeover by a reactor, or its upgrade to WebSocket.
//!
//! hyper parses and answers; when an SSE body has given its first block, the body offers its subscription, and once all
//! is with the socket the connection is taken apart and its socket leaves for a reactor.

use super::{
    Gate,
    socket::{self, Io, Protocol, Sent},
};
use crate::{
    limits::Permit,
    metrics::Metrics,
    reactor::{Reactors, Ticket},
    transport::body::{Handoff, Leave},
};
use axum::body::Body;
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Poll, ready},
    time::Duration,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::watch, task::JoinSet};

/// What a request's handler may know of its connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The other side's address.
    pub address: SocketAddr,
    /// Where an answer may offer what is to leave with the socket; none on HTTP/2.
    pub handoff: Option<Arc<Handoff>>,
    /// Who owns the tasks that speak another protocol on a stream of HTTP/2; none on HTTP/1.
    pub upgraded: Option<Arc<Mutex<JoinSet<()>>>>,
}

/// Bounds of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of a request's head.
    pub head_bytes_max: usize,
    /// Time to send a request's head; also how long an idle connection is kept.
    pub head_time_max: Duration,
    /// Silence on HTTP/2 after which a ping asks whether the other side is still there.
    pub heartbeat: Duration,
}

/// What all connections are served with.
#[derive(Clone)]
pub struct Serving {
    /// Answers requests.
    pub gate: Gate,
    /// Take over the sockets of SSE subscribers.
    pub reactors: Arc<Reactors>,
    /// Count what goes wrong before a request is one.
    pub metrics: Arc<Metrics>,
    /// Bounds.
    pub settings: Settings,
    /// Whether the server is shutting down.
    pub drain: watch::Receiver<bool>,
}

impl Serving {
    /// Serves one connection until it ends, leaves for a reactor, or the server drains.
    pub async fn serve(self, mut stream: TcpStream, address: SocketAddr, permit: Permit) {
        let begun = tokio::time::timeout(self.settings.head_time_max, socket::begin(&mut stream)).await;
        match begun {
            Ok(Ok((protocol, prefix))) => {
                self.speak(protocol, Io { socket: stream, prefix }, address, permit).await
            }
            // Nothing was asked, so there is nobody to answer.
            Ok(Err(_)) => {}
            Err(_) => self.metrics.limit("head_time_max"),
        }
    }

    // Boxed by a function that is not async, so that a connection that has asked nothing yet is small.
    fn speak(
        self,
        protocol: Protocol,
        io: Io<TcpStream>,
        address: SocketAddr,
        permit: Permit,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match protocol {
            Protocol::Http1 => Box::pin(self.serve_http1(io, address, permit)),
            Protocol::Http2 => Box::pin(self.serve_http2(io, address, permit)),
            Protocol::None => Box::pin(std::future::ready(())),
        }
    }

    async fn serve_http1(self, io: Io<TcpStream>, address: SocketAddr, permit: Permit) {
        let handoff = Arc::<Handoff>::default();
        let (socket, mut sender) = socket::buffered(io.socket);
        let io = Io { socket, prefix: io.prefix };
        let service =
            answer(self.gate, Peer { address, handoff: Some(Arc::clone(&handoff)), upgraded: None });
        // A connection that comes while the server drains gets one answer: native EventSources are told when to come
        // back, where a refused connection might become a proxy's error, which would be final for them.
        let late = *self.drain.borrow();
        let mut connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.settings.head_time_max)
            // A larger head is answered 431.
            .max_header_size(self.settings.head_bytes_max)
            // What hyper buffers of an answer before it waits for the socket; its default is six times as much.
            .max_buf_size(self.settings.head_bytes_max.max(BUFFER_BYTES))
            .keep_alive(!late)
            .serve_connection(TokioIo::new(io), service);
        let mut draining = pin!(drained(self.drain));
        let mut told = late;
        let mut ended = None;
        let leaving = poll_fn(|cx| {
            if !told && draining.as_mut().poll(cx).is_ready() {
                told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            loop {
                if ended.is_none()
                    && let Poll::Ready(end) = connection.poll_without_shutdown(cx)
                {
                    ended = Some(end);
                }
                match (ready!(sender.poll_send(cx)), &ended) {
                    (Ok(Sent::Room), None) => {}
                    (Ok(Sent::All), None) => {
                        return handoff.take().map_or(Poll::Pending, |leaving| Poll::Ready(Some(leaving)));
                    }
                    // Its last words are with the socket, or will never be.
                    _ => return Poll::Ready(None),
                }
            }
        })
        .await;
        let parts = connection.into_parts();
        let Io { socket, prefix } = parts.io.into_inner();
        let Some(mut stream) = sender.reunite(socket) else { return };
        if let Some(Ok(())) = ended
            && let Some(upgrade) = handoff.take_upgrade()
        {
            drop(handoff);
            let early = [parts.read_buf, prefix].concat();
            return upgrade(stream, early).await;
        }
        // What was pipelined after an SSE request is dropped with hyper's buffer: it can have no answer.
        if let Some(Leave { seat, place, way }) = leaving {
            if let Ok(socket) = stream.into_std() {
                self.reactors.serve(Ticket { socket: socket.into(), seat, place, way, permit });
            }
            return;
        }
        if let Some(Err(err)) = ended {
            if err.is_timeout() {
                self.metrics.limit("head_time_max");
            } else if err.is_parse_too_large() {
                self.metrics.limit("head_bytes_max");
            }
            tracing::debug!(peer = %address, error = %err, "connection ended");
        }
        let _ = stream.shutdown().await;
    }

    async fn serve_http2(self, io: Io<TcpStream>, address: SocketAddr, permit: Permit) {
        // Dropped with the connection, and with it what still runs.
        let upgraded = Arc::<Mutex<JoinSet<()>>>::default();
        let peer = Peer { address, handoff: None, upgraded: Some(Arc::clone(&upgraded)) };
        let service = answer(self.gate, peer);
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(self.settings.heartbeat)
            .keep_alive_timeout(self.settings.heartbeat)
            .max_concurrent_streams(HTTP2_STREAMS_MAX)
            // RFC 8441: WebSocket on a stream.
            .enable_connect_protocol()
            .max_header_list_size(u32::try_from(self.settings.head_bytes_max).unwrap_or(u32::MAX))
            .serve_connection(TokioIo::new(io), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            // The connection is polled again below: nothing is lost when the drain comes first.
            ended = &mut connection => ended,
            () = drained(self.drain) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(err) = ended {
            tracing::debug!(peer = %address, error = %err, "connection ended");
        }
        drop(permit);
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

fn answer(
    gate: Gate,
    peer: Peer,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = http::Response<Body>,
    Error = Infallible,
    Future = Answer,
> {
    service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        let answer = gate.clone().answer(request);
        // hyper wants a future that can be moved while it is polled.
        Box::pin(async move { Ok(answer.await) }) as Answer
    })
}

async fn drained(mut drain: watch::Receiver<bool>) {
    // The sender is gone only once the server is; then there is nothing to wait for either.
    let _ = drain.wait_for(|drain| *drain).await;
}

const HTTP2_STREAMS_MAX: u32 = 1000;
const BUFFER_BYTES: usize = 64 * 1024;
