//! A vector as a sparse sum of features: `v = sum_i a_i d_i + rest`.
//!
//! Matching pursuit (Mallat and Zhang 1993): again and again the feature whose direction has most of what is left, with
//! `a_i = r . d_i / |d_i|^2`; a negative one is a feature that the vector turns down. What is explained is `1 - |rest|^2 / |v|^2`.

use super::problem::VectorProblem;
use crate::error::InterpretError;
use crate::point::written_point_of;
use serde::Serialize;
use untangle_sae::Sae;
use untangle_schema::HookPoint;

/// A vector in features.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// Features and their shares, in the order in which they were found.
    pub parts: Vec<Part>,
    /// The share of the vector's square that all of them together explain, 0 to 1.
    pub explained: f64,
}

/// A feature of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Part {
    /// The feature.
    pub feature: usize,
    /// How much of it the vector is, in units of activation.
    pub activation: f64,
    /// What is explained with it and those before it.
    pub explained: f64,
}

/// The `n` features of `sae`, at most, that make up most of a vector at `point`.
///
/// # Errors
/// When the dictionary writes elsewhere.
pub fn explain(vector: &[f32], point: HookPoint, sae: &Sae, n: usize) -> Result<Explanation, InterpretError> {
    let written = written_point_of(sae)?;
    if written != point {
        return Err(VectorProblem::WritesElsewhere { written: written.to_string() }.into());
    }
    if sae.d_out() != vector.len() {
        let (d_out, what) = (sae.d_out(), format!("the vector at {point}"));
        return Err(InterpretError::OutputWidthDiffers { d_out, what, found: vector.len() });
    }
    let squares: Vec<f64> = (0..sae.d_sae()).map(|feature| square(sae.decoder_row(feature))).collect();
    let mut rest: Vec<f64> = vector.iter().map(|x| f64::from(*x)).collect();
    let whole = rest.iter().map(|x| x * x).sum::<f64>();
    let (mut parts, mut explained) = (Vec::<Part>::new(), 0.0);
    // The same feature may be found again; it is one part nevertheless.
    for _ in 0..4 * n {
        let along = |feature: usize| {
            let row = sae.decoder_row(feature);
            row.iter().zip(&rest).map(|(d, r)| f64::from(*d) * r).sum::<f64>()
        };
        let gains = (0..sae.d_sae()).filter(|feature| squares[*feature] > 0.0).map(|feature| (feature, along(feature)));
        let gain = |(feature, along): &(usize, f64)| along * along / squares[*feature];
        let Some((feature, along)) = gains.max_by(|a, b| gain(a).total_cmp(&gain(b)).then(b.0.cmp(&a.0))) else {
            break;
        };
        let known = parts.iter().position(|part| part.feature == feature);
        if along == 0.0 || (known.is_none() && parts.len() == n) {
            break;
        }
        let activation = along / squares[feature];
        rest.iter_mut().zip(sae.decoder_row(feature)).for_each(|(r, d)| *r -= activation * f64::from(*d));
        explained = 1.0 - rest.iter().map(|x| x * x).sum::<f64>() / whole;
        match known {
            Some(at) => parts[at].activation += activation,
            None => parts.push(Part { feature, activation, explained }),
        }
    }
    Ok(Explanation { parts, explained })
}

fn square(row: &[f32]) -> f64 {
    row.iter().map(|x| f64::from(*x).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use untangle_sae::kernels::buffer::Buffer;
    use untangle_sae::{Activation, Description, Parts, Provenance};
    use untangle_schema::Site;

    const POINT: HookPoint = HookPoint::block(0, Site::ResidPost);

    #[test]
    fn a_sum_of_features_is_found_again() {
        let provenance = Provenance::at(&POINT.to_string());
        let parts = Parts {
            w_enc: Buffer::zeros(9),
            b_enc: vec![0.0; 3],
            w_dec: Buffer::copy_of(&[1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]),
            b_dec: vec![0.0; 3],
            w_skip: None,
            activation: Activation::Relu,
        };
        let sae = Sae::new(Description { provenance, ..Description::new(3, 3) }, parts).expect("fits");
        let found = explain(&[2.0, -6.0, 1.0], POINT, &sae, 5).expect("there");
        let features: Vec<(usize, f64)> = found.parts.iter().map(|part| (part.feature, part.activation)).collect();
        assert_eq!(features, [(1, -3.0), (0, 2.0)], "the longest first, and none that writes nothing");
        assert!((found.explained - 40.0 / 41.0).abs() < 1e-12, "{found:?}");
        assert!((found.parts[0].explained - 36.0 / 41.0).abs() < 1e-12, "{found:?}");
        let one = explain(&[2.0, -6.0, 1.0], POINT, &sae, 1).expect("there");
        assert_eq!(one.parts[..], found.parts[..1]);
        let elsewhere = explain(&[1.0; 3], HookPoint::block(1, Site::ResidPost), &sae, 1).expect_err("another point");
        assert!(elsewhere.to_string().contains("writes at blocks.0.hook_resid_post"), "{elsewhere}");
    }
}
