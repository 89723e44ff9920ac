//! The passes over a store behind the description of features: statistics, examples and counts on the training part,
//! label scores on the held-out part, and the surroundings of the examples.

use crate::bands;
use crate::corpus::{Corpus, Row};
use crate::error::InterpretError;
use crate::excerpts::Draw;
use crate::extremes::{Firing, Sample, Strongest};
use crate::features::FeaturesPlan;
use crate::hash::mix;
use crate::kept::Kept;
use crate::label::Proposal;
use crate::label::Reader;
use crate::label::RuleScorer;
use crate::label::counts::{Counted, Counts};
use crate::label::sample::{self, RowSample};
use crate::moments::Moments;
use crate::neighbours::Fired;
use crate::progress::Progress;
use crate::vocabulary::Vocabulary;
use crate::windows::{Window, windows};
use rayon::prelude::*;
use std::path::Path;
use untangle_sae::Sae;
use untangle_schema::{Event, Nearness, Neighbour, Observer, Unit};
use untangle_store::{HeldOut, Part};

/// Rows that are counted together at least: what is known of all features is more than the caches hold, and passes through them once
/// for each such lot.
const LOT_ROWS: usize = 1 << 15;
/// Features that one core counts at least.
const MIN_FEATURES: usize = 64;
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
    /// Rows that say what fires together.
    pub(crate) fired: Fired,
    /// The codes of all rows.
    pub(crate) kept: Kept,
}

/// One pass over the training part. `beside` is the file beside which codes are kept meanwhile.
pub(crate) fn gather(
    sae: &Sae,
    corpus: &Corpus,
    vocabulary: &Vocabulary,
    plan: &FeaturesPlan,
    beside: &Path,
    observer: &dyn Observer,
) -> Result<Gathered, InterpretError> {
    let n = sae.d_sae();
    let sample_of = |feature: usize| Sample::new(plan.sampled * SAMPLE_PER_EXAMPLE, plan.seed, feature);
    let mut gathered = Gathered {
        rows: 0,
        moments: vec![Moments::default(); n],
        strongest: vec![Strongest::new(plan.top); n],
        samples: (0..n).map(sample_of).collect(),
        counts: Counts::new(n),
        sample: RowSample::new(sample::ROWS, plan.seed),
        drawn: Draw::new(plan.seed),
        fired: Fired::new(plan.seed),
        kept: Kept::beside(beside),
    };
    let (mut reader, mut lot) = (Reader::new(vocabulary), Lot::default());
    corpus.each_block(Part::Train, sae, "features", observer, |block, codes| {
        let mut visit = |row: &Row<'_>| {
            gathered.drawn.offer(row.row, row.document, row.position);
            gathered.sample.offer(row.row, row.facts, row.features);
            gathered.fired.offer(row.row, row.features);
            let counted = gathered.counts.add(row.facts, row.reader, mix(plan.seed ^ row.row));
            lot.add(row, counted);
        };
        gathered.rows += corpus.rows_in_block(block, codes, &mut reader, &mut visit)?;
        gathered.kept.push(block, codes);
        if lot.rows.len() >= LOT_ROWS {
            gathered.count(&mut lot);
        }
        Ok(())
    })?;
    gathered.count(&mut lot);
    if gathered.rows == 0 {
        return Err(InterpretError::NoRows { store: corpus.store().name(), part: "the training part" });
    }
    Ok(gathered)
}

/// Rows that are counted together, feature by feature.
#[derive(Default)]
struct Lot {
    rows: Vec<(Firing, Counted)>,
    /// Feature, number of the row, and activation.
    fires: Vec<(u32, u32, f32)>,
    /// The same in the order of the features, and where those of each begin.
    by_feature: Vec<(u32, f32)>,
    starts: Vec<u32>,
}

impl Lot {
    fn clear(&mut self) {
        self.rows.clear();
        self.fires.clear();
    }

    fn add(&mut self, row: &Row<'_>, counted: Counted) {
        let number = self.rows.len() as u32;
        let firing = Firing { activation: 0.0, row: row.row, document: row.document, position: row.position };
        self.rows.push((firing, counted));
        self.fires.extend(row.features.iter().zip(row.activations).map(|(feature, value)| (*feature, number, *value)));
    }

    /// Orders what fires by feature, rows in their order.
    fn order(&mut self, n_features: usize) {
        self.starts.clear();
        self.starts.resize(n_features + 1, 0);
        self.fires.iter().for_each(|(feature, ..)| self.starts[*feature as usize + 1] += 1);
        (0..n_features).for_each(|feature| self.starts[feature + 1] += self.starts[feature]);
        let mut next = self.starts.clone();
        self.by_feature.clear();
        self.by_feature.resize(self.fires.len(), (0, 0.0));
        for (feature, row, value) in &self.fires {
            let place = &mut next[*feature as usize];
            self.by_feature[*place as usize] = (*row, *value);
            *place += 1;
        }
    }

    fn of(&self, feature: usize) -> &[(u32, f32)] {
        &self.by_feature[self.starts[feature] as usize..self.starts[feature + 1] as usize]
    }
}

impl Gathered {
    /// Counts what fires in a lot. What is known of one feature is nothing to another, so all are counted side by side.
    fn count(&mut self, lot: &mut Lot) {
        lot.order(self.moments.len());
        let by_feature = &*lot;
        let of_feature = self.moments.par_iter_mut().zip(&mut self.strongest).zip(&mut self.samples);
        let of_feature = of_feature.zip(&mut self.counts.features).enumerate().with_min_len(MIN_FEATURES);
        of_feature.for_each(|(feature, (((moments, strongest), sample), counts))| {
            for &(row, activation) in by_feature.of(feature) {
                let (firing, counted) = &by_feature.rows[row as usize];
                let firing = Firing { activation, ..*firing };
                moments.add(activation);
                strongest.offer(firing);
                sample.offer(firing);
                counts.add(counted);
            }
        });
        lot.clear();
    }
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
    let visit = |row: &Row<'_>| scorer.add(row.document, row.facts, row.features, row.activations);
    corpus.each_row(Part::HeldOut, sae, vocabulary, "score labels", observer, visit)?;
    scorer.finish();
    Ok(scorer)
}

/// The examples of one feature.
#[derive(Clone, Default)]
pub(crate) struct Shown {
    pub(crate) top: Vec<Window>,
    pub(crate) sampled: Vec<Window>,
    pub(crate) banded: Vec<Window>,
    /// Where it is silent though a feature fires that is near to it: that one's number, and the place.
    pub(crate) near: Vec<(usize, Window)>,
}

/// The surroundings of every example.
pub(crate) fn show(
    sae: &Sae,
    corpus: &Corpus,
    gathered: &mut Gathered,
    near: &[Vec<Neighbour>],
    plan: &FeaturesPlan,
    observer: &dyn Observer,
) -> Result<Vec<Shown>, InterpretError> {
    let wanted: Vec<(usize, Sort, Firing)> = (0..sae.d_sae()).flat_map(|f| wanted(gathered, near, plan, f)).collect();
    let firings: Vec<(usize, Firing)> = wanted.iter().map(|(feature, _, firing)| (*feature, *firing)).collect();
    let mut progress = Progress::start(observer, "examples", Unit::Examples, firings.len() as u64);
    let found = windows(sae, corpus, &mut gathered.kept, &firings, plan.reach, &mut progress)?;
    progress.finish();
    let mut shown = vec![Shown::default(); sae.d_sae()];
    for ((feature, sort, _), window) in wanted.into_iter().zip(found) {
        let shown = &mut shown[feature];
        match sort {
            Sort::Top => shown.top.push(window),
            Sort::Sampled => shown.sampled.push(window),
            Sort::Banded => shown.banded.push(window),
            Sort::Near(by) if shown.near.len() < plan.near_misses => {
                let is_new = shown.near.iter().all(|(_, other)| other.firing.document != window.firing.document);
                let is_silent = window.activations.iter().all(|value| *value == 0.0);
                if is_new && is_silent {
                    let firing = Firing { activation: 0.0, ..window.firing };
                    shown.near.push((by, Window { firing, ..window }));
                }
            }
            Sort::Near(_) => {}
        }
    }
    Ok(shown)
}

/// Why a place is looked at.
#[derive(Clone, Copy)]
enum Sort {
    Top,
    Sampled,
    Banded,
    /// This other feature fires there most.
    Near(usize),
}

/// The places that are looked at for one feature.
fn wanted(
    gathered: &Gathered,
    near: &[Vec<Neighbour>],
    plan: &FeaturesPlan,
    feature: usize,
) -> Vec<(usize, Sort, Firing)> {
    let top = gathered.strongest[feature].firings().iter().map(|firing| (feature, Sort::Top, *firing));
    let sampled = gathered.samples[feature].quantiles(plan.sampled).into_iter();
    let sampled = sampled.map(|firing| (feature, Sort::Sampled, firing));
    // Strong firings are rare, so that the sample has few of them: those of distinct documents come behind it.
    let drawn =
        gathered.samples[feature].firings().into_iter().chain(gathered.strongest[feature].firings().iter().copied());
    let mut distinct: Vec<Firing> = Vec::new();
    drawn.for_each(|firing| {
        if !distinct.iter().any(|other| other.row == firing.row) {
            distinct.push(firing);
        }
    });
    let banded = bands::of_each(&distinct, gathered.moments[feature].max(), plan.banded);
    let banded = banded.into_iter().map(|firing| (feature, Sort::Banded, firing));
    // Of both kinds of nearness in turn, the nearest first; a place of each, because one at which the feature fires too says nothing.
    let [writing, firing] = Nearness::ALL.map(|kind| near[feature].iter().filter(move |near| near.kind == kind));
    let (writing, firing): (Vec<_>, Vec<_>) =
        (writing.take(plan.near_misses).collect(), firing.take(plan.near_misses).collect());
    let in_turn = (0..plan.near_misses).flat_map(|at| [writing.get(at), firing.get(at)]).flatten();
    let mut others: Vec<usize> = Vec::new();
    for other in in_turn {
        if !others.contains(&other.feature) {
            others.push(other.feature);
        }
    }
    // A feature that never fires has no places where it might have.
    others.truncate(if gathered.moments[feature].firings() > 0 { others.len() } else { 0 });
    let strongest =
        |other: usize| gathered.strongest[other].firings().first().map(|f| (feature, Sort::Near(other), *f));
    top.chain(sampled).chain(banded).chain(others.into_iter().filter_map(strongest)).collect()
}
