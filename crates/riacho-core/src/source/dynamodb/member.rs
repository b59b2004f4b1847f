//! Members of JSON that was read: where one is missing or is something else, it is said which.

use serde_json::{Map, Value};

/// A member that must be there.
pub(super) fn required<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a Value, String> {
    object.get(name).filter(|value| !value.is_null()).ok_or_else(|| format!("`{name}` is missing"))
}

/// An object that must be there.
pub(super) fn object<'a>(
    object: &'a Map<String, Value>,
    name: &str,
) -> Result<&'a Map<String, Value>, String> {
    required(object, name)?.as_object().ok_or_else(|| format!("`{name}` is not an object"))
}

/// An array that must be there.
pub(super) fn array<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], String> {
    required(object, name)?.as_array().map(Vec::as_slice).ok_or_else(|| format!("`{name}` is not an array"))
}

/// A string that must be there.
pub(super) fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    required(object, name)?.as_str().ok_or_else(|| format!("`{name}` is not a string"))
}

/// A string that may be missing.
pub(super) fn optional_text<'a>(
    object: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a str>, String> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => text(object, name).map(Some),
    }
}

/// The object that a whole text is.
pub(super) fn whole(json: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(json) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("it is not a JSON object".to_owned()),
        // What serde_json says holds no text of the input.
        Err(err) => Err(format!("it is not JSON: {err}")),
    }
}

/// A time in seconds since 1970, with a fraction or without, as milliseconds; none where it is no such time.
pub(super) fn seconds(value: &Value) -> Option<crate::time::Millis> {
    let millis = (value.as_f64()? * 1000.0).round();
    (0.0..=MILLIS_MAX).contains(&millis).then_some(millis as u64)
}

/// The end of the year 9999.
const MILLIS_MAX: f64 = 253_402_300_799_999.0;
