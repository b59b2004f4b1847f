//! The socket under the frames: HTTP/1.1's whole, or a stream of HTTP/2. It counts what shows that the other side lives.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket of either kind.
pub(super) struct Socket {
    inner: Box<dyn Duplex>,
    /// Times that the other side read or wrote something.
    signs: u64,
    /// The socket takes no more: what it takes next, the other side has made room for.
    full: bool,
}

/// What is read and written.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Socket {
    /// Counts from nothing.
    pub(super) fn new(inner: impl Duplex + 'static) -> Self {
        Self { inner: Box::new(inner), signs: 0, full: false }
    }

    /// How many signs of life there were.
    pub(super) fn signs(&self) -> u64 {
        self.signs
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.signs += u64::from(buf.filled().len() > before);
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        // What an empty buffer of the kernel takes says nothing of the other side.
        self.signs += u64::from(self.full && matches!(written, Poll::Ready(Ok(1..))));
        self.full = written.is_pending();
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
