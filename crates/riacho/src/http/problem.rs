//! Errors on the wire: RFC 9457 problem details with a stable code, one sentence, and whether a retry can help.

use crate::{
    error::{Error, ErrorKind},
    log::{self, AppendError},
};
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;
use std::borrow::Cow;

/// One error, as it is sent. Spec: `spec/protocol.md` "Errors".
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    retry: bool,
    /// Of 32 bits, since errors are moved about: no body has more lines or changes.
    line: Option<u32>,
    index: Option<u32>,
    limit: Option<&'static str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// An error that trying again cannot mend.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            title,
            detail: detail.into(),
            retry: false,
            line: None,
            index: None,
            limit: None,
            headers: Vec::new(),
        }
    }

    /// A request that is wrong in itself.
    pub fn bad(code: &'static str, title: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, title, detail)
    }

    /// The server cannot do it now; the same request may do later.
    pub fn overloaded(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, "Not now", detail).retriable()
    }

    /// The same error, for the limit of this name, which is counted.
    pub fn limited_by(mut self, limit: &'static str) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The same error, mended perhaps by trying again.
    pub fn retriable(mut self) -> Self {
        self.retry = true;
        self.with(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// The same error, about the line `line` of the body, from 1.
    pub fn at_line(mut self, line: usize) -> Self {
        self.line = u32::try_from(line).ok();
        self.detail = format!("line {line}: {}", self.detail).into();
        self
    }

    /// The same error, about the change `index` of a batch, from 0.
    pub fn at_index(mut self, index: usize) -> Self {
        self.index = u32::try_from(index).ok();
        self
    }

    /// The same error with one more header.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The problem details.
    pub(super) fn to_json(&self) -> serde_json::Value {
        let mut body = json!({
            "type": format!("urn:riacho:error:{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
            "retry": self.retry,
        });
        for (name, place) in [("index", self.index), ("line", self.line)] {
            if let (Some(place), Some(body)) = (place, body.as_object_mut()) {
                body.insert(name.into(), place.into());
            }
        }
        body
    }

    /// Whether trying again may help.
    pub(super) fn retry(&self) -> bool {
        self.retry
    }

    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// What is left of it for the metrics.
    pub(super) fn refused(&self) -> Refused {
        Refused { code: self.code, limit: self.limit }
    }

    /// Its stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let refused = self.refused();
        let mut response = (self.status, format!("{}\n", self.to_json())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response.extensions_mut().insert(refused);
        response
    }
}

impl Problem {
    /// There is no table of this name.
    pub(super) fn no_table(table: &str) -> Self {
        let detail = format!("there is no table `{table}`");
        Self::new(StatusCode::NOT_FOUND, "table_unknown", "No such table", detail)
    }

    fn of_refused(refused: &log::Refused, detail: String) -> Self {
        use log::Refused::{Condition, Exists, Missing, Patch, Schema, TooLarge};
        let (status, code, title) = match refused {
            Missing => (StatusCode::NOT_FOUND, "row_unknown", "No such row"),
            Exists => (StatusCode::CONFLICT, "row_exists", "The row is there already"),
            Condition(_) => {
                (StatusCode::PRECONDITION_FAILED, "condition_failed", "The condition does not hold")
            }
            Patch(_) => (StatusCode::BAD_REQUEST, "patch_invalid", "Bad patch"),
            TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "row_too_large", "Too large"),
            Schema(_) => (StatusCode::UNPROCESSABLE_ENTITY, "schema_violated", "The row breaks the schema"),
        };
        let problem = Self::new(status, code, title, detail);
        if matches!(refused, TooLarge(_)) { problem.limited_by("row_bytes_max") } else { problem }
    }
}

/// What was wrong, left on the response for the metrics.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// The error's code.
    pub code: &'static str,
    /// The limit that was hit, if it was one.
    pub limit: Option<&'static str>,
}

impl From<AppendError> for Problem {
    fn from(err: AppendError) -> Self {
        let detail = err.to_string();
        match err {
            AppendError::Full => {
                let status = StatusCode::INSUFFICIENT_STORAGE;
                Self::new(status, "disk_full", "No room on the server's disk", detail).retriable()
            }
            AppendError::Failed => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "log_failed", "The server's log is read-only", detail)
            }
            AppendError::Closing => Self::overloaded("shutting_down", detail),
            AppendError::UnknownStream(name) | AppendError::NotConfigured(name) if name.table().is_some() => {
                Self::no_table(name.table().unwrap_or_default())
            }
            AppendError::UnknownStream(_) | AppendError::NotConfigured(_) => {
                Self::new(StatusCode::NOT_FOUND, "stream_unknown", "No such stream", detail)
            }
            AppendError::ClosedStream(_) => {
                Self::new(StatusCode::CONFLICT, "stream_closed", "The stream has ended", detail)
            }
            AppendError::TooManyStreams => Self::overloaded("streams_max", detail).limited_by("streams_max"),
            AppendError::TooManyKeys => {
                Self::overloaded("idempotency_keys_max", detail).limited_by("idempotency_keys_max")
            }
            AppendError::KeyReused => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Self::new(status, "idempotency_key_reused", "Idempotency key used before", detail)
            }
            AppendError::ReadOnly(..) => {
                let status = StatusCode::METHOD_NOT_ALLOWED;
                let allow = HeaderValue::from_static("GET, HEAD, OPTIONS");
                Self::new(status, "table_read_only", "The table is fed by a source", detail)
                    .with(header::ALLOW, allow)
            }
            AppendError::RowsFailed => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "rows_failed", "The server's rows are read-only", detail)
            }
            // Of sources alone, which do not ask over HTTP.
            AppendError::Unfit(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "Failed", detail),
            AppendError::Write(_, refused) => Self::of_refused(&refused, detail),
            AppendError::TooLarge => {
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                Self::new(status, "batch_too_large", "Too large", detail).limited_by("batch_bytes_max")
            }
        }
    }
}

impl From<Error> for Problem {
    fn from(err: Error) -> Self {
        tracing::error!(error = err.chain(), "request failed");
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        match err.kind() {
            ErrorKind::Corrupt => {
                let detail =
                    "a part of the log is damaged; the server's operator can run `riacho log verify`";
                Self::new(status, "log_damaged", "The log is damaged", detail)
            }
            ErrorKind::Overloaded => Self::overloaded(
                VIEWS_MAX,
                "there are as many different subscriptions as there may be (limit views_max)",
            )
            .limited_by(VIEWS_MAX),
            _ => Self::new(
                status,
                "log_unreadable",
                "The log cannot be read",
                "the disk did not give what was asked",
            )
            .retriable(),
        }
    }
}

/// The limit of views, by its name and as a code.
pub(super) const VIEWS_MAX: &str = "views_max";
