//! One WebSocket, from its first frame to its last.
//!
//! A single task reads and writes. It takes from its subscriptions only when the socket takes more, so a slow reader has a
//! place in its views and no queue; and it reads no more messages while too many of their answers wait.

use super::{
    reply::{close_code, refusal, reply, subscription_member},
    socket::{Duplex, Socket},
    subscriptions::{Failed, Subscriptions},
};
use crate::{
    http::{App, problem::Problem, publish, read},
    log::Begun,
    transport::body,
};
use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use riacho_core::transport::{
    Form,
    command::{Action, Command, Name, Reference},
};
use serde_json::json;
use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Interval, MissedTickBehavior},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        error::ProtocolError,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

/// A WebSocket that is yet to be opened.
pub(super) struct Session {
    app: App,
    uri: Uri,
    headers: HeaderMap,
    counted: Arc<()>,
}

impl Session {
    /// One that begins by reading what is at `uri`.
    pub(super) fn new(app: &App, uri: Uri, headers: HeaderMap) -> Self {
        Self { app: app.clone(), uri, headers, counted: app.shared.metrics.websocket() }
    }

    /// Speaks until the connection ends; `early` was read from it already.
    pub(super) async fn run(self, socket: impl Duplex + 'static, early: Vec<u8>) {
        let bytes_max = self.app.settings().websocket_message_bytes_max;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_message_size(Some(bytes_max))
            .max_frame_size(Some(bytes_max));
        let socket = Socket::new(socket);
        let socket = WebSocketStream::from_partially_read(socket, early, Role::Server, Some(config)).await;
        let Self { app, uri, headers, counted } = self;
        let mut speaking = Speaking::new(app, socket);
        if uri.path() != ALONE {
            speaking.subscribe_by_address(&uri, &headers);
        }
        drop((uri, headers));
        let end = poll_fn(|cx| speaking.poll(cx)).await;
        // Its subscriptions end here.
        let socket = { speaking }.socket;
        close(socket, end).await;
        drop(counted);
    }
}

struct Speaking {
    app: App,
    socket: WebSocketStream<Socket>,
    subscriptions: Subscriptions,
    /// Answers that are yet to be sent.
    replies: VecDeque<String>,
    publishing: FuturesUnordered<BoxFuture<'static, String>>,
    /// One at a time, and nothing is read meanwhile.
    subscribing: Option<BoxFuture<'static, Subscribed>>,
    beat: Interval,
    /// Signs of life at the last beat, and beats since the last sign.
    signs: u64,
    silent_beats: u32,
    ping: bool,
    drained: BoxFuture<'static, ()>,
    draining: bool,
    retry: Duration,
    end: Option<End>,
}

struct Subscribed {
    name: Option<Name>,
    reference: Option<Reference>,
    /// Whether the address of the WebSocket asked for it.
    by_address: bool,
    begun: Result<Begun, Problem>,
}

/// How a WebSocket ends.
enum End {
    /// The other side closed it, or is gone.
    Theirs,
    /// We close it.
    Ours(CloseCode, String),
}

impl Speaking {
    fn new(app: App, socket: WebSocketStream<Socket>) -> Self {
        let mut beat = tokio::time::interval(app.settings().heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.reset();
        let mut drain = app.shared.drain.clone();
        let drained = async move { drop(drain.wait_for(|drain| *drain).await) }.boxed();
        Self {
            retry: read::retry(&app),
            app,
            socket,
            subscriptions: Subscriptions::default(),
            replies: VecDeque::new(),
            publishing: FuturesUnordered::new(),
            subscribing: None,
            beat,
            signs: 0,
            silent_beats: 0,
            ping: false,
            drained,
            draining: false,
            end: None,
        }
    }

    // One look at everything that may go on, again and again until nothing does.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let heard = self.poll_hear(cx);
            let answered = self.poll_answers(cx);
            if self.poll_beat(cx) {
                return Poll::Ready(End::Theirs);
            }
            let sent = match self.poll_send(cx) {
                Ok(sent) => sent,
                Err(_) => return Poll::Ready(End::Theirs),
            };
            if !self.draining && self.drained.poll_unpin(cx).is_ready() {
                self.draining = true;
                continue;
            }
            // What was refused is told before the end.
            if self.replies.is_empty()
                && let Some(end) = self.end.take()
            {
                return Poll::Ready(end);
            }
            if self.draining && self.is_done() {
                let reason = json!({ "reason": "drain", "retry_ms": self.retry.as_millis() as u64 });
                return Poll::Ready(End::Ours(CloseCode::Away, reason.to_string()));
            }
            if !heard && !answered && !sent {
                return Poll::Pending;
            }
        }
    }

    fn is_done(&self) -> bool {
        self.replies.is_empty()
            && self.subscribing.is_none()
            && self.publishing.is_empty()
            && self.subscriptions.is_done()
    }

    // Takes one message, where its answer has room; whether there was one.
    fn poll_hear(&mut self, cx: &mut Context<'_>) -> bool {
        let room = self.replies.len() < REPLIES_MAX && self.publishing.len() < PUBLISHING_MAX;
        if self.draining || self.end.is_some() || self.subscribing.is_some() || !room {
            return false;
        }
        let Poll::Ready(heard) = self.socket.poll_next_unpin(cx) else { return false };
        match heard {
            Some(Ok(Message::Text(text))) => self.hear(&text),
            Some(Ok(Message::Binary(_))) => {
                self.end = Some(End::Ours(CloseCode::Unsupported, "binary".to_owned()));
            }
            // Pings are answered beneath.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_))) | None => self.end = Some(End::Theirs),
            Some(Err(err)) => self.end = Some(self.broken(&err)),
        }
        true
    }

    fn broken(&self, err: &tungstenite::Error) -> End {
        match err {
            tungstenite::Error::Capacity(_) => {
                self.app.shared.metrics.limit(MESSAGE_BYTES_MAX);
                End::Ours(CloseCode::Size, MESSAGE_BYTES_MAX.to_owned())
            }
            tungstenite::Error::Utf8(_) => End::Ours(CloseCode::Invalid, "not_utf8".to_owned()),
            tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Theirs,
            tungstenite::Error::Protocol(_) => End::Ours(CloseCode::Protocol, "frame_invalid".to_owned()),
            _ => End::Theirs,
        }
    }

    fn hear(&mut self, text: &str) {
        let Command { reference, action } = match Command::parse(text) {
            Ok(command) => command,
            Err(err) => {
                let problem = Problem::bad("message_invalid", "Bad message", err.to_string());
                return self.refuse(err.reference.as_ref(), &problem);
            }
        };
        match action {
            Action::Ping => self.replies.push_back(reply("pong", reference.as_ref(), "")),
            Action::Publish(publish) => {
                let app = self.app.clone();
                self.publishing.push(
                    async move {
                        match publish::said(app.clone(), publish).await {
                            Ok(appended) => {
                                let id = app.log().position(appended.last());
                                let rest = format!(",\"id\":\"{id}\",\"count\":{}", appended.count);
                                reply("published", reference.as_ref(), &rest)
                            }
                            Err(problem) => refusal(&app, reference.as_ref(), &problem),
                        }
                    }
                    .boxed(),
                );
            }
            Action::Unsubscribe { name } => {
                if self.subscriptions.end(name.as_ref()) {
                    let rest = subscription_member(name.as_ref());
                    self.replies.push_back(reply("unsubscribed", reference.as_ref(), &rest));
                } else {
                    let detail = "there is no subscription of this name";
                    let status = http::StatusCode::NOT_FOUND;
                    let problem =
                        Problem::new(status, "subscription_unknown", "No such subscription", detail);
                    self.refuse(reference.as_ref(), &problem);
                }
            }
            Action::Subscribe { name, url, resume } => {
                if let Err(problem) = self.subscribe(name, reference.as_ref(), &url, resume) {
                    self.refuse(reference.as_ref(), &problem);
                }
            }
        }
    }

    fn refuse(&mut self, reference: Option<&Reference>, problem: &Problem) {
        let refusal = refusal(&self.app, reference, problem);
        self.replies.push_back(refusal);
    }

    fn subscribe(
        &mut self,
        name: Option<Name>,
        reference: Option<&Reference>,
        url: &str,
        resume: Option<String>,
    ) -> Result<(), Problem> {
        let max = self.app.settings().websocket_subscriptions_max;
        if !self.subscriptions.has(name.as_ref()) && self.subscriptions.len() >= max {
            let detail = format!("a WebSocket has at most {max} subscriptions (limit {SUBSCRIPTIONS_MAX})");
            return Err(Problem::bad(SUBSCRIPTIONS_MAX, "Too many subscriptions", detail)
                .limited_by(SUBSCRIPTIONS_MAX));
        }
        let address = |_| {
            let detail = "`url` is the path and query of a stream or table, like /streams/chat?from=1h";
            Problem::bad("message_invalid", "Bad message", detail)
        };
        let uri: Uri = url.parse().map_err(address)?;
        let mut headers = HeaderMap::new();
        let cursor = match resume {
            Some(cursor) => Some(cursor),
            // It goes on where the one that it replaces stands.
            None if !read::has_cursor(&uri)? => self.subscriptions.cursor(name.as_ref()),
            None => None,
        };
        if let Some(cursor) = cursor {
            // A cursor that cannot be in a header cannot be honoured, and that is told in band.
            let value = HeaderValue::try_from(cursor).unwrap_or(HeaderValue::from_static("?"));
            headers.insert(HeaderName::from_static("last-event-id"), value);
        }
        self.begin(name, reference.cloned(), &uri, &headers, false)
    }

    fn subscribe_by_address(&mut self, uri: &Uri, headers: &HeaderMap) {
        if let Err(problem) = self.begin(None, None, uri, headers, true) {
            self.refuse(None, &problem);
            self.end = Some(End::Ours(close_code(&problem), problem.code().to_owned()));
        }
    }

    fn begin(
        &mut self,
        name: Option<Name>,
        reference: Option<Reference>,
        uri: &Uri,
        headers: &HeaderMap,
        by_address: bool,
    ) -> Result<(), Problem> {
        let Some((selection, start)) = read::at_address(&self.app, uri, headers)? else {
            let detail = "streams are at /streams/{name} and /streams, tables at /tables/{table}";
            let status = http::StatusCode::NOT_FOUND;
            return Err(Problem::new(status, "not_found", "Not found", detail));
        };
        let app = self.app.clone();
        let begin = async move {
            let begun = read::begin(&app, selection, Form::Ndjson, start).await;
            Subscribed { name, reference, by_address, begun }
        };
        self.subscribing = Some(begin.boxed());
        Ok(())
    }

    // Takes what was done; whether anything was.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> bool {
        let mut answered = false;
        if let Some(subscribing) = &mut self.subscribing
            && let Poll::Ready(subscribed) = subscribing.poll_unpin(cx)
        {
            self.subscribing = None;
            self.subscribed(subscribed);
            answered = true;
        }
        // Each gives one reply, and no more of them are begun than may wait.
        while let Poll::Ready(Some(reply)) = self.publishing.poll_next_unpin(cx) {
            self.replies.push_back(reply);
            answered = true;
        }
        answered
    }

    fn subscribed(&mut self, subscribed: Subscribed) {
        let Subscribed { name, reference, by_address, begun } = subscribed;
        let begun = match begun {
            Ok(begun) => begun,
            Err(problem) => {
                self.refuse(reference.as_ref(), &problem);
                if by_address {
                    self.end = Some(End::Ours(close_code(&problem), problem.code().to_owned()));
                }
                return;
            }
        };
        if !by_address {
            let rest = subscription_member(name.as_ref());
            self.replies.push_back(reply("subscribed", reference.as_ref(), &rest));
        }
        let first = read::opening(&begun, Form::Ndjson, self.retry, false);
        let pieces = body::pieces(first, read::follow(&self.app, begun), self.retry);
        self.subscriptions.begin(name, pieces);
    }

    // Whether the other side has given no sign of life for too long.
    fn poll_beat(&mut self, cx: &mut Context<'_>) -> bool {
        while self.beat.poll_tick(cx).is_ready() {
            let signs = self.socket.get_ref().signs();
            self.silent_beats = if signs == self.signs { self.silent_beats + 1 } else { 0 };
            self.signs = signs;
            self.ping = self.silent_beats > 0;
        }
        self.silent_beats >= SILENT_BEATS_MAX
    }

    // Sends as much as the socket takes; whether it took anything.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<bool, tungstenite::Error> {
        let mut sent = false;
        loop {
            match self.socket.poll_ready_unpin(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(sent),
            }
            let Some(message) = self.next_message(cx) else { break };
            self.socket.start_send_unpin(message)?;
            sent = true;
        }
        if let Poll::Ready(flushed) = self.socket.poll_flush_unpin(cx) {
            flushed?;
        }
        Ok(sent)
    }

    fn next_message(&mut self, cx: &mut Context<'_>) -> Option<Message> {
        if let Some(reply) = self.replies.pop_front() {
            return Some(Message::Text(reply.into()));
        }
        if std::mem::take(&mut self.ping) {
            return Some(Message::Ping(Bytes::new()));
        }
        if self.end.is_some() {
            return None;
        }
        match self.subscriptions.poll_line(cx) {
            // The encoders write UTF-8.
            Poll::Ready(Ok(line)) => Utf8Bytes::try_from(line).ok().map(Message::Text),
            Poll::Ready(Err(Failed)) => {
                self.end = Some(End::Ours(CloseCode::Error, "log_unreadable".to_owned()));
                None
            }
            Poll::Pending => None,
        }
    }
}

// Says why, and waits a little for the other side to have read it.
async fn close(mut socket: WebSocketStream<Socket>, end: End) {
    if let End::Ours(code, reason) = end {
        let frame = CloseFrame { code, reason: reason.into() };
        if tokio::time::timeout(CLOSE_TIME_MAX, socket.close(Some(frame))).await.is_err() {
            return;
        }
    } else {
        // The answer to its close, if that is what came.
        let flushed = tokio::time::timeout(CLOSE_TIME_MAX, socket.flush()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            return;
        }
    }
    let mut socket = socket.into_inner();
    // A socket that is closed with something unread is reset, and its last words may be lost.
    let last_words = async {
        let mut discarded = [0; DISCARD_BYTES];
        if socket.shutdown().await.is_ok() {
            while matches!(socket.read(&mut discarded).await, Ok(1..)) {}
        }
    };
    let _ = tokio::time::timeout(CLOSE_TIME_MAX, last_words).await;
}

/// Where a WebSocket is that begins without a subscription.
const ALONE: &str = "/streams/-/ws";
const MESSAGE_BYTES_MAX: &str = "websocket_message_bytes_max";
const SUBSCRIPTIONS_MAX: &str = "websocket_subscriptions_max";
// Answers that wait, and events that are being published, before more messages are read.
const REPLIES_MAX: usize = 16;
const PUBLISHING_MAX: usize = 64;
// Heartbeats without a sign of life, the first of which is followed by a ping.
const SILENT_BEATS_MAX: u32 = 3;
const READ_BUFFER_BYTES: usize = 4 << 10;
// What is written together; one frame more may wait for the socket.
const WRITE_BUFFER_BYTES: usize = 8 << 10;
const DISCARD_BYTES: usize = 1024;
const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);
