//! One row is read and written.

use super::{
    App,
    condition::{self, Tags},
    problem::Problem,
    publish::{self, Bound, FORM, idempotency_key, media_type, unsupported},
    request::{self, Query, shown},
    tables,
};
use crate::log::{AppendError, Appended, Refused, RowWrite, TableWrite};
use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use riacho_core::{
    name::StreamName,
    position::Position,
    table::{batch::Action, value::value},
};
use tokio::sync::OwnedSemaphorePermit;

/// `GET /tables/{table}/{key}`: the row's value, as it was sent.
pub(super) async fn read(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (request, _) = request.into_parts();
    let table = request::table_name(&request.uri)?;
    let key = request::row_key(&request.uri)?;
    tables::ready(&app, &table)?;
    tables::after_cursor(&app, &Query::of(&request.uri)?)?;
    let seen = Tags::of(&request.headers, &header::IF_NONE_MATCH)?;
    let rows = app.log().rows().clone();
    let (of, at) = (table.clone(), key.clone());
    let found = tables::blocking(move || rows.row(&of, at.as_str())).await??;
    let Some(row) = found else {
        let name = table.table().unwrap_or_default();
        return Err(match app.log().rows().table(&table) {
            None => Problem::no_table(name),
            Some(_) => {
                let detail = format!("there is no row `{}` in the table `{name}`", shown(key.as_str()));
                Problem::new(StatusCode::NOT_FOUND, "row_unknown", "No such row", detail)
            }
        });
    };
    let position = app.log().position(row.offset);
    let headers = [
        (header::ETAG, etag(position)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    if seen.is_some_and(|tags| tags.has(&position.to_string())) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((headers, json, String::from(row.value)).into_response())
}

/// `PUT /tables/{table}/{key}`: the row gets this value.
pub(super) async fn put(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let target = Target::of(&app, request)?;
    let flag = "send the row as JSON: `curl -X PUT -H 'Content-Type: application/json' -d '{…}'`";
    expect(&target.parts.headers, &["application/json"], flag)?;
    target
        .change(&app, |app, table, text| {
            let row = value(text).map_err(|err| Problem::bad("row_invalid", "Bad row", err.to_string()))?;
            check(app, table, &row)?;
            Ok(Action::Upsert(row))
        })
        .await
}

/// `PATCH /tables/{table}/{key}`: some members of the row change.
pub(super) async fn patch(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let target = Target::of(&app, request)?;
    let flag = "send a merge patch: `curl -X PATCH -H 'Content-Type: application/merge-patch+json' -d '{…}'`";
    expect(&target.parts.headers, &["application/merge-patch+json", "application/json"], flag)?;
    target
        .change(&app, |_, _, text| {
            let patch =
                value(text).map_err(|err| Problem::bad("patch_invalid", "Bad patch", err.to_string()))?;
            Ok(Action::Patch(patch))
        })
        .await
}

/// `DELETE /tables/{table}/{key}`.
pub(super) async fn delete(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let target = Target::of(&app, request)?;
    target.write(&app, Action::Delete, "", None).await
}

/// Whether a whole row satisfies the table's schema.
///
/// # Errors
/// `schema_violated`.
pub(super) fn check(app: &App, table: &StreamName, row: &str) -> Result<(), Problem> {
    let rules = app.log().rules().tables();
    let Some(schema) = app.settings().schemas.of(rules.of(table.table().unwrap_or_default())) else {
        return Ok(());
    };
    schema.check(row).map_err(|what| AppendError::Write(0, Refused::Schema(what)).into())
}

/// What a request to write one row names.
struct Target {
    parts: Parts,
    body: Body,
    table: StreamName,
    row: RowWrite,
}

impl Target {
    fn of(app: &App, request: Request) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let table = request::table_name(&parts.uri)?;
        let key = request::row_key(&parts.uri)?;
        tables::writable(app, &table)?;
        let condition = condition::of_write(&parts.headers, app.log().epoch())?;
        let row = RowWrite { key: key.into_text(), action: Action::Delete, condition };
        Ok(Self { parts, body, table, row })
    }

    async fn change(
        mut self,
        app: &App,
        action: impl FnOnce(&App, &StreamName, &str) -> Result<Action, Problem>,
    ) -> Result<Response, Problem> {
        let bound = Bound {
            bytes_max: app.settings().row_bytes_max,
            lines: false,
            code: "row_too_large",
            limit: "row_bytes_max",
        };
        let body = std::mem::take(&mut self.body);
        let (text, permit) = publish::receive(app, &self.parts, body, bound).await?;
        let action = action(app, &self.table, &text)?;
        self.write(app, action, &text, Some(permit)).await
    }

    async fn write(
        mut self,
        app: &App,
        action: Action,
        body: &str,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Response, Problem> {
        let headers = &self.parts.headers;
        let condition = [&header::IF_MATCH, &header::IF_NONE_MATCH].map(|name| {
            headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b',')
        });
        let [matches, none_match] = &condition;
        let more = [self.parts.method.as_str().as_bytes(), matches, none_match, body.as_bytes()];
        let idempotency = idempotency_key(&self.parts, &more)?;
        let stays = !matches!(action, Action::Delete);
        self.row.action = action;
        let key = self.row.key.clone();
        let write = TableWrite {
            table: self.table.clone(),
            writes: vec![self.row],
            txid: None,
            key: idempotency,
            source: None,
        };
        let appended = app.log().write(write, permit).await.map_err(|err| refused(app, err))?;
        Ok(written(app, &self.table, &key, appended, stays))
    }
}

/// Refuses a body of another media type than `types`; `flag` says what to do instead.
fn expect(headers: &HeaderMap, types: &[&str], flag: &str) -> Result<(), Problem> {
    match media_type(headers)?.as_deref() {
        Some(essence) if types.contains(&essence) => Ok(()),
        None => Err(unsupported(format!("the body has no `Content-Type`; {flag}"))),
        Some(FORM) => Err(unsupported(format!("that is what curl says of `-d` by itself; {flag}"))),
        Some(other) => {
            let types = types.join(" or ");
            Err(unsupported(format!("the body is {types}, not `{}`; {flag}", shown(other))))
        }
    }
}

// A condition that does not hold is told with the tag that would have.
fn refused(app: &App, err: AppendError) -> Problem {
    let now = match &err {
        AppendError::Write(_, Refused::Condition(Some(offset))) => Some(app.log().position(*offset)),
        _ => None,
    };
    let problem = Problem::from(err);
    match now {
        Some(position) => problem.with(header::ETAG, etag(position)),
        None => problem,
    }
}

fn written(app: &App, table: &StreamName, key: &str, appended: Appended, stays: bool) -> Response {
    let position = app.log().position(appended.last());
    let status = if appended.created { StatusCode::CREATED } else { StatusCode::OK };
    // A cursor needs no escaping in JSON.
    let body = format!("{{\"cursor\":\"{position}\",\"changes\":{}}}\n", appended.count);
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    let mut response = (status, headers, body).into_response();
    let headers = response.headers_mut();
    if stays {
        headers.insert(header::ETAG, etag(position));
    }
    if let Some(location) = appended.created.then(|| location(table, key)).flatten() {
        headers.insert(header::LOCATION, location);
    }
    response
}

/// The path of a row.
fn location(table: &StreamName, key: &str) -> Option<HeaderValue> {
    let table = utf8_percent_encode(table.table().unwrap_or_default(), RESERVED);
    let path = format!("/tables/{table}/{}", utf8_percent_encode(key, RESERVED));
    HeaderValue::try_from(path).ok()
}

/// The tag of a row whose last change is at `position`.
pub(super) fn etag(position: Position) -> HeaderValue {
    // A cursor is letters, digits and `-`.
    HeaderValue::try_from(format!("\"{position}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// What is not unreserved in RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
