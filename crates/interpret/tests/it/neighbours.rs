//! Neighbours are those that every pair of decoder rows says, computed one by one.

use crate::planted::{dictionary, random_dictionary};
use untangle_interpret::neighbours::nearest;
use untangle_schema::{Nearness, Silent};

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn the_nearest_are_those_of_all_pairs() {
    // More than one block of features, and rows of unequal length.
    let (d, n) = (8, 300);
    let unit = random_dictionary(d, n);
    let scaled: Vec<f32> = (0..n)
        .flat_map(|f| unit.decoder_row(f).iter().map(move |x| x * (1.0 + f as f32)).collect::<Vec<_>>())
        .collect();
    let sae = dictionary(d, &scaled, &scaled);
    let found = nearest(&sae, 4, &Silent).expect("worked out");
    assert_eq!(found.len(), n);
    for (feature, near) in found.iter().enumerate() {
        let others = (0..n).filter(|other| *other != feature);
        let mut expected: Vec<f64> =
            others.map(|other| cosine(sae.decoder_row(feature), sae.decoder_row(other))).collect();
        expected.sort_by(|a, b| b.total_cmp(a));
        assert_eq!(near.len(), 4);
        for (near, expected) in near.iter().zip(expected) {
            assert!(near.kind == Nearness::Decoder && near.feature != feature);
            let own = cosine(sae.decoder_row(feature), sae.decoder_row(near.feature));
            assert!(
                (f64::from(near.value) - own).abs() < 1e-6 && (own - expected).abs() < 1e-6,
                "{near:?}, {expected}"
            );
        }
    }
}

#[test]
fn what_writes_nothing_is_nobodys_neighbour_and_twins_are_each_others() {
    let rows = [1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, -1.0];
    let found = nearest(&dictionary(2, &rows, &rows), 9, &Silent).expect("worked out");
    let brief: Vec<Vec<(usize, f32)>> =
        found.iter().map(|near| near.iter().map(|n| (n.feature, n.value)).collect()).collect();
    // Rows at right angles are nobody's neighbours either.
    assert_eq!(brief, [vec![(2, 1.0)], vec![], vec![(0, 1.0)], vec![]]);
    let one = dictionary(2, &rows[..2], &rows[..2]);
    assert_eq!(nearest(&one, 3, &Silent).expect("worked out"), [vec![]]);
}
