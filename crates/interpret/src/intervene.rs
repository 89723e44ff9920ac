//! How an activation is changed row by row at one hook point of a running model.
//!
//! Splicing, ablating and steering are implementers of [`Rewrite`]; which rows they get is decided here, once: real
//! tokens (no padding), in the phases asked for, special tokens left out. All other rows go on bit for bit.

use crate::error::InterpretError;
use tch::{Device, Kind, Tensor};
use untangle_model::{Hook, LanguageModel, ModelError, Pass, Phase};
use untangle_schema::{HookPoint, Site};

/// Changes rows of activations.
pub trait Rewrite {
    /// Changes `rows`, `[n, d]`, n at least 1, in place; says whether it changed anything.
    ///
    /// # Errors
    /// An error ends the forward pass.
    fn rewrite(&mut self, rows: &mut [f32]) -> Result<bool, InterpretError>;
}

/// Which tokens are rewritten. Special tokens never are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Prompt and generated tokens.
    #[default]
    All,
    /// The tokens of the prompt.
    Prompt,
    /// The tokens that the model generated.
    Generated,
}

impl Scope {
    fn takes(self, phase: Phase) -> bool {
        matches!((self, phase), (Scope::All, _) | (Scope::Prompt, Phase::Prompt) | (Scope::Generated, Phase::Generated))
    }
}

/// A hook that rewrites the rows at one point.
#[derive(Debug)]
pub struct Intervention<R> {
    point: HookPoint,
    width: usize,
    /// By token id.
    special: Vec<bool>,
    scope: Scope,
    rewrite: R,
}

impl<R: Rewrite> Intervention<R> {
    /// Rewrites rows of `width` columns (heads flattened) at `point` of `model`.
    ///
    /// # Errors
    /// When the model lacks the point, or its rows have another width.
    pub fn new(
        model: &LanguageModel,
        point: HookPoint,
        width: usize,
        scope: Scope,
        rewrite: R,
    ) -> Result<Self, InterpretError> {
        if matches!(point, HookPoint::Block { site: Site::AttnPattern, .. }) {
            return Err(InterpretError::NotRows { point });
        }
        let found = model.width_of(point)?;
        if found != width {
            return Err(InterpretError::WidthDiffers { d_in: width, what: format!("{point} of this model"), found });
        }
        Ok(Self { point, width, special: special_tokens(model), scope, rewrite })
    }

    /// What rewrites.
    pub fn rewrite(&self) -> &R {
        &self.rewrite
    }

    /// Numbers of the rows that may change, in `[batch * seq]`.
    fn selected(&self, pass: &Pass<'_>) -> Result<Vec<usize>, InterpretError> {
        let tokens: Vec<i64> = flat(pass.tokens)?;
        let real: Option<Vec<bool>> = pass.mask.map(flat).transpose()?;
        let is_special = |token: i64| self.special.get(token as usize).copied().unwrap_or(false);
        let taken = |row: &usize| !is_special(tokens[*row]) && real.as_ref().is_none_or(|real| real[*row]);
        Ok((0..tokens.len()).filter(taken).collect())
    }

    fn change(&mut self, pass: &Pass<'_>, acts: Tensor) -> Result<Tensor, InterpretError> {
        if !self.scope.takes(pass.phase) {
            return Ok(acts);
        }
        let selected = self.selected(pass)?;
        if selected.is_empty() {
            return Ok(acts);
        }
        let (kind, device, size) = (acts.kind(), acts.device(), acts.size());
        // Every kind that a model computes in is exact in f32, so rows that are not selected come back as they were.
        let mut all: Vec<f32> = flat(&acts.to_kind(Kind::Float))?;
        let d = self.width;
        let mut rows = Vec::with_capacity(selected.len() * d);
        selected.iter().for_each(|row| rows.extend_from_slice(&all[row * d..(row + 1) * d]));
        if !self.rewrite.rewrite(&mut rows)? {
            return Ok(acts);
        }
        for (row, changed) in selected.iter().zip(rows.chunks_exact(d)) {
            all[row * d..(row + 1) * d].copy_from_slice(changed);
        }
        Ok(Tensor::from_slice(&all).view(&size[..]).to_kind(kind).to_device(device))
    }
}

impl<R: Rewrite> Hook for Intervention<R> {
    fn wants(&self, point: HookPoint) -> bool {
        point == self.point
    }

    fn visit(&mut self, point: HookPoint, pass: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        self.change(pass, acts).map_err(|error| ModelError::hook(point, error))
    }
}

/// By token id, whether the token is special to the model's tokenizer. A model without a tokenizer has only the
/// beginning-of-sequence and end-of-sequence tokens of its configuration.
pub(crate) fn special_tokens(model: &LanguageModel) -> Vec<bool> {
    let config = model.config();
    let declared = |id: u32| config.bos_token == Some(id) || config.eos_tokens.contains(&id);
    let is_special = |id: u32| model.tokenizer().map_or_else(|_| declared(id), |tokenizer| tokenizer.is_special(id));
    (0..model.vocab_size() as u32).map(is_special).collect()
}

/// The elements of a tensor in row-major order.
pub(crate) fn flat<T: tch::kind::Element + Clone>(tensor: &Tensor) -> Result<Vec<T>, InterpretError>
where
    Vec<T>: TryFrom<Tensor, Error = tch::TchError>,
{
    let host = tensor.to_device(Device::Cpu).contiguous().view(-1);
    Vec::try_from(host).map_err(InterpretError::torch("reading a tensor"))
}
