//! Health, metrics, and the first page.

use super::{App, problem::Problem};
use crate::log;
use axum::{
    extract::{Request, State},
    response::{Html, IntoResponse, Response},
};
use http::{StatusCode, header};

/// `GET /healthz`: the process runs.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the process takes and gives events.
pub(super) async fn readyz(State(app): State<App>) -> Response {
    let (status, text) = match app.log().health().state {
        _ if app.draining() => (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
        log::State::Open if !app.sources().are_ready() => {
            (StatusCode::SERVICE_UNAVAILABLE, "sources are being copied: /sources says how far they are\n")
        }
        log::State::Open => (StatusCode::OK, "ready\n"),
        log::State::Full => (StatusCode::SERVICE_UNAVAILABLE, "disk full: durable streams are read-only\n"),
        log::State::Failed => (StatusCode::SERVICE_UNAVAILABLE, "log failed: restart needed\n"),
        log::State::Closing => (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
    };
    (status, [(header::CACHE_CONTROL, "no-store")], text).into_response()
}

/// `GET /metrics`: OpenMetrics text.
pub(super) async fn metrics(State(app): State<App>) -> Response {
    let counts = (app.snapshots().count(), app.sources().list());
    let text = app.shared.metrics.render(app.log(), &app.shared.reactors, counts.0, &counts.1);
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

/// `GET /`: where to go from here.
pub(super) async fn index(request: Request) -> Result<Html<&'static str>, Problem> {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.trim() == "text/event-stream") {
        let detail =
            "there is no stream at `/`; streams are at /streams/{name}, and /streams has all of them";
        return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail));
    }
    Ok(Html(include_str!("index.html")))
}
