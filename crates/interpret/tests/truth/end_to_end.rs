//! From text to the report, with a random model whose embeddings give every word a feature.

use super::world::{CONTEXT, D_MODEL, VOCABULARY, biased, model, noise};
use tch::{Kind, Tensor};
use untangle_interpret::truth::record::record;
use untangle_interpret::truth::report::{Criteria, f1_of};
use untangle_interpret::truth::tokens::{Reading, Tokens};
use untangle_interpret::{AnnotatedCorpus, InterpretError, Judged, evaluate_truth};
use untangle_model::LanguageModel;
use untangle_sae::Sae;
use untangle_schema::{
    AnnotatedDocument, AnnotatedSplit, Annotation, Concept, ConceptId, ConceptKind, Event, HookPoint, Observer, Silent,
    Site,
};

fn concept(id: u16, name: &str, family: &str, parents: &[u16]) -> Concept {
    let parents = parents.iter().map(|parent| ConceptId(*parent)).collect();
    let (name, family) = (name.to_owned(), family.to_owned());
    Concept { id: ConceptId(id), name, family, kind: ConceptKind::Mention, parents, definition: String::new() }
}

/// 0 animal, 1 dog, 2 cat, 3 the bridge by its whole name, 4 something that never occurs.
fn concepts() -> Vec<Concept> {
    vec![
        concept(0, "animal", "animals", &[]),
        concept(1, "dog", "animals", &[0]),
        concept(2, "cat", "animals", &[0]),
        concept(3, "golden-gate-bridge", "landmarks", &[]),
        concept(4, "unicorn", "animals", &[]),
    ]
}

/// The places of the concepts in a text, those of parents left to the reader.
fn annotate(text: &str) -> Vec<Annotation> {
    let places = |concept: u16, name: &'static str, told: usize| {
        let starts: Vec<usize> = text.match_indices(name).map(|(at, _)| at).collect();
        starts.into_iter().map(move |start| Annotation {
            concept: ConceptId(concept),
            kind: ConceptKind::Mention,
            start: start as u32,
            end: (start + name.len()) as u32,
            decidable_from: Some((start + told) as u32),
        })
    };
    let bridge = places(3, "golden gate bridge", "golden gate".len());
    places(1, "dog", 3).chain(places(2, "cat", 3)).chain(bridge).collect::<Vec<_>>()
}

fn document(text: &str, split: AnnotatedSplit) -> AnnotatedDocument {
    AnnotatedDocument { text: text.to_owned(), split, annotations: annotate(text) }
}

/// Random sentences of different lengths for every split.
fn corpus() -> AnnotatedCorpus {
    let phrases = ["the dog", "a cat", "the golden gate bridge", "saw", "ran far", "home", "golden gate"];
    let sentence = |number: u64| {
        let n = 1 + (noise(number, 0) * 4.0) as u64;
        let words: Vec<&str> = (1..=n).map(|at| phrases[(noise(number, at) * 7.0) as usize]).collect();
        words.join(" ")
    };
    let documents = (0..300).map(|n| document(&sentence(n), AnnotatedSplit::ALL[n as usize % 3]));
    AnnotatedCorpus::new(concepts(), documents.collect()).expect("valid")
}

/// A feature for every word of `model`'s: it fires where the embedding is that word's alone.
fn word_features(model: &LanguageModel) -> Sae {
    let embed = model.parameters().into_iter().find(|(name, _)| name == "embed.weight").expect("embedded").1;
    let embed = tch::no_grad(|| embed.to_kind(Kind::Float)); // [vocab, d]
    let own = embed.square().sum_dim_intlist(1, true, Kind::Float);
    let w_enc = (&embed / &own).contiguous(); // its own word gives 1
    let others =
        w_enc.matmul(&embed.tr()) - Tensor::eye(VOCABULARY.len() as i64, (Kind::Float, tch::Device::Cpu)) * 9.0;
    let highest = others.amax([1], false).clamp_min(0.0);
    let b_enc: Vec<f32> = Vec::try_from(-(highest + 1.0) / 2.0).expect("numbers");
    let flat = |t: &Tensor| Vec::<f32>::try_from(t.view(-1)).expect("numbers");
    biased(D_MODEL, &flat(&w_enc), &b_enc, &flat(&embed.contiguous()), "hook_embed")
}

fn few() -> Criteria {
    Criteria { min_positives: 5, ..Criteria::default() }
}

#[test]
fn tokens_carry_the_concepts_of_their_bytes() {
    let texts = ["saw the golden gate bridge dog", "<s> cat", "château cat"];
    let documents = texts.iter().zip(AnnotatedSplit::ALL).map(|(text, split)| document(text, split));
    let corpus = AnnotatedCorpus::new(concepts(), documents.collect()).expect("valid");
    let model = model(1);
    let of = |split| Tokens::of(&corpus, split, &model).expect("tokens");
    let train = of(AnnotatedSplit::Train);
    assert_eq!(train.readings, [Reading { ids: vec![0, 7, 1, 2, 3, 4, 5], counted: vec![1, 2, 3, 4, 5, 6] }]);
    let labels = |row| train.labels.row(row).iter().map(|l| (l.concept, l.decided)).collect::<Vec<_>>();
    assert_eq!([labels(2), labels(3), labels(4)], [vec![(3, false)], vec![(3, true)], vec![(3, true)]]);
    assert_eq!(labels(5), [(0, true), (1, true)], "a dog is an animal");
    let validation = of(AnnotatedSplit::Validation);
    assert!(validation.rows() == 1 && validation.labels.positives(2) == 1, "special tokens do not count");
    let test = of(AnnotatedSplit::Test);
    assert!(test.rows() == 1 && test.labels.positives(2) == 1, "nor do unknown ones; ranges are bytes");
}

#[test]
fn a_document_beyond_the_context_is_cut_and_counted() {
    let texts = AnnotatedSplit::ALL.map(|split| document(&vec!["dog"; CONTEXT + 4].join(" "), split));
    let corpus = AnnotatedCorpus::new(concepts(), texts.to_vec()).expect("valid");
    let tokens = Tokens::of(&corpus, AnnotatedSplit::Test, &model(1)).expect("tokens");
    assert_eq!((tokens.rows(), tokens.cut, tokens.readings[0].ids.len()), (CONTEXT - 1, 5, CONTEXT));
}

#[test]
fn padded_passes_record_what_each_document_gives_alone() {
    let (corpus, model) = (corpus(), model(3));
    let points = [HookPoint::block(1, Site::AttnZ), HookPoint::block(0, Site::MlpPost)];
    let tokens = Tokens::of(&corpus, AnnotatedSplit::Train, &model).expect("tokens");
    let together = record(&model, &tokens, &points, &Silent).expect("records");
    let mut at = 0;
    for reading in &tokens.readings {
        let mut alone = tokens.clone();
        alone.readings = vec![reading.clone()];
        alone.labels = untangle_interpret::truth::labels::Labels::new(5);
        reading.counted.iter().for_each(|_| alone.labels.push([]));
        for (alone, together) in record(&model, &alone, &points, &Silent).expect("records").iter().zip(&together) {
            let d = alone.d;
            let same = &together.values[at * d..(at + reading.counted.len()) * d];
            assert!(alone.values.iter().zip(same).all(|(a, b)| (a - b).abs() < 1e-5), "row {at}");
        }
        at += reading.counted.len();
    }
    assert_eq!((together[0].d, together[1].d, at), (D_MODEL, 4 * D_MODEL, together[0].len()));
}

#[test]
fn the_report_tells_who_holds_what() {
    let (corpus, model, other) = (corpus(), model(1), model(2));
    let (sae, control) = (word_features(&model), word_features(&model));
    let subject = Judged { model: &model, sae: &sae };
    // The same features on a model with other embeddings mean nothing.
    let control = Judged { model: &other, sae: &control };
    let report = evaluate_truth(&corpus, subject, Some(control), few(), &Silent).expect("a report");
    let [animal, dog, cat, bridge, unicorn] = &report.concepts[..] else { panic!("five concepts") };
    for word in [dog, cat] {
        let feature = word.feature.as_ref().expect("matched");
        let id = VOCABULARY.iter().position(|w| *w == word.name).expect("a word");
        assert_eq!((feature.f1, feature.auroc, feature.parts[0].column), (1.0, Some(1.0), id), "{}", word.name);
        assert_eq!(feature.named, word.positives.test);
    }
    assert!(f1_of(&animal.feature) < 0.8 && f1_of(&animal.union) == 1.0, "an animal is a dog or a cat");
    assert_eq!(animal.positives.test, dog.positives.test + cat.positives.test);
    // "bridge" tells half of the decided tokens; "gate" is not always the bridge.
    assert!(bridge.undecided.test > 0 && bridge.positives.test == 2 * bridge.undecided.test);
    assert!((0.6..0.95).contains(&f1_of(&bridge.feature)), "{bridge:?}");
    assert!(!unicorn.judged && unicorn.probe.is_none() && unicorn.feature.is_none());
    assert_eq!((report.neurons, report.unfinished_probes), (None, 0), "the embedding belongs to no block");
    let all = &report.groups[0];
    assert_eq!((all.concepts, all.not_judged, all.readable.trials), (5, 1, 4));
    let features = report.features;
    assert_eq!((features.features, features.dead), (VOCABULARY.len(), 1), "only <s> never fires");
    assert_eq!(features.matched + features.unmatched, VOCABULARY.len() - 1);
    assert!(dog.control.is_none(), "no feature made for other embeddings fires on a dog");
    assert!(report.control.is_some_and(|control| control.matched < features.matched));
    assert!(report.meanings.iter().any(|m| m.feature == 5 && m.concept == ConceptId(1) && m.f1 == 1.0));
    serde_json::to_string(&report).expect("it can be written");
}

#[test]
fn a_control_is_measured_as_the_dictionary_is() {
    let (corpus, model) = (corpus(), model(1));
    let sae = word_features(&model);
    let subject = Judged { model: &model, sae: &sae };
    let report = evaluate_truth(&corpus, subject, Some(subject), few(), &Silent).expect("a report");
    assert!(report.concepts.iter().all(|concept| concept.control == concept.feature));
    assert_eq!(report.control, Some(report.features));
    let differences = report.groups.iter().filter_map(|group| group.above_control);
    assert!(differences.clone().count() > 0 && differences.clone().all(|difference| difference.value == 0.0));
}

#[test]
fn a_dictionary_of_a_block_is_compared_with_its_neurons() {
    let (corpus, model) = (corpus(), model(1));
    let rows = super::world::unit_rows(32, D_MODEL, 7);
    let sae = super::world::dictionary(D_MODEL, &rows, &rows);
    let report = evaluate_truth(&corpus, Judged { model: &model, sae: &sae }, None, few(), &Silent).expect("a report");
    assert_eq!(report.neurons, Some(HookPoint::block(0, Site::MlpPost)));
    assert!(report.groups[0].neuron.is_some() && report.groups[0].control.is_none() && report.control.is_none());
    let dog = &report.concepts[1];
    assert!(f1_of(&dog.probe) > 0.9, "words can be read after a random block: {:?}", dog.probe);
    assert!(dog.neuron.is_some() && dog.principal.is_some());
    for group in &report.groups {
        assert!(group.union.fraction.hits <= group.readable.hits);
    }
}

#[test]
fn what_does_not_fit_is_refused_before_anything_runs() {
    let (corpus, model) = (corpus(), model(1));
    let refused = |d: usize, point: &str| {
        let rows = super::world::unit_rows(4, d, 7);
        let sae = biased(d, &rows, &[0.0; 4], &rows, point);
        let subject = Judged { model: &model, sae: &sae };
        evaluate_truth(&corpus, subject, None, few(), &Silent).expect_err("refused").to_string()
    };
    assert!(refused(8, "blocks.0.hook_resid_post").contains("width 8, blocks.0.hook_resid_post of this model has"));
    assert!(refused(D_MODEL, "blocks.7.hook_resid_post").contains("blocks.7.hook_resid_post"));
    let empty = AnnotatedSplit::ALL.map(|split| document("<s>", split));
    let empty = AnnotatedCorpus::new(concepts(), empty.to_vec()).expect("valid");
    let sae = word_features(&model);
    let error = evaluate_truth(&empty, Judged { model: &model, sae: &sae }, None, few(), &Silent).expect_err("empty");
    assert!(matches!(error, InterpretError::NoTokensIn { split: AnnotatedSplit::Train }), "{error}");
}

struct Impatient;

impl Observer for Impatient {
    fn event(&self, _: Event<'_>) {}

    fn interrupted(&self) -> bool {
        true
    }
}

#[test]
fn an_interruption_is_heard() {
    let model = model(1);
    let sae = word_features(&model);
    let stopped = evaluate_truth(&corpus(), Judged { model: &model, sae: &sae }, None, few(), &Impatient);
    assert!(matches!(stopped, Err(InterpretError::Interrupted)));
}
