//! Stamps, counting and framing, as pure functions.

use super::{
    args::{PublishPlan, StampTime},
    awaited::Awaited,
    connect::Target,
    framing::{Body, Chunk, Head, Piece},
    http2::{Broken, Http2, Said},
    pages::Pages,
    request::Form,
    stamp::Stamp,
    tally::{Audience, Begin, Source, Tally},
};
use proptest::prelude::*;
use std::{net::SocketAddr, time::Duration};

fn stamp(source: u32, sequence: u32) -> Stamp {
    Stamp { time: 1_000_000, source, sequence }
}

/// An event as SSE.
fn event(source: u32, sequence: u32) -> Vec<u8> {
    let text = stamp(source, sequence).text();
    format!("id: 5f2-{sequence:x}\ndata: T{}xxx\n\n", str::from_utf8(&text).unwrap()).into_bytes()
}

/// What one subscriber that received `pieces` makes of them: lost, repeated, disordered, received.
#[track_caller]
fn counted(begin: Begin, pieces: &[&[u8]], sources: Option<&[Source]>) -> [u64; 4] {
    let mut tally = Tally::new(b"data: T", begin, [(0, 1)].into_iter());
    tally.accepted(0);
    for piece in pieces {
        tally.take(0, piece, 3_000_000);
    }
    let received = tally.received();
    let totals = tally.end(sources.map(|sources| (sources, Audience::All)));
    assert_eq!(totals.latency.len(), received);
    [totals.lost, totals.repeated, totals.disordered, received]
}

#[track_caller]
fn check_order(sequences: &[u32], want: [u64; 3]) {
    let bytes: Vec<u8> = sequences.iter().flat_map(|sequence| event(0, *sequence)).collect();
    let [lost, repeated, disordered, received] = counted(Begin::Zero, &[&bytes], None);
    assert_eq!([lost, repeated, disordered], want, "{sequences:?}");
    assert_eq!(received, sequences.len() as u64);
}

#[test]
fn a_stamp_parses_to_what_was_written() {
    let stamp = Stamp { time: 0x0123_4567_89ab_cdef, source: 0xfedc_ba98, sequence: 7 };
    assert_eq!(&stamp.text(), b"0123456789abcdeffedcba9800000007");
    assert_eq!(Stamp::parse(b"0123456789abcdeffedcba9800000007xx"), Some(stamp));
}

#[test]
fn only_lower_case_hex_digits_are_a_stamp() {
    let good = stamp(1, 2).text();
    assert_eq!(Stamp::parse(&good[..31]), None);
    for at in 0..good.len() {
        for byte in 0..=u8::MAX {
            let mut text = good;
            text[at] = byte;
            let digit = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            assert_eq!(Stamp::parse(&text).is_some(), digit, "{byte:#x} at {at}");
            assert!(!digit || Stamp::parse(&text).unwrap().text() == text);
        }
    }
}

proptest! {
    #[test]
    fn stamps_of_any_numbers_come_back(time: u64, source: u32, sequence: u32) {
        let stamp = Stamp { time, source, sequence };
        prop_assert_eq!(Stamp::parse(&stamp.text()), Some(stamp));
    }
}

#[test]
fn lost_repeated_and_disordered_are_told_apart() {
    check_order(&[0, 1, 2, 3], [0, 0, 0]);
    check_order(&[2, 3], [2, 0, 0]);
    check_order(&[0, 4, 5], [3, 0, 0]);
    check_order(&[0, 0, 1, 1, 0], [0, 3, 0]);
    check_order(&[0, 2, 1, 3], [0, 0, 1]);
    check_order(&[0, 2, 1, 1, 3], [0, 1, 1]);
    // Out of the middle, the beginning and the end of what is missing.
    check_order(&[0, 6, 3, 1, 5], [2, 0, 3]);
    check_order(&[0, 6, 3, 1, 5, 2, 4, 4], [0, 1, 5]);
    check_order(&[5, 9, 7, 3, 0], [5, 0, 3]);
}

#[test]
fn the_end_is_lost_where_it_was_stored_and_only_there() {
    let bytes = [event(0, 0), event(0, 3)].concat();
    let lost = |sent, unstored: &[std::ops::Range<u32>]| {
        let source = Source { sent, unstored: unstored.to_vec() };
        counted(Begin::Zero, &[&bytes], Some(&[source]))[0]
    };
    assert_eq!(lost(4, &[]), 2);
    assert_eq!(lost(9, &[]), 7);
    assert_eq!(lost(9, std::slice::from_ref(&(1..3))), 5);
    assert_eq!(lost(9, &[0..2, 3..5, 8..9]), 4);
    // A source of which nothing came at all.
    let source = || Source { sent: 3, unstored: Vec::new() };
    assert_eq!(counted(Begin::Zero, &[&event(0, 0)], Some(&[source(), source()]))[0], 5);
}

#[test]
fn whoever_joins_late_lost_nothing_before_the_first_event() {
    let bytes = [event(0, 7), event(0, 8), event(3, 5), event(0, 10)].concat();
    assert_eq!(counted(Begin::First, &[&bytes], None), [1, 0, 0, 4]);
    assert_eq!(counted(Begin::Zero, &[&bytes], None), [13, 0, 0, 4]);
}

#[test]
fn sources_beyond_the_table_are_checked_too() {
    let bytes: Vec<u8> = (0..3).flat_map(|n| [event(5, n), event(1_000_000, 2 * n)].concat()).collect();
    assert_eq!(counted(Begin::Zero, &[&bytes], None), [2, 0, 0, 6]);
}

#[test]
fn stamps_cut_anywhere_are_counted_once() {
    let bytes: Vec<u8> = (0..4).flat_map(|n| event(0, n)).collect();
    let all = [0, 0, 0, 4];
    for first in 0..bytes.len() {
        let (before, rest) = bytes.split_at(first);
        assert_eq!(counted(Begin::Zero, &[before, rest], None), all, "cut at {first}");
        for second in 0..rest.len() {
            let (middle, after) = rest.split_at(second);
            assert_eq!(counted(Begin::Zero, &[before, middle, after], None), all, "{first} and {second}");
        }
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(counted(Begin::Zero, &single, None), all);
}

#[test]
fn a_text_that_is_waited_for_is_seen_however_it_is_cut_and_once() {
    let (text, bytes) = ("aab", b"xaaaby aab z");
    for first in 0..bytes.len() {
        for second in first..bytes.len() {
            let mut awaited = Awaited::new(text, 2);
            for piece in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                awaited.take(1, piece);
            }
            assert_eq!(awaited.ready, 1, "{first} and {second}");
        }
    }
    let mut awaited = Awaited::new(text, 2);
    for piece in ["xaa", "", "a", "b"] {
        assert_eq!(awaited.ready, 0, "before {piece:?}");
        awaited.take(0, piece.as_bytes());
        awaited.take(1, b"aa ab");
    }
    assert_eq!(awaited.ready, 1);
}

#[test]
fn what_only_looks_like_a_marker_is_passed_over() {
    let traps = [&b"data: data: "[..], b"data: Tdata: Tdat", b"data: T0123data: T", b"ddata:  data: "];
    for trap in traps {
        let bytes = [trap, b"\n", &event(0, 0), trap, &event(0, 1), trap].concat();
        for cut in 0..bytes.len() {
            let (before, after) = bytes.split_at(cut);
            assert_eq!(counted(Begin::Zero, &[before, after], None), [0, 0, 0, 2], "{trap:?} {cut}");
        }
    }
}

/// The data in `pieces` of a body, and whether it ended.
fn data(mut body: Body, pieces: &[&[u8]]) -> (Vec<u8>, Option<bool>) {
    let mut found = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        loop {
            match body.next(&mut rest) {
                Piece::Data(data) => found.extend_from_slice(data),
                Piece::More => break,
                Piece::End => return (found, Some(true)),
                Piece::Broken => return (found, None),
            }
        }
    }
    (found, Some(false))
}

#[test]
fn chunks_cut_anywhere_are_the_same_data() {
    let events: Vec<u8> = (0..3).flat_map(|n| event(0, n)).collect();
    for size in [1, 7, 33, 50, 1000] {
        let mut coded = Vec::new();
        for (number, chunk) in events.chunks(size).enumerate() {
            let extension = if number % 2 == 0 { ";a=b" } else { "" };
            coded.extend_from_slice(format!("{:04X}{extension}\r\n", chunk.len()).as_bytes());
            coded.extend_from_slice(chunk);
            coded.extend_from_slice(b"\r\n");
        }
        coded.extend_from_slice(b"0\r\nx: y\r\n\r\n");
        for cut in 0..coded.len() {
            let (before, after) = coded.split_at(cut);
            let body = Body::Chunked(Chunk::Size(0));
            assert_eq!(data(body, &[before, after]), (events.clone(), Some(true)), "{size} {cut}");
        }
    }
}

#[test]
fn bytes_that_are_no_chunks_are_refused() {
    let chunked = || Body::Chunked(Chunk::Size(0));
    assert_eq!(data(chunked(), &[b"3\r\nabcd"]).1, None);
    assert_eq!(data(chunked(), &[b"x\r\n"]).1, None);
    assert_eq!(data(chunked(), &[b"11111111111111111\r\n"]).1, None);
    assert_eq!(data(Body::Length(3), &[b"a", b"bcd"]), (b"abc".to_vec(), Some(true)));
    assert_eq!(data(Body::UntilClose, &[b"a", b"bcd"]), (b"abcd".to_vec(), Some(false)));
}

#[test]
fn a_head_says_how_its_body_ends_and_whether_the_connection_does() {
    let parse =
        |text: &str| Head::parse(text.as_bytes()).unwrap().map(|head| (head.status, head.body, head.closes));
    assert_eq!(parse("HTTP/1.1 200 OK\r\ncontent-le"), None);
    assert_eq!(
        parse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Some((200, Body::Chunked(Chunk::Size(0)), false))
    );
    assert_eq!(
        parse("HTTP/1.1 503 x\r\nContent-Length: 12\r\nConnection: close\r\n\r\nx"),
        Some((503, Body::Length(12), true))
    );
    assert_eq!(parse("HTTP/1.1 204 x\r\n\r\n"), Some((204, Body::Length(0), false)));
    assert_eq!(parse("HTTP/1.1 200 x\r\n\r\n"), Some((200, Body::UntilClose, true)));
    assert_eq!(parse("HTTP/1.0 200 x\r\ncontent-length: 1\r\n\r\n"), Some((200, Body::Length(1), true)));
    assert!(Head::parse(b"SSH-2.0\r\n").is_err());
}

/// A frame of HTTP/2 on stream 3, the second of a connection.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 3], payload].concat()
}

/// What is said to the second subscriber of a connection, and what is answered.
#[derive(Default, PartialEq, Eq, Debug)]
struct Heard {
    heads: Vec<u16>,
    data: Vec<u8>,
    ends: usize,
    out: Vec<u8>,
}

fn http2(pieces: &[&[u8]]) -> Result<Heard, Broken> {
    let mut http2 = Http2::of_streams(2);
    let Heard { mut heads, mut data, mut ends, mut out } = Heard::default();
    for piece in pieces {
        http2.take(piece, &mut out, |said| match said {
            Said::Head(1, status) => heads.push(status),
            Said::Data(1, piece) => data.extend_from_slice(piece),
            Said::End(1) => ends += 1,
            other => panic!("{other:?}"),
        })?;
    }
    Ok(Heard { heads, data, ends, out })
}

#[test]
fn data_frames_cut_anywhere_are_the_same_data() {
    let events: Vec<u8> = (0..2).flat_map(|n| event(0, n)).collect();
    for size in [1, 40, 1000] {
        let mut sent = [frame(4, 0, &[]), frame(1, 4, &[0x88]), frame(6, 0, b"12345678")].concat();
        for (number, piece) in events.chunks(size).enumerate() {
            // Every other one is padded.
            sent.extend(match number % 2 {
                0 => frame(0, 0, piece),
                _ => frame(0, 8, &[&[5], piece, &[0; 5]].concat()),
            });
        }
        sent.extend(frame(0, 1, &[]));
        let whole = http2(&[&sent]).unwrap();
        assert_eq!((&whole.heads[..], &whole.data, whole.ends), (&[200][..], &events, 1), "{size}");
        // SETTINGS and PING are acknowledged.
        let want = [&[0, 0, 0, 4, 1, 0, 0, 0, 0][..], &[0, 0, 8, 6, 1, 0, 0, 0, 0], b"12345678"].concat();
        assert_eq!(whole.out, want);
        for cut in 0..sent.len() {
            let (before, after) = sent.split_at(cut);
            assert_eq!(http2(&[before, after]).as_ref(), Ok(&whole), "{size} {cut}");
        }
    }
}

#[test]
fn the_status_of_a_head_is_read_however_it_is_written() {
    let status = |block: &[u8]| http2(&[&frame(1, 4, block)]).unwrap().heads[0];
    assert_eq!(status(&[0x88]), 200);
    assert_eq!(status(&[0x20, 0x8d, 0x88]), 404);
    assert_eq!(status(b"\x48\x03503"), 503);
    assert_eq!(status(b"\x08\x03403\x88"), 403);
    // By Huffman's code: 302, of RFC 7541, "Examples", and 429.
    assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), 302);
    assert_eq!(status(&[0x48, 0x83, 0x68, 0x4f, 0xff]), 429);
    assert_eq!(status(&[0x00]), 0);
}

#[test]
fn frames_that_nobody_may_send_end_the_connection() {
    assert_eq!(http2(&[&[0xff; 9]]), Err(Broken));
    assert_eq!(http2(&[&frame(0, 8, &[])]), Err(Broken));
}

#[test]
fn the_cursor_of_a_page_is_its_last_however_the_page_was_cut() {
    let page = br#"{"events":[{"id":"1","data":{"cursor":"no"}}],"cursor":"5f2-1a","more":false}"#;
    for cut in 0..page.len() {
        let mut pages = Pages::of_requests(vec!["GET ".to_owned()], 2);
        let (before, after) = page.split_at(cut);
        for piece in [&[b'x'; 500][..], before, after] {
            pages.take(1, piece);
        }
        assert_eq!(pages.next(1).as_deref(), Some(&b"GET 5f2-1a\r\n\r\n"[..]), "{cut}");
        assert_eq!(pages.next(1), None);
    }
}

/// The body of one request with `events` events, of which the first has this number.
fn body(template: &str, keys: u32, events: u32, first: u64) -> String {
    let plan = PublishPlan {
        rate: None,
        connections: 1,
        paths: vec!["/t".to_owned()],
        batch: events,
        template: template.to_owned(),
        keys,
        content_type: "x/y".to_owned(),
        pipeline: 1,
        headers: Vec::new(),
        method: "POST".to_owned(),
        size: 34,
        events: None,
        stamp: StampTime::Sent,
        duration: Duration::ZERO,
    };
    let target =
        Target { address: SocketAddr::from(([127, 0, 0, 1], 1)), host: "h".to_owned(), base: String::new() };
    let mut out = b"something before\n".to_vec();
    let stamps = (0..events).map(|sequence| stamp(0, sequence).text());
    Form::new(&plan, &target, events).write(&mut out, "POST /t", first, stamps);
    let text = String::from_utf8(out).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.ends_with(&format!("content-length: {}", body.len())), "{text}");
    let shorter = |body: String, sequence| {
        let text = stamp(0, sequence).text();
        body.replace(str::from_utf8(&text).unwrap(), &format!("<{sequence}>"))
    };
    (0..events).fold(body.to_owned(), shorter)
}

#[test]
fn a_number_in_a_body_is_that_of_its_event_and_begins_anew() {
    assert_eq!(body(r#"{"a":"{event}"}"#, 5, 1, 3), r#"{"a":"T<0>x"}"#);
    assert_eq!(body("{n}={event}/{n}", 8, 1, 13), "5=T<0>x/5");
    assert_eq!(body("{n} {event}", 11, 3, 108), "09 T<0>x\n10 T<1>x\n00 T<2>x\n");
}

#[test]
fn what_stands_behind_a_body_is_left() {
    let mut body = Body::Chunked(Chunk::Size(0));
    let mut rest = &b"1\r\na\r\n0\r\nx: y\r\n\r\nHTTP"[..];
    assert_eq!(body.next(&mut rest), Piece::Data(b"a"));
    assert_eq!((body.next(&mut rest), rest), (Piece::End, &b"HTTP"[..]));
}
