//! A crosscoder for inference: features of several activations at once, of several hook points or of several models
//! (Lindsey et al. 2024).
//!
//! ```text
//! p       = sum_m W_enc^m x^m + b_enc               pre-activations, [d_sae]
//! f_i     = p_i where p_i > theta_i and p_i > 0, else 0
//! x_hat^m = sum_i f_i d_i^m + b_dec^m               for each of the M parts
//! ```
//!
//! It is a dictionary of the parts put side by side. The decoder row of a feature is unit over all parts together, never in
//! each, so its norms say where the feature lives: with the parts' scales `s_m`, which make them equally large,
//!
//! ```text
//! share of part m = s_m |d_i^m| / sum_m' s_m' |d_i^m'|        cosine of two parts = d_i^m · d_i^m' / (|d_i^m| |d_i^m'|)
//! ```
//!
//! Of two models, a share near 0 or 1 is a feature of one model alone, near 1/2 of both.

use crate::codes::Codes;
use crate::description::{Description, Place};
use crate::error::SaeError;
use crate::parts::Parts;
use crate::sae::Sae;

/// A crosscoder for inference. Nothing in it changes after construction.
#[derive(Debug)]
pub struct Crosscoder {
    joined: Sae,
}

impl Crosscoder {
    /// A crosscoder of these tensors, the parts side by side: both matrices `[d_sae, M d_in]`, `b_dec` `[M d_in]`. The activations that
    /// its description says it reads are the parts, all of one width.
    ///
    /// # Errors
    /// When a length does not follow from the description, or its width is not that of so many parts.
    pub fn new(description: Description, parts: Parts) -> Result<Self, SaeError> {
        let (width, m) = (description.d_in, description.provenance.reads.len());
        if m == 0 || !width.is_multiple_of(m) {
            return Err(SaeError::Shape { what: "parts of a crosscoder", expected: vec![width], found: vec![m] });
        }
        Ok(Crosscoder { joined: Sae::new(description, parts)? })
    }

    /// What it is beside its tensors; widths are those of all parts side by side.
    pub fn description(&self) -> &Description {
        self.joined.description()
    }

    /// The activations that are read and reconstructed, in order.
    pub fn places(&self) -> &[Place] {
        &self.description().provenance.reads
    }

    /// Number of parts.
    pub fn parts(&self) -> usize {
        self.places().len()
    }

    /// Width of every part.
    pub fn part_width(&self) -> usize {
        self.joined.d_in() / self.parts()
    }

    /// Number of features.
    pub fn d_sae(&self) -> usize {
        self.joined.d_sae()
    }

    /// The dictionary of the parts side by side: it encodes and decodes rows `[n, M d_in]`.
    pub fn joined(&self) -> &Sae {
        &self.joined
    }

    /// What a feature writes into a part, `[d_in]`.
    pub fn decoder_row(&self, feature: usize, part: usize) -> &[f32] {
        let d = self.part_width();
        &self.joined.decoder_row(feature)[part * d..(part + 1) * d]
    }

    /// The share of every part in a feature's decoder norms, `[M]`, each 0 to 1; zeros of a feature that writes nothing.
    pub fn shares(&self, feature: usize) -> Vec<f64> {
        let norm = |part: usize| {
            f64::from(self.places()[part].scale)
                * dot(self.decoder_row(feature, part), self.decoder_row(feature, part)).sqrt()
        };
        let norms: Vec<f64> = (0..self.parts()).map(norm).collect();
        let total: f64 = norms.iter().sum();
        norms.iter().map(|norm| if total > 0.0 { norm / total } else { 0.0 }).collect()
    }

    /// The cosine of what a feature writes into two parts, -1 to 1; none where it writes nothing into one.
    pub fn cosine(&self, feature: usize, first: usize, second: usize) -> Option<f64> {
        let (a, b) = (self.decoder_row(feature, first), self.decoder_row(feature, second));
        let lengths = (dot(a, a) * dot(b, b)).sqrt();
        (lengths > 0.0).then(|| dot(a, b) / lengths)
    }

    /// Replaces `codes` by the active features of rows of all parts side by side, `[n, M d_in]`.
    ///
    /// # Errors
    /// When the slice is not a number of whole rows.
    pub fn encode(&self, rows: &[f32], codes: &mut Codes) -> Result<(), SaeError> {
        self.joined.encode(rows, codes)
    }

    /// Writes the reconstructions of all rows of `codes`, all parts side by side, to `out`, `[n_rows, M d_in]`.
    ///
    /// # Errors
    /// When `out` has another length.
    pub fn decode(&self, codes: &Codes, out: &mut [f32]) -> Result<(), SaeError> {
        self.joined.decode(codes, out)
    }
}

/// A product summed in f64.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::description::Provenance;
    use crate::kernels::buffer::Buffer;
    use crate::parts::Activation;
    use std::fs;
    use untangle_schema::sae::files;

    /// Two parts of width 2; feature 0 lives in the first, feature 1 in both alike but for the scale of the second.
    pub(crate) fn two_parts() -> Crosscoder {
        let place = |scale| Place {
            hook: Some("blocks.0.hook_resid_post".to_owned()),
            model: Some("m".to_owned()),
            scale,
            ..Place::default()
        };
        let reads = vec![place(1.0), place(2.0)];
        let provenance = Provenance { reads, ..Provenance::default() };
        let description = Description { provenance, ..Description::new(4, 2) };
        let parts = Parts {
            w_enc: Buffer::copy_of(&[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]),
            b_enc: vec![0.5, -1.0],
            w_dec: Buffer::copy_of(&[0.0, 1.0, 0.0, 0.0, 0.8, 0.0, 0.0, 0.4]),
            b_dec: vec![0.0, 0.0, 0.0, 10.0],
            w_skip: None,
            activation: Activation::JumpRelu { threshold: vec![0.0, 2.0] },
        };
        Crosscoder::new(description, parts).expect("fits")
    }

    #[test]
    fn parts_are_read_together_and_written_apart() {
        let crosscoder = two_parts();
        let (mut codes, mut out) = (Codes::new(), vec![0f32; 8]);
        // p = (1 + 0.5, 2 + 3 - 1) and (-0.5, 1 + 2 - 1 = 2, which does not exceed 2).
        crosscoder.encode(&[1.0, 2.0, 9.0, 3.0, -1.0, 1.0, 0.0, 2.0], &mut codes).expect("fits");
        crosscoder.decode(&codes, &mut out).expect("fits");
        assert_eq!(out, [4.0f32 * 0.8, 1.5, 0.0, 4.0 * 0.4 + 10.0, 0.0, 0.0, 0.0, 10.0]);
    }

    #[test]
    fn shares_are_of_equally_large_parts() {
        let crosscoder = two_parts();
        assert_eq!(crosscoder.shares(0), [1.0, 0.0]);
        let shares = crosscoder.shares(1);
        assert!((shares[0] - 0.5).abs() < 1e-7 && (shares[1] - 0.5).abs() < 1e-7, "{shares:?}");
        assert_eq!((crosscoder.cosine(0, 0, 1), crosscoder.cosine(1, 0, 1)), (None, Some(0.0)));
    }

    #[test]
    fn it_survives_saving_and_loading_and_no_autoencoder_is_made_of_it() {
        let (dir, crosscoder) = (tempfile::tempdir().expect("dir"), two_parts());
        crosscoder.save(dir.path()).expect("saves");
        assert!(Crosscoder::is_at(dir.path()));
        let again = Crosscoder::load(dir.path()).expect("loads");
        assert_eq!(again.written(), crosscoder.written());
        assert_eq!(again.places(), crosscoder.places());
        let (a, b) = (again.joined().parts(), crosscoder.joined().parts());
        assert_eq!((&a.w_enc[..], &a.w_dec[..], &a.b_dec, &a.b_enc), (&b.w_enc[..], &b.w_dec[..], &b.b_dec, &b.b_enc));
        assert_eq!(a.activation, b.activation);
        let message = Sae::load(dir.path()).expect_err("not an autoencoder").to_string();
        assert!(
            message.contains("is a crosscoder") && message.contains("features, encode, read and steer take it"),
            "{message}"
        );
        let path = dir.path().join(files::CONFIG);
        let text = fs::read_to_string(&path).expect("read").replace("\"d_in\": 2", "\"d_in\": 3");
        fs::write(&path, text).expect("written");
        let message = Crosscoder::load(dir.path()).expect_err("3 is not 2").to_string();
        assert!(message.contains("`W_enc` has shape [2, 2, 2] where [2, 3, 2] is expected"), "{message}");
    }
}
