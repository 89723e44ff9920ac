//! Laws of batches that texts join and leave: each is what it is alone, and scored as a pass over all of it scores it.

use crate::support::{FIXTURES, fixture};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use tch::{Kind, Tensor};
use untangle_model::{
    Batch, Continuation, Entry, GenerateOptions, Hook, LanguageModel, LoadOptions, ModelConfig, ModelError, NoHook,
    Pass, Request, Sampling, Scored, StopReason, Told, Wanted, generate,
};
use untangle_schema::{HookPoint, Site};

/// What was told of a text.
#[derive(Debug, Default)]
struct Heard {
    prompt: Vec<Scored>,
    tokens: Vec<u32>,
    scored: Vec<Scored>,
    stop: Option<StopReason>,
    failed: bool,
}

type All = BTreeMap<u64, Heard>;

fn hear(all: &mut All, key: u64, told: Told) -> ControlFlow<()> {
    let heard = all.entry(key).or_default();
    match told {
        Told::Prompt(scores) => heard.prompt = scores,
        Told::Token(token, scored) => {
            heard.tokens.push(token);
            heard.scored.extend(scored);
        }
        Told::Ended(stop) => heard.stop = Some(stop),
        Told::Failed(_) => heard.failed = true,
    }
    ControlFlow::Continue(())
}

fn entry(key: u64, prompt: &[u32], max_new_tokens: usize) -> Entry {
    let sampling = match key % 3 {
        0 => Sampling::GREEDY,
        1 => Sampling { top_k: Some(5), ..Sampling::at(0.9) },
        _ => Sampling { repetition_penalty: 1.5, ..Sampling::at(1.1) },
    };
    let options = GenerateOptions { max_new_tokens, sampling, seed: 7 * key, stop_at_eos: false };
    let wanted = Wanted { prompt: key.is_multiple_of(2), alternatives: (key.is_multiple_of(2)).then_some(2) };
    Entry { key, request: Request { prompt: prompt.to_vec(), options }, wanted }
}

/// Has each group join after so many steps.
fn joined(model: &LanguageModel, groups: &[(usize, Vec<Entry>)]) -> All {
    let mut all = All::new();
    let mut batch = Batch::begin(model, Vec::new()).expect("none");
    for (steps, entries) in groups {
        for _ in 0..*steps {
            batch.step(&mut NoHook, &mut |key, told| hear(&mut all, key, told)).expect("a step");
        }
        let mut joining = Batch::begin(model, entries.clone()).expect("valid");
        joining.step(&mut NoHook, &mut |key, told| hear(&mut all, key, told)).expect("a step");
        batch.absorb(joining).expect("they go together");
    }
    while !batch.is_empty() {
        batch.step(&mut NoHook, &mut |key, told| hear(&mut all, key, told)).expect("a step");
    }
    all
}

fn alone(model: &LanguageModel, entry: &Entry) -> Continuation {
    generate(model, &entry.request.prompt, &entry.request.options, &mut NoHook, &mut |_| {}).expect("generated")
}

#[test]
fn texts_that_join_and_leave_are_what_they_are_alone() {
    for name in FIXTURES {
        let model = fixture(name);
        let groups = vec![
            (0, vec![entry(0, &[3, 1, 4, 1, 5, 9], 9), entry(1, &[2], 2)]),
            (3, vec![entry(2, &[6, 5, 3], 8)]),
            (0, vec![entry(3, &[5, 8, 9, 7, 9, 3, 2, 3], 3), entry(4, &[1, 1], 7)]),
            (4, vec![entry(5, &[8], 5)]),
        ];
        let groups = match Batch::takes_others(&model) {
            true => groups,
            // Texts of these models are written one after the other.
            false => groups.into_iter().flat_map(|(_, entries)| entries).map(|entry| (20, vec![entry])).collect(),
        };
        let all = joined(&model, &groups);
        for entry in groups.iter().flat_map(|(_, entries)| entries) {
            let (found, expected) = (&all[&entry.key], alone(&model, entry));
            assert_eq!((&found.tokens, found.stop), (&expected.tokens, Some(expected.stop)), "{name}: {entry:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whoever_joins_whenever(
        groups in prop::collection::vec(
            (0usize..6, prop::collection::vec((prop::collection::vec(0u32..40, 1..9), 0usize..7), 1..4)), 1..5)
    ) {
        let model = fixture("llama");
        let mut key = 0;
        let mut entries = |group: &Vec<(Vec<u32>, usize)>| {
            let one = |(prompt, n): &(Vec<u32>, usize)| {
                key += 1;
                entry(key, prompt, *n)
            };
            group.iter().map(one).collect::<Vec<_>>()
        };
        let groups: Vec<_> = groups.iter().map(|(steps, group)| (*steps, entries(group))).collect();
        let all = joined(&model, &groups);
        for entry in groups.iter().flat_map(|(_, entries)| entries) {
            prop_assert_eq!(&all[&entry.key].tokens, &alone(&model, entry).tokens);
        }
    }
}

/// The log-probability of a token behind the first `n` of a text that passes as a whole, and those of the two likeliest there.
fn score(model: &LanguageModel, text: &[u32], n: usize, token: u32) -> (f32, Vec<f32>) {
    let ids: Vec<i64> = text.iter().map(|id| i64::from(*id)).collect();
    let logits = model.forward(&Tensor::from_slice(&ids).unsqueeze(0), &mut NoHook).unwrap().unwrap();
    let log_p = logits.squeeze_dim(0).get(n as i64 - 1).log_softmax(-1, Kind::Float);
    let (top, _) = log_p.topk(2, -1, true, true);
    (log_p.double_value(&[i64::from(token)]) as f32, Vec::try_from(top).unwrap())
}

#[test]
fn scores_are_those_of_a_pass_over_the_text() {
    for name in FIXTURES {
        let model = fixture(name);
        // Another text pads the first of these.
        let entries = vec![entry(0, &[3, 1, 4], 4), entry(2, &[2, 7, 1, 8, 2, 8, 1, 8], 3), entry(4, &[9], 0)];
        let together = if Batch::takes_others(&model) { 3 } else { 1 };
        let groups: Vec<_> = entries.chunks(together).map(|entries| (20, entries.to_vec())).collect();
        let all = joined(&model, &groups);
        for entry in &entries {
            let (prompt, found) = (&entry.request.prompt, &all[&entry.key]);
            // Of the prompt, and of every new token behind what stood before it: some models read long texts in another way.
            let behind = |n: usize| [&prompt[..], &found.tokens[..n]].concat();
            let mut expected: Vec<_> = (1..prompt.len()).map(|n| score(&model, prompt, n, prompt[n])).collect();
            expected
                .extend((0..found.tokens.len()).map(|n| score(&model, &behind(n), prompt.len() + n, found.tokens[n])));
            let scores: Vec<&Scored> = found.prompt.iter().chain(&found.scored).collect();
            assert_eq!(scores.len(), expected.len(), "{name}: {entry:?}");
            for (found, (logprob, likeliest)) in scores.iter().zip(&expected) {
                let near = |a: f32, b: f32| (a - b).abs() < 1e-3;
                assert!(near(found.logprob, *logprob), "{name}: {found:?} {logprob}");
                assert!(found.likeliest.iter().zip(likeliest).all(|(a, b)| near(a.1, *b)), "{name}: {found:?}");
            }
        }
    }
}

#[test]
fn prompts_with_many_logits_are_read_in_pieces() {
    let json = br#"{"model_type": "llama", "vocab_size": 50000, "hidden_size": 8, "intermediate_size": 16,
                     "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 512}"#;
    let config = ModelConfig::from_json("config.json".as_ref(), json).unwrap();
    let model = LanguageModel::random(config, 0, None, &LoadOptions::default()).unwrap();
    let text = |n: u32, by: u32| (0..n).map(|at| at * by % 50_000).collect::<Vec<u32>>();
    let entries = vec![entry(0, &text(400, 7919), 2), entry(2, &text(150, 104_729), 2)];
    let all = joined(&model, &[(0, entries.clone())]);
    for entry in &entries {
        let (prompt, found) = (&entry.request.prompt, &all[&entry.key]);
        assert_eq!(found.tokens, alone(&model, entry).tokens);
        let text = [&prompt[..], &found.tokens].concat();
        assert_eq!(found.prompt.len() + found.scored.len(), text.len() - 1);
        for (n, found) in found.prompt.iter().chain(&found.scored).enumerate().step_by(7) {
            let (logprob, _) = score(&model, &text, n + 1, text[n + 1]);
            assert!((found.logprob - logprob).abs() < 1e-3, "{found:?} {logprob}");
        }
    }
}

/// Fails where a token comes by.
struct Refuses(i64);

impl Hook for Refuses {
    fn wants(&self, point: HookPoint) -> bool {
        point == HookPoint::block(0, Site::ResidPost)
    }

    fn visit(&mut self, point: HookPoint, pass: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        match pass.tokens.eq(self.0).any().int64_value(&[]) {
            0 => Ok(acts),
            _ => Err(ModelError::hook(point, ModelError::NotFinite { n_tokens: 1 })),
        }
    }
}

#[test]
fn a_pass_that_fails_changes_nothing_and_the_others_go_on_apart() {
    let model = fixture("llama");
    let entries = [entry(0, &[3, 1, 4], 6), entry(1, &[2, 49], 6), entry(2, &[6, 5, 3, 1], 6)];
    let mut all = All::new();
    let mut batch = Batch::begin(&model, entries.to_vec()).expect("valid");
    batch.step(&mut Refuses(49), &mut |key, told| hear(&mut all, key, told)).expect_err("refused");
    assert!(all.is_empty() && batch.keys() == [0, 1, 2], "{all:?}");
    let mut left = Batch::begin(&model, Vec::new()).expect("none");
    for mut one in batch.apart() {
        let step = one.step(&mut Refuses(49), &mut |key, told| hear(&mut all, key, told));
        assert_eq!(step.is_err(), one.keys() == [1], "{step:?}");
        if step.is_ok() {
            left.absorb(one).expect("they go together");
        }
    }
    // One of those that are being written leaves; the other does not notice.
    left.step(&mut NoHook, &mut |key, told| hear(&mut all, key, told)).expect("a step");
    left.remove(|key| key == 2);
    while !left.is_empty() {
        left.step(&mut NoHook, &mut |key, told| hear(&mut all, key, told)).expect("a step");
    }
    assert_eq!(all[&0].tokens, alone(&model, &entries[0]).tokens);
    assert_eq!((all[&2].tokens.len(), all[&2].stop), (2, None));
}

#[test]
fn what_cannot_be_written_is_refused_before() {
    let model = fixture("llama");
    assert!(matches!(Batch::begin(&model, vec![entry(0, &[], 3)]), Err(ModelError::Input { what: "prompt", .. })));
    let long = vec![1; model.max_context() + 1];
    assert!(matches!(Batch::begin(&model, vec![entry(0, &long, 3)]), Err(ModelError::ContextExceeded { .. })));
    let (mut one, other) = (vec![entry(0, &[1], 3)], Batch::begin(&model, vec![entry(1, &[1], 3)]).expect("valid"));
    let mut new = Batch::begin(&model, std::mem::take(&mut one)).expect("valid");
    assert!(new.absorb(other).expect_err("nothing was read").to_string().contains("a step of both before"));
    // A text that fills the context ends there.
    let full = vec![1; model.max_context()];
    let mut all = All::new();
    let mut batch = Batch::begin(&model, vec![entry(0, &full, 3)]).expect("fits");
    batch.step(&mut NoHook, &mut |key, told| hear(&mut all, key, told)).expect("a step");
    assert_eq!((all[&0].tokens.len(), all[&0].stop, batch.is_empty()), (1, Some(StopReason::ContextFull), true));
}
