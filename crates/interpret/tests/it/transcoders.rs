//! Transcoders: judged by what they predict, put in its place, and steered there by what they read elsewhere.

use crate::planted::{POINT, Point, axes, corpus, description, model, nobody, noise, store_of};
use tch::{Kind, Tensor};
use untangle_interpret::ce::Context;
use untangle_interpret::intervene::Intervention;
use untangle_interpret::steer::edit::Steer;
use untangle_interpret::{Corpus, Edit, InterpretError, Operator, Scope, ce_recovered, evaluate};
use untangle_model::{Hook, LanguageModel, ModelError, NoHook, Pass};
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::{Activation, Description, Parts, Provenance, Sae};
use untangle_schema::{HookPoint, Silent, Site};
use untangle_store::{HeldOut, Part};

/// What leaves block 0 is what enters block 1.
const READ: HookPoint = POINT;
const WRITTEN: HookPoint = HookPoint::block(1, Site::ResidPre);
const D: usize = 16;

fn between(read: HookPoint, written: HookPoint, (d_in, d_out): (usize, usize), parts: Parts) -> Sae {
    let d_sae = parts.b_enc.len();
    let provenance = Provenance { predicts: Some(written.to_string()), ..Provenance::at(&read.to_string()) };
    let description = Description { d_out: Some(d_out), provenance, ..Description::new(d_in, d_sae) };
    Sae::new(description, parts).expect("shapes fit")
}

/// Reads coordinate 0 into its only feature, which writes to coordinate 1 with half its strength, and passes `skip` times
/// the input by.
fn skipping(read: HookPoint, written: HookPoint, skip: f32) -> Sae {
    let axis = |at: usize, value: f32| {
        let mut row = Buffer::zeros(D);
        row[at] = value;
        row
    };
    let mut w_skip = Buffer::zeros(D * D);
    (0..D).for_each(|at| w_skip[at * D + at] = skip);
    let parts = Parts {
        w_enc: axis(0, 1.0),
        b_enc: vec![0.0],
        w_dec: axis(1, 0.5),
        b_dec: vec![0.0; D],
        w_skip: Some(w_skip),
        activation: Activation::JumpRelu { threshold: vec![f32::MAX] },
    };
    between(read, written, (D, D), parts)
}

fn contexts() -> Vec<Context> {
    let tokens: Vec<u32> = corpus(20, 50).iter().map(|t| t.token).collect();
    tokens.chunks(32).map(|c| Context { tokens: c.to_vec(), counts: vec![true; c.len()] }).collect()
}

#[test]
fn fvu_is_that_of_what_is_predicted() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = corpus(300, 50);
    let read = |row: u64| (noise(row, 1) % 7) as f32 - 3.0;
    let written = |row: u64| [2.0 * read(row).max(0.0) + 0.5 * read(row), (noise(row, 2) % 2) as f32];
    let columns: [Point<'_>; 2] = [(READ, 1, &|row| vec![read(row)]), (WRITTEN, 2, &|row| written(row).to_vec())];
    let set = store_of(&folder.path().join("x.h5"), &tokens, nobody(), &columns);
    // y_hat = 2 relu(x) + 0.5 x in the first dimension, 0 in the second, which is 0 or 1.
    let parts = Parts {
        w_enc: Buffer::copy_of(&[2.0]),
        b_enc: vec![0.0],
        w_dec: Buffer::copy_of(&[1.0, 0.0]),
        b_dec: vec![0.0, 0.0],
        w_skip: Some(Buffer::copy_of(&[0.5, 0.0])),
        activation: Activation::Relu,
    };
    let sae = between(READ, WRITTEN, (1, 2), parts);
    let corpus = Corpus::new(set.clone(), &sae, HeldOut::None).expect("fits");
    let found = evaluate(&sae, &corpus, Part::All, &Silent).expect("evaluated");
    let rows: Vec<[f64; 2]> = tokens.iter().map(|token| written(token.row).map(f64::from)).collect();
    let n = rows.len() as f64;
    let error = rows.iter().map(|y| y[1] * y[1]).sum::<f64>();
    let mean = [0, 1].map(|at| rows.iter().map(|y| y[at]).sum::<f64>() / n);
    let variance = rows.iter().map(|y| (y[0] - mean[0]).powi(2) + (y[1] - mean[1]).powi(2)).sum::<f64>();
    assert!((found.fvu_all_rows - error / variance).abs() < 1e-9, "{found:?} where {} is expected", error / variance);
    let active = tokens.iter().filter(|token| read(token.row) > 0.0).count() as f64;
    assert!((found.l0_all_rows - active / n).abs() < 1e-12);
    assert_eq!((found.d_sae, found.dead), (1, 0));

    let lacking = store_of(&folder.path().join("y.h5"), &tokens, nobody(), &columns[..1]);
    let error = Corpus::new(lacking, &sae, HeldOut::None).expect_err("one of two").to_string();
    assert!(
        error.contains("y.h5") && error.contains("blocks.1.hook_resid_pre") && error.contains("capture"),
        "{error}"
    );
    let narrow = store_of(&folder.path().join("z.h5"), &tokens, nobody(), &[columns[0], (WRITTEN, 1, columns[0].2)]);
    let error = Corpus::new(narrow, &sae, HeldOut::None).expect_err("1 is not 2").to_string();
    assert!(error.contains("predicts activations of width 2") && error.contains("width 1"), "{error}");
}

#[test]
fn a_prediction_takes_the_place_of_what_it_predicts() {
    let (model, contexts) = (model(), contexts());
    let of = |skip| ce_recovered(&model, &skipping(READ, WRITTEN, skip), &contexts, &Silent).expect("measured");
    let exact = of(1.0);
    assert!(exact.nats_lost.abs() < 1e-7, "{exact:?}");
    let nothing = of(0.0);
    assert_eq!(nothing.ce_sae, nothing.ce_zero);
    assert!((nothing.nats_lost - (nothing.ce_zero - nothing.ce_clean)).abs() < 1e-12, "{nothing:?}");
    // The same places changed by an autoencoder's empty dictionary.
    let empty = Sae::new(
        Description { provenance: Provenance::at(&WRITTEN.to_string()), ..description(D, D) },
        axes(D).parts().clone(),
    );
    let zeroed = ce_recovered(&model, &empty.expect("fits"), &contexts, &Silent).expect("measured");
    assert_eq!((nothing.ce_zero, nothing.ce_clean), (zeroed.ce_zero, zeroed.ce_clean));
    assert!(of(3.0).nats_lost.abs() > 1e-4, "three times the stream is another one");
}

#[test]
fn what_is_read_after_it_is_written_cannot_be_put_there() {
    let (model, contexts) = (model(), contexts());
    let error = ce_recovered(&model, &skipping(WRITTEN, READ, 1.0), &contexts, &Silent).expect_err("backwards");
    assert!(matches!(error, InterpretError::Backwards { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("blocks.0.hook_resid_post comes before blocks.1.hook_resid_pre"), "{message}");
}

/// Adds, to coordinate 1 of what is written, half of what coordinate 0 of what is read lacks to 2, in torch.
#[derive(Default)]
struct InTorch {
    heard: Option<Tensor>,
}

impl Hook for InTorch {
    fn wants(&self, point: HookPoint) -> bool {
        point == READ_MID || point == WRITTEN
    }

    fn visit(&mut self, point: HookPoint, pass: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        if point == READ_MID {
            self.heard = Some(acts.select(2, 0).relu());
            return Ok(acts);
        }
        let ordinary = pass.tokens.ne(0).to_kind(Kind::Float); // [batch, seq]
        let delta: Tensor = (2.0 - self.heard.take().expect("read before")) * 0.5 * ordinary;
        let changed: Tensor = acts.select(2, 1) + delta;
        Ok(Tensor::cat(&[acts.narrow(2, 0, 1), changed.unsqueeze(2), acts.narrow(2, 2, D as i64 - 2)], 2))
    }
}

const READ_MID: HookPoint = HookPoint::block(0, Site::ResidMid);

fn logits(model: &LanguageModel, hook: &mut dyn Hook) -> Vec<f32> {
    let ids: Vec<i64> = corpus(1, 30).iter().map(|t| i64::from(t.token)).collect();
    let logits = model.forward(&Tensor::from_slice(&ids).unsqueeze(0), hook).expect("fits").expect("logits");
    Vec::try_from(logits.view(-1)).expect("f32")
}

#[test]
fn features_are_steered_where_they_are_written_by_what_is_read() {
    let model = model();
    let mut parts = skipping(READ_MID, WRITTEN, 0.0).parts().clone();
    parts.activation = Activation::Relu;
    let sae = between(READ_MID, WRITTEN, (D, D), parts);
    let edits = [Edit { feature: 0, operator: Operator::Set(2.0) }];
    let steer = Steer::new(&sae, &edits).expect("valid");
    let mut hook = Intervention::of_dictionary(&model, &sae, Scope::All, steer).expect("fits");
    let (found, expected) = (logits(&model, &mut hook), logits(&model, &mut InTorch::default()));
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5));
    let baseline = logits(&model, &mut NoHook);
    assert!(found.iter().zip(&baseline).any(|(a, b)| (a - b).abs() > 1e-3), "nothing was steered");
}
