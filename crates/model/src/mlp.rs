//! The MLP.
//!
//! Plain: `down(act(first(x)))`. Gated (Shazeer, arXiv 2002.05202): `down(act(first(x)) * up(x))`.

use crate::config::Activation;
use crate::linear::Linear;
use crate::tap::{Flow, Tap};
use std::ops::ControlFlow;
use tch::Tensor;
use untangle_schema::{HookPoint, Site};

/// One block's MLP.
#[derive(Debug)]
pub(crate) struct Mlp {
    pub(crate) activation: Activation,
    /// The gate projection where gated.
    pub(crate) first: Linear, // [d_mlp, d_model]
    /// What the gate multiplies.
    pub(crate) up: Option<Linear>, // [d_mlp, d_model]
    pub(crate) down: Linear, // [d_model, d_mlp]
}

impl Mlp {
    /// The MLP's output for `x` `[batch, seq, d_model]`, before it is added to the stream, same shape.
    pub(crate) fn forward(&self, x: &Tensor, layer: usize, tap: &mut Tap<'_>) -> Flow<Tensor> {
        let pre = self.first.forward(x); // [batch, seq, d_mlp]
        let pre = tap.at(HookPoint::block(layer, Site::MlpPre), pre)?;
        let post = activate(self.activation, &pre);
        drop(pre);
        let post = match &self.up {
            Some(up) => post * up.forward(x),
            None => post,
        };
        let post = tap.at(HookPoint::block(layer, Site::MlpPost), post)?;
        ControlFlow::Continue(self.down.forward(&post)) // [batch, seq, d_model]
    }
}

fn activate(activation: Activation, x: &Tensor) -> Tensor {
    match activation {
        Activation::Gelu => x.gelu("none"),
        Activation::GeluTanh => x.gelu("tanh"),
        Activation::Silu => x.silu(),
        Activation::Relu => x.relu(),
    }
}
