//! The parts of the commands that need no process and no server.

use super::{
    batch::{Batch, Form, Former},
    client::{Problem, Server, backoff},
    lines::Lines,
    progress::Pace,
    resume::{Resume, Step},
};
use proptest::prelude::*;
use riacho_core::name::StreamName;
use std::time::Duration;

/// All lines of `pieces`, taken as early as possible.
fn lines_of(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut lines = Lines::default();
    let mut found = Vec::new();
    for piece in pieces {
        lines.push(piece);
        while let Some(line) = lines.next() {
            found.push(line.to_vec());
        }
    }
    lines.end();
    while let Some(line) = lines.next() {
        found.push(line.to_vec());
    }
    assert_eq!(lines.pending(), 0, "nothing is left after the end");
    found
}

#[test]
fn lines_end_at_lf_crlf_and_the_end_of_input() {
    assert_eq!(lines_of(&[b"a\nb\r\n\nc"]), [b"a".to_vec(), b"b".to_vec(), b"".to_vec(), b"c".to_vec()]);
    assert_eq!(lines_of(&[b"a\n"]), [b"a".to_vec()]);
    assert_eq!(lines_of(&[b"a\r", b"\nb\rc\n"]), [b"a".to_vec(), b"b\rc".to_vec()]);
    assert_eq!(lines_of(&[]), Vec::<Vec<u8>>::new());
}

proptest! {
    #[test]
    fn lines_do_not_depend_on_where_the_pieces_were_cut(pieces in prop::collection::vec("[ab\r\n]{0,6}", 0..8)) {
        let whole = pieces.concat();
        let cut: Vec<&[u8]> = pieces.iter().map(String::as_bytes).collect();
        prop_assert_eq!(lines_of(&cut), lines_of(&[whole.as_bytes()]));
    }
}

/// The bodies of the batches that `input` becomes, all of it being at hand.
fn bodies(form: Form, input: &str) -> Result<Vec<String>, String> {
    let mut former = Former::new(form);
    former.push(input.as_bytes());
    former.end();
    let mut bodies = Vec::new();
    loop {
        let mut batch = Batch::default();
        former.fill(&mut batch)?;
        if batch.is_empty() {
            return Ok(bodies);
        }
        bodies.push(batch.body());
    }
}

#[track_caller]
fn check_body(form: Form, input: &str, want: &str) {
    assert_eq!(bodies(form, input), Ok(vec![want.to_owned()]), "{input}");
}

#[track_caller]
fn check_refused(form: Form, input: &str, want: &str) {
    let reason = bodies(form, input).expect_err("must be refused");
    assert!(reason.contains(want), "{reason}");
}

#[test]
fn each_line_of_text_is_an_event() {
    let text = || Form::Text { event_type: None };
    check_body(
        text(),
        "a \"b\"\n\nc\u{2028}\tx",
        "{\"data\":\"a \\\"b\\\"\"}\n{\"data\":\"\"}\n{\"data\":\"c\u{2028}\\tx\"}\n",
    );
    check_body(Form::Text { event_type: Some("hit".into()) }, "a", "{\"data\":\"a\",\"type\":\"hit\"}\n");
}

#[test]
fn each_line_of_json_is_an_event_as_it_was_written() {
    let json = || Form::Json { event_type: None };
    check_body(json(), "{\"a\": 1.50}\n\n 7 \n", "{\"data\":{\"a\": 1.50}}\n{\"data\":7}\n");
    check_refused(json(), "1\n{\n", "line 2 is not JSON");
}

#[test]
fn what_follow_prints_can_be_published() {
    let several = || Form::Ndjson { streams: true };
    let line = r#"{"id":"5-1","stream":"a","data":"x","time":"2026-11-21T10:54:00.250Z"}"#;
    let heartbeat = r#"{"id":"5-2","type":"riacho.heartbeat"}"#;
    check_body(several(), &format!("{line}\n{heartbeat}\n\n"), &format!("{line}\n"));
    check_refused(several(), "{\"data\":1}", "line 1 has no \"stream\"");
    check_refused(several(), "{\"stream\":\"a\"}", "line 1 has no \"data\"");
    check_refused(several(), "\n[]", "line 2 is no event");
    check_body(Form::Ndjson { streams: false }, "{\"data\":1}", "{\"data\":1}\n");
}

#[test]
fn bytes_that_are_not_utf8_are_replaced_and_counted() {
    let mut former = Former::new(Form::Text { event_type: None });
    let mut batch = Batch::default();
    former.push(b"a\xff\nb\n\xc3\x28\n");
    former.fill(&mut batch).unwrap();
    assert_eq!(former.replaced, 2);
    assert_eq!(batch.body(), "{\"data\":\"a\u{fffd}\"}\n{\"data\":\"b\"}\n{\"data\":\"\u{fffd}(\"}\n");
}

#[test]
fn a_batch_takes_what_is_at_hand_and_no_more_than_its_bound() {
    let bodies = bodies(Form::Text { event_type: None }, &"x\n".repeat(2500)).unwrap();
    let counts: Vec<_> = bodies.iter().map(|body| body.lines().count()).collect();
    assert_eq!(counts, [1000, 1000, 500]);
}

#[test]
fn a_line_without_its_end_waits() {
    let mut former = Former::new(Form::Text { event_type: None });
    let mut batch = Batch::default();
    former.push(b"a\nb");
    former.fill(&mut batch).unwrap();
    assert_eq!((batch.body().as_str(), batch.first, batch.last), ("{\"data\":\"a\"}\n", 1, 1));
}

#[test]
fn an_endless_line_is_refused() {
    let mut former = Former::new(Form::Text { event_type: None });
    let mut batch = Batch::default();
    former.push(b"a\n");
    former.push(&vec![b'x'; (64 << 20) + 1]);
    let reason = former.fill(&mut batch).unwrap_err();
    assert_eq!((reason.as_str(), batch.last), ("line 2 is longer than 64 MiB", 1));
}

#[test]
fn halves_of_a_batch_are_the_batch() {
    let mut former = Former::new(Form::Text { event_type: None });
    let mut batch = Batch::default();
    former.push(b"a\nb\nc\n");
    former.fill(&mut batch).unwrap();
    let (first, rest) = batch.halves().unwrap();
    assert_eq!(first.body() + &rest.body(), "{\"data\":\"a\"}\n{\"data\":\"b\"}\n{\"data\":\"c\"}\n");
    assert_eq!(first.halves(), None);
}

#[test]
fn backoff_doubles_up_to_a_bound_and_is_jittered_from_zero() {
    assert_eq!(backoff(0, 0), Duration::ZERO);
    for (attempt, bound) in [(0, 250), (1, 500), (3, 2_000), (6, 10_000), (u32::MAX, 10_000)] {
        assert_eq!(backoff(attempt, bound), Duration::from_millis(bound), "attempt {attempt}");
        assert!(backoff(attempt, u64::MAX) <= Duration::from_millis(bound));
        assert_eq!(backoff(attempt, bound + 1), Duration::ZERO, "attempt {attempt}");
    }
}

#[test]
fn a_retry_is_what_the_problem_says_or_the_status_means() {
    let said = |retry: &str| Problem::parse(format!("{{\"title\":\"x\",\"retry\":{retry}}}").as_bytes());
    assert!(!said("false").may_retry(503));
    assert!(said("true").may_retry(409));
    for (status, retry) in
        [(400, false), (404, false), (413, false), (422, false), (408, true), (429, true), (502, true)]
    {
        assert_eq!(Problem::parse(b"<html>").may_retry(status), retry, "{status}");
    }
    assert_eq!(Problem::parse(br#"{"title":"a","detail":"b"}"#).text(400), "a: b");
}

#[track_caller]
fn check_url(server: &str, name: &str, want: Option<&str>) {
    let name = StreamName::parse(name).unwrap();
    let url = Server::parse(server).unwrap().streams(Some(&name));
    assert_eq!(url.as_ref().map(reqwest::Url::as_str), want);
}

#[test]
fn names_are_percent_encoded_in_paths_but_for_the_separator() {
    check_url("http://h:1", "chat/lobby", Some("http://h:1/streams/chat/lobby"));
    check_url("http://h:1/", "a b?c#d%e+ä", Some("http://h:1/streams/a%20b%3Fc%23d%25e%2B%C3%A4"));
    check_url("h:1/under/", "a\\b//c/", Some("http://h:1/under/streams/a%5Cb//c/"));
    check_url("http://h", "a/../b", None);
    check_url("http://h", "a/..b", Some("http://h/streams/a/..b"));
}

#[test]
fn a_server_address_without_tls_is_refused_with_a_reason() {
    assert!(Server::parse("https://h").unwrap_err().contains("no TLS"));
    for bad in ["", "ftp://h", "http://", "http://h?x=1"] {
        assert!(Server::parse(bad).unwrap_err().starts_with("expected a URL"), "{bad}");
    }
}

#[track_caller]
fn check_steps(json: bool, script: &[(&str, Step<'_>, Option<&str>)]) {
    let mut resume = Resume::default();
    for (line, want, cursor) in script {
        assert_eq!(&resume.take(line.as_bytes(), json).unwrap(), want, "{line}");
        assert_eq!(resume.cursor(), *cursor, "{line}");
    }
}

#[test]
fn follow_prints_data_and_remembers_every_id() {
    check_steps(
        false,
        &[
            (r#"{"type":"riacho.heartbeat"}"#, Step::Nothing, None),
            (
                r#"{"id":"5-1","stream":"a","data":"x\ny","time":"t"}"#,
                Step::Print("x\ny".into()),
                Some("5-1"),
            ),
            (
                r#"{"id":"5-2","stream":"a","type":"t","data":{"n": 1.0},"time":"t"}"#,
                Step::Print(r#"{"n": 1.0}"#.into()),
                Some("5-2"),
            ),
            ("", Step::Nothing, Some("5-2")),
            (r#"{"id":"5-9","type":"riacho.heartbeat"}"#, Step::Nothing, Some("5-9")),
            (r#"{"type":"riacho.heartbeat"}"#, Step::Nothing, Some("5-9")),
        ],
    );
}

#[test]
fn follow_prints_json_lines_as_they_came_and_no_control_lines() {
    let event = r#"{"id":"5-1", "stream":"a","data":"x","time":"t"}"#;
    check_steps(
        true,
        &[
            (event, Step::Print(event.into()), Some("5-1")),
            (r#"{"id":"5-2","type":"riacho.heartbeat"}"#, Step::Nothing, Some("5-2")),
        ],
    );
}

#[test]
fn follow_says_what_the_server_says_about_the_subscription() {
    check_steps(
        false,
        &[
            (
                r#"{"type":"riacho.reset","data":{"reason":"trimmed","streams":["a","b"],"cursor":"6-0"}}"#,
                Step::Say("events of a, b may be missing here (trimmed); what is still kept follows".into()),
                Some("6-0"),
            ),
            (
                r#"{"id":"6-4","type":"riacho.goodbye"}"#,
                Step::Goodbye("the server ends the connection; following again shortly".into()),
                Some("6-4"),
            ),
            (r#"{"type":"riacho.new"}"#, Step::Say("the server says riacho.new".into()), Some("6-4")),
        ],
    );
}

#[test]
fn a_line_that_is_no_event_leaves_the_cursor_alone() {
    let mut resume = Resume::default();
    resume.take(br#"{"id":"5-1","data":"x"}"#, false).unwrap();
    for bad in [&b"<html>"[..], b"\xff", br#"{"id":"5-2"}"#, br#"{"id":"5-2","data":"x"#] {
        assert!(resume.take(bad, false).is_err());
        assert_eq!(resume.cursor(), Some("5-1"));
    }
}

#[test]
fn progress_is_shown_at_once_on_a_terminal_and_elsewhere_only_if_it_takes_long() {
    let due = |terminal: bool, at: &[u64]| {
        let mut pace = Pace::default();
        at.iter().map(|ms| pace.due(Duration::from_millis(*ms), terminal)).collect::<Vec<_>>()
    };
    assert_eq!(due(true, &[0, 100, 200, 399, 400]), [true, false, true, false, true]);
    assert_eq!(due(false, &[0, 9_999, 10_000, 19_999, 20_000]), [false, false, true, false, true]);
}
