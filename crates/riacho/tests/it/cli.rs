//! The binary as it is called.

use std::{
    path::Path,
    process::{Command, Output},
};

fn riacho(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_riacho"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RIACHO_") {
            command.env_remove(name);
        }
    }
    command.args(args).envs(env.iter().copied()).current_dir(dir).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn check(args: &[&str], code: i32, stdout: &str, stderr: &str) {
    let dir = tempfile::tempdir().unwrap();
    let output = riacho(dir.path(), args, &[]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    assert!(out.contains(stdout) && (out.is_empty() || !stdout.is_empty()), "stdout: {out}");
    assert!(err.contains(stderr) && (err.is_empty() || !stderr.is_empty()), "stderr: {err}");
}

#[test]
fn data_is_on_stdout_and_talk_on_stderr_with_the_right_exit_code() {
    check(&["version"], 0, concat!("riacho ", env!("CARGO_PKG_VERSION"), "\n"), "");
    check(&["--help"], 0, "--listen <ADDR>", "");
    check(&["completions", "bash"], 0, "--listen", "");
    check(&["check"], 0, "listen = \"127.0.0.1:4700\"", "");
    check(&["--lisen", "x"], 2, "", "'--listen'");
    check(
        &["serve", "--listen", "x"],
        2,
        "",
        "riacho: --listen: expected an address like 127.0.0.1:4700, got `x`\n",
    );
    check(&["--listen", "0.0.0.0:0"], 2, "", "no authentication exists yet");
    check(&["--config", "absent.toml"], 2, "", "riacho: absent.toml: cannot read the configuration");
    check(&["publish", "a", "b", "--lines"], 2, "", "cannot be used with");
    check(&["publish", "a*", "b"], 2, "", "riacho: STREAM: the stream name holds `*`");
    check(
        &["publish", "a", "b", "--type", "riacho.x"],
        2,
        "",
        "riacho: --type: the event type begins with `riacho.`",
    );
    check(&["publish", "a/../b", "c"], 2, "", "cannot stand in a URL");
    check(&["follow", "a", "--server", "https://x"], 2, "", "riacho: --server: this build speaks no TLS");
    check(&["follow"], 2, "", "STREAM");
    check(&["follow", "a", "--count", "0"], 0, "", "");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    check(
        &["publish", "a", "b", "--server", "http://127.0.0.1:1", "--retry-for", "0s"],
        1,
        "",
        "riacho: cannot reach http://127.0.0.1:1/streams/a: Connection refused (os error 111); gave up after 0ms\n",
    );
}

#[test]
fn the_file_of_the_working_directory_is_read_and_another_one_where_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("riacho.toml"), "retry = \"3s\"\n").unwrap();
    std::fs::write(dir.path().join("other.toml"), "retry = \"4s\"\n").unwrap();
    for (args, env, origin) in [
        (&["check"][..], &[][..], "riacho.toml:1"),
        (&["check"], &[("RIACHO_CONFIG", "other.toml")], "other.toml:1"),
        (&["check", "--config", "riacho.toml"], &[("RIACHO_CONFIG", "other.toml")], "riacho.toml:1"),
    ] {
        let output = riacho(dir.path(), args, env);
        assert!(text(&output.stdout).contains(&format!("# {origin}\n")), "{}", text(&output.stdout));
    }
}

#[test]
fn check_tells_programs_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let output = riacho(dir.path(), &["check", "--json"], &[("RIACHO_LISTEN", "8080")]);
    assert_eq!(output.status.code(), Some(2));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["ok"], false);
    assert_eq!(answer["problems"][0]["at"], "RIACHO_LISTEN");
    let output = riacho(dir.path(), &["check", "--json"], &[]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["ok"], output.status.code()), (&true.into(), Some(0)));
    let find = |name: &str| {
        answer["settings"].as_array().unwrap().iter().find(|s| s["name"] == name).unwrap().clone()
    };
    assert_eq!(find("limits.event_bytes_max")["value"], 1 << 20);
    assert_eq!(find("heartbeat")["value"], "15s");
    assert_eq!(find("heartbeat")["origin"], "default");
}
