//! HTTP/1.1 as bytes on a socket, so that tests can also send what no client library would.

use super::{At, patient};
use std::{net::SocketAddr, panic::Location};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// One socket, and what was read from it but not used yet.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    at: At,
    framing: Framing,
}

/// A whole answer; the body is empty until it was read.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) version: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    at: At,
}

/// How the end of a body is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

impl Connection {
    #[track_caller]
    pub(crate) fn open(address: SocketAddr) -> impl Future<Output = Self> + use<> {
        let at = Location::caller();
        async move {
            let stream = patient(at, "connect", TcpStream::connect(address)).await;
            let stream = stream.unwrap_or_else(|err| panic!("{at}: connect to {address}: {err}"));
            Self { stream, buffer: Vec::new(), at, framing: Framing::Length(0) }
        }
    }

    /// A connection from another address of this machine.
    pub(crate) async fn open_from(source: [u8; 4], address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        let stream = socket.connect(address).await.unwrap();
        Self { stream, buffer: Vec::new(), at: Location::caller(), framing: Framing::Length(0) }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let at = self.at;
        let sent = patient(at, "send", self.stream.write_all(bytes.as_ref())).await;
        sent.unwrap_or_else(|err| panic!("{at}: send: {err}"));
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// The next answer, with its body.
    #[track_caller]
    pub(crate) fn response(&mut self) -> impl Future<Output = Response> {
        self.response_at(Location::caller())
    }

    pub(super) async fn response_at(&mut self, at: At) -> Response {
        self.at = at;
        let mut response = self.read_head().await;
        while let Some(piece) = self.piece().await {
            response.body.extend(piece);
        }
        response
    }

    /// The next answer's head; read its body with [`Connection::piece`].
    #[track_caller]
    pub(crate) fn head(&mut self) -> impl Future<Output = Response> {
        self.at = Location::caller();
        self.read_head()
    }

    async fn read_head(&mut self) -> Response {
        let at = self.at;
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            assert!(self.fill().await, "{at}: closed before the end of the head: {:?}", self.text());
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let (version, status) = lines.next().unwrap().split_once(' ').unwrap();
        let status = status.get(..3).and_then(|status| status.parse().ok()).unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{at}: no header: {line}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let headers = lines.map(header).collect();
        let response = Response { status, version: version.to_owned(), headers, body: Vec::new(), at };
        self.framing = match (response.header("transfer-encoding"), response.header("content-length")) {
            (Some("chunked"), None) => Framing::Chunked,
            (None, Some(length)) => Framing::Length(length.parse().unwrap()),
            (None, None) if status == 204 => Framing::Length(0),
            (None, None) => Framing::UntilClose,
            both => panic!("{at}: two framings: {both:?}"),
        };
        response
    }

    /// The next piece of the body, as it came; none at its clean end.
    pub(crate) async fn piece(&mut self) -> Option<Vec<u8>> {
        let at = self.at;
        match self.framing {
            Framing::Length(0) => None,
            Framing::Length(left) => {
                if self.buffer.is_empty() {
                    assert!(self.fill().await, "{at}: closed with {left} bytes of the body to come");
                }
                let piece: Vec<u8> = self.buffer.drain(..left.min(self.buffer.len())).collect();
                self.framing = Framing::Length(left - piece.len());
                Some(piece)
            }
            Framing::UntilClose => {
                if self.buffer.is_empty() && !self.fill().await {
                    return None;
                }
                Some(std::mem::take(&mut self.buffer))
            }
            Framing::Chunked => {
                let line = self.line().await;
                let length = usize::from_str_radix(&line, 16);
                let length = length.unwrap_or_else(|_| panic!("{at}: no chunk length: {line:?}"));
                while self.buffer.len() < length + 2 {
                    assert!(self.fill().await, "{at}: closed in a chunk of {length} bytes");
                }
                let mut piece: Vec<u8> = self.buffer.drain(..length + 2).collect();
                assert_eq!(piece.split_off(length), b"\r\n", "{at}: end of a chunk");
                if length == 0 {
                    self.framing = Framing::Length(0);
                    return None;
                }
                Some(piece)
            }
        }
    }

    /// Waits until the other side has closed, and gives what it still sent.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> impl Future<Output = Vec<u8>> {
        self.at = Location::caller();
        async {
            while self.fill().await {}
            std::mem::take(&mut self.buffer)
        }
    }

    async fn line(&mut self) -> String {
        let at = self.at;
        let end = loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                break end;
            }
            assert!(self.fill().await, "{at}: the body was cut: {:?}", self.text());
        };
        let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
        String::from_utf8_lossy(&line).trim_end().to_owned()
    }

    // Reads what is there; false at the end. A reset by the peer is an end, too: the bytes before it count.
    async fn fill(&mut self) -> bool {
        let read = patient(self.at, "read", self.stream.read_buf(&mut self.buffer)).await;
        read.unwrap_or(0) > 0
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    /// The socket, and what was read from it but not used.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.buffer)
    }

    /// Lines of helpers further up are of no use: this one is.
    pub(crate) fn asked_at(&mut self, at: At) {
        self.at = at;
    }
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        let at = self.at;
        serde_json::from_slice(&self.body).unwrap_or_else(|err| panic!("{at}: {err}: {:?}", self.text()))
    }

    /// The id that a publisher is answered.
    #[track_caller]
    pub(crate) fn id(&self) -> String {
        assert_eq!(self.status, 201, "{}: {}", self.at, self.text());
        self.json()["id"].as_str().unwrap().to_owned()
    }

    /// Asserts that this is a proper error, and gives what it says.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str, retry: bool) -> serde_json::Value {
        let at = self.at;
        assert_eq!(self.status, status, "{at}: {}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{at}");
        assert_eq!(self.header("retry-after").is_some(), retry, "{at}");
        let said = self.json();
        assert_eq!((&said["code"], &said["retry"]), (&code.into(), &retry.into()), "{at}: {said}");
        assert_eq!(
            (&said["status"], &said["type"]),
            (&status.into(), &format!("urn:riacho:error:{code}").into())
        );
        assert!(said["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{at}: {said}");
        said
    }
}
