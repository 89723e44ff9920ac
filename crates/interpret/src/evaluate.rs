//! How well a dictionary reconstructs, and how its features fire, on rows that its training never saw.
//!
//! The figures are those of [`untangle_sae::judge`], which a training's report shows as well; here they are pooled over a
//! part of a store, and [`bootstrap`] intervals over groups of documents are put beside them.

use crate::bootstrap::{self, GROUPS, Interval, group_of};
use crate::corpus::{Corpus, document_of};
use crate::error::InterpretError;
use serde::Serialize;
use untangle_sae::{Codes, Crosscoder, Judge, Sae};
use untangle_schema::Observer;
use untangle_schema::capture::row_flags;
use untangle_store::{ActivationSet, Part, RowBlock};

/// What a dictionary does on the evaluated rows; of a transcoder, FVU is that of what it predicts. Figures are of the
/// ordinary rows, which are the kind that training reads: neither special tokens (BOS and the like) nor rows whose norm is
/// an outlier (attention sinks). Those over all rows say so in their names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Rows, special tokens and outliers included.
    pub rows: u64,
    /// Rows without them.
    pub ordinary_rows: u64,
    /// Rows of special tokens.
    pub special_rows: u64,
    /// Other rows whose norm is an outlier among the store's.
    pub outlier_rows: u64,
    /// Fraction of variance unexplained; lower is better.
    pub fvu: f64,
    /// Its 95 % interval.
    pub fvu_interval: Option<Interval>,
    /// The same over all rows.
    pub fvu_all_rows: f64,
    /// Its 95 % interval.
    pub fvu_all_rows_interval: Option<Interval>,
    /// Mean number of active features per row.
    pub l0: f64,
    /// Its 95 % interval.
    pub l0_interval: Option<Interval>,
    /// The same over all rows.
    pub l0_all_rows: f64,
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
    corpus.each_block(part, sae, "evaluate", observer, |block, codes| {
        let read = &block.columns[0];
        sums.add(corpus.store(), block, (read, block.columns.last().unwrap_or(read)), codes)
    })?;
    sums.finish(corpus.store(), part)
}

/// What a dictionary of any kind does on rows, with what intervals need.
pub(crate) struct Sums<'a> {
    pub(crate) judge: Judge<'a>,
    all: Groups,
    ordinary: Groups,
    /// Of the parts of a crosscoder, over the ordinary rows.
    pub(crate) parts: Vec<Groups>,
    outliers: u64,
}

impl<'a> Sums<'a> {
    fn new(sae: &'a Sae) -> Self {
        let groups = || Groups::new(vec![1.0; sae.d_out()]);
        Self { judge: Judge::new(sae), all: groups(), ordinary: groups(), parts: Vec::new(), outliers: 0 }
    }

    /// Of a crosscoder, whose rows are its parts side by side.
    pub(crate) fn of_crosscoder(crosscoder: &'a Crosscoder) -> Self {
        let (judge, d) = (Judge::of_crosscoder(crosscoder), crosscoder.part_width());
        let scales: Vec<f64> = judge.scales().iter().flat_map(|scale| vec![f64::from(*scale); d]).collect();
        let parts = judge.scales().iter().map(|_| Groups::new(vec![1.0; d])).collect();
        Self { judge, all: Groups::new(scales.clone()), ordinary: Groups::new(scales), parts, outliers: 0 }
    }

    /// Adds a block of rows of `store`, with what is read of them and what is to be reconstructed.
    pub(crate) fn add(
        &mut self,
        store: &ActivationSet,
        block: &RowBlock,
        (read, x): (&[f32], &[f32]),
        codes: &Codes,
    ) -> Result<(), InterpretError> {
        let ordinary: Vec<bool> = block.flags.iter().map(|flags| row_flags::is_ordinary(*flags)).collect();
        self.judge.add(read, x, codes, &ordinary)?;
        let (x, d) = (self.judge.judged(x), x.len() / block.len().max(1));
        let rows = x.chunks_exact(d).zip(self.judge.x_hat().chunks_exact(d));
        for (at, (x, x_hat)) in rows.enumerate() {
            let (group, active) = (group_of(document_of(store, block, at)), codes.row(at).0.len());
            self.all.add(group, x, x_hat, active);
            self.outliers += u64::from(block.flags[at] & row_flags::OUTLIER != 0);
            if ordinary[at] {
                self.ordinary.add(group, x, x_hat, active);
                let width = d / self.parts.len().max(1);
                let of_parts = x.chunks_exact(width).zip(x_hat.chunks_exact(width));
                self.parts.iter_mut().zip(of_parts).for_each(|(part, (x, x_hat))| part.add(group, x, x_hat, active));
            }
        }
        Ok(())
    }

    /// What came of the rows of `part`.
    pub(crate) fn finish(&self, store: &ActivationSet, part: Part) -> Result<Evaluation, InterpretError> {
        let (all, ordinary, outlier_rows) = (self.judge.all(), self.judge.ordinary(), self.outliers);
        if ordinary.rows() == 0 {
            let part = if part == Part::HeldOut { "the held-out part" } else { "the part" };
            return Err(InterpretError::NoRows { store: store.name(), part });
        }
        Ok(Evaluation {
            rows: all.rows(),
            ordinary_rows: ordinary.rows(),
            special_rows: all.rows() - ordinary.rows() - outlier_rows,
            outlier_rows,
            fvu: ordinary.fvu(),
            fvu_interval: self.ordinary.fvu_interval(),
            fvu_all_rows: all.fvu(),
            fvu_all_rows_interval: self.all.fvu_interval(),
            l0: ordinary.firing().l0(),
            l0_interval: self.ordinary.l0_interval(),
            l0_all_rows: all.firing().l0(),
            d_sae: ordinary.firing().counts().len(),
            dead: ordinary.firing().dead(),
            dense: ordinary.firing().dense(),
        })
    }
}

/// Per group of documents, what a resample needs: rows, active features, `|x - x_hat|^2`, `|x - o|^2`, and `x - o` by
/// coordinate, with o the first row seen, so that a large common mean does not eat the variance's digits; every coordinate
/// in units in which all parts are equally large.
pub(crate) struct Groups {
    scales: Vec<f64>,
    origin: Vec<f32>,
    sums: Vec<Vec<f64>>,
}

const ROWS: usize = 0;
const ACTIVE: usize = 1;
const ERROR: usize = 2;
const SQUARE: usize = 3;
const FIRST: usize = 4;

impl Groups {
    /// Of rows whose coordinates have these scales.
    fn new(scales: Vec<f64>) -> Self {
        Self { origin: Vec::new(), sums: vec![vec![0.0; FIRST + scales.len()]; GROUPS], scales }
    }

    fn add(&mut self, group: usize, x: &[f32], x_hat: &[f32], active: usize) {
        if self.origin.is_empty() {
            self.origin = x.to_vec();
        }
        let sums = &mut self.sums[group];
        sums[ROWS] += 1.0;
        sums[ACTIVE] += active as f64;
        let (mut error, mut square) = (0.0, 0.0);
        let coordinates = x.iter().zip(x_hat).zip(&self.origin).zip(&self.scales).zip(&mut sums[FIRST..]);
        for ((((&x, &x_hat), &origin), scale), sum) in coordinates {
            let (e, c) = (scale * (f64::from(x) - f64::from(x_hat)), scale * (f64::from(x) - f64::from(origin)));
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

    fn l0_interval(&self) -> Option<Interval> {
        self.interval(|s| s[ACTIVE] / s[ROWS])
    }
}
