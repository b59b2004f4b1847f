//! What every request passes on its way to a route and back: writes of other sites are refused, CORS headers are set, the
//! answer is counted.
//!
//! One function around the router and no layers on it: axum clones each layer around a route anew for each request.

use super::{
    App, ingest,
    problem::{Problem, Refused},
    websocket,
};
use crate::config::Origins;
use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    shared: Arc<Shared>,
}

struct Shared {
    app: App,
    routes: Router,
    cors: CorsLayer,
}

impl Gate {
    /// A gate before the routes of `app`. `extra` are pages beside the protocol, such as the demo's.
    pub fn new(app: App, extra: Router) -> Self {
        let cors = cors(&app.settings().origins);
        let routes = super::routes(app.clone(), extra);
        Self { shared: Arc::new(Shared { app, routes, cors }) }
    }

    /// Answers one request.
    pub async fn answer(self, request: Request) -> Response {
        let preflight = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let plain = *request.method() == Method::OPTIONS && !preflight;
        let response = if plain || request.uri().path().starts_with(ingest::PATH) {
            // The CORS layer takes every OPTIONS for a preflight; those that are none have their answer in the routes. What
            // is pushed comes from no page, and is signed.
            self.route(request).await
        } else {
            let gate = self.clone();
            let routes = service_fn(move |request| {
                let gate = gate.clone();
                async move { Ok::<_, Infallible>(gate.same_site(request).await) }
            });
            never_fails(self.shared.cors.layer(routes).oneshot(request).await)
        };
        self.count(&response);
        response
    }

    async fn route(&self, request: Request) -> Response {
        if websocket::is_upgrade(&request) {
            return websocket::open(&self.shared.app, request);
        }
        never_fails(self.shared.routes.clone().oneshot(request).await)
    }

    // A page of another site must not write here by a form or a simple request, which browsers send without asking; nor by
    // a WebSocket, which they open without asking, and on which it may read and write.
    async fn same_site(&self, request: Request) -> Response {
        let origins = &self.shared.app.settings().origins;
        let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
            && !websocket::is_upgrade(&request);
        if reads || *origins == Origins::Any {
            return self.route(request).await;
        }
        // Browsers say so themselves, and no page can: behind a proxy the host is another one than the page's.
        let same_origin = request.headers().get("sec-fetch-site").is_some_and(|site| site == "same-origin");
        if let Some(origin) = request.headers().get(header::ORIGIN).filter(|_| !same_origin) {
            let origin = origin.to_str().unwrap_or_default();
            let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
            let host = host.or_else(|| request.uri().authority().map(http::uri::Authority::as_str));
            let own = origin.split_once("://").map(|(_, authority)| authority) == host;
            if !own && !origins.allows(origin) {
                let detail =
                    format!("pages of `{origin}` may not write here; `cors_origins` lists those that may");
                return Problem::new(StatusCode::FORBIDDEN, "origin_forbidden", "Origin not allowed", detail)
                    .into_response();
            }
        }
        self.route(request).await
    }

    fn count(&self, response: &Response) {
        let metrics = &self.shared.app.shared.metrics;
        let refused = response.extensions().get::<Refused>();
        metrics.request(response.status(), refused.map(|refused| refused.code));
        if let Some(limit) = refused.and_then(|refused| refused.limit) {
            metrics.limit(limit);
        }
    }
}

fn never_fails(answered: Result<Response, Infallible>) -> Response {
    match answered {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn cors(origins: &Origins) -> CorsLayer {
    let expose = [header::RETRY_AFTER, header::ETAG, header::LOCATION, header::ALLOW];
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
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
