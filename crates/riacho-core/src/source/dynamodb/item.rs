//! Items: attributes by name. What a row is made of.

use super::{
    member,
    value::{self, Attribute, BadAttribute},
};
use crate::transport::json;
use serde_json::Value;

/// Attributes by name, each name once, in ascending order.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Item(Vec<(Box<str>, Attribute)>);

impl Item {
    /// Of these attributes; of several of one name the last counts.
    pub fn new(attributes: impl IntoIterator<Item = (Box<str>, Attribute)>) -> Self {
        Self(value::in_order(attributes.into_iter().collect()))
    }

    /// Takes an item of DynamoDB's JSON: `{"id":{"S":"abc"},"total":{"N":"1.5"}}`.
    ///
    /// # Errors
    /// It is no such thing; the message names the attribute.
    pub fn parse(value: &Value) -> Result<Self, BadAttribute> {
        let members = value.as_object().ok_or("should be an object of attributes")?;
        value::map(members, value::DEPTH_MAX).map(Self)
    }

    /// Takes the same as text.
    ///
    /// # Errors
    /// It is not JSON, or no item.
    pub fn parse_text(json: &[u8]) -> Result<Self, String> {
        let members = member::whole(json)?;
        value::map(&members, value::DEPTH_MAX).map(Self).map_err(|err| err.to_string())
    }

    /// The attribute of this name.
    pub fn get(&self, name: &str) -> Option<&Attribute> {
        let at = self.0.binary_search_by(|(held, _)| (**held).cmp(name)).ok()?;
        self.0.get(at).map(|(_, attribute)| attribute)
    }

    /// Its attributes in the order of their names.
    pub fn attributes(&self) -> &[(Box<str>, Attribute)] {
        &self.0
    }

    /// Appends it as a row: a JSON object on one line, which [`table::value`](crate::table::value::value) takes. Only
    /// members of `columns`, if they are given, in any order. The same item gives the same bytes.
    pub fn json(&self, columns: Option<&[String]>, out: &mut String) {
        let Some(columns) = columns else { return value::object(out, &self.0, Attribute::json) };
        out.push('{');
        let mut first = true;
        for (name, attribute) in &self.0 {
            if !columns.iter().any(|column| **column == **name) {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            json::string_into(out, name);
            out.push(':');
            attribute.json(out);
        }
        out.push('}');
    }

    /// Appends it as DynamoDB's JSON, which [`Item::parse`] takes back.
    pub fn dynamodb_json(&self, out: &mut String) {
        value::object(out, &self.0, Attribute::dynamodb_json);
    }
}
