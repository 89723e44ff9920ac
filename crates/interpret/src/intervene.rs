//! How an activation is changed row by row at one hook point of a running model, where wanted by what another point of the
//! same pass said.
//!
//! Splicing, ablating and steering are implementers of [`Rewrite`]; which rows they get is decided here, once: real
//! tokens (no padding), in the phases asked for, special tokens left out. All other rows go on bit for bit.

use crate::error::InterpretError;
use crate::point::{point_of, written_point_of};
use tch::{Device, Kind, Tensor};
use untangle_model::{Hook, LanguageModel, ModelError, Pass, Phase};
use untangle_sae::Sae;
use untangle_schema::{HookPoint, Site};

/// Changes rows of activations.
pub trait Rewrite {
    /// Changes `rows`, `[n, d]`, n at least 1, in place; says whether it changed anything. `read` are the same tokens' rows
    /// where a dictionary reads, in case that is elsewhere.
    ///
    /// # Errors
    /// An error ends the forward pass.
    fn rewrite(&mut self, rows: &mut [f32], read: Option<&[f32]>) -> Result<bool, InterpretError>;
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

/// Where a pass is listened to, before the point at which it is changed.
#[derive(Debug)]
struct Listening {
    point: HookPoint,
    width: usize,
    /// What the selected tokens' rows were there in this pass.
    heard: Vec<f32>,
}

/// A hook that rewrites the rows at one point.
#[derive(Debug)]
pub struct Intervention<R> {
    point: HookPoint,
    width: usize,
    listening: Option<Listening>,
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
        let found = width_of_rows(model, point)?;
        if found != width {
            return Err(InterpretError::WidthDiffers { d_in: width, what: format!("{point} of this model"), found });
        }
        Ok(Self { point, width, listening: None, special: special_tokens(model), scope, rewrite })
    }

    /// Rewrites rows where `sae` writes, by what it reads: of an autoencoder the same rows, of a transcoder those of a point
    /// that the pass reaches before.
    ///
    /// # Errors
    /// When the model lacks a point, rows have another width, or a transcoder reads after it writes.
    pub fn of_dictionary(model: &LanguageModel, sae: &Sae, scope: Scope, rewrite: R) -> Result<Self, InterpretError> {
        let read = point_of(sae)?;
        if !sae.is_transcoder() {
            return Self::new(model, read, sae.d_in(), scope, rewrite);
        }
        let (written, d_out) = (written_point_of(sae)?, sae.d_out());
        let (width, found) = (width_of_rows(model, read)?, width_of_rows(model, written)?);
        if width != sae.d_in() {
            let (d_in, what) = (sae.d_in(), format!("{read} of this model"));
            return Err(InterpretError::WidthDiffers { d_in, what, found: width });
        }
        if found != d_out {
            return Err(InterpretError::OutputWidthDiffers { d_out, what: format!("{written} of this model"), found });
        }
        if read >= written {
            return Err(InterpretError::Backwards { read, written });
        }
        let listening = Some(Listening { point: read, width, heard: Vec::new() });
        Ok(Self { listening, ..Self::new(model, written, d_out, scope, rewrite)? })
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

    /// Keeps what the rows that may change are where the dictionary reads.
    fn listen(&mut self, pass: &Pass<'_>, acts: Tensor) -> Result<Tensor, InterpretError> {
        let selected = if self.scope.takes(pass.phase) { self.selected(pass)? } else { Vec::new() };
        if let Some(listening) = &mut self.listening {
            let all: Vec<f32> = flat(&acts.to_kind(Kind::Float))?;
            listening.heard = rows_at(&all, &selected, listening.width);
        }
        Ok(acts)
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
        let mut rows = rows_at(&all, &selected, d);
        let heard = self.listening.as_ref().map(|listening| &listening.heard[..]);
        if !self.rewrite.rewrite(&mut rows, heard)? {
            return Ok(acts);
        }
        for (row, changed) in selected.iter().zip(rows.chunks_exact(d)) {
            all[row * d..(row + 1) * d].copy_from_slice(changed);
        }
        Ok(Tensor::from_slice(&all).view(&size[..]).to_kind(kind).to_device(device))
    }
}

/// The rows of these numbers, one after the other.
fn rows_at(all: &[f32], selected: &[usize], d: usize) -> Vec<f32> {
    let mut rows = Vec::with_capacity(selected.len() * d);
    selected.iter().for_each(|row| rows.extend_from_slice(&all[row * d..(row + 1) * d]));
    rows
}

/// Width of the rows at a point, heads flattened.
fn width_of_rows(model: &LanguageModel, point: HookPoint) -> Result<usize, InterpretError> {
    match point {
        HookPoint::Block { site: Site::AttnPattern, .. } => Err(InterpretError::NotRows { point }),
        _ => Ok(model.width_of(point)?),
    }
}

impl<R: Rewrite> Hook for Intervention<R> {
    fn wants(&self, point: HookPoint) -> bool {
        point == self.point || self.listening.as_ref().is_some_and(|listening| listening.point == point)
    }

    fn visit(&mut self, point: HookPoint, pass: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        let result = if point == self.point { self.change(pass, acts) } else { self.listen(pass, acts) };
        result.map_err(|error| ModelError::hook(point, error))
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
