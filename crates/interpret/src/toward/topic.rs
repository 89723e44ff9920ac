//! Which words show that a text is about something?

use crate::database::singular;
use serde::Serialize;
use std::collections::BTreeSet;

/// Shorter pieces are syllables more often than words.
const LETTERS: usize = 3;

/// Words that show what a text is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Topic {
    /// In lower case, each once, in the order of the name.
    pub(super) words: Vec<String>,
    /// So many different ones of them a text must hold.
    pub(super) least: usize,
}

impl Topic {
    /// All words of a name.
    pub fn of_name(name: &str) -> Self {
        let mut seen = BTreeSet::new();
        let words: Vec<String> = words(name).filter(|word| seen.insert(word.clone())).collect();
        Topic { least: words.len(), words }
    }

    /// Whether a text is about it: holds enough of its words, whole, in any case. Nothing is about a topic without words.
    pub fn appears(&self, text: &str) -> bool {
        let found: BTreeSet<usize> = words(text).filter_map(|word| self.place(&word)).collect();
        !found.is_empty() && found.len() >= self.least
    }

    /// Which of its words a word in lower case is. One that is sought in the plural may stand in the singular.
    pub(super) fn place(&self, word: &str) -> Option<usize> {
        self.words.iter().position(|own| own == word || singular(own).as_deref() == Some(word))
    }

    /// Its words.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Something to search for, where nothing was.
    pub fn first_word(&self) -> &str {
        self.words.first().map_or("the", String::as_str)
    }

    /// The words, for people.
    pub fn text(&self) -> String {
        let quoted: Vec<_> = self.words.iter().map(|word| format!("{word:?}")).collect();
        match self.least {
            least if least == self.words.len() => quoted.join(" and "),
            0 | 1 => quoted.join(" or "),
            least => format!("{least} of {}", quoted.join(", ")),
        }
    }
}

/// A token that is a word, in lower case; none where it is a syllable, a name of a sign or part of a number.
pub(super) fn word(token: &str) -> Option<String> {
    let core = token.trim();
    (core.chars().count() >= LETTERS && core.chars().all(char::is_alphabetic)).then(|| core.to_lowercase())
}

/// The words of a text in lower case.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sought_in_the_plural_may_stand_in_the_singular() {
        let cats = Topic::of_name("cats");
        assert!(cats.appears("A cat.") && cats.appears("Cats!") && !cats.appears("A catch."));
        assert!(!Topic::of_name("cat").appears("Cats!"), "the other way round it is another word");
        let two = Topic::of_name("wolves and stories");
        assert_eq!(two.words, ["wolves", "and", "stories"]);
        assert!(!Topic { least: 2, ..Topic::of_name("horses cats") }.appears("A horse, horses."), "one word of two");
    }

    #[test]
    fn a_name_has_each_of_its_words_once() {
        assert_eq!(Topic::of_name("the Bridge, the bridge").text(), "\"the\" and \"bridge\"", "in their order");
    }

    #[test]
    fn a_name_appears_where_all_of_it_does_and_a_label_where_any_of_it_does() {
        let bridge = Topic::of_name("Golden Gate Bridge");
        assert!(bridge.appears("They saw the Golden Gate Bridge."));
        assert!(!bridge.appears("They saw the Golden Lion and a bridge."));
        assert!(!bridge.appears("Golden gates, bridges."), "words are whole");
        let either = Topic { words: ["cat", "dog"].map(str::to_owned).into(), least: 1 };
        assert!(either.appears("A Dog!") && !either.appears("a doghouse"));
        assert_eq!(either.text(), "\"cat\" or \"dog\"");
        let two = Topic { words: ["oven", "loaf", "warm"].map(str::to_owned).into(), least: 2 };
        assert!(two.appears("A warm loaf.") && !two.appears("An oven, an oven."));
        assert_eq!(two.text(), "2 of \"oven\", \"loaf\", \"warm\"");
    }
}
