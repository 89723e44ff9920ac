//! The last phase of a step, *update*: every parameter is clipped, moved by Adam and put where it has to lie.
//!
//! One pass over the latents, in which each asks for its gradients. Where these come from is another's affair: a step on one
//! machine gathers them in that moment, so that no dense gradient is ever stored; ones that were summed are read.

use crate::adam::Adam;
use crate::constraint::Held;
use crate::gradients::{OfLatent, OtherGradients};
use crate::norms::norm_sum;
use crate::state::{Parameter, TrainState};
use rayon::prelude::*;
use untangle_sae::kernels::narrow::NarrowBlock;
use untangle_sae::kernels::vector::dispatch;

/// Latents that a worker takes at a time; whole panels of the narrow copy.
const LATENT_BLOCK: usize = 64;

/// A block of latents' matrix rows and their moments, borrowed apart from all others.
struct Block<'a> {
    first: usize,
    enc: Rows<'a>,
    dec: Rows<'a>,
    narrow: Option<NarrowBlock<'a>>,
    norm_sums: Option<&'a mut [f32]>,
    parts: usize,
}

struct Rows<'a> {
    value: &'a mut [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
    /// Whether `v` has one value for a row.
    second_of_rows: bool,
}

impl Rows<'_> {
    #[inline(always)]
    fn update(&mut self, at: std::ops::Range<usize>, adam: Adam, gradient: &[f32]) {
        let (value, m) = (&mut self.value[at.clone()], &mut self.m[at.clone()]);
        match self.second_of_rows {
            true => adam.update_row(value, m, &mut self.v[at.start / gradient.len()], gradient),
            false => adam.update(value, m, &mut self.v[at], gradient),
        }
    }
}

fn rows_of(parameter: &mut Parameter, size: usize) -> impl Iterator<Item = Rows<'_>> {
    let second_of_rows = parameter.v.len() != parameter.value.len();
    let second = if second_of_rows { LATENT_BLOCK } else { size };
    let moments = parameter.m.chunks_mut(size).zip(parameter.v.chunks_mut(second));
    let rows = parameter.value.chunks_mut(size).zip(moments);
    rows.map(move |(value, (m, v))| Rows { value, m, v, second_of_rows })
}

impl Block<'_> {
    /// Asks for its gradients, clips, moves and normalises latent after latent, while its rows are in cache.
    #[inline(always)]
    fn update(mut self, by: &Movement<'_, impl OfLatent>, d_w: &mut [f32], d_d: &mut [f32]) {
        let (d, e) = (d_w.len(), d_d.len());
        for place in 0..self.dec.value.len() / e {
            let (at, of_dec) = (place * d..(place + 1) * d, place * e..(place + 1) * e);
            let latent = self.first + place;
            by.gradients.of(latent, &self.dec.value[of_dec.clone()], d_w, d_d);
            d_w.iter_mut().chain(d_d.iter_mut()).for_each(|g| *g *= by.scale);
            self.enc.update(at.clone(), by.adam, d_w);
            self.dec.update(of_dec.clone(), by.adam, d_d);
            by.held.decoder_row(latent, &mut self.dec.value[of_dec.clone()]);
            if let Some(norm_sums) = &mut self.norm_sums {
                norm_sums[place] = norm_sum(&self.dec.value[of_dec], self.parts);
            }
            if let Some(narrow) = &mut self.narrow {
                narrow.set(place, &self.enc.value[at]);
            }
        }
    }
}

/// What parameters are moved by.
pub struct Movement<'a, G: OfLatent> {
    /// The gradients of the latents' rows.
    pub gradients: &'a G,
    /// What gradients are multiplied by: less than 1 where they are clipped.
    pub scale: f32,
    /// The step's constants.
    pub adam: Adam,
    /// What holds of the rows.
    pub held: &'a Held,
}

/// Moves all parameters; `others` are the gradients of everything but the latents' rows, and are scaled.
pub fn update(state: &mut TrainState, by: &Movement<'_, impl OfLatent>, others: &mut OtherGradients) {
    let (d, e) = (state.d_in, state.d_out);
    let mut narrow = state.narrow.as_mut().map(|w| w.blocks_mut(LATENT_BLOCK, d));
    let (mut sums, parts) = (state.norm_sums.chunks_mut(LATENT_BLOCK), state.parts);
    let blocks: Vec<Block<'_>> = rows_of(&mut state.w_enc, LATENT_BLOCK * d)
        .zip(rows_of(&mut state.w_dec, LATENT_BLOCK * e))
        .enumerate()
        .map(|(i, (enc, dec))| {
            let narrow = narrow.as_mut().and_then(Iterator::next);
            Block { first: i * LATENT_BLOCK, enc, dec, narrow, norm_sums: sums.next(), parts }
        })
        .collect();
    blocks.into_par_iter().for_each(|block| {
        let (mut d_w, mut d_d) = (vec![0f32; d], vec![0f32; e]);
        dispatch(
            #[inline(always)]
            || block.update(by, &mut d_w, &mut d_d),
        );
    });
    let vectors = [(&mut state.b_enc, &mut others.b_enc), (&mut state.b_dec, &mut others.b_dec)];
    let extras = state.extras.iter_mut().zip(&mut others.extras);
    let skip = state.w_skip.as_mut().map(|w_skip| (w_skip, &mut others.w_skip));
    for (parameter, gradient) in vectors.into_iter().chain(extras).chain(skip) {
        gradient.iter_mut().for_each(|g| *g *= by.scale);
        dispatch(
            #[inline(always)]
            || parameter.update(by.adam, gradient),
        );
    }
}
