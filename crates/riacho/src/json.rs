//! Lines of JSON events, where serde alone would read them otherwise than they are meant.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Takes the member `data`, for `#[serde(borrow, default, deserialize_with)]`: `null` is data as well, where serde alone
/// takes it for a member that is missing.
///
/// # Errors
/// As the JSON parser's.
pub(crate) fn data<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}
