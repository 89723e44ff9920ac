//! How strong is a step, in every unit: of activation, of the feature's largest activation, of the activations' norm?

use super::dictionary::Dictionary;
use super::grammar::{Operation, What};
use super::run::mean_norms;
use super::step::{Change, Step, norm};
use crate::error::InterpretError;
use serde::Serialize;
use untangle_model::LanguageModel;
use untangle_schema::{BosPolicy, HookPoint, shortest};

/// A step and its strength.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Strength {
    /// The intervention as it is written.
    pub text: String,
    /// The feature, where one is turned.
    pub feature: Option<usize>,
    /// The name of its dictionary, where there are several.
    pub dictionary: Option<String>,
    /// What is done.
    pub operator: &'static str,
    /// Whether it is a share of the norm of every token's own activation, so that `value` and `of_maximum` are what it is where
    /// that has the mean norm.
    pub of_each_norm: bool,
    /// Its strength in units of activation, along a direction of length; `mul` has a factor, `ablate` nothing.
    #[serde(serialize_with = "shortest::maybe")]
    pub value: Option<f32>,
    /// The same in multiples of the feature's largest activation, where that is known.
    #[serde(serialize_with = "shortest::maybe")]
    pub of_maximum: Option<f32>,
    /// The length of such a step in multiples of the mean norm of the prompts' activations where it is taken, special tokens
    /// left out; unknown where a dictionary scales its rows.
    #[serde(serialize_with = "shortest::maybe")]
    pub of_norm: Option<f32>,
}

/// The strengths of some steps on some prompts.
///
/// # Errors
/// When a prompt does not fit the model, or a dictionary is not the model's.
pub fn strengths(
    steps: &[Step],
    model: &LanguageModel,
    dictionaries: &[Dictionary<'_>],
    prompts: &[String],
    bos: BosPolicy,
) -> Result<Vec<Strength>, InterpretError> {
    let places = steps.iter().map(|step| place(step, model, dictionaries)).collect::<Result<Vec<_>, _>>()?;
    let points: Vec<HookPoint> = places.iter().map(|(point, _)| *point).collect();
    let norms = mean_norms(model, &points, prompts, bos)?;
    let of_step = |((step, (_, length)), norm): ((&Step, &(HookPoint, Option<f64>)), f64)| {
        strength(step, dictionaries, *length, norm)
    };
    Ok(steps.iter().zip(&places).zip(norms).map(of_step).collect())
}

/// Where a step is taken first.
///
/// # Errors
/// When a dictionary is not the model's.
pub fn place_of(
    step: &Step,
    model: &LanguageModel,
    dictionaries: &[Dictionary<'_>],
) -> Result<HookPoint, InterpretError> {
    Ok(place(step, model, dictionaries)?.0)
}

/// Where a step is taken first, and how long it is there per unit of its strength.
fn place(
    step: &Step,
    model: &LanguageModel,
    dictionaries: &[Dictionary<'_>],
) -> Result<(HookPoint, Option<f64>), InterpretError> {
    match &step.change {
        Change::Along { directions, .. } => Ok((directions[0].point, Some(1.0))),
        Change::Feature { dictionary, feature, .. } => {
            let (of, part) = (&dictionaries[*dictionary], dictionaries[*dictionary].writes(model)?[0]);
            let row = &of.sae().decoder_row(*feature)[part.first..part.first + part.width];
            Ok((part.point, (!of.sae().scales_rows()).then(|| norm(row))))
        }
    }
}

fn strength(step: &Step, dictionaries: &[Dictionary<'_>], length: Option<f64>, norm: f64) -> Strength {
    let (operator, amount, feature) = match &step.change {
        Change::Feature { feature, operator, dictionary } => {
            let name = (dictionaries.len() > 1).then(|| dictionaries[*dictionary].name.to_owned());
            (operator.name(), Some(operator.value()), Some((*feature, name)))
        }
        Change::Along { operator, .. } => (operator.name(), operator.value(), None),
    };
    // Nothing is as strong as another ablation.
    let ablates = step.spec.as_ref().is_some_and(|spec| spec.operation == Operation::Ablate);
    let (operator, amount) = if ablates { ("ablate", None) } else { (operator, amount) };
    let has_length = operator != "mul";
    let value = match (amount, step.of_norm, length) {
        (Some(share), true, Some(length)) if length > 0.0 => Some((f64::from(share) * norm / length) as f32),
        (Some(_), true, _) => None,
        (amount, ..) => amount,
    };
    let of_norm = match (amount, step.of_norm, value, length) {
        (Some(share), true, ..) => Some(share),
        (_, _, Some(value), Some(length)) if has_length && norm > 0.0 => {
            Some((f64::from(value) * length / norm) as f32)
        }
        _ => None,
    };
    let of_maximum =
        value.zip(step.maximum).filter(|(_, most)| has_length && *most > 0.0).map(|(value, most)| value / most);
    let text = step.spec.as_ref().map_or_else(|| written(step), ToString::to_string);
    let (feature, dictionary) = feature.map_or((None, None), |(feature, name)| (Some(feature), name));
    let of_each_norm = step.of_norm && amount.is_some();
    Strength { text, feature, dictionary, operator, of_each_norm, value, of_maximum, of_norm }
}

/// How a step that a program made could be written.
fn written(step: &Step) -> String {
    match &step.change {
        Change::Feature { feature, operator, .. } => {
            format!("{}:{}={}", What::feature(*feature), operator.name(), operator.value())
        }
        Change::Along { operator, .. } => format!("a direction:{}", operator.name()),
    }
}
