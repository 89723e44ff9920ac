//! Every hook point equals what transformers computes (eager attention, f32), on the committed random models.

use crate::support::{FIXTURES, Recorder, assert_close, explicit, fixture, fixture_dir, read_tensors};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};
use untangle_model::{LanguageModel, LoadOptions};
use untangle_schema::HookPoint;

/// Largest difference in units of the reference's root mean square.
const TOLERANCE: f64 = 1e-4;

fn reference(name: &str) -> BTreeMap<String, Tensor> {
    read_tensors(&fixture_dir(name).join("reference.safetensors"))
}

/// Heads of everything but scores and patterns flattened, as the reference has them.
fn flat(point: HookPoint, acts: &Tensor) -> Tensor {
    if point.is_of_pairs() { acts.shallow_clone() } else { acts.flatten(2, -1) }
}

#[test]
fn every_hook_point_and_the_logits_equal_transformers() {
    for name in FIXTURES {
        let (model, reference) = (fixture(name), reference(name));
        let mut recorder = Recorder::default();
        let logits = model.forward(&reference["tokens"], &mut recorder).unwrap().unwrap();
        assert_close(&format!("{name} logits"), &logits, &reference["logits"], TOLERANCE);

        assert_eq!(recorder.order, model.hook_points(), "{name}: points out of order");
        assert_eq!(reference.len(), 2 + recorder.found.len(), "{name}: the reference has other points");
        for (point, acts) in &recorder.found {
            let what = format!("{name} {point}");
            assert_close(&what, &flat(*point, acts), &reference[&point.to_string()], TOLERANCE);
        }
    }
}

#[test]
fn fused_attention_and_norms_equal_transformers_too() {
    for name in FIXTURES {
        let (model, reference) = (fixture(name), reference(name));
        let mut recorder = Recorder { not: explicit(&model), ..Recorder::default() };
        model.forward(&reference["tokens"], &mut recorder).unwrap();
        for (point, acts) in &recorder.found {
            let what = format!("{name} {point}");
            assert_close(&what, &flat(*point, acts), &reference[&point.to_string()], TOLERANCE);
        }
    }
}

#[test]
fn bfloat16_stays_near_the_reference() {
    for name in FIXTURES {
        let options = LoadOptions { kind: Kind::BFloat16, ..LoadOptions::default() };
        let model = LanguageModel::load(&fixture_dir(name), &options).unwrap();
        let reference = reference(name);
        let mut recorder = Recorder::default();
        let logits = model.forward(&reference["tokens"], &mut recorder).unwrap().unwrap();
        assert_eq!(logits.kind(), Kind::Float);
        for (point, acts) in &recorder.found {
            let kind = if point.to_string().ends_with("hook_scale") { Kind::Float } else { Kind::BFloat16 };
            assert_eq!(acts.kind(), kind, "{name} {point}");
        }
        let rms = |tensor: &Tensor| tensor.square().mean(None::<Kind>).sqrt().double_value(&[]);
        let expected = &reference["logits"];
        // transformers' own bf16 logits differ by at most 0.035 from its f32 logits, on these models (phi3).
        let error = rms(&(logits - expected)) / rms(expected);
        assert!(error > 1e-6 && error < 0.06, "{name}: bf16 logits differ by {error:.1e} of the RMS");
    }
}

#[test]
fn a_model_in_another_kind_is_the_one_that_is_loaded_in_it_and_in_its_own_the_same_memory() {
    for name in FIXTURES {
        let (model, tokens) = (fixture(name), &reference(name)["tokens"]);
        let rounded = LoadOptions { kind: Kind::BFloat16, ..LoadOptions::default() };
        let loaded = LanguageModel::load(&fixture_dir(name), &rounded).unwrap();
        let (made, again) = (model.in_kind(Kind::BFloat16).unwrap(), model.in_kind(Kind::Float).unwrap());
        assert_eq!((made.identity(), made.kind()), (loaded.identity(), loaded.kind()));
        let logits = |model: &LanguageModel| model.forward(tokens, &mut untangle_model::NoHook).unwrap().unwrap();
        assert_eq!(logits(&made), logits(&loaded), "{name}");
        for ((own, a), (other, b)) in model.parameters().into_iter().zip(again.parameters()) {
            assert_eq!((&own, a.data_ptr()), (&other, b.data_ptr()), "{name}");
        }
    }
}

#[test]
fn widths_are_those_of_the_activations() {
    for name in FIXTURES {
        let (model, reference) = (fixture(name), reference(name));
        for point in model.hook_points() {
            match model.width_of(point) {
                Ok(width) => assert_eq!(width as i64, *reference[&point.to_string()].size().last().unwrap(), "{point}"),
                Err(error) => assert!(point.is_of_pairs(), "{error}"),
            }
        }
    }
}
