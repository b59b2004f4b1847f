//! The real binary, as it is called.

use super::{At, patient, server::own_ip};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    net::SocketAddr,
    panic::Location,
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio},
    thread,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A running `riacho`; killed when dropped.
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: UnboundedReceiver<String>,
    stderr: UnboundedReceiver<String>,
    address: Option<SocketAddr>,
}

/// `riacho` with nothing of this process's environment that concerns it.
pub(crate) fn riacho(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_riacho"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RIACHO_") {
            command.env_remove(name);
        }
    }
    command.args(args).current_dir(directory);
    command
}

/// Runs a command to its end, beside a server in this process.
#[track_caller]
pub(crate) fn run(directory: &Path, args: &[&str]) -> impl Future<Output = Output> + use<> {
    let (at, mut command) = (Location::caller(), riacho(directory, args));
    async move {
        let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output());
        patient(at, "the end of a command", output).await.unwrap().unwrap()
    }
}

impl Process {
    /// Starts a command.
    pub(crate) fn start(directory: &Path, args: &[&str]) -> Self {
        let pipes = |command: &mut Command| {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let mut child = pipes(&mut riacho(directory, args));
        let (stdin, stdout) = (child.stdin.take(), lines(child.stdout.take().unwrap()));
        let stderr = lines(child.stderr.take().unwrap());
        Self { child, stdin, stdout, stderr, address: None }
    }

    /// Starts a server and waits until it listens. Its settings are in `riacho.toml` of `directory`, its data beside it.
    #[track_caller]
    pub(crate) fn serve(directory: &Path) -> impl Future<Output = Self> + use<> {
        Self::serve_at(directory, &format!("{}:0", own_ip()))
    }

    /// The same, at a given address.
    #[track_caller]
    pub(crate) fn serve_at(directory: &Path, listen: &str) -> impl Future<Output = Self> + use<> {
        let at = Location::caller();
        let args = ["serve", "--listen", listen, "--log-format", "json", "--reactors", "2"];
        let mut server = Self::start(directory, &args);
        async move {
            let mut said = Vec::new();
            loop {
                let Some(line) = patient(at, "start", server.stderr.recv()).await else {
                    panic!("{at}: the server did not start: {said:#?}");
                };
                let fields: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                if fields["message"] == "serving" {
                    server.address = fields["address"].as_str().and_then(|address| address.parse().ok());
                    return server;
                }
                said.push(line);
            }
        }
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    /// The next line on stdout; none at its end.
    #[track_caller]
    pub(crate) fn line(&mut self) -> impl Future<Output = Option<String>> {
        patient(Location::caller(), "a line on stdout", self.stdout.recv())
    }

    /// The next line on stderr that holds `text`.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) -> impl Future<Output = String> {
        let at = Location::caller();
        async move {
            loop {
                let Some(line) = patient(at, text, self.stderr.recv()).await else {
                    panic!("{at}: never said: {text}");
                };
                if line.contains(text) {
                    return line;
                }
            }
        }
    }

    /// Writes to its stdin.
    pub(crate) fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).unwrap();
    }

    /// Ends its stdin.
    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn exit(mut self) -> impl Future<Output = ExitStatus> {
        let at: At = Location::caller();
        async move {
            // Its output ends when it does; a thread that waited could not be given up.
            while patient(at, "exit", self.stdout.recv()).await.is_some() {}
            self.child.wait().unwrap()
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(pipe: impl Read + Send + 'static) -> UnboundedReceiver<String> {
    let (sender, receiver) = unbounded_channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
