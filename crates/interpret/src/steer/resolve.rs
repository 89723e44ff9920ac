//! From what is written to steps of which everything is known.

use super::dictionary::Dictionary;
use super::edit::Operator;
use super::grammar::{Amount, Comparison, Operation, Spec, Unit, What};
use super::lookup::find;
use super::problem::SteerProblem;
use super::step::{AlongOperator, Change, Direction, Step, Test, Value, norm};
use super::tokens::{Tokens, token_of};
use crate::error::InterpretError;
use crate::intervene::flat;
use crate::logits::writes_to_stream;
use crate::vectors::ControlVector;
use std::path::Path;
use std::sync::Arc;
use tch::Kind;
use untangle_model::LanguageModel;
use untangle_schema::HookPoint;

/// The steps that interventions mean, in this model and with features of these dictionaries; labels and multiples of the
/// largest activation are looked up in their databases.
///
/// # Errors
/// When a name fits none or several, what is to be known of a feature is not, an operation cannot be, or a database describes
/// another dictionary.
pub fn resolve(
    specs: &[Spec],
    model: &LanguageModel,
    dictionaries: &[Dictionary<'_>],
) -> Result<Vec<Step>, InterpretError> {
    check_databases(dictionaries)?;
    specs.iter().map(|spec| Resolving { spec, model, dictionaries }.step()).collect()
}

/// The feature of the only dictionary that an intervention names.
///
/// # Errors
/// When the name fits none or several, or names a direction, or the database describes another dictionary.
pub fn feature_of(spec: &Spec, dictionary: Dictionary<'_>) -> Result<usize, InterpretError> {
    check_databases(&[dictionary])?;
    find(&spec.what, &[dictionary]).map(|(_, feature)| feature)
}

/// Whether every database describes a dictionary of so many features.
///
/// # Errors
/// When one does not.
pub fn check_databases(dictionaries: &[Dictionary<'_>]) -> Result<(), InterpretError> {
    for dictionary in dictionaries {
        let Some(database) = dictionary.database else { continue };
        let (found, d_sae) = (database.n_features()?, dictionary.sae().d_sae());
        if found != d_sae {
            return Err(InterpretError::OtherDictionary { path: database.path().to_owned(), found, d_sae });
        }
    }
    Ok(())
}

/// One intervention on its way.
struct Resolving<'a> {
    spec: &'a Spec,
    model: &'a LanguageModel,
    dictionaries: &'a [Dictionary<'a>],
}

/// Unit vectors of what is named, and what a strength of `1x` is along them, where that is known.
struct Directions {
    units: Vec<Direction>,
    maximum: Option<f32>,
}

impl Resolving<'_> {
    fn step(&self) -> Result<Step, InterpretError> {
        let (change, of_norm, maximum) = match self.spec.operation.is_of_direction() {
            true => self.along()?,
            false => self.turned()?,
        };
        let tokens =
            self.spec.positions.as_ref().map(|positions| Tokens::resolve(positions, self.model)).transpose()?;
        let tests = self.spec.condition.iter().flat_map(|condition| &condition.0).map(|test| self.test(test));
        Ok(Step {
            change,
            of_norm,
            tokens: tokens.unwrap_or_default(),
            tests: tests.collect::<Result<_, _>>()?,
            spec: Some(self.spec.clone()),
            maximum,
        })
    }

    /// A change of a feature.
    fn turned(&self) -> Result<(Change, bool, Option<f32>), InterpretError> {
        let (dictionary, feature) = find(&self.spec.what, self.dictionaries)?;
        let maximum = self.maximum(dictionary, feature)?;
        let operator = match &self.spec.operation {
            Operation::Add(_) => Operator::Add(0.0),
            Operation::Set(_) | Operation::Ablate => Operator::Set(0.0),
            Operation::Min(_) => Operator::Min(0.0),
            Operation::Max(_) => Operator::Max(0.0),
            Operation::Mul(factor) => Operator::Mul(*factor),
            other => return Err(self.impossible(format!("{} is along a direction", other.name()))),
        };
        let (operator, of_norm) = match self.spec.operation.amount() {
            None => (operator, false),
            Some(amount) => {
                let (value, of_norm) = self.value(amount, maximum)?;
                (operator.with_value(value), of_norm)
            }
        };
        Ok((Change::Feature { dictionary, feature, operator }, of_norm, maximum))
    }

    /// A change along a direction.
    fn along(&self) -> Result<(Change, bool, Option<f32>), InterpretError> {
        let Directions { units, maximum } = self.directions(&self.spec.what)?;
        let amount = self.spec.operation.amount().map(|amount| self.value(amount, maximum)).transpose()?;
        let (value, of_norm) = amount.unwrap_or_default();
        let operator = match &self.spec.operation {
            Operation::AddDirection(_) => AlongOperator::Add(value),
            Operation::Cap(_) => AlongOperator::Cap(value),
            Operation::Swap(target) => {
                let target = self.directions(target)?.units;
                let points = |all: &[Direction]| all.iter().map(|one| one.point).collect::<Vec<_>>();
                if points(&target) != points(&units) {
                    let named = |all| points(all).iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
                    let (here, there) = (named(&units), named(&target));
                    return Err(
                        self.impossible(format!("one lies at {here}, the other at {there}; swap what lies at one"))
                    );
                }
                AlongOperator::Swap(target)
            }
            _ => AlongOperator::ProjectOut,
        };
        Ok((Change::Along { directions: units, operator }, of_norm, maximum))
    }

    fn test(&self, comparison: &Comparison) -> Result<Test, InterpretError> {
        let Comparison { what, along, sign, amount } = comparison;
        let (value, maximum) = if *along {
            let Directions { units, maximum } = self.directions(what)?;
            let [unit] = &units[..] else {
                let problem =
                    "a crosscoder's feature has a direction at each of several hook points; no length along them";
                return Err(self.impossible(problem.to_owned()));
            };
            (Value::Along(unit.clone()), maximum)
        } else {
            let (dictionary, feature) = find(what, self.dictionaries)?;
            (Value::Activation { dictionary, feature }, self.maximum(dictionary, feature)?)
        };
        let (limit, of_norm) = self.value(*amount, maximum)?;
        Ok(Test { value, sign: *sign, limit, of_norm })
    }

    /// The directions of what is named; of a feature, what it writes.
    fn directions(&self, what: &What) -> Result<Directions, InterpretError> {
        match what {
            What::Feature { .. } => self.of_feature(what),
            What::Token { text, point } => self.of_token(text, *point),
            What::Vector { path, point } => {
                let path = Path::new(path);
                let file = ControlVector::read(path)?;
                let (point, vector) = file.at(*point, path)?;
                Ok(Directions { units: vec![self.unit(point, vector)?], maximum: Some(norm(vector) as f32) })
            }
        }
    }

    fn of_feature(&self, what: &What) -> Result<Directions, InterpretError> {
        let (dictionary, feature) = find(what, self.dictionaries)?;
        let of = &self.dictionaries[dictionary];
        let row = of.sae().decoder_row(feature);
        let parts = of.writes(self.model)?;
        let vectors: Vec<_> =
            parts.iter().map(|part| (part.point, &row[part.first..part.first + part.width])).collect();
        let longest = vectors.iter().map(|(_, vector)| norm(vector) as f32).fold(0.0, f32::max);
        let units = vectors.into_iter().map(|(point, vector)| self.unit(point, vector)).collect::<Result<_, _>>()?;
        Ok(Directions { units, maximum: self.maximum(dictionary, feature)?.map(|most| most * longest) })
    }

    /// What raises a token's logit.
    fn of_token(&self, text: &str, point: HookPoint) -> Result<Directions, InterpretError> {
        if !writes_to_stream(point) || !self.model.has_unembedding() {
            let problem = format!("a token has a direction in the residual stream alone, and {point} is not of it");
            return Err(self.impossible(problem));
        }
        let id = token_of(text, self.model)?;
        let column = tch::no_grad(|| self.model.unembedding_folded().select(1, id).to_kind(Kind::Float));
        Ok(Directions { units: vec![self.unit(point, &flat::<f32>(&column)?)?], maximum: None })
    }

    fn unit(&self, point: HookPoint, vector: &[f32]) -> Result<Direction, InterpretError> {
        let length = norm(vector);
        if !(length > 0.0 && length.is_finite()) {
            return Err(self.impossible(format!("it writes nothing at {point}, so it has no direction there")));
        }
        Ok(Direction { point, unit: vector.iter().map(|x| (f64::from(*x) / length) as f32).collect::<Arc<[f32]>>() })
    }

    /// A feature's largest activation, where there is a database.
    fn maximum(&self, dictionary: usize, feature: usize) -> Result<Option<f32>, InterpretError> {
        let database = self.dictionaries[dictionary].database;
        database.map(|database| Ok(database.card(feature)?.max_activation)).transpose()
    }

    /// An amount in units of activation or length, and whether it counts the norm of what is changed.
    fn value(&self, amount: Amount, maximum: Option<f32>) -> Result<(f32, bool), InterpretError> {
        let value = match (amount.unit, maximum) {
            (Unit::Absolute | Unit::OfNorm, _) => amount.value,
            (Unit::OfMaximum, Some(maximum)) => amount.value * maximum,
            (Unit::OfMaximum, None) if matches!(self.spec.what, What::Token { .. }) => {
                return Err(
                    self.impossible("a token's direction has no largest activation; take n or a number".to_owned())
                );
            }
            (Unit::OfMaximum, None) => {
                let problem = "the largest activation is not known; give the feature database with --features, or a strength \
                               without x, as in 12:add=8 (where nothing is said, it is add=1x)";
                return Err(InterpretError::NeedsDatabase { spec: self.spec.to_string(), problem });
            }
        };
        if !value.is_finite() {
            return Err(self.impossible(format!("{amount} is too much to compute with")));
        }
        Ok((value, amount.unit == Unit::OfNorm))
    }

    fn impossible(&self, problem: String) -> InterpretError {
        SteerProblem::Impossible { what: self.spec.to_string(), problem }.into()
    }
}
