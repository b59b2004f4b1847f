//! Subscriptions: SSE and NDJSON as streams, long-poll as pages.

use super::{At, Connection, Event, Item, Parser, Response, TestServer, patient, sse::Block};
use serde_json::Value;
use std::{collections::VecDeque, panic::Location};

/// An SSE subscription on a connection of its own.
pub(crate) struct Subscription {
    pub(crate) head: Response,
    /// The first block: where it begins, and the reconnection time.
    pub(crate) opening: Block,
    /// The last id seen: what `Last-Event-ID` would be.
    pub(crate) cursor: String,
    connection: Connection,
    parser: Parser,
}

impl Subscription {
    /// Reads the answer to a request that was sent on `connection`.
    #[track_caller]
    pub(crate) fn on(mut connection: Connection) -> impl Future<Output = Self> {
        let at = Location::caller();
        async move {
            connection.asked_at(at);
            let head = connection.head().await;
            assert_eq!(head.status, 200, "{at}: {head:?}");
            assert_eq!(head.header("content-type"), Some("text/event-stream"), "{at}");
            let (opening, cursor) = (Block::default(), String::new());
            let mut new = Self { head, opening, cursor, connection, parser: Parser::default() };
            new.opening = loop {
                match new.read(at).await {
                    Some(Item::Block(block)) => break block,
                    Some(Item::Comment(padding)) if padding.len() == 2048 => {}
                    other => panic!("{at}: expected the first block, got {other:?}"),
                }
            };
            assert!(new.opening.id.is_some() && new.opening.retry.is_some(), "{at}: {:?}", new.opening);
            new
        }
    }

    /// The next event, whatever stands before it.
    #[track_caller]
    pub(crate) fn next(&mut self) -> impl Future<Output = Event> {
        let at = Location::caller();
        // Heartbeats would keep a wait for each byte going without end.
        patient(at, "an event", self.event(at))
    }

    /// The data of the next `count` events.
    #[track_caller]
    pub(crate) fn data(&mut self, count: usize) -> impl Future<Output = Vec<String>> {
        let at = Location::caller();
        async move {
            let mut data = Vec::new();
            while data.len() < count {
                let after = format!("an event after {data:?}");
                data.push(patient(at, &after, self.event(at)).await.data);
            }
            data
        }
    }

    /// Whatever is said next; none at the clean end.
    #[track_caller]
    pub(crate) fn item(&mut self) -> impl Future<Output = Option<Item>> {
        self.read(Location::caller())
    }

    /// The socket below it.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    async fn event(&mut self, at: At) -> Event {
        loop {
            match self.read(at).await {
                Some(Item::Event(event)) => return event,
                Some(Item::Block(_) | Item::Comment(_)) => {}
                None => panic!("{at}: the stream ended; expected an event"),
            }
        }
    }

    async fn read(&mut self, at: At) -> Option<Item> {
        self.connection.asked_at(at);
        loop {
            if let Some(item) = self.parser.next() {
                match &item {
                    Item::Event(event) => self.cursor.clone_from(&event.id),
                    Item::Block(Block { id: Some(id), .. }) => self.cursor.clone_from(id),
                    Item::Block(_) | Item::Comment(_) => {}
                }
                return Some(item);
            }
            let piece = self.connection.piece().await?;
            self.parser.push(&piece);
        }
    }
}

/// An NDJSON subscription.
pub(crate) struct Lines {
    /// The cursor it began at.
    pub(crate) opening: String,
    connection: Connection,
    pending: Vec<u8>,
    lines: VecDeque<Value>,
}

impl Lines {
    #[track_caller]
    pub(crate) fn on(mut connection: Connection) -> impl Future<Output = Self> {
        let at = Location::caller();
        async move {
            connection.asked_at(at);
            let head = connection.head().await;
            assert_eq!(
                (head.status, head.header("content-type")),
                (200, Some("application/x-ndjson")),
                "{at}"
            );
            let (pending, lines) = (Vec::new(), VecDeque::new());
            let mut new = Self { opening: String::new(), connection, pending, lines };
            let first = new.read(at).await.unwrap_or_else(|| panic!("{at}: no first line"));
            assert_eq!(first["type"], "riacho.heartbeat", "{at}: {first}");
            new.opening = first["id"].as_str().unwrap().to_owned();
            new
        }
    }

    /// The next line that is no heartbeat; none at the clean end.
    #[track_caller]
    pub(crate) fn next(&mut self) -> impl Future<Output = Option<Value>> {
        let at = Location::caller();
        let next = async move {
            loop {
                let line = self.read(at).await?;
                if line["type"] != "riacho.heartbeat" {
                    return Some(line);
                }
            }
        };
        patient(at, "a line", next)
    }

    /// The next line.
    #[track_caller]
    pub(crate) fn line(&mut self) -> impl Future<Output = Option<Value>> {
        self.read(Location::caller())
    }

    async fn read(&mut self, at: At) -> Option<Value> {
        self.connection.asked_at(at);
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            self.pending.extend(self.connection.piece().await?);
            while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                let parsed = serde_json::from_slice(&line);
                self.lines.push_back(parsed.unwrap_or_else(|err| panic!("{at}: {err}: {line:?}")));
            }
        }
    }
}

/// A long-poll answer.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) events: Vec<Value>,
    pub(crate) cursor: String,
    pub(crate) more: bool,
}

impl Page {
    #[track_caller]
    pub(crate) fn of(response: &Response) -> Self {
        assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
        let mut page = response.json();
        let events = serde_json::from_value(page["events"].take()).unwrap();
        let (cursor, more) = (page["cursor"].as_str().unwrap().to_owned(), page["more"].as_bool().unwrap());
        Self { events, cursor, more }
    }
}

impl TestServer {
    /// Subscribes to one stream with the next event.
    #[track_caller]
    pub(crate) fn subscribe(&self, stream: &str) -> impl Future<Output = Subscription> + use<> {
        self.sse(&format!("/streams/{stream}"), "")
    }

    /// Subscribes as a client does that has seen all up to `cursor`.
    #[track_caller]
    pub(crate) fn subscribe_after(
        &self,
        stream: &str,
        cursor: &str,
    ) -> impl Future<Output = Subscription> + use<> {
        self.sse(&format!("/streams/{stream}"), &format!("Last-Event-ID: {cursor}\r\n"))
    }

    /// Subscribes at `target` with more `headers`, each ended by CRLF.
    #[track_caller]
    pub(crate) fn sse(&self, target: &str, headers: &str) -> impl Future<Output = Subscription> + use<> {
        let at = Location::caller();
        let (address, request) = (self.address(), request(target, "text/event-stream", headers));
        async move {
            let mut connection = Connection::open(address).await;
            connection.asked_at(at);
            connection.send(request).await;
            Subscription::on(connection).await
        }
    }

    /// Subscribes as NDJSON.
    #[track_caller]
    pub(crate) fn lines(&self, target: &str, headers: &str) -> impl Future<Output = Lines> + use<> {
        let at = Location::caller();
        let (address, request) = (self.address(), request(target, "application/x-ndjson", headers));
        async move {
            let mut connection = Connection::open(address).await;
            connection.asked_at(at);
            connection.send(request).await;
            Lines::on(connection).await
        }
    }

    /// One long-poll request.
    #[track_caller]
    pub(crate) fn page(&self, target: &str, headers: &str) -> impl Future<Output = Page> + use<> {
        let asked = self.request("GET", target, &format!("Accept: application/json\r\n{headers}"), "");
        async move { Page::of(&asked.await) }
    }
}

fn request(target: &str, accept: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: riacho\r\nAccept: {accept}\r\n{headers}\r\n")
}
