//! A PostgreSQL database in a temporary directory, for one script.
//!
//! It runs in single-user mode: no server, no socket, and nothing that outlives the test. Data goes in and out by COPY
//! from and to files, so a run is one process whatever the number of questions.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What PostgreSQL says of an expression: a truth for each row, or the SQLSTATE of its refusal.
pub(crate) type Answer = Result<Vec<Option<bool>>, String>;

/// Where the server's programs are.
pub(crate) struct Database {
    programs: PathBuf,
}

impl Database {
    /// The newest installed one.
    pub(crate) fn find() -> Option<Self> {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
        let mut found: Vec<PathBuf> = versions
            .filter_map(|version| Some(version.ok()?.path().join("bin")))
            .filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
            .collect();
        found.sort();
        Some(Self { programs: found.pop()? })
    }

    /// Asks for the truth of each text over all rows.
    pub(crate) fn ask<'a>(&self, rows: &[String], texts: impl Iterator<Item = &'a str>) -> Vec<Answer> {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        copy_file(&at.join("rows"), rows.iter().map(String::as_str));
        copy_file(&at.join("texts"), texts);
        let data = at.join("data");
        // PostgreSQL refuses to run as root.
        let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
        if root {
            run(Command::new("chown").args(["-R", "postgres:"]).arg(at), "");
        }
        let program = |name: &str| {
            let program = self.programs.join(name);
            let mut command = if root {
                let mut command = Command::new("setpriv");
                command.args([
                    "--reuid=postgres",
                    "--regid=postgres",
                    "--clear-groups",
                    "--pdeathsig=KILL",
                    "--",
                ]);
                command.arg(program);
                command
            } else {
                Command::new(program)
            };
            command.current_dir(at);
            command
        };
        // Texts compare by bytes; small and capital letters are those of Unicode.
        let settings =
            ["--no-sync", "--encoding=UTF8", "--lc-collate=C", "--lc-ctype=C.UTF-8", "--username=postgres"];
        run(program("initdb").arg("--pgdata").arg(&data).args(settings), "");
        let script = include_str!("script.sql").replace(":directory", at.to_str().unwrap());
        let mut postgres = program("postgres");
        postgres.args(["--single", "-j", "-c", "fsync=off", "-D"]);
        let said = run(postgres.arg(&data).arg("postgres"), &script);
        // A command that failed does not end it.
        let answers = fs::read_to_string(at.join("answers")).unwrap_or_else(|err| panic!("{err}\n{said}"));
        answers.lines().map(|line| answer(line, rows.len())).collect()
    }
}

fn answer(line: &str, rows: usize) -> Answer {
    if let Some(state) = line.strip_prefix('!') {
        return Err(state.to_owned());
    }
    assert_eq!(line.len(), rows, "{line}");
    Ok(line.chars().map(|c| (c != 'n').then_some(c == 't')).collect())
}

/// One line for each text, as COPY reads them.
fn copy_file<'a>(path: &Path, texts: impl Iterator<Item = &'a str>) {
    let mut file = String::new();
    for (id, text) in texts.enumerate() {
        let text = text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
        file.push_str(&format!("{id}\t{text}\n"));
    }
    fs::write(path, file).unwrap();
}

#[track_caller]
fn run(command: &mut Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|err| panic!("{command:?}: {err}"));
    // The script is shorter than a pipe, and the program reads all of it before it says much.
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    said
}
