//! Each rule finds what it is for, and lets the rest be.

use super::{File, architecture, each_file, vectors};

fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), bytes: text.as_bytes().to_vec() }
}

#[track_caller]
fn check(path: &str, text: &str, want: &[&str]) {
    let mut findings = Vec::new();
    each_file(&file(path, text), &mut findings);
    assert_eq!(findings.len(), want.len(), "{findings:?}");
    for (finding, want) in findings.iter().zip(want) {
        assert!(finding.contains(want), "{finding} does not say {want}");
    }
}

#[test]
fn a_module_says_what_it_owns() {
    check("a.rs", "//! What it owns.\n", &[]);
    check("a.rs", "use std::fs;\n", &["`//!`"]);
    check("a.md", "use std::fs;\n", &[]);
}

#[test]
fn what_is_left_to_do_has_the_number_of_its_issue() {
    check("a.md", "TODO(#12): this\nTODO #3 that\n", &[]);
    check("a.md", "\nTODO: this\n", &["a.md:2"]);
    check("a.md", "TODO(#12) and TODO\n", &["a.md:1"]);
    check("a.md", "FIXME\n", &["FIXME"]);
}

#[test]
fn no_path_of_one_machine_and_no_large_file() {
    check("a.md", "see /work/somewhere\n", &["a path of one machine"]);
    check("a.md", "framework/here\n", &[]);
    check("a.bin", &"x".repeat(512 * 1024 + 1), &["bytes are more"]);
}

#[test]
fn architecture_names_every_crate_and_nothing_that_is_not_there() {
    let check = |text: &str, want: usize| {
        let mut findings = Vec::new();
        architecture(&[file("ARCHITECTURE.md", text), file("crates/riacho/Cargo.toml", "")], &mut findings);
        assert_eq!(findings.len(), want, "{findings:?}");
    };
    check("`riacho` in `crates/riacho/src/lib.rs`", 0);
    check("nothing", 1);
    check("`riacho` and `crates/nowhere.rs`", 1);
}

#[test]
fn vectors_are_read_by_a_test() {
    let check = |reader: &str, want: usize| {
        let mut findings = Vec::new();
        vectors(&[file("spec/vectors/sse.json", "[]"), file("tests/it/vectors.rs", reader)], &mut findings);
        assert_eq!(findings.len(), want, "{findings:?}");
    };
    check("include_str!(\"sse.json\")", 0);
    check("include_str!(\"other.json\")", 1);
}
