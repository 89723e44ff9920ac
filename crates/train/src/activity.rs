//! A batch, and what a step computes of it on the way: centred rows, chosen entries, and what the loss sends back to them.

use crate::state::TrainState;
use rayon::prelude::*;
use untangle_sae::kernels::above::{AboveScratch, Found};
use untangle_sae::kernels::buffer::{Buffer, give_back_freed};
use untangle_sae::kernels::encode::{Recomputation, Scratch, TILE_ROWS};
use untangle_sae::kernels::vector::dispatch;

/// Rows, and what they are multiplied by.
#[derive(Clone, Copy, Debug)]
pub struct Scaled<'a> {
    /// `[n, width]`
    pub rows: &'a [f32],
    /// The factor.
    pub factor: f32,
}

/// What a step learns from.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// What is read, `[n, d_in]`; of a crosscoder all parts, `[n, d_in / M]` each.
    pub inputs: Vec<Scaled<'a>>,
    /// What a transcoder predicts of it, `[n, d_out]`; none for autoencoders, which predict what they read.
    pub target: Option<Scaled<'a>>,
}

impl<'a> Batch<'a> {
    /// Rows that are to be reconstructed.
    pub fn of(rows: &'a [f32], factor: f32) -> Self {
        Batch { inputs: vec![Scaled { rows, factor }], target: None }
    }
}

impl Batch<'_> {
    /// Number of rows, which are `d_in` wide, all parts together.
    pub(crate) fn n_rows(&self, d_in: usize) -> usize {
        self.inputs.iter().map(|part| part.rows.len()).sum::<usize>() / d_in
    }
}

/// A batch's intermediate results; the memory is reused from step to step.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    /// `z`, `[n, d_in]`
    pub centred: Buffer<f32>,
    /// What the latents of a transcoder are to add up to, `[n, d_out]`; empty for autoencoders, where it is `z`.
    pub target: Buffer<f32>,
    /// `g` for every group of latents, `[n, d_out]` each; one group but for matryoshka. The last is that of the whole
    /// reconstruction, the first the sum of all, which is what `b_dec` receives.
    pub d_out: Vec<Buffer<f32>>,
    /// End of every group of latents; the last is `d_sae`.
    pub groups: Vec<usize>,
    /// What was chosen, a tile of rows at a time.
    pub tiles: Vec<Entries>,
    /// The dead latents that AuxK is to revive, ascending.
    pub dead: Vec<u32>,
    /// Whether the tiles have proposals for these latents.
    pub(crate) has_proposals: bool,
    /// Mean squared error of the whole reconstruction, `L`
    pub loss: f64,
    /// All that the loss has besides: penalties, and the errors of partial reconstructions.
    pub penalty: f64,
    /// What it took to be sure of the chosen, where a number of every row is chosen.
    pub recomputation: Recomputation,
    /// Whether the last batch was done densely.
    pub(crate) was_dense: bool,
}

/// The chosen latents of a tile of rows, and what the loss sends back to them.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// Rows, latents and pre-activations `p`
    pub found: Found,
    /// `f`
    pub acts: Vec<f32>,
    /// dL/d(w_i · z)
    pub d_pre: Vec<f32>,
    /// Gradients of the latent's further parameters; empty where the architecture has none.
    pub d_extra: [Vec<f32>; 2],
    /// Proposed pre-activations of [`Activity::dead`] without bias, `[rows, n_dead]`, where a product in bytes made them; else
    /// those of an earlier batch.
    pub of_dead: Vec<f32>,
}

/// A tile of rows in work.
pub struct TileMut<'a> {
    /// What is to be reconstructed, `[rows, d_out]`
    pub target: &'a [f32],
    /// `[rows, d_out]` of every group
    pub d_out: Vec<&'a mut [f32]>,
    /// What was chosen
    pub entries: &'a mut Entries,
}

/// Memory of tiles in work.
#[derive(Debug, Default)]
pub struct Scratches {
    pub(crate) per_row: Scratch,
    pub(crate) above: AboveScratch,
}

impl Activity {
    /// Number of active entries.
    pub fn active(&self) -> usize {
        self.tiles.iter().map(|tile| tile.acts.iter().filter(|&&act| act != 0.0).count()).sum()
    }

    /// `g` of the whole reconstruction, `[n, d_out]`.
    pub(crate) fn whole(&self) -> &[f32] {
        self.d_out.last().map_or(&[], |group| &group[..])
    }

    /// Number of entries, active or not.
    pub fn entries(&self) -> usize {
        self.tiles.iter().map(|tile| tile.found.latents.len()).sum()
    }

    /// Forgets the entries of the last batch; a dense step needs their memory itself.
    pub(crate) fn clear_entries(&mut self) {
        if self.entries() > 0 {
            self.tiles.iter_mut().for_each(|tile| *tile = Entries::default());
            give_back_freed();
        }
    }

    /// Scales and centres the rows of a batch, and what is predicted of them.
    pub(crate) fn centre(&mut self, batch: &Batch<'_>, state: &TrainState) {
        let n = batch.n_rows(state.d_in);
        self.tiles.resize_with(n.div_ceil(TILE_ROWS), Entries::default);
        centre_all(&batch.inputs, n, state.centre(), &mut self.centred);
        match &batch.target {
            Some(target) => centre_all(std::slice::from_ref(target), n, &state.b_dec.value, &mut self.target),
            None => self.target.set_len(0),
        }
    }

    /// The tiles with the groups' ends; `d` is the width of what is reconstructed.
    pub(crate) fn tiles_mut(&mut self, d: usize) -> Vec<(TileMut<'_>, &[usize])> {
        let Activity { centred, target, d_out, groups, tiles, .. } = self;
        let target = if target.is_empty() { &centred[..] } else { target };
        d_out.resize_with(groups.len(), Buffer::default);
        d_out.iter_mut().for_each(|group| group.set_len(target.len()));
        let mut of_groups: Vec<_> = d_out.iter_mut().map(|group| group.chunks_mut(TILE_ROWS * d)).collect();
        let tile = |(target, entries)| {
            let d_out = of_groups.iter_mut().filter_map(Iterator::next).collect();
            (TileMut { target, d_out, entries }, &groups[..])
        };
        target.chunks(TILE_ROWS * d).zip(tiles).map(tile).collect()
    }
}

impl Entries {
    /// Makes room for the results of every entry.
    #[inline(always)]
    pub(crate) fn make_room(&mut self, extras: usize) {
        let n = self.found.latents.len();
        self.acts.resize(n, 0.0);
        self.d_pre.resize(n, 0.0);
        self.d_extra.iter_mut().take(extras).for_each(|values| values.resize(n, 0.0));
    }
}

/// Replaces `centred` by the `n` scaled rows, all parts side by side, without `centre`, `[d]`.
fn centre_all(parts: &[Scaled<'_>], n: usize, centre: &[f32], centred: &mut Buffer<f32>) {
    let (d, width) = (centre.len(), centre.len() / parts.len().max(1));
    centred.set_len(n * d);
    for (number, Scaled { rows, factor }) in parts.iter().enumerate() {
        let at = number * width..(number + 1) * width;
        centred.par_chunks_mut(TILE_ROWS * d).zip(rows.par_chunks(TILE_ROWS * width)).for_each(|(centred, rows)| {
            dispatch(
                #[inline(always)]
                || centre_tile(rows, *factor, &centre[at.clone()], d, &mut centred[at.start..]),
            );
        });
    }
}

/// Writes the rows of one part, `d` values apart.
#[inline(always)]
fn centre_tile(rows: &[f32], factor: f32, centre: &[f32], d: usize, centred: &mut [f32]) {
    for (z, x) in centred.chunks_mut(d).zip(rows.chunks_exact(centre.len())) {
        for ((z, x), c) in z.iter_mut().zip(x).zip(centre) {
            *z = factor * x - c;
        }
    }
}
