//! `serve` and `demo`.

use super::{Env, Failure, settings::SettingArgs};
use crate::{
    config::{LogFormat, Logging},
    source::Reload,
};
use std::io;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

pub(super) fn run(settings: SettingArgs, env: &Env, demo: bool) -> Result<(), Failure> {
    let config = settings.clone().load_or_fail(env)?;
    start_logging(&config.logging)?;
    let env = env.clone();
    let reload = Reload::new(move || {
        let config = settings.clone().load(&env).map_err(|problems| problems.to_string())?;
        Ok(config.sources)
    });
    crate::serve::run(&config, demo, reload).map_err(|err| Failure::Failed(err.chain()))
}

fn start_logging(logging: &Logging) -> Result<(), Failure> {
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let layer = match logging.log_format {
        LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        // What this library says of a lost connection its caller says in its own words.
        .with(
            layer.with_filter(logging.log_level.clone().with_target("pgwire_replication", LevelFilter::OFF)),
        )
        .try_init()
        .map_err(|err| Failure::Failed(format!("cannot start logging: {err}")))
}
