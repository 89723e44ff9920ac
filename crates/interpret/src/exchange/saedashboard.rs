//! Batches of features as SAEDashboard's Neuronpedia runner writes them (`sae_dashboard/neuronpedia/neuronpedia_dashboard.py`).

use super::files::write as write_file;
use super::plan::ExportPlan;
use super::shown::{examples, statistics};
use crate::database::{Database, Run};
use crate::error::InterpretError;
use serde_json::{Value, json};
use std::path::Path;
use untangle_schema::FeatureCard;

/// Features in a file, as the runner has it.
const BATCH: usize = 128;

pub(super) fn write(
    database: &Database,
    run: &Run,
    plan: &ExportPlan<'_>,
    root: &Path,
    advance: &mut dyn FnMut(usize) -> Result<(), InterpretError>,
) -> Result<usize, InterpretError> {
    let n = database.n_features()?;
    let (mut files, mut silent) = (2, Vec::new());
    for (batch, first) in (0..n).step_by(BATCH).enumerate() {
        let last = n.min(first + BATCH);
        let mut features = Vec::new();
        for feature in first..last {
            let card = database.card(feature)?;
            match card.examples.is_empty() {
                true => silent.push(feature),
                false => features.push(of_feature(&card, run, plan)),
            }
        }
        let content = json!({
            "model_id": plan.model_id, "layer": plan.layer(), "sae_set": plan.set(), "sae_id_suffix": null, "features": features,
        });
        write_file(root, &format!("batch-{batch}.json"), content.to_string().as_bytes())?;
        files += 1;
        advance(last - first)?;
    }
    let settings = json!({
        "model_id": plan.model_id, "layer": plan.layer(), "sae_set": plan.set(), "sae_path": run.sae, "hook": run.hook(),
        "n_features_at_a_time": BATCH, "huggingface_dataset_path": run.store, "tool": format!("untangle {}", run.tool_version),
    });
    write_file(root, "run_settings.json", settings.to_string().as_bytes())?;
    let skipped =
        json!({ "model_id": plan.model_id, "layer": plan.layer(), "sae_set": plan.set(), "skipped_indexes": silent });
    write_file(root, "skipped_indexes.json", skipped.to_string().as_bytes())?;
    Ok(files)
}

fn of_feature(card: &FeatureCard, run: &Run, plan: &ExportPlan<'_>) -> Value {
    let mut fields = statistics(card);
    let activations = examples(card).map(|(example, [low, high, contains])| {
        json!({
            "bin_min": low, "bin_max": high, "bin_contains": contains, "tokens": example.tokens,
            "values": example.activations.iter().map(|value| rounded(*value)).collect::<Vec<_>>(),
            "qualifying_token_index": example.peak,
        })
    });
    let activations: Vec<Value> = activations.collect();
    fields.insert("feature_index".to_owned(), json!(card.feature));
    fields.insert("activations".to_owned(), json!(activations));
    fields.insert("n_tokens_in_prompt".to_owned(), json!(card.examples.first().map(|example| example.tokens.len())));
    fields.insert("n_prompts_total".to_owned(), Value::Null);
    fields.insert("dataset".to_owned(), json!(run.store));
    if let Some(sae) = plan.sae {
        fields.insert("vector".to_owned(), json!(sae.decoder_row(card.feature)));
    }
    Value::Object(fields)
}

/// Five places behind the point.
fn rounded(value: f32) -> f64 {
    (f64::from(value) * 1e5).round() / 1e5
}
