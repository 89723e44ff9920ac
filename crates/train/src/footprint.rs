//! What a run takes before it has begun: memory, disk and arithmetic, from the sizes of the buffers that training allocates.
//!
//! ```text
//! weights      2 F d, each with two moments (Adam-mini: one, and one of every row), and the encoder again where the product
//!              runs in bf16 or bytes
//! a step       5 or 7 products of 2 n F d FLOPs where it is dense; else one, and 12 n e d for e entries per row
//! ```
//!
//! with `n` rows of width `d` in a batch and `F` latents. Memory is largest in one of three moments: at the start, when
//! the rows that scale and mean are taken from are there; in a step; or at the end, when the weights are written.

use crate::adam::Optimiser;
use crate::arch::top_k::MOST_KEPT;
use crate::begin::SAMPLE_ROWS;
use crate::config::TrainConfig;
use crate::constraint::Freeze;
use crate::dense::{CHUNK_ELEMENTS, DENSE_ROWS};
use crate::density;
use crate::job::Run;
use crate::log::RECORDS;
use crate::plan::TrainPlan;
use serde::Serialize;
use untangle_sae::Precision;
use untangle_sae::kernels::encode::TILE_ROWS;
use untangle_store::RowBlock;

/// Bytes of memory by what they are for, each at its largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Weights, moments, and copies of the weights that the product runs on.
    pub weights: u64,
    /// Rows on their way from the source: batches that are read ahead.
    pub batches: u64,
    /// Intermediate results of a step.
    pub step: u64,
    /// The rows that scale and mean are taken from, at the start.
    pub sample: u64,
    /// The folded weights and the bytes that are written, at the end.
    pub finish: u64,
}

impl Memory {
    /// The largest sum of what is there at one time.
    pub fn peak(&self) -> u64 {
        let training = self.weights + self.batches + self.step;
        training.max(self.weights + self.sample).max(self.finish)
    }
}

/// Bytes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// The finished dictionaries.
    pub result: u64,
    /// The unfinished run at its largest: two checkpoints while one replaces the other, or one beside the result.
    pub unfinished: u64,
}

/// Floating-point operations of a step, a multiplication and an addition being two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Flops {
    /// Where so much fires that the products are dense.
    pub dense: f64,
    /// Where as much fires as is aimed at.
    pub sparse: f64,
}

/// Rows that are read once more at the end, of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowsAtTheEnd {
    /// For thresholds.
    pub calibration: usize,
    /// For the figures of the report.
    pub report: usize,
}

/// Bytes of a logged step, in `metrics.jsonl` and in the report.
const RECORD_BYTES: u64 = 330;
/// Bytes of `cfg.json`, `training.json` and the frame of the report.
const DOCUMENTS_BYTES: u64 = 20_000;
/// Batches that exist at a time: in use, on its way, and being filled.
const BATCHES: u64 = 3;
/// Bytes of an entry: latent, pre-activation, activation and gradient by row; row, activation and gradient by latent; and a
/// third more candidates than are chosen (batch-topk).
const ENTRY_BYTES: u64 = 36;
/// One latent in so many is dead where reviving is planned for.
pub(crate) const DEAD: usize = 10;
/// FLOPs of Adam for a weight: moments, their correction, the quotient, the normalisation of the decoder.
const ADAM_FLOPS: f64 = 14.0;

impl TrainPlan {
    /// Elements of one matrix; of a transcoder whose two have different widths, of both on average.
    fn matrix(&self) -> u64 {
        let (d_in, d_out) = self.widths();
        self.d_sae as u64 * (d_in + d_out) as u64 / 2
    }

    /// Elements of the skip connection; none in most.
    fn skip(&self) -> u64 {
        let (d_in, d_out) = self.widths();
        if self.architecture.has_skip() { (d_in * d_out) as u64 } else { 0 }
    }

    /// Active features per row that are aimed at, or a usual number where a coefficient decides.
    pub(crate) fn aimed_l0(&self) -> f64 {
        self.architecture.target_l0().unwrap_or(TrainConfig::default().k as f64).min(self.d_sae as f64)
    }

    /// Entries per row that a step without dense products has.
    pub fn entries(&self) -> f64 {
        (self.architecture.entries_per_active() * self.aimed_l0()).min(self.d_sae as f64)
    }

    /// Bytes of values and moments as a checkpoint holds them.
    fn checkpoint_bytes(&self) -> u64 {
        let (f, d) = (self.d_sae as u64, self.d_in as u64);
        let second = if self.optimiser == Optimiser::AdamMini { f } else { self.matrix() };
        let vectors = f + d + f * self.architecture.extras().len() as u64 + self.skip();
        let averages = if self.ema.is_some() { 2 * self.matrix() + vectors } else { 0 };
        4 * (2 * (2 * self.matrix() + second) + 3 * vectors + averages) + 8 * f + 8 * d
    }

    /// Bytes of the weights in training.
    fn weights_bytes(&self) -> u64 {
        let drawn = if self.freeze == Some(Freeze::SoftDecoder) { 4 * self.d_sae * self.widths().1 } else { 0 };
        self.checkpoint_bytes() + self.narrow_bytes() + drawn as u64
    }

    fn narrow_bytes(&self) -> u64 {
        match self.precision() {
            Precision::F32 => 0,
            Precision::Bf16 => 2 * self.matrix(),
            Precision::Int8 => self.matrix() + 4 * self.d_sae as u64,
        }
    }

    /// Bytes of what a step computes on the way, dense where the architecture begins so.
    fn step_bytes(&self, threads: u64) -> u64 {
        let (n, f, d) = (self.batch as u64, self.d_sae as u64, self.d_in as u64);
        let bytes_of = |entries: f64| (ENTRY_BYTES as f64 * n as f64 * entries) as u64;
        let tiles =
            threads * TILE_ROWS as u64 * (4 * d + if self.precision() == Precision::F32 { 4 * f.min(4096) } else { 0 });
        let sparse =
            4 * n * d * (1 + self.architecture.most_groups() as u64) + bytes_of(self.entries()) + tiles + 4 * 4 * f;
        match self.architecture.sparsity() {
            None if self.precision() == Precision::Int8 && self.architecture.keeps_proposals() => {
                sparse + 4 * (n * f / DEAD as u64).min(MOST_KEPT as u64)
            }
            None => sparse,
            Some(_) => {
                let rows = (CHUNK_ELEMENTS as u64 / f / DENSE_ROWS as u64).max(1) * DENSE_ROWS as u64;
                let element = if self.precision() == Precision::Bf16 { 2 } else { 4 };
                // Of what has more products, one more matrix between them.
                let gated = self.architecture.dense_products() > 5.0;
                let of_worker = threads * DENSE_ROWS as u64 * (element * (d + if gated { f } else { 0 }) + f);
                let chunk = element * n.min(rows) * (3 * f + d) + of_worker;
                // The decoder in two bytes, or in one byte twice, by rows and by columns.
                let decoder = if self.precision() == Precision::F32 { 0 } else { 2 * self.matrix() };
                // On the way down, as many entries as are not yet done densely.
                let most = density::dense_above(Precision::F32, self.d_in) * f as f64;
                sparse + (8 * self.matrix() + chunk + decoder).max(bytes_of(most))
            }
        }
    }

    /// FLOPs of a step.
    pub fn flops(&self) -> Flops {
        let (n, d, matrix) = (self.batch as f64, self.d_in as f64, self.matrix() as f64);
        let product = 2.0 * n * matrix;
        let optimiser = 2.0 * ADAM_FLOPS * matrix;
        // Recomputed, decoded, differentiated, and gathered into both matrices, some of it twice for the norm.
        let sparse = product + 12.0 * n * d * self.entries() + optimiser;
        match self.architecture.sparsity() {
            Some(_) => Flops { dense: self.architecture.dense_products() * product + optimiser, sparse },
            None => Flops { dense: sparse, sparse },
        }
    }

    /// Bytes of the finished weights.
    fn result_bytes(&self) -> u64 {
        let thresholds = u64::from(self.architecture.kind().has_thresholds());
        let thresholds = thresholds.max(self.architecture.extras().len() as u64);
        4 * (2 * self.matrix() + self.skip() + self.d_in as u64 + (1 + thresholds) * self.d_sae as u64)
    }
}

/// The memory of a run of these dictionaries by so many threads, without the process itself and without what the source
/// of rows keeps; `at_the_end` are rows that are read once more.
pub fn memory(runs: &[Run], widths: &[usize], threads: usize, at_the_end: RowsAtTheEnd) -> Memory {
    let row = |d: &usize| 4 * *d as u64;
    let values: u64 = widths.iter().map(row).sum();
    let batch = runs.first().map_or(0, |run| run.plan.batch as u64);
    let plans = || runs.iter().map(|run| &run.plan);
    let mut steps: Vec<u64> = plans().map(|plan| plan.step_bytes(threads as u64)).collect();
    steps.sort_unstable_by(|a, b| b.cmp(a));
    let weights: u64 = plans().map(TrainPlan::weights_bytes).sum();
    // Without moments, which are given back first; the largest is folded, then written.
    let kept: u64 = plans().map(|plan| 8 * plan.matrix() + plan.narrow_bytes()).sum();
    let of_finish = |plan: &TrainPlan| {
        // As they are, and centred.
        let rows = if plan.architecture.is_calibrated() { 8 * at_the_end.calibration } else { 0 };
        24 * plan.matrix() + (rows * plan.d_in) as u64
    };
    Memory {
        weights,
        batches: BATCHES * batch * (values + RowBlock::BYTES_ABOUT_A_ROW),
        step: steps.iter().take(threads).sum(),
        sample: (SAMPLE_ROWS as u64).max(batch) * (values + RowBlock::BYTES_ABOUT_A_ROW),
        finish: kept + plans().map(of_finish).max().unwrap_or(0),
    }
}

/// The disk that a run of these dictionaries takes.
pub fn disk(runs: &[Run]) -> Disk {
    let plans = || runs.iter().map(|run| &run.plan);
    let logs = |plan: &TrainPlan| plan.schedule.steps.min(RECORDS) * RECORD_BYTES;
    let result: u64 = plans().map(|plan| plan.result_bytes() + logs(plan) + DOCUMENTS_BYTES).sum();
    let checkpoint: u64 = plans().map(TrainPlan::checkpoint_bytes).sum();
    Disk { result, unfinished: checkpoint + checkpoint.max(result) }
}
