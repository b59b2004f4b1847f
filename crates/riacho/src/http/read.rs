//! Events go out: one subscription path, four ways to send.

use super::{
    App,
    condition::Tags,
    connection::Peer,
    problem::{Problem, VIEWS_MAX},
    request::{self, Media, Query},
    streams,
};
use crate::{
    feed::Way,
    log::{AppendError, Begun},
    reactor::jittered,
    transport::{
        body::{self, Leave},
        follower::Follower,
        long_poll::{self, Page, Poll},
    },
};
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, request::Parts};
use riacho_core::{
    name::{Pattern, Selection, Selector, StreamName},
    start::Start,
    time,
    transport::Form,
};
use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// `GET /streams/{name}`.
pub(super) async fn one(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (request, _) = request.into_parts();
    let name = request::stream_name(&request.uri)?;
    let media = request::media(&request.headers, Media::EventStream)?;
    if !app.log().may_exist(&name) {
        return Err(AppendError::NotConfigured(name).into());
    }
    let closed = app.log().rules().of(name.as_str()).closed;
    if closed && media != Media::Json {
        // The one answer that tells a native EventSource not to come back.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    subscribe(&app, request, Selection::one(name), media, closed).await
}

/// `GET /tables/{name}`, where it is read live.
pub(super) async fn table(
    app: &App,
    request: Parts,
    name: StreamName,
    media: Media,
) -> Result<Response, Problem> {
    if !app.log().may_exist(&name) {
        return Err(AppendError::NotConfigured(name).into());
    }
    subscribe(app, request, Selection::one(name), media, false).await
}

/// `GET /streams`: several streams and tables, or the list of streams.
pub(super) async fn many(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (request, _) = request.into_parts();
    let query = Query::of(&request.uri)?;
    let selected = request::selection(&query, app.settings().streams_per_subscription_max)?;
    let default = if selected.is_some() { Media::EventStream } else { Media::Json };
    let media = request::media(&request.headers, default)?;
    let selection = match (selected, media) {
        (Some(selection), _) => selection,
        (None, Media::Json) => return streams::list(&app, &query),
        (None, _) => everything(),
    };
    known(&app, &selection)?;
    subscribe(&app, request, selection, media, false).await
}

async fn subscribe(
    app: &App,
    request: Parts,
    selection: Selection,
    media: Media,
    closed: bool,
) -> Result<Response, Problem> {
    let query = Query::of(&request.uri)?;
    let (selection, start) = wanted(app, selection, &query, &request.headers)?;
    if media == Media::Json && start == Start::Snapshot {
        let detail = "as JSON changes are polled from a cursor: take the rows at /tables/{name} first, and go on from \
                      their `cursor`";
        return Err(Problem::bad("from_missing", "No start", detail));
    }
    let envelope = query.flag("envelope")?.unwrap_or(selection.single().is_none());
    let padding = query.flag("padding")?.unwrap_or(false);
    let peer = request.extensions.get::<Peer>();
    let handoff = peer.and_then(|peer| peer.handoff.clone()).filter(|_| request.version == Version::HTTP_11);
    let form = match media {
        Media::EventStream => Form::Sse { envelope, chunked: handoff.is_some() },
        Media::Ndjson | Media::Json => Form::Ndjson,
    };
    let poll = if media == Media::Json { Some(poll(app, &query, closed)?) } else { None };
    let known = Tags::of(&request.headers, &header::IF_NONE_MATCH)?;
    if request.method == Method::HEAD {
        return Ok((headers(media), body::headers_only()).into_response());
    }
    if app.draining() && media == Media::EventStream {
        return Ok(come_back(app));
    }
    let begun = match begin(app, selection, form, start).await {
        Err(problem) if problem.code() == VIEWS_MAX && media == Media::EventStream => {
            let mut response = come_back(app);
            response.extensions_mut().insert(problem.refused());
            return Ok(response);
        }
        begun => begun?,
    };
    if let Some(poll) = poll {
        let feeder = std::sync::Arc::clone(&app.shared.feeder);
        // The request holds the buffer that its head was read into, and hyper takes another meanwhile.
        drop((request, query));
        let page = long_poll::page(begun, poll, &feeder, app.shared.drain.clone()).await?;
        return Ok(answer(app, &page, known.as_ref(), closed));
    }
    let retry = retry(app);
    // hyper frames this itself, whatever the form of the view.
    let unchunked = if media == Media::EventStream { Form::Sse { envelope, chunked: false } } else { form };
    let first = opening(&begun, unchunked, retry, padding);
    let body = match (media, handoff) {
        (Media::EventStream, Some(handoff)) => {
            let Begun { seat, place, way, control: _ } = begun;
            body::leaving(first, Leave { seat, place, way }, handoff)
        }
        _ => body::following(first, follow(app, begun), retry),
    };
    Ok((headers(media), body).into_response())
}

/// What is read at an address, for readers that come by other ways than a request: `None` where nothing is.
pub(super) fn at_address(
    app: &App,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Option<(Selection, Start)>, Problem> {
    let query = Query::of(uri)?;
    let selection = if uri.path() == "/streams" {
        let selected = request::selection(&query, app.settings().streams_per_subscription_max)?;
        selected.unwrap_or_else(everything)
    } else if uri.path().starts_with("/streams/") {
        Selection::one(request::stream_name(uri)?)
    } else if uri.path().strip_prefix("/tables/").is_some_and(|rest| !rest.contains('/')) {
        Selection::one(request::table_name(uri)?)
    } else {
        return Ok(None);
    };
    known(app, &selection)?;
    // It would say nothing for ever.
    let closed = |name: &&StreamName| name.table().is_none() && app.log().rules().of(name.as_str()).closed;
    if let Some(name) = selection.single().filter(closed) {
        return Err(AppendError::ClosedStream(name.clone()).into());
    }
    wanted(app, selection, &query, headers).map(Some)
}

/// Whether an address says by a cursor where to go on.
pub(super) fn has_cursor(uri: &Uri) -> Result<bool, Problem> {
    Ok(request::resume(&Query::of(uri)?, &HeaderMap::new()).is_some())
}

// Streams and tables that are named must be there, where use does not make them.
fn known(app: &App, selection: &Selection) -> Result<(), Problem> {
    match selection.names().find(|name| !app.log().may_exist(name)) {
        Some(name) => Err(AppendError::NotConfigured(name.clone()).into()),
        None => Ok(()),
    }
}

// What is read of the selection, and from where.
fn wanted(
    app: &App,
    selection: Selection,
    query: &Query,
    headers: &HeaderMap,
) -> Result<(Selection, Start), Problem> {
    let tables: Vec<&StreamName> = selection.tables().collect();
    let (selection, start) = if tables.is_empty() {
        (selection, request::start(query, headers)?)
    } else {
        let mut terms = request::terms(query, selection.single().is_some())?;
        let rules = app.log().rules().tables();
        terms.old_value = tables.iter().all(|name| rules.of(name.table().unwrap_or_default()).old_value);
        drop(tables);
        (selection.on(terms), request::start_of_tables(query, headers)?)
    };
    if matches!(start, Start::Tail(events) if events > TAIL_MAX) {
        let detail = format!("`tail` is at most {TAIL_MAX}; `from=` takes more");
        return Err(Problem::bad("tail_invalid", "Bad start", detail));
    }
    Ok((selection, start))
}

/// The first bytes of a subscription: the cursor it begins at, and what was lost before.
pub(super) fn opening(begun: &Begun, form: Form, retry: Duration, padding: bool) -> Bytes {
    let at = begun.seat.log().position(begun.place.after);
    let fresh = matches!(&begun.way, Way::Walk(walk) if walk.is_whole());
    let mut first = Vec::new();
    if fresh {
        form.opening_without_cursor(&mut first, retry, padding);
    } else {
        form.opening(&mut first, at, retry, padding);
    }
    if let Some(control) = &begun.control {
        form.control(&mut first, at, control);
    }
    first.into()
}

/// The reader of a subscription that a task serves.
pub(super) fn follow(app: &App, begun: Begun) -> Follower {
    let Begun { seat, place, way, control: _ } = begun;
    let (feeder, drain) = (std::sync::Arc::clone(&app.shared.feeder), app.shared.drain.clone());
    Follower::new(seat, place, way, feeder, app.settings().heartbeat, drain)
}

/// When a reader is to come back.
pub(super) fn retry(app: &App) -> Duration {
    jittered(app.settings().retry, random())
}

/// Takes a seat at the view of `selection`.
pub(super) async fn begin(
    app: &App,
    selection: Selection,
    form: Form,
    start: Start,
) -> Result<Begun, Problem> {
    let log = app.log().clone();
    match start {
        Start::Tail(_) | Start::Since(_) | Start::Ago(_) => {
            let begun = tokio::task::spawn_blocking(move || log.subscribe(&selection, form, start)).await;
            let lost = |_| Problem::overloaded("shutting_down", "the server is shutting down");
            Ok(begun.map_err(lost)??)
        }
        Start::Now | Start::Snapshot | Start::Earliest | Start::After(_) | Start::Malformed => {
            Ok(log.subscribe(&selection, form, start)?)
        }
    }
}

fn poll(app: &App, query: &Query, closed: bool) -> Result<Poll, Problem> {
    let longest = app.settings().long_poll_wait_max;
    let wait = match query.get("wait") {
        None => Duration::ZERO,
        Some(text) => time::parse_duration(text).filter(|wait| *wait <= longest).ok_or_else(|| {
            let longest = time::duration_text(longest);
            let detail =
                format!("`wait` is a duration up to {longest}, like 25s, not `{}`", request::shown(text));
            Problem::bad("parameter_invalid", "Bad parameter", detail)
        })?,
    };
    let most = app.settings().page_events_max;
    let events_max = query.number("limit", most, most)?;
    // Nothing will come on a closed stream.
    Ok(Poll { wait: if closed { Duration::ZERO } else { wait }, events_max })
}

fn answer(app: &App, page: &Page, known: Option<&Tags>, closed: bool) -> Response {
    let mut headers = headers(Media::Json);
    let cursor = page.cursor.to_string();
    if let Ok(tag) = HeaderValue::try_from(format!("\"{cursor}\"")) {
        headers.insert(header::ETAG, tag);
    }
    // A page that came before its time would be asked for again at once.
    let retry = page.drained.then(|| retry(app));
    if let Some(retry) = retry {
        let seconds = u64::try_from(retry.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if page.is_empty() && known.is_some_and(|tags| tags.has(&cursor)) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, page.render(retry, closed)).into_response()
}

// Neither drain nor overload is an error on a stream: any other status would end a native EventSource for good.
fn come_back(app: &App) -> Response {
    let retry = retry(app).as_millis();
    // No blank line: a block that ends without an id would make the client forget its cursor.
    (headers(Media::EventStream), body::once(format!("retry: {retry}\n"))).into_response()
}

fn headers(media: Media) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let media_type = match media {
        Media::EventStream => "text/event-stream",
        Media::Ndjson => "application/x-ndjson",
        Media::Json => "application/json",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    let caching = if media == Media::Json { "no-store" } else { "no-cache, no-store, no-transform" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    // nginx and many gateways hold the body back otherwise.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
}

fn everything() -> Selection {
    let all = Pattern::parse("**").map(Selector::Pattern);
    Selection::new(all.into_iter().collect())
}

// Spreads reconnections, no more: without a system call for each subscriber.
fn random() -> u32 {
    let hash = RandomState::new().hash_one(());
    u32::try_from(hash >> 32).unwrap_or(u32::MAX / 2)
}

const TAIL_MAX: u64 = 100_000;
