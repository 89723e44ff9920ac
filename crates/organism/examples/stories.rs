//! Stories that a stage writes by itself: `stories [STAGE [N]]`, drawn at temperature 1 from seeds 0 to N - 1.
#![allow(clippy::print_stdout)]

use std::env;
use std::error::Error;
use untangle_model::{GenerateOptions, LoadOptions, NoHook, Sampling, generate};
use untangle_organism::{Stage, bundled};

/// No document of the world has more.
const TOKENS: usize = 250;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let stage = arguments.next().map_or(Ok(Stage::Base), |name| Stage::named(&name))?;
    let stories: u64 = arguments.next().map_or(Ok(10), |n| n.parse())?;
    tch::set_num_threads(1); // so small a model only waits for a second thread
    let model = bundled::load(stage, &LoadOptions::default())?;
    let sampling = Sampling::at(1.0);
    for seed in 0..stories {
        let options = GenerateOptions { max_new_tokens: TOKENS, sampling, seed, stop_at_eos: true };
        let boundary = [0];
        let tokens = generate(&model, &boundary, &options, &mut NoHook, &mut |_| ())?.tokens;
        println!("{seed}. {}\n", model.tokenizer()?.decode(&tokens)?.trim().replace('\n', "\n   "));
    }
    Ok(())
}
