//! From a crosscoder in training to the one on disk: the scales of its parts are folded.
//!
//! With `z^m = s_m x^m - b^m` in training, `p = sum_m W^m z^m + b_enc` and `s_m x_hat^m = sum_i f_i d_i^m + b^m`. In raw units
//! feature i writes `D_i^m = d_i^m / s_m`; let `n_i` be its length over all parts. Then, with `f'_i = n_i f_i`,
//!
//! ```text
//! W'^m_i = n_i s_m W_i^m      b'_i = n_i (b_enc,i - W_i · b)      theta'_i = n_i theta / c_i
//! d'_i^m = D_i^m / n_i        b'^m = b^m / s_m
//! ```
//!
//! is the same crosscoder on raw rows: nothing is subtracted from them, as in the field's crosscoders, decoder rows are unit
//! over all parts together, and features come in the units of the activations.

use crate::error::TrainError;
use crate::provenance::{DataProvenance, PartOrigin};
use crate::scale::DataScale;
use crate::state::TrainState;
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::{Activation, Crosscoder, Description, Parts, Place, Provenance};
use untangle_schema::TOOL_VERSION;

/// The crosscoder in raw units; `shift` is what calibration found for `p_i c_i`, zero where everything positive fires, and
/// `trained_as` the name of its architecture.
///
/// # Errors
/// When the parts do not fit together, which would be a defect of this crate.
pub fn folded(
    state: &TrainState,
    scale: &DataScale,
    shift: f32,
    trained_as: &str,
    data: &DataProvenance,
) -> Result<Crosscoder, TrainError> {
    let (m, d_all) = (state.parts, state.d_in);
    let d = d_all / m;
    let factors: Vec<f32> = scale.factors().flat_map(|factor| vec![factor; d]).collect();
    let (mut w_enc, mut w_dec) = (Buffer::zeros(state.w_enc.value.len()), Buffer::zeros(state.w_dec.value.len()));
    let (mut b_enc, mut threshold) = (Vec::with_capacity(state.d_sae), Vec::with_capacity(state.d_sae));
    for latent in 0..state.d_sae {
        let at = latent * d_all..(latent + 1) * d_all;
        let (w, row) = (&state.w_enc.value[at.clone()], &state.w_dec.value[at.clone()]);
        let raw = row.iter().zip(&factors).map(|(d, s)| f64::from(*d) / f64::from(*s));
        let length = raw.clone().map(|d| d * d).sum::<f64>().sqrt();
        w_dec[at.clone()].iter_mut().zip(raw).for_each(|(to, d)| *to = (d / length) as f32);
        let read = w.iter().zip(&factors).map(|(w, s)| (length * f64::from(*w) * f64::from(*s)) as f32);
        w_enc[at].iter_mut().zip(read).for_each(|(to, w)| *to = w);
        let centre: f64 = w.iter().zip(&state.b_dec.value[..]).map(|(w, b)| f64::from(*w) * f64::from(*b)).sum();
        b_enc.push((length * (f64::from(state.b_enc.value[latent]) - centre)) as f32);
        threshold.push((length * f64::from(shift) / f64::from(state.norm_sums[latent])) as f32);
    }
    let b_dec = state.b_dec.value.iter().zip(&factors).map(|(b, s)| b / s).collect();
    let activation = Activation::JumpRelu { threshold };
    let parts = Parts { w_enc, b_enc, w_dec, b_dec, w_skip: None, activation };
    Ok(Crosscoder::new(description(state, scale, trained_as, data), parts)?)
}

fn description(state: &TrainState, scale: &DataScale, trained_as: &str, data: &DataProvenance) -> Description {
    let place = |(origin, scale): (&PartOrigin, f32)| Place {
        hook: Some(origin.column.clone()),
        model: origin.model.as_ref().map(|model| model.name.clone()),
        model_weights: origin.model.as_ref().map(|model| model.weights_sha256.clone()),
        scale,
        ..Place::default()
    };
    let provenance = Provenance {
        reads: data.parts.iter().zip(scale.factors()).map(place).collect(),
        trained_as: Some(trained_as.to_owned()),
        tool_version: Some(TOOL_VERSION.to_owned()),
        ..Provenance::default()
    };
    Description { provenance, ..Description::new(state.d_in, state.d_sae) }
}
