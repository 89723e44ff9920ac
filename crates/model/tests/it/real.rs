//! The third-party models beside the project equal transformers.

use crate::support::{Recorder, assert_close, read_tensors, shared};
use tch::Kind;
use untangle_model::{GenerateOptions, LanguageModel, LoadOptions, NoHook, Sampling, generate};
use untangle_schema::{BosPolicy, HookPoint, Site};

const MODELS: [&str; 5] = ["stories260k", "babyllama", "arthur/epoch-002", "arthur/epoch-050", "arthur/epoch-200"];

fn load(name: &str) -> Option<LanguageModel> {
    let dir = shared("models")?.join(name);
    Some(LanguageModel::load(&dir, &LoadOptions::default()).unwrap())
}

#[test]
fn residual_stream_and_logits_of_real_models_equal_transformers() {
    for name in MODELS {
        let Some(model) = load(name) else { return };
        let path = shared("models").unwrap().join(name).join("reference.safetensors");
        if !path.is_file() {
            continue; // one checkpoint comes without a reference
        }
        let reference = read_tensors(&path);
        let n = model.n_layers();
        let mut recorder = Recorder::default();
        let logits = model.forward(&reference["input_ids"], &mut recorder).unwrap().unwrap();
        assert_close(&format!("{name} logits"), &logits, &reference["logits"], 1e-4);
        for layer in 0..n {
            let expected = &reference[&format!("hidden_{layer}")];
            let found = &recorder.found[&HookPoint::block(layer, Site::ResidPre)];
            assert_close(&format!("{name} hidden_{layer}"), found, expected, 1e-4);
            if layer > 0 {
                let found = &recorder.found[&HookPoint::block(layer - 1, Site::ResidPost)];
                assert_close(&format!("{name} hidden_{layer}"), found, expected, 1e-4);
            }
        }
        // The reference's last state is behind the final norm with its weight and bias.
        let parameter = |name: &str| model.parameters().into_iter().find(|(n, _)| n == name).map(|(_, tensor)| tensor);
        let scaled = &recorder.found[&HookPoint::FinalNormalized] * parameter("ln_final.weight").unwrap();
        let last = parameter("ln_final.bias").map_or(scaled.shallow_clone(), |bias| scaled + bias);
        assert_close(&format!("{name} hidden_{n}"), &last, &reference[&format!("hidden_{n}")], 1e-4);
    }
}

#[test]
fn the_tokenizer_gives_the_ids_that_the_reference_was_made_of() {
    // The prompt of each reference, as its metadata says.
    let stories = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park.";
    let arthur = "Q: What is 5+3?\nA: 8\n\nQ: What is your name?";
    for (name, prompt) in [("stories260k", stories), ("arthur/epoch-200", arthur)] {
        let Some(model) = load(name) else { return };
        let reference = read_tensors(&shared("models").unwrap().join(name).join("reference.safetensors"));
        let expected = Vec::<i64>::try_from(reference["input_ids"].squeeze_dim(0)).unwrap();
        let ids = model.tokenizer().unwrap().encode_with_bos(prompt, BosPolicy::Auto).unwrap();
        assert_eq!(ids.into_iter().map(i64::from).collect::<Vec<_>>(), expected, "{name}");
        let ids: Vec<u32> = expected.into_iter().map(|id| id as u32).collect();
        assert_eq!(model.tokenizer().unwrap().decode(&ids).unwrap(), prompt, "{name}");
    }
}

#[test]
fn a_story_is_told_and_told_again() {
    let Some(model) = load("stories260k") else { return };
    let tokenizer = model.tokenizer().unwrap();
    let prompt = tokenizer.encode_with_bos("Once upon a time", BosPolicy::Auto).unwrap();
    let options = GenerateOptions { max_new_tokens: 20, sampling: Sampling::GREEDY, seed: 0, stop_at_eos: true };
    let told = generate(&model, &prompt, &options, &mut NoHook, &mut |_| ()).unwrap();
    let text = tokenizer.decode(&[prompt, told.tokens].concat()).unwrap();
    assert!(text.starts_with("Once upon a time, there was a little girl named"), "{text}");
}

#[test]
fn a_trained_model_predicts_better_than_chance() {
    let Some(model) = load("arthur/epoch-050") else { return };
    let ids = model.tokenizer().unwrap().encode("Q: What is 5+3?\nA: 8\n\nQ: What is your name?").unwrap();
    let ids: Vec<i64> = ids.into_iter().map(i64::from).collect();
    let tokens = tch::Tensor::from_slice(&ids).unsqueeze(0);
    let logits = model.forward(&tokens, &mut NoHook).unwrap().unwrap();
    let seq = tokens.size()[1];
    let (logits, next) = (logits.narrow(1, 0, seq - 1).flatten(0, 1), tokens.narrow(1, 1, seq - 1).flatten(0, 1));
    let loss = logits.to_kind(Kind::Double).cross_entropy_for_logits(&next).double_value(&[]);
    assert!(loss < 2.0, "cross entropy {loss} nats; chance is {:.2}", (model.vocab_size() as f64).ln());
}
