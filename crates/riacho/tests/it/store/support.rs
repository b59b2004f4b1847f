//! What the tests of the store share.

use super::sim::SimDisk;
use riacho::{
    error::Error,
    log::store::{Keep, Reader, Recovered, Store, StoreSettings},
};
use riacho_core::{
    event::{Data, Event},
    log::segment::Record,
    name::{Selection, Selector, StreamName},
    position::Offset,
};
use std::{sync::Arc, time::Duration};

/// Small bounds, so that few events make many segments.
pub(crate) fn settings() -> StoreSettings {
    StoreSettings {
        segment_bytes_max: 4096,
        frame_bytes_max: 3000,
        tail_bytes_max: 2000,
        keys_age: Duration::from_secs(600),
        keys_max: 100,
        streams_max: 1000,
    }
}

/// Opens the log on `disk`.
pub(crate) fn open(disk: &SimDisk) -> Result<(Store, Recovered), Error> {
    // Other salts at every start, as they are from real random numbers.
    Store::open(Arc::new(disk.clone()), settings(), [7, disk.reads()], NOW)
}

/// Opens the log on `disk`, which must succeed.
#[track_caller]
pub(crate) fn opened(disk: &SimDisk) -> (Store, Recovered) {
    open(disk).unwrap_or_else(|err| panic!("{}", err.chain()))
}

/// A stream's name.
pub(crate) fn name(text: &str) -> StreamName {
    StreamName::parse(text).unwrap()
}

/// An event whose time is 1000 times its offset.
pub(crate) fn event(offset: Offset, stream: &str, text: &str) -> Event {
    Event {
        offset,
        time: offset * 1000,
        stream: name(stream),
        event_type: None,
        data: Data::text(text),
        change: None,
    }
}

/// Appends events one by one.
#[track_caller]
pub(crate) fn append(store: &mut Store, events: &[Event]) {
    for event in events {
        store.append(&[Record::Event(event.clone())]).unwrap_or_else(|err| panic!("{}", err.chain()));
    }
}

/// A selection by text.
pub(crate) fn select(texts: &[&str]) -> Selection {
    Selection::new(texts.iter().map(|text| Selector::parse(text).unwrap()).collect())
}

/// All that a selection holds after `after`, page by page.
pub(crate) fn try_read_all(
    reader: &Reader,
    selection: &Selection,
    after: Offset,
    upto: Offset,
    page_bytes: usize,
) -> Result<Vec<Event>, Error> {
    let (mut events, mut at) = (Vec::new(), after);
    while at < upto {
        let page = reader.read(selection, at, upto, page_bytes)?;
        assert!(page.upto > at, "a page moves on from {at}");
        assert!(
            page.events.iter().all(|e| e.offset > at && e.offset <= page.upto),
            "a page is within its bounds"
        );
        at = page.upto;
        events.extend(page.events);
    }
    Ok(events)
}

/// The same, which must succeed.
#[track_caller]
pub(crate) fn read_all(reader: &Reader, texts: &[&str], after: Offset, upto: Offset) -> Vec<Event> {
    try_read_all(reader, &select(texts), after, upto, 500).unwrap_or_else(|err| panic!("{}", err.chain()))
}

/// Keeps everything.
pub(crate) fn keep_all(_: &StreamName) -> Keep {
    Keep::default()
}

/// The time tests open the log at.
pub(crate) const NOW: u64 = 1_000_000_000;

/// Cases of a property: `n`, or what `PROPTEST_CASES` says if that is more.
pub(crate) fn cases(n: u32) -> proptest::test_runner::Config {
    let wanted = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    proptest::test_runner::Config { cases: n.max(wanted), failure_persistence: None, ..Default::default() }
}
