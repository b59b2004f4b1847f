//! Streams are listed and emptied.

use super::{
    App,
    problem::Problem,
    request::{self, Query},
};
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde_json::{Value, json};

/// `GET /streams` as JSON without `stream=`: a page of the list.
pub(super) fn list(app: &App, query: &Query) -> Result<Response, Problem> {
    let limit = query.number("limit", LIST_DEFAULT, LIST_MAX)?;
    let prefix = query.get("prefix").unwrap_or_default();
    let log = app.log();
    let mut found = log.list(query.get("after"), prefix, limit + 1);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| last.name.to_string());
    let stream = |info: &crate::log::StreamInfo| {
        json!({
            "name": info.name.as_str(),
            "cursor": log.position(info.newest).to_string(),
            "events": info.events,
            "bytes": info.bytes,
            "subscribers": info.subscribers,
            "durability": if info.memory { "memory" } else { "durable" },
            "closed": info.closed,
        })
    };
    Ok(page_of_list("streams", found.iter().map(stream).collect(), next))
}

/// A page of a list, `{"<member>":[…],"next"?}`.
pub(super) fn page_of_list(member: &str, entries: Vec<Value>, next: Option<String>) -> Response {
    let mut body = json!({ member: entries });
    if let (Some(next), Some(body)) = (next, body.as_object_mut()) {
        body.insert("next".into(), next.into());
    }
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "accept"),
    ];
    (headers, format!("{body}\n")).into_response()
}

/// `DELETE /streams/{name}`: empties it; its readers are told.
pub(super) async fn empty(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let name = request::stream_name(request.uri())?;
    let offset = app.log().empty(name).await?;
    let body = json!({ "id": app.log().position(offset).to_string() });
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::OK, headers, format!("{body}\n")).into_response())
}

pub(super) const LIST_DEFAULT: usize = 100;
pub(super) const LIST_MAX: usize = 1000;
