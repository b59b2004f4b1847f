//! What a client says on a WebSocket: one JSON object per text frame.
//!
//! Spec: `spec/protocol.md` "WebSocket".

use super::json;
use crate::{event::Data, scan::Scan};
use serde_json::value::RawValue;
use std::fmt::{self, Display, Formatter};

/// One message of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// What its answer is known by.
    pub reference: Option<Reference>,
    /// What is wanted.
    pub action: Action,
}

/// What a client wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Begin a subscription, or put it in the place of the one of this name.
    Subscribe {
        /// Its name; none for the connection's own.
        name: Option<Name>,
        /// Path and query of what is read.
        url: String,
        /// The cursor to go on from; never empty.
        resume: Option<String>,
    },
    /// End a subscription.
    Unsubscribe {
        /// Its name; none for the connection's own.
        name: Option<Name>,
    },
    /// Publish an event.
    Publish(Publish),
    /// Answer.
    Ping,
}

/// An event to be published, with what is still to be checked as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publish {
    /// Its stream.
    pub stream: String,
    /// Its type.
    pub event_type: Option<String>,
    /// What it says: a JSON string is text, any other JSON value is kept as it is.
    pub data: Data,
    /// Makes sending it again safe.
    pub idempotency_key: Option<String>,
}

/// A name that a client gives to a subscription: 1 to [`NAME_BYTES_MAX`] bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name(Box<str>);

/// What a client knows an answer by: a string of at most [`NAME_BYTES_MAX`] bytes or a whole number of 64 bits, as JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference(Box<str>);

/// Why a message is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandError {
    /// That of the message, where it could be made out.
    pub reference: Option<Reference>,
    detail: String,
}

impl Name {
    /// Takes `text` as a name, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        (1..=NAME_BYTES_MAX).contains(&text.len()).then(|| Self(text.into()))
    }

    /// The name as JSON.
    pub fn to_json(&self) -> String {
        string(&self.0)
    }
}

impl Reference {
    /// As JSON.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    fn parse(json: &str) -> Option<Self> {
        if let Ok(number) = json.parse::<i64>() {
            return Some(Self(number.to_string().into()));
        }
        let text: String = serde_json::from_str(json).ok()?;
        (text.len() <= NAME_BYTES_MAX).then(|| Self(string(&text).into()))
    }
}

impl Command {
    /// Takes `text` as a message. Members that are not known are passed over.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, CommandError> {
        let refused = |detail| CommandError { reference: None, detail };
        let members = Members::of(text).map_err(refused)?;
        let reference = members.get("ref").map(Reference::parse);
        if reference == Some(None) {
            let detail = format!("`ref` is a string of at most {NAME_BYTES_MAX} bytes or a whole number");
            return Err(refused(detail));
        }
        let reference = reference.flatten();
        match members.action() {
            Ok(action) => Ok(Self { reference, action }),
            Err(detail) => Err(CommandError { reference, detail }),
        }
    }
}

/// The members of a message that are known, as JSON.
struct Members<'a> {
    found: [Option<&'a str>; KNOWN.len()],
    /// One that is there twice.
    twice: Option<&'static str>,
}

impl<'a> Members<'a> {
    fn of(text: &'a str) -> Result<Self, String> {
        let json: &RawValue =
            serde_json::from_str(text).map_err(|err| format!("the message is not JSON: {err}"))?;
        let mut scan = Scan::new(json.get());
        scan.open_object().ok_or("the message is not a JSON object")?;
        let (mut found, mut twice) = ([None; KNOWN.len()], None);
        while let Some(name) = scan.member().flatten() {
            let value = scan.skip_value();
            let known = KNOWN.iter().zip(&mut found).find(|(known, _)| **known == name);
            if let Some((known, place)) = known
                && place.replace(value.unwrap_or_default()).is_some()
            {
                twice = Some(*known);
            }
        }
        Ok(Self { found, twice })
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        KNOWN.iter().zip(&self.found).find(|(known, _)| **known == name).and_then(|(_, value)| *value)
    }

    /// A member that is a string; null is none.
    fn string(&self, name: &str) -> Result<Option<String>, String> {
        let Some(json) = self.get(name).filter(|json| *json != "null") else { return Ok(None) };
        serde_json::from_str(json).map(Some).map_err(|_| format!("the member `{name}` is a string"))
    }

    fn required(&self, name: &str) -> Result<String, String> {
        self.string(name)?.ok_or_else(|| missing(name))
    }

    fn action(&self) -> Result<Action, String> {
        if let Some(name) = self.twice {
            return Err(format!("the member `{name}` is there twice"));
        }
        match self.required("type")?.as_str() {
            "subscribe" => Ok(Action::Subscribe {
                name: self.name()?,
                url: self.required("url")?,
                resume: self.string("last_event_id")?.filter(|cursor| !cursor.is_empty()),
            }),
            "unsubscribe" => Ok(Action::Unsubscribe { name: self.name()? }),
            "publish" => Ok(Action::Publish(Publish {
                stream: self.required("stream")?,
                event_type: self.string("event_type")?,
                data: self.data()?,
                idempotency_key: self.string("idempotency_key")?,
            })),
            "ping" => Ok(Action::Ping),
            _ => Err("`type` is `subscribe`, `unsubscribe`, `publish` or `ping`".to_owned()),
        }
    }

    fn name(&self) -> Result<Option<Name>, String> {
        let Some(text) = self.string("subscription")? else { return Ok(None) };
        let name = Name::parse(&text);
        name.map(Some).ok_or_else(|| format!("`subscription` is a name of 1 to {NAME_BYTES_MAX} bytes"))
    }

    // As in a batch: the JSON form shows text as a string, so a string is text.
    fn data(&self) -> Result<Data, String> {
        let json = self.get("data").ok_or_else(|| missing("data"))?;
        let text: Result<String, _> = serde_json::from_str(json);
        Ok(text.map_or_else(|_| Data { text: json.into(), json: true }, Data::text))
    }
}

impl Display for CommandError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for CommandError {}

fn missing(member: &str) -> String {
    format!("the member `{member}` is missing")
}

fn string(text: &str) -> String {
    let mut out = Vec::new();
    json::string(&mut out, text);
    String::from_utf8(out).unwrap_or_default()
}

/// Bytes of a name, and of a reference.
pub const NAME_BYTES_MAX: usize = 64;

// What a message may have.
const KNOWN: [&str; 9] = [
    "type",
    "ref",
    "subscription",
    "url",
    "last_event_id",
    "stream",
    "event_type",
    "data",
    "idempotency_key",
];
