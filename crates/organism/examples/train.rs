//! Trains the base organism: `train DIR [STEPS]`. Interrupted and called again, it goes on.
#![allow(clippy::print_stdout)]

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use untangle_organism::World;
use untangle_organism::recipe::Recipe;
use untangle_organism::train::train_base;
use untangle_schema::{Event, Observer};

/// Prints a line at the start and for every tenth step.
struct Lines {
    start: Instant,
}

impl Observer for Lines {
    fn event(&self, event: Event<'_>) {
        if let Event::Started { done, total, .. } = event {
            println!("{done} of {total} tokens are done, ready after {:.0} s", self.start.elapsed().as_secs_f64());
        }
        if let Event::Advanced { done, figures: [(name, value), ..] } = event
            && done.is_multiple_of(10 * 32 * 256)
        {
            println!("{done} tokens, {:.0} s: {value:.4} {name}", self.start.elapsed().as_secs_f64());
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let Some(dir) = arguments.next().map(PathBuf::from) else {
        println!("usage: train DIR [STEPS]");
        return ExitCode::from(2);
    };
    let mut recipe = Recipe::base();
    recipe.steps = arguments.next().and_then(|steps| steps.parse().ok()).unwrap_or(recipe.steps);
    match train_base(World::standard(), &recipe, &dir, &Lines { start: Instant::now() }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
