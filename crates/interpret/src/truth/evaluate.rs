//! From annotated text, a model and its dictionary to a report.

use super::baselines::baselines;
use super::best::{best_of, fill};
use super::corpus::{AnnotatedCorpus, Splits};
use super::detectors::{Detectors, Features};
use super::identity::identities;
use super::matching::{Detection, Matching, Side, Trial};
use super::record::{Rows, record};
use super::report::{ConceptReport, Criteria, FeatureCount, FeatureMeaning, TextCount, TruthReport};
use super::summary::{Compared, summarise};
use super::tokens::Tokens;
use super::union::greedy_union;
use crate::error::InterpretError;
use crate::point::{check_model, point_of};
use crate::progress::Progress;
use untangle_model::LanguageModel;
use untangle_sae::Sae;
use untangle_schema::{AnnotatedSplit, ConceptId, HookPoint, Observer, Site, Unit};

/// A dictionary and the model that it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// The model.
    pub model: &'a LanguageModel,
    /// The dictionary.
    pub sae: &'a Sae,
}

impl Judged<'_> {
    /// Where the dictionary belongs.
    fn point(&self) -> Result<HookPoint, InterpretError> {
        check_model(self.sae, self.model)?;
        let point = point_of(self.sae)?;
        let (d_in, found) = (self.sae.d_in(), self.model.width_of(point)?);
        if d_in != found {
            return Err(InterpretError::WidthDiffers { d_in, what: format!("{point} of this model"), found });
        }
        Ok(point)
    }
}

/// Measures which concepts of `corpus` the dictionary of `subject` holds, beside a linear probe, the neurons of the
/// same block, principal directions, and the features of a `control`: a dictionary of equal size on a model that has
/// learned nothing.
///
/// # Errors
/// A dictionary does not belong to its model, a split has no tokens, an activation is not finite, or the user asks to
/// stop.
pub fn evaluate_truth(
    corpus: &AnnotatedCorpus,
    subject: Judged<'_>,
    control: Option<Judged<'_>>,
    criteria: Criteria,
    observer: &dyn Observer,
) -> Result<TruthReport, InterpretError> {
    let point = subject.point()?;
    let control = control.map(|control| Ok::<_, InterpretError>((control, control.point()?))).transpose()?;
    let tokens = tokenise(corpus, subject.model)?;
    let mut concepts = blank_reports(corpus, &tokens, &criteria);
    let judged: Vec<bool> = concepts.iter().map(|concept| concept.judged).collect();
    let neurons = match point {
        HookPoint::Block { layer, .. } => Some(HookPoint::block(layer, Site::MlpPost)),
        _ => None,
    };
    let recorded = record_all(subject.model, &tokens, point, neurons, observer)?;
    let trial = features_of(subject.sae, &tokens, &recorded)?;
    let (matching, best) = best_of(&trial, &judged, "match features", observer)?;
    let (features, meanings) = count(&trial, &matching, &criteria);
    fill(&mut concepts, best, |concept| &mut concept.feature);
    let unions = unions_of(&trial, &matching, criteria.union, observer)?;
    fill(&mut concepts, unions, |concept| &mut concept.union);

    identities(&mut concepts, &tokens, observer)?;
    let labels = tokens.map(|tokens| &tokens.labels);
    let unfinished_probes = baselines(&mut concepts, labels, &recorded, subject.model.device(), observer)?;
    let measure = |(control, point)| control_of(corpus, control, point, &mut concepts, &criteria, observer);
    let control = control.map(measure).transpose()?;

    let compared = Compared { neurons: neurons.is_some(), control: control.is_some() };
    let text = tokens.map(|t| TextCount { documents: t.readings.len(), tokens: t.rows(), cut: t.cut });
    let groups = summarise(&concepts, &criteria, compared);
    Ok(TruthReport { point, neurons, criteria, text, groups, features, control, unfinished_probes, concepts, meanings })
}

/// The activations at the dictionary's point, and for validation and test also those of the neurons.
fn record_all(
    model: &LanguageModel,
    tokens: &Splits<Tokens>,
    point: HookPoint,
    neurons: Option<HookPoint>,
    observer: &dyn Observer,
) -> Result<Splits<Vec<Rows>>, InterpretError> {
    let points: Vec<HookPoint> = [point].into_iter().chain(neurons).collect();
    Splits::try_from_fn(|split| {
        let wanted = if split == AnnotatedSplit::Train { &points[..1] } else { &points };
        record(model, tokens.get(split), wanted, observer)
    })
}

/// All splits as the model reads them.
fn tokenise(corpus: &AnnotatedCorpus, model: &LanguageModel) -> Result<Splits<Tokens>, InterpretError> {
    Splits::try_from_fn(|split| {
        let tokens = Tokens::of(corpus, split, model)?;
        if tokens.rows() == 0 { Err(InterpretError::NoTokensIn { split }) } else { Ok(tokens) }
    })
}

/// A report on every concept in which nothing is measured yet.
fn blank_reports(corpus: &AnnotatedCorpus, tokens: &Splits<Tokens>, criteria: &Criteria) -> Vec<ConceptReport> {
    let blank = |(number, concept): (usize, &untangle_schema::Concept)| {
        let positives = tokens.map(|tokens| tokens.labels.positives(number));
        // What holds everywhere is told by saying so.
        let negatives = tokens.map(|tokens| {
            let labels = &tokens.labels;
            labels.rows() as u64 - labels.positives(number) - labels.undecided(number)
        });
        let all = [&positives, &negatives].into_iter().flat_map(|n| [n.train, n.validation, n.test]);
        let fewest = all.min().unwrap_or(0);
        ConceptReport {
            id: concept.id,
            name: concept.name.clone(),
            family: concept.family.clone(),
            kind: concept.kind,
            positives,
            undecided: tokens.map(|tokens| tokens.labels.undecided(number)),
            judged: fewest >= criteria.min_positives,
            probe: None,
            feature: None,
            union: None,
            token: None,
            tokens: None,
            neuron: None,
            principal: None,
            control: None,
        }
    };
    corpus.concepts().iter().enumerate().map(blank).collect()
}

/// The features over validation and test tokens; the dictionary's point is recorded first.
fn features_of<'a>(
    sae: &Sae,
    tokens: &'a Splits<Tokens>,
    recorded: &Splits<Vec<Rows>>,
) -> Result<Trial<'a, Features>, InterpretError> {
    Ok(Trial {
        validation: Side::new(&tokens.validation.labels, Features::encode(sae, &recorded.validation[0])?)?,
        test: Side::new(&tokens.test.labels, Features::encode(sae, &recorded.test[0])?)?,
    })
}

fn unions_of(
    trial: &Trial<'_, Features>,
    matching: &Matching,
    most: usize,
    observer: &dyn Observer,
) -> Result<Vec<Option<Detection>>, InterpretError> {
    let mut progress = Progress::start(observer, "unite features", Unit::Steps, matching.choices.len() as u64);
    let mut unions = Vec::with_capacity(matching.choices.len());
    for (concept, first) in matching.choices.iter().enumerate() {
        let union = first.map(|first| greedy_union(&trial.validation, concept, first, most));
        unions.push(union.map(|union| trial.test.detection(&union, concept)));
        progress.advance(1)?;
    }
    progress.finish();
    Ok(unions)
}

/// What the features are good for, and which concept each matching one matches best.
fn count(trial: &Trial<'_, Features>, matching: &Matching, criteria: &Criteria) -> (FeatureCount, Vec<FeatureMeaning>) {
    let (validation, test) = (&trial.validation.detectors, &trial.test.detectors);
    let dead = (0..test.count()).filter(|&f| validation.firings(f) + test.firings(f) == 0).count();
    let meanings: Vec<FeatureMeaning> = (0..)
        .zip(&matching.meanings)
        .filter_map(|(feature, meaning)| meaning.map(|m| (feature, m)))
        .filter(|(_, meaning)| meaning.f1 >= criteria.matched_f1)
        .map(|(feature, m)| FeatureMeaning { feature, concept: ConceptId(m.concept as u16), f1: m.f1 })
        .collect();
    let (features, matched) = (test.count(), meanings.len());
    let tokens = validation.rows() + test.rows();
    (FeatureCount { features, tokens, dead, matched, unmatched: features - dead - matched }, meanings)
}

/// Fills in a dictionary on another model, which reads the same text in its own way, and counts its features.
fn control_of(
    corpus: &AnnotatedCorpus,
    control: Judged<'_>,
    point: HookPoint,
    concepts: &mut [ConceptReport],
    criteria: &Criteria,
    observer: &dyn Observer,
) -> Result<FeatureCount, InterpretError> {
    let judged: Vec<bool> = concepts.iter().map(|concept| concept.judged).collect();
    let tokens = tokenise(corpus, control.model)?;
    let recorded = Splits::try_from_fn(|split| match split {
        AnnotatedSplit::Train => Ok(Vec::new()),
        _ => record(control.model, tokens.get(split), &[point], observer),
    })?;
    let trial = features_of(control.sae, &tokens, &recorded)?;
    let (matching, best) = best_of(&trial, &judged, "match the control's features", observer)?;
    fill(concepts, best, |concept| &mut concept.control);
    Ok(count(&trial, &matching, criteria).0)
}
