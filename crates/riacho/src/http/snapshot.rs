//! All rows of a table at one moment: whole, or in pages.

/// The snapshots that are being read, and for how long.
mod held;
/// A snapshot becomes the body of an answer.
mod body;

pub(super) use held::{Snapshots, token};

use super::{
    App,
    condition::Tags,
    problem::Problem,
    publish,
    request::{self, Media, Query},
    tables,
};
use axum::response::{IntoResponse, Response};
use body::{Body, Shape};
use held::{Of, Reading};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use riacho_core::name::StreamName;
use std::time::Duration;

/// `GET /tables/{table}` as JSON or NDJSON, from nothing and to an end.
pub(super) async fn read(
    app: &App,
    request: &Parts,
    query: &Query,
    table: StreamName,
    media: Media,
) -> Result<Response, Problem> {
    tables::after_cursor(app, query)?;
    let terms = request::rows_wanted(query, true)?;
    let gzip = request::takes_gzip(&request.headers);
    let head = request.method == Method::HEAD;
    let (limit, after) = (query.get("limit"), query.get("after"));
    let form = if media == Media::Ndjson { Shape::Lines } else { Shape::Document };
    if limit.is_none() && after.is_none() {
        return whole(app, request, Of { table, terms, offset: 0 }, form, gzip);
    }
    if form == Shape::Lines {
        let detail =
            "pages (`limit`, `after`) are application/json; application/x-ndjson has all rows at once";
        return Err(Problem::bad("parameter_invalid", "Bad parameter", detail));
    }
    let limit = query.number("limit", PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX)?;
    let headers = headers(form, gzip, "no-store");
    if head {
        return Ok((headers, crate::transport::body::headers_only()).into_response());
    }
    let body = match after {
        Some(token) => {
            let (reading, key) = app.snapshots().go_on(token)?;
            if reading.of().table != table || reading.of().terms != terms {
                let detail = "`after` goes on with the same table, `where`, `params` and `columns` as before";
                return Err(Problem::bad("parameter_invalid", "Bad parameter", detail));
            }
            Body::new(app, reading, form, gzip).page(limit, Some(key))
        }
        None => {
            let (snapshot, offset) = app.log().rows_of(&table)?;
            let paged = snapshot.rows_total() > limit as u64;
            let reading = app.snapshots().begin(snapshot, Of { table, terms, offset }, paged)?;
            Body::new(app, reading, form, gzip).page(limit, None)
        }
    };
    Ok((headers, body.stream()).into_response())
}

// All rows. Whoever asks the same of the same rows may be answered by a cache.
fn whole(app: &App, request: &Parts, of: Of, form: Shape, gzip: bool) -> Result<Response, Problem> {
    let (snapshot, offset) = app.log().rows_of(&of.table)?;
    let columns = of.terms.columns.as_ref().map_or("", |columns| columns.as_str());
    let asked = [form.media_type().as_bytes(), of.terms.predicate.as_str().as_bytes(), columns.as_bytes()];
    let hash = u128::from_be_bytes(publish::hash(&asked));
    let tag = format!("{}-{hash:032x}", app.log().position(snapshot.newest()));
    let mut headers = headers(form, gzip, &caching(app.settings().snapshot_max_age));
    if let Some(shared) = shared_caching(app.settings().snapshot_max_age) {
        headers.insert(HeaderName::from_static("cdn-cache-control"), shared);
    }
    // Weak: the rows are the same, the cursor beside them may be a later one.
    if let Ok(tag) = HeaderValue::try_from(format!("W/\"{tag}\"")) {
        headers.insert(header::ETAG, tag);
    }
    if Tags::of(&request.headers, &header::IF_NONE_MATCH)?.is_some_and(|tags| tags.has(&tag)) {
        headers.remove(header::CONTENT_TYPE);
        headers.remove(header::CONTENT_ENCODING);
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    if request.method == Method::HEAD {
        return Ok((headers, crate::transport::body::headers_only()).into_response());
    }
    let reading: Reading = app.snapshots().begin(snapshot, Of { offset, ..of }, false)?;
    Ok((headers, Body::new(app, reading, form, gzip).stream()).into_response())
}

fn headers(form: Shape, gzip: bool, caching: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    if let Ok(caching) = HeaderValue::try_from(caching) {
        headers.insert(header::CACHE_CONTROL, caching);
    }
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers
}

// A browser always asks whether there is a newer one. `stale-while-revalidate` would allow it not to, so that is said to
// shared caches only, below.
fn caching(age: Duration) -> String {
    format!("public, max-age=0, s-maxage={}, must-revalidate", age.as_secs())
}

// RFC 9213, "Targeted Cache-Control": one request at a time reaches this server, everybody else gets what is there.
fn shared_caching(age: Duration) -> Option<HeaderValue> {
    let age = age.as_secs();
    HeaderValue::try_from(format!("max-age={age}, stale-while-revalidate={}", age * STALE_FACTOR)).ok()
}

const PAGE_ROWS_DEFAULT: usize = 1000;
const PAGE_ROWS_MAX: usize = 10_000;
// A cache that is asked seldom would otherwise let everybody wait for the first.
const STALE_FACTOR: u64 = 10;
