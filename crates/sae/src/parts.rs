//! The tensors of a dictionary, and what they alone say of it.

use crate::kernels::buffer::Buffer;

/// The non-linearity of a dictionary.
#[derive(Clone, Debug, PartialEq)]
pub enum Activation {
    /// Everything positive fires.
    Relu,
    /// The k largest of a row fire, where positive.
    TopK {
        /// Features per row.
        k: usize,
    },
    /// The k of a row with the largest magnitudes fire, with their signs.
    AbsTopK {
        /// Features per row.
        k: usize,
    },
    /// What exceeds its own threshold fires.
    JumpRelu {
        /// `[d_sae]`
        threshold: Vec<f32>,
    },
    /// Where the gate, which is the pre-activation, is open, a scaled and shifted copy of it fires.
    Gated {
        /// `r`, the logarithm of the scale, `[d_sae]`
        r_mag: Vec<f32>,
        /// `m`, `[d_sae]`
        b_mag: Vec<f32>,
    },
}

/// The tensors of a dictionary, a row per feature in both matrices. `d_out` is `d_in` but in transcoders.
#[derive(Clone, Debug)]
pub struct Parts {
    /// `[d_sae, d_in]`
    pub w_enc: Buffer<f32>,
    /// `[d_sae]`; of gated dictionaries that of the gate
    pub b_enc: Vec<f32>,
    /// `[d_sae, d_out]`
    pub w_dec: Buffer<f32>,
    /// `[d_out]`
    pub b_dec: Vec<f32>,
    /// `[d_out, d_in]`, of transcoders with a skip connection.
    pub w_skip: Option<Buffer<f32>>,
    /// The non-linearity.
    pub activation: Activation,
}

impl Parts {
    /// Features that every row has at most, where that is a number of its own.
    pub fn k(&self) -> Option<usize> {
        match self.activation {
            Activation::TopK { k } | Activation::AbsTopK { k } => Some(k),
            Activation::Relu | Activation::JumpRelu { .. } | Activation::Gated { .. } => None,
        }
    }

    /// What the field calls a dictionary of such tensors, such as `topk`, `jumprelu` or `jumprelu_skip_transcoder`.
    pub(crate) fn architecture(&self, is_transcoder: bool) -> String {
        let (alone, before) = match self.activation {
            Activation::Relu => ("standard", ""),
            Activation::TopK { .. } => ("topk", "topk_"),
            Activation::AbsTopK { .. } => ("abstopk", "abstopk_"),
            Activation::JumpRelu { .. } => ("jumprelu", "jumprelu_"),
            Activation::Gated { .. } => ("gated", "gated_"),
        };
        match (is_transcoder, &self.w_skip) {
            (false, _) => alone.to_owned(),
            (true, None) => format!("{before}transcoder"),
            (true, Some(_)) => format!("{before}skip_transcoder"),
        }
    }

    /// Makes ranking and activations "times decoder norm" a property of the weights: with n_i = |d_i|, `(n_i w_i) · x`, biases and
    /// thresholds times n_i, and `d_i / n_i` give n_i times the activations and the same reconstruction.
    pub(crate) fn fold_decoder_norms(&mut self) {
        let (d_in, d_out) = (self.w_enc.len() / self.b_enc.len().max(1), self.b_dec.len());
        let (mut none, mut nothing) = (Vec::new(), Vec::new());
        // The scale of a gated feature's copy stays: it is of the pre-activation, which has grown.
        let further = match &mut self.activation {
            Activation::JumpRelu { threshold } => threshold,
            Activation::Gated { b_mag, .. } => b_mag,
            Activation::Relu | Activation::TopK { .. } | Activation::AbsTopK { .. } => &mut none,
        };
        if further.is_empty() {
            nothing.resize(self.b_enc.len(), 0.0);
        }
        let further = if further.is_empty() { &mut nothing } else { further };
        let rows = self.w_enc.chunks_exact_mut(d_in).zip(self.w_dec.chunks_exact_mut(d_out));
        for (((w_enc, w_dec), b_enc), further) in rows.zip(&mut self.b_enc).zip(further.iter_mut()) {
            let norm = w_dec.iter().map(|v| v * v).sum::<f32>().sqrt();
            if norm > 0.0 {
                w_enc.iter_mut().for_each(|w| *w *= norm);
                w_dec.iter_mut().for_each(|w| *w /= norm);
                *b_enc *= norm;
                *further *= norm;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::Codes;
    use crate::description::Description;
    use crate::sae::Sae;

    /// Three features that read a row of 2 and write one of 3, with decoder norms 5, 2 and 0.
    fn parts(activation: Activation) -> Parts {
        Parts {
            w_enc: Buffer::copy_of(&[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
            b_enc: vec![0.5, -0.25, 1.0],
            w_dec: Buffer::copy_of(&[3.0, 4.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0]),
            b_dec: vec![0.0, 1.0, 0.0],
            w_skip: None,
            activation,
        }
    }

    #[test]
    fn folding_norms_multiplies_activations_and_keeps_reconstructions() {
        let description = Description { d_out: Some(3), ..Description::new(2, 3) };
        let x = [1.0f32, 2.0, -0.25, 0.5, 0.75, -1.0];
        let run = |parts: Parts| {
            let sae = Sae::new(description.clone(), parts).expect("fits");
            let (mut codes, mut out) = (Codes::new(), vec![0f32; 9]);
            sae.encode(&x, &mut codes).expect("rows fit");
            sae.reconstruct(&x, &codes, &mut out).expect("rows fit");
            (codes, out)
        };
        let gated = Activation::Gated { r_mag: vec![0.25, -0.5, 0.0], b_mag: vec![0.125, 0.5, -0.25] };
        for activation in [Activation::Relu, Activation::JumpRelu { threshold: vec![1.0, 0.2, 0.0] }, gated] {
            let mut folded = parts(activation.clone());
            folded.fold_decoder_norms();
            let ((before, x_hat), (after, again)) = (run(parts(activation)), run(folded));
            assert_eq!(before.features(), after.features());
            for row in 0..3 {
                for (feature, norm) in [5.0, 2.0, 1.0].into_iter().enumerate() {
                    let (f, folded) = (before.activation(row, feature), after.activation(row, feature));
                    assert!((folded - norm * f).abs() < 1e-5, "{row} {feature}: {folded} is not {norm} times {f}");
                }
            }
            assert!(x_hat.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }

    #[test]
    fn folding_norms_by_hand() {
        // Rows of 2 and of 3: the first feature's norm is |(3, 4, 0)| = 5, the second's |(0, 0, 2)| = 2, the third writes nothing.
        let mut folded = parts(Activation::JumpRelu { threshold: vec![1.0, 0.25, 7.0] });
        folded.fold_decoder_norms();
        assert_eq!(folded.w_enc[..], [5.0, 0.0, 0.0, 2.0, 1.0, 1.0]);
        assert_eq!(folded.w_dec[..], [0.6, 0.8, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!((&folded.b_enc[..], &folded.b_dec[..]), (&[2.5, -0.5, 1.0][..], &[0.0, 1.0, 0.0][..]));
        assert_eq!(folded.activation, Activation::JumpRelu { threshold: vec![5.0, 0.5, 7.0] });
        let mut gated = parts(Activation::Gated { r_mag: vec![0.5, 0.25, 0.0], b_mag: vec![1.0, -2.0, 3.0] });
        gated.fold_decoder_norms();
        let b_mag = vec![5.0, -4.0, 3.0];
        assert_eq!(gated.activation, Activation::Gated { r_mag: vec![0.5, 0.25, 0.0], b_mag });
    }

    #[test]
    fn tensors_say_what_the_field_calls_them() {
        let jump = || Activation::JumpRelu { threshold: vec![0.0; 3] };
        let named = |activation, is_transcoder: bool| parts(activation).architecture(is_transcoder);
        assert_eq!([named(Activation::Relu, false), named(Activation::Relu, true)], ["standard", "transcoder"]);
        assert_eq!([named(jump(), false), named(jump(), true)], ["jumprelu", "jumprelu_transcoder"]);
        let skipping = Parts { w_skip: Some(Buffer::zeros(6)), ..parts(jump()) };
        assert_eq!(skipping.architecture(true), "jumprelu_skip_transcoder");
        assert_eq!((parts(Activation::TopK { k: 2 }).k(), parts(jump()).k()), (Some(2), None));
    }
}
