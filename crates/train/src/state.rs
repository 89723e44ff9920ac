//! What training changes: weights, their moments, and the counters of silence.

use crate::adam::Adam;
use untangle_sae::Precision;
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::kernels::encode::EncoderWeights;
use untangle_sae::kernels::narrow::NarrowWeights;

/// A parameter with its two Adam moments.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// The values.
    pub value: Buffer<f32>,
    /// First moment.
    pub m: Buffer<f32>,
    /// Second moment.
    pub v: Buffer<f32>,
}

impl Parameter {
    /// Values with zero moments.
    pub fn new(value: Buffer<f32>) -> Self {
        let (m, v) = (Buffer::zeros(value.len()), Buffer::zeros(value.len()));
        Parameter { value, m, v }
    }

    /// One Adam step by gradient `g`.
    #[inline(always)]
    pub fn update(&mut self, adam: Adam, g: &[f32]) {
        adam.update(&mut self.value, &mut self.m, &mut self.v, g);
    }
}

/// The state of one dictionary in training. A row per latent in both matrices; activations in units of the normalised
/// data (see [`crate::init`]).
#[derive(Clone, Debug)]
pub struct TrainState {
    /// Width of the activations.
    pub d_in: usize,
    /// Number of latents.
    pub d_sae: usize,
    /// Latents per row.
    pub k: usize,
    /// `[d_sae, d_in]`
    pub w_enc: Parameter,
    /// `[d_sae]`
    pub b_enc: Parameter,
    /// `[d_sae, d_in]`, unit rows
    pub w_dec: Parameter,
    /// `[d_in]`
    pub b_dec: Parameter,
    /// The copy of `w_enc` that the encoder product runs on, when that is not in f32; kept in step by the update.
    pub narrow: Option<NarrowWeights>,
    /// Number of the token after which a latent last fired, `[d_sae]`; zero before it ever did.
    pub fired_at: Vec<u64>,
    /// Steps done.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
}

impl TrainState {
    /// A state of zeros, with a narrow copy of the encoder where the product does not run in f32.
    pub(crate) fn zeros(d_in: usize, d_sae: usize, k: usize, precision: Precision) -> Self {
        let parameter = |len: usize| Parameter::new(Buffer::zeros(len));
        TrainState {
            d_in,
            d_sae,
            k,
            w_enc: parameter(d_sae * d_in),
            b_enc: parameter(d_sae),
            w_dec: parameter(d_sae * d_in),
            b_dec: parameter(d_in),
            narrow: NarrowWeights::zeros(precision, d_sae, &vec![1.0; d_in]),
            fired_at: vec![0; d_sae],
            step: 0,
            tokens: 0,
        }
    }

    /// Brings the narrow copy of the encoder up to date, after the encoder was set from outside. `spread`, `[d_in]`, says how
    /// unequal the dimensions of the rows are, for the life of the state.
    pub fn narrow_encoder(&mut self, spread: &[f32]) {
        if let Some(narrow) = &self.narrow {
            self.narrow = NarrowWeights::zeros(narrow.precision(), self.d_sae, spread);
        }
        if let Some(narrow) = &mut self.narrow {
            narrow.copy_from(&self.w_enc.value, self.d_in);
        }
    }

    /// The encoder as the kernels want it.
    pub fn encoder(&self) -> EncoderWeights<'_> {
        EncoderWeights {
            w_enc: &self.w_enc.value,
            narrow: self.narrow.as_ref(),
            b_enc: &self.b_enc.value,
            d_in: self.d_in,
        }
    }

    /// Latents that have been silent for at least `dead_after` tokens, ascending.
    pub fn dead(&self, dead_after: u64) -> Vec<u32> {
        let silent = |fired_at: u64| self.tokens - fired_at >= dead_after;
        (0u32..).zip(&self.fired_at).filter(|&(_, &at)| silent(at)).map(|(i, _)| i).collect()
    }

    /// The parameters with the names of their tensors, in the order of the checkpoint.
    pub fn parameters(&self) -> [(&'static str, &Parameter); 4] {
        [("W_enc", &self.w_enc), ("b_enc", &self.b_enc), ("W_dec", &self.w_dec), ("b_dec", &self.b_dec)]
    }
}
