//! `text/event-stream` by the letter of the standard (WHATWG HTML, "Parsing an event stream").

use std::collections::VecDeque;

/// Bytes become events, and what a page does not see but a test may ask for.
#[derive(Default)]
pub(crate) struct Parser {
    pending: Vec<u8>,
    begun: bool,
    items: VecDeque<Item>,
    data: String,
    event_type: String,
    id: String,
    block: Block,
}

/// What a stream said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Item {
    /// What is dispatched to the page.
    Event(Event),
    /// A block without data.
    Block(Block),
    Comment(String),
}

/// One event, as a page gets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    /// `message` where none is said.
    pub(crate) event_type: String,
    pub(crate) data: String,
    pub(crate) retry: Option<u64>,
}

/// The fields of a block that are not data.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Block {
    pub(crate) id: Option<String>,
    pub(crate) retry: Option<u64>,
}

impl Parser {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        if !self.begun && !self.pending.is_empty() {
            const BOM: &[u8] = "\u{feff}".as_bytes();
            if BOM.starts_with(&self.pending) && self.pending.len() < BOM.len() {
                return;
            }
            self.begun = true;
            if self.pending.starts_with(BOM) {
                self.pending.drain(..BOM.len());
            }
        }
        while let Some(end) = self.pending.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            // Whether LF follows a CR at the end is not known yet.
            let ending = match self.pending.get(end..end + 2) {
                Some(b"\r\n") => 2,
                None if self.pending[end] == b'\r' => return,
                _ => 1,
            };
            let line: Vec<u8> = self.pending.drain(..end + ending).take(end).collect();
            self.line(&String::from_utf8_lossy(&line));
        }
    }

    /// What was said next, if it is all there.
    pub(crate) fn next(&mut self) -> Option<Item> {
        self.items.pop_front()
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            return self.dispatch();
        }
        if let Some(comment) = line.strip_prefix(':') {
            return self.items.push_back(Item::Comment(comment.to_owned()));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event_type = value.to_owned(),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => {
                self.id = value.to_owned();
                self.block.id = Some(self.id.clone());
            }
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.block.retry = value.parse().ok()
            }
            other => panic!("a field that no browser knows: {other:?}"),
        }
    }

    fn dispatch(&mut self) {
        let block = std::mem::take(&mut self.block);
        let mut event_type = std::mem::take(&mut self.event_type);
        let mut data = std::mem::take(&mut self.data);
        if data.pop().is_none() {
            return self.items.push_back(Item::Block(block));
        }
        if event_type.is_empty() {
            "message".clone_into(&mut event_type);
        }
        let id = self.id.clone();
        self.items.push_back(Item::Event(Event { id, event_type, data, retry: block.retry }));
    }
}

#[test]
fn parser_reads_as_the_standard_says() {
    let stream = "\u{feff}: c\r\rid: 1\r\nretry: 5\n\ndata:a\rdata\ndata:  b\r\n\nid\nevent: t\ndata\n\n";
    let event = |id: &str, event_type: &str, data: &str| {
        let (id, event_type, data) = (id.to_owned(), event_type.to_owned(), data.to_owned());
        Item::Event(Event { id, event_type, data, retry: None })
    };
    let want = [
        Item::Comment(" c".to_owned()),
        Item::Block(Block::default()),
        Item::Block(Block { id: Some("1".to_owned()), retry: Some(5) }),
        event("1", "message", "a\n\n b"),
        event("", "t", ""),
    ];
    for size in 1..stream.len() {
        let mut parser = Parser::default();
        stream.as_bytes().chunks(size).for_each(|piece| parser.push(piece));
        let got: Vec<Item> = std::iter::from_fn(|| parser.next()).collect();
        assert_eq!(got, want, "in pieces of {size}");
    }
}
