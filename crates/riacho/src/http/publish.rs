//! Events come in: one event, or a batch that is appended whole or not at all.

use super::{
    App, Settings,
    problem::Problem,
    request::{self, Query, shown},
};
use crate::log::{Appended, Batch, Entry, Key};
use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use riacho_core::{
    event::{Data, EventType},
    name::StreamName,
    transport::command::Publish,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::{borrow::Cow, sync::Arc, time::Duration};
use tokio::sync::OwnedSemaphorePermit;

/// `POST /streams/{name}`.
pub(super) async fn one(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let stream = request::stream_name(&parts.uri)?;
    let query = Query::of(&parts.uri)?;
    let event_type = query.get("type").map(parse_type).transpose()?;
    let content = content(&parts.headers)?;
    let bound = match content {
        Content::Lines => Bound::of_batch(app.settings()),
        Content::Text | Content::Json => Bound {
            bytes_max: app.settings().event_bytes_max,
            lines: false,
            code: "event_too_large",
            limit: "event_bytes_max",
        },
    };
    let (text, permit) = receive(&app, &parts, body, bound).await?;
    let entries = match content {
        Content::Lines => lines(app.settings(), &text, false, |line, line_stream| match line_stream {
            Some(other) if other != stream.as_str() => {
                let detail = "a batch for one stream holds no other `stream`; POST /streams takes several";
                Err(Problem::bad("line_invalid", "Bad line", detail))
            }
            _ => entry(stream.clone(), event_type.clone(), line),
        })?,
        Content::Text => vec![Entry { stream, event_type, data: Data::text(text.as_str()) }],
        Content::Json => {
            let data = Data::json(text.as_str()).map_err(|err| {
                Problem::bad("json_invalid", "Bad JSON", format!("the body is not JSON: {err}"))
            })?;
            vec![Entry { stream, event_type, data }]
        }
    };
    append(&app, &parts, &text, entries, permit).await
}

/// `POST /streams`: a batch over several streams.
pub(super) async fn batch(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    if content(&parts.headers)? != Content::Lines {
        let detail =
            "a batch over several streams is application/x-ndjson, a line {\"stream\",\"data\"} per event";
        return Err(unsupported(detail));
    }
    let event_type = Query::of(&parts.uri)?.get("type").map(parse_type).transpose()?;
    let (text, permit) = receive(&app, &parts, body, Bound::of_batch(app.settings())).await?;
    let entries = lines(app.settings(), &text, true, |line, stream| {
        let Some(stream) = stream else {
            return Err(Problem::bad("line_invalid", "Bad line", "the member `stream` is missing"));
        };
        entry(request::parse_name(stream)?, event_type.clone(), line)
    })?;
    append(&app, &parts, &text, entries, permit).await
}

/// An event that comes on a WebSocket. Events are stored in the order in which this is first polled.
pub(super) async fn said(app: App, publish: Publish) -> Result<Appended, Problem> {
    let Publish { stream, event_type, data, idempotency_key } = publish;
    let bytes_max = app.settings().event_bytes_max;
    if data.text.len() > bytes_max {
        let detail = format!("the data is larger than {bytes_max} bytes (limit event_bytes_max)");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(
            Problem::new(status, "event_too_large", "Too large", detail).limited_by("event_bytes_max")
        );
    }
    let key = idempotency_key.map(|key| {
        let json: &[u8] = if data.json { b"json" } else { b"text" };
        let event_type = event_type.as_deref().unwrap_or_default().as_bytes();
        key_of(&key, &[b"websocket", stream.as_bytes(), event_type, json, data.text.as_bytes()])
    });
    let stream = request::parse_name(&stream)?;
    let event_type = event_type.as_deref().map(parse_type).transpose()?;
    let (key, permit) = (key.transpose()?, permit(&app, data.text.len())?);
    let batch = Batch { entries: vec![Entry { stream, event_type, data }], key };
    Ok(app.log().append_counted(batch, Some(permit)).await?)
}

// Stands for bytes that are being published until the log has answered.
fn permit(app: &App, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
    let bytes = u32::try_from(bytes.max(1)).unwrap_or(u32::MAX);
    Arc::clone(&app.shared.publish_bytes).try_acquire_many_owned(bytes).map_err(|_| {
        let limit = "publish_bytes_in_flight_max";
        let detail = "too much is being published at once (limit publish_bytes_in_flight_max)";
        Problem::overloaded(limit, detail).limited_by(limit)
    })
}

async fn append(
    app: &App,
    parts: &Parts,
    text: &str,
    entries: Vec<Entry>,
    permit: OwnedSemaphorePermit,
) -> Result<Response, Problem> {
    let key = idempotency_key(parts, &[text.as_bytes()])?;
    let appended = app.log().append_counted(Batch { entries, key }, Some(permit)).await?;
    Ok(created(app, appended))
}

fn created(app: &App, appended: Appended) -> Response {
    // A cursor needs no escaping in JSON.
    let (id, count) = (app.log().position(appended.last()), appended.count);
    let body = format!("{{\"id\":\"{id}\",\"count\":{count}}}\n");
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")]
        .map(|(name, value)| (name, HeaderValue::from_static(value)));
    (StatusCode::CREATED, headers, body).into_response()
}

/// What a body is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Text,
    Json,
    Lines,
}

fn content(headers: &HeaderMap) -> Result<Content, Problem> {
    let essence = media_type(headers)?.unwrap_or_default();
    match essence.as_str() {
        "application/json" => Ok(Content::Json),
        essence if is_ndjson(essence) => Ok(Content::Lines),
        // What curl says of `-d` unless told otherwise.
        "" | FORM => Ok(Content::Text),
        other if other.starts_with("text/") => Ok(Content::Text),
        other => {
            let detail = format!(
                "events come as text/*, application/json or application/x-ndjson, not `{}`",
                shown(other)
            );
            Err(unsupported(detail))
        }
    }
}

/// The media type of a body in lower case, without parameters; none where nothing is said. It is in UTF-8 and not coded.
pub(super) fn media_type(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    if let Some(coding) = headers.get(header::CONTENT_ENCODING).filter(|coding| *coding != "identity") {
        let coding = shown(&String::from_utf8_lossy(coding.as_bytes()));
        return Err(unsupported(format!("bodies are taken as they are, not in the coding `{coding}`")));
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let charset = parts.find_map(|p| p.strip_prefix("charset=")).map(|c| c.trim_matches('"').to_owned());
    if let Some(charset) = charset.filter(|c| !matches!(c.as_str(), "utf-8" | "utf8" | "us-ascii")) {
        return Err(unsupported(format!("the charset is utf-8, not `{}`", shown(&charset))));
    }
    Ok(Some(essence.to_owned()))
}

/// Whether a media type is one of the names of NDJSON.
pub(super) fn is_ndjson(essence: &str) -> bool {
    matches!(essence, "application/x-ndjson" | "application/ndjson" | "application/jsonl")
}

/// The body is of another kind than is taken here.
pub(super) fn unsupported(detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "content_type_unsupported",
        "Unsupported content",
        detail,
    )
}

/// How long a body may be, and what is said of one that is longer.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    /// Bytes.
    pub(super) bytes_max: usize,
    /// Whether it has lines, so that a fault in it is of one.
    pub(super) lines: bool,
    /// The error's code,
    pub(super) code: &'static str,
    /// and the limit that is hit.
    pub(super) limit: &'static str,
}

impl Bound {
    /// That of a batch of lines.
    pub(super) fn of_batch(settings: &Settings) -> Self {
        let bytes_max = settings.batch_bytes_max;
        Self { bytes_max, lines: true, code: "batch_too_large", limit: "batch_bytes_max" }
    }

    fn exceeded(self) -> Problem {
        let Self { bytes_max, code, limit, .. } = self;
        let detail = format!("the body is larger than {bytes_max} bytes (limit {limit})");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, code, "Too large", detail).limited_by(limit)
    }
}

/// Reads the body within its bounds; the permit stands for its bytes until the log has answered.
pub(super) async fn receive(
    app: &App,
    parts: &Parts,
    body: Body,
    bound: Bound,
) -> Result<(String, OwnedSemaphorePermit), Problem> {
    let (bytes, permit) = receive_bytes(app, parts, body, bound).await?;
    let text = match String::from_utf8(bytes.into()) {
        Ok(text) => text,
        Err(err) => {
            let at = err.utf8_error().valid_up_to();
            let problem =
                Problem::bad("not_utf8", "Not UTF-8", format!("the body is not UTF-8 at byte {at}"));
            if !bound.lines {
                return Err(problem);
            }
            let line = err.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
            return Err(problem.at_line(line));
        }
    };
    Ok((text, permit))
}

/// The same, whatever the bytes are.
pub(super) async fn receive_bytes(
    app: &App,
    parts: &Parts,
    body: Body,
    bound: Bound,
) -> Result<(Bytes, OwnedSemaphorePermit), Problem> {
    let bytes_max = bound.bytes_max;
    let announced = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(bound.exceeded());
    }
    let permit = permit(app, announced.unwrap_or(bytes_max))?;
    let collected = tokio::time::timeout(BODY_TIME_MAX, Limited::new(body, bytes_max).collect()).await;
    let Ok(collected) = collected else {
        let detail = format!("the body did not arrive within {} s", BODY_TIME_MAX.as_secs());
        return Err(
            Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", "Body too slow", detail).retriable()
        );
    };
    match collected {
        Ok(collected) => Ok((collected.to_bytes(), permit)),
        Err(err) if err.is::<LengthLimitError>() => Err(bound.exceeded()),
        Err(_) => {
            let detail = format!("the body of {} {} broke off", parts.method, parts.uri.path());
            Err(Problem::bad("body_incomplete", "Body incomplete", detail).retriable())
        }
    }
}

/// One line of a batch; what else reading gives (`id`, `time`) is passed over.
#[derive(Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow, default, deserialize_with = "crate::json::data")]
    data: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    event_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    stream: Option<Cow<'a, str>>,
}

/// The events of a batch; `entry` makes one of a line and its `stream`. With `of_readers`, what the server itself says
/// between events is passed over.
pub(super) fn lines(
    settings: &Settings,
    text: &str,
    of_readers: bool,
    mut entry: impl FnMut(&Line<'_>, Option<&str>) -> Result<Entry, Problem>,
) -> Result<Vec<Entry>, Problem> {
    let (events_max, bytes_max) = (settings.batch_events_max, settings.event_bytes_max);
    let mut entries = Vec::new();
    for (number, line) in text.split('\n').enumerate() {
        let number = number + 1;
        let line = line.trim_matches([' ', '\t', '\r']);
        if line.is_empty() {
            continue;
        }
        let line: Line<'_> = serde_json::from_str(line).map_err(|err| {
            // Its own line number is that within this one line.
            let (text, column) = (err.to_string(), err.column());
            let text = text.split(" at line ").next().unwrap_or_default();
            let detail = format!("not a JSON object of an event: {text} at column {column}");
            Problem::bad("line_invalid", "Bad line", detail).at_line(number)
        })?;
        // What the server itself says between events, when a reader's output is published as it is.
        let own = line.event_type.as_ref().is_some_and(|t| t.starts_with("riacho."));
        if own && line.stream.is_none() && of_readers {
            continue;
        }
        if entries.len() == events_max {
            let detail = format!("a batch has at most {events_max} events (limit batch_events_max)");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            let problem = Problem::new(status, "batch_too_large", "Too large", detail);
            return Err(problem.limited_by("batch_events_max").at_line(number));
        }
        let entry = entry(&line, line.stream.as_deref()).map_err(|problem| problem.at_line(number))?;
        if entry.data.text.len() > bytes_max {
            let detail = format!("the data is larger than {bytes_max} bytes (limit event_bytes_max)");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            let problem = Problem::new(status, "event_too_large", "Too large", detail);
            return Err(problem.limited_by("event_bytes_max").at_line(number));
        }
        entries.push(entry);
    }
    if entries.is_empty() {
        return Err(Problem::bad("batch_empty", "Empty batch", "the batch holds no event"));
    }
    Ok(entries)
}

/// The event of a line.
pub(super) fn entry(
    stream: StreamName,
    event_type: Option<EventType>,
    line: &Line<'_>,
) -> Result<Entry, Problem> {
    let Some(raw) = line.data else {
        return Err(Problem::bad("line_invalid", "Bad line", "the member `data` is missing"));
    };
    // The JSON form shows text as a string, so a string is text.
    let data = match serde_json::from_str::<Cow<'_, str>>(raw.get()) {
        Ok(text) => Data::text(text),
        Err(_) => Data { text: raw.get().into(), json: true },
    };
    let event_type = line.event_type.as_deref().map(parse_type).transpose()?.or(event_type);
    Ok(Entry { stream, event_type, data })
}

fn parse_type(text: &str) -> Result<EventType, Problem> {
    EventType::parse(text)
        .map_err(|err| Problem::bad("type_invalid", "Bad event type", format!("the event type {err}")))
}

/// The key and a fingerprint of the request: path, query, `Content-Type`, and what `more` there is, the body at least.
///
/// IETF draft "The Idempotency-Key HTTP Header Field".
pub(super) fn idempotency_key(parts: &Parts, more: &[&[u8]]) -> Result<Option<Key>, Problem> {
    let Some(value) = parts.headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    // The draft's form is a quoted string; many clients send it bare.
    let key = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    let target = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let content_type = parts.headers.get(header::CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
    let fingerprint = [&[target.as_bytes(), content_type], more].concat();
    key_of(key, &fingerprint).map(Some)
}

fn key_of(key: &str, fingerprint: &[&[u8]]) -> Result<Key, Problem> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX || !key.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        let detail = format!("an idempotency key is 1 to {KEY_BYTES_MAX} visible ASCII characters");
        return Err(Problem::bad("idempotency_key_invalid", "Bad idempotency key", detail));
    }
    Ok(Key { key: hash(&[key.as_bytes()]), body: hash(fingerprint) })
}

/// The first half of a SHA-256 of all parts.
pub(super) fn hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = Sha256::new();
    for part in parts {
        // The length keeps the parts apart.
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut short = [0; 16];
    for (to, from) in short.iter_mut().zip(hasher.finalize()) {
        *to = from;
    }
    short
}

// A body that is not there by then is given up; its bytes count against what may be in flight.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
const KEY_BYTES_MAX: usize = 255;

/// What curl and HTML forms say unless told otherwise.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";
