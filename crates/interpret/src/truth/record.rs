//! The activations of every counted token at some hook points.

use super::tokens::{Reading, Tokens};
use crate::error::InterpretError;
use crate::progress::Progress;
use tch::Tensor;
use untangle_model::{Input, LanguageModel, Logits, Phase, Recorder};
use untangle_schema::{HookPoint, Observer, Unit};

/// Tokens of one pass, padding counted, which bounds its memory; a single document may exceed it.
const BATCH_TOKENS: usize = 4096;

/// Activations as rows, one per counted token in the order of the labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Width of a row.
    pub d: usize,
    /// `[n, d]`
    pub values: Vec<f32>,
}

impl Rows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.d.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// Runs `model` over `tokens`, each document in a row of its own, and returns the activations at each of `points`,
/// heads flattened. Documents of like length are read together; padding changes nothing for real tokens.
///
/// # Errors
/// The model lacks a point or its activations there are not rows of a fixed width, an activation is not finite, or the
/// user asks to stop.
pub fn record(
    model: &LanguageModel,
    tokens: &Tokens,
    points: &[HookPoint],
    observer: &dyn Observer,
) -> Result<Vec<Rows>, InterpretError> {
    let widths = points.iter().map(|point| model.width_of(*point)).collect::<Result<Vec<_>, _>>()?;
    let mut columns: Vec<Rows> = widths.into_iter().map(|d| Rows { d, values: vec![0.0; d * tokens.rows()] }).collect();
    let total = tokens.readings.iter().map(|reading| reading.ids.len() as u64).sum();
    let mut progress = Progress::start(observer, "record", Unit::Tokens, total);
    for batch in batches(&tokens.readings) {
        let found = pass(model, &batch, points)?;
        for ((column, found), point) in columns.iter_mut().zip(found).zip(points) {
            if found.iter().any(|x| !x.is_finite()) {
                return Err(InterpretError::NotFinite { point: *point });
            }
            spread(&batch, &found, column);
        }
        progress.advance(batch.iter().map(|placed| placed.reading.ids.len() as u64).sum())?;
    }
    progress.finish();
    Ok(columns)
}

/// A document, and the number of its first row.
struct Placed<'a> {
    reading: &'a Reading,
    row: usize,
}

/// Documents that have rows, shortest first, in runs that fit into one pass.
fn batches(readings: &[Reading]) -> Vec<Vec<Placed<'_>>> {
    let mut placed = Vec::with_capacity(readings.len());
    let mut row = 0;
    for reading in readings {
        if !reading.counted.is_empty() {
            placed.push(Placed { reading, row });
        }
        row += reading.counted.len();
    }
    placed.sort_by_key(|placed| placed.reading.ids.len());
    let mut batches: Vec<Vec<Placed<'_>>> = Vec::new();
    for placed in placed {
        match batches.last_mut() {
            // The one that comes is the longest, so all are padded to its length.
            Some(batch) if (batch.len() + 1) * placed.reading.ids.len() <= BATCH_TOKENS => batch.push(placed),
            _ => batches.push(vec![placed]),
        }
    }
    batches
}

/// Per point, the rows of the counted tokens of a batch, one document after the other.
fn pass(model: &LanguageModel, batch: &[Placed<'_>], points: &[HookPoint]) -> Result<Vec<Vec<f32>>, InterpretError> {
    let seq = batch.iter().map(|placed| placed.reading.ids.len()).max().unwrap_or(0);
    let (mut ids, mut real, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for (number, Placed { reading, .. }) in batch.iter().enumerate() {
        let n = reading.ids.len();
        ids.extend(reading.ids.iter().map(|id| i64::from(*id)).chain(std::iter::repeat_n(0, seq - n)));
        real.extend((0..seq).map(|at| at < n));
        kept.extend(reading.counted.iter().map(|at| (number * seq + at) as i64));
    }
    let shape = [batch.len() as i64, seq as i64];
    let device = model.device();
    let on_device = |tensor: Tensor| tensor.to_device(device);
    let tokens = on_device(Tensor::from_slice(&ids).view(shape)); // [batch, seq]
    let padded = real.contains(&false);
    let mask = padded.then(|| on_device(Tensor::from_slice(&real).view(shape))); // [batch, seq]
    let input = Input { tokens: &tokens, mask: mask.as_ref(), phase: Phase::Prompt, logits: Logits::Last };
    let rows = on_device(Tensor::from_slice(&kept));
    let mut recorder = Recorder::new(points.to_vec()).of_rows(rows);
    tch::no_grad(|| model.forward_with(&input, None, &mut recorder))?;
    Ok(recorder.take_columns())
}

/// Puts the rows of a batch where they belong.
fn spread(batch: &[Placed<'_>], found: &[f32], column: &mut Rows) {
    let d = column.d;
    let mut from = 0;
    for Placed { reading, row } in batch {
        let n = reading.counted.len() * d;
        column.values[row * d..row * d + n].copy_from_slice(&found[from..from + n]);
        from += n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(n: usize) -> Reading {
        Reading { ids: vec![0; n], counted: (1..n).collect() }
    }

    #[test]
    fn documents_of_like_length_share_a_pass_and_rows_go_back_to_their_places() {
        let readings = [3, 1, BATCH_TOKENS, 2].map(reading);
        let batches = batches(&readings);
        let lengths: Vec<Vec<usize>> =
            batches.iter().map(|b| b.iter().map(|p| p.reading.ids.len()).collect()).collect();
        assert_eq!(lengths, [vec![2, 3], vec![BATCH_TOKENS]], "a document without counted tokens is not read");
        let mut column = Rows { d: 2, values: vec![0.0; 2 * (2 + BATCH_TOKENS - 1 + 1)] };
        spread(&batches[0], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &mut column);
        assert_eq!(column.values[..4], [3.0, 4.0, 5.0, 6.0], "the first document");
        assert_eq!(column.values[column.values.len() - 2..], [1.0, 2.0], "the last one");
    }
}
