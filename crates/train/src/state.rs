//! What training changes: weights, their moments, and the counters of silence.

use crate::adam::{Adam, Optimiser};
use crate::norms::norm_sum;
use crate::penalty::Sparsity;
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
    /// Second moment, of every value or of every row.
    pub v: Buffer<f32>,
}

impl Parameter {
    /// Values with zero moments.
    pub fn new(value: Buffer<f32>) -> Self {
        let (m, v) = (Buffer::zeros(value.len()), Buffer::zeros(value.len()));
        Parameter { value, m, v }
    }

    /// A matrix of rows of this width with zero moments, as the optimiser wants them.
    pub fn rows(len: usize, width: usize, optimiser: Optimiser) -> Self {
        let second = if optimiser == Optimiser::AdamMini { len / width } else { len };
        Parameter { value: Buffer::zeros(len), m: Buffer::zeros(len), v: Buffer::zeros(second) }
    }

    /// One Adam step by gradient `g`.
    #[inline(always)]
    pub fn update(&mut self, adam: Adam, g: &[f32]) {
        adam.update(&mut self.value, &mut self.m, &mut self.v, g);
    }
}

/// Which parameters a dictionary has in training, and how large they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Width of the activations.
    pub d_in: usize,
    /// Width of what is reconstructed: `d_in` but in transcoders.
    pub d_out: usize,
    /// Number of latents.
    pub d_sae: usize,
    /// Number of activations that are read at once; 1 but in crosscoders.
    pub parts: usize,
    /// Names of the parameters that a latent has beside its rows of the matrices and `b_enc`.
    pub extras: &'static [&'static str],
    /// Whether it predicts another activation than the one that it reads.
    pub is_transcoder: bool,
    /// Whether there is a linear way past the latents.
    pub has_skip: bool,
}

/// The state of one dictionary in training. A row per latent in both matrices; activations in units of the normalised
/// data (see [`crate::scale`]).
#[derive(Clone, Debug)]
pub struct TrainState {
    /// Width of the activations.
    pub d_in: usize,
    /// Width of what is reconstructed: `d_in` but in transcoders.
    pub d_out: usize,
    /// Number of latents.
    pub d_sae: usize,
    /// Number of activations that are read at once; 1 but in crosscoders.
    pub parts: usize,
    /// Names of `extras`.
    extra_names: &'static [&'static str],
    /// `[d_sae, d_in]`
    pub w_enc: Parameter,
    /// `[d_sae]`
    pub b_enc: Parameter,
    /// `[d_sae, d_out]`, unit rows
    pub w_dec: Parameter,
    /// `[d_out]`
    pub b_dec: Parameter,
    /// `[d_out, d_in]`, of a transcoder with a skip connection.
    pub w_skip: Option<Parameter>,
    /// Of a crosscoder, the sum of the norms of every decoder row's parts, `[d_sae]`; kept in step by the update. Empty of
    /// others.
    pub norm_sums: Vec<f32>,
    /// What is subtracted from the input of a transcoder, `[d_in]`: its mean, which stays. None of autoencoders, which
    /// subtract `b_dec`.
    pub input_centre: Option<Vec<f32>>,
    /// What a latent of this architecture has besides, `[d_sae]` each, in the order of [`Shape::extras`].
    pub extras: Vec<Parameter>,
    /// The copy of `w_enc` that the encoder product runs on, when that is not in f32; kept in step by the update.
    pub narrow: Option<NarrowWeights>,
    /// Number of the token after which a latent last fired, `[d_sae]`; zero before it ever did.
    pub fired_at: Vec<u64>,
    /// Steps done.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// What the architecture carries from step to step.
    pub carried: Carried,
    /// Running averages of the parameters, in their order; empty where none are kept ([`crate::average`]).
    pub(crate) averages: Vec<Buffer<f32>>,
}

/// Numbers that an architecture carries from step to step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Carried {
    /// The smallest pre-activation that the last batch chose (batch-topk); where the search of the next batch begins.
    pub threshold: f64,
    /// Coefficient of the sparsity penalty.
    pub coefficient: f64,
    /// Running mean of L0 that the coefficient is steered by; zero before the first batch.
    pub mean_l0: f64,
    /// Exponent of p-annealing.
    pub exponent: f64,
    /// Entries per row of the last batch, which decide whether the next step is dense.
    pub entries: f64,
}

impl Carried {
    /// Before the first step of `d_sae` latents whose penalty begins with this coefficient; zero where the loss has none.
    pub(crate) fn first(coefficient: f64, d_sae: usize) -> Self {
        // With random weights, half of the pre-activations are positive.
        Carried { coefficient, exponent: 1.0, entries: d_sae as f64 / 2.0, ..Carried::default() }
    }

    /// The numbers as raw bits, for the checkpoint.
    pub(crate) fn words(&self) -> [u64; 5] {
        [self.threshold, self.coefficient, self.mean_l0, self.exponent, self.entries].map(f64::to_bits)
    }

    /// What [`Carried::words`] gave.
    pub(crate) fn from_words(words: [u64; 5]) -> Self {
        let [threshold, coefficient, mean_l0, exponent, entries] = words.map(f64::from_bits);
        Carried { threshold, coefficient, mean_l0, exponent, entries }
    }
}

impl TrainState {
    /// A state of zeros, with a narrow copy of the encoder where the product does not run in f32.
    pub(crate) fn zeros(shape: Shape, carried: Carried, optimiser: Optimiser, precision: Precision) -> Self {
        let Shape { d_in, d_out, d_sae, parts, extras, is_transcoder, has_skip } = shape;
        let parameter = |len: usize| Parameter::new(Buffer::zeros(len));
        TrainState {
            d_in,
            d_out,
            d_sae,
            parts,
            extra_names: extras,
            w_enc: Parameter::rows(d_sae * d_in, d_in, optimiser),
            b_enc: parameter(d_sae),
            w_dec: Parameter::rows(d_sae * d_out, d_out, optimiser),
            b_dec: parameter(d_out),
            norm_sums: vec![0.0; if parts > 1 { d_sae } else { 0 }],
            w_skip: has_skip.then(|| parameter(d_out * d_in)),
            input_centre: is_transcoder.then(|| vec![0.0; d_in]),
            extras: extras.iter().map(|_| parameter(d_sae)).collect(),
            narrow: NarrowWeights::zeros(precision, d_sae, &vec![1.0; d_in]),
            fired_at: vec![0; d_sae],
            step: 0,
            tokens: 0,
            carried,
            averages: Vec::new(),
        }
    }

    /// Brings the narrow copy of the encoder up to date, after the encoder was set from outside. `spread`, `[d_in]`, says how
    /// unequal the dimensions of the rows are, for the life of the state.
    pub fn narrow_encoder(&mut self, spread: &[f32]) {
        if let Some(narrow) = &self.narrow {
            self.narrow = NarrowWeights::zeros(narrow.precision(), self.d_sae, spread);
        }
        self.copy_encoder();
    }

    /// The same where the rows are as unequal as before.
    pub(crate) fn copy_encoder(&mut self) {
        if let Some(narrow) = &mut self.narrow {
            narrow.copy_from(&self.w_enc.value, self.d_in);
        }
    }

    /// Brings the sums of norms up to date, after the decoder was set from outside.
    pub fn sum_norms(&mut self) {
        let (rows, parts) = (self.w_dec.value.chunks_exact(self.d_out), self.parts);
        self.norm_sums.iter_mut().zip(rows).for_each(|(sum, row)| *sum = norm_sum(row, parts));
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

    /// What is subtracted from normalised rows before they are encoded, `[d_in]`.
    pub fn centre(&self) -> &[f32] {
        self.input_centre.as_deref().unwrap_or(&self.b_dec.value)
    }

    /// The coefficient of the sparsity penalty at this step.
    pub fn lambda(&self, sparsity: Sparsity) -> f64 {
        self.carried.coefficient * ((self.step + 1) as f64 / (sparsity.warm_up + 1) as f64).min(1.0)
    }

    /// What an entry of a batch of `n` rows pays of it, `lambda / n`.
    pub(crate) fn penalty_of_entry(&self, sparsity: Sparsity, n: usize) -> f32 {
        (self.lambda(sparsity) / n as f64) as f32
    }

    /// Latents that have been silent for at least `dead_after` tokens, ascending.
    pub fn dead(&self, dead_after: u64) -> Vec<u32> {
        let silent = |fired_at: u64| self.tokens - fired_at >= dead_after;
        (0u32..).zip(&self.fired_at).filter(|&(_, &at)| silent(at)).map(|(i, _)| i).collect()
    }

    /// Counts a step on a batch of `n` rows, on which these latents fired, `[d_sae]`.
    pub(crate) fn count(&mut self, n: usize, fired: impl IntoIterator<Item = bool>) {
        self.step += 1;
        self.tokens += n as u64;
        let tokens = self.tokens;
        self.fired_at.iter_mut().zip(fired).filter(|(_, fired)| *fired).for_each(|(at, _)| *at = tokens);
    }

    /// Gives the memory of the moments back, when no step is to come.
    pub(crate) fn drop_moments(&mut self) {
        for (_, parameter) in self.parameters_mut() {
            (parameter.m, parameter.v) = (Buffer::zeros(0), Buffer::zeros(0));
        }
    }

    /// The parameters with the names of their tensors, in the order of the checkpoint.
    pub fn parameters(&self) -> Vec<(&'static str, &Parameter)> {
        let mut all =
            vec![("W_enc", &self.w_enc), ("b_enc", &self.b_enc), ("W_dec", &self.w_dec), ("b_dec", &self.b_dec)];
        all.extend(self.extra_names.iter().copied().zip(&self.extras));
        all.extend(self.w_skip.as_ref().map(|w_skip| ("W_skip", w_skip)));
        all
    }

    /// The same, to be changed.
    pub(crate) fn parameters_mut(&mut self) -> Vec<(&'static str, &mut Parameter)> {
        let names = self.extra_names;
        let mut all = vec![
            ("W_enc", &mut self.w_enc),
            ("b_enc", &mut self.b_enc),
            ("W_dec", &mut self.w_dec),
            ("b_dec", &mut self.b_dec),
        ];
        all.extend(names.iter().copied().zip(&mut self.extras));
        all.extend(self.w_skip.as_mut().map(|w_skip| ("W_skip", w_skip)));
        all
    }
}
