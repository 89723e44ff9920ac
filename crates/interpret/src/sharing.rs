//! How the features of a crosscoder are shared between its parts: by how much they write into each, and whether they write
//! the same.
//!
//! With the norms of what a feature writes into the parts, each scaled so that the parts are equally large, a part's *weight*
//! beside the feature's strongest part is `norm_m / (norm_m + norm_strongest)`, 0 to 1/2: of two parts the smaller share.
//! A feature is absent from a part where its weight is at most [`ABSENT`], and is one of these:
//!
//! | | |
//! |---|---|
//! | exclusive | absent from all parts but one |
//! | partial | in two parts or more, absent from others; none of two parts |
//! | between | in all parts, in some much more than in others |
//! | alike | in all parts about equally (every weight at least [`EQUAL`]), and in one direction (every cosine at least [`SAME`]) |
//! | turned | in all parts about equally, and in another direction in one than in another |
//! | nowhere | it writes nothing |

use serde::Serialize;
use untangle_sae::Crosscoder;
use untangle_schema::PartShares;

/// Weight up to which a feature is absent (the outer tenths of the field's histograms of relative norms; chosen).
pub const ABSENT: f64 = 0.1;
/// Weight from which it is as much in a part as in the strongest (the middle fifth of these histograms; chosen).
pub const EQUAL: f64 = 0.4;
/// Cosine from which two directions are one: 45 degrees (chosen).
pub const SAME: f64 = 0.7;

/// What a feature is to the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shared {
    /// In this part alone.
    Exclusive(usize),
    /// In several parts and absent from others.
    Partial,
    /// In all parts, unequally.
    Between,
    /// In all parts about equally and in one direction.
    Alike,
    /// In all parts about equally, in different directions.
    Turned,
    /// It writes nothing.
    Nowhere,
}

/// How many features are shared how. Every feature counted is in one place: `exclusive`, `partial`, `between`, `alike`,
/// `turned` and `nowhere` add up to `features`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sharing {
    /// Features counted.
    pub features: usize,
    /// Per part, features in it alone.
    pub exclusive: Vec<usize>,
    /// In several parts and absent from others.
    pub partial: usize,
    /// In all parts, unequally.
    pub between: usize,
    /// In all parts about equally, whatever their directions: `alike` and `turned` together.
    pub shared: usize,
    /// In all parts about equally and in one direction.
    pub alike: usize,
    /// In all parts about equally, in different directions.
    pub turned: usize,
    /// Features that write nothing.
    pub nowhere: usize,
    /// Mean cosine of what `shared` features write into two parts, over all pairs.
    pub mean_cosine: Option<f64>,
}

/// The weight of every part beside the strongest one; zeros of a feature that writes nothing.
fn weights(shares: &[f64]) -> Vec<f64> {
    let strongest = shares.iter().copied().fold(0.0, f64::max);
    shares.iter().map(|share| if strongest > 0.0 { share / (share + strongest) } else { 0.0 }).collect()
}

/// Cosines of what a feature writes into every two parts into which it writes something.
fn cosines(crosscoder: &Crosscoder, feature: usize) -> impl Iterator<Item = f64> + '_ {
    let pairs = (0..crosscoder.parts()).flat_map(|second| (0..second).map(move |first| (first, second)));
    pairs.filter_map(move |(first, second)| crosscoder.cosine(feature, first, second))
}

impl Shared {
    /// The kind as files name it.
    pub const fn name(self) -> &'static str {
        match self {
            Shared::Exclusive(_) => "exclusive",
            Shared::Partial => "partial",
            Shared::Between => "between",
            Shared::Alike => "alike",
            Shared::Turned => "turned",
            Shared::Nowhere => "nowhere",
        }
    }
}

/// All that is known of how a feature is shared.
pub fn part_shares(crosscoder: &Crosscoder, feature: usize) -> PartShares {
    let shares = crosscoder.shares(feature);
    let weights = weights(&shares);
    PartShares {
        kind: shared(crosscoder, feature).name().to_owned(),
        present: (0..weights.len()).filter(|part| weights[*part] > ABSENT).collect(),
        cosines: (1..crosscoder.parts()).map(|part| crosscoder.cosine(feature, 0, part)).collect(),
        shares,
    }
}

/// What a feature is to the parts.
pub fn shared(crosscoder: &Crosscoder, feature: usize) -> Shared {
    let weights = weights(&crosscoder.shares(feature));
    let mut present = (0..weights.len()).filter(|part| weights[*part] > ABSENT);
    match (present.next(), 1 + present.count()) {
        (None, _) => Shared::Nowhere,
        (Some(part), 1) => Shared::Exclusive(part),
        (Some(_), parts) if parts < weights.len() => Shared::Partial,
        _ if weights.iter().any(|weight| *weight < EQUAL) => Shared::Between,
        _ if cosines(crosscoder, feature).all(|cosine| cosine >= SAME) => Shared::Alike,
        _ => Shared::Turned,
    }
}

/// How those of `crosscoder`'s features are shared that `counts` says.
pub fn sharing(crosscoder: &Crosscoder, counts: impl Fn(usize) -> bool) -> Sharing {
    let mut sharing = Sharing {
        features: 0,
        exclusive: vec![0; crosscoder.parts()],
        partial: 0,
        between: 0,
        shared: 0,
        alike: 0,
        turned: 0,
        nowhere: 0,
        mean_cosine: None,
    };
    let (mut sum, mut pairs) = (0.0, 0usize);
    for feature in (0..crosscoder.d_sae()).filter(|feature| counts(*feature)) {
        let kind = shared(crosscoder, feature);
        sharing.features += 1;
        match kind {
            Shared::Exclusive(part) => sharing.exclusive[part] += 1,
            Shared::Partial => sharing.partial += 1,
            Shared::Between => sharing.between += 1,
            Shared::Alike => sharing.alike += 1,
            Shared::Turned => sharing.turned += 1,
            Shared::Nowhere => sharing.nowhere += 1,
        }
        if matches!(kind, Shared::Alike | Shared::Turned) {
            cosines(crosscoder, feature).for_each(|cosine| (sum, pairs) = (sum + cosine, pairs + 1));
        }
    }
    sharing.shared = sharing.alike + sharing.turned;
    sharing.mean_cosine = (pairs > 0).then(|| sum / pairs as f64);
    sharing
}

/// Features that are absent from a part, of those that `counts` says and that write something.
pub(crate) fn absent_from(crosscoder: &Crosscoder, part: usize, counts: impl Fn(usize) -> bool) -> usize {
    let absent = |feature: &usize| {
        let weights = weights(&crosscoder.shares(*feature));
        weights[part] <= ABSENT && weights.iter().any(|weight| *weight > ABSENT)
    };
    (0..crosscoder.d_sae()).filter(|feature| counts(*feature)).filter(absent).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use untangle_sae::kernels::buffer::Buffer;
    use untangle_sae::{Activation, Description, Parts, Place, Provenance};

    /// Parts of width 2 with these scales; features write these rows.
    fn crosscoder(scales: &[f32], rows: &[&[f32]]) -> Crosscoder {
        let (d_all, d_sae) = (2 * scales.len(), rows.len());
        let place = |scale: &f32| Place { hook: Some("a".to_owned()), scale: *scale, ..Place::default() };
        let provenance = Provenance { reads: scales.iter().map(place).collect(), ..Provenance::default() };
        let description = Description { provenance, ..Description::new(d_all, d_sae) };
        let parts = Parts {
            w_enc: Buffer::zeros(d_sae * d_all),
            b_enc: vec![0.0; d_sae],
            w_dec: Buffer::copy_of(&rows.concat()),
            b_dec: vec![0.0; d_all],
            w_skip: None,
            activation: Activation::JumpRelu { threshold: vec![0.0; d_sae] },
        };
        Crosscoder::new(description, parts).expect("fits")
    }

    #[test]
    fn of_two_parts_share_and_direction_decide() {
        use Shared::*;
        let rows: [(&[f32], Shared); 7] = [
            (&[1.0, 0.0, 0.05, 0.0], Exclusive(0)),
            (&[0.0, 0.0, 0.0, 1.0], Exclusive(1)),
            (&[1.0, 0.0, 0.5, 0.0], Alike),
            // Scaled by 2, as long as the other, and at right angles, at 53 and at 37 degrees.
            (&[1.0, 0.0, 0.0, 0.5], Turned),
            (&[1.0, 0.0, 0.3, 0.4], Turned),
            (&[1.0, 0.0, 0.4, 0.3], Alike),
            (&[1.0, 0.0, 0.2, 0.0], Between),
        ];
        let crosscoder = crosscoder(&[1.0, 2.0], &rows.map(|(row, _)| row));
        for (feature, (row, expected)) in rows.iter().enumerate() {
            assert_eq!(shared(&crosscoder, feature), *expected, "{row:?}");
        }
        let found = sharing(&crosscoder, |feature| feature != 6);
        assert_eq!((found.features, &found.exclusive[..], found.partial, found.between), (6, &[1, 1][..], 0, 0));
        assert_eq!((found.shared, found.alike, found.turned), (4, 2, 2));
        // Cosines 1, 0, 0.6 and 0.8.
        assert!((found.mean_cosine.expect("some") - 0.6).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn of_more_parts_every_feature_is_in_one_place_and_absent_where_the_summary_says_so() {
        let rows: [&[f32]; 7] = [
            &[1.0, 0.0, 1.0, 0.0, 1.0, 0.0],  // alike
            &[1.0, 0.0, 1.0, 0.0, -1.0, 0.0], // turned: cosines 1, -1, -1
            &[1.0, 0.0, 1.0, 0.0, 0.1, 0.0],  // absent from the third: 0.1 / 1.1 is less than a tenth
            &[1.0, 0.0, 1.0, 0.0, 0.2, 0.0],  // there, though its share is under a tenth: 0.2 / 1.2 is a sixth
            &[0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
            &[0.0; 6],
            &[1.0, 0.0, 0.1, 0.0, 0.1, 0.0],
        ];
        let crosscoder = crosscoder(&[1.0; 3], &rows);
        let found = sharing(&crosscoder, |_| true);
        assert_eq!((found.alike, found.turned, found.partial, found.between), (1, 1, 1, 1));
        assert_eq!((&found.exclusive[..], found.nowhere, found.features), (&[1, 1, 0][..], 1, 7));
        assert!((found.mean_cosine.expect("some") - (3.0 - 1.0) / 6.0).abs() < 1e-6, "{found:?}");
        assert_eq!([0, 1, 2].map(|part| absent_from(&crosscoder, part, |_| true)), [1, 1, 3]);
    }

    #[test]
    fn counts_add_up_for_any_number_of_parts() {
        for parts in 2..9 {
            let mut state = 7u32;
            let mut number = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Many are small, so that some features are absent from some parts.
                (state >> 8) as f32 / (1 << 24) as f32
            };
            let rows: Vec<Vec<f32>> = (0..200).map(|_| (0..2 * parts).map(|_| number().powi(4)).collect()).collect();
            let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
            let found = sharing(&crosscoder(&vec![1.0; parts], &rows), |_| true);
            let alone: usize = found.exclusive.iter().sum();
            let all = alone + found.partial + found.between + found.alike + found.turned + found.nowhere;
            assert_eq!((all, found.features), (200, 200), "{found:?}");
        }
    }
}
