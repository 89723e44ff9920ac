//! What a model predicts at every position of a text, and how two predictions differ.
//!
//! Probabilities are worked out in f64, some positions at a time: a long text times a large vocabulary would not fit.

use crate::error::InterpretError;
use crate::intervene::flat;
use serde::Serialize;
use tch::{Kind, Tensor};
use untangle_model::{Hook, LanguageModel};

/// Positions whose probabilities are worked out at once.
const POSITIONS: i64 = 64;

/// A token and how likely it is to come next.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Likely {
    /// The token as text.
    pub token: String,
    /// Its id.
    pub id: u32,
    /// Its probability.
    pub probability: f64,
}

/// The predictions of one pass over a text.
#[derive(Debug)]
pub(super) struct Predictions {
    /// f32 `[seq, vocab]`.
    logits: Tensor,
}

/// How the prediction at one position moved.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Moved {
    /// `sum_v p(v) ln(p(v) / q(v))`, p before and q after, in nats.
    pub(super) kl: f64,
    /// The likeliest tokens before and after with both probabilities, each once.
    pub(super) tokens: Vec<(u32, f64, f64)>,
}

impl Predictions {
    /// One pass over `tokens`.
    pub(super) fn of(model: &LanguageModel, tokens: &[u32], hook: &mut dyn Hook) -> Result<Self, InterpretError> {
        let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
        let ids = Tensor::from_slice(&ids).unsqueeze(0).to_device(model.device()); // [1, seq]
        let logits = tch::no_grad(|| model.forward(&ids, hook))?;
        let logits = logits.expect("a hook without a last point does not end a pass");
        Ok(Predictions { logits: logits.squeeze_dim(0) })
    }

    /// Log-probabilities of the next token in stretches of positions: first position, and f64 `[positions, vocab]`.
    fn stretches(&self) -> impl Iterator<Item = (i64, Tensor)> {
        let seq = self.logits.size()[0];
        (0..seq).step_by(POSITIONS as usize).map(move |from| {
            let rows = self.logits.narrow(0, from, POSITIONS.min(seq - from));
            (from, rows.to_kind(Kind::Double).log_softmax(-1, Kind::Double))
        })
    }

    /// `-ln p(token | tokens before)` of every token but the first.
    pub(super) fn losses(&self, tokens: &[u32]) -> Result<Vec<f64>, InterpretError> {
        let mut losses = Vec::with_capacity(tokens.len());
        for (from, log_p) in self.stretches() {
            let next = tokens.iter().skip(from as usize + 1).take(log_p.size()[0] as usize);
            let targets: Vec<i64> = next.map(|id| i64::from(*id)).collect();
            if targets.is_empty() {
                continue;
            }
            let targets = Tensor::from_slice(&targets).unsqueeze(-1).to_device(log_p.device()); // [positions, 1]
            let log_p = log_p.narrow(0, 0, targets.size()[0]);
            losses.extend(flat::<f64>(&-log_p.gather(1, &targets, false))?);
        }
        Ok(losses)
    }

    /// Of every position the `n` likeliest next tokens, the likeliest first.
    pub(super) fn likeliest(&self, n: usize) -> Result<Vec<Vec<(u32, f64)>>, InterpretError> {
        let mut likeliest = Vec::new();
        for (_, log_p) in self.stretches() {
            let n = (n as i64).min(log_p.size()[1]);
            let (log_p, ids) = log_p.topk(n, 1, true, true); // [positions, n]
            let (p, ids): (Vec<f64>, Vec<i64>) = (flat(&log_p.exp())?, flat(&ids)?);
            let pairs: Vec<(u32, f64)> = ids.iter().map(|id| *id as u32).zip(p).collect();
            likeliest.extend(pairs.chunks(n.max(1) as usize).map(<[(u32, f64)]>::to_vec));
        }
        Ok(likeliest)
    }

    /// How the predictions of `after` differ from these, by the `n` likeliest tokens of each.
    pub(super) fn moved(&self, after: &Self, n: usize) -> Result<Vec<Moved>, InterpretError> {
        let mut moved = Vec::new();
        for ((_, before), (_, after)) in self.stretches().zip(after.stretches()) {
            let n = (n as i64).min(before.size()[1]);
            let kl = (before.exp() * (&before - &after)).sum_dim_intlist(-1, false, Kind::Double); // [positions]
            let top = |log_p: &Tensor| log_p.topk(n, 1, true, true).1;
            let ids = Tensor::cat(&[top(&before), top(&after)], 1); // [positions, 2 n]
            let of = |log_p: &Tensor| flat::<f64>(&log_p.gather(1, &ids, false).exp());
            let (kl, p, q, ids) = (flat::<f64>(&kl)?, of(&before)?, of(&after)?, flat::<i64>(&ids)?);
            let width = 2 * n.max(1) as usize;
            for (at, kl) in kl.into_iter().enumerate() {
                let mut tokens: Vec<(u32, f64, f64)> = Vec::with_capacity(width);
                for i in at * width..(at + 1) * width {
                    if !tokens.iter().any(|(id, ..)| *id == ids[i] as u32) {
                        tokens.push((ids[i] as u32, p[i], q[i]));
                    }
                }
                // Rounding may leave a hair below 0; what is not a number stays so.
                moved.push(Moved { kl: if kl < 0.0 { 0.0 } else { kl }, tokens });
            }
        }
        Ok(moved)
    }
}
