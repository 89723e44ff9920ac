//! What a report says of a finished dictionary, measured by the judge of `untangle_sae`.

use crate::error::TrainError;
use untangle_sae::{Codes, Judge, Sae};

/// Figures of a dictionary on rows; where nothing else is said, on the ordinary ones.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Rows that were looked at, without special tokens and outliers.
    pub(crate) rows: u64,
    /// Rows with them.
    pub(crate) rows_all: u64,
    /// Whether training saw them.
    pub(crate) of_training: bool,
    /// Fraction of variance unexplained.
    pub(crate) fvu: f64,
    /// The same over all rows.
    pub(crate) fvu_all: f64,
    /// The same of every part of a crosscoder; of others one, which is `fvu`.
    pub(crate) fvu_parts: Vec<f64>,
    /// Active features per row.
    pub(crate) l0: f64,
    /// Features that fire on none of the rows.
    pub(crate) dead: usize,
    /// Features that fire on more than a tenth.
    pub(crate) dense: usize,
    /// Features by the logarithm of how often they fire, in bins of [`BIN`] decades that end at 0.
    pub(crate) densities: Vec<u64>,
}

/// Width of a bin in decades.
pub(crate) const BIN: f64 = 0.125;
/// Bins: down to one row in a million.
pub(crate) const BINS: usize = 48;

/// A dictionary before its judge, block of rows by block.
pub(crate) struct Measured<'a> {
    sae: &'a Sae,
    judge: Judge<'a>,
    codes: Codes,
}

impl<'a> Measured<'a> {
    pub(crate) fn new(sae: &'a Sae, judge: Judge<'a>) -> Self {
        Measured { sae, judge, codes: Codes::new() }
    }

    /// Adds rows, `[n, d_in]`, with what is to be predicted of them, `[n, d_out]`; none where it is the rows themselves.
    pub(crate) fn add(&mut self, rows: &[f32], target: Option<&[f32]>, ordinary: &[bool]) -> Result<(), TrainError> {
        self.codes.clear();
        self.sae.encode(rows, &mut self.codes)?;
        Ok(self.judge.add(rows, target.unwrap_or(rows), &self.codes, ordinary)?)
    }

    pub(crate) fn ordinary_rows(&self) -> u64 {
        self.judge.ordinary().rows()
    }

    pub(crate) fn finish(self, of_training: bool) -> Figures {
        let (ordinary, all) = (self.judge.ordinary(), self.judge.all());
        let firing = ordinary.firing();
        let mut densities = vec![0; BINS];
        for feature in (0..firing.counts().len()).filter(|feature| firing.counts()[*feature] > 0) {
            densities[bin(firing.density(feature))] += 1;
        }
        Figures {
            rows: ordinary.rows(),
            rows_all: all.rows(),
            of_training,
            fvu: ordinary.fvu(),
            fvu_all: all.fvu(),
            fvu_parts: ordinary.part_fvus().collect(),
            l0: firing.l0(),
            dead: firing.dead(),
            dense: firing.dense(),
            densities,
        }
    }
}

/// The bin of a density above zero.
fn bin(density: f64) -> usize {
    let from_the_end = (-density.log10() / BIN).floor().clamp(0.0, (BINS - 1) as f64) as usize;
    BINS - 1 - from_the_end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_eighths_of_a_decade_that_end_at_always() {
        assert_eq!([1.0, 0.8, 0.1, 1e-6, 1e-9].map(bin), [47, 47, 39, 0, 0]);
        // 10^-1.2 lies in the tenth bin from the end.
        assert_eq!(bin(10f64.powf(-1.2)), 47 - 9);
    }
}
