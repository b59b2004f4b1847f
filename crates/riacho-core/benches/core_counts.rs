//! What is done per event, per subscription and per frame, to be counted in instructions: `cargo xtask bench --counts`.
//!
//! Each function runs once, under valgrind, on values made before the count begins; what it gives back is dropped after the
//! count ends. The accepted counts are in bench/counts.json.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "the macros' items are nobody's API; inputs are our own"
)]

use gungraun::{library_benchmark, library_benchmark_group, main};
use riacho_core::{
    event::{Data, Event},
    log::segment::{FRAME_BYTES, FrameHeader, Record, encode_frame},
    name::{Pattern, Selection, Selector, StreamName},
    position::{Epoch, Position},
    start::Start,
    transport::Form,
    view::{Slice, View},
};
use std::{hint::black_box, num::NonZeroU64};

#[library_benchmark]
#[bench::sse_text(encoding(SSE, text()))]
#[bench::sse_json(encoding(SSE, json()))]
#[bench::envelope_text(encoding(ENVELOPE, text()))]
#[bench::envelope_json(encoding(ENVELOPE, json()))]
#[bench::ndjson_text(encoding(Form::Ndjson, text()))]
#[bench::ndjson_json(encoding(Form::Ndjson, json()))]
fn encode((form, event, mut out): (Form, Event, Vec<u8>)) -> (Event, Vec<u8>) {
    black_box(form).event(&mut out, epoch(), &event);
    (event, out)
}

#[library_benchmark]
#[bench::json_object(JSON)]
fn validate(data: &str) -> Data {
    Data::json(black_box(data)).unwrap()
}

#[library_benchmark]
#[bench::to_free_chunk(free_chunk())]
#[bench::to_held_chunk(held_chunk(10))]
#[bench::to_long_held_chunk(held_chunk(200))]
fn view_append((mut view, held): (View, Option<Slice>)) -> (View, Option<Slice>) {
    view.append(black_box(1_000_000), &[b'x'; ENCODED_BYTES], 1);
    (view, held)
}

#[library_benchmark]
#[bench::newest(full_view(), FULL - 1)]
#[bench::middle(full_view(), FULL / 2)]
fn view_join_and_read(view: View, after: u64) -> (View, [Option<Slice>; 16]) {
    let mut slices = [const { None }; 16];
    let position = view.join(black_box(after)).unwrap();
    black_box(view.read(position, &mut slices));
    (view, slices)
}

#[library_benchmark]
#[bench::parse(CURSOR)]
fn cursor_parse(text: &str) -> Position {
    black_box(text).parse().unwrap()
}

#[library_benchmark]
#[bench::format(CURSOR.parse().unwrap())]
fn cursor_format(position: Position) -> String {
    black_box(position).to_string()
}

#[library_benchmark]
#[bench::cursor(Some(CURSOR), None, None)]
#[bench::ago(None, Some("10m"), None)]
#[bench::time(None, Some("2026-11-21T10:54:00Z"), None)]
#[bench::tail(None, None, Some("100"))]
fn start_choose(resume: Option<&str>, from: Option<&str>, tail: Option<&str>) -> Start {
    Start::choose(black_box(resume), black_box(from), black_box(tail)).unwrap()
}

#[library_benchmark]
#[bench::of_1(records(1))]
#[bench::of_64(records(64))]
fn frame_encode((records, mut out): (Vec<Record>, Vec<u8>)) -> (Vec<Record>, Vec<u8>, Vec<usize>) {
    let places = encode_frame(black_box(SALT), &records, &mut out);
    (records, out, places)
}

#[library_benchmark]
#[bench::of_1(frame(1))]
#[bench::of_64(frame(64))]
fn frame_decode(bytes: Vec<u8>) -> (Vec<u8>, usize) {
    let (head, rest) = bytes.split_at(FRAME_BYTES);
    let header = FrameHeader::decode(black_box(SALT), head).unwrap();
    let records = header.records(SALT, rest).unwrap();
    let data_bytes = records.map(|record| record.unwrap().event().unwrap().unwrap().data.len()).sum();
    (bytes, data_bytes)
}

#[library_benchmark]
#[bench::of_3_segments(NAME)]
fn name_parse(text: &str) -> StreamName {
    StreamName::parse(black_box(text)).unwrap()
}

#[library_benchmark]
#[bench::star("shop/*/orders")]
#[bench::rest("shop/**")]
fn pattern_parse(text: &str) -> Pattern {
    Pattern::parse(black_box(text)).unwrap()
}

#[library_benchmark]
#[bench::star(Pattern::parse("shop/*/orders").unwrap())]
#[bench::rest(Pattern::parse("shop/**").unwrap())]
fn pattern_match(pattern: Pattern) -> (Pattern, bool) {
    let matches = pattern.matches(black_box(NAME));
    (pattern, matches)
}

#[library_benchmark]
#[bench::of_10_names(ten_names())]
fn selection_match(selection: Selection) -> (Selection, bool) {
    let matches = selection.matches(black_box(NAME));
    (selection, matches)
}

library_benchmark_group!(
    name = per_event,
    benchmarks =
        [encode, validate, view_append, view_join_and_read, frame_encode, frame_decode, selection_match]
);

library_benchmark_group!(
    name = per_request,
    benchmarks = [cursor_parse, cursor_format, start_choose, name_parse, pattern_parse, pattern_match]
);

main!(library_benchmark_groups = [per_event, per_request]);

fn epoch() -> Epoch {
    Epoch(NonZeroU64::new(0x5f2a_9c01).unwrap())
}

fn event(offset: u64, data: Data) -> Event {
    let stream = StreamName::parse(NAME).unwrap();
    Event { offset, time: 1_795_258_440_000, stream, event_type: None, data, change: None }
}

fn text() -> Data {
    Data::text("x".repeat(100))
}

fn json() -> Data {
    Data::json(JSON).unwrap()
}

// With a buffer that was used before: it has the room, and what looks once what the CPU can do has looked.
fn encoding(form: Form, data: Data) -> (Form, Event, Vec<u8>) {
    let (event, mut out) = (event(0x1a_2b3c, data), Vec::with_capacity(1024));
    form.event(&mut out, epoch(), &event);
    out.clear();
    (form, event, out)
}

fn view(count: u64) -> View {
    let mut view = View::new(0);
    for offset in 1..=count {
        view.append(offset, &[b'x'; ENCODED_BYTES], 1);
    }
    view
}

fn free_chunk() -> (View, Option<Slice>) {
    (view(10), None)
}

fn held_chunk(count: u64) -> (View, Option<Slice>) {
    let view = view(count);
    let mut slices = [None];
    view.read(0, &mut slices).unwrap();
    let [held] = slices;
    (view, held)
}

fn full_view() -> View {
    view(FULL)
}

fn records(count: u64) -> (Vec<Record>, Vec<u8>) {
    let records: Vec<_> = (1..=count).map(|offset| Record::Event(event(offset, text()))).collect();
    let mut out = Vec::with_capacity(64 * 1024);
    encode_frame(SALT, &records, &mut out);
    out.clear();
    (records, out)
}

fn frame(count: u64) -> Vec<u8> {
    let (records, mut out) = records(count);
    encode_frame(SALT, &records, &mut out);
    out
}

fn ten_names() -> Selection {
    let mut names: Vec<_> = (1..10).map(|n| format!("shop/{n}/orders")).collect();
    names.push(NAME.to_owned());
    Selection::new(names.iter().map(|name| Selector::parse(name).unwrap()).collect())
}

const SSE: Form = Form::Sse { envelope: false, chunked: true };
const ENVELOPE: Form = Form::Sse { envelope: true, chunked: true };
const NAME: &str = "shop/berlin/orders";
const CURSOR: &str = "5f2a9c01-1a2b3c";
// 100 bytes.
const JSON: &str =
    r#"{"order":12345,"state":"shipped","items":[1,2,3],"total":19.99,"note":"ring twice, then wait there"}"#;
const SALT: u32 = 0x1234_5678;
const ENCODED_BYTES: usize = 140;
// 4 MiB, the bound of a view.
const FULL: u64 = (4 << 20) / ENCODED_BYTES as u64;
