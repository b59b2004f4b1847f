//! What is published, decided before it is, and the ledgers that readers keep of what they get.

use super::random::Random;
use std::collections::HashMap;

/// A publisher and a stream: within them events are numbered from 1.
pub(crate) type Line = (usize, usize);

/// How a publisher publishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    /// One event per request.
    Single,
    /// A batch for one stream.
    Batch,
    /// A batch over several streams.
    Mixed,
}

/// One event that is to be published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Planned {
    pub(crate) line: Line,
    pub(crate) number: u64,
    pub(crate) bytes: usize,
}

/// All that one publisher publishes: requests of events.
pub(crate) struct Publisher {
    pub(crate) how: How,
    pub(crate) requests: Vec<Vec<Planned>>,
}

/// The publishers of a run of about `events` events over [`STREAMS`] streams.
pub(crate) fn plan(seed: u64, events: usize) -> Vec<Publisher> {
    let singles = events / 200;
    let batched = (events - 2 * singles).div_ceil(4);
    let each = [
        (How::Single, singles),
        (How::Single, singles),
        (How::Batch, batched),
        (How::Batch, batched),
        (How::Mixed, batched),
        (How::Mixed, batched),
    ];
    let publisher = |(number, (how, events)): (usize, (How, usize))| {
        let mut random = Random::new(seed, &format!("publisher/{number}"));
        let mut numbers = [0; STREAMS];
        let mut requests = Vec::new();
        let mut left = events;
        while left > 0 {
            let count = if how == How::Single { 1 } else { random.magnitude(BATCH_EVENTS_MAX).min(left) };
            left -= count;
            let one = random.below(STREAMS);
            let request = (0..count).map(|_| {
                let stream = if how == How::Mixed { random.below(STREAMS) } else { one };
                numbers[stream] += 1;
                let most = if random.one_in(LARGE_ONE_IN) { EVENT_BYTES_MAX } else { 200 };
                Planned { line: (number, stream), number: numbers[stream], bytes: random.magnitude(most) }
            });
            requests.push(request.collect());
        }
        Publisher { how, requests }
    };
    each.into_iter().enumerate().map(publisher).collect()
}

/// The data of an event: it says which event it is, and ends in filling of a known kind. Some of it is in lines.
pub(crate) fn text(planned: Planned) -> String {
    let Planned { line: (publisher, stream), number, bytes } = planned;
    let text = format!("{publisher} {stream} {number} {bytes} ");
    let letter = String::from(char::from(b'a' + u8::try_from(number % 26).unwrap()));
    let line = if number % 3 == 0 { letter.repeat(60) + "\n" } else { letter };
    let missing = bytes.saturating_sub(text.len());
    let mut filling = line.repeat(missing.div_ceil(line.len()));
    filling.truncate(missing);
    text + &filling
}

pub(crate) fn stream_name(stream: usize) -> String {
    format!("s/{stream}")
}

/// What one reader has got.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    reader: String,
    streams: Vec<usize>,
    next: HashMap<Line, u64>,
    last: Option<(String, u64)>,
    pub(crate) count: usize,
    wanted: usize,
    pub(crate) connections: usize,
}

impl Ledger {
    /// An empty one of a reader of these streams.
    pub(crate) fn new(reader: &str, streams: &[usize], publishers: &[Publisher]) -> Self {
        let all = publishers.iter().flat_map(|publisher| publisher.requests.iter().flatten());
        let wanted = all.filter(|planned| streams.contains(&planned.line.1)).count();
        Self {
            reader: reader.to_owned(),
            streams: streams.to_vec(),
            next: HashMap::new(),
            last: None,
            count: 0,
            wanted,
            connections: 0,
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.count == self.wanted
    }

    /// How many events there will be for it.
    pub(crate) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Enters an event; what it is comes back.
    pub(crate) fn event(&mut self, id: &str, stream: Option<&str>, data: &str) -> Planned {
        let offset = self.cursor(id, true);
        let numbers: Vec<usize> = data.split(' ').take(4).map_while(|word| word.parse().ok()).collect();
        let &[publisher, in_stream, number, bytes] = &numbers[..] else {
            panic!("{self}: data of {id} is not ours: {data:.80}");
        };
        let planned = Planned { line: (publisher, in_stream), number: number as u64, bytes };
        assert!(data == text(planned), "{self}: data of {id} is not whole: {data:.80}");
        assert!(self.streams.contains(&in_stream), "{self}: stream {in_stream} was not asked for");
        if let Some(stream) = stream {
            assert_eq!(stream, stream_name(in_stream), "{self}: stream of {id}");
        }
        let next = self.next.entry(planned.line).or_insert(1);
        let wanted = *next;
        *next += 1;
        let what = if planned.number > wanted { "a gap" } else { "a repeat" };
        assert!(
            planned.number == wanted,
            "{self}: {what}: publisher {publisher}, stream {in_stream}: event {number} instead of {wanted}, id {id} \
             (offset {offset})"
        );
        self.count += 1;
        planned
    }

    /// Enters a cursor that came without an event.
    pub(crate) fn moved(&mut self, id: &str) {
        self.cursor(id, false);
    }

    fn cursor(&mut self, id: &str, grows: bool) -> u64 {
        let (epoch, offset) = id.split_once('-').unwrap_or_else(|| panic!("{self}: no cursor: {id}"));
        let offset = u64::from_str_radix(offset, 16).unwrap();
        if let Some((last_epoch, last)) = &self.last {
            assert_eq!(epoch, last_epoch, "{self}: epoch of {id}");
            assert!(offset > *last || (!grows && offset == *last), "{self}: id {id} after {last:x}");
        }
        self.last = Some((epoch.to_owned(), offset));
        offset
    }
}

impl std::fmt::Display for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { reader, count, wanted, connections, .. } = self;
        write!(f, "{reader} ({count} of {wanted} events, {connections} connections)")
    }
}

pub(crate) const STREAMS: usize = 6;
const BATCH_EVENTS_MAX: usize = 400;
const LARGE_ONE_IN: usize = 500;
const EVENT_BYTES_MAX: usize = 200 * 1024;
