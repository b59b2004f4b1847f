//! The JavaScript client, as it is in this binary: so that a page needs nothing but the server.
//!
//! `assets/` is what `cargo xtask client` builds from `clients/js`; `cargo xtask test` checks that it is.

use super::{App, condition::Tags, problem::Problem, publish::hash, request::takes_gzip};
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::io::Write;

/// Both scripts.
pub(super) struct Client {
    module: Script,
    global: Script,
}

/// A script in both codings, and its tag.
struct Script {
    plain: Bytes,
    gzip: Bytes,
    tag: String,
}

impl Client {
    /// What was built in, compressed once.
    pub(super) fn new() -> Self {
        Self {
            module: Script::new(include_bytes!("../../assets/riacho.js")),
            global: Script::new(include_bytes!("../../assets/riacho.global.js")),
        }
    }
}

impl Script {
    fn new(plain: &'static [u8]) -> Self {
        let tag = hash(&[plain]).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        // Writing into a Vec cannot fail.
        let gzip = gzip.write_all(plain).and_then(|()| gzip.finish()).unwrap_or_default();
        Self { plain: Bytes::from_static(plain), gzip: gzip.into(), tag }
    }

    fn answer(&self, headers: &HeaderMap) -> Result<Response, Problem> {
        let mut answer = HeaderMap::new();
        let mut set = |name: HeaderName, value: &'static str| {
            answer.insert(name, HeaderValue::from_static(value));
        };
        // Asked for each time, as the server that speaks to it may be another one tomorrow.
        set(header::CACHE_CONTROL, "no-cache");
        set(header::VARY, "accept-encoding");
        // A script is public: pages of every origin may import it, those that isolate themselves too.
        set(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        set(HeaderName::from_static("cross-origin-resource-policy"), "cross-origin");
        // Weak: one tag for both codings.
        if let Ok(tag) = HeaderValue::try_from(format!("W/\"{}\"", self.tag)) {
            answer.insert(header::ETAG, tag);
        }
        if Tags::of(headers, &header::IF_NONE_MATCH)?.is_some_and(|tags| tags.has(&self.tag)) {
            return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
        }
        let mut set = |name: HeaderName, value: &'static str| {
            answer.insert(name, HeaderValue::from_static(value));
        };
        set(header::CONTENT_TYPE, "text/javascript; charset=utf-8");
        set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        let gzip = takes_gzip(headers);
        if gzip {
            set(header::CONTENT_ENCODING, "gzip");
        }
        let body = if gzip { &self.gzip } else { &self.plain };
        Ok((answer, body.clone()).into_response())
    }
}

/// `GET /riacho.js`: an ES module.
pub(super) async fn module(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    app.shared.client.module.answer(request.headers())
}

/// `GET /riacho.global.js`: a script that sets `riacho`.
pub(super) async fn global(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    app.shared.client.global.answer(request.headers())
}
