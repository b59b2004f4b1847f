//! Many changes of a table, made together or not at all.

use super::{
    App, Settings,
    problem::Problem,
    publish::{self, Bound, FORM, idempotency_key, is_ndjson, media_type, unsupported},
    request::{self, shown},
    row, tables,
};
use crate::log::{AppendError, Appended, Condition, RowWrite, TableWrite};
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use riacho_core::{
    name::StreamName,
    table::batch::{self, Action, Batch, BatchError, BatchErrorKind, Form, Limits, Write},
};

/// `POST /tables/{table}`.
pub(super) async fn write(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let table = request::table_name(&parts.uri)?;
    tables::writable(&app, &table)?;
    let form = form(&parts.headers)?;
    let bound = Bound { lines: form == Form::Lines, ..Bound::of_batch(app.settings()) };
    let (text, permit) = publish::receive(&app, &parts, body, bound).await?;
    let idempotency = idempotency_key(&parts, &[parts.method.as_str().as_bytes(), text.as_bytes()])?;
    let batch = if text.len() > INLINE_BYTES_MAX {
        let (app, table) = (app.clone(), table.clone());
        tables::blocking(move || parse(&app, &table, &text, form)).await??
    } else {
        parse(&app, &table, &text, form)?
    };
    let Batch { changes, txid } = batch;
    let row = |Write { key, action }| RowWrite { key: key.into_text(), action, condition: Condition::None };
    let writes = changes.into_iter().map(row).collect();
    let write = TableWrite { table, writes, txid: txid.clone(), key: idempotency, source: None };
    let written = app.log().write(write, Some(permit)).await;
    let appended = written.map_err(|err| match err {
        AppendError::Write(index, _) => Problem::from(err).at_index(index),
        other => other.into(),
    })?;
    Ok(answer(&app, appended, txid.as_deref()))
}

fn answer(app: &App, appended: Appended, txid: Option<&str>) -> Response {
    let cursor = app.log().position(appended.last()).to_string();
    // Where nobody named a transaction of several changes, its last change does.
    let made_up = (appended.count > 1).then_some(cursor.as_str());
    let mut body = serde_json::json!({ "cursor": cursor, "changes": appended.count });
    let txid = txid.filter(|_| appended.count > 0).or(made_up);
    if let (Some(txid), Some(body)) = (txid, body.as_object_mut()) {
        body.insert("txid".into(), txid.into());
    }
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (StatusCode::OK, headers, format!("{body}\n")).into_response()
}

fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let flag = "send a JSON array of changes with `-H 'Content-Type: application/json'`, or one change per line with \
                `-H 'Content-Type: application/x-ndjson'`";
    match media_type(headers)?.as_deref() {
        Some("application/json") => Ok(Form::Array),
        Some(essence) if is_ndjson(essence) => Ok(Form::Lines),
        None => Err(unsupported(format!("the body has no `Content-Type`; {flag}"))),
        Some(FORM) => Err(unsupported(format!("that is what curl says of `-d` by itself; {flag}"))),
        Some(other) => Err(unsupported(format!("a batch is not `{}`; {flag}", shown(other)))),
    }
}

fn parse(app: &App, table: &StreamName, text: &str, form: Form) -> Result<Batch, Problem> {
    let batch = of_text(app.settings(), table.table().unwrap_or_default(), text, form)?;
    for (index, write) in batch.changes.iter().enumerate() {
        if let Action::Insert(row) | Action::Update(row) | Action::Upsert(row) = &write.action {
            row::check(app, table, row).map_err(|problem| problem.at_index(index))?;
        }
    }
    Ok(batch)
}

/// The batch that `text` is.
pub(super) fn of_text(settings: &Settings, table: &str, text: &str, form: Form) -> Result<Batch, Problem> {
    let limits = Limits { changes_max: settings.batch_events_max, value_bytes_max: settings.row_bytes_max };
    batch::parse(text, form, table, limits).map_err(|err| problem(&err))
}

fn problem(err: &BatchError) -> Problem {
    let too_large = |code, limit| {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        Problem::new(status, code, "Too large", format!("{err} (limit {limit})")).limited_by(limit)
    };
    let problem = match err.kind() {
        BatchErrorKind::Empty => return Problem::bad("batch_empty", "Empty batch", err.to_string()),
        BatchErrorKind::TooMany => too_large("batch_too_large", "batch_events_max"),
        BatchErrorKind::ValueTooLarge => too_large("row_too_large", "row_bytes_max"),
        _ => Problem::bad("change_invalid", "Bad change", err.to_string()),
    };
    match (err.line(), err.kind()) {
        (Some(line), _) => problem.at_line(line).at_index(err.index()),
        // The text is no array: no change of it is at fault.
        (None, BatchErrorKind::NotJson) => problem,
        (None, _) => problem.at_index(err.index()),
    }
}

// A longer text is not taken apart on a thread that others wait for.
const INLINE_BYTES_MAX: usize = 64 << 10;
