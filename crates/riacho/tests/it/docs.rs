//! The guides do what they say: their commands are run in order, as they stand, against real databases.
//!
//! In an indented block a line that begins with `$ ` is a command (with the lines after it, while one ends in `\`), and what
//! follows is what it prints; `…` is any text. One that ends in `&` goes on beside the others: `riacho serve`, which is waited
//! for until it is ready, or a reader. A block that begins with `data:` or `id:` is what the reader comes to say next. A block
//! that begins with `# NAME.toml` is that file, until a block of the same name takes its place. What only asks is asked again
//! until it prints what it should.

use crate::support::{
    PATIENCE, dynamodb,
    postgres::{Postgres, PostgresOptions},
};
use std::{
    fs,
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

#[tokio::test]
async fn the_guide_to_sqlite_holds() {
    Guide::new("sqlite.md", Vec::new()).follow().await;
}

#[tokio::test]
async fn the_guide_to_postgres_holds() {
    let server = Postgres::start(PostgresOptions::default()).await;
    server.psql("CREATE DATABASE shop").await;
    let admin = format!("{}/shop", server.socket_url().strip_suffix("/postgres").unwrap());
    let at = format!("127.0.0.1:{}", server.port());
    let names = vec![("$ADMIN".to_owned(), format!("'{admin}'")), ("db.example".to_owned(), at)];
    Guide::new("postgres.md", names).follow().await;
}

#[tokio::test]
async fn the_guide_to_dynamodb_holds() {
    let Some(local) = dynamodb::Local::start().await else { return };
    let mut guide = Guide::new("dynamodb.md", Vec::new());
    guide.env = dynamodb::env(&local.endpoint());
    // The first version of the tool of AWS knows no other.
    guide.env.push(("AWS_DEFAULT_REGION".to_owned(), "us-east-1".to_owned()));
    // An emulator's streams are never behind, and a guide is not read at the pace of a test.
    guide.names.push(("# settle".to_owned(), "settle".to_owned()));
    guide.follow().await;
}

/// A guide that is being followed.
struct Guide {
    name: &'static str,
    text: String,
    /// What stands in it for what is here.
    names: Vec<(String, String)>,
    /// Beside what every command has.
    env: Vec<(String, String)>,
    directory: tempfile::TempDir,
    port: u16,
    server: Option<Child>,
    reader: Option<Reader>,
}

/// A command that goes on beside the others.
struct Reader {
    child: Child,
    seen: usize,
}

/// What a block of a guide is.
enum Step {
    Command { line: String, prints: String },
    File { name: String, text: String },
    Read(String),
}

impl Guide {
    fn new(name: &'static str, mut names: Vec<(String, String)>) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        names.push(("localhost:4700".to_owned(), format!("127.0.0.1:{port}")));
        let (text, directory) = (fs::read_to_string(path).unwrap(), tempfile::tempdir().unwrap());
        Self { name, text, names, env: Vec::new(), directory, port, server: None, reader: None }
    }

    async fn follow(mut self) {
        let steps = steps(&self.text);
        assert!(steps.len() > 10, "{}: commands are found", self.name);
        for (at, step) in steps {
            let at = format!("docs/{}:{at}", self.name);
            match step {
                Step::File { name, text } => {
                    fs::write(self.directory.path().join(name), self.here(&text)).unwrap();
                }
                Step::Read(prints) => self.read(&at, &prints).await,
                Step::Command { line, prints } => match line.strip_suffix('&') {
                    Some(line) => self.begin(&at, line.trim_end(), &prints).await,
                    None => self.run(&at, &line, &prints).await,
                },
            }
        }
    }

    async fn run(&self, at: &str, line: &str, prints: &str) {
        let asks = ["curl -s ", "riacho source status", "psql $ADMIN -Atc \"SELECT"];
        let asks = asks.iter().any(|asks| line.starts_with(asks)) && !line.contains(" -X ");
        let mut printed = String::new();
        let tries = if asks { TRIES } else { 1 };
        for _ in 0..tries {
            let output = self.shell(line).stdin(Stdio::null()).output().unwrap();
            printed = self.there(&String::from_utf8_lossy(&output.stdout));
            if is(prints, &printed) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("{at}: `{line}` should print\n{prints}\nand printed\n{printed}\n{}", self.talk());
    }

    async fn begin(&mut self, at: &str, line: &str, prints: &str) {
        let serves = line.starts_with("riacho serve");
        if serves {
            // As a person with Ctrl-C, who has one terminal for it.
            end(self.server.take());
        }
        let out = fs::File::create(self.directory.path().join(if serves { "talk" } else { "read" })).unwrap();
        let mut command = self.shell(&format!("exec {line}"));
        let child =
            command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
        if !serves {
            end(self.reader.replace(Reader { child, seen: 0 }).map(|reader| reader.child));
            return self.read(at, prints).await;
        }
        self.server = Some(child);
        let ready = format!("curl -sf 127.0.0.1:{}/readyz", self.port);
        for _ in 0..TRIES {
            if self.shell(&ready).output().unwrap().status.success() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("{at}: the server is not ready\n{}", self.talk());
    }

    async fn read(&mut self, at: &str, prints: &str) {
        let path = self.directory.path().join("read");
        let mut rest = String::new();
        for _ in 0..TRIES {
            let text = fs::read_to_string(&path).unwrap();
            let reader = self.reader.as_mut().unwrap_or_else(|| panic!("{at}: nobody reads"));
            rest = text[reader.seen..].to_owned();
            if let Some(end) = begins(prints, rest.trim_start()) {
                reader.seen += rest.len() - rest.trim_start().len() + end;
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("{at}: a reader should come to say\n{prints}\nand said\n{rest}\n{}", self.talk());
    }

    // `line` by a shell, with nothing of this process's environment that concerns it.
    fn shell(&self, line: &str) -> Command {
        let riacho = Path::new(env!("CARGO_BIN_EXE_riacho")).parent().unwrap();
        // The tool of AWS is installed with an emulator.
        let tools = dynamodb::tools();
        let path = format!("{}:{}:{}", riacho.display(), tools.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{{ {}\n}} 2>&1", self.here(line))]);
        for (name, _) in std::env::vars_os() {
            if ["RIACHO_", "PG", "AWS_"].iter().any(|ours| name.to_string_lossy().starts_with(ours)) {
                command.env_remove(name);
            }
        }
        let address = format!("127.0.0.1:{}", self.port);
        command.env("RIACHO_SERVER", format!("http://{address}")).env("RIACHO_LISTEN", address);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.env("PATH", path).env("HOME", self.directory.path());
        command.current_dir(self.directory.path()).process_group(0);
        command
    }

    fn here(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (there, here)| text.replace(there, here))
    }

    fn there(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (there, here)| text.replace(here, there))
    }

    fn talk(&self) -> String {
        fs::read_to_string(self.directory.path().join("talk")).unwrap_or_default()
    }
}

impl Drop for Guide {
    fn drop(&mut self) {
        end(self.reader.take().map(|reader| reader.child));
        end(self.server.take());
    }
}

fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        // It may have ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

// What is to be done, and the lines where it stands.
fn steps(text: &str) -> Vec<(usize, Step)> {
    let mut steps = Vec::new();
    let mut block: Vec<(usize, &str)> = Vec::new();
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    for (at, line) in lines.chain([(0, "end")]) {
        let line_of = line.strip_prefix("    ");
        // A command after an empty line begins a block of its own.
        if line_of.is_some_and(|line| line.starts_with("$ "))
            && block.last().is_some_and(|(_, line)| line.is_empty())
        {
            steps_of(&std::mem::take(&mut block), &mut steps);
        }
        match line_of {
            Some(line) => block.push((at, line)),
            // An empty line may be within a block.
            None if line.is_empty() && !block.is_empty() => block.push((at, "")),
            None => steps_of(&std::mem::take(&mut block), &mut steps),
        }
    }
    steps
}

fn steps_of(block: &[(usize, &str)], steps: &mut Vec<(usize, Step)>) {
    let Some((at, first)) = block.first() else { return };
    let text = |lines: &[(usize, &str)]| {
        let lines: Vec<&str> = lines.iter().map(|(_, line)| *line).collect();
        lines.join("\n").trim_end().to_owned()
    };
    if let Some(name) = first.strip_prefix("# ").filter(|name| name.ends_with(".toml")) {
        steps.push((*at, Step::File { name: name.to_owned(), text: text(block) + "\n" }));
    } else if first.starts_with("data:") || first.starts_with("id:") {
        steps.push((*at, Step::Read(text(block))));
    } else if first.starts_with("$ ") {
        let mut rest = block;
        while let Some((at, first)) = rest.first() {
            let whole = 1 + rest.iter().position(|(_, line)| !line.ends_with('\\')).unwrap_or(0);
            let until = rest.iter().skip(whole).position(|(_, line)| line.starts_with("$ "));
            let (step, after) = rest.split_at(until.map_or(rest.len(), |until| until + whole));
            let line = text(&step[..whole]).trim_start_matches("$ ").to_owned();
            assert!(first.starts_with("$ "), "line {at}");
            steps.push((*at, Step::Command { line, prints: text(&step[whole..]) }));
            rest = after;
        }
    }
}

// Whether `text` is as `pattern` says.
fn is(pattern: &str, text: &str) -> bool {
    let text = text.trim();
    begins(pattern, text).is_some_and(|end| end == text.len() || pattern.ends_with('…'))
        || pattern.rsplit_once('…').is_some_and(|(head, tail)| {
            begins(&format!("{head}…"), text).is_some_and(|end| text[end..].ends_with(tail))
        })
}

// Where the part of `text` ends that is as `pattern` says, from its beginning.
fn begins(pattern: &str, text: &str) -> Option<usize> {
    let mut pieces = pattern.split('…');
    let first = pieces.next().unwrap_or_default();
    let mut end = text.starts_with(first).then_some(first.len())?;
    for piece in pieces {
        end += text[end..].find(piece)? + piece.len();
    }
    Some(end)
}

const PAUSE: Duration = Duration::from_millis(20);
const TRIES: u128 = PATIENCE.as_millis() / PAUSE.as_millis();
