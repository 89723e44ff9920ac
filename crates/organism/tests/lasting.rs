//! What must hold of the topics, moods and narrators of the world.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use untangle_organism::gate::held::{FAMILIES, Known, known_at, sentences, stretches};
use untangle_organism::hold::TOLD;
use untangle_organism::statistics::{persistence, words};
use untangle_organism::{Document, Split, World};

fn world() -> &'static World {
    World::standard()
}

fn sample(n: u64) -> impl Iterator<Item = Document> {
    (0..n).map(|index| world().document(13, index))
}

#[test]
fn every_document_has_one_mood_and_one_narrator_and_its_topics_in_turn() {
    let topics = world().members("topic");
    assert!(topics.len() >= 24);
    let mut of_topics = BTreeMap::<usize, usize>::new();
    for document in sample(3000) {
        let end = document.text.len();
        for family in ["mood", "narrator"] {
            let [whole] = stretches(world(), &document, family)[..] else { panic!("{family} in\n{}", document.text) };
            assert_eq!((whole.start, whole.end), (0, end));
        }
        let found = stretches(world(), &document, "topic");
        assert_eq!(found.last().unwrap().end, end, "{}", document.text);
        for pair in found.windows(2) {
            assert!(pair[0].held != pair[1].held && pair[0].end <= pair[1].start, "{pair:?} in\n{}", document.text);
            assert!(document.text[pair[0].end..pair[1].start].trim().is_empty(), "{}", document.text);
        }
        found.iter().for_each(|stretch| *of_topics.entry(stretch.held).or_default() += 1);
    }
    let (least, most) = (of_topics.values().min().unwrap(), of_topics.values().max().unwrap());
    assert!(of_topics.len() == topics.len() && most < &(2 * least), "{of_topics:?}");
}

#[test]
fn topics_change_in_a_twentieth_to_a_tenth_of_sentences() {
    let (mut changes, mut n) = (0, 0);
    for document in sample(3000) {
        let found = stretches(world(), &document, "topic");
        changes += found.len() - 1;
        n += sentences(&document.text[found[0].start..]);
    }
    let share = changes as f64 / n as f64;
    assert!((0.03..0.10).contains(&share), "{share}");
}

/// Words of a rule's slots by topic: `noun`, `adj`, `verb` and so on, the name left out.
#[test]
fn a_topics_words_are_others_too_and_few_sentences_name_it() {
    let names: BTreeSet<String> = world().members("topic").iter().map(|id| world().name_of(*id)).collect();
    let mut by_word = BTreeMap::<String, BTreeMap<usize, usize>>::new();
    let (mut named, mut sentences_about) = (0, 0);
    for document in sample(6000) {
        for stretch in stretches(world(), &document, "topic") {
            let text = document.text[stretch.start..stretch.end].to_lowercase();
            let name = world().name_of(world().members("topic")[stretch.held]);
            named += text.matches(&name).count();
            sentences_about += sentences(&text);
            for range in words(&text) {
                let word = text[range].trim().to_owned();
                if word.starts_with(char::is_alphabetic) && !names.iter().any(|name| name.contains(&word)) {
                    *by_word.entry(word).or_default().entry(stretch.held).or_default() += 1;
                }
            }
        }
    }
    // Of the words that tell most (a topic has a quarter of them), few belong to one topic alone.
    let telling = by_word.values().map(|topics| (topics.values().sum::<usize>(), topics.values().max().unwrap()));
    let telling: Vec<(usize, usize)> =
        telling.map(|(n, most)| (n, *most)).filter(|(n, most)| *n > 50 && most * 4 > *n).collect();
    let alone = telling.iter().filter(|(n, most)| most * 10 > n * 9).count();
    assert!(telling.len() > 100, "{}", telling.len());
    assert!(alone * 5 < telling.len(), "{alone} of {} words tell a topic alone", telling.len());
    let share = named as f64 / sentences_about as f64;
    assert!((0.1..0.25).contains(&share), "a topic's name stands in {share} of sentences");
}

fn accuracy(known: &[Known], family: usize, counts: impl Fn(&Known) -> bool) -> f64 {
    let counted = known.iter().filter(|known| known.held[family].is_some() && counts(known));
    let right: Vec<bool> = counted.map(|known| known.reader[family] == known.held[family]).collect();
    right.iter().filter(|right| **right).count() as f64 / right.len() as f64
}

#[test]
fn a_reader_who_knows_the_rules_can_tell() {
    let known: Vec<Known> = sample(600).flat_map(|d| known_at(world(), &d, &words(&d.text))).collect();
    let all = accuracy(&known, 0, |_| true);
    assert!(all > 0.9, "topic: {all}");
    for (family, name) in FAMILIES.iter().enumerate() {
        let later = accuracy(&known, family, |known| known.sentence >= 2);
        assert!(later > 0.88, "{name} behind two sentences: {later}");
        let told = accuracy(&known, family, |known| known.told[family]);
        assert!(told > 0.94, "{name} where it can be told: {told}");
    }
}

/// A belief is what it says: of readings with a belief of about p, the share p is right.
#[test]
fn beliefs_are_calibrated() {
    let mut bins = [[0u32; 2]; 10];
    for document in sample(1500) {
        for reading in &document.readings {
            // The belief in the best guess; where that is not what is held, the document says less, so those are left out.
            let right = reading.best == reading.held;
            let bin = ((reading.certainty * 10.0) as usize).min(9);
            bins[bin][usize::from(right)] += 1;
        }
    }
    for (bin, [wrong, right]) in bins.into_iter().enumerate().filter(|(_, [wrong, right])| wrong + right > 500) {
        let share = f64::from(right) / f64::from(wrong + right);
        let middle = (bin as f64 + 0.5) / 10.0;
        assert!((share - middle).abs() < 0.08, "belief {middle}: right in {share} of {}", wrong + right);
    }
}

#[test]
fn what_can_be_told_is_told_by_words_behind_which_it_is_believed() {
    let (mut told, mut never) = (0, 0);
    for document in sample(1000) {
        for stretch in FAMILIES.iter().flat_map(|family| stretches(world(), &document, family)) {
            let Some(from) = stretch.told else {
                never += 1;
                continue;
            };
            told += 1;
            let reading = document.readings.iter().find(|r| r.at as usize == from && r.belief >= TOLD);
            assert!(reading.is_some() && from > stretch.start && from <= stretch.end, "{}", document.text);
        }
    }
    assert!(never * 5 < told, "{never} of {} stretches are never told", never + told);
}

/// The choices price what is held, a reader pays for words: on average less, by little, and never without bound.
#[test]
fn a_reader_pays_a_little_less_than_the_choices_cost() {
    let (mut choices, mut reader) = (0.0, 0.0);
    for document in sample(1000) {
        choices -= document.log_prob();
        reader -= document.reader_log_prob();
        let excess = document.log_prob() - document.reader_log_prob();
        assert!(excess.is_finite() && excess < 30.0, "{excess} in\n{}", document.text);
    }
    assert!(reader < choices && reader > 0.98 * choices, "{reader} of {choices} nats");
}

#[test]
fn topics_last_as_in_real_text() {
    let texts: Vec<String> = world().documents(1, Split::Train).take(3000).map(|document| document.text).collect();
    let found = persistence(texts.iter().map(|text| &text[..]), 3);
    assert!(found > 5.5, "a word is {found} times as likely three sentences on");
}
