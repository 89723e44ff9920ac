//! What a training state is as a dictionary: in units of the raw activations, in SAELens' form or that of crosscoders.

use crate::arch::Architecture;
use crate::arch::method::Units;
use crate::crosscoder;
use crate::error::TrainError;
use crate::job::Run;
use crate::provenance::DataProvenance;
use crate::scale::{DataScale, TargetScale};
use crate::state::TrainState;
use crate::trained::Trained;
use serde_json::Value;
use std::path::Path;
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::{Crosscoder, Description, Judge, Parts, Place, Provenance, Sae};
use untangle_schema::TOOL_VERSION;

/// A finished dictionary.
pub(crate) enum Dictionary {
    Sae(Sae),
    Crosscoder(Crosscoder),
}

impl Dictionary {
    /// What was trained, in units of the raw activations; `shift` is what calibration added to the thresholds.
    pub(crate) fn of(run: &Run, trained: &Trained, shift: f32) -> Result<Self, TrainError> {
        let Trained { state, scale, target, .. } = trained;
        if run.plan.architecture.parts() > 1 {
            return crosscoder::folded(state, scale, shift, run.plan.architecture.name(), &run.data)
                .map(Dictionary::Crosscoder);
        }
        let provenance = provenance(&run.data, &run.plan.architecture);
        folded(state, &run.plan.architecture, scale, *target, shift, provenance).map(Dictionary::Sae)
    }

    /// The dictionary, of a crosscoder that of its parts side by side.
    pub(crate) fn sae(&self) -> &Sae {
        match self {
            Dictionary::Sae(sae) => sae,
            Dictionary::Crosscoder(crosscoder) => crosscoder.joined(),
        }
    }

    /// What judges it on rows.
    pub(crate) fn judge(&self) -> Judge<'_> {
        match self {
            Dictionary::Sae(sae) => Judge::new(sae),
            Dictionary::Crosscoder(crosscoder) => Judge::of_crosscoder(crosscoder),
        }
    }

    /// Writes it in its form; returns its configuration as it is shown.
    pub(crate) fn save(&self, dir: &Path) -> Result<Value, TrainError> {
        match self {
            Dictionary::Sae(sae) => {
                sae.save(dir)?;
                Ok(serde_json::to_value(sae.written()).unwrap_or_default())
            }
            Dictionary::Crosscoder(crosscoder) => {
                crosscoder.save(dir)?;
                Ok(crosscoder.written())
            }
        }
    }
}

/// The dictionary in units of the raw activations. With rows `z = s x` in training, `f' = f / s` decodes to
/// `x_hat = f' W_dec + b_dec / s`, and `f' = sigma(W_enc (x - b_dec / s) + b_enc / s)`: biases and thresholds are divided by
/// `s`, the matrices stay, decoder rows stay unit. `shift` is what calibration added to the thresholds.
///
/// A transcoder, whose `target` is multiplied by `t` and whose input is centred by `c`, has its features in units of the
/// target: `f' = f / t = sigma((s/t) W_enc x + (b_enc - W_enc c) / t)` and `y_hat = f' W_dec + (s/t) W_skip x + (b_dec -
/// W_skip c) / t`.
///
/// # Errors
/// When the parts do not fit together, which would be a defect of this crate.
pub fn folded(
    state: &TrainState,
    architecture: &Architecture,
    scale: &DataScale,
    target: Option<TargetScale>,
    shift: f32,
    provenance: Provenance,
) -> Result<Sae, TrainError> {
    let out = target.map_or(scale.factor, |target| target.factor);
    let divided = |values: &[f32]| values.iter().map(|v| v / out).collect::<Vec<f32>>();
    let activation = architecture.saved_as(state, Units { factor: out, shift });
    let ratio = scale.factor / out;
    let (b_enc, b_dec) = match &state.input_centre {
        Some(centre) => (
            without_centre(&state.b_enc.value, Some(&state.w_enc.value), centre),
            without_centre(&state.b_dec.value, state.w_skip.as_ref().map(|w| &w.value[..]), centre),
        ),
        None => (state.b_enc.value.to_vec(), state.b_dec.value.to_vec()),
    };
    let parts = Parts {
        w_enc: multiplied(&state.w_enc.value, ratio),
        b_enc: divided(&b_enc),
        w_dec: state.w_dec.value.clone(),
        b_dec: divided(&b_dec),
        w_skip: state.w_skip.as_ref().map(|w_skip| multiplied(&w_skip.value, ratio)),
        activation,
    };
    let description = Description {
        d_out: target.map(|_| state.d_out),
        subtracts_b_dec: target.is_none(),
        provenance,
        ..Description::new(state.d_in, state.d_sae)
    };
    Ok(Sae::new(description, parts)?)
}

/// `b - W c`, summed in f64; `b` where there is no `W`.
fn without_centre(b: &[f32], w: Option<&[f32]>, centre: &[f32]) -> Vec<f32> {
    let Some(w) = w else { return b.to_vec() };
    let product = |row: &[f32]| row.iter().zip(centre).map(|(w, c)| f64::from(*w) * f64::from(*c)).sum::<f64>();
    b.iter().zip(w.chunks_exact(centre.len())).map(|(b, row)| (f64::from(*b) - product(row)) as f32).collect()
}

fn multiplied(matrix: &Buffer<f32>, factor: f32) -> Buffer<f32> {
    let mut matrix = matrix.clone();
    if factor != 1.0 {
        matrix.iter_mut().for_each(|w| *w *= factor);
    }
    matrix
}

/// Where the dictionary belongs.
pub fn provenance(data: &DataProvenance, architecture: &Architecture) -> Provenance {
    let capture = data.capture.as_ref();
    let place = Place {
        hook: Some(data.column.clone()),
        model: capture.map(|capture| capture.model.name.clone()),
        model_weights: capture.map(|capture| capture.model.weights_sha256.clone()),
        ..Place::default()
    };
    Provenance {
        reads: vec![place],
        predicts: data.column_out.clone(),
        context_size: capture.map(|capture| capture.context),
        prepend_bos: capture.map(|capture| capture.bos_token.is_some()),
        // What it was trained as, where it is saved as something else.
        trained_as: Some(architecture.name().to_owned()),
        tool_version: Some(TOOL_VERSION.to_owned()),
        ..Provenance::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adam::Optimiser;
    use crate::arch::top_k::TopK;
    use crate::init::initial;
    use untangle_sae::{Codes, Precision};

    #[test]
    fn folding_the_scale_changes_units_and_nothing_else() {
        let architecture = TopK { k: 3 }.into();
        let mut state = initial(6, 12, &architecture, Optimiser::Adam, 1, &[0.3; 6], Precision::F32);
        state.b_enc.value.iter_mut().zip([0.2f32, -0.1, 0.05].into_iter().cycle()).for_each(|(b, v)| *b = v);
        // A power of two, so that the two ways round alike.
        let factor = 0.25;
        let dictionary = |factor| {
            let scale =
                DataScale { factor, further: Vec::new(), mean: vec![0.0; 6], spread: vec![1.0; 6], variance: 1.0 };
            folded(&state, &architecture, &scale, None, 0.0, Provenance::default()).expect("the parts fit")
        };
        let x: Vec<f32> = (0..60).map(|i| ((i * 37 % 23) as f32 - 11.0) / 3.0).collect();
        let z: Vec<f32> = x.iter().map(|x| factor * x).collect();
        let run = |sae: Sae, rows: &[f32]| {
            let (mut codes, mut out) = (Codes::new(), vec![0f32; rows.len()]);
            sae.encode(rows, &mut codes).expect("rows fit");
            sae.decode(&codes, &mut out).expect("rows fit");
            (codes, out)
        };
        let ((raw, x_hat), (normalised, z_hat)) = (run(dictionary(factor), &x), run(dictionary(1.0), &z));
        assert_eq!(raw.features(), normalised.features());
        assert!(raw.nnz() > 20);
        assert!(raw.activations().iter().zip(normalised.activations()).all(|(raw, z)| raw * factor == *z));
        assert!(x_hat.iter().zip(&z_hat).all(|(x, z)| x * factor == *z));
    }
}
