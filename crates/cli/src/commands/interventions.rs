//! Options that say what is steered, and what they mean.

use super::dictionaries::Dictionaries;
use super::options::sweep_value;
use super::words::BelongingArgs;
use crate::cards::one_line;
use crate::context::Context;
use crate::exit::Complaint;
use clap::Args;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use untangle_interpret::steer::Strength;
use untangle_interpret::steer::grammar::{Condition, Operation, Positions, Unit};
use untangle_interpret::vectors::ControlVector;
use untangle_interpret::{Dictionary, Spec, Step, resolve, swept};
use untangle_model::LanguageModel;
use untangle_sources::Recipe;

/// What is steered, where and how strongly.
#[derive(Clone, Debug, Args)]
pub(crate) struct InterventionArgs {
    /// Dictionary directory, of an autoencoder, a transcoder or a crosscoder; of several, features are named by directory
    /// and number, as in early#12
    #[arg(long, value_name = "SAE")]
    sae: Vec<PathBuf>,
    /// Feature and what to do: 12:add=8, 12:add=2x (twice its largest activation), 12:add=0.3n (0.3 times the activation's
    /// norm), 12:set=3, 12:mul=0.5, 12:min=1x (at least that), 12:max=3 (at most), 12:ablate; along what it writes
    /// 12:add-direction=0.3n, 12:project-out, 12:cap=1x, 12:swap=13; a label instead of a number needs --features; without an operation
    /// it is add=1x; instead of a feature, token ' cat' in blocks.1.hook_resid_post and vector 'calm.gguf' have a direction, too; `at TOKENS` and `when CONDITION` may
    /// follow, as for --at and --when
    #[arg(long = "feature", value_name = "ID-or-label[:OP=VALUE]")]
    feature: Vec<String>,
    /// Feature database, for labels and for strengths with x; one for each of the dictionaries that have one
    #[arg(long, value_name = "FEATURES.db")]
    features: Vec<PathBuf>,
    /// Tokens that are steered, where --feature does not say: all, prompt or generated, each also with a place, a range or a
    /// text (prompt[-1], generated[0..10], all['cat']), several with commas, `not` before those that are left out; special
    /// tokens (beginning of sequence and the like) never are [default: all]
    #[arg(long, value_name = "TOKENS")]
    at: Option<String>,
    /// Steer only tokens where this holds, where --feature does not say: 'rude>0.5x', '12<=3 and along 7>0.1n' (the
    /// activation's part along a direction)
    #[arg(long, value_name = "CONDITION")]
    when: Option<String>,
    /// Repeat with each of these values in place of those of --feature, in their unit: 0.5,1,2; what has no value, such as
    /// ablate, stays as it is
    #[arg(long, value_name = "VALUES", value_delimiter = ',', allow_hyphen_values = true,
        value_parser = sweep_value)]
    pub(crate) sweep: Vec<f32>,
    /// File that says all of this (keys model, sae, features, steer, at, when, other_model); what is said here as well takes the place of what
    /// it says
    #[arg(long, value_name = "FILE.toml")]
    recipe: Option<PathBuf>,
    #[command(flatten)]
    belonging: BelongingArgs,
}

/// What was asked for, as far as the command line itself says.
pub(crate) struct Interventions {
    specs: Vec<Spec>,
    loaded: Dictionaries,
    is_of_any_model: bool,
}

impl InterventionArgs {
    /// Fills in what a recipe says and the command line does not; the model that is meant.
    pub(crate) fn complete(&mut self, model: Option<&Path>) -> anyhow::Result<PathBuf> {
        let recipe = self.recipe.as_deref().map(Recipe::read).transpose()?.unwrap_or_default();
        let fill = |said: &mut Vec<PathBuf>, other: Vec<PathBuf>| {
            if said.is_empty() {
                *said = other;
            }
        };
        fill(&mut self.sae, recipe.sae);
        fill(&mut self.features, recipe.features);
        self.belonging.other_model |= recipe.other_model;
        if self.feature.is_empty() {
            self.feature = recipe.steer;
        }
        self.at = self.at.take().or(recipe.at);
        self.when = self.when.take().or(recipe.when);
        let model = model.map(Path::to_owned).or(recipe.model);
        model.ok_or_else(|| Complaint::usage("name a MODEL, or a --recipe that says which one is meant"))
    }

    /// The same as a recipe, with other interventions where there are some.
    pub(crate) fn recipe(&self, model: &Path, steer: Option<Vec<String>>) -> Recipe {
        Recipe {
            model: Some(model.to_owned()),
            sae: self.sae.clone(),
            features: self.features.clone(),
            steer: steer.unwrap_or_else(|| self.feature.clone()),
            at: self.at.clone(),
            when: self.when.clone(),
            other_model: self.belonging.other_model,
        }
    }

    /// Reads the interventions, without looking at any file; there is at least one where they are `needed`.
    pub(crate) fn specs(&self, needed: bool) -> anyhow::Result<Vec<Spec>> {
        if needed && self.feature.is_empty() {
            return Err(Complaint::usage(
                "say with --feature what is steered, such as --feature 12:add=2x, or name a --recipe",
            ));
        }
        let twice = |at: &usize| self.sweep[..*at].contains(&self.sweep[*at]);
        if let Some(at) = (0..self.sweep.len()).find(twice) {
            return Err(Complaint::usage(format!("--sweep: {} is there twice; give every value once", self.sweep[at])));
        }
        let positions = self.at.as_deref().map(|text| Positions::parse(text).map_err(|p| said("--at", text, &p)));
        let condition = self.when.as_deref().map(|text| Condition::parse(text).map_err(|p| said("--when", text, &p)));
        let (positions, condition) = (positions.transpose()?, condition.transpose()?);
        let mut specs = self.feature.iter().map(|text| text.parse()).collect::<Result<Vec<Spec>, _>>()?;
        for spec in &mut specs {
            spec.positions = spec.positions.take().or_else(|| positions.clone());
            spec.condition = spec.condition.take().or_else(|| condition.clone());
        }
        Ok(specs)
    }

    /// What is steered, in words.
    pub(crate) fn features_in_words(&self) -> String {
        self.feature.join(", ")
    }

    /// Whether dictionaries may be of other models.
    pub(crate) fn is_of_other_model(&self) -> bool {
        self.belonging.other_model
    }

    /// Whether it is said which tokens are steered.
    pub(crate) fn says_where(&self) -> bool {
        self.at.is_some()
    }

    /// Whether it is said when they are.
    pub(crate) fn says_when(&self) -> bool {
        self.when.is_some()
    }

    /// Which tokens are steered where the interventions do not say.
    pub(crate) fn at(&self) -> &str {
        self.at.as_deref().unwrap_or("all")
    }

    /// Reads the dictionaries and databases.
    pub(crate) fn load(&self, specs: Vec<Spec>, context: &Context) -> anyhow::Result<Interventions> {
        let loaded = Dictionaries::load(&self.sae, &self.features, self.belonging, context)?;
        Ok(Interventions { specs, loaded, is_of_any_model: self.belonging.other_model })
    }
}

/// Says where the model may not be the one that files of vectors were made on.
///
/// # Errors
/// When one of them cannot be read.
pub(crate) fn say_vector_doubts<'a>(
    files: impl Iterator<Item = &'a Path>,
    model: &LanguageModel,
    is_of_any_model: bool,
    context: &Context,
) -> anyhow::Result<()> {
    for path in files.collect::<BTreeSet<_>>() {
        let Some(doubt) = ControlVector::read(path)?.doubt(&model.identity()) else { continue };
        let doubt = format!("{}: {doubt}", path.display());
        if is_of_any_model {
            context.progress.note(&format!("{doubt}; used all the same, by --other-model"));
        } else {
            context.progress.warning(&doubt);
        }
    }
    Ok(())
}

fn said(option: &str, text: &str, problem: &str) -> anyhow::Error {
    Complaint::usage(format!("{option} {text:?}: {problem}"))
}

impl Interventions {
    /// The dictionaries, for the library.
    pub(crate) fn dictionaries(&self) -> Vec<Dictionary<'_>> {
        self.loaded.all()
    }

    /// The strength at which the interventions leave the model as it is; none where no one strength does.
    pub(crate) fn neutral(&self) -> Option<f32> {
        let of = |spec: &Spec| match spec.operation {
            Operation::Add(_) | Operation::AddDirection(_) => Some(0.0),
            Operation::Mul(_) => Some(1.0),
            _ => None,
        };
        let mut all = self.specs.iter().map(of);
        let first = all.next().flatten();
        first.filter(|first| all.all(|other| other == Some(*first)))
    }

    /// The unit of what is swept.
    pub(crate) fn unit(&self) -> &'static str {
        let amount = self.specs.iter().find_map(|spec| spec.operation.amount());
        match amount.map(|amount| amount.unit) {
            Some(Unit::OfMaximum) => "x",
            Some(Unit::OfNorm) => "n",
            _ => "",
        }
    }

    /// Says where the model may not be that of a dictionary or of a vector.
    ///
    /// # Errors
    /// When a file of vectors cannot be read.
    pub(crate) fn say_doubts(&self, model: &LanguageModel, context: &Context) -> anyhow::Result<()> {
        self.loaded.say_doubts(model, context);
        say_vector_doubts(
            self.specs.iter().flat_map(Spec::vectors).map(Path::new),
            model,
            self.is_of_any_model,
            context,
        )
    }

    /// The steps, once, or once for every value of a sweep.
    pub(crate) fn sets(
        &self,
        sweep: &[f32],
        model: &LanguageModel,
        dictionaries: &[Dictionary<'_>],
    ) -> anyhow::Result<Vec<Vec<Step>>> {
        if sweep.is_empty() {
            return Ok(vec![resolve(&self.specs, model, dictionaries)?]);
        }
        let with = |value: &f32| Ok(resolve(&swept(&self.specs, *value)?, model, dictionaries)?);
        sweep.iter().map(with).collect()
    }
}

/// A step as people read it: `feature 12 add 8.00 (2.00x, 0.31n)`, see [`UNITS`].
pub(crate) fn describe(strength: &Strength) -> String {
    let what = match (&strength.feature, &strength.dictionary) {
        (Some(feature), Some(dictionary)) => format!("feature {dictionary}#{feature} {}", strength.operator),
        (Some(feature), None) => format!("feature {feature} {}", strength.operator),
        (None, _) => return format!("{}{}", one_line(&strength.text), in_brackets(&units(strength))),
    };
    // What is a share of every token's own norm is no one number.
    let value = match (strength.of_each_norm, strength.value) {
        (true, _) => strength.of_norm.map(|share| format!(" {share}n")),
        (false, value) => value.map(|value| format!(" {}", figure(value))),
    };
    let value = value.unwrap_or_default();
    let clauses = [" at ", " when "].iter().filter_map(|word| strength.text.find(word)).min();
    let clauses = clauses.map(|at| one_line(&strength.text[at..])).unwrap_or_default();
    format!("{what}{value}{}{clauses}", in_brackets(&units(strength)))
}

/// A strength with two decimals, or where these would say nothing with two digits: 1.25, 0.0012, 1.0e-9, 2.6e7.
pub(crate) fn figure(value: f32) -> String {
    let size = f64::from(value.abs());
    match size {
        0.0 => "0.00".to_owned(),
        _ if (0.095..1e6).contains(&size) => format!("{value:.2}"),
        _ if (1e-4..1.0).contains(&size) => {
            let decimals = (1 - size.log10().floor() as i32) as usize;
            format!("{value:.decimals$}")
        }
        _ => format!("{value:.1e}"),
    }
}

/// What the units of a strength are.
pub(crate) const UNITS: &str = "x: multiples of the feature's largest activation, or of a vector's own length; n: a step's length in \
                                multiples of the norm of the activation that is changed, token by token, and in brackets of \
                                the mean norm of the prompt's";

/// A strength in its other units.
fn units(strength: &Strength) -> Vec<String> {
    let there = strength.value.filter(|_| strength.of_each_norm).map(figure);
    let of_maximum = strength.of_maximum.map(|times| format!("{}x", figure(times)));
    let of_norm = strength.of_norm.filter(|_| !strength.of_each_norm).map(|times| format!("{}n", figure(times)));
    there.into_iter().chain(of_maximum).chain(of_norm).collect()
}

fn in_brackets(parts: &[String]) -> String {
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_say_something() {
        for (value, expected) in [
            (1.25, "1.25"),
            (-37.9, "-37.90"),
            (0.0, "0.00"),
            (-0.0, "0.00"),
            (0.096, "0.10"),
            (0.04, "0.040"),
            (0.001, "0.0010"),
            (-2.6e-5, "-2.6e-5"),
            (1e9, "1.0e9"),
        ] {
            assert_eq!(figure(value), expected);
        }
    }
}
