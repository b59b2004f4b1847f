//! Medians, tables, the file of results, and that bench/README.md is made from the newest of them.

use super::{
    counts::{self, Verdict},
    directory_of_results,
    options::{Act, Options, Size},
    peer::Peer,
    report::{self, unit::Unit},
    results::{self, CaseResults, Figures, Results, RowResults, flatten, median},
    row::thousands,
    rows,
};
use crate::command::root;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

#[test]
fn median_is_the_middle_or_between_the_two_in_the_middle() {
    assert_eq!(median(&mut []), None);
    assert_eq!(median(&mut [7.0]), Some(7.0));
    assert_eq!(median(&mut [9.0, 1.0, 5.0]), Some(5.0));
    assert_eq!(median(&mut [9.0, 1.0, 5.0, 6.0]), Some(5.5));
}

#[test]
fn medians_are_taken_over_the_runs_that_have_the_figure() {
    let run = |figures: &[(&str, f64)]| -> Figures {
        figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    };
    let runs = [run(&[("a", 1.0), ("b", 5.0)]), run(&[("a", 3.0)]), run(&[("a", 2.0)])];
    assert_eq!(results::medians(&runs), run(&[("a", 2.0), ("b", 5.0)]));
}

#[test]
fn figures_of_the_client_are_named_by_their_path() {
    let json = serde_json::json!({
        "subscribers": 1000,
        "transport": "sse",
        "window": { "seconds": 5.123_456_789, "client_is_bottleneck": true, "refused": { "503": 2 } },
    });
    let figures = flatten(&json);
    let expected = [
        ("subscribers", 1000.0),
        ("window.client_is_bottleneck", 1.0),
        ("window.refused.503", 2.0),
        ("window.seconds", 5.12346),
    ];
    assert_eq!(figures, expected.map(|(name, value)| (name.to_owned(), value)).into());
}

#[test]
fn stamps_are_found_in_what_test_decoding_prints() {
    let line = b"table public.prices: UPDATE: id[integer]:7 v[text]:'T00000000000003e80000000000000002'\n";
    assert_eq!(rows::sources::made(line), Some(1000));
    assert_eq!(rows::sources::made(b"COMMIT 735\n"), None);
    assert_eq!(rows::sources::made(b"table public.prices: INSERT: id[integer]:7 v[text]:''\n"), None);
    assert_eq!(rows::sources::made(b"v[text]:'T0000"), None);
}

#[test]
fn results_are_read_as_they_were_written() {
    let results = sample();
    let path = std::env::temp_dir().join(format!("riacho-bench-results-{}.json", std::process::id()));
    results.write(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let read = Results::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(&results).unwrap());
    assert!(text.lines().all(|line| line.len() < 2_000), "a line per run:\n{text}");
}

#[test]
fn numbers_have_three_digits_that_matter() {
    let cases = [
        (Unit::Micros, 2.784, "2.78 µs"),
        (Unit::Micros, 17.61, "17.6 µs"),
        (Unit::Latency, 12_340.0, "12.3 ms"),
        (Unit::Latency, 5_432_100.0, "5,430 ms"),
        (Unit::Bytes, 77.4, "77.4 B"),
        (Unit::Bytes, 18_123.0, "18.1 KB"),
        (Unit::Count, 9_947_213.0, "9,950,000"),
        (Unit::Count, -0.0, "0"),
        (Unit::Count, 100.0, "100"),
        (Unit::Ratio, 0.4567, "0.46x"),
        (Unit::Seconds, 2.0, "2 s"),
        (Unit::Share, 0.0042, "0.42 %"),
        (Unit::Share, 1.0, "100 %"),
    ];
    for (unit, value, text) in cases {
        assert_eq!(unit.text(value), text);
    }
    assert_eq!(thousands(1_234_567), "1,234,567");
}

#[test]
fn readme_shows_a_miss_as_it_shows_a_hit() {
    let text = report::row_text(&rows::fan_out::ROW, &sample());
    assert!(
        text.contains("| 10,000 subscribers, steered: CPU against nchan      | ≤ 0.42x | 0.40x   | yes    |"),
        "{text}"
    );
    assert!(
        text.contains("| 10,000 subscribers, steered: CPU against axum `Sse` | ≤ 0.50x | 0.80x   | **no** |"),
        "{text}"
    );
    assert!(text.contains("Failed: no core: 10,000 subscribers, steered, Node `http`."), "{text}");
}

#[test]
fn readme_has_a_place_for_every_row_and_nothing_else() {
    let text = fs::read_to_string(root().join(report::README)).unwrap();
    let filled = report::filled(&text, &sample()).unwrap();
    for row in rows::ALL {
        assert!(filled.contains(&format!("<a id=\"{}\"></a>", row.name)), "{} has no anchor", row.name);
    }
    assert_eq!(report::filled(&filled, &sample()).unwrap(), filled, "filling it twice changes nothing");
}

// To make it so: cargo xtask bench --report FILE, with the newest file of bench/results.
#[test]
fn readme_and_picture_are_those_of_the_newest_results() {
    let Some(newest) = newest(&directory_of_results()) else { return };
    let results = Results::read(&newest).unwrap();
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let readme = read(report::README);
    assert!(report::filled(&readme, &results).unwrap() == readme, "bench/README.md is not of {newest:?}");
    assert!(report::picture::draw(&results) == read(report::PICTURE), "picture.svg is not of {newest:?}");
}

#[test]
fn flags_are_read_and_bad_ones_refused() {
    let options = Options::parse(&["--row", "connections", "--peers", "riacho,limit", "--quick"]).unwrap();
    assert!(options.act == Act::Measure && options.size == Size::Quick && options.repeat == 1);
    assert!(options.wants("idle") && !options.wants("fan-out"), "connections is another name of idle");
    assert!(options.takes(Peer::RiachoDurable) && options.takes(Peer::Limit) && !options.takes(Peer::Axum));
    assert!(!options.is_whole());
    assert!(Options::parse(&[]).unwrap().is_whole());
    for bad in [&["--row", "nonsense"][..], &["--peers", "riacho,nonsense"], &["--nonsense"], &["--row"]] {
        Options::parse(bad).unwrap_err();
    }
}

#[test]
fn counts_are_asked_for_and_accepted_in_words() {
    let act = |flags: &[&str]| Options::parse(flags).map(|options| options.act);
    assert_eq!(act(&["--counts"]).unwrap(), Act::Counts { accept: false });
    assert_eq!(act(&["--counts", "--accept"]).unwrap(), Act::Counts { accept: true });
    act(&["--accept"]).unwrap_err();
}

#[test]
fn count_that_grew_fails_and_one_that_shrank_does_not() {
    let counts = |pairs: &[(&str, u64)]| -> BTreeMap<_, _> {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    let accepted = counts(&[("a", 1000), ("b", 1000), ("c", 1000)]);
    let verdicts = |now: &[(&str, u64)]| {
        let lines = counts::compare(&accepted, &counts(now));
        (lines.iter().map(|line| line.verdict).collect::<Vec<_>>(), counts::judge(&lines).is_ok())
    };
    let (same, grew, shrank) = (Verdict::Same, Verdict::Grew, Verdict::Shrank);
    assert_eq!(verdicts(&[("a", 1000), ("b", 1020), ("c", 980)]), (vec![same; 3], true));
    assert_eq!(verdicts(&[("a", 1000), ("b", 1021), ("c", 500)]), (vec![same, grew, shrank], false));
    assert_eq!(verdicts(&[("a", 979), ("b", 1000), ("c", 1000)]), (vec![shrank, same, same], true));
    let other = verdicts(&[("a", 1000), ("b", 1000), ("d", 1)]);
    assert_eq!(other, (vec![same, same, Verdict::Gone, Verdict::New], false));

    let table = counts::table(&counts::compare(&accepted, &counts(&[("a", 1500), ("b", 1000)])));
    assert!(table.contains("| a        | 1,000    | 1,500 | +50.0 % | GREW |"), "{table}");
}

#[test]
fn counts_are_read_from_what_the_runner_prints() {
    let line = |name: &str, values: &str| {
        let metrics = format!(r#"{{"Dr":{{"values":{{"new":7}}}},"Ir":{{"values":{values}}}}}"#);
        let profiles = format!(r#"[{{"data":{{"total":{{"metrics":{metrics}}}}}}}]"#);
        format!(r#"{{"function_name":"{name}","id":"x","profiles":{profiles}}}"#)
    };
    let read = |text: &str| {
        let mut counts = BTreeMap::new();
        counts::parse(text, &mut counts).map(|()| counts)
    };
    let text = format!("Running\n{}\n{}\n", line("a", r#"{"new":5}"#), line("b", r#"{"new":6}"#));
    assert_eq!(read(&text).unwrap(), [("a.x".to_owned(), 5), ("b.x".to_owned(), 6)].into());
    for bad in [line("a", r#"{"new":0}"#), line("a", "{}"), text.replace(r#""b""#, r#""a""#), "{".to_owned()]
    {
        read(&bad).unwrap_err();
    }
}

#[test]
fn accepted_counts_can_be_read() {
    let accepted = counts::read().unwrap();
    assert!(!accepted.instructions.is_empty() && accepted.made_with.contains_key("rustc"));
}

#[test]
fn every_case_is_there_once() {
    for size in [Size::Quick, Size::Usual, Size::Full] {
        for row in rows::ALL {
            let mut cases: Vec<_> =
                (row.cases)(size).into_iter().map(|case| (case.workload, case.server)).collect();
            let count = cases.len();
            cases.sort();
            cases.dedup();
            assert_eq!(cases.len(), count, "{} at {size:?}", row.name);
        }
    }
}

/// The newest file of results, by its name; `None` before the first.
fn newest(directory: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "json")).max()
}

fn sample() -> Results {
    let workload = rows::fan_out::workload(10_000, true);
    let case = |peer, cpu| {
        let mut case = CaseResults::new(&workload, peer);
        case.add([(rows::fan_out::CPU.to_owned(), cpu)].into());
        case
    };
    let mut failed = CaseResults::new(&workload, Peer::Node);
    failed.failed = Some("no\ncore".to_owned());
    Results {
        date: "2026-11-21".to_owned(),
        machine: "toy".to_owned(),
        size: "usual".to_owned(),
        repeat: 1,
        facts: [("cpu".to_owned(), "a & b".to_owned())].into(),
        rows: vec![RowResults {
            row: "fan-out".to_owned(),
            cases: vec![case(Peer::Riacho, 2.0), case(Peer::Axum, 2.5), case(Peer::Nchan, 5.0), failed],
        }],
    }
}
