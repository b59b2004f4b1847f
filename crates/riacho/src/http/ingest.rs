//! Sources are pushed to: what a stream of DynamoDB triggers, and items of an import. Signed, and read only then.

use super::{
    App,
    problem::Problem,
    publish::{self, Bound},
    request::shown,
    tables,
};
use crate::{
    clock,
    source::{
        Door,
        dynamodb::{NotTaken, Part, Push, Pushed, Took},
    },
    webhook::Signed,
};
use axum::{
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use riacho_core::{
    source::dynamodb::{export::Line, item::Item, record},
    time::Millis,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::oneshot;

/// `POST /ingest/dynamodb/{source}`: the event of a function that a stream of DynamoDB triggers, as it is.
///
/// Answered with what the function returns: `{"batchItemFailures":[]}`, or in it the first record that cannot be taken.
pub(super) async fn event(
    State(app): State<App>,
    Path(source): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let took = receive(&app, &source, request, event_of).await?;
    let failed = took.failed.iter().map(|(sequence, _)| json!({ "itemIdentifier": sequence.as_str() }));
    let answer = json!({ "batchItemFailures": failed.collect::<Vec<Value>>() });
    if let Some((sequence, reason)) = &took.failed {
        tracing::warn!(
            source,
            sequence = sequence.as_str(),
            reason,
            "a pushed record cannot be taken, nor what follows it"
        );
    }
    Ok(answered(&answer))
}

/// `POST /ingest/dynamodb/{source}/items`: a part of an import.
pub(super) async fn items(
    State(app): State<App>,
    Path(source): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let took = receive(&app, &source, request, items_of).await?;
    Ok(answered(&json!({ "items": took.taken })))
}

// Has the source take what `decode` makes of the body, if it is signed by who may push.
async fn receive(
    app: &App,
    source: &str,
    request: Request,
    decode: fn(&[u8]) -> Result<Pushed, Problem>,
) -> Result<Took, Problem> {
    let door = app.sources().door(source).ok_or_else(|| {
        let detail = format!("there is no source `{}` that is pushed to", shown(source));
        Problem::new(StatusCode::NOT_FOUND, "source_unknown", "No such source", detail)
    })?;
    let (parts, body) = request.into_parts();
    signed(&parts.headers)?;
    publish::media_type(&parts.headers)?;
    let bound =
        Bound { bytes_max: BODY_BYTES_MAX, lines: false, code: "push_too_large", limit: "push_bytes" };
    let (bytes, permit) = publish::receive_bytes(app, &parts, body, bound).await?;
    let (secret, headers) = (door.secret.clone(), parts.headers);
    let decoded = move |bytes: Bytes| {
        let verified = secret.verify(signed(&headers)?, &bytes, clock::now());
        verified.map_err(|err| unauthorized("signature_invalid", err.to_string()))?;
        decode(&bytes)
    };
    let pushed = if bytes.len() > INLINE_BYTES_MAX {
        tables::blocking(move || decoded(bytes)).await??
    } else {
        decoded(bytes)?
    };
    let took = take(&door, pushed).await;
    drop(permit);
    if let Ok(took) = &took {
        app.shared.metrics.push(took.taken, took.failed.is_some());
    }
    took
}

fn signed(headers: &HeaderMap) -> Result<Signed<'_>, Problem> {
    let text = |name: &'static str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty());
        value.ok_or_else(|| {
            let detail =
                format!("the header `{name}` is missing: what is pushed is signed (Standard Webhooks)");
            unauthorized("signature_missing", detail)
        })
    };
    Ok(Signed {
        id: text("webhook-id")?,
        timestamp: text("webhook-timestamp")?,
        signatures: text("webhook-signature")?,
    })
}

fn unauthorized(code: &'static str, detail: String) -> Problem {
    let scheme = HeaderValue::from_static("StandardWebhooks");
    Problem::new(StatusCode::UNAUTHORIZED, code, "Not signed by who may push", detail)
        .with(header::WWW_AUTHENTICATE, scheme)
}

// Waits a while for the source: who pushes comes again.
async fn take(door: &Door, what: Pushed) -> Result<Took, Problem> {
    if door.paused {
        return Err(unavailable("the source was told to rest"));
    }
    let (answer, taken) = oneshot::channel();
    let waiting = async {
        // Either fails where the source ends, or fails, meanwhile.
        door.pushes.send(Push { what, answer }).await.ok()?;
        taken.await.ok()
    };
    match tokio::time::timeout(TAKE_TIME_MAX, waiting).await {
        Ok(Some(took)) => took.map_err(|not| match not {
            NotTaken::Unfit(reason) => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "push_unfit", "Not for this source", reason)
            }
            NotTaken::Fault(fault) => unavailable(&fault.message),
        }),
        Ok(None) => Err(unavailable("the source began anew meanwhile")),
        Err(_) => Err(unavailable("the source takes nothing now; /sources says why")),
    }
}

fn unavailable(detail: &str) -> Problem {
    Problem::overloaded("source_unavailable", detail.to_owned())
}

fn answered(body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (StatusCode::OK, headers, format!("{body}\n")).into_response()
}

fn event_of(body: &[u8]) -> Result<Pushed, Problem> {
    let records = record::lambda_records(body);
    records.map(Pushed::Records).map_err(|err| Problem::bad("event_invalid", "Bad event", err.to_string()))
}

/// The first line of a part of an import.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    import: Box<str>,
    table: Box<str>,
    part: u64,
    #[serde(default)]
    last: bool,
    at: Option<Millis>,
}

/// The items that a body holds: its head, and a line of DynamoDB JSON for each.
pub(super) fn items_of(body: &[u8]) -> Result<Pushed, Problem> {
    let bad = |what: String| Problem::bad("line_invalid", "Bad line", what);
    let mut lines = body.split(|byte| *byte == b'\n').zip(1..);
    let head = lines.next().map(|(line, _)| serde_json::from_slice::<Head>(line));
    let head = head.and_then(Result::ok).filter(|head| (1..=IMPORT_BYTES_MAX).contains(&head.import.len()));
    let Some(Head { import, table, part, last, at }) = head else {
        let shape = "{\"import\":\"ID\",\"table\":\"NAME\",\"part\":0,\"last\":false}";
        return Err(bad(format!("an import's part begins with {shape}")).at_line(1));
    };
    let mut items: Vec<Item> = Vec::new();
    for (line, number) in lines {
        match Line::parse(line).map_err(|what| bad(what).at_line(number))? {
            Some(Line::Item(item)) => items.push(item),
            Some(Line::Change { .. }) => return Err(bad(INCREMENTAL.to_owned()).at_line(number)),
            None => {}
        }
    }
    Ok(Pushed::Items { table, items, part: Part { import, number: part, last, at } })
}

/// Where sources are pushed to.
pub(super) const PATH: &str = "/ingest/";
/// What is said of a line of an incremental export.
const INCREMENTAL: &str =
    "it is of an incremental export, which has only what changed; an import takes a full export";
// What Lambda gives a function at once is at most 6 MiB; it may have been written with more spaces since.
const BODY_BYTES_MAX: usize = (6 << 20) + (64 << 10);
// A longer body is not verified and read on a thread that others wait for.
const INLINE_BYTES_MAX: usize = 64 << 10;
// So long a source may be busy, or reach for its database. Functions wait longer.
const TAKE_TIME_MAX: Duration = Duration::from_secs(10);
const IMPORT_BYTES_MAX: usize = 64;
