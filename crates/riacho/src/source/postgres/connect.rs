//! How a database of PostgreSQL is reached: what libpq understands, as sessions and for the replication client.
//!
//! What a person wrote, the service file and the environment become a [`Target`] once; files that change while the server
//! runs (passwords, certificates) are read at each connect. No message and no `Debug` holds a password.

/// What a person wrote: URLs and pairs.
mod conninfo;
/// Service files.
mod service;
/// Password files.
mod pgpass;
/// Encryption, and who is believed.
mod tls;
/// What failed, in sentences.
mod fault;

#[cfg(test)]
mod tests;
/// PostgreSQL of a test's own, as in `tests/it`.
#[cfg(test)]
#[path = "../../../tests/it/support/postgres.rs"]
#[allow(dead_code, reason = "each user of the file uses a part of it")]
pub(crate) mod server_for_tests;

pub(crate) use fault::{fault, replication_fault};

use super::super::settings::Secret;
use conninfo::Params;
use pgwire_replication::ReplicationConfig;
use riacho_core::source::machine::{Fault, FaultKind};
use std::{
    ffi::OsString,
    fmt::{self, Display, Formatter},
    future::poll_fn,
    net::IpAddr,
    ops::{Deref, DerefMut},
    path::PathBuf,
    time::Duration,
};
use tls::{MakeTls, Security, TlsMode};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_postgres::{AsyncMessage, Client, Connection, SimpleQueryMessage, Socket, config::SslMode};

/// How a database is reached.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    // At least one, at most `SERVERS_MAX`.
    servers: Vec<Server>,
    user: String,
    database: String,
    password: Option<Secret>,
    passfile: Option<PathBuf>,
    security: Security,
    role: Role,
    options: String,
    application_name: String,
    connect_timeout: Duration,
    keepalive: Keepalive,
    shown: String,
}

/// One place where the database may be.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Server {
    /// A name, an address, or the directory of a socket.
    host: String,
    /// Where `host` is, if it is not to be looked up.
    address: Option<IpAddr>,
    port: u16,
}

/// Which servers will do: `target_session_attrs`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Keepalive {
    on: bool,
    idle: Duration,
    interval: Duration,
    count: u32,
    user_timeout: Option<Duration>,
}

/// A session. The task that drives its connection ends with it.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    driver: JoinHandle<()>,
    ended: watch::Receiver<Option<Fault>>,
    reached: Reached,
}

/// Where a session was made, and how: what a second connection to the same server needs.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    server: Server,
    password: Option<Secret>,
    tls: pgwire_replication::TlsConfig,
}

impl Target {
    /// From a URL `postgres://user:password@host:port/database?sslmode=...` or pairs `key=value`, as libpq takes them. What
    /// neither says is looked for in the service file, then in `env`: the variables that libpq reads, and HOME and USER.
    ///
    /// Other than libpq: of several hosts, one that takes writes is looked for unless `target_session_attrs` says
    /// otherwise; a connect may take 10 s unless `connect_timeout` says otherwise; where a certificate is to be verified
    /// and no roots are given, those of the system are believed.
    ///
    /// # Errors
    /// `NeedsPerson`, where the text is none, or asks for what we cannot do.
    pub(crate) fn parse(text: &str, env: &[(OsString, OsString)]) -> Result<Self, Fault> {
        let env = Env(env);
        let mut params = conninfo::parse(text)?;
        service::fill(&mut params, env)?;
        conninfo::fill(&mut params, env);
        conninfo::refuse_unsupported(&params)?;
        let servers = servers(&params)?;
        let role = role(&params, servers.len())?;
        let (connect_timeout, keepalive) = (connect_timeout(&params)?, keepalive(&params)?);
        let security = Security::from_params(&params, env)?;
        let user =
            params.text("user").or_else(|| env.get("USER")).or_else(|| env.get("LOGNAME")).ok_or_else(
                || Fault::needs_person("no user is given for PostgreSQL", "add `user=...` to its URL"),
            )?;
        let database = params.text("dbname").unwrap_or_else(|| user.clone());
        let shown = shown(&servers, &database, &user);
        Ok(Self {
            servers,
            user,
            database,
            password: params.text("password").map(Secret),
            passfile: params.text("passfile").map(PathBuf::from).or_else(|| env.home(".pgpass")),
            security,
            role,
            options: params.text("options").unwrap_or_default(),
            application_name: params.text("application_name").unwrap_or_else(|| "riacho".to_owned()),
            connect_timeout,
            keepalive,
            shown,
        })
    }

    /// `host:port/database as user`, for people; no secrets.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// How long one connect may take: no client of replication bounds it by itself.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// An ordinary session, with the first server that answers and will do.
    ///
    /// Values are read alike everywhere: times in UTC and ISO 8601, bytes in hex, floats exact. `search_path` is the
    /// database's. Cancel safe: what was begun is closed.
    ///
    /// # Errors
    /// Where no server will do.
    pub(crate) async fn connect(&self) -> Result<Session, Fault> {
        let mut failed = Vec::new();
        for role in self.role.passes() {
            for server in &self.servers {
                // Boxed: what a handshake needs is large, and held for a moment.
                let tried = timeout(self.connect_timeout, Box::pin(self.connect_to(server, *role)));
                match tried.await.unwrap_or_else(|_| Err(self.too_slow(server))) {
                    Ok(session) => return Ok(session),
                    // As libpq: who is refused by one server does not ask the next.
                    Err(fault) if fault.kind == FaultKind::NeedsPerson => return Err(fault),
                    Err(fault) => failed.push(fault),
                }
            }
        }
        Err(together(failed))
    }

    /// What the replication client needs to reach the same server in the same way: `reached` is of an ordinary session.
    ///
    /// Never print it: its `Debug` holds the password. It bounds no connect: see [`Target::connect_timeout`].
    pub(crate) fn replication(&self, reached: &Reached, slot: &str, publication: &str) -> ReplicationConfig {
        let server = &reached.server;
        let host = server.address.map_or_else(|| server.host.clone(), |address| address.to_string());
        let password = reached.password.as_ref().map_or("", |secret| &secret.0);
        ReplicationConfig::new(host, &self.user, password, &self.database, slot, publication)
            .with_port(server.port)
            .with_tls(reached.tls.clone())
            .with_application_name(&self.application_name)
            .with_options(with_options(&self.options, REPLICATION_OPTIONS))
    }

    async fn connect_to(&self, server: &Server, role: Role) -> Result<Session, Fault> {
        let password = match (&self.password, &self.passfile) {
            (Some(password), _) => Some(password.clone()),
            (None, Some(file)) => {
                pgpass::find(file, &server.host, server.port, &self.database, &self.user).await
            }
            (None, None) => None,
        };
        let security = if server.is_socket() { Security::none() } else { self.security.clone() };
        let session = match self.open(server, &password, &security).await {
            Err((_, true)) if security.mode == TlsMode::Prefer => {
                // As libpq: what does not go with encryption may go without.
                self.open(server, &password, &Security::none()).await
            }
            opened => opened,
        };
        let session = session.map_err(|(fault, _)| fault)?;
        self.check(&session, role).await?;
        Ok(session)
    }

    // A fault, and whether it may be the encryption's.
    async fn open(
        &self,
        server: &Server,
        password: &Option<Secret>,
        security: &Security,
    ) -> Result<Session, (Fault, bool)> {
        let tls = MakeTls::new(security).await.map_err(|fault| (fault, false))?;
        let config = self.config(server, password.as_ref(), security);
        let (client, connection) = match config.connect(tls.clone()).await {
            Ok(connected) => connected,
            Err(err) => return Err((fault(&err, self), tls.used() && fault::may_be_tls(&err))),
        };
        let (ends, ended) = watch::channel(None);
        let driver = tokio::spawn(drive(connection, self.clone(), ends));
        let reached =
            Reached { server: server.clone(), password: password.clone(), tls: tls.for_replication(server) };
        Ok(Session { client, driver, ended, reached })
    }

    fn config(
        &self,
        server: &Server,
        password: Option<&Secret>,
        security: &Security,
    ) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&server.host)
            .port(server.port)
            .user(&self.user)
            .dbname(&self.database)
            .application_name(&self.application_name)
            .options(with_options(&self.options, SESSION_OPTIONS))
            .connect_timeout(self.connect_timeout)
            .keepalives(self.keepalive.on)
            .keepalives_idle(self.keepalive.idle)
            .keepalives_interval(self.keepalive.interval)
            .keepalives_retries(self.keepalive.count)
            .ssl_mode(match security.mode {
                TlsMode::Disable => SslMode::Disable,
                TlsMode::Prefer => SslMode::Prefer,
                TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
            });
        if let Some(address) = server.address {
            config.hostaddr(address);
        }
        if let Some(password) = password {
            config.password(&password.0);
        }
        if let Some(user_timeout) = self.keepalive.user_timeout {
            config.tcp_user_timeout(user_timeout);
        }
        config
    }

    async fn check(&self, session: &Session, role: Role) -> Result<(), Fault> {
        let (sql, wanted, lack) = match role {
            Role::Any | Role::PreferStandby => return Ok(()),
            Role::ReadWrite => ("SHOW transaction_read_only", "off", "takes no writes"),
            Role::ReadOnly => ("SHOW transaction_read_only", "on", "takes writes"),
            Role::Primary => ("SELECT pg_is_in_recovery()", "f", "is a standby"),
            Role::Standby => ("SELECT pg_is_in_recovery()", "t", "is no standby"),
        };
        let answer = session.simple_query(sql).await.map_err(|err| fault(&err, self))?;
        let is = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        if is == Some(wanted) {
            return Ok(());
        }
        let message = format!("PostgreSQL at {} {lack}", session.reached.server);
        Err(Fault::passing(message))
    }

    fn too_slow(&self, server: &Server) -> Fault {
        let message =
            format!("PostgreSQL at {server} did not answer in {} s", self.connect_timeout.as_secs());
        Fault::passing(message)
    }
}

impl Session {
    /// Where it was made, and how.
    pub(crate) fn reached(&self) -> &Reached {
        &self.reached
    }

    /// Waits until the connection has ended, and says why: what a query that failed with it does not know. Cancel safe.
    pub(crate) async fn ended(&self) -> Fault {
        let mut ended = self.ended.clone();
        let fault = ended.wait_for(Option::is_some).await.ok().and_then(|fault| fault.clone());
        fault.unwrap_or_else(|| Fault::passing("the connection to PostgreSQL has ended"))
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn drive(
    mut connection: Connection<Socket, tls::Stream>,
    target: Target,
    ends: watch::Sender<Option<Fault>>,
) {
    // Notices of the server may hold anything, so none is logged.
    let ended = loop {
        match poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notice(_) | AsyncMessage::Notification(_))) => {}
            Some(Ok(_)) => {}
            Some(Err(err)) => break Some(fault(&err, &target)),
            None => break None,
        }
    };
    ends.send_replace(ended.or_else(|| {
        let message = format!("PostgreSQL at {} closed the connection", target.shown);
        Some(Fault::passing(message))
    }));
}

impl Server {
    fn is_socket(&self) -> bool {
        self.host.starts_with(['/', '@'])
    }
}

impl Display for Server {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Role {
    /// What is asked of the servers, one time after the other.
    fn passes(&self) -> &'static [Self] {
        match self {
            Self::Any => &[Self::Any],
            Self::ReadWrite => &[Self::ReadWrite],
            Self::ReadOnly => &[Self::ReadOnly],
            Self::Primary => &[Self::Primary],
            Self::Standby => &[Self::Standby],
            Self::PreferStandby => &[Self::Standby, Self::Any],
        }
    }
}

/// The variables of an environment.
#[derive(Clone, Copy)]
struct Env<'a>(&'a [(OsString, OsString)]);

impl Env<'_> {
    /// The text of a variable that is set and not empty.
    fn get(self, name: &str) -> Option<String> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        value.to_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }

    fn home(self, path: &str) -> Option<PathBuf> {
        Some(PathBuf::from(self.get("HOME")?).join(path))
    }
}

fn together(mut failed: Vec<Fault>) -> Fault {
    let remedy = failed.iter_mut().find_map(|fault| fault.remedy.take());
    let mut messages: Vec<String> = Vec::new();
    for Fault { message, .. } in failed {
        if !messages.contains(&message) {
            messages.push(message);
        }
    }
    Fault { kind: FaultKind::Passing, message: messages.join("; "), remedy }
}

fn with_options(given: &str, ours: &str) -> String {
    // Ours last: of an option that is said twice the server takes the last.
    format!("{given} {ours}").trim_start().to_owned()
}

fn shown(servers: &[Server], database: &str, user: &str) -> String {
    let servers: Vec<String> = servers.iter().map(Server::to_string).collect();
    format!("{}/{database} as {user}", servers.join(","))
}

fn servers(params: &Params) -> Result<Vec<Server>, Fault> {
    let hosts = params.list("host");
    let addresses = params.list("hostaddr");
    let ports = params.list("port");
    let count = hosts.len().max(addresses.len()).max(1);
    if count > SERVERS_MAX {
        return Err(Fault::evident(format!("more than {SERVERS_MAX} hosts are given for PostgreSQL")));
    }
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(Fault::evident("`host` and `hostaddr` do not list as many hosts"));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(Fault::evident("`port` lists neither one port nor as many as there are hosts"));
    }
    (0..count)
        .map(|at| {
            let port = ports.get(at).or(ports.first()).map_or("", String::as_str);
            let port =
                if port.is_empty() { Some(PORT) } else { port.trim().parse().ok().filter(|port| *port > 0) };
            let port =
                port.ok_or_else(|| Fault::needs_person("a port is no number from 1 to 65535", ESCAPE))?;
            let address = match addresses.get(at).filter(|text| !text.is_empty()) {
                Some(text) => {
                    Some(text.parse::<IpAddr>().map_err(|_| Fault::evident("`hostaddr` is no IP address"))?)
                }
                None => None,
            };
            let host = match (hosts.get(at).filter(|host| !host.is_empty()), address) {
                (Some(host), _) => host.clone(),
                (None, Some(address)) => address.to_string(),
                (None, None) => default_host(port),
            };
            Ok(Server { host, address, port })
        })
        .collect()
}

fn default_host(port: u16) -> String {
    let socket = |directory: &&str| PathBuf::from(directory).join(format!(".s.PGSQL.{port}")).exists();
    SOCKET_DIRECTORIES.into_iter().find(socket).unwrap_or("localhost").to_owned()
}

fn role(params: &Params, servers: usize) -> Result<Role, Fault> {
    Ok(match params.get("target_session_attrs") {
        None if servers > 1 => Role::ReadWrite,
        None | Some("any") => Role::Any,
        Some("read-write") => Role::ReadWrite,
        Some("read-only") => Role::ReadOnly,
        Some("primary") => Role::Primary,
        Some("standby") => Role::Standby,
        Some("prefer-standby") => Role::PreferStandby,
        Some(_) => {
            return Err(Fault::evident(
                "`target_session_attrs` is none of any, read-write, read-only, primary, standby, prefer-standby",
            ));
        }
    })
}

fn connect_timeout(params: &Params) -> Result<Duration, Fault> {
    Ok(match params.integer("connect_timeout")? {
        None => CONNECT_TIMEOUT,
        // libpq waits for ever; here every wait has an end.
        Some(seconds) if seconds <= 0 => CONNECT_TIMEOUT_MAX,
        Some(seconds) => Duration::from_secs(seconds.unsigned_abs()).min(CONNECT_TIMEOUT_MAX),
    })
}

fn keepalive(params: &Params) -> Result<Keepalive, Fault> {
    let positive =
        |key| Ok::<_, Fault>(params.integer(key)?.filter(|number| *number > 0).map(i64::unsigned_abs));
    let seconds = |key, default| Ok::<_, Fault>(positive(key)?.map_or(default, Duration::from_secs));
    Ok(Keepalive {
        on: params.integer("keepalives")? != Some(0),
        idle: seconds("keepalives_idle", KEEPALIVE_IDLE)?,
        interval: seconds("keepalives_interval", KEEPALIVE_INTERVAL)?,
        count: positive("keepalives_count")?
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(KEEPALIVE_COUNT),
        user_timeout: positive("tcp_user_timeout")?.map(Duration::from_millis),
    })
}

const SERVERS_MAX: usize = 16;
const PORT: u16 = 5432;
// Debian's, and PostgreSQL's own.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(600);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 3;
const ESCAPE: &str =
    "in a URL, write `/`, `@`, `:`, `?`, `#` and `%` of a password as %2F, %40, %3A, %3F, %23 and %25";
// Policies of rows do not hold for the stream: with them on, a copy would lack rows that the stream has.
const SESSION_OPTIONS: &str = "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=iso_8601 -c bytea_output=hex \
     -c extra_float_digits=1 -c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c synchronous_commit=local -c row_security=off";
const REPLICATION_OPTIONS: &str = "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=iso_8601 -c bytea_output=hex \
     -c extra_float_digits=1";
