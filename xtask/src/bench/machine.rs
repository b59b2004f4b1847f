//! What machine this is, and whether it is quiet.

use crate::command::{output, root};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

/// Facts of the machine and versions of what takes part, by name.
pub(super) type Facts = BTreeMap<String, String>;

/// All that a reader needs to compare machines.
pub(super) fn facts(directory: &Path) -> Facts {
    let mut facts = Facts::new();
    let mut add = |name: &str, value: String| {
        facts.insert(name.to_owned(), value);
    };
    add("kernel", text("uname", &["-sr"]));
    add("cpu", cpu());
    add("cores", cores().to_string());
    add("memory", memory());
    add("load average at the start", load().to_string());
    add("rustc", text("rustc", &["--version"]));
    add("commit", text("git", &["describe", "--always", "--dirty", "--exclude=*"]));
    add("fdatasync of 4 KiB, microseconds", format!("{:.0}", sync_micros(directory).unwrap_or(f64::NAN)));
    facts
}

/// A name for files: the CPU and how many there are of it.
pub(super) fn slug() -> String {
    let words = format!("{} {} cores", cpu(), cores()).to_lowercase();
    let words = words.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// The date in UTC, as in `2026-11-21`.
pub(super) fn date() -> String {
    text("date", &["-u", "+%Y-%m-%d"])
}

/// How many cores this process may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The load average of the last minute.
pub(super) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

/// Whether the process is root's.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Time, for how long things took.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub(super) fn now() -> Instant {
    Instant::now()
}

fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    model.map_or_else(
        || text_or_unknown(std::env::consts::ARCH),
        |model| text_or_unknown(model.trim_start_matches([' ', '\t', ':'])),
    )
}

fn memory() -> String {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = text.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
    format!("{} GiB", (kilobytes + (1 << 19)) >> 20)
}

fn text(program: &str, args: &[&str]) -> String {
    output(program, args).map_or_else(|_| "unknown".to_owned(), |text| text_or_unknown(&text))
}

fn text_or_unknown(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() { "unknown".to_owned() } else { text.to_owned() }
}

/// What the disk takes for what a durable publish waits for; the median of many.
fn sync_micros(directory: &Path) -> std::io::Result<f64> {
    let path = root().join(directory).join("sync");
    let mut file = File::create(&path)?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let begin = now();
        file.write_all(&[b'x'; 4096])?;
        file.sync_data()?;
        times.push(micros(now() - begin));
    }
    fs::remove_file(&path)?;
    Ok(super::results::median(&mut times).unwrap_or(f64::NAN))
}

/// A duration in microseconds.
pub(super) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
