//! Dictionaries that scale or centre every row before they encode it: steering, splicing and judging are in units of the rows.

use crate::planted::{POINT, corpus, description, nobody, noise, random_dictionary, store};
use std::sync::Arc;
use untangle_interpret::evaluate::evaluate;
use untangle_interpret::intervene::Rewrite;
use untangle_interpret::splice::Splice;
use untangle_interpret::steer::edit::{OtherStep, Steer};
use untangle_interpret::{Corpus, Edit, Operator};
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::{Activation, Codes, Description, Parts, Provenance, RowScaling, Sae};
use untangle_schema::Silent;
use untangle_store::{HeldOut, Part};

const D: usize = 16;

fn rows() -> Vec<f32> {
    (0..D as u64 * 20).map(|at| noise(at, 1) as f32 / (1_u64 << 46) as f32 + 3.0).collect()
}

/// A random dictionary whose rows are scaled in this way.
fn scaled(scaling: RowScaling) -> Sae {
    let plain = random_dictionary(D, 40);
    let description = Description { scaling, ..plain.description().clone() };
    Sae::new(description, plain.parts().clone()).expect("known")
}

fn reconstructed(sae: &Sae, rows: &[f32], codes: &Codes) -> Vec<f32> {
    let mut out = vec![0f32; rows.len()];
    sae.reconstruct(rows, codes, &mut out).expect("rows fit");
    out
}

/// Codes with one activation changed.
fn with(codes: &Codes, feature: u32, change: impl Fn(f32) -> f32) -> Codes {
    let mut changed = Codes::new();
    for row in 0..codes.n_rows() {
        let (features, activations) = codes.row(row);
        let mut entries: Vec<(u32, f32)> = features.iter().copied().zip(activations.iter().copied()).collect();
        let f = codes.activation(row, feature as usize);
        entries.retain(|(other, _)| *other != feature);
        // Codes hold active features only.
        entries.extend(Some((feature, change(f))).filter(|(_, f)| *f != 0.0));
        entries.sort_by_key(|(feature, _)| *feature);
        changed.push_row(entries);
    }
    changed
}

#[test]
fn steering_moves_by_what_the_reconstruction_moves() {
    for how in [RowScaling::LayerNorm, RowScaling::ConstantNorm] {
        let (sae, rows, mut codes) = (scaled(how), rows(), Codes::new());
        sae.encode(&rows, &mut codes).expect("rows fit");
        let before = reconstructed(&sae, &rows, &codes);
        type Case = (Operator, fn(f32) -> f32);
        let cases: [Case; 3] =
            [(Operator::Add(2.5), |f| f + 2.5), (Operator::Set(0.0), |_| 0.0), (Operator::Mul(3.0), |f| 3.0 * f)];
        for (operator, change) in cases {
            let after = reconstructed(&sae, &rows, &with(&codes, 4, change));
            let edit = [Edit { feature: 4, operator }];
            let mut steered = rows.clone();
            Steer::new(&sae, &edit).expect("valid").rewrite(&mut steered, None).expect("rewritten");
            let mut moved = 0f32;
            for at in 0..rows.len() {
                let (expected, found) = (after[at] - before[at], steered[at] - rows[at]);
                assert!((expected - found).abs() < 1e-4, "{how} {operator:?} {at}: {found}, not {expected}");
                moved = moved.max(found.abs());
            }
            assert!(moved > 0.1, "{how} {operator:?}");
            let mut other = rows.clone();
            OtherStep::random(Steer::new(&sae, &edit).expect("valid"), 3).rewrite(&mut other, None).expect("rewritten");
            let length = |moved: &[f32], row: usize| {
                (row * D..(row + 1) * D).map(|at| (moved[at] - rows[at]).powi(2)).sum::<f32>().sqrt()
            };
            for row in 0..20 {
                assert!((length(&other, row) - length(&steered, row)).abs() < 1e-3, "controls step as far");
            }
        }
    }
}

#[test]
fn what_is_spliced_in_has_the_rows_scale_and_mean() {
    let (sae, rows, mut codes) = (scaled(RowScaling::LayerNorm), rows(), Codes::new());
    sae.encode(&rows, &mut codes).expect("rows fit");
    let mut spliced = rows.clone();
    Splice::new(&sae).rewrite(&mut spliced, None).expect("rewritten");
    assert_eq!(spliced, reconstructed(&sae, &rows, &codes));
}

/// Features i and d + i read coordinate i and its negative and write it without its mean, for a model with centred writing weights:
/// exact on rows without mean.
fn centred(d: usize) -> Sae {
    let sign = |feature: usize| if feature < d { 1.0 } else { -1.0 };
    let read = |at: usize| if (at / d) % d == at % d { sign(at / d) } else { 0.0 };
    let written = |at: usize| read(at) - sign(at / d) / d as f32;
    let matrix = |of: &dyn Fn(usize) -> f32| Buffer::copy_of(&(0..2 * d * d).map(of).collect::<Vec<f32>>());
    let parts = Parts {
        w_enc: matrix(&read),
        b_enc: vec![0.0; 2 * d],
        w_dec: matrix(&written),
        b_dec: vec![0.0; d],
        w_skip: None,
        activation: Activation::Relu,
    };
    let provenance = Provenance { centred_weights: true, ..Provenance::at(&POINT.to_string()) };
    Sae::new(Description { provenance, ..description(d, 2 * d) }, parts).expect("shapes fit")
}

#[test]
fn rows_of_models_with_centred_weights_are_judged_without_their_mean() {
    let folder = tempfile::tempdir().expect("a folder");
    // Means that vary a hundred times as much as what is left without them.
    let row = |token: &crate::planted::Token| {
        let mean = (noise(u64::from(token.token), 7) % 1000) as f32 / 10.0;
        (0..4)
            .map(|column| mean + (noise(u64::from(token.position), column) % 100) as f32 / 100.0)
            .collect::<Vec<f32>>()
    };
    let set = store(&folder.path().join("x.h5"), &corpus(200, 10), 4, nobody(), row);
    let sae = centred(4);
    let corpus = Corpus::new(Arc::clone(&set), &sae, HeldOut::None).expect("fits");
    let found = evaluate(&sae, &corpus, Part::All, &Silent).expect("evaluated");
    assert!(found.fvu < 1e-8, "exact on rows without mean: {}", found.fvu);
    // Half of every feature leaves a quarter of the squares of rows without mean, which is a little more of their variance, and
    // next to nothing of the variance of their means.
    let mut parts = sae.parts().clone();
    parts.w_dec.iter_mut().for_each(|w| *w *= 0.5);
    let half = Sae::new(sae.description().clone(), parts).expect("shapes fit");
    let found = evaluate(&half, &corpus, Part::All, &Silent).expect("evaluated").fvu;
    assert!(found > 0.25 && found < 0.3, "{found}");
}
