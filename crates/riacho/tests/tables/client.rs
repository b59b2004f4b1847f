//! A client of tables: what `spec/protocol.md` tells one to do, and no more.
//!
//! A cursor comes only with the end of a group; what comes before it waits, and is dropped where the connection is. A
//! reset throws away the rows of the tables it names, at once, and moves the cursor, as a native `EventSource` does.

use super::model::{Filter, Model, Place, Query, Rows, brief, table_of};
use riacho::transport::follower::Follower;
use riacho_core::{
    position::{Offset, Position},
    transport::Form,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// A connection.
pub(crate) struct Open {
    pub(crate) follower: Follower,
    pub(crate) form: Form,
}

/// A client and all it knows.
pub(crate) struct Client {
    pub(crate) number: usize,
    pub(crate) query: Query,
    /// Whether it never asked for anything but each single change.
    pub(crate) stepwise: bool,
    pub(crate) open: Option<Open>,
    pub(crate) cursor: Option<Position>,
    /// Whether it has a cursor that is none, and comes back with that.
    pub(crate) anew: bool,
    map: BTreeMap<Place, String>,
    /// What came since the last cursor.
    waiting: Vec<Op>,
    /// Bytes that end no message yet.
    bytes: Vec<u8>,
    /// Whether rows were thrown away, and the group that brings them back is not complete.
    stale: bool,
    /// Numbers of the events it got, all after the offset.
    events: Option<(Offset, Vec<u64>)>,
    /// Where it reads each change: those after the offset.
    pub(crate) steps: Option<(Offset, Vec<Step>)>,
    /// Groups that ended where the model was not yet.
    unchecked: Vec<(Offset, BTreeMap<Place, String>)>,
    /// Whether each change since `steps` began is still kept.
    pub(crate) kept: bool,
    /// Where it was cut off beside a stream: its tables may be ahead of its cursor, up to here.
    ahead: Offset,
    /// Whether an answer has just begun.
    opens: bool,
    /// What came last, for people.
    said: VecDeque<String>,
}

/// A change, as it is shown.
pub(crate) type Step = (Place, Option<String>);

#[derive(Debug)]
enum Op {
    Clear(usize),
    Set(Place, Option<String>, bool),
}

#[derive(Deserialize)]
struct Line<'a> {
    id: Option<String>,
    r#type: Option<String>,
    key: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    headers: Option<Headers>,
    stream: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Headers {
    operation: Option<String>,
    control: Option<String>,
    txid: Option<String>,
}

#[derive(Deserialize)]
struct Reset {
    streams: Vec<String>,
    #[serde(default)]
    tables: Vec<String>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    cursor: String,
}

enum Said {
    Change,
    Event,
    Reset,
    Nothing,
}

impl Client {
    pub(crate) fn new(number: usize, query: Query, stepwise: bool) -> Self {
        Self {
            number,
            query,
            stepwise,
            open: None,
            cursor: None,
            anew: false,
            map: BTreeMap::new(),
            waiting: Vec::new(),
            bytes: Vec::new(),
            stale: true,
            events: None,
            steps: None,
            unchecked: Vec::new(),
            kept: true,
            ahead: 0,
            opens: false,
            said: VecDeque::new(),
        }
    }

    /// The connection is gone, after these bytes.
    pub(crate) fn cut(&mut self, bytes: &[u8], model: &Model) {
        if let Some(open) = self.open.take() {
            self.take(open.form, bytes, model);
        }
        self.bytes.clear();
        self.waiting.clear();
        if self.query.stream {
            self.ahead = model.upto;
        }
    }

    /// Takes the first bytes of an answer: the cursor in them is where the answer begins, and completes nothing.
    pub(crate) fn opening(&mut self, form: Form, bytes: &[u8], model: &Model) {
        self.opens = true;
        self.take(form, bytes, model);
        self.opens = false;
    }

    /// Takes what came in `form`, cut anywhere.
    pub(crate) fn take(&mut self, form: Form, bytes: &[u8], model: &Model) {
        self.bytes.extend_from_slice(bytes);
        let end: &[u8] = if form == Form::Ndjson { b"\n" } else { b"\n\n" };
        let buffer = std::mem::take(&mut self.bytes);
        let mut rest = &buffer[..];
        while let Some(at) = memchr::memmem::find(rest, end) {
            let message = std::str::from_utf8(&rest[..at]).unwrap();
            rest = &rest[at + end.len()..];
            match form {
                Form::Ndjson => self.line(message, None, model),
                Form::Sse { .. } => self.block(message, model),
            }
        }
        self.bytes = rest.to_vec();
    }

    /// Takes a page of long-poll.
    pub(crate) fn page(&mut self, page: &[u8], model: &Model) {
        let page: Page<'_> = serde_json::from_slice(page).unwrap();
        for event in page.events {
            self.line(event.get(), None, model);
        }
        self.at(page.cursor.parse().unwrap(), model);
    }

    fn block(&mut self, block: &str, model: &Model) {
        let (mut id, mut kind, mut data) = (None, None, None);
        for line in block.split('\n') {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => id = Some(value),
                "event" => kind = Some(value),
                "data" => {
                    assert!(data.replace(value).is_none(), "one line of data: {block}");
                }
                _ => {}
            }
        }
        match (data, id) {
            (Some(data), _) if kind == Some("riacho.reset") => {
                let id = id.filter(|id| !id.is_empty());
                self.note(block);
                self.reset(data, id);
            }
            (Some(data), _) => self.line(data, id, model),
            // What only moves the cursor.
            (None, Some(id)) => self.at(id.parse().unwrap(), model),
            (None, None) => {}
        }
    }

    fn line(&mut self, text: &str, id: Option<&str>, model: &Model) {
        self.note(text);
        let line: Line<'_> = serde_json::from_str(text).unwrap_or_else(|err| panic!("{err}: {text}"));
        let id = id.or(line.id.as_deref());
        let said = self.say(&line);
        if let Said::Reset = said {
            return self.reset(line.data.unwrap().get(), id);
        }
        let id: Option<Position> = id.map(|id| id.parse().unwrap());
        match (said, id) {
            (Said::Change | Said::Nothing, Some(id)) => self.at(id, model),
            (Said::Event, id) => {
                let id = id.expect("an event has a cursor");
                if let Some((_, events)) = &mut self.events {
                    events.push(line.data.unwrap().get().trim_matches('"').parse().unwrap());
                }
                self.at(id, model);
            }
            (Said::Reset, _) | (_, None) => {}
        }
    }

    fn say(&mut self, line: &Line<'_>) -> Said {
        let Some(headers) = &line.headers else {
            return match line.r#type.as_deref() {
                Some("riacho.reset") => Said::Reset,
                Some("riacho.heartbeat") => Said::Nothing,
                _ => {
                    assert_eq!(line.stream.as_deref(), Some("news"));
                    Said::Event
                }
            };
        };
        let table = table_of(line.r#type.as_deref().unwrap());
        assert!(self.query.tables.contains(&table), "asked for {:?}", self.query);
        let Some(operation) = &headers.operation else {
            if headers.control.as_deref() == Some("snapshot-start") {
                self.waiting.push(Op::Clear(table));
            }
            return Said::Change;
        };
        let place: Place = (table, Arc::from(line.key.as_deref().unwrap()));
        let value = line.value.map(|value| self.query.taken(value.get()));
        assert_eq!(value.is_none(), operation == "delete", "{operation} of {place:?}");
        let folded = headers.txid.as_deref().is_some_and(|txid| txid.starts_with("catch-up-"));
        self.waiting.push(Op::Set(place, value, folded));
        Said::Change
    }

    // Throws away at once what it had of the tables, and what was on the way of them.
    fn reset(&mut self, data: &str, id: Option<&str>) {
        // With this the server is asked again as it was now: by a cursor that is none.
        self.anew = id == Some("anew");
        let id: Option<Position> = id.filter(|_| !self.anew).map(|id| id.parse().unwrap());
        let reset: Reset = serde_json::from_str(data).unwrap();
        assert_eq!(id, reset.cursor.as_deref().map(|cursor| cursor.parse().unwrap()));
        let gone: Vec<usize> = reset.tables.iter().map(|table| table_of(table)).collect();
        self.map.retain(|(table, _), _| !gone.contains(table));
        self.waiting.retain(|op| match op {
            Op::Clear(table) | Op::Set((table, _), ..) => !gone.contains(table),
        });
        self.cursor = id;
        self.stale |= !gone.is_empty();
        if reset.streams.iter().any(|name| name == "news") || id.is_none() {
            self.events = id.map(|id| (id.offset, Vec::new()));
        }
        self.no_more_steps("a reset");
    }

    // Its cursor is this now, and what came before is complete.
    fn at(&mut self, at: Position, model: &Model) {
        let first = self.cursor.is_none();
        self.cursor = Some(at);
        self.anew = false;
        if self.query.stream && self.events.is_none() {
            self.events = Some((at.offset, Vec::new()));
        }
        if self.opens {
            return;
        }
        self.apply();
        // Beside a stream the first cursors after the rows may be behind them.
        let begins = (self.stale || first) && !self.query.stream;
        if begins && self.stepwise && self.kept && self.steps.is_none() {
            self.steps = Some((at.offset, Vec::new()));
        }
        self.stale = false;
        // What stands beside a stream may be ahead of its cursor, and of the model.
        if at.offset <= model.upto && !self.query.stream {
            self.check(at.offset, &self.map, model);
        } else {
            self.unchecked.push((at.offset, self.map.clone()));
        }
    }

    fn apply(&mut self) {
        for op in std::mem::take(&mut self.waiting) {
            match op {
                Op::Clear(table) => {
                    self.no_more_steps("a snapshot");
                    self.map.retain(|(of, _), _| *of != table);
                }
                Op::Set(place, value, folded) => {
                    if folded {
                        self.no_more_steps("a catch-up");
                    }
                    if let Some((_, steps)) = &mut self.steps {
                        steps.push((place.clone(), value.clone()));
                    }
                    match value {
                        Some(value) => self.map.insert(place, value),
                        None => self.map.remove(&place),
                    };
                }
            }
        }
    }

    fn no_more_steps(&mut self, what: &str) {
        assert!(!(self.kept && self.steps.is_some()), "{self}: {what} in place of single changes");
        self.steps = None;
    }

    /// Compares what it had where the model was not yet.
    pub(crate) fn check_late(&mut self, model: &Model) {
        let (now, later) =
            std::mem::take(&mut self.unchecked).into_iter().partition(|(offset, _)| *offset <= model.upto);
        self.unchecked = later;
        let now: Vec<_> = now;
        for (offset, map) in now {
            self.check(offset, &map, model);
        }
    }

    fn check(&self, offset: Offset, map: &BTreeMap<Place, String>, model: &Model) {
        if offset >= self.ahead && self.query.filter == Filter::All && self.query.tables.contains(&0) {
            let [a, b] = ["pair/a", "pair/b"].map(|key| map.get(&(0, Arc::from(key))));
            assert_eq!(a, b, "{self}: half a transaction at {offset}");
        }
        if offset < self.ahead {
            return;
        }
        let nothing = Rows::new();
        let differs = self.query.differs(model.at(offset).unwrap_or(&nothing), map);
        // Beside streams tables may be ahead of the cursor, which is the streams'.
        let ahead =
            || self.query.stream && model.since(offset).any(|rows| self.query.differs(rows, map).is_none());
        if let Some(differs) = differs.filter(|_| !ahead()) {
            panic!("{self}: not the query at {offset}: {differs}\n{}", self.told());
        }
    }

    /// Whether it was given everything up to `published`, which is the newest.
    pub(crate) fn has_all(&self, published: Offset) -> bool {
        self.open.as_ref().is_some_and(|open| open.follower.is_level() && open.follower.after() == published)
    }

    /// Compares at the end, when all was told.
    pub(crate) fn check_now(&mut self, model: &Model) {
        self.check_late(model);
        assert!(
            self.unchecked.is_empty() && self.waiting.is_empty(),
            "{self}: {:?}\n{}",
            self.waiting,
            self.told()
        );
        if let Some(differs) = self.query.differs(&model.rows, &self.map) {
            panic!("{self}: not the query now: {differs}\n{}", self.told());
        }
        if let Some((after, events)) = &self.events {
            let want = model.events.iter().filter(|(offset, _)| offset > after).map(|(_, number)| *number);
            assert_eq!(*events, want.collect::<Vec<_>>(), "{self}: events after {after}\n{}", self.told());
        }
        if let Some((after, steps)) = self.steps.as_ref().filter(|_| self.kept) {
            let want: Vec<Step> = model
                .changes
                .iter()
                .filter(|change| change.offset > *after && self.query.tables.contains(&change.place.0))
                .filter_map(|change| {
                    let [was, is] = [&change.old, &change.new]
                        .map(|row| row.as_ref().and_then(|row| self.query.shown(row)).map(str::to_owned));
                    (was != is).then(|| (change.place.clone(), is))
                })
                .collect();
            assert_eq!(*steps, want, "{self}: single changes after {after}");
        }
    }

    fn note(&mut self, text: &str) {
        if self.said.len() == SAID_MAX {
            self.said.pop_front();
        }
        let cut: String = text.chars().filter(|c| *c != 'p').take(230).collect();
        self.said.push_back(cut);
    }

    fn told(&self) -> String {
        let said: Vec<&str> = self.said.iter().map(String::as_str).collect();
        let waiting: Vec<_> = self.waiting.iter().map(|op| format!("{op:?}")).collect();
        let waiting: Vec<_> = waiting.iter().map(|op| brief(op)).collect();
        format!("it was told:\n    {}\n  waiting: {waiting:?}", said.join("\n    "))
    }
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "client {} of {:?}", self.number, self.query)
    }
}

// Messages that a failure tells.
const SAID_MAX: usize = 16;
