//! Settings that contradict each other: each is fine alone.

use super::{Config, Problem, Problems};

/// # Errors
/// Every contradiction, at the origin of the setting that is easier to be wrong about.
pub(super) fn check(config: &Config) -> Result<(), Problems> {
    let mut problems = Vec::new();
    if !config.http.listen.is_loopback() && !config.http.anonymous {
        let what = format!(
            "{} can be reached from other machines, and no authentication exists yet: anyone who reaches the address \
             could read and write everything. Listen on a loopback address such as 127.0.0.1:4700, or allow it with \
             --anonymous (RIACHO_ANONYMOUS=true, or `anonymous = true`)",
            config.http.listen
        );
        problems.push(Problem { at: config.effective.origin("listen"), what });
    }
    let limits = &config.limits;
    let sizes = [
        ("event_bytes_max", limits.event_bytes_max, "batch_bytes_max", limits.batch_bytes_max),
        (
            "batch_bytes_max",
            limits.batch_bytes_max,
            "publish_bytes_in_flight_max",
            limits.publish_bytes_in_flight_max,
        ),
        ("event_bytes_max", limits.event_bytes_max, "view_bytes_max", limits.view_bytes_max),
        ("view_bytes_max", limits.view_bytes_max, "views_bytes_max", limits.views_bytes_max),
        ("batch_bytes_max", limits.batch_bytes_max, "memory_bytes_max", limits.memory_bytes_max),
    ];
    for (part, part_bytes, whole, whole_bytes) in sizes {
        if part_bytes > whole_bytes {
            let (part, whole) = (format!("limits.{part}"), format!("limits.{whole}"));
            let what = format!(
                "{whole} ({}, {}) is less than {part} ({}, {}), which must fit into it",
                config.effective.text(&whole),
                config.effective.origin(&whole),
                config.effective.text(&part),
                config.effective.origin(&part),
            );
            // A default is never what somebody got wrong.
            let at = [&whole, &part].map(|name| config.effective.origin(name));
            let at = at.iter().find(|at| *at != "default").cloned().unwrap_or_default();
            problems.push(Problem { at, what });
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
}
