//! Crosscoders: every activation judged on its own, all of them equally large, and features told apart by their norms.

use crate::planted::{POINT, corpus, nobody, noise, store_of};
use untangle_interpret::{InterpretError, evaluate_crosscoder, sharing};
use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::{Activation, Crosscoder, Description, Parts, Place, Provenance};
use untangle_schema::{HookPoint, Silent, Site};
use untangle_store::{HeldOut, Part};

const OTHER: HookPoint = HookPoint::block(1, Site::ResidPost);
const SCALES: [f32; 2] = [1.0, 0.25];

/// Of two activations of width 1. Feature 0 reads the first and writes both, feature 1 writes the second alone, feature 2
/// the first alone, and feature 3 never fires.
fn crosscoder(hooks: [HookPoint; 2]) -> Crosscoder {
    let place = |(hook, scale): (HookPoint, f32)| Place {
        hook: Some(hook.to_string()),
        model: Some(nobody().name),
        model_weights: Some(nobody().weights_sha256),
        scale,
        ..Place::default()
    };
    let reads = hooks.into_iter().zip(SCALES).map(place).collect();
    let provenance = Provenance { reads, ..Provenance::default() };
    let description = Description { provenance, ..Description::new(2, 4) };
    let parts = Parts {
        w_enc: Buffer::copy_of(&[1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0]),
        b_enc: vec![0.0, -10.0, 0.0, -1.0],
        w_dec: Buffer::copy_of(&[1.0, 4.0, 0.0, 1.0, -1.0, 0.0, 1.0, 1.0]),
        b_dec: vec![0.0, 0.0],
        w_skip: None,
        activation: Activation::JumpRelu { threshold: vec![0.0; 4] },
    };
    Crosscoder::new(description, parts).expect("fits")
}

#[test]
fn every_part_is_judged_on_its_own_and_all_equally_large() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = corpus(300, 50);
    let first = |row: u64| (noise(row, 1) % 7) as f32 - 3.0;
    let second = |row: u64| 4.0 * first(row).max(0.0) + (noise(row, 2) % 2) as f32 * 16.0;
    let set = store_of(
        &folder.path().join("x.h5"),
        &tokens,
        nobody(),
        &[(POINT, 1, &|row| vec![first(row)]), (OTHER, 1, &|row| vec![second(row)])],
    );
    let both = crosscoder([POINT, OTHER]);
    let found = evaluate_crosscoder(&both, &set, &HeldOut::None, Part::All, &Silent).expect("evaluated");
    let rows: Vec<u64> = tokens.iter().filter(|token| !token.special()).map(|token| token.row).collect();
    let predicted = |row: u64| {
        let f = [first(row).max(0.0), (second(row) - 10.0).max(0.0), (-first(row)).max(0.0)];
        [f[0] - f[2], 4.0 * f[0] + f[1]]
    };
    let n = rows.len() as f64;
    let of = |part: usize| {
        let x = |row: &u64| f64::from([first(*row), second(*row)][part]);
        let mean = rows.iter().map(x).sum::<f64>() / n;
        let error: f64 = rows.iter().map(|row| (x(row) - f64::from(predicted(*row)[part])).powi(2)).sum();
        (error, rows.iter().map(|row| (x(row) - mean).powi(2)).sum::<f64>())
    };
    let parts = [of(0), of(1)];
    assert_eq!(parts[0].0, 0.0, "the first is reconstructed exactly");
    for (found, (error, variance)) in found.parts.iter().zip(parts) {
        assert!((found.fvu - error / variance).abs() < 1e-6, "{found:?} where {} is expected", error / variance);
    }
    let all_parts = &found.evaluation;
    let squares = SCALES.map(|scale| f64::from(scale * scale));
    let all = |of: fn((f64, f64)) -> f64| squares[0] * of(parts[0]) + squares[1] * of(parts[1]);
    assert!((all_parts.fvu - all(|part| part.0) / all(|part| part.1)).abs() < 1e-6, "{found:?}");
    assert_eq!((all_parts.ordinary_rows, all_parts.d_sae, all_parts.dead), (rows.len() as u64, 4, 1));
    // Feature 0 is as large in both, feature 1 is the second's, feature 2 the first's; feature 3 is dead.
    assert_eq!((&found.sharing.exclusive[..], found.sharing.shared, found.sharing.between), (&[1, 1][..], 1, 0));
    assert_eq!(found.sharing.mean_cosine, Some(1.0));
    assert_eq!([found.parts[0].exclusive, found.parts[0].absent, found.parts[1].exclusive], [1, 1, 1]);
    assert_eq!(found.sharing.alike + found.sharing.turned, 1);
    assert_eq!(sharing(&both, |_| true).between, 1, "feature 3 has 4 of 5 parts of its norm in the first");
    let interval = all_parts.fvu_interval.expect("enough documents");
    assert!(interval.low < all_parts.fvu && all_parts.fvu < interval.high, "{interval:?}");
}

#[test]
fn a_part_that_the_store_lacks_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = corpus(300, 50);
    let set = store_of(&folder.path().join("x.h5"), &tokens, nobody(), &[(POINT, 1, &|_| vec![1.0])]);
    let judge = |crosscoder: &Crosscoder| evaluate_crosscoder(crosscoder, &set, &HeldOut::None, Part::All, &Silent);
    for lacking in [crosscoder([POINT, OTHER]), crosscoder([POINT, POINT])] {
        let error = judge(&lacking).expect_err("one of two");
        assert!(matches!(error, InterpretError::PartMissing { .. }), "{error}");
        let message = error.to_string();
        assert!(
            message.contains("x.h5") && message.contains(&nobody().name) && message.contains("--with"),
            "{message}"
        );
    }
}
