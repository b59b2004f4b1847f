//! What is known of sources, and what a person may ask of them.

use super::{App, problem::Problem};
use crate::source::{SourceInfo, TableInfo};
use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use riacho_core::{source::machine::State as Doing, time};
use serde_json::{Value, json};

/// `GET /sources`: all sources, by name.
pub(super) async fn list(State(app): State<App>) -> Response {
    let sources: Vec<Value> = app.sources().list().iter().map(source).collect();
    answer(StatusCode::OK, &json!({ "sources": sources }))
}

/// `POST /sources/reload`: the configuration's sources are read anew.
pub(super) async fn reload(State(app): State<App>) -> Result<Response, Problem> {
    app.sources().reload().await.map_err(|what| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "configuration_invalid", "Bad configuration", what)
    })?;
    Ok(list(State(app)).await)
}

/// `POST /sources/{name}/pause`: it lets go of its database.
pub(super) async fn pause(State(app): State<App>, Path(name): Path<String>) -> Result<Response, Problem> {
    if app.sources().pause(&name).await { Ok(accepted()) } else { Err(unknown(&name)) }
}

/// `POST /sources/{name}/resume`: it goes on, or tries again at once.
pub(super) async fn resume(State(app): State<App>, Path(name): Path<String>) -> Result<Response, Problem> {
    if app.sources().resume(&name).await { Ok(accepted()) } else { Err(unknown(&name)) }
}

fn source(info: &SourceInfo) -> Value {
    let until = match info.state {
        Doing::BackingOff(until) | Doing::Broken(until) => Some(time::rfc3339(until)),
        _ => None,
    };
    let last_error = info.last_fault.as_ref().map(
        |(at, fault)| json!({ "time": time::rfc3339(*at), "message": fault.message, "remedy": fault.remedy }),
    );
    json!({
        "name": &*info.name,
        "kind": info.kind,
        "state": info.state.as_str(),
        "since": time::rfc3339(info.since),
        "retry_at": until,
        "lag_bytes": info.lag.bytes,
        "lag_ms": info.lag.millis,
        "changes": info.lag.changes,
        "transactions": info.lag.transactions,
        "waits_for": info.waits,
        "tables": info.tables.iter().map(table).collect::<Vec<_>>(),
        "last_error": last_error,
    })
}

fn table(info: &TableInfo) -> Value {
    let TableInfo { name, state } = info;
    json!({
        "name": name,
        "origin": state.origin,
        "ready": state.ready,
        "rows_copied": state.copy.map(|copy| copy.rows),
        "rows_expected": state.copy.and_then(|copy| copy.rows_expected),
    })
}

fn accepted() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

fn unknown(name: &str) -> Problem {
    let detail = format!("there is no source `{}`; /sources lists them", super::request::shown(name));
    Problem::new(StatusCode::NOT_FOUND, "source_unknown", "No such source", detail)
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, format!("{body}\n")).into_response()
}
