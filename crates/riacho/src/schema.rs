//! What the rows of a table must look like: JSON Schema, where the configuration names one.

use crate::{
    config::TableRule,
    error::{Error, ErrorKind},
};
use std::{collections::HashMap, fmt, path::PathBuf, sync::Arc};

/// The schema of a table's rows.
pub struct Schema(jsonschema::Validator);

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schema")
    }
}

impl Schema {
    /// Takes the text of a JSON Schema. References to other documents are not followed.
    ///
    /// # Errors
    /// Says why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let schema = serde_json::from_str(text).map_err(|err| format!("it is not JSON: {err}"))?;
        jsonschema::validator_for(&schema).map(Self).map_err(|err| format!("it is no JSON Schema: {err}"))
    }

    /// Whether `row` satisfies it.
    ///
    /// # Errors
    /// The first place that does not, as a JSON Pointer, and why.
    pub fn check(&self, row: &str) -> Result<(), String> {
        let row: serde_json::Value = serde_json::from_str(row).map_err(|err| err.to_string())?;
        self.0.validate(&row).map_err(|err| {
            let place = err.instance_path().to_string();
            let place = if place.is_empty() { "the row itself" } else { &place };
            // With the value masked: errors go into logs, rows do not.
            format!("at {place}: {}", err.masked())
        })
    }
}

/// All schemas, by the files they are in.
#[derive(Clone, Debug, Default)]
pub struct Schemas(Arc<HashMap<PathBuf, Schema>>);

impl Schemas {
    /// Reads every schema that `rules` name.
    ///
    /// # Errors
    /// `BadRequest` with the file that is missing or no schema.
    pub fn read<'a>(rules: impl IntoIterator<Item = &'a Arc<TableRule>>) -> Result<Self, Error> {
        let mut schemas = HashMap::new();
        for path in rules.into_iter().filter_map(|rule| rule.schema.as_ref()) {
            let op = || format!("read the schema {}", path.display());
            let text = std::fs::read_to_string(path)
                .map_err(|err| Error::new(ErrorKind::BadRequest, op()).caused_by(err))?;
            let schema =
                Schema::parse(&text).map_err(|err| Error::new(ErrorKind::BadRequest, op()).caused_by(err))?;
            schemas.insert(path.clone(), schema);
        }
        Ok(Self(Arc::new(schemas)))
    }

    /// The schema of the tables that `rule` is for.
    pub fn of(&self, rule: &TableRule) -> Option<&Schema> {
        self.0.get(rule.schema.as_ref()?)
    }
}
