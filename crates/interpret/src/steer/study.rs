//! Does a feature make the model write about its concept, and does the text stay one? Counted over many continuations.
//!
//! | figure | over |
//! |---|---|
//! | `appears` | continuations of neutral prompts that are about the concept |
//! | `names` | those of them that hold its name |
//! | `repetition` | 4-grams of tokens of a continuation that stood in it before, of all 4-grams of all continuations |
//! | `perplexity` | exp of the mean of -ln p(token) under the model that nobody steers, over continuations of prompts that name the concept, given those prompts |
//! | `kl` | mean over all tokens written of KL(p || q), with p the next token's distribution by the model itself behind the same words and q the one that was drawn from (before the temperature) |
//! | `log_odds` | mean over the same of `logit q(T) - logit p(T)`, with T the tokens that are followed and logit x = ln(x / (1 - x)) |
//!
//! Controls: the model itself, random directions with steps of the same length, and other features with such steps. Rivals:
//! the plain instruction, and a vector of the difference that the instruction makes ([`Studies::told_to`],
//! [`Studies::contrast_vector`]). All arms draw from the same seeds.

use super::arm::{Arm, Distance, Naming, Text, Texts};
use super::dictionary::Dictionary;
use super::effect::log_probabilities;
use super::steering::{Control, Steering};
use super::step::{AlongOperator, Change, Direction, Step, norm};
use crate::error::InterpretError;
use crate::vectors::fit::{Method, vector};
use serde::Serialize;
use tch::{Kind, Tensor};
use untangle_model::{GenerateOptions, Hook, LanguageModel, NoHook, Recorder, generate_rows, repeated_runs};
use untangle_schema::{BosPolicy, HookPoint};

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
    /// Tokens whose log-odds are followed, where distances from the model itself are measured at all.
    followed: Option<Vec<i64>>,
}

/// Is called with the continuations that were written since the last call; an error ends the study.
pub type Told<'a> = dyn Fn(u64) -> Result<(), InterpretError> + 'a;

/// A way to write.
#[derive(Clone, Copy, Default)]
struct Way<'s> {
    steps: &'s [Step],
    /// Whose steps are taken in another direction.
    control: Option<&'s Control>,
    /// What stands before every prompt.
    before: Option<&'s str>,
}

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
        let blank = Texts::default().arm();
        let mut studies = Studies { model, dictionaries, plan, judge, told, baseline: blank, followed: None };
        studies.baseline = studies.arm(Way::default(), true)?;
        Ok(studies)
    }

    /// The same, which also measures how far every way to write is from the model itself, and what becomes of these tokens.
    #[must_use]
    pub fn with_distances(self, followed: &[u32]) -> Self {
        let followed = followed.iter().map(|id| i64::from(*id)).collect();
        Self { followed: Some(followed), ..self }
    }

    /// Studies `steps` beside random directions and beside `others`, features of the first dictionary whose steps are as long.
    ///
    /// # Errors
    /// When a feature does not exist or is steered twice alike.
    pub fn study(&self, steps: &[Step], others: &[usize]) -> Result<Study, InterpretError> {
        let (mut random, mut other) = (Texts::default(), Texts::default());
        let steered = self.steered(steps, true)?;
        for direction in 0..self.plan.directions {
            let control = Control::Random(self.plan.generate.seed.wrapping_add(direction));
            self.write(Way { steps, control: Some(&control), before: None }, false, &mut random)?;
        }
        for feature in others {
            self.dictionaries.first().map_or(Ok(()), |dictionary| dictionary.check_feature(*feature))?;
            let control = Control::Along(*feature);
            self.write(Way { steps, control: Some(&control), before: None }, false, &mut other)?;
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
        self.arm(Way { steps, ..Way::default() }, perplexity)
    }

    /// Steers nothing, and has `instruction` stand before every prompt.
    ///
    /// # Errors
    /// When a prompt does not fit.
    pub fn told_to(&self, instruction: &str) -> Result<Arm, InterpretError> {
        self.arm(Way { before: Some(instruction), ..Way::default() }, true)
    }

    /// The mean difference at a hook point between what the model writes behind prompts that name the concept and what it writes
    /// behind those that do not, as a step that adds it once; none where they do not differ.
    ///
    /// # Errors
    /// When the model has no such place.
    pub fn contrast_vector(&self, point: HookPoint) -> Result<Option<Step>, InterpretError> {
        let Texts { neutral, naming, .. } = &self.baseline.texts;
        let naming = self.means(point, naming.iter().map(|text| &text.text))?;
        let neutral = self.means(point, neutral.iter().map(|text| &text.text))?;
        let d = self.model.width_of(point)?;
        let Some(found) =
            (!naming.is_empty() && !neutral.is_empty()).then(|| vector(Method::Mean, &naming, &neutral, d)).flatten()
        else {
            return Ok(None);
        };
        let length = norm(&found) as f32;
        let unit = found.iter().map(|x| x / length).collect();
        let directions = vec![Direction { point, unit }];
        let operator = AlongOperator::Add(length);
        Ok(Some(Step { maximum: Some(length), ..Step::new(Change::Along { directions, operator }) }))
    }

    fn arm(&self, way: Way<'_>, perplexity: bool) -> Result<Arm, InterpretError> {
        let mut texts = Texts::default();
        self.write(way, perplexity, &mut texts)?;
        Ok(texts.arm())
    }
}

impl Studies<'_> {
    fn hook(&self, way: Way<'_>) -> Result<Steering<'_>, InterpretError> {
        let hook = Steering::new(self.model, self.dictionaries, way.steps)?;
        Ok(match way.control {
            Some(control) => hook.as_control(control.clone()),
            None => hook,
        })
    }

    /// Continues every prompt; where asked for, also those that name the concept, for their perplexity.
    fn write(&self, way: Way<'_>, perplexity: bool, texts: &mut Texts) -> Result<(), InterpretError> {
        texts.has_kl = self.followed.is_some();
        texts.has_log_odds = self.followed.as_ref().is_some_and(|followed| !followed.is_empty());
        let tokenizer = self.model.tokenizer()?;
        for (number, prompt) in self.plan.prompts.iter().enumerate() {
            let own = tokenizer.encode_with_bos(prompt, BosPolicy::Auto)?;
            let read = self.behind(way, prompt)?;
            for added in self.continuations(&read, number, way)? {
                texts.neutral.push(self.text(way, (&own, &read), &added)?);
                if texts.sample.is_none() {
                    // Decoded together, so that the space before the first new word stays.
                    let all: Vec<u32> = own.iter().chain(&added).copied().collect();
                    texts.sample = Some(tokenizer.decode(&all)?);
                }
            }
            if perplexity {
                let naming = format!("{prompt} {}", self.plan.naming);
                let own = tokenizer.encode_with_bos(&naming, BosPolicy::Auto)?;
                let read = self.behind(way, &naming)?;
                for added in self.continuations(&read, number, way)?.iter().filter(|added| !added.is_empty()) {
                    let (nats, text) = (self.surprisal(&own, added)?, tokenizer.decode(added)?);
                    texts.naming.push(Naming { nats, tokens: added.len(), text });
                }
            }
        }
        Ok(())
    }

    /// A prompt as it is read by this way to write.
    fn behind(&self, way: Way<'_>, prompt: &str) -> Result<Vec<u32>, InterpretError> {
        let text = way.before.map_or_else(|| prompt.to_owned(), |before| format!("{before} {prompt}"));
        Ok(self.model.tokenizer()?.encode_with_bos(&text, BosPolicy::Auto)?)
    }

    fn text(&self, way: Way<'_>, prompts: (&[u32], &[u32]), added: &[u32]) -> Result<Text, InterpretError> {
        let text = self.model.tokenizer()?.decode(added)?;
        let (repeated, runs) = repeated_runs(added);
        Ok(Text {
            about: (self.judge.about)(&text),
            names: (self.judge.names)(&text),
            repeated,
            runs,
            distance: self.distance(way, prompts, added)?,
            text,
        })
    }

    fn continuations(&self, prompt: &[u32], number: usize, way: Way<'_>) -> Result<Vec<Vec<u32>>, InterpretError> {
        let first = self.plan.generate.seed.wrapping_add((number * self.plan.continuations) as u64);
        let seeds: Vec<u64> = (0..self.plan.continuations as u64).map(|seed| first.wrapping_add(seed)).collect();
        let mut hook = self.hook(way)?;
        let rows = generate_rows(self.model, prompt, &self.plan.generate, &seeds, &mut hook, &mut |_, _| {})?;
        (self.told)(rows.len() as u64)?;
        Ok(rows.into_iter().map(|row| row.tokens).collect())
    }

    /// How far this way to write is from the model itself where `added` was written, `own` being what that reads before it and
    /// `read` what this way reads.
    fn distance(&self, way: Way<'_>, (own, read): (&[u32], &[u32]), added: &[u32]) -> Result<Distance, InterpretError> {
        let Some(followed) = self.followed.as_ref().filter(|_| !added.is_empty()) else {
            return Ok(Distance::default());
        };
        let p = self.written(own, added, &mut NoHook)?; // [added, vocab], as q
        let q = self.written(read, added, &mut self.hook(way)?.behind(&[read.len()]))?;
        let kl = (p.exp() * (&p - &q)).sum(Kind::Double).double_value(&[]);
        let log_odds = match followed.is_empty() {
            true => 0.0,
            false => {
                let followed = Tensor::from_slice(followed).to_device(p.device());
                let logit = |log_p: &Tensor| {
                    let mass = log_p.index_select(1, &followed).exp().sum_dim_intlist(1, false, Kind::Double);
                    let mass = mass.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON);
                    (mass.log() - (-&mass).log1p()).sum(Kind::Double).double_value(&[])
                };
                logit(&q) - logit(&p)
            }
        };
        // Rounding may leave a hair below 0; what is not a number stays so.
        Ok(Distance { kl: if kl < 0.0 { 0.0 } else { kl }, log_odds, tokens: added.len() })
    }

    /// Log-probabilities of the next token wherever one was added behind a prompt, f64 `[added, vocab]`.
    fn written(&self, prompt: &[u32], added: &[u32], hook: &mut dyn Hook) -> Result<Tensor, InterpretError> {
        let tokens: Vec<i64> = prompt.iter().chain(added).map(|id| i64::from(*id)).collect();
        let (first, n) = (prompt.len() as i64, added.len() as i64);
        // Nothing follows the last token, which may lie behind the model's last position.
        let read = Tensor::from_slice(&tokens[..tokens.len() - 1]).to_device(self.model.device()).unsqueeze(0);
        let all = log_probabilities(self.model, &read, hook)?; // [seq - 1, vocab]
        Ok(all.narrow(0, first - 1, n))
    }

    /// Sum of -ln p of the added tokens, given the prompt, by the model that nobody steers.
    fn surprisal(&self, prompt: &[u32], added: &[u32]) -> Result<f64, InterpretError> {
        let log_p = self.written(prompt, added, &mut NoHook)?;
        let targets: Vec<i64> = added.iter().map(|id| i64::from(*id)).collect();
        let targets = Tensor::from_slice(&targets).to_device(self.model.device()).unsqueeze(1);
        Ok(-log_p.gather(1, &targets, false).sum(Kind::Double).double_value(&[]))
    }

    /// The mean activation of every text, `[texts, d]`; of texts without a token nothing.
    fn means<'t>(&self, point: HookPoint, texts: impl Iterator<Item = &'t String>) -> Result<Vec<f32>, InterpretError> {
        let (mut rows, d) = (Vec::new(), self.model.width_of(point)?);
        for text in texts {
            let ids: Vec<i64> = self.model.tokenizer()?.encode(text)?.iter().map(|id| i64::from(*id)).collect();
            if ids.is_empty() {
                continue;
            }
            let ids = Tensor::from_slice(&ids).unsqueeze(0).to_device(self.model.device());
            let mut recorder = Recorder::new(vec![point]);
            tch::no_grad(|| self.model.forward(&ids, &mut recorder))?;
            let columns = recorder.columns();
            let Some(column) = columns.iter().next() else { continue };
            let n = (column.len() / d).max(1) as f64;
            rows.extend((0..d).map(|i| (column.chunks_exact(d).map(|row| f64::from(row[i])).sum::<f64>() / n) as f32));
        }
        Ok(rows)
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
