//! What does steering cost? Generation by a model of GPT-2 small's shape with random weights, as it is and with features of a
//! dictionary of 16,384 steered, timed in turn.
//!
//! `steering [ROUNDS [TOKENS]]`

#![allow(clippy::print_stdout, reason = "a measurement is for its reader")]

#[path = "../shape.rs"]
mod shape;

use shape::{dictionary, model};
use std::ops::ControlFlow;
use std::time::Instant;
use untangle_interpret::steer::{Dictionary, Steering, Step};
use untangle_interpret::{Edit, Operator};
use untangle_model::{GenerateOptions, Hook, LanguageModel, NoHook, Request, Sampling, generate_batch};
use untangle_schema::mix::mix;

const FEATURES: usize = 16_384;
const PROMPT: usize = 32;

/// Tokens per second of a batch.
fn speed(model: &LanguageModel, batch: usize, tokens: usize, hook: &mut dyn Hook) -> f64 {
    let options = GenerateOptions { max_new_tokens: tokens, sampling: Sampling::GREEDY, seed: 0, stop_at_eos: false };
    let prompt = |row: usize| (0..PROMPT).map(|at| (mix((row * PROMPT + at) as u64) % 50_000) as u32).collect();
    let requests: Vec<Request> = (0..batch).map(|row| Request { prompt: prompt(row), options }).collect();
    let start = Instant::now();
    generate_batch(model, &requests, hook, &mut |_, _| ControlFlow::Continue(())).expect("generated");
    (batch * tokens) as f64 / start.elapsed().as_secs_f64()
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>().expect("a number"));
    let (rounds, tokens) = (numbers.next().unwrap_or(5), numbers.next().unwrap_or(32));
    let (model, sae) = (model(None), dictionary(FEATURES));
    let dictionaries = [Dictionary::only(&sae)];
    let step = |feature, operator| -> Vec<Step> { vec![Edit { feature, operator }.into()] };
    let (add, set) = (step(3, Operator::Add(4.0)), step(3, Operator::Set(4.0)));
    let different = |make: fn(f32) -> Operator, batch: usize| -> Vec<Vec<Step>> {
        (0..batch).map(|row| step(7 * row, make(1.0 + row as f32))).collect()
    };
    println!("{rounds} rounds of {tokens} tokens behind {PROMPT}; tokens a second, and the time beside unsteered");
    for batch in [1, 8, 64] {
        let (adds, sets) = (different(Operator::Add, batch), different(Operator::Set, batch));
        let names = ["unsteered", "one addition", "one set", "an addition each", "a set each"];
        let mut found = vec![Vec::new(); names.len()];
        for _ in 0..rounds {
            for (arm, found) in found.iter_mut().enumerate() {
                let one = |steps: &[Step]| Steering::new(&model, &dictionaries, steps).expect("valid");
                let each = |sets: &[Vec<Step>]| {
                    let sets: Vec<&[Step]> = sets.iter().map(Vec::as_slice).collect();
                    Steering::by_row(&model, &dictionaries, &sets).expect("valid")
                };
                found.push(match arm {
                    0 => speed(&model, batch, tokens, &mut NoHook),
                    1 => speed(&model, batch, tokens, &mut one(&add)),
                    2 => speed(&model, batch, tokens, &mut one(&set)),
                    3 => speed(&model, batch, tokens, &mut each(&adds)),
                    _ => speed(&model, batch, tokens, &mut each(&sets)),
                });
            }
        }
        let median = |mut of: Vec<f64>| {
            of.sort_by(f64::total_cmp);
            of[of.len() / 2]
        };
        // Ratios within a round, so that what else the machine does falls on both sides.
        let ratios = |arm: usize| median(found[0].iter().zip(&found[arm]).map(|(plain, own)| plain / own).collect());
        for (arm, name) in names.iter().enumerate() {
            println!("batch {batch:>2}  {name:<17}{:>9.1}{:>8.2}", median(found[arm].clone()), ratios(arm));
        }
    }
}
