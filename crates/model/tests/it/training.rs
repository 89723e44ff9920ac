//! The pass is differentiable from random weights, and a seed gives the same weights.

use crate::support::{Recorder, fixture, tokens};
use std::collections::BTreeSet;
use tch::{Kind, Tensor};
use untangle_model::{LanguageModel, LoadOptions, ModelConfig, NoHook};

fn random(config: &ModelConfig, seed: u64) -> LanguageModel {
    LanguageModel::random(config.clone(), seed, None, &LoadOptions::default()).unwrap()
}

#[test]
fn gradients_reach_every_parameter_and_lower_the_loss() {
    for name in crate::support::FIXTURES {
        let model = random(fixture(name).config(), 3);
        let tokens = tokens(&model, 4, 12);
        let targets = tokens.roll([-1], [1]).flatten(0, 1);
        let loss = |model: &LanguageModel| {
            let logits = model.forward(&tokens, &mut NoHook).unwrap().unwrap();
            logits.flatten(0, 1).cross_entropy_for_logits(&targets)
        };
        let parameters: Vec<(String, Tensor)> =
            model.parameters().into_iter().map(|(name, tensor)| (name, tensor.set_requires_grad(true))).collect();
        let names: BTreeSet<&String> = parameters.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), parameters.len(), "names repeat");
        let before = loss(&model);
        before.backward();
        for (name, parameter) in &parameters {
            let gradient = parameter.grad();
            // A bias on keys moves all scores of a query alike, so its gradient is rounding alone.
            let moves = gradient.abs().max().double_value(&[]) > 0.0;
            assert!(moves || name.ends_with("attn.k.bias"), "{name} has no gradient");
        }
        tch::no_grad(|| {
            for (_, mut parameter) in parameters {
                let gradient = parameter.grad();
                let _ = parameter.g_sub_(&(gradient * 0.1));
            }
        });
        let (before, after) = (before.double_value(&[]), tch::no_grad(|| loss(&model)).double_value(&[]));
        assert!(after < before, "a step against the gradient raises the loss from {before} to {after}");
    }
}

#[test]
fn gradients_agree_on_the_explicit_and_the_fused_path() {
    let model = fixture("llama");
    let tokens = tokens(&model, 2, 8);
    let q = model.parameters().into_iter().find(|(name, _)| name == "blocks.0.attn.q.weight").unwrap().1;
    let q = q.set_requires_grad(true);
    let mut gradients = Vec::new();
    for hook in [&mut NoHook as &mut dyn untangle_model::Hook, &mut Recorder::default()] {
        let logits = model.forward(&tokens, hook).unwrap().unwrap();
        let loss = logits.square().mean(None::<Kind>);
        gradients.push(Tensor::run_backward(&[loss], &[&q], false, false).remove(0));
    }
    crate::support::assert_close("gradient of blocks.0.attn.q", &gradients[0], &gradients[1], 1e-4);
}

#[test]
fn a_seed_gives_the_same_weights_and_another_seed_others() {
    let fixture = fixture("gpt2");
    let (a, b, c) = (random(fixture.config(), 1), random(fixture.config(), 1), random(fixture.config(), 2));
    assert_eq!(a.identity(), b.identity());
    assert_ne!(a.identity().weights_sha256, c.identity().weights_sha256);
}

#[test]
fn initial_weights_have_the_spread_that_is_promised() {
    let mut config = fixture("llama").config().clone();
    config.vocab_size = 5000;
    for (name, tensor) in random(&config, 0).parameters() {
        let (mean, std) = (tensor.mean(None::<Kind>).double_value(&[]), tensor.std(true).double_value(&[]));
        let expected = match name.as_str() {
            "embed.weight" | "unembed.weight" => (0.0, 0.02),
            "blocks.0.attn.out.weight" | "blocks.1.mlp.down.weight" => (0.0, 0.01), // 0.02 / sqrt(2 * 2)
            "ln_final.weight" => (1.0, 0.0),
            "blocks.1.attn.q.bias" => (0.0, 0.0),
            _ => continue,
        };
        assert!((mean - expected.0).abs() < 1e-3 && (std - expected.1).abs() < 1e-3, "{name}: {mean} ± {std}");
    }
}
