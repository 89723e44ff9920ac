//! Laws of steering, on a random model and a random dictionary.

use crate::planted::{POINT, axes, corpus, model, noise, random_dictionary};
use std::cell::Cell;
use std::ops::ControlFlow;
use tch::{Kind, Tensor};
use untangle_interpret::intervene::{Intervene, Intervention, Rewrite, Shift, on_host};
use untangle_interpret::steer::edit::{OtherStep, Steer};
use untangle_interpret::steer::{EffectOf, Judge, SteerProblem, Studies, StudyPlan, TextOptions, steer_texts};
use untangle_interpret::{
    Dictionary, Edit, InterpretError, Operator, Scope, Spec, SteerOptions, resolve, steer, sweep,
};
use untangle_model::{
    GenerateOptions, Hook, Hooks, Input, KvCache, LanguageModel, Logits, NoHook, Phase, Recorder, Sampling,
};
use untangle_sae::{Codes, Sae};
use untangle_schema::{BosPolicy, HookPoint, Site};

const D: usize = 16;

fn tokens() -> Vec<i64> {
    corpus(1, 30).iter().map(|t| i64::from(t.token)).collect()
}

fn logits(model: &LanguageModel, hook: &mut dyn Hook) -> Vec<f32> {
    let logits = model.forward(&Tensor::from_slice(&tokens()).unsqueeze(0), hook).expect("fits").expect("logits");
    Vec::try_from(logits.view(-1)).expect("f32")
}

fn steered(model: &LanguageModel, sae: &Sae, edits: &[Edit], scope: Scope) -> Vec<f32> {
    let rewrite = Steer::new(sae, edits).expect("valid");
    logits(model, &mut Intervention::new(model, POINT, D, scope, rewrite).expect("fits"))
}

fn edit(feature: usize, operator: Operator) -> Edit {
    Edit { feature, operator }
}

fn rows() -> Vec<f32> {
    (0..D as u64 * 20).map(|at| noise(at, 1) as f32 / (1_u64 << 47) as f32 - 1.0).collect()
}

fn rewritten(sae: &Sae, edits: &[Edit]) -> Vec<f32> {
    let mut rows = rows();
    Steer::new(sae, edits).expect("valid").rewrite(&mut rows, None).expect("rewritten");
    rows
}

#[test]
fn an_unchanged_feature_changes_no_bit() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    let baseline = logits(&model, &mut NoHook);
    for operator in [Operator::Add(0.0), Operator::Mul(1.0)] {
        assert_eq!(steered(&model, &sae, &[edit(3, operator), edit(9, operator)], Scope::All), baseline);
    }
    let silent = edit(3, Operator::Add(5.0));
    assert_eq!(steered(&model, &sae, &[silent], Scope::Generated), baseline, "no token of the prompt");
    assert_ne!(steered(&model, &sae, &[silent], Scope::All), baseline);
}

#[test]
fn setting_a_feature_to_its_own_value_changes_no_bit() {
    let sae = random_dictionary(D, 40);
    let mut codes = Codes::new();
    sae.encode(&rows(), &mut codes).expect("encoded");
    for (at, row) in rows().chunks_exact(D).enumerate() {
        for feature in 0..sae.d_sae() {
            let mut same = row.to_vec();
            // One row at a time, as in generation: the value is that of the batch.
            let own = edit(feature, Operator::Set(codes.activation(at, feature)));
            let changed = Steer::new(&sae, &[own]).expect("valid").rewrite(&mut same, None).expect("rewritten");
            assert!(!changed && same == row, "feature {feature} of row {at}");
        }
    }
}

#[test]
fn rows_beside_changed_ones_keep_every_bit() {
    let sae = axes(2);
    // Feature 0 is 3 on the second row alone. Its direction has no part in coordinate 1.
    let before = [-0.0_f32, -0.0, 3.0, -1.0];
    let ablated = [edit(0, Operator::Set(0.0))];
    let mut rows = before;
    assert!(Steer::new(&sae, &ablated).expect("valid").rewrite(&mut rows, None).expect("rewritten"));
    assert_eq!((rows[0].to_bits(), rows[1].to_bits(), rows[2]), ((-0.0_f32).to_bits(), (-0.0_f32).to_bits(), 0.0));
    let mut rows = before;
    OtherStep::random(Steer::new(&sae, &ablated).expect("valid"), 3).rewrite(&mut rows, None).expect("rewritten");
    assert_eq!((rows[0].to_bits(), rows[1].to_bits()), ((-0.0_f32).to_bits(), (-0.0_f32).to_bits()));
    assert_ne!(rows[2], 3.0);
}

#[test]
fn edits_are_exact_deltas_that_leave_the_rest_alone() {
    let sae = random_dictionary(D, 40);
    let mut codes = Codes::new();
    sae.encode(&rows(), &mut codes).expect("encoded");
    let expect = |change: &dyn Fn(f32) -> f32, operator| {
        let found = rewritten(&sae, &[edit(4, operator)]);
        for (at, (x, y)) in rows().chunks_exact(D).zip(found.chunks_exact(D)).enumerate() {
            let f = codes.activation(at, 4);
            for ((x, y), d) in x.iter().zip(y).zip(sae.decoder_row(4)) {
                assert_eq!(*y, x + (change(f) * d), "row {at}, {operator:?}");
            }
        }
    };
    expect(&|_| 2.5, Operator::Add(2.5));
    expect(&|f| 1.5 - f, Operator::Set(1.5));
    expect(&|f| 0.0 - f, Operator::Set(0.0));
    expect(&|f| 3.0 * f - f, Operator::Mul(3.0));
    expect(&|f| (0.25 - f).max(0.0), Operator::Min(0.25));
    expect(&|f| (0.25 - f).min(0.0), Operator::Max(0.25));
    assert!((0..20).any(|row| codes.activation(row, 4) > 0.0), "the feature fires somewhere");
}

#[test]
fn several_features_are_the_sum_in_any_order() {
    let sae = random_dictionary(D, 40);
    let (a, b) = (edit(4, Operator::Set(2.0)), edit(17, Operator::Add(-1.0)));
    let both = rewritten(&sae, &[a, b]);
    assert_eq!(both, rewritten(&sae, &[b, a]), "to the bit");
    let (one, other) = (rewritten(&sae, &[a]), rewritten(&sae, &[b]));
    for (((x, both), one), other) in rows().iter().zip(&both).zip(&one).zip(&other) {
        assert!((both - x - ((one - x) + (other - x))).abs() < 1e-5);
    }
}

#[test]
fn the_cache_makes_no_difference() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    for edits in [vec![edit(4, Operator::Add(3.0))], vec![edit(4, Operator::Set(3.0)), edit(6, Operator::Mul(2.0))]] {
        let whole = steered(&model, &sae, &edits, Scope::All);
        let rewrite = Steer::new(&sae, &edits).expect("valid");
        let mut hook = Intervention::new(&model, POINT, D, Scope::All, rewrite).expect("fits");
        let mut cache = KvCache::new(model.config());
        let vocab = model.vocab_size();
        for (at, token) in tokens().iter().enumerate() {
            let token = Tensor::from_slice(&[*token]).unsqueeze(0);
            let phase = if at == 0 { Phase::Prompt } else { Phase::Generated };
            let input = Input { tokens: &token, mask: None, phase, logits: Logits::Last };
            let logits = model.forward_with(&input, Some(&mut cache), &mut hook).expect("fits").expect("logits");
            let logits: Vec<f32> = Vec::try_from(logits.view(-1)).expect("f32");
            let expected = &whole[at * vocab..(at + 1) * vocab];
            let apart = logits.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-5, "position {at}: {apart}");
        }
    }
}

#[test]
fn special_tokens_are_never_steered() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    let rewrite = Steer::new(&sae, &[edit(4, Operator::Add(9.0))]).expect("valid");
    let mut hook = Intervention::new(&model, POINT, D, Scope::All, rewrite).expect("fits");
    let at = |hook: &mut dyn Hook| {
        let logits = model.forward(&Tensor::from_slice(&[0_i64, 5, 0, 0]).unsqueeze(0), hook).expect("fits");
        Vec::<f32>::try_from(logits.expect("logits").view(-1)).expect("f32")
    };
    let (with, without) = (at(&mut hook), at(&mut NoHook));
    assert_eq!(with[..24], without[..24], "position 0 is special and sees nothing else");
    assert_ne!(with[24..48], without[24..48]);
}

#[test]
fn a_study_tells_of_as_much_as_it_said_it_would_do() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    let generate = GenerateOptions { max_new_tokens: 2, sampling: Sampling::GREEDY, seed: 1, stop_at_eos: false };
    let prompts = vec!["the little dog".to_owned(), "the dog".to_owned()];
    let plan = StudyPlan { prompts, naming: "the little dog".to_owned(), continuations: 3, generate, directions: 2 };
    let told = Cell::new(0);
    let tell = |n: u64| {
        told.set(told.get() + n);
        Ok(())
    };
    let dictionaries = [Dictionary::only(&sae)];
    let studies = Studies::new(&model, &dictionaries, &plan, Judge { about: &|_| false, names: &|_| false }, &tell)
        .expect("its own");
    assert_eq!(told.get(), plan.work(0, 3));
    for sets in 1..3 {
        studies.study(&[edit(4, Operator::Add(1.0)).into()], &[1, 2, 3]).expect("studied");
        assert_eq!(told.get(), plan.work(sets, 3));
    }
}

#[test]
fn random_steps_are_as_long_as_the_steering() {
    let sae = random_dictionary(D, 40);
    let edits = [edit(4, Operator::Set(2.0)), edit(9, Operator::Add(1.0))];
    let mut random = rows();
    OtherStep::random(Steer::new(&sae, &edits).expect("valid"), 3).rewrite(&mut random, None).expect("rewritten");
    let before = rows();
    let lengths = |after: &[f32]| -> Vec<f32> {
        let length = |(y, x): (&[f32], &[f32])| y.iter().zip(x).map(|(y, x)| (y - x).powi(2)).sum::<f32>().sqrt();
        after.chunks_exact(D).zip(before.chunks_exact(D)).map(length).collect()
    };
    for (a, b) in lengths(&random).iter().zip(lengths(&rewritten(&sae, &edits))) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn texts_stand_side_by_side_and_effects_grow_with_strength() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    let generate = GenerateOptions { max_new_tokens: 12, sampling: Sampling::GREEDY, seed: 1, stop_at_eos: false };
    let options = SteerOptions { generate, scope: Scope::All, bos: BosPolicy::Auto };
    let strengths = [0.0, 1.0, 4.0, 16.0];
    let edits: Vec<Vec<Edit>> = strengths.iter().map(|v| vec![edit(4, Operator::Add(*v))]).collect();
    let found = sweep(&model, &sae, &edits, "the little dog", &options).expect("steered");
    assert_eq!(found[0].steered, found[0].baseline, "strength 0");
    assert_eq!((found[0].effect.kl, found[0].effect.raised, found[0].effect.control_kl), (0.0, 0.0, 0.0));
    assert!(found.iter().all(|result| result.baseline.starts_with("the little dog")));
    assert!(found.windows(2).all(|pair| pair[0].effect.kl < pair[1].effect.kl), "{found:?}");
    assert!(found[3].effect.control_kl > 0.0 && found[3].effect.raised > found[3].effect.control_raised, "{found:?}");
    assert_ne!(found[3].steered, found[3].baseline);
    assert_eq!(steer(&model, &sae, &edits[3], "the little dog", &options).expect("steered"), found[3]);
}

#[test]
fn steps_for_different_tokens_are_measured_at_these() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    let dictionaries = [Dictionary::only(&sae)];
    let generate = GenerateOptions { max_new_tokens: 6, sampling: Sampling::GREEDY, seed: 1, stop_at_eos: false };
    let options = TextOptions { generate, stop: Vec::new(), bos: BosPolicy::Auto };
    let specs = |all: &[&str]| all.iter().map(|text| text.parse().expect("well written")).collect::<Vec<Spec>>();
    let sets = [
        &["4:add=9 at generated", "4:add=-9 at prompt"][..],
        &["4:add=9 at generated", "4:add=9 at prompt"],
        &["4:add=9", "7:add=0"],
    ];
    let sets = sets.map(|set| resolve(&specs(set), &model, &dictionaries).expect("known"));
    let prompts = ["the little dog".to_owned()];
    let found = steer_texts(&model, &dictionaries, &sets, &prompts, &options, &mut |_, _, _| ControlFlow::Continue(()));
    let found: Vec<_> = found.expect("steered").remove(0).into_iter().map(|result| result.effect).collect();
    assert!(found[0].of == EffectOf::Text && found[1].of == EffectOf::Text && found[2].of == EffectOf::Prompt);
    assert_eq!(found[0].positions, found[2].positions + 6);
    // Nothing is done to the prompt's special token; all that was written is steered.
    assert_eq!((found[2].steered_positions, found[2].positions), (3, 4));
    assert_eq!((found[0].steered_positions, found[1].steered_positions), (9, 9));
    assert!(found[0].kl > 0.0, "they do not take each other back: {found:?}");
    assert_ne!(found[0].kl, found[1].kl);
}

#[test]
fn edits_that_cannot_be_meant_are_refused() {
    let sae = random_dictionary(D, 40);
    let refused = |edits: &[Edit]| Steer::new(&sae, edits).map(drop);
    let twice = [edit(1, Operator::Add(1.0)), edit(1, Operator::Set(0.0))];
    assert!(matches!(refused(&twice), Err(InterpretError::Steer(SteerProblem::Twice { feature: 1, .. }))));
    let beyond = refused(&[edit(40, Operator::Add(1.0))]).expect_err("0 to 39").to_string();
    assert!(beyond.contains("no feature 40") && beyond.contains("40, from 0"), "{beyond}");
}

/// A change on the host alone.
struct Host<'a>(Steer<'a>);

impl Intervene for Host<'_> {
    fn intervene(&mut self, rows: &Tensor, read: Option<&Tensor>) -> Result<Option<Tensor>, InterpretError> {
        on_host(&mut self.0, rows, read)
    }
}

#[test]
fn additions_in_the_pass_are_those_of_the_host_to_the_bit() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    let edits = [edit(9, Operator::Add(-1.5)), edit(3, Operator::Add(4.0)), edit(5, Operator::Add(0.0))];
    for scope in [Scope::All, Scope::Prompt, Scope::Generated] {
        let host = Host(Steer::new(&sae, &edits).expect("valid"));
        let on_host = logits(&model, &mut Intervention::new(&model, POINT, D, scope, host).expect("fits"));
        assert_eq!(steered(&model, &sae, &edits, scope), on_host, "{scope:?}");
    }
}

#[test]
fn a_gradient_passes_through_a_shift() {
    let model = model();
    let token = 7;
    let loss = |step: Tensor| {
        let mut hook = Intervention::new(&model, POINT, D, Scope::All, Shift { step }).expect("fits");
        let logits = model.forward(&Tensor::from_slice(&tokens()).unsqueeze(0), &mut hook).expect("fits");
        let said = logits.expect("logits").log_softmax(-1, Kind::Double).select(-1, token); // [1, seq]
        -said.mean(Kind::Double)
    };
    let at: Vec<f32> = (0..D as u64).map(|i| noise(i, 5) as f32 / (1_u64 << 48) as f32).collect();
    let step = Tensor::from_slice(&at).set_requires_grad(true);
    loss(step.shallow_clone()).backward();
    let gradient = Vec::<f32>::try_from(step.grad()).expect("f32");
    assert!(gradient.iter().any(|g| g.abs() > 1e-3), "{gradient:?}");
    for i in [0, 6, 15] {
        let near = |by: f32| {
            let mut near = at.clone();
            near[i] += by;
            tch::no_grad(|| loss(Tensor::from_slice(&near)).double_value(&[]))
        };
        let slope = (near(0.02) - near(-0.02)) / 0.04;
        assert!((slope - f64::from(gradient[i])).abs() < 0.02 * slope.abs().max(0.01), "{i}: {slope}, {}", gradient[i]);
    }
}

#[test]
fn several_hooks_change_one_pass() {
    let model = model();
    let points = [HookPoint::block(0, Site::ResidPost), POINT];
    let steps: Vec<Tensor> = [3, 4]
        .iter()
        .map(|seed| {
            let values: Vec<f32> = (0..D as u64).map(|i| noise(i, *seed) as f32 / (1_u64 << 48) as f32).collect();
            Tensor::from_slice(&values)
        })
        .collect();
    let shift = |number: usize| {
        let step = steps[number].shallow_clone();
        Intervention::new(&model, points[number], D, Scope::All, Shift { step }).expect("fits")
    };
    let both = {
        let (mut first, mut second) = (shift(0), shift(1));
        logits(&model, &mut Hooks::new(vec![&mut first, &mut second]))
    };
    let alone: Vec<_> = [0, 1].into_iter().map(|number| logits(&model, &mut shift(number))).collect();
    assert!(both != alone[0] && both != alone[1]);
    // What the first leaves is what the second finds: with the first point recorded behind the first hook, the second alone
    // gives the same from there on.
    let mut recorder = Recorder::new(vec![points[1]]);
    let (mut first, mut second) = (shift(0), shift(1));
    let ended = model.forward(
        &Tensor::from_slice(&tokens()).unsqueeze(0),
        &mut Hooks::new(vec![&mut first, &mut second, &mut recorder]),
    );
    assert!(ended.expect("fits").is_some(), "the pass goes on as long as one of them does not end it");
    let seen = recorder.columns()[0].to_vec();
    let mut recorder = Recorder::new(vec![points[1]]);
    let mut first = shift(0);
    model
        .forward(&Tensor::from_slice(&tokens()).unsqueeze(0), &mut Hooks::new(vec![&mut first, &mut recorder]))
        .expect("fits");
    let step = Vec::<f32>::try_from(&steps[1]).expect("f32");
    let special = [0];
    for (row, token) in tokens().iter().enumerate() {
        for i in 0..D {
            let by = if special.contains(token) { 0.0 } else { step[i] };
            assert_eq!(seen[row * D + i], recorder.columns()[0][row * D + i] + by, "row {row}");
        }
    }
}
