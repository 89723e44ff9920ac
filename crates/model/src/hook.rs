//! The one seam: everything that reads or changes a model's activations implements [`Hook`].

use crate::error::ModelError;
use tch::Tensor;
use untangle_schema::HookPoint;

/// Whether the tokens of a pass were given or sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Tokens that the caller gave.
    Prompt,
    /// Tokens that the model sampled: one per row and pass, but where a text outgrows the angles of short texts
    /// (LongRoPE), and all of its tokens pass again.
    Generated,
}

/// What a hook may know about the pass that visits it.
#[derive(Debug)]
pub struct Pass<'a> {
    /// Token ids, int64 `[batch, seq]`.
    pub tokens: &'a Tensor,
    /// Absolute position of every column, padding counted, int64 `[seq]`: not 0-based when a cache precedes the pass.
    pub positions: &'a Tensor,
    /// Position of every token among the real ones of its row, int64 `[batch or 1, seq]`: padding takes none, and what a cache
    /// holds is counted.
    pub places: &'a Tensor,
    /// True where a token is real and false where it is padding, bool `[batch, seq]`; none when all are real.
    pub mask: Option<&'a Tensor>,
    /// Prompt or generated.
    pub phase: Phase,
}

/// Sees activations at named points of a forward pass, and may replace them.
///
/// Recording, steering, ablating and splicing in a reconstruction are implementers. The pass itself is written once.
pub trait Hook {
    /// Whether the activation at `point` is to be handed to [`Hook::visit`]. What nobody wants is not materialised.
    fn wants(&self, point: HookPoint) -> bool;

    /// Receives the activation at a wanted point (shapes at [`untangle_schema::Site`]) and returns the tensor that
    /// goes on, of the same shape and kind.
    ///
    /// # Errors
    /// An error ends the pass and is returned by it.
    fn visit(&mut self, point: HookPoint, pass: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError>;

    /// The point after which the pass stops, without logits; none for a full pass.
    fn last(&self) -> Option<HookPoint> {
        None
    }
}

/// Several hooks in one pass, such as dictionaries at many layers. Where more than one wants a point, each gets what the one
/// before it returned.
pub struct Hooks<'a>(Vec<&'a mut dyn Hook>);

impl std::fmt::Debug for Hooks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hooks").field(&self.0.len()).finish()
    }
}

impl<'a> Hooks<'a> {
    /// These, in this order.
    pub fn new(hooks: Vec<&'a mut dyn Hook>) -> Self {
        Hooks(hooks)
    }
}

impl Hook for Hooks<'_> {
    fn wants(&self, point: HookPoint) -> bool {
        self.0.iter().any(|hook| hook.wants(point))
    }

    fn visit(&mut self, point: HookPoint, pass: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        let mut wanting = self.0.iter_mut().filter(|hook| hook.wants(point));
        wanting.try_fold(acts, |acts, hook| hook.visit(point, pass, acts))
    }

    /// The pass goes on as far as any of them needs it.
    fn last(&self) -> Option<HookPoint> {
        let last = self.0.iter().map(|hook| hook.last()).collect::<Option<Vec<_>>>()?;
        last.into_iter().max()
    }
}

/// Wants nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHook;

impl Hook for NoHook {
    fn wants(&self, _: HookPoint) -> bool {
        false
    }

    fn visit(&mut self, _: HookPoint, _: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        Ok(acts)
    }
}
