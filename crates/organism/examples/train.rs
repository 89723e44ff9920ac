//! Trains one stage of the organism: `train DIR [STAGE [STEPS]]`, or `train second DIR [STAGE [STEPS]]` on the world whose
//! documents have a topic. Interrupted and called again, it goes on.
#![allow(clippy::print_stdout)]

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use untangle_organism::recipe::Recipe;
use untangle_organism::train::train;
use untangle_organism::{Stage, World};
use untangle_schema::{Event, Observer};

/// Prints a line at the start and for every hundredth step.
struct Lines {
    start: Instant,
}

impl Observer for Lines {
    fn event(&self, event: Event<'_>) {
        if let Event::Started { done, total, .. } = event {
            println!("{done} of {total} steps are done, ready after {:.0} s", self.start.elapsed().as_secs_f64());
        }
        if let Event::Advanced { done, figures: [(name, value), ..] } = event
            && done.is_multiple_of(100)
        {
            println!("{done} steps, {:.0} s: {value:.4} {name}", self.start.elapsed().as_secs_f64());
        }
    }
}

fn main() -> ExitCode {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let second = arguments.first().is_some_and(|first| first == "second");
    arguments.drain(..usize::from(second));
    let [dir, rest @ ..] = &arguments[..] else {
        println!("usage: train [second] DIR [STAGE [STEPS]]");
        return ExitCode::from(2);
    };
    match run(second, &PathBuf::from(dir), rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(second: bool, dir: &std::path::Path, rest: &[String]) -> Result<(), Box<dyn Error>> {
    let stage = rest.first().map_or(Ok(Stage::Base), |name| Stage::named_of_second(name))?;
    let (world, mut recipe) = match second {
        true => (World::second(), Recipe::second()),
        false => (World::standard(), Recipe::standard()),
    };
    if let Some(steps) = rest.get(1) {
        recipe.base.steps = steps.parse()?;
    }
    tch::set_num_threads(1); // so small a model only waits for a second thread
    train(world, &recipe, stage, dir, &Lines { start: Instant::now() })?;
    Ok(())
}
