//! Prints documents of the world, or how often each concept occurs: `world [SEED] [N]`, `world statistics [N]`,
//! `world questions [N]`.
#![allow(clippy::print_stdout)]

use std::env;
use untangle_organism::statistics::words;
use untangle_organism::{Split, Statistics, Telling, World};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |i: usize, default| arguments.get(i).and_then(|text| text.parse().ok()).unwrap_or(default);
    if arguments.first().is_some_and(|first| first == "statistics") {
        print_statistics(number(1, 4000) as usize);
    } else if arguments.first().is_some_and(|first| first == "questions") {
        print_questions(number(1, 10));
    } else {
        print_documents(number(0, 0), number(1, 10));
    }
}

fn print_documents(seed: u64, n: u64) {
    for index in 0..n {
        let document = World::standard().document(seed, index);
        println!("--- {index}: {:.1} nats, {} choices", -document.log_prob(), document.choices.len());
        println!("{}", document.text);
    }
}

fn print_questions(n: u64) {
    for index in 0..n {
        for telling in [Telling::Told, Telling::Untold] {
            if let Some(question) = World::standard().question(0, index, telling) {
                println!("--- {index}, {telling:?}\n{} {}", question.prompt, question.reply);
                println!("(invented: {})", question.invention);
            }
        }
    }
}

fn print_statistics(n: usize) {
    let world = World::standard();
    let counts = Statistics::count(world, world.documents(0, Split::Train).take(n), words);
    let mut lengths = counts.lengths.clone();
    lengths.sort_unstable();
    let quantile = |percent: usize| lengths[(lengths.len() - 1) * percent / 100];
    println!("{} documents, {} tokens, {:.3} nats a token", n, counts.tokens, counts.nats / counts.tokens as f64);
    println!("tokens a document: 1 % {}, half {}, 99 % {}", quantile(1), quantile(50), quantile(99));
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
