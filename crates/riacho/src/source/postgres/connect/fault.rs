//! What failed, in sentences, and whether it may pass: by SQLSTATE where the server spoke, by the cause where it did not.
//!
//! The server's own message is repeated only of states whose messages hold no values of rows.

use super::Target;
use pgwire_replication::PgWireError;
use riacho_core::source::machine::Fault;
use std::{error::Error, io};
use tokio_postgres::error::SqlState;

/// A failure of a session.
pub(crate) fn fault(err: &tokio_postgres::Error, target: &Target) -> Fault {
    if let Some(error) = err.as_db_error() {
        return said(error.code().code(), error.message(), target);
    }
    if let Some(cause) = find::<rustls::Error>(err) {
        return untrusted(&cause.to_string(), target);
    }
    if let Some(cause) = find::<io::Error>(err) {
        return cut(cause, target);
    }
    let place = target.shown();
    let cause = err.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    match err.to_string().as_str() {
        "error performing TLS handshake" => no_tls(&cause, target),
        "authentication error" | "invalid configuration" => Fault::needs_person(
            format!(
                "PostgreSQL at {place} wants a password, or another proof of who we are, that is not given{cause}"
            ),
            PASSWORD,
        ),
        "connection closed" => Fault::passing(format!("PostgreSQL at {place} closed the connection")),
        "timeout waiting for server" => {
            Fault::passing(format!("PostgreSQL at {place} did not answer in time"))
        }
        other => Fault::passing(format!("PostgreSQL at {place}: {other}{cause}")),
    }
}

/// A failure of the replication client.
pub(crate) fn replication_fault(err: &PgWireError, target: &Target) -> Fault {
    let place = target.shown();
    match err {
        PgWireError::Io(cause) => cut(cause, target),
        PgWireError::Server(text) => {
            let (message, state) =
                match text.strip_suffix(')').and_then(|text| text.rsplit_once(" (SQLSTATE ")) {
                    Some((message, state)) => (message, state),
                    None => (text.as_str(), ""),
                };
            said(state, message, target)
        }
        PgWireError::Auth(cause) => {
            Fault::needs_person(format!("PostgreSQL at {place} refused the login: {cause}"), PASSWORD)
        }
        PgWireError::Tls(cause) if cause.starts_with("server does not support TLS") => no_tls("", target),
        PgWireError::Tls(cause) => untrusted(cause, target),
        PgWireError::MessageTooLarge { payload_bytes, limit_bytes } => Fault::needs_person(
            format!("PostgreSQL at {place} sent a row of {payload_bytes} bytes; {limit_bytes} is the most"),
            "leave the column out with `columns`",
        ),
        other => Fault::passing(format!("replication from PostgreSQL at {place} failed: {other}")),
    }
}

/// Whether a connect might succeed without encryption, as libpq tries with `sslmode=prefer`.
pub(super) fn may_be_tls(err: &tokio_postgres::Error) -> bool {
    // No entry of pg_hba.conf may let in who is encrypted.
    err.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
        || err.to_string() == "error performing TLS handshake"
}

fn said(state: &str, message: &str, target: &Target) -> Fault {
    let place = target.shown();
    match state {
        "28P01" => Fault::needs_person(format!("PostgreSQL at {place} refused the password"), PASSWORD),
        "28000" => Fault::needs_person(
            format!("PostgreSQL at {place} refused the login: {message}"),
            "let the user in with an entry in pg_hba.conf, check `sslmode`, and give the user LOGIN and, for \
                 replication, REPLICATION",
        ),
        "3D000" => Fault::needs_person(
            format!("PostgreSQL at {place}: there is no such database"),
            "check the database's name in the URL, or create it",
        ),
        "42501" => Fault::needs_person(
            format!("PostgreSQL at {place} refused for lack of rights: {message}"),
            "give the user the rights, or use a user that has them",
        ),
        "53300" => Fault::passing(format!("PostgreSQL at {place} has no connection left: {message}")),
        "57P01" => {
            Fault::passing(format!("PostgreSQL at {place} was told to end the connection, or is stopping"))
        }
        "57P02" => Fault::passing(format!("PostgreSQL at {place} ended the connection after a crash")),
        "57P03" => Fault::passing(format!("PostgreSQL at {place} does not take connections yet: {message}")),
        "55P03" => {
            Fault::passing(format!("PostgreSQL at {place}: {message}{}", of(state))).with_remedy(LOCKED)
        }
        // 08 connections, 40 rollbacks, 53 resources, 57 operators, 58 systems.
        _ if PASSING.iter().any(|class| state.starts_with(class)) || state.is_empty() => {
            Fault::passing(format!("PostgreSQL at {place}: {message}{}", of(state)))
        }
        // A state whose message may hold values: of data and of keys.
        _ if state.starts_with("22") || state.starts_with("23") => {
            Fault::evident(format!("PostgreSQL at {place} refused a value{}", of(state)))
        }
        _ => Fault::evident(format!("PostgreSQL at {place}: {message}{}", of(state))),
    }
}

fn of(state: &str) -> String {
    if state.is_empty() { String::new() } else { format!(" (SQLSTATE {state})") }
}

fn cut(cause: &io::Error, target: &Target) -> Fault {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, NotFound, PermissionDenied,
        TimedOut, UnexpectedEof,
    };
    if let Some(cause) = cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return untrusted(&cause.to_string(), target);
    }
    let place = target.shown();
    Fault::passing(match cause.kind() {
        ConnectionRefused => format!("PostgreSQL at {place} refused the connection: nothing listens there"),
        NotFound => format!("PostgreSQL at {place} is not there: no such socket or host"),
        TimedOut => format!("PostgreSQL at {place} did not answer in time"),
        PermissionDenied => format!("PostgreSQL at {place} may not be reached: permission denied"),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => {
            format!("the connection to PostgreSQL at {place} was cut")
        }
        // Names that are not found have no kind of their own.
        _ => format!("PostgreSQL at {place} cannot be reached: {cause}"),
    })
}

fn no_tls(cause: &str, target: &Target) -> Fault {
    Fault::needs_person(
        format!("PostgreSQL at {} does not speak TLS{cause}", target.shown()),
        "set `ssl = on` at the server; or, on a network you trust, `sslmode=disable` here",
    )
}

fn untrusted(cause: &str, target: &Target) -> Fault {
    Fault::needs_person(
        format!("TLS with PostgreSQL at {} failed: {cause}", target.shown()),
        "name the file of the certificate that signed the server's with `sslrootcert`, and the host as the \
             server's certificate has it",
    )
}

fn find<'a, E: Error + 'static>(err: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(err);
    // Chains of causes are short.
    while let Some(err) = next {
        if let Some(found) = err.downcast_ref::<E>() {
            return Some(found);
        }
        next = err.source();
    }
    None
}

const PASSING: [&str; 5] = ["08", "40", "53", "57", "58"];
const LOCKED: &str = "end the transaction that locks the table: SELECT pid, relation::regclass, mode FROM pg_locks WHERE granted; \
     SELECT pg_terminate_backend(...);";
const PASSWORD: &str = "check the user and the password in the URL, PGPASSWORD or ~/.pgpass (mode 0600)";
