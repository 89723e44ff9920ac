//! Trains one stage of the organism: `train DIR [STAGE]`. Interrupted and called again, it goes on.
#![allow(clippy::print_stdout)]

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use untangle_organism::recipe::Recipe;
use untangle_organism::train::train;
use untangle_organism::{OrganismError, Stage, World};
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
    let mut arguments = env::args().skip(1);
    let Some(dir) = arguments.next().map(PathBuf::from) else {
        println!("usage: train DIR [STAGE]");
        return ExitCode::from(2);
    };
    match run(&dir, arguments.next()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(dir: &std::path::Path, stage: Option<String>) -> Result<(), OrganismError> {
    let stage = stage.map_or(Ok(Stage::Base), |name| Stage::named(&name))?;
    tch::set_num_threads(1); // so small a model only waits for a second thread
    train(World::standard(), &Recipe::standard(), stage, dir, &Lines { start: Instant::now() })
}
