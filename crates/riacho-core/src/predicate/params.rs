//! The values of `$1`, `$2`, ….

use super::{
    TEXT_BYTES_MAX,
    error::{PredicateError, PredicateErrorKind},
    value::Constant,
};
use crate::scan::Scan;

/// What a predicate's `$1`, `$2`, … stand for, so that nobody builds SQL from input.
///
/// At most [`PARAMS_MAX`] strings, numbers, booleans and nulls. Numbers are kept exactly.
#[derive(Clone, Default, Debug)]
pub struct Params(Vec<Constant>);

impl Params {
    /// Takes the text of a JSON array of scalars.
    ///
    /// # Errors
    /// `Params` where it is none, `TooLarge` beyond the bounds.
    pub fn parse(json: &str) -> Result<Self, PredicateError> {
        if json.len() > TEXT_BYTES_MAX {
            return Err(PredicateError::too_large("parameters with a text", TEXT_BYTES_MAX).unit("bytes"));
        }
        let invalid = |what: String| PredicateError::new(PredicateErrorKind::Params, what, None);
        let no_array = || invalid("the parameters are no JSON array".to_owned());
        // The scanner does not check what it skips.
        serde_json::from_str::<&serde_json::value::RawValue>(json).map_err(|_| no_array())?;
        let mut scan = Scan::new(json);
        let mut params = Vec::new();
        scan.open_array().ok_or_else(no_array)?;
        while let Some(item) = scan.item().ok_or_else(no_array)? {
            if params.len() == PARAMS_MAX {
                return Err(PredicateError::too_large("a list of parameters", PARAMS_MAX).unit("values"));
            }
            params.push(Constant::of(item).ok_or_else(|| {
                invalid(format!("parameter {} is no string, number, boolean or null", params.len() + 1))
            })?);
        }
        Ok(Self(params))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one that `$number` stands for.
    pub(super) fn number(&self, number: usize) -> Option<&Constant> {
        self.0.get(number.checked_sub(1)?)
    }
}

/// The most parameters.
pub const PARAMS_MAX: usize = 100;
