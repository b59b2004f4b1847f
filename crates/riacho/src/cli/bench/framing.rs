//! Where the body of an HTTP/1.1 answer is in the bytes of a connection, in pieces as they come.
//!
//! Spec: RFC 9112, "Message Body Length" and "Chunked Transfer Coding".

/// What the head of an answer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    /// How many bytes it takes.
    pub(super) bytes: usize,
    pub(super) status: u16,
    pub(super) body: Body,
    /// Whether the connection ends with this answer.
    pub(super) closes: bool,
}

/// The rest of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Body {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunk),
    /// All until the connection ends.
    UntilClose,
}

/// A place in chunked coding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Chunk {
    /// In the digits of a size.
    Size(u64),
    /// Behind the digits, before the line's end.
    Extension(u64),
    /// So many bytes of data.
    Data(u64),
    /// Behind the data, before the line's end.
    DataEnd,
    /// In a line of trailers; whether anything stands in it.
    Trailer(bool),
    /// Behind all.
    End,
}

/// The next part of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Piece<'a> {
    Data(&'a [u8]),
    /// All bytes at hand are used.
    More,
    End,
    /// These bytes are no body.
    Broken,
}

impl Head {
    /// The head that `bytes` begin with; none if it is not whole.
    ///
    /// # Errors
    /// These bytes are no head of an HTTP/1 answer.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, httparse::Error> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut answer = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = answer.parse(bytes)? else { return Ok(None) };
        let status = answer.code.unwrap_or(0);
        let header = |name: &str| {
            let found = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found
                .and_then(|header| str::from_utf8(header.value).ok())
                .map(|value| value.trim().to_ascii_lowercase())
        };
        let connection = header("connection");
        let says = |word| connection.as_ref().is_some_and(|value: &String| value.contains(word));
        let body = match (status, header("transfer-encoding"), header("content-length")) {
            (100..200 | 204 | 304, _, _) => Body::Length(0),
            (_, Some(coding), _) if coding.ends_with("chunked") => Body::Chunked(Chunk::Size(0)),
            (_, None, Some(length)) => {
                Body::Length(length.parse().map_err(|_| httparse::Error::HeaderValue)?)
            }
            _ => Body::UntilClose,
        };
        let closes =
            says("close") || body == Body::UntilClose || (answer.version == Some(0) && !says("keep-alive"));
        Ok(Some(Self { bytes: length, status, body, closes }))
    }
}

impl Body {
    /// Takes the next piece off the front of `bytes`.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Piece<'a> {
        let left = match self {
            Self::Length(0) | Self::Chunked(Chunk::End) => return Piece::End,
            _ if bytes.is_empty() => return Piece::More,
            Self::UntilClose => return Piece::Data(std::mem::take(bytes)),
            Self::Length(left) | Self::Chunked(Chunk::Data(left)) => left,
            Self::Chunked(chunk) => {
                return match chunk.skip(bytes) {
                    Some(()) => self.next(bytes),
                    None => Piece::Broken,
                };
            }
        };
        let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
        let (piece, rest) = bytes.split_at(length);
        *bytes = rest;
        *left -= length as u64;
        if let Self::Chunked(chunk @ Chunk::Data(0)) = self {
            *chunk = Chunk::DataEnd;
        }
        Piece::Data(piece)
    }
}

impl Chunk {
    /// Takes what is no data off the front of `bytes`, up to data, the end, or the last byte at hand.
    fn skip(&mut self, bytes: &mut &[u8]) -> Option<()> {
        while let Some((&byte, rest)) = bytes.split_first() {
            *self = match (*self, byte) {
                (Self::Size(size), b'0'..=b'9') => Self::digit(size, byte - b'0')?,
                (Self::Size(size), b'a'..=b'f') => Self::digit(size, byte - b'a' + 10)?,
                (Self::Size(size), b'A'..=b'F') => Self::digit(size, byte - b'A' + 10)?,
                (Self::Size(0) | Self::Extension(0), b'\n') => Self::Trailer(false),
                (Self::Size(size) | Self::Extension(size), b'\n') => Self::Data(size),
                (Self::Size(size), b'\r' | b';' | b' ' | b'\t') | (Self::Extension(size), _) => {
                    Self::Extension(size)
                }
                (Self::DataEnd, b'\r') => Self::DataEnd,
                (Self::DataEnd, b'\n') => Self::Size(0),
                (Self::Trailer(false), b'\n') => Self::End,
                (Self::Trailer(any), b'\r') => Self::Trailer(any),
                (Self::Trailer(_), byte) => Self::Trailer(byte != b'\n'),
                _ => return None,
            };
            *bytes = rest;
            if matches!(self, Self::Data(_) | Self::End) {
                break;
            }
        }
        Some(())
    }

    fn digit(size: u64, digit: u8) -> Option<Self> {
        Some(Self::Size(size.checked_mul(16)? + u64::from(digit)))
    }
}

const HEADERS_MAX: usize = 64;
