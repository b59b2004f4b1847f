//! A server in this process, with a directory and an address of its own.

use super::{At, Connection, Response, until};
use axum::Router;
use riacho::{
    config::{Config, SettingsFile},
    http::server::Server,
    serve,
    source::{SourceSettings, Sources},
};
use std::{
    net::SocketAddr,
    panic::Location,
    sync::atomic::{AtomicU32, Ordering},
};
use tempfile::TempDir;

/// A server that runs until it is dropped or stopped.
pub(crate) struct TestServer {
    server: Server,
    directory: TempDir,
    file: String,
    fed: Vec<SourceSettings>,
}

impl TestServer {
    /// One with the defaults.
    #[track_caller]
    pub(crate) fn start() -> impl Future<Output = Self> {
        Self::with("")
    }

    /// One with what `file` says, in the words of `riacho.toml`.
    #[track_caller]
    pub(crate) fn with(file: &str) -> impl Future<Output = Self> + use<> {
        let (at, file) = (Location::caller(), file.to_owned());
        async move {
            Self::open(at, tempfile::tempdir().unwrap(), file, format!("{}:0", own_ip()), Vec::new()).await
        }
    }

    /// One with its data below `place`.
    #[track_caller]
    pub(crate) fn within(place: &std::path::Path) -> impl Future<Output = Self> + use<> {
        let (at, directory) = (Location::caller(), tempfile::tempdir_in(place).unwrap());
        async move { Self::open(at, directory, String::new(), format!("{}:0", own_ip()), Vec::new()).await }
    }

    async fn open(
        at: At,
        directory: TempDir,
        file: String,
        listen: String,
        fed: Vec<SourceSettings>,
    ) -> Self {
        let data = directory.path().to_str().unwrap().to_owned();
        let small =
            [("listen", listen.as_str()), ("data", &data), ("reactors", "2"), ("trim_interval", "100ms")];
        let args = small.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings_file = SettingsFile { path: "riacho.toml".into(), text: file.clone() };
        let config = Config::from_parts(&args, &[], Some(&settings_file));
        let config = config.unwrap_or_else(|problems| panic!("{at}: {problems}"));
        let mut settings = serve::settings(&config, 4096).unwrap();
        // Many servers run at once: each takes little of the disk.
        settings.log.store.frame_bytes_max = 4 << 20;
        settings.log.store.segment_bytes_max = 8 << 20;
        settings.sources.extend(fed.iter().cloned());
        let server = Server::start(settings, |_| Router::new()).await;
        let server = server.unwrap_or_else(|err| panic!("{at}: {}", err.chain()));
        Self { server, directory, file, fed }
    }

    /// Stops it and starts it again at the same address, with the same directory and settings.
    #[track_caller]
    pub(crate) fn restart(self) -> impl Future<Output = Self> + use<> {
        let file = self.file.clone();
        self.restart_with(&file)
    }

    /// The same, with other settings.
    #[track_caller]
    pub(crate) fn restart_with(self, file: &str) -> impl Future<Output = Self> + use<> {
        let (at, file) = (Location::caller(), file.to_owned());
        async move {
            let (address, fed) = (self.address(), self.fed.clone());
            let directory = self.stop().await;
            Self::open(at, directory, file, address.to_string(), fed).await
        }
    }

    /// The same, with these sources beside those of the settings.
    #[track_caller]
    pub(crate) fn restart_fed_by(
        mut self,
        sources: Vec<SourceSettings>,
    ) -> impl Future<Output = Self> + use<> {
        self.fed = sources;
        self.restart()
    }

    /// Starts one on the `directory` that another left, at its address.
    #[track_caller]
    pub(crate) fn start_at(directory: TempDir, address: SocketAddr) -> impl Future<Output = Self> + use<> {
        Self::open(Location::caller(), directory, String::new(), address.to_string(), Vec::new())
    }

    /// Drains it; what it leaves is its directory.
    pub(crate) async fn stop(self) -> TempDir {
        self.server.stop().await;
        self.directory
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its sources.
    pub(crate) fn sources(&self) -> &Sources {
        self.server.sources()
    }

    /// Its log.
    pub(crate) fn log(&self) -> &riacho::log::Log {
        self.server.log()
    }

    /// `http://` and the address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Publishes text; gives the event's id.
    #[track_caller]
    pub(crate) fn publish(&self, stream: &str, data: &str) -> impl Future<Output = String> + use<> {
        let asked = self.post(&format!("/streams/{stream}"), "Content-Type: text/plain\r\n", data);
        async move { asked.await.id() }
    }

    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> impl Future<Output = Response> + use<> {
        self.request("GET", target, "", "")
    }

    #[track_caller]
    pub(crate) fn post(
        &self,
        target: &str,
        headers: &str,
        body: &str,
    ) -> impl Future<Output = Response> + use<> {
        self.request("POST", target, headers, body)
    }

    /// One request on a connection of its own, with more `headers`, each ended by CRLF.
    #[track_caller]
    pub(crate) fn request(
        &self,
        method: &str,
        target: &str,
        headers: &str,
        body: &str,
    ) -> impl Future<Output = Response> + use<> {
        self.request_bytes(method, target, headers, body.as_bytes())
    }

    #[track_caller]
    pub(crate) fn request_bytes(
        &self,
        method: &str,
        target: &str,
        headers: &str,
        body: &[u8],
    ) -> impl Future<Output = Response> + use<> {
        let (at, address) = (Location::caller(), self.address());
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: riacho\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        let request = [head.as_bytes(), body].concat();
        async move {
            let mut connection = Connection::open(address).await;
            connection.asked_at(at);
            connection.send(request).await;
            connection.response_at(at).await
        }
    }

    /// One stream of the list.
    pub(crate) async fn listed(&self, stream: &str) -> Option<serde_json::Value> {
        let list = self.get("/streams?limit=1000").await.json();
        list["streams"].as_array().unwrap().iter().find(|listed| listed["name"] == stream).cloned()
    }

    /// The value of one metric.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics").await;
        let line = metrics.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no metric {name}")).parse().unwrap()
    }

    /// Waits until a metric has a value.
    #[track_caller]
    pub(crate) fn until_metric(&self, name: &str, value: u64) -> impl Future<Output = ()> {
        until(name, async move || (self.metric(name).await == value).then_some(()))
    }
}

/// A loopback address that no other server of any test has: so a restart can listen where it was.
pub(super) fn own_ip() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    format!("127.{}.{}.{}", 1 + process / 256 % 250, process % 256, number % 254 + 1)
}
