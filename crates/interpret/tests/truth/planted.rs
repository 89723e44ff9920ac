//! Activations in which every concept has a direction: which dictionaries hold the concepts is known.

use super::world::{dictionary, noise, unit_rows};
use tch::Device;
use untangle_interpret::progress::Progress;
use untangle_interpret::truth::detectors::{Dense, Features};
use untangle_interpret::truth::labels::{Label, Labels};
use untangle_interpret::truth::matching::{Matching, Side, Trial, match_concepts};
use untangle_interpret::truth::principal::Principal;
use untangle_interpret::truth::probe::{Labelled, Probes};
use untangle_interpret::truth::record::Rows;
use untangle_interpret::truth::union::greedy_union;
use untangle_schema::{Silent, Unit};

const D: usize = 24;
/// Directions; concept c < `DIRECTIONS` is direction c, and the last concept is directions 0 and 1 together.
const DIRECTIONS: usize = 16;
const CONCEPTS: usize = DIRECTIONS + 1;
const TOKENS: usize = 3000;

/// Tokens on each of which about one direction in eight is present, with noise of a tenth of their strength.
fn tokens(seed: u64) -> (Rows, Labels) {
    let directions = unit_rows(DIRECTIONS, D, 1);
    let (mut rows, mut labels) = (Rows { d: D, values: Vec::new() }, Labels::new(CONCEPTS));
    for token in 0..TOKENS as u64 {
        let mut x: Vec<f64> = (0..D as u64).map(|i| 0.1 * (noise(seed + token, i) - 0.5)).collect();
        let present: Vec<usize> = (0..DIRECTIONS).filter(|c| noise(seed + token, 1000 + *c as u64) < 0.125).collect();
        for &concept in &present {
            let strength = 1.0 + noise(seed + token, 2000 + concept as u64);
            x.iter_mut().zip(&directions[concept * D..]).for_each(|(x, d)| *x += strength * f64::from(*d));
        }
        rows.values.extend(x.iter().map(|x| *x as f32));
        let both = present.iter().any(|c| *c < 2).then_some(DIRECTIONS);
        labels.push(present.into_iter().chain(both).map(|c| Label { concept: c as u16, decided: true }));
    }
    (rows, labels)
}

struct Planted {
    train: (Rows, Labels),
    validation: (Rows, Labels),
    test: (Rows, Labels),
}

fn planted() -> Planted {
    Planted { train: tokens(0), validation: tokens(1 << 20), test: tokens(1 << 21) }
}

impl Planted {
    fn trial(&self, sae: &untangle_sae::Sae) -> Trial<'_, Features> {
        let side = |(rows, labels): &'_ (Rows, Labels)| Features::encode(sae, rows).map(|f| (f, labels.rows()));
        let features = |of| side(of).expect("encodes").0;
        Trial {
            validation: Side::new(&self.validation.1, features(&self.validation)).expect("as many"),
            test: Side::new(&self.test.1, features(&self.test)).expect("as many"),
        }
    }
}

fn matched<D: untangle_interpret::truth::detectors::Detectors>(trial: &Trial<'_, D>) -> (Matching, Vec<f64>) {
    let mut progress = Progress::start(&Silent, "match", Unit::Steps, 1);
    let matching = match_concepts(trial, &[true; CONCEPTS], &mut progress).expect("matches");
    let f1 = |(concept, choice): (usize, &Option<_>)| {
        choice.map_or(0.0, |choice| trial.test.detection(&[choice], concept).f1)
    };
    let f1s = matching.choices.iter().enumerate().map(f1).collect();
    (matching, f1s)
}

/// The pseudo-inverse of the directions, by whose rows a linear encoder tells them apart.
fn reading(directions: &[f32]) -> Vec<f32> {
    let d = tch::Tensor::from_slice(directions).view([-1, D as i64]);
    let inverse = d.pinverse(1e-6).tr().contiguous().view(-1);
    Vec::try_from(inverse).expect("numbers")
}

#[test]
fn a_dictionary_of_the_planted_directions_holds_every_concept_and_a_random_one_none() {
    let planted = planted();
    let directions = unit_rows(DIRECTIONS, D, 1);
    let (matching, f1s) = matched(&planted.trial(&dictionary(D, &reading(&directions), &directions)));
    assert!(f1s[..DIRECTIONS].iter().all(|f1| *f1 > 0.98), "{f1s:?}");
    for (feature, meaning) in matching.meanings.iter().enumerate() {
        assert_eq!(meaning.map(|meaning| meaning.concept), Some(feature), "every feature means its concept");
    }
    let random = unit_rows(DIRECTIONS, D, 99);
    let (matching, f1s) = matched(&planted.trial(&dictionary(D, &random, &random)));
    let mean = f1s.iter().sum::<f64>() / f1s.len() as f64;
    assert!(mean < 0.6 && f1s.iter().all(|f1| *f1 < 0.9), "{f1s:?}");
    assert!(matching.meanings.iter().all(|meaning| meaning.is_none_or(|meaning| meaning.f1 < 0.9)));
}

#[test]
fn a_concept_of_two_features_is_told_by_their_union() {
    let planted = planted();
    let directions = unit_rows(DIRECTIONS, D, 1);
    let trial = planted.trial(&dictionary(D, &reading(&directions), &directions));
    let (matching, f1s) = matched(&trial);
    assert!(f1s[DIRECTIONS] < 0.75, "one of two: {}", f1s[DIRECTIONS]);
    let first = matching.choices[DIRECTIONS].expect("there is one");
    let union = greedy_union(&trial.validation, DIRECTIONS, first, 5);
    let mut features: Vec<usize> = union.iter().map(|choice| choice.detector).collect();
    features.sort_unstable();
    let found = trial.test.detection(&union, DIRECTIONS);
    assert!(found.f1 > 0.97 && features == [0, 1], "{found:?}");
}

#[test]
fn probes_find_the_directions_that_neither_coordinates_nor_components_are() {
    let planted = planted();
    let [train, validation] = [&planted.train, &planted.validation].map(|(rows, labels)| Labelled { rows, labels });
    let probes = Probes::fit(train, validation, &[true; CONCEPTS], Device::Cpu, &Silent).expect("fits");
    let side = Side::new(&planted.test.1, probes.logits(&planted.test.0).expect("values")).expect("as many");
    for concept in 0..CONCEPTS {
        let found = side.detection(&[probes.choice(concept).expect("there is one")], concept);
        assert!(found.f1 > 0.97 && found.auroc > Some(0.99), "concept {concept}: {found:?}");
        assert_eq!(found.parts[0].column, concept);
    }
    assert_eq!(probes.unfinished(), 0);
    let components = Principal::of(&planted.train.0).expect("fits");
    let dense = |rows: &Rows| Dense::both_ends(rows);
    let along = |rows: &Rows| dense(&components.project(rows).expect("projects"));
    for columns in [&dense as &dyn Fn(&Rows) -> Dense, &along] {
        let trial = Trial {
            validation: Side::new(&planted.validation.1, columns(&planted.validation.0)).expect("as many"),
            test: Side::new(&planted.test.1, columns(&planted.test.0)).expect("as many"),
        };
        let (_, f1s) = matched(&trial);
        assert!(f1s.iter().all(|f1| (0.2..0.95).contains(f1)), "{f1s:?}");
    }
}

#[test]
fn values_of_other_tokens_than_the_labelled_are_refused() {
    let (rows, _) = tokens(0);
    let error = Side::new(&Labels::new(2), Dense::both_ends(&rows)).expect_err("no tokens are labelled").to_string();
    assert!(error.contains("labels of 0 tokens and values of 3000"), "{error}");
}
