//! The laws hold on a trained model too, where one is at hand.

use crate::planted::perfect_at;
use std::path::PathBuf;
use untangle_interpret::ce::Context;
use untangle_interpret::{Edit, Operator, Scope, SteerOptions, ce_recovered, sweep};
use untangle_model::{GenerateOptions, LanguageModel, LoadOptions, Sampling};
use untangle_schema::{BosPolicy, Silent};

#[allow(clippy::print_stdout, reason = "a skipped test says so")]
fn stories() -> Option<LanguageModel> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("UNTANGLE_SHARED").map_or(default, PathBuf::from);
    let dir = shared.join("models/stories260k");
    if dir.exists() {
        return Some(LanguageModel::load(&dir, &LoadOptions::default()).expect("a valid model"));
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{} is missing, and CI needs it", dir.display());
    println!("skipped: {} is absent", dir.display());
    None
}

const TEXT: &str =
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park with her mom.";

#[test]
fn a_perfect_dictionary_costs_a_trained_model_nothing() {
    let Some(model) = stories() else { return };
    let tokens = model.tokenizer().expect("there").encode_with_bos(TEXT, BosPolicy::Auto).expect("text");
    let context = Context { counts: vec![true; tokens.len()], tokens };
    let sae = perfect_at(64, "blocks.2.hook_resid_post");
    let found = ce_recovered(&model, &sae, &[context], &Silent).expect("measured");
    assert!(found.nats_lost.abs() < 1e-6 && (found.recovered - 1.0).abs() < 1e-6, "{found:?}");
    assert!(found.ce_clean < 2.0 && found.ce_zero > 3.0 && found.ce_mean > found.ce_clean, "{found:?}");
}

#[test]
fn steering_changes_what_a_trained_model_writes_only_where_it_does_something() {
    let Some(model) = stories() else { return };
    let sae = perfect_at(64, "blocks.2.hook_resid_post");
    let generate = GenerateOptions { max_new_tokens: 30, sampling: Sampling::GREEDY, seed: 0, stop_at_eos: true };
    let options = SteerOptions { generate, scope: Scope::All, bos: BosPolicy::Auto };
    let edits = [Operator::Mul(1.0), Operator::Add(0.0), Operator::Add(40.0)]
        .map(|operator| vec![Edit { feature: 3, operator }]);
    let found = sweep(&model, &sae, &edits, "Once upon a time", &options).expect("steered");
    assert!(found[..2].iter().all(|result| result.steered == result.baseline && result.effect.kl == 0.0), "{found:?}");
    assert!(found[2].steered != found[2].baseline && found[2].effect.kl > 0.1, "{found:?}");
}
