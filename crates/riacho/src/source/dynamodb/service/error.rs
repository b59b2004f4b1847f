//! What became of a request that was not answered well, and what to do about it.

use riacho_core::source::{
    dynamodb::{answer, request::Operation},
    machine::{Fault, FaultKind},
};

/// Why there is no good answer. Texts are for people; none has a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServiceError {
    /// Too much was asked, by us or by others; the code says of what.
    Throttled(String),
    /// The iterator is older than 15 minutes.
    ExpiredIterator,
    /// The stream no longer has what was asked for.
    Trimmed,
    /// There is no such table, stream or shard; what the service says of it.
    NotFound(String),
    /// The service does not let us, or there are no credentials.
    Denied {
        /// What has to be allowed.
        operation: Operation,
        /// The service's code; `NoCredentials` where none were found.
        code: String,
        /// What it says.
        message: String,
    },
    /// The request is not understood or not possible; what the service says of it.
    Validation(String),
    /// No answer came, or none that was whole.
    Unreachable(String),
    /// Anything else.
    Other {
        /// Of HTTP.
        status: u16,
        /// The service's code; empty where it gave none.
        code: String,
        /// What it says.
        message: String,
    },
}

impl ServiceError {
    /// What an answer that is not 200 says.
    pub(super) fn parse(operation: Operation, status: u16, body: &[u8]) -> Self {
        let said = answer::ServiceError::parse(body);
        let (code, message) =
            said.map(|said| (said.code.into(), cut(said.message.into()))).unwrap_or_default();
        let code: String = code;
        match code.as_str() {
            "ExpiredIteratorException" => Self::ExpiredIterator,
            "TrimmedDataAccessException" => Self::Trimmed,
            "ResourceNotFoundException" | "TableNotFoundException" => Self::NotFound(message),
            "ValidationException" | "SerializationException" => Self::Validation(message),
            known if THROTTLES.contains(&known) || status == 429 => Self::Throttled(code),
            // It repeats the request that was signed, a session's token among it.
            known if SIGNATURES.contains(&known) => Self::denied(operation, known, signature(&message)),
            known if DENIALS.contains(&known) || status == 401 || status == 403 => {
                Self::denied(operation, known, &message)
            }
            _ => Self::Other { status, code, message },
        }
    }

    pub(super) fn denied(operation: Operation, code: &str, message: &str) -> Self {
        Self::Denied { operation, code: code.to_owned(), message: message.to_owned() }
    }

    /// Whether other credentials, where the same are no longer found, could help.
    pub(super) fn is_of_credentials(&self) -> bool {
        matches!(self, Self::Denied { code, .. } if !code.starts_with("AccessDenied"))
    }

    /// Whether the same request may be answered later.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Throttled(_) | Self::Unreachable(_) | Self::Other { status: 500.., .. })
    }

    /// Whether the same request can be tried again at once.
    pub(super) fn is_worth_another_try(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Other { status: 500.., .. })
    }

    /// What to tell people.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Throttled(code) => {
                Fault::passing(format!("DynamoDB takes no more requests for now ({code})"))
                    .with_remedy("give the table more capacity, or let fewer read its stream")
            }
            Self::ExpiredIterator => Fault::passing("the place in the stream was held for too long"),
            Self::Trimmed => Fault::passing("the stream no longer has what comes next"),
            Self::NotFound(message) => {
                let message = told("the table or its stream is not there", message);
                Fault::needs_person(message, "check the name, the region, and whether the table has a stream")
            }
            Self::Denied { operation, code, message } => denied(*operation, code, message),
            Self::Validation(message) => Fault::needs_person(
                told("DynamoDB does not take the request", message),
                "check the settings of the source",
            ),
            Self::Unreachable(message) => Fault::passing(format!("DynamoDB cannot be reached: {message}")),
            Self::Other { status, code, message } => {
                let at = if code.is_empty() { format!("status {status}") } else { code.clone() };
                let kind = if *status >= 500 { FaultKind::Passing } else { FaultKind::NeedsPerson };
                Fault { kind, message: told(&format!("DynamoDB failed ({at})"), message), remedy: None }
            }
        }
    }
}

fn denied(operation: Operation, code: &str, message: &str) -> Fault {
    let action = format!("dynamodb:{}", operation.as_str());
    if code == NO_CREDENTIALS {
        return Fault::needs_person(
            message.to_owned(),
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile, or run it with a role",
        );
    }
    let told = told(&format!("DynamoDB does not let us ({code})"), message);
    match code {
        _ if code.starts_with("AccessDenied") => Fault::needs_person(
            told,
            format!("allow `{action}` to the user or role whose credentials these are"),
        ),
        _ if code.starts_with("ExpiredToken") => {
            Fault::needs_person(told, format!("renew the credentials; they need `{action}`"))
        }
        _ if code.starts_with("InvalidSignature") || code.starts_with("SignatureDoesNotMatch") => {
            Fault::needs_person(told, "check the secret access key, the region, and this machine's clock")
        }
        _ => Fault::needs_person(told, format!("check the credentials; they need `{action}`")),
    }
}

fn told(what: &str, message: &str) -> String {
    if message.is_empty() { what.to_owned() } else { format!("{what}: {}", message.trim_end_matches('.')) }
}

fn signature(message: &str) -> &'static str {
    if message.contains("expired") || message.contains("not yet current") {
        "the signature is of another time"
    } else {
        "the signature is wrong"
    }
}

/// A sentence, not a page.
fn cut(mut message: String) -> String {
    let end = message.floor_char_boundary(MESSAGE_CHARS_MAX);
    message.truncate(end);
    message
}

/// The code of a denial that was no answer: nothing was asked.
pub(super) const NO_CREDENTIALS: &str = "NoCredentials";

const THROTTLES: [&str; 8] = [
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];
const SIGNATURES: [&str; 4] = [
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch",
];
const DENIALS: [&str; 7] = [
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "NotAuthorized",
    "UnrecognizedClientException",
];
const MESSAGE_CHARS_MAX: usize = 500;
