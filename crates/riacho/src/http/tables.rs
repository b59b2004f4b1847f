//! Tables are listed, read and emptied.

use super::{
    App,
    problem::Problem,
    read,
    request::{self, Media, Query, shown},
    snapshot,
    streams::{self, LIST_DEFAULT, LIST_MAX},
};
use crate::log::AppendError;
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use riacho_core::{
    name::{Selection, StreamName},
    position::Position,
};
use serde_json::json;

/// `GET /tables`: a page of the list.
pub(super) async fn list(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let query = Query::of(request.uri())?;
    if request::media(request.headers(), Media::Json)? != Media::Json {
        let detail = "the list of tables is application/json; a table's changes are at /tables/{table}";
        return Err(Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "not_acceptable",
            "No such representation",
            detail,
        ));
    }
    let limit = query.number("limit", LIST_DEFAULT, LIST_MAX)?;
    let (after, prefix) = (query.get("after").unwrap_or_default(), query.get("prefix").unwrap_or_default());
    let mut found = app.log().rows().tables();
    found.retain(|info| !info.name.is_hidden());
    for (table, _) in app.log().fed_tables() {
        if found.iter().all(|info| info.name != table) {
            found.push(crate::rows::TableInfo::empty(table));
        }
    }
    found.retain(|info| info.name.table().is_some_and(|name| name > after && name.starts_with(prefix)));
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).and_then(|last| last.name.table().map(str::to_owned));
    let table = |info: &crate::rows::TableInfo| {
        json!({
            "name": info.name.table(),
            "cursor": app.log().position(info.newest).to_string(),
            "rows": info.rows,
            "bytes": info.bytes,
            "source": app.log().source_of(&info.name).as_deref(),
            "subscribers": app.log().info(&info.name).map_or(0, |stream| stream.subscribers),
        })
    };
    Ok(streams::page_of_list("tables", found.iter().map(table).collect(), next))
}

/// `GET /tables/{table}`: its rows as they are, or as they change.
pub(super) async fn one(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (request, _) = request.into_parts();
    let table = request::table_name(&request.uri)?;
    let query = Query::of(&request.uri)?;
    let media = request::media(&request.headers, Media::Json)?;
    if !app.log().may_exist(&table) {
        return Err(AppendError::NotConfigured(table).into());
    }
    let live = match media {
        Media::EventStream => true,
        Media::Ndjson => query.flag("live")? == Some(true) || request::has_start(&query, &request.headers),
        Media::Json => request::has_start(&query, &request.headers),
    };
    if live {
        drop(query);
        return read::table(&app, request, table, media).await;
    }
    ready(&app, &table)?;
    snapshot::read(&app, &request, &query, table, media).await
}

/// Refuses to give rows that are not whole: a stream waits for them, a request cannot for so long.
///
/// # Errors
/// `table_not_ready`.
pub(super) fn ready(app: &App, table: &StreamName) -> Result<(), Problem> {
    if app.log().tables_ready(&Selection::one(table.clone())) {
        return Ok(());
    }
    let detail = format!(
        "the rows of `{}` are being copied from their source; /sources says how far it is",
        table.table().unwrap_or_default()
    );
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "table_not_ready", "The table is not ready", detail)
        .retriable()
        .with(header::RETRY_AFTER, HeaderValue::from_static("1")))
}

/// `DELETE /tables/{table}`: all its rows are gone; its readers are told.
pub(super) async fn empty(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let table = request::table_name(request.uri())?;
    writable(&app, &table)?;
    let offset = app.log().empty(table).await?;
    let body = json!({ "cursor": app.log().position(offset).to_string() });
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::OK, headers, format!("{body}\n")).into_response())
}

/// Refuses writes to a table that a source feeds.
///
/// # Errors
/// `table_read_only`.
pub(super) fn writable(app: &App, table: &StreamName) -> Result<(), Problem> {
    match app.log().source_of(table) {
        Some(source) => Err(AppendError::ReadOnly(table.clone(), source).into()),
        None => Ok(()),
    }
}

/// Whether what is visible has what the reader wants to see at least, by `after_cursor`.
///
/// # Errors
/// `parameter_invalid` where it is no cursor, `cursor_unknown` where it is none of this log's past.
pub(super) fn after_cursor(app: &App, query: &Query) -> Result<(), Problem> {
    let Some(text) = query.get("after_cursor") else { return Ok(()) };
    let position: Position = text.parse().map_err(|_| {
        let detail = format!("`after_cursor` is a cursor, not `{}`", shown(text));
        Problem::bad("parameter_invalid", "Bad parameter", detail)
    })?;
    if position.epoch == app.log().epoch() && position.offset <= app.log().published() {
        return Ok(());
    }
    let detail = "`after_cursor` is not of this log's past: the server's data was replaced or restored";
    Err(Problem::new(StatusCode::CONFLICT, "cursor_unknown", "No such cursor", detail))
}

/// Does what may wait for the disk, or takes long.
///
/// # Errors
/// `shutting_down` where the server is.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let lost = |_| Problem::overloaded("shutting_down", "the server is shutting down");
    tokio::task::spawn_blocking(work).await.map_err(lost)
}
