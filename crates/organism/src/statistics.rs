//! How often does each concept occur? Counted on a sample of documents, token by token.

use crate::document::Document;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use untangle_schema::{ConceptId, Coverage};

/// Counts over a sample.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// Documents counted.
    pub documents: u64,
    /// Tokens counted.
    pub tokens: u64,
    /// Sum of -ln p over all choices, in nats.
    pub nats: f64,
    /// By concept.
    pub concepts: Vec<Occurrence>,
    /// Tokens of each document.
    pub lengths: Vec<usize>,
}

/// How often one concept occurs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occurrence {
    /// Documents with at least one token that can be told.
    pub documents: u64,
    /// Tokens of it that can be told.
    pub decided: u64,
    /// Tokens of it that cannot.
    pub undecided: u64,
}

impl Statistics {
    /// Counts documents, cut into tokens by `cut`, which gives byte ranges of a text in order.
    pub fn count(
        world: &World,
        documents: impl Iterator<Item = Document>,
        cut: impl Fn(&str) -> Vec<Range<usize>>,
    ) -> Self {
        let concepts = vec![Occurrence::default(); world.concepts().all().len()];
        let mut counts = Self { documents: 0, tokens: 0, nats: 0.0, concepts, lengths: Vec::new() };
        for document in documents {
            counts.add(&document, &cut(&document.text));
        }
        counts
    }

    fn add(&mut self, document: &Document, tokens: &[Range<usize>]) {
        self.documents += 1;
        self.tokens += tokens.len() as u64;
        self.nats -= document.log_prob();
        self.lengths.push(tokens.len());
        let mut seen = vec![false; self.concepts.len()];
        for token in tokens {
            for (concept, coverage) in concepts_at(document, token) {
                let count = &mut self.concepts[usize::from(concept.0)];
                match coverage {
                    Coverage::Decided => {
                        count.decided += 1;
                        count.documents += u64::from(!std::mem::replace(&mut seen[usize::from(concept.0)], true));
                    }
                    _ => count.undecided += 1,
                }
            }
        }
    }

    /// Tokens of a concept that can be told, as a share of all tokens.
    pub fn frequency(&self, concept: ConceptId) -> f64 {
        self.concepts[usize::from(concept.0)].decided as f64 / self.tokens.max(1) as f64
    }
}

/// The concepts of a token, each once: decided where any of its annotations is.
pub fn concepts_at(document: &Document, token: &Range<usize>) -> Vec<(ConceptId, Coverage)> {
    let mut found: Vec<(ConceptId, Coverage)> = Vec::new();
    for annotation in document.annotations.iter().take_while(|a| (a.start as usize) < token.end) {
        let coverage = annotation.coverage(token);
        if coverage == Coverage::Outside {
            continue;
        }
        match found.iter_mut().find(|(concept, _)| *concept == annotation.concept) {
            None => found.push((annotation.concept, coverage)),
            Some((_, known)) if coverage == Coverage::Decided => *known = coverage,
            Some(_) => {}
        }
    }
    found
}

/// Cuts a text into words and signs, a space going with the word behind it: what a tokenizer trained on the world
/// nearly does.
pub fn words(text: &str) -> Vec<Range<usize>> {
    let mut pieces: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let goes_on = match chars.peek() {
            None => false,
            Some((_, next)) if c == ' ' => !next.is_whitespace() || *next == ' ',
            Some((_, next)) => c.is_alphabetic() && next.is_alphabetic(),
        };
        if !goes_on {
            let end = at + c.len_utf8();
            pieces.push(start..end);
            start = end;
        }
    }
    pieces
}

/// Letters that a word has at least to count as one of content: chosen, so that most articles, pronouns and forms of `be`
/// do not.
const CONTENT: usize = 4;
/// Words that stand in more than this share of sentences say nothing of what a text is about: chosen.
const COMMON: f64 = 0.04;

/// How much likelier words of content are `distance` sentences on than anywhere: of all words of all sentences, how many
/// stand in the sentence so far behind them in the same text, divided by how many would if it were any sentence.
///
/// | text | three sentences on |
/// |---|---|
/// | this world | 6.8 |
/// | 150 kB of prose about King Arthur | 4.8 |
/// | Tiny Shakespeare | 5.5 |
/// | stories of TinyStories | 8.3 |
/// | the validation part of WikiText-2 | 9.6 |
pub fn persistence<'t>(texts: impl Iterator<Item = &'t str>, distance: usize) -> f64 {
    let texts: Vec<Vec<BTreeSet<String>>> = texts.map(|text| text_sentences(text).map(content).collect()).collect();
    let n = texts.iter().map(Vec::len).sum::<usize>().max(1) as f64;
    let mut counts = BTreeMap::<&str, f64>::new();
    texts.iter().flatten().flatten().for_each(|word| *counts.entry(word).or_default() += 1.0);
    let (mut seen, mut expected) = (0.0, 0.0);
    for pair in texts.iter().flat_map(|text| text.windows(distance + 1)) {
        for word in pair[0].iter().filter(|word| counts[&word[..]] / n < COMMON) {
            seen += f64::from(u8::from(pair[distance].contains(word)));
            expected += counts[&word[..]] / n;
        }
    }
    seen / expected
}

fn text_sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(['.', '!', '?']).filter(|sentence| sentence.contains(char::is_alphabetic))
}

/// The words of content of a sentence.
fn content(sentence: &str) -> BTreeSet<String> {
    let words = sentence.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() >= CONTENT);
    words.map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persistence_by_hand() {
        // 100 sentences, of which two have `bridge`, one behind the other.
        let mut text = "The bridge shone. A bridge rose.".to_owned();
        (0..98).for_each(|i| text.push_str(&format!(" It {}.", "a".repeat(i % 3 + 1))));
        let found = persistence([&text[..]].into_iter(), 1);
        // One word comes again. Of `bridge`, `shone`, `bridge`, `rose`, 0.02 + 0.01 + 0.02 + 0.01 would anywhere.
        assert!((found - 1.0 / 0.06).abs() < 1e-9, "{found}");
    }

    #[test]
    fn words_and_signs() {
        let text = "\"No,\" said Tom.\nx = 12";
        let pieces: Vec<&str> = words(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(pieces, ["\"", "No", ",", "\"", " said", " Tom", ".", "\n", "x", " =", " 1", "2"]);
    }
}
