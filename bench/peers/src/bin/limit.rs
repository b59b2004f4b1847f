//! The limit: one thread, one epoll, and for each event one `send` of the same prebuilt frame to each subscriber.
//!
//! It owns no more than a server cannot do without: no ids that mean anything, no history, no heartbeats, no second
//! chance. A subscriber that cannot take a frame at once is cut. Nothing that sends one event per write is cheaper.
//!
//! `GET /any/path` subscribes, `POST /any/path` publishes its body there. Usage: `limit ADDRESS`.

use anyhow::{Context as _, Result};
use rustix::{
    event::epoll,
    io::Errno,
    net::{SendFlags, send},
};
use std::{
    collections::HashMap,
    io::{ErrorKind, Read as _},
    mem::MaybeUninit,
    net::{TcpListener, TcpStream},
};

fn main() -> Result<()> {
    let address = std::env::args().nth(1).context("usage: limit ADDRESS")?;
    let listener = TcpListener::bind(&address).with_context(|| format!("failed to listen on {address}"))?;
    listener.set_nonblocking(true)?;
    // The standard library asks for a backlog of 128, which 512 connects at once overflow.
    rustix::net::listen(&listener, 4096)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut server = Server { epoll, slots: Vec::new(), free: Vec::new(), paths: HashMap::new(), events: 0 };
    let mut ready = [MaybeUninit::uninit(); 256];
    loop {
        let (ready, _) = match epoll::wait(&server.epoll, &mut ready, None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        for event in ready {
            match event.data.u64() {
                LISTENER => server.accept(&listener)?,
                slot => server.readable(usize::try_from(slot)?),
            }
        }
    }
}

struct Server {
    epoll: std::os::fd::OwnedFd,
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Who subscribed to which path, in the order of accepting.
    paths: HashMap<String, Vec<usize>>,
    events: u64,
}

struct Connection {
    socket: TcpStream,
    /// What has been read of a request, while it is incomplete.
    input: Vec<u8>,
    /// The path subscribed to, and the place in its list.
    seat: Option<(String, usize)>,
}

impl Server {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            let socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(err) if err.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(err) => return Err(err).context("failed to accept"),
            };
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            let slot = self.free.pop().unwrap_or(self.slots.len());
            let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
            epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(u64::try_from(slot)?), flags)?;
            let connection = Connection { socket, input: Vec::new(), seat: None };
            match self.slots.get_mut(slot) {
                Some(place) => *place = Some(connection),
                None => self.slots.push(Some(connection)),
            }
            // It may have asked already, and with edges there is no second event.
            self.readable(slot);
        }
    }

    fn readable(&mut self, slot: usize) {
        let mut buffer = [0; 64 << 10];
        loop {
            let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
            match connection.socket.read(&mut buffer) {
                Ok(0) => return self.close(slot),
                Ok(count) => connection.input.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(err) if err.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.close(slot),
            }
            self.requests(slot);
        }
    }

    fn requests(&mut self, slot: usize) {
        loop {
            let Some(connection) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
            let Some(request) = Request::take(&mut connection.input) else { return };
            if request.publishes {
                // The answer goes first, as its publisher waits for nothing.
                if send(&connection.socket, CREATED, FLAGS) != Ok(CREATED.len()) {
                    return self.close(slot);
                }
                self.publish(&request);
                continue;
            }
            // A subscriber has no need of a buffer.
            connection.input = Vec::new();
            if send(&connection.socket, HEAD, FLAGS) != Ok(HEAD.len()) {
                return self.close(slot);
            }
            let seats = self.paths.entry(request.path.clone()).or_default();
            connection.seat = Some((request.path, seats.len()));
            seats.push(slot);
        }
    }

    fn publish(&mut self, request: &Request) {
        self.events += 1;
        let event = format!("id: {EPOCH:016x}-{:x}\ndata: {}\n\n", self.events, request.body);
        let frame = format!("{:08x}\r\n{event}\r\n", event.len());
        let Some(seats) = self.paths.get(&request.path) else { return };
        let mut cut = Vec::new();
        for slot in seats {
            let Some(connection) = self.slots.get(*slot).and_then(Option::as_ref) else { continue };
            if send(&connection.socket, frame.as_bytes(), FLAGS) != Ok(frame.len()) {
                cut.push(*slot);
            }
        }
        for slot in cut {
            self.close(slot);
        }
    }

    fn close(&mut self, slot: usize) {
        let Some(connection) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        self.free.push(slot);
        let Some((path, place)) = connection.seat else { return };
        let Some(seats) = self.paths.get_mut(&path) else { return };
        seats.swap_remove(place);
        if let Some(moved) = seats.get(place).copied()
            && let Some(Some(moved)) = self.slots.get_mut(moved)
        {
            moved.seat = Some((path, place));
        }
    }
}

struct Request {
    publishes: bool,
    path: String,
    body: String,
}

impl Request {
    /// The first request of `input`, if it is there as a whole.
    fn take(input: &mut Vec<u8>) -> Option<Self> {
        let end = input.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(input.get(..end)?).into_owned();
        let mut words = head.split(' ');
        let publishes = words.next() == Some("POST");
        let path = words.next().unwrap_or_default().to_owned();
        let length = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or(0);
        let body = String::from_utf8_lossy(input.get(end..end + length)?).into_owned();
        input.drain(..end + length);
        Some(Self { publishes, path, body })
    }
}

const FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

const LISTENER: u64 = u64::MAX;

/// As long as Riacho's, so that the frames are of one size.
const EPOCH: u64 = 0xa41c_7650_a848_d559;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
    transfer-encoding: chunked\r\n\r\n";

const CREATED: &[u8] = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";
