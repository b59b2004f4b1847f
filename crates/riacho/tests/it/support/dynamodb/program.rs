//! A program that serves until it is dropped. It is killed with the thread that started it.

use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A running program; it and what it started end when it is dropped.
pub(super) struct Program {
    child: Child,
    directory: tempfile::TempDir,
}

impl Program {
    /// Starts `program` and waits until it says `announces` and then its port.
    pub(super) async fn start(program: &str, args: impl Fn(&mut Command), announces: &str) -> (Self, u16) {
        let directory = tempfile::Builder::new().prefix("dynamodb").tempdir().unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig=KILL", "--", program]);
        args(&mut command);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        use std::os::unix::process::CommandExt;
        command.process_group(0).current_dir(directory.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|err| panic!("{program}: {err}"));
        let mut started = Self { child, directory };
        let port = started.port(announces).await;
        (started, port)
    }

    /// What it wrote.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    async fn port(&mut self, announces: &str) -> u16 {
        for _ in 0..TRIES {
            let log = self.log();
            let rest = log.split_once(announces).map(|(_, rest)| rest);
            // With what comes behind it: the number may be half written.
            if let Some((port, _)) = rest.and_then(|rest| rest.split_once(|c: char| !c.is_ascii_digit())) {
                return port.parse().unwrap();
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended: {status}\n{log}");
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("it does not begin\n{}", self.log());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        self.child.wait().unwrap();
    }
}

const PAUSE: Duration = Duration::from_millis(20);
// 25 s, which only a broken test gets to.
const TRIES: u32 = 1250;
