//! `bench`: loads a server, this or another, and says what came of it.
//!
//! Losses are data: the exit code says only whether it ran. It must not disturb what it measures: subscribers take one
//! thread, publishers another, and what the server uses is read between the phases.

/// Flags and what they mean.
mod args;
/// What each event carries.
mod stamp;
/// What is missing.
mod gaps;
/// Events are counted.
mod tally;
/// What comes before them.
mod awaited;
/// Bodies of answers.
mod framing;
/// The same for HTTP/2.
mod http2;
/// Bytes of requests.
mod request;
/// Pages of long-poll.
mod pages;
/// Sockets.
mod connect;
/// What became of subscriptions.
mod roll;
/// The thread of subscribers.
mod subscribe;
/// The thread of publishers.
mod publish;
/// What the server uses.
mod process;
/// What the server and this thread used.
mod meter;
/// What is printed.
mod report;
/// The phases of a measurement.
mod phases;
#[cfg(test)]
mod tests;

use super::{Env, Failure};
use args::{CommonArgs, PublishArgs, SubscribeArgs};
use clap::{Args, Subcommand};

#[derive(Subcommand, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) enum Bench {
    /// Subscribe, receive for a while, and check what came.
    #[command(after_help = EXAMPLES)]
    Subscribe(Subscribe),
    /// Publish at a rate.
    #[command(after_help = EXAMPLES)]
    Publish(Publish),
    /// Both at once: how long events take to every subscriber, and what that costs the server.
    #[command(after_help = EXAMPLES)]
    Run(Run),
}

#[derive(Args, Debug)]
pub(super) struct Subscribe {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    subscribe: SubscribeArgs,
}

#[derive(Args, Debug)]
pub(super) struct Publish {
    #[command(flatten)]
    common: CommonArgs,
    /// The same as --publish-path.
    #[arg(long)]
    path: Vec<String>,
    #[command(flatten)]
    publish: PublishArgs,
}

#[derive(Args, Debug)]
pub(super) struct Run {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    subscribe: SubscribeArgs,
    #[command(flatten)]
    publish: PublishArgs,
}

impl Bench {
    pub(super) fn run(self, env: &Env) -> Result<(), Failure> {
        match self {
            Self::Subscribe(Subscribe { common, subscribe }) => {
                let plan = common.plan(env)?;
                phases::run(&plan, &subscribe.plan(&plan)?, None)?.print(common.json)
            }
            Self::Publish(Publish { common, path, mut publish }) => {
                let plan = common.plan(env)?;
                publish.publish_path.extend(path);
                match publish.plan(&plan, None)? {
                    Some(publish) => phases::publish(&plan, &publish)?.print(common.json),
                    None => Ok(()),
                }
            }
            Self::Run(Run { common, subscribe, publish }) => {
                let plan = common.plan(env)?;
                let subscribe = subscribe.plan(&plan)?;
                let publish = publish.plan(&plan, Some(&subscribe))?;
                phases::run(&plan, &subscribe, publish.as_ref())?.print(common.json)
            }
        }
    }
}

const EXAMPLES: &str = "Examples:
  riacho bench run --subscribers 10000 --rate 30 --pid $(pidof riacho)
  riacho bench run --subscribers 1000 --rate 20000 --batch 100 --json
  riacho bench publish --rate 0 --events 100000 && riacho bench run --subscribers 1000 --until 100000 \\
      --path '/streams/bench?from=earliest'
Rows of a table, and 500 subscribers each of which sees one of its 500 owners' rows:
  riacho bench run --keys 500 --subscribers 500 --path \"/tables/t?where=owner='{n}'\" --marker '\"v\":\"T' \\
      --ready '\"snapshot-end\"' \\
      --method PUT --publish-path '/tables/t/{n}' --content-type application/json \\
      --body-template '{\"v\":\"{event}\",\"owner\":\"{n}\"}'
Other servers:
  nchan:   riacho bench run http://127.0.0.1:8080 --path /sub/a --publish-path /pub/a
  Mercure: riacho bench run http://127.0.0.1:8080 --path '/.well-known/mercure?topic=a' \\
      --publish-path /.well-known/mercure --content-type application/x-www-form-urlencoded \\
      --body-template 'topic=a&data={event}' --publish-header \"Authorization: Bearer $TOKEN\"

Give the server and this command a core each, e.g. with `taskset`: it says where it was itself the bottleneck.";
