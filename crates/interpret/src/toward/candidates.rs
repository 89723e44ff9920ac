//! Which features may be about what is sought?
//!
//! Where words are sought, features are found as `untangle search` finds them: by label, examples and raised tokens, for
//! all of the words and for each. A feature that fires on a word tells the model that the word stands there, and one that
//! raises the first word has the model begin to write them, so those that raise it most take turns with those that the
//! search itself puts first; before all of them come features whose label says that passages are about what is sought. Where nothing is sought, every feature counts whose label says what passages are about, then every
//! one that fires rarely and whose label names words, and those are its topic; where there is none, the feature whose label
//! holds best. What text the concept really stands in is not looked up.

use super::topic::{Topic, word, words};
use crate::database::{Database, Summary};
use crate::error::InterpretError;
use crate::label::rule::PASSAGES;
use std::collections::BTreeSet;
use untangle_schema::{FeatureCard, LogitEffect};

/// Features considered at most, those found first.
const CONSIDERED: usize = 12;
/// Features that a search is asked for.
const SEARCHED: usize = 50;
/// Features whose labels hold best, among which topics are looked for where nothing is sought.
const BEST: usize = 200;
/// Features that fire on more of the tokens than this are about grammar rather than about something; of those that fire through
/// whole passages, on more than [`OFTEN`].
const RARE: f64 = 0.01;
const OFTEN: f64 = 0.1;
/// A passage is about a topic that has so many of the words by which it is told.
const OF_PASSAGE: usize = 2;

/// A feature that may be about a topic.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What is known of it.
    pub card: FeatureCard,
    /// What shows that it is the topic's.
    pub topic: Topic,
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// The features to try, those found first coming first.
    pub candidates: Vec<Candidate>,
    /// Whether they are about what was sought, and not about topics of their own.
    pub is_sought: bool,
}

/// Looks for features about `concept`; where nothing is sought or found, for features with topics of their own.
pub fn find(database: &Database, concept: Option<&str>) -> Result<Found, InterpretError> {
    let sought = concept.map_or(Ok(Vec::new()), |concept| search(database, concept))?;
    if !sought.is_empty() {
        return Ok(Found { candidates: sought, is_sought: true });
    }
    let cards = database.most_interpretable(BEST)?;
    let of_passages = cards.iter().cloned().filter_map(of_passages);
    let wordy: Vec<_> = of_passages.chain(cards.iter().cloned().filter_map(with_own_words)).take(CONSIDERED).collect();
    let best = || cards.into_iter().map(with_whatever_it_names).take(1).collect();
    Ok(Found { candidates: if wordy.is_empty() { best() } else { wordy }, is_sought: false })
}

fn search(database: &Database, concept: &str) -> Result<Vec<Candidate>, InterpretError> {
    let topic = Topic::of_name(concept);
    let mut found = Vec::<Candidate>::new();
    for sought in [concept].into_iter().chain(topic.words.iter().map(String::as_str)) {
        for Summary { feature, .. } in database.search(sought, SEARCHED)? {
            if found.iter().all(|known| known.card.feature != feature) {
                let card = database.card(feature)?;
                // What never fires has no label, and its direction is noise.
                if !card.labels.is_empty() {
                    found.push(Candidate { card, topic: topic.clone() });
                }
            }
        }
    }
    let raising = |candidate: &&Candidate| candidate.begins() > 0.0;
    let mut raise: Vec<Candidate> = found.iter().filter(raising).cloned().collect();
    // What was found first stays first where nothing tells the two apart.
    raise.sort_by(|a, b| b.begins().total_cmp(&a.begins()));
    let mut candidates = Vec::<Candidate>::new();
    let mut add = |candidate: &Candidate| {
        if candidates.iter().all(|known| known.card.feature != candidate.card.feature) {
            candidates.push(candidate.clone());
        }
    };
    found.iter().filter(|candidate| candidate.is_of_passages()).for_each(&mut add);
    for (place, candidate) in found.iter().enumerate() {
        raise.get(place).into_iter().for_each(&mut add);
        add(candidate);
    }
    candidates.truncate(CONSIDERED);
    Ok(candidates)
}

impl Candidate {
    /// The token of the topic that the feature raises most.
    pub fn raised(&self) -> Option<&LogitEffect> {
        let of_topic = |effect: &&LogitEffect| words(&effect.token).any(|word| self.topic.place(&word).is_some());
        self.card.top_logits.iter().filter(of_topic).max_by(|a, b| a.effect.total_cmp(&b.effect))
    }

    /// Whether its label tells passages by a word of the topic.
    fn is_of_passages(&self) -> bool {
        let told = self.card.label_text().and_then(|label| label.strip_prefix(PASSAGES)).unwrap_or_default();
        words(told).any(|word| self.topic.place(&word).is_some())
    }

    /// By how much it raises the topic's first word where it fires most.
    fn begins(&self) -> f32 {
        let is_first =
            |effect: &&LogitEffect| words(&effect.token).next().is_some_and(|word| self.topic.place(&word) == Some(0));
        let raised = self.card.top_logits.iter().filter(is_first).map(|effect| effect.effect).fold(0.0, f32::max);
        raised * self.card.max_activation
    }
}

/// A feature of passages, with the words by which its label tells them.
fn of_passages(card: FeatureCard) -> Option<Candidate> {
    let label = card.label_text().filter(|_| card.density <= OFTEN)?;
    let told = label.strip_prefix(PASSAGES)?;
    let told = told.split_once(": ").map(|(_, words)| words).or_else(|| told.strip_prefix("with "))?;
    let words: Vec<String> = words(told).filter(|told| word(told).is_some()).collect();
    (words.len() >= OF_PASSAGE).then_some(Candidate { card, topic: Topic { words, least: OF_PASSAGE } })
}

/// A rare feature with the words of its label, where it names words on which the feature fires.
fn with_own_words(card: FeatureCard) -> Option<Candidate> {
    let label = card.label_text().filter(|_| card.density <= RARE)?;
    let label = label.strip_prefix("spelling ").unwrap_or(label);
    // Labels such as `after "the"` are about the words beside those on which the feature fires.
    if !label.starts_with('"') {
        return None;
    }
    let quoted = label.split(" after ").next().unwrap_or(label).split('"').skip(1).step_by(2);
    let named: BTreeSet<String> = quoted.filter_map(word).collect();
    (!named.is_empty()).then_some(Candidate { card, topic: Topic { words: named.into_iter().collect(), least: 1 } })
}

/// A feature with everything in its label that could be a word.
fn with_whatever_it_names(card: FeatureCard) -> Candidate {
    let named: BTreeSet<String> = words(card.label_text().unwrap_or_default()).collect();
    let topic = Topic { words: named.into_iter().collect(), least: 1 };
    Candidate { card, topic }
}

#[cfg(test)]
mod tests {
    use super::*;
    use untangle_schema::{Label, LabelKind};

    fn card(label: &str, density: f64) -> FeatureCard {
        FeatureCard {
            feature: 0,
            labels: vec![Label {
                kind: LabelKind::Input,
                source: "tokens".to_owned(),
                text: label.to_owned(),
                scores: Vec::new(),
            }],
            held_out_firings: 0,
            density,
            max_activation: 1.0,
            mean_activation: 1.0,
            examples: Vec::new(),
            sampled: Vec::new(),
            banded: Vec::new(),
            histogram: Default::default(),
            top_logits: Vec::new(),
            bottom_logits: Vec::new(),
            neighbours: Vec::new(),
            ..FeatureCard::default()
        }
    }

    #[test]
    fn a_feature_has_words_where_its_label_names_them() {
        let words = |label: &str, density| {
            with_own_words(card(label, density)).map(|found| Vec::from_iter(found.topic.words).join(" "))
        };
        assert_eq!(words("\"happy\" / \"Sad\" / \"a\"", 0.005).as_deref(), Some("happy sad"));
        assert_eq!(words("spelling \"bird\"", 0.005).as_deref(), Some("bird"));
        assert_eq!(words("\"park\" after \"the\"", 0.005).as_deref(), Some("park"), "it does not fire on `the`");
        assert_eq!(words("\"and\"", 0.03), None, "it fires too often");
        for label in ["\"…ily\"", "after \"named\"", "end of a sentence", "\".\"", "in text with \"dog\""] {
            assert_eq!(words(label, 0.005), None, "{label}");
        }
    }

    #[test]
    fn a_passage_is_about_the_words_that_tell_it() {
        let found = |label: &str, density| of_passages(card(label, density)).map(|found| found.topic.text());
        let bridge = "in passages about the Golden Gate Bridge: red, bay, fog";
        assert_eq!(found(bridge, 0.04).as_deref(), Some("2 of \"red\", \"bay\", \"fog\""));
        assert_eq!(found("in passages with oven, loaf", 0.04).as_deref(), Some("\"oven\" and \"loaf\""));
        assert_eq!(found(bridge, 0.3), None, "it fires nearly everywhere");
        assert_eq!(found("\"red\" / \"bay\"", 0.01), None);
    }

    #[test]
    fn what_begins_a_name_is_its_first_word_and_no_other() {
        let raising = |tokens: &[(&str, f32)]| {
            let effect =
                |(token, effect): &(&str, f32)| LogitEffect { id: 0, token: (*token).to_owned(), effect: *effect };
            let card = FeatureCard {
                max_activation: 10.0,
                top_logits: tokens.iter().map(effect).collect(),
                ..card("\"the\"", 0.001)
            };
            Candidate { card, topic: Topic::of_name("Golden Gate Bridge") }
        };
        assert_eq!(raising(&[(" Bridge", 2.0), (" Golden", 0.5), (" sea", 3.0)]).begins(), 5.0);
        assert_eq!(raising(&[(" Bridge", 2.0), (" Gate", 1.0)]).begins(), 0.0, "these go on with it");
    }
}
