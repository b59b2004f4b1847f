//! All sources of a server: a task each, started, replaced and stopped.

use super::{
    Database, Reader, Sink, SourceSettings,
    dynamodb::{DynamoDbReader, Push},
    sink::{Board, Lag},
};
use crate::{
    clock,
    log::{Log, Note, SourceWrite},
    webhook::WebhookSecret,
};
use riacho_core::{
    source::machine::{Fault, Input, Output, State, TableState},
    time::Millis,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// All sources of a server. Cheap to clone.
#[derive(Clone)]
pub struct Sources {
    shared: Arc<Shared>,
}

struct Shared {
    log: Log,
    reload: Reload,
    running: Mutex<BTreeMap<Arc<str>, Running>>,
}

/// A source and its task.
struct Running {
    settings: SourceSettings,
    board: Arc<Board>,
    commands: mpsc::Sender<Command>,
    pushes: mpsc::Sender<Push>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What a person asks of a source.
#[derive(Clone, Copy, Debug)]
enum Command {
    Pause,
    Resume,
}

/// Where a source is pushed to.
#[derive(Clone, Debug)]
pub struct Door {
    /// What signs what is pushed.
    pub secret: WebhookSecret,
    /// What is pushed; while the source cannot take it, it waits, and who pushes with it.
    pub pushes: mpsc::Sender<Push>,
    /// Whether the source was told to rest: it takes nothing until somebody has it go on.
    pub paused: bool,
}

/// What is known of one source.
#[derive(Clone, Debug)]
pub struct SourceInfo {
    /// Its name.
    pub name: Arc<str>,
    /// What kind of database it is.
    pub kind: &'static str,
    /// What it is doing.
    pub state: State,
    /// Since when.
    pub since: Millis,
    /// How far behind it is.
    pub lag: Lag,
    /// Its tables by our names.
    pub tables: Vec<TableInfo>,
    /// What it waits for in its database: a sentence without a stop.
    pub waits: Option<String>,
    /// What went wrong last, and when.
    pub last_fault: Option<(Millis, Fault)>,
}

/// What is known of one table of a source.
#[derive(Clone, Debug)]
pub struct TableInfo {
    /// Our name.
    pub name: String,
    /// Its state.
    pub state: TableState,
}

/// Reads anew what is configured of sources.
#[derive(Clone)]
pub struct Reload(Arc<dyn Fn() -> Result<Vec<SourceSettings>, String> + Send + Sync>);

impl Reload {
    /// By `read`, whose error says all that is wrong with the configuration.
    pub fn new(read: impl Fn() -> Result<Vec<SourceSettings>, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The same, and a source that is there whatever is configured.
    #[must_use]
    pub fn and(&self, always: SourceSettings) -> Self {
        let read = Arc::clone(&self.0);
        Self::new(move || {
            let mut sources = read()?;
            sources.push(always.clone());
            Ok(sources)
        })
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload")
    }
}

impl Sources {
    /// No sources yet.
    pub fn new(log: Log, reload: Reload) -> Self {
        Self { shared: Arc::new(Shared { log, reload, running: Mutex::default() }) }
    }

    /// Runs these sources and no others: those that run as they are go on undisturbed; others are stopped, begun, or begun
    /// anew with their new settings, from where they were.
    pub async fn run(&self, wanted: Vec<SourceSettings>) {
        let stopped: Vec<Running> = {
            let mut running = self.lock();
            let same = |source: &Running| wanted.contains(&source.settings);
            let gone: Vec<Arc<str>> = running
                .iter()
                .filter(|(_, source)| !same(source))
                .map(|(name, _)| Arc::clone(name))
                .collect();
            gone.iter().filter_map(|name| running.remove(name)).collect()
        };
        for source in stopped {
            let name = Arc::clone(&source.settings.name);
            source.stop().await;
            if !wanted.iter().any(|settings| settings.name == name) {
                self.shared.log.feed_only(&name, &[]);
                tracing::info!(source = &*name, "source removed");
            }
        }
        self.forget_others(&wanted).await;
        let mut running = self.lock();
        for settings in wanted {
            let name = Arc::clone(&settings.name);
            running.entry(name).or_insert_with(|| Running::start(self.shared.log.clone(), settings));
        }
    }

    // What was noted of sources that are no more: their tables are anybody's meanwhile, so one that comes back begins anew,
    // with what differs.
    async fn forget_others(&self, wanted: &[SourceSettings]) {
        let of = |name: &str| name.split('/').next().unwrap_or_default().to_owned();
        let gone = |name: &str| !wanted.iter().any(|settings| *settings.name == *of(name));
        let notes: Vec<Note> = self
            .shared
            .log
            .notes("")
            .into_iter()
            .filter(|(name, _)| gone(name))
            .map(|(name, _)| Note { name, value: Box::default() })
            .collect();
        if notes.is_empty() {
            return;
        }
        let write = SourceWrite { source: "none".into(), transactions: Vec::new(), notes };
        if let Err(err) = self.shared.log.write_source(write).await {
            tracing::error!(error = %err, "what was noted of sources that are no more is not forgotten");
        }
    }

    /// Runs the sources as they are configured now.
    ///
    /// # Errors
    /// What is wrong with the configuration; then all stay as they are.
    pub async fn reload(&self) -> Result<(), String> {
        let wanted = (self.shared.reload.0)()?;
        tracing::info!(sources = wanted.len(), "sources read anew");
        self.run(wanted).await;
        Ok(())
    }

    /// What is known of all sources, by name.
    pub fn list(&self) -> Vec<SourceInfo> {
        self.lock().values().map(Running::info).collect()
    }

    /// Whether the rows of all their tables are whole.
    pub fn are_ready(&self) -> bool {
        let ready = |source: &Running| {
            let machine = source.board.machine();
            !machine.tables().is_empty() && machine.tables().values().all(|table| table.ready)
        };
        self.lock().values().all(ready)
    }

    /// Has the source `name` rest, until [`Sources::resume`] or a restart; whether there is one.
    pub async fn pause(&self, name: &str) -> bool {
        self.command(name, Command::Pause).await
    }

    /// Has the source `name` go on, or try again at once; whether there is one.
    pub async fn resume(&self, name: &str) -> bool {
        self.command(name, Command::Resume).await
    }

    /// Where changes are pushed to the source `name`; none where it takes none, or there is none.
    pub fn door(&self, name: &str) -> Option<Door> {
        let running = self.lock();
        let source = running.get(name)?;
        let Database::DynamoDb(settings) = &source.settings.database else { return None };
        let secret = WebhookSecret::parse(&settings.secret.as_ref()?.0).ok()?;
        let paused = source.board.machine().state() == State::Paused;
        Some(Door { secret, pushes: source.pushes.clone(), paused })
    }

    async fn command(&self, name: &str, command: Command) -> bool {
        let commands = self.lock().get(name).map(|source| source.commands.clone());
        match commands {
            // It ends only with the server.
            Some(commands) => commands.send(command).await.is_ok(),
            None => false,
        }
    }

    /// Stops all. What they have read and not committed is read again at the next start.
    pub async fn stop(&self) {
        let running = std::mem::take(&mut *self.lock());
        for source in running.into_values() {
            source.stop().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Running>> {
        self.shared.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn start(log: Log, settings: SourceSettings) -> Self {
        let board = Arc::new(Board::new());
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let (stop, stopped) = watch::channel(false);
        let sink = Sink::new(log, Arc::clone(&settings.name), Arc::clone(&board));
        sink.expect(&settings.tables);
        let (pushes, pushed) = mpsc::channel(DynamoDbReader::PUSHES_MAX);
        let reader = Reader::new(&settings, pushed);
        let task = tokio::spawn(drive(reader, sink, Arc::clone(&board), received, stopped));
        Self { settings, board, commands, pushes, stop, task }
    }

    async fn stop(self) {
        // Fails only where the task has ended.
        let _ = self.stop.send(true);
        if let Err(err) = self.task.await {
            tracing::error!(source = &*self.settings.name, error = %err, "the task of a source panicked");
        }
    }

    fn info(&self) -> SourceInfo {
        let machine = self.board.machine();
        let table =
            |(name, state): (&String, &TableState)| TableInfo { name: name.clone(), state: state.clone() };
        SourceInfo {
            name: Arc::clone(&self.settings.name),
            kind: self.settings.database.kind(),
            state: machine.state(),
            since: machine.since(),
            lag: *self.board.lag(),
            tables: machine.tables().iter().map(table).collect(),
            waits: machine.waits().map(str::to_owned),
            last_fault: machine.last_fault().cloned(),
        }
    }
}

// Does what the machine says until it is stopped.
async fn drive(
    mut reader: Reader,
    sink: Sink,
    board: Arc<Board>,
    mut commands: mpsc::Receiver<Command>,
    mut stop: watch::Receiver<bool>,
) {
    let mut next = Some(Output::Connect);
    loop {
        let input = match next {
            Some(Output::Connect) => tokio::select! {
                // A reader that is dropped reads again what was not committed.
                fault = reader.read(&sink) => {
                    log_fault(sink.source(), &fault);
                    Input::Failed(fault)
                }
                command = commands.recv() => input_of(command),
                _ = stop.wait_for(|stop| *stop) => return,
            },
            Some(Output::WakeAt(until)) => tokio::select! {
                // All three only wait.
                () = tokio::time::sleep(Duration::from_millis(until.saturating_sub(clock::now()))) => Input::Tick,
                command = commands.recv() => input_of(command),
                _ = stop.wait_for(|stop| *stop) => return,
            },
            Some(Output::Disconnect) | None => tokio::select! {
                // Both only wait.
                command = commands.recv() => input_of(command),
                _ = stop.wait_for(|stop| *stop) => return,
            },
        };
        next = board.handle(input);
    }
}

fn input_of(command: Option<Command>) -> Input {
    match command {
        Some(Command::Pause) => Input::Pause,
        Some(Command::Resume) | None => Input::Resume,
    }
}

fn log_fault(source: &str, fault: &Fault) {
    let Fault { kind, message, remedy } = fault;
    let remedy = remedy.as_deref();
    match kind {
        riacho_core::source::machine::FaultKind::Passing => {
            tracing::warn!(source, error = message, remedy, "source lost its database, and tries again");
        }
        riacho_core::source::machine::FaultKind::NeedsPerson => {
            tracing::error!(source, error = message, remedy, "source cannot go on until somebody helps");
        }
    }
}

// What a person asks while a source is busy.
const COMMANDS_MAX: usize = 8;
