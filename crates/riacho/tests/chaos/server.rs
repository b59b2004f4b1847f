//! The real binary, killed and started again at the same address over the same data.

use super::PATIENCE;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixDatagram,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// A server process and its data.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    dir: TempDir,
    settings: Vec<(&'static str, String)>,
    child: Child,
}

impl Server {
    /// Starts a server with these settings (`RIACHO_*`) and the file `riacho.toml`, and waits until it serves.
    pub(crate) async fn start(settings: &[(&'static str, &str)], file: &str) -> Self {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("riacho.toml"), file).unwrap();
        // Free now; the same one is wanted at each restart.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let child = launch(address, &dir, &settings).await;
        Self { address, dir, settings, child }
    }

    /// Kills it without a warning.
    pub(crate) async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait().await;
    }

    /// Asks it to drain and waits for its clean end.
    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::TERM);
        let code = self.wait().await;
        assert_eq!(code, Some(0), "exit code after SIGTERM\n{}", self.said());
    }

    /// Starts it again.
    pub(crate) async fn restart(&mut self) {
        self.child = launch(self.address, &self.dir, &self.settings).await;
    }

    /// Bytes of its memory that are in RAM.
    pub(crate) fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// What it wrote about its own doings.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    async fn wait(&mut self) -> Option<i32> {
        // The wait is over when the process is; a thread of its own waits, as nothing else may be held up.
        let pid = Pid::from_child(&self.child);
        let waited = tokio::task::spawn_blocking(move || {
            rustix::process::waitid(
                rustix::process::WaitId::Pid(pid),
                rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
            )
        });
        tokio::time::timeout(PATIENCE, waited)
            .await
            .unwrap_or_else(|_| panic!("the server does not end\n{}", self.said()))
            .unwrap()
            .unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// Waits for the notice that systemd would get.
async fn launch(address: SocketAddr, dir: &TempDir, settings: &[(&'static str, String)]) -> Child {
    let notices = dir.path().join("ready");
    let _ = fs::remove_file(&notices);
    let socket = UnixDatagram::bind(&notices).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.path().join("log")).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_riacho"))
        .arg("serve")
        .current_dir(dir.path())
        .env("RIACHO_LISTEN", address.to_string())
        .env("RIACHO_DATA", "data")
        .env("RIACHO_DRAIN", "2s")
        .env("NOTIFY_SOCKET", &notices)
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let ready = tokio::task::spawn_blocking(move || socket.recv(&mut [0; 256])).await.unwrap();
    if let Err(err) = ready {
        panic!("the server does not start: {err}\n{}", fs::read_to_string(dir.path().join("log")).unwrap());
    }
    child
}
