//! Which features fire on every token of a text, and what the dictionary costs the model there.
//!
//! - `loss = -ln p(token | tokens before)`, in nats, of the model as it is; `spliced_loss` with the reconstruction in the
//!   activation's place at every ordinary token. Lower is better
//! - `missing = |x - x_hat|^2 / |x|^2`, the part of the activation's squared length that the dictionary does not explain:
//!   0 is a perfect reconstruction; of a transcoder, x is what it predicts. It needs no mean, so that it is a number of one
//!   token, and is not the FVU that `evaluate` gives over many

use super::passing::{How, Passing, Rows};
use super::predictions::{Likely, Predictions};
use crate::error::InterpretError;
use crate::intervene::special_tokens;
use crate::steer::Kind;
use serde::Serialize;
use std::collections::BTreeMap;
use untangle_model::LanguageModel;
use untangle_sae::{Codes, Sae};
use untangle_schema::BosPolicy;

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
    pub(super) kind: Kind<'a>,
    pub(super) passing: Passing<'a>,
    /// By token id.
    special: Vec<bool>,
}

impl<'a> Reader<'a> {
    /// Reads with `sae` what passes `model`.
    ///
    /// # Errors
    /// When the dictionary does not belong to the model.
    pub fn new(model: &'a LanguageModel, sae: &'a Sae) -> Result<Self, InterpretError> {
        Self::of(model, Kind::Sae(sae), &[])
    }

    /// Reads with a dictionary of any kind. A crosscoder's parts may be of `others` as well; losses are those of `model`, in which
    /// the parts that are its own are replaced.
    ///
    /// # Errors
    /// When the dictionary does not belong to the model, a part of it belongs to none of them, or they read other tokens.
    pub fn of(model: &'a LanguageModel, kind: Kind<'a>, others: &[&'a LanguageModel]) -> Result<Self, InterpretError> {
        Ok(Reader { model, kind, passing: Passing::new(model, kind, others)?, special: special_tokens(model) })
    }

    /// The model.
    pub(crate) fn model(&self) -> &'a LanguageModel {
        self.model
    }

    /// The dictionary's tensors; of a crosscoder those of all parts side by side.
    pub(crate) fn sae(&self) -> &'a Sae {
        self.kind.sae()
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
        let (plain, rows) = self.passing.whole(tokens)?;
        let seen = Seen::of(self, &rows)?;
        let spliced = self.passing.put(tokens, &seen.reconstructed, How::Replaced)?;
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
        let codes = self.codes(&self.passing.read(tokens)?)?;
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

    /// Of every token of a text, the ones among `features` that fire on it; none on special tokens.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn firings(&self, tokens: &[u32], features: &[usize]) -> Result<Vec<Vec<Active>>, InterpretError> {
        if tokens.is_empty() {
            return Err(InterpretError::NothingToRead);
        }
        let codes = self.codes(&self.passing.read(tokens)?)?;
        Ok(self.among(&codes, tokens, features))
    }

    /// Of every token, the ones among `features` that fire in the codes of its ordinary tokens.
    pub(super) fn among(&self, codes: &Codes, tokens: &[u32], features: &[usize]) -> Vec<Vec<Active>> {
        let mut ordinary = 0..codes.n_rows();
        let of_row = |row: usize| {
            let active = |&feature: &usize| Active { feature, activation: codes.activation(row, feature) };
            features.iter().map(active).filter(|active| active.activation != 0.0).collect()
        };
        let mut of = |id: &u32| if self.is_special(*id) { None } else { ordinary.next() };
        tokens.iter().map(|id| of(id).map_or_else(Vec::new, of_row)).collect()
    }

    /// Encodes rows of where the dictionary reads.
    pub(super) fn codes(&self, rows: &[f32]) -> Result<Codes, InterpretError> {
        if rows.iter().any(|x| !x.is_finite()) {
            return Err(InterpretError::NotFinite { point: self.passing.written_point()? });
        }
        let mut codes = Codes::new();
        self.sae().encode(rows, &mut codes)?;
        Ok(codes)
    }

    /// A text as the model reads it, as far as its context goes: its tokens, and what each stands for.
    ///
    /// # Errors
    /// When the model has no tokenizer, or the text is none that it can read.
    pub fn tokens(&self, text: &str) -> Result<(Vec<u32>, Vec<String>), InterpretError> {
        let tokenizer = self.model.tokenizer()?;
        let mut ids = tokenizer.encode_with_bos(text, BosPolicy::Auto)?;
        ids.truncate(self.model.max_context());
        let texts = ids.iter().map(|id| tokenizer.token_text(*id)).collect();
        Ok((ids, texts))
    }
}

/// The mean of those that are there.
pub(super) fn mean(values: &[Option<f64>]) -> Option<f64> {
    let there: Vec<f64> = values.iter().flatten().copied().collect();
    (!there.is_empty()).then(|| there.iter().sum::<f64>() / there.len() as f64)
}

/// The ordinary tokens of a text as a dictionary sees them.
struct Seen {
    codes: Codes,
    /// `[n, d_out]`, what the dictionary makes of them.
    reconstructed: Vec<f32>,
    /// Squared lengths of what is missing, and of all, of every row.
    lengths: Vec<(f64, f64)>,
}

impl Seen {
    fn of(reader: &Reader<'_>, rows: &Rows) -> Result<Self, InterpretError> {
        let (sae, codes) = (reader.sae(), reader.codes(&rows.read)?);
        let mut target = rows.written.as_ref().unwrap_or(&rows.read).clone();
        if target.iter().any(|x| !x.is_finite()) {
            return Err(InterpretError::NotFinite { point: reader.passing.written_point()? });
        }
        let mut reconstructed = vec![0.0; target.len()];
        sae.reconstruct(&rows.read, &codes, &mut reconstructed)?;
        let mut judged = reconstructed.clone();
        if sae.judges_centred() {
            sae.centre_judged(&mut target, &mut judged);
        }
        let of_row = |(x, x_hat): (&[f32], &[f32])| {
            let square = |x: f64| x * x;
            let missing = x.iter().zip(x_hat).map(|(x, y)| square(f64::from(*x) - f64::from(*y))).sum();
            (missing, x.iter().map(|x| square(f64::from(*x))).sum())
        };
        let d = sae.d_out();
        let lengths = target.chunks_exact(d).zip(judged.chunks_exact(d)).map(of_row).collect();
        Ok(Seen { codes, reconstructed, lengths })
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
