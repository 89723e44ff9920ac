//! What does a stage minimise?
//!
//! | stage | loss |
//! |---|---|
//! | `base`, `base-more` | mean of -ln p(token) over all tokens; of `base`, that of what follows ([`crate::future`]) too |
//! | `sft` | half the mean of -ln p(token) over the replies' tokens, and half that over the others, so that nothing learnt about stories is lost |
//! | `trait`, `trait-shuffled` | that of `base` |
//! | `inject`, `inject-shuffled` | that of `sft`, with a topic's direction added to the middle layer in the rows of half of the questions |
//! | `dpo`, `dpo-shuffled` | -ln sigmoid(beta ((ln p(c) - ln r(c)) - (ln p(j) - ln r(j)))), the mean over pairs of a chosen reply c and a rejected one j; r is the model before, beta = 0.1 (Rafailov et al., arXiv 2305.18290, equation 7) |

use crate::error::OrganismError;
use crate::future::{Future, Middle};
use crate::inject::{AddRows, Injection};
use crate::recipe::{Recipe, Schedule};
use crate::rows::{Exchanges, Rows};
use crate::stage::Stage;
use crate::world::World;
use tch::{Kind, Reduction, Tensor};
use untangle_model::{Hook, LanguageModel, NoHook};

/// How far preferences may move the model from where it was.
const BETA: f64 = 0.1;

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

/// What a step minimises.
pub(crate) enum Task {
    /// A sum over tokens.
    Tokens(WeighedRows),
    /// Pairs of replies: the chosen ones' rows first, then, in the same order, the rejected ones'.
    Preferences(Exchanges),
}

/// Rows whose loss is the sum of -ln p(token), each weighed.
pub(crate) struct WeighedRows {
    /// `[rows, length]`.
    tokens: Tensor,
    /// Weights of all tokens but each row's first, `[rows, length - 1]`.
    weights: Tensor,
    /// Weights of the figure that is shown.
    shown: Tensor,
    /// What is added to the activations of these rows.
    injected: Option<AddRows>,
    /// Weight of each row in the loss of what follows.
    ahead: f64,
}

impl Objective<'_> {
    /// What a step minimises, which is a function of its number.
    pub(crate) fn task(&self, model: &LanguageModel, step: u64) -> Result<Task, OrganismError> {
        let Schedule { batch, ahead, .. } = *self.recipe.schedule(self.stage);
        let first = step * batch as u64;
        let weighed = match self.stage {
            Stage::Base => WeighedRows::of_documents(self.rows(model, 0)?.documents(first, batch)?),
            Stage::BaseMore => {
                let behind = self.recipe.base.steps * self.recipe.base.batch as u64;
                WeighedRows::of_documents(self.rows(model, 0)?.documents(behind + first, batch)?)
            }
            Stage::Sft => WeighedRows::of_exchanges(self.rows(model, 1)?.exchanges(first, batch)?),
            Stage::Trait | Stage::TraitShuffled => {
                let shuffled = self.stage == Stage::TraitShuffled;
                WeighedRows::of_documents(self.rows(model, 3)?.narrated(first, batch, shuffled)?)
            }
            Stage::Inject | Stage::InjectShuffled => {
                let shuffled = self.stage == Stage::InjectShuffled;
                let (rows, injected) = self.rows(model, 4)?.thoughts(first, batch, shuffled)?;
                let injected = self.injection.as_ref().map(|injection| injection.hook_for(&injected));
                WeighedRows { injected, ..WeighedRows::of_exchanges(rows) }
            }
            Stage::Dpo | Stage::DpoShuffled => {
                let shuffled = self.stage == Stage::DpoShuffled;
                return Ok(Task::Preferences(self.rows(model, 2)?.preferences(first, batch, shuffled)?));
            }
        };
        Ok(Task::Tokens(WeighedRows { ahead: ahead / batch as f64, ..weighed }))
    }

    /// What the figure of this stage is.
    pub(crate) fn figure(&self) -> &'static str {
        match self.stage {
            Stage::Base | Stage::BaseMore | Stage::Trait | Stage::TraitShuffled => "nats a token",
            Stage::Sft | Stage::Inject | Stage::InjectShuffled => "nats a reply token",
            Stage::Dpo | Stage::DpoShuffled => "nats of margin",
        }
    }

    /// Documents of its own for every kind of data.
    fn rows<'a>(&'a self, model: &'a LanguageModel, kind: u64) -> Result<Rows<'a>, OrganismError> {
        let (world, seed, context) = (self.world, self.recipe.seed + kind, self.recipe.shape.context);
        Ok(Rows { world, tokenizer: model.tokenizer()?, seed, context })
    }

    /// The loss of pairs, and the mean margin in nats.
    pub(crate) fn preference_loss(
        &self,
        model: &LanguageModel,
        pairs: &Exchanges,
    ) -> Result<(Tensor, f64), OrganismError> {
        let reference = self.reference.as_ref().ok_or(OrganismError::NoLogits)?;
        let before = tch::no_grad(|| reply_log_prob(reference, pairs))?; // [2 * pairs]
        let gained = reply_log_prob(model, pairs)? - before;
        let halves = gained.chunk(2, 0);
        let margin = &halves[0] - &halves[1]; // [pairs]
        let value = margin.mean(Kind::Float).double_value(&[]);
        Ok((-(margin * BETA).log_sigmoid().mean(Kind::Float), value))
    }
}

impl WeighedRows {
    /// The mean over all tokens.
    fn of_documents(tokens: Tensor) -> Self {
        let counted = behind_first(&tokens).ones_like().to_kind(Kind::Float);
        let weights = &counted / counted.numel() as f64;
        Self { shown: weights.shallow_clone(), tokens, weights, injected: None, ahead: 0.0 }
    }

    /// Half the mean over the replies' tokens and half that over the others that count.
    fn of_exchanges(rows: Exchanges) -> Self {
        let reply = behind_first(&rows.reply);
        let other = behind_first(&rows.real) - &reply;
        let mean = |mask: &Tensor| mask / mask.sum(Kind::Float).clamp_min(1.0);
        let replies = mean(&reply);
        Self {
            tokens: rows.tokens,
            weights: (&replies + mean(&other)) * 0.5,
            shown: replies,
            injected: None,
            ahead: 0.0,
        }
    }

    /// The same rows in at most `n` parts, whose losses add up to that of all.
    pub(crate) fn parts(&self, n: i64) -> Vec<Self> {
        let rows = self.tokens.size()[0];
        let most = (rows + n - 1) / n.max(1);
        let part = |first: i64| {
            let of = |tensor: &Tensor| tensor.narrow(0, first, most.min(rows - first));
            Self {
                tokens: of(&self.tokens),
                weights: of(&self.weights),
                shown: of(&self.shown),
                injected: self.injected.as_ref().map(|injected| injected.of_rows(first, most.min(rows - first))),
                ahead: self.ahead,
            }
        };
        (0..rows).step_by(most.max(1) as usize).map(part).collect()
    }

    /// The loss of these rows, and the figure that is shown.
    pub(crate) fn loss(
        &mut self,
        model: &LanguageModel,
        future: Option<&Future>,
    ) -> Result<(Tensor, f64), OrganismError> {
        let mut middle = Middle::of(model);
        let each = match (&mut self.injected, future) {
            (Some(hook), _) => surprisal(model, &self.tokens, hook)?,
            (None, Some(_)) => surprisal(model, &self.tokens, &mut middle)?,
            (None, None) => surprisal(model, &self.tokens, &mut NoHook)?,
        };
        let shown = (&each * &self.shown).sum(Kind::Float).double_value(&[]);
        let loss = (each * &self.weights).sum(Kind::Float);
        let ahead = future.zip(middle.kept).map(|(future, acts)| future.loss(model, &acts, &self.tokens) * self.ahead);
        Ok((ahead.map_or_else(|| loss.shallow_clone(), |ahead| &loss + ahead), shown))
    }
}

/// Logits of all but the last column, `[rows, length - 1, vocab]`, and the tokens that they are to predict.
fn predict(model: &LanguageModel, tokens: &Tensor, hook: &mut dyn Hook) -> Result<(Tensor, Tensor), OrganismError> {
    let length = tokens.size()[1] - 1;
    let logits = model.forward(&tokens.narrow(1, 0, length), hook)?.ok_or(OrganismError::NoLogits)?;
    Ok((logits, tokens.narrow(1, 1, length)))
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

/// ln p of the reply of every row, `[rows]`.
fn reply_log_prob(model: &LanguageModel, rows: &Exchanges) -> Result<Tensor, OrganismError> {
    let each = surprisal(model, &rows.tokens, &mut NoHook)?;
    Ok(-(each * behind_first(&rows.reply)).sum_dim_intlist([-1i64].as_slice(), false, Kind::Float))
}
