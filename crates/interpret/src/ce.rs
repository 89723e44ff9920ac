//! What a dictionary costs the model: cross-entropy with the reconstruction spliced in.
//!
//! CE is the mean over predicted tokens of `-ln p(token | tokens before)`, in nats, pooled in f64:
//!
//! A transcoder's prediction takes the place of what it predicts, in the pass that it is made from.
//!
//! - `recovered = (CE_zero - CE_sae) / (CE_zero - CE_clean)`: 1 costs nothing, 0 is as bad as zeroing; higher is better
//! - `recovered_mean`: the same with the mean activation instead of zeros, a harder baseline where zero is far off
//! - `nats_lost = CE_sae - CE_clean`: lower is better; the number to trust where zeroing is catastrophic
//!
//! Special tokens pass through all interventions as they are, and are not predicted tokens. Intervals are bootstraps
//! over contexts.

use crate::bootstrap::{self, Interval};
use crate::error::InterpretError;
use crate::intervene::{Intervention, Scope, flat, special_tokens};
use crate::point::check_model;
use crate::progress::Progress;
use crate::splice::{Mean, Splice, Watch, Zero};
use serde::Serialize;
use tch::{Kind, Tensor};
use untangle_model::{Hook, LanguageModel};
use untangle_sae::Sae;
use untangle_schema::{Observer, Unit};

/// Tokens that the model reads together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Whether the prediction of each token counts.
    pub counts: Vec<bool>,
}

/// Cross-entropies, and what follows from them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CeRecovered {
    /// Contexts read.
    pub contexts: u64,
    /// Predicted tokens.
    pub tokens: u64,
    /// Nats per token of the model as it is.
    pub ce_clean: f64,
    /// With reconstructions spliced in.
    pub ce_sae: f64,
    /// With zeros.
    pub ce_zero: f64,
    /// With the mean activation.
    pub ce_mean: f64,
    /// Fraction of the loss of zeroing that is recovered.
    pub recovered: f64,
    /// Fraction of the loss of mean ablation that is recovered.
    pub recovered_mean: f64,
    /// Nats per token lost to the dictionary.
    pub nats_lost: f64,
    /// 95 % interval of `recovered`.
    pub recovered_interval: Option<Interval>,
    /// 95 % interval of `nats_lost`.
    pub nats_lost_interval: Option<Interval>,
}

/// Logits of one batch, elements at most, which bounds the memory of a pass; a single context may exceed it.
const MAX_LOGITS: usize = 1 << 22;

/// Sums of one context: nats of the four runs, then predicted tokens.
type Sums = [f64; 5];

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
    check_model(sae, model)?;
    let batches = batches(contexts, model.vocab_size());
    let total = contexts.iter().map(|context| context.tokens.len() as u64).sum::<u64>();
    let mut progress = Progress::start(observer, "splice", Unit::Tokens, 4 * total);
    let special = special_tokens(model);
    let mut run = |hook: &mut dyn Hook| -> Result<Vec<(f64, f64)>, InterpretError> {
        let mut nats = Vec::with_capacity(contexts.len());
        for batch in &batches {
            nats.extend(nats_of(model, batch, &special, hook)?);
            progress.advance(batch.iter().map(|context| context.tokens.len() as u64).sum())?;
        }
        Ok(nats)
    };
    let mut watch = Intervention::of_dictionary(model, sae, Scope::All, Watch::new(sae.d_out()))?;
    let clean = run(&mut watch)?;
    let mean = watch.rewrite().mean();
    let spliced = run(&mut Intervention::of_dictionary(model, sae, Scope::All, Splice::new(sae))?)?;
    let zeroed = run(&mut Intervention::of_dictionary(model, sae, Scope::All, Zero)?)?;
    let averaged = run(&mut Intervention::of_dictionary(model, sae, Scope::All, Mean { mean })?)?;
    progress.finish();
    let sums = (0..clean.len()).map(|i| [clean[i].0, spliced[i].0, zeroed[i].0, averaged[i].0, clean[i].1]);
    summarise(sums.collect())
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
) -> Result<Vec<(f64, f64)>, InterpretError> {
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

fn summarise(sums: Vec<Sums>) -> Result<CeRecovered, InterpretError> {
    let total = sums.iter().fold([0.0; 5], |total: Sums, sums| std::array::from_fn(|i| total[i] + sums[i]));
    let [clean, sae, zero, mean, tokens] = total;
    if tokens == 0.0 {
        return Err(InterpretError::NothingPredicted { contexts: sums.len() });
    }
    let recovered = |s: &[f64]| (s[2] - s[1]) / (s[2] - s[0]);
    let nats_lost = |s: &[f64]| (s[1] - s[0]) / s[4];
    let groups: Vec<Vec<f64>> = sums.iter().filter(|sums| sums[4] > 0.0).map(|sums| sums.to_vec()).collect();
    Ok(CeRecovered {
        contexts: groups.len() as u64,
        tokens: tokens as u64,
        ce_clean: clean / tokens,
        ce_sae: sae / tokens,
        ce_zero: zero / tokens,
        ce_mean: mean / tokens,
        recovered: recovered(&total),
        recovered_mean: (mean - sae) / (mean - clean),
        nats_lost: nats_lost(&total),
        recovered_interval: bootstrap::interval(&groups, 0, recovered),
        nats_lost_interval: bootstrap::interval(&groups, 0, nats_lost),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_that_computed_by_hand() {
        // Two contexts of 2 and 3 tokens: clean 5, spliced 6, zeroed 15, mean 10 nats.
        let found = summarise(vec![[2.0, 2.5, 6.0, 4.0, 2.0], [3.0, 3.5, 9.0, 6.0, 3.0]]).expect("tokens");
        assert_eq!((found.contexts, found.tokens), (2, 5));
        assert_eq!([found.ce_clean, found.ce_sae, found.ce_zero, found.ce_mean], [1.0, 1.2, 3.0, 2.0]);
        assert_eq!((found.recovered, found.recovered_mean, found.nats_lost), (0.9, 0.8, 0.2));
        assert!(found.recovered_interval.is_none(), "two contexts are too few");
        assert!(matches!(summarise(vec![[0.0; 5]]), Err(InterpretError::NothingPredicted { contexts: 1 })));
    }
}
