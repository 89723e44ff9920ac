//! The model's loss under interventions, on a random model.

use crate::planted::{POINT, axes, corpus, dictionary, model, nobody, perfect, store};
use tch::{Kind, Tensor};
use untangle_interpret::ce::Context;
use untangle_interpret::intervene::Intervention;
use untangle_interpret::splice::Zero;
use untangle_interpret::{Corpus, InterpretError, Scope, ce_recovered, contexts_of};
use untangle_model::{Hook, LanguageModel, ModelError, NoHook, Pass};
use untangle_schema::{HookPoint, Silent, Site};
use untangle_store::{HeldOut, Part, Split};

fn contexts() -> Vec<Context> {
    let tokens: Vec<u32> = corpus(20, 50).iter().map(|t| t.token).collect();
    tokens.chunks(32).map(|c| Context { tokens: c.to_vec(), counts: vec![true; c.len()] }).collect()
}

#[test]
fn a_perfect_dictionary_costs_nothing_and_an_empty_one_everything() {
    let (model, contexts) = (model(), contexts());
    let found = ce_recovered(&model, &perfect(16), &contexts, &Silent).expect("measured");
    assert!(found.nats_lost.abs() < 1e-7, "{found:?}");
    // A model with random weights knows less than a uniform guess: there is nothing to lose a fraction of.
    assert!(found.ce_clean > found.ce_uniform && found.recovered.is_nan(), "{found:?}");
    assert_ne!(found.ce_zero, found.ce_clean, "zeroing does something");
    // Feature 0 reads nothing, so every reconstruction is 0.
    let empty = dictionary(16, &[0.0; 16], &[1.0; 16]);
    let found = ce_recovered(&model, &empty, &contexts, &Silent).expect("measured");
    assert_eq!(found.ce_sae, found.ce_zero);
    // A mean of differences and a difference of means are rounded differently.
    assert!((found.nats_lost - (found.ce_zero - found.ce_clean)).abs() < 1e-12, "{found:?}");
}

/// Zeroes everything but special tokens in torch.
struct ZeroedInTorch;

impl Hook for ZeroedInTorch {
    fn wants(&self, point: HookPoint) -> bool {
        point == POINT
    }

    fn visit(&mut self, _: HookPoint, pass: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        Ok(acts * pass.tokens.eq(0).unsqueeze(-1).to_kind(Kind::Float))
    }
}

fn logits(model: &LanguageModel, tokens: &[u32], hook: &mut dyn Hook) -> Vec<f32> {
    let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
    let logits = model.forward(&Tensor::from_slice(&ids).unsqueeze(0), hook).expect("fits").expect("logits");
    Vec::try_from(logits.view(-1)).expect("f32")
}

#[test]
fn zero_ablation_zeroes_every_row_but_special_tokens() {
    let model = model();
    let tokens = [0, 3, 9, 0, 5, 5, 20];
    let mut hook = Intervention::new(&model, POINT, 16, Scope::All, Zero).expect("fits");
    assert_eq!(logits(&model, &tokens, &mut hook), logits(&model, &tokens, &mut ZeroedInTorch));
    let mut hook = Intervention::new(&model, POINT, 16, Scope::All, Zero).expect("fits");
    assert_eq!(logits(&model, &[0, 0], &mut hook), logits(&model, &[0, 0], &mut NoHook), "special tokens pass");
}

#[test]
fn cross_entropy_is_the_mean_over_counted_tokens() {
    let model = model();
    let tokens = vec![0, 3, 9, 0, 5, 7];
    let counts = vec![true, true, false, true, true, true];
    let found =
        ce_recovered(&model, &axes(16), &[Context { tokens: tokens.clone(), counts }], &Silent).expect("measured");
    let all = logits(&model, &tokens, &mut NoHook);
    let nats = |at: usize| {
        let row = &all[(at - 1) * 24..at * 24];
        let sum: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
        sum.ln() - f64::from(row[tokens[at] as usize])
    };
    // Position 2 does not count, position 3 is special.
    let expected = (nats(1) + nats(4) + nats(5)) / 3.0;
    assert_eq!(found.tokens, 3);
    assert!((found.ce_clean - expected).abs() < 1e-6, "{} {expected}", found.ce_clean);
}

#[test]
fn contexts_come_back_as_they_were_captured_and_count_only_the_part() {
    let folder = tempfile::tempdir().expect("a folder");
    let (tokens, sae) = (corpus(300, 50), axes(2));
    let set = store(&folder.path().join("x.h5"), &tokens, 2, nobody(), |_| vec![0.0; 2]);
    let split = Split::new(&HeldOut::default(), &set).expect("possible");
    let corpus = Corpus::new(set, &sae, HeldOut::default()).expect("fits");
    let found = contexts_of(&corpus, Part::HeldOut, 1000).expect("read");
    let expected: Vec<Context> = tokens
        .chunks(32)
        .map(|c| Context {
            tokens: c.iter().map(|t| t.token).collect(),
            counts: c.iter().map(|t| split.is_held_out(t.row, t.document)).collect(),
        })
        .filter(|c| c.counts[1..].contains(&true))
        .collect();
    assert_eq!(found, expected);
    let few = contexts_of(&corpus, Part::HeldOut, 5).expect("read");
    assert!(few.len() == 5 && few.iter().all(|context| expected.contains(context)));
}

#[test]
fn hook_points_that_do_not_fit_are_refused_by_name() {
    let model = model();
    let at = |point, width| Intervention::new(&model, point, width, Scope::All, Zero).map(drop);
    let error = at(POINT, 8).expect_err("the stream is 16 wide").to_string();
    assert!(error.contains("width 8") && error.contains("16") && error.contains("blocks.0.hook_resid_post"), "{error}");
    assert!(matches!(at(HookPoint::block(0, Site::AttnPattern), 16), Err(InterpretError::NotRows { .. })));
    let absent = at(HookPoint::block(7, Site::ResidPost), 16).expect_err("two blocks").to_string();
    assert!(absent.contains("blocks.7.hook_resid_post"), "{absent}");
    assert!(at(HookPoint::block(1, Site::AttnZ), 16).is_ok(), "heads are flattened");
}
