//! How a latent's activation follows from its pre-activation, and what the loss sends back: the part of an architecture
//! that looks at one entry at a time. Decoding and the reconstruction's gradient are the same for all and stand here.

use crate::forward::TileMut;
use crate::state::TrainState;
use untangle_sae::kernels::buffer::prefetch;
use untangle_sae::kernels::vector::{axpy, dot};

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

/// Sums over a tile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// `sum_r |e_r|^2` of the whole reconstruction
    pub squared_error: f64,
    /// The loss beside it, in units of the loss.
    pub penalty: f64,
}

/// Decoding of a tile of a batch of `n` rows.
pub(crate) struct Decode<'a, 'b> {
    pub(crate) state: &'a TrainState,
    pub(crate) n: usize,
    pub(crate) tile: TileMut<'b>,
}

impl WithRule for Decode<'_, '_> {
    type Out = Totals;

    /// Decodes and differentiates.
    #[inline(always)]
    fn with<R: Rule>(self, rule: &R) -> Totals {
        let Decode { state, n, mut tile } = self;
        let (d, scale) = (state.d_out, 2.0 / n as f32);
        let w_dec: &[f32] = &state.w_dec.value;
        let decoder_row = |latent: u32| &w_dec[latent as usize * d..(latent as usize + 1) * d];
        let mut totals = Totals::default();
        tile.entries.make_room(R::EXTRAS);
        let TileMut { target, d_out, entries, .. } = &mut tile;
        let mut of_gate = vec![0f32; if R::GATED { d } else { 0 }];
        for (row, (z, error)) in target.chunks_exact(d).zip(d_out[0].chunks_exact_mut(d)).enumerate() {
            let places = entries.found.row(row);
            error.iter_mut().zip(z).for_each(|(e, z)| *e = -z);
            of_gate.iter_mut().zip(z).for_each(|(e, z)| *e = -z);
            for at in places.clone() {
                let (latent, p) = (entries.found.latents[at], entries.found.pre_acts[at]);
                if at + 1 < places.end {
                    prefetch(decoder_row(entries.found.latents[at + 1]));
                }
                let f = rule.act(latent as usize, p);
                entries.acts[at] = f;
                if f > 0.0 {
                    axpy(error, f, decoder_row(latent));
                }
                if R::GATED {
                    axpy(&mut of_gate, rule.gate(p), decoder_row(latent));
                }
            }
            totals.squared_error += f64::from(dot(error, error));
            totals.penalty += f64::from(dot(&of_gate, &of_gate)) / n as f64;
            error.iter_mut().chain(&mut of_gate).for_each(|e| *e *= scale);
            for at in places {
                let (latent, f) = (entries.found.latents[at], entries.acts[at]);
                let learns = f > 0.0 || R::SILENT_LEARN;
                let h = if learns { dot(error, decoder_row(latent)) } else { 0.0 };
                let h_gate = if R::GATED { dot(&of_gate, decoder_row(latent)) } else { 0.0 };
                let local = rule.back(At { latent: latent as usize, p: entries.found.pre_acts[at], f, h, h_gate });
                totals.penalty += f64::from(local.penalty);
                entries.put(at, R::EXTRAS, local);
            }
        }
        totals
    }
}
