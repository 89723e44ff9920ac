//! How a pass meets its hook: what is wanted is handed over, and the pass ends where the hook says.

use crate::error::ModelError;
use crate::hook::{Hook, Pass};
use std::ops::ControlFlow;
use tch::Tensor;
use untangle_schema::HookPoint;

/// Why a pass ends before the logits.
pub(crate) enum End {
    /// The hook's last point was reached.
    Reached,
    /// Something failed.
    Failed(ModelError),
}

/// A value, or the early end of the pass; `?` passes the end on.
pub(crate) type Flow<T> = ControlFlow<End, T>;

/// The hook of one pass.
pub(crate) struct Tap<'a> {
    hook: &'a mut dyn Hook,
    pass: Pass<'a>,
    last: Option<HookPoint>,
}

impl<'a> Tap<'a> {
    pub(crate) fn new(hook: &'a mut dyn Hook, pass: Pass<'a>) -> Self {
        let last = hook.last();
        Self { hook, pass, last }
    }

    /// Whether the hook is to see `point`: it wants it, and the pass does not end before.
    pub(crate) fn wants(&self, point: HookPoint) -> bool {
        self.last.is_none_or(|last| point <= last) && self.hook.wants(point)
    }

    /// Passes `acts` through `point`. Called in the order of the points.
    pub(crate) fn at(&mut self, point: HookPoint, acts: Tensor) -> Flow<Tensor> {
        if self.last.is_some_and(|last| last < point) {
            return ControlFlow::Break(End::Reached);
        }
        let acts = if self.hook.wants(point) { self.visit(point, acts)? } else { acts };
        if self.last == Some(point) { ControlFlow::Break(End::Reached) } else { ControlFlow::Continue(acts) }
    }

    fn visit(&mut self, point: HookPoint, acts: Tensor) -> Flow<Tensor> {
        let (size, kind) = (acts.size(), acts.kind());
        match self.hook.visit(point, &self.pass, acts) {
            Err(error) => ControlFlow::Break(End::Failed(error)),
            Ok(acts) if acts.size() == size && acts.kind() == kind => ControlFlow::Continue(acts),
            Ok(acts) => ControlFlow::Break(End::Failed(ModelError::HookShape {
                point,
                expected: format!("{kind:?} {size:?}"),
                found: format!("{:?} {:?}", acts.kind(), acts.size()),
            })),
        }
    }
}
