//! Which features of a dictionary write alike?
//!
//! `cos(i, j) = d_i . d_j / (|d_i| |d_j|)` over the rows d of the decoder: 1 for features that write the same, 0 for those
//! that have nothing to do with each other.

use crate::error::InterpretError;
use crate::intervene::flat;
use crate::progress::Progress;
use tch::Tensor;
use untangle_sae::Sae;
use untangle_schema::{Nearness, Neighbour, Observer, Unit};

/// Features whose cosines with all others are worked out at once.
const BLOCK: usize = 256;

/// Of every feature the `n` others with the largest cosine of decoder rows, the nearest first. A feature that writes nothing
/// has no neighbours and is none.
///
/// # Errors
/// When libtorch fails, or the user asks to stop.
pub fn nearest(sae: &Sae, n: usize, observer: &dyn Observer) -> Result<Vec<Vec<Neighbour>>, InterpretError> {
    let features = sae.d_sae();
    let n = n.min(features.saturating_sub(1));
    if n == 0 {
        return Ok(vec![Vec::new(); features]);
    }
    let (directions, writes) = directions(sae);
    let mut progress = Progress::start(observer, "neighbours", Unit::Examples, features as u64);
    let mut nearest = Vec::with_capacity(features);
    for from in (0..features).step_by(BLOCK) {
        let rows = BLOCK.min(features - from);
        let block = directions.narrow(0, from as i64, rows as i64); // [rows, d_out]
        let cosines = block.matmul(&directions.tr()); // [rows, features]
        // One more than wanted: the nearest of all is the feature itself.
        let (values, others) = cosines.topk(n as i64 + 1, 1, true, true);
        let (values, others): (Vec<f32>, Vec<i64>) = (flat(&values)?, flat(&others)?);
        for (at, (values, others)) in values.chunks(n + 1).zip(others.chunks(n + 1)).enumerate() {
            let own = from + at;
            let near = |(&value, &other): (&f32, &i64)| Neighbour {
                kind: Nearness::Decoder,
                feature: other as usize,
                value: value.clamp(-1.0, 1.0),
            };
            let all = values.iter().zip(others).map(near);
            let others = all.filter(|other| other.feature != own && writes[own] && writes[other.feature]);
            let mut others: Vec<Neighbour> = others.collect();
            // Which of equals comes first is not left to chance.
            others.sort_by(|a, b| b.value.total_cmp(&a.value).then(a.feature.cmp(&b.feature)));
            others.truncate(n);
            nearest.push(others);
        }
        progress.advance(rows as u64)?;
    }
    progress.finish();
    Ok(nearest)
}

/// The decoder's rows in unit length, f32 `[d_sae, d_out]`, and which of them have one.
fn directions(sae: &Sae) -> (Tensor, Vec<bool>) {
    let (mut units, mut writes) = (Vec::with_capacity(sae.d_sae() * sae.d_out()), Vec::with_capacity(sae.d_sae()));
    for feature in 0..sae.d_sae() {
        let row = sae.decoder_row(feature);
        let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let is_there = norm > 0.0 && norm.is_finite();
        writes.push(is_there);
        units.extend(row.iter().map(|x| if is_there { (f64::from(*x) / norm) as f32 } else { 0.0 }));
    }
    (Tensor::from_slice(&units).view([sae.d_sae() as i64, sae.d_out() as i64]), writes)
}
