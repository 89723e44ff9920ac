//! What a dictionary costs the model: cross-entropy with the reconstruction spliced in.
//!
//! CE is the mean over predicted tokens of `-ln p(token | tokens before)`, in nats, pooled in f64. A transcoder's prediction
//! takes the place of what it predicts, in the pass that it is made from.
//!
//! - `nats_lost = CE_sae - CE_clean`: lower is better; the number to lead with
//! - `recovered = (CE_guess - CE_sae) / (CE_guess - CE_clean)`, `CE_guess = min(CE_zero, ln vocab)`: 1 costs nothing, 0 is as
//!   bad as knowing nothing; higher is better. Zeroing an activation can be far worse than guessing every token alike; a
//!   fraction of that would call a dictionary good that doubles the loss. So the fraction is of the better of the two, the
//!   smaller one, and says of which ([`Guess`]). Not a number where the model itself is no better than the guess
//! - `recovered_mean`: the same with the mean activation instead
//!
//! Special tokens pass through all interventions as they are, and are not predicted tokens. Intervals are bootstraps
//! over contexts.

use crate::bootstrap::{self, Interval};
use crate::error::InterpretError;
use crate::intervene::{Intervention, Scope, flat, special_tokens};
use crate::point::{check_model, written_point_of};
use crate::progress::Progress;
use crate::splice::{Mean, Splice, Watch, Zero};
use serde::Serialize;
use tch::{Kind, Tensor};
use untangle_model::{Hook, LanguageModel};
use untangle_sae::Sae;
use untangle_schema::{HookPoint, Observer, Unit};

/// Tokens that the model reads together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Whether the prediction of each token counts.
    pub counts: Vec<bool>,
}

/// What knowing nothing of the activation is taken to cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Guess {
    /// The loss with zeros in its place.
    Zero,
    /// That of a guess to which every token of the vocabulary is as likely.
    Uniform,
}

/// Cross-entropies, and what follows from them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CeRecovered {
    /// Contexts read.
    pub contexts: u64,
    /// Predicted tokens.
    pub tokens: u64,
    /// Nats per token lost to the dictionary.
    pub nats_lost: f64,
    /// Its 95 % interval.
    pub nats_lost_interval: Option<Interval>,
    /// Nats per token of the model as it is.
    pub ce_clean: f64,
    /// With reconstructions spliced in.
    pub ce_sae: f64,
    /// With zeros.
    pub ce_zero: f64,
    /// With the mean activation.
    pub ce_mean: f64,
    /// Of a guess to which all tokens are as likely: the logarithm of their number.
    pub ce_uniform: f64,
    /// What `recovered` is a fraction of: the smaller of `ce_zero` and `ce_uniform`.
    pub recovered_from: Guess,
    /// Fraction of that loss, beyond the model's own, that is recovered.
    pub recovered: f64,
    /// Its 95 % interval.
    pub recovered_interval: Option<Interval>,
    /// Fraction of the loss of mean ablation that is recovered.
    pub recovered_mean: f64,
}

/// Logits of one batch, elements at most, which bounds the memory of a pass; a single context may exceed it.
const MAX_LOGITS: usize = 1 << 22;

/// Sums of one context: nats of the four runs, then predicted tokens.
type Sums = [f64; 5];
/// Nats and predicted tokens of one context.
type Nats = (f64, f64);

/// Measures what `sae` costs `model` on `contexts`.
///
/// # Errors
/// When the dictionary does not belong to the model, nothing is predicted, or the user asks to stop.
pub fn ce_recovered(
    model: &LanguageModel,
    sae: &Sae,
    contexts: &[Context],
    observer: &dyn Observer,
) -> Result<CeRecovered, InterpretError> {
    CeBaselines::measure(model, sae, contexts.to_vec(), observer)?.recovered(model, sae, observer)
}

/// What a model loses on contexts without a dictionary: the same for all dictionaries that write at one hook point.
#[derive(Clone, Debug)]
pub struct CeBaselines {
    contexts: Vec<Context>,
    written: HookPoint,
    width: usize,
    clean: Vec<Nats>,
    zeroed: Vec<Nats>,
    averaged: Vec<Nats>,
}

impl CeBaselines {
    /// Runs `model` on `contexts` as it is, and with zeros and the mean where `sae` writes.
    ///
    /// # Errors
    /// When the dictionary does not belong to the model, or the user asks to stop.
    pub fn measure(
        model: &LanguageModel,
        sae: &Sae,
        contexts: Vec<Context>,
        observer: &dyn Observer,
    ) -> Result<Self, InterpretError> {
        check_model(sae, model)?;
        let mut runs = Runs::new(model, &contexts, "model without a dictionary", 3, observer);
        let mut watch = Intervention::of_dictionary(model, sae, Scope::All, Watch::new(sae.d_out()))?;
        let clean = runs.run(&mut watch)?;
        let mean = watch.intervention().mean();
        let zeroed = runs.run(&mut Intervention::of_dictionary(model, sae, Scope::All, Zero)?)?;
        let averaged = runs.run(&mut Intervention::of_dictionary(model, sae, Scope::All, Mean { mean })?)?;
        runs.progress.finish();
        Ok(CeBaselines { written: written_point_of(sae)?, width: sae.d_out(), contexts, clean, zeroed, averaged })
    }

    /// Whether these are the baselines of `sae` on `contexts`.
    pub fn are_of(&self, sae: &Sae, contexts: &[Context]) -> bool {
        let written = written_point_of(sae).is_ok_and(|written| written == self.written);
        written && self.width == sae.d_out() && self.contexts == contexts
    }

    /// Measures what `sae` costs `model`, which is the one that these were measured on.
    ///
    /// # Errors
    /// As [`ce_recovered`].
    pub fn recovered(
        &self,
        model: &LanguageModel,
        sae: &Sae,
        observer: &dyn Observer,
    ) -> Result<CeRecovered, InterpretError> {
        check_model(sae, model)?;
        let mut runs = Runs::new(model, &self.contexts, "splice", 1, observer);
        let spliced = runs.run(&mut Intervention::of_dictionary(model, sae, Scope::All, Splice::new(sae))?)?;
        runs.progress.finish();
        let sums = |i: usize| [self.clean[i].0, spliced[i].0, self.zeroed[i].0, self.averaged[i].0, self.clean[i].1];
        summarise((0..spliced.len()).map(sums).collect(), (model.vocab_size() as f64).ln())
    }
}

/// Runs of a model over the same contexts.
struct Runs<'a> {
    model: &'a LanguageModel,
    batches: Vec<Vec<&'a Context>>,
    special: Vec<bool>,
    progress: Progress<'a>,
}

impl<'a> Runs<'a> {
    fn new(
        model: &'a LanguageModel,
        contexts: &'a [Context],
        task: &str,
        runs: u64,
        observer: &'a dyn Observer,
    ) -> Self {
        let total = contexts.iter().map(|context| context.tokens.len() as u64).sum::<u64>();
        let batches = batches(contexts, model.vocab_size());
        let progress = Progress::start(observer, task, Unit::Tokens, runs * total);
        Runs { model, batches, special: special_tokens(model), progress }
    }

    fn run(&mut self, hook: &mut dyn Hook) -> Result<Vec<Nats>, InterpretError> {
        let mut nats = Vec::new();
        for batch in &self.batches {
            nats.extend(nats_of(self.model, batch, &self.special, hook)?);
            self.progress.advance(batch.iter().map(|context| context.tokens.len() as u64).sum())?;
        }
        Ok(nats)
    }
}

/// Runs of contexts of equal length that fit into one pass.
fn batches(contexts: &[Context], vocab_size: usize) -> Vec<Vec<&Context>> {
    let mut batches: Vec<Vec<&Context>> = Vec::new();
    for context in contexts.iter().filter(|context| context.tokens.len() > 1) {
        let most = (MAX_LOGITS / (context.tokens.len() * vocab_size)).max(1);
        match batches.last_mut() {
            Some(batch) if batch.len() < most && batch[0].tokens.len() == context.tokens.len() => batch.push(context),
            _ => batches.push(vec![context]),
        }
    }
    batches
}

/// Nats and predicted tokens of every context of a batch.
fn nats_of(
    model: &LanguageModel,
    batch: &[&Context],
    special: &[bool],
    hook: &mut dyn Hook,
) -> Result<Vec<Nats>, InterpretError> {
    let seq = batch[0].tokens.len();
    let ids: Vec<i64> = batch.iter().flat_map(|context| &context.tokens).map(|id| i64::from(*id)).collect();
    let tokens = Tensor::from_slice(&ids).view([-1, seq as i64]).to_device(model.device()); // [batch, seq]
    let nats = tch::no_grad(|| -> Result<Vec<f64>, InterpretError> {
        let logits = model.forward(&tokens, hook)?.expect("a hook without a last point does not end a pass");
        let predictions = logits.narrow(1, 0, seq as i64 - 1).log_softmax(-1, Kind::Float); // [batch, seq - 1, vocab]
        let targets = tokens.narrow(1, 1, seq as i64 - 1).unsqueeze(-1); // [batch, seq - 1, 1]
        flat(&(-predictions.gather(-1, &targets, false)).to_kind(Kind::Double))
    })?;
    let of_context = |(context, nats): (&&Context, &[f64])| {
        let is_special = |id: u32| special.get(id as usize).copied().unwrap_or(false);
        let counted = (1..seq).filter(|at| context.counts[*at] && !is_special(context.tokens[*at]));
        counted.fold((0.0, 0.0), |(sum, n), at| (sum + nats[at - 1], n + 1.0))
    };
    Ok(batch.iter().zip(nats.chunks_exact(seq - 1)).map(of_context).collect())
}

/// `uniform` is the loss of a guess to which all tokens are as likely.
fn summarise(sums: Vec<Sums>, uniform: f64) -> Result<CeRecovered, InterpretError> {
    let total = sums.iter().fold([0.0; 5], |total: Sums, sums| std::array::from_fn(|i| total[i] + sums[i]));
    let [clean, sae, zero, mean, tokens] = total;
    if tokens == 0.0 {
        return Err(InterpretError::NothingPredicted { contexts: sums.len() });
    }
    // Chosen once, so that the interval is that of one number.
    let from = if uniform < zero / tokens { Guess::Uniform } else { Guess::Zero };
    let recovered = |s: &[f64]| {
        let guess = if from == Guess::Uniform { uniform * s[4] } else { s[2] };
        fraction(guess, s[1], s[0])
    };
    let nats_lost = |s: &[f64]| (s[1] - s[0]) / s[4];
    let groups: Vec<Vec<f64>> = sums.iter().filter(|sums| sums[4] > 0.0).map(|sums| sums.to_vec()).collect();
    Ok(CeRecovered {
        contexts: groups.len() as u64,
        tokens: tokens as u64,
        nats_lost: nats_lost(&total),
        nats_lost_interval: bootstrap::interval(&groups, 0, nats_lost),
        ce_clean: clean / tokens,
        ce_sae: sae / tokens,
        ce_zero: zero / tokens,
        ce_mean: mean / tokens,
        ce_uniform: uniform,
        recovered_from: from,
        recovered: recovered(&total),
        recovered_interval: bootstrap::interval(&groups, 0, recovered).filter(|_| !recovered(&total).is_nan()),
        recovered_mean: fraction(mean, sae, clean),
    })
}

/// The part of `worse - clean` that `sae` recovers; not a number where the model itself is not better.
fn fraction(worse: f64, sae: f64, clean: f64) -> f64 {
    if worse > clean { (worse - sae) / (worse - clean) } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_that_computed_by_hand() {
        // Two contexts of 2 and 3 tokens: clean 5, spliced 6, zeroed 15, mean 10 nats.
        let sums = vec![[2.0, 2.5, 6.0, 4.0, 2.0], [3.0, 3.5, 9.0, 6.0, 3.0]];
        let found = summarise(sums.clone(), 4.0).expect("tokens");
        assert_eq!((found.contexts, found.tokens), (2, 5));
        assert_eq!([found.ce_clean, found.ce_sae, found.ce_zero, found.ce_mean], [1.0, 1.2, 3.0, 2.0]);
        assert_eq!((found.recovered, found.recovered_mean, found.nats_lost), (0.9, 0.8, 0.2));
        assert_eq!((found.recovered_from, found.ce_uniform), (Guess::Zero, 4.0));
        assert!(found.recovered_interval.is_none(), "two contexts are too few");
        assert!(matches!(summarise(vec![[0.0; 5]], 4.0), Err(InterpretError::NothingPredicted { contexts: 1 })));
        // A guess that costs 1.5 nats knows more than zeros do: (7.5 - 6) / (7.5 - 5).
        let found = summarise(sums.clone(), 1.5).expect("tokens");
        assert_eq!((found.recovered_from, found.recovered), (Guess::Uniform, 0.6));
        assert!(summarise(sums, 0.9).expect("tokens").recovered.is_nan(), "the model is worse than the guess");
    }

    #[test]
    fn where_zeroing_is_catastrophic_a_doubled_loss_is_no_recovery() {
        // Ten contexts of 10 tokens: 2.2 nats a token, 4.4 with the dictionary, 23.2 with zeros; a guess has 4.6.
        let found = summarise(vec![[22.0, 44.0, 232.0, 60.0, 10.0]; 10], 4.6).expect("tokens");
        assert_eq!(found.recovered_from, Guess::Uniform);
        assert!((found.recovered - 0.2 / 2.4).abs() < 1e-12 && (found.nats_lost - 2.2).abs() < 1e-12, "{found:?}");
        let interval = found.recovered_interval.expect("enough contexts");
        assert!((interval.low - found.recovered).abs() < 1e-9 && (interval.high - found.recovered).abs() < 1e-9);
    }
}
