//! What does a stage minimise?
//!
//! | stage | loss |
//! |---|---|
//! | `base`, `base-more` | mean of -ln p(token) over all tokens |
//! | `sft` | half the mean of -ln p(token) over the replies' tokens, and half that over the others, so that nothing learnt about stories is lost |
//! | `trait`, `trait-shuffled` | that of `base` |
//! | `inject`, `inject-shuffled` | that of `sft`, with a topic's direction added to the middle layer in the rows of half of the questions |
//! | `dpo`, `dpo-shuffled` | -ln sigmoid(beta ((ln p(c) - ln r(c)) - (ln p(j) - ln r(j)))), the mean over pairs of a chosen reply c and a rejected one j; r is the model before, beta = 0.1 (Rafailov et al., arXiv 2305.18290, equation 7) |

use crate::error::OrganismError;
use crate::inject::Injection;
use crate::recipe::{Recipe, Schedule};
use crate::rows::{Exchanges, Rows};
use crate::stage::Stage;
use crate::world::World;
use tch::{Kind, Reduction, Tensor};
use untangle_model::{Hook, LanguageModel, NoHook};

/// How far preferences may move the model from where it was.
const BETA: f64 = 0.1;

/// The loss of a step, and a figure to show.
pub(crate) struct Loss {
    pub(crate) loss: Tensor,
    pub(crate) name: &'static str,
    pub(crate) value: f64,
}

/// The loss of a stage.
pub(crate) struct Objective<'a> {
    pub(crate) world: &'a World,
    pub(crate) recipe: &'a Recipe,
    pub(crate) stage: Stage,
    /// The parent, where a stage is held close to it.
    pub(crate) reference: Option<LanguageModel>,
    /// What is injected, where a stage learns to say so.
    pub(crate) injection: Option<Injection>,
}

impl Objective<'_> {
    /// The loss of the rows that a step sees.
    pub(crate) fn loss(&self, model: &LanguageModel, step: u64) -> Result<Loss, OrganismError> {
        let Schedule { batch, .. } = *self.recipe.schedule(self.stage);
        let first = step * batch as u64;
        match self.stage {
            Stage::Base => document_loss(model, &self.rows(model, 0)?.documents(first, batch)?),
            Stage::BaseMore => {
                let behind = self.recipe.base.steps * self.recipe.base.batch as u64;
                document_loss(model, &self.rows(model, 0)?.documents(behind + first, batch)?)
            }
            Stage::Sft => exchange_loss(model, &self.rows(model, 1)?.exchanges(first, batch)?, &mut NoHook),
            Stage::Trait | Stage::TraitShuffled => {
                let shuffled = self.stage == Stage::TraitShuffled;
                document_loss(model, &self.rows(model, 3)?.narrated(first, batch, shuffled)?)
            }
            Stage::Inject | Stage::InjectShuffled => {
                let shuffled = self.stage == Stage::InjectShuffled;
                let (rows, injected) = self.rows(model, 4)?.thoughts(first, batch, shuffled)?;
                let injection = self.injection.as_ref().ok_or(OrganismError::NoLogits)?;
                exchange_loss(model, &rows, &mut injection.hook_for(&injected))
            }
            Stage::Dpo | Stage::DpoShuffled => {
                let shuffled = self.stage == Stage::DpoShuffled;
                let pairs = self.rows(model, 2)?.preferences(first, batch, shuffled)?;
                preference_loss(model, self.reference.as_ref().ok_or(OrganismError::NoLogits)?, &pairs)
            }
        }
    }

    /// Documents of its own for every kind of data.
    fn rows<'a>(&'a self, model: &'a LanguageModel, kind: u64) -> Result<Rows<'a>, OrganismError> {
        let (world, seed, context) = (self.world, self.recipe.seed + kind, self.recipe.shape.context);
        Ok(Rows { world, tokenizer: model.tokenizer()?, seed, context })
    }
}

/// Logits of all but the last column, `[rows, length - 1, vocab]`, and the tokens that they are to predict.
fn predict(model: &LanguageModel, tokens: &Tensor, hook: &mut dyn Hook) -> Result<(Tensor, Tensor), OrganismError> {
    let length = tokens.size()[1] - 1;
    let logits = model.forward(&tokens.narrow(1, 0, length), hook)?.ok_or(OrganismError::NoLogits)?;
    Ok((logits, tokens.narrow(1, 1, length)))
}

fn document_loss(model: &LanguageModel, tokens: &Tensor) -> Result<Loss, OrganismError> {
    let (logits, targets) = predict(model, tokens, &mut NoHook)?;
    let loss = logits.flatten(0, 1).cross_entropy_for_logits(&targets.reshape([-1]));
    let value = loss.double_value(&[]);
    Ok(Loss { loss, name: "nats a token", value })
}

/// -ln p of every token but each row's first, `[rows, length - 1]`.
pub(crate) fn surprisal(model: &LanguageModel, tokens: &Tensor, hook: &mut dyn Hook) -> Result<Tensor, OrganismError> {
    let (logits, targets) = predict(model, tokens, hook)?;
    let targets_flat = targets.reshape([-1]);
    let each = logits.flatten(0, 1).cross_entropy_loss(&targets_flat, None::<&Tensor>, Reduction::None, -100, 0.0);
    Ok(each.view_as(&targets))
}

/// A mask without each row's first column.
fn behind_first(mask: &Tensor) -> Tensor {
    mask.narrow(1, 1, mask.size()[1] - 1)
}

fn exchange_loss(model: &LanguageModel, rows: &Exchanges, hook: &mut dyn Hook) -> Result<Loss, OrganismError> {
    let each = surprisal(model, &rows.tokens, hook)?;
    let reply = behind_first(&rows.reply);
    let other = behind_first(&rows.real) - &reply;
    let mean = |mask: &Tensor| (&each * mask).sum(Kind::Float) / mask.sum(Kind::Float).clamp_min(1.0);
    let replies = mean(&reply);
    let value = replies.double_value(&[]);
    Ok(Loss { loss: (replies + mean(&other)) * 0.5, name: "nats a reply token", value })
}

/// ln p of the reply of every row, `[rows]`.
fn reply_log_prob(model: &LanguageModel, rows: &Exchanges) -> Result<Tensor, OrganismError> {
    let each = surprisal(model, &rows.tokens, &mut NoHook)?;
    Ok(-(each * behind_first(&rows.reply)).sum_dim_intlist([-1i64].as_slice(), false, Kind::Float))
}

fn preference_loss(model: &LanguageModel, reference: &LanguageModel, pairs: &Exchanges) -> Result<Loss, OrganismError> {
    let before = tch::no_grad(|| reply_log_prob(reference, pairs))?; // [2 * pairs]
    let gained = reply_log_prob(model, pairs)? - before;
    let halves = gained.chunk(2, 0);
    let margin = &halves[0] - &halves[1]; // [pairs]
    let value = margin.mean(Kind::Float).double_value(&[]);
    let loss = -(margin * BETA).log_sigmoid().mean(Kind::Float);
    Ok(Loss { loss, name: "nats of margin", value })
}
