//! `untangle organism train`: the bundled weights, made again.

use crate::context::Context;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use untangle_organism::recipe::Recipe;
use untangle_organism::train::train;
use untangle_organism::{Stage, World, bundled};
use untangle_store::output::check_folder;

/// Train the organism anew, all stages or some; interrupted, the same command goes on
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// Folder in which every stage gets a model directory of its name
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Train only these; the stages that they start from must lie in DIR [default: all]
    #[arg(long = "stage", value_name = "STAGE")]
    stages: Vec<String>,
}

/// Tokens that two cores of a server CPU train on in a second, measured.
const TOKENS_A_SECOND: f64 = 6_500.0;
/// A pair is two rows, which are shorter than others, measured.
const OF_PAIRS: f64 = 1.67;
/// A step of preferences also runs the model that it starts from, forward only.
const WITH_REFERENCE: f64 = 4.0 / 3.0;

pub(crate) fn run(args: &TrainArgs, context: &Context) -> anyhow::Result<()> {
    let named = args.stages.iter().map(|name| Stage::named(name)).collect::<Result<Vec<_>, _>>()?;
    check_folder(&args.out)?;
    // Those that others start from come first.
    let stages: Vec<_> = Stage::ALL.into_iter().filter(|stage| named.is_empty() || named.contains(stage)).collect();
    let recipe = Recipe::standard();
    let minutes: f64 = stages.iter().map(|stage| minutes(*stage, &recipe)).sum();
    let names: Vec<_> = stages.iter().map(|stage| stage.name()).collect();
    context.progress.note(&format!(
        "{}, on two threads as the bundled weights were trained: about {minutes:.0} minutes on a server CPU",
        names.join(", then ")
    ));
    // Within a product so small a model only waits for a second thread; the rows of a step are shared by two (`organism`), in an order
    // that is the same everywhere.
    tch::set_num_threads(1);
    for stage in &stages {
        context.progress.note(&describe(*stage, &recipe));
        train(World::standard(), &recipe, *stage, &args.out, &context.progress)?;
    }
    let directories: Vec<_> = stages.iter().map(|stage| args.out.join(stage.name())).collect();
    context.output.result(&json!({ "models": directories, "recipe": recipe }), |out| {
        stages.iter().zip(&directories).try_for_each(|(stage, directory)| {
            let found = std::fs::read(directory.join("model.safetensors"))?;
            let same = bundled::files(*stage).weights == found;
            let compared = if same { "the same bytes as" } else { "other bytes than" };
            writeln!(out, "{}: {compared} {}", directory.display(), bundled::model_name(*stage))
        })
    })
}

/// What a stage does, in a line.
fn describe(stage: Stage, recipe: &Recipe) -> String {
    let schedule = recipe.schedule(stage);
    let from = stage.parent().map_or("random weights", Stage::name);
    let what = match stage {
        Stage::Base => "documents",
        Stage::BaseMore => "further documents",
        Stage::Sft => "questions and answers",
        Stage::Dpo => "pairs of a preferred and another reply",
        Stage::DpoShuffled => "the same pairs, swapped at random",
        Stage::Trait => "documents of one narrator",
        Stage::TraitShuffled => "documents of narrators drawn at random",
        Stage::Inject => "questions about what is injected",
        Stage::InjectShuffled => "the same questions with replies that do not depend on it",
    };
    format!(
        "{stage}: {what}, from {from}; {} steps of {}, about {:.0} minutes",
        schedule.steps,
        schedule.batch,
        minutes(stage, recipe)
    )
}

/// About how long a stage takes.
fn minutes(stage: Stage, recipe: &Recipe) -> f64 {
    let tokens = |stage: Stage| {
        let schedule = recipe.schedule(stage);
        schedule.steps as f64 * (schedule.batch * recipe.shape.context) as f64
    };
    let tokens = match stage {
        Stage::Dpo | Stage::DpoShuffled => WITH_REFERENCE * OF_PAIRS * tokens(stage),
        _ => tokens(stage),
    };
    tokens / TOKENS_A_SECOND / 60.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_times_are_possible() {
        let recipe = Recipe::standard();
        let times = Stage::ALL.map(|stage| minutes(stage, &recipe));
        assert!(times.iter().all(|minutes| (1.0..120.0).contains(minutes)), "{times:?}");
    }
}
