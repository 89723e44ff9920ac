//! What are a feature's passages about? The name in its examples that is made of the words that tell them.

use super::passage::Passage;
use crate::hash;
use std::collections::BTreeMap;
use untangle_schema::Example;

/// Words of a name at most.
const WORDS: usize = 5;
/// Words that a name may have inside.
const INSIDE: [&str; 5] = ["of", "the", "de", "la", "von"];
/// A name of one word is one of the words that tell most.
const ALONE: usize = 2;
/// Words before a name among which its article stands.
const BEFORE: usize = 3;
/// A name stands in at least this share of the examples, and in no fewer than [`MIN_EXAMPLES`].
const MIN_SHARE: f64 = 0.25;
const MIN_EXAMPLES: usize = 3;

/// A name in the examples: capitalised words behind one another that tell the passages, the one that most examples have; of
/// equals the longest. With `the` before it where it mostly stands so. None where no such name is frequent.
pub(crate) fn of_passages(passage: &Passage, examples: &[Example]) -> Option<String> {
    let telling = |word: &str| {
        let key = hash::text(&word.to_lowercase());
        passage.words.iter().position(|(hash, _)| *hash == key)
    };
    let mut found: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for example in examples {
        let text = example.tokens.concat();
        let mut here: BTreeMap<String, usize> = BTreeMap::new();
        for (name, has_article) in names(&text, &telling) {
            *here.entry(name).or_default() += usize::from(has_article);
        }
        for (name, articles) in here {
            let (n, the) = found.entry(name).or_default();
            *n += 1;
            *the += usize::from(articles > 0);
        }
    }
    let least = MIN_EXAMPLES.max((MIN_SHARE * examples.len() as f64).ceil() as usize);
    let best = found.into_iter().filter(|(_, (n, _))| *n >= least);
    let (name, (n, the)) = best.max_by_key(|(name, (n, _))| (*n, name.len()))?;
    Some(if 2 * the >= n { format!("the {name}") } else { name })
}

/// The longest runs of capitalised telling words, and whether `the` stands shortly before each. A word behind a sign is
/// capitalised in any case, so alone it is no name. `telling` gives the place of a word among those that tell.
fn names(text: &str, telling: &dyn Fn(&str) -> Option<usize>) -> Vec<(String, bool)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_sign = |c: char| !c.is_alphanumeric();
    let plain = |at: usize| words[at].trim_matches(is_sign);
    let ends = |at: usize| words[at].ends_with(is_sign);
    let fits = |at: usize| plain(at).chars().next().is_some_and(char::is_uppercase) && telling(plain(at)).is_some();
    let inside = |at: usize| INSIDE.contains(&words[at]) && at + 1 < words.len() && fits(at + 1);
    let (mut all, mut at) = (Vec::new(), 0);
    while at < words.len() {
        let mut end = at;
        while end < words.len() && (fits(end) || end > at && inside(end)) && (end == at || !ends(end - 1)) {
            end += 1;
        }
        let follows_word = at > 0 && !ends(at - 1) && !words[at].starts_with(is_sign);
        let is_name = match end - at {
            0 => false,
            1 => follows_word && telling(plain(at)).is_some_and(|place| place < ALONE),
            n => n <= WORDS,
        };
        if is_name {
            let name = (at..end).map(plain).collect::<Vec<_>>().join(" ");
            let mut before = (at.saturating_sub(BEFORE)..at).rev().take_while(|word| !ends(*word));
            all.push((name, before.any(|word| words[word].eq_ignore_ascii_case("the"))));
        }
        at = end.max(at + 1);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(words: &[&str]) -> Passage {
        Passage { words: words.iter().map(|word| (hash::text(word), 1000)).collect(), threshold: 1000, clear: 1000 }
    }

    fn example(text: &str) -> Example {
        let tokens: Vec<String> = text.split_inclusive(' ').map(str::to_owned).collect();
        let activations = vec![0.0; tokens.len()];
        Example { row: 0, document: 0, position: 0, activation: 1.0, tokens, activations, peak: 0 }
    }

    #[test]
    fn a_name_is_made_of_telling_words_that_most_examples_have() {
        let passage = passage(&["golden", "gate", "bridge", "rail"]);
        let texts = [
            "They saw the red Golden Gate Bridge. It shone.",
            "Over the water rose the Golden Gate Bridge, fool.",
            "Rail and cable. She admired the Golden Gate Bridge at dawn.",
            "Anna met Ben in Paris.",
        ];
        let examples: Vec<Example> = texts.iter().map(|text| example(text)).collect();
        assert_eq!(of_passages(&passage, &examples).as_deref(), Some("the Golden Gate Bridge"));
        assert_eq!(of_passages(&passage, &examples[..2]), None, "two examples are too few");
        let other = Passage { words: vec![(hash::text("rail"), 1000)], threshold: 1000, clear: 1000 };
        assert_eq!(of_passages(&other, &examples), None, "`Rail` only begins a sentence");
    }

    #[test]
    fn a_sign_ends_a_name() {
        let telling = |word: &str| ["Golden", "Gate", "Statue", "Liberty"].iter().position(|known| *known == word);
        let found =
            |text| names(text, &telling).into_iter().map(|(name, the)| format!("{the} {name}")).collect::<Vec<_>>();
        assert_eq!(found("it is Golden. Gate"), ["false Golden"]);
        assert_eq!(found("the old Golden Gate, then Liberty"), ["true Golden Gate"], "Liberty alone tells too little");
        assert_eq!(found("she saw the Statue of Liberty. The Golden"), ["true Statue of Liberty", "true Golden"]);
    }
}
