//! How often and how strongly one feature fires.

use untangle_schema::Histogram;

/// Bins per factor of two.
const BINS_PER_OCTAVE: i32 = 2;
/// Lowest and highest edge as powers of two; what lies outside is counted in the outermost bins.
const OCTAVES: std::ops::Range<i32> = -16..16;
const N_BINS: usize = ((OCTAVES.end - OCTAVES.start) * BINS_PER_OCTAVE) as usize;

/// Accumulates the activations of one feature.
#[derive(Clone, Debug)]
pub struct Moments {
    firings: u64,
    sum: f64,
    max: f32,
    bins: Box<[u64; N_BINS]>,
}

impl Default for Moments {
    fn default() -> Self {
        Self { firings: 0, sum: 0.0, max: 0.0, bins: Box::new([0; N_BINS]) }
    }
}

impl Moments {
    /// Counts one activation above 0.
    pub fn add(&mut self, activation: f32) {
        self.firings += 1;
        self.sum += f64::from(activation);
        self.max = self.max.max(activation);
        self.bins[bin(activation)] += 1;
    }

    /// Rows on which the feature fires.
    pub fn firings(&self) -> u64 {
        self.firings
    }

    /// Largest activation, 0 where it never fires.
    pub fn max(&self) -> f32 {
        self.max
    }

    /// Mean over the rows on which it fires, 0 where it never fires.
    pub fn mean(&self) -> f32 {
        if self.firings == 0 { 0.0 } else { (self.sum / self.firings as f64) as f32 }
    }

    /// The bins between the first and the last that hold something.
    pub fn histogram(&self) -> Histogram {
        let Some(first) = self.bins.iter().position(|&n| n > 0) else { return Histogram::default() };
        let last = self.bins.iter().rposition(|&n| n > 0).unwrap_or(first);
        let edge = |bin: usize| (OCTAVES.start as f32 + bin as f32 / BINS_PER_OCTAVE as f32).exp2();
        Histogram { edges: (first..=last + 1).map(edge).collect(), counts: self.bins[first..=last].to_vec() }
    }
}

/// The bin of an activation, of which the exponent is the octave: at or above an edge, and below the next.
fn bin(activation: f32) -> usize {
    let bits = activation.to_bits();
    // Of numbers too small to have an exponent it is below all octaves, as they are.
    let octave = (bits >> 23) as i32 - 127;
    let is_upper_half = bits & 0x007f_ffff >= std::f32::consts::SQRT_2.to_bits() & 0x007f_ffff;
    let bin = (octave - OCTAVES.start) * BINS_PER_OCTAVE + i32::from(is_upper_half);
    bin.clamp(0, N_BINS as i32 - 1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_four_activations_are_those_computed_by_hand() {
        let mut moments = Moments::default();
        [1.0, 1.25, 2.5, 5.0].into_iter().for_each(|a| moments.add(a));
        assert_eq!((moments.firings(), moments.max(), moments.mean()), (4, 5.0, 2.4375));
        let histogram = moments.histogram();
        // Edges 1, 1.41, 2, 2.83, 4, 5.66.
        assert_eq!(histogram.counts, [2, 0, 1, 0, 1]);
        assert_eq!(histogram.edges.len(), 6);
        assert_eq!((histogram.edges[0], histogram.edges[2], histogram.edges[4]), (1.0, 2.0, 4.0));
    }

    #[test]
    fn bins_are_those_of_logarithms() {
        let by_logarithm = |activation: f32| {
            let octave = f64::from(activation).log2() - f64::from(OCTAVES.start);
            (octave * f64::from(BINS_PER_OCTAVE)).clamp(0.0, (N_BINS - 1) as f64) as usize
        };
        let steps = (0..4000).map(|at| 1e-7f32 * 1.01f32.powi(at % 3600) * (1.0 + at as f32 * 1e-5));
        for activation in steps.chain([1.0, 2.0, 0.5, f32::MIN_POSITIVE, 1e-42, f32::MAX, 3.0]) {
            assert_eq!(bin(activation), by_logarithm(activation), "{activation}");
        }
    }

    #[test]
    fn nothing_counted_is_an_empty_histogram_and_extremes_are_not_lost() {
        assert_eq!(Moments::default().histogram(), Histogram::default());
        let mut moments = Moments::default();
        moments.add(f32::MIN_POSITIVE);
        moments.add(f32::MAX);
        assert_eq!(moments.histogram().counts.iter().sum::<u64>(), 2);
    }
}
