//! One connection, from accept to its end or its takeover by a reactor.
//!
//! hyper parses and answers; when an SSE body has sent its first block, the body offers its subscription, and once
//! hyper has nothing unflushed the connection is taken apart and its socket leaves for a reactor.

use crate::{
    limits::Permit,
    metrics::Metrics,
    reactor::{Reactors, Ticket},
    transport::body::Handoff,
};
use axum::{Router, body::Body};
use bytes::Bytes;
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
};
use tower::ServiceExt;

/// What a request's handler may know of its connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The other side's address.
    pub address: SocketAddr,
    /// Where an SSE body may offer its subscription; none on HTTP/2.
    pub handoff: Option<Arc<Handoff>>,
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
    pub router: Router,
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
    pub async fn serve(self, stream: TcpStream, address: SocketAddr, permit: Permit) {
        let mut io = Io { stream, prefix: Bytes::new(), handoff: Arc::default() };
        let begun = tokio::time::timeout(self.settings.head_time_max, io.begin()).await;
        match begun {
            Ok(Ok(Protocol::Http1)) => self.serve_http1(io, address, permit).await,
            Ok(Ok(Protocol::Http2)) => self.serve_http2(io, address, permit).await,
            // Nothing was asked, so there is nobody to answer.
            Ok(Ok(Protocol::None) | Err(_)) => {}
            Err(_) => self.metrics.limit("head_time_max"),
        }
    }

    async fn serve_http1(self, io: Io, address: SocketAddr, permit: Permit) {
        let handoff = Arc::clone(&io.handoff);
        let service = answer(self.router, Peer { address, handoff: Some(Arc::clone(&handoff)) });
        // A connection that comes while the server drains gets one answer: native EventSources are told when to come
        // back, where a refused connection might become a proxy's error, which would be final for them.
        let late = *self.drain.borrow();
        let mut connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.settings.head_time_max)
            // A larger head is answered 431.
            .max_header_size(self.settings.head_bytes_max)
            .keep_alive(!late)
            .serve_connection(TokioIo::new(io), service);
        let mut draining = pin!(drained(self.drain));
        let mut told = late;
        let leaving = poll_fn(|cx| {
            if !told && draining.as_mut().poll(cx).is_ready() {
                told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            match connection.poll_without_shutdown(cx) {
                Poll::Ready(ended) => Poll::Ready(Err(ended)),
                Poll::Pending => match handoff.take() {
                    Some(subscription) => Poll::Ready(Ok(subscription)),
                    None => Poll::Pending,
                },
            }
        })
        .await;
        let parts = connection.into_parts();
        match leaving {
            Ok((seat, place)) => {
                // What was pipelined after the SSE request is dropped with `read_buf`: it can have no answer.
                let stream = parts.io.into_inner().stream;
                if let Ok(socket) = stream.into_std() {
                    self.reactors.serve(Ticket { socket: socket.into(), seat, place, permit });
                }
            }
            Err(ended) => {
                if let Err(err) = ended {
                    if err.is_timeout() {
                        self.metrics.limit("head_time_max");
                    } else if err.is_parse_too_large() {
                        self.metrics.limit("head_bytes_max");
                    }
                    tracing::debug!(peer = %address, error = %err, "connection ended");
                }
                let mut stream = parts.io.into_inner().stream;
                let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
            }
        }
    }

    async fn serve_http2(self, io: Io, address: SocketAddr, permit: Permit) {
        let service = answer(self.router, Peer { address, handoff: None });
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(self.settings.heartbeat)
            .keep_alive_timeout(self.settings.heartbeat)
            .max_concurrent_streams(HTTP2_STREAMS_MAX)
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
    router: Router,
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
        // hyper wants a future that can be moved while it is polled.
        Box::pin(router.clone().oneshot(request)) as Answer
    })
}

async fn drained(mut drain: watch::Receiver<bool>) {
    // The sender is gone only once the server is; then there is nothing to wait for either.
    let _ = drain.wait_for(|drain| *drain).await;
}

enum Protocol {
    Http1,
    Http2,
    None,
}

/// A socket whose first bytes may have been looked at, and that notes whether all written bytes are flushed.
struct Io {
    stream: TcpStream,
    prefix: Bytes,
    handoff: Arc<Handoff>,
}

impl Io {
    // Reads as much as tells HTTP/2's preface from a request line, and keeps it to be read again.
    async fn begin(&mut self) -> io::Result<Protocol> {
        let mut first = [0; PREFACE.len()];
        let mut len = 0;
        while let Some(rest) = first.get_mut(len..).filter(|rest| !rest.is_empty()) {
            let count = self.stream.read(rest).await?;
            if count == 0 {
                break;
            }
            len += count;
            if first.get(..len) != PREFACE.get(..len) {
                break;
            }
        }
        let read = first.get(..len).unwrap_or_default();
        self.prefix = Bytes::copy_from_slice(read);
        Ok(match read {
            [] => Protocol::None,
            read if read == PREFACE => Protocol::Http2,
            _ => Protocol::Http1,
        })
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let count = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.handoff.wrote();
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.handoff.wrote();
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes the socket only once its own buffer is empty.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.handoff.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

// RFC 9113, "HTTP/2 Connection Preface".
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HTTP2_STREAMS_MAX: u32 = 1000;
