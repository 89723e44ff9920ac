//! Do labels name what features stand for, and is their sensitivity the true one?
//!
//! `labels SAE FEATURES.db`, of a dictionary of the organism. A feature matches a concept where it detects it with an F1 of
//! 0.8 or more on test documents, its threshold chosen on validation documents. A label names a concept where at least half
//! of its words are the concept's own: words that stand in the concept's places of the training documents at least three
//! times as often as elsewhere. Beside it, the labels of the other matching features in the same place. The sensitivity of a
//! rule is the share of the held-out tokens that are clearly what it says which stand in stretches of text in which the feature fires;
//! the truth is the same share of the concept's own tokens.

#![allow(clippy::print_stdout, reason = "a measurement is for its reader")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use untangle_interpret::label::score::STRETCH;
use untangle_interpret::progress::Progress;
use untangle_interpret::truth::detectors::{Detectors, Features};
use untangle_interpret::truth::labels::Mark;
use untangle_interpret::truth::matching::{Side, Trial, match_concepts};
use untangle_interpret::truth::record::record;
use untangle_interpret::truth::tokens::Tokens;
use untangle_interpret::{AnnotatedCorpus, Database, InterpretError, point_of};
use untangle_model::LoadOptions;
use untangle_organism::{Split, Stage, World, bundled};
use untangle_sae::Sae;
use untangle_schema::label::SENSITIVITY;
use untangle_schema::{AnnotatedSplit, Label, LabelKind, Share, Silent, Unit};
use untangle_sources::world::annotated;

/// Documents that say which words are a concept's own, that choose thresholds, and that are reported on.
const DOCUMENTS: [(Split, usize); 3] = [(Split::Train, 2000), (Split::Validation, 1000), (Split::Test, 1000)];
/// F1 from which a feature matches a concept.
const MATCHED: f64 = 0.8;
/// A concept with fewer tokens in a split is not judged.
const MIN_POSITIVES: u64 = 20;
/// A concept's own words stand in its places so many times as often as elsewhere, and so often at all.
const LIFT: f64 = 3.0;
const MIN_COUNT: u32 = 5;
/// Sensitivity agrees with the truth within this.
const WITHIN: f64 = 0.1;
/// Words that wordings of rules are made of.
const WORDING: [&str; 19] = [
    "in", "passages", "about", "with", "the", "word", "after", "before", "text", "spelling", "token", "first", "later",
    "of", "a", "sentence", "end", "inside", "capital",
];

/// A feature that matches a concept.
struct Matched {
    concept: usize,
    label: Option<Label>,
    /// Share of the concept's tokens that stand in stretches in which the feature fires.
    recall: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [sae, database] = &arguments[..] else {
        println!("labels SAE FEATURES.db");
        return;
    };
    let world = World::standard();
    let of_split = |(split, n)| world.documents(0, split).take(n).map(annotated);
    let documents = DOCUMENTS.into_iter().flat_map(of_split).collect();
    let corpus = AnnotatedCorpus::new(world.concepts().all().to_vec(), documents).expect("the world's concepts");
    let matched = matched(&corpus, Path::new(sae), Path::new(database)).expect("a dictionary of the organism");
    let own = own_words(&corpus);
    print_families(&corpus, &matched, &own);
    print_sensitivity(&matched);
}

fn matched(corpus: &AnnotatedCorpus, sae: &Path, database: &Path) -> Result<Vec<Matched>, InterpretError> {
    let model = bundled::load(Stage::Base, &LoadOptions::default()).expect("is part of the program");
    let (sae, database) = (Sae::load(sae)?, Database::open(database)?);
    let [validation, test] =
        [AnnotatedSplit::Validation, AnnotatedSplit::Test].map(|split| Tokens::of(corpus, split, &model));
    let (validation, test) = (validation?, test?);
    let point = point_of(&sae)?;
    let encode = |tokens: &Tokens| Features::encode(&sae, &record(&model, tokens, &[point], &Silent)?[0]);
    let trial = Trial {
        validation: Side::new(&validation.labels, encode(&validation)?)?,
        test: Side::new(&test.labels, encode(&test)?)?,
    };
    let enough = |concept: &usize| {
        let positives = [&validation, &test].map(|tokens| tokens.labels.positives(*concept));
        positives.into_iter().all(|n| n >= MIN_POSITIVES)
    };
    let judged: Vec<bool> = (0..corpus.concepts().len()).map(|concept| enough(&concept)).collect();
    let mut progress = Progress::start(&Silent, "match", Unit::Examples, sae.d_sae() as u64);
    let found = match_concepts(&trial, &judged, &mut progress)?;
    let features = encode(&test)?;
    let mut stretches = Vec::new();
    for reading in &test.readings {
        let first = stretches.last().map_or(0, |last| last + 1);
        stretches.extend((0..reading.counted.len()).map(|at| first + at / STRETCH));
    }
    let mut matched = Vec::new();
    for (feature, meaning) in found.meanings.iter().enumerate() {
        let Some(meaning) = meaning.filter(|meaning| meaning.f1 >= MATCHED) else { continue };
        let marks = test.labels.marks(meaning.concept);
        let mut scratch = Vec::new();
        let entries = features.ranked(feature, &mut scratch).iter();
        let fires: HashSet<usize> = entries.map(|entry| stretches[entry.row as usize]).collect();
        let own = (0..marks.len()).filter(|row| marks[*row] == Mark::Positive);
        let own = Share::of(own.map(|row| fires.contains(&stretches[row])));
        let labels = database.card(feature)?.labels.into_iter();
        matched.push(Matched {
            concept: meaning.concept,
            label: labels.into_iter().find(|label| label.kind == LabelKind::Input),
            recall: own.value(),
        });
    }
    Ok(matched)
}

/// Of every concept, the words that are its own.
fn own_words(corpus: &AnnotatedCorpus) -> Vec<HashSet<String>> {
    let (mut all, mut of_concept) = (HashMap::new(), vec![HashMap::new(); corpus.concepts().len()]);
    let mut within = vec![0u32; corpus.concepts().len()];
    for document in corpus.of_split(AnnotatedSplit::Train) {
        for (start, word) in words_at(&document.text) {
            *all.entry(word.clone()).or_insert(0u32) += 1;
            let here = document.annotations.iter().filter(|a| (a.start as usize..a.end as usize).contains(&start));
            let concepts: HashSet<u16> =
                here.flat_map(|a| corpus.lineages()[usize::from(a.concept.0)].iter().copied()).collect();
            for concept in concepts.into_iter().map(usize::from) {
                *of_concept[concept].entry(word.clone()).or_insert(0u32) += 1;
                within[concept] += 1;
            }
        }
    }
    let total: u32 = all.values().sum();
    let own = |(concept, counts): (usize, HashMap<String, u32>)| {
        let is_own = |(word, n): &(String, u32)| {
            let elsewhere = f64::from(all[word] - n).max(0.5) / f64::from(total - within[concept]).max(1.0);
            *n >= MIN_COUNT && f64::from(*n) / f64::from(within[concept]) >= LIFT * elsewhere
        };
        counts.into_iter().filter(is_own).map(|(word, _)| word).collect()
    };
    of_concept.into_iter().enumerate().map(own).collect()
}

/// Words in lower case with the places where they begin.
fn words_at(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    let mut at = 0;
    text.split_inclusive(|c: char| !c.is_alphanumeric()).filter_map(move |piece| {
        let start = at;
        at += piece.len();
        let word = piece.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        (!word.is_empty()).then_some((start, word))
    })
}

/// Whether a label names the concept whose own words these are.
fn names(label: &str, own: &HashSet<String>) -> bool {
    let words: Vec<String> =
        words_at(label).map(|(_, word)| word).filter(|word| !WORDING.contains(&word.as_str())).collect();
    let hits = words.iter().filter(|word| own.contains(*word)).count();
    hits > 0 && 2 * hits >= words.len()
}

fn print_families(corpus: &AnnotatedCorpus, matched: &[Matched], own: &[HashSet<String>]) {
    let mut families: BTreeMap<&str, [Share; 2]> = BTreeMap::new();
    let mut all = [Share::default(); 2];
    for one in matched {
        let text = one.label.as_ref().map_or("", |label| &label.text);
        let named = names(text, &own[one.concept]);
        let family = families.entry(&corpus.concepts()[one.concept].family).or_default();
        for share in [&mut family[0], &mut all[0]] {
            add(share, named);
        }
        for other in matched.iter().filter(|other| !related(corpus, one.concept, other.concept)) {
            let named = other.label.as_ref().is_some_and(|label| names(&label.text, &own[one.concept]));
            for share in [&mut family[1], &mut all[1]] {
                add(share, named);
            }
        }
        if !named {
            println!("not named: {:<24} {text}", corpus.concepts()[one.concept].name);
        }
    }
    println!(
        "\n{:<16} {:>8} {:>24} {:>24}",
        "family", "features", "label names the concept", "another feature's label"
    );
    for (family, [named, control]) in families.iter().map(|(family, shares)| (*family, *shares)).chain([("all", all)]) {
        println!("{family:<16} {:>8} {:>24} {:>24}", named.trials, shown(named), shown(control));
    }
}

/// Whether one concept is the other, or is above it.
fn related(corpus: &AnnotatedCorpus, a: usize, b: usize) -> bool {
    let above = |low: usize, high: usize| corpus.lineages()[low].iter().any(|c| usize::from(*c) == high);
    above(a, b) || above(b, a)
}

fn add(share: &mut Share, hit: bool) {
    share.hits += u64::from(hit);
    share.trials += 1;
}

fn shown(share: Share) -> String {
    let (low, high) = share.interval();
    format!("{:.0} % [{:.0}, {:.0}]", 100.0 * share.value(), 100.0 * low, 100.0 * high)
}

fn print_sensitivity(matched: &[Matched]) {
    let mut within = Share::default();
    let mut differences = Vec::new();
    for one in matched {
        let Some(score) = one.label.as_ref().and_then(|label| label.score(SENSITIVITY)) else { continue };
        let difference = score.value - one.recall;
        add(&mut within, difference.abs() <= WITHIN);
        differences.push(difference.abs());
    }
    differences.sort_by(f64::total_cmp);
    let median = differences.get(differences.len() / 2).copied().unwrap_or(f64::NAN);
    println!(
        "\nsensitivity of the rule within {:.0} points of the truth: {} of {} features; median difference {:.1} points",
        100.0 * WITHIN,
        shown(within),
        within.trials,
        100.0 * median
    );
}
