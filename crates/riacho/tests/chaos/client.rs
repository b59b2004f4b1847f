//! HTTP/1.1 and event streams, read strictly: whatever is not framed as it must be fails the test. A connection that
//! breaks off is no failure but an end.

use std::{io, net::SocketAddr};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An answer with a body of known length.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Sends a request and reads its answer; the connection can be used again.
pub(crate) async fn ask(
    stream: &mut TcpStream,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> io::Result<Answer> {
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: chaos\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut rest = Vec::new();
    let (status, head) = read_head(stream, &mut rest).await?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = match (status, length) {
        (204, None) => 0,
        (_, length) => length.unwrap_or_else(|| panic!("no length in {head}")).parse().unwrap(),
    };
    while rest.len() < length {
        read_some(stream, &mut rest).await?;
    }
    assert_eq!(rest.len(), length, "more than one answer to one request: {head}");
    Ok(Answer { status, body: String::from_utf8(rest).unwrap() })
}

/// A response body in chunks.
pub(crate) struct Body<S> {
    stream: S,
    raw: Vec<u8>,
    at: Chunk,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Chunk {
    Size,
    Data(usize),
    End,
    Last,
    Over,
}

impl Body<TcpStream> {
    /// Asks for a stream of events; the answer must be 200.
    pub(crate) async fn open(
        address: SocketAddr,
        target: &str,
        accept: &str,
        last_event_id: Option<&str>,
    ) -> io::Result<Self> {
        Self::on(TcpStream::connect(address).await?, target, accept, last_event_id).await
    }
}

impl<S: AsyncRead + tokio::io::AsyncWrite + Unpin> Body<S> {
    /// The same on a connection that is there already.
    pub(crate) async fn on(
        mut stream: S,
        target: &str,
        accept: &str,
        last_event_id: Option<&str>,
    ) -> io::Result<Self> {
        let resume = last_event_id.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let head = format!("GET {target} HTTP/1.1\r\nhost: chaos\r\naccept: {accept}\r\n{resume}\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut raw = Vec::new();
        let (status, head) = read_head(&mut stream, &mut raw).await?;
        assert_eq!(status, 200, "{target}: {head}{}", String::from_utf8_lossy(&raw));
        assert!(head.contains("transfer-encoding: chunked"), "{target}: {head}");
        Ok(Self { stream, raw, at: Chunk::Size })
    }

    /// Appends the next bytes to `out`; false at the body's proper end, an error where it breaks off.
    pub(crate) async fn read(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let before = out.len();
            self.decode(out);
            if self.at == Chunk::Over {
                return Ok(out.len() > before);
            }
            if out.len() > before {
                return Ok(true);
            }
            read_some(&mut self.stream, &mut self.raw).await?;
        }
    }

    /// Whether all that was read ends with whole chunks.
    pub(crate) fn is_between_chunks(&self) -> bool {
        self.at == Chunk::Size && self.raw.is_empty()
    }

    fn decode(&mut self, out: &mut Vec<u8>) {
        let mut used = 0;
        loop {
            let rest = &self.raw[used..];
            match self.at {
                Chunk::Size => {
                    let Some(end) = rest.iter().take(20).position(|byte| *byte == b'\n') else {
                        assert!(
                            rest.len() < 20,
                            "no size of a chunk: {}",
                            String::from_utf8_lossy(&rest[..20])
                        );
                        break;
                    };
                    let line = std::str::from_utf8(&rest[..end]).unwrap();
                    let size = line.strip_suffix('\r').and_then(|line| usize::from_str_radix(line, 16).ok());
                    let size = size.unwrap_or_else(|| panic!("not the size of a chunk: {line:?}"));
                    used += end + 1;
                    self.at = if size == 0 { Chunk::Last } else { Chunk::Data(size) };
                }
                Chunk::Data(size) => {
                    let count = rest.len().min(size);
                    out.extend_from_slice(&rest[..count]);
                    used += count;
                    self.at = if count == size { Chunk::End } else { Chunk::Data(size - count) };
                    if count < size {
                        break;
                    }
                }
                Chunk::End | Chunk::Last => {
                    if rest.len() < 2 {
                        break;
                    }
                    assert_eq!(&rest[..2], b"\r\n", "the end of a chunk");
                    used += 2;
                    self.at = if self.at == Chunk::End { Chunk::Size } else { Chunk::Over };
                }
                Chunk::Over => {
                    assert!(rest.is_empty(), "bytes after the body's end");
                    break;
                }
            }
        }
        self.raw.drain(..used);
    }
}

/// One block of an event stream.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Block {
    pub(crate) id: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) data: Option<String>,
}

/// Cuts an event stream into blocks.
#[derive(Default)]
pub(crate) struct Blocks {
    text: Vec<u8>,
    block: Block,
}

impl Blocks {
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// The blocks that are complete. A block without a field is none.
    pub(crate) fn take(&mut self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let Some(end) = self.text.iter().rposition(|byte| *byte == b'\n') else { return blocks };
        let text: Vec<u8> = self.text.drain(..=end).collect();
        for line in std::str::from_utf8(&text).unwrap().split_terminator('\n') {
            if line.is_empty() {
                let block = std::mem::take(&mut self.block);
                if block != Block::default() {
                    blocks.push(block);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => self.block.id = Some(value.to_owned()),
                "event" => self.block.event = Some(value.to_owned()),
                "data" => match &mut self.block.data {
                    None => self.block.data = Some(value.to_owned()),
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                },
                "" | "retry" => {}
                other => panic!("unknown field {other:?}"),
            }
        }
        blocks
    }
}

// Reads a head; what came after it goes to `rest`. Header names come in lower case.
async fn read_head(stream: &mut (impl AsyncRead + Unpin), rest: &mut Vec<u8>) -> io::Result<(u16, String)> {
    let mut raw = Vec::new();
    loop {
        if let Some(end) = raw.windows(4).position(|window| window == b"\r\n\r\n") {
            rest.extend_from_slice(&raw[end + 4..]);
            raw.truncate(end + 4);
            let head = String::from_utf8(raw).unwrap();
            let status = head.strip_prefix("HTTP/1.1 ").and_then(|line| line.get(..3)).unwrap().parse();
            return Ok((status.unwrap(), head));
        }
        read_some(stream, &mut raw).await?;
    }
}

async fn read_some(stream: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>) -> io::Result<()> {
    // Otherwise it reads no more than happens to be free.
    into.reserve(READ_BYTES);
    match stream.read_buf(into).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

const READ_BYTES: usize = 64 * 1024;
