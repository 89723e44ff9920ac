//! Which topic is a text about, in which mood, told by whom? The likeliest by its words, after names are taken out of it.
//!
//! ln p(text | t) = sum over its words w of ln ((n(w, t) + 1/2) / (n(t) + V / 2)), a naive Bayes classifier (Maron 1961);
//! n counts words of documents where t is held, V is the number of different words.

use super::held::stretches;
use crate::document::Split;
use crate::statistics::words;
use crate::world::World;
use std::collections::HashMap;

/// Documents that words are counted in.
const DOCUMENTS: usize = 6000;
/// Seed of these documents.
const SEED: u64 = 0x0061_626f_7574;

/// Counts of words by what is held: by topic, mood or narrator.
#[derive(Debug)]
pub struct About {
    /// Of each word, how often it stands under each.
    counts: HashMap<String, Vec<u32>>,
    totals: Vec<u32>,
    /// Names in small letters: a text is about a topic by other words.
    names: Vec<String>,
}

impl About {
    /// Counts the words of a world under each of a class of what lasts.
    pub fn of(world: &World, family: &str) -> Self {
        let topics = world.members(family);
        let names = topics.iter().map(|id| world.name_of(*id)).collect();
        let mut about = Self { counts: HashMap::new(), totals: vec![0; topics.len()], names };
        for document in world.documents(SEED, Split::Train).take(DOCUMENTS) {
            for stretch in stretches(world, &document, family) {
                for word in about.words_in(&document.text[stretch.start..stretch.end]) {
                    about.counts.entry(word).or_insert_with(|| vec![0; topics.len()])[stretch.held] += 1;
                    about.totals[stretch.held] += 1;
                }
            }
        }
        about
    }

    /// The place of what is held in a text; none where it has no known word.
    pub fn held_in(&self, text: &str) -> Option<usize> {
        let v = self.counts.len() as f64;
        let mut scores = vec![0.0; self.totals.len()];
        let mut known = false;
        for counts in self.words_in(text).iter().filter_map(|word| self.counts.get(word)) {
            known = true;
            for (score, (n, total)) in scores.iter_mut().zip(counts.iter().zip(&self.totals)) {
                *score += ((f64::from(*n) + 0.5) / (f64::from(*total) + 0.5 * v)).ln();
            }
        }
        let best = scores.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b));
        best.filter(|_| known).map(|(held, _)| held)
    }

    /// The words of a text in small letters, without names.
    fn words_in(&self, text: &str) -> Vec<String> {
        let text = self.names.iter().fold(text.to_lowercase(), |text, name| text.replace(name, ""));
        let words = words(&text).into_iter().map(|range| text[range].trim().to_owned());
        words.filter(|word| word.starts_with(char::is_alphabetic)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_about_their_topic_without_its_name() {
        let world = World::standard();
        let about = About::of(world, "topic");
        let (mut n, mut right) = (0, 0);
        for document in (0..400).map(|index| world.document(5, index)) {
            let stretches = stretches(world, &document, "topic");
            let [only] = stretches[..] else { continue };
            if document.text.contains('=') || document.text.contains("print(") {
                continue; // a program has three words of its topic
            }
            n += 1;
            right += usize::from(about.held_in(&document.text) == Some(only.held));
        }
        assert!(n > 100 && right * 100 >= n * 95, "{right} of {n}");
        assert!(!about.counts.contains_key("rialto") && about.counts.contains_key("bridge"));
        assert_eq!(about.held_in("xyzzy 12"), None);
    }

    #[test]
    fn documents_are_told_by_their_narrator() {
        let world = World::standard();
        let about = About::of(world, "narrator");
        let documents = || (0..300).map(|index| world.document(5, index));
        let right = documents().filter(|document| {
            let held = stretches(world, document, "narrator")[0].held;
            about.held_in(&document.text) == Some(held)
        });
        assert!(right.count() >= 285);
    }
}
