//! All decoders of a request, run over any bytes: what the fuzz target `request` calls. Not part of the API.

use super::{
    Settings, batch, condition, ingest, publish,
    request::{self, Media, Query},
    snapshot,
};
use crate::{config::Origins, schema::Schemas, source::dynamodb::Pushed};
use http::{HeaderMap, HeaderValue, Uri, header};
use riacho_core::{position::Epoch, table::batch::Form};
use std::{num::NonZeroU64, time::Duration};

/// Decodes `bytes` as a request: a line each for the target, `Accept`, `Last-Event-ID` and a condition, then a batch of
/// events or of changes.
///
/// Gives how many events or changes the batch holds, where all of it is well-formed.
pub fn request(bytes: &[u8]) -> Option<usize> {
    let mut parts = bytes.splitn(5, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let uri = Uri::try_from(next());
    let mut headers = HeaderMap::new();
    for name in [header::ACCEPT, header::HeaderName::from_static("last-event-id"), header::IF_MATCH] {
        if let Some(value) = HeaderValue::from_bytes(next()).ok().filter(|value| !value.is_empty()) {
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
    if uri.path().starts_with(ingest::PATH) {
        return match ingest::items_of(body?.as_bytes()).ok()? {
            Pushed::Items { items, .. } => Some(items.len()),
            Pushed::Records(records) => Some(records.len()),
        };
    }
    if uri.path().starts_with("/tables/") {
        return of_table(&uri, &headers, body?);
    }
    let name = request::stream_name(&uri);
    let query = Query::of(&uri).ok()?;
    let start = request::start(&query, &headers);
    let selection = request::selection(&query, settings.streams_per_subscription_max);
    let numbers = (query.number("limit", 1, 9).is_ok(), query.flag("envelope").is_ok());
    let whole =
        name.is_ok() && media.is_ok() && start.is_ok() && selection.is_ok() && numbers == (true, true);
    events.filter(|_| whole).map(|events| events.len())
}

fn of_table(uri: &Uri, headers: &HeaderMap, body: &str) -> Option<usize> {
    let table = request::table_name(uri);
    let key = request::row_key(uri);
    let query = Query::of(uri);
    let condition = condition::of_write(headers, Epoch(NonZeroU64::MIN));
    let changes = [Form::Array, Form::Lines].map(|form| {
        let table = table.as_ref().ok().and_then(|table| table.table()).unwrap_or("t");
        batch::of_text(&small(), table, body, form).ok()
    });
    let wanted = query.as_ref().is_ok_and(|query| {
        let start = request::start_of_tables(query, headers);
        let token = query.get("after").is_none_or(|token| snapshot::token(token).is_some());
        request::terms(query, true).is_ok() && start.is_ok() && token
    });
    let whole = wanted && table.is_ok() && key.is_ok() && condition.is_ok();
    changes.into_iter().flatten().next().filter(|_| whole).map(|batch| batch.changes.len())
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
        websocket_message_bytes_max: 1 << 10,
        websocket_subscriptions_max: 4,
        row_bytes_max: 1 << 10,
        schemas: Schemas::default(),
        snapshot_hold: Duration::from_secs(60),
        snapshot_max_age: Duration::from_secs(1),
        snapshots_max: 4,
    }
}
