//! How well a dictionary reconstructs, and how its features fire, on rows that its training never saw.
//!
//! The metrics and their formulas are [`untangle_sae::metrics`]'; here they are pooled over a part of a store, and
//! [`bootstrap`] intervals over groups of documents are put beside them.

use crate::bootstrap::{self, GROUPS, Interval, group_of};
use crate::corpus::Corpus;
use crate::error::InterpretError;
use serde::Serialize;
use untangle_sae::metrics::{FiringCounts, Fvu};
use untangle_sae::{Codes, Sae};
use untangle_schema::Observer;
use untangle_schema::capture::row_flags;
use untangle_store::{Part, RowBlock};

/// What a dictionary does on the evaluated rows; of a transcoder, FVU is that of what it predicts. Special tokens (BOS and the like) and rows whose norm is an outlier
/// (attention sinks) count only where it says so; what is "without special" is without both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Rows, special tokens and outliers included.
    pub rows: u64,
    /// Rows of special tokens.
    pub special_rows: u64,
    /// Other rows whose norm is an outlier among the store's.
    pub outlier_rows: u64,
    /// Fraction of variance unexplained over all rows; lower is better.
    pub fvu: f64,
    /// Its 95 % interval.
    pub fvu_interval: Option<Interval>,
    /// The same without special tokens.
    pub fvu_without_special: f64,
    /// Its 95 % interval.
    pub fvu_without_special_interval: Option<Interval>,
    /// Mean number of active features per row over all rows.
    pub l0: f64,
    /// The same without special tokens.
    pub l0_without_special: f64,
    /// Its 95 % interval.
    pub l0_without_special_interval: Option<Interval>,
    /// Features of the dictionary.
    pub d_sae: usize,
    /// Features that fire on none of the ordinary rows.
    pub dead: usize,
    /// Features that fire on more than a tenth of them.
    pub dense: usize,
}

/// Evaluates `sae` on a part of `corpus`.
///
/// # Errors
/// When the part is empty, a value is not finite, or the user asks to stop.
pub fn evaluate(sae: &Sae, corpus: &Corpus, part: Part, observer: &dyn Observer) -> Result<Evaluation, InterpretError> {
    let mut sums = Sums::new(sae);
    corpus.each_block(part, sae, "evaluate", observer, |block, codes| sums.add(sae, corpus, block, codes))?;
    if sums.ordinary.firing.rows() == 0 {
        let part = if part == Part::HeldOut { "the held-out part" } else { "the part" };
        return Err(InterpretError::NoRows { store: corpus.store().name(), part });
    }
    Ok(sums.finish())
}

/// Sums over a set of rows, pooled and by group of documents.
pub(crate) struct Pool {
    pub(crate) fvu: Fvu,
    pub(crate) firing: FiringCounts,
    pub(crate) groups: Groups,
}

impl Pool {
    /// Sums of rows of this width and of so many features.
    pub(crate) fn new(width: usize, d_sae: usize) -> Self {
        Self { fvu: Fvu::new(width), firing: FiringCounts::new(d_sae), groups: Groups::new(width) }
    }

    /// Adds a row of a document with its reconstruction and its number of active features; firings are counted apart.
    pub(crate) fn add(&mut self, document: u64, x: &[f32], x_hat: &[f32], active: usize) {
        self.fvu.update(x, x_hat);
        self.groups.add(group_of(document), x, x_hat, active);
    }
}

struct Sums {
    all: Pool,
    ordinary: Pool,
    outliers: u64,
    x_hat: Vec<f32>,
    kept: (Vec<f32>, Vec<f32>, Codes),
}

impl Sums {
    fn new(sae: &Sae) -> Self {
        let pool = || Pool::new(sae.d_out(), sae.d_sae());
        let (all, ordinary) = (pool(), pool());
        Self { all, ordinary, outliers: 0, x_hat: Vec::new(), kept: Default::default() }
    }

    fn add(&mut self, sae: &Sae, corpus: &Corpus, block: &RowBlock, codes: &Codes) -> Result<(), InterpretError> {
        let (d, read) = (sae.d_out(), &block.columns[0][..]);
        let x = block.columns.last().map_or(read, |column| &column[..]);
        self.x_hat.resize(x.len(), 0.0);
        sae.reconstruct(read, codes, &mut self.x_hat)?;
        let mut centred = Vec::new();
        let x = match sae.judges_centred() {
            true => {
                centred.extend_from_slice(x);
                sae.centre_judged(&mut centred, &mut self.x_hat);
                &centred[..]
            }
            false => x,
        };
        self.all.fvu.update(x, &self.x_hat);
        self.all.firing.update(codes);
        let (kept_x, kept_x_hat, kept_codes) = &mut self.kept;
        kept_x.clear();
        kept_x_hat.clear();
        kept_codes.clear();
        for (at, (x, x_hat)) in x.chunks_exact(d).zip(self.x_hat.chunks_exact(d)).enumerate() {
            let group = group_of(corpus.document_of(block, at));
            let (features, activations) = codes.row(at);
            self.all.groups.add(group, x, x_hat, features.len());
            self.outliers += u64::from(block.flags[at] & row_flags::OUTLIER != 0);
            if block.flags[at] & row_flags::EXCLUDED == 0 {
                self.ordinary.groups.add(group, x, x_hat, features.len());
                kept_x.extend_from_slice(x);
                kept_x_hat.extend_from_slice(x_hat);
                kept_codes.push_row(features.iter().copied().zip(activations.iter().copied()));
            }
        }
        self.ordinary.fvu.update(kept_x, kept_x_hat);
        self.ordinary.firing.update(kept_codes);
        Ok(())
    }

    fn finish(self) -> Evaluation {
        let (all, ordinary, outlier_rows) = (self.all, self.ordinary, self.outliers);
        let (rows, ordinary_rows) = (all.firing.rows(), ordinary.firing.rows());
        Evaluation {
            rows,
            special_rows: rows - ordinary_rows - outlier_rows,
            outlier_rows,
            fvu: all.fvu.value(),
            fvu_interval: all.groups.fvu_interval(),
            fvu_without_special: ordinary.fvu.value(),
            fvu_without_special_interval: ordinary.groups.fvu_interval(),
            l0: all.firing.l0(),
            l0_without_special: ordinary.firing.l0(),
            l0_without_special_interval: ordinary.groups.l0_interval(),
            d_sae: ordinary.firing.counts().len(),
            dead: ordinary.firing.dead(),
            dense: ordinary.firing.dense(),
        }
    }
}

/// Per group of documents, what a resample needs: rows, active features, `|x - x_hat|^2`, `|x - o|^2`, and `x - o` by
/// coordinate, with o the first row seen, so that a large common mean does not eat the variance's digits.
pub(crate) struct Groups {
    origin: Vec<f32>,
    sums: Vec<Vec<f64>>,
}

const ROWS: usize = 0;
const ACTIVE: usize = 1;
const ERROR: usize = 2;
const SQUARE: usize = 3;
const FIRST: usize = 4;

impl Groups {
    fn new(width: usize) -> Self {
        Self { origin: Vec::new(), sums: vec![vec![0.0; FIRST + width]; GROUPS] }
    }

    fn add(&mut self, group: usize, x: &[f32], x_hat: &[f32], active: usize) {
        if self.origin.is_empty() {
            self.origin = x.to_vec();
        }
        let sums = &mut self.sums[group];
        sums[ROWS] += 1.0;
        sums[ACTIVE] += active as f64;
        let (mut error, mut square) = (0.0, 0.0);
        for (((&x, &x_hat), &origin), sum) in x.iter().zip(x_hat).zip(&self.origin).zip(&mut sums[FIRST..]) {
            let (e, c) = (f64::from(x) - f64::from(x_hat), f64::from(x) - f64::from(origin));
            error += e * e;
            square += c * c;
            *sum += c;
        }
        sums[ERROR] += error;
        sums[SQUARE] += square;
    }

    fn interval(&self, metric: impl Fn(&[f64]) -> f64) -> Option<Interval> {
        let held: Vec<Vec<f64>> = self.sums.iter().filter(|sums| sums[ROWS] > 0.0).cloned().collect();
        bootstrap::interval(&held, 0, metric)
    }

    pub(crate) fn fvu_interval(&self) -> Option<Interval> {
        self.interval(|s| s[ERROR] / (s[SQUARE] - s[FIRST..].iter().map(|x| x * x).sum::<f64>() / s[ROWS]))
    }

    pub(crate) fn l0_interval(&self) -> Option<Interval> {
        self.interval(|s| s[ACTIVE] / s[ROWS])
    }
}
