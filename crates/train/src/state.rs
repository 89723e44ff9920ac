//! What training changes: weights, their moments, and the counters of silence.

use crate::adam::Adam;
use half::bf16;
use untangle_sae::Precision;
use untangle_sae::kernels::buffer::Buffer;

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
    /// `w_enc` rounded, when the encoder product runs in bf16; kept in step by the update.
    pub w_enc_bf16: Option<Buffer<bf16>>,
    /// Number of the token after which a latent last fired, `[d_sae]`; zero before it ever did.
    pub fired_at: Vec<u64>,
    /// Steps done.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
}

impl TrainState {
    /// A state of zeros, with a bf16 copy of the encoder where the product runs in it.
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
            w_enc_bf16: (precision == Precision::Bf16).then(|| Buffer::zeros(d_sae * d_in)),
            fired_at: vec![0; d_sae],
            step: 0,
            tokens: 0,
        }
    }

    /// Brings the bf16 copy of the encoder up to date, after the encoder was set from outside.
    pub(crate) fn narrow_encoder(&mut self) {
        if let Some(narrow) = &mut self.w_enc_bf16 {
            narrow.narrow_from(&self.w_enc.value);
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
