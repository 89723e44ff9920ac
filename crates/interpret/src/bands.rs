//! Fifths of the range of a feature's activations: equal in width, and not in what lies in them.
//!
//! Quantiles of equal count say what a feature is usually like; of most features nearly all of them are weak firings. Bands of
//! equal width show every strength alike: whether a feature means the same where it is weak, and from where on.

use crate::extremes::Firing;
use untangle_schema::{FeatureCard, Histogram};

/// Bands, from 0 to the largest activation that was seen.
pub const BANDS: usize = 5;

/// The band of an activation, from 0, of a feature that reaches `max`.
pub fn number(activation: f32, max: f32) -> usize {
    let width = max / BANDS as f32;
    ((activation / width).floor().max(0.0) as usize).min(BANDS - 1)
}

/// Lower end, upper end, and the part of all firings that lie between: of bins of the histogram that lie in two bands, by where their
/// middle is.
pub fn ends(card: &FeatureCard, band: usize) -> [f32; 3] {
    let width = card.max_activation / BANDS as f32;
    let (low, high) = (band as f32 * width, (band + 1) as f32 * width);
    let Histogram { edges, counts } = &card.histogram;
    // The middle of the last bin may lie above what was seen.
    let within = |ends: &[f32]| number((ends[0] * ends[1]).sqrt(), card.max_activation) == band;
    let inside: u64 = edges.windows(2).zip(counts).filter(|(ends, _)| within(ends)).map(|(_, count)| count).sum();
    let all: u64 = counts.iter().sum();
    [low, high, inside as f32 / all.max(1) as f32]
}

/// `n` of each band, the uppermost first, of firings in an order that says nothing.
pub(crate) fn of_each(firings: &[Firing], max: f32, n: usize) -> Vec<Firing> {
    let of_band = |band| firings.iter().filter(move |firing| number(firing.activation, max) == band).take(n).copied();
    let mut chosen = Vec::new();
    for band in (0..BANDS).rev() {
        let mut of_band: Vec<Firing> = of_band(band).collect();
        of_band.sort_by(Firing::rank);
        chosen.extend(of_band);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_is_a_fifth_of_the_largest_activation() {
        let histogram = Histogram { edges: vec![0.5, 2.0, 8.0, 12.5], counts: vec![6, 3, 1] };
        let card = FeatureCard { max_activation: 10.0, histogram, ..FeatureCard::default() };
        // Middles at 1, 4 and 10.
        assert_eq!(ends(&card, number(1.5, 10.0)), [0.0, 2.0, 0.6]);
        assert_eq!(ends(&card, number(4.0, 10.0)), [4.0, 6.0, 0.3]);
        assert_eq!(ends(&card, number(10.0, 10.0)), [8.0, 10.0, 0.1]);
        assert_eq!(number(2.0, 10.0), 1, "ends belong to the band above");
    }

    #[test]
    fn every_band_gives_its_first_strongest_before_weak() {
        let firing = |activation: f32, row: u64| Firing { activation, row, document: 0, position: 0 };
        let all = [firing(1.0, 0), firing(0.5, 1), firing(0.1, 2), firing(9.0, 3), firing(10.0, 4), firing(5.0, 5)];
        let rows: Vec<u64> = of_each(&all, 10.0, 2).iter().map(|firing| firing.row).collect();
        assert_eq!(rows, [4, 3, 5, 0, 1], "the third of the lowest band is one too many");
    }
}
