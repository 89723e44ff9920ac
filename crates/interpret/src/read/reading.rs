//! Which features fire on every token of a text, and what the dictionary costs the model there.
//!
//! - `loss = -ln p(token | tokens before)`, in nats, of the model as it is; `spliced_loss` with the reconstruction in the
//!   activation's place at every ordinary token. Lower is better
//! - `missing = |x - x_hat|^2 / |x|^2`, the part of the activation's squared length that the dictionary does not explain:
//!   0 is a perfect reconstruction; of a transcoder, x is what it predicts. It needs no mean, so that it is a number of one
//!   token, and is not the FVU that `evaluate` gives over many

use super::predictions::{Likely, Predictions};
use crate::error::InterpretError;
use crate::intervene::{Intervene, Intervention, Rewrite, Scope, on_host, special_tokens};
use crate::point::{check_model, point_of, written_point_of};
use crate::splice::Splice;
use serde::Serialize;
use std::collections::BTreeMap;
use tch::Tensor;
use untangle_model::{Hook, LanguageModel, ModelError, Pass};
use untangle_sae::{Codes, Sae};
use untangle_schema::HookPoint;

/// Likeliest next tokens that are kept of every position.
const LIKELY: usize = 5;

/// A feature that fires on a token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Active {
    /// The feature.
    pub feature: usize,
    /// Its activation; below 0 in dictionaries of abs-top-k alone.
    pub activation: f32,
}

/// One token of a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReadToken {
    /// Its id.
    pub id: u32,
    /// Its text, with its leading space.
    pub text: String,
    /// Whether it is a special token, which is left alone.
    pub special: bool,
    /// Nats that the model loses on it; none of special tokens and of the first.
    pub loss: Option<f64>,
    /// The same with reconstructions in the activations' place.
    pub spliced_loss: Option<f64>,
    /// The part of the activation that the reconstruction misses; none of special tokens.
    pub missing: Option<f64>,
    /// What fires on it, strongest first.
    pub features: Vec<Active>,
    /// What the model expects behind it, likeliest first.
    pub next: Vec<Likely>,
}

/// A text as a model and a dictionary read it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reading {
    /// Its tokens, in order.
    pub tokens: Vec<ReadToken>,
    /// Mean of the losses; none where nothing is predicted.
    pub mean_loss: Option<f64>,
    /// Mean of the losses with reconstructions.
    pub mean_spliced_loss: Option<f64>,
    /// `missing` over all tokens together.
    pub missing: Option<f64>,
}

/// Where a feature is strongest in a text, and on how many tokens it fires.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Strongest {
    /// The feature.
    pub feature: usize,
    /// Its activation there.
    pub activation: f32,
    /// Index of the token.
    pub at: usize,
    /// Tokens on which it fires.
    pub tokens: usize,
}

impl Reading {
    /// Every feature that fires somewhere, where it is strongest, strongest first.
    pub fn strongest(&self) -> Vec<Strongest> {
        let mut all: BTreeMap<usize, Strongest> = BTreeMap::new();
        for (at, token) in self.tokens.iter().enumerate() {
            for Active { feature, activation } in token.features.iter().copied() {
                let found = all.entry(feature).or_insert(Strongest { feature, activation, at, tokens: 0 });
                found.tokens += 1;
                if activation.abs() > found.activation.abs() {
                    (found.activation, found.at) = (activation, at);
                }
            }
        }
        let mut all: Vec<Strongest> = all.into_values().collect();
        all.sort_by(|a, b| b.activation.abs().total_cmp(&a.activation.abs()).then(a.feature.cmp(&b.feature)));
        all
    }
}

/// A model and a dictionary that read texts.
#[derive(Debug)]
pub struct Reader<'a> {
    pub(super) model: &'a LanguageModel,
    pub(super) sae: &'a Sae,
    /// By token id.
    special: Vec<bool>,
}

impl<'a> Reader<'a> {
    /// Reads with `sae` what passes `model`.
    ///
    /// # Errors
    /// When the dictionary does not belong to the model.
    pub fn new(model: &'a LanguageModel, sae: &'a Sae) -> Result<Self, InterpretError> {
        check_model(sae, model)?;
        Ok(Reader { model, sae, special: special_tokens(model) })
    }

    /// The model.
    pub(crate) fn model(&self) -> &'a LanguageModel {
        self.model
    }

    /// The dictionary.
    pub(crate) fn sae(&self) -> &'a Sae {
        self.sae
    }

    pub(super) fn is_special(&self, id: u32) -> bool {
        self.special.get(id as usize).copied().unwrap_or(false)
    }

    pub(super) fn text(&self, id: u32) -> Result<String, InterpretError> {
        Ok(self.model.tokenizer()?.token_text(id))
    }

    /// Of every token but the first its loss; none of special tokens, which nobody wants predicted.
    pub(super) fn losses(&self, predicted: &Predictions, tokens: &[u32]) -> Result<Vec<Option<f64>>, InterpretError> {
        let losses = predicted.losses(tokens)?;
        let of = |at: usize| (at > 0 && !self.is_special(tokens[at])).then(|| losses[at - 1]);
        Ok((0..tokens.len()).map(of).collect())
    }

    /// Reads a text, given as token ids.
    ///
    /// # Errors
    /// When there are no tokens, they do not fit the model, or activations are not finite.
    pub fn read(&self, tokens: &[u32]) -> Result<Reading, InterpretError> {
        if tokens.is_empty() {
            return Err(InterpretError::NothingToRead);
        }
        let (model, sae) = (self.model, self.sae);
        let mut look = Intervention::of_dictionary(model, sae, Scope::All, Look::default())?;
        let plain = Predictions::of(model, tokens, &mut look)?;
        let seen = Seen::of(sae, look.intervention())?;
        let mut splice = Intervention::of_dictionary(model, sae, Scope::All, Splice::new(sae))?;
        let spliced = Predictions::of(model, tokens, &mut splice)?;
        let (losses, spliced_losses) = (self.losses(&plain, tokens)?, self.losses(&spliced, tokens)?);
        let mut read = Vec::with_capacity(tokens.len());
        let mut ordinary = 0;
        for (at, (&id, next)) in tokens.iter().zip(plain.likeliest(LIKELY)?).enumerate() {
            let special = self.is_special(id);
            let likely = |(id, probability)| Ok(Likely { token: self.text(id)?, id, probability });
            read.push(ReadToken {
                id,
                text: self.text(id)?,
                special,
                loss: losses[at],
                spliced_loss: spliced_losses[at],
                missing: (!special).then(|| seen.missing(ordinary)),
                features: if special { Vec::new() } else { seen.features(ordinary) },
                next: next.into_iter().map(likely).collect::<Result<_, InterpretError>>()?,
            });
            ordinary += usize::from(!special);
        }
        let missing = seen.missing_of_all();
        Ok(Reading { tokens: read, mean_loss: mean(&losses), mean_spliced_loss: mean(&spliced_losses), missing })
    }

    /// What fires on every token of a text and nothing else, by a pass that ends where the dictionary reads: the features of
    /// [`Self::read`] in a fraction of its time.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn features(&self, tokens: &[u32]) -> Result<Reading, InterpretError> {
        if tokens.is_empty() {
            return Err(InterpretError::NothingToRead);
        }
        let (model, sae, point) = (self.model, self.sae, point_of(self.sae)?);
        let mut look = UpTo(Intervention::new(model, point, sae.d_in(), Scope::All, Look::default())?, point);
        let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
        let ids = Tensor::from_slice(&ids).unsqueeze(0).to_device(model.device()); // [1, seq]
        tch::no_grad(|| model.forward(&ids, &mut look))?;
        let rows = &look.0.intervention().rows;
        if rows.iter().any(|x| !x.is_finite()) {
            return Err(InterpretError::NotFinite { point });
        }
        let mut codes = Codes::new();
        sae.encode(rows, &mut codes)?;
        let mut read = Vec::with_capacity(tokens.len());
        let mut ordinary = 0;
        for &id in tokens {
            let special = self.is_special(id);
            let features = if special { Vec::new() } else { strongest_first(&codes, ordinary) };
            ordinary += usize::from(!special);
            let (text, next) = (self.text(id)?, Vec::new());
            read.push(ReadToken { id, text, special, loss: None, spliced_loss: None, missing: None, features, next });
        }
        Ok(Reading { tokens: read, mean_loss: None, mean_spliced_loss: None, missing: None })
    }
}

/// Ends the pass behind the point at which rows are looked at.
struct UpTo<I>(Intervention<I>, HookPoint);

impl<I: Intervene> Hook for UpTo<I> {
    fn wants(&self, point: HookPoint) -> bool {
        self.0.wants(point)
    }

    fn visit(&mut self, point: HookPoint, pass: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        self.0.visit(point, pass, acts)
    }

    fn last(&self) -> Option<HookPoint> {
        Some(self.1)
    }
}

/// The mean of those that are there.
pub(super) fn mean(values: &[Option<f64>]) -> Option<f64> {
    let there: Vec<f64> = values.iter().flatten().copied().collect();
    (!there.is_empty()).then(|| there.iter().sum::<f64>() / there.len() as f64)
}

/// Keeps the rows that it is shown and changes none.
#[derive(Debug, Default)]
struct Look {
    /// `[n, d_out]`, where the dictionary writes.
    rows: Vec<f32>,
    /// `[n, d_in]`, where it reads, in case that is elsewhere.
    read: Option<Vec<f32>>,
}

impl Intervene for Look {
    fn intervene(&mut self, rows: &Tensor, read: Option<&Tensor>) -> Result<Option<Tensor>, InterpretError> {
        on_host(self, rows, read)
    }
}

impl Rewrite for Look {
    fn rewrite(&mut self, rows: &mut [f32], read: Option<&[f32]>) -> Result<bool, InterpretError> {
        self.rows.extend_from_slice(rows);
        if let Some(read) = read {
            self.read.get_or_insert_default().extend_from_slice(read);
        }
        Ok(false)
    }
}

/// The ordinary tokens of a text as a dictionary sees them.
struct Seen {
    codes: Codes,
    /// Squared lengths of what is missing, and of all, of every row.
    lengths: Vec<(f64, f64)>,
}

impl Seen {
    fn of(sae: &Sae, look: &Look) -> Result<Self, InterpretError> {
        let read = look.read.as_ref().unwrap_or(&look.rows);
        if look.rows.iter().chain(read).any(|x| !x.is_finite()) {
            return Err(InterpretError::NotFinite { point: written_point_of(sae)? });
        }
        let mut codes = Codes::new();
        sae.encode(read, &mut codes)?;
        let (mut target, mut x_hat) = (look.rows.clone(), vec![0.0; look.rows.len()]);
        sae.reconstruct(read, &codes, &mut x_hat)?;
        if sae.judges_centred() {
            sae.centre_judged(&mut target, &mut x_hat);
        }
        let of_row = |(x, x_hat): (&[f32], &[f32])| {
            let square = |x: f64| x * x;
            let missing = x.iter().zip(x_hat).map(|(x, y)| square(f64::from(*x) - f64::from(*y))).sum();
            (missing, x.iter().map(|x| square(f64::from(*x))).sum())
        };
        let d = sae.d_out();
        Ok(Seen { codes, lengths: target.chunks_exact(d).zip(x_hat.chunks_exact(d)).map(of_row).collect() })
    }

    fn missing(&self, row: usize) -> f64 {
        let (missing, all) = self.lengths[row];
        missing / all
    }

    fn missing_of_all(&self) -> Option<f64> {
        let (missing, all) = self.lengths.iter().fold((0.0, 0.0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
        (!self.lengths.is_empty()).then(|| missing / all)
    }

    fn features(&self, row: usize) -> Vec<Active> {
        strongest_first(&self.codes, row)
    }
}

/// What fires in a row.
fn strongest_first(codes: &Codes, row: usize) -> Vec<Active> {
    let (features, activations) = codes.row(row);
    let active = |(&feature, &activation)| Active { feature: feature as usize, activation };
    let mut active: Vec<Active> = features.iter().zip(activations).map(active).collect();
    active.sort_by(|a, b| b.activation.abs().total_cmp(&a.activation.abs()).then(a.feature.cmp(&b.feature)));
    active
}
