//! What steering does to the model's next-token distribution, beside random directions of the same norm.
//!
//! Over all positions t of a prompt, each weighing the same, p_t the baseline's distribution of the next token and q_t the
//! steered one. At every position but those of special tokens (BOS and the like), and where a condition holds, the activation
//! is steered, whichever tokens the steps are for; a special token's position counts in the mean nevertheless. Steps that are for
//! different tokens would meet there as they do at no token of a text: of them, the positions are those of the prompt and of what the
//! model itself writes behind it, each steered by the steps that are for it.
//!
//! - `kl = mean_t sum_v p_t(v) ln(p_t(v) / q_t(v))`, KL(baseline || steered) in nats, 0 or more: how far the steering moves
//!   the model
//! - `raised = mean_t sum_{v in V} (q_t(v) - p_t(v))`, -1 to 1: probability that moves to the set V, the tokens that
//!   the directions raise most
//!
//! The control makes steps of the same length at the same positions in a random direction; its numbers are means over
//! [`CONTROLS`] seeded directions. A feature says something only as far as it differs from its control.

use super::dictionary::Dictionary;
use super::steering::{Control, Steering};
use super::step::Step;
use crate::error::InterpretError;
use crate::intervene::flat;
use serde::Serialize;
use tch::{Kind, Tensor};
use untangle_model::{Hook, LanguageModel, NoHook};

/// Random directions behind the control.
pub const CONTROLS: u64 = 8;

/// Of which text the figures of an effect are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EffectOf {
    /// The prompt, steered at all of its tokens.
    #[default]
    Prompt,
    /// The prompt and the model's own continuation, steered at the tokens that every step is for.
    Text,
}

/// The effect of one steering on one prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Effect {
    /// Of which text the figures are.
    pub of: EffectOf,
    /// Positions of the text, over all of which the other figures are means.
    pub positions: usize,
    /// Those at which the activation was steered: special tokens' never, nor those where a condition does not hold. Where there is
    /// none, nothing was measured, and the figures are 0.
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

/// A model, dictionaries, and the prompt on which effects are measured.
#[derive(Debug)]
pub struct EffectMeter<'a> {
    model: &'a LanguageModel,
    dictionaries: &'a [Dictionary<'a>],
    tokens: Tensor,   // [1, seq]
    baseline: Tensor, // [seq, vocab], f64 log-probabilities
    /// Tokens of the prompt, where steps are taken at the tokens that they are for.
    prompt: Option<usize>,
    seed: u64,
}

impl<'a> EffectMeter<'a> {
    /// Runs the baseline on `prompt`; `seed` draws the controls.
    ///
    /// # Errors
    /// When the prompt does not fit the model.
    pub fn new(
        model: &'a LanguageModel,
        dictionaries: &'a [Dictionary<'a>],
        prompt: &[u32],
        seed: u64,
    ) -> Result<Self, InterpretError> {
        Self::of_tokens(model, dictionaries, prompt, None, seed)
    }

    /// Runs the baseline on `prompt` and `written`, what the model itself writes behind it: for steps that are for different tokens.
    ///
    /// # Errors
    /// When the prompt does not fit the model.
    pub fn of_text(
        model: &'a LanguageModel,
        dictionaries: &'a [Dictionary<'a>],
        prompt: &[u32],
        written: &[u32],
        seed: u64,
    ) -> Result<Self, InterpretError> {
        let mut all = [prompt, written].concat();
        // The last token that is written need not be read.
        all.truncate(model.max_context().max(prompt.len()));
        Self::of_tokens(model, dictionaries, &all, Some(prompt.len()), seed)
    }

    fn of_tokens(
        model: &'a LanguageModel,
        dictionaries: &'a [Dictionary<'a>],
        tokens: &[u32],
        prompt: Option<usize>,
        seed: u64,
    ) -> Result<Self, InterpretError> {
        let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
        let tokens = Tensor::from_slice(&ids).to_device(model.device()).unsqueeze(0);
        let baseline = log_probabilities(model, &tokens, &mut NoHook)?;
        Ok(Self { model, dictionaries, tokens, baseline, prompt, seed })
    }

    /// Measures the effect of `steps` and of their control; `raised` are the tokens whose probability is followed.
    ///
    /// # Errors
    /// When a feature does not exist, or a dictionary does not fit the model.
    pub fn measure(&self, steps: &[Step], raised: &[u32]) -> Result<Effect, InterpretError> {
        let raised: Vec<i64> = raised.iter().map(|id| i64::from(*id)).collect();
        let raised = Tensor::from_slice(&raised).to_device(self.model.device());
        let steering = || {
            let steering = Steering::new(self.model, self.dictionaries, steps)?;
            Ok::<_, InterpretError>(match self.prompt {
                None => steering.everywhere(),
                Some(prompt) => steering.behind(&[prompt]),
            })
        };
        let mut hook = steering()?;
        let (kl, moved) = self.compare(&mut hook, &raised)?;
        let (positions, steered_positions) = (self.tokens.numel(), hook.steered());
        let of = if self.prompt.is_none() { EffectOf::Prompt } else { EffectOf::Text };
        let mut effect = Effect { of, positions, steered_positions, kl, raised: moved, ..Effect::default() };
        for at in 0..CONTROLS {
            let mut hook = steering()?.as_control(Control::Random(self.seed.wrapping_add(at)));
            let (kl, moved) = self.compare(&mut hook, &raised)?;
            effect.control_kl += kl / CONTROLS as f64;
            effect.control_raised += moved / CONTROLS as f64;
        }
        Ok(effect)
    }

    fn compare(&self, hook: &mut dyn Hook, raised: &Tensor) -> Result<(f64, f64), InterpretError> {
        let steered = log_probabilities(self.model, &self.tokens, hook)?; // [seq, vocab]
        let (p, q) = (self.baseline.exp(), steered.exp());
        let kl = (&p * (&self.baseline - &steered)).sum_dim_intlist(-1, false, Kind::Double).mean(Kind::Double);
        let moved = (q - p).index_select(1, raised).sum_dim_intlist(-1, false, Kind::Double).mean(Kind::Double);
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
