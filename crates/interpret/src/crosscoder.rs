//! How well a crosscoder reconstructs each of its activations, and how its features are shared between them.
//!
//! FVU is [`evaluate`](mod@crate::evaluate)'s, of every part on its own and of all parts as the crosscoder was trained on
//! them, equally large: `sum_m s_m^2 |x^m - x_hat^m|^2 / sum_m s_m^2 |x^m - mean(x^m)|^2`.

use crate::bootstrap::Interval;
use crate::error::InterpretError;
use crate::evaluate::Pool;
use crate::progress::Progress;
use serde::Serialize;
use std::sync::Arc;
use untangle_sae::{Codes, Crosscoder};
use untangle_schema::capture::row_flags;
use untangle_schema::{Observer, Unit};
use untangle_store::{ActivationSet, HeldOut, Part, RowBlock, Scan};

/// Rows that are read and encoded together.
const BLOCK_ROWS: usize = 4096;
/// A feature whose share in a part is at most this is absent there (the field's bins of relative norms; chosen).
const ABSENT: f64 = 0.1;
/// Of two parts, shares from 1/2 less this to 1/2 and this more are shared equally.
const EQUAL: f64 = 0.1;

/// What a crosscoder does with one of its parts. Special tokens and outliers are left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartEvaluation {
    /// The model.
    pub model: Option<String>,
    /// The hook point, or the name of a matrix.
    pub hook: String,
    /// Fraction of this part's variance unexplained; lower is better.
    pub fvu: f64,
    /// Its 95 % interval.
    pub fvu_interval: Option<Interval>,
    /// Features that are not dead and write next to nothing into this part.
    pub absent: usize,
    /// Features that are not dead and write next to nothing into any other part.
    pub exclusive: usize,
}

/// What a crosscoder does on the evaluated rows that are neither special tokens nor outliers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CrosscoderEvaluation {
    /// Rows.
    pub rows: u64,
    /// FVU over all parts, equally large.
    pub fvu: f64,
    /// Its 95 % interval.
    pub fvu_interval: Option<Interval>,
    /// Mean number of active features per row.
    pub l0: f64,
    /// Its 95 % interval.
    pub l0_interval: Option<Interval>,
    /// Features.
    pub d_sae: usize,
    /// Features that fire on none of the rows.
    pub dead: usize,
    /// Features that fire on more than a tenth of them.
    pub dense: usize,
    /// Part by part.
    pub parts: Vec<PartEvaluation>,
    /// How the features that are not dead are shared.
    pub sharing: Sharing,
}

/// How features are shared between the parts of a crosscoder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sharing {
    /// Per part, features that write next to nothing into any other.
    pub exclusive: Vec<usize>,
    /// Of two parts, features that both have alike; of more, features absent from none.
    pub shared: usize,
    /// All other features.
    pub between: usize,
    /// Mean cosine of what shared features write into the first part and into every other.
    pub mean_cosine: Option<f64>,
}

/// How those of `crosscoder`'s features are shared that `counts` says.
pub fn sharing(crosscoder: &Crosscoder, counts: impl Fn(usize) -> bool) -> Sharing {
    let parts = crosscoder.parts();
    let mut sharing = Sharing { exclusive: vec![0; parts], shared: 0, between: 0, mean_cosine: None };
    let mut cosines = Vec::new();
    for feature in (0..crosscoder.config().d_sae).filter(|feature| counts(*feature)) {
        let shares = crosscoder.shares(feature);
        let own = shares.iter().position(|share| *share >= 1.0 - ABSENT);
        let shared = match shares[..] {
            [first, _] => (first - 0.5).abs() <= EQUAL,
            _ => shares.iter().all(|share| *share > ABSENT / parts as f64),
        };
        match own {
            Some(part) => sharing.exclusive[part] += 1,
            None if shared => {
                sharing.shared += 1;
                cosines.extend((1..parts).filter_map(|part| crosscoder.cosine(feature, 0, part)));
            }
            None => sharing.between += 1,
        }
    }
    sharing.mean_cosine = (!cosines.is_empty()).then(|| cosines.iter().sum::<f64>() / cosines.len() as f64);
    sharing
}

/// The columns of `store` that `crosscoder` reads, in order: of every part, the one of its hook point and model.
///
/// # Errors
/// When there is none, or its width is not the crosscoder's.
pub fn columns_of(crosscoder: &Crosscoder, store: &ActivationSet) -> Result<Vec<usize>, InterpretError> {
    let d_in = crosscoder.config().d_in;
    let mut taken: Vec<usize> = Vec::new();
    for part in &crosscoder.config().parts {
        let named = store.columns_named(&part.hook_name);
        let weights = |column: &usize| store.model_of(*column).map(|model| model.weights_sha256.clone());
        let same = |column: &&usize| weights(column) == part.model_weights_sha256 && !taken.contains(*column);
        let Some(&column) = named.iter().find(same) else {
            let own = format!("{} of {}", part.hook_name, part.model_name.as_deref().unwrap_or("a matrix"));
            let names = store.columns().iter().enumerate();
            let names = names.map(|(column, about)| match store.model_of(column) {
                Some(model) => format!("{} of {}", about.name, model.name),
                None => about.name.clone(),
            });
            return Err(InterpretError::PartMissing {
                own,
                store: store.name(),
                holds: names.collect::<Vec<_>>().join(", "),
            });
        };
        let found = store.columns()[column].d;
        if found != d_in {
            let what = format!("`{}` of {}", part.hook_name, store.name());
            return Err(InterpretError::WidthDiffers { d_in, what, found });
        }
        taken.push(column);
    }
    Ok(taken)
}

/// Evaluates `crosscoder` on a part of `store`, divided by `held_out`.
///
/// # Errors
/// When the store lacks a part, the rows are none, a value is not finite, or the user asks to stop.
pub fn evaluate_crosscoder(
    crosscoder: &Crosscoder,
    store: &Arc<ActivationSet>,
    held_out: &HeldOut,
    part: Part,
    observer: &dyn Observer,
) -> Result<CrosscoderEvaluation, InterpretError> {
    let columns = columns_of(crosscoder, store)?;
    let mut sums = Sums::new(crosscoder);
    let mut progress = Progress::start(observer, "evaluate", Unit::Rows, store.n_rows());
    let mut scan = Scan::new(Arc::clone(store), held_out, part, &columns, BLOCK_ROWS)?;
    let mut block = RowBlock::default();
    while scan.next_block(&mut block)? {
        sums.add(crosscoder, store, &block)?;
        progress.advance(block.len() as u64)?;
    }
    progress.finish();
    if sums.all.firing.rows() == 0 {
        let part = if part == Part::HeldOut { "the held-out part" } else { "the part" };
        return Err(InterpretError::NoRows { store: store.name(), part });
    }
    Ok(sums.finish(crosscoder))
}

/// Sums over the ordinary rows.
struct Sums {
    all: Pool,
    parts: Vec<Pool>,
    scales: Vec<f32>,
    rows: Vec<f32>,
    codes: Codes,
}

impl Sums {
    fn new(crosscoder: &Crosscoder) -> Self {
        let (m, config) = (crosscoder.parts(), crosscoder.config());
        let (d, f) = (config.d_in, config.d_sae);
        Sums {
            all: Pool::new(m * d, f),
            parts: (0..m).map(|_| Pool::new(d, f)).collect(),
            scales: config.parts.iter().flat_map(|part| vec![part.scale; d]).collect(),
            rows: Vec::new(),
            codes: Codes::new(),
        }
    }

    fn add(&mut self, crosscoder: &Crosscoder, store: &ActivationSet, block: &RowBlock) -> Result<(), InterpretError> {
        let d = crosscoder.config().d_in;
        let kept: Vec<usize> = (0..block.len()).filter(|at| block.flags[*at] & row_flags::EXCLUDED == 0).collect();
        self.rows.clear();
        for at in &kept {
            block.columns.iter().for_each(|column| self.rows.extend_from_slice(&column[at * d..(at + 1) * d]));
        }
        crosscoder.encode(&self.rows, &mut self.codes)?;
        let mut x_hat = vec![0f32; self.rows.len()];
        crosscoder.decode(&self.codes, &mut x_hat)?;
        let groups = kept.iter().map(|at| crate::corpus::document_of(store, block, *at));
        for (row, document) in groups.enumerate() {
            let at = row * self.scales.len()..(row + 1) * self.scales.len();
            let (x, x_hat, active) = (&self.rows[at.clone()], &x_hat[at], self.codes.row(row).0.len());
            for ((pool, x), x_hat) in self.parts.iter_mut().zip(x.chunks_exact(d)).zip(x_hat.chunks_exact(d)) {
                pool.add(document, x, x_hat, active);
            }
            let scaled = |values: &[f32]| values.iter().zip(&self.scales).map(|(v, s)| v * s).collect::<Vec<f32>>();
            self.all.add(document, &scaled(x), &scaled(x_hat), active);
        }
        self.all.firing.update(&self.codes);
        Ok(())
    }

    fn finish(self, crosscoder: &Crosscoder) -> CrosscoderEvaluation {
        let config = crosscoder.config();
        let alive = |feature: usize| self.all.firing.counts()[feature] > 0;
        let shares: Vec<Vec<f64>> = (0..config.d_sae).filter(|f| alive(*f)).map(|f| crosscoder.shares(f)).collect();
        let count = |is: &dyn Fn(&[f64]) -> bool| shares.iter().filter(|shares| is(shares)).count();
        let parts = self.parts.iter().enumerate().map(|(number, pool)| PartEvaluation {
            model: config.parts[number].model_name.clone(),
            hook: config.parts[number].hook_name.clone(),
            fvu: pool.fvu.value(),
            fvu_interval: pool.groups.fvu_interval(),
            absent: count(&|shares| shares[number] <= ABSENT),
            exclusive: count(&|shares| shares[number] >= 1.0 - ABSENT),
        });
        CrosscoderEvaluation {
            rows: self.all.firing.rows(),
            fvu: self.all.fvu.value(),
            fvu_interval: self.all.groups.fvu_interval(),
            l0: self.all.firing.l0(),
            l0_interval: self.all.groups.l0_interval(),
            d_sae: config.d_sae,
            dead: self.all.firing.dead(),
            dense: self.all.firing.dense(),
            parts: parts.collect(),
            sharing: sharing(crosscoder, alive),
        }
    }
}
