//! What becomes of losses and predictions at every token where features are taken out of a text.
//!
//! A feature is taken out as steering does it: `x - f_i d_i` at every ordinary token on which it fires, and what the
//! dictionary does not explain of x stays as it is. Later tokens feel it through attention, too.

use super::predictions::Predictions;
use super::reading::{Active, Reader, mean};
use super::watch::Watch;
use crate::error::InterpretError;
use crate::intervene::{Intervention, Scope};
use crate::steer::{Edit, Operator, Steer};
use serde::Serialize;

/// Likeliest tokens before and after that are followed at every position.
const FOLLOWED: usize = 5;

/// A token whose probability of coming next has changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The token as text.
    pub token: String,
    /// Its id.
    pub id: u32,
    /// Its probability in the model as it is.
    pub before: f64,
    /// With the features taken out.
    pub after: f64,
}

/// One token of the text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AblatedToken {
    /// What was taken out at it.
    pub taken: Vec<Active>,
    /// Nats that the model loses on it; none of special tokens and of the first.
    pub loss: Option<f64>,
    /// The same with the features taken out.
    pub ablated_loss: Option<f64>,
    /// KL(before || after) of what is predicted behind it, in nats: how far the prediction has moved.
    pub kl: f64,
    /// The likeliest next tokens before and after, those first whose probability changed most.
    pub next: Vec<Change>,
}

/// A text with features taken out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ablation {
    /// The features.
    pub features: Vec<usize>,
    /// The text's tokens, in order.
    pub tokens: Vec<AblatedToken>,
    /// Mean of the losses; none where nothing is predicted.
    pub mean_loss: Option<f64>,
    /// With the features taken out.
    pub mean_ablated_loss: Option<f64>,
    /// Mean of the divergences over all positions.
    pub mean_kl: f64,
}

impl Reader<'_> {
    /// Takes features out of a text, all at once.
    ///
    /// # Errors
    /// When a feature does not exist or is named twice, there are no tokens, or they do not fit the model.
    pub fn ablate(&self, tokens: &[u32], features: &[usize]) -> Result<Ablation, InterpretError> {
        if tokens.is_empty() {
            return Err(InterpretError::NothingToRead);
        }
        let edits: Vec<Edit> =
            features.iter().map(|feature| Edit { feature: *feature, operator: Operator::Set(0.0) }).collect();
        let steer = Steer::new(self.sae, &edits)?;
        let watch = Watch::new(self.sae, features);
        let mut watch = Intervention::of_dictionary(self.model, self.sae, Scope::All, watch)?;
        let before = Predictions::of(self.model, tokens, &mut watch)?;
        let mut out = Intervention::of_dictionary(self.model, self.sae, Scope::All, steer)?;
        let after = Predictions::of(self.model, tokens, &mut out)?;
        let (losses, ablated) = (self.losses(&before, tokens)?, self.losses(&after, tokens)?);
        let mut taken = watch.intervention().taken.iter();
        let mut ablated_tokens = Vec::with_capacity(tokens.len());
        for (at, (&id, moved)) in tokens.iter().zip(before.moved(&after, FOLLOWED)?).enumerate() {
            let change = |(id, before, after)| Ok(Change { token: self.text(id)?, id, before, after });
            let mut next = moved.tokens.into_iter().map(change).collect::<Result<Vec<_>, InterpretError>>()?;
            next.sort_by(|a, b| (b.after - b.before).abs().total_cmp(&(a.after - a.before).abs()));
            let here = if self.is_special(id) { None } else { taken.next() };
            ablated_tokens.push(AblatedToken {
                taken: here.cloned().unwrap_or_default(),
                loss: losses[at],
                ablated_loss: ablated[at],
                kl: moved.kl,
                next,
            });
        }
        Ok(Ablation {
            features: features.to_vec(),
            mean_loss: mean(&losses),
            mean_ablated_loss: mean(&ablated),
            mean_kl: ablated_tokens.iter().map(|token| token.kl).sum::<f64>() / tokens.len() as f64,
            tokens: ablated_tokens,
        })
    }
}
