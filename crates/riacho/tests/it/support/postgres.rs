//! A PostgreSQL server of its own for a test: a directory, a socket and a port; gone when dropped.
//!
//! Used by `tests/it` and, by path, by tests of `source::postgres`. It is killed with the thread that started it, so start it
//! from the test itself, not from a thread that ends before.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// What a server is to be.
#[derive(Clone, Default)]
pub(crate) struct PostgresOptions {
    /// Lines of postgresql.conf, after ours: `max_wal_senders = 1`.
    pub(crate) settings: Vec<String>,
    /// The lines of pg_hba.conf for TCP; none: passwords by SCRAM, for all, from here. The socket trusts.
    pub(crate) hba: Option<String>,
    /// Speaks TLS, with a certificate for these names: `DNS:localhost`, `IP:127.0.0.1`.
    pub(crate) certificate_for: Option<String>,
}

/// A running server, unless it was stopped. Its superuser is `postgres`, with the password `p@ss:w/rd`.
pub(crate) struct Postgres {
    directory: tempfile::TempDir,
    programs: Programs,
    port: u16,
    child: Option<Child>,
}

impl Postgres {
    /// Makes a server and waits until it answers. `wal_level` is `logical`; nothing is synced to the disk.
    #[track_caller]
    pub(crate) fn start(options: PostgresOptions) -> impl Future<Output = Self> {
        let mut server = Self::new();
        let data = server.data();
        fs::write(server.directory.path().join("password"), SUPERUSER_PASSWORD).unwrap();
        server.programs.own(server.directory.path());
        let pwfile = format!("--pwfile={}", server.directory.path().join("password").display());
        let fixed =
            ["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--username=postgres", "--auth=trust"];
        server.programs.run("initdb", |initdb| initdb.arg("--pgdata").arg(&data).args(fixed).arg(pwfile));
        let hba = options.hba.as_deref().unwrap_or(HBA);
        fs::write(data.join("pg_hba.conf"), format!("{HBA_SOCKET}\n{hba}\n")).unwrap();
        let mut settings = SETTINGS.map(str::to_owned).to_vec();
        if let Some(names) = &options.certificate_for {
            server.certify(names);
            settings.push("ssl = on".to_owned());
        }
        settings.extend(options.settings);
        fs::write(data.join("postgresql.auto.conf"), settings.join("\n") + "\n").unwrap();
        server.spawn();
        server.answers()
    }

    /// A second server that follows this one and takes reads, until it is promoted.
    #[track_caller]
    pub(crate) fn standby(&self) -> impl Future<Output = Self> + use<> {
        let mut server = Self::new();
        server.programs.own(server.directory.path());
        let (data, from) = (server.data(), self.socket_url());
        server.programs.run("pg_basebackup", |backup| {
            backup.arg("--pgdata").arg(&data).arg(format!("--dbname={from}"));
            backup.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
        });
        server.spawn();
        server.answers()
    }

    /// Makes a standby take writes, and waits until it does.
    pub(crate) async fn promote(&self) {
        assert_eq!(self.value("SELECT pg_promote(true, 60)").await, "t");
    }

    /// Of the superuser, over TCP, with the password.
    pub(crate) fn url(&self) -> String {
        self.url_of("postgres", SUPERUSER_PASSWORD, "postgres")
    }

    /// Of the superuser, over the socket, without a password.
    pub(crate) fn socket_url(&self) -> String {
        let socket = self.directory.path().to_str().unwrap().replace('/', "%2F");
        format!("postgres://postgres@{socket}:{}/postgres", self.port)
    }

    /// Of any user, over TCP.
    pub(crate) fn url_of(&self, user: &str, password: &str, database: &str) -> String {
        let password = percent_encoding::utf8_percent_encode(password, percent_encoding::NON_ALPHANUMERIC);
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Where it listens, at 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where its socket, its data (`data`) and, of one with TLS, the root certificate (`ca.crt`) are.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it wrote to its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// A session of the superuser, until it is dropped.
    #[track_caller]
    pub(crate) fn client(&self) -> impl Future<Output = Client> + use<> {
        let url = self.socket_url();
        async move {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            client
        }
    }

    /// Runs SQL as the superuser; the rows of all its statements, as texts.
    pub(crate) async fn psql(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let answer = self.client().await.simple_query(sql).await;
        let answer = answer.unwrap_or_else(|err| panic!("{sql}: {err:?}"));
        let rows = answer.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
            }
            _ => None,
        });
        rows.collect()
    }

    /// The one value that SQL asks for.
    pub(crate) async fn value(&self, sql: &str) -> String {
        let rows = self.psql(sql).await;
        rows.into_iter().flatten().next().flatten().unwrap_or_else(|| panic!("{sql}: no value"))
    }

    /// Asks for a truth again and again until it is one.
    pub(crate) async fn until(&self, sql: &str) {
        for _ in 0..TRIES {
            if self.value(sql).await == "t" {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("{sql}: never true\n{}", self.log());
    }

    /// Stops it as an administrator does: sessions are told and ended, all is written.
    pub(crate) fn stop(&mut self) {
        self.end(rustix::process::Signal::INT);
    }

    /// Stops it in the middle, so that it recovers when it starts again.
    pub(crate) fn kill(&mut self) {
        self.end(rustix::process::Signal::QUIT);
    }

    /// Starts it where it was, at the same port, and waits until it answers.
    pub(crate) async fn restart(mut self) -> Self {
        if self.child.is_some() {
            self.stop();
        }
        self.spawn();
        self.answers().await
    }

    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { directory, programs: Programs::find(), port, child: None }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn spawn(&mut self) {
        let log =
            fs::File::options().create(true).append(true).open(self.directory.path().join("log")).unwrap();
        let mut postgres = self.programs.command("postgres");
        postgres
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.directory.path())
            .args(["-p", &self.port.to_string()])
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.child = Some(postgres.spawn().unwrap());
    }

    async fn answers(mut self) -> Self {
        let url = self.socket_url();
        for _ in 0..TRIES {
            if let Ok((client, connection)) = tokio_postgres::connect(&url, NoTls).await {
                drop(client);
                drop(connection);
                return self;
            }
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("postgres ended: {status}\n{}", self.log());
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("postgres does not answer\n{}", self.log());
    }

    fn end(&mut self, signal: rustix::process::Signal) {
        let Some(mut child) = self.child.take() else { return };
        // Not the child's own group: a signal to the first process is what PostgreSQL understands.
        if child.try_wait().unwrap().is_none() {
            rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        }
        child.wait().unwrap();
    }

    // An authority of its own, and a certificate by it for `names`.
    fn certify(&self, names: &str) {
        let at = self.directory.path();
        let config = format!(
            "[req]\ndistinguished_name = dn\nprompt = no\n[dn]\nCN = Riacho's tests\n\
             [ca]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = keyCertSign\n\
             [server]\nbasicConstraints = CA:FALSE\nsubjectAltName = {names}\n"
        );
        fs::write(at.join("openssl.cnf"), config).unwrap();
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        let request = |rest: &[&str]| {
            let mut openssl = Command::new("openssl");
            openssl.current_dir(at).args(["req", "-x509", "-config", "openssl.cnf"]).args(key).args(rest);
            done(&mut openssl);
        };
        request(&["-extensions", "ca", "-keyout", "ca.key", "-out", "ca.crt"]);
        let signed = ["-CA", "ca.crt", "-CAkey", "ca.key"];
        let server = ["-extensions", "server", "-keyout", "data/server.key", "-out", "data/server.crt"];
        request(&[&signed[..], &server[..]].concat());
        self.programs.own(at);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // All is thrown away, so nothing need be written.
        self.end(rustix::process::Signal::QUIT);
    }
}

/// The newest installed programs, or those in the directory `RIACHO_TEST_POSTGRES`, and how they are called: PostgreSQL
/// refuses to run as root.
struct Programs {
    directory: PathBuf,
    as_postgres: bool,
}

impl Programs {
    fn find() -> Self {
        let as_postgres = rustix::process::geteuid().is_root();
        if let Some(directory) = std::env::var_os("RIACHO_TEST_POSTGRES") {
            return Self { directory: directory.into(), as_postgres };
        }
        let versions =
            fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed: cargo xtask setup");
        let mut found: Vec<PathBuf> = versions
            .filter_map(|version| Some(version.ok()?.path().join("bin")))
            .filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
            .collect();
        found.sort();
        let directory = found.pop().expect("PostgreSQL is installed: cargo xtask setup");
        Self { directory, as_postgres }
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        if self.as_postgres {
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        }
        command.args(["--pdeathsig=KILL", "--"]).arg(self.directory.join(name));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command
    }

    fn run(&self, name: &str, args: impl FnOnce(&mut Command) -> &mut Command) {
        let mut command = self.command(name);
        command.current_dir("/");
        done(args(&mut command));
    }

    fn own(&self, directory: &Path) {
        if self.as_postgres {
            done(Command::new("chown").args(["-R", "postgres:postgres"]).arg(directory));
        }
    }
}

#[track_caller]
fn done(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|err| panic!("{command:?}: {err}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
}

const SUPERUSER_PASSWORD: &str = "p@ss:w/rd";
const HBA_SOCKET: &str = "local all all trust\nlocal replication all trust";
const HBA: &str = "host all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256";
const SETTINGS: [&str; 9] = [
    "listen_addresses = '127.0.0.1'",
    "wal_level = logical",
    "fsync = off",
    "synchronous_commit = off",
    "full_page_writes = off",
    "max_wal_senders = 10",
    "max_replication_slots = 10",
    "shared_buffers = 16MB",
    // Nothing of it stays in /dev/shm.
    "dynamic_shared_memory_type = mmap",
];
const PAUSE: Duration = Duration::from_millis(20);
// 25 s, which only a broken test gets to.
const TRIES: u32 = 1250;
