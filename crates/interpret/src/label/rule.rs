//! A rule that says on which rows a feature fires, and its wording.

use super::counts::Totals;
use super::facts::{Class, Facts, Kind};
use super::passage::Passage;
use crate::vocabulary::Vocabulary;

/// Names rows by one fact or by any of a few facts of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The row has any of the keys.
    Keys {
        /// Their kind.
        kind: Kind,
        /// The keys, the one that explains most first.
        keys: Vec<u64>,
    },
    /// The row is in the class.
    Class(Class),
    /// The words before the row are of a passage of a kind.
    Passage(Passage),
}

/// Words that the wording of a passage lists.
const SHOWN_WORDS: usize = 6;
/// How labels of passages begin.
pub const PASSAGES: &str = "in passages ";

impl Rule {
    /// Whether the rule names the row.
    pub fn names(&self, facts: &Facts) -> bool {
        match self {
            Rule::Keys { kind, keys } => keys.iter().any(|key| facts.has(*kind, *key)),
            Rule::Class(class) => facts.is(*class),
            Rule::Passage(passage) => passage.names(facts),
        }
    }

    /// The rule as a short phrase.
    pub(crate) fn wording(&self, vocabulary: &Vocabulary, totals: &[Totals; Kind::ALL.len()]) -> String {
        match self {
            Rule::Class(class) => class_wording(*class).to_owned(),
            Rule::Passage(passage) => {
                let letters = |(word, _): &(u64, u32)| totals[Kind::ContextWord as usize].letters(*word);
                let words: Vec<&str> = passage.words.iter().filter_map(letters).take(SHOWN_WORDS).collect();
                format!("{PASSAGES}with {}", words.join(", "))
            }
            Rule::Keys { kind, keys } => {
                let word = |key: &u64| quoted_word(totals[*kind as usize].letters(*key));
                let parts: Vec<String> = match kind {
                    Kind::Token | Kind::Previous | Kind::Next => {
                        keys.iter().map(|key| vocabulary.quoted(*key as u32)).collect()
                    }
                    Kind::Pair => keys.iter().map(|key| pair_wording(*key, vocabulary)).collect(),
                    Kind::Spelling | Kind::PreviousWord | Kind::ContextWord => keys.iter().map(word).collect(),
                };
                format!("{}{}", prefix(*kind), distinct(parts).join(" / "))
            }
        }
    }
}

/// Two tokens may read alike, as " a" and "a" do.
fn distinct(parts: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(parts.len());
    for part in parts {
        if !kept.contains(&part) {
            kept.push(part);
        }
    }
    kept
}

const fn prefix(kind: Kind) -> &'static str {
    match kind {
        Kind::Token | Kind::Pair => "",
        Kind::Previous => "after ",
        Kind::Next => "before ",
        Kind::Spelling => "spelling ",
        Kind::PreviousWord => "word after ",
        Kind::ContextWord => "in text with ",
    }
}

fn quoted_word(letters: Option<&str>) -> String {
    letters.map_or_else(|| "\"?\"".to_owned(), |letters| format!("\"{letters}\""))
}

fn pair_wording(key: u64, vocabulary: &Vocabulary) -> String {
    let (previous, token) = ((key >> 32) as u32, key as u32);
    format!("{} after {}", vocabulary.quoted(token), vocabulary.quoted(previous))
}

const fn class_wording(class: Class) -> &'static str {
    match class {
        Class::Capitalised => "capital letter",
        Class::SentenceEnd => "end of a sentence",
        Class::SentenceStart => "first word of a sentence",
        Class::Punctuation => "punctuation",
        Class::Quote => "quotation mark",
        Class::Quoted => "inside a quotation",
        Class::Digit => "digit",
        Class::WordStart => "first token of a word",
        Class::WordInside => "later token of a word",
        Class::LineBreak => "line break",
        Class::Opening => "first token of a text",
        Class::Early => "early in the context",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::facts::pair_key;

    #[test]
    fn rules_read_as_phrases() {
        let texts = [" the", " The", "ily", " L", "the"].map(str::to_owned).to_vec();
        let vocabulary = Vocabulary::new(texts, &[]);
        let totals = Default::default();
        let wording = |kind, keys: &[u64]| Rule::Keys { kind, keys: keys.to_vec() }.wording(&vocabulary, &totals);
        assert_eq!(wording(Kind::Token, &[0, 1]), "\"the\" / \"The\"");
        assert_eq!(wording(Kind::Previous, &[3]), "after \"L\"");
        assert_eq!(wording(Kind::Pair, &[pair_key(3, 2)]), "\"…ily\" after \"L\"");
        assert_eq!(wording(Kind::Next, &[0]), "before \"the\"");
        assert_eq!(Rule::Class(Class::SentenceEnd).wording(&vocabulary, &totals), "end of a sentence");
    }
}
