//! Which dictionaries features are taken from, and where in a model each reads and writes.

use crate::database::Database;
use crate::error::InterpretError;
use crate::point::{check_model, point_of, written_point_of};
use crate::sharing::part_shares;
use serde_json::Value;
use untangle_model::LanguageModel;
use untangle_sae::{Crosscoder, Place, Sae};
use untangle_schema::{HookPoint, PartShares};

/// A dictionary under a name, with what is known of its features.
#[derive(Clone, Copy, Debug)]
pub struct Dictionary<'a> {
    /// What it is called where several are at hand.
    pub name: &'a str,
    /// The dictionary.
    pub kind: Kind<'a>,
    /// Labels and largest activations of its features.
    pub database: Option<&'a Database>,
}

/// What kind of dictionary it is.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// An autoencoder or a transcoder.
    Sae(&'a Sae),
    /// A crosscoder.
    Crosscoder(&'a Crosscoder),
}

/// Columns of what a dictionary reads or writes, and where they lie in a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) point: HookPoint,
    /// First of the columns.
    pub(crate) first: usize,
    /// Their number.
    pub(crate) width: usize,
}

impl<'a> Kind<'a> {
    /// Its tensors; of a crosscoder those of all parts side by side.
    pub fn sae(self) -> &'a Sae {
        match self {
            Kind::Sae(sae) => sae,
            Kind::Crosscoder(crosscoder) => crosscoder.joined(),
        }
    }
}

impl<'a> Dictionary<'a> {
    /// An autoencoder or transcoder without a name and without a database, where there is no other.
    pub fn only(sae: &'a Sae) -> Self {
        Dictionary { name: "", kind: Kind::Sae(sae), database: None }
    }

    /// Its tensors; of a crosscoder those of all parts side by side.
    pub fn sae(&self) -> &'a Sae {
        self.kind.sae()
    }

    /// Its configuration, as its file has it.
    pub(crate) fn written(&self) -> Value {
        match self.kind {
            Kind::Sae(sae) => serde_json::to_value(sae.written()).unwrap_or_default(),
            Kind::Crosscoder(crosscoder) => crosscoder.written(),
        }
    }

    /// What the parts of a crosscoder are called; none of other dictionaries.
    pub(crate) fn parts(&self) -> Vec<String> {
        let Kind::Crosscoder(crosscoder) = self.kind else { return Vec::new() };
        let name = |place: &Place| {
            let hook = place.hook.as_deref().unwrap_or("a matrix");
            place.model.as_deref().map_or_else(|| hook.to_owned(), |model| format!("{hook} of {model}"))
        };
        crosscoder.places().iter().map(name).collect()
    }

    /// How a feature of a crosscoder is shared; none of other dictionaries.
    pub(crate) fn sharing(&self, feature: usize) -> Option<PartShares> {
        match self.kind {
            Kind::Sae(_) => None,
            Kind::Crosscoder(crosscoder) => Some(part_shares(crosscoder, feature)),
        }
    }

    /// Whether a feature is one of its.
    pub(super) fn check_feature(&self, feature: usize) -> Result<(), InterpretError> {
        let d_sae = self.sae().d_sae();
        if feature < d_sae { Ok(()) } else { Err(InterpretError::NoSuchFeature { feature, d_sae }) }
    }

    /// The parts of a feature's decoder row that are written into this model.
    pub(crate) fn writes(&self, model: &LanguageModel) -> Result<Vec<Part>, InterpretError> {
        match self.kind {
            Kind::Sae(sae) => {
                check_model(sae, model)?;
                let (point, width) = (written_point_of(sae)?, sae.d_out());
                let found = width_at(model, point)?;
                match (found == width, sae.is_transcoder()) {
                    (true, _) => Ok(vec![Part { point, first: 0, width }]),
                    (false, true) => {
                        Err(InterpretError::OutputWidthDiffers { d_out: width, what: named(point), found })
                    }
                    (false, false) => Err(InterpretError::WidthDiffers { d_in: width, what: named(point), found }),
                }
            }
            Kind::Crosscoder(crosscoder) => {
                let own: Vec<Part> = parts(crosscoder, model)?.into_iter().flatten().collect();
                if own.is_empty() {
                    let expected = crosscoder.places().iter().filter_map(|place| place.model.as_deref());
                    let expected = expected.collect::<Vec<_>>().join(" and ");
                    let found = model.identity().name;
                    return Err(InterpretError::OtherModelThanDictionary { expected, found });
                }
                Ok(own)
            }
        }
    }

    /// The parts of what is read, all of them of this model.
    ///
    /// The error of the second kind says why the activations of features cannot be known in one pass of it.
    pub(super) fn reads(&self, model: &LanguageModel) -> Result<Result<Vec<Part>, String>, InterpretError> {
        match self.kind {
            Kind::Sae(sae) => {
                let (point, width) = (point_of(sae)?, sae.d_in());
                let found = width_at(model, point)?;
                match found == width {
                    true => Ok(Ok(vec![Part { point, first: 0, width }])),
                    false => Err(InterpretError::WidthDiffers { d_in: width, what: named(point), found }),
                }
            }
            Kind::Crosscoder(crosscoder) => {
                let all: Option<Vec<Part>> = parts(crosscoder, model)?.into_iter().collect();
                Ok(all.ok_or_else(|| {
                    let others =
                        crosscoder.places().iter().filter(|place| !is_of(place.model_weights.as_deref(), model));
                    let others: Vec<&str> = others.filter_map(|place| place.model.as_deref()).collect();
                    format!("which a crosscoder reads from {} as well, another model than this", others.join(" and "))
                }))
            }
        }
    }
}

/// The parts of a crosscoder, none where one belongs to another model.
fn parts(crosscoder: &Crosscoder, model: &LanguageModel) -> Result<Vec<Option<Part>>, InterpretError> {
    let width = crosscoder.part_width();
    let places = crosscoder.places().iter().enumerate();
    let mut parts = Vec::new();
    for (number, place) in places {
        if !is_of(place.model_weights.as_deref(), model) {
            parts.push(None);
            continue;
        }
        let name = place.hook.as_deref().unwrap_or_default();
        let found = format!("hook_name `{name}`");
        let point = name.parse().map_err(|_| InterpretError::NoHookPoint { found })?;
        let found = width_at(model, point)?;
        if found != width {
            return Err(InterpretError::WidthDiffers { d_in: width, what: named(point), found });
        }
        parts.push(Some(Part { point, first: number * width, width }));
    }
    Ok(parts)
}

/// Whether weights are this model's, as far as they are known.
pub(crate) fn is_of(weights: Option<&str>, model: &LanguageModel) -> bool {
    weights.is_none_or(|weights| weights == model.identity().weights_sha256)
}

fn named(point: HookPoint) -> String {
    format!("{point} of this model")
}

/// Width of the rows at a point, heads flattened.
pub(super) fn width_at(model: &LanguageModel, point: HookPoint) -> Result<usize, InterpretError> {
    if point.is_of_pairs() {
        return Err(InterpretError::NotRows { point });
    }
    Ok(model.width_of(point)?)
}
