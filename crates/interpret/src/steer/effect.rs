//! What steering does to the model's next-token distribution, beside random directions of the same norm.
//!
//! Over all positions t of a prompt, each weighing the same, p_t the baseline's distribution of the next token and q_t the
//! steered one. At every position but those of special tokens (BOS and the like) the activation is steered; a special
//! token's position counts in the mean nevertheless.
//!
//! - `kl = mean_t sum_v p_t(v) ln(p_t(v) / q_t(v))`, KL(baseline || steered) in nats, 0 or more: how far the steering moves
//!   the model
//! - `raised = mean_t sum_{v in V} (q_t(v) - p_t(v))`, -1 to 1: probability that moves to the set V, the tokens that
//!   the edited features' directions raise most
//!
//! The control makes steps of the same length at the same positions in a random direction; its numbers are means over
//! [`CONTROLS`] seeded directions. A feature says something only as far as it differs from its control.

use super::edit::{Edit, OtherStep, Steer};
use crate::error::InterpretError;
use crate::intervene::{Intervention, Scope, flat, special_tokens};
use serde::Serialize;
use tch::{Kind, Tensor};
use untangle_model::{Hook, LanguageModel, NoHook};
use untangle_sae::Sae;

/// Random directions behind the control.
pub const CONTROLS: u64 = 8;

/// The effect of one steering on one prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Effect {
    /// Positions of the prompt, over all of which the other figures are means.
    pub positions: usize,
    /// Those at which the activation was steered: all but the special tokens'.
    pub steered_positions: usize,
    /// Mean of KL(baseline || steered), in nats.
    pub kl: f64,
    /// Probability that moves to the tokens that the features raise most; 0 where there are none.
    pub raised: f64,
    /// The same divergence for random directions of the same norm.
    pub control_kl: f64,
    /// The same probability for random directions of the same norm.
    pub control_raised: f64,
}

/// A model, a dictionary, and the prompt on which effects are measured.
#[derive(Debug)]
pub struct EffectMeter<'a> {
    model: &'a LanguageModel,
    sae: &'a Sae,
    tokens: Tensor,   // [1, seq]
    baseline: Tensor, // [seq, vocab], f64 log-probabilities
    raised: Tensor,   // [n], int64
    seed: u64,
}

impl<'a> EffectMeter<'a> {
    /// Runs the baseline on `prompt`; `raised` are the tokens whose probability is followed, `seed` draws the controls.
    ///
    /// # Errors
    /// When the prompt does not fit the model.
    pub fn new(
        model: &'a LanguageModel,
        sae: &'a Sae,
        prompt: &[u32],
        raised: &[u32],
        seed: u64,
    ) -> Result<Self, InterpretError> {
        let ids = |ids: &[u32]| {
            let ids: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
            Tensor::from_slice(&ids).to_device(model.device())
        };
        let tokens = ids(prompt).unsqueeze(0);
        let baseline = log_probabilities(model, &tokens, &mut NoHook)?;
        Ok(Self { model, sae, tokens, baseline, raised: ids(raised), seed })
    }

    /// Measures the effect of `edits` and of their control.
    ///
    /// # Errors
    /// When a feature does not exist, or the dictionary does not fit the model.
    pub fn measure(&self, edits: &[Edit]) -> Result<Effect, InterpretError> {
        let steer = || Steer::new(self.sae, edits);
        let hook = |rewrite| Intervention::of_dictionary(self.model, self.sae, Scope::All, rewrite);
        let (kl, raised) = self.compare(&mut hook(steer()?)?)?;
        let special = special_tokens(self.model);
        let tokens: Vec<i64> = flat(&self.tokens)?;
        let steered = tokens.iter().filter(|id| !special.get(**id as usize).copied().unwrap_or(false)).count();
        let mut effect =
            Effect { positions: tokens.len(), steered_positions: steered, kl, raised, ..Effect::default() };
        for at in 0..CONTROLS {
            let control = OtherStep::random(steer()?, self.seed.wrapping_add(at));
            let mut hook = Intervention::of_dictionary(self.model, self.sae, Scope::All, control)?;
            let (kl, raised) = self.compare(&mut hook)?;
            effect.control_kl += kl / CONTROLS as f64;
            effect.control_raised += raised / CONTROLS as f64;
        }
        Ok(effect)
    }

    fn compare(&self, hook: &mut dyn Hook) -> Result<(f64, f64), InterpretError> {
        let steered = log_probabilities(self.model, &self.tokens, hook)?; // [seq, vocab]
        let (p, q) = (self.baseline.exp(), steered.exp());
        let kl = (&p * (&self.baseline - &steered)).sum_dim_intlist(-1, false, Kind::Double).mean(Kind::Double);
        let moved = (q - p).index_select(1, &self.raised).sum_dim_intlist(-1, false, Kind::Double).mean(Kind::Double);
        let (kl, moved) = (flat::<f64>(&kl)?[0], flat::<f64>(&moved)?[0]);
        // Rounding may leave a hair below 0; what is not a number stays so.
        Ok((if kl < 0.0 { 0.0 } else { kl }, moved))
    }
}

/// Log-probabilities of the next token at every position, f64 `[seq, vocab]`.
pub(super) fn log_probabilities(
    model: &LanguageModel,
    tokens: &Tensor,
    hook: &mut dyn Hook,
) -> Result<Tensor, InterpretError> {
    tch::no_grad(|| {
        let logits = model.forward(tokens, hook)?;
        let logits = logits.expect("a hook without a last point does not end a pass");
        Ok(logits.squeeze_dim(0).to_kind(Kind::Double).log_softmax(-1, Kind::Double))
    })
}
