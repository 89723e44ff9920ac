//! `untangle organism stages`: which stages of training are bundled, and what does each change?

use crate::context::Context;
use crate::output::table;
use clap::Args;
use serde_json::{Value, json};
use untangle_organism::recipe::Recipe;
use untangle_organism::{Behaviour, Change, Stage, bundled};

/// List the bundled stages, and what each does to the behaviours of the stage it starts from
#[derive(Debug, Args)]
pub(crate) struct StagesArgs {}

pub(crate) fn run(_: &StagesArgs, context: &Context) -> anyhow::Result<()> {
    let recipe = Recipe::standard();
    let stages: Vec<Value> = Stage::ALL.into_iter().map(|stage| record(stage, &recipe)).collect();
    let value = json!({ "stages": stages, "shape": recipe.shape, "seed": recipe.seed });
    context.output.result(&value, |out| {
        table(out, &rows(), &[0, 1, 2, 3, 4, 5, 6, 7, 8])?;
        writeln!(
            out,
            "\nA dot: as in the stage that it starts from. base-more and those that end in -shuffled are controls."
        )
    })
}

fn record(stage: Stage, recipe: &Recipe) -> Value {
    let changes: serde_json::Map<String, Value> =
        Behaviour::ALL.into_iter().map(|behaviour| (word(&json!(behaviour)), json!(stage.change(behaviour)))).collect();
    let shown: serde_json::Map<String, Value> =
        Behaviour::ALL.into_iter().map(|behaviour| (word(&json!(behaviour)), json!(stage.shown(behaviour)))).collect();
    json!({
        "stage": stage, "model": bundled::model_name(stage), "parent": stage.parent(), "changes": changes, "shown": shown,
        "schedule": recipe.schedule(stage),
    })
}

fn rows() -> Vec<Vec<String>> {
    let behaviours = Behaviour::ALL.map(|behaviour| word(&json!(behaviour)).replace('-', " "));
    let head = ["model", "starts from"].map(str::to_owned).into_iter().chain(behaviours).collect();
    let row = |stage: Stage| {
        let parent = stage.parent().map_or("random weights", Stage::name);
        let changes = Behaviour::ALL.map(|behaviour| {
            let change = match stage.change(behaviour) {
                Change::LeavesAlone => "·".to_owned(),
                change => word(&json!(change)),
            };
            match stage.shown(behaviour) {
                0.0 => change,
                shown => format!("{change} {:.0} %", 100.0 * shown),
            }
        });
        [bundled::model_name(stage).to_owned(), parent.to_owned()].into_iter().chain(changes).collect()
    };
    std::iter::once(head).chain(Stage::ALL.into_iter().map(row)).collect()
}

/// A word that is serialised as such.
fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
