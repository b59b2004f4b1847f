//! A measurement in phases: connect, idle, publish and receive, close. What the server used is read between them.

use super::{
    args::{Common, PublishPlan, SubscribePlan},
    connect,
    meter::{Mark, Meter},
    publish::{Published, Publishers},
    report::{Report, each, rounded},
    subscribe::Crowd,
    tally::{Audience, Begin, Tally},
};
use crate::cli::{Failure, say};
use clap::ValueEnum as _;
use std::{thread, time::Duration};

/// Publishes only.
pub(super) fn publish(common: &Common, plan: &PublishPlan) -> Result<Report, Failure> {
    connect::allow_descriptors(plan.connections)?;
    let meter = Meter::of(common);
    let publishers = Publishers::connect(plan, &common.target)?;
    let mark = meter.mark();
    let published = publishers.run();
    let server = meter.server_micros(&mark);

    let mut report = Report::default();
    report.put("connections", plan.connections);
    let mut window = Report::default();
    let seconds = published.nanos as f64 / 1e9;
    window.put("seconds", rounded(seconds));
    put_published(&mut window, plan, &published);
    window.put_some("server_cpu_us", server.map(rounded));
    window.put_some("server_cpu_us_per_publish", server.and_then(|us| each(us, published.acknowledged)));
    put_client(&mut window, seconds, 0, Some(published.cpu));
    report.put_part("window", window);
    report.put_times("acknowledgement", &published.acknowledgement);
    put_memory_after(&mut report, &meter);
    Ok(report)
}

/// Subscribes and, with a second plan, publishes.
pub(super) fn run(
    common: &Common,
    plan: &SubscribePlan,
    publish: Option<&PublishPlan>,
) -> Result<Report, Failure> {
    connect::allow_descriptors(plan.connections() + publish.map_or(0, |publish| publish.connections))?;
    let meter = Meter::of(common);
    let audience = audience(plan, publish);
    let begin = if plan.join { Begin::First } else { Begin::Zero };
    let tally = Tally::new(&plan.marker, begin, tables(plan, publish));
    let mut crowd = Crowd::new(plan, &common.target, tally)?;
    let mut report = Report::default();
    report.put("subscribers", plan.subscribers);
    report.put("stalled", plan.stalled);
    report.put_some("connections", publish.map(|publish| publish.connections));
    report.put("transport", plan.transport.to_possible_value().map(|name| name.get_name().to_owned()));

    let memory = meter.memory();
    let first = meter.mark();
    crowd.connect()?;
    let accepted = crowd.roll.accepted as u64;
    let unready = crowd.await_ready();
    if unready > 0 {
        say(format_args!("{unready} subscribers did not receive what they wait for (--ready)"));
    }
    let mut connected = Report::default();
    connected.put("seconds", rounded(first.seconds()));
    connected.put_some("server_cpu_us_each", meter.server_micros(&first).and_then(|us| each(us, accepted)));
    if plan.ready.is_some() {
        connected.put("not_ready", unready);
    }
    connected.put("refused", plan.subscribers as u64 - accepted);
    report.put_part("connect", connected);
    say(format_args!("{accepted} subscribers after {:.2} s", first.seconds()));

    // With --until events come at once, and the window began with the first connection.
    let mut start = first;
    if plan.until.is_none() {
        let idle = meter.mark();
        while idle.at.elapsed() < plan.idle {
            crowd.turn(TURN);
        }
        let mut part = Report::default();
        if let (Some(before), Some(now)) = (memory, meter.memory()) {
            let used = now.since(before);
            part.put_some("server_pss_bytes_each", each(used.pss as f64, accepted));
            part.put_some("server_anon_bytes_each", each(used.anonymous as f64, accepted));
        }
        part.put_some("server_cpu_us", meter.server_micros(&idle).map(rounded));
        report.put_part("idle", part);
        start = meter.mark();
    }

    let received = (crowd.count.tally.received(), crowd.count.bytes);
    let received = if plan.until.is_some() { (0, 0) } else { received };
    let published = match publish {
        Some(publish) => {
            // Connecting is no part of the window.
            let publishers = Publishers::connect(publish, &common.target)?;
            start = meter.mark();
            Some(while_publishing(publishers, &mut crowd, audience)?)
        }
        None => {
            receive(&mut crowd, plan, &start, common.duration);
            None
        }
    };
    let (server, client) = (meter.server_micros(&start), start.client_nanos());
    let until_last = crowd.count.last_event.saturating_sub(start.realtime) as f64 / 1e9;
    let seconds = match &published {
        Some(published) => until_last.max(published.nanos as f64 / 1e9),
        None if plan.until.is_some() => until_last,
        None => start.seconds(),
    };
    let deliveries = crowd.count.tally.received() - received.0;
    let mut window = Report::default();
    window.put("seconds", rounded(seconds));
    if let (Some(plan), Some(published)) = (publish, &published) {
        put_published(&mut window, plan, published);
    }
    window.put("deliveries", deliveries);
    if deliveries > 0 {
        window.put("last_delivery_seconds", rounded(until_last));
    }
    window.put("deliveries_per_second", rounded(deliveries as f64 / seconds.max(1e-9)));
    window.put("bytes", crowd.count.bytes - received.1);
    window.put_some("server_cpu_us", server.map(rounded));
    window.put_some("server_cpu_us_per_delivery", server.and_then(|us| each(us, deliveries)));
    let acknowledged = published.as_ref().map_or(0, |published| published.acknowledged);
    window.put_some("server_cpu_us_per_publish", server.and_then(|us| each(us, acknowledged)));
    window.put_some("client_cpu_us_per_delivery", each(client as f64 / 1e3, deliveries));
    put_client(&mut window, seconds, client, published.as_ref().map(|published| published.cpu));
    report.put_part("window", window);
    if let Some(until) = plan.until {
        let mut part = Report::default();
        part.put("seconds", rounded(until_last));
        let until_first = crowd.count.first_event.saturating_sub(start.realtime) as f64 / 1e3;
        part.put("first_event_us", rounded(until_first));
        part.put("events_each", until);
        part.put("satisfied", crowd.count.satisfied);
        report.put_part("until", part);
    }

    put_memory_after(&mut report, &meter);
    close(&meter, &mut crowd, accepted, &mut report);
    let ended = crowd.roll.ended;
    let sources = published.as_ref().map(|published| (published.sources.as_slice(), audience));
    let totals = crowd.count.tally.end(sources);
    report.put_times("latency", &totals.latency);
    if let Some(published) = &published {
        report.put_times("acknowledgement", &published.acknowledgement);
    }
    report.put_totals(&totals, ended);
    Ok(report)
}

/// Receives until all satisfied subscribers have what they wait for, or the time is over.
fn receive(crowd: &mut Crowd<'_>, plan: &SubscribePlan, start: &Mark, duration: Duration) {
    let reading = crowd.count.tally.reading();
    while start.at.elapsed() < duration {
        if plan.until.is_some() && crowd.count.satisfied >= reading {
            return;
        }
        crowd.turn(TURN);
    }
}

/// Receives while another thread publishes, and then until all is there or nothing comes any more.
fn while_publishing(
    publishers: Publishers<'_>,
    crowd: &mut Crowd<'_>,
    audience: Audience,
) -> Result<Published, Failure> {
    let before = crowd.count.tally.received();
    let published = thread::scope(|scope| {
        let thread = scope.spawn(|| publishers.run());
        while !thread.is_finished() {
            crowd.turn(TURN);
        }
        thread.join().map_err(|_| Failure::Failed("the publishing thread panicked".to_owned()))
    })?;
    let expected = crowd.count.tally.expected(&published.sources, audience);
    let end = crate::clock::instant();
    let (mut received, mut moved) = (crowd.count.tally.received(), end);
    while expected.is_none_or(|expected| received - before < expected) && end.elapsed() < TAIL_MAX {
        crowd.turn(TURN);
        if crowd.count.tally.received() != received {
            (received, moved) = (crowd.count.tally.received(), crate::clock::instant());
        } else if moved.elapsed() > QUIET {
            break;
        }
    }
    Ok(published)
}

/// Closes all, and waits until the server has done its part.
fn close(meter: &Meter, crowd: &mut Crowd<'_>, accepted: u64, report: &mut Report) {
    let start = meter.mark();
    crowd.close();
    let mut seconds = start.seconds();
    if let Some(mut used) = meter.server_micros(&start) {
        while start.at.elapsed() < CLOSE_MAX {
            thread::sleep(SETTLE);
            let now = meter.server_micros(&start).unwrap_or(used);
            if now - used < SETTLED_MICROS {
                break;
            }
            used = now;
            seconds = start.seconds();
        }
    }
    let mut part = Report::default();
    part.put("seconds", rounded(seconds));
    part.put_some("server_cpu_us_each", meter.server_micros(&start).and_then(|us| each(us, accepted)));
    report.put_part("close", part);
}

/// The first source of each subscriber's table, and how many there are from there on.
fn tables(plan: &SubscribePlan, publish: Option<&PublishPlan>) -> impl Iterator<Item = (u32, usize)> {
    let own = match publish {
        Some(_) => audience(plan, publish) == Audience::Own,
        None => plan.paths.len() > 1,
    };
    let all = publish.map_or(SOURCES, |publish| match publish.paths.len() {
        1 => publish.connections,
        paths => paths.min(SOURCES_MAX),
    });
    let paths = plan.paths.len();
    (0..plan.subscribers).map(move |number| if own { ((number % paths) as u32, 1) } else { (0, all) })
}

fn audience(plan: &SubscribePlan, publish: Option<&PublishPlan>) -> Audience {
    match (plan.paths.len(), publish.map_or(0, |publish| publish.paths.len())) {
        (1, _) => Audience::All,
        (read, written) if read == written => Audience::Own,
        _ => Audience::Seen,
    }
}

fn put_published(window: &mut Report, plan: &PublishPlan, published: &Published) {
    window.put("published", published.events);
    window.put("publish_requests", published.requests);
    window.put("refused", serde_json::json!(published.refused));
    window.put("acknowledged", published.acknowledged);
    window.put_some("asked_per_second", plan.rate);
    let rate = published.events as f64 * 1e9 / published.nanos.max(1) as f64;
    window.put("published_per_second", rounded(rate));
    if published.unanswered > 0 {
        window.put("unanswered", published.unanswered);
    }
    if published.reconnects > 0 {
        window.put("reconnects", published.reconnects);
    }
}

/// What this process itself took: the threads of subscribers and of publishers, over the window.
fn put_client(window: &mut Report, seconds: f64, subscribers: u64, publishers: Option<u64>) {
    let busy = |nanos: u64| nanos as f64 / 1e9 / seconds.max(1e-9);
    let (subscribing, publishing) = (busy(subscribers), publishers.map_or(0.0, busy));
    let cores = thread::available_parallelism().map_or(1, usize::from) as f64;
    let all = (subscribing + publishing) / cores.min(2.0);
    let is_bottleneck = subscribing.max(publishing).max(all) > BUSY_MAX;
    window.put("client_cpu_us", (subscribers + publishers.unwrap_or(0)) / 1000);
    window.put("client_busy", rounded(subscribing));
    window.put_some("publisher_busy", publishers.map(|_| rounded(publishing)));
    window.put("client_is_bottleneck", is_bottleneck);
    if is_bottleneck {
        say(format_args!(
            "this command was itself the bottleneck (subscribers took {:.0} % of a core, publishers {:.0} %): \
             the server may do better than these numbers",
            subscribing * 100.0,
            publishing * 100.0
        ));
    }
}

fn put_memory_after(report: &mut Report, meter: &Meter) {
    if let Some(memory) = meter.memory() {
        let mut part = Report::default();
        part.put("server_pss_bytes", memory.pss);
        part.put("server_anon_bytes", memory.anonymous);
        report.put_part("memory_after", part);
    }
}

/// How long to wait for anything before looking at what else there is to do.
const TURN: Duration = Duration::from_millis(10);
/// The end of what comes: nothing for so long.
const QUIET: Duration = Duration::from_secs(1);
const TAIL_MAX: Duration = Duration::from_secs(10);
const CLOSE_MAX: Duration = Duration::from_secs(5);
const SETTLE: Duration = Duration::from_millis(50);
const SETTLED_MICROS: f64 = 1000.0;
/// A thread that takes more of a core than this may be late by itself.
const BUSY_MAX: f64 = 0.9;
/// Sources in a table before any was seen, where nobody says how many there will be.
const SOURCES: usize = 8;
const SOURCES_MAX: usize = 4096;
