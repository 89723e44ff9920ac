//! Does every choice show in the text, and does the prefix alone decide what counts? Both are tested by telling a
//! document again with one choice changed.

use crate::document::Document;
use crate::statistics::{concepts_at, words};
use crate::world::World;
use std::collections::BTreeMap;
use untangle_schema::{ConceptId, Coverage};

fn picks(document: &Document) -> Vec<u32> {
    document.choices.iter().map(|choice| choice.pick).collect()
}

/// A choice that does not show would make the sum of -ln p a loose bound on the entropy of the text.
#[test]
fn every_choice_shows_in_the_text() {
    let world = World::standard();
    let (mut silent, mut changed) = (BTreeMap::<String, u32>::new(), 0usize);
    for index in 0..400 {
        let document = world.document(3, index);
        for (k, choice) in document.choices.iter().enumerate() {
            let mut script = picks(&document);
            script[k] = (choice.pick + 1) % choice.options;
            let other = world.told(3, index, script);
            changed += 1;
            if other.text == document.text && other.choices[k].pick != choice.pick {
                let from = document.text[..choice.at as usize].char_indices().rev().nth(30).map_or(0, |(at, _)| at);
                let around = document.text[from..].chars().take(60).collect();
                *silent.entry(around).or_default() += 1;
            }
        }
    }
    assert!(changed > 10_000);
    // What is held shows in the words that are drawn from its rules. Rarely they are words that another shares: one program
    // has a single word of its topic.
    let by_chance = changed / 10_000;
    assert!(silent.len() <= by_chance, "{} of {changed} choices do not show: {silent:#?}", silent.len());
}

/// Two texts that agree up to the end of a token agree on what can be told there. What lasts is told by belief: of two
/// texts with this prefix, it may be wrong about one.
#[test]
fn equal_prefixes_tell_the_same_but_for_what_lasts() {
    let world = World::standard();
    let lasts = |id: ConceptId| ["topics", "moods", "narrators"].contains(&&world.concepts().get(id).family[..]);
    let mut wrong = BTreeMap::<(&str, String), String>::new();
    for index in 0..600 {
        let document = world.document(5, index);
        for k in 0..document.choices.len() {
            let other = world.told(6, index, picks(&document)[..k].to_vec());
            let same = document.text.bytes().zip(other.text.bytes()).take_while(|(a, b)| a == b).count();
            let others = words(&other.text);
            let shared = words(&document.text).into_iter().take_while(|token| token.end <= same);
            for token in shared.filter(|token| others.contains(token)) {
                let [left, right] = [&document, &other].map(|document| decided(document, &token));
                for id in left.iter().filter(|id| !right.contains(id) && !lasts(**id)) {
                    let from = document.text[..token.start].char_indices().rev().nth(40).map_or(0, |(at, _)| at);
                    let key = (&world.concepts().get(*id).name[..], document.text[token.clone()].to_owned());
                    let (text, goes_on) = (&document.text[from..token.end], excerpt(&document.text[token.end..]));
                    let shown = format!("{text}[{goes_on}] or [{}]", excerpt(&other.text[token.end..]));
                    wrong.entry(key).or_insert(shown);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "told by what comes later: {wrong:#?}");
}

fn excerpt(text: &str) -> String {
    text.chars().take(25).collect()
}

fn decided(document: &Document, token: &std::ops::Range<usize>) -> Vec<ConceptId> {
    let found = concepts_at(document, token);
    found.into_iter().filter(|(_, coverage)| *coverage == Coverage::Decided).map(|(concept, _)| concept).collect()
}
