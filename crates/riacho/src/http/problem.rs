//! Errors on the wire: RFC 9457 problem details with a stable code, one sentence, and whether a retry can help.

use crate::{
    error::{Error, ErrorKind},
    log::AppendError,
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
    line: Option<usize>,
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
        self.line = Some(line);
        self.detail = format!("line {line}: {}", self.detail).into();
        self
    }

    /// The same error with one more header.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Its stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("urn:riacho:error:{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
            "retry": self.retry,
        });
        if let (Some(line), Some(body)) = (self.line, body.as_object_mut()) {
            body.insert("line".into(), line.into());
        }
        let mut response = (self.status, format!("{body}\n")).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response.extensions_mut().insert(Refused { code: self.code, limit: self.limit });
        response
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
