//! What becomes of losses and predictions at every token where features are taken out of a text.
//!
//! A feature is taken out as steering does it: `x - f_i d_i` at every ordinary token on which it fires, and what the
//! dictionary does not explain of x stays as it is. Later tokens feel it through attention, too. A crosscoder's feature is taken out
//! of all the places that are of the model, as strong as it is in the text as it is.

use super::passing::{How, Rows};
use super::predictions::Predictions;
use super::reading::{Active, Reader, mean};
use crate::error::InterpretError;
use crate::intervene::{Intervention, Scope};
use crate::steer::{Edit, Kind, Operator, Steer};
use serde::Serialize;
use std::collections::HashSet;
use untangle_sae::{Codes, Sae};

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
        check(self.sae(), features)?;
        let (before, rows) = self.passing.whole(tokens)?;
        let codes = self.codes(&rows.read)?;
        let after = match self.kind {
            Kind::Sae(sae) => {
                let steer = Steer::new(sae, &edits(features))?;
                let mut out = Intervention::of_dictionary(self.model, sae, Scope::All, steer)?;
                Predictions::of(self.model, tokens, &mut out)?
            }
            Kind::Crosscoder(_) => {
                self.passing.put(tokens, &without(self.sae(), &rows, &codes, features)?, How::Moved)?
            }
        };
        let (losses, ablated) = (self.losses(&before, tokens)?, self.losses(&after, tokens)?);
        let mut taken = self.among(&codes, tokens, features).into_iter();
        let mut ablated_tokens = Vec::with_capacity(tokens.len());
        for (at, moved) in before.moved(&after, FOLLOWED)?.into_iter().enumerate() {
            let change = |(id, before, after)| Ok(Change { token: self.text(id)?, id, before, after });
            let mut next = moved.tokens.into_iter().map(change).collect::<Result<Vec<_>, InterpretError>>()?;
            next.sort_by(|a, b| (b.after - b.before).abs().total_cmp(&(a.after - a.before).abs()));
            ablated_tokens.push(AblatedToken {
                taken: taken.next().unwrap_or_default(),
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

fn edits(features: &[usize]) -> Vec<Edit> {
    features.iter().map(|feature| Edit { feature: *feature, operator: Operator::Set(0.0) }).collect()
}

/// Refuses features that do not exist or are named twice.
fn check(sae: &Sae, features: &[usize]) -> Result<(), InterpretError> {
    Steer::new(sae, &edits(features)).map(|_| ())
}

/// By how much rows move where features are taken out of their codes, `[n, d]`.
fn without(sae: &Sae, rows: &Rows, codes: &Codes, features: &[usize]) -> Result<Vec<f32>, InterpretError> {
    let out: HashSet<u32> = features.iter().map(|feature| *feature as u32).collect();
    let (mut taken, mut left) = (Codes::new(), Codes::new());
    for row in 0..codes.n_rows() {
        let entries = || {
            let (features, activations) = codes.row(row);
            features.iter().copied().zip(activations.iter().copied())
        };
        taken.push_row(entries().filter(|(feature, _)| out.contains(feature)));
        left.push_row(std::iter::empty());
    }
    // The difference of two reconstructions from which all but the features is left out: biases and means cancel.
    let (mut with, mut nothing) = (vec![0.0; rows.read.len()], vec![0.0; rows.read.len()]);
    sae.reconstruct(&rows.read, &taken, &mut with)?;
    sae.reconstruct(&rows.read, &left, &mut nothing)?;
    Ok(nothing.iter().zip(&with).map(|(without, with)| without - with).collect())
}
