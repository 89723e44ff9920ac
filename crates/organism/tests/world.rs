//! What must hold of every document of the bundled world.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use untangle_organism::statistics::{concepts_at, words};
use untangle_organism::{Document, Split, Statistics, World};
use untangle_schema::{Annotation, ConceptKind, Coverage};

/// SHA-256 over the first 1,000 documents of seed 0, text and annotations.
const FIRST_DOCUMENTS: &str = "b6ed6ef2af291dbacb816e54197816f94fae26ef90cd348e22c4a818eb13f763";

/// Documents of the bundled world.
fn sample(n: u64) -> impl Iterator<Item = (&'static World, Document)> {
    let world = World::standard();
    (0..n).map(move |index| (world, world.document(7, index)))
}

fn surface<'d>(document: &'d Document, annotation: &Annotation) -> &'d str {
    &document.text[annotation.start as usize..annotation.end as usize]
}

fn name_of(world: &'static World, annotation: &Annotation) -> &'static str {
    &world.concepts().get(annotation.concept).name
}

#[test]
fn the_first_documents_are_pinned() {
    assert_eq!(digest_of(World::standard()), FIRST_DOCUMENTS, "the world changed: weights must be trained anew");
}

fn digest_of(world: &World) -> String {
    let mut digest = Sha256::new();
    for index in 0..1000 {
        let document = world.document(0, index);
        digest.update(&document.text);
        for a in &document.annotations {
            let from = a.decidable_from.map_or(u32::MAX, |from| from);
            [u32::from(a.concept.0), a.start, a.end, from].iter().for_each(|n| digest.update(n.to_le_bytes()));
        }
    }
    format!("{:x}", digest.finalize())
}

#[test]
fn ranges_lie_on_words() {
    for (world, document) in sample(3000) {
        for a in &document.annotations {
            let text = surface(&document, a);
            let context = format!("{} `{text}` in\n{}", name_of(world, a), document.text);
            assert_eq!(text.trim(), text, "{context}");
            assert!(!text.is_empty(), "{context}");
            let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
            let before = document.text[..a.start as usize].chars().next_back();
            let after = document.text[a.end as usize..].chars().next();
            assert!(!(letter(before) && letter(text.chars().next())), "begins inside a word: {context}");
            assert!(!(letter(after) && letter(text.chars().next_back())), "ends inside a word: {context}");
            let decided = a.decidable_from.is_none_or(|from| a.start < from && from <= a.end);
            assert!(decided, "told outside of its range: {context}");
        }
    }
}

/// Concepts with few surface forms: every mention is one of them.
const SURFACES: &[(&str, &[&str])] = &[
    ("golden-gate-bridge", &["Golden Gate Bridge", "bridge", "it"]),
    ("orange-fruit", &["orange", "oranges", "it"]),
    ("orange-colour", &["orange"]),
    ("bank-river", &["bank"]),
    ("bat-animal", &["bat", "animal", "it"]),
    ("bat-sport", &["bat", "it"]),
    ("rain", &["raining", "pouring", "rain", "Il pleut"]),
    ("sheep", &["sheep", "lamb", "animal", "it"]),
    ("three", &["three", "3"]),
    ("watch-look", &["watch", "watched", "watches"]),
];

#[test]
fn mentions_are_surface_forms() {
    for (name, forms) in SURFACES {
        let mut seen = BTreeSet::new();
        for (world, document) in sample(3000) {
            let concept = world.concepts().find(name).unwrap().id;
            for a in document.annotations.iter().filter(|a| a.concept == concept) {
                seen.insert(surface(&document, a).to_owned());
            }
        }
        let known = |form: &String| forms.iter().any(|known| known.eq_ignore_ascii_case(form));
        assert!(!seen.is_empty() && seen.iter().all(known), "{name}: {seen:?}");
    }
}

/// Words with one meaning: every one of them is a mention.
const ALWAYS: &str = "\
    dog:dog dogs:dog puppy:dog cat:cat kitten:cat rabbit:rabbit duck:duck owl:owl parrot:parrot cow:cow calf:cow \
    horse:horse pony:horse sheep:sheep lamb:sheep pig:pig fox:fox bear:bear wolf:wolf lion:lion frog:frog \
    elephant:elephant fish:fish bee:bee nurse:nurse doctor:doctor teacher:teacher baker:baker farmer:farmer \
    pilot:pilot painter:painter artist:painter sailor:sailor singer:singer programmer:programmer gardener:gardener \
    apple:apple banana:banana lemon:lemon cherry:cherry cherries:cherry bread:bread cheese:cheese soup:soup \
    cake:cake pizza:pizza egg:egg honey:honey chocolate:chocolate tea:tea coffee:coffee milk:milk juice:juice \
    raining:rain snow:snow storm:storm sun:sunshine foggy:fog red:red blue:blue green:green yellow:yellow \
    black:black white:white brown:brown grey:grey purple:purple happy:happy glad:happy proud:proud sad:sad \
    angry:angry furious:angry afraid:afraid scared:afraid lonely:lonely ashamed:ashamed hungry:hungry \
    thirsty:thirsty bored:bored surprised:surprised school:school library:library hospital:hospital clinic:hospital \
    station:station museum:museum bakery:bakery market:market park:park garden:garden forest:forest woods:forest \
    beach:beach shore:beach river:river lake:lake mountain:mountain farm:farm kitchen:kitchen home:home \
    london:london paris:paris venice:venice rome:rome colosseum:colosseum statue:statue-of-liberty bus:bus \
    train:train boat:boat bicycle:bicycle bike:bicycle car:car ball:ball doll:doll kite:kite hat:hat cap:hat \
    coat:coat book:book key:key lamp:lamp phone:phone umbrella:umbrella shoes:shoe boots:shoe two:two three:three \
    four:four five:five";

#[test]
fn words_with_one_meaning_are_always_annotated() {
    let table: BTreeMap<&str, &str> = ALWAYS.split_whitespace().filter_map(|pair| pair.split_once(':')).collect();
    let mut missing = BTreeMap::new();
    for (world, document) in sample(4000) {
        for token in words(&document.text) {
            let word = document.text[token.clone()].trim().to_lowercase();
            let Some(name) = table.get(&word[..]) else { continue };
            let concept = world.concepts().find(name).unwrap().id;
            let inn = document.text[..token.start].ends_with("Golden");
            if !inn && !concepts_at(&document, &token).iter().any(|(id, _)| *id == concept) {
                let from = document.text[..token.start].char_indices().rev().nth(40).map_or(0, |(at, _)| at);
                missing.entry(word).or_insert(document.text[from..token.end].to_owned());
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn scopes_open_and_close_with_their_construct() {
    let check = |name, text: &str| match name {
        "speech" | "question" | "order" | "shout" | "whisper" | "string" => {
            text.len() > 2 && text.starts_with('"') && text.ends_with('"') && text.matches('"').count() == 2
        }
        "cause" => ["Because ", "because "].iter().any(|word| text.starts_with(word)),
        "consequence" => ["So ", "so "].iter().any(|word| text.starts_with(word)),
        "contrast" => ["But ", "but "].iter().any(|word| text.starts_with(word)),
        "condition" => ["If ", "if "].iter().any(|word| text.starts_with(word)),
        "function" => text.starts_with("def ") && text.contains("return"),
        "comment" => text.starts_with("# "),
        "promise" => text.starts_with("I promise "),
        "purpose" => text.starts_with("to ") || text.starts_with("for "),
        _ => true,
    };
    for (world, document) in sample(3000) {
        for a in &document.annotations {
            let text = surface(&document, a);
            assert!(check(name_of(world, a), text), "{} `{text}` in\n{}", name_of(world, a), document.text);
        }
    }
}

#[test]
fn scopes_nest_or_are_apart() {
    for (world, document) in sample(2000) {
        for a in &document.annotations {
            for b in &document.annotations {
                // A topic may change among the words of a letter, and go on behind them.
                let lasts = world.concepts().get(b.concept).family == "topics"
                    || world.concepts().get(a.concept).family == "topics";
                let crossing = !lasts && a.start < b.start && b.start < a.end && a.end < b.end;
                assert!(!crossing, "{} and {} in\n{}", name_of(world, a), name_of(world, b), document.text);
            }
        }
    }
}

#[test]
fn wider_concepts_hold_where_narrower_ones_do() {
    for (world, document) in sample(500) {
        for a in &document.annotations {
            for wider in world.concepts().lineage(a.concept) {
                let same = |b: &Annotation| b.concept == *wider && (b.start, b.end) == (a.start, a.end);
                assert!(document.annotations.iter().any(same), "{} without its parents", name_of(world, a));
            }
        }
    }
}

#[test]
fn golden_alone_is_not_yet_the_bridge() {
    let bridge = World::standard().concepts().find("golden-gate-bridge").unwrap().id;
    let (_, document) = sample(3000).find(|(_, document)| document.text.contains("the Golden Gate Bridge")).unwrap();
    let at = document.text.find("Golden Gate Bridge").unwrap();
    let coverage = |from: usize, to: usize| {
        let found = concepts_at(&document, &(at + from..at + to));
        found.iter().find(|(concept, _)| *concept == bridge).map(|(_, coverage)| *coverage)
    };
    assert_eq!(coverage(0, 6), Some(Coverage::Undecided)); // "Golden"
    assert_eq!(coverage(6, 11), Some(Coverage::Decided)); // " Gate"
    assert_eq!(coverage(11, 18), Some(Coverage::Decided)); // " Bridge"
    assert!(
        sample(3000).any(|(_, document)| document.text.contains("Golden Lion")),
        "and Golden is not always the bridge"
    );
}

#[test]
fn frequencies_span_orders_of_magnitude() {
    let world = World::standard();
    let counts = Statistics::count(world, world.documents(1, Split::Train).take(20_000), words);
    assert!(world.concepts().all().len() >= 150);
    let mut often = 0;
    for concept in world.concepts().all() {
        let every = 1.0 / counts.frequency(concept.id);
        assert!((1.0..100_000.0).contains(&every), "{}: 1 token in {every:.0}", concept.name);
        often += usize::from(every < 4000.0);
    }
    assert!(often >= 100, "{often} concepts occur in 1 token of 4,000 or more");
    let bridge = world.concepts().find("golden-gate-bridge").unwrap().id;
    let every = 20_000.0 / counts.concepts[usize::from(bridge.0)].documents as f64;
    assert!((20.0..30.0).contains(&every), "the Golden Gate Bridge is named in 1 document of {every:.1}");
    let mut lengths = counts.lengths;
    lengths.sort_unstable();
    assert!(lengths[200] >= 45 && lengths[19_800] <= 210, "{} to {}", lengths[200], lengths[19_800]);
}

#[test]
fn both_kinds_and_every_concept_have_a_definition() {
    let concepts = World::standard().concepts().all();
    assert!(concepts.iter().filter(|concept| concept.kind == ConceptKind::Scope).count() >= 30);
    assert!(concepts.iter().all(|concept| !concept.definition.is_empty() && !concept.family.is_empty()));
}

fn is_vowel(word: &str) -> bool {
    word.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U'])
}

/// The text without its programs, signs, songs and French, which have rules of their own.
fn prose(world: &World, document: &Document) -> String {
    let skipped = ["code", "sign-text", "song", "french"].map(|name| world.concepts().find(name).unwrap().id);
    let mut prose = String::new();
    let mut at = 0;
    for a in document.annotations.iter().filter(|a| skipped.contains(&a.concept)) {
        if a.start as usize >= at {
            prose.push_str(&document.text[at..a.start as usize]);
            prose.push('N');
            at = a.end as usize;
        }
    }
    prose + &document.text[at..]
}

fn check_grammar(world: &World, document: &Document) {
    let text = &document.text;
    assert_eq!(text.matches('"').count() % 2, 0, "quotes in\n{text}");
    for (open, close) in [('(', ')'), ('[', ']')] {
        assert_eq!(text.matches(open).count(), text.matches(close).count(), "{open} in\n{text}");
    }
    let prose = prose(world, document);
    for wrong in ["  ", " .", " ,", "..", "\n\n", " \n", "{", "}", "~", "^", "<", ">", "|"] {
        assert!(!prose.contains(wrong), "`{wrong}` in\n{text}");
    }
    let tokens: Vec<&str> = prose.split([' ', '\n']).collect();
    for pair in tokens.windows(2) {
        let [word, next] = pair else { continue };
        match *word {
            "a" | "A" if next.starts_with(char::is_alphabetic) => assert!(!is_vowel(next), "a {next} in\n{text}"),
            "an" | "An" => assert!(is_vowel(next), "an {next} in\n{text}"),
            _ => {}
        }
        if word.ends_with(['.', '!', '?']) {
            assert!(!next.starts_with(char::is_lowercase), "`{word} {next}` in\n{text}");
        }
        let inner = |c: char| c.is_lowercase();
        let function_word = ["The", "In", "On", "At", "By", "She", "He", "It", "They", "Then", "Because"];
        if function_word.contains(next) && word.ends_with(inner) {
            let quoted = prose.contains(&format!("{word}\n{next}"));
            assert!(quoted, "a capital inside a sentence, `{word} {next}`, in\n{text}");
        }
    }
    assert!(text.starts_with(|c: char| !c.is_lowercase()), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn documents_are_well_formed(seed: u64, index: u64) {
        let world = World::standard();
        let document = world.document(seed, index);
        check_grammar(world, &document);
        prop_assert_eq!(&document, &world.document(seed, index));
        prop_assert!(document.log_prob().is_finite() && document.log_prob() < 0.0);
        prop_assert!(document.choices.windows(2).all(|pair| pair[0].at <= pair[1].at + 1));
        prop_assert!(document.facts.iter().all(|fact| fact.at as usize <= document.text.len()));
        prop_assert!(document.facts.iter().all(|fact| fact.arguments.len() == fact.relation.arguments()));
        prop_assert_eq!(document.split, Split::of(seed, index));
    }
}

#[test]
fn many_documents_are_well_formed_and_different() {
    let mut texts = BTreeSet::new();
    let mut equal = 0;
    for (world, document) in sample(10_000) {
        check_grammar(world, &document);
        equal += usize::from(!texts.insert(document.text));
    }
    assert_eq!(equal, 0, "documents repeat");
}

#[test]
fn the_documents_of_the_readme_are_the_first_ten() {
    let readme = include_str!("../README.md");
    for index in 0..10 {
        let text = World::standard().document(0, index).text;
        assert!(readme.contains(&format!("```text\n{text}\n```")), "document {index} is now:\n{text}");
    }
}
