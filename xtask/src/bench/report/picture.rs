//! The picture: a bar for each server, as long as the CPU it takes to deliver one event.
//!
//! It has no background and says itself what colours to take in the dark, so it reads well on any page.

use super::unit::Unit;
use crate::bench::{peer::Peer, results::Results, rows::fan_out};

/// The picture as SVG. Without figures it says so.
pub(crate) fn draw(results: &Results) -> String {
    let steered = fan_out::workload(10_000, true);
    let plain = fan_out::workload(10_000, false);
    let bars = |workload: &str| -> Vec<(Peer, f64)> {
        let cpu = |peer| results.get(fan_out::ROW.name, workload, peer, fan_out::CPU);
        fan_out::SERVERS.into_iter().filter_map(|peer| Some((peer, cpu(peer)?))).collect()
    };
    let (how, mut bars) = match bars(&steered) {
        none if none.is_empty() => ("receiving included", bars(&plain)),
        some => ("sending only", some),
    };
    bars.sort_by(|one, other| one.1.total_cmp(&other.1));
    let longest = bars.iter().map(|bar| bar.1).fold(f64::MIN_POSITIVE, f64::max);
    let height = TOP + ROW * u32::try_from(bars.len()).unwrap_or(0) + 34;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title">
<title id="title">CPU per event delivered to each of 10,000 readers, server by server</title>
<style>
  text {{ font: 14px system-ui, sans-serif; fill: #1f2328 }}
  .small {{ font-size: 12px; fill: #59636e }}
  .head {{ font-size: 16px; font-weight: 600 }}
  rect {{ fill: #8c959f }}
  .own {{ fill: #0969da }}
  .limit {{ fill: none; stroke: #8c959f; stroke-dasharray: 4 3 }}
  @media (prefers-color-scheme: dark) {{
    text {{ fill: #e6edf3 }}
    .small {{ fill: #9198a1 }}
    rect {{ fill: #656d76 }}
    .own {{ fill: #4493f8 }}
    .limit {{ fill: none; stroke: #9198a1 }}
  }}
</style>
<text x="0" y="20" class="head">CPU per event delivered (less is better)</text>
<text x="0" y="40" class="small">one stream, 10,000 readers, 100-byte events, one core; {how}</text>
"#
    );
    for (at, (peer, cpu)) in (0_u32..).zip(&bars) {
        let y = TOP + ROW * at;
        let length = (cpu / longest * BAR_MAX).max(1.0);
        let class = match peer {
            Peer::Riacho => r#" class="own""#,
            Peer::Limit => r#" class="limit""#,
            _ => "",
        };
        svg += &format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n<rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"18\" rx=\"2\"{class}/>\n<text x=\"{:.1}\" y=\"{}\" class=\"small\">{}</text>\n",
            LEFT - 10,
            y + 14,
            peer.title().replace('`', ""),
            f64::from(LEFT) + length + 8.0,
            y + 14,
            Unit::Micros.text(*cpu),
        );
    }
    let foot = if bars.is_empty() {
        "Not measured.".to_owned()
    } else {
        format!("{}, {}", results.date, cpu(results))
    };
    svg += &format!("<text x=\"0\" y=\"{}\" class=\"small\">{foot}</text>\n</svg>\n", height - 8);
    svg
}

fn cpu(results: &Results) -> String {
    let cpu = results.facts.get("cpu").map_or("", String::as_str);
    cpu.replace('&', "&amp;").replace('<', "&lt;")
}

const WIDTH: u32 = 760;

const TOP: u32 = 60;

const ROW: u32 = 28;

const LEFT: u32 = 150;

const BAR_MAX: f64 = 500.0;
