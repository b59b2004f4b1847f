//! What a request says: names, media types, parameters.

use super::problem::Problem;
use http::{HeaderMap, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;
use riacho_core::{
    name::{Selection, Selector, StreamName},
    start::{Start, StartError},
};

/// The parameters of a query, in order.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Takes the query of `uri`: form-urlencoded, UTF-8.
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let mut parameters = Vec::new();
        for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            parameters.push((decode_form(name)?, decode_form(value)?));
        }
        Ok(Self(parameters))
    }

    /// The first value of `name`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// All values of `name`.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is a whole number within `max`.
    pub(super) fn number(&self, name: &'static str, default: usize, max: usize) -> Result<usize, Problem> {
        let Some(text) = self.get(name) else { return Ok(default) };
        text.parse().ok().filter(|n| (1..=max).contains(n)).ok_or_else(|| {
            let detail = format!("`{name}` is a whole number from 1 to {max}, not `{}`", shown(text));
            Problem::bad("parameter_invalid", "Bad parameter", detail)
        })
    }

    /// A parameter that is 0 or 1, true or false.
    pub(super) fn flag(&self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some("1" | "true" | "") => Ok(Some(true)),
            Some("0" | "false") => Ok(Some(false)),
            Some(text) => {
                let detail = format!("`{name}` is 0, 1, true or false, not `{}`", shown(text));
                Err(Problem::bad("parameter_invalid", "Bad parameter", detail))
            }
        }
    }
}

/// The stream named by the path, percent-decoded.
pub(super) fn stream_name(uri: &Uri) -> Result<StreamName, Problem> {
    let raw = uri.path().strip_prefix("/streams/").unwrap_or_default();
    let name = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| Problem::bad("name_invalid", "Bad stream name", "the stream name is not UTF-8"))?;
    parse_name(&name)
}

/// A stream name from outside.
pub(super) fn parse_name(text: &str) -> Result<StreamName, Problem> {
    StreamName::parse(text)
        .map_err(|err| Problem::bad("name_invalid", "Bad stream name", format!("the stream name {err}")))
}

/// The streams that `stream=` parameters select; at most `max`.
pub(super) fn selection(query: &Query, max: usize) -> Result<Option<Selection>, Problem> {
    let mut selectors = Vec::new();
    for text in query.all("stream") {
        if selectors.len() == max {
            let detail =
                format!("a subscription has at most {max} `stream=` (limit streams_per_subscription_max)");
            let limit = "streams_per_subscription_max";
            return Err(Problem::bad(limit, "Too many streams", detail).limited_by(limit));
        }
        let selector = Selector::parse(text).map_err(|err| {
            let detail = format!("the stream name or pattern `{}` {err}", shown(text));
            Problem::bad("name_invalid", "Bad stream name", detail)
        })?;
        selectors.push(selector);
    }
    Ok((!selectors.is_empty()).then(|| Selection::new(selectors)))
}

/// Where the subscription starts.
pub(super) fn start(query: &Query, headers: &HeaderMap) -> Result<Start, Problem> {
    // A header that is no text is a cursor that cannot be honoured: told in band, like any other.
    let header = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
    let resume = header.filter(|cursor| !cursor.is_empty());
    // The names that polyfills and other servers' clients use.
    let names = ["last_event_id", "lastEventId", "lastEventID", "Last-Event-ID"];
    let resume =
        resume.or_else(|| names.iter().find_map(|name| query.get(name).filter(|cursor| !cursor.is_empty())));
    Start::choose(resume, query.get("from"), query.get("tail")).map_err(|err| {
        let code = match err {
            StartError::From => "from_invalid",
            StartError::Tail => "tail_invalid",
        };
        Problem::bad(code, "Bad start", err.to_string())
    })
}

/// How a reader wants its events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Media {
    EventStream,
    Ndjson,
    Json,
}

impl Media {
    // The names it goes by, and the range that covers them.
    fn names(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::EventStream => (&["text/event-stream"], "text/*"),
            Self::Ndjson => {
                (&["application/x-ndjson", "application/ndjson", "application/jsonl"], "application/*")
            }
            Self::Json => (&["application/json"], "application/*"),
        }
    }
}

/// The media type a reader accepts best; of several accepted alike, `default` if it is among them.
///
/// Spec: RFC 9110, "Accept": of the ranges that cover a type the most specific one counts.
pub(super) fn media(headers: &HeaderMap, default: Media) -> Result<Media, Problem> {
    let ranges: Vec<(String, u16)> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::to_ascii_lowercase)
        .filter(|range| !range.trim().is_empty())
        .map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let essence = parts.next().unwrap_or_default().to_owned();
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1000), quality);
            (essence, quality.unwrap_or(0))
        })
        .collect();
    if ranges.is_empty() {
        return Ok(default);
    }
    let quality_of = |media: Media| {
        let (names, any) = media.names();
        let given =
            |wanted: &str| ranges.iter().find(|(range, _)| range == wanted).map(|(_, quality)| *quality);
        names.iter().find_map(|name| given(name)).or_else(|| given(any)).or_else(|| given("*/*")).unwrap_or(0)
    };
    let candidates = [default, Media::EventStream, Media::Ndjson, Media::Json];
    let mut best: Option<(u16, Media)> = None;
    for media in candidates {
        let quality = quality_of(media);
        if quality > 0 && best.is_none_or(|(other, _)| quality > other) {
            best = Some((quality, media));
        }
    }
    best.map(|(_, media)| media).ok_or_else(|| {
        let detail = "events are had as text/event-stream, application/x-ndjson or application/json";
        Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", "No such representation", detail)
    })
}

/// At most 40 characters of what a client sent, for an error text.
pub(super) fn shown(text: &str) -> String {
    let short: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

// A quality in thousandths (RFC 9110, "Quality Values").
fn quality(text: &str) -> Option<u16> {
    let value: f32 = text.trim().parse().ok()?;
    // In range, so the cast cannot surprise.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
    (0.0..=1.0).contains(&value).then_some((value * 1000.0) as u16)
}

fn decode_form(text: &str) -> Result<String, Problem> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Problem::bad("parameter_invalid", "Bad parameter", "a query parameter is not UTF-8"))
}
