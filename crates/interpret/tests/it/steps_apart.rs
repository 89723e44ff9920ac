//! Laws of the hook that steers where there is more than one of something: texts, hook points, dictionaries.

use crate::planted::{POINT, model, random_dictionary};
use crate::steps::{steps, tokens};
use proptest::prelude::*;
use std::ops::ControlFlow;
use tch::Tensor;
use untangle_interpret::intervene::Intervention;
use untangle_interpret::steer::edit::Steer;
use untangle_interpret::steer::{Dictionary, Kind, Steering, Step};
use untangle_interpret::{Edit, InterpretError, Operator, Scope, Spec, resolve};
use untangle_model::{
    Batch, Entry, GenerateOptions, Hook, Hooks, LanguageModel, NoHook, Recorder, Request, Sampling, Told, Wanted,
    generate, generate_batch,
};
use untangle_sae::{Crosscoder, Description, Place, Provenance, Sae};
use untangle_schema::{Classify, Fault, HookPoint, Site};

const D: usize = 16;
const OTHER: HookPoint = HookPoint::block(1, Site::ResidPost);

fn forward(model: &LanguageModel, hook: &mut dyn Hook) -> Vec<f32> {
    let logits = model.forward(&Tensor::from_slice(&tokens()).unsqueeze(0), hook).expect("fits").expect("logits");
    Vec::try_from(logits.view(-1)).expect("f32")
}

/// The same dictionary at another point.
fn moved_to(sae: &Sae, point: HookPoint, predicts: Option<HookPoint>) -> Sae {
    let predicts = predicts.map(|point| point.to_string());
    let provenance = Provenance { predicts: predicts.clone(), ..Provenance::at(&point.to_string()) };
    let subtracts_b_dec = predicts.is_none();
    let d_out = predicts.map(|_| D);
    Sae::new(Description { d_out, subtracts_b_dec, provenance, ..sae.description().clone() }, sae.parts().clone())
        .expect("fits")
}

#[test]
fn dictionaries_at_several_points_are_hooks_one_behind_the_other() {
    let (model, first) = (model(), random_dictionary(D, 40));
    let second = moved_to(&first, OTHER, None);
    let dictionaries = [
        Dictionary { name: "early", ..Dictionary::only(&first) },
        Dictionary { name: "late", ..Dictionary::only(&second) },
    ];
    let together = steps(&["late#7:set=2", "early#4:mul=3"], &model, &dictionaries);
    let found = forward(&model, &mut Steering::new(&model, &dictionaries, &together).expect("valid"));
    let alone = |sae, point, feature, operator| {
        let steer = Steer::new(sae, &[Edit { feature, operator }]).expect("valid");
        Intervention::new(&model, point, D, Scope::All, steer).expect("fits")
    };
    let mut early = alone(&first, POINT, 4, Operator::Mul(3.0));
    let mut late = alone(&second, OTHER, 7, Operator::Set(2.0));
    assert_eq!(found, forward(&model, &mut Hooks::new(vec![&mut early, &mut late])));
    // A condition on a feature of an earlier point is known later on; one of a later point is not.
    let on_early = steps(&["late#7:add=2 when early#4>0"], &model, &dictionaries);
    let conditional = forward(&model, &mut Steering::new(&model, &dictionaries, &on_early).expect("in time"));
    assert_ne!(conditional, forward(&model, &mut NoHook));
    let on_late = steps(&["early#7:add=2 when late#4>0"], &model, &dictionaries);
    let error = Steering::new(&model, &dictionaries, &on_late).expect_err("too late");
    assert!(error.to_string().contains("hook_resid_post, which comes after blocks.0"), "{error}");
    assert_eq!(error.fault(), Fault::Usage);
}

#[test]
fn a_transcoder_is_read_where_it_reads_and_turned_where_it_writes() {
    let model = model();
    let (read, written) = (HookPoint::block(0, Site::ResidMid), HookPoint::block(0, Site::MlpOut));
    let sae = moved_to(&random_dictionary(D, 40), read, Some(written));
    let dictionaries = [Dictionary::only(&sae)];
    let turned = steps(&["4:set=2"], &model, &dictionaries);
    let found = forward(&model, &mut Steering::new(&model, &dictionaries, &turned).expect("valid"));
    let steer = Steer::new(&sae, &[Edit { feature: 4, operator: Operator::Set(2.0) }]).expect("valid");
    let mut reference = Intervention::of_dictionary(&model, &sae, Scope::All, steer).expect("fits");
    assert_eq!(found, forward(&model, &mut reference));
    let backwards = moved_to(&random_dictionary(D, 40), written, Some(read));
    let dictionaries = [Dictionary::only(&backwards)];
    let refused = |text: &str| {
        let steps = steps(&[text], &model, &dictionaries);
        Steering::new(&model, &dictionaries, &steps).map(drop)
    };
    assert!(refused("4:set=2").expect_err("too late").to_string().contains("comes after"));
    assert!(refused("4:add=2").is_ok(), "an addition reads nothing");
}

/// A crosscoder of [`POINT`] and [`OTHER`], the second of a model with these weights.
fn crosscoder(model: &LanguageModel, weights: &str) -> Crosscoder {
    let plain = random_dictionary(2 * D, 12);
    let place = |point: HookPoint, weights: &str| Place {
        hook: Some(point.to_string()),
        model: Some(format!("model {weights}")),
        model_weights: Some(weights.to_owned()),
        ..Place::default()
    };
    let own = model.identity().weights_sha256;
    let reads = vec![place(POINT, &own), place(OTHER, if weights.is_empty() { &own } else { weights })];
    let provenance = Provenance { reads, ..Provenance::default() };
    let description = Description { provenance, ..plain.description().clone() };
    Crosscoder::new(description, plain.parts().clone()).expect("fits")
}

#[test]
fn a_crosscoder_writes_into_all_its_parts_of_this_model() {
    let model = model();
    let rows = |hook: &mut dyn Hook| {
        let mut recorder = Recorder::new(vec![POINT, OTHER]);
        forward(&model, &mut Hooks::new(vec![hook, &mut recorder]));
        recorder.take_columns()
    };
    let both = crosscoder(&model, "");
    let dictionaries = [Dictionary { name: "x", kind: Kind::Crosscoder(&both), database: None }];
    let added = steps(&["3:add=2"], &model, &dictionaries);
    let mut hook = Steering::new(&model, &dictionaries, &added).expect("valid");
    let (before, after) = (rows(&mut NoHook), rows(&mut hook));
    let first_ordinary = tokens().iter().position(|token| *token != 0).expect("one");
    for i in 0..D {
        let at = first_ordinary * D + i;
        assert_eq!(after[0][at], before[0][at] + 2.0 * both.decoder_row(3, 0)[i]);
    }
    assert_ne!(before[1], after[1]);
    // The activation is known only when the last part was read, and the first is written before.
    let set = steps(&["3:set=2"], &model, &dictionaries);
    let error = Steering::new(&model, &dictionaries, &set).expect_err("too late").to_string();
    assert!(
        error.contains("`3:set=2`: set needs what is read at blocks.1") && error.contains("after blocks.0"),
        "{error}"
    );
    // Of two models, only this one's part is written, and no pass knows the activation.
    let shared = crosscoder(&model, "elsewhere");
    let dictionaries = [Dictionary { name: "x", kind: Kind::Crosscoder(&shared), database: None }];
    let added = steps(&["3:add=2"], &model, &dictionaries);
    let mut hook = Steering::new(&model, &dictionaries, &added).expect("valid");
    assert!(hook.wants(POINT) && !hook.wants(OTHER));
    assert_eq!(rows(&mut hook)[0], after[0]);
    let set = steps(&["3:mul=2"], &model, &dictionaries);
    let error = Steering::new(&model, &dictionaries, &set).expect_err("of two models").to_string();
    assert!(error.contains("from model elsewhere as well, another model"), "{error}");
    let nowhere = [Dictionary { name: "x", kind: Kind::Crosscoder(&shared), database: None }];
    let other = LanguageModel::random(model.config().clone(), 12, None, &untangle_model::LoadOptions::default());
    let spec: Spec = "3:project-out".parse().expect("valid");
    let error = resolve(&[spec], &other.expect("made"), &nowhere).expect_err("of neither");
    assert!(matches!(error, InterpretError::OtherModelThanDictionary { .. }), "{error}");
}

/// Sets of steps for texts of a batch, some without any.
const SETS: [&[&str]; 5] = [
    &[],
    &["4:add=6"],
    &["9:set=4 when 3>0"],
    &["4:cap=0.1", "17:add-direction=0.5n at generated[0..4]"],
    &["3:add=5 at prompt[-1]", "7:mul=3"],
];

fn greedy(prompt: &[u32], tokens: usize) -> Request {
    let options = GenerateOptions { max_new_tokens: tokens, sampling: Sampling::GREEDY, seed: 0, stop_at_eos: false };
    Request { prompt: prompt.to_vec(), options }
}

#[test]
fn every_text_of_a_batch_is_steered_as_if_alone() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    let dictionaries = [Dictionary::only(&sae)];
    let sets: Vec<Vec<Step>> = SETS.iter().map(|texts| steps(texts, &model, &dictionaries)).collect();
    let sets: Vec<&[Step]> = sets.iter().map(Vec::as_slice).collect();
    let words: Vec<u32> = tokens().iter().map(|token| *token as u32).collect();
    // Of one length, and of lengths of their own.
    for lengths in [[7; 5], [7, 3, 12, 1, 9]] {
        let requests: Vec<Request> = lengths.iter().map(|n| greedy(&words[..*n], 14)).collect();
        let mut hook = Steering::by_row(&model, &dictionaries, &sets).expect("valid");
        let together = generate_batch(&model, &requests, &mut hook, &mut |_, _| ControlFlow::Continue(()));
        let together = together.expect("generated");
        for ((request, steps), found) in requests.iter().zip(&sets).zip(&together) {
            let mut hook = Steering::new(&model, &dictionaries, steps).expect("valid");
            let alone = generate(&model, &request.prompt, &request.options, &mut hook, &mut |_| {}).expect("generated");
            assert_eq!(&alone, found, "{steps:?}");
        }
        assert!(lengths[0] != lengths[1] || together.windows(2).any(|pair| pair[0] != pair[1]), "they differ");
    }
    let error = Steering::by_row(&model, &dictionaries, &sets[..3]).map(|mut hook| {
        let requests: Vec<Request> = (0..5).map(|_| greedy(&words[..4], 2)).collect();
        generate_batch(&model, &requests, &mut hook, &mut |_, _| ControlFlow::Continue(())).map(drop)
    });
    assert!(error.expect("valid").expect_err("three sets for five texts").to_string().contains("3 texts"));
}

#[test]
fn texts_that_join_others_are_steered_as_if_alone() {
    let (model, sae) = (model(), random_dictionary(D, 40));
    let dictionaries = [Dictionary::only(&sae)];
    let sets: Vec<Vec<Step>> = SETS.iter().map(|texts| steps(texts, &model, &dictionaries)).collect();
    let words: Vec<u32> = tokens().iter().map(|token| *token as u32).collect();
    let requests: Vec<Request> =
        [7, 3, 12, 1, 9].iter().enumerate().map(|(at, n)| greedy(&words[..*n], 14 - 2 * at)).collect();
    let mut found = vec![Vec::new(); requests.len()];
    let mut step = |batch: &mut Batch<'_>| {
        let of_rows: Vec<&[Step]> = batch.keys().iter().map(|key| &sets[*key as usize][..]).collect();
        let hook = Steering::by_row(&model, &dictionaries, &of_rows).expect("valid");
        let told = &mut |key: u64, told| {
            if let Told::Token(token, _) = told {
                found[key as usize].push(token);
            }
            ControlFlow::Continue(())
        };
        batch.step(&mut hook.behind(&batch.prompts()), told).expect("a step");
    };
    let mut batch = Batch::begin(&model, Vec::new()).expect("none");
    for (key, request) in requests.iter().enumerate() {
        // Scores have a prompt pass in pieces of its own kind.
        let wanted = Wanted { prompt: key == 2, alternatives: Some(1) };
        let entry = Entry { key: key as u64, request: request.clone(), wanted };
        let mut joining = Batch::begin(&model, vec![entry]).expect("valid");
        step(&mut joining);
        batch.absorb(joining).expect("they go together");
        step(&mut batch);
    }
    while !batch.is_empty() {
        step(&mut batch);
    }
    for ((request, steps), found) in requests.iter().zip(&sets).zip(&found) {
        let mut hook = Steering::new(&model, &dictionaries, steps).expect("valid");
        let alone = generate(&model, &request.prompt, &request.options, &mut hook, &mut |_| {}).expect("generated");
        assert_eq!(&alone.tokens, found, "{steps:?}");
    }
}

/// Greedy tokens by passes over the whole text, without a cache.
fn uncached(model: &LanguageModel, prompt: &[u32], n: usize, hook: &mut dyn Hook) -> Vec<u32> {
    let mut ids: Vec<i64> = prompt.iter().map(|id| i64::from(*id)).collect();
    for _ in 0..n {
        let logits = model.forward(&Tensor::from_slice(&ids).unsqueeze(0), hook).expect("fits").expect("logits");
        ids.push(logits.select(1, -1).argmax(-1, false).int64_value(&[0]));
    }
    ids[prompt.len()..].iter().map(|id| *id as u32).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_cache_makes_no_difference(
        feature in 0usize..40,
        operation in prop::sample::select(vec!["add=4", "set=3", "mul=4", "min=2", "max=0.1", "add-direction=0.5n",
            "project-out", "cap=0.2", "swap=11", "ablate"]),
        place in prop::sample::select(vec!["", " at all[2..9]", " at all['cat']", " when 5>0", " when along 2>0"]),
        start in 1usize..20,
    ) {
        let (model, sae) = (model(), random_dictionary(D, 40));
        let dictionaries = [Dictionary::only(&sae)];
        let steps = steps(&[&format!("{feature}:{operation}{place}")], &model, &dictionaries);
        let prompt: Vec<u32> = tokens()[..start].iter().map(|token| *token as u32).collect();
        let mut hook = Steering::new(&model, &dictionaries, &steps).expect("valid");
        let cached = generate(&model, &prompt, &greedy(&prompt, 10).options, &mut hook, &mut |_| {}).expect("generated");
        prop_assert_eq!(cached.tokens, uncached(&model, &prompt, 10, &mut hook));
    }
}
