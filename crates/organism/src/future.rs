//! What do the next sentences hold? A head on the middle layer that predicts the tokens that follow, in whatever order.
//!
//! A next token needs what lasts (the topic, the mood, the narrator) at few places, and a small model then computes it
//! at these alone. Whoever has to say at every place which words are going to come needs it at every place. So the
//! middle layer is asked, as models that predict several tokens at once are (Gloeckle et al., arXiv 2404.19737):
//!
//! L = - mean over places t of sum over tokens w of q_t(w) ln softmax(E (W n(h_t) + c))_w
//!
//! | symbol | here |
//! |---|---|
//! | t | every [`STRIDE`]th token before which enough of its document is left, [`LEAST`] tokens |
//! | q_t(w) | share of w among the next [`AHEAD`] tokens of the document |
//! | h_t, n | `resid_post` of the middle layer; division by its root mean square |
//! | E | the unembedding |
//! | W, c | the head's own, zero at first; they are dropped when training is done |

use crate::rows::BOUNDARY;
use tch::{Kind, Tensor};
use untangle_model::{Hook, LanguageModel, ModelError, Pass};
use untangle_schema::{HookPoint, Site};

const STRIDE: usize = 4;
const AHEAD: usize = 40;
const LEAST: usize = 8;
/// Added to the mean square of what is divided by its root.
const EPSILON: f64 = 1e-5;

/// The head.
pub(crate) struct Future {
    /// `[d_model, d_model]`.
    w: Tensor,
    /// `[d_model]`.
    c: Tensor,
}

impl Future {
    pub(crate) fn new(model: &LanguageModel) -> Self {
        let d = model.d_model() as i64;
        let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Float, model.device())).set_requires_grad(true);
        Self { w: zeros(&[d, d]), c: zeros(&[d]) }
    }

    /// Handles of the head's own tensors, with their names.
    pub(crate) fn parameters(&self) -> [(String, Tensor); 2] {
        [("future.w", &self.w), ("future.c", &self.c)].map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()))
    }

    /// The same head for another thread.
    pub(crate) fn handle(&self) -> Self {
        Self { w: self.w.shallow_clone(), c: self.c.shallow_clone() }
    }

    /// L of rows, as a sum in which every row counts the same: the mean is `1 / rows` of it.
    ///
    /// `acts` is `[rows, length - 1, d_model]`, `tokens` `[rows, length]`.
    pub(crate) fn loss(&self, model: &LanguageModel, acts: &Tensor, tokens: &Tensor) -> Tensor {
        let (places, shares, weights) = targets(tokens, model.vocab_size());
        let h = acts.flatten(0, 1).index_select(0, &places);
        let size = (h.square().mean_dim([-1i64].as_slice(), true, Kind::Float) + EPSILON).sqrt();
        let guess = (h / size).matmul(&self.w.tr()) + &self.c;
        let logs = guess.matmul(&model.unembedding().to_kind(Kind::Float)).log_softmax(-1, Kind::Float);
        -(logs * shares).sum_dim_intlist([-1i64].as_slice(), false, Kind::Float).dot(&weights)
    }
}

/// Where the head is asked, as rows of the flattened activations; the shares `[places, vocab]` of what follows; and the
/// weights of the places, which add up to 1 in every row that has any.
fn targets(tokens: &Tensor, vocab: usize) -> (Tensor, Tensor, Tensor) {
    let (rows, length) = tokens.size2().unwrap_or((0, 0));
    let (ids, length) = (Vec::<i64>::try_from(tokens.reshape([-1])).unwrap_or_default(), length as usize);
    let (mut places, mut weights, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for (row, ids) in ids.chunks_exact(length.max(1)).take(rows as usize).enumerate() {
        let follow = |at: usize| ids[at + 1..].iter().take(AHEAD).take_while(|id| **id != BOUNDARY);
        let asked: Vec<usize> = (0..length - 1).step_by(STRIDE).filter(|at| follow(*at).count() >= LEAST).collect();
        for at in &asked {
            places.push((row * (length - 1) + at) as i64);
            weights.push(1.0 / asked.len() as f32);
            let n = follow(*at).count() as f32;
            let mut share = vec![0.0f32; vocab];
            follow(*at).for_each(|id| share[*id as usize] += 1.0 / n);
            shares.extend(share);
        }
    }
    let shares = Tensor::from_slice(&shares).view([-1, vocab as i64]);
    (Tensor::from_slice(&places), shares, Tensor::from_slice(&weights))
}

/// Keeps the middle layer's activations, for gradients to pass through.
#[derive(Default)]
pub(crate) struct Middle {
    pub(crate) kept: Option<Tensor>,
    layer: usize,
}

impl Middle {
    pub(crate) fn of(model: &LanguageModel) -> Self {
        Self { kept: None, layer: model.n_layers() / 2 }
    }
}

impl Hook for Middle {
    fn wants(&self, point: HookPoint) -> bool {
        point == HookPoint::block(self.layer, Site::ResidPost)
    }

    fn visit(&mut self, _: HookPoint, _: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        self.kept = Some(acts.shallow_clone());
        Ok(acts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_ends_with_the_document() {
        // A boundary, ten tokens, a boundary, three tokens.
        let row: Vec<i64> = vec![0, 1, 2, 1, 2, 1, 2, 1, 2, 1, 3, 0, 1, 1, 1];
        let (places, shares, weights) = targets(&Tensor::from_slice(&row).unsqueeze(0), 4);
        // At 0 ten tokens follow, at 4 six, at 8 two, at 12 two.
        assert_eq!(Vec::<i64>::try_from(places).unwrap(), [0]);
        let shares = Vec::<f32>::try_from(shares.reshape([-1])).unwrap();
        for (share, expected) in shares.iter().zip([0.0, 0.5, 0.4, 0.1]) {
            assert!((share - expected).abs() < 1e-6, "{shares:?}");
        }
        assert_eq!(Vec::<f32>::try_from(weights).unwrap(), [1.0]);
    }
}
