//! How an activation is changed at one hook point of a running model, where wanted by what another point of the same pass
//! said.
//!
//! Splicing, ablating and steering are implementers of [`Intervene`]: functions from rows to rows that stay in the graph, so
//! that device and kind are kept and gradients can pass. Those whose arithmetic is our own, over sparse codes, are
//! implementers of [`Rewrite`] and run on the host ([`on_host`]). Which rows they get is decided here, once: real tokens (no
//! padding), in the phases asked for, special tokens left out. All other rows go on bit for bit.

use crate::error::InterpretError;
use crate::point::{point_of, written_point_of};
use tch::{Device, Kind, Tensor};
use untangle_model::{Hook, LanguageModel, ModelError, Pass, Phase};
use untangle_sae::Sae;
use untangle_schema::HookPoint;

/// A function on rows of activations.
pub trait Intervene {
    /// What becomes of `rows`, `[n, d]`, n at least 1, in the kind and on the device of the pass: of the same shape and kind;
    /// none where nothing changes. `read` are the same tokens' rows where a dictionary reads, in case that is elsewhere.
    ///
    /// # Errors
    /// An error ends the forward pass.
    fn intervene(&mut self, rows: &Tensor, read: Option<&Tensor>) -> Result<Option<Tensor>, InterpretError>;
}

/// Changes rows of activations on the host.
pub trait Rewrite {
    /// Changes `rows`, `[n, d]`, n at least 1, in place; says whether it changed anything. `read` are the same tokens' rows
    /// where a dictionary reads, in case that is elsewhere.
    ///
    /// # Errors
    /// An error ends the forward pass.
    fn rewrite(&mut self, rows: &mut [f32], read: Option<&[f32]>) -> Result<bool, InterpretError>;
}

/// What a [`Rewrite`] makes of rows. No gradient passes through it. Every kind that a model computes in is exact in f32, so
/// what it leaves alone comes back bit for bit.
///
/// # Errors
/// Those of the rewrite.
pub fn on_host(
    rewrite: &mut impl Rewrite,
    rows: &Tensor,
    read: Option<&Tensor>,
) -> Result<Option<Tensor>, InterpretError> {
    let mut host: Vec<f32> = flat(&rows.to_kind(Kind::Float))?;
    let read: Option<Vec<f32>> = read.map(|read| flat(&read.to_kind(Kind::Float))).transpose()?;
    if !rewrite.rewrite(&mut host, read.as_deref())? {
        return Ok(None);
    }
    Ok(Some(Tensor::from_slice(&host).view(&rows.size()[..]).to_kind(rows.kind()).to_device(rows.device())))
}

/// Adds one and the same step to every row; the gradient of what follows passes to it.
#[derive(Debug)]
pub struct Shift {
    /// The step, f32 `[d]`.
    pub step: Tensor,
}

impl Intervene for Shift {
    fn intervene(&mut self, rows: &Tensor, _: Option<&Tensor>) -> Result<Option<Tensor>, InterpretError> {
        let step = self.step.to_device(rows.device());
        Ok(Some((rows.to_kind(Kind::Float) + step).to_kind(rows.kind())))
    }
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
    /// What the selected tokens' rows were there in this pass, `[n, width]`.
    heard: Option<Tensor>,
}

/// A hook that changes the rows at one point.
#[derive(Debug)]
pub struct Intervention<I> {
    point: HookPoint,
    width: usize,
    listening: Option<Listening>,
    /// By token id.
    special: Vec<bool>,
    scope: Scope,
    change: I,
}

impl<I: Intervene> Intervention<I> {
    /// Changes rows of `width` columns (heads flattened) at `point` of `model`.
    ///
    /// # Errors
    /// When the model lacks the point, or its rows have another width.
    pub fn new(
        model: &LanguageModel,
        point: HookPoint,
        width: usize,
        scope: Scope,
        change: I,
    ) -> Result<Self, InterpretError> {
        let found = width_of_rows(model, point)?;
        if found != width {
            return Err(InterpretError::WidthDiffers { d_in: width, what: format!("{point} of this model"), found });
        }
        Ok(Self { point, width, listening: None, special: special_tokens(model), scope, change })
    }

    /// Changes rows where `sae` writes, by what it reads: of an autoencoder the same rows, of a transcoder those of a point
    /// that the pass reaches before.
    ///
    /// # Errors
    /// When the model lacks a point, rows have another width, or a transcoder reads after it writes.
    pub fn of_dictionary(model: &LanguageModel, sae: &Sae, scope: Scope, change: I) -> Result<Self, InterpretError> {
        let read = point_of(sae)?;
        if !sae.is_transcoder() {
            return Self::new(model, read, sae.d_in(), scope, change);
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
        let listening = Some(Listening { point: read, width, heard: None });
        Ok(Self { listening, ..Self::new(model, written, d_out, scope, change)? })
    }

    /// What changes them.
    pub fn intervention(&self) -> &I {
        &self.change
    }

    /// The same, by itself.
    pub(crate) fn into_intervention(self) -> I {
        self.change
    }

    /// Numbers of the rows that may change, in `[batch * seq]`.
    fn selected(&self, pass: &Pass<'_>) -> Result<Vec<i64>, InterpretError> {
        if !self.scope.takes(pass.phase) {
            return Ok(Vec::new());
        }
        let tokens: Vec<i64> = flat(pass.tokens)?;
        let real: Option<Vec<bool>> = pass.mask.map(flat).transpose()?;
        let is_special = |token: i64| self.special.get(token as usize).copied().unwrap_or(false);
        let taken = |row: &usize| !is_special(tokens[*row]) && real.as_ref().is_none_or(|real| real[*row]);
        Ok((0..tokens.len()).filter(taken).map(|row| row as i64).collect())
    }

    /// Keeps what the rows that may change are where the dictionary reads.
    fn listen(&mut self, pass: &Pass<'_>, acts: Tensor) -> Result<Tensor, InterpretError> {
        let selected = self.selected(pass)?;
        if let Some(listening) = &mut self.listening {
            let all = acts.reshape([-1, listening.width as i64]); // [batch * seq, width]
            listening.heard = (!selected.is_empty()).then(|| all.index_select(0, &numbers(&selected, &all)));
        }
        Ok(acts)
    }

    fn change(&mut self, pass: &Pass<'_>, acts: Tensor) -> Result<Tensor, InterpretError> {
        let selected = self.selected(pass)?;
        if selected.is_empty() {
            return Ok(acts);
        }
        let heard = self.listening.as_ref().and_then(|listening| listening.heard.as_ref());
        let all = acts.reshape([-1, self.width as i64]); // [batch * seq, d]
        if selected.len() as i64 == all.size()[0] {
            return Ok(match self.change.intervene(&all, heard)? {
                Some(changed) => changed.reshape(acts.size()),
                None => acts,
            });
        }
        let selected = numbers(&selected, &all);
        let Some(changed) = self.change.intervene(&all.index_select(0, &selected), heard)? else { return Ok(acts) };
        Ok(all.index_copy(0, &selected, &changed).reshape(acts.size()))
    }
}

/// Row numbers beside the rows that they number.
fn numbers(rows: &[i64], beside: &Tensor) -> Tensor {
    Tensor::from_slice(rows).to_device(beside.device())
}

/// Width of the rows at a point, heads flattened.
fn width_of_rows(model: &LanguageModel, point: HookPoint) -> Result<usize, InterpretError> {
    if point.is_of_pairs() {
        return Err(InterpretError::NotRows { point });
    }
    Ok(model.width_of(point)?)
}

impl<I: Intervene> Hook for Intervention<I> {
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
