//! The words of the API: what requests and answers consist of. `openapi.json` says the same, which a test holds.
//!
//! - [`writing`]: what both kinds of request have; [`completions`], [`chat`]: what each has of its own, and its answers
//! - [`steering`]: interventions, in the words of the command line
//! - [`models`]: what is served
//! - [`tokens`]: texts as tokens and back
//! - [`dictionaries`], [`features`], [`reading`], [`toward`], [`runs`]: the workbench's own, under `/api/v1`

pub mod chat;
pub mod completions;
pub mod dictionaries;
pub mod features;
pub mod models;
pub mod reading;
pub mod runs;
pub mod steering;
pub mod tokens;
pub mod toward;
pub mod writing;

use crate::problem::Problem;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::collections::BTreeMap;

/// What a client takes for fields of a request that it does not know itself.
const EXTRA_BODY: &str = "extra_body";

/// Refuses a field that is meant to steer and is called otherwise: passed over, it would leave the text unsteered without a word.
pub(crate) fn check_steering_is_spelt(body: &[u8]) -> Result<(), Problem> {
    let fields: BTreeMap<String, IgnoredAny> = serde_json::from_slice(body).unwrap_or_default();
    let is_misspelt = |name: &&String| name.to_ascii_lowercase().contains("steer") && *name != "steering";
    if fields.contains_key(EXTRA_BODY) {
        let problem = "`extra_body` is an argument of OpenAI's client for Python; in JSON, its fields stand in the request itself";
        return Err(Problem::field(EXTRA_BODY, problem));
    }
    match fields.keys().find(is_misspelt) {
        Some(name) => {
            Err(Problem::field(name, format!("there is no field `{name}`; what is steered stands in `steering`")))
        }
        None => Ok(()),
    }
}

/// Reads some of the fields of a request; others are passed over, as OpenAI does.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // A list would be taken for the fields in their order.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Problem::invalid("the body is no JSON object"));
    }
    let json = &mut serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut *json).map_err(|error| {
        let path = error.path().to_string();
        let problem = Problem::invalid(format!("the body is not as expected: {}", error.inner()));
        if path == "." || path == "?" { problem } else { problem.at(path) }
    })?;
    json.end().map_err(|error| Problem::invalid(format!("the body is not as expected: {error}")))?;
    Ok(read)
}
