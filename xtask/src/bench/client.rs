//! Starting the load client, `riacho bench`, and reading what it measured.

use super::{
    machine::{self, now},
    options::Size,
    results::{Figures, flatten},
    server::Server,
    stage::Stage,
};
use anyhow::{Context, Result, bail};
use std::{
    fmt::Display,
    fs::{self, File},
    io::Read as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

/// One run of the load client, while its options are put together.
pub(super) struct Load {
    command: Command,
    talk: PathBuf,
}

/// A load client that runs.
pub(super) struct Running {
    child: Child,
    talk: PathBuf,
}

impl Load {
    /// `riacho bench KIND` against `server`, its cost measured: subscribers, publishers or both on stream `bench`.
    pub(super) fn new(stage: &Stage, kind: &str, server: &Server) -> Self {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &Stage::load_core()]).arg(&stage.client);
        command.args(["bench", kind, &server.url(), "--json", "--pid", &server.pid().to_string()]);
        let talk = server.directory.join(format!("client-{kind}"));
        let mut load = Self { command, talk };
        if kind != "publish" {
            load.command.args(server.peer.subscribe_args());
        }
        if kind != "subscribe" {
            load.command.args(server.peer.publish_args());
        }
        load
    }

    /// The same, all of it on the stream `name`.
    pub(super) fn on(stage: &Stage, kind: &str, server: &Server, name: &str) -> Self {
        let mut load = Self::new(stage, kind, server);
        if kind != "publish" {
            load = load.set("--path", server.peer.subscribe_path(name));
        }
        if kind != "subscribe" {
            load = load.set("--publish-path", server.peer.publish_path(name));
        }
        load
    }

    /// Adds an option.
    pub(super) fn set(mut self, option: &str, value: impl Display) -> Self {
        self.command.arg(option).arg(value.to_string());
        self
    }

    /// Publishes for so many seconds at this size, once the subscribers were idle for a moment.
    pub(super) fn lasting(self, size: Size, seconds: u32) -> Self {
        self.set("--idle", size.idle()).set("--duration", size.time(seconds))
    }

    /// Lets it go before other load on its core, as far as this user may: where two clients share a core, what is asked
    /// for is how long the server takes, and not how long the other client does.
    pub(super) fn before_others(mut self) -> Self {
        if machine::is_root() {
            let mut command = Command::new("chrt");
            command.args(["--fifo", "1"]).arg(self.command.get_program()).args(self.command.get_args());
            self.command = command;
        }
        self
    }

    /// Runs it to its end.
    pub(super) fn run(self) -> Result<Figures> {
        self.start()?.finish()
    }

    /// Starts it, for what happens beside it.
    pub(super) fn start(mut self) -> Result<Running> {
        let talk = File::create(&self.talk).context("failed to create the client's log")?;
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(talk);
        let child = self.command.spawn().context("failed to start the load client")?;
        Ok(Running { child, talk: self.talk })
    }
}

impl Running {
    /// Waits until its subscribers are connected and have what they wait for first.
    pub(super) fn wait_until_connected(&self) -> Result<()> {
        let begin = now();
        // What it says on stderr then; the window begins at once if there is no --idle.
        while !fs::read_to_string(&self.talk).unwrap_or_default().contains(" subscribers after ") {
            if now() - begin > RUN_MAX {
                bail!("subscribers did not connect: {}", self.last_words());
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Waits for its end and reads its figures.
    pub(super) fn finish(mut self) -> Result<Figures> {
        let begin = now();
        // What it prints is one object of a few kilobytes, which a pipe holds.
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if now() - begin > RUN_MAX => {
                    bail!("the load client did not end: {}", self.last_words())
                }
                None => sleep(Duration::from_millis(10)),
            }
        };
        if !status.success() {
            bail!("the load client ended with {status}: {}", self.last_words());
        }
        let mut text = String::new();
        self.child.stdout.take().context("no output")?.read_to_string(&mut text)?;
        let json = serde_json::from_str(&text)
            .with_context(|| format!("the load client printed no JSON: {text}"))?;
        let figures = flatten(&json);
        if figures.get("window.published").is_some_and(|published| *published > 0.0)
            && figures.get("window.deliveries") == Some(&0.0)
        {
            bail!("nothing of what was published arrived");
        }
        Ok(figures)
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.talk).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing is left running after a failure.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

const RUN_MAX: Duration = Duration::from_secs(180);
