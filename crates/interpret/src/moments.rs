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
        let octave = activation.log2() - OCTAVES.start as f32;
        let bin = (octave * BINS_PER_OCTAVE as f32).clamp(0.0, (N_BINS - 1) as f32);
        self.bins[bin as usize] += 1;
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
    fn nothing_counted_is_an_empty_histogram_and_extremes_are_not_lost() {
        assert_eq!(Moments::default().histogram(), Histogram::default());
        let mut moments = Moments::default();
        moments.add(f32::MIN_POSITIVE);
        moments.add(f32::MAX);
        assert_eq!(moments.histogram().counts.iter().sum::<u64>(), 2);
    }
}
