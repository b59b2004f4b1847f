//! HTTP: one router for every version and transport; requests are parsed here into types that cannot be wrong.

/// Errors on the wire.
pub mod problem;
/// What a request says: names, media types, parameters.
mod request;
/// Events come in.
mod publish;
/// Events go out.
mod read;
/// Streams are listed and emptied.
mod streams;
/// Health, metrics, and the first page.
mod operation;
/// All decoders of a request, for the fuzz target.
#[doc(hidden)]
pub mod decode;
#[cfg(test)]
mod tests;
/// One connection, from accept to its end or its takeover by a reactor.
pub mod connection;
/// Which connections are accepted, and how all of them end.
pub mod server;

use crate::{config::Origins, feed::Feeder, log::Log, metrics::Metrics, reactor::Reactors};
use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use problem::{Problem, Refused};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

/// What every request may use.
#[derive(Clone)]
pub struct App {
    shared: Arc<Shared>,
}

struct Shared {
    log: Log,
    feeder: Arc<Feeder>,
    reactors: Arc<Reactors>,
    metrics: Arc<Metrics>,
    settings: Settings,
    publish_bytes: Arc<Semaphore>,
    drain: watch::Receiver<bool>,
}

/// Bounds and times of requests.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Origins whose pages may use the server.
    pub origins: Origins,
    /// Silence after which a reader gets a heartbeat.
    pub heartbeat: Duration,
    /// The reconnection time told to clients, before jitter.
    pub retry: Duration,
    /// Bytes of one event's data.
    pub event_bytes_max: usize,
    /// Events of a batch.
    pub batch_events_max: usize,
    /// Bytes of a batch's body.
    pub batch_bytes_max: usize,
    /// Bytes of all bodies being published.
    pub publish_bytes_in_flight_max: usize,
    /// `stream=` parameters of a subscription.
    pub streams_per_subscription_max: usize,
    /// The longest `wait=` of a long-poll.
    pub long_poll_wait_max: Duration,
    /// Events of a long-poll page, and `tail=`.
    pub page_events_max: usize,
}

impl App {
    /// What requests use.
    pub fn new(
        log: Log,
        feeder: Arc<Feeder>,
        reactors: Arc<Reactors>,
        metrics: Arc<Metrics>,
        settings: Settings,
        drain: watch::Receiver<bool>,
    ) -> Self {
        let permits = settings.publish_bytes_in_flight_max.min(Semaphore::MAX_PERMITS);
        let publish_bytes = Arc::new(Semaphore::new(permits));
        Self { shared: Arc::new(Shared { log, feeder, reactors, metrics, settings, publish_bytes, drain }) }
    }

    fn log(&self) -> &Log {
        &self.shared.log
    }

    fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    fn draining(&self) -> bool {
        *self.shared.drain.borrow()
    }
}

/// The router. `extra` are pages beside the protocol, such as the demo's.
pub fn router(app: App, extra: Router) -> Router {
    let cors = cors(&app.settings().origins);
    let checked = app.clone();
    let counted = app.clone();
    let routes = Router::new()
        .route("/streams", get(read::many).post(publish::batch).options(options_many))
        .route(
            "/streams/{*name}",
            get(read::one).post(publish::one).delete(streams::empty).options(options_one),
        )
        .route("/streams/", any(unnamed))
        .route("/healthz", get(operation::healthz))
        .route("/readyz", get(operation::readyz))
        .route("/metrics", get(operation::metrics))
        .route("/", get(operation::index))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .with_state(app)
        .merge(extra);
    let plain = routes.clone();
    routes
        .layer(middleware::from_fn_with_state(checked, same_site))
        .layer(cors)
        .layer(middleware::from_fn_with_state(plain, options))
        .layer(middleware::from_fn_with_state(counted, count))
}

// The CORS layer takes every OPTIONS for a preflight; those that are none have their answer in the routes.
async fn options(State(routes): State<Router>, request: Request, next: Next) -> Response {
    let preflight = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if *request.method() != Method::OPTIONS || preflight {
        return next.run(request).await;
    }
    match routes.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn cors(origins: &Origins) -> CorsLayer {
    let expose = [header::RETRY_AFTER, header::ETAG, header::LOCATION, header::ALLOW];
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
        .expose_headers(expose)
        .max_age(Duration::from_secs(86_400));
    match origins {
        Origins::None => layer,
        Origins::Any => layer.allow_origin(Any).allow_headers(Any),
        Origins::Exact(exact) => {
            let exact = exact.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
            let headers = [
                header::ACCEPT,
                header::AUTHORIZATION,
                header::CACHE_CONTROL,
                header::CONTENT_TYPE,
                HeaderName::from_static("idempotency-key"),
                header::IF_MATCH,
                header::IF_NONE_MATCH,
                HeaderName::from_static("last-event-id"),
            ];
            layer.allow_origin(AllowOrigin::list(exact)).allow_headers(headers).allow_credentials(true)
        }
    }
}

// A page of another site must not write here by a form or a simple request, which browsers send without asking.
async fn same_site(State(app): State<App>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if reads || app.settings().origins == Origins::Any {
        return next.run(request).await;
    }
    // Browsers say so themselves, and no page can: behind a proxy the host is another one than the page's.
    let same_origin = request.headers().get("sec-fetch-site").is_some_and(|site| site == "same-origin");
    if let Some(origin) = request.headers().get(header::ORIGIN).filter(|_| !same_origin) {
        let origin = origin.to_str().unwrap_or_default();
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| request.uri().authority().map(http::uri::Authority::as_str));
        let own = origin.split_once("://").map(|(_, authority)| authority) == host;
        if !own && !app.settings().origins.allows(origin) {
            let detail =
                format!("pages of `{origin}` may not write here; `cors_origins` lists those that may");
            return Problem::new(StatusCode::FORBIDDEN, "origin_forbidden", "Origin not allowed", detail)
                .into_response();
        }
    }
    next.run(request).await
}

async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let refused = response.extensions().get::<Refused>();
    app.shared.metrics.request(response.status(), refused.map(|refused| refused.code));
    if let Some(limit) = refused.and_then(|refused| refused.limit) {
        app.shared.metrics.limit(limit);
    }
    response
}

async fn options_many() -> impl IntoResponse {
    (StatusCode::NO_CONTENT, [(header::ALLOW, "GET, HEAD, POST, OPTIONS")])
}

async fn options_one() -> impl IntoResponse {
    (StatusCode::NO_CONTENT, [(header::ALLOW, "GET, HEAD, POST, DELETE, OPTIONS")])
}

async fn unnamed() -> Problem {
    Problem::bad("name_invalid", "Bad stream name", "the stream name is empty")
}

async fn method_not_allowed(request: Request) -> Problem {
    let detail = format!("{} is not for this address; `Allow` lists the methods that are", request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", detail)
}

async fn not_found(request: Request) -> Problem {
    let detail = format!("there is nothing at `{}`; streams are at /streams/{{name}}", request.uri().path());
    Problem::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
}
