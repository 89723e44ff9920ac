//! Does a feature make the model write about its concept, and does the text stay one? Counted over many continuations.
//!
//! | figure | over |
//! |---|---|
//! | `appears` | continuations of neutral prompts that are about the concept |
//! | `names` | those of them that hold its name |
//! | `repetition` | 4-grams of tokens of a continuation that stood in it before, of all 4-grams of all continuations |
//! | `perplexity` | exp of the mean of -ln p(token) under the model that nobody steers, over continuations of prompts that name the concept, given those prompts |
//!
//! Controls: the model itself, random directions with steps of the same length, and other features with such steps. All
//! arms draw from the same seeds.

use super::dictionary::Dictionary;
use super::effect::log_probabilities;
use super::steering::{Control, Steering};
use super::step::Step;
use crate::error::InterpretError;
use serde::Serialize;
use tch::{Kind, Tensor};
use untangle_model::{GenerateOptions, Hook, LanguageModel, NoHook, generate_rows, repeated_runs};
use untangle_schema::{BosPolicy, Share};

/// What is continued, and how often.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudyPlan {
    /// Beginnings of texts that have nothing to do with the concept.
    pub prompts: Vec<String>,
    /// A sentence that names the concept; behind a prompt it makes one that names it.
    pub naming: String,
    /// Continuations of every prompt.
    pub continuations: usize,
    /// How they are drawn; the seed is that of the first.
    #[serde(skip)]
    pub generate: GenerateOptions,
    /// Random directions; each continues every prompt as often.
    pub directions: u64,
}

/// What came of one way to write.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arm {
    /// Continuations about the concept.
    pub appears: Share,
    /// Continuations that name it.
    pub names: Share,
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
    /// The features steered.
    pub steered: Arm,
    /// Random directions, all together.
    pub random: Arm,
    /// Other features, all together, each with steps as long.
    pub others: Arm,
}

/// How a continuation is judged.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    /// Whether it is about the concept.
    pub about: &'a dyn Fn(&str) -> bool,
    /// Whether it names the concept.
    pub names: &'a dyn Fn(&str) -> bool,
}

/// A model and dictionaries, and what the model writes by itself.
pub struct Studies<'a> {
    model: &'a LanguageModel,
    dictionaries: &'a [Dictionary<'a>],
    plan: &'a StudyPlan,
    judge: Judge<'a>,
    told: &'a Told<'a>,
    baseline: Arm,
}

/// Is called with the continuations that were written since the last call; an error ends the study.
pub type Told<'a> = dyn Fn(u64) -> Result<(), InterpretError> + 'a;

impl StudyPlan {
    /// Continuations that are written for the model itself and for so many sets of edits, each beside the plan's directions
    /// and so many other features: the same number for every prompt of every arm, and twice that where perplexity is
    /// measured, of the model itself and of the edits.
    pub fn work(&self, sets: usize, others: usize) -> u64 {
        let (baseline, steered, controls) = (2, 2, self.directions + others as u64);
        let arms = baseline + sets as u64 * (steered + controls);
        arms * (self.prompts.len() * self.continuations) as u64
    }
}

impl<'a> Studies<'a> {
    /// Continues the plan's prompts without steering. `told` is told of what is done, [`StudyPlan::work`] in all.
    ///
    /// # Errors
    /// When a dictionary does not belong to the model, or a prompt does not fit.
    pub fn new(
        model: &'a LanguageModel,
        dictionaries: &'a [Dictionary<'a>],
        plan: &'a StudyPlan,
        judge: Judge<'a>,
        told: &'a Told<'a>,
    ) -> Result<Self, InterpretError> {
        dictionaries.iter().try_for_each(|dictionary| dictionary.writes(model).map(drop))?;
        let blank = Tally::default().arm();
        let mut studies = Studies { model, dictionaries, plan, judge, told, baseline: blank };
        studies.baseline = studies.arm(&mut NoHook, true)?;
        Ok(studies)
    }

    /// Studies `steps` beside random directions and beside `others`, features of the first dictionary whose steps are as long.
    ///
    /// # Errors
    /// When a feature does not exist or is steered twice alike.
    pub fn study(&self, steps: &[Step], others: &[usize]) -> Result<Study, InterpretError> {
        let (mut random, mut other) = (Tally::default(), Tally::default());
        let steered = self.steered(steps, true)?;
        for direction in 0..self.plan.directions {
            let control = Control::Random(self.plan.generate.seed.wrapping_add(direction));
            self.write(&mut self.hook(steps)?.as_control(control), false, &mut random)?;
        }
        for feature in others {
            self.dictionaries.first().map_or(Ok(()), |dictionary| dictionary.check_feature(*feature))?;
            self.write(&mut self.hook(steps)?.as_control(Control::Along(*feature)), false, &mut other)?;
        }
        Ok(Study { baseline: self.baseline.clone(), steered, random: random.arm(), others: other.arm() })
    }

    /// What the model writes by itself.
    pub fn baseline(&self) -> &Arm {
        &self.baseline
    }

    /// Steers with `steps` and does without controls; without `perplexity` in half the time.
    ///
    /// # Errors
    /// When a feature does not exist or is steered twice alike.
    pub fn steered(&self, steps: &[Step], perplexity: bool) -> Result<Arm, InterpretError> {
        self.arm(&mut self.hook(steps)?, perplexity)
    }

    fn arm(&self, hook: &mut dyn Hook, perplexity: bool) -> Result<Arm, InterpretError> {
        let mut tally = Tally::default();
        self.write(hook, perplexity, &mut tally)?;
        Ok(tally.arm())
    }
}

/// Counts of one arm.
#[derive(Default)]
struct Tally {
    appears: Share,
    names: Share,
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
            names: self.names,
            repetition: self.repeated as f64 / self.runs.max(1) as f64,
            perplexity: (self.scored > 0).then(|| (self.nats / self.scored as f64).exp()),
            sample: self.sample.unwrap_or_default(),
        }
    }
}

fn count(share: &mut Share, hit: bool) {
    share.trials += 1;
    share.hits += u64::from(hit);
}

impl Studies<'_> {
    fn hook(&self, steps: &[Step]) -> Result<Steering<'_>, InterpretError> {
        Steering::new(self.model, self.dictionaries, steps)
    }

    /// Continues every prompt; where asked for, also those that name the concept, for their perplexity.
    fn write(&self, hook: &mut dyn Hook, perplexity: bool, tally: &mut Tally) -> Result<(), InterpretError> {
        let tokenizer = self.model.tokenizer()?;
        for (number, prompt) in self.plan.prompts.iter().enumerate() {
            let tokens = tokenizer.encode_with_bos(prompt, BosPolicy::Auto)?;
            for added in self.continuations(&tokens, number, hook)? {
                let text = tokenizer.decode(&added)?;
                count(&mut tally.appears, (self.judge.about)(&text));
                count(&mut tally.names, (self.judge.names)(&text));
                let (repeated, runs) = repeated_runs(&added);
                tally.repeated += repeated;
                tally.runs += runs;
                if tally.sample.is_none() {
                    // Decoded together, so that the space before the first new word stays.
                    let all: Vec<u32> = tokens.iter().chain(&added).copied().collect();
                    tally.sample = Some(tokenizer.decode(&all)?);
                }
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
        (self.told)(rows.len() as u64)?;
        Ok(rows.into_iter().map(|row| row.tokens).collect())
    }

    /// Sum of -ln p of the added tokens, given the prompt, by the model that nobody steers.
    fn surprisal(&self, prompt: &[u32], added: &[u32]) -> Result<f64, InterpretError> {
        let tokens: Vec<i64> = prompt.iter().chain(added).map(|id| i64::from(*id)).collect();
        let tokens = Tensor::from_slice(&tokens).to_device(self.model.device());
        let (first, n) = (prompt.len() as i64, added.len() as i64);
        // Nothing follows the last token, which may lie behind the model's last position.
        let read = tokens.narrow(0, 0, first + n - 1).unsqueeze(0);
        let all = log_probabilities(self.model, &read, &mut NoHook)?; // [seq - 1, vocab]
        let targets = tokens.narrow(0, first, n).unsqueeze(1);
        let chosen = all.narrow(0, first - 1, n).gather(1, &targets, false);
        Ok(-chosen.sum(Kind::Double).double_value(&[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_what_is_written() {
        let generate = GenerateOptions { max_new_tokens: 3, ..GenerateOptions::default() };
        let prompts = vec!["a".to_owned(), "b".to_owned()];
        let plan = StudyPlan { prompts, naming: "c".to_owned(), continuations: 5, generate, directions: 4 };
        // Ten continuations of each arm: two of the model itself, and of every set of edits two, four and three.
        assert_eq!((plan.work(0, 3), plan.work(1, 3), plan.work(2, 3)), (20, 110, 200));
    }
}
