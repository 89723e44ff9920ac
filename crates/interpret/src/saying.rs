//! What does turning a feature up make the model say, how surely, and does it fire where that is said? One pass for each feature.
//!
//! Behind a neutral text, q is the distribution of the next token when [`AMPLIFIED`] times the feature's largest activation is
//! added to it at every token, p the one without, V the number of tokens, and T the [`SAID`] tokens that its direction raises most
//! ([`crate::logits`]).
//!
//! - `output`: S_out = (1 - min over t in T of rank_q(t) / V) * max over t in T of q(t), 0 to 1, rank 0 being the likeliest (Arad et
//!   al. 2025, arXiv 2505.20063, section 3.2); its floor is the same of p, its control the same of another feature's T
//! - `confidence`: C(q) - C(p) with C(q) = -(1/k) sum of ln q over the k = [`LIKELIEST`] likeliest tokens, in nats: how much surer of its next
//!   token turning the feature up makes the model (Wang et al. 2025, arXiv 2510.03659)
//! - `agreement`: share of the feature's strongest examples that fire most on a token of T, 0 to 1: whether it fires where it says
//!   what it says (S_in of Arad et al.), with its interval

use crate::error::InterpretError;
use crate::intervene::flat;
use crate::label::{Labeller, Scorer};
use crate::progress::Progress;
use crate::steer::{Dictionary, Edit, Operator, Steering, Step};
use crate::vocabulary::Vocabulary;
use std::collections::{BTreeMap, BTreeSet};
use tch::{Kind, Tensor};
use untangle_model::{LanguageModel, NoHook};
use untangle_schema::{FeatureCard, Label, LabelKind, LogitEffect, Observer, Score, Share, Unit};

/// The source of labels that are tokens raised by the direction alone.
pub const SOURCE: &str = "logit-lens";
/// Names of the scores.
pub const OUTPUT: &str = "output";
/// As [`OUTPUT`].
pub const CONFIDENCE: &str = "confidence";
/// As [`OUTPUT`].
pub const AGREEMENT: &str = "agreement";

/// How far a feature is turned up, in multiples of its largest activation.
pub const AMPLIFIED: f32 = 2.0;
/// Tokens in T.
pub const SAID: usize = 20;
/// Tokens that a label names.
const NAMED: usize = 5;
/// Tokens over which confidence is a mean.
pub const LIKELIEST: usize = 20;
/// Features in one pass.
const BATCH: usize = 32;
/// Examples that agreement is measured on at least.
const EXAMPLES: usize = 10;

/// What came of turning one feature up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Said {
    /// S_out.
    pub output: f64,
    /// S_out of the model itself.
    pub floor: f64,
    /// S_out with the tokens of another feature.
    pub control: f64,
    /// The change of confidence, in nats.
    pub confidence: f64,
}

/// A feature that is turned up.
#[derive(Clone, Debug)]
pub struct Raising {
    /// Its largest activation; nothing is asked of one that never fires.
    pub max: f32,
    /// The tokens that its direction raises most, most first.
    pub raised: Vec<LogitEffect>,
}

/// Turns every feature up behind `neutral`, tokens of a text. None of features that never fire or raise no token.
///
/// # Errors
/// When the dictionary does not belong to the model, the text does not fit, or the observer asks to stop.
pub fn said(
    model: &LanguageModel,
    dictionary: Dictionary<'_>,
    features: &[Raising],
    neutral: &[u32],
    observer: &dyn Observer,
) -> Result<Vec<Option<Said>>, InterpretError> {
    let mut found = vec![None; features.len()];
    if neutral.is_empty() || !model.has_unembedding() {
        return Ok(found);
    }
    let asked: Vec<usize> = (0..features.len()).filter(|at| features[*at].can_be_asked()).collect();
    let mut progress = Progress::start(observer, "turn features up", Unit::Examples, asked.len() as u64);
    let neutral: Vec<i64> = neutral.iter().map(|id| i64::from(*id)).collect();
    let dictionaries = [dictionary];
    let itself = next(model, &neutral, 1, &mut NoHook)?.remove(0);
    for (number, block) in asked.chunks(BATCH).enumerate() {
        let steps: Vec<Vec<Step>> = block.iter().map(|at| vec![features[*at].step(*at)]).collect();
        let sets: Vec<&[Step]> = steps.iter().map(Vec::as_slice).collect();
        let mut hook = Steering::by_row(model, &dictionaries, &sets)?.everywhere();
        for (place, row) in next(model, &neutral, block.len(), &mut hook)?.into_iter().enumerate() {
            // The feature half of all away, which is another one wherever there are two.
            let other = asked[(number * BATCH + place + asked.len() / 2) % asked.len()];
            let (own, other) = (&features[block[place]], &features[other]);
            found[block[place]] = Some(Said {
                output: row.score(&own.raised),
                floor: itself.score(&own.raised),
                control: row.score(&other.raised),
                confidence: row.confidence() - itself.confidence(),
            });
        }
        progress.advance(block.len() as u64)?;
    }
    progress.finish();
    Ok(found)
}

impl Raising {
    fn can_be_asked(&self) -> bool {
        self.max > 0.0 && !self.raised.is_empty()
    }

    fn step(&self, feature: usize) -> Step {
        Step::from(Edit { feature, operator: Operator::Add(AMPLIFIED * self.max) })
    }
}

/// A distribution of the next token.
struct Next {
    /// ln p of every token.
    log_p: Vec<f64>,
    /// The same, the likeliest first.
    sorted: Vec<f64>,
}

impl Next {
    fn new(log_p: Vec<f64>) -> Self {
        let mut sorted = log_p.clone();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        Self { log_p, sorted }
    }

    /// S_out with T as given.
    fn score(&self, raised: &[LogitEffect]) -> f64 {
        let of = |effect: &LogitEffect| self.log_p.get(effect.id as usize).copied();
        let best = raised.iter().take(SAID).filter_map(of).fold(f64::NEG_INFINITY, f64::max);
        let rank = self.sorted.partition_point(|log_p| *log_p > best);
        (1.0 - rank as f64 / self.sorted.len().max(1) as f64) * best.exp()
    }

    fn confidence(&self) -> f64 {
        let likeliest = &self.sorted[..LIKELIEST.min(self.sorted.len())];
        -likeliest.iter().sum::<f64>() / likeliest.len().max(1) as f64
    }
}

/// The distribution behind the text, of each of so many rows.
fn next(
    model: &LanguageModel,
    text: &[i64],
    rows: usize,
    hook: &mut dyn untangle_model::Hook,
) -> Result<Vec<Next>, InterpretError> {
    let tokens = Tensor::from_slice(text).to_device(model.device()).unsqueeze(0).repeat([rows as i64, 1]);
    let log_p = tch::no_grad(|| -> Result<Tensor, InterpretError> {
        let logits = model.forward(&tokens, hook)?;
        let logits = logits.expect("a hook without a last point does not end a pass"); // [rows, seq, vocab]
        Ok(logits.select(1, text.len() as i64 - 1).to_kind(Kind::Double).log_softmax(-1, Kind::Double))
    })?;
    let vocab = log_p.size()[1].max(1) as usize;
    Ok(flat::<f64>(&log_p)?.chunks(vocab).map(|row| Next::new(row.to_vec())).collect())
}

/// Labels by the tokens that a direction raises.
#[derive(Clone, Copy, Debug)]
pub struct LensLabeller<'a>(pub &'a Vocabulary);

impl Labeller for LensLabeller<'_> {
    fn kind(&self) -> LabelKind {
        LabelKind::Output
    }

    fn source(&self) -> &str {
        SOURCE
    }

    fn label(&mut self, card: &FeatureCard) -> Result<Option<String>, InterpretError> {
        let mut seen = BTreeSet::new();
        let words = card.top_logits.iter().map(|effect| self.0.quoted(effect.id));
        let words: Vec<String> = words.filter(|word| seen.insert(word.to_lowercase())).take(NAMED).collect();
        Ok((card.max_activation > 0.0 && !words.is_empty()).then(|| format!("makes likelier: {}", words.join(", "))))
    }
}

/// Scores of labels by what turning the features up made the model say.
#[derive(Clone, Copy, Debug)]
pub struct SaidScorer<'a> {
    /// Of every feature.
    pub said: &'a [Option<Said>],
    /// Whose score: [`OUTPUT`], [`CONFIDENCE`] or [`AGREEMENT`].
    pub name: &'static str,
    /// The [`SAID`] tokens that every feature raises most.
    pub features: &'a [Raising],
}

impl Scorer for SaidScorer<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn score(&mut self, card: &FeatureCard, label: &Label) -> Result<Option<Score>, InterpretError> {
        if label.kind != LabelKind::Output {
            return Ok(None);
        }
        let score = |value, interval, floor, control, n| Score {
            judge: None,
            scorer: self.name.to_owned(),
            value,
            interval,
            floor,
            control,
            n,
            detail: BTreeMap::new(),
        };
        let said = self.said[card.feature];
        Ok(match self.name {
            OUTPUT => said.map(|said| score(said.output, None, Some(said.floor), Some(said.control), 1)),
            CONFIDENCE => said.map(|said| score(said.confidence, None, Some(0.0), None, 1)),
            _ => agreement(card, &self.features[card.feature].raised)
                .map(|share| score(share.value(), Some(share.interval()), None, None, share.trials)),
        })
    }
}

/// The strongest examples that fire most on a raised token; none where there are too few.
fn agreement(card: &FeatureCard, raised: &[LogitEffect]) -> Option<Share> {
    let said: BTreeSet<&str> = raised.iter().take(SAID).map(|effect| effect.token.as_str()).collect();
    let peaks = card.examples.iter().filter_map(|example| example.tokens.get(example.peak));
    let share = Share::of(peaks.map(|token| said.contains(token.as_str())));
    (share.trials as usize >= EXAMPLES).then_some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(id: u32) -> LogitEffect {
        LogitEffect { id, token: format!(" {id}"), effect: 1.0 }
    }

    #[test]
    fn scores_by_hand() {
        let next = Next::new([0.5, 0.1, 0.3, 0.1].map(f64::ln).to_vec());
        // The best of tokens 1 and 2 is second of four.
        assert!((next.score(&[effect(1), effect(2)]) - 0.75 * 0.3).abs() < 1e-12);
        assert!((next.score(&[effect(0)]) - 0.5).abs() < 1e-12);
        let mean = -[0.5f64, 0.1, 0.3, 0.1].iter().map(|p| p.ln()).sum::<f64>() / 4.0;
        assert!((next.confidence() - mean).abs() < 1e-12);
    }
}
