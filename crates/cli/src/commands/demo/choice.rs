//! Which feature does the demo turn up? The one whose own words appear most often in what the model then writes.
//!
//! Only features count that fire rarely and whose label names words. A feature's gain is how much more often those words
//! appear in a greedy continuation with the feature turned up than in the one without. Continuations that say the same
//! over and over do not count.

use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;
use untangle_schema::FeatureCard;

/// Shorter pieces are syllables more often than words.
const LETTERS: usize = 3;
/// Features that fire on more of the tokens than this are about grammar rather than about something.
const RARE: f64 = 0.01;
/// Tokens that make a repetition.
const REPEATED: usize = 4;

/// The words of a rare feature in lower case, where its label names words on which it fires.
pub(super) fn words_of(card: &FeatureCard) -> Option<BTreeSet<String>> {
    let label = card.label.as_deref().filter(|_| card.density <= RARE)?;
    let label = label.strip_prefix("spelling ").unwrap_or(label);
    // Labels such as `after "the"` are about the words beside those on which the feature fires.
    if !label.starts_with('"') {
        return None;
    }
    let quoted = label.split(" after ").next().unwrap_or(label).split('"').skip(1).step_by(2);
    let named: BTreeSet<String> = quoted.filter_map(word).collect();
    (!named.is_empty()).then_some(named)
}

fn word(token: &str) -> Option<String> {
    let core = token.trim();
    (core.chars().count() >= LETTERS && core.chars().all(char::is_alphabetic)).then(|| core.to_lowercase())
}

/// How often any of `words` stands in `text`, as a whole word.
pub(super) fn occurrences(text: &str, words: &BTreeSet<String>) -> usize {
    text.split(|c: char| !c.is_alphabetic()).filter(|word| words.contains(&word.to_lowercase())).count()
}

/// Of the runs of four tokens, the fraction that stood there before; 0 to 1.
pub(super) fn repetition<T: Eq + Hash>(tokens: &[T]) -> f64 {
    let runs = tokens.windows(REPEATED);
    let n = runs.len();
    let distinct = runs.collect::<HashSet<_>>().len();
    if n == 0 { 0.0 } else { (n - distinct) as f64 / n as f64 }
}

/// Whether a text with this repetition is still one to show beside a baseline with that.
pub(super) fn is_readable(repetition: f64, baseline: f64) -> bool {
    repetition <= 2.0 * baseline + 0.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(label: &str, density: f64) -> FeatureCard {
        FeatureCard {
            feature: 0,
            label: Some(label.to_owned()),
            label_source: None,
            label_score: None,
            label_evidence: None,
            density,
            max_activation: 1.0,
            mean_activation: 1.0,
            examples: Vec::new(),
            sampled: Vec::new(),
            histogram: Default::default(),
            top_logits: Vec::new(),
            bottom_logits: Vec::new(),
        }
    }

    #[test]
    fn a_feature_has_words_where_its_label_names_them() {
        let words = |label: &str| words_of(&card(label, 0.005)).map(|w| Vec::from_iter(w).join(" "));
        assert_eq!(words("\"happy\" / \"Sad\" / \"a\"").as_deref(), Some("happy sad"));
        assert_eq!(words("spelling \"bird\"").as_deref(), Some("bird"));
        assert_eq!(words("\"park\" after \"the\"").as_deref(), Some("park"), "it does not fire on `the`");
        assert_eq!(words_of(&card("\"and\"", 0.03)), None, "it fires too often");
        for label in ["\"…ily\"", "after \"named\"", "end of a sentence", "\".\"", "in text with \"dog\""] {
            assert_eq!(words(label), None, "{label}");
        }
    }

    #[test]
    fn words_are_counted_whole_and_in_any_case() {
        let words = BTreeSet::from(["bird".to_owned(), "fly".to_owned()]);
        assert_eq!(occurrences("A Bird, a bird! Birds do not fly.", &words), 3);
    }

    #[test]
    fn repetition_is_the_share_of_runs_that_come_again() {
        assert_eq!(repetition(&[1, 2, 3]), 0.0);
        assert_eq!(repetition(&[1, 2, 3, 4, 5]), 0.0);
        assert_eq!(repetition(&[7; 8]), 0.8, "five runs, one of them new");
        assert!(is_readable(0.3, 0.1) && !is_readable(0.31, 0.1) && !is_readable(0.2, 0.0));
    }
}
