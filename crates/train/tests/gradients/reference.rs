//! The losses of the papers, written with dense tensors in f64; their gradients by autograd.

use super::{BANDWIDTH, D_IN, D_OUT, D_SAE, DEAD_AFTER, Dense, Rows, SPARSITY};
use tch::{Kind, Tensor};
use untangle_train::activity::{Batch, Scaled};
use untangle_train::arch::abs_top_k::AbsTopK;
use untangle_train::arch::batch_top_k::BatchTopK;
use untangle_train::arch::crosscoder::Crosscoder;
use untangle_train::arch::jump_relu::JumpRelu;
use untangle_train::arch::matryoshka::Matryoshka;
use untangle_train::arch::p_anneal;
use untangle_train::arch::top_k::TopK;
use untangle_train::arch::transcoder::{SkipTranscoder, Transcoder};
use untangle_train::state::TrainState;
use untangle_train::{Architecture, Penalty};

fn tensor(values: &[f32], shape: &[i64]) -> Tensor {
    Tensor::from_slice(values).to_kind(Kind::Double).reshape(shape).set_requires_grad(true)
}

fn top_k(values: &Tensor, k: usize, dim: i64) -> Tensor {
    let (kept, at) = values.topk(k as i64, dim, true, false);
    values.zeros_like().scatter(dim, &at, &kept)
}

/// The parameters of a state, as leaves of a graph in f64.
struct Leaves {
    w_enc: Tensor,
    b_enc: Tensor,
    w_dec: Tensor,
    b_dec: Tensor,
    extras: Vec<Tensor>,
    w_skip: Option<Tensor>,
}

impl Leaves {
    fn of(state: &TrainState) -> Self {
        let (d, e, f) = (D_IN as i64, state.d_out as i64, D_SAE as i64);
        Leaves {
            w_enc: tensor(&state.w_enc.value, &[f, d]),
            b_enc: tensor(&state.b_enc.value, &[f]),
            w_dec: tensor(&state.w_dec.value, &[f, e]),
            b_dec: tensor(&state.b_dec.value, &[e]),
            extras: state.extras.iter().map(|extra| tensor(&extra.value, &[f])).collect(),
            w_skip: state.w_skip.as_ref().map(|w_skip| tensor(&w_skip.value, &[e, d])),
        }
    }

    /// The reconstruction from the first `end` latents.
    fn decode(&self, f: &Tensor, end: usize) -> Tensor {
        f.narrow(1, 0, end as i64).matmul(&self.w_dec.narrow(0, 0, end as i64)) + &self.b_dec
    }

    fn gradients(&self) -> Dense {
        // The decoder's rows live on the unit sphere: the part along the row is left out.
        let g = self.w_dec.grad();
        let along = (&g * self.w_dec.detach()).sum_dim_intlist(1, true, Kind::Double);
        let w_dec = g - along * self.w_dec.detach();
        let dense = |t: &Tensor| Vec::<f64>::try_from(t.reshape([-1])).expect("f64");
        let mut all =
            vec![dense(&self.w_enc.grad()), dense(&self.b_enc.grad()), dense(&w_dec), dense(&self.b_dec.grad())];
        all.extend(self.extras.iter().chain(&self.w_skip).map(|parameter| dense(&parameter.grad())));
        Dense(all)
    }
}

/// Features and penalty of what a penalty makes sparse. Straight-through estimators by their definition: a term whose value
/// is zero and whose slope is the estimator's.
fn penalised(
    architecture: &Architecture,
    state: &TrainState,
    leaves: &Leaves,
    x: &Tensor,
    pre: &Tensor,
) -> (Tensor, Tensor) {
    let n = x.size()[0];
    let lambda = SPARSITY.coefficient;
    let total = |values: &Tensor| values.sum(Kind::Double) * (lambda / n as f64);
    match architecture {
        Architecture::Relu(_) => {
            let f = pre.relu();
            // Weighted by the decoder's norms, which are 1 and whose slopes lie along the rows.
            let norms = leaves.w_dec.square().sum_dim_intlist(1, false, Kind::Double).sqrt();
            let penalty = total(&(&f * norms));
            (f, penalty)
        }
        Architecture::PAnneal(_) => {
            let (f, q) = (pre.relu(), state.carried.exponent);
            let floor = f64::from(p_anneal::FLOOR);
            let tangent = floor.powf(q) + q * floor.powf(q - 1.0) * (&f - floor);
            let phi = f.clamp_min(floor).pow_tensor_scalar(q).where_self(&f.gt(floor), &tangent);
            let penalty = total(&(phi * f.gt(0.0)));
            (f, penalty)
        }
        Architecture::Gated(_) => {
            let u = (x - &leaves.b_dec).matmul(&leaves.w_enc.tr());
            let magnitude = leaves.extras[0].exp() * u + &leaves.extras[1];
            let gate = pre.relu();
            let of_gate = gate.matmul(&leaves.w_dec.detach()) + leaves.b_dec.detach();
            let penalty = total(&gate) + (of_gate - x).square().sum(Kind::Double) / n;
            (magnitude.relu() * pre.gt(0.0), penalty)
        }
        Architecture::JumpRelu(JumpRelu { penalty, .. }) => {
            let theta = &leaves.extras[0];
            let fires = pre.gt_tensor(theta).to_kind(Kind::Double).detach();
            let window = (pre - theta).abs().lt(BANDWIDTH / 2.0).to_kind(Kind::Double).detach();
            let moved = theta - theta.detach();
            let f = pre * &fires - &window * (theta.detach() / BANDWIDTH) * &moved;
            let counts = &fires - &window / BANDWIDTH * &moved;
            let l0 = counts.sum(Kind::Double) / n as f64;
            let penalty = match penalty {
                Penalty::Step => l0 * lambda,
                Penalty::Quadratic { target } => (l0 / *target - 1.0).square() * lambda,
                Penalty::Tanh => total(&(&f * 4.0).tanh()),
            };
            (f, penalty)
        }
        other => panic!("{other:?} has no penalty"),
    }
}

/// The gradients of a batch's loss, and the loss.
pub(crate) fn by_autograd(
    state: &TrainState,
    architecture: &Architecture,
    rows: &Rows,
    coefficient: f64,
) -> (Dense, f64) {
    let leaves = Leaves::of(state);
    let Batch { inputs, target } = rows.batch();
    let wide = |Scaled { rows, factor }, width: usize| {
        Tensor::from_slice(rows).to_kind(Kind::Double).reshape([-1, width as i64]) * f64::from(factor)
    };
    let parts = architecture.parts();
    let x = Tensor::cat(&inputs.iter().map(|part| wide(*part, D_IN / parts)).collect::<Vec<_>>(), 1);
    let n = x.size()[0];
    let z = match &state.input_centre {
        None => &x - &leaves.b_dec,
        Some(centre) => &x - Tensor::from_slice(centre),
    };
    let y = target.map_or_else(|| x.shallow_clone(), |target| wide(target, D_OUT));
    let pre = z.matmul(&leaves.w_enc.tr()) + &leaves.b_enc;
    let error_of = |y_hat: &Tensor| (y_hat - &y).square().sum(Kind::Double) / n;
    // What a feature costs: the sum of the norms of its decoder row's parts.
    let costs = leaves.w_dec.reshape([D_SAE as i64, parts as i64, -1]).square().sum_dim_intlist(2, false, Kind::Double);
    let costs = costs.sqrt().sum_dim_intlist(1, false, Kind::Double);
    let by_batch = |k: usize| top_k(&pre.relu().reshape([-1]), k * n as usize, 0).reshape(pre.size());
    let (x_hat, mut loss) = match architecture {
        Architecture::TopK(TopK { k }) => {
            let x_hat = leaves.decode(&top_k(&pre, *k, 1).relu(), D_SAE);
            let loss = error_of(&x_hat);
            (x_hat, loss)
        }
        Architecture::AbsTopK(AbsTopK { k }) => {
            let chosen = top_k(&pre.abs().detach(), *k, 1).gt(0.0);
            let x_hat = leaves.decode(&(&pre * chosen), D_SAE);
            let loss = error_of(&x_hat);
            (x_hat, loss)
        }
        Architecture::BatchTopK(BatchTopK { k, .. })
        | Architecture::Transcoder(Transcoder { k, .. })
        | Architecture::SkipTranscoder(SkipTranscoder { k, .. }) => {
            let skipped = leaves.w_skip.as_ref().map(|w_skip| z.matmul(&w_skip.tr()));
            let x_hat = leaves.decode(&by_batch(*k), D_SAE);
            let x_hat = skipped.map_or(x_hat.shallow_clone(), |skipped| x_hat + skipped);
            let loss = error_of(&x_hat);
            (x_hat, loss)
        }
        Architecture::Matryoshka(Matryoshka { k, prefixes, .. }) => {
            let f = by_batch(*k);
            let lengths = untangle_train::arch::matryoshka::lengths(prefixes, D_SAE, state.step);
            let loss = lengths.iter().map(|&end| error_of(&leaves.decode(&f, end))).reduce(|a, b| a + b);
            (leaves.decode(&f, D_SAE), loss.expect("a prefix"))
        }
        Architecture::Crosscoder(Crosscoder { k, .. }) => {
            let ranks = (pre.relu() * costs.detach()).reshape([-1]);
            let chosen = top_k(&ranks, k * n as usize, 0).reshape(pre.size()).gt(0.0);
            let x_hat = leaves.decode(&(pre.relu() * chosen), D_SAE);
            let loss = error_of(&x_hat);
            (x_hat, loss)
        }
        Architecture::CrosscoderL1(_) => {
            let f = pre.relu();
            let x_hat = leaves.decode(&f, D_SAE);
            let penalty = (&f * &costs).sum(Kind::Double) * (SPARSITY.coefficient / n as f64);
            let loss = error_of(&x_hat) + penalty;
            (x_hat, loss)
        }
        other => {
            let (f, penalty) = penalised(other, state, &leaves, &x, &pre);
            let x_hat = leaves.decode(&f, D_SAE);
            let loss = error_of(&x_hat) + penalty;
            (x_hat, loss)
        }
    };
    let dead = state.dead(DEAD_AFTER);
    if !dead.is_empty() {
        let at = Tensor::from_slice(&dead.iter().map(|&i| i64::from(i)).collect::<Vec<_>>());
        let half = state.d_out / 2;
        let of_dead = pre.index_select(1, &at);
        let p = match architecture {
            Architecture::AbsTopK(_) => &of_dead * top_k(&of_dead.abs().detach(), half.min(dead.len()), 1).gt(0.0),
            _ => top_k(&of_dead, half.min(dead.len()), 1),
        };
        let aux_error = (&y - &x_hat).detach() - p.matmul(&leaves.w_dec.index_select(0, &at));
        let scale = coefficient * (dead.len() as f64 / half as f64).min(1.0);
        loss += aux_error.square().sum(Kind::Double) * (scale / n as f64);
    }
    loss.backward();
    (leaves.gradients(), loss.double_value(&[]))
}
