//! The socket under hyper: which protocol its first bytes are of, and what hyper writes until the socket takes it.
//!
//! On HTTP/1.1 hyper writes into memory; what it wrote in one turn is sent at the turn's end. So the answers to requests
//! that came together leave together, and whoever drives the connection knows when everything is with the socket.

use bytes::Bytes;
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// What the first bytes of a connection say.
pub(super) enum Protocol {
    /// HTTP/1.1 or before.
    Http1,
    /// HTTP/2, by its preface.
    Http2,
    /// Nothing: the other side closed.
    None,
}

/// Reads as much as tells HTTP/2's preface from a request line. Gives what was read, to be read again.
pub(super) async fn begin(stream: &mut TcpStream) -> io::Result<(Protocol, Bytes)> {
    let mut read = Vec::new();
    loop {
        let count = poll_fn(|cx| poll_first(stream, cx, &mut read)).await?;
        let same = read.iter().zip(PREFACE).take_while(|(read, preface)| read == preface).count();
        let protocol = match (count, same) {
            (0, _) if read.is_empty() => Protocol::None,
            (_, same) if same == PREFACE.len() => Protocol::Http2,
            (count, same) if count == 0 || same < read.len() => Protocol::Http1,
            _ => continue,
        };
        return Ok((protocol, read.into()));
    }
}

// Reads what is there: mostly a whole head. The buffer is no part of the future, of which there may be many.
fn poll_first(stream: &mut TcpStream, cx: &mut Context<'_>, read: &mut Vec<u8>) -> Poll<io::Result<usize>> {
    let mut bytes = [0; FIRST_BYTES_MAX];
    let mut buf = ReadBuf::new(&mut bytes);
    ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
    read.extend_from_slice(buf.filled());
    Poll::Ready(Ok(buf.filled().len()))
}

/// What hyper reads from and writes to: the socket, after what was read from it already.
pub(super) struct Io<S> {
    pub(super) socket: S,
    pub(super) prefix: Bytes,
}

/// The half of a socket that is read, and memory in place of the half that is written.
pub(super) struct Buffered {
    read: OwnedReadHalf,
    written: Arc<Mutex<Written>>,
}

/// The half of a socket that is written, and what it has not taken yet.
pub(super) struct Sender {
    socket: OwnedWriteHalf,
    written: Arc<Mutex<Written>>,
}

/// Bytes between hyper and the socket.
#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    sent: usize,
    /// hyper was told to wait.
    full: bool,
}

/// How far [`Sender::poll_send`] came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The socket has everything, and hyper holds nothing back.
    All,
    /// The socket has everything; hyper waits to write more.
    Room,
}

/// Sets memory between a socket and its writer.
pub(super) fn buffered(stream: TcpStream) -> (Buffered, Sender) {
    let (read, write) = stream.into_split();
    let written = Arc::new(Mutex::new(Written::default()));
    (Buffered { read, written: Arc::clone(&written) }, Sender { socket: write, written })
}

impl Sender {
    /// Sends what was written. Pending while the socket takes no more.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Sent>> {
        let mut written = lock(&self.written);
        while written.sent < written.bytes.len() {
            let rest = written.bytes.get(written.sent..).unwrap_or_default();
            let count = ready!(Pin::new(&mut self.socket).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            written.sent += count;
        }
        written.sent = 0;
        written.bytes.clear();
        // Answers are short; a connection that waits for its next request keeps no more than that.
        written.bytes.shrink_to(KEPT_BYTES);
        let sent = if written.full { Sent::Room } else { Sent::All };
        written.full = false;
        Poll::Ready(Ok(sent))
    }

    /// The whole socket again.
    pub(super) fn reunite(self, buffered: Buffered) -> Option<TcpStream> {
        // They are of one socket always.
        buffered.read.reunite(self.socket).ok()
    }
}

impl AsyncRead for Buffered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buf)
    }
}

impl AsyncWrite for Buffered {
    // Pending without a waker: whoever polls hyper sends what was written right after, and polls again.
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut written = lock(&self.written);
        let count = buf.len().min(WRITTEN_BYTES_MAX.saturating_sub(written.bytes.len()));
        if count == 0 && !buf.is_empty() {
            written.full = true;
            return Poll::Pending;
        }
        written.bytes.extend_from_slice(buf.get(..count).unwrap_or_default());
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    // Whoever drives the connection closes the socket, once it has sent everything.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        }
        let count = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

fn lock(written: &Mutex<Written>) -> MutexGuard<'_, Written> {
    // Bytes are appended and taken whole whatever panics beside.
    written.lock().unwrap_or_else(PoisonError::into_inner)
}

// RFC 9113, "HTTP/2 Connection Preface".
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// What one read takes before it is known who will read the rest.
const FIRST_BYTES_MAX: usize = 2048;
// What hyper may write before the socket must take some.
const WRITTEN_BYTES_MAX: usize = 64 * 1024;
const KEPT_BYTES: usize = 1024;
