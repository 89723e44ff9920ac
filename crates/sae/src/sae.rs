//! A dictionary for inference: encode activations into features, decode features into activations.
//!
//! ```text
//! p     = W_enc (x - b_dec) + b_enc           pre-activations, [d_sae]
//! f     = sigma(p)                            feature activations, [d_sae], few of them not zero, >= 0 but in abs-top-k
//! x_hat = sum_i f_i d_i + b_dec               reconstruction, d_i the rows of W_dec
//!
//! sigma: relu      f_i = max(p_i, 0)                                 Bricken et al. 2023
//!        top-k     the k largest p_i of the row, then max(., 0)      Gao et al. 2024, section 2.3
//!        abs-top-k the k largest |p_i| of the row, with their signs  arXiv 2510.00404
//!        jump-relu f_i = p_i where p_i > theta_i, else 0             Rajamanoharan et al. 2024b, section 3
//!        gated     f_i = max(exp(r_i) (p_i - b_i) + m_i, 0) where p_i > 0, else 0      Rajamanoharan et al. 2024a
//! ```
//!
//! A transcoder (Dunefsky et al. 2024) predicts the activation y of another place, of width `d_out`, from x. Nothing is
//! subtracted from x, and it may have a skip connection (Paulo et al. 2025):
//!
//! ```text
//! p     = W_enc x + b_enc        y_hat = sum_i f_i d_i + b_dec + W_skip x
//! ```
//!
//! Where its description says so, rows are centred or scaled first, and their reconstructions back (`rows.rs`).

use crate::codes::Codes;
use crate::description::{Description, Provenance};
use crate::error::SaeError;
use crate::kernels::above::{AboveScratch, Found};
use crate::kernels::bounds::Bounds;
use crate::kernels::encode::{Chosen, EncoderWeights, Scratch, TILE_ROWS};
use crate::kernels::int8::GROUP;
use crate::kernels::narrow::NarrowWeights;
use crate::kernels::vector;
use crate::parts::{Activation, Parts};
use crate::precision::Precision;
use crate::rows::RowForm;
use rayon::prelude::*;

/// A dictionary for inference. Nothing in it changes after construction.
///
/// ```
/// use untangle_sae::kernels::buffer::Buffer;
/// use untangle_sae::{Activation, Codes, Description, Parts, Sae};
///
/// // Four features in a plane, two for each axis; `Sae::load` reads a dictionary that was trained.
/// let axes = [1.0, 0.0, -1.0, 0.0, 0.0, 1.0, 0.0, -1.0];
/// let parts = Parts {
///     w_enc: Buffer::copy_of(&axes),
///     b_enc: vec![0.0; 4],
///     w_dec: Buffer::copy_of(&axes),
///     b_dec: vec![0.0; 2],
///     w_skip: None,
///     activation: Activation::Relu,
/// };
/// let sae = Sae::new(Description::new(2, 4), parts)?;
/// let mut codes = Codes::new();
/// sae.encode(&[3.0, -0.5], &mut codes)?;
/// assert_eq!(codes.row(0), (&[0, 3][..], &[3.0, 0.5][..])); // features and how strongly they fire
/// let mut row = [0.0; 2];
/// sae.decode(&codes, &mut row)?;
/// assert_eq!(row, [3.0, -0.5]);
/// # Ok::<(), untangle_sae::SaeError>(())
/// ```
#[derive(Debug)]
pub struct Sae {
    description: Description,
    parts: Parts,
    form: RowForm,
    notes: Vec<String>,
    of_any_model: bool,
    narrow: Option<NarrowWeights>,
    scratch: Scratch,
    above: Option<Above>,
}

/// What dictionaries whose features fire above a bound of their own are encoded with.
#[derive(Debug)]
struct Above {
    bounds: Bounds,
    scratch: AboveScratch,
}

/// Rows up to which all pre-activations are computed in f32: where a short tile is padded to a full one, and where it is not, as in
/// bytes (16 rows at 65,536 features of width 768 take 8 ms in bytes and 60 ms in f32).
const FEW_ROWS: usize = 32;
const FEW_ROWS_BESIDE_BYTES: usize = 1;
/// The same where all that exceed a bound are wanted.
const FEW_ROWS_ABOVE: usize = 16;

impl Sae {
    /// A dictionary of these tensors, so described.
    ///
    /// # Errors
    /// When a length does not follow from `d_in` and `d_sae`, k exceeds `d_sae`, or rows of one column are to be divided by their
    /// standard deviation.
    pub fn new(description: Description, parts: Parts) -> Result<Self, SaeError> {
        let form = RowForm::of(&description)?;
        let (d, f) = (description.d_in, description.d_sae);
        let d_out = description.d_out.unwrap_or(d);
        let check = |what, expected: usize, found: usize| {
            let error = SaeError::Shape { what, expected: vec![expected], found: vec![found] };
            if expected == found { Ok(()) } else { Err(error) }
        };
        check("W_enc", d * f, parts.w_enc.len())?;
        check("W_dec", d_out * f, parts.w_dec.len())?;
        check("b_enc", f, parts.b_enc.len())?;
        check("b_dec", d_out, parts.b_dec.len())?;
        parts.w_skip.as_ref().map_or(Ok(()), |w_skip| check("W_skip", d_out * d, w_skip.len()))?;
        match &parts.activation {
            Activation::JumpRelu { threshold } => check("threshold", f, threshold.len())?,
            Activation::Gated { r_mag, b_mag } => {
                check("r_mag", f, r_mag.len())?;
                check("b_mag", f, b_mag.len())?;
            }
            Activation::TopK { k } | Activation::AbsTopK { k } if *k == 0 || *k > f => {
                return Err(SaeError::Shape { what: "k within d_sae", expected: vec![f], found: vec![*k] });
            }
            _ => {}
        }
        let narrow = narrow_copy(&parts, description.d_out.is_some(), d, f);
        let (notes, of_any_model, scratch) = (Vec::new(), false, Scratch::default());
        let mut sae = Sae { description, parts, form, notes, of_any_model, narrow, scratch, above: None };
        let bound = match &sae.parts.activation {
            Activation::TopK { .. } | Activation::AbsTopK { .. } => None,
            Activation::Relu | Activation::Gated { .. } => Some(vec![0.0; f]),
            Activation::JumpRelu { threshold } => Some(threshold.iter().map(|theta| theta.max(0.0)).collect()),
        };
        sae.above =
            bound.map(|bound| Above { bounds: Bounds::new(&sae.weights(), bound), scratch: AboveScratch::default() });
        Ok(sae)
    }

    /// What it is beside its tensors.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Where it belongs.
    pub fn provenance(&self) -> &Provenance {
        &self.description.provenance
    }

    /// What the field calls a dictionary that computes this, such as `topk`, `jumprelu` or `jumprelu_skip_transcoder`.
    pub fn architecture(&self) -> String {
        self.parts.architecture(self.is_transcoder())
    }

    /// Features that every row has at most, where that is a number of its own.
    pub fn k(&self) -> Option<usize> {
        self.parts.k()
    }

    /// The tensors.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// What its files say and is not used, or used in a way that users should know; a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The dictionary with what was noted while its files were read.
    pub(crate) fn with_notes(self, notes: Vec<String>) -> Self {
        Sae { notes, ..self }
    }

    /// The same dictionary, to be used on whatever model and whatever model's rows it is given.
    pub fn of_any_model(self) -> Self {
        Sae { of_any_model: true, ..self }
    }

    /// Whether it is to be used on any model.
    pub fn is_of_any_model(&self) -> bool {
        self.of_any_model
    }

    pub(crate) fn form(&self) -> &RowForm {
        &self.form
    }

    /// Whether the mean over the width is taken off rows, or off what is predicted, because the model's writing weights were
    /// centred.
    pub fn takes_means_off(&self) -> bool {
        self.form.centres() || self.form.judges_centred()
    }

    /// Width of the activations.
    pub fn d_in(&self) -> usize {
        self.description.d_in
    }

    /// Width of the reconstructions: `d_in` but in transcoders.
    pub fn d_out(&self) -> usize {
        self.description.d_out.unwrap_or(self.description.d_in)
    }

    /// Whether what is predicted is another activation than what is read.
    pub fn is_transcoder(&self) -> bool {
        self.description.d_out.is_some()
    }

    /// Number of features.
    pub fn d_sae(&self) -> usize {
        self.description.d_sae
    }

    /// What the feature writes: its row of `W_dec`, `[d_out]`.
    pub fn decoder_row(&self, feature: usize) -> &[f32] {
        &self.parts.w_dec[feature * self.d_out()..(feature + 1) * self.d_out()]
    }

    /// Replaces `codes` by the active features of `rows`, `[n, d_in]`. The set is that of f32 arithmetic (see
    /// [`crate::kernels::encode`] for how sure that is); ties of the k-th place go to the lower index.
    ///
    /// # Errors
    /// When the slice is not a number of whole rows.
    pub fn encode(&self, rows: &[f32], codes: &mut Codes) -> Result<(), SaeError> {
        let d = self.d_in();
        if !rows.len().is_multiple_of(d) {
            return Err(SaeError::Shape { what: "whole rows to encode", expected: vec![d], found: vec![rows.len()] });
        }
        codes.clear();
        match (&self.parts.activation, &self.above) {
            (Activation::TopK { k } | Activation::AbsTopK { k }, _) if rows.len() / d > self.few_rows() => {
                self.encode_top_k(rows, *k, codes)
            }
            (_, Some(above)) if rows.len() / d > FEW_ROWS_ABOVE => self.encode_above(rows, above, codes),
            _ => {
                self.encode_few(rows, codes);
                Ok(())
            }
        }
    }

    pub(crate) fn weights(&self) -> EncoderWeights<'_> {
        EncoderWeights {
            w_enc: &self.parts.w_enc,
            narrow: self.narrow.as_ref(),
            b_enc: &self.parts.b_enc,
            d_in: self.d_in(),
        }
    }

    pub(crate) fn centred(&self, rows: &[f32]) -> Vec<f32> {
        let mut centred = rows.to_vec();
        if !self.form.is_plain() {
            centred.chunks_exact_mut(self.d_in()).for_each(|row| self.form.enter(row));
        }
        if self.description.subtracts_b_dec && !self.is_transcoder() {
            for row in centred.chunks_exact_mut(self.d_in()) {
                row.iter_mut().zip(&self.parts.b_dec).for_each(|(x, b)| *x -= b);
            }
        }
        centred
    }

    pub(crate) fn few_rows(&self) -> usize {
        if matches!(self.narrow, Some(NarrowWeights::Int8(_))) { FEW_ROWS_BESIDE_BYTES } else { FEW_ROWS }
    }

    /// Rows of a tile, where there are `n`: of few rows every thread gets some, but where a short tile would be padded to a
    /// full one, which only products in bytes do not need.
    fn tile_rows(&self, n: usize) -> usize {
        match &self.narrow {
            Some(NarrowWeights::Int8(_)) => {
                n.div_ceil(rayon::current_num_threads()).next_multiple_of(GROUP).min(TILE_ROWS)
            }
            _ => TILE_ROWS,
        }
    }

    fn encode_top_k(&self, rows: &[f32], k: usize, codes: &mut Codes) -> Result<(), SaeError> {
        let (d, n) = (self.d_in(), rows.len() / self.d_in());
        let by_magnitude = matches!(self.parts.activation, Activation::AbsTopK { .. });
        let (mut indices, mut pre_acts) = (vec![0u32; n * k], vec![0f32; n * k]);
        let tile = self.tile_rows(n);
        rows.par_chunks(tile * d)
            .zip(indices.par_chunks_mut(tile * k))
            .zip(pre_acts.par_chunks_mut(tile * k))
            .try_for_each(|((rows, indices), pre_acts)| {
                let (weights, centred) = (self.weights(), self.centred(rows));
                match by_magnitude {
                    true => weights.choose_by_magnitude(&centred, k, &self.scratch, indices, pre_acts),
                    false => weights.choose(&centred, k, &self.scratch, Chosen::of(indices, pre_acts)),
                }
                .map(|_| ())
            })?;
        for (indices, pre_acts) in indices.chunks_exact(k).zip(pre_acts.chunks_exact(k)) {
            let fires = |p: f32| p > 0.0 || (by_magnitude && p < 0.0);
            codes.push_row(indices.iter().copied().zip(pre_acts.iter().copied()).filter(|&(_, p)| fires(p)));
        }
        Ok(())
    }

    fn encode_above(&self, rows: &[f32], above: &Above, codes: &mut Codes) -> Result<(), SaeError> {
        let tile = |rows: &[f32]| {
            let mut found = Found::default();
            self.weights().choose_above(&self.centred(rows), &above.bounds, &above.scratch, &mut found).map(|()| found)
        };
        let tiles = rows.par_chunks(TILE_ROWS * self.d_in()).map(tile).collect::<Result<Vec<_>, _>>()?;
        for found in tiles {
            for row in 0..found.n_rows() {
                let at = found.row(row);
                let entries = found.latents[at.clone()].iter().zip(&found.pre_acts[at]);
                codes.push_row(entries.map(|(&i, &p)| (i, self.magnitude(i, p))).filter(|&(_, f)| f > 0.0));
            }
        }
        Ok(())
    }

    /// The activation of a feature whose pre-activation exceeds its bound.
    pub(crate) fn magnitude(&self, feature: u32, p: f32) -> f32 {
        let i = feature as usize;
        match &self.parts.activation {
            Activation::Gated { r_mag, b_mag } => r_mag[i].exp() * (p - self.parts.b_enc[i]) + b_mag[i],
            _ => p,
        }
    }

    /// Writes what the features of all rows of `codes` add up to, with `b_dec`, to `out`, `[n_rows, d_out]`: the
    /// reconstructions, but for what a skip connection adds and for scale and mean of the rows (see [`Sae::reconstruct`]).
    ///
    /// # Errors
    /// When `out` has another length.
    pub fn decode(&self, codes: &Codes, out: &mut [f32]) -> Result<(), SaeError> {
        let d = self.d_out();
        if out.len() != codes.n_rows() * d {
            let (expected, found) = (vec![codes.n_rows(), d], vec![out.len()]);
            return Err(SaeError::Shape { what: "decode", expected, found });
        }
        out.par_chunks_exact_mut(d).enumerate().for_each(|(row, out)| {
            let (features, activations) = codes.row(row);
            out.copy_from_slice(&self.parts.b_dec);
            vector::dispatch(
                #[inline(always)]
                || add_rows(out, &self.parts.w_dec, features, activations),
            );
        });
        Ok(())
    }
}

/// The encoder in the arithmetic that is fastest here. How unequal the dimensions of the rows are is not known, but the
/// decoder's columns say: they were learned to add up to those rows, and the encoder's are learned the other way round.
/// Those of a transcoder add up to something else.
fn narrow_copy(parts: &Parts, is_transcoder: bool, d: usize, f: usize) -> Option<NarrowWeights> {
    let column_sizes = |matrix: &[f32]| {
        let mut sums = vec![f32::MIN_POSITIVE; d];
        matrix.chunks_exact(d).for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, w)| *sum += w.abs()));
        sums
    };
    let read = column_sizes(&parts.w_enc);
    let written = if is_transcoder { vec![1.0; d] } else { column_sizes(&parts.w_dec) };
    let spread: Vec<f32> = written.iter().zip(&read).map(|(written, read)| written / read).collect();
    let mut narrow = NarrowWeights::zeros(Precision::fastest(), f, &spread)?;
    narrow.copy_from(&parts.w_enc, d);
    Some(narrow)
}

#[inline(always)]
fn add_rows(out: &mut [f32], w_dec: &[f32], features: &[u32], activations: &[f32]) {
    let d = out.len();
    for (&feature, &activation) in features.iter().zip(activations) {
        let at = feature as usize * d;
        vector::axpy(out, activation, &w_dec[at..at + d]);
    }
}
