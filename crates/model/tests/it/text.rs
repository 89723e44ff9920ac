//! Tokenizers and generation.

use crate::support::{Recorder, Replace, fixture};
use serde_json::{Value, json};
use std::path::Path;
use tch::Tensor;
use untangle_model::{
    GenerateOptions, Hook, LanguageModel, ModelConfig, ModelError, NoHook, Pass, Phase, Sampling, StopReason,
    Tokenizer, TokenizerFiles, generate, generate_rows,
};
use untangle_schema::{BosPolicy, HookPoint, Site};

/// A byte-level tokenizer whose post-processor puts `<s>` first, with an unknown and a chat token.
fn tokenizer_json() -> Value {
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false})
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [special(0, "<s>"), special(1, "</s>"), special(7, "<|chat|>")],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": "?", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"<s>": 0, "</s>": 1, "?": 2, "a": 3, "b": 4, "Ġ": 5, "Ġa": 6}, "merges": ["Ġ a"]}
    })
}

fn config(model: &str, extra: Value) -> ModelConfig {
    let path = crate::support::fixture_dir(model).join("config.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    json.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    ModelConfig::from_json(&path, json.to_string().as_bytes()).unwrap()
}

fn tokenizer(extra: Value) -> Tokenizer {
    let files = TokenizerFiles::in_memory(tokenizer_json().to_string().as_bytes());
    Tokenizer::new(&files, &config("llama", extra)).unwrap()
}

#[test]
fn a_beginning_token_is_put_on_request_and_never_twice() {
    let tokenizer = tokenizer(json!({"bos_token_id": null, "eos_token_id": null}));
    assert_eq!(tokenizer.bos(), Some(0), "the post-processor's first token");
    assert_eq!(tokenizer.encode("ab a").unwrap(), [3, 4, 6]);
    assert_eq!(tokenizer.encode_with_bos("ab", BosPolicy::Auto).unwrap(), [0, 3, 4]);
    assert_eq!(tokenizer.encode_with_bos("<s>ab", BosPolicy::Always).unwrap(), [0, 3, 4]);
    assert_eq!(tokenizer.encode_with_bos("ab", BosPolicy::Never).unwrap(), [3, 4]);
    assert_eq!(tokenizer.encode_with_bos("", BosPolicy::Auto).unwrap(), [0]);
}

#[test]
fn a_policy_that_needs_a_missing_token_is_refused() {
    let mut json = tokenizer_json();
    json["post_processor"] = Value::Null;
    let files = TokenizerFiles::in_memory(json.to_string().as_bytes());
    let tokenizer = Tokenizer::new(&files, &config("llama", json!({"bos_token_id": null}))).unwrap();
    assert_eq!(tokenizer.encode_with_bos("ab", BosPolicy::Auto).unwrap(), [3, 4]);
    assert!(matches!(tokenizer.encode_with_bos("ab", BosPolicy::Always), Err(ModelError::NoBos { .. })));
}

#[test]
fn files_of_the_directory_name_the_special_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, value: Value| std::fs::write(dir.path().join(name), value.to_string()).unwrap();
    write("tokenizer.json", tokenizer_json());
    let read = |dir: &Path| TokenizerFiles::read(dir).unwrap().unwrap();
    let config = config("llama", json!({"bos_token_id": 3, "eos_token_id": [1, 4]}));
    let alone = Tokenizer::new(&read(dir.path()), &config).unwrap();
    assert_eq!(alone.bos(), Some(3), "config.json");

    write("tokenizer_config.json", json!({"bos_token": {"content": "</s>"}, "eos_token": "<|chat|>"}));
    write("generation_config.json", json!({"eos_token_id": [2, 50256]}));
    let all = Tokenizer::new(&read(dir.path()), &config).unwrap();
    assert_eq!(all.bos(), Some(1), "tokenizer_config.json, before config.json");
    assert_eq!(all.eos().iter().copied().collect::<Vec<_>>(), [1, 2, 4, 7]);

    write("tokenizer_config.json", json!({"bos_token": null}));
    assert_eq!(Tokenizer::new(&read(dir.path()), &config).unwrap().bos(), None, "declared to have none");
}

#[test]
fn special_tokens_are_known_and_left_out_of_text() {
    let tokenizer = tokenizer(json!({"bos_token_id": 0, "eos_token_id": 4}));
    let special: Vec<u32> = (0..9).filter(|id| tokenizer.is_special(*id)).collect();
    assert_eq!(special, [0, 1, 2, 4, 7], "beginning, end, unknown, config.json's end, chat");
    assert_eq!(tokenizer.decode(&[0, 3, 6, 7]).unwrap(), "a a");
    assert_eq!(tokenizer.decode(&[3, 40, 6]).unwrap(), "a a", "an id without a token is nothing");
    let shown: Vec<String> = [0, 3, 6, 5, 40].map(|id| tokenizer.token_text(id)).into();
    assert_eq!(shown, ["<s>", "a", " a", " ", "<id 40>"]);
}

fn options(max_new_tokens: usize, sampling: Sampling) -> GenerateOptions {
    GenerateOptions { max_new_tokens, sampling, seed: 5, stop_at_eos: false }
}

const WARM: Sampling = Sampling::at(1.0);

fn continued(model: &LanguageModel, options: &GenerateOptions, hook: &mut dyn Hook) -> (Vec<u32>, StopReason) {
    let mut heard = Vec::new();
    let found = generate(model, &[3, 1, 4], options, hook, &mut |token| heard.push(token)).unwrap();
    assert_eq!(heard, found.tokens, "on_token hears what is returned");
    (found.tokens, found.stop)
}

#[test]
fn greedy_tokens_are_the_largest_logits_of_uncached_passes() {
    for name in crate::support::FIXTURES {
        let model = fixture(name);
        let mut ids = vec![3i64, 1, 4];
        for _ in 0..8 {
            let logits = model.forward(&Tensor::from_slice(&ids).unsqueeze(0), &mut NoHook).unwrap().unwrap();
            ids.push(logits.select(1, -1).argmax(-1, false).int64_value(&[0]));
        }
        let expected: Vec<u32> = ids[3..].iter().map(|id| *id as u32).collect();
        let found = continued(&model, &options(8, Sampling::GREEDY), &mut NoHook);
        assert_eq!(found, (expected, StopReason::MaxNewTokens), "{name}");
    }
}

#[test]
fn a_seed_gives_one_text_alone_and_in_a_batch_whatever_torch_draws() {
    let model = fixture("llama");
    let alone: Vec<_> = [1, 2, 3]
        .map(|seed| {
            let _ = Tensor::randn([seed], (tch::Kind::Float, tch::Device::Cpu));
            let options = GenerateOptions { seed: seed as u64, ..options(10, WARM) };
            generate(&model, &[3, 1, 4], &options, &mut NoHook, &mut |_| ()).unwrap()
        })
        .into();
    let mut heard = vec![Vec::new(); 3];
    let mut listen = |row: usize, token| heard[row].push(token);
    let rows = generate_rows(&model, &[3, 1, 4], &options(10, WARM), &[1, 2, 3], &mut NoHook, &mut listen).unwrap();
    assert_eq!(rows, alone);
    assert_eq!(heard, rows.iter().map(|row| row.tokens.clone()).collect::<Vec<_>>());
    assert!(rows[0] != rows[1] && rows[1] != rows[2]);
}

#[test]
fn rows_end_on_their_own_and_an_end_token_is_no_text() {
    let mut model_config = fixture("llama").config().clone();
    model_config.max_context = 64;
    let greedy = |eos: Vec<u32>| {
        let config = ModelConfig { eos_tokens: eos, ..model_config.clone() };
        LanguageModel::random(config, 3, None, &Default::default()).unwrap()
    };
    let stopping = GenerateOptions { stop_at_eos: true, ..options(40, WARM) };
    let seeds: Vec<u64> = (0..6).collect();
    let run = |model: &LanguageModel, options| {
        generate_rows(model, &[3, 1], &options, &seeds, &mut NoHook, &mut |_, _| ()).unwrap()
    };
    let free = run(&greedy(vec![]), stopping);
    let eos = free[0].tokens[4];
    let ended = run(&greedy(vec![eos]), stopping);
    for (free, ended) in free.iter().zip(&ended) {
        let until = free.tokens.iter().position(|token| *token == eos);
        assert_eq!(ended.tokens, free.tokens[..until.unwrap_or(40)]);
        let expected = if until.is_some() { StopReason::EndOfSequence } else { StopReason::MaxNewTokens };
        assert_eq!(ended.stop, expected);
    }
    let through = run(&greedy(vec![eos]), GenerateOptions { stop_at_eos: false, ..stopping });
    assert_eq!(through, free);
}

#[test]
fn a_full_context_ends_the_text() {
    let model = fixture("gpt2"); // 16 positions
    let (tokens, stop) = continued(&model, &options(100, WARM), &mut NoHook);
    assert_eq!((tokens.len(), stop), (14, StopReason::ContextFull), "13 fit, and the last one needs no position");
    let full = generate(&model, &[1; 16], &options(5, WARM), &mut NoHook, &mut |_| ()).unwrap();
    assert_eq!((full.tokens.len(), full.stop), (1, StopReason::ContextFull));
    let error = generate(&model, &[1; 17], &options(5, WARM), &mut NoHook, &mut |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "17 tokens do not fit into the model's context of 16");
    assert_eq!(continued(&model, &options(0, WARM), &mut NoHook), (vec![], StopReason::MaxNewTokens));
}

#[test]
fn hooks_see_the_prompt_and_then_every_token_and_may_steer() {
    let model = fixture("gpt2");
    let at = HookPoint::block(0, Site::ResidPost);
    let plain = continued(&model, &options(5, Sampling::GREEDY), &mut NoHook).0;
    let mut passes = Vec::new();
    let mut steer = Replace {
        at,
        with: |pass: &Pass<'_>, acts: Tensor| {
            passes.push((pass.phase, pass.positions.size()[0], pass.positions.int64_value(&[-1])));
            acts.neg()
        },
    };
    let steered = continued(&model, &options(5, Sampling::GREEDY), &mut steer).0;
    let expected = [3, 4, 5, 6].map(|position| (Phase::Generated, 1, position));
    assert_eq!(passes[0], (Phase::Prompt, 3, 2));
    assert_eq!(passes[1..], expected, "the last token is not run");
    assert_ne!(steered, plain);
}

/// Phase and length of every pass.
#[derive(Default)]
struct Passes(Vec<(Phase, i64)>);

impl Hook for Passes {
    fn wants(&self, point: HookPoint) -> bool {
        point == HookPoint::Embed
    }

    fn visit(&mut self, _: HookPoint, pass: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        self.0.push((pass.phase, acts.size()[1]));
        Ok(acts)
    }
}

#[test]
fn a_text_that_outgrows_the_angles_of_short_texts_passes_again() {
    let model = fixture("phi3"); // other angles beyond 6 tokens
    let mut passes = Passes::default();
    continued(&model, &options(6, Sampling::GREEDY), &mut passes);
    let one = (Phase::Generated, 1);
    let again = [(Phase::Prompt, 3), (Phase::Generated, 4)];
    assert_eq!(passes.0, [&[(Phase::Prompt, 3), one, one, one], &again[..], &[one]].concat());
}

#[test]
fn requests_that_cannot_be_met_are_named() {
    let model = fixture("gpt2");
    let run = |prompt: &[u32], options, hook: &mut dyn Hook| {
        generate(&model, prompt, &options, hook, &mut |_| ()).unwrap_err().to_string()
    };
    assert!(run(&[], options(1, WARM), &mut NoHook).starts_with("prompt is empty"));
    assert!(
        run(&[53], options(1, WARM), &mut NoHook).starts_with("tokens is 53 among them; expected ids from 0 to 52")
    );
    let cold = Sampling { temperature: -1.0, ..WARM };
    assert_eq!(run(&[1], options(1, cold), &mut NoHook), "temperature is -1; expected 0 or a positive number");
    let mut stopping = Recorder { last: Some(HookPoint::Embed), ..Recorder::default() };
    let text = run(&[1], options(1, WARM), &mut stopping);
    assert_eq!(text, "generation needs logits, and the hook ends the pass after hook_embed");
    let mut blow = Replace { at: HookPoint::Embed, with: |_: &Pass<'_>, acts: Tensor| acts * f64::INFINITY };
    assert!(run(&[1, 2], options(1, WARM), &mut blow).starts_with("the logits after 2 tokens are not finite"));
}
