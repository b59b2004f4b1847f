//! WebSockets, with another's implementation at this end.

use super::{At, Connection, Response, TestServer, patient};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use std::panic::Location;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

/// The client's end of a WebSocket.
pub(crate) struct WebSocket {
    stream: WebSocketStream<Box<dyn Stream>>,
    /// Messages sent with a `ref` so far.
    asked: i64,
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What the server says.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Said {
    /// A text frame, as it is written.
    Text(String),
    /// The code and the reason of its close.
    Close(u16, String),
    /// A ping.
    Ping,
    /// The connection ended without a close.
    End,
}

impl WebSocket {
    /// On a stream of whatever kind, after the handshake and `early` bytes.
    pub(crate) async fn on(stream: impl Stream + 'static, early: Vec<u8>) -> Self {
        let stream: Box<dyn Stream> = Box::new(stream);
        let stream = WebSocketStream::from_partially_read(stream, early, Role::Client, None).await;
        Self { stream, asked: 0 }
    }

    pub(crate) async fn send(&mut self, message: Message) {
        self.stream.send(message).await.unwrap();
    }

    /// Whatever is said next.
    #[track_caller]
    pub(crate) fn said(&mut self) -> impl Future<Output = Said> {
        let at = Location::caller();
        patient(at, "a frame", async move {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => Said::Text(text.as_str().to_owned()),
                Some(Ok(Message::Close(frame))) => {
                    let frame = frame.unwrap_or_else(|| panic!("{at}: closed without a code"));
                    Said::Close(frame.code.into(), frame.reason.as_str().to_owned())
                }
                Some(Ok(Message::Ping(_))) => Said::Ping,
                Some(Ok(other)) => panic!("{at}: {other}"),
                Some(Err(_)) | None => Said::End,
            }
        })
    }

    /// The next text frame that is no heartbeat.
    #[track_caller]
    pub(crate) fn next(&mut self) -> impl Future<Output = Value> {
        self.next_at(Location::caller())
    }

    async fn next_at(&mut self, at: At) -> Value {
        loop {
            let text = match self.said().await {
                Said::Text(text) => text,
                Said::Ping => continue,
                other => panic!("{at}: expected a text frame, got {other:?}"),
            };
            let value: Value =
                serde_json::from_str(&text).unwrap_or_else(|err| panic!("{at}: {err}: {text}"));
            let event = value.get("event").unwrap_or(&value);
            if event["type"] != "riacho.heartbeat" {
                return value;
            }
        }
    }

    /// The data of the next `count` events, which have no name around them.
    #[track_caller]
    pub(crate) fn data(&mut self, count: usize) -> impl Future<Output = Vec<Value>> {
        let at = Location::caller();
        async move {
            let mut data = Vec::new();
            while data.len() < count {
                let event = self.next_at(at).await;
                assert!(event["stream"].is_string(), "{at}: no event of the connection's own: {event}");
                data.push(event["data"].clone());
            }
            data
        }
    }

    /// Sends a message with a new `ref`, and gives its answer without that; what comes before is passed over.
    #[track_caller]
    pub(crate) fn ask(&mut self, mut message: Value) -> impl Future<Output = Value> {
        let at = Location::caller();
        async move {
            self.asked += 1;
            message["ref"] = self.asked.into();
            self.send(Message::text(message.to_string())).await;
            loop {
                let mut answer = self.next_at(at).await;
                if answer["reply"].is_string() {
                    let reference = answer.as_object_mut().unwrap().remove("ref");
                    assert_eq!(reference, Some(self.asked.into()), "{at}: {answer}");
                    return answer;
                }
            }
        }
    }

    /// Asserts that it ends so.
    #[track_caller]
    pub(crate) fn closes(&mut self, code: u16, reason: &str) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            loop {
                match self.said().await {
                    Said::Text(_) | Said::Ping => {}
                    end => break assert_eq!(end, Said::Close(code, reason.to_owned()), "{at}"),
                }
            }
        }
    }
}

impl TestServer {
    /// Opens a WebSocket.
    #[track_caller]
    pub(crate) fn websocket(&self, target: &str) -> impl Future<Output = WebSocket> + use<> {
        let at = Location::caller();
        let opened = self.handshake(target, "");
        async move { opened.await.unwrap_or_else(|refused| panic!("{at}: {refused:?}")) }
    }

    /// Opens a WebSocket with more `headers`, each ended by CRLF, or gives the answer that refuses it.
    #[track_caller]
    pub(crate) fn handshake(
        &self,
        target: &str,
        headers: &str,
    ) -> impl Future<Output = Result<WebSocket, Response>> + use<> {
        let at = Location::caller();
        let (address, request) = (self.address(), handshake(target, headers));
        async move {
            let mut connection = Connection::open(address).await;
            connection.asked_at(at);
            connection.send(request).await;
            opened(connection).await
        }
    }
}

/// A request for a WebSocket, its key that of the example in RFC 6455.
pub(crate) fn handshake(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: riacho\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// Reads the answer to a handshake.
pub(crate) async fn opened(mut connection: Connection) -> Result<WebSocket, Response> {
    let head = connection.head().await;
    if head.status != 101 {
        let mut refused = head;
        while let Some(piece) = connection.piece().await {
            refused.body.extend(piece);
        }
        return Err(refused);
    }
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(head.header("upgrade"), Some("websocket"));
    let (stream, early) = connection.into_parts();
    Ok(WebSocket::on(stream, early).await)
}
