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

/// The programs of one version.
pub(crate) struct Database {
    programs: PathBuf,
}

impl Database {
    /// The newest one that Debian installed.
    pub(crate) fn find() -> Option<Self> {
        let mut found = installed(Path::new("/usr/lib/postgresql"));
        found.sort();
        Some(Self { programs: found.pop()? })
    }

    /// That one and all that `cargo xtask setup` put under `target/postgres`.
    pub(crate) fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target = root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
        let mut programs = installed(&target.join("postgres"));
        programs.sort();
        Self::find().into_iter().chain(programs.into_iter().map(|programs| Self { programs })).collect()
    }

    /// Its major version, e.g. `15`.
    pub(crate) fn major(&self) -> String {
        let directory = self.programs.parent().and_then(Path::file_name);
        directory.unwrap().to_str().unwrap().to_owned()
    }

    /// Runs `script`, in which `:directory` is a directory that holds `files`, and gives back what is in it.
    pub(crate) fn run(&self, settings: &[&str], files: &[(&str, String)], script: &str) -> Files {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        for (name, content) in files {
            fs::write(at.join(name), content).unwrap();
        }
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
        let locale =
            ["--no-sync", "--encoding=UTF8", "--lc-collate=C", "--lc-ctype=C.UTF-8", "--username=postgres"];
        run(program("initdb").arg("--pgdata").arg(&data).args(locale), "");
        let script = script.replace(":directory", at.to_str().unwrap());
        let mut postgres = program("postgres");
        postgres.args(["--single", "-j", "-c", "fsync=off"]);
        for setting in settings {
            postgres.args(["-c", setting]);
        }
        let said = run(postgres.arg("-D").arg(&data).arg("postgres"), &script);
        Files { directory, said }
    }
}

/// What a script left behind.
pub(crate) struct Files {
    directory: tempfile::TempDir,
    said: String,
}

impl Files {
    /// A file that it wrote. A command that failed does not end a script, so it may have written none.
    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name))
            .unwrap_or_else(|err| panic!("{err}\n{}", self.said))
    }

    /// Fails if a command failed.
    #[track_caller]
    pub(crate) fn no_errors(&self) {
        assert!(!self.said.contains("ERROR:"), "{}", self.said);
    }
}

/// The directories of programs below `versions`.
fn installed(versions: &Path) -> Vec<PathBuf> {
    let Ok(versions) = fs::read_dir(versions) else { return Vec::new() };
    versions
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
        .collect()
}

/// One line, as COPY reads it.
pub(crate) fn copy_line(columns: &[&str]) -> String {
    let escape = |text: &&str| {
        text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t")
    };
    columns.iter().map(escape).collect::<Vec<_>>().join("\t") + "\n"
}

/// The columns of a line that COPY wrote; none is NULL.
pub(crate) fn copied(line: &str) -> Vec<Option<String>> {
    line.split('\t').map(|text| (text != "\\N").then(|| unescaped(text))).collect()
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match (c, c == '\\') {
            (c, false) => c,
            _ => match chars.next().unwrap() {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'v' => '\u{b}',
                other => other,
            },
        });
    }
    out
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
