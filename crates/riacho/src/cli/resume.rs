//! What `follow` makes of the lines it receives.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// How far a subscription is: all that is needed to go on elsewhere.
#[derive(Default, Debug)]
pub(super) struct Resume {
    cursor: Option<String>,
}

/// What to do about one line.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Step<'a> {
    /// An event: print this.
    Print(Cow<'a, str>),
    /// The server speaks about the subscription: say this.
    Say(String),
    /// The server is about to end the connection: say this.
    Goodbye(String),
    /// Nothing but a sign of life.
    Nothing,
}

impl Resume {
    /// The id of the last line that had one.
    pub(super) fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Takes one line; `json` if events are printed as they came.
    ///
    /// # Errors
    /// Why it is no line of a subscription.
    pub(super) fn take<'a>(&mut self, line: &'a [u8], json: bool) -> Result<Step<'a>, String> {
        let text = str::from_utf8(line).map_err(|err| err.to_string())?;
        if text.is_empty() {
            return Ok(Step::Nothing);
        }
        let Line { id, event_type, data } = serde_json::from_str(text).map_err(|err| err.to_string())?;
        let step = match event_type.as_deref() {
            Some("riacho.heartbeat") => Step::Nothing,
            Some(control) if control.starts_with("riacho.") => {
                let details: Details =
                    data.and_then(|data| serde_json::from_str(data.get()).ok()).unwrap_or_default();
                let step = match control {
                    "riacho.goodbye" => Step::Goodbye(sentence(control, &details)),
                    _ => Step::Say(sentence(control, &details)),
                };
                self.cursor = details.cursor.or(self.cursor.take());
                step
            }
            _ => Step::Print(if json { text.into() } else { printed(data)? }),
        };
        if let Some(id) = id {
            self.cursor = Some(id.into_owned());
        }
        Ok(step)
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    event_type: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "crate::json::data")]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Details {
    reason: Option<String>,
    streams: Vec<String>,
    cursor: Option<String>,
}

// A JSON string is text that was published; every other value is JSON and printed as it is.
fn printed(data: Option<&RawValue>) -> Result<Cow<'_, str>, String> {
    let Some(data) = data.map(RawValue::get) else { return Err("no data".to_owned()) };
    if !data.starts_with('"') {
        return Ok(data.into());
    }
    // JSON may hold half a surrogate pair, which no text can: then it is printed as it came.
    Ok(serde_json::from_str::<String>(data).map_or(data.into(), Cow::Owned))
}

fn sentence(control: &str, details: &Details) -> String {
    let reason = details.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    match control {
        "riacho.reset" => {
            let which = match details.streams.as_slice() {
                [] => "the streams".to_owned(),
                names => names.join(", "),
            };
            format!("events of {which} may be missing here{reason}; what is still kept follows")
        }
        "riacho.goodbye" => format!("the server ends the connection{reason}; following again shortly"),
        other => format!("the server says {other}{reason}"),
    }
}
