//! All decoders of a request, run over any bytes: what the fuzz target `request` calls. Not part of the API.

use super::{
    Settings, publish,
    request::{self, Media, Query},
};
use crate::config::Origins;
use http::{HeaderMap, HeaderValue, Uri, header};
use std::time::Duration;

/// Decodes `bytes` as a request: a line each for the target, `Accept` and `Last-Event-ID`, then a batch.
///
/// Gives how many events the batch holds, where all of it is well-formed.
pub fn request(bytes: &[u8]) -> Option<usize> {
    let mut parts = bytes.splitn(4, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let uri = Uri::try_from(next());
    let mut headers = HeaderMap::new();
    for name in [header::ACCEPT, header::HeaderName::from_static("last-event-id")] {
        if let Ok(value) = HeaderValue::from_bytes(next()) {
            headers.insert(name, value);
        }
    }
    let media = request::media(&headers, Media::EventStream);
    let body = std::str::from_utf8(next()).ok();
    let settings = small();
    let events = body.and_then(|body| {
        let entry = |line: &publish::Line<'_>, stream: Option<&str>| {
            publish::entry(request::parse_name(stream.unwrap_or("s"))?, None, line)
        };
        publish::lines(&settings, body, true, entry).ok()
    });
    let uri = uri.ok()?;
    let name = request::stream_name(&uri);
    let query = Query::of(&uri).ok()?;
    let start = request::start(&query, &headers);
    let selection = request::selection(&query, settings.streams_per_subscription_max);
    let numbers = (query.number("limit", 1, 9).is_ok(), query.flag("envelope").is_ok());
    let whole =
        name.is_ok() && media.is_ok() && start.is_ok() && selection.is_ok() && numbers == (true, true);
    events.filter(|_| whole).map(|events| events.len())
}

/// Bounds so small that any input may reach them.
pub(super) fn small() -> Settings {
    Settings {
        origins: Origins::None,
        heartbeat: Duration::from_secs(15),
        retry: Duration::from_secs(2),
        event_bytes_max: 1 << 10,
        batch_events_max: 16,
        batch_bytes_max: 1 << 12,
        publish_bytes_in_flight_max: 1 << 12,
        streams_per_subscription_max: 4,
        long_poll_wait_max: Duration::from_secs(60),
        page_events_max: 10,
    }
}
