//! Planted features get the labels that say where they fire, features that fire at random get none, labels of other
//! features score low, and examples and statistics equal a naive reference.

use crate::planted::{Token, axes, corpus, id, model, noise, store};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use tempfile::TempDir;
use untangle_interpret::excerpts::EXCERPTS;
use untangle_interpret::steer::Dictionary;
use untangle_interpret::{Corpus, Database, FeaturesPlan, FeaturesReport, features};
use untangle_schema::label::F1;
use untangle_schema::{FeatureCard, LabelKind, Score, Silent};
use untangle_store::{HeldOut, Split};

/// Width of the model, so of the dictionary.
const D: usize = 16;

type Fires = fn(&Token) -> bool;

/// What each feature fires on, by coordinate, and the label that says so; features beyond are dead.
const PLANTED: [(Option<&str>, Fires); 8] = [
    (Some("\"The\" / \"the\""), |t| [id(" the"), id(" The")].contains(&t.token)),
    (Some("after \"little\""), |t| t.previous == Some(id(" little"))),
    (Some("before \"boat\""), |t| t.next == Some(id(" boat"))),
    (Some("end of a sentence"), |t| [id("."), id("!")].contains(&t.token)),
    (Some("\"sea\" after \"big\""), |t| t.token == id(" sea") && t.previous == Some(id(" big"))),
    (None, |t| noise(t.row, 77).is_multiple_of(10)),
    (Some("\"fish\""), |t| t.token == id(" fish") || noise(t.row, 78).is_multiple_of(100)),
    (Some("spelling \"underwood\""), |t| {
        t.token == id("wood") && t.previous == Some(id("der")) && noise(t.row, 0).is_multiple_of(2)
    }),
];

fn activation(feature: usize, token: &Token) -> f32 {
    let planted = PLANTED.get(feature);
    let fires = !token.special() && planted.is_some_and(|(_, fires)| fires(token));
    if fires { 1.0 + (noise(token.row, 3 + feature as u64) % 100_000) as f32 / 50_000.0 } else { 0.0 }
}

struct World {
    _folder: TempDir,
    tokens: Vec<Token>,
    split: Split,
    report: FeaturesReport,
    database: Database,
}

/// One run over the planted corpus, shared by the tests.
fn world() -> MutexGuard<'static, World> {
    static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
    WORLD.get_or_init(|| Mutex::new(make())).lock().unwrap_or_else(PoisonError::into_inner)
}

fn make() -> World {
    let folder = tempfile::tempdir().expect("a folder");
    let (tokens, model, sae) = (corpus(1000, 60), model(), axes(D));
    let row = |token: &Token| (0..D).map(|feature| activation(feature, token)).collect();
    let set = store(&folder.path().join("x.h5"), &tokens, D, model.identity(), row);
    let held_out = HeldOut::Fraction { fraction: 0.2, seed: 0 };
    let split = Split::new(&held_out, &set).expect("possible");
    let corpus = Corpus::new(set, &sae, held_out).expect("fits");
    let path = folder.path().join("FEATURES.db");
    let plan = FeaturesPlan::default();
    let report = features(
        Dictionary { name: "planted", ..Dictionary::only(&sae) },
        &corpus,
        Some(&model),
        None,
        &plan,
        &path,
        false,
        &Silent,
    )
    .expect("done");
    let database = Database::open(&path).expect("written");
    World { _folder: folder, tokens, split, report, database }
}

fn scored(card: &FeatureCard) -> &Score {
    card.label().and_then(|label| label.score(F1)).expect("scored")
}

fn cards(world: &World) -> Vec<FeatureCard> {
    (0..D).map(|feature| world.database.card(feature).expect("there")).collect()
}

#[test]
fn planted_features_are_labelled_and_random_ones_are_not() {
    let world = world();
    let cards = cards(&world);
    for (card, (label, _)) in cards.iter().zip(PLANTED) {
        if let Some("spelling \"underwood\"") = label {
            // Too rare to be certain of: pairs and spellings compete. Whatever it is called has to hold.
            continue;
        }
        let input = card.labels.iter().find(|label| label.kind == LabelKind::Input);
        assert_eq!(input.map(|label| &label.text[..]), label);
        // What a direction raises is told of every feature that fires.
        assert!(card.labels.iter().any(|label| label.kind == LabelKind::Output && label.score("output").is_some()));
    }
    for feature in [0, 1, 2, 3, 4] {
        let score = scored(&cards[feature]);
        assert_eq!(score.value, 1.0, "feature {feature} follows its rule exactly");
        assert_eq!(["precision", "recall", "mass_recall"].map(|name| score.detail[name]), [1.0; 3]);
    }
    let noisy = scored(&cards[6]);
    assert!(noisy.detail["precision"] == 1.0 && (0.7..0.9).contains(&noisy.detail["recall"]), "{noisy:?}");
    assert!(cards[8..].iter().all(|card| card.labels.is_empty() && card.max_activation == 0.0));
}

#[test]
fn scores_are_those_of_a_count_over_the_held_out_rows() {
    let world = world();
    let held: Vec<&Token> =
        world.tokens.iter().filter(|t| !t.special() && world.split.is_held_out(t.row, t.document)).collect();
    let fires = held.iter().filter(|t| activation(6, t) > 0.0).count() as f64;
    let named = held.iter().filter(|t| t.token == id(" fish")).count() as f64;
    let card = world.database.card(6).expect("there");
    let score = scored(&card);
    assert_eq!((score.n, score.detail["firings"], card.held_out_firings), (held.len() as u64, fires, fires as u64));
    assert_eq!(score.value, 2.0 * named / (named + fires), "every fish fires, so both = named");
    let density = fires / held.len() as f64;
    assert!((score.floor.expect("measured") - 2.0 * density / (1.0 + density)).abs() < 1e-12);
    assert_eq!(world.report.run.held_out_rows, held.len() as u64);
}

#[test]
fn labels_of_other_features_score_low() {
    let world = world();
    assert!(world.report.mean_f1 > 0.9, "{:?}", world.report);
    assert!(world.report.mean_control < 0.2, "{:?}", world.report);
    assert_eq!(world.report.dead, D - PLANTED.len());
}

#[test]
fn statistics_and_strongest_examples_equal_a_naive_reference() {
    let world = world();
    let train: Vec<&Token> =
        world.tokens.iter().filter(|t| !t.special() && !world.split.is_held_out(t.row, t.document)).collect();
    for feature in 0..PLANTED.len() {
        let card = world.database.card(feature).expect("there");
        let mut firing: Vec<(&Token, f32)> =
            train.iter().map(|t| (*t, activation(feature, t))).filter(|(_, a)| *a > 0.0).collect();
        assert_eq!(card.density, firing.len() as f64 / train.len() as f64);
        assert_eq!(card.histogram.counts.iter().sum::<u64>(), firing.len() as u64);
        firing.sort_by(|(s, a), (t, b)| b.total_cmp(a).then(s.row.cmp(&t.row)));
        assert_eq!(card.max_activation, firing[0].1);
        let mut seen = HashMap::new();
        firing.retain(|(t, _)| seen.insert(t.document, ()).is_none());
        firing.truncate(20);
        let expected: Vec<(u64, f32)> = firing.iter().map(|(t, a)| (t.row, *a)).collect();
        let found: Vec<(u64, f32)> = card.examples.iter().map(|e| (e.row, e.activation)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn windows_show_the_corpus_and_the_activation_at_every_token() {
    let world = world();
    for card in cards(&world) {
        for example in card.examples.iter().chain(&card.sampled) {
            let first = example.row as usize - example.peak;
            let place = &world.tokens[example.row as usize];
            assert_eq!((example.document, example.position), (place.document, place.position));
            assert_eq!(example.activations[example.peak], example.activation);
            let alike = |t: &&Token| t.document == place.document && t.row / 32 == place.row / 32;
            let before = world.tokens[..example.row as usize].iter().rev().take(16).take_while(alike).count();
            assert_eq!(example.peak, before, "as far back as context and document go");
            for (offset, (text, found)) in example.tokens.iter().zip(&example.activations).enumerate() {
                let token = &world.tokens[first + offset];
                assert_eq!(*text, crate::planted::VOCABULARY[token.token as usize]);
                assert_eq!(*found, activation(card.feature, token));
                assert!(alike(&token), "within context and document");
            }
        }
    }
}

#[test]
fn excerpts_are_of_the_rows_behind_the_examples_and_say_all_that_fires_in_them() {
    let world = world();
    let excerpts = world.database.excerpts().expect("read");
    assert_eq!(excerpts.len(), EXCERPTS);
    let firings: Vec<_> = (0..D).map(|feature| world.database.firings_of(feature).expect("read")).collect();
    let mut fired = 0;
    for (id, excerpt) in excerpts.iter().enumerate() {
        let place = &world.tokens[excerpt.row as usize];
        assert_eq!((excerpt.document, excerpt.position), (place.document, place.position));
        assert!(!world.split.is_held_out(place.row, place.document) && !place.special());
        let first = excerpt.row as usize - excerpt.peak;
        let tokens = &world.tokens[first..first + excerpt.tokens.len()];
        for (text, token) in excerpt.tokens.iter().zip(tokens) {
            assert_eq!(*text, crate::planted::VOCABULARY[token.token as usize]);
            assert_eq!(token.document, place.document, "within the document");
        }
        for (feature, firings) in firings.iter().enumerate() {
            let expected: Vec<f32> = tokens.iter().map(|token| activation(feature, token)).collect();
            let fires = expected.iter().any(|activation| *activation != 0.0);
            assert_eq!(firings.get(&id), fires.then_some(&expected), "feature {feature} in excerpt {id}");
            fired += usize::from(fires);
        }
    }
    assert!(fired > EXCERPTS, "{fired}");
}

#[test]
fn the_best_understood_features_come_first_and_labels_find_features() {
    let world = world();
    let best = world.database.most_interpretable(10).expect("read");
    assert!(best.len() >= 5 && best.windows(2).all(|pair| scored(&pair[0]).value >= scored(&pair[1]).value));
    assert!(best.iter().all(|card| card.density <= 0.1));
    assert_eq!(world.database.by_label("AFTER little").expect("read")[0].feature, 1);
    assert_eq!(world.database.search("fish", 10).expect("read")[0].feature, 6);
}
