//! What a request says: names, media types, parameters.

use super::problem::Problem;
use http::{HeaderMap, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;
use riacho_core::{
    name::{Selection, Selector, StreamName},
    predicate::{Params, Predicate, PredicateError, PredicateErrorKind, Projection},
    start::{Start, StartError},
    table::{key::Key, terms::Terms},
    time,
};
use std::{borrow::Cow, str::Utf8Error, time::Duration};

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

/// The streams and tables that `stream=` and `table=` parameters select; at most `max`.
pub(super) fn selection(query: &Query, max: usize) -> Result<Option<Selection>, Problem> {
    let streams = query.all("stream").map(|text| {
        Selector::parse(text).map_err(|err| {
            let detail = format!("the stream name or pattern `{}` {err}", shown(text));
            Problem::bad("name_invalid", "Bad stream name", detail)
        })
    });
    let tables = query.all("table").map(|text| parse_table(text).map(Selector::Exact));
    let selectors: Vec<Selector> = streams.chain(tables).take(max + 1).collect::<Result<_, _>>()?;
    if selectors.len() > max {
        let detail = format!(
            "a subscription has at most {max} `stream=` and `table=` (limit streams_per_subscription_max)"
        );
        let limit = "streams_per_subscription_max";
        return Err(Problem::bad(limit, "Too many streams", detail).limited_by(limit));
    }
    Ok((!selectors.is_empty()).then(|| Selection::new(selectors)))
}

/// A table's name from outside, as the name of its stream.
pub(super) fn parse_table(text: &str) -> Result<StreamName, Problem> {
    StreamName::of_table(text).map_err(|err| {
        let detail = format!("the table's name {err}").replace("the stream name ", "");
        Problem::bad("name_invalid", "Bad table name", detail)
    })
}

/// The rows and columns that are asked for: `where`, `params`, `columns`. `one` says whether a single table is read, of
/// which alone there can be a question of rows.
pub(super) fn rows_wanted(query: &Query, one: bool) -> Result<Terms, Problem> {
    let mut terms = Terms::all();
    let (text, params, columns) = (query.get("where"), query.get("params"), query.get("columns"));
    if !one && (text.is_some() || params.is_some() || columns.is_some()) {
        let detail = "`where`, `params` and `columns` are for readers of one table and nothing else";
        return Err(Problem::bad("parameter_invalid", "Bad parameter", detail));
    }
    let refused = |parameter: &str, err: &PredicateError| {
        let (code, title) = match (parameter, err.kind()) {
            ("columns", _) => ("columns_invalid", "Bad columns"),
            ("params", _) | (_, PredicateErrorKind::Params) => ("params_invalid", "Bad parameters"),
            _ => ("where_invalid", "Bad predicate"),
        };
        Problem::bad(code, title, format!("`{parameter}`: {err}"))
    };
    let given = params.map(Params::parse).transpose().map_err(|err| refused("params", &err))?;
    match (text, given) {
        (Some(text), params) => {
            let params = params.unwrap_or_default();
            terms.predicate = Predicate::parse(text, &params).map_err(|err| refused("where", &err))?;
        }
        (None, Some(_)) => {
            let detail = "`params` are those of `where`, which is missing";
            return Err(Problem::bad("params_invalid", "Bad parameters", detail));
        }
        (None, None) => {}
    }
    let columns = columns.map(Projection::parse).transpose();
    terms.columns = columns.map_err(|err| refused("columns", &err))?;
    Ok(terms)
}

/// The terms on which tables are read live: [`rows_wanted`], `conflate` and `min_interval`.
pub(super) fn terms(query: &Query, one: bool) -> Result<Terms, Problem> {
    let mut terms = rows_wanted(query, one)?;
    terms.conflate = query.flag("conflate")?.unwrap_or(true);
    let interval = query.get("min_interval").filter(|text| *text != "0");
    let parse = |text: &str| {
        time::parse_duration(text).filter(|time| *time <= MIN_INTERVAL_MAX).ok_or_else(|| {
            let longest = time::duration_text(MIN_INTERVAL_MAX);
            let detail =
                format!("`min_interval` is a duration up to {longest}, like 250ms, not `{}`", shown(text));
            Problem::bad("parameter_invalid", "Bad parameter", detail)
        })
    };
    terms.min_interval = interval.map(parse).transpose()?.filter(|interval| !interval.is_zero());
    if terms.min_interval.is_some() && !terms.conflate {
        let detail = "`min_interval` leaves steps out, and `conflate=0` asks for each of them";
        return Err(Problem::bad("parameter_invalid", "Bad parameter", detail));
    }
    Ok(terms)
}

/// Whether the request says where to start.
pub(super) fn has_start(query: &Query, headers: &HeaderMap) -> bool {
    resume(query, headers).is_some() || query.get("from").is_some() || query.get("tail").is_some()
}

/// Where a subscription of tables starts: with their rows, unless something else is asked for.
pub(super) fn start_of_tables(query: &Query, headers: &HeaderMap) -> Result<Start, Problem> {
    if !has_start(query, headers) {
        return Ok(Start::Snapshot);
    }
    match start(query, headers)? {
        Start::Ago(_) | Start::Since(_) => {
            let detail = "of a table `from` is `now`, `earliest` (all rows) or a cursor";
            Err(Problem::bad("from_invalid", "Bad start", detail))
        }
        Start::Tail(_) => {
            let detail = "`tail` is for streams; a table begins with its rows";
            Err(Problem::bad("tail_invalid", "Bad start", detail))
        }
        start => Ok(start),
    }
}

/// The cursor to go on from, if the request has one.
pub(super) fn resume<'a>(query: &'a Query, headers: &'a HeaderMap) -> Option<&'a str> {
    // A header that is no text is a cursor that cannot be honoured: told in band, like any other.
    let header = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
    // The names that polyfills and other servers' clients use.
    let names = ["last_event_id", "lastEventId", "lastEventID", "Last-Event-ID"];
    let query = || names.iter().find_map(|name| query.get(name).filter(|cursor| !cursor.is_empty()));
    header.filter(|cursor| !cursor.is_empty()).or_else(query)
}

/// Where the subscription starts.
pub(super) fn start(query: &Query, headers: &HeaderMap) -> Result<Start, Problem> {
    Start::choose(resume(query, headers), query.get("from"), query.get("tail")).map_err(|err| {
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
        .map(Cow::into_owned)
        .map_err(|_| Problem::bad("parameter_invalid", "Bad parameter", "a query parameter is not UTF-8"))
}

/// The table named by the path, percent-decoded: its stream.
pub(super) fn table_name(uri: &Uri) -> Result<StreamName, Problem> {
    let name = segment(uri, 0)
        .map_err(|_| Problem::bad("name_invalid", "Bad table name", "the table's name is not UTF-8"))?;
    parse_table(&name)
}

/// The row's key named by the path, percent-decoded.
pub(super) fn row_key(uri: &Uri) -> Result<Key, Problem> {
    let invalid = |what: &str| Problem::bad("key_invalid", "Bad key", format!("the key {what}"));
    let key = segment(uri, 1).map_err(|_| invalid("is not UTF-8"))?;
    Key::parse(&*key).map_err(|err| invalid(&err.to_string()))
}

// A segment of the path after `/tables/`; a slash in it is `%2F`.
fn segment(uri: &Uri, number: usize) -> Result<Cow<'_, str>, Utf8Error> {
    let mut segments = uri.path().strip_prefix("/tables/").unwrap_or_default().split('/');
    percent_decode_str(segments.nth(number).unwrap_or_default()).decode_utf8()
}

/// Whether the reader takes gzip (RFC 9110, "Accept-Encoding").
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING);
    let given: Vec<(String, u16)> = values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::to_ascii_lowercase)
        .map(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_owned();
            let given = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1000), quality);
            (name, given.unwrap_or(0))
        })
        .collect();
    let of =
        |names: &[&str]| given.iter().find(|(name, _)| names.contains(&&**name)).map(|(_, quality)| *quality);
    of(&["gzip", "x-gzip"]).or_else(|| of(&["*"])).unwrap_or(0) > 0
}

// A reader that wants rows more seldom polls.
const MIN_INTERVAL_MAX: Duration = Duration::from_secs(3600);
