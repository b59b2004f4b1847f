//! A reader of `text/event-stream` that follows the standard's steps one by one, to check what we write against.
//!
//! For tests and fuzz targets only: it is written to be compared with the text, not to be fast.
//! Spec: WHATWG HTML, "Interpreting an event stream".

/// One dispatched event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Dispatched {
    /// The last event ID string at its dispatch.
    pub(crate) id: String,
    /// `message` where the stream named none.
    pub(crate) event_type: String,
    /// Its data, lines joined by LF.
    pub(crate) data: String,
}

/// The state of one stream; feed it with [`EventStream::push`].
#[derive(Default, Debug)]
pub(crate) struct EventStream {
    /// All events dispatched so far.
    pub(crate) events: Vec<Dispatched>,
    /// The last event ID string: what a reconnection would send.
    pub(crate) last_id: String,
    /// The reconnection time in milliseconds, where the stream set one.
    pub(crate) retry: Option<u64>,
    /// Blocks ended by a blank line, dispatched or not.
    pub(crate) blocks: usize,
    line: Vec<u8>,
    start: Vec<u8>,
    started: bool,
    after_cr: bool,
    data: String,
    event_type: String,
    id: String,
}

impl EventStream {
    /// Reads `bytes` as a whole body.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let mut stream = Self::default();
        stream.push(bytes);
        stream
    }

    /// Takes the next bytes of the body, cut anywhere.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.byte(*byte);
        }
    }

    // "UTF-8 decode": one leading byte order mark is taken away. It may come in pieces.
    fn byte(&mut self, byte: u8) {
        if self.started {
            return self.decoded(byte);
        }
        self.start.push(byte);
        if self.start == BOM {
            self.started = true;
        } else if !BOM.starts_with(&self.start) {
            self.started = true;
            for byte in std::mem::take(&mut self.start) {
                self.decoded(byte);
            }
        }
    }

    // A CR ends its line at once; an LF right after it belongs to it.
    fn decoded(&mut self, byte: u8) {
        let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        match byte {
            b'\n' if after_cr => {}
            b'\n' | b'\r' => {
                let line = std::mem::take(&mut self.line);
                self.line(&String::from_utf8_lossy(&line));
            }
            _ => self.line.push(byte),
        }
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            return self.dispatch();
        }
        match line.split_once(':') {
            Some(("", _)) => {}
            Some((name, value)) => self.field(name, value.strip_prefix(' ').unwrap_or(value)),
            None => self.field(line, ""),
        }
    }

    fn field(&mut self, name: &str, value: &str) {
        match name {
            "event" => self.event_type = value.to_owned(),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = value.to_owned(),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry = Some(value.parse().unwrap_or(u64::MAX));
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        self.blocks += 1;
        self.last_id.clone_from(&self.id);
        let mut data = std::mem::take(&mut self.data);
        let event_type = std::mem::take(&mut self.event_type);
        if data.is_empty() {
            return;
        }
        data.pop();
        let event_type = if event_type.is_empty() { "message".to_owned() } else { event_type };
        self.events.push(Dispatched { id: self.last_id.clone(), event_type, data });
    }
}

/// Takes HTTP/1.1's chunked coding off `bytes`: the chunks, and whether the last chunk and nothing else stood at the
/// end. Panics where the coding is broken.
///
/// Spec: RFC 9112, "Chunked Transfer Coding".
pub(crate) fn chunks(mut bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut chunks = Vec::new();
    while !bytes.is_empty() {
        let head = bytes.windows(2).position(|w| w == b"\r\n").expect("a chunk's length ends with CRLF");
        let digits = std::str::from_utf8(&bytes[..head]).expect("a chunk's length is ASCII");
        assert!(!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()), "length {digits:?}");
        let len = usize::from_str_radix(digits, 16).expect("a chunk's length fits");
        bytes = &bytes[head + 2..];
        if len == 0 {
            assert_eq!(bytes, b"\r\n", "after the last chunk");
            return (chunks, true);
        }
        chunks.push(bytes[..len].to_vec());
        assert_eq!(&bytes[len..len + 2], b"\r\n", "after a chunk");
        bytes = &bytes[len + 2..];
    }
    (chunks, false)
}

const BOM: &[u8] = b"\xef\xbb\xbf";
