//! What the user writes to name a feature and a strength: `12:add=8`, `12:set=0`, `12:ablate`, `bridge:add=2x`.

use super::edit::{Edit, Operator};
use crate::database::{Database, Summary};
use crate::error::InterpretError;
use std::str::FromStr;

/// A feature and what is to be done to it, as written.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureSpec {
    /// The text that was parsed.
    pub text: String,
    /// Which feature.
    pub selector: Selector,
    /// What is done; its value is in units of `strength`.
    pub operator: Operator,
    /// What the value counts.
    pub strength: Strength,
}

/// Which feature is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Its index.
    Id(usize),
    /// Its label or a part of it.
    Label(String),
}

/// What a strength counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// Units of activation.
    Absolute,
    /// Multiples of the feature's largest activation, written with a trailing `x`.
    OfMaximum,
    /// Nothing: an ablation has no strength.
    None,
}

impl FromStr for FeatureSpec {
    type Err = InterpretError;

    /// Parses `ID-or-label[:OP=VALUE]`. Without an operator the feature's largest activation is added (`add=1x`). A
    /// colon that no operator follows belongs to the label.
    fn from_str(text: &str) -> Result<Self, InterpretError> {
        let fail = |problem: String| InterpretError::Spec { spec: text.to_owned(), problem };
        let default = (Operator::Add(1.0), Strength::OfMaximum);
        let (name, (operator, strength)) = match text.rsplit_once(':') {
            Some((name, op)) => match operation(op) {
                Some(parsed) => (name, parsed.map_err(fail)?),
                None => (text, default),
            },
            None => (text, default),
        };
        let name = name.trim();
        if name.is_empty() {
            return Err(fail("no feature is named".to_owned()));
        }
        let selector = name.parse().map_or_else(|_| Selector::Label(name.to_owned()), Selector::Id);
        Ok(Self { text: text.to_owned(), selector, operator, strength })
    }
}

/// An operator with its value, a problem with one, or nothing where the text is no operator.
fn operation(text: &str) -> Option<Result<(Operator, Strength), String>> {
    if text.trim() == "ablate" {
        return Some(Ok((Operator::Set(0.0), Strength::None)));
    }
    let (name, value) = text.split_once('=')?;
    let operator = match name.trim() {
        "add" => Operator::Add(0.0),
        "set" => Operator::Set(0.0),
        "mul" => Operator::Mul(0.0),
        other if other.bytes().all(|b| b.is_ascii_alphabetic()) => {
            return Some(Err(format!("there is no operator `{other}`")));
        }
        _ => return None,
    };
    Some(strength(value.trim()).and_then(|(value, strength)| match (operator, strength) {
        (Operator::Mul(_), Strength::OfMaximum) => Err("mul takes a factor without x".to_owned()),
        _ => Ok((operator.with_value(value), strength)),
    }))
}

/// Parses `8`, `-0.5` and `2x`.
fn strength(text: &str) -> Result<(f32, Strength), String> {
    let (number, strength) = match text.strip_suffix('x') {
        Some(number) => (number, Strength::OfMaximum),
        None => (text, Strength::Absolute),
    };
    match number.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok((value, strength)),
        _ => Err(format!("`{text}` is not a finite number, or one with a trailing x")),
    }
}

/// The same features and operators with another value, in the units of each. An ablation has no value and stays as it is.
///
/// # Errors
/// When there is nothing but ablations.
pub fn swept(specs: &[FeatureSpec], value: f32) -> Result<Vec<FeatureSpec>, InterpretError> {
    if specs.iter().all(|spec| spec.strength == Strength::None) {
        let specs = specs.iter().map(|spec| spec.text.as_str()).collect::<Vec<_>>().join(", ");
        return Err(InterpretError::NothingToSweep { specs });
    }
    let with_value = |spec: &FeatureSpec| match spec.strength {
        Strength::None => spec.clone(),
        _ => FeatureSpec { operator: spec.operator.with_value(value), ..spec.clone() },
    };
    Ok(specs.iter().map(with_value).collect())
}

/// The edits that the specifications mean in a dictionary of `d_sae` features; labels and multiples of the largest
/// activation are looked up in `database`.
///
/// # Errors
/// When a feature does not exist, a label fits none or several, or the database is needed and not there, or describes
/// another dictionary.
pub fn resolve(specs: &[FeatureSpec], database: Option<&Database>, d_sae: usize) -> Result<Vec<Edit>, InterpretError> {
    if let Some(database) = database {
        let found = database.n_features()?;
        if found != d_sae {
            return Err(InterpretError::OtherDictionary { path: database.path().to_owned(), found, d_sae });
        }
    }
    specs.iter().map(|spec| resolve_one(spec, database, d_sae)).collect()
}

fn resolve_one(spec: &FeatureSpec, database: Option<&Database>, d_sae: usize) -> Result<Edit, InterpretError> {
    let needed = |problem| InterpretError::NeedsDatabase { spec: spec.text.clone(), problem };
    let feature = match &spec.selector {
        Selector::Id(id) if *id >= d_sae => return Err(InterpretError::NoSuchFeature { feature: *id, d_sae }),
        Selector::Id(id) => *id,
        Selector::Label(label) => {
            by_label(label, database.ok_or_else(|| needed("features are known by label only there"))?)?
        }
    };
    let operator = match (spec.strength, spec.operator) {
        (Strength::OfMaximum, Operator::Add(times) | Operator::Set(times)) => {
            let database = database.ok_or_else(|| needed("the largest activation is not known"))?;
            spec.operator.with_value(times * database.card(feature)?.max_activation)
        }
        _ => spec.operator,
    };
    Ok(Edit { feature, operator })
}

fn by_label(label: &str, database: &Database) -> Result<usize, InterpretError> {
    let named = |found: &[Summary]| -> Vec<String> {
        found.iter().filter_map(|f| Some(format!("{} ({})", f.feature, f.label.as_deref()?))).collect()
    };
    match &database.by_label(label)?[..] {
        [one] => Ok(one.feature),
        [] => {
            let near = named(&database.search(label, 6)?);
            Err(InterpretError::NoSuchLabel { label: label.to_owned(), near })
        }
        several => Err(InterpretError::AmbiguousLabel { label: label.to_owned(), candidates: named(several) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Selector, Operator, Strength) {
        let spec: FeatureSpec = text.parse().expect("valid");
        (spec.selector, spec.operator, spec.strength)
    }

    #[test]
    fn specifications_are_read_as_written() {
        let label = |text: &str| Selector::Label(text.to_owned());
        assert_eq!(parsed("12:add=8"), (Selector::Id(12), Operator::Add(8.0), Strength::Absolute));
        assert_eq!(parsed("12:set=0"), (Selector::Id(12), Operator::Set(0.0), Strength::Absolute));
        assert_eq!(parsed("12:ablate"), (Selector::Id(12), Operator::Set(0.0), Strength::None));
        assert_eq!(parsed("12:mul=-1.5"), (Selector::Id(12), Operator::Mul(-1.5), Strength::Absolute));
        assert_eq!(parsed("bridge:add=2x"), (label("bridge"), Operator::Add(2.0), Strength::OfMaximum));
        assert_eq!(parsed("7"), (Selector::Id(7), Operator::Add(1.0), Strength::OfMaximum));
        assert_eq!(parsed("names: Lily, Ben"), (label("names: Lily, Ben"), Operator::Add(1.0), Strength::OfMaximum));
        assert_eq!(parsed("\":\" / \"=\":add=1"), (label("\":\" / \"=\""), Operator::Add(1.0), Strength::Absolute));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_reason() {
        for (text, reason) in [
            ("12:add=", "finite"),
            ("12:add=nan", "finite"),
            ("12:add=1e99", "finite"),
            ("12:mul=2x", "without x"),
            ("12:clamp=3", "no operator `clamp`"),
            (":add=3", "no feature"),
            ("", "no feature"),
        ] {
            let message = text.parse::<FeatureSpec>().expect_err(text).to_string();
            assert!(message.contains(reason), "{text}: {message}");
        }
    }

    #[test]
    fn a_sweep_changes_values_and_leaves_ablations_alone() {
        let specs =
            |texts: &[&str]| texts.iter().map(|text| text.parse().expect("valid")).collect::<Vec<FeatureSpec>>();
        let found = swept(&specs(&["1:ablate", "2:add=2x", "3:mul=4", "4"]), 0.5).expect("three are swept");
        let operators: Vec<Operator> = found.iter().map(|spec| spec.operator).collect();
        assert_eq!(operators, [Operator::Set(0.0), Operator::Add(0.5), Operator::Mul(0.5), Operator::Add(0.5)]);
        assert_eq!(found[1].strength, Strength::OfMaximum);
        let message = swept(&specs(&["1:ablate", "bridge:ablate"]), 0.5).expect_err("nothing is swept").to_string();
        assert!(
            ["1:ablate, bridge:ablate", "add", "set", "mul"].iter().all(|part| message.contains(part)),
            "{message}"
        );
    }
}
