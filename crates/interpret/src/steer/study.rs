//! Does a feature make the model write about its concept, and does the text stay one? Counted over many continuations.
//!
//! | figure | over |
//! |---|---|
//! | `appears` | continuations of neutral prompts in which the concept appears |
//! | `repetition` | 4-grams of tokens of a continuation that stood in it before, of all 4-grams of all continuations |
//! | `perplexity` | exp of the mean of -ln p(token) under the model that nobody steers, over continuations of prompts that name the concept, given those prompts |
//!
//! Controls: the model itself, random directions with steps of the same length, and other features with such steps. All
//! arms draw from the same seeds.

use super::edit::{Edit, Operator, RandomStep, Steer};
use super::effect::log_probabilities;
use crate::error::InterpretError;
use crate::intervene::{Intervention, Rewrite, Scope};
use crate::point::{check_model, point_of};
use serde::Serialize;
use std::collections::HashSet;
use std::hash::Hash;
use tch::{Kind, Tensor};
use untangle_model::{GenerateOptions, Hook, LanguageModel, NoHook, generate_rows};
use untangle_sae::Sae;
use untangle_schema::{BosPolicy, HookPoint, Share};

/// Tokens that make a repetition.
const RUN: usize = 4;

/// What is continued, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyPlan {
    /// Beginnings of texts that have nothing to do with the concept.
    pub prompts: Vec<String>,
    /// A sentence that names the concept; behind a prompt it makes one that names it.
    pub naming: String,
    /// Continuations of every prompt.
    pub continuations: usize,
    /// How they are drawn; the seed is that of the first.
    pub generate: GenerateOptions,
    /// Random directions; each continues every prompt as often.
    pub directions: u64,
}

/// What came of one way to write.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arm {
    /// Continuations with the concept.
    pub appears: Share,
    /// Repeated 4-grams, 0 to 1.
    pub repetition: f64,
    /// Perplexity of continuations of prompts that name the concept; none where it was not asked for.
    pub perplexity: Option<f64>,
    /// The first continuation, behind its prompt.
    pub sample: String,
}

/// Steered text beside its controls.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Study {
    /// The model itself.
    pub baseline: Arm,
    /// The feature turned up.
    pub steered: Arm,
    /// Random directions, all together.
    pub random: Arm,
    /// Other features, all together, each with steps as long as the feature's.
    pub others: Arm,
}

/// Studies adding `strength` (units of activation) to `feature`, beside `others` at the same strength. `appears` says
/// whether a continuation is about the concept.
///
/// # Errors
/// When the dictionary does not belong to the model, a feature does not exist, or a prompt does not fit.
pub fn study(
    model: &LanguageModel,
    sae: &Sae,
    (feature, strength): (usize, f32),
    others: &[usize],
    plan: &StudyPlan,
    appears: &dyn Fn(&str) -> bool,
) -> Result<Study, InterpretError> {
    check_model(sae, model)?;
    let writer = Writer { model, sae, point: point_of(sae)?, plan, appears };
    let edit = |feature| [Edit { feature, operator: Operator::Add(strength) }];
    let (mut baseline, mut steered) = (Tally::default(), Tally::default());
    let (mut random, mut other) = (Tally::default(), Tally::default());
    writer.write(&mut NoHook, true, &mut baseline)?;
    writer.write(&mut writer.hook(Steer::new(sae, &edit(feature))?)?, true, &mut steered)?;
    for direction in 0..plan.directions {
        let step = RandomStep::new(Steer::new(sae, &edit(feature))?, plan.generate.seed.wrapping_add(direction));
        writer.write(&mut writer.hook(step)?, false, &mut random)?;
    }
    for feature in others {
        writer.write(&mut writer.hook(Steer::new(sae, &edit(*feature))?)?, false, &mut other)?;
    }
    let [baseline, steered, random, others] = [baseline, steered, random, other].map(Tally::arm);
    Ok(Study { baseline, steered, random, others })
}

/// Of the runs of four tokens, the fraction that stood there before; 0 to 1, 0 where there are none.
pub fn repetition<T: Eq + Hash>(tokens: &[T]) -> f64 {
    let (repeated, runs) = repeated_runs(tokens);
    if runs == 0 { 0.0 } else { repeated as f64 / runs as f64 }
}

/// Runs of four tokens that stood there before, and all.
fn repeated_runs<T: Eq + Hash>(tokens: &[T]) -> (usize, usize) {
    let runs = tokens.windows(RUN);
    let n = runs.len();
    (n - runs.collect::<HashSet<_>>().len(), n)
}

/// Counts of one arm.
#[derive(Default)]
struct Tally {
    appears: Share,
    repeated: usize,
    runs: usize,
    nats: f64,
    scored: usize,
    sample: Option<String>,
}

impl Tally {
    fn arm(self) -> Arm {
        Arm {
            appears: self.appears,
            repetition: self.repeated as f64 / self.runs.max(1) as f64,
            perplexity: (self.scored > 0).then(|| (self.nats / self.scored as f64).exp()),
            sample: self.sample.unwrap_or_default(),
        }
    }
}

/// Writes the continuations of one arm after another.
struct Writer<'a> {
    model: &'a LanguageModel,
    sae: &'a Sae,
    point: HookPoint,
    plan: &'a StudyPlan,
    appears: &'a dyn Fn(&str) -> bool,
}

impl Writer<'_> {
    fn hook<R: Rewrite>(&self, rewrite: R) -> Result<Intervention<R>, InterpretError> {
        Intervention::new(self.model, self.point, self.sae.d_in(), Scope::All, rewrite)
    }

    /// Continues every prompt; where asked for, also those that name the concept, for their perplexity.
    fn write(&self, hook: &mut dyn Hook, perplexity: bool, tally: &mut Tally) -> Result<(), InterpretError> {
        let tokenizer = self.model.tokenizer()?;
        for (number, prompt) in self.plan.prompts.iter().enumerate() {
            let tokens = tokenizer.encode_with_bos(prompt, BosPolicy::Auto)?;
            for added in self.continuations(&tokens, number, hook)? {
                let text = tokenizer.decode(&added)?;
                tally.appears.trials += 1;
                tally.appears.hits += u64::from((self.appears)(&text));
                let (repeated, runs) = repeated_runs(&added);
                tally.repeated += repeated;
                tally.runs += runs;
                tally.sample.get_or_insert_with(|| format!("{prompt}{text}"));
            }
            if perplexity {
                let naming = format!("{prompt} {}", self.plan.naming);
                let tokens = tokenizer.encode_with_bos(&naming, BosPolicy::Auto)?;
                for added in self.continuations(&tokens, number, hook)?.iter().filter(|added| !added.is_empty()) {
                    tally.nats += self.surprisal(&tokens, added)?;
                    tally.scored += added.len();
                }
            }
        }
        Ok(())
    }

    fn continuations(
        &self,
        prompt: &[u32],
        number: usize,
        hook: &mut dyn Hook,
    ) -> Result<Vec<Vec<u32>>, InterpretError> {
        let first = self.plan.generate.seed.wrapping_add((number * self.plan.continuations) as u64);
        let seeds: Vec<u64> = (0..self.plan.continuations as u64).map(|seed| first.wrapping_add(seed)).collect();
        let rows = generate_rows(self.model, prompt, &self.plan.generate, &seeds, hook, &mut |_, _| {})?;
        Ok(rows.into_iter().map(|row| row.tokens).collect())
    }

    /// Sum of -ln p of the added tokens, given the prompt, by the model that nobody steers.
    fn surprisal(&self, prompt: &[u32], added: &[u32]) -> Result<f64, InterpretError> {
        let tokens: Vec<i64> = prompt.iter().chain(added).map(|id| i64::from(*id)).collect();
        let tokens = Tensor::from_slice(&tokens).to_device(self.model.device());
        let (first, n) = (prompt.len() as i64, added.len() as i64);
        let all = log_probabilities(self.model, &tokens.unsqueeze(0), &mut NoHook)?; // [seq, vocab]
        let targets = tokens.narrow(0, first, n).unsqueeze(1);
        let chosen = all.narrow(0, first - 1, n).gather(1, &targets, false);
        Ok(-chosen.sum(Kind::Double).double_value(&[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_is_the_share_of_runs_that_come_again() {
        assert_eq!(repetition(&[1, 2, 3]), 0.0);
        assert_eq!(repetition(&[1, 2, 3, 4, 5]), 0.0);
        assert_eq!(repetition(&[7; 8]), 0.8, "five runs, one of them new");
    }
}
