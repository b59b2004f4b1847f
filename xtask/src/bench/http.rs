//! The few single requests that the runner sends itself.

use anyhow::{Context, Result, bail};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

/// Sends one request and returns the body of its answer, which must say that it went well.
pub(super) fn request(port: u16, method: &str, path: &str, kind: &str, body: &str) -> Result<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).context("failed to connect")?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let length = body.len();
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\ncontent-type: {kind}\r\n\
         content-length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    socket
        .read_to_end(&mut answer)
        .with_context(|| format!("failed to read the answer to {method} {path}"))?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
        bail!("{method} {path}: {}", head.lines().next().unwrap_or("no answer"));
    }
    Ok(body.to_owned())
}

/// A number that Riacho's metrics have under this name.
pub(super) fn metric(port: u16, name: &str) -> Result<f64> {
    let text = request(port, "GET", "/metrics", "text/plain", "")?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.with_context(|| format!("no metric {name}"))?.trim().parse().context("no number")
}

/// Publishes one event to Riacho and returns its cursor.
pub(super) fn publish_for_cursor(port: u16, path: &str) -> Result<String> {
    let body = request(port, "POST", path, "text/plain", "a place to go on from")?;
    let answer: serde_json::Value =
        serde_json::from_str(&body).with_context(|| format!("no JSON: {body}"))?;
    let id = answer.get("id").and_then(serde_json::Value::as_str).context("the answer has no id")?;
    Ok(id.to_owned())
}
