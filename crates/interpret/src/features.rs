//! Everything about every feature: one pass over the training part for statistics, examples and labels, one over the
//! held-out part for the labels' scores, one over the examples' surroundings, and the logit effects.
//!
//! Memory is a function of the dictionary's size alone: of every feature a fixed number of firings and of counts is
//! kept, however long the store.

use crate::corpus::Corpus;
use crate::database::{DatabaseWriter, Frozen, Ready, Run, sae_sha256};
use crate::error::InterpretError;
use crate::excerpts::{Excerpts, excerpts};
use crate::kept::Kept;
use crate::label::passage::Passages;
use crate::label::propose::propose;
use crate::label::score::{ByF1, BySensitivity};
use crate::label::{Proposal, RuleLabeller, add_label};
use crate::logits::{Effects, LogitLens};
use crate::neighbours::{Fired, nearest};
use crate::passes::{Gathered, Shown, gather, score, show};
use crate::point::check_model;
use crate::saying::{AGREEMENT, CONFIDENCE, LensLabeller, OUTPUT, Raising, SAID, SaidScorer, said};
use crate::steer::{Dictionary, Kind};
use crate::vocabulary::Vocabulary;
use crate::windows::{Reach, Window};
use rayon::prelude::*;
use std::path::Path;
use untangle_model::LanguageModel;
use untangle_schema::label::F1;
use untangle_schema::{Example, FeatureCard, LabelKind, NearMiss, Neighbour, Observer, PartShares, TOOL_VERSION};
use untangle_store::RowBlock;

/// What is gathered of every feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeaturesPlan {
    /// Strongest examples, at most one per document.
    pub top: usize,
    /// Examples spread over the quantiles of the activations.
    pub sampled: usize,
    /// Examples of each fifth of the range of the activations.
    pub banded: usize,
    /// Tokens shown around an example.
    pub reach: Reach,
    /// Tokens raised and lowered most.
    pub logits: usize,
    /// Features that are near, of each kind of nearness.
    pub neighbours: usize,
    /// Places at which near features fire and the feature is silent.
    pub near_misses: usize,
    /// Whether every feature is turned up, to see what it makes the model say.
    pub outputs: bool,
    /// Seed of the sample and of the shuffled label control.
    pub seed: u64,
    /// Whether a part of the dictionary was never trained, which the database remembers.
    pub is_frozen: bool,
}

impl Default for FeaturesPlan {
    fn default() -> Self {
        Self {
            top: 20,
            sampled: 10,
            banded: 2,
            reach: Reach::default(),
            logits: 10,
            neighbours: 10,
            near_misses: 5,
            outputs: true,
            seed: 0,
            is_frozen: false,
        }
    }
}

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

/// Describes every feature of a dictionary from `corpus` and writes the database `path`, which remembers its name and what labels reach of a `frozen` one. The model gives tokens their text and features their logit effects.
///
/// # Errors
/// When store, dictionary and model do not belong together, the store has no rows to show, or writing fails. Nothing is
/// then left under `path`.
#[allow(clippy::too_many_arguments, reason = "each is a different artefact, and none belongs to another")]
pub fn features(
    dictionary: Dictionary<'_>,
    corpus: &Corpus,
    model: Option<&LanguageModel>,
    frozen: Option<Frozen>,
    plan: &FeaturesPlan,
    path: &Path,
    force: bool,
    observer: &dyn Observer,
) -> Result<FeaturesReport, InterpretError> {
    corpus.require_tokens()?;
    let sae = dictionary.sae();
    model.map_or(Ok(()), |model| check(dictionary, corpus, model))?;
    let vocabulary = model.map(Vocabulary::of).transpose()?.unwrap_or_default();
    let lens = model.map(|model| LogitLens::new(dictionary, model)).transpose()?;
    // Claimed before the work, so that a taken name costs no time.
    let writer = DatabaseWriter::create(path, force)?;
    let mut gathered = gather(sae, corpus, &vocabulary, plan, path, observer)?;
    let passages = Passages::new(gathered.sample.take());
    let proposals: Vec<Option<Proposal>> = (0..sae.d_sae())
        .into_par_iter()
        .map(|feature| propose(&gathered.counts, &passages, feature, &vocabulary))
        .collect();
    let scorer = score(sae, corpus, &vocabulary, &proposals, plan.seed, observer)?;
    let excerpts = excerpts(sae, corpus, &vocabulary, &gathered.drawn, plan.reach)?;
    let mut near = nearest(sae, plan.neighbours, observer)?;
    let together = std::mem::replace(&mut gathered.fired, Fired::new(plan.seed)).together(sae.d_sae(), plan.neighbours);
    near.iter_mut().zip(together).for_each(|(near, together)| near.extend(together));
    let shown = show(sae, corpus, &mut gathered, &near, plan, observer)?;
    gathered.kept = Kept::default();
    let effects = match lens {
        Some(lens) => lens.effects(plan.logits.max(SAID), &vocabulary)?,
        None => vec![Effects::default(); sae.d_sae()],
    };
    let raising = effects
        .iter()
        .enumerate()
        .map(|(feature, effects)| Raising { max: gathered.moments[feature].max(), raised: effects.top.clone() });
    let raising: Vec<Raising> = raising.collect();
    let turned = match model.filter(|_| plan.outputs) {
        Some(model) => said(model, dictionary, &raising, &opening(corpus)?, observer)?,
        None => vec![None; sae.d_sae()],
    };
    let run = Run {
        tool_version: TOOL_VERSION.to_owned(),
        sae: dictionary.name.to_owned(),
        config: dictionary.written(),
        sae_sha256: sae_sha256(sae),
        store: corpus.store().name(),
        store_content: corpus.store().content_identity(),
        model: corpus.store().manifest().map(|manifest| manifest.model.clone()),
        rows: gathered.rows,
        held_out_rows: scorer.rows(),
        seed: plan.seed,
        is_frozen: plan.is_frozen,
        parts: dictionary.parts(),
        frozen,
    };
    let known =
        Known { gathered, firings: (0..sae.d_sae()).map(|f| scorer.firings(f)).collect(), vocabulary: &vocabulary };
    let sharing: Vec<Option<PartShares>> = (0..sae.d_sae()).map(|feature| dictionary.sharing(feature)).collect();
    let card = |(feature, ((effects, shown), near)): (usize, ((Effects, Shown), Vec<Neighbour>))| {
        let mut card =
            FeatureCard { neighbours: near, sharing: sharing[feature].clone(), ..known.card(feature, effects, &shown) };
        let mut labeller = RuleLabeller(&proposals);
        add_label(&mut card, &mut labeller, &mut [&mut ByF1(&scorer), &mut BySensitivity(&scorer)])?;
        let [mut output, mut confidence, mut agreement] =
            [OUTPUT, CONFIDENCE, AGREEMENT].map(|name| SaidScorer { said: &turned, name, features: &raising });
        add_label(&mut card, &mut LensLabeller(&vocabulary), &mut [&mut output, &mut confidence, &mut agreement])?;
        card.top_logits.truncate(plan.logits);
        card.bottom_logits.truncate(plan.logits);
        Ready::new(card, path)
    };
    let mut all = effects.into_iter().zip(shown).zip(near).enumerate();
    let mut made =
        || all.by_ref().take(TOGETHER).collect::<Vec<_>>().into_par_iter().map(card).collect::<Result<Vec<_>, _>>();
    write(writer, &mut made, &excerpts, run)
}

/// Features that are made ready while others are written.
const TOGETHER: usize = 512;

/// Refuses a model that the dictionary or the store is not of. The rows of a crosscoder are of several models.
fn check(dictionary: Dictionary<'_>, corpus: &Corpus, model: &LanguageModel) -> Result<(), InterpretError> {
    match dictionary.kind {
        Kind::Sae(sae) => corpus.check_model(model).and_then(|()| check_model(sae, model)),
        Kind::Crosscoder(_) => corpus.check_tokenizer(model).and_then(|()| dictionary.writes(model).map(|_| ())),
    }
}

/// Tokens of the text behind which features are turned up, at most.
const OPENING: usize = 8;
/// Rows in which it is looked for.
const OPENING_ROWS: u64 = 64;

/// How the first document of a corpus begins: a text of the kind that the model was captured on, which says little yet.
fn opening(corpus: &Corpus) -> Result<Vec<u32>, InterpretError> {
    let mut block = RowBlock::default();
    let store = corpus.store();
    store.read_rows(0..OPENING_ROWS.min(store.n_rows()), &[], &mut block)?;
    let first = block.documents.first().copied();
    let of_first = block.tokens.iter().zip(&block.documents).take_while(|(_, document)| Some(**document) == first);
    Ok(of_first.map(|(token, _)| *token).take(OPENING).collect())
}

/// What is known once all passes are done.
struct Known<'a> {
    gathered: Gathered,
    /// Of each feature, held-out rows on which it fires.
    firings: Vec<u64>,
    vocabulary: &'a Vocabulary,
}

impl Known<'_> {
    /// All but labels and neighbours.
    fn card(&self, feature: usize, effects: Effects, shown: &Shown) -> FeatureCard {
        let moments = &self.gathered.moments[feature];
        let examples = |windows: &[Window]| windows.iter().map(|window| example(window, self.vocabulary)).collect();
        FeatureCard {
            feature,
            labels: Vec::new(),
            held_out_firings: self.firings[feature],
            density: moments.firings() as f64 / self.gathered.rows as f64,
            max_activation: moments.max(),
            mean_activation: moments.mean(),
            histogram: moments.histogram(),
            examples: examples(&shown.top),
            sampled: examples(&shown.sampled),
            banded: examples(&shown.banded),
            near_misses: shown
                .near
                .iter()
                .map(|(by, window)| NearMiss { by: *by, example: example(window, self.vocabulary) })
                .collect(),
            top_logits: effects.top,
            bottom_logits: effects.bottom,
            neighbours: Vec::new(),
            ..FeatureCard::default()
        }
    }
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

/// Writes all features; `made` makes the next ones ready, which goes on while others are written, and is empty at the end.
fn write(
    mut writer: DatabaseWriter,
    made: &mut (dyn FnMut() -> Result<Vec<Ready>, InterpretError> + Send),
    excerpts: &Excerpts,
    run: Run,
) -> Result<FeaturesReport, InterpretError> {
    let (mut features, mut dead, mut labelled, mut scored) = (0, 0, 0, 0);
    let (mut f1, mut control, mut floor) = (0.0, 0.0, 0.0);
    let mut put = |ready: Ready| {
        writer.put_ready(&ready)?;
        let card = &ready.card;
        features += 1;
        dead += usize::from(card.max_activation == 0.0);
        labelled += usize::from(card.labels.iter().any(|label| label.kind == LabelKind::Input));
        if let Some(score) = card.label().and_then(|label| label.score(F1)) {
            scored += 1;
            f1 += score.value;
            control += score.control.unwrap_or(0.0);
            floor += score.floor.unwrap_or(0.0);
        }
        Ok::<_, InterpretError>(())
    };
    let mut here = made()?;
    while !here.is_empty() {
        let (next, written) = rayon::join(&mut *made, || here.into_iter().try_for_each(&mut put));
        written?;
        here = next?;
    }
    writer.put_excerpts(excerpts)?;
    writer.finish(&run)?;
    let mean = |sum: f64| if scored == 0 { 0.0 } else { sum / f64::from(scored) };
    let (mean_f1, mean_control, mean_floor) = (mean(f1), mean(control), mean(floor));
    Ok(FeaturesReport { run, features, dead, labelled, mean_f1, mean_control, mean_floor })
}
