//! What the log does for each event published, to be counted in instructions: `cargo xtask bench --counts`.
//!
//! In this process, without a socket: an event of a `memory` stream, through the order lock, into memory and into the view of
//! its reader. The count is that of the thread that publishes.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "the macros' items are nobody's API; inputs are our own"
)]

use gungraun::{library_benchmark, library_benchmark_group, main};
use riacho::{
    config::{Durability, Keep, StreamRule, StreamRules},
    log::{Batch, Begun, Entry, Log, Settings},
    view::{SharedView, Views, Wakes},
};
use riacho_core::{
    event::{Data, Event},
    name::{Selection, Selector, StreamName},
    position::Epoch,
    start::Start,
    transport::Form,
};
use std::{
    hint::black_box,
    mem,
    num::NonZeroU64,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

#[path = "../tests/counts/log_settings.rs"]
mod log_settings;

#[library_benchmark]
#[bench::without_views(open(0))]
#[bench::one_view(open(1))]
#[bench::view_of_100_readers(open(100))]
fn log_append(open: Open) -> Open {
    publish(&open.log, black_box(batch()));
    open
}

#[library_benchmark]
#[bench::one_view(one_view())]
fn views_append((mut views, list, event): (Views, Vec<Arc<SharedView>>, Event)) -> (Views, Wakes, Event) {
    let mut wakes = Wakes::default();
    let encode = |form: Form, out: &mut Vec<u8>| form.event(out, epoch(), &event);
    views.append(black_box(&list), event.offset, event.time, &mut wakes, encode);
    (views, wakes, event)
}

library_benchmark_group!(name = per_publish, benchmarks = [log_append, views_append]);

main!(library_benchmark_groups = per_publish);

/// A log with readers that have all there is.
struct Open {
    log: Log,
    _readers: Vec<Begun>,
    _dir: TempDir,
}

fn open(readers: usize) -> Open {
    let dir = TempDir::new().unwrap();
    // For good, on this thread: the log wants its clock.
    let runtime: &'static Runtime =
        Box::leak(Box::new(Builder::new_current_thread().enable_all().build().unwrap()));
    mem::forget(runtime.enter());
    let log = Log::open(dir.path(), settings(), 1).unwrap();
    // The stream comes into being, which is put on disk.
    runtime.block_on(log.append(batch())).unwrap();
    let selection = Selection::one(name());
    let readers = (0..readers).map(|_| log.subscribe(&selection, SSE, Start::Now).unwrap()).collect();
    // So that what grows has grown.
    for _ in 0..10 {
        publish(&log, batch());
    }
    Open { log, _readers: readers, _dir: dir }
}

// Nothing of a `memory` stream waits.
fn publish(log: &Log, batch: Batch) {
    let mut append = pin!(log.append(batch));
    let appended = append.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(appended, Poll::Ready(Ok(_))), "the event had to wait, or was refused");
}

fn one_view() -> (Views, Vec<Arc<SharedView>>, Event) {
    let mut views = Views::new(epoch(), settings().views);
    let view = views.add(&Selection::one(name()), SSE, 0);
    let list = vec![view];
    let event =
        |offset| Event { offset, time: 1, stream: name(), event_type: None, data: data(), change: None };
    for offset in 1..=10 {
        let encode = |form: Form, out: &mut Vec<u8>| form.event(out, epoch(), &event(offset));
        views.append(&list, offset, 1, &mut Wakes::default(), encode);
    }
    (views, list, event(11))
}

fn batch() -> Batch {
    Batch { entries: vec![Entry { stream: name(), event_type: None, data: data() }], key: None }
}

fn name() -> StreamName {
    StreamName::parse("shop/berlin/orders").unwrap()
}

fn data() -> Data {
    Data::text("x".repeat(100))
}

fn epoch() -> Epoch {
    Epoch(NonZeroU64::new(0x5f2a_9c01).unwrap())
}

fn settings() -> Settings {
    let rule = StreamRule {
        matches: Selector::parse("**").unwrap(),
        durability: Durability::Memory,
        keep: Keep::default(),
        closed: false,
    };
    log_settings::small(StreamRules::new(vec![rule]))
}

const SSE: Form = Form::Sse { envelope: false, chunked: true };
