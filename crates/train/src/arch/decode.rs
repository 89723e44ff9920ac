//! Two phases of a sparse step, over the chosen entries of a tile of rows: *reconstruct*, which leaves the errors, and *send
//! back*, which gives every entry what the loss says of it by its architecture's rule.

use super::rule::{At, Local, Rule, WithRule};
use crate::activity::{Entries, TileMut};
use crate::state::TrainState;
use untangle_sae::kernels::order::{Block, Order};
use untangle_sae::kernels::vector::{axpy, dot};

/// Sums over a tile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// `sum_r |e_r|^2` of the whole reconstruction
    pub squared_error: f64,
    /// The loss beside it, in units of the loss.
    pub penalty: f64,
}

/// Writes down what an entry receives.
#[inline(always)]
pub(super) fn put(entries: &mut Entries, at: usize, extras: usize, local: Local) {
    entries.d_pre[at] = local.d_pre;
    for (values, value) in entries.d_extra.iter_mut().zip(local.d_extra).take(extras) {
        values[at] = value;
    }
}

/// Reconstructing and sending back, of a tile of a batch of `n` rows.
pub(crate) struct Decode<'a, 'b> {
    pub(crate) state: &'a TrainState,
    pub(crate) n: usize,
    pub(crate) tile: TileMut<'b>,
}

impl WithRule for Decode<'_, '_> {
    type Out = Totals;

    /// Both phases, a block of the tile after the other, whose errors are still in cache when they are sent back.
    #[inline(always)]
    fn with<R: Rule>(self, rule: &R) -> Totals {
        let Decode { state, n, mut tile } = self;
        let (d, scale) = (state.d_out, 2.0 / n as f32);
        tile.entries.make_room(R::EXTRAS);
        let TileMut { target, d_out, entries, .. } = &mut tile;
        let of_gates = vec![0f32; if R::GATED { target.len() } else { 0 }];
        let mut work = Work { entries, errors: &mut *d_out[0], of_gates, decoder: &state.w_dec.value, d };
        let mut totals = Totals::default();
        let order = Order::of(&work.entries.found.starts, &work.entries.found.latents, state.d_sae);
        for block in order.blocks() {
            let rows = block.rows.start * d..block.rows.end * d;
            work.reconstruct(rule, &block, &target[rows.clone()]);
            totals.squared_error += square_and_scale(&mut work.errors[rows.clone()], d, scale);
            if R::GATED {
                totals.penalty += square_and_scale(&mut work.of_gates[rows], d, scale) / n as f64;
            }
            totals.penalty += work.send_back(rule, &block);
        }
        totals
    }
}

/// A tile in work.
struct Work<'a> {
    entries: &'a mut Entries,
    /// The reconstruction's error, then the gradient at it, `[rows, d_out]`
    errors: &'a mut [f32],
    /// The same of the reconstruction from the gate, where there is one.
    of_gates: Vec<f32>,
    decoder: &'a [f32],
    d: usize,
}

impl Work<'_> {
    /// Leaves in a block's rows the errors of the reconstructions.
    #[inline(always)]
    fn reconstruct<R: Rule>(&mut self, rule: &R, block: &Block<'_>, target: &[f32]) {
        let Work { entries, errors, of_gates, decoder, d } = self;
        let (d, rows) = (*d, block.rows.start * *d..block.rows.end * *d);
        let decoder_row = |latent: u32| &decoder[latent as usize * d..(latent as usize + 1) * d];
        errors[rows.clone()].iter_mut().zip(target).for_each(|(e, z)| *e = -z);
        if R::GATED {
            of_gates[rows].iter_mut().zip(target).for_each(|(e, z)| *e = -z);
        }
        for (latent, places) in block.runs(decoder_row) {
            for place in places {
                let (at, row) = (place.at as usize, place.row as usize * d..(place.row as usize + 1) * d);
                let p = entries.found.pre_acts[at];
                let f = rule.act(latent as usize, p);
                entries.acts[at] = f;
                if f != 0.0 {
                    axpy(&mut errors[row.clone()], f, decoder_row(latent));
                }
                if R::GATED {
                    axpy(&mut of_gates[row], rule.gate(p), decoder_row(latent));
                }
            }
        }
    }

    /// Gives every entry of a block its gradients; returns their share of the loss.
    #[inline(always)]
    fn send_back<R: Rule>(&mut self, rule: &R, block: &Block<'_>) -> f64 {
        let Work { entries, errors, of_gates, decoder, d } = self;
        let (d, mut penalty) = (*d, 0f64);
        let decoder_row = |latent: u32| &decoder[latent as usize * d..(latent as usize + 1) * d];
        for (latent, places) in block.runs(decoder_row) {
            for place in places {
                let (at, row) = (place.at as usize, place.row as usize * d..(place.row as usize + 1) * d);
                let f = entries.acts[at];
                let learns = f != 0.0 || R::SILENT_LEARN;
                let h = if learns { dot(&errors[row.clone()], decoder_row(latent)) } else { 0.0 };
                let h_gate = if R::GATED { dot(&of_gates[row], decoder_row(latent)) } else { 0.0 };
                let local = rule.back(At { latent: latent as usize, p: entries.found.pre_acts[at], f, h, h_gate });
                penalty += f64::from(local.penalty);
                put(entries, at, R::EXTRAS, local);
            }
        }
        penalty
    }
}

/// The sum of the squares of rows, `[n, d]`, which are scaled afterwards.
#[inline(always)]
fn square_and_scale(rows: &mut [f32], d: usize, scale: f32) -> f64 {
    let mut sum = 0f64;
    for row in rows.chunks_exact_mut(d) {
        sum += f64::from(dot(row, row));
        row.iter_mut().for_each(|e| *e *= scale);
    }
    sum
}
