//! Lines of files of DynamoDB JSON: what `ExportTableToPointInTime` writes to S3, full or incremental, and bare items.
//!
//! Spec: Amazon DynamoDB Developer Guide, "DynamoDB table export output format".

use super::{item::Item, member};
use serde_json::{Map, Value};

/// What a line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// An item, of a full export (`{"Item":{...}}`) or bare (`{"id":{"S":"a"}}`).
    Item(Item),
    /// What became of an item between the two times of an incremental export: one line for each key.
    Change {
        /// Its key.
        keys: Item,
        /// What it was at the end; none where it was gone.
        new: Option<Item>,
        /// When it was last written, in microseconds since 1970.
        written_micros: Option<u64>,
    },
}

impl Line {
    /// Takes a line. None where there is only white space.
    ///
    /// An item with an attribute called `Item` is told from a line of a full export by what is in it.
    ///
    /// # Errors
    /// It is none of these; a sentence without a stop that names the attribute, not its value.
    pub fn parse(line: &[u8]) -> Result<Option<Self>, String> {
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let object = member::whole(line)?;
        if let Some(wrapped) = wrapped(&object) {
            return wrapped.map(|item| Some(Self::Item(item)));
        }
        if object.get("Keys").is_some() && object.get("Metadata").is_some_and(|data| !is_attribute(data)) {
            return change(&object).map(Some);
        }
        Item::parse(&Value::Object(object)).map(|item| Some(Self::Item(item))).map_err(|err| err.to_string())
    }
}

/// The item of `{"Item":{...}}`; none where that is a bare item with this attribute.
fn wrapped(object: &Map<String, Value>) -> Option<Result<Item, String>> {
    let inner = object.get("Item").filter(|inner| object.len() == 1 && !is_attribute(inner))?;
    Some(Item::parse(inner).map_err(|err| err.to_string()))
}

fn is_attribute(value: &Value) -> bool {
    super::value::Attribute::parse(value).is_ok()
}

fn change(object: &Map<String, Value>) -> Result<Line, String> {
    let item = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => Item::parse(value).map(Some).map_err(|err| format!("in `{name}` {err}")),
    };
    let written = member::object(object, "Metadata")?.get("WriteTimestampMicros");
    // The service's own examples have it both ways.
    let written = written.and_then(|value| value.get("N").unwrap_or(value).as_str());
    Ok(Line::Change {
        keys: item("Keys")?.ok_or("`Keys` is missing")?,
        new: item("NewImage")?,
        written_micros: written.and_then(|text| text.parse().ok()),
    })
}
