//! Everything about every feature: one pass over the training part for statistics, examples and labels, one over the
//! held-out part for the labels' scores, one over the examples' surroundings, and the logit effects.
//!
//! Memory is a function of the dictionary's size alone: of every feature a fixed number of firings and of counts is
//! kept, however long the store.

use crate::corpus::{Corpus, Row};
use crate::database::{DatabaseWriter, Run};
use crate::error::InterpretError;
use crate::extremes::{Firing, Sample, Strongest};
use crate::hash::mix;
use crate::label::counts::Counts;
use crate::label::propose::propose;
use crate::label::score::Scorer;
use crate::label::{Proposal, SOURCE};
use crate::logits::{Effects, LogitLens};
use crate::moments::Moments;
use crate::point::point_of;
use crate::progress::Progress;
use crate::vocabulary::Vocabulary;
use crate::windows::{Reach, Window, windows};
use std::path::Path;
use untangle_model::LanguageModel;
use untangle_sae::Sae;
use untangle_schema::{Event, Example, FeatureCard, Observer, TOOL_VERSION};
use untangle_store::{HeldOut, Part};

/// What is gathered of every feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeaturesPlan {
    /// Strongest examples, at most one per document.
    pub top: usize,
    /// Examples spread over the quantiles of the activations.
    pub sampled: usize,
    /// Tokens shown around an example.
    pub reach: Reach,
    /// Tokens raised and lowered most.
    pub logits: usize,
    /// Seed of the sample and of the shuffled label control.
    pub seed: u64,
}

impl Default for FeaturesPlan {
    fn default() -> Self {
        Self { top: 20, sampled: 10, reach: Reach::default(), logits: 10, seed: 0 }
    }
}

/// Firings from which the quantile examples are drawn, per example.
const SAMPLE_PER_EXAMPLE: usize = 10;

/// What came of it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct FeaturesReport {
    /// How the database was made.
    pub run: Run,
    /// Features.
    pub features: usize,
    /// Features that never fire on the rows that were read.
    pub dead: usize,
    /// Features with a label.
    pub labelled: usize,
    /// Mean F1 of the labels on held-out rows.
    pub mean_f1: f64,
    /// Mean F1 that labels of other features reach there.
    pub mean_control: f64,
    /// Mean F1 of "it always fires" there.
    pub mean_floor: f64,
}

/// Describes every feature of `sae` from `corpus` and writes the database `path`. `sae_name` is the name that the
/// database remembers. The model gives tokens their text and features their logit effects.
///
/// # Errors
/// When store, dictionary and model do not belong together, the store has no rows to show, or writing fails. Nothing is
/// then left under `path`.
#[allow(clippy::too_many_arguments, reason = "each is a different artefact, and none belongs to another")]
pub fn features(
    sae: &Sae,
    sae_name: &str,
    corpus: &Corpus,
    model: Option<&LanguageModel>,
    plan: &FeaturesPlan,
    path: &Path,
    force: bool,
    observer: &dyn Observer,
) -> Result<FeaturesReport, InterpretError> {
    corpus.require_tokens()?;
    let vocabulary = model.map(|model| check_model(corpus, model).and(Vocabulary::of(model))).transpose()?;
    let vocabulary = vocabulary.unwrap_or_default();
    // Claimed before the work, so that a taken name costs no time.
    let writer = DatabaseWriter::create(path, force)?;
    let gathered = gather(sae, corpus, &vocabulary, plan, observer)?;
    let proposals: Vec<Option<Proposal>> =
        (0..sae.d_sae()).map(|feature| propose(&gathered.counts, feature, &vocabulary)).collect();
    let scorer = score(sae, corpus, &vocabulary, &proposals, plan.seed, observer)?;
    let shown = show(sae, corpus, &gathered, plan, observer)?;
    let effects = match model {
        Some(model) => LogitLens::new(sae, model, point_of(sae)?)?.effects(plan.logits, &vocabulary)?,
        None => vec![Effects::default(); sae.d_sae()],
    };
    let run = Run {
        tool_version: TOOL_VERSION.to_owned(),
        sae: sae_name.to_owned(),
        config: sae.config().clone(),
        store: corpus.store().name(),
        model: corpus.store().manifest().map(|manifest| manifest.model.clone()),
        rows: gathered.rows,
        held_out_rows: scorer.rows(),
        seed: plan.seed,
    };
    let cards = effects.into_iter().zip(shown).enumerate().map(|(feature, (effects, examples))| {
        let label = proposals[feature].as_ref().map(|proposal| proposal.text.clone());
        let scored = scorer.finish(feature);
        let moments = &gathered.moments[feature];
        FeatureCard {
            feature,
            label_source: label.as_ref().map(|_| SOURCE.to_owned()),
            label,
            label_score: scored.map(|(f1, _)| f1),
            label_evidence: scored.map(|(_, evidence)| evidence),
            density: moments.firings() as f64 / gathered.rows as f64,
            max_activation: moments.max(),
            mean_activation: moments.mean(),
            histogram: moments.histogram(),
            examples: examples.top.iter().map(|window| example(window, &vocabulary)).collect(),
            sampled: examples.sampled.iter().map(|window| example(window, &vocabulary)).collect(),
            top_logits: effects.top,
            bottom_logits: effects.bottom,
        }
    });
    write(writer, cards, run)
}

/// The store has to come from this model: other weights would give its directions another meaning.
fn check_model(corpus: &Corpus, model: &LanguageModel) -> Result<(), InterpretError> {
    let (Some(manifest), identity) = (corpus.store().manifest(), model.identity()) else { return Ok(()) };
    let captured = &manifest.model;
    if captured.weights_sha256 == identity.weights_sha256 && captured.tokenizer_sha256 == identity.tokenizer_sha256 {
        return Ok(());
    }
    let name = |name: &str, hash: &str| format!("{name} (weights {})", hash.get(..8).unwrap_or(hash));
    Err(InterpretError::OtherModel {
        expected: name(&captured.name, &captured.weights_sha256),
        found: name(&identity.name, &identity.weights_sha256),
    })
}

/// What one pass over the training part leaves.
struct Gathered {
    rows: u64,
    moments: Vec<Moments>,
    strongest: Vec<Strongest>,
    samples: Vec<Sample>,
    counts: Counts,
}

fn gather(
    sae: &Sae,
    corpus: &Corpus,
    vocabulary: &Vocabulary,
    plan: &FeaturesPlan,
    observer: &dyn Observer,
) -> Result<Gathered, InterpretError> {
    let n = sae.d_sae();
    let mut moments = vec![Moments::default(); n];
    let mut strongest = vec![Strongest::new(plan.top); n];
    let mut samples: Vec<Sample> =
        (0..n).map(|feature| Sample::new(plan.sampled * SAMPLE_PER_EXAMPLE, plan.seed, feature)).collect();
    let mut counts = Counts::new(n);
    let visit = |row: &Row<'_>| {
        counts.add(row.facts, row.reader, mix(plan.seed ^ row.row), row.features);
        for (&feature, &activation) in row.features.iter().zip(row.activations) {
            let firing = Firing { activation, row: row.row, document: row.document, position: row.position };
            moments[feature as usize].add(activation);
            strongest[feature as usize].offer(firing);
            samples[feature as usize].offer(firing);
        }
    };
    let rows = corpus.each_row(Part::Train, sae, vocabulary, "features", observer, visit)?;
    if rows == 0 {
        return Err(InterpretError::NoRows { store: corpus.store().name(), part: "the training part" });
    }
    Ok(Gathered { rows, moments, strongest, samples, counts })
}

fn score<'a>(
    sae: &Sae,
    corpus: &Corpus,
    vocabulary: &Vocabulary,
    proposals: &'a [Option<Proposal>],
    seed: u64,
    observer: &dyn Observer,
) -> Result<Scorer<'a>, InterpretError> {
    let mut scorer = Scorer::new(proposals, seed);
    if *corpus.held_out() == HeldOut::None {
        observer.event(Event::Warning("nothing is held out, so labels get no scores"));
        return Ok(scorer);
    }
    let visit = |row: &Row<'_>| scorer.add(row.facts, row.features, row.activations);
    corpus.each_row(Part::HeldOut, sae, vocabulary, "score labels", observer, visit)?;
    Ok(scorer)
}

/// The examples of one feature.
#[derive(Clone, Default)]
struct Shown {
    top: Vec<Window>,
    sampled: Vec<Window>,
}

fn show(
    sae: &Sae,
    corpus: &Corpus,
    gathered: &Gathered,
    plan: &FeaturesPlan,
    observer: &dyn Observer,
) -> Result<Vec<Shown>, InterpretError> {
    let of_feature = |feature: usize| {
        let top = gathered.strongest[feature].firings().to_vec();
        let sampled = gathered.samples[feature].quantiles(plan.sampled);
        top.into_iter().map(|firing| (true, firing)).chain(sampled.into_iter().map(|firing| (false, firing)))
    };
    let wanted: Vec<(usize, bool, Firing)> =
        (0..sae.d_sae()).flat_map(|feature| of_feature(feature).map(move |(top, f)| (feature, top, f))).collect();
    let firings: Vec<(usize, Firing)> = wanted.iter().map(|(feature, _, firing)| (*feature, *firing)).collect();
    let mut progress = Progress::start(observer, "examples", firings.len() as u64);
    let found = windows(sae, corpus.store(), corpus.column(), &firings, plan.reach, &mut progress)?;
    progress.finish();
    let mut shown = vec![Shown::default(); sae.d_sae()];
    for ((feature, top, _), window) in wanted.into_iter().zip(found) {
        let shown = &mut shown[feature];
        if top { shown.top.push(window) } else { shown.sampled.push(window) }
    }
    Ok(shown)
}

fn example(window: &Window, vocabulary: &Vocabulary) -> Example {
    Example {
        row: window.firing.row,
        document: window.firing.document,
        position: window.firing.position,
        activation: window.firing.activation,
        tokens: window.tokens.iter().map(|token| vocabulary.text(*token)).collect(),
        activations: window.activations.clone(),
        peak: window.peak,
    }
}

fn write(
    mut writer: DatabaseWriter,
    cards: impl Iterator<Item = FeatureCard>,
    run: Run,
) -> Result<FeaturesReport, InterpretError> {
    let (mut features, mut dead, mut labelled, mut scored) = (0, 0, 0, 0);
    let (mut f1, mut control, mut floor) = (0.0, 0.0, 0.0);
    for card in cards {
        features += 1;
        dead += usize::from(card.max_activation == 0.0);
        labelled += usize::from(card.label.is_some());
        if let (Some(score), Some(evidence)) = (card.label_score, card.label_evidence) {
            scored += 1;
            f1 += score;
            control += evidence.control;
            floor += evidence.floor;
        }
        writer.put(&card)?;
    }
    writer.finish(&run)?;
    let mean = |sum: f64| if scored == 0 { 0.0 } else { sum / f64::from(scored) };
    let (mean_f1, mean_control, mean_floor) = (mean(f1), mean(control), mean(floor));
    Ok(FeaturesReport { run, features, dead, labelled, mean_f1, mean_control, mean_floor })
}
