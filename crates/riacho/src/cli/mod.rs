//! The commands of the `riacho` binary.
//!
//! Data goes to stdout, everything else to stderr. Exit codes: 0 fine, 1 failed while running, 2 bad usage.

/// Settings as flags, from the table of settings.
mod settings;
/// `serve` and `demo`.
mod serve;
/// `check`.
mod check;
/// `publish`.
mod publish;
/// `follow`.
mod follow;
/// `log inspect`, `log verify`, `log repair`.
mod log;
/// `source check`, `source setup`, `source teardown`, `source status`.
mod source;
/// `source import`.
mod import;
/// Exports of DynamoDB to S3.
mod export;
/// `bench`.
mod bench;
/// What `publish` and `follow` share: the server's address, its answers, waiting before another try.
mod client;
/// Lines of a byte stream that arrives in pieces.
mod lines;
/// Lines become batches.
mod batch;
/// What `follow` makes of the lines it receives.
mod resume;
/// How far a long piece of work is.
mod progress;
#[cfg(test)]
mod tests;

use clap::{CommandFactory as _, Parser, Subcommand};
use std::{
    ffi::OsString,
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
};

/// The environment of this process; passed, so that no command reads it behind the caller's back.
type Env = Vec<(OsString, OsString)>;

/// Realtime data for browsers over plain HTTP.
///
/// Without a command: serve. Publish with `curl -d hello localhost:4700/streams/chat/lobby`, read with
/// `curl -N localhost:4700/streams/chat/lobby` or `new EventSource(...)`.
#[derive(Parser, Debug)]
#[command(name = "riacho", version, args_conflicts_with_subcommands = true, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    settings: settings::SettingArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the server (the default).
    Serve(settings::SettingArgs),
    /// Run the server with live examples at /demo/.
    Demo(settings::SettingArgs),
    /// Publish events: one from the command line, or many from stdin.
    Publish(publish::Publish),
    /// Print the events of streams as they come; resumes by itself.
    Follow(follow::Follow),
    /// Measure a server, this or another: many subscribers, publishers at a rate, latency, losses, CPU time and memory.
    #[command(subcommand)]
    Bench(Box<bench::Bench>),
    /// Check the configuration and print the settings in effect, each with where it came from.
    Check(check::Check),
    /// Look into a log while no server runs on it.
    #[command(subcommand)]
    Log(log::Log),
    /// See whether a database can be a source, prepare it, and see what the sources of a server are doing.
    #[command(subcommand)]
    Source(source::Source),
    /// Print the version.
    Version,
    /// Print shell completions, e.g. `riacho completions bash > /etc/bash_completion.d/riacho`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Why a command ends otherwise than well.
#[derive(Debug)]
enum Failure {
    /// It was asked for something that cannot be right: exit code 2. The text may have several lines.
    Usage(String),
    /// It failed while running: exit code 1.
    Failed(String),
    /// Nobody reads what it prints any more, which is how `| head` says enough: exit code 0.
    Unread,
}

impl Failure {
    /// A failed write of data to stdout.
    fn of_stdout(err: &io::Error) -> Self {
        match err.kind() {
            io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::Failed(format!("cannot write to stdout: {err}")),
        }
    }
}

/// Runs the command that `args` (the program's name first) ask for; the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>, env: Vec<(OsString, OsString)>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        // Help and version are errors to clap, for stdout and with exit code 0; a closed pipe is nobody's loss.
        Err(err) => {
            let _ = err.print();
            return ExitCode::from(u8::try_from(err.exit_code()).unwrap_or(2));
        }
    };
    let done = match cli.command.unwrap_or(Command::Serve(cli.settings)) {
        Command::Serve(settings) => serve::run(settings, &env, false),
        Command::Demo(settings) => serve::run(settings, &env, true),
        Command::Publish(publish) => publish.run(&env),
        Command::Follow(follow) => follow.run(&env),
        Command::Bench(bench) => bench.run(&env),
        Command::Check(check) => check.run(&env),
        Command::Log(log) => log.run(&env),
        Command::Source(source) => source.run(&env),
        Command::Version => print(format_args!("riacho {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Completions { shell } => completions(shell),
    };
    match done {
        Ok(()) | Err(Failure::Unread) => ExitCode::SUCCESS,
        Err(Failure::Failed(text)) => {
            say(text);
            ExitCode::FAILURE
        }
        Err(Failure::Usage(text)) => {
            say(text);
            ExitCode::from(2)
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    // Made in memory first: clap_complete panics when its writer fails, as a closed pipe does.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "riacho", &mut script);
    print(String::from_utf8_lossy(&script))
}

/// Data for stdout.
fn print(text: impl Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|err| Failure::of_stdout(&err))
}

/// Talk for stderr, each line with our name. Who closed stderr does not want it.
fn say(text: impl Display) {
    let mut stderr = io::stderr().lock();
    for line in text.to_string().lines() {
        let _ = writeln!(stderr, "riacho: {line}");
    }
}
