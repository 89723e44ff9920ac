//! How a latent's activation follows from its pre-activation, and what the loss sends back: the part of an architecture
//! that looks at one entry at a time. Decoding and the reconstruction's gradient are the same for all ([`super::decode`]).

/// What one entry receives.
#[derive(Clone, Copy, Debug, Default)]
pub struct Local {
    /// dL/d(w_i · z)
    pub d_pre: f32,
    /// Gradients of the latent's further parameters.
    pub d_extra: [f32; 2],
    /// The entry's share of the loss beside the reconstruction.
    pub penalty: f32,
}

/// An entry as the backward half sees it.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// The latent.
    pub latent: usize,
    /// Its pre-activation.
    pub p: f32,
    /// Its activation.
    pub f: f32,
    /// `g_r · d_i`: what the reconstruction sends to `f`.
    pub h: f32,
    /// `g'_r · d_i` of the reconstruction from the gate, where there is one.
    pub h_gate: f32,
}

/// sigma and its derivative. Called where everything is inlined, so implementations say `#[inline(always)]`.
pub trait Rule: Sync {
    /// Further parameters that receive a gradient.
    const EXTRAS: usize = 0;
    /// Whether an entry that does not fire can receive a gradient.
    const SILENT_LEARN: bool = false;
    /// Whether the gate reconstructs as well.
    const GATED: bool = false;

    /// How many latents it has parameters of. A loop that ends there needs no check in its body, and vectorises.
    #[inline(always)]
    fn latents(&self) -> usize {
        usize::MAX
    }

    /// `f` of a latent's pre-activation.
    fn act(&self, latent: usize, p: f32) -> f32;

    /// What the gate reconstructs with.
    #[inline(always)]
    fn gate(&self, _p: f32) -> f32 {
        0.0
    }

    /// The gradients of an entry.
    fn back(&self, at: At) -> Local;
}

/// Work that is compiled for every rule.
pub trait WithRule {
    /// Its result.
    type Out;

    /// Does the work under a rule.
    fn with<R: Rule>(self, rule: &R) -> Self::Out;
}

/// What is chosen and positive fires.
#[derive(Clone, Copy, Debug)]
pub struct Rectified;

impl Rule for Rectified {
    #[inline(always)]
    fn act(&self, _: usize, p: f32) -> f32 {
        p.max(0.0)
    }

    #[inline(always)]
    fn back(&self, at: At) -> Local {
        Local { d_pre: if at.f > 0.0 { at.h } else { 0.0 }, ..Local::default() }
    }
}
