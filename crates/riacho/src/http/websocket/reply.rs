//! What a client is answered, as text, and how a WebSocket ends whose address is refused.

use crate::http::{App, problem::Problem};
use riacho_core::transport::command::{Name, Reference};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The answer `word` to the message `reference`, with more members as JSON, each after a comma.
pub(super) fn reply(word: &str, reference: Option<&Reference>, rest: &str) -> String {
    match reference {
        Some(reference) => format!("{{\"reply\":\"{word}\",\"ref\":{}{rest}}}", reference.as_json()),
        None => format!("{{\"reply\":\"{word}\"{rest}}}"),
    }
}

/// The answer that something is refused, which is counted.
pub(super) fn refusal(app: &App, reference: Option<&Reference>, problem: &Problem) -> String {
    let refused = problem.refused();
    app.shared.metrics.refused(refused.code);
    if let Some(limit) = refused.limit {
        app.shared.metrics.limit(limit);
    }
    reply("error", reference, &format!(",\"error\":{}", problem.to_json()))
}

/// The member that names a subscription, if it has a name.
pub(super) fn subscription_member(name: Option<&Name>) -> String {
    name.map_or_else(String::new, |name| format!(",\"subscription\":{}", name.to_json()))
}

/// How a WebSocket ends whose address is refused.
pub(super) fn close_code(problem: &Problem) -> CloseCode {
    match problem.status() {
        _ if problem.retry() => CloseCode::Again,
        status if status.is_server_error() => CloseCode::Error,
        status => CloseCode::Library(OWN + status.as_u16()),
    }
}

// Codes of our own: this and the status of HTTP.
const OWN: u16 = 4000;
