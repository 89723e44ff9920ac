//! FVU, L0, dead and dense features on rows whose numbers are known.

use crate::planted::{Token, axes, corpus, nobody, noise, perfect, store};
use untangle_interpret::{Corpus, InterpretError, evaluate};
use untangle_schema::Silent;
use untangle_store::{HeldOut, Part};

/// Coordinate 0 is always 3, coordinate 1 is 1 or -1, coordinate 2 never positive; special tokens are far off.
fn row(token: &Token) -> Vec<f32> {
    if token.special() {
        return vec![-100.0, 0.0, 50.0];
    }
    let sign = if noise(token.row, 1).is_multiple_of(2) { 1.0 } else { -1.0 };
    vec![3.0, sign, -2.0]
}

#[test]
fn metrics_are_those_of_a_direct_sum() {
    let folder = tempfile::tempdir().expect("a folder");
    let (tokens, sae) = (corpus(300, 50), axes(3));
    let set = store(&folder.path().join("x.h5"), &tokens, 3, nobody(), row);
    let corpus = Corpus::new(set, &sae, HeldOut::None).expect("fits");
    let found = evaluate(&sae, &corpus, Part::All, &Silent).expect("evaluated");
    let ordinary: Vec<Vec<f32>> = tokens.iter().filter(|t| !t.special()).map(row).collect();
    let n = ordinary.len() as f64;
    let up = ordinary.iter().filter(|row| row[1] > 0.0).count() as f64;
    // Errors: 1 where coordinate 1 is -1, and 4 from coordinate 2. Variance: coordinate 1 alone, 4 p (1 - p) per row.
    let (error, variance) = ((n - up) + 4.0 * n, 4.0 * up * (1.0 - up / n));
    assert!((found.fvu - error / variance).abs() < 1e-9, "{found:?}");
    assert!((found.l0 - (1.0 + up / n)).abs() < 1e-12);
    assert_eq!(found.ordinary_rows, n as u64);
    assert_eq!((found.rows, found.special_rows), (tokens.len() as u64, (tokens.len() as f64 - n) as u64));
    assert_eq!((found.dead, found.dense, found.d_sae), (1, 2, 3), "feature 2 fires on special tokens only");
    assert!(found.fvu_all_rows < 1.0 && found.fvu != found.fvu_all_rows, "special tokens dominate the variance");
    let interval = found.fvu_interval.expect("enough documents");
    assert!(interval.low < found.fvu && found.fvu < interval.high, "{interval:?}");
    let interval = found.l0_interval.expect("enough documents");
    assert!(interval.low < found.l0 && found.l0 < interval.high, "{interval:?}");
}

#[test]
fn parts_divide_the_rows_and_evaluating_twice_gives_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let (tokens, sae) = (corpus(300, 50), perfect(3));
    let set = store(&folder.path().join("x.h5"), &tokens, 3, nobody(), row);
    let corpus = Corpus::new(set, &sae, HeldOut::default()).expect("fits");
    let part = |part| evaluate(&sae, &corpus, part, &Silent).expect("evaluated");
    let (all, train, held_out) = (part(Part::All), part(Part::Train), part(Part::HeldOut));
    assert_eq!(all.rows, train.rows + held_out.rows);
    assert!(held_out.rows > 0 && held_out.rows < train.rows / 10);
    assert_eq!([all.fvu_all_rows, train.fvu, held_out.fvu], [0.0; 3], "the dictionary is perfect");
    assert_eq!(part(Part::HeldOut), held_out);
}

#[test]
fn what_does_not_fit_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = corpus(300, 50);
    let set = store(&folder.path().join("x.h5"), &tokens, 3, nobody(), row);
    let error = Corpus::new(set.clone(), &axes(4), HeldOut::None).expect_err("4 is not 3").to_string();
    assert!(error.contains("width 4") && error.contains("has width 3") && error.contains("x.h5"), "{error}");
    let sae = axes(3);
    let corpus = Corpus::new(set, &sae, HeldOut::None).expect("fits");
    let nothing = evaluate(&sae, &corpus, Part::HeldOut, &Silent);
    assert!(matches!(nothing, Err(InterpretError::NoRows { .. })), "{nothing:?}");
}
