//! What passes a model where a dictionary reads and writes, over a whole text, and what is put into its place.
//!
//! A crosscoder reads several places at once, maybe of several models. So its rows are known only when the last pass over the
//! text has ended, and whatever is done with them is done in another pass.

use super::predictions::Predictions;
use super::problem::ReadProblem;
use crate::corpus::side_by_side;
use crate::error::InterpretError;
use crate::intervene::{Intervene, Intervention, Rewrite, Scope, on_host};
use crate::point::{check_model, model_name, point_of, written_point_of};
use crate::steer::{Kind, is_of};
use tch::Tensor;
use untangle_model::{Hook, Hooks, LanguageModel, ModelError, Pass};
use untangle_sae::{Crosscoder, Place};
use untangle_schema::HookPoint;

/// A dictionary and the models in which it reads.
#[derive(Debug)]
pub(super) struct Passing<'a> {
    model: &'a LanguageModel,
    kind: Kind<'a>,
    /// Of a crosscoder, where each part passes.
    parts: Vec<Spot<'a>>,
}

/// Where a part of what a crosscoder reads passes.
#[derive(Clone, Copy, Debug)]
struct Spot<'a> {
    model: &'a LanguageModel,
    point: HookPoint,
}

/// Rows of the ordinary tokens of a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    /// `[n, d_in]`, where the dictionary reads.
    pub(super) read: Vec<f32>,
    /// `[n, d_out]`, where it writes, in case that is elsewhere.
    pub(super) written: Option<Vec<f32>>,
}

/// What becomes of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Others stand in their place.
    Replaced,
    /// They are moved by as much; by zeros, not at all.
    Moved,
}

impl<'a> Passing<'a> {
    /// Where `kind` reads and writes in `model`, which is studied, and in `others`.
    ///
    /// # Errors
    /// When the dictionary does not belong to the model, or a part of a crosscoder to none of them.
    pub(super) fn new(
        model: &'a LanguageModel,
        kind: Kind<'a>,
        others: &[&'a LanguageModel],
    ) -> Result<Self, InterpretError> {
        let parts = match kind {
            Kind::Sae(sae) => {
                check_model(sae, model)?;
                Vec::new()
            }
            Kind::Crosscoder(crosscoder) => spots(crosscoder, model, others)?,
        };
        Ok(Passing { model, kind, parts })
    }

    /// Where the dictionary writes; of a crosscoder, the first of the places.
    pub(super) fn written_point(&self) -> Result<HookPoint, InterpretError> {
        match (self.kind, self.parts.first()) {
            (Kind::Sae(sae), _) => written_point_of(sae),
            (Kind::Crosscoder(_), Some(spot)) => Ok(spot.point),
            (Kind::Crosscoder(_), None) => Err(InterpretError::NoHookPoint { found: "no parts".to_owned() }),
        }
    }

    /// One pass over a text: what the model predicts, and what passes where the dictionary reads and writes.
    pub(super) fn whole(&self, tokens: &[u32]) -> Result<(Predictions, Rows), InterpretError> {
        match self.kind {
            Kind::Sae(sae) => {
                let mut look = Intervention::of_dictionary(self.model, sae, Scope::All, Look::default())?;
                let plain = Predictions::of(self.model, tokens, &mut look)?;
                let Look { rows, read } = look.into_intervention();
                let rows = match read {
                    Some(read) => Rows { read, written: Some(rows) },
                    None => Rows { read: rows, written: None },
                };
                Ok((plain, rows))
            }
            Kind::Crosscoder(crosscoder) => {
                let mut columns = vec![Vec::new(); self.parts.len()];
                let width = crosscoder.part_width();
                let mut look = self.looks(self.model, width)?;
                let plain = Predictions::of(self.model, tokens, &mut look.hooks())?;
                look.give(&mut columns);
                self.look_at_others(tokens, width, &mut columns)?;
                Ok((plain, Rows { read: joined(&columns, width), written: None }))
            }
        }
    }

    /// What passes where the dictionary reads, by passes that end there. `[n, d_in]`
    pub(super) fn read(&self, tokens: &[u32]) -> Result<Vec<f32>, InterpretError> {
        match self.kind {
            Kind::Sae(sae) => {
                let point = point_of(sae)?;
                let mut look = Intervention::new(self.model, point, sae.d_in(), Scope::All, Look::default())?;
                pass_up_to(self.model, tokens, &mut look, point)?;
                Ok(look.into_intervention().rows)
            }
            Kind::Crosscoder(crosscoder) => {
                let mut columns = vec![Vec::new(); self.parts.len()];
                let width = crosscoder.part_width();
                self.look_at(self.model, tokens, width, &mut columns)?;
                self.look_at_others(tokens, width, &mut columns)?;
                Ok(joined(&columns, width))
            }
        }
    }

    /// What the model predicts with `rows`, `[n, d_out]`, where the dictionary writes, at the ordinary tokens of a text. Of a
    /// crosscoder, only those parts that are of the model that is studied can be put anywhere.
    pub(super) fn put(&self, tokens: &[u32], rows: &[f32], how: How) -> Result<Predictions, InterpretError> {
        let put = |point, width, rows: Vec<f32>| {
            Intervention::new(self.model, point, width, Scope::All, Put { rows, how, from: 0 })
        };
        match self.kind {
            Kind::Sae(sae) => {
                let mut put = put(written_point_of(sae)?, sae.d_out(), rows.to_vec())?;
                Predictions::of(self.model, tokens, &mut put)
            }
            Kind::Crosscoder(crosscoder) => {
                let width = crosscoder.part_width();
                let all = self.parts.len() * width;
                let column = |part: usize| {
                    rows.chunks_exact(all).flat_map(|row| &row[part * width..][..width]).copied().collect()
                };
                let own = self.parts_of(self.model);
                let puts = own.map(|part| put(self.parts[part].point, width, column(part)));
                let mut puts = puts.collect::<Result<Vec<_>, _>>()?;
                let hooks = puts.iter_mut().map(|put| put as &mut dyn Hook).collect();
                Predictions::of(self.model, tokens, &mut Hooks::new(hooks))
            }
        }
    }

    /// Numbers of the parts that pass `model`.
    fn parts_of(&self, model: &'a LanguageModel) -> impl Iterator<Item = usize> + '_ {
        (0..self.parts.len()).filter(move |part| std::ptr::eq(self.parts[*part].model, model))
    }

    fn looks(&self, model: &'a LanguageModel, width: usize) -> Result<Looks, InterpretError> {
        let look = |part: usize| {
            let look = Intervention::new(model, self.parts[part].point, width, Scope::All, Look::default())?;
            Ok((part, look))
        };
        self.parts_of(model).map(look).collect::<Result<_, InterpretError>>().map(Looks)
    }

    /// Fills the columns of the parts that pass `model`, which is passed no further than is needed.
    fn look_at(
        &self,
        model: &'a LanguageModel,
        tokens: &[u32],
        width: usize,
        columns: &mut [Vec<f32>],
    ) -> Result<(), InterpretError> {
        let Some(last) = self.parts_of(model).map(|part| self.parts[part].point).max() else { return Ok(()) };
        let mut look = self.looks(model, width)?;
        pass_up_to(model, tokens, &mut look.hooks(), last)?;
        look.give(columns);
        Ok(())
    }

    fn look_at_others(&self, tokens: &[u32], width: usize, columns: &mut [Vec<f32>]) -> Result<(), InterpretError> {
        let mut passed = vec![self.model];
        for spot in &self.parts {
            if !passed.iter().any(|model| std::ptr::eq(*model, spot.model)) {
                self.look_at(spot.model, tokens, width, columns)?;
                passed.push(spot.model);
            }
        }
        Ok(())
    }
}

/// The parts' rows side by side, `[n, parts * width]`.
fn joined(columns: &[Vec<f32>], width: usize) -> Vec<f32> {
    let n = columns.first().map_or(0, |column| column.len() / width);
    let mut rows = Vec::new();
    if n > 0 {
        side_by_side(columns, n, &mut rows);
    }
    rows
}

/// Where each part of a crosscoder passes: in the model whose weights it was trained on, or, where it does not say, in the
/// one that is studied.
fn spots<'a>(
    crosscoder: &Crosscoder,
    model: &'a LanguageModel,
    others: &[&'a LanguageModel],
) -> Result<Vec<Spot<'a>>, InterpretError> {
    for other in others {
        if other.identity().tokenizer_sha256 != model.identity().tokenizer_sha256 {
            let (expected, found) = (model.identity(), other.identity());
            return Err(ReadProblem::OtherTokenizer { expected: expected.name, found: found.name }.into());
        }
    }
    let spot = |place: &Place| {
        let weights = place.model_weights.as_deref();
        let all = std::iter::once(model).chain(others.iter().copied());
        let Some(model) = all.into_iter().find(|model| is_of(weights, model)) else {
            let name = place.model.as_deref().unwrap_or("a model without a name");
            return Err(ReadProblem::ModelMissing { model: model_name(name, weights.unwrap_or_default()) }.into());
        };
        let name = place.hook.as_deref().unwrap_or_default();
        let found = format!("hook_name `{name}`");
        let point = name.parse().map_err(|_| InterpretError::NoHookPoint { found })?;
        Ok(Spot { model, point })
    };
    let spots = crosscoder.places().iter().map(spot).collect::<Result<Vec<_>, InterpretError>>()?;
    let is_missing = |model: &LanguageModel| !spots.iter().any(|spot| std::ptr::eq(spot.model, model));
    if is_missing(model) {
        let expected = crosscoder.places().iter().filter_map(|place| place.model.as_deref());
        let expected = expected.collect::<Vec<_>>().join(" and ");
        return Err(InterpretError::OtherModelThanDictionary { expected, found: model.identity().name });
    }
    Ok(spots)
}

/// A pass over a text that ends behind `last`.
fn pass_up_to(
    model: &LanguageModel,
    tokens: &[u32],
    hook: &mut dyn Hook,
    last: HookPoint,
) -> Result<(), InterpretError> {
    let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
    let ids = Tensor::from_slice(&ids).unsqueeze(0).to_device(model.device()); // [1, seq]
    tch::no_grad(|| model.forward(&ids, &mut UpTo(hook, last)))?;
    Ok(())
}

/// Ends the pass behind the point at which rows are looked at last.
struct UpTo<'h>(&'h mut dyn Hook, HookPoint);

impl Hook for UpTo<'_> {
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

/// A look at each part of a crosscoder that passes one model.
struct Looks(Vec<(usize, Intervention<Look>)>);

impl Looks {
    fn hooks(&mut self) -> Hooks<'_> {
        Hooks::new(self.0.iter_mut().map(|(_, look)| look as &mut dyn Hook).collect())
    }

    fn give(self, columns: &mut [Vec<f32>]) {
        for (part, look) in self.0 {
            columns[part] = look.into_intervention().rows;
        }
    }
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

/// Puts rows where others pass.
#[derive(Debug)]
struct Put {
    /// Of all ordinary tokens of the text.
    rows: Vec<f32>,
    how: How,
    /// How much of `rows` is behind us.
    from: usize,
}

impl Intervene for Put {
    fn intervene(&mut self, rows: &Tensor, read: Option<&Tensor>) -> Result<Option<Tensor>, InterpretError> {
        on_host(self, rows, read)
    }
}

impl Rewrite for Put {
    fn rewrite(&mut self, rows: &mut [f32], _: Option<&[f32]>) -> Result<bool, InterpretError> {
        let put = &self.rows[self.from..][..rows.len()];
        self.from += rows.len();
        match self.how {
            How::Replaced => rows.copy_from_slice(put),
            // Where nothing is moved the row stays bit for bit, the sign of its zeros included.
            How::Moved => rows.iter_mut().zip(put).filter(|(_, step)| **step != 0.0).for_each(|(x, step)| *x += step),
        }
        Ok(true)
    }
}
