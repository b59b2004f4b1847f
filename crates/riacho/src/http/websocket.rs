//! Events go out and come in on a WebSocket: the handshake.
//!
//! What a page asks for wrongly is told on the WebSocket once it is open: a page cannot see the answer to a handshake.
//! Spec: RFC 6455, "Opening Handshake"; RFC 8441 for HTTP/2; `spec/protocol.md` "WebSocket".

use super::{App, connection::Peer, problem::Problem};
use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use session::Session;
use sha1::{Digest, Sha1};
use std::sync::{Arc, PoisonError};

/// The socket under the frames, which knows whether the other side lives.
mod socket;
/// What a subscription says, cut into frames.
mod lines;
/// Its subscriptions, and what they have to say.
mod subscriptions;
/// What a client is answered.
mod reply;
/// One WebSocket, from its first frame to its last.
mod session;

/// Whether a request asks for a WebSocket at an address that has one.
pub(super) fn is_upgrade(request: &Request) -> bool {
    let path = request.uri().path();
    let has_one = path == "/streams" || path.starts_with("/streams/") || path.starts_with("/tables/");
    has_one && (is_upgrade_of_http1(request) || is_upgrade_of_http2(request))
}

fn is_upgrade_of_http1(request: &Request) -> bool {
    let (method, headers) = (request.method(), request.headers());
    *method == Method::GET
        && request.version() == Version::HTTP_11
        && lists(headers, &header::UPGRADE, "websocket")
        && lists(headers, &header::CONNECTION, "upgrade")
}

fn is_upgrade_of_http2(request: &Request) -> bool {
    let protocol = request.extensions().get::<Protocol>();
    *request.method() == Method::CONNECT && protocol.is_some_and(|protocol| protocol.as_str() == "websocket")
}

/// Answers the handshake, and has the connection go on as a WebSocket.
pub(super) fn open(app: &App, request: Request) -> Response {
    match handshake(app, request) {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

/// An address that has nothing but a WebSocket.
pub(super) async fn not_upgraded() -> Problem {
    let status = StatusCode::UPGRADE_REQUIRED;
    Problem::new(status, "upgrade_required", "WebSocket only", "there is nothing here but a WebSocket")
        .with(header::UPGRADE, HeaderValue::from_static("websocket"))
}

fn handshake(app: &App, mut request: Request) -> Result<Response, Problem> {
    let headers = request.headers();
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        let detail = format!("the version of WebSocket spoken here is {VERSION}");
        let status = StatusCode::UPGRADE_REQUIRED;
        let problem = Problem::new(status, "upgrade_required", "Another version of WebSocket", detail);
        return Err(problem.with(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION)));
    }
    let accept = if is_upgrade_of_http1(&request) { Some(accept(headers)?) } else { None };
    let Some(peer) = request.extensions().get::<Peer>().cloned() else { return Err(unable()) };
    let session = Session::new(app, request.uri().clone(), headers.clone());
    let Some(accept) = accept else {
        let upgraded = peer.upgraded.ok_or_else(unable)?;
        let stream = hyper::upgrade::on(&mut request);
        let mut upgraded = upgraded.lock().unwrap_or_else(PoisonError::into_inner);
        // Otherwise those that have ended would keep their memory until the connection ends.
        while upgraded.try_join_next().is_some() {}
        upgraded.spawn(async move {
            // An error: the answer could not be sent.
            if let Ok(stream) = stream.await {
                session.run(TokioIo::new(stream), Vec::new()).await;
            }
        });
        return Ok(StatusCode::OK.into_response());
    };
    let handoff: Arc<_> = peer.handoff.ok_or_else(unable)?;
    handoff.offer(Box::new(move |socket, early| Box::pin(session.run(socket, early))));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

// What proves to a client that its handshake was understood.
fn accept(headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if BASE64_STANDARD.decode(key).map_or(0, |nonce| nonce.len()) != NONCE_BYTES {
        let detail = "`Sec-WebSocket-Key` is 16 bytes in base64";
        return Err(Problem::bad("handshake_invalid", "Bad handshake", detail));
    }
    let digest = Sha1::new().chain_update(key).chain_update(ACCEPT).finalize();
    HeaderValue::try_from(BASE64_STANDARD.encode(digest)).map_err(|_| unable())
}

fn unable() -> Problem {
    Problem::bad("handshake_invalid", "Bad handshake", "this connection cannot become a WebSocket")
}

// Whether a header that is a list of words, of any case, has `word`.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|listed| listed.trim().eq_ignore_ascii_case(word))
}

const VERSION: &str = "13";
const NONCE_BYTES: usize = 16;
// RFC 6455, "Opening Handshake".
const ACCEPT: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
