//! Prints documents of the world, or how often each concept occurs: `world [SEED] [N]`, `world statistics [N]`,
//! `world questions [N]`, `world persistence FILE`.
#![allow(clippy::print_stdout)]

use std::env;
use untangle_organism::gate::held::{FAMILIES, known_at};
use untangle_organism::statistics::{persistence, words};
use untangle_organism::{Split, Statistics, Telling, World};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let world = World::standard();
    let number = |i: usize, default| arguments.get(i).and_then(|text| text.parse().ok()).unwrap_or(default);
    if arguments.first().is_some_and(|first| first == "statistics") {
        print_statistics(world, number(1, 4000) as usize);
    } else if let [first, path, ..] = &arguments[..]
        && first == "persistence"
    {
        print_persistence(world, path);
    } else if arguments.first().is_some_and(|first| first == "questions") {
        print_questions(world, number(1, 10));
    } else {
        print_documents(world, number(0, 0), number(1, 10));
    }
}

fn print_documents(world: &World, seed: u64, n: u64) {
    for index in 0..n {
        let document = world.document(seed, index);
        println!(
            "--- {index}: {:.1} nats, {:.1} to a reader, {} choices",
            -document.log_prob(),
            -document.reader_log_prob(),
            document.choices.len()
        );
        println!("{}", document.text);
    }
}

/// How much likelier a word is three sentences on: in the world, and in a text that is a file.
fn print_persistence(world: &World, path: &str) {
    let texts: Vec<String> = world.documents(1, Split::Train).take(3000).map(|document| document.text).collect();
    let file = std::fs::read_to_string(path).unwrap_or_default();
    println!("{:.2} in the world", persistence(texts.iter().map(|text| &text[..]), 3));
    println!("{:.2} in {path}", persistence(file.split("<|endoftext|>"), 3));
}

fn print_questions(world: &World, n: u64) {
    for index in 0..n {
        for telling in [Telling::Told, Telling::Untold] {
            if let Some(question) = world.question(0, index, telling) {
                println!("--- {index}, {telling:?}\n{} {}", question.prompt, question.reply);
                println!("(invented: {})", question.invention);
            }
        }
    }
}

fn print_statistics(world: &World, n: usize) {
    let counts = Statistics::count(world, world.documents(0, Split::Train).take(n), words);
    let mut lengths = counts.lengths.clone();
    lengths.sort_unstable();
    let quantile = |percent: usize| lengths[(lengths.len() - 1) * percent / 100];
    println!("{} documents, {} tokens, {:.3} nats a token", n, counts.tokens, counts.nats / counts.tokens as f64);
    println!("tokens a document: 1 % {}, half {}, 99 % {}", quantile(1), quantile(50), quantile(99));
    print_readers(world, n);
    let mut rows: Vec<_> = world.concepts().all().iter().map(|c| (counts.frequency(c.id), c)).collect();
    rows.sort_by(|left, right| right.0.total_cmp(&left.0));
    for (frequency, concept) in rows {
        let count = counts.concepts[usize::from(concept.id.0)];
        let every = 1.0 / frequency;
        println!(
            "{:<22} {:<10} 1 token in {every:>7.0}, {:>5.2} % of documents, {} of {} undecided",
            concept.name,
            concept.family,
            100.0 * count.documents as f64 / n as f64,
            count.undecided,
            count.decided + count.undecided
        );
    }
}

/// How often a reader who knows the rules is right about what is held.
fn print_readers(world: &World, n: usize) {
    for (family, name) in FAMILIES.iter().enumerate() {
        let (mut all, mut later) = ([0u64; 2], [0u64; 2]);
        for document in world.documents(0, Split::Test).take(n / 10) {
            let known = known_at(world, &document, &words(&document.text));
            for known in known.iter().filter(|known| known.held[family].is_some()) {
                let right = usize::from(known.reader[family] == known.held[family]);
                all[right] += 1;
                later[right] += u64::from(known.sentence >= 2);
            }
        }
        let share = |of: [u64; 2]| 100.0 * of[1] as f64 / (of[0] + of[1]).max(1) as f64;
        println!(
            "a reader knows the {name} at {:.1} % of tokens, {:.1} % behind two sentences",
            share(all),
            share(later)
        );
    }
}
