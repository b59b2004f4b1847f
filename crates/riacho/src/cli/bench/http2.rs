//! As much of HTTP/2 as reading many streams takes: a client that knows the server speaks it.
//!
//! Windows are as large as they can be, so the server is never held up by them; header tables are empty, so that a head
//! can be read without remembering others. Bytes in, events and bytes out; no I/O.
//! Spec: RFC 9113 and RFC 7541.

use super::{args::SubscribePlan, connect::Target};

/// One connection.
#[derive(Debug)]
pub(super) struct Http2 {
    /// The head of the frame being read, as far as it came.
    head: Vec<u8>,
    frame: Option<Frame>,
    /// The payload of a frame that is used whole.
    payload: Vec<u8>,
    /// Bytes since the window of the connection was last opened, and those of each stream.
    used: u32,
    streams: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    /// Bytes of payload to come.
    left: u32,
    /// Those at its end that are padding; none before it is known.
    padding: Option<u32>,
}

/// What the server says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Said<'a> {
    /// The answer to a stream begins; 0 is a status that cannot be read.
    Head(usize, u16),
    Data(usize, &'a [u8]),
    End(usize),
}

/// These bytes are no HTTP/2, or the server gave up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Broken;

impl Http2 {
    /// A connection of so many streams, and the bytes that begin it; the paths are those of `readers`.
    pub(super) fn begin(
        plan: &SubscribePlan,
        target: &Target,
        readers: std::ops::Range<usize>,
    ) -> (Self, Vec<u8>) {
        let mut out = PREFACE.to_vec();
        let settings = [(1, 0), (2, 0), (4, WINDOW_MAX)];
        let settings: Vec<u8> = settings.into_iter().flat_map(|(name, value)| setting(name, value)).collect();
        frame(&mut out, SETTINGS, 0, 0, &settings);
        frame(&mut out, WINDOW_UPDATE, 0, 0, &(WINDOW_MAX - WINDOW_DEFAULT).to_be_bytes());
        for (number, reader) in readers.clone().enumerate() {
            let path = plan.paths.get(reader % plan.paths.len()).map_or("/", String::as_str);
            // `:method: GET` and `:scheme: http`, then `:path` and `:authority` by the numbers of their names.
            let mut block = vec![0x82, 0x86, 0x04];
            text(&mut block, &format!("{}{path}", target.base));
            block.push(0x01);
            text(&mut block, &target.host);
            field(&mut block, "accept", &plan.accept);
            for header in &plan.headers {
                let (name, value) = header.split_once(": ").unwrap_or_default();
                field(&mut block, &name.to_ascii_lowercase(), value);
            }
            frame(&mut out, HEADERS, END_STREAM | END_HEADERS, 2 * number as u32 + 1, &block);
        }
        (Self::of_streams(readers.len()), out)
    }

    /// A connection with so many streams.
    pub(super) fn of_streams(count: usize) -> Self {
        let (head, payload) = (Vec::with_capacity(9), Vec::new());
        Self { head, frame: None, payload, used: 0, streams: vec![0; count] }
    }

    /// Takes what came; `out` gets what must be sent.
    pub(super) fn take(
        &mut self,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
        mut on: impl FnMut(Said<'_>),
    ) -> Result<(), Broken> {
        loop {
            let Some(mut frame) = self.frame else {
                let (head, rest) = bytes.split_at(bytes.len().min(9 - self.head.len()));
                bytes = rest;
                self.head.extend_from_slice(head);
                if self.head.len() < 9 {
                    return Ok(());
                }
                self.frame = Some(Frame::parse(&self.head).ok_or(Broken)?);
                self.head.clear();
                continue;
            };
            if frame.padding.is_none() {
                frame.left = frame.left.checked_sub(1).ok_or(Broken)?;
                let Some((&padding, rest)) = bytes.split_first() else { return Ok(()) };
                bytes = rest;
                frame.padding = Some(u32::from(padding));
            }
            let (piece, rest) = bytes.split_at(bytes.len().min(frame.left as usize));
            bytes = rest;
            if frame.kind == DATA {
                let data = frame.left.saturating_sub(frame.padding.unwrap_or(0)) as usize;
                let data = piece.get(..data.min(piece.len())).unwrap_or_default();
                if !data.is_empty() {
                    on(Said::Data(frame.reader(), data));
                }
                self.used(frame.reader(), piece.len(), out);
            } else {
                self.payload.extend_from_slice(piece);
            }
            frame.left -= piece.len() as u32;
            self.frame = Some(frame);
            if frame.left > 0 {
                return Ok(());
            }
            self.frame = None;
            self.whole(frame, out, &mut on)?;
            self.payload.clear();
        }
    }

    /// A frame is over.
    fn whole(
        &mut self,
        frame: Frame,
        out: &mut Vec<u8>,
        on: &mut impl FnMut(Said<'_>),
    ) -> Result<(), Broken> {
        let reader = frame.reader();
        match frame.kind {
            HEADERS => {
                let skipped = if frame.flags & PRIORITY == 0 { 0 } else { 5 };
                on(Said::Head(reader, status(self.payload.get(skipped..).unwrap_or_default())));
            }
            SETTINGS if frame.flags & ACK == 0 => self::frame(out, SETTINGS, ACK, 0, &[]),
            PING if frame.flags & ACK == 0 => self::frame(out, PING, ACK, 0, &self.payload),
            RST_STREAM => on(Said::End(reader)),
            GOAWAY if self.payload.get(4..8) != Some(&[0; 4]) => return Err(Broken),
            _ => {}
        }
        if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
            on(Said::End(reader));
        }
        Ok(())
    }

    /// `count` bytes of payload came for a stream: gives back its window, and the connection's, once much of it is used.
    fn used(&mut self, reader: usize, count: usize, out: &mut Vec<u8>) {
        let stream = self.streams.get_mut(reader).map(|used| (2 * reader as u32 + 1, used));
        for (number, used) in [Some((0, &mut self.used)), stream].into_iter().flatten() {
            *used += count as u32;
            if *used > WINDOW_MAX / 4 {
                frame(out, WINDOW_UPDATE, 0, number, &used.to_be_bytes());
                *used = 0;
            }
        }
    }
}

impl Frame {
    fn parse(head: &[u8]) -> Option<Self> {
        let &[a, b, c, kind, flags, d, e, f, g] = head else { return None };
        let left = u32::from_be_bytes([0, a, b, c]);
        let padded = matches!(kind, DATA | HEADERS) && flags & PADDED != 0;
        let stream = u32::from_be_bytes([d & 0x7f, e, f, g]);
        let padding = if padded { None } else { Some(0) };
        (left <= FRAME_BYTES_MAX).then_some(Self { kind, flags, stream, left, padding })
    }

    /// The number of the stream among those of the connection; one that there is not for stream 0.
    fn reader(self) -> usize {
        (self.stream.wrapping_sub(1) / 2) as usize
    }
}

/// The status that a head begins with.
fn status(mut block: &[u8]) -> u16 {
    // The size of the table may be confirmed before it.
    while block.first().is_some_and(|first| first & 0xe0 == 0x20) {
        block = block.get(1..).unwrap_or_default();
    }
    match block {
        [first @ 0x88..=0x8e, ..] => match first {
            0x88 => 200,
            0x89 => 204,
            0x8a => 206,
            0x8b => 304,
            0x8c => 400,
            0x8d => 404,
            _ => 500,
        },
        // The name of `:status` with a text of three digits, each of one byte or, by Huffman's code, of 5 or 6 bits.
        [0x08..=0x0e | 0x18..=0x1e | 0x48..=0x4e, 3, digits @ ..] => {
            let digits = digits.get(..3).and_then(|digits| str::from_utf8(digits).ok());
            digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
        }
        [0x08..=0x0e | 0x18..=0x1e | 0x48..=0x4e, coded, digits @ ..] if coded & 0x80 != 0 => {
            let length = usize::from(coded & 0x7f).min(digits.len()).min(4);
            let bits = digits.iter().take(length).fold(0, |bits: u64, byte| (bits << 8) | u64::from(*byte));
            let mut bits = bits << (64 - 8 * length.max(1));
            let mut status = 0;
            for _ in 0..3 {
                let (digit, width) = match bits >> 59 {
                    short @ 0..=2 => (short, 5),
                    _ => ((bits >> 58).wrapping_sub(0x16), 6),
                };
                if digit > 9 {
                    return 0;
                }
                (status, bits) = (status * 10 + digit as u16, bits << width);
            }
            status
        }
        _ => 0,
    }
}

fn setting(name: u16, value: u32) -> [u8; 6] {
    let ([a, b], [c, d, e, f]) = (name.to_be_bytes(), value.to_be_bytes());
    [a, b, c, d, e, f]
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A header that nobody remembers.
fn field(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0x00);
    text(block, name);
    text(block, value);
}

fn text(block: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    if length < 0x7f {
        block.push(length as u8);
    } else {
        block.push(0x7f);
        length -= 0x7f;
        while length >= 0x80 {
            block.push(length as u8 | 0x80);
            length >>= 7;
        }
        block.push(length as u8);
    }
    block.extend_from_slice(text.as_bytes());
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const WINDOW_MAX: u32 = 0x7fff_ffff;
const WINDOW_DEFAULT: u32 = 0xffff;
/// What a server may send unless told otherwise.
const FRAME_BYTES_MAX: u32 = 16384;
