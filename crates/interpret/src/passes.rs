//! The passes over a store behind the description of features: statistics, examples and counts on the training part,
//! label scores on the held-out part, and the surroundings of the examples.

use crate::corpus::{Corpus, Row};
use crate::error::InterpretError;
use crate::excerpts::Draw;
use crate::extremes::{Firing, Sample, Strongest};
use crate::features::FeaturesPlan;
use crate::hash::mix;
use crate::label::Proposal;
use crate::label::RuleScorer;
use crate::label::counts::Counts;
use crate::label::sample::{self, RowSample};
use crate::moments::Moments;
use crate::progress::Progress;
use crate::vocabulary::Vocabulary;
use crate::windows::{Window, windows};
use untangle_sae::Sae;
use untangle_schema::{Event, Observer, Unit};
use untangle_store::{HeldOut, Part};

/// Firings from which the quantile examples are drawn, per example.
const SAMPLE_PER_EXAMPLE: usize = 10;

/// What one pass over the training part leaves.
pub(crate) struct Gathered {
    pub(crate) rows: u64,
    pub(crate) moments: Vec<Moments>,
    strongest: Vec<Strongest>,
    samples: Vec<Sample>,
    pub(crate) counts: Counts,
    pub(crate) sample: RowSample,
    /// Rows for excerpts.
    pub(crate) drawn: Draw,
}

/// One pass over the training part.
pub(crate) fn gather(
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
    let mut sample = RowSample::new(sample::ROWS, plan.seed);
    let mut drawn = Draw::new(plan.seed);
    let visit = |row: &Row<'_>| {
        drawn.offer(row.row, row.document, row.position);
        counts.add(row.facts, row.reader, mix(plan.seed ^ row.row), row.features);
        sample.offer(row.row, row.facts, row.features);
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
    Ok(Gathered { rows, moments, strongest, samples, counts, sample, drawn })
}

/// One pass over the held-out part.
pub(crate) fn score<'a>(
    sae: &Sae,
    corpus: &Corpus,
    vocabulary: &Vocabulary,
    proposals: &'a [Option<Proposal>],
    seed: u64,
    observer: &dyn Observer,
) -> Result<RuleScorer<'a>, InterpretError> {
    let mut scorer = RuleScorer::new(proposals, seed);
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
pub(crate) struct Shown {
    pub(crate) top: Vec<Window>,
    pub(crate) sampled: Vec<Window>,
}

/// The surroundings of every example.
pub(crate) fn show(
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
    let mut progress = Progress::start(observer, "examples", Unit::Examples, firings.len() as u64);
    let found = windows(sae, corpus.store(), corpus.column(), &firings, plan.reach, &mut progress)?;
    progress.finish();
    let mut shown = vec![Shown::default(); sae.d_sae()];
    for ((feature, top, _), window) in wanted.into_iter().zip(found) {
        let shown = &mut shown[feature];
        if top { shown.top.push(window) } else { shown.sampled.push(window) }
    }
    Ok(shown)
}
