//! The field `steering`: interventions in the words and units of the command line.
//!
//! A list, of which each entry is a text as of `untangle steer --feature`, or an object:
//!
//! ```json
//! ["12:add=2x at generated",
//!  {"feature": 12, "add": "2x", "at": "generated"},
//!  {"feature": "rude", "ablate": true, "when": "anger>0.5x"},
//!  {"token": " cat", "in": "blocks.1.hook_resid_post", "add-direction": "0.3n"},
//!  {"vector": "calm.gguf", "cap": 2}]
//! ```
//!
//! An object names a `feature` (its number, or as on the command line), a `token` with its place, or a `vector`; has at most
//! one operation; and may say `at` which tokens and `when`. Fields that are none of these are refused: what is misspelt would
//! otherwise steer nothing.

use crate::limits::INTERVENTIONS;
use crate::problem::Problem;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use untangle_interpret::Spec;
use untangle_interpret::steer::grammar::{Condition, Operation, Positions, Selector, What};

/// Operations with an amount or a factor.
pub(crate) const WITH_AMOUNT: [&str; 7] = ["add", "set", "mul", "min", "max", "add-direction", "cap"];
/// Operations without.
pub(crate) const WITHOUT: [&str; 2] = ["ablate", "project-out"];
/// The operation whose amount is another direction.
pub(crate) const SWAP: &str = "swap";
/// The other fields.
pub(crate) const OTHERS: [&str; 6] = ["feature", "token", "vector", "in", "at", "when"];

/// Reads the field. Vectors must be among `vectors`, so that nobody has the server open files.
pub(crate) fn read(field: Option<&Value>, vectors: &[PathBuf]) -> Result<Vec<Spec>, Problem> {
    let entries = match field {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(entries)) => entries,
        Some(_) => {
            return Err(Problem::field("steering", "steering is a list, such as [{\"feature\": 12, \"add\": \"2x\"}]"));
        }
    };
    if entries.len() > INTERVENTIONS {
        let message = format!("there are {} entries in steering; expected at most {INTERVENTIONS}", entries.len());
        return Err(Problem::field("steering", message));
    }
    let of_entry = |(at, entry): (usize, &Value)| {
        let mut spec = entry_of(entry).map_err(|(field, message)| {
            let dot = if field.is_empty() { "" } else { "." };
            Problem::field(format!("steering[{at}]{dot}{field}"), message)
        })?;
        for what in spec.names_mut() {
            find_vector(what, vectors).map_err(|message| Problem::field(format!("steering[{at}]"), message))?;
        }
        Ok(spec)
    };
    entries.iter().enumerate().map(of_entry).collect()
}

/// What is wrong, at which field of an entry.
type Fault = (String, String);

fn entry_of(entry: &Value) -> Result<Spec, Fault> {
    match entry {
        Value::String(text) => text.parse().map_err(|error| (String::new(), format!("{error}"))),
        Value::Object(fields) => object(fields),
        _ => Err((
            String::new(),
            "an entry is an object or a text, such as {\"feature\": 12, \"add\": \"2x\"}".to_owned(),
        )),
    }
}

fn object(fields: &Map<String, Value>) -> Result<Spec, Fault> {
    let known = || OTHERS.iter().chain(&WITH_AMOUNT).chain(&WITHOUT).chain([&SWAP]).copied();
    if let Some(name) = fields.keys().find(|name| !known().any(|known| known == name.as_str())) {
        let known = known().collect::<Vec<_>>().join(", ");
        return Err((name.clone(), format!("there is no `{name}` in an entry of steering; there are {known}")));
    }
    let what = what(fields)?;
    let operation = operation(fields)?
        .map_or_else(|| Operation::usual_of(&what).map_err(|problem| (String::new(), problem)), Ok)?;
    let mut spec = Spec::new(what, operation).map_err(|problem| (String::new(), problem))?;
    spec.positions = read_with(fields, "at", Positions::parse)?;
    spec.condition = read_with(fields, "when", Condition::parse)?;
    Ok(spec)
}

/// Reads a field that is a text.
fn read_with<T>(
    fields: &Map<String, Value>,
    name: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, Fault> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => parse(text).map(Some).map_err(|problem| (name.to_owned(), problem)),
        Some(_) => Err((name.to_owned(), format!("`{name}` is a text, as on the command line"))),
    }
}

/// What is turned.
fn what(fields: &Map<String, Value>) -> Result<What, Fault> {
    let named: Vec<&str> =
        ["feature", "token", "vector"].into_iter().filter(|name| fields.contains_key(*name)).collect();
    let [name] = named[..] else {
        let message = "an entry has one of `feature`, `token` and `vector`";
        return Err((named.get(1).copied().unwrap_or_default().to_owned(), message.to_owned()));
    };
    let point = read_with(fields, "in", |text| text.parse().map_err(|error| format!("{error}")))?;
    let text = |of: &str| match fields.get(of) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        _ => Err((of.to_owned(), format!("`{of}` is a text"))),
    };
    match (name, point) {
        ("token", Some(point)) => Ok(What::Token { text: text("token")?, point }),
        ("token", None) => {
            Err(("in".to_owned(), "a token needs `in`, a hook point such as blocks.1.hook_resid_post".to_owned()))
        }
        ("vector", point) => Ok(What::Vector { path: text("vector")?, point }),
        (_, Some(_)) => Err(("in".to_owned(), "`in` belongs to tokens and vectors".to_owned())),
        (name, None) => feature(&fields[name]).map_err(|problem| (name.to_owned(), problem)),
    }
}

/// A feature by number, or as on the command line.
fn feature(value: &Value) -> Result<What, String> {
    let number = |number: &serde_json::Number| number.as_u64().and_then(|id| usize::try_from(id).ok());
    match value {
        Value::Number(id) => match number(id) {
            Some(id) => Ok(What::Feature { dictionary: None, selector: Selector::Id(id) }),
            None => Err(format!("{id} is no number of a feature; they count from 0")),
        },
        Value::String(text) => match What::parse(text)? {
            what @ What::Feature { .. } => Ok(what),
            _ => Err("a direction is no feature; name it as `token` or `vector`".to_owned()),
        },
        _ => Err("a feature is a number, or a text as on the command line".to_owned()),
    }
}

/// What is done; none where that is not said.
fn operation(fields: &Map<String, Value>) -> Result<Option<Operation>, Fault> {
    let is_one = |name: &&String| !OTHERS.contains(&name.as_str());
    let mut said = fields.keys().filter(is_one);
    let Some(name) = said.next() else { return Ok(None) };
    if let Some(second) = said.next() {
        return Err((
            second.clone(),
            format!(
                "an entry has one operation, not `{name}` and `{second}`; write two entries, at different tokens (`at`)"
            ),
        ));
    }
    let refused = |problem: String| (name.clone(), problem);
    let value = &fields[name];
    if name == SWAP {
        return feature_or_direction(value).map(|what| Some(Operation::Swap(what))).map_err(refused);
    }
    let text = match value {
        Value::Bool(true) if WITHOUT.contains(&name.as_str()) => name.clone(),
        _ if WITHOUT.contains(&name.as_str()) => return Err(refused(format!("`{name}` is true, or left out"))),
        Value::Number(number) => format!("{name}={number}"),
        Value::String(amount) => format!("{name}={amount}"),
        _ => return Err(refused(format!("`{name}` is a number, or a text such as \"2x\" or \"0.3n\""))),
    };
    text.parse().map(Some).map_err(refused)
}

fn feature_or_direction(value: &Value) -> Result<What, String> {
    match value {
        Value::String(text) => What::parse(text),
        other => feature(other),
    }
}

/// Finds the file of a vector among those of the server, by its path or by its name alone.
fn find_vector(what: &mut What, vectors: &[PathBuf]) -> Result<(), String> {
    let What::Vector { path: asked, .. } = what else { return Ok(()) };
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let is_it = |path: &PathBuf| path.to_string_lossy() == asked.as_str();
    if vectors.iter().any(is_it) {
        return Ok(());
    }
    let is_meant = |path: &&PathBuf| name(path).as_deref() == Some(asked);
    let mut meant = vectors.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(path), None) => {
            *asked = path.to_string_lossy().into_owned();
            Ok(())
        }
        (Some(_), Some(_)) => {
            Err(format!("there are several vectors `{asked}`; name the one that is meant by its path"))
        }
        (None, _) => {
            let known: Vec<String> = vectors.iter().filter_map(|path| name(path)).collect();
            let known = if known.is_empty() {
                "none (the server is given some with --vector)".to_owned()
            } else {
                known.join(", ")
            };
            Err(format!("there is no vector `{asked}` here; at hand are {known}"))
        }
    }
}
